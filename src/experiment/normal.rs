//! The standard normal distribution, by the tail: `1 - cdf` loses a p-value of 1e-20 altogether.

use statrs::distribution::{Continuous, ContinuousCDF, Normal};

/// P(Z > z).
pub fn sf(z: f64) -> f64 {
    Normal::standard().sf(z)
}

/// The density at z.
pub fn density(z: f64) -> f64 {
    Normal::standard().pdf(z)
}

/// z with P(Z > z) = `tail`.
pub fn upper(tail: f64) -> f64 {
    -Normal::standard().inverse_cdf(tail)
}

/// P(|Z| > |z|).
pub fn two_sided(z: f64) -> f64 {
    (2.0 * sf(z.abs())).min(1.0)
}
