//! Tenants, their context and their standing.

mod announce;
mod break_glass;
mod challenge;
mod context;
pub mod digest;
mod entry;
mod guard;
mod hooks;
mod ids;
mod keys;
mod loading;
mod login;
mod lookup;
mod merge;
mod names;
mod refusals;
mod rights;
mod role;
mod standing;
mod token;
mod visit;

/// Defines the settings and the hooks. Called once, when the library loads.
pub fn init() {
    entry::init();
    guard::init();
    context::init(); // reserves the settings' prefix
    merge::init();
}
