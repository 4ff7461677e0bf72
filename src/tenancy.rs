//! Tenants, their context and their standing.

mod announce;
mod context;
mod guard;
mod ids;
mod merge;
mod names;
mod standing;
mod visit;

/// Defines the settings and the hooks. Called once, when the library loads.
pub fn init() {
    context::init();
    guard::init();
    merge::init();
}
