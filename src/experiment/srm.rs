//! Sample-ratio mismatch: are the arms as large as their weights say?

use crate::statistics::{chi_square, dirichlet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Warning,
    Alarm,
    TooFew,
}

#[derive(Clone, Copy, Debug)]
pub struct SampleRatio {
    /// Leads in the arms that have a weight.
    pub n: f64,
    pub chi2: f64,
    pub df: f64,
    pub p: f64,
    /// ln of the Bayes factor against the weights; its p-value holds at every look.
    pub ln_bayes_factor: f64,
    pub sequential_p: f64,
    /// The greatest difference between an arm's share and its weight.
    pub deviation: f64,
    pub verdict: Verdict,
}

/// Concentration of the Dirichlet prior about the weights (the default of ssrm-test): looks for small deviations.
const CONCENTRATION: f64 = 10_000.0;

/// Judges counts against weights; None unless two arms or more have a weight above zero.
///
/// GrowthBook's alarm (p < 0.001, eight expected in each arm) and Statsig's warning (p < 0.01), both only if an arm's
/// share is off by 0.1 % or more: with millions of leads less than that is significant, and no matter.
pub fn sample_ratio(counts: &[u64], weights: &[f64]) -> Option<SampleRatio> {
    let arms: Vec<(f64, f64)> =
        counts.iter().zip(weights).filter(|(_, w)| **w > 0.0).map(|(c, w)| (*c as f64, *w)).collect();
    let whole: f64 = arms.iter().map(|(_, w)| w).sum();
    if counts.len() != weights.len() || arms.len() < 2 || !whole.is_finite() {
        return None;
    }
    let n: f64 = arms.iter().map(|(c, _)| c).sum();
    let arms: Vec<(f64, f64)> = arms.iter().map(|(c, w)| (*c, w / whole)).collect();
    let df = arms.len() as f64 - 1.0;
    let chi2: f64 = if n == 0.0 { 0.0 } else { arms.iter().map(|(c, w)| (c - n * w).powi(2) / (n * w)).sum() };
    let p = chi_square::sf(chi2, arms.len() - 1).unwrap_or(1.0);
    let ln_bayes_factor = dirichlet::ln_evidence(&arms, CONCENTRATION);
    let deviation = if n == 0.0 { 0.0 } else { arms.iter().map(|(c, w)| (c / n - w).abs()).fold(0.0, f64::max) };
    let verdict = if arms.iter().any(|(_, w)| n * w < 8.0) {
        Verdict::TooFew
    } else if deviation < 0.001 || p >= 0.01 {
        Verdict::Ok
    } else if p >= 0.001 {
        Verdict::Warning
    } else {
        Verdict::Alarm
    };
    Some(SampleRatio {
        n,
        chi2,
        df,
        p,
        ln_bayes_factor,
        sequential_p: (-ln_bayes_factor).exp().min(1.0),
        deviation,
        verdict,
    })
}
