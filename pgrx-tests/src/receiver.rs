//! Who is told of alerts: a web server of the test's own, and the tenant whose alerts they are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use postgres::{Client, Row};
use serde_json::Value;
use uuid::Uuid;

use crate::{Db, enter, provision};

pub const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
pub const SECRET: &str = "a secret that nobody may read back";

/// A web server that takes what comes: it answers the n-th request with the n-th answer, and any later one with the last.
pub struct Receiver {
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub fn new(answers: &[&'static str]) -> Self {
        Self::slow(answers, Duration::ZERO)
    }

    pub fn slow(answers: &[&'static str], silence: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}/hook", listener.local_addr().expect("its number"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answers) = (requests.clone(), answers.to_vec());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { break };
                let request = read(&mut stream);
                let nth = {
                    let mut seen = seen.lock().expect("its list");
                    seen.push(request);
                    seen.len() - 1
                };
                thread::sleep(silence);
                stream.write_all(answers[nth.min(answers.len() - 1)].as_bytes()).ok();
            }
        });
        Self { address, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("its list").clone()
    }

    /// The bodies of what came.
    pub fn bodies(&self) -> Vec<Value> {
        let body = |request: &String| {
            let (_, body) = request.split_once("\r\n\r\n").expect("a head");
            serde_json::from_str(body).expect("a JSON body")
        };
        self.requests().iter().map(body).collect()
    }
}

/// One request: the head, and as much of a body as it says.
fn read(stream: &mut TcpStream) -> String {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return text,
            Ok(n) => request.extend_from_slice(&part[..n]),
        }
    }
}

/// A header of a request.
pub fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name))).map(|(_, v)| v)
}

/// A tenant whose alerts somebody is to be told of.
pub struct World {
    pub db: Db,
    pub tenant: Uuid,
}

impl World {
    /// A tenant in a database that may send to this machine.
    pub fn new(name: &str) -> Self {
        let db = Db::new(name);
        let tenant = provision(&db, "ABC Roofing");
        let allow = format!("ALTER DATABASE \"{}\" SET stormops.egress_networks = '127.0.0.0/8'", db.name);
        db.superuser().batch_execute(&allow).expect("a superuser's setting");
        Self { db, tenant }
    }

    pub fn admin(&self) -> Client {
        let mut client = self.db.as_role("tapp");
        enter(&mut client, self.tenant);
        client
    }

    pub fn route(&self, kind: &str, address: &str) {
        let set = "SELECT stormops.set_alert_route('on call', $1, $2, $3)";
        self.admin().execute(set, &[&kind, &address, &SECRET]).expect("a route");
    }

    /// An open alert of the tenant.
    pub fn alert(&self, issue: &str, severity: &str) -> Uuid {
        let insert = "INSERT INTO stormops.alerts (tenant_id, alert_id, alert_key, issue, severity, evidence)
            VALUES ($1, stormops.new_id(), $2, $2, $3, '{\"mean\": 0.41}') RETURNING alert_id";
        self.db.superuser().query_one(insert, &[&self.tenant, &issue, &severity]).expect("an alert").get(0)
    }

    /// What deliver_alerts() says: queued, delivered, retried, dead, pending.
    pub fn deliver(&self) -> [i64; 5] {
        self.deliver_within("5 s")
    }

    pub fn deliver_within(&self, timeout: &str) -> [i64; 5] {
        let deliver = format!("SELECT * FROM stormops.deliver_alerts(timeout => '{timeout}')");
        let row: Row = self.db.as_role("op").query_one(&deliver, &[]).expect("a delivery");
        std::array::from_fn(|i| row.get(i))
    }

    pub fn set(&self, change: &str) {
        self.db.superuser().batch_execute(change).expect("a change");
    }

    /// The only message: its state, status, and in how many seconds it is due.
    pub fn message(&self) -> (String, Option<i32>, f64) {
        let one = "SELECT state, last_status, extract(epoch FROM next_attempt_at - clock_timestamp())::float8
            FROM stormops_internal.alert_deliveries";
        let row = self.db.superuser().query_one(one, &[]).expect("one message");
        (row.get(0), row.get(1), row.get(2))
    }
}
