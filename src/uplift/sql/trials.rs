//! What SQL asks of stored trials. The declarations stand in `sql/uplift_trials.sql`.

use super::aggregates::read;
use crate::postgres::memory::need;
use crate::postgres::raise::refuse;
use crate::uplift::ranking::{Contrast, Ranking};
use crate::uplift::sample::Sample;
use crate::uplift::summary::summary;
use crate::uplift::trial::{Case, Trial};
use crate::uplift::{calibration, curve, rate};
use pgrx::prelude::*;

/// More points or bins than anybody plots.
const MOST_PARTS: i32 = 10_000;

fn trial(state: &[u8]) -> Trial<'_> {
    // Less than half of it is what the effects of all cases take.
    need(state.len());
    read::<Case>(state)
}

fn parts(count: i32) -> usize {
    if !(1..=MOST_PARTS).contains(&count) {
        refuse("points and bins must be 1 to 10000", "Leave the number out for the default.");
    }
    count as usize
}

#[pg_extern(sql = false)]
fn trial_is_state(bytes: &[u8]) -> bool {
    Sample::<Case>::is_state(bytes)
}

#[pg_extern(sql = false)]
fn trial_n(state: &[u8]) -> i64 {
    trial(state).n() as i64
}

#[pg_extern(sql = false)]
fn trial_qini(state: &[u8]) -> Option<f64> {
    let trial = trial(state);
    curve::areas(&Ranking::new(&trial))?.qini
}

#[pg_extern(sql = false)]
fn trial_auuc(state: &[u8]) -> Option<f64> {
    let trial = trial(state);
    curve::areas(&Ranking::new(&trial))?.auuc
}

#[pg_extern(sql = false)]
fn trial_top(state: &[u8], share: f64) -> Option<f64> {
    if !(share > 0.0 && share <= 1.0) {
        refuse("a share is above 0 and at most 1", "SELECT stormops.uplift_at(state, 0.3) is the best 30 percent.");
    }
    let trial = trial(state);
    Ranking::new(&trial).top(share).map(|top| top.uplift())
}

#[expect(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn trial_rate(
    state: Option<&[u8]>,
    weighting: Option<&str>,
) -> TableIterator<
    'static,
    (name!(estimate, Option<f64>), name!(se, Option<f64>), name!(z, Option<f64>), name!(p_value, Option<f64>)),
> {
    let Some(state) = state else { return TableIterator::new(std::iter::empty()) };
    let trial = trial(state);
    let ranking = Ranking::new(&trial);
    let rate = ranking.effects().map(|effects| rate::rate(&ranking, &effects));
    let estimate = match weighting.unwrap_or_default() {
        "" | "autoc" => rate.map(|rate| rate.autoc),
        "qini" => rate.map(|rate| rate.qini),
        _ => refuse("a weighting is autoc or qini", "SELECT * FROM stormops.rate(state, 'autoc');"),
    };
    TableIterator::once((
        estimate.map(|e| e.value),
        estimate.and_then(|e| e.se),
        estimate.and_then(|e| e.z()),
        estimate.and_then(|e| e.p_value()),
    ))
}

