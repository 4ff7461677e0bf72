//! Student's t distribution, by the tail.

use super::halving::edge;
use super::normal;
use statrs::function::beta::beta_reg;

/// From here on the normal distribution of a transformed t is as exact as the continued fraction below is.
const MANY: f64 = 1e4;

/// P(|T| >= |t|); NaN where t is, or where there is no degree of freedom.
pub fn two_sided(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if t.is_infinite() {
        return 0.0;
    }
    if df >= MANY {
        return normal::two_sided(as_normal(t.abs(), df));
    }
    beta_reg(df / 2.0, 0.5, df / (df + t * t)).min(1.0)
}

/// t with P(T > t) = `tail`, a tail up to a half.
pub fn upper(tail: f64, df: f64) -> f64 {
    let beyond = |t: f64| two_sided(t, df) > 2.0 * tail;
    let (mut low, mut high) = (0.0, 2.0);
    while beyond(high) {
        if high > f64::MAX / 4.0 {
            return f64::INFINITY;
        }
        (low, high) = (high, high * 2.0);
    }
    edge(low, high, beyond).1
}

/// Satterthwaite's degrees of freedom of a sum of two variances, each with its own. By the share of each: the squares of
/// very large and very small ones leave the range.
pub fn degrees_of_sum([(a, df_a), (b, df_b)]: [(f64, f64); 2]) -> f64 {
    let share = a / (a + b);
    1.0 / (share * share / df_a + (1.0 - share).powi(2) / df_b)
}

/// The normal deviate with the tail of t (Hill 1970).
fn as_normal(t: f64, df: f64) -> f64 {
    let a = df - 0.5;
    let b = 48.0 * a * a;
    let square = a * (t / df * t).ln_1p();
    let z = square.sqrt();
    let first = (square + 3.0) / b;
    let second = (((0.4 * square + 3.3) * square + 24.0) * square + 85.5) / (0.8 * square * square + 100.0 + b) / b;
    z + z * (first - second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;

    /// mpmath 1.4.1 at 40 digits: the regularised incomplete beta function, from 10^6 on the integral of the density.
    #[test]
    fn tails() {
        for (df, t, p) in [
            (7.25, 2.5, 0.03986552075891457),
            (3.0, 30.0, 8.135280427163959e-05),
            (300.0, 1.96, 0.050921252324538216),
            (1e3, 0.3, 0.7642395041672441),
            (1e3, 5.0, 6.767256364648631e-07),
            (1e3, 30.0, 1.5374687444043482e-141),
            (1e4, 1.96, 0.05002352023183305),
            (1e5, 5.0, 5.742701678641673e-07),
            (1.5e7, 1.96, 0.04999580878235618),
            (1e15, 5.0, 5.733031437584845e-07),
        ] {
            assert_near(two_sided(t, df), p, 1e-10);
        }
        assert_eq!(
            (two_sided(0.0, 3.0), two_sided(f64::INFINITY, 3.0), two_sided(f64::INFINITY, 1e9)),
            (1.0, 0.0, 0.0)
        );
        assert!(two_sided(1.0, 0.0).is_nan() && two_sided(f64::NAN, 5.0).is_nan());
    }

    /// scipy 1.17.1: t.isf. From 14.6 million degrees of freedom on the inverse of statrs 0.19.1 does not end.
    #[test]
    fn quantiles_end_at_every_size() {
        for (df, tail, t) in
            [(9.0, 0.025, 2.262157162798205), (2e7, 0.025, 1.959964103133), (1e15, 0.025, 1.959963984540054)]
        {
            assert_near(upper(tail, df), t, 1e-9);
        }
        for df in [1e-3, 0.5, 1.0, 40.0, 9999.0, 10_001.0, 1e8, 1e300] {
            for tail in [1e-300, 1e-9, 0.05, 0.4999, 0.5] {
                let t = upper(tail, df);
                // Of a t of more than that there is no square.
                assert!(t > 1e150 || (two_sided(t, df) / 2.0 / tail - 1.0).abs() < 1e-6, "{t} of {tail}, {df}");
            }
        }
    }
}
