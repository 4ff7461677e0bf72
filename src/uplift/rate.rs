//! Rank-weighted average treatment effects (Yadlowsky et al. 2025, arXiv 2111.07966): is who ranks
//! higher helped more? Zero for an order that says nothing; with a standard error.

use super::ranking::Ranking;
use crate::statistics::normal;
use crate::statistics::sum::{Sum, size, standard_error};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    /// None where nothing varies.
    pub se: Option<f64>,
}

impl Estimate {
    pub fn z(self) -> Option<f64> {
        self.se.map(|se| self.value / se)
    }

    pub fn p_value(self) -> Option<f64> {
        self.z().map(normal::two_sided)
    }
}

pub struct Rate {
    /// Each share of the ranking weighs alike: for effects in few.
    pub autoc: Estimate,
    /// Shares weigh by their size: for effects in many. The area of the Qini curve, per case.
    pub qini: Estimate,
}

/// From each case's effect, in the order of the ranking.
pub fn rate(ranking: &Ranking, effects: &[f64]) -> Rate {
    let n = ranking.n() as f64;
    let mean = Sum::of(effects.iter().copied()) / n;
    let (mut autoc, mut qini) = (Weighted::default(), Weighted::default());
    // From the last rank up, so that H(n) - H(rank) grows from the least terms.
    let (mut rank, mut left) = (ranking.n(), Sum::default());
    for group in ranking.groups().rev() {
        // The same for a score of its own, as most are: without a mean.
        if group.len() == 1 && ranking.n() > 1 {
            left.add(1.0 / rank as f64);
            let (effect, expected) = (effects[rank - 1], ranking.expected_square(&group[0]));
            autoc.add(left.value() - 1.0, effect, mean, expected);
            qini.add(((n + 1.0) / 2.0 - rank as f64) / n, effect, mean, expected);
            rank -= 1;
            continue;
        }
        // The weights at rank i, H(n) - H(i - 1) - 1 and ((n + 1)/2 - i)/n, as means over equal scores.
        let (last, size) = (rank, group.len() as f64);
        let mut weight = (Sum::default(), 0.0);
        for _ in group {
            left.add(1.0 / rank as f64);
            weight.0.add(left.value() - 1.0);
            weight.1 += ((n + 1.0) / 2.0 - rank as f64) / n;
            rank -= 1;
        }
        // Where all scores are equal, the means are 0, whatever rounding makes of them.
        let weight = if size == n { (0.0, 0.0) } else { (weight.0.value() / size, weight.1 / size) };
        for (effect, case) in effects[rank..last].iter().zip(group) {
            let expected = ranking.expected_square(case);
            autoc.add(weight.0, *effect, mean, expected);
            qini.add(weight.1, *effect, mean, expected);
        }
    }
    let size = size(effects);
    Rate { autoc: autoc.estimate(n, size), qini: qini.estimate(n, size) }
}

#[derive(Default)]
struct Weighted {
    effects: Sum,
    squares: Sum,
    /// The least that the squares are expected to be.
    expected: Sum,
}

impl Weighted {
    fn add(&mut self, weight: f64, effect: f64, mean: f64, expected: f64) {
        self.expected.add(weight * weight * expected);
        self.effects.add(weight * effect);
        self.squares.add((weight * (effect - mean)).powi(2));
    }

    /// The influence of a case is w * (effect - mean) - value. It takes the ranks as given. Since the
    /// weights sum to 0, the sum of its squares is that of the first term, less n * value squared.
    fn estimate(&self, n: f64, size: f64) -> Estimate {
        let (value, squares) = (self.effects.value() / n, self.squares.value());
        let left = (squares - n * value * value).max(self.expected.value());
        // Of a difference so much smaller than its parts nothing but rounding is left.
        let se = if left > 1e-13 * squares { standard_error(left / n / n, size / n.sqrt()) } else { None };
        Estimate { value, se }
    }
}
