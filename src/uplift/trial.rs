//! Treated and untreated rows with their scores and outcomes, the best score first.

use super::sample::{Row, Sample, is_usable};
use std::cmp::Ordering;
use zerocopy::little_endian::F64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One row of a trial, in 24 bytes. No number in it is NaN or -0.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Case {
    score: F64,
    outcome: F64,
    /// P(treated), below zero for a row that was not; ±UNKNOWN where nobody knows.
    propensity: F64,
}

/// Outside (0, 1), so that it is no propensity.
const UNKNOWN: f64 = 2.0;

impl Case {
    /// None unless score and outcome are numbers to compute with and the propensity is a chance, 0 < p < 1. Without a
    /// propensity it is the share of the treated.
    pub fn new(score: f64, treated: bool, outcome: f64, propensity: Option<f64>) -> Option<Self> {
        let propensity = match propensity {
            Some(p) if p > 0.0 && p < 1.0 => p,
            Some(_) => return None,
            None => UNKNOWN,
        };
        let signed = if treated { propensity } else { -propensity };
        (is_usable(score) && is_usable(outcome)).then(|| Self {
            score: F64::new(score + 0.0), // -0 becomes 0
            outcome: F64::new(outcome + 0.0),
            propensity: F64::new(signed),
        })
    }

    pub fn score(self) -> f64 {
        self.score.get()
    }

    pub fn outcome(self) -> f64 {
        self.outcome.get()
    }

    pub fn treated(self) -> bool {
        self.propensity.get() > 0.0
    }

    /// The chance of being treated, where it is known.
    pub fn propensity(self) -> Option<f64> {
        let p = self.propensity.get().abs();
        (p < UNKNOWN).then_some(p)
    }
}

/// The best score first. The rest orders equal scores too: sums then do not depend on the order of the rows.
impl Ord for Case {
    fn cmp(&self, other: &Self) -> Ordering {
        let by = |a: F64, b: F64| a.get().total_cmp(&b.get());
        by(other.score, self.score)
            .then_with(|| by(self.outcome, other.outcome))
            .then_with(|| by(self.propensity, other.propensity))
    }
}

impl PartialOrd for Case {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    // Sorting asks for this: mostly one comparison.
    fn lt(&self, other: &Self) -> bool {
        if self.score() == other.score() { self.cmp(other).is_lt() } else { self.score() > other.score() }
    }
}

impl PartialEq for Case {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Case {}

impl Row for Case {
    const MAGIC: [u8; 4] = *b"SOu1";

    fn is_valid(&self) -> bool {
        let p = self.propensity.get().abs();
        is_usable(self.score()) && is_usable(self.outcome()) && (p > 0.0 && p < 1.0 || p == UNKNOWN)
    }
}

/// Cases in descending order of score.
pub type Trial<'a> = Sample<'a, Case>;

impl Trial<'_> {
    pub fn n(&self) -> usize {
        self.rows.len()
    }

    pub fn all_equal(&self) -> bool {
        self.rows.first().map(|case| case.score()) == self.rows.last().map(|case| case.score())
    }

    #[cfg(test)]
    pub fn of(cases: impl Iterator<Item = (f64, bool, f64, Option<f64>)>) -> Self {
        let (mut rows, mut invalid) = (Vec::new(), 0);
        for (score, treated, outcome, propensity) in cases {
            match Case::new(score, treated, outcome, propensity) {
                Some(case) => rows.push(case),
                None => invalid += 1,
            }
        }
        rows.sort_unstable();
        Self { rows: rows.into(), missing: 0, invalid }
    }
}

/// Whether two cases have the same score.
pub fn tied(a: &Case, b: &Case) -> bool {
    a.score() == b.score()
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
        for (score, outcome, propensity) in [
            (f64::NAN, 1.0, 0.5),
            (0.1, f64::INFINITY, 0.5),
            (0.1, -1e100, 0.5),
            (0.1, 1.0, 0.0),
            (0.1, 1.0, 1.0),
            (0.1, 1.0, f64::NAN),
        ] {
            assert_eq!(Case::new(score, true, outcome, Some(propensity)), None);
        }
    }
}
