//! What more than one domain computes with: distributions by their tails, sums that lose nothing, searches that end.
//!
//! Plain Rust that knows nothing of Postgres. Nothing here runs longer than some milliseconds, whatever its arguments:
//! every loop has a bound that does not depend on data, so no caller needs to ask for interrupts in between.

pub mod binomial;
pub mod chi_square;
pub mod cholesky;
pub mod dirichlet;
#[cfg(test)]
pub mod draws;
pub mod gamma;
pub mod halving;
pub mod hypergeometric;
pub mod kolmogorov;
pub mod multiplicity;
pub mod normal;
pub mod student;
pub mod sum;

#[cfg(test)]
#[track_caller]
pub fn assert_near(value: f64, expected: f64, tolerance: f64) {
    let close = (value - expected).abs() <= tolerance * expected.abs().max(1e-300);
    assert!(close, "{value:e} is not within {tolerance:e} of {expected:e}");
}
