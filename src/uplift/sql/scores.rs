//! What SQL asks of stored scores. The declarations stand in `sql/uplift_scores.sql`.

use super::aggregates::read;
use crate::postgres::raise::refuse;
use crate::statistics::student;
use crate::uplift::drift::{Drift, Severity};
use crate::uplift::histogram;
use crate::uplift::means::Moments;
use crate::uplift::sample::Sample;
use crate::uplift::scores::{Score, Scores};
use pgrx::prelude::*;

const MOST_BINS: i32 = 1000;

fn scores(state: &[u8]) -> Scores<'_> {
    read::<Score>(state)
}

#[pg_extern(sql = false)]
fn score_is_state(bytes: &[u8]) -> bool {
    Sample::<Score>::is_state(bytes)
}

#[pg_extern(sql = false)]
fn score_n(state: &[u8]) -> i64 {
    scores(state).n() as i64
}

#[pg_extern(sql = false)]
fn score_mean(state: &[u8]) -> Option<f64> {
    scores(state).moments().map(|moments| moments.mean)
}

#[pg_extern(sql = false)]
fn score_sd(state: &[u8]) -> Option<f64> {
    scores(state).moments()?.sd()
}

#[pg_extern(sql = false)]
fn score_quantile(state: &[u8], q: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&q) {
        refuse("a quantile is between 0 and 1", "SELECT stormops.quantile(state, 0.5) is the median.");
    }
    scores(state).quantile(q)
}

#[pg_extern(sql = false)]
fn score_histogram(state: &[u8], low: f64, high: f64, bins: i32) -> Vec<i64> {
    if !(low < high && low.is_finite() && high.is_finite() && (1..=MOST_BINS).contains(&bins)) {
        refuse(
            "a histogram has 1 to 1000 bins between a low and a higher finite value",
            "SELECT stormops.histogram(state, 0, 1, 20);",
        );
    }
    histogram::counts(&scores(state), low, high, bins as usize)
}

#[expect(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn score_describe(
    state: &[u8],
) -> TableIterator<
    'static,
    (
        name!(n, i64),
        name!(n_missing, i64),
        name!(n_invalid, i64),
        name!(mean, Option<f64>),
        name!(mean_low, Option<f64>),
        name!(mean_high, Option<f64>),
        name!(sd, Option<f64>),
        name!(lowest, Option<f64>),
        name!(q05, Option<f64>),
        name!(q25, Option<f64>),
        name!(median, Option<f64>),
        name!(q75, Option<f64>),
        name!(q95, Option<f64>),
        name!(highest, Option<f64>),
        name!(distinct_scores, i64),
        name!(share_of_mode, Option<f64>),
    ),
> {
    let scores = scores(state);
    let (n, moments) = (scores.n(), scores.moments());
    let (mean, sd) = (moments.map(|moments| moments.mean), moments.and_then(Moments::sd));
    // Student's interval; none of no width.
    let margin = sd.filter(|sd| *sd > 0.0).map(|sd| student::upper(0.025, n as f64 - 1.0) * sd / (n as f64).sqrt());
    let (distinct, most) = scores.ties();
    let q = |q| scores.quantile(q);
    TableIterator::once((
        n as i64,
        scores.missing as i64,
        scores.invalid as i64,
        mean,
        mean.zip(margin).map(|(mean, margin)| mean - margin),
        mean.zip(margin).map(|(mean, margin)| mean + margin),
        sd,
        q(0.0),
        q(0.05),
        q(0.25),
        q(0.5),
        q(0.75),
        q(0.95),
        q(1.0),
        distinct as i64,
        (n > 0).then(|| most as f64 / n as f64),
    ))
}

