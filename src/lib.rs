//! StormOps: the platform of a storm-response business inside one Postgres database.
//!
//! Eight domains name the modules here and the files in `sql/`. What is a set is SQL and
//! lives there; what is an algorithm is Rust and lives here. All that Postgres calls of a domain stands in its `sql`,
//! and what every domain needs of the server in `postgres`.

use pgrx::prelude::*;

mod experiment;
mod field;
mod health;
mod install;
mod memory;
mod metering;
#[cfg(any(test, feature = "pg_test"))]
mod pg_tests;
mod policy;
mod portability;
mod postgres;
mod statistics;
mod tenancy;
mod uplift;

pgrx::pg_module_magic!(name, version);

/// Defines the settings and the hooks once per backend (once per server when preloaded).
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    postgres::raise::keep_backtraces_out();
    // Before tenancy reserves the prefix: what is not defined then is forgotten.
    uplift::init();
    health::init();
    policy::init();
    tenancy::init();
}

#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'stormops'"]
    }
}
