//! A database of a test's own, and what is asked of any session in it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postgres::error::DbError;
use postgres::types::{FromSqlOwned, ToSql};
use postgres::{Client, Error};

use crate::SUPERUSER;
use crate::cluster::{TEMPLATE, cluster, run, turn};

/// A database of one test's own; dropped, with all sessions in it, when the value is.
pub struct Db {
    pub name: String,
}

impl Db {
    /// Holds the extension. The name is only for whoever reads the server's log.
    pub fn new(name: &str) -> Self {
        Self::copy(name, TEMPLATE)
    }

    /// Holds nothing, but the roles exist: to restore into.
    pub fn empty(name: &str) -> Self {
        Self::copy(name, "template0")
    }

    pub(crate) fn copy(name: &str, template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // File by file: through the log it would take twice as long, and push what others read out of shared memory.
        let create = format!("CREATE DATABASE \"{name}\" TEMPLATE {template} STRATEGY file_copy");
        cluster().superuser().batch_execute(&create).expect("a new database");
        Self { name }
    }

    /// A copy, which nobody may be connected to the original for.
    pub fn copy_of(&self) -> Self {
        let name = self.name.rsplit_once('_').map_or(self.name.as_str(), |(name, _)| name);
        Self::copy(name, &format!("\"{}\"", self.name))
    }

    #[track_caller]
    pub fn as_role(&self, role: &str) -> Client {
        cluster().connect(role, &self.name)
    }

    #[track_caller]
    pub fn superuser(&self) -> Client {
        self.as_role(SUPERUSER)
    }

    /// A script that gives a role some use, or takes it: the rights to parameters are the cluster's.
    #[track_caller]
    pub fn in_turn(&self, script: &str) {
        let _turn = turn();
        self.superuser().batch_execute(script).unwrap_or_else(|e| panic!("{script}: {e:?}"));
    }

    /// Switches a guard of tenants' sessions off for the sessions to come: for tests that look at plans, say.
    pub fn without_guard(&self, guard: &str) {
        let off = format!("ALTER DATABASE \"{}\" SET stormops.guard_{guard} = off", self.name);
        self.superuser().batch_execute(&off).expect("a superuser");
    }

    /// What psql prints, unaligned, for a script that must succeed.
    pub fn psql(&self, role: &str, script: &str) -> String {
        let mut psql = cluster().program("psql", role, &self.name);
        let printed = run(psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]), script.as_bytes());
        String::from_utf8(printed).expect("UTF-8 from psql")
    }

    pub fn pg_dump(&self, args: &[&str]) -> Vec<u8> {
        run(cluster().program("pg_dump", SUPERUSER, &self.name).args(args), &[])
    }

    /// Reads back what `pg_dump` wrote with `-Fc`.
    pub fn pg_restore(&self, dump: &[u8], args: &[&str]) {
        run(cluster().program("pg_restore", SUPERUSER, &self.name).args(["-d", &self.name]).args(args), dump);
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Nothing to do if this fails: the cluster goes with the process, and a second panic would hide the first.
        if let Ok(mut server) = cluster().try_connect(SUPERUSER, "postgres") {
            server.batch_execute(&format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name)).ok();
        }
    }
}

/// The one value of a query.
#[track_caller]
pub fn get<T: FromSqlOwned>(session: &mut Client, query: &str, params: &[&(dyn ToSql + Sync)]) -> T {
    session.query_one(query, params).unwrap_or_else(|e| panic!("{query}: {e:?}")).get(0)
}

/// Waits until as many sessions of this database wait for a lock: then what they will do next is decided.
#[track_caller]
pub fn await_blocked(db: &Db, sessions: i64) {
    let mut superuser = db.superuser();
    let blocked =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let start = Instant::now();
    while get::<i64>(&mut superuser, blocked, &[]) != sessions {
        assert!(start.elapsed() < Duration::from_secs(60), "{sessions} sessions should wait for a lock by now");
        std::thread::sleep(Duration::from_millis(5)); // between looks, not instead of one
    }
}

/// The error, for a look at its message and hint, after it proved to be of this SQLSTATE.
#[track_caller]
pub fn fails_with<T>(result: Result<T, Error>, sqlstate: &str) -> DbError {
    let Err(error) = result else { panic!("succeeded, where {sqlstate} was due") };
    let Some(error) = error.as_db_error() else { panic!("{error:?}, where {sqlstate} was due") };
    assert_eq!(error.code().code(), sqlstate, "{}: {}", error.severity(), error.message());
    error.clone()
}

/// The SQLSTATE of an answer, 00000 for success: for tables of statements and what becomes of them.
#[track_caller]
pub fn sqlstate<T>(result: &Result<T, Error>) -> &str {
    match result {
        Ok(_) => "00000",
        Err(error) => error.code().unwrap_or_else(|| panic!("{error:?}, which is no answer of the server")).code(),
    }
}
