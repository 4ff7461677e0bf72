//! `learn_agg()`: collects decisions with their features and fits a model in the end; and the measured effects of scores.

#![expect(unsafe_code, reason = "aggregate support functions, one of which runs for each row")]

use super::aggregates::{most_rows, read};
use crate::postgres::aggregate::{answer, given, state};
use crate::postgres::call::{self, argument, boolean, double, null, uuid};
use crate::postgres::memory::{allocated, need, out_of_memory};
use crate::postgres::raise::{raise, refuse};
use crate::uplift::calibrated::{self, Map};
use crate::uplift::calibration;
use crate::uplift::learn::{Refusal, Rows, fit, report};
use crate::uplift::ranking::Ranking;
use crate::uplift::trial::Case;
use pgrx::JsonB;
use pgrx::datum::UnboxDatum;
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;

/// What lives through an aggregation.
#[derive(Default)]
struct Learning {
    rows: Rows,
    /// The features' names, numbers first, and where each stands in the arrays of a row.
    names: Vec<String>,
    numbers: Vec<usize>,
    texts: Vec<usize>,
}

const USAGE: &str = "SELECT * FROM stormops.learn_uplift(model_version);";
/// More than there are in the catalogue.
const MOST_FEATURES: usize = 100;

/// SAFETY: the call has such an argument, and it is an array of this type or NULL.
unsafe fn array<'a, T: UnboxDatum>(call: FunctionCallInfo, i: usize) -> Option<Array<'a, T>> {
    unsafe { argument(call, i).and_then(|datum| Array::from_polymorphic_datum(datum, false, pg_sys::InvalidOid)) }
}

/// The elements of an array that never changes; an error if it has NULLs or too many.
///
/// SAFETY: as above.
unsafe fn constant<T>(call: FunctionCallInfo, i: usize) -> Vec<T>
where
    for<'a> T: UnboxDatum<As<'a> = T> + 'static,
{
    let elements = unsafe { array::<T>(call, i) };
    let elements: Vec<Option<T>> = elements.iter().flat_map(|all| all.iter()).take(MOST_FEATURES + 1).collect();
    if elements.len() > MOST_FEATURES || elements.iter().any(Option::is_none) {
        refuse("names and places of features are at most 100 and not NULL", USAGE);
    }
    elements.into_iter().flatten().collect()
}

/// `(state, names, number_places, text_places, property_id, treated, outcome, propensity, numbers, texts)`; the next three
/// after the state are those of the first row.
unsafe fn collect(call: FunctionCallInfo) -> Datum {
    unsafe {
        let learning = state::<Learning>(call, USAGE);
        if learning.names.is_empty() {
            let places = |i| constant::<i32>(call, i).into_iter().map(|place| place.max(1) as usize - 1);
            learning.names = constant::<String>(call, 1);
            (learning.numbers, learning.texts) = (places(2).collect(), places(3).collect());
            if learning.names.is_empty() || learning.names.len() != learning.numbers.len() + learning.texts.len() {
                refuse("each feature has a name and a place", USAGE);
            }
            learning.rows = Rows::new(learning.numbers.len(), learning.texts.len());
        }
        let (Some(property), Some(treated), Some(outcome), Some(propensity)) =
            (argument(call, 4), argument(call, 5), argument(call, 6), argument(call, 7))
        else {
            learning.rows.invalid += 1;
            return answer(learning);
        };
        if learning.rows.n() >= most_rows() {
            raise(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("more than {} decisions to learn from", most_rows()),
                "Name some storms, or have a superuser raise stormops.max_aggregate_rows.",
            );
        }
        if learning.rows.reserve(1).is_err() {
            out_of_memory();
        }
        let numbers = array::<f64>(call, 8);
        let texts = array::<&str>(call, 9);
        learning.rows.push(
            uuid(property),
            (boolean(treated), double(outcome), double(propensity)),
            learning.numbers.iter().map(|place| numbers.as_ref().and_then(|all| all.get(*place)).flatten()),
            learning.texts.iter().map(|place| texts.as_ref().and_then(|all| all.get(*place)).flatten()),
        );
        answer(learning)
    }
}

/// `{model, report}`; an error where the rows cannot answer.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let empty = &mut Learning::default();
        let learning = given::<Learning>(call, 0).unwrap_or(empty);
        // For what does not ask: the trial's effects and bins.
        need(learning.rows.n() * 64);
        let fitted = fit(&learning.rows, &learning.names, &mut || {
            pgrx::check_for_interrupts!();
        });
        let result = fitted.and_then(|fit| report(&learning.rows, &fit)).unwrap_or_else(|refusal| refused(refusal));
        JsonB(result).into_datum().unwrap_or_else(|| null(call))
    }
}

