//! A single rate.

use super::{arm, plan};
use crate::experiment::bernoulli;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn rate_bounds(
    happened: Option<i64>,
    n: Option<i64>,
    alpha: Option<f64>,
) -> TableIterator<'static, (name!(low, Option<f64>), name!(high, Option<f64>))> {
    // All of them were known before the first look.
    let (arm, plan) = (arm(happened, n), plan(None, alpha, n.filter(|n| *n > 0)));
    let bounds = (arm.n > 0).then(|| bernoulli::interval(arm, plan.planned_n, plan.alpha, plan.alpha));
    TableIterator::once((bounds.map(|b| b.0), bounds.map(|b| b.1)))
}
