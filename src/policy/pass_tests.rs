//! The pass against the rule written a second time, slowly, and sources against each other.

use super::calibrations::Calibrations;
use super::candidate::{Candidate, Id};
use super::candidates::{Exception, Score, Source, keep_latest, keep_one_each, merge};
use super::draw::{Draws, draw};
use super::fault::Fault;
use super::names::Names;
use super::pass::decide;
use super::rule::{Class, Decision, REASONS, Rule};
use proptest::prelude::*;

const TENANT: Id = [1; 16];
const STORM: Id = [2; 16];

struct Fixed(Vec<Candidate>);

impl Source for Fixed {
    fn each(&self, take: impl FnMut(&Candidate) -> Result<(), Fault>) -> Result<(), Fault> {
        self.0.iter().try_for_each(take)
    }
}

fn decided(candidates: &[Candidate], rule: &Rule) -> Vec<(Id, Class, f64)> {
    let mut decided = Vec::new();
    let take = |candidate: &Candidate, class, value| {
        decided.push((candidate.property, class, value));
        Ok(())
    };
    let draws = Draws::new(&TENANT, &STORM);
    assert_eq!(decide(&Fixed(candidates.to_vec()), rule, &draws, || (), take), Ok(()));
    decided
}

/// One property: what the documentation says of it, by ranks among all and no selection.
fn by_hand(all: &[Candidate], i: usize, rule: &Rule) -> (Decision, &'static str, f64) {
    let number = |c: &Candidate, purpose: &str| draw(&TENANT, &STORM, &c.property, purpose.as_bytes());
    let value = |c: &Candidate| match (c.margin, c.cost) {
        (Some(margin), Some(cost)) => margin * c.score - cost,
        _ => c.score - rule.breakeven,
    };
    let wanted = |c: &Candidate| {
        let threshold = c.margin.zip(c.cost).map_or(rule.breakeven, |(margin, cost)| cost / margin);
        c.excluded.is_none() && c.score >= 0.0 && c.score + rule.z * c.sd >= threshold
    };
    let one = &all[i];
    let ratio = |c: &Candidate| if c.cost == Some(0.0) { f64::INFINITY } else { value(c) / c.cost.unwrap_or(1.0) };
    let is_better = |a: &Candidate, b: &Candidate| {
        (ratio(a), value(a)) > (ratio(b), value(b))
            || (ratio(a), value(a)) == (ratio(b), value(b)) && number(a, "tie") < number(b, "tie")
    };
    let cents = |c: &Candidate| (c.cost.unwrap_or(0.0) * 100.0).round() as i64;
    let is_chosen = |c: &Candidate| {
        let before: Vec<_> = all.iter().filter(|o| wanted(o) && is_better(o, c)).collect();
        let spent = before.iter().map(|o| cents(o)).sum::<i64>() + cents(c);
        wanted(c)
            && rule.capacity.is_none_or(|most| (before.len() as i64) < most)
            && rule.budget.is_none_or(|most| spent <= (most * 100.0).round() as i64)
    };
    if one.excluded.is_some() {
        return (Decision::Exclude, "do_not_contact", 1.0);
    }
    let chosen = is_chosen(one);
    let (flip, rate) = if rule.is_limited() {
        let n = all.iter().filter(|c| is_chosen(c)).count() as f64;
        let others = all.iter().filter(|c| c.excluded.is_none() && !is_chosen(c)).count() as f64;
        let swaps = (rule.exploration * n).round_ties_even().min(others);
        let side = all.iter().filter(|c| c.excluded.is_none() && is_chosen(c) == chosen);
        let turn = side.filter(|c| (number(c, "explore"), c.property) < (number(one, "explore"), one.property)).count();
        ((turn as f64) < swaps, swaps / if chosen { n } else { others })
    } else {
        (number(one, "explore") < rule.exploration, rule.exploration)
    };
    let held_out = number(one, "holdout") < rule.holdout;
    let treat_rate = (1.0 - rule.holdout) * if chosen { 1.0 - rate } else { rate };
    let reason = match (held_out, chosen, flip) {
        (true, ..) => "holdout",
        (_, true, true) => "explore_hold",
        (_, true, false) => "above_threshold",
        (_, false, true) => "explore_treat",
        _ if wanted(one) => "over_capacity",
        _ => "below_threshold",
    };
    if chosen != flip && !held_out {
        (Decision::Treat, reason, treat_rate)
    } else {
        (Decision::Hold, reason, 1.0 - treat_rate)
    }
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let money = prop::option::of((1..5_i32).prop_map(|m| f64::from(m) * 0.5));
    let one = (any::<u128>(), -1..9_i32, 1..3_i32, money.clone(), money, prop::bool::weighted(0.1));
    prop::collection::vec(one, 0..40).prop_map(|mut all| {
        all.sort_by_key(|one| one.0);
        all.dedup_by_key(|one| one.0);
        let candidate =
            |(property, score, sd, margin, cost, excluded): (u128, i32, i32, _, Option<f64>, bool)| Candidate {
                property: property.to_be_bytes(),
                score: f64::from(score) / 10.0,
                sd: f64::from(sd) / 10.0,
                model: 0,
                margin,
                cost: cost.map(|cost| cost - 0.5),
                excluded: excluded.then_some(REASONS.len() as u32),
            };
        all.into_iter().map(candidate).collect()
    })
}

