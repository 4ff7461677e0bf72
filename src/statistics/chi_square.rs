//! The chi-square distribution, by the tail.

use super::gamma;

/// P(X >= x); None without a degree of freedom.
pub fn sf(x: f64, df: usize) -> Option<f64> {
    (df > 0).then(|| gamma::upper(df as f64 / 2.0, x / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;

    /// scipy 1.17.1: chi2.sf.
    #[test]
    fn tails() {
        assert_near(sf(16.9, 9).unwrap(), 0.0503051901243108, 1e-12);
        assert_eq!((sf(1.0, 0), sf(0.0, 3), sf(f64::INFINITY, 3)), (None, Some(1.0), Some(0.0)));
    }
}