#[expect(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn score_verdict(
    current: Option<&[u8]>,
    reference: Option<&[u8]>,
    alpha: Option<f64>,
    tolerance: Option<f64>,
    design_effect: Option<f64>,
) -> TableIterator<
    'static,
    (
        name!(drift_detected, Option<bool>),
        name!(severity, &'static str),
        name!(mean_shift, Option<f64>),
        name!(wasserstein, Option<f64>),
        name!(wasserstein_sd, Option<f64>),
        name!(ks, Option<f64>),
        name!(psi, Option<f64>),
        name!(p_ks, Option<f64>),
        name!(p_chi2, Option<f64>),
        name!(p_welch, Option<f64>),
        name!(p_mean, Option<f64>),
        name!(p_adjusted, Option<f64>),
        name!(low_power, bool),
        name!(detectable_shift, Option<f64>),
        name!(share_outside, Option<f64>),
        name!(reference_n, Option<i64>),
        name!(reference_mean, Option<f64>),
        name!(reference_sd, Option<f64>),
    ),
> {
    let (alpha, tolerance, design_effect) =
        (alpha.unwrap_or(0.05), tolerance.unwrap_or(0.02), design_effect.unwrap_or(1.0));
    if !(alpha > 0.0 && alpha < 1.0 && tolerance > 0.0) {
        refuse("alpha must be between 0 and 1, tolerance above 0", "The defaults are 0.05 and 0.02.");
    }
    if !(1.0..=1e6).contains(&design_effect) {
        refuse(
            "a design effect is between 1 and a million",
            "1: independent scores. stormops.score_design_effect(storm_id)",
        );
    }
    let current = current.map(scores).unwrap_or_default();
    let reference = reference.map(scores);
    let drift = reference.as_ref().and_then(|reference| Drift::of(&current, reference, design_effect));
    let severity = match &drift {
        Some(drift) => drift.severity(alpha, tolerance),
        None if reference.is_none() && current.n() > 0 => Severity::NewModel,
        None => Severity::LowPower,
    };
    let d = drift.as_ref();
    let moments = d.map(|d| d.reference).or_else(|| reference.as_ref().and_then(Scores::moments));
    TableIterator::once((
        d.map(|_| severity == Severity::Drift),
        severity.name(),
        d.map(|d| d.mean_shift),
        d.map(|d| d.wasserstein),
        d.map(|d| d.wasserstein_sd),
        d.map(|d| d.ks),
        d.map(|d| d.psi),
        d.map(|d| d.ks_p),
        d.and_then(|d| d.chi2_p),
        d.and_then(|d| d.welch_p),
        d.and_then(|d| d.mean_p),
        d.map(Drift::adjusted_p),
        d.is_none_or(|d| d.low_power),
        d.and_then(|d| d.detectable_shift),
        d.map(|d| d.share_outside),
        reference.as_ref().map(|reference| reference.n() as i64),
        moments.map(|moments| moments.mean),
        moments.and_then(Moments::sd),
    ))
}

type Statistic = (&'static str, Option<f64>, Option<f64>, &'static str);

#[pg_extern(sql = false)]
fn score_drift(
    current: &[u8],
    reference: &[u8],
) -> TableIterator<
    'static,
    (
        name!(statistic, &'static str),
        name!(value, Option<f64>),
        name!(p_value, Option<f64>),
        name!(meaning, &'static str),
    ),
> {
    let (current, reference) = (scores(current), scores(reference));
    let Some(d) = Drift::of(&current, &reference, 1.0) else { return TableIterator::new(Vec::new()) };
    let rows: Vec<Statistic> = vec![
        ("n", Some(current.n() as f64), None, "current scores"),
        ("reference_n", Some(reference.n() as f64), None, "reference scores"),
        (
            "mean_shift",
            Some(d.mean_shift),
            d.mean_p,
            "difference of the means, in uplift; Student's test, one variance",
        ),
        ("welch_t", d.welch.map(|w| w.0), d.welch_p, "that difference in standard errors; Welch's test"),
        ("welch_df", d.welch.map(|w| w.1), None, "its degrees of freedom (Satterthwaite)"),
        (
            "sd_ratio",
            d.current.sd().zip(d.reference.sd()).and_then(ratio),
            None,
            "standard deviations, current over reference",
        ),
        (
            "ks",
            Some(d.ks),
            Some(d.ks_p),
            "greatest distance of the distribution functions; Kolmogorov-Smirnov (Stephens)",
        ),
        ("wasserstein", Some(d.wasserstein), None, "mean distance that scores moved, in uplift"),
        (
            "wasserstein_sd",
            Some(d.wasserstein_sd),
            None,
            "the same in the reference's standard deviations; matters from 0.1",
        ),
        ("psi", Some(d.psi), d.psi_p, "population stability index over the reference's deciles; Yurdakul and Naranjo"),
        ("jensen_shannon", Some(d.jensen_shannon), None, "distance of the same bins, base 2, 0 to 1"),
        ("hellinger", Some(d.hellinger), None, "distance of the same bins, 0 to 1"),
        ("chi2", Some(d.chi2), d.chi2_p, "homogeneity of the same bins; Pearson"),
        ("chi2_df", Some(d.chi2_df as f64), None, "its degrees of freedom"),
        ("share_outside", Some(d.share_outside), None, "current scores outside the reference's range"),
        ("share_of_mode", Some(d.share_of_mode), None, "current scores that equal the most frequent one"),
        ("detectable_shift", d.detectable_shift, None, "least shift of the mean found with 80 % power"),
        ("p_adjusted", None, Some(d.adjusted_p()), "least of ks, chi2 and mean_shift, after Benjamini and Hochberg"),
    ];
    TableIterator::new(rows)
}

fn ratio((a, b): (f64, f64)) -> Option<f64> {
    (b > 0.0).then(|| a / b)
}
