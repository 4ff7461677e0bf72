//! Rows for tests, the same on every machine. The references were computed in Python on the same rows.

use super::scores::Scores;
use super::trial::Trial;
use crate::statistics::draws::Draws;

/// Scores around `center` with ties: the mean of four draws, to three digits.
pub fn scores(seed: u64, n: usize, center: f64) -> Scores<'static> {
    let mut draws = Draws::new(seed);
    let mut score = || center + ((0..4).map(|_| draws.next()).sum::<f64>() / 4.0 - 0.5) * 0.4;
    Scores::of(&(0..n).map(|_| (score() * 1000.0).floor() / 1000.0).collect::<Vec<_>>())
}

/// Cases of a trial: scores as above, outcomes whose effect follows the score, and a chance of
/// treatment of one half, or (`policy`) high for high scores.
pub fn trial(seed: u64, n: usize, policy: bool) -> Trial<'static> {
    Trial::of(cases(seed, n, policy).into_iter())
}

/// One row before it is a case: score, treated, outcome, propensity.
pub type Raw = (f64, bool, f64, Option<f64>);

pub fn cases(seed: u64, n: usize, policy: bool) -> Vec<Raw> {
    let ties = scores(seed, n, 0.1);
    let mut draws = Draws::new(seed + 1000);
    let case = |score: f64| {
        let p = if !policy {
            0.5
        } else if score > 0.1 {
            0.855
        } else {
            0.045
        };
        let treated = draws.next() < p;
        let outcome = draws.next() < 0.2 + if treated { score } else { 0.0 };
        (score, treated, f64::from(outcome), policy.then_some(p))
    };
    ties.values().map(case).collect()
}