fn rules() -> impl Strategy<Value = Rule> {
    let rates = (prop::sample::select(vec![0.0, 0.05, 0.5]), prop::sample::select(vec![0.0, 0.1, 0.9]));
    let limits = (prop::option::of(1..30_i64), prop::option::of((1..40_i32).prop_map(|half| f64::from(half) / 2.0)));
    (-1..2_i32, rates, limits).prop_map(|(z, (exploration, holdout), (capacity, budget))| Rule {
        z: f64::from(z),
        default_sd: 0.05,
        margin: None,
        cost: None,
        breakeven: 0.2,
        exploration,
        holdout,
        capacity,
        budget,
        calibrations: Calibrations::default(),
    })
}

proptest! {
    #[test]
    fn every_decision_is_that_of_the_rule(all in candidates(), rule in rules()) {
        let decided = decided(&all, &rule);
        prop_assert_eq!(decided.len(), all.len());
        for (i, (property, class, _)) in decided.iter().enumerate() {
            let reason = REASONS.get(class.reason as usize).copied().unwrap_or("do_not_contact");
            prop_assert_eq!(*property, all[i].property);
            prop_assert_eq!((class.decision, reason, class.propensity), by_hand(&all, i, &rule));
        }
    }

    /// However scores were written, and however often: the latest of each property counts, and of a moment the greater name.
    #[test]
    fn the_latest_scores_are_merged_with_what_is_exceptional(
        rows in prop::collection::vec((0..20_u8, 0..3_i64, 0..3_usize), 0..60),
        odd in prop::collection::vec((0..25_u8, any::<bool>(), prop::option::of(0..3_u32), prop::option::of(1..3_u8)), 0..20),
    ) {
        let names = ["m", "M", "m0"];
        let mut models = Names::default();
        let places = names.map(|name| models.place(name.as_bytes()).unwrap());
        let score = |&(property, at, name): &(u8, i64, usize)| Score {
            property: [property; 16], at, score: at as f64, sd: f64::NAN, model: places[name],
        };
        let mut scores: Vec<_> = rows.iter().map(score).collect();
        keep_latest(&mut scores, &models, || ());
        let exception = |&(property, left_out, reason, margin): &(u8, bool, Option<u32>, Option<u8>)| Exception {
            property: [property; 16], left_out, reason, margin: margin.map_or(f64::NAN, f64::from), cost: f64::NAN,
        };
        let mut exceptions: Vec<_> = odd.iter().map(exception).collect();
        keep_one_each(&mut exceptions, u32::min, || ());
        let rule = Rule {
            z: 0.0, default_sd: 0.25, margin: Some(9.0), cost: None, breakeven: 0.0, exploration: 0.0, holdout: 0.0,
            capacity: None, budget: None, calibrations: Calibrations::default(),
        };
        let mut merged = Vec::new();
        let taken = merge(scores.into_iter(), exceptions.into_iter(), &rule, |candidate| {
            merged.push(*candidate);
            Ok(())
        });
        prop_assert_eq!(taken, Ok(()));
        let expected: Vec<_> = (0..20_u8).filter_map(|property| {
            let of = rows.iter().filter(|row| row.0 == property);
            let latest = of.max_by_key(|row| (row.1, names[row.2].as_bytes()))?;
            let own: Vec<_> = odd.iter().filter(|row| row.0 == property).collect();
            (!own.iter().any(|row| row.1)).then(|| Candidate {
                property: [property; 16],
                score: latest.1 as f64,
                sd: 0.25,
                model: places[latest.2],
                margin: own.iter().filter_map(|row| row.3).min().map(f64::from).or(Some(9.0)),
                cost: None,
                excluded: own.iter().filter_map(|row| row.2).min(),
            })
        }).collect();
        prop_assert_eq!(merged, expected);
    }
}

#[test]
fn properties_out_of_order_are_a_fault() {
    let score = |property| Score { property: [property; 16], at: 0, score: 0.0, sd: 0.1, model: 0 };
    let rule = Rule {
        z: 0.0,
        default_sd: 0.1,
        margin: None,
        cost: None,
        breakeven: 0.0,
        exploration: 0.0,
        holdout: 0.0,
        capacity: None,
        budget: None,
        calibrations: Calibrations::default(),
    };
    for scores in [[2, 1], [1, 1]] {
        let merged = merge(scores.map(score).into_iter(), std::iter::empty(), &rule, |_| Ok(()));
        assert_eq!(merged, Err(Fault::Order));
    }
}
