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

/// z with P(Z <= z) = `p`.
pub fn quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// z with P(Z > z) = `tail`.
pub fn upper(tail: f64) -> f64 {
    -quantile(tail)
}

/// P(|Z| > |z|).
pub fn two_sided(z: f64) -> f64 {
    (2.0 * sf(z.abs())).min(1.0)
}

/// P(Z > z) of a sum of many small parts, which is nearly normal: Edgeworth's expansion to the second order.
pub fn sf_corrected(z: f64, skewness: f64, excess: f64) -> f64 {
    let first = skewness / 6.0 * (z * z - 1.0);
    let second = excess / 24.0 * z * (z * z - 3.0) + skewness * skewness / 72.0 * z * (z.powi(4) - 10.0 * z * z + 15.0);
    (sf(z) + (first + second) * density(z)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;

    /// scipy 1.17.1: norm.sf, norm.isf.
    #[test]
    fn tails() {
        assert_near(two_sided(-1.96), 0.04999579029644087, 1e-9);
        assert_near(two_sided(30.0), 9.813427854295816e-198, 1e-9);
        assert_near(upper(0.025), 1.959963984540054, 1e-12);
        assert_near(upper(1e-300), 37.0471, 1e-6);
    }
}
