//! The binomial distribution at any size: counted where it has any mass to speak of, or nearly normal.

use super::normal;

/// A binomial distribution where it has any mass to speak of.
pub enum Binomial {
    /// From this number on: the chance of each, of less, and of it or more.
    Counted {
        first: u64,
        chances: Vec<f64>,
        below: Vec<f64>,
        from: Vec<f64>,
    },
    Normal {
        mean: f64,
        sd: f64,
        skewness: f64,
    },
}

/// From this variance on the normal distribution with its first correction errs by some 1e-5.
const NORMAL_FROM: f64 = 1e5;

impl Binomial {
    pub fn new(n: u64, p: f64) -> Self {
        let p = p.clamp(0.0, 1.0);
        let mean = n as f64 * p;
        let sd = (mean * (1.0 - p)).sqrt();
        if sd * sd >= NORMAL_FROM {
            return Self::Normal { mean, sd, skewness: (1.0 - 2.0 * p) / sd };
        }
        // Beyond lies less than 1e-30.
        let reach = 12.0 * sd + 30.0;
        let first = (mean - reach).max(0.0) as u64;
        let last = ((mean + reach) as u64).min(n);
        let mode = (mean as u64).min(last);
        // Relative to the mode: ln_gamma of a large n would keep too few digits.
        let rise = |k: u64| (n - k) as f64 / (k + 1) as f64 * (p / (1.0 - p));
        let mut chances = vec![0.0; (last - first) as usize + 1];
        chances[(mode - first) as usize] = 1.0;
        for k in (mode..last).filter(|_| p < 1.0) {
            chances[(k + 1 - first) as usize] = chances[(k - first) as usize] * rise(k);
        }
        for k in (first..mode).rev().filter(|_| p < 1.0) {
            chances[(k - first) as usize] = chances[(k + 1 - first) as usize] / rise(k);
        }
        let whole: f64 = chances.iter().sum();
        chances.iter_mut().for_each(|chance| *chance /= whole);
        let sum = |sum: &mut f64, chance: &f64| {
            *sum += chance;
            Some(*sum)
        };
        let below = std::iter::once(0.0).chain(chances.iter().scan(0.0, sum)).collect();
        let mut from: Vec<f64> = std::iter::once(0.0).chain(chances.iter().rev().scan(0.0, sum)).collect();
        from.reverse();
        Self::Counted { first, chances, below, from }
    }

    pub fn chance(&self, k: u64) -> f64 {
        match self {
            Self::Counted { first, chances, .. } => {
                k.checked_sub(*first).and_then(|place| chances.get(place as usize)).copied().unwrap_or(0.0)
            }
            Self::Normal { .. } => self.below(k + 1) - self.below(k),
        }
    }

    /// P(X < k).
    pub fn below(&self, k: u64) -> f64 {
        match self {
            Self::Counted { first, below, .. } => below.get(k.saturating_sub(*first) as usize).copied().unwrap_or(1.0),
            Self::Normal { .. } => self.beyond(k, -1.0),
        }
    }

    /// P(X >= k).
    pub fn from(&self, k: u64) -> f64 {
        match self {
            Self::Counted { first, from, .. } => from.get(k.saturating_sub(*first) as usize).copied().unwrap_or(0.0),
            Self::Normal { .. } => self.beyond(k, 1.0),
        }
    }

    /// The normal distribution's tail above (1) or below (-1) the limit between k - 1 and k, by Edgeworth's expansion.
    fn beyond(&self, k: u64, side: f64) -> f64 {
        let Self::Normal { mean, sd, skewness } = self else { return f64::NAN };
        let x = (k as f64 - 0.5 - mean) / sd;
        (normal::sf(side * x) + side * skewness / 6.0 * (x * x - 1.0) * normal::density(x)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::DiscreteCDF;

    fn near(got: f64, expected: f64, tolerance: f64) {
        assert!((got - expected).abs() <= tolerance, "{got:e}, not {expected:e}");
    }

    #[test]
    fn a_binomial_is_that_of_statrs() {
        for (n, p) in [(1, 0.3), (29, 0.5), (500, 0.02), (5000, 0.5)] {
            let (ours, theirs) = (Binomial::new(n, p), statrs::distribution::Binomial::new(p, n).unwrap());
            let (mean, sd) = (n as f64 * p, (n as f64 * p * (1.0 - p)).sqrt());
            for z in [-4.0, -2.0, -0.5, 0.0, 1.0, 3.0] {
                let k = ((mean + z * sd).max(0.0) as u64).min(n - 1);
                near(ours.below(k + 1), theirs.cdf(k), 1e-10);
                near(ours.from(k + 1), theirs.sf(k), 1e-10);
            }
        }
        for (p, at) in [(0.0, 0), (1.0, 40)] {
            let sure = Binomial::new(40, p);
            assert_eq!((sure.chance(at), sure.below(at), sure.from(at), sure.below(at + 1)), (1.0, 0.0, 1.0, 1.0));
        }
        // Of 10^15 leads, 50 are expected to convert: the Poisson distribution's P(X >= 50).
        near(Binomial::new(1_000_000_000_000_000, 5e-14).from(50), 0.518_808, 1e-5);
    }
}
