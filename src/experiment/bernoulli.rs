//! The exact always-valid interval of a rate: the beta-binomial mixture (Robbins 1970; Howard et al. 2021), for arms
//! too small for the asymptotic one.

use super::proportions::Arm;
use crate::statistics::dirichlet;
use crate::statistics::halving::edge;

/// Concentration of the prior about each rate, best at `planned_n` leads in the arm.
fn concentration(planned_n: f64, alpha: f64) -> f64 {
    let spent = -2.0 * alpha.ln();
    (planned_n / (spent + (1.0 + spent).ln()) - 1.0).max(1e-3)
}

/// ln of the evidence against the rate p: a martingale if p is the truth.
fn ln_evidence(arm: Arm, p: f64, concentration: f64) -> f64 {
    let (x, failed) = (arm.converted as f64, (arm.n - arm.converted) as f64);
    dirichlet::ln_evidence(&[(x, p), (failed, 1.0 - p)], concentration)
}

/// Every rate against which the evidence stays below 1 / alpha.
pub fn interval(arm: Arm, planned_n: f64, tuned_for: f64, alpha: f64) -> (f64, f64) {
    let concentration = concentration(planned_n, tuned_for);
    let inside = |p: f64| ln_evidence(arm, p, concentration) < -alpha.ln();
    let rate = arm.rate();
    let low = if arm.converted == 0 { 0.0 } else { edge(rate, 0.0, inside).1 };
    let high = if arm.converted == arm.n { 1.0 } else { edge(rate, 1.0, inside).1 };
    (low, high)
}

/// The always-valid interval of a difference, each arm taking half of alpha.
pub fn difference(treated: Arm, control: Arm, planned_n: f64, tuned_for: f64, alpha: f64) -> (f64, f64) {
    let each = |arm| interval(arm, planned_n / 2.0, tuned_for / 2.0, alpha / 2.0);
    let ((l1, u1), (l0, u0)) = (each(treated), each(control));
    (l1 - u0, u1 - l0)
}

/// The least level at which that interval leaves out zero: an always-valid p-value.
pub fn p_value(treated: Arm, control: Arm, planned_n: f64, tuned_for: f64) -> f64 {
    let rejected = |ln_level: f64| {
        let (low, high) = difference(treated, control, planned_n, tuned_for, ln_level.exp());
        low > 0.0 || high < 0.0
    };
    if !rejected(-1e-6) {
        return 1.0;
    }
    edge(-1e-6, -700.0, rejected).0.exp()
}
