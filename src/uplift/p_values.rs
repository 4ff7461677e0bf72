//! Upper tails, never 1 - cdf.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};
use std::f64::consts::{PI, TAU};

/// P(|Z| >= |z|) of the standard normal distribution.
pub fn normal_two_sided(z: f64) -> f64 {
    2.0 * Normal::standard().sf(z.abs())
}

/// P(|T| >= |t|) of Student's distribution.
pub fn student_two_sided(t: f64, df: f64) -> Option<f64> {
    let student = StudentsT::new(0.0, 1.0, df).ok()?;
    Some((2.0 * student.sf(t.abs())).min(1.0))
}

/// The quantile of Student's distribution.
pub fn student_quantile(p: f64, df: f64) -> Option<f64> {
    StudentsT::new(0.0, 1.0, df).ok().map(|student| student.inverse_cdf(p))
}

/// P(X >= x) of the chi-square distribution; None without a degree of freedom.
pub fn chi2(x: f64, df: usize) -> Option<f64> {
    ChiSquared::new(df as f64).ok().map(|chi2| chi2.sf(x))
}

/// P(K >= x) of Kolmogorov's limit distribution.
pub fn kolmogorov(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.18 {
        // The theta form converges fast where the alternating series does not.
        let term = |k: i32| (-f64::from((2 * k - 1).pow(2)) * PI * PI / (8.0 * x * x)).exp();
        return 1.0 - TAU.sqrt() / x * (1..=5).map(term).sum::<f64>();
    }
    let term = |k: i32| f64::from(1 - 2 * ((k + 1) % 2)) * (-2.0 * f64::from(k * k) * x * x).exp();
    2.0 * (1..=10).map(term).sum::<f64>()
}

/// The p-value of a two-sample Kolmogorov-Smirnov distance, with Stephens' correction (1970),
/// which holds up under ties better than the exact or the plain asymptotic one.
pub fn kolmogorov_smirnov(distance: f64, n: f64, m: f64) -> f64 {
    let root = (n * m / (n + m)).sqrt();
    kolmogorov((root + 0.12 + 0.11 / root) * distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::assert_near;

    /// scipy 1.17.1: scipy.stats.kstwobign.sf.
    #[test]
    fn kolmogorovs_tail() {
        for (x, expected) in [
            (0.2, 0.999999999999495),
            (0.5, 0.9639452436648751),
            (1.0, 0.26999967167735456),
            (1.17, 0.12939004218561884),
            (1.18, 0.1234538094297657),
            (1.5, 0.022217962616525127),
            (3.0, 3.045995948942526e-08),
        ] {
            assert_near(kolmogorov(x), expected, 1e-10);
        }
        assert_eq!(kolmogorov(0.0), 1.0);
    }

    /// A tied pair of 400 and 30 whose permutation p-value is 0.3815 (scipy 1.17.1: kstwobign.sf of the
    /// corrected argument; uncorrected it is 0.4140).
    #[test]
    fn stephens_correction() {
        assert_near(kolmogorov_smirnov(0.1675, 400.0, 30.0), 0.3811820520132062, 1e-10);
    }

    /// scipy 1.17.1: norm.sf, t.sf, chi2.sf.
    #[test]
    fn tails() {
        assert_near(normal_two_sided(-1.96), 0.04999579029644087, 1e-9);
        assert_near(normal_two_sided(30.0), 9.813427854295816e-198, 1e-9);
        assert_near(student_two_sided(2.5, 7.25).unwrap(), 0.03986552075891457, 1e-9);
        assert_near(chi2(16.9, 9).unwrap(), 0.0503051901243108, 1e-9);
        assert_near(student_quantile(0.975, 9.0).unwrap(), 2.262157162798205, 1e-9);
        assert_eq!(chi2(1.0, 0), None);
    }
}
