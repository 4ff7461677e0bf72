//! What the scores that rows got from other folds were worth.

use super::rows::{Refusal, Rows};
use crate::memory::with_room;
use crate::uplift::trial::{Case, Trial};

/// The rows with these scores, as a trial.
pub fn trial(rows: &Rows, scores: &[f64]) -> Result<Trial<'static>, Refusal> {
    let mut cases = with_room(rows.n())?;
    let case = |(d, score): (&super::rows::Decision, &f64)| Case::new(*score, d.treated, d.outcome, Some(d.propensity));
    cases.extend(rows.decisions.iter().zip(scores).filter_map(case));
    cases.sort_unstable();
    Ok(Trial { rows: cases.into(), missing: 0, invalid: rows.invalid })
}
