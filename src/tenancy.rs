//! Tenants, their context and their standing.

mod announce;
mod context;
pub mod digest;
mod guard;
mod ids;
mod loading;
mod names;
mod standing;
mod visit;

pub use context::raise;

/// Defines the settings and the hooks. Called once, when the library loads.
pub fn init() {
    context::init();
    guard::init();
}
