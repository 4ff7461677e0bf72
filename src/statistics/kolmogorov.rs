//! Kolmogorov's distribution, and Smirnov's of two samples.

use std::f64::consts::{PI, TAU};

/// P(K >= x) of Kolmogorov's limit distribution.
pub fn sf(x: f64) -> f64 {
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

/// Below so many in a sample the distance is judged by its exact distribution.
const FEW: f64 = 10.0;
/// A sample of so many is as good as the distribution that it is from, beside one of a few.
const MANY: f64 = 20_000.0;

/// The p-value of the greatest distance between two samples' distribution functions, of sizes that need not be whole.
///
/// Stephens' correction (1970) of the limit distribution holds up under ties better than the exact distribution, which
/// knows none; with fewer than ten on a side it may say a third of what is right, and the exact one decides. Ties make
/// that greater than it need be, never less.
pub fn two_sample(distance: f64, n: f64, m: f64) -> f64 {
    if n.min(m) < FEW {
        return exact(distance, n.clamp(1.0, MANY) as usize, m.clamp(1.0, MANY) as usize);
    }
    let root = (n * m / (n + m)).sqrt();
    sf((root + 0.12 + 0.11 / root) * distance)
}

/// P(D >= distance) without ties: the chance that a way through the n by m grid of ranks leaves the band around its
/// diagonal (Hodges 1957). At each place the chance of having left it, over all ways that come here.
fn exact(distance: f64, n: usize, m: usize) -> f64 {
    let (n, m) = (n.min(m), n.max(m));
    // What is less than a distance by rounding only is that distance.
    let within = |i: usize, j: usize| (i as f64 / n as f64 - j as f64 / m as f64).abs() < distance * (1.0 - 1e-12);
    let mut left = vec![0.0; n + 1];
    for j in 0..=m {
        for i in 0..=n {
            left[i] = match (i, j) {
                _ if !within(i, j) => 1.0,
                (0, 0) => 0.0,
                (0, _) => left[0],
                (_, 0) => left[i - 1],
                // The last rank here is one of the first sample's with a chance of i / (i + j).
                _ => (i as f64 * left[i - 1] + j as f64 * left[i]) / (i + j) as f64,
            };
        }
    }
    left[n].clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;

    /// scipy 1.17.1: scipy.stats.kstwobign.sf.
    #[test]
    fn the_limits_tail() {
        for (x, expected) in [
            (0.2, 0.999999999999495),
            (0.5, 0.9639452436648751),
            (1.0, 0.26999967167735456),
            (1.17, 0.12939004218561884),
            (1.18, 0.1234538094297657),
            (1.5, 0.022217962616525127),
            (3.0, 3.045995948942526e-08),
        ] {
            assert_near(sf(x), expected, 1e-10);
        }
        assert_eq!(sf(0.0), 1.0);
    }

    /// A tied pair of 400 and 30 whose permutation p-value is 0.3815 (scipy 1.17.1: kstwobign.sf of the corrected
    /// argument; uncorrected it is 0.4140).
    #[test]
    fn stephens_correction() {
        assert_near(two_sample(0.1675, 400.0, 30.0), 0.3811820520132062, 1e-10);
    }

    /// Counted in whole numbers, every way through the grid; the first is ks_2samp(method='exact') of scipy 1.17.1.
    #[test]
    fn few_are_judged_exactly() {
        for (distance, n, m, expected) in [
            (1.0, 2.0, 4.0, 0.13333333333333333),
            (0.6, 5.0, 9.0, 0.11888111888111888),
            (0.5, 4.0, 6.0, 0.5523809523809524),
            (7.0 / 9.0, 9.0, 30.0, 8.812018199814066e-05),
            (0.9, 3.0, 1000.0, 0.002109531592937662),
        ] {
            assert_near(two_sample(distance, n, m), expected, 1e-11);
            assert_near(two_sample(distance, m, n), expected, 1e-11);
        }
        assert_eq!((two_sample(0.0, 3.0, 5.0), two_sample(1.0, 1.0, 1.0)), (1.0, 1.0));
        // scipy 1.17.1: kstwo.sf(0.5, 5), for a sample against what it is from; of 40 million others it takes no longer.
        assert_near(two_sample(0.5, 5.0, 4e7), 0.112, 1e-3);
    }
}
