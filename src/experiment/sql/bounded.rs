//! Lift of bounded outcomes, from the states of `bounded_lift_agg()`.

use super::plan;
use crate::experiment::bernstein::{BoundedLift, LEAST_CHANCE, NUMBERS, Plan};
use crate::postgres::raise::refuse;
use pgrx::prelude::*;

/// The variance of an outcome that is taken where none is named: that of conversions of 11 %.
const OUTCOME_VARIANCE: f64 = 0.1;

fn read(state: Option<Array<f64>>) -> BoundedLift {
    let Some(state) = state else { return BoundedLift::default() };
    let numbers: Option<Vec<f64>> = state.iter().take(NUMBERS + 1).collect();
    let numbers = numbers.and_then(|numbers| <[f64; NUMBERS]>::try_from(numbers).ok());
    numbers
        .map(|numbers| BoundedLift::from_numbers(&numbers))
        .filter(BoundedLift::is_sound)
        .unwrap_or_else(|| refuse("not a state of bounded_lift_agg()", "Leave it as the aggregate gives it."))
}

/// The declaration stands in `sql/experiment_bounded.sql`.
#[pg_extern(sql = false)]
fn bounded_lift(
    state: Option<Array<f64>>,
    alpha: Option<f64>,
    planned_n: Option<i64>,
    outcome_variance: Option<f64>,
    least_propensity: Option<f64>,
) -> TableIterator<
    'static,
    (
        name!(n, i64),
        name!(lift, Option<f64>),
        name!(low, Option<f64>),
        name!(high, Option<f64>),
        name!(p_value, Option<f64>),
    ),
> {
    let lift = read(state);
    let fixed = plan(None, alpha, planned_n);
    let (variance, chance) = (outcome_variance.unwrap_or(OUTCOME_VARIANCE), least_propensity.unwrap_or(0.5));
    if !(variance > 0.0 && variance <= 0.25) {
        refuse(
            "outcome_variance must lie between 0 and 0.25",
            "Rates of r have r (1 - r); more than 0.25 nothing from 0 to 1 has.",
        );
    }
    if !(LEAST_CHANCE..=0.5).contains(&chance) {
        refuse(
            "least_propensity must lie between 1e-100 and 0.5",
            "The least chance of either arm that any case may have.",
        );
    }
    let plan =
        Plan { alpha: fixed.alpha, planned_n: fixed.planned_n, outcome_variance: variance, least_chance: chance };
    let interval = lift.interval(plan);
    // Corrected by chances of treatment, an estimate may leave what is possible.
    let estimate = lift.lift().map(|lift| lift.clamp(-1.0, 1.0));
    TableIterator::once((lift.n as i64, estimate, interval.map(|i| i.0), interval.map(|i| i.1), lift.p_value(plan)))
}
