//! Who is to be decided: the latest score of each property, less those that are left out, with what is exceptional
//! about a property. Both come in the order of property_id and are merged.

use super::candidate::{Candidate, Id};
use super::fault::Fault;
use super::names::Names;
use super::rule::Rule;
use std::cmp::Ordering;

/// A score as it was written. NaN: the model gave no deviation.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    pub property: Id,
    pub at: i64,
    pub score: f64,
    pub sd: f64,
    /// Place among the models.
    pub model: u32,
}

/// What is exceptional about a property. NaN: no margin or cost of its own.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    pub property: Id,
    pub margin: f64,
    pub cost: f64,
    /// Why it is excluded: place among the reasons.
    pub reason: Option<u32>,
    /// It is not decided at all.
    pub left_out: bool,
}

/// The candidates of a storm, as often as they are asked for, always the same and in the order of property_id.
pub trait Source {
    fn each(&self, take: impl FnMut(&Candidate) -> Result<(), Fault>) -> Result<(), Fault>;
}

/// By property, the latest score first; of two of one moment the one of the greater model name, byte by byte.
pub fn latest_first(a: &Score, b: &Score, models: &Names) -> Ordering {
    let property = u128::from_be_bytes(a.property).cmp(&u128::from_be_bytes(b.property));
    property.then_with(|| b.at.cmp(&a.at)).then_with(|| models.at(b.model).cmp(models.at(a.model)))
}

/// Puts scores in order and keeps each property's latest. `breathe` is called now and then, and may unwind.
pub fn keep_latest(scores: &mut Vec<Score>, models: &Names, mut breathe: impl FnMut()) {
    // Mostly they were written in order, and once for each property.
    if !scores.is_sorted_by(|a, b| a.property < b.property) {
        scores.sort_unstable_by(|a, b| {
            breathe();
            latest_first(a, b, models)
        });
        scores.dedup_by_key(|score| score.property);
    }
}

/// Puts exceptions in order, several of one property in one. `first` says which of two reasons is given.
pub fn keep_one_each(exceptions: &mut Vec<Exception>, first: impl Fn(u32, u32) -> u32, mut breathe: impl FnMut()) {
    if exceptions.is_sorted_by(|a, b| a.property < b.property) {
        return;
    }
    exceptions.sort_unstable_by(|a, b| {
        breathe();
        u128::from_be_bytes(a.property).cmp(&u128::from_be_bytes(b.property))
    });
    exceptions.dedup_by(|next, kept| {
        let same = next.property == kept.property;
        if same {
            kept.join(next, &first);
        }
        same
    });
}

impl Exception {
    /// Takes in what else is exceptional about the property.
    pub fn join(&mut self, other: &Self, first: impl Fn(u32, u32) -> u32) {
        self.left_out |= other.left_out;
        self.reason = match (self.reason, other.reason) {
            (Some(a), Some(b)) => Some(first(a, b)),
            (a, b) => a.or(b),
        };
        // One place has them; of two, whatever the order, the smaller.
        self.margin = self.margin.min(other.margin);
        self.cost = self.cost.min(other.cost);
    }
}

/// Hands on the candidates. Both sides come in order, each property once.
pub fn merge(
    scores: impl Iterator<Item = Score>,
    exceptions: impl Iterator<Item = Exception>,
    rule: &Rule,
    mut take: impl FnMut(&Candidate) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let known = |number: f64| (!number.is_nan()).then_some(number);
    let mut exceptions = exceptions.peekable();
    let mut last = None;
    for score in scores {
        if last >= Some(score.property) {
            return Err(Fault::Order);
        }
        last = Some(score.property);
        while exceptions.next_if(|exception| exception.property < score.property).is_some() {}
        let own = exceptions.peek().filter(|exception| exception.property == score.property);
        if own.is_some_and(|own| own.left_out) {
            continue;
        }
        take(&Candidate {
            property: score.property,
            score: score.score,
            sd: known(score.sd).unwrap_or(rule.default_sd),
            model: score.model,
            margin: own.and_then(|own| known(own.margin)).or(rule.margin),
            cost: own.and_then(|own| known(own.cost)).or(rule.cost),
            excluded: own.and_then(|own| own.reason),
        })?;
    }
    Ok(())
}
