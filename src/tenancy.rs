//! Tenants, their context and their standing.

mod challenge;
mod checked;
mod context;
pub mod digest;
mod entry;
mod guard;
mod kind;
mod login;
mod names;
pub mod owner;
mod refusals;
mod role;
mod settings;
mod sql;
mod standing;
mod token;

pub use names::is_invisible;

/// Defines the settings and the hooks. Called once, when the library loads.
pub fn init() {
    settings::init();
    guard::init();
    settings::reserve_prefix();
    context::init();
    login::init();
}