fn refused(refusal: Refusal) -> ! {
    let (message, hint) = match refusal {
        Refusal::Memory => out_of_memory(),
        Refusal::Wide(columns) => raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("the features make {columns} columns, more than 200"),
            "Name fewer features: stormops.learn_uplift(model_version, features => ARRAY[...]).",
        ),
        Refusal::NothingRandom => (
            "no decision was left to chance".to_owned(),
            "Give the mode a holdout or some exploration, UPDATE stormops.policy_modes SET exploration = 0.05 ..., and apply it to later storms.",
        ),
        Refusal::FewCases([treated, held]) => (
            format!("too few decisions to learn from: {treated} treated and {held} held that chance took"),
            "There must be 100 properties in each arm. Wait for another storm, or raise holdout and exploration in stormops.policy_modes.",
        ),
        Refusal::FewEvents([treated, held]) => (
            format!("too few outcomes to learn from: {treated} of the treated and {held} of the held converted"),
            "There must be 10 conversions in each arm, and 10 cases without. Record outcomes: stormops.record_outcomes().",
        ),
        Refusal::ThinArm([treated, held]) => (
            format!("an arm is too thin: by their weights the treated are worth {treated} cases, the held {held}"),
            "Each must be worth 50. Raise holdout and exploration in stormops.policy_modes, so that no chance is small.",
        ),
        Refusal::Constant => (
            "every feature has the same value everywhere".to_owned(),
            "SELECT * FROM stormops.model_features(); shows what there is to name; fill in properties.",
        ),
    };
    raise(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message, hint)
}

call::functions! {
    stormops_learn_collect = collect;
    stormops_learn_finish = finish;
}

#[expect(clippy::type_complexity, reason = "a row of SQL")]
#[pg_extern(sql = false)]
fn calibrated_knots(
    state: &[u8],
    bins: i32,
) -> TableIterator<
    'static,
    (
        name!(bin, i32),
        name!(n, i64),
        name!(mean_score, f64),
        name!(measured, f64),
        name!(measured_se, f64),
        name!(effect, f64),
        name!(sd, f64),
        name!(common, f64),
        name!(between_sd, f64),
    ),
> {
    if !(2..=100).contains(&bins) {
        refuse("bins must be 2 to 100", "Leave the number out for the default of 10.");
    }
    need(state.len());
    let trial = read::<Case>(state);
    let ranking = Ranking::new(&trial);
    let bins =
        ranking.effects().map(|effects| calibration::bins(&ranking, &effects, bins as usize)).unwrap_or_default();
    let Some((knots, between)) = calibrated::knots(&bins) else { return TableIterator::new(Vec::new()) };
    let row = |(place, knot): (usize, calibrated::Knot)| {
        (
            place as i32 + 1,
            knot.cases as i64,
            knot.score,
            knot.measured,
            knot.measured_se,
            knot.effect,
            knot.sd,
            between.mean,
            between.variance.sqrt(),
        )
    };
    TableIterator::new(knots.into_iter().enumerate().map(row).collect::<Vec<_>>())
}

#[pg_extern(sql = false)]
fn calibrated_at(
    score: f64,
    scores: Array<f64>,
    effects: Array<f64>,
    sds: Array<f64>,
) -> TableIterator<'static, (name!(effect, f64), name!(sd, f64))> {
    let map = map(&scores, &effects, &sds).unwrap_or_else(|| {
        refuse(
            "not a calibration: scores must rise, effects must not fall",
            "SELECT * FROM stormops.uplift_calibrations; keeps what calibrate_model() made.",
        )
    });
    TableIterator::once(map.at(score))
}

/// Some elements of three arrays as a map; None if they are none.
fn map(scores: &Array<f64>, effects: &Array<f64>, sds: &Array<f64>) -> Option<Map> {
    if scores.len() != effects.len() || scores.len() != sds.len() || scores.len() > calibrated::MOST_POINTS {
        return None;
    }
    let mut points = allocated(crate::memory::with_room(scores.len()));
    for ((score, effect), sd) in scores.iter().zip(effects.iter()).zip(sds.iter()) {
        points.push((score?, effect?, sd?));
    }
    Map::new(points)
}
