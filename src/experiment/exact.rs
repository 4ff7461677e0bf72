//! Chan's exact unconditional test (1998) of a difference of proportions against any difference: for an arm so small
//! that the score test's normal distribution does not hold, however large the other is.

use super::proportions::Arm;
use super::score::z;
use crate::statistics::binomial::Binomial;
use crate::statistics::halving::Halving;

/// How surprising a difference is if in truth it were another: the chance of one as low, and of one as high.
#[derive(Clone, Copy, Debug)]
pub struct Tails {
    pub as_low: f64,
    pub as_high: f64,
}

impl Tails {
    /// The same, seen from the other arm.
    fn exchanged(self) -> Self {
        Self { as_low: self.as_high, as_high: self.as_low }
    }
}

/// Into so many parts the control's rates are divided; and how often the way from the best to the next is halved.
const RATES: u32 = 200;
const CLOSER: i32 = 8;
/// So many standard deviations from a limit peaks are looked for.
const BESIDE: [f64; 4] = [0.5, 1.0, 2.0, 3.0];
/// What the score statistics of two tables may differ by and be the same.
const SAME: f64 = 1e-9;

/// The greatest probability, over the control's rate, of all tables whose z against `delta` is at least as low, and of
/// all whose z is at least as high.
pub fn tails(treated: Arm, control: Arm, delta: f64) -> Tails {
    if treated.n < control.n {
        return Region::of(control, treated, -delta).greatest().exchanged();
    }
    Region::of(treated, control, delta).greatest()
}

/// The tables that are as extreme as the one observed, by the control's conversions: 0, 1, and so on.
struct Region {
    treated_n: u64,
    control_n: u64,
    delta: f64,
    limits: Vec<Limits>,
}

/// z rises with the treated's conversions: as low are the tables below a number of them, as high those from one on.
struct Limits {
    low_below: u64,
    high_from: u64,
}

impl Region {
    fn of(treated: Arm, control: Arm, delta: f64) -> Self {
        let observed = z(treated, control, delta);
        let limits = |control_converted: u64| {
            let control = Arm { converted: control_converted, n: control.n };
            let first = |beyond: f64| {
                let exceeds = |x1| z(Arm { converted: x1, n: treated.n }, control, delta) - observed > beyond;
                (0..treated.n + 1).first_where(exceeds).unwrap_or(treated.n + 1)
            };
            Limits { low_below: first(SAME), high_from: first(-SAME) }
        };
        let limits = (0..=control.n).map(limits).collect();
        Self { treated_n: treated.n, control_n: control.n, delta, limits }
    }

    /// Its probability where the control's rate is `rate`.
    fn chances(&self, rate: f64) -> Tails {
        let of_treated = Binomial::new(self.treated_n, rate + self.delta);
        let of_control = Binomial::new(self.control_n, rate);
        let mut chances = Tails { as_low: 0.0, as_high: 0.0 };
        for (converted, limits) in self.limits.iter().enumerate() {
            let chance = of_control.chance(converted as u64);
            chances.as_low += chance * of_treated.below(limits.low_below);
            chances.as_high += chance * of_treated.from(limits.high_from);
        }
        chances
    }

    /// The greatest over all rates of the control that are possible.
    fn greatest(&self) -> Tails {
        let (least, most) = ((-self.delta).max(0.0), (1.0 - self.delta).min(1.0));
        let step = (most - least) / f64::from(RATES);
        let (mut low, mut high) = (Greatest::at(least), Greatest::at(least));
        let mut look = |rate: f64| {
            let rate = rate.clamp(least, most);
            let chances = self.chances(rate);
            low.compare(chances.as_low, rate);
            high.compare(chances.as_high, rate);
            [(low.chance, low.rate), (high.chance, high.rate)]
        };
        let mut best = look(least);
        for i in 1..=RATES {
            best = look(least + step * f64::from(i));
        }
        // Of many treated nearly all chance lies on one side of a limit, and has a peak beside it that rates at equal
        // distances miss. Where all of the control that may be there is less than the best, there is no need to look.
        for (converted, limits) in self.limits.iter().enumerate() {
            let converted = converted as u64;
            let peaks = [(limits.low_below, -1.0), (limits.high_from, 1.0)];
            for (i, (limit, side)) in peaks.into_iter().enumerate() {
                let (edge, sd) = self.edge(limit);
                let of_control = Binomial::new(self.control_n, edge);
                let all = if i == 0 { of_control.from(converted) } else { of_control.below(converted + 1) };
                for beside in BESIDE {
                    if sd < step && all > best[i].0 {
                        best = look(edge + side * beside * sd);
                    }
                }
            }
        }
        // Between two rates the chance may be greater still: nearer and nearer to the best.
        for closer in 1..=CLOSER {
            let aside = step * 0.5f64.powi(closer);
            for (_, rate) in best {
                look(rate - aside);
                best = look(rate + aside);
            }
        }
        Tails { as_low: best[0].0.min(1.0), as_high: best[1].0.min(1.0) }
    }

