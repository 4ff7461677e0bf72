//! One client: it begins, enters, reads, writes, fails, leaves things behind and commits, as its random numbers say.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

use super::{OPERATIONS, TENANTS, Tenant, mark};

/// What a statement may fail with here: a name that another client left or did not, a savepoint that is gone, an error
/// that was asked for, and the refusals that keep tenants apart.
const ALLOWED: [&str; 13] = [
    "22012", "25001", "25P02", "26000", "34000", "3B001", "42501", "42P03", "42P05", "42P07", "40P01", "25P01", "0B000",
];

pub struct Player<'a> {
    client: Client,
    trusted: bool,
    rng: Rng,
    tenants: &'a [Tenant],
    done: &'a AtomicUsize,
    tail: VecDeque<String>,
    pin: usize,
    /// Rows written and committed; written in this transaction; that at its savepoint, if there is one.
    pub kept: usize,
    written: usize,
    saved: Option<usize>,
    failed: bool,
}

impl<'a> Player<'a> {
    pub fn new(client: Client, trusted: bool, seed: u64, tenants: &'a [Tenant], done: &'a AtomicUsize) -> Self {
        Player {
            client,
            trusted,
            rng: Rng::with_seed(seed),
            tenants,
            done,
            tail: VecDeque::new(),
            pin: 0,
            kept: 0,
            written: 0,
            saved: None,
            failed: false,
        }
    }

    fn fail(&self, what: &str) -> ! {
        let tail: Vec<&str> = self.tail.iter().map(String::as_str).collect();
        panic!("{what}\nthe last statements of this client:\n{}", tail.join("\n"))
    }

    fn pin(&self) -> Uuid {
        self.tenants[self.pin].id
    }

    fn other(&mut self) -> Uuid {
        self.tenants[(self.pin + 1 + self.rng.usize(..TENANTS - 1)) % TENANTS].id
    }

    /// Sends a message of so many operations. Each row that comes back begins with its tenant, which must be the pin.
    fn send(&mut self, operations: usize, sql: &str) -> Result<usize, String> {
        self.done.fetch_add(operations, Ordering::Relaxed);
        if self.tail.len() == 60 {
            self.tail.pop_front();
        }
        self.tail.push_back(format!("[{}] {sql}", self.pin()));
        match self.client.simple_query(sql) {
            Ok(messages) => {
                let pin = self.pin().to_string();
                let mut rows = 0;
                for message in &messages {
                    if let SimpleQueryMessage::Row(row) = message {
                        rows += 1;
                        if row.get(0) != Some(&pin) {
                            self.fail(&format!("a row of {:?}", row.get(0)));
                        }
                    }
                }
                Ok(rows)
            }
            Err(error) => {
                let Some(code) = error.code().map(|code| code.code().to_owned()) else {
                    self.fail(&format!("{error:?}"))
                };
                self.tail.push_back(format!("  -> {code}"));
                if !ALLOWED.contains(&code.as_str()) {
                    self.fail(&format!("{error:?}"));
                }
                self.failed = true;
                Err(code)
            }
        }
    }

    fn refused(&mut self, sql: &str, codes: &[&str]) {
        match self.send(1, sql) {
            Err(code) if codes.contains(&code.as_str()) || code == "25P02" => {}
            answer => self.fail(&format!("{answer:?}, where one of {codes:?} was due")),
        }
    }

    fn enter(&mut self) -> String {
        self.pin = self.rng.usize(..TENANTS);
        let Tenant { id, token } = &self.tenants[self.pin];
        let enter = if self.trusted {
            match self.rng.u8(..3) {
                0 => format!("SET LOCAL app.current_tenant = '{id}'"),
                1 => format!("SET app.current_tenant = '{id}'"),
                _ => format!("DO $$ BEGIN PERFORM stormops.enter_tenant('{id}'); END $$"),
            }
        } else {
            // login() returns no row of a tenant's.
            format!("DO $$ BEGIN PERFORM stormops.login('{token}'); END $$")
        };
        format!("BEGIN; {enter}; SELECT stormops.current_tenant()")
    }

    fn read(&mut self) -> String {
        let table = ["storms", "properties", "users", "tenant_usage", "policy_modes"][self.rng.usize(..5)];
        let condition = match self.rng.usize(..4) {
            0 => format!(" WHERE tenant_id = '{}'", self.other()),
            1 => format!(" WHERE tenant_id <> '{}'", self.pin()),
            _ => String::new(),
        };
        format!("SELECT tenant_id FROM stormops.{table}{condition} LIMIT 20")
    }

    fn write(&self) -> String {
        format!(
            "INSERT INTO stormops.tenant_usage (metric_name, metric_value) VALUES ('{}', 1) RETURNING tenant_id",
            mark(self.pin())
        )
    }

    /// One message, as a client sends a short transaction.
    fn short(&mut self) {
        let mut sql = self.enter();
        let (operations, error) = (self.rng.usize(2..8), self.rng.u8(..10) == 0);
        let mut written = 0;
        for _ in 0..operations {
            let statement = if self.rng.bool() {
                self.read()
            } else {
                written += 1;
                self.write()
            };
            sql += &format!("; {statement}");
        }
        if error {
            sql += "; SELECT 1/0";
        }
        let committed = !error && self.rng.u8(..4) > 0;
        sql += if committed { "; COMMIT" } else { "; ROLLBACK" };
        if self.send(operations + 3, &sql).is_err() {
            self.send(1, "ROLLBACK").expect("the end of a transaction");
        } else if committed {
            self.kept += written;
        }
        self.failed = false;
    }

