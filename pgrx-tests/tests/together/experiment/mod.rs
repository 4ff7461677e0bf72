//! Experiments: assignment, results, and trials of others.

mod checks;
mod rates;
mod reports;
pub mod trials;
