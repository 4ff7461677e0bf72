//! Uplift scores as SQL functions and aggregates.

pub mod aggregates;
mod learning;
mod models;
mod scores;
mod streams;
mod trials;

pub use aggregates::init;
