//! The policy that is asked about: with which chance it treats each property.
//!
//! The rule and its chances are those of `policy_decisions()`, by the scores as they were logged.

use super::logged::Logged;
use crate::policy::rule::attitude;
use serde::Deserialize;

/// What a mode is, as `policy_parameters()` and `policy_runs.parameters` have it. Nothing here depends on the rest of what they
/// have: z follows from the confidence, and the log has a deviation for each score.
#[derive(Clone, Debug, Deserialize)]
pub struct Parameters {
    confidence: f64,
    exploration: f64,
    holdout: f64,
    breakeven_uplift: f64,
    margin: Option<f64>,
    contact_cost: Option<f64>,
    capacity: Option<f64>,
    budget: Option<f64>,
}

impl Parameters {
    /// The first parameter that is outside of its range, with the range.
    pub fn fault(&self) -> Option<&'static str> {
        let within = |value: Option<f64>, low: f64, high: f64| value.is_none_or(|v| (low..=high).contains(&v));
        let faults = [
            (within(Some(self.confidence), 0.001, 0.999), "confidence is not between 0.001 and 0.999"),
            (within(Some(self.exploration), 0.0, 0.5), "exploration is not between 0 and 0.5"),
            (within(Some(self.holdout), 0.0, 0.9), "holdout is not between 0 and 0.9"),
            (within(Some(self.breakeven_uplift), 0.0, 1.0), "breakeven_uplift is not between 0 and 1"),
            (within(self.margin, f64::MIN_POSITIVE, 1e9), "margin is not above 0 and at most 1e9"),
            (within(self.contact_cost, 0.0, 1e9), "contact_cost is not between 0 and 1e9"),
            (within(self.capacity, 1.0, 2_147_483_647.0), "capacity is not between 1 and 2147483647"),
            (within(self.budget, f64::MIN_POSITIVE, 1e11), "budget is not above 0 and at most 1e11"),
        ];
        faults.into_iter().find(|(good, _)| !good).map(|(_, fault)| fault)
    }

    pub fn prices(&self) -> Prices {
        Prices { margin: self.margin, cost: self.contact_cost, breakeven: self.breakeven_uplift }
    }
}

/// What a job brings and a contact costs, where a property has no numbers of its own.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    margin: Option<f64>,
    cost: Option<f64>,
    breakeven: f64,
}

/// What one property's job brings and its contact costs: in money, or in jobs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    pub margin: f64,
    pub cost: f64,
    pub in_money: bool,
}

impl Price {
    /// What so many conversions are worth, less the contact.
    pub fn worth(&self, conversions: f64, treated: bool) -> f64 {
        self.margin * conversions - if treated { self.cost } else { 0.0 }
    }
}

impl Prices {
    /// A job counts as one, and a contact costs the break-even uplift, where margin and cost are not both known.
    pub fn of(&self, row: &Logged) -> Price {
        match (row.margin().or(self.margin), row.cost().or(self.cost)) {
            (Some(margin), Some(cost)) => Price { margin, cost, in_money: true },
            _ => Price { margin: 1.0, cost: self.breakeven, in_money: false },
        }
    }
}

#[derive(Clone, Debug)]
pub enum Target {
    /// Treats everybody, or nobody.
    Always(bool),
    Rule(Box<Parameters>),
}

/// A property that the rule wants, for the order in which a limit takes them.
struct Wanted {
    place: usize,
    ratio: f64,
    value: f64,
    cents: f64,
}

impl Target {
    /// P(treat) of each row.
    pub fn chances(&self, rows: &[Logged]) -> Vec<f64> {
        match self {
            Self::Always(treat) => vec![f64::from(*treat); rows.len()],
            Self::Rule(rule) => rule.chances(rows),
        }
    }
}

impl Parameters {
    fn chances(&self, rows: &[Logged]) -> Vec<f64> {
        let z = attitude(self.confidence).unwrap_or(f64::NEG_INFINITY);
        let prices = self.prices();
        let wants = |row: &Logged| {
            let price = prices.of(row);
            row.score() >= 0.0 && row.score() + z * row.sd() >= price.cost / price.margin
        };
        let kept = 1.0 - self.holdout;
        if self.capacity.is_none() && self.budget.is_none() {
            let [yes, no] = [kept * (1.0 - self.exploration), kept * self.exploration];
            return rows.iter().map(|row| if wants(row) { yes } else { no }).collect();
        }
        let chosen = self.within_limits(rows, wants);
        let (inside, outside) = (chosen.len() as f64, (rows.len() - chosen.len()) as f64);
        // A fixed number changes places.
        let swaps = (self.exploration * inside).round().min(outside);
        let share = |of: f64| if of > 0.0 { swaps / of } else { 0.0 };
        let mut chances = vec![kept * share(outside); rows.len()];
        for place in chosen {
            chances[place] = kept * (1.0 - share(inside));
        }
        chances
    }

    /// Where those stand that capacity and budget let through: the best by value per cost.
    fn within_limits(&self, rows: &[Logged], wants: impl Fn(&Logged) -> bool) -> Vec<usize> {
        let prices = self.prices();
        let of = |(place, row): (usize, &Logged)| {
            let price = prices.of(row);
            let value = price.worth(row.score(), true);
            let cost = row.cost().or(self.contact_cost);
            let ratio = match cost {
                Some(0.0) => f64::INFINITY,
                cost => value / cost.unwrap_or(1.0),
            };
            Wanted { place, ratio, value, cents: (cost.unwrap_or(0.0) * 100.0).round() }
        };
        let mut wanted: Vec<_> = rows.iter().enumerate().filter(|(_, row)| wants(row)).map(of).collect();
        let turn = |w: &Wanted| rows[w.place].turn();
        wanted.sort_unstable_by(|a, b| {
            b.ratio.total_cmp(&a.ratio).then(b.value.total_cmp(&a.value)).then_with(|| turn(a).cmp(&turn(b)))
        });
        let budget = self.budget.map_or(f64::INFINITY, |budget| (budget * 100.0).round());
        let capacity = self.capacity.map_or(usize::MAX, |capacity| capacity as usize);
        let mut spent = 0.0;
        let within = |w: &Wanted| {
            spent += w.cents;
            (spent <= budget).then_some(w.place)
        };
        wanted.iter().take(capacity).map_while(within).collect()
    }
}
