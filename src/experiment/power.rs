//! How many leads a comparison needs, and what it could have found.

use super::proportions::{Arm, lift};
use crate::statistics::halving::edge;
use crate::statistics::normal;

/// Power and level of every planning figure.
const POWER: f64 = 0.8;

/// Whether it is a lift, from a rate to a rate.
pub fn is_lift(control_rate: f64, lift: f64) -> bool {
    (0.0..=1.0).contains(&control_rate) && (0.0..=1.0).contains(&(control_rate + lift)) && lift != 0.0
}

/// More leads than there can be.
const MOST_PLANNED: f64 = 9e18;

/// Leads in each arm to find `lift` over a control rate with 80 % power in a two-sided test of level alpha: the test is
/// by the rate of both arms together, as in `power()`, of which this is the inverse.
pub fn leads_per_arm(control_rate: f64, lift: f64, alpha: f64) -> Option<f64> {
    let treated_rate = control_rate + lift;
    is_lift(control_rate, lift).then(|| {
        let mean = f64::midpoint(control_rate, treated_rate);
        let under_null = (2.0 * mean * (1.0 - mean)).sqrt();
        let in_truth = (treated_rate * (1.0 - treated_rate) + control_rate * (1.0 - control_rate)).sqrt();
        ((normal::upper(alpha / 2.0) * under_null + normal::upper(1.0 - POWER) * in_truth) / lift).powi(2)
    })
    // From none to all there is no variance to plan with.
    .filter(|n| *n < MOST_PLANNED && !(control_rate.min(treated_rate) == 0.0 && control_rate.max(treated_rate) == 1.0))
}

/// Power of a two-sided test of level alpha, n leads in each arm.
pub fn power(control_rate: f64, lift: f64, n: f64, alpha: f64) -> f64 {
    let treated_rate = control_rate + lift;
    let mean = (control_rate + treated_rate) / 2.0;
    let under_null = (2.0 * mean * (1.0 - mean)).sqrt();
    let in_truth = (treated_rate * (1.0 - treated_rate) + control_rate * (1.0 - control_rate)).sqrt();
    let critical = normal::upper(alpha / 2.0) * under_null / in_truth;
    let shift = lift * n.sqrt() / in_truth;
    normal::sf(critical - shift) + normal::sf(critical + shift)
}

/// The smallest lift over the control's rate that these arms find with 80 % power; None if none of up to one is.
pub fn detectable_lift(treated_n: u64, control: Arm, alpha: f64) -> Option<f64> {
    let p0 = smoothed(control);
    let needed = normal::upper(alpha / 2.0) + normal::upper(1.0 - POWER);
    let found = |lift: f64| {
        let p1 = p0 + lift;
        let variance = p1 * (1.0 - p1) / treated_n as f64 + p0 * (1.0 - p0) / control.n as f64;
        lift >= needed * variance.sqrt()
    };
    found(1.0 - p0).then(|| edge(1.0 - p0, 0.0, found).0)
}

/// Beyond so many leads "more" is no advice.
const MOST_LEADS: f64 = 1e9;

/// How many more leads, split as the present ones, decide a one-sided test against `promised` with 80 % power, if the
/// lift is in truth what it is now. None if it is so near the promise that a thousand million would not.
pub fn more_leads(treated: Arm, control: Arm, promised: f64, alpha: f64) -> Option<u64> {
    let (p1, p0) = (smoothed(treated), smoothed(control));
    let n = (treated.n + control.n) as f64;
    let share = treated.n as f64 / n;
    let variance = p1 * (1.0 - p1) / share + p0 * (1.0 - p0) / (1.0 - share);
    let distance = lift(treated, control) - promised;
    let needed = ((normal::upper(alpha) + normal::upper(1.0 - POWER)) / distance).powi(2) * variance;
    (needed < MOST_LEADS).then(|| (needed - n).ceil().max(0.0) as u64)
}

/// The rate with half a conversion and half another added, so that it is never zero or one.
fn smoothed(arm: Arm) -> f64 {
    (arm.converted as f64 + 0.5) / (arm.n as f64 + 1.0)
}
