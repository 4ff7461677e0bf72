//! Tenants, their context and their standing.

mod announce;
mod context;
mod ids;
mod names;
mod standing;
mod visit;

pub use context::init;
