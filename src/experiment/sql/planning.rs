//! Before and around the comparison: sample sizes, the arms' sizes, many p-values at once.

use super::plan;
use crate::experiment::{power, srm};
use crate::postgres::memory::{collected, need_for_each};
use crate::postgres::raise::refuse;
use crate::statistics::multiplicity;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn check_sample_ratio(
    counts: Array<i64>,
    weights: Array<f64>,
) -> TableIterator<
    'static,
    (
        name!(verdict, &'static str),
        name!(chi2, Option<f64>),
        name!(df, i32),
        name!(p_value, Option<f64>),
        name!(ln_bayes_factor, Option<f64>),
        name!(sequential_p, Option<f64>),
        name!(deviation, Option<f64>),
    ),
> {
    need_for_each(counts.len() + weights.len(), 100);
    let counts: Option<Vec<u64>> = counts.iter().map(|c| u64::try_from(c.unwrap_or(0)).ok()).collect();
    let weights: Option<Vec<f64>> = weights.iter().collect::<Option<Vec<f64>>>();
    let found =
        counts.zip(weights.filter(|w| w.iter().all(|w| *w >= 0.0))).and_then(|(c, w)| srm::sample_ratio(&c, &w));
    let found = found.unwrap_or_else(|| {
        refuse(
            "counts and weights must be equally long, with two weights above zero or more",
            "check_sample_ratio('{520,480}', '{0.5,0.5}')",
        )
    });
    let verdict = match found.verdict {
        srm::Verdict::Ok => "ok",
        srm::Verdict::Warning => "warning",
        srm::Verdict::Alarm => "alarm",
        srm::Verdict::TooFew => "too_few",
    };
    let known = |value| (found.n > 0.0).then_some(value);
    TableIterator::once((
        verdict,
        known(found.chi2),
        found.df as i32,
        known(found.p),
        known(found.ln_bayes_factor),
        known(found.sequential_p),
        known(found.deviation),
    ))
}

#[pg_extern(sql = false)]
fn leads_per_arm_sql(control_rate: Option<f64>, lift: Option<f64>, alpha: Option<f64>) -> Option<i64> {
    let (control_rate, lift, alpha) = (control_rate?, lift?, plan(None, alpha, None).alpha);
    power::leads_per_arm(control_rate, lift, alpha).map(|n| n.ceil() as i64)
}

#[pg_extern(sql = false)]
fn comparison_power_sql(
    control_rate: Option<f64>,
    lift: Option<f64>,
    leads_per_arm: Option<i64>,
    alpha: Option<f64>,
) -> Option<f64> {
    let (control_rate, lift, leads_per_arm) = (control_rate?, lift?, leads_per_arm?);
    let alpha = plan(None, alpha, None).alpha;
    let possible = power::is_lift(control_rate, lift) && leads_per_arm > 0;
    let power = power::power(control_rate, lift, leads_per_arm as f64, alpha);
    (possible && power.is_finite()).then_some(power)
}

#[pg_extern(sql = false)]
fn benjamini_hochberg_sql(p_values: Array<f64>) -> Vec<Option<f64>> {
    need_for_each(p_values.len(), 100);
    let p_values = collected(p_values.iter(), p_values.len());
    if p_values.iter().flatten().any(|p| !(0.0..=1.0).contains(p)) {
        refuse("a p-value lies between 0 and 1", "NULL stands for none, and stays NULL.");
    }
    multiplicity::benjamini_hochberg(&p_values)
}
