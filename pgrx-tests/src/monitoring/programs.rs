//! Programs that a test starts, which end with it, and the HTTP between them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

pub struct Program {
    process: Child,
    pub address: String,
}

impl Program {
    /// Killed with the value, and by the kernel should this process be killed itself.
    pub fn start(program: &str, port_option: &str, arguments: &[String], environment: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", program, &format!("{port_option}={address}")])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        Self { process, address }
    }

    /// What it answers to a GET, once it answers with success.
    pub fn get(&self, path: &str) -> String {
        until(&format!("{}{path}", self.address), || get(&self.address, path))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Looks until there is something to see.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    seen(look).unwrap_or_else(|| panic!("{what} never came"))
}

fn seen<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(240) {
        if let Some(seen) = look() {
            return Some(seen);
        }
        std::thread::sleep(Duration::from_millis(200)); // between looks, not instead of one
    }
    None
}

fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    // HTTP 1.0: the answer comes whole and ends the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next().is_some_and(|line| line.contains(" 200 ")).then(|| body.to_owned())
}

/// A web server that accepts every POST of JSON and keeps it, with its path.
pub struct Receiver {
    pub address: String,
    kept: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number").to_string();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if let Some(post) = receive(&mut stream) {
                    keep.lock().expect("its list").push(post);
                }
                let answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { address, kept }
    }

    /// The first body to that path which is as asked for.
    #[track_caller]
    pub fn wait(&self, what: &str, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let kept = || self.kept.lock().expect("its list");
        seen(|| kept().iter().find(|(to, body)| to == path && is(body)).map(|(_, body)| body.clone()))
            .unwrap_or_else(|| panic!("{what} never came, but {:#?}", kept()))
    }
}

fn receive(stream: &mut TcpStream) -> Option<(String, Value)> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            })?;
            if body.len() >= length {
                return Some((head.split(' ').nth(1)?.to_owned(), serde_json::from_str(body).ok()?));
            }
        }
        let n = stream.read(&mut part).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&part[..n]);
    }
}
