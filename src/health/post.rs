//! One HTTP request out of the server: bounded in time and size, to a permitted address only.

use super::egress::{Egress, NOT_PUBLIC};
use super::http_status::Outcome;
use super::message::Message;
use std::net::ToSocketAddrs;
use std::time::{Duration, SystemTime};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};
use url::Url;

/// What became of a request: the verdict, the status if there was one, and a few words. Neither
/// the address nor what was sent or answered is among them: either may hold a secret.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub detail: String,
}

/// Sends it, and waits no longer than `timeout` for all of it but the look-up of the host's name.
pub fn post(egress: &Egress, url: &Url, message: &Message, timeout: Duration) -> Answer {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(16 * 1024)
        .proxy(None)
        .user_agent(concat!("stormops/", env!("CARGO_PKG_VERSION")))
        .build();
    let encrypted = url.scheme() == "https";
    let agent = Agent::with_parts(config, DefaultConnector::default(), Guarded { egress: egress.clone(), encrypted });
    let mut request = agent.post(url.as_str()).header("content-type", "application/json");
    for (name, value) in &message.headers {
        request = request.header(*name, value);
    }
    match request.send(message.body.as_bytes()) {
        Ok(response) => {
            let status = response.status().as_u16();
            let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let outcome = Outcome::of(status, retry_after, SystemTime::now());
            Answer { outcome, status: Some(status), detail: format!("HTTP {status}") }
        }
        Err(Error::Other(refused)) if refused.is::<Refused>() => {
            Answer { outcome: Outcome::Dead, status: None, detail: Refused.to_string() }
        }
        Err(error) => Answer { outcome: Outcome::Retry { after: None }, status: None, detail: reason(&error) },
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "no answer in time".to_owned(),
        Error::HostNotFound => "the host has no address".to_owned(),
        Error::ConnectionFailed => "no connection".to_owned(),
        Error::Io(error) => format!("no connection: {}", error.kind()),
        Error::Rustls(_) | Error::Tls(_) | Error::Pem(_) => "no trusted TLS connection".to_owned(),
        _ => "no HTTP answer".to_owned(),
    }
}

/// Looks a host up and lets through only what may be reached. Done here, where the connection takes
/// its addresses from, so that a name cannot be looked up twice with two answers (DNS rebinding).
/// It takes as long as the system's resolver does: a backend lets it be done aside.
#[derive(Debug)]
struct Guarded {
    egress: Egress,
    encrypted: bool,
}

#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NOT_PUBLIC)
    }
}

impl std::error::Error for Refused {}

impl Resolver for Guarded {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(Error::HostNotFound) };
        let host = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let addresses: Vec<_> = host.to_socket_addrs().map_err(|_| Error::HostNotFound)?.collect();
        let mut permitted = self.empty();
        // As many as the list takes.
        for address in addresses.iter().filter(|a| self.egress.permits(a.ip(), self.encrypted)).take(16) {
            permitted.push(*address);
        }
        match (addresses.is_empty(), permitted.is_empty()) {
            (true, _) => Err(Error::HostNotFound),
            (false, true) => Err(Error::Other(Box::new(Refused))),
            _ => Ok(permitted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    /// A server that takes one connection, reads the request's head and body, and answers with these bytes.
    fn server(answer: &'static [u8], silence: Duration) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/hook", listener.local_addr().unwrap());
        let seen = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut seen, mut part) = (String::new(), [0; 4096]);
            while !seen.contains("the body") {
                let read = stream.read(&mut part).unwrap();
                seen.push_str(&String::from_utf8_lossy(&part[..read]));
            }
            std::thread::sleep(silence);
            stream.write_all(answer).ok();
            seen
        });
        (address, seen)
    }

    fn send(address: &str, egress: &Egress, timeout: Duration) -> Answer {
        let message = Message { body: r#"{"x":"the body"}"#.to_owned(), headers: vec![("webhook-id", "1".to_owned())] };
        post(egress, &egress.url(address).unwrap(), &message, timeout)
    }

    fn home() -> Egress {
        Egress::parse("", "127.0.0.0/8").unwrap()
    }

    #[test]
    fn the_answer_decides() {
        for (answer, name, status, after) in [
            (&b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"[..], "delivered", Some(202), None),
            (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "retry", Some(500), None),
            (b"HTTP/1.1 429 Slow\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n", "retry", Some(429), Some(17)),
            (b"HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n", "dead", Some(404), None),
            (
                b"HTTP/1.1 302 Away\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
                "dead",
                Some(302),
                None,
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "retry", None, None),
            (b"", "retry", None, None),
        ] {
            let (address, seen) = server(answer, Duration::ZERO);
            let answer = send(&address, &home(), Duration::from_secs(5));
            assert_eq!((answer.outcome.name(), answer.status), (name, status), "{}", answer.detail);
            let retry = Outcome::Retry { after: after.map(Duration::from_secs) };
            assert!(name != "retry" || answer.outcome == retry, "{:?}", answer.outcome);
            let seen = seen.join().unwrap().to_lowercase();
            assert!(seen.starts_with("post /hook http/1.1\r\n") && seen.contains("webhook-id: 1\r\n"), "{seen}");
        }
    }

    #[test]
    fn a_server_that_is_silent_costs_no_more_than_the_timeout() {
        let (address, _seen) = server(b"HTTP/1.1 200 OK\r\n\r\n", Duration::from_secs(20));
        let begin = Instant::now();
        let answer = send(&address, &home(), Duration::from_millis(300));
        assert_eq!((answer.outcome, &*answer.detail), (Outcome::Retry { after: None }, "no answer in time"));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn nobody_there_and_nobody_allowed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert_eq!(send(&address, &home(), Duration::from_secs(5)).outcome.name(), "retry");
        // localhost is not among what was allowed here.
        let elsewhere = Egress::parse("", "10.0.0.0/8").unwrap();
        let answer = send(&address.replace("127.0.0.1", "localhost"), &elsewhere, Duration::from_secs(5));
        assert_eq!((answer.outcome, answer.status), (Outcome::Dead, None), "{}", answer.detail);
        let answer = send("https://localhost/", &Egress::default(), Duration::from_secs(5));
        assert_eq!(answer.outcome, Outcome::Dead, "{}", answer.detail);
    }
}
