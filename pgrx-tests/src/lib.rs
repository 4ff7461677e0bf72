//! A real cluster for the tests that need one: other roles, several sessions, commits, crashes, pg_dump.
//!
//! Each test process (each folder of `tests/`) has one cluster, copied from one that was prepared, started when first
//! asked for, and removed when the process ends, however it ends. Each test has a database of its own, copied from one
//! that holds the extension.

pub mod billed;
pub mod blocks;
mod cluster;
mod db;
pub mod monitoring;
pub mod pool;
pub mod portable;
pub mod protected;
pub mod receiver;
pub mod redteam;
pub mod rows;
pub mod rule;
pub mod tenant;
pub mod tokens;
pub mod twins;

pub use cluster::{Cluster, cluster, run, said, turn};
pub use db::{Db, await_blocked, fails_with, get, sqlstate};
pub use tenant::{enter, provision};

pub const SUPERUSER: &str = "postgres";
/// The ordinary LOGIN roles, and the kind of use that each was granted.
pub const ROLES: [(&str, &str); 4] = [("op", "operator"), ("app", "app"), ("tapp", "trusted_app"), ("mon", "monitor")];
/// A LOGIN role that was granted nothing.
pub const NOBODY: &str = "nobody";
