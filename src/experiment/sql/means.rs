//! Means, from the states of `arm_agg()` and from sums by cluster.

#![expect(clippy::type_complexity, reason = "the columns of a row")]

use super::plan;
use crate::experiment::compare::{Plan, Status};
use crate::experiment::moments::{Difference, MOST_VALUES, Moments, allow_looks, cuped, welch};
use crate::experiment::{clusters, sequential};
use crate::postgres::memory::{collected, need_for_each};
use crate::postgres::raise::refuse;
use pgrx::prelude::*;

/// Reads the array that `arm_agg()` gives.
pub fn moments(state: &[Option<f64>]) -> Moments {
    let not_a_state =
        || refuse("not a state of arm_agg()", "SELECT stormops.arm_agg(y, x) ... gives one; leave it as it is.");
    match state {
        [Some(n), Some(n_invalid), Some(mean_y), Some(m2_y), Some(mean_x), Some(m2_x), Some(c_xy)] => {
            let moments = Moments {
                n: *n,
                n_invalid: *n_invalid,
                mean_y: *mean_y,
                m2_y: *m2_y,
                mean_x: *mean_x,
                m2_x: *m2_x,
                c_xy: *c_xy,
            };
            if moments.is_sound() { moments } else { not_a_state() }
        }
        _ => not_a_state(),
    }
}

/// So many elements that one too many is seen: no more of a hostile array.
pub fn first_elements(state: &Array<f64>) -> Vec<Option<f64>> {
    state.iter().take(8).collect()
}

fn read(state: Option<Array<f64>>) -> Moments {
    state.map_or(Moments::default(), |state| moments(&first_elements(&state)))
}

#[pg_extern(sql = false)]
fn arm_moments(
    state: Option<Array<f64>>,
) -> TableIterator<
    'static,
    (
        name!(n, i64),
        name!(n_invalid, i64),
        name!(mean, Option<f64>),
        name!(variance, Option<f64>),
        name!(covariate_mean, Option<f64>),
        name!(covariate_variance, Option<f64>),
        name!(covariance, Option<f64>),
    ),
> {
    let m = read(state);
    TableIterator::once((
        m.n as i64,
        m.n_invalid as i64,
        (m.n > 0.0).then_some(m.mean_y),
        m.variance_y(),
        (m.n > 0.0).then_some(m.mean_x),
        m.variance_x(),
        m.covariance(),
    ))
}

/// The always-valid interval and p-value. The sequence is asymptotic: where `allow_looks()` does not, it promises
/// nothing, and its callers say nothing.
fn looks(d: Difference, n: f64, plan: Plan) -> (f64, f64, f64) {
    let rho = sequential::rho(plan.planned_n, plan.alpha);
    let half = sequential::half_width(d.se, n, rho, plan.alpha);
    (d.estimate - half, d.estimate + half, sequential::p_value(d.estimate, d.se, n, rho))
}

