//! Inference that holds however often one looks: the asymptotic confidence sequence of Waudby-Smith et al. (Annals of
//! Statistics 2024, arXiv 2103.06476), which for a difference of means is the normal mixture of Robbins (1970).

/// The mixture's width, best at `planned_n` leads (both arms).
pub fn rho(planned_n: f64, alpha: f64) -> f64 {
    let spent = -2.0 * alpha.ln();
    ((spent + (1.0 + spent).ln()) / planned_n).sqrt()
}

/// Half the width of the confidence sequence at n leads (equation 9).
pub fn half_width(se: f64, n: f64, rho: f64, alpha: f64) -> f64 {
    boundary(se, n, rho, (information(n, rho).sqrt() / alpha).ln())
}

/// The same for a bound on one side (equation 134).
pub fn one_sided_width(se: f64, n: f64, rho: f64, alpha: f64) -> f64 {
    boundary(se, n, rho, (information(n, rho).sqrt() / (2.0 * alpha)).ln_1p())
}

/// The p-value that holds at every look (equation 155): the reciprocal of the evidence against `difference` = 0.
pub fn p_value(difference: f64, se: f64, n: f64, rho: f64) -> f64 {
    (-ln_evidence(difference, se, n, rho)).exp().min(1.0)
}

/// ln of the e-value.
pub fn ln_evidence(difference: f64, se: f64, n: f64, rho: f64) -> f64 {
    let info = information(n, rho);
    let s2 = (difference / se).powi(2) * n;
    rho * rho * s2 / (2.0 * info) - info.ln() / 2.0
}

fn information(n: f64, rho: f64) -> f64 {
    n * rho * rho + 1.0
}

fn boundary(se: f64, n: f64, rho: f64, ln_term: f64) -> f64 {
    se * n.sqrt() * (2.0 * information(n, rho) / (n * rho).powi(2) * ln_term).sqrt()
}
