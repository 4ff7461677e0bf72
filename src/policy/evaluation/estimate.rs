//! The estimators, for any actions and outcomes.

use crate::statistics::normal;
use crate::statistics::sum::Sum;

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

/// All of them, from at least one decision.
pub fn estimates(rounds: impl Iterator<Item = Round> + Clone) -> Estimates {
    let weights = || rounds.clone().map(|round| round.weight);
    let (sum, squares) = (Sum::of(weights()), Sum::of(weights().map(|w| w * w)));
    let weighted = || rounds.clone().map(|round| round.weight * round.outcome);
    let largest = weights().fold(0.0, f64::max);
    let snips = (sum > 0.0).then(|| {
        let value = Sum::of(weighted()) / sum;
        let off = rounds.clone().map(|round| (round.weight * (round.outcome - value)).powi(2));
        Estimate { value, se: Some(Sum::of(off).sqrt() / sum) }
    });
    Estimates {
        ips: Estimate::mean(weighted()),
        snips,
        direct: Estimate::mean(rounds.clone().map(|round| round.direct)),
        doubly_robust: Estimate::mean(rounds.clone().map(|round| round.doubly_robust())),
        effective: crate::statistics::sum::effective_number(sum, squares),
        largest_weight: largest,
        largest_share: (sum > 0.0).then(|| largest / sum),
        mean_weight: Estimate::mean(weights()),
    }
}