#[pg_extern(sql = false)]
fn compare_means(
    treated: Option<Array<f64>>,
    control: Option<Array<f64>>,
    alpha: default!(Option<f64>, 0.05),
    planned_n: default!(Option<i64>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(status, &'static str),
        name!(treated_n, i64),
        name!(control_n, i64),
        name!(treated_mean, Option<f64>),
        name!(control_mean, Option<f64>),
        name!(difference, Option<f64>),
        name!(se, Option<f64>),
        name!(low, Option<f64>),
        name!(high, Option<f64>),
        name!(p_value, Option<f64>),
        name!(always_valid_low, Option<f64>),
        name!(always_valid_high, Option<f64>),
        name!(always_valid_p, Option<f64>),
        name!(slope, Option<f64>),
        name!(adjusted_difference, Option<f64>),
        name!(adjusted_se, Option<f64>),
        name!(adjusted_low, Option<f64>),
        name!(adjusted_high, Option<f64>),
        name!(adjusted_p, Option<f64>),
        name!(variance_left, Option<f64>),
    ),
> {
    let plan = plan(None, alpha, planned_n);
    let (treated, control) = (read(treated), read(control));
    let both = treated.n > 0.0 && control.n > 0.0;
    let plain = welch(&treated, &control);
    let adjusted = cuped(&treated, &control).filter(|(_, d)| d.estimate.is_finite() && d.se.is_finite());
    let n = treated.n + control.n;
    let looks = plain.filter(|_| allow_looks(&treated, &control)).map(|d| looks(d, n, plan));
    let status = match (treated.n, control.n) {
        (0.0, 0.0) => Status::NoOutcomes,
        (0.0, _) => Status::NoTreatment,
        (_, 0.0) => Status::NoControl,
        _ => Status::Ok,
    };
    let interval = |d: Difference| d.interval(plan.alpha);
    TableIterator::once((
        status.name(),
        treated.n as i64,
        control.n as i64,
        (treated.n > 0.0).then_some(treated.mean_y),
        (control.n > 0.0).then_some(control.mean_y),
        both.then_some(treated.mean_y - control.mean_y),
        plain.map(|d| d.se),
        plain.map(|d| interval(d).0),
        plain.map(|d| interval(d).1),
        plain.map(|d| d.p()),
        looks.map(|l| l.0),
        looks.map(|l| l.1),
        looks.map(|l| l.2),
        adjusted.map(|(slope, _)| slope),
        adjusted.map(|(_, d)| d.estimate),
        adjusted.map(|(_, d)| d.se),
        adjusted.map(|(_, d)| interval(d).0),
        adjusted.map(|(_, d)| interval(d).1),
        adjusted.map(|(_, d)| d.p()),
        adjusted.zip(plain).map(|((_, d), plain)| (d.se / plain.se).powi(2)),
    ))
}

#[pg_extern(sql = false)]
fn compare_clusters(
    treated_n: Option<Array<f64>>,
    treated_sum: Option<Array<f64>>,
    control_n: Option<Array<f64>>,
    control_sum: Option<Array<f64>>,
    alpha: default!(Option<f64>, 0.05),
    planned_n: default!(Option<i64>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(clusters, i64),
        name!(difference, Option<f64>),
        name!(se, Option<f64>),
        name!(low, Option<f64>),
        name!(high, Option<f64>),
        name!(p_value, Option<f64>),
        name!(always_valid_low, Option<f64>),
        name!(always_valid_high, Option<f64>),
        name!(always_valid_p, Option<f64>),
        name!(few_clusters, bool),
    ),
> {
    let plan = plan(None, alpha, planned_n);
    let [treated_n, treated_sum, control_n, control_sum] =
        [treated_n, treated_sum, control_n, control_sum].map(|part| {
            let length = part.as_ref().map_or(0, Array::len);
            need_for_each(length, 100);
            collected(part.iter().flat_map(Array::iter), length)
        });
    let length = treated_n.len();
    if [&treated_sum, &control_n, &control_sum].iter().any(|part| part.len() != length) {
        refuse("the four arrays must be equally long", "One element of each for each cluster.");
    }
    let clusters: Vec<clusters::Cluster> = (0..length)
        .map(|g| clusters::Cluster {
            treated_n: treated_n[g].unwrap_or(0.0),
            treated_sum: treated_sum[g].unwrap_or(0.0),
            control_n: control_n[g].unwrap_or(0.0),
            control_sum: control_sum[g].unwrap_or(0.0),
        })
        .collect();
    if clusters.iter().any(|c| ![c.treated_n, c.control_n].iter().all(|n| (0.0..=MOST_VALUES).contains(n))) {
        refuse("a cluster has from 0 to 2^53 leads", "NULL stands for none.");
    }
    let groups = clusters::Groups::of(&clusters);
    let robust = clusters::robust(&clusters).filter(|d| d.estimate.is_finite() && d.se.is_finite());
    let n = clusters.iter().map(|c| c.treated_n + c.control_n).sum();
    let looks = robust.filter(|_| clusters::allow_looks(&clusters)).map(|d| looks(d, n, plan));
    TableIterator::once((
        groups.all as i64,
        clusters::means(&clusters).map(|(treated, control)| treated - control).filter(|d| d.is_finite()),
        robust.map(|d| d.se),
        robust.map(|d| d.interval(plan.alpha).0),
        robust.map(|d| d.interval(plan.alpha).1),
        robust.map(|d| d.p()),
        looks.map(|l| l.0),
        looks.map(|l| l.1),
        looks.map(|l| l.2),
        groups.are_few(),
    ))
}
