//! The score test of a difference of proportions against any difference, by Miettinen and Nurminen (1985), with the
//! right cubic: statsmodels 0.15.0 has a slip in it (issue #10269).

use super::normal;
use super::proportions::{Arm, ln_choose};
use std::f64::consts::PI;

/// The control's rate that is likeliest when treated - control is `delta`.
fn constrained_rate(treated: Arm, control: Arm, delta: f64) -> f64 {
    let (x1, n1) = (treated.converted as f64, treated.n as f64);
    let (x0, n0) = (control.converted as f64, control.n as f64);
    let l3 = n1 + n0;
    let l2 = (n1 + 2.0 * n0) * delta - l3 - (x1 + x0);
    let l1 = (n0 * delta - l3 - 2.0 * x0) * delta + x1 + x0;
    let l0 = x0 * delta * (1.0 - delta);
    let q = (l2 / (3.0 * l3)).powi(3) - l1 * l2 / (6.0 * l3 * l3) + l0 / (2.0 * l3);
    let p = ((l2 / (3.0 * l3)).powi(2) - l1 / (3.0 * l3)).max(0.0).sqrt() * q.signum();
    let turn = if p == 0.0 { 0.0 } else { (q / p.powi(3)).clamp(-1.0, 1.0) };
    let root = 2.0 * p * ((PI + turn.acos()) / 3.0).cos() - l2 / (3.0 * l3);
    root.clamp((-delta).max(0.0), (1.0 - delta).min(1.0))
}

/// z of the observed difference against `delta`: positive if it is greater.
pub fn z(treated: Arm, control: Arm, delta: f64) -> f64 {
    let (n1, n0) = (treated.n as f64, control.n as f64);
    let p0 = constrained_rate(treated, control, delta);
    let p1 = (p0 + delta).clamp(0.0, 1.0);
    let total = n1 + n0;
    let variance = (p1 * (1.0 - p1) / n1 + p0 * (1.0 - p0) / n0) * total / (total - 1.0);
    let difference = treated.rate() - control.rate() - delta;
    if difference.abs() < 1e-15 { 0.0 } else { difference / variance.sqrt() }
}

/// The Miettinen-Nurminen interval: every delta that the test does not reject.
pub fn interval(treated: Arm, control: Arm, critical: f64) -> (f64, f64) {
    let d = treated.rate() - control.rate();
    let edge = |mut inside: f64, mut outside: f64| {
        if z(treated, control, outside).abs() <= critical {
            return outside;
        }
        for _ in 0..60 {
            let middle = (inside + outside) / 2.0;
            if z(treated, control, middle).abs() <= critical {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        inside
    };
    (edge(d, -1.0), edge(d, 1.0))
}

/// How surprising the difference is if in truth it were `delta`: the chance of one as low, and of one as high.
#[derive(Clone, Copy, Debug)]
pub struct Tails {
    pub as_low: f64,
    pub as_high: f64,
}

/// Up to so many tables the exact test costs about a millisecond.
const MAX_TABLES: u64 = 10_000;

/// The two one-sided tests against `delta`: exact for small arms, else by the normal distribution of z.
pub fn tails(treated: Arm, control: Arm, delta: f64) -> Tails {
    let small = treated.n.min(control.n) < 30 && (treated.n + 1) * (control.n + 1) <= MAX_TABLES;
    if small {
        return exact_tails(treated, control, delta);
    }
    let z = z(treated, control, delta);
    Tails { as_low: normal::sf(-z), as_high: normal::sf(z) }
}

/// Chan's exact unconditional test (1998): the greatest probability, over the control's rate, of all tables whose z is
/// at least as extreme.
fn exact_tails(treated: Arm, control: Arm, delta: f64) -> Tails {
    let observed = z(treated, control, delta);
    let tables: Vec<(usize, usize, f64)> = (0..=treated.n)
        .flat_map(|x1| (0..=control.n).map(move |x0| (x1, x0)))
        .map(|(x1, x0)| {
            let table = z(Arm { converted: x1, n: treated.n }, Arm { converted: x0, n: control.n }, delta);
            (x1 as usize, x0 as usize, table - observed)
        })
        .collect();
    let (low, high) = ((-delta).max(0.0), (1.0 - delta).min(1.0));
    let mut worst = Tails { as_low: 0.0, as_high: 0.0 };
    for step in 0..=200 {
        let p0 = low + (high - low) * f64::from(step) / 200.0;
        let (chance1, chance0) = (binomial(treated.n, p0 + delta), binomial(control.n, p0));
        let mut here = Tails { as_low: 0.0, as_high: 0.0 };
        for &(x1, x0, more) in &tables {
            let chance = chance1[x1] * chance0[x0];
            here.as_low += if more <= 1e-9 { chance } else { 0.0 };
            here.as_high += if more >= -1e-9 { chance } else { 0.0 };
        }
        worst.as_low = worst.as_low.max(here.as_low);
        worst.as_high = worst.as_high.max(here.as_high);
    }
    Tails { as_low: worst.as_low.min(1.0), as_high: worst.as_high.min(1.0) }
}

fn binomial(n: u64, p: f64) -> Vec<f64> {
    let p = p.clamp(0.0, 1.0);
    let ln_times = |k: u64, p: f64| if k == 0 { 0.0 } else { k as f64 * p.ln() };
    (0..=n).map(|k| (ln_choose(n, k) + ln_times(k, p) + ln_times(n - k, 1.0 - p)).exp()).collect()
}
