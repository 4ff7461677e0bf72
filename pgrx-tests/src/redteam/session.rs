//! One session of an attack, and all that the server says in it.

use std::io::Read;
use std::sync::{Arc, Mutex};

use postgres::error::DbError;
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use super::stage::{Schema, Stage};
use crate::cluster;

/// What a message was answered with.
pub struct Answer {
    /// Rows with their columns' names, counts, errors, notices, notifications: everything.
    pub text: String,
    pub rows: Vec<String>,
    pub error: Option<(String, String)>,
}

pub struct Session {
    client: Client,
    role: String,
    notices: Arc<Mutex<Vec<String>>>,
}

/// A statement that waits for another tenant fails soon; none runs for long.
const LIMITS: &str = "-c lock_timeout=700ms -c statement_timeout=9s -c client_min_messages=notice";

impl Session {
    /// `who` is a role, or one of the parts that are played: `viewer`, `owner`, `outsider`.
    pub fn open(stage: &Stage, who: &str, options: &str) -> Result<Self, Error> {
        let role = match who {
            "viewer" | "victim" | "tapp-out" => "tapp",
            "outsider" => "app",
            "owner" | "superuser" => crate::SUPERUSER,
            "operator" => "op",
            role => role,
        };
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = notices.clone();
        let mut config = Config::new();
        config.host(cluster().socket()).port(5432).user(role).dbname(&stage.db.name);
        config.options(&format!("{LIMITS} {options}"));
        config.notice_callback(move |notice| heard.lock().expect("a list").push(describe(&notice)));
        let client = config.connect(NoTls)?;
        Ok(Self { client, role: role.to_owned(), notices })
    }

    /// Begins a transaction in a tenant, as the application behind a pool does.
    pub fn pin(&mut self, stage: &Stage, who: &str, tenant: Option<char>) {
        self.client.batch_execute("ROLLBACK").expect("the end of a transaction");
        let Some(tenant) = tenant else { return };
        let id = stage.tenant(tenant);
        let set = format!("SET LOCAL app.current_tenant = '{id}'");
        let pinned = match who {
            _ if stage.schema == Schema::Naive => self.client.batch_execute(&format!("BEGIN; {set}")),
            "owner" => self.client.batch_execute(&format!(
                "SET stormops.session_tenant = on; SET app.current_tenant = '{id}'; SET SESSION AUTHORIZATION stormops_owner; BEGIN"
            )),
            "app" => self.log_in(stage, tenant, &set),
            // A user of the tenant who may only read.
            "viewer" => {
                let user = format!("SET LOCAL app.current_user_id = '{}'", crate::rows::id(8));
                self.client.batch_execute(&format!("BEGIN; {set}; {user}; SELECT stormops.current_user_role()"))
            }
            _ => self.client.batch_execute(&format!("BEGIN; {set}; SELECT stormops.current_tenant()")),
        };
        pinned.unwrap_or_else(|e| panic!("{who} cannot enter tenant {tenant}: {e:?}"));
        self.notices.lock().expect("a list").clear();
    }

    /// `app` enters by a token. Without `login()` somebody who may set the tenant lends it that right for the moment.
    fn log_in(&mut self, stage: &Stage, tenant: char, set: &str) -> Result<(), Error> {
        if let Some(token) = stage.token(tenant) {
            return self.client.batch_execute(&format!("BEGIN; SELECT stormops.login('{token}')"));
        }
        let lend = |verb: &str, preposition: &str| {
            let parameters = "SET ON PARAMETER app.current_tenant";
            stage.superuser().batch_execute(&format!("{verb} {parameters} {preposition} {}", self.role))
        };
        let may = "SELECT has_parameter_privilege($1, 'app.current_tenant', 'SET')";
        let may: bool = stage.superuser().query_one(may, &[&self.role])?.get(0);
        if !may {
            lend("GRANT", "TO")?;
        }
        let pinned = self.client.batch_execute(&format!("BEGIN; {set}; SELECT stormops.current_tenant()"));
        if !may {
            lend("REVOKE", "FROM")?;
        }
        // An open transaction hears of it when it next takes a lock.
        self.client.batch_execute("SELECT FROM pg_parameter_acl")?;
        pinned
    }

    /// An attacker does not stop at an error: the transaction goes on where the message found it.
    pub fn send(&mut self, sql: &str) -> Answer {
        self.client.batch_execute("SAVEPOINT redteam").ok();
        self.notices.lock().expect("a list").clear();
        let result = if sql.starts_with("COPY") && sql.contains("TO STDOUT") {
            self.copy_out(sql)
        } else {
            self.client.simple_query(sql).map(|messages| messages.iter().filter_map(row).collect())
        };
        let mut text: Vec<String> = std::mem::take(&mut *self.notices.lock().expect("a list"));
        let (rows, error) = match result {
            Ok(rows) => (rows, None),
            Err(error) => {
                let Some(error) = error.as_db_error() else { panic!("{sql}: {error:?}, which is no answer") };
                text.push(describe(error));
                (vec![], Some((error.code().code().to_owned(), error.message().to_owned())))
            }
        };
        if error.is_some() {
            self.client.batch_execute("ROLLBACK TO redteam").ok();
        }
        let mut notifications = self.client.notifications();
        let heard = notifications.iter().map(|heard| Ok(format!("{}: {}", heard.channel(), heard.payload())));
        text.extend(heard.collect::<Vec<_>>().unwrap_or_default());
        text.extend(rows.iter().cloned());
        let rows = rows.into_iter().filter(|row| !row.starts_with('#')).collect();
        Answer { text: text.join("\n"), rows, error }
    }

    fn copy_out(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        let mut copied = String::new();
        self.client.copy_out(sql)?.read_to_string(&mut copied).expect("text");
        Ok(copied.lines().map(str::to_owned).collect())
    }
}

/// A row, its values one after the other; what is no row begins with `#`.
fn row(message: &SimpleQueryMessage) -> Option<String> {
    match message {
        SimpleQueryMessage::Row(row) => {
            let values = (0..row.len()).map(|column| row.get(column).unwrap_or("∅"));
            Some(values.collect::<Vec<_>>().join("|"))
        }
        SimpleQueryMessage::CommandComplete(count) => Some(format!("#{count}")),
        _ => None,
    }
}

fn describe(error: &DbError) -> String {
    let fields =
        [Some(error.message()), error.detail(), error.hint(), error.where_(), error.table(), error.constraint()];
    let fields: Vec<&str> = fields.into_iter().flatten().collect();
    format!("{} {}: {}", error.severity(), error.code().code(), fields.join(" / "))
}
