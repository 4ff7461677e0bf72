//! The estimators, for any actions and outcomes.

use crate::statistics::normal;
use crate::statistics::sum::{Sum, effective_number};

/// One decision of the log, as a target sees it.
#[derive(Clone, Copy)]
pub struct Round {
    /// P(the logged action | target) / P(the logged action | log).
    pub weight: f64,
    pub outcome: f64,
    /// What the model says of the logged action.
    pub fitted: f64,
    /// What the model says of the target: the mean over its actions.
    pub direct: f64,
}

impl Round {
    /// What the model says, and what it missed, by weight.
    pub fn doubly_robust(&self) -> f64 {
        self.direct + self.weight * (self.outcome - self.fitted)
    }
}

/// A mean with its standard error; None where one case alone shows no spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub se: Option<f64>,
}

impl Estimate {
    /// The mean of independent values, of which there is at least one.
    pub fn mean(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count() as f64;
        let value = Sum::of(values.clone()) / n;
        let squares = Sum::of(values.map(|x| (x - value) * (x - value)));
        Self { value, se: (n > 1.0).then(|| (squares / (n - 1.0) / n).sqrt()) }
    }

    /// Uncertainty from elsewhere, independent of that of the values.
    pub fn add_variance(&mut self, variance: f64) {
        self.se = self.se.map(|se| (se * se + variance).sqrt());
    }

    /// The 95 % interval of the normal distribution.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let half = normal::upper(0.025) * self.se?;
        Some((self.value - half, self.value + half))
    }

    /// How many standard errors it is off; None if it does not vary.
    pub fn z(&self, expected: f64) -> Option<f64> {
        self.se.filter(|&se| se > 1e-12).map(|se| (self.value - expected) / se)
    }
}

pub struct Estimates {
    pub ips: Estimate,
    pub snips: Option<Estimate>,
    pub direct: Estimate,
    pub doubly_robust: Estimate,
    /// Kish's effective number of cases, (sum of the weights)^2 / sum of their squares.
    pub effective: f64,
    pub largest_weight: f64,
    /// The largest weight by the sum of all.
    pub largest_share: Option<f64>,
    /// 1 but for chance, if the logged propensities are those by which was decided.
    pub mean_weight: Estimate,
}

/// A mean from its parts: the sum of n values, and that of their squared distances from it.
fn mean(value: f64, squares: Sum, n: f64) -> Estimate {
    Estimate { value, se: (n > 1.0).then(|| (squares.value() / (n - 1.0) / n).sqrt()) }
}

/// All of them, from at least one decision. Twice over the rounds: the means, then the distances from them.
pub fn estimates(rounds: impl Iterator<Item = Round> + Clone) -> Estimates {
    let mut n = 0.0;
    let mut largest = 0.0f64;
    let [mut weights, mut squares, mut weighted, mut direct, mut robust] = [Sum::default(); 5];
    for round in rounds.clone() {
        n += 1.0;
        largest = largest.max(round.weight);
        weights.add(round.weight);
        squares.add(round.weight * round.weight);
        weighted.add(round.weight * round.outcome);
        direct.add(round.direct);
        robust.add(round.doubly_robust());
    }
    let sum = weights.value();
    let snips = weighted.value() / sum;
    let [ips, direct, robust, weight] = [weighted, direct, robust, weights].map(|sum| sum.value() / n);
    let [mut off_ips, mut off_snips, mut off_direct, mut off_robust, mut off_weight] = [Sum::default(); 5];
    for round in rounds {
        let square = |x: f64| x * x;
        off_ips.add(square(round.weight * round.outcome - ips));
        off_snips.add(square(round.weight * (round.outcome - snips)));
        off_direct.add(square(round.direct - direct));
        off_robust.add(square(round.doubly_robust() - robust));
        off_weight.add(square(round.weight - weight));
    }
    Estimates {
        ips: mean(ips, off_ips, n),
        snips: (sum > 0.0).then(|| Estimate { value: snips, se: Some(off_snips.value().sqrt() / sum) }),
        direct: mean(direct, off_direct, n),
        doubly_robust: mean(robust, off_robust, n),
        effective: effective_number(sum, squares.value()),
        largest_weight: largest,
        largest_share: (sum > 0.0).then(|| largest / sum),
        mean_weight: mean(weight, off_weight, n),
    }
}
