//! Rank-weighted average treatment effects (Yadlowsky et al. 2025, arXiv 2111.07966): is who ranks
//! higher helped more? Zero for an order that says nothing; with a standard error.

use super::p_values;
use super::ranking::Ranking;
use super::sum::Sum;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub se: f64,
}

impl Estimate {
    /// None where nothing varies.
    pub fn z(self) -> Option<f64> {
        (self.se > 0.0).then(|| self.value / self.se)
    }

    pub fn p_value(self) -> Option<f64> {
        self.z().map(p_values::normal_two_sided)
    }
}

pub struct Rate {
    /// Each share of the ranking weighs alike: for effects in few.
    pub autoc: Estimate,
    /// Shares weigh by their size: for effects in many. The area of the Qini curve, per case.
    pub qini: Estimate,
}

/// None where an arm is missing.
pub fn rate(ranking: &Ranking) -> Option<Rate> {
    let effect = ranking.effects()?;
    let n = ranking.n() as f64;
    let mean = Sum::of(ranking.cases.iter().map(&effect)) / n;
    let (mut autoc, mut qini) = (Sum::default(), Sum::default());
    for (weights, group) in weights(ranking).zip(ranking.groups()) {
        let total = Sum::of(group.iter().map(&effect));
        autoc.add(weights.0 * total);
        qini.add(weights.1 * total);
    }
    let (autoc, qini) = (autoc.value() / n, qini.value() / n);
    // The influence of each case. It takes the ranks as given, as if another sample's cases fell
    // into them.
    let (mut autoc_squares, mut qini_squares) = (Sum::default(), Sum::default());
    for (weights, group) in weights(ranking).zip(ranking.groups()) {
        for case in group {
            let deviation = effect(case) - mean;
            autoc_squares.add((weights.0 * deviation - autoc).powi(2));
            qini_squares.add((weights.1 * deviation - qini).powi(2));
        }
    }
    let estimate = |value: f64, squares: Sum| Estimate { value, se: squares.value().sqrt() / n };
    Some(Rate { autoc: estimate(autoc, autoc_squares), qini: estimate(qini, qini_squares) })
}

/// The weights of AUTOC and QINI at each group of equal scores: the mean over the group's ranks i
/// of H(n) - H(i - 1) - 1, H the harmonic numbers, and of ((n + 1)/2 - i)/n.
fn weights<'a>(ranking: &'a Ranking) -> impl Iterator<Item = (f64, f64)> + use<'a> {
    let n = ranking.n() as f64;
    let mut left = Sum::default();
    (1..=ranking.n()).rev().for_each(|i| left.add(1.0 / i as f64));
    let (all, mut rank) = (ranking.n(), 0usize);
    ranking.groups().map(move |group| {
        if group.len() == all {
            return (0.0, 0.0); // the means of all weights, exactly
        }
        let (mut autoc, mut qini) = (0.0, 0.0);
        for _ in group {
            rank += 1;
            autoc += left.value() - 1.0;
            left.add(-1.0 / rank as f64);
            qini += ((n + 1.0) / 2.0 - rank as f64) / n;
        }
        (autoc / group.len() as f64, qini / group.len() as f64)
    })
}
