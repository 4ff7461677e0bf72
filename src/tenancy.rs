//! Tenants, their context and their standing.

mod announce;
pub mod context;
mod guard;
mod ids;
mod merge;
mod names;
mod standing;
mod visit;

pub use context::raise;

/// Defines the settings and the hooks. Called once, when the library loads.
pub fn init() {
    guard::init(); // before the context reserves the prefix
    context::init();
    merge::init();
}