    /// The control's rate at which so many of the treated are expected to convert, and how far their rate varies.
    fn edge(&self, limit: u64) -> (f64, f64) {
        let n = self.treated_n as f64;
        let rate = (limit as f64 / n).min(1.0);
        (rate - self.delta, (rate * (1.0 - rate) / n).sqrt())
    }
}

/// The greatest chance so far, and at which rate.
struct Greatest {
    chance: f64,
    rate: f64,
}

impl Greatest {
    fn at(rate: f64) -> Self {
        Self { chance: 0.0, rate }
    }

    fn compare(&mut self, chance: f64, rate: f64) {
        if chance > self.chance {
            *self = Self { chance, rate };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expected: f64, tolerance: f64) {
        assert!((got - expected).abs() <= tolerance, "{got:e}, not {expected:e}");
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
        for (n1, n0) in [(2000, 10), (300, 40)] {
            let (low, high) = greatest_level(n1, n0, 0.05);
            assert!(low <= 0.0502 && high <= 0.0502, "{low}, {high} of {n1} beside {n0}");
        }
    }

    /// Beside many treated the chance has peaks narrower than the distance of the rates first tried.
    #[test]
    fn no_rate_has_a_greater_chance() {
        for (x1, n1, x0, n0) in
            [(730, 20_000, 2, 60), (51_000, 1_000_000, 1, 40), (900, 20_000, 0, 30), (19_000, 20_000, 25, 29)]
        {
            let region = Region::of(Arm { converted: x1, n: n1 }, Arm { converted: x0, n: n0 }, 0.05);
            let found = region.greatest();
            for rate in (0..=3800).map(|i| f64::from(i) / 4000.0) {
                let chances = region.chances(rate);
                let most = (found.as_low + 5e-4, found.as_high + 5e-4);
                assert!(chances.as_low <= most.0 && chances.as_high <= most.1, "{chances:?} at {rate}, not {found:?}");
            }
        }
    }

    /// The greatest chance of an anomaly and of an `ok`, over the control's rate, of a programme that just does as promised.
    fn greatest_level(n1: u64, n0: u64, delta: f64) -> (f64, f64) {
        let limits: Vec<(u64, u64)> = (0..=n0)
            .map(|x0| {
                let at = |x1| tails(Arm { converted: x1, n: n1 }, Arm { converted: x0, n: n0 }, delta);
                let below = (0..n1 + 1).first_where(|x1| at(x1).as_low >= 0.05).unwrap_or(n1 + 1);
                (below, (0..n1 + 1).first_where(|x1| at(x1).as_high < 0.05).unwrap_or(n1 + 1))
            })
            .collect();
        let level = |p0: f64| {
            let (of_treated, of_control) = (Binomial::new(n1, p0 + delta), Binomial::new(n0, p0));
            limits.iter().enumerate().fold((0.0, 0.0), |(low, high), (x0, (below, from))| {
                let chance = of_control.chance(x0 as u64);
                (low + chance * of_treated.below(*below), high + chance * of_treated.from(*from))
            })
        };
        let levels = (0..=380).map(|i| level(f64::from(i) / 400.0));
        levels.fold((0.0, 0.0), |greatest: (f64, f64), level| (greatest.0.max(level.0), greatest.1.max(level.1)))
    }
}
