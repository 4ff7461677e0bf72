//! The guard of tenants' sessions: what SQL privileges cannot refuse.
//!
//! It watches commands (`commands`), the server's own functions (`functions`), `MERGE` (`merge`) and cursors that go on
//! (`resumption`). Settings it never watches: their own check hooks
//! keep them (`ceilings`).

mod ceilings;
mod commands;
mod functions;
mod merge;
mod resumption;
mod switches;
mod temporary;
mod tenants;

/// Defines the settings and sets the hooks. Called once, when the library loads, and before the
/// settings' prefix is reserved.
pub fn init() {
    switches::init();
    ceilings::init();
    commands::init();
    functions::read_builtins();
    functions::init();
    resumption::init();
    merge::init();
}