#[expect(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn trial_metrics(
    state: &[u8],
) -> TableIterator<
    'static,
    (
        name!(status, &'static str),
        name!(n, i64),
        name!(treated, i64),
        name!(control, i64),
        name!(treated_events, i64),
        name!(control_events, i64),
        name!(small_sample, bool),
        name!(weighted, bool),
        name!(uplift, Option<f64>),
        name!(uplift_se, Option<f64>),
        name!(qini, Option<f64>),
        name!(auuc, Option<f64>),
        name!(qini_area, Option<f64>),
        name!(uplift_at_10, Option<f64>),
        name!(uplift_at_10_se, Option<f64>),
        name!(uplift_at_20, Option<f64>),
        name!(uplift_at_20_se, Option<f64>),
        name!(uplift_at_30, Option<f64>),
        name!(uplift_at_30_se, Option<f64>),
        name!(autoc, Option<f64>),
        name!(autoc_se, Option<f64>),
        name!(autoc_p, Option<f64>),
        name!(rate_qini, Option<f64>),
        name!(rate_qini_se, Option<f64>),
        name!(rate_qini_p, Option<f64>),
        name!(slope, Option<f64>),
        name!(slope_se, Option<f64>),
        name!(intercept, Option<f64>),
        name!(intercept_se, Option<f64>),
        name!(calibration_error, Option<f64>),
        name!(calibration_by_chance, Option<f64>),
        name!(n_invalid, i64),
    ),
> {
    let trial = trial(state);
    let ranking = Ranking::new(&trial);
    let s = summary(&trial, &ranking);
    let uplift = |contrast: &Option<Contrast>| contrast.as_ref().map(Contrast::uplift);
    let se = |contrast: &Option<Contrast>| contrast.as_ref().and_then(|contrast| contrast.se);
    let (autoc, rate_qini) = (s.rate.as_ref().map(|rate| rate.autoc), s.rate.as_ref().map(|rate| rate.qini));
    let (areas, line) = (s.areas.as_ref(), s.line.as_ref());
    TableIterator::once((
        s.status,
        trial.n() as i64,
        ranking.treated.cases as i64,
        ranking.control.cases as i64,
        ranking.treated.events as i64,
        ranking.control.events as i64,
        s.small_sample,
        ranking.weighted,
        uplift(&s.overall),
        se(&s.overall),
        areas.and_then(|areas| areas.qini),
        areas.and_then(|areas| areas.auuc),
        areas.map(|areas| areas.qini_area),
        uplift(&s.top[0]),
        se(&s.top[0]),
        uplift(&s.top[1]),
        se(&s.top[1]),
        uplift(&s.top[2]),
        se(&s.top[2]),
        autoc.map(|e| e.value),
        autoc.and_then(|e| e.se),
        autoc.and_then(|e| e.p_value()),
        rate_qini.map(|e| e.value),
        rate_qini.and_then(|e| e.se),
        rate_qini.and_then(|e| e.p_value()),
        line.map(|line| line.slope),
        line.and_then(|line| line.slope_se),
        line.map(|line| line.intercept),
        line.and_then(|line| line.intercept_se),
        s.calibration.map(|error| error.0),
        s.calibration.and_then(|error| error.1),
        (trial.invalid + trial.missing) as i64,
    ))
}

#[expect(clippy::type_complexity, reason = "a row of SQL")]
#[pg_extern(sql = false)]
fn trial_points(
    state: Option<&[u8]>,
    points: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(share, f64),
        name!(n, i64),
        name!(qini, f64),
        name!(qini_random, f64),
        name!(uplift, Option<f64>),
        name!(gain, f64),
        name!(gain_random, f64),
    ),
> {
    let Some(state) = state else { return TableIterator::new(std::iter::empty()) };
    let trial = trial(state);
    let points = curve::points(&Ranking::new(&trial), parts(points.unwrap_or(100)));
    TableIterator::new(
        points.into_iter().map(|p| (p.share, p.cases, p.qini, p.qini_random, p.uplift, p.gain, p.gain_random)),
    )
}

#[expect(clippy::type_complexity, reason = "a row of SQL")]
#[pg_extern(sql = false)]
fn trial_bins(
    state: Option<&[u8]>,
    bins: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(bin, i32),
        name!(n, i64),
        name!(treated, i64),
        name!(control, i64),
        name!(mean_score, f64),
        name!(treated_rate, Option<f64>),
        name!(control_rate, Option<f64>),
        name!(uplift, Option<f64>),
        name!(uplift_se, Option<f64>),
        name!(effect, f64),
        name!(effect_se, Option<f64>),
    ),
> {
    let Some(state) = state else { return TableIterator::new(std::iter::empty()) };
    let trial = trial(state);
    let (ranking, count) = (Ranking::new(&trial), parts(bins.unwrap_or(10)));
    let bins = ranking.effects().map(|effects| calibration::bins(&ranking, &effects, count)).unwrap_or_default();
    let rows: Vec<_> = bins
        .into_iter()
        .map(|bin| {
            let (contrast, (treated, control)) = (bin.contrast.as_ref(), ranking.arms(bin.cases));
            (
                bin.number as i32,
                bin.cases.len() as i64,
                treated.cases as i64,
                control.cases as i64,
                bin.mean_score,
                treated.rate(),
                control.rate(),
                contrast.map(Contrast::uplift),
                contrast.and_then(|contrast| contrast.se),
                bin.effect,
                bin.effect_se,
            )
        })
        .collect();
    TableIterator::new(rows)
}
