//! A real cluster for the tests that need one: other roles, several sessions, commits, crashes, pg_dump.
//!
//! Each test process (each file in `tests/`) has one cluster, made when first asked for and removed when the process
//! ends, however it ends. Each test has a database of its own, copied from one that holds the extension.

use std::sync::atomic::{AtomicU32, Ordering};

use postgres::error::DbError;
use postgres::{Client, Error};
use uuid::Uuid;

pub mod billed;
mod cluster;
pub mod pool;
pub mod receiver;
pub mod redteam;
pub mod tokens;
pub mod twins;

use cluster::TEMPLATE;
pub use cluster::{Cluster, cluster, run};

pub const SUPERUSER: &str = "postgres";
/// The ordinary LOGIN roles, and the kind of use that each was granted.
pub const ROLES: [(&str, &str); 4] = [("op", "operator"), ("app", "app"), ("tapp", "trusted_app"), ("mon", "monitor")];
/// A LOGIN role that was granted nothing.
pub const NOBODY: &str = "nobody";

/// A database of one test's own; dropped, with all sessions in it, when the value is.
pub struct Db {
    pub name: String,
}

impl Db {
    /// Holds the extension. The name is only for whoever reads the server's log.
    pub fn new(name: &str) -> Self {
        cluster().template();
        Self::copy(name, TEMPLATE)
    }

    /// Holds nothing, but the roles exist: to restore into.
    pub fn empty(name: &str) -> Self {
        cluster().template();
        Self::copy(name, "template0")
    }

    fn copy(name: &str, template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE \"{name}\" TEMPLATE {template}");
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

/// A new tenant, made by the operator.
#[track_caller]
pub fn provision(db: &Db, org_name: &str) -> Uuid {
    let email = format!("admin@{}.example", org_name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let provisioned = "SELECT tenant_id FROM stormops.provision_tenant($1, 'standard', $2)";
    db.as_role("op").query_one(provisioned, &[&org_name, &email]).expect("a tenant").get(0)
}

/// Sets the tenant of a session whose role may (`tapp`).
#[track_caller]
pub fn enter(client: &mut Client, tenant: Uuid) {
    client.batch_execute(&format!("SET app.current_tenant = '{tenant}'")).expect("a trusted role");
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