    /// Statement by statement, with everything that can go wrong.
    fn long(&mut self) {
        let enter = self.enter();
        if self.send(2, &enter).is_err() {
            self.fail("cannot enter a tenant");
        }
        (self.written, self.saved, self.failed) = (0, None, false);
        for _ in 0..self.rng.usize(1..14) {
            self.operation();
            if self.failed {
                // A client that has a savepoint goes back to it; one that has none gives up.
                let Some(written) = self.saved else { break };
                if self.rng.u8(..4) == 0 {
                    self.refused("SELECT tenant_id FROM stormops.storms", &["25P02"]);
                }
                self.failed = false;
                if self.send(1, "ROLLBACK TO s").is_err() {
                    self.fail("the savepoint is gone");
                }
                self.written = written;
            }
        }
        let commit = !self.failed && self.rng.u8(..10) < 7;
        if self.send(1, if commit { "COMMIT" } else { "ROLLBACK" }).is_err() {
            self.fail("a transaction does not end");
        }
        if commit {
            self.kept += self.written;
        }
        self.failed = false;
    }

    fn operation(&mut self) {
        let statement = self.rng.u8(..6);
        let other = self.other();
        match self.rng.u8(..24) {
            0..=4 => drop(self.read_one()),
            5..=8 => {
                let write = self.write();
                self.written += self.send(1, &write).unwrap_or(0);
            }
            9 => {
                let update = format!("UPDATE stormops.storms SET name = '{}' RETURNING tenant_id", self.pin());
                self.send(1, &update).ok();
            }
            10 => {
                if self.send(1, "SAVEPOINT s").is_ok() {
                    self.saved = Some(self.written);
                }
            }
            11 => {
                if let Some(written) = self.saved
                    && self.send(1, "ROLLBACK TO s").is_ok()
                {
                    self.written = written;
                }
            }
            12 => {
                if self.saved.is_some() && self.send(1, "RELEASE s").is_ok() {
                    self.saved = None;
                }
            }
            13 => self.refused("SELECT 1/0", &["22012"]),
            14 => {
                let cursor = "DECLARE c CURSOR FOR SELECT tenant_id FROM stormops.properties";
                if self.send(1, cursor).is_ok() {
                    self.send(3, "FETCH 3 FROM c; MOVE 2 FROM c; FETCH 3 FROM c; CLOSE c").ok();
                }
            }
            15 => self.refused(
                &format!("SET LOCAL app.current_tenant = '{other}'; SELECT tenant_id FROM stormops.storms"),
                &["25001", "42501"],
            ),
            16 => self.refused(
                &format!("SELECT s.tenant_id FROM (SELECT set_config('app.current_tenant', '{other}', true) AS v OFFSET 0) AS x, LATERAL (SELECT tenant_id FROM stormops.storms WHERE v IS NOT NULL) AS s"),
                &["25001", "42501"],
            ),
            // Names of prepared statements stay on the connection: another tenant's client meets them.
            17 => drop(self.send(1, &format!("PREPARE q{statement} AS SELECT tenant_id FROM stormops.properties LIMIT 9"))),
            18 | 19 => drop(self.send(1, &format!("EXECUTE q{statement}"))),
            20 => drop(self.send(1, &format!("DEALLOCATE q{statement}"))),
            21 => drop(self.send(1, "LISTEN changes")),
            22 => {
                let scratch = "CREATE TEMP TABLE scratch ON COMMIT DROP AS SELECT tenant_id FROM stormops.properties";
                if self.send(1, scratch).is_ok() {
                    self.send(1, "SELECT tenant_id FROM pg_temp.scratch").ok();
                }
            }
            _ => {
                let attempt = self.rng.usize(..4);
                let sql = match attempt {
                    0 => "DECLARE h CURSOR WITH HOLD FOR SELECT tenant_id FROM stormops.storms".to_owned(),
                    1 => "LOCK TABLE stormops.storms IN ACCESS EXCLUSIVE MODE".to_owned(),
                    2 => format!("INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value) VALUES ('{other}', '{}', 1)", mark(self.pin())),
                    _ => format!("UPDATE stormops.storms SET tenant_id = '{other}'"),
                };
                self.refused(&sql, &["42501"]);
            }
        }
    }

    fn read_one(&mut self) -> Result<usize, String> {
        let read = self.read();
        self.send(1, &read)
    }

    pub fn play(&mut self) {
        while self.done.load(Ordering::Relaxed) < OPERATIONS {
            match self.rng.u8(..40) {
                0 => drop(self.send(1, "DISCARD ALL")),
                1 | 2 => self.refused("SELECT tenant_id FROM stormops.storms", &["0B000"]),
                // What the next client of the connection must not find.
                3 => {
                    let other = self.other();
                    let left = format!("SET app.current_tenant = '{other}'");
                    drop(self.send(1, &left));
                }
                4..=20 => self.short(),
                _ => self.long(),
            }
        }
    }
}
