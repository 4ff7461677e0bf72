//! One arm and two: the pooled z test, Fisher's exact test, Wilson's and Newcombe's intervals.

use crate::statistics::halving::Halving;
use crate::statistics::hypergeometric::Hypergeometric;

/// Below so many leads an arm is judged by exact tests.
pub const SMALL: u64 = 30;

/// The conversions of an arm out of its leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    pub converted: u64,
    pub n: u64,
}

impl Arm {
    /// None if there are more conversions than leads.
    pub fn new(converted: u64, n: u64) -> Option<Self> {
        (converted <= n).then_some(Self { converted, n })
    }

    pub fn rate(self) -> f64 {
        self.converted as f64 / self.n as f64
    }

    /// Variance of the rate, by its own estimate: zero when none or all converted.
    pub fn variance(self) -> f64 {
        let p = self.rate();
        p * (1.0 - p) / self.n as f64
    }

    /// At least thirty leads, ten conversions and ten others: the normal distribution is near enough.
    pub fn is_large(self) -> bool {
        self.n >= SMALL && self.converted >= 10 && self.n - self.converted >= 10
    }
}

/// Whether more than half of both arms converted: then rates are counted by those that did not, since a number near 1
/// keeps fewer digits than one near 0.
pub fn mostly_convert(treated: Arm, control: Arm) -> bool {
    treated.converted + control.converted > (treated.n + control.n) / 2
}

/// The difference of the rates.
pub fn lift(treated: Arm, control: Arm) -> f64 {
    let failed = |arm: Arm| (arm.n - arm.converted) as f64 / arm.n as f64;
    if mostly_convert(treated, control) { failed(control) - failed(treated) } else { treated.rate() - control.rate() }
}

/// The pooled z of a difference of two proportions; None if neither or both arms converted throughout.
pub fn pooled_z(treated: Arm, control: Arm) -> Option<f64> {
    let (n1, n0) = (treated.n as f64, control.n as f64);
    let p = (treated.converted + control.converted) as f64 / (n1 + n0);
    let variance = p * (1.0 - p) * (1.0 / n1 + 1.0 / n0);
    (variance > 0.0).then(|| lift(treated, control) / variance.sqrt())
}

/// What the logarithms of two chances may differ by and be the same: the tolerance of scipy.stats.fisher_exact.
const SAME: f64 = 1e-7;

/// Fisher's exact test, two-sided: the probability, given the margins, of all tables at most as likely as this one.
///
/// The hypergeometric distribution is log-concave, so those tables are two tails. Their sums stop where the terms
/// vanish: the cost is a few standard deviations, not the number of leads.
pub fn fisher(treated: Arm, control: Arm) -> f64 {
    let tables = Hypergeometric { marked: treated.n, others: control.n, drawn: treated.converted + control.converted };
    let observed = tables.ln_chance(treated.converted);
    let no_likelier = |k: u64| tables.ln_chance(k) <= observed + SAME;
    let mode = tables.mode();
    if no_likelier(mode) {
        return 1.0;
    }
    // The ends of the two tails nearest the mode: by halving, on the sides where the terms rise and fall.
    let below = (tables.least()..mode).last_where(no_likelier).map_or(0.0, |k| tables.falling(k));
    let above = (mode + 1..tables.most() + 1).first_where(no_likelier).map_or(0.0, |k| tables.rising(k));
    (below + above).min(1.0)
}

/// Wilson's score interval of a rate.
pub fn wilson(arm: Arm, z: f64) -> (f64, f64) {
    let (x, n) = (arm.converted as f64, arm.n as f64);
    let centre = (x + z * z / 2.0) / (n + z * z);
    let half = z / (n + z * z) * (x * (n - x) / n + z * z / 4.0).sqrt();
    let low = if arm.converted == 0 { 0.0 } else { centre - half };
    let high = if arm.converted == arm.n { 1.0 } else { centre + half };
    (low.max(0.0), high.min(1.0))
}

/// Newcombe's hybrid score interval of the difference (1998, method 10).
pub fn newcombe(treated: Arm, control: Arm, z: f64) -> (f64, f64) {
    let (p1, p0) = (treated.rate(), control.rate());
    let ((l1, u1), (l0, u0)) = (wilson(treated, z), wilson(control, z));
    let d = p1 - p0;
    ((d - (p1 - l1).hypot(u0 - p0)).max(-1.0), (d + (u1 - p1).hypot(p0 - l0)).min(1.0))
}
