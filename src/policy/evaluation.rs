//! What a policy would have earned on the log that another one wrote: off-policy evaluation.
//!
//! A decision's weight is the chance with which the target would have taken it, by the chance with which it was taken. Four
//! estimates rest on it or do without: inverse propensity (IPS), the same by the sum of the weights (SNIPS), a model of the
//! conversions (direct), and the model corrected by what it missed (doubly robust: right if either part is).

mod direct;
mod estimate;
pub mod logged;
#[cfg(test)]
mod open_bandit;
pub mod target;

pub use estimate::{Estimate, Estimates};

use crate::statistics::sum::Sum;
use direct::Model;
use estimate::Round;
use logged::Logged;
use target::{Prices, Target};

/// Below it, or below this share of all, an effective number of cases is too small for an interval to mean much.
const FEWEST_EFFECTIVE: f64 = 100.0;
const LEAST_SHARE: f64 = 0.05;
/// Of how much of the target's choices the log may say nothing: no more than rounding.
const ROUNDING: f64 = 1e-9;
/// So many standard errors off 1, the mean weight says that the logged propensities are not those of the draws.
const SUSPECT: f64 = 3.0;

/// What a target would have earned for each property.
pub struct Valuation {
    /// `ok`, `no_rows`, `mixed_units`, `unsupported`, `small_sample`.
    pub status: &'static str,
    /// The mean of P(treat) under the target.
    pub treat_share: Option<f64>,
    /// How much of the target's choices, by their chance, the log never takes.
    pub unsupported_share: Option<f64>,
    /// None where the log cannot answer.
    pub estimates: Option<Estimates>,
    pub weights_suspect: bool,
    /// The doubly robust part of each property, in the order of the rows; empty without estimates.
    pub parts: Vec<f64>,
}

impl Valuation {
    fn without(status: &'static str) -> Self {
        Self {
            status,
            treat_share: None,
            unsupported_share: None,
            estimates: None,
            weights_suspect: false,
            parts: Vec::new(),
        }
    }
}

/// How many bytes it takes for each row, beside the rows.
pub const BYTES_A_ROW: usize = 64;

/// The rows, best score first, and what one of them is worth.
pub struct Log<'a> {
    rows: &'a [Logged],
    prices: Prices,
    model: Model,
    in_money: usize,
}

impl<'a> Log<'a> {
    pub fn new(rows: &'a [Logged], prices: Prices) -> Self {
        let in_money = rows.iter().filter(|row| prices.of(row).in_money).count();
        Self { rows, prices, model: Model::fit(rows), in_money }
    }

    /// Whether amounts are money; if not, they are jobs.
    pub fn in_money(&self) -> bool {
        self.in_money > 0
    }

    /// What the target would have earned.
    pub fn value(&self, target: &Target) -> Valuation {
        if self.rows.is_empty() {
            return Valuation::without("no_rows");
        }
        if self.in_money > 0 && self.in_money < self.rows.len() {
            return Valuation::without("mixed_units");
        }
        let n = self.rows.len() as f64;
        let chances = target.chances(self.rows);
        let treat_share = Sum::of(chances.iter().copied()) / n;
        let never = self.rows.iter().zip(&chances).map(|(row, &chance)| row.never_taken(chance));
        let unsupported = Sum::of(never) / n;
        let found = Valuation {
            treat_share: Some(treat_share),
            unsupported_share: Some(unsupported),
            ..Valuation::without("unsupported")
        };
        if unsupported > ROUNDING {
            return found;
        }
        let rounds = || self.rounds(&chances);
        let mut estimates = estimate::estimates(rounds());
        estimates.direct.add_variance(self.model.variance(self.rows, &chances, &self.prices));
        let few = estimates.effective < FEWEST_EFFECTIVE || estimates.effective < LEAST_SHARE * n;
        let weights_suspect = estimates.mean_weight.z(1.0).is_some_and(|z| z.abs() > SUSPECT);
        Valuation {
            status: if few { "small_sample" } else { "ok" },
            estimates: Some(estimates),
            weights_suspect,
            parts: rounds().map(|round| round.doubly_robust()).collect(),
            ..found
        }
    }

    fn rounds(&self, chances: &[f64]) -> impl Iterator<Item = Round> + Clone {
        self.rows.iter().zip(&self.model.bins).zip(chances).map(|((row, &bin), &chance)| {
            let price = self.prices.of(row);
            let fitted = |treated: bool| price.worth(self.model.rate(bin, treated, row.fold()), treated);
            Round {
                weight: row.weight(chance),
                outcome: price.worth(f64::from(row.converted()), row.treated()),
                fitted: fitted(row.treated()),
                direct: chance * fitted(true) + (1.0 - chance) * fitted(false),
            }
        })
    }
}

/// By how much one target would have earned more than another on the same log, for each property.
pub fn gain(parts: &[f64], others: &[f64]) -> Option<Estimate> {
    let known = !parts.is_empty() && parts.len() == others.len();
    known.then(|| Estimate::mean(parts.iter().zip(others).map(|(a, b)| a - b)))
}

#[cfg(test)]
mod tests;
