//! Relative lift: treated / control - 1.

use super::proportions::{Arm, wilson};

/// The relative lift and its standard error by the delta method; None without a conversion in the control arm.
pub fn delta_method(treated: Arm, control: Arm) -> Option<(f64, f64)> {
    let (p1, p0) = (treated.rate(), control.rate());
    let variance = treated.variance() / p0.powi(2) + control.variance() * p1.powi(2) / p0.powi(4);
    (control.converted > 0).then(|| (p1 / p0 - 1.0, variance.sqrt()))
}

/// The interval of the relative lift from the logarithm of the ratio, which is nearer normal than the ratio itself.
/// Without a conversion among the treated, half a conversion is added to both arms, and nothing is ruled out below.
/// An arm that converted throughout shows no variance: then Wilson's limits of both rates, whose distances from the
/// rates on the logarithmic scale add up as errors do (Zou and Donner 2008).
pub fn log_interval(treated: Arm, control: Arm, z: f64) -> Option<(f64, f64)> {
    if control.converted == 0 {
        return None;
    }
    let throughout = |arm: Arm| arm.converted == arm.n;
    if treated.converted > 0 && (throughout(treated) || throughout(control)) {
        let ((l1, u1), (l0, u0)) = (wilson(treated, z), wilson(control, z));
        let (p1, p0) = (treated.rate(), control.rate());
        let (below, above) = ((p1 / l1).ln().hypot((u0 / p0).ln()), (u1 / p1).ln().hypot((p0 / l0).ln()));
        return Some((p1 / p0 * (-below).exp() - 1.0, p1 / p0 * above.exp() - 1.0));
    }
    let add = if treated.converted == 0 { 0.5 } else { 0.0 };
    let (x1, n1) = (treated.converted as f64 + add, treated.n as f64 + add);
    let (x0, n0) = (control.converted as f64 + add, control.n as f64 + add);
    let ln_ratio = (x1 / n1 / (x0 / n0)).ln();
    let half = z * (1.0 / x1 - 1.0 / n1 + 1.0 / x0 - 1.0 / n0).max(0.0).sqrt();
    let low = if treated.converted == 0 { 0.0 } else { (ln_ratio - half).exp() };
    Some((low - 1.0, (ln_ratio + half).exp() - 1.0))
}
