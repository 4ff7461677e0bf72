//! Uplift scores: how they are distributed and whether that moved, and what they were worth once
//! outcomes came in.
//!
//! The statistics are plain Rust; `sql` is all that Postgres sees of them.

mod bins;
pub mod calibrated;
mod calibration;
mod curve;
mod drift;
#[cfg(test)]
mod drift_tests;
mod histogram;
pub mod learn;
mod means;
mod model;
mod ranking;
mod rate;
pub mod sample;
mod scores;
pub mod sql;
mod streams;
mod streams_state;
mod summary;
mod support;
mod trial;

pub use sql::init;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod hillstrom;
#[cfg(any(test, feature = "pg_test"))]
mod pg_tests;
#[cfg(test)]
mod simulations;

#[cfg(test)]
#[track_caller]
fn assert_near(value: f64, expected: f64, tolerance: f64) {
    let close = (value - expected).abs() <= tolerance * expected.abs().max(1e-3);
    assert!(close, "{value:?} is not within {tolerance:e} of {expected:?}");
}
