//! What the scores that rows got from other folds were worth, and what is said of a fit.

use super::fit::{Contribution, Fit};
use super::rows::{Decision, Refusal, Rows};
use crate::memory::with_room;
use crate::uplift::ranking::{Contrast, Ranking};
use crate::uplift::summary::summary;
use crate::uplift::trial::{Case, Trial};
use serde_json::{Value, json};

/// The rows with these scores, as a trial.
pub fn trial(rows: &Rows, scores: &[f64]) -> Result<Trial<'static>, Refusal> {
    let mut cases = with_room(rows.n())?;
    let case = |(d, score): (&Decision, &f64)| Case::new(*score, d.treated, d.outcome, Some(d.propensity));
    cases.extend(rows.decisions.iter().zip(scores).filter_map(case));
    cases.sort_unstable();
    Ok(Trial { rows: cases.into(), missing: 0, invalid: rows.invalid })
}

/// The model, and its report: all of it on folds that were not fitted on.
pub fn report(rows: &Rows, fit: &Fit) -> Result<Value, Refusal> {
    let trial = trial(rows, &fit.scores)?;
    let ranking = Ranking::new(&trial);
    let s = summary(&trial, &ranking);
    let (areas, line) = (s.areas.as_ref(), s.line.as_ref());
    let (autoc, rate_qini) = (s.rate.as_ref().map(|rate| rate.autoc), s.rate.as_ref().map(|rate| rate.qini));
    let report = json!({
        "status": s.status,
        "n": rows.n(),
        "properties": fit.properties,
        "treated": ranking.treated.cases,
        "held": ranking.control.cases,
        "treated_conversions": ranking.treated.events,
        "held_conversions": ranking.control.events,
        "uplift": s.overall.as_ref().map(Contrast::uplift),
        "uplift_se": s.overall.as_ref().and_then(|contrast| contrast.se),
        "qini": areas.and_then(|areas| areas.qini),
        "qini_area": areas.map(|areas| areas.qini_area),
        "autoc": autoc.map(|e| e.value),
        "autoc_se": autoc.and_then(|e| e.se),
        "autoc_p": autoc.and_then(|e| e.p_value()),
        "rate_qini": rate_qini.map(|e| e.value),
        "rate_qini_se": rate_qini.and_then(|e| e.se),
        "slope": line.map(|line| line.slope),
        "slope_se": line.and_then(|line| line.slope_se),
        "intercept": line.map(|line| line.intercept),
        "intercept_se": line.and_then(|line| line.intercept_se),
        "calibration_error": s.calibration.map(|error| error.0),
        "calibration_by_chance": s.calibration.and_then(|error| error.1),
        "ridge": fit.ridge,
        "loss": fit.loss,
        "loss_of_constant": fit.loss_of_constant,
        "contributions": fit.contributions.iter().map(contribution).collect::<Vec<_>>(),
    });
    Ok(json!({"model": fit.model.to_json(), "report": report}))
}

fn contribution(of: &Contribution) -> Value {
    let levels = |(text, effect, se): &(String, f64, f64)| json!({"text": text, "effect": effect, "se": se});
    json!({
        "feature": of.name,
        "constant": of.spread.is_none(),
        "spread": of.spread,
        "gain": of.gain,
        "bent": of.bent,
        "step": of.step.map(|step| step.0),
        "step_se": of.step.map(|step| step.1),
        "levels": (!of.levels.is_empty()).then(|| of.levels.iter().map(levels).collect::<Vec<_>>()),
    })
}
