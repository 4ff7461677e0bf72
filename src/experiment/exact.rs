//! Chan's exact unconditional test (1998) of a difference of proportions against any difference: for an arm so small
//! that the score test's normal distribution does not hold, however large the other is.

use super::normal;
use super::proportions::{Arm, Halving};
use super::score::{Tails, z};

/// Into so many parts the control's rates are divided; and how often the way from the best to the next is halved.
const RATES: u32 = 200;
const CLOSER: i32 = 8;
/// What the score statistics of two tables may differ by and be the same.
const SAME: f64 = 1e-9;

/// The greatest probability, over the control's rate, of all tables whose z against `delta` is at least as low, and of
/// all whose z is at least as high.
pub fn tails(treated: Arm, control: Arm, delta: f64) -> Tails {
    if treated.n < control.n {
        // The same, seen from the other arm.
        let other = tails(control, treated, -delta);
        return Tails { as_low: other.as_high, as_high: other.as_low };
    }
    let observed = z(treated, control, delta);
    let more = |x1: u64, x0: u64| {
        let (treated, control) = (Arm { converted: x1, n: treated.n }, Arm { converted: x0, n: control.n });
        z(treated, control, delta) - observed
    };
    // z rises with the treated's conversions: for each number of the control's the tables as low are those below a
    // number of the treated's, those as high the ones from a number on.
    let first = |holds: &dyn Fn(u64) -> bool| (0..treated.n + 1).first_where(&|x1| holds(x1)).unwrap_or(treated.n + 1);
    let limits: Vec<(u64, u64)> =
        (0..=control.n).map(|x0| (first(&|x1| more(x1, x0) > SAME), first(&|x1| more(x1, x0) >= -SAME))).collect();
    let at = |p0: f64| {
        let (of_treated, of_control) = (Binomial::new(treated.n, p0 + delta), Binomial::new(control.n, p0));
        limits.iter().enumerate().fold([0.0, 0.0], |[low, high], (x0, (below, from))| {
            let chance = of_control.chance(x0 as u64);
            [low + chance * of_treated.below(*below), high + chance * of_treated.from(*from)]
        })
    };
    let (least, greatest) = ((-delta).max(0.0), (1.0 - delta).min(1.0));
    let step = (greatest - least) / f64::from(RATES);
    let mut best = [(0.0, least); 2];
    let mut look = |p0: f64| {
        for (best, chance) in best.iter_mut().zip(at(p0)) {
            if chance > best.0 {
                *best = (chance, p0);
            }
        }
        best
    };
    (0..=RATES).for_each(|i| _ = look(least + step * f64::from(i)));
    // Between two rates the chance may be greater still: nearer and nearer to the best.
    for closer in 1..=CLOSER {
        for (_, p0) in look(least) {
            for side in [-1.0, 1.0] {
                look((p0 + side * step * 0.5f64.powi(closer)).clamp(least, greatest));
            }
        }
    }
    let [low, high] = best;
    Tails { as_low: low.0.min(1.0), as_high: high.0.min(1.0) }
}

/// A binomial distribution where it has any mass to speak of.
enum Binomial {
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
    fn new(n: u64, p: f64) -> Self {
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

    fn chance(&self, k: u64) -> f64 {
        match self {
            Self::Counted { first, chances, .. } => {
                k.checked_sub(*first).and_then(|place| chances.get(place as usize)).copied().unwrap_or(0.0)
            }
            Self::Normal { .. } => self.below(k + 1) - self.below(k),
        }
    }

    /// P(X < k).
    fn below(&self, k: u64) -> f64 {
        match self {
            Self::Counted { first, below, .. } => below.get(k.saturating_sub(*first) as usize).copied().unwrap_or(1.0),
            Self::Normal { .. } => self.beyond(k, -1.0),
        }
    }

    /// P(X >= k).
    fn from(&self, k: u64) -> f64 {
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

    #[test]
    fn arms_may_be_exchanged() {
        for (x1, n1, x0, n0) in [(7, 20, 1, 9), (0, 3, 4, 4000), (90, 900, 3, 29), (2, 2, 0, 2)] {
            let (treated, control) = (Arm { converted: x1, n: n1 }, Arm { converted: x0, n: n0 });
            let (one, other) = (tails(treated, control, 0.05), tails(control, treated, -0.05));
            near(one.as_low, other.as_high, 1e-12);
            near(one.as_high, other.as_low, 1e-12);
        }
    }

    /// Of a programme that does as promised no more than one in twenty is called an anomaly, and none that just does so
    /// `ok`: the score test by its normal distribution would call 12 of a hundred either, with ten leads of control.
    #[test]
    fn the_level_holds_beside_an_arm_of_any_size() {
        let (n1, n0, delta) = (2000, 10, 0.05);
        let limits: Vec<(u64, u64)> = (0..=n0)
            .map(|x0| {
                let at = |x1| tails(Arm { converted: x1, n: n1 }, Arm { converted: x0, n: n0 }, delta);
                let below = (0..n1 + 1).first_where(&|x1| at(x1).as_low >= 0.05).unwrap_or(n1 + 1);
                (below, (0..n1 + 1).first_where(&|x1| at(x1).as_high < 0.05).unwrap_or(n1 + 1))
            })
            .collect();
        for p0 in (0..=95).map(|percent| f64::from(percent) / 100.0) {
            let (of_treated, of_control) = (Binomial::new(n1, p0 + delta), Binomial::new(n0, p0));
            let (mut low, mut high) = (0.0, 0.0);
            for (x0, (below, from)) in limits.iter().enumerate() {
                low += of_control.chance(x0 as u64) * of_treated.below(*below);
                high += of_control.chance(x0 as u64) * of_treated.from(*from);
            }
            assert!(low <= 0.0501 && high <= 0.0501, "{low}, {high} at {p0}");
        }
    }
}
