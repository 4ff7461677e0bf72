//! The score test of a difference of proportions against any difference, by Miettinen and Nurminen (1985), with the
//! right cubic: statsmodels 0.15.0 has a slip in it (issue #10269).

use super::proportions::{Arm, SMALL};
use super::{exact, normal};
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

/// The two one-sided tests against `delta`: exact where an arm is small, else by the normal distribution of z.
pub fn tails(treated: Arm, control: Arm, delta: f64) -> Tails {
    if treated.n.min(control.n) < SMALL {
        return exact::tails(treated, control, delta);
    }
    let z = z(treated, control, delta);
    Tails { as_low: normal::sf(-z), as_high: normal::sf(z) }
}
