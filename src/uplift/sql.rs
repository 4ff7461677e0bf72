//! Uplift scores as SQL functions and aggregates.

mod aggregates;
mod learning;
mod models;
mod scores;
mod streams;
mod trials;

pub use aggregates::init;
