//! The Bayesian reading, with uniform priors: the chance that the treated arm is the better, and what choosing it risks.

use super::proportions::Arm;
use crate::statistics::hypergeometric::Hypergeometric;
use crate::statistics::normal;

/// P(rate of treated > rate of control) under Beta(1 + converted, 1 + others).
///
/// Beta(1 + x, 1 + n - x) is the distribution of the (x + 1)th least of n + 1 uniform numbers. The treated's is the
/// greater exactly if among the x1 + x0 + 1 least of both arms' numbers no more than x1 are the treated's (Altham 1969).
pub fn probability_better(treated: Arm, control: Arm) -> f64 {
    let numbers = Hypergeometric {
        marked: treated.n + 1,
        others: control.n + 1,
        drawn: treated.converted + control.converted + 1,
    };
    numbers.up_to(treated.converted)
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
