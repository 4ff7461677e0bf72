//! The guard of tenants' sessions: what SQL privileges cannot refuse.
//!
//! It watches commands (`commands`), the server's own functions (`functions`), `MERGE` (`merge`), cursors that go on
//! (`resumption`), and what a transaction comes to (`transaction`). Settings it never watches: their own check hooks
//! keep them (`ceilings`).

mod age;
mod ceilings;
mod commands;
mod functions;
mod merge;
mod parsing;
mod plans;
mod resumption;
mod switches;
mod temporary;
mod tenants;
pub mod transaction;

/// Defines the settings and sets the hooks. Called once, when the library loads, and before the
/// settings' prefix is reserved.
pub fn init() {
    switches::init();
    tenants::init();
    ceilings::init();
    age::define();
    transaction::init();
    commands::init();
    functions::read_builtins();
    functions::init();
    parsing::init();
    plans::init();
    resumption::init();
    merge::init();
}
