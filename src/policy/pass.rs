//! The decision on each candidate, in the order of property_id.

use super::candidate::Candidate;
use super::candidates::Source;
use super::draw::Draws;
use super::fault::Fault;
use super::limit::Cut;
use super::rule::{Choice, Class, Decision, Rule};

/// Hands on each candidate with its class and the value of treating it. The same candidates, rule and draws always decide
/// alike. `breathe` is called now and then, and may unwind.
pub fn decide(
    source: &impl Source,
    rule: &Rule,
    draws: &Draws,
    breathe: impl FnMut(),
    mut take: impl FnMut(&Candidate, Class, f64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut cut = if rule.is_limited() { Some(Cut::new(source, rule, draws, breathe)?) } else { None };
    source.each(|candidate| {
        let (value, wanted) = rule.assess(candidate);
        let draws = draws.property(&candidate.property);
        let explore = draws.purpose(b"explore");
        let choice = match &mut cut {
            Some(cut) => cut.next(candidate, explore),
            None => Choice { chosen: wanted, flip: explore < rule.exploration, flip_rate: rule.exploration },
        };
        let class = match candidate.excluded {
            Some(reason) => Class { decision: Decision::Exclude, reason, propensity: 1.0 },
            None => rule.decide(choice, wanted, draws.purpose(b"holdout") < rule.holdout),
        };
        take(candidate, class, value)
    })
}
