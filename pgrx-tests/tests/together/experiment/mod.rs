//! Experiments: assignment, results, and trials of others.

mod checks;
mod rates;
mod reports;
mod trials;

pub use trials::trial;
