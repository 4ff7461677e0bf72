//! The Bayesian reading, with uniform priors: the chance that the treated arm is the better, and what choosing it risks.

use super::normal;
use super::proportions::Arm;
use statrs::function::beta::ln_beta;

/// Beyond so many terms the normal distribution takes over; its error is then far below any use.
const MAX_TERMS: u64 = 100_000;

/// P(rate of treated > rate of control) under Beta(1 + converted, 1 + others).
///
/// Miller's finite sum, over whichever of the two counts is the smaller: exchanging the arms and what counts as a
/// conversion leaves the probability as it is.
pub fn probability_better(treated: Arm, control: Arm) -> f64 {
    let (x1, f1) = (treated.converted, treated.n - treated.converted);
    let (x0, f0) = (control.converted, control.n - control.converted);
    if x1.min(f0) > MAX_TERMS {
        let (mean, sd) = difference(treated, control);
        return normal::sf(-mean / sd);
    }
    if x1 <= f0 { miller(x1, f1, x0, f0) } else { miller(f0, x0, f1, x1) }
}

fn miller(x1: u64, f1: u64, x0: u64, f0: u64) -> f64 {
    let (b1, a0, b0) = (f1 as f64 + 1.0, x0 as f64 + 1.0, f0 as f64 + 1.0);
    let mut ln_term = ln_beta(a0, b1 + b0) - b1.ln() - ln_beta(1.0, b1) - ln_beta(a0, b0);
    let mut sum = ln_term.exp();
    for i in 0..x1 {
        let i = i as f64;
        ln_term += ((a0 + i) * (b1 + i) / ((a0 + i + b1 + b0) * (1.0 + i))).ln();
        sum += ln_term.exp();
    }
    sum.clamp(0.0, 1.0)
}

/// What choosing the treatment loses on average, in conversions per lead: E[max(control - treated, 0)], normal.
pub fn expected_loss(treated: Arm, control: Arm) -> f64 {
    let (mean, sd) = difference(treated, control);
    (sd * normal::density(mean / sd) - mean * normal::sf(mean / sd)).max(0.0)
}

/// Mean and standard deviation of the difference of the two rates.
fn difference(treated: Arm, control: Arm) -> (f64, f64) {
    let moments = |arm: Arm| {
        let (a, b) = (arm.converted as f64 + 1.0, (arm.n - arm.converted) as f64 + 1.0);
        (a / (a + b), a * b / ((a + b).powi(2) * (a + b + 1.0)))
    };
    let ((m1, v1), (m0, v0)) = (moments(treated), moments(control));
    (m1 - m0, (v1 + v0).sqrt())
}
