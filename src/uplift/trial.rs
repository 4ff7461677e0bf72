//! Treated and untreated rows with their scores and outcomes, the best score first.

use super::sample::{Row, Sample, from_order_key, order_key, read_f64};
use std::cmp::Reverse;

/// One row of a trial, in 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// The score's order key, so that the greatest comes first.
    score: Reverse<i64>,
    // The rest orders equal scores too: sums then do not depend on the order of the rows.
    outcome: i64,
    /// P(treated), below zero for a row that was not; ±UNKNOWN where nobody knows.
    propensity: i64,
}

/// Outside (0, 1), so that it is no propensity.
const UNKNOWN: f64 = 2.0;

impl Case {
    /// None unless score and outcome are finite and the propensity is a chance, 0 < p < 1. Without a
    /// propensity it is the share of the treated.
    pub fn new(score: f64, treated: bool, outcome: f64, propensity: Option<f64>) -> Option<Self> {
        let propensity = match propensity {
            Some(p) if p > 0.0 && p < 1.0 => p,
            Some(_) => return None,
            None => UNKNOWN,
        };
        let signed = if treated { propensity } else { -propensity };
        (score.is_finite() && outcome.is_finite()).then(|| Self {
            score: Reverse(order_key(score + 0.0)),
            outcome: order_key(outcome + 0.0),
            propensity: order_key(signed),
        })
    }

    pub fn score(self) -> f64 {
        from_order_key(self.score.0)
    }

    pub fn outcome(self) -> f64 {
        from_order_key(self.outcome)
    }

    pub fn treated(self) -> bool {
        self.propensity > 0
    }

    /// The chance of being treated, where it is known.
    pub fn propensity(self) -> Option<f64> {
        let p = from_order_key(self.propensity).abs();
        (p < UNKNOWN).then_some(p)
    }
}

impl Row for Case {
    const MAGIC: [u8; 4] = *b"SOu1";
    const SIZE: usize = 24;

    fn write(self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(&self.score().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.outcome().to_le_bytes());
        bytes[16..].copy_from_slice(&from_order_key(self.propensity).to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (score, outcome) = (read_f64(bytes.get(..8)?)?, read_f64(bytes.get(8..16)?)?);
        let signed = read_f64(bytes.get(16..)?)?;
        let propensity = (signed.abs() != UNKNOWN).then_some(signed.abs());
        Self::new(score, signed > 0.0, outcome, propensity)
    }
}

/// Cases in descending order of score.
pub type Trial = Sample<Case>;

impl Trial {
    pub fn n(&self) -> usize {
        self.rows.len()
    }

    pub fn all_equal(&self) -> bool {
        self.rows.first().map(|case| case.score) == self.rows.last().map(|case| case.score)
    }

    #[cfg(test)]
    pub fn of(cases: impl Iterator<Item = (f64, bool, f64, Option<f64>)>) -> Self {
        let mut trial = Self::default();
        for (score, treated, outcome, propensity) in cases {
            match Case::new(score, treated, outcome, propensity) {
                Some(case) => trial.rows.push(case),
                None => trial.invalid += 1,
            }
        }
        trial.sort(false);
        trial
    }
}

/// Whether two cases have the same score.
pub fn tied(a: &Case, b: &Case) -> bool {
    a.score == b.score
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_what_was_written() {
        let cases = [(0.1, true, 1.0, Some(0.9)), (0.3, false, 0.0, None), (-0.0, true, -2.5, None)];
        let trial = Trial::of(cases.into_iter());
        assert_eq!(trial.rows[0].score(), 0.3);
        assert_eq!(trial.rows.iter().map(|c| c.treated()).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(trial.rows[1].propensity(), Some(0.9));
        assert_eq!(trial.rows[2].propensity(), None);
        let mut bytes = vec![1; trial.size()];
        trial.write(&mut bytes);
        assert_eq!(Trial::read(&bytes), Some(trial));
    }

    #[test]
    fn what_was_not_left_to_chance_is_no_case() {
        for (score, outcome, propensity) in
            [(f64::NAN, 1.0, 0.5), (0.1, f64::INFINITY, 0.5), (0.1, 1.0, 0.0), (0.1, 1.0, 1.0), (0.1, 1.0, f64::NAN)]
        {
            assert_eq!(Case::new(score, true, outcome, Some(propensity)), None);
        }
    }
}
