//! The statistics as SQL functions, each answering in one row. Here: counts.

#![expect(clippy::type_complexity, reason = "the columns of a row")]

use super::compare::{Plan, Status, Verdict, compare};
use super::proportions::Arm;
use crate::postgres::raise::refuse;
use pgrx::prelude::*;

mod arm_agg;
mod bounded;
mod bounded_agg;
mod means;
mod planning;
mod rates;

/// What holds where an argument is NULL. The width of the always-valid interval hardly depends on the planned number.
const MIN_LIFT: f64 = 0.05;
const ALPHA: f64 = 0.05;
const PLANNED_N: f64 = 5000.0;

fn plan(promised: Option<f64>, alpha: Option<f64>, planned_n: Option<i64>) -> Plan {
    let (promised, alpha) = (promised.unwrap_or(MIN_LIFT), alpha.unwrap_or(ALPHA));
    // Of a chance below 1e-100 a quantile may have no square.
    if !(1e-100..0.5).contains(&alpha) {
        refuse("alpha must lie between 1e-100 and 0.5", "The default is 0.05: intervals of 95 %.");
    }
    if !(promised > -1.0 && promised < 1.0) {
        refuse("min_lift must lie between -1 and 1", "It is a difference of rates: 0.05 is five points.");
    }
    if planned_n.is_some_and(|n| n < 1) {
        refuse("planned_n must be positive", "Leave it out where nothing is planned.");
    }
    Plan { alpha, promised, planned_n: planned_n.map_or(PLANNED_N, |n| n as f64) }
}

fn arm(converted: Option<i64>, n: Option<i64>) -> Arm {
    let (converted, n) = (converted.unwrap_or(0), n.unwrap_or(0));
    let counts = u64::try_from(converted).ok().zip(u64::try_from(n).ok().filter(|n| *n < 1 << 53));
    counts.and_then(|(converted, n)| Arm::new(converted, n)).unwrap_or_else(|| {
        refuse("conversions must be between 0 and the number of leads", "An arm is given as converted, n.")
    })
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoControl => "no_control",
            Self::NoTreatment => "no_treatment",
            Self::NoOutcomes => "no_outcomes",
        }
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Inconclusive => "inconclusive",
            Self::Anomaly => "anomaly",
        }
    }
}

#[pg_extern(sql = false)]
fn compare_proportions(
    treated_converted: Option<i64>,
    treated_n: Option<i64>,
    control_converted: Option<i64>,
    control_n: Option<i64>,
    min_lift: default!(Option<f64>, 0.05),
    alpha: default!(Option<f64>, 0.05),
    planned_n: default!(Option<i64>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(status, &'static str),
        name!(small_sample, bool),
        name!(treated_rate, Option<f64>),
        name!(control_rate, Option<f64>),
        name!(lift, Option<f64>),
        name!(lift_low, Option<f64>),
        name!(lift_high, Option<f64>),
        name!(score_low, Option<f64>),
        name!(score_high, Option<f64>),
        name!(relative_lift, Option<f64>),
        name!(relative_low, Option<f64>),
        name!(relative_high, Option<f64>),
        name!(p_value, Option<f64>),
        name!(method, Option<&'static str>),
        name!(always_valid_low, Option<f64>),
        name!(always_valid_high, Option<f64>),
        name!(always_valid_p, Option<f64>),
        name!(always_valid_method, Option<&'static str>),
        name!(p_short, Option<f64>),
        name!(verdict, &'static str),
        name!(anomaly, bool),
        name!(always_valid_anomaly, bool),
        name!(more_leads_needed, Option<i64>),
        name!(detectable_lift, Option<f64>),
        name!(probability_better, Option<f64>),
        name!(expected_loss, Option<f64>),
        name!(boschloo_p, Option<f64>),
    ),
> {
    let (treated, control) = (arm(treated_converted, treated_n), arm(control_converted, control_n));
    let all = compare(treated, control, plan(min_lift, alpha, planned_n));
    let c = all.contrast;
    let verdict = c.map_or(Verdict::Inconclusive, |c| c.verdict);
    TableIterator::once((
        all.status.name(),
        all.small_sample,
        (treated.n > 0).then(|| treated.rate()),
        (control.n > 0).then(|| control.rate()),
        c.map(|c| c.lift),
        c.map(|c| c.newcombe.0),
        c.map(|c| c.newcombe.1),
        c.map(|c| c.score.0),
        c.map(|c| c.score.1),
        c.and_then(|c| c.relative),
        c.and_then(|c| Some(c.relative_interval?.0)),
        c.and_then(|c| Some(c.relative_interval?.1)),
        c.map(|c| c.p),
        c.map(|c| c.method),
        c.map(|c| c.always_valid.0),
        c.map(|c| c.always_valid.1),
        c.map(|c| c.always_valid_p),
        c.map(|c| c.always_valid_method),
        c.map(|c| c.p_short),
        verdict.name(),
        verdict == Verdict::Anomaly,
        c.is_some_and(|c| c.always_valid_anomaly),
        c.and_then(|c| c.more_leads).and_then(|n| i64::try_from(n).ok()),
        c.and_then(|c| c.detectable),
        c.map(|c| c.probability_better),
        c.map(|c| c.expected_loss),
        c.and_then(|c| c.boschloo_p),
    ))
}
