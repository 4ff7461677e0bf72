//! A policy under a limit: the best by value per cost are chosen until it is reached, the fractional knapsack (Goldenberg et
//! al. 2020, arXiv 2008.06293). Exploration then swaps a fixed number of them against as many others.

use super::candidate::{Candidate, Id};
use super::candidates::Source;
use super::draw::Draws;
use super::fault::Fault;
use super::rule::{Choice, Rule};
use crate::memory::{fallibly, with_room};
use std::collections::BinaryHeap;

/// One that the rule wants and may have.
struct Ranked {
    /// Value per cost; infinite where treating costs nothing.
    ratio: f64,
    value: f64,
    tie: f64,
    cents: f64,
    place: u32,
}

/// Money in whole cents, which a double adds up exactly.
fn cents(money: f64) -> f64 {
    (money * 100.0).round_ties_even()
}

/// Who is chosen and who is swapped, by place in the order of the candidates.
pub struct Cut {
    chosen: Vec<u64>,
    /// How likely one of the chosen is swapped, and one of the others.
    rates: [f64; 2],
    /// The last draw that swaps, of the chosen and of the others.
    last: [Option<Draw>; 2],
    at: u32,
}

/// A draw in [0, 1), whose bits are in its order, and whose it is.
type Draw = (u64, Id);

impl Cut {
    /// Reads the candidates once, or twice if there is exploration. `breathe` is called now and then, and may unwind.
    pub fn new(source: &impl Source, rule: &Rule, draws: &Draws, mut breathe: impl FnMut()) -> Result<Self, Fault> {
        let mut ranked = Vec::new();
        let (mut all, mut excluded) = (0_u32, 0_u32);
        source.each(|candidate| {
            let place = all;
            all = all.checked_add(1).ok_or(Fault::Size)?;
            if candidate.excluded.is_some() {
                excluded += 1;
                return Ok(());
            }
            let (value, wanted) = rule.assess(candidate);
            if wanted {
                let cost = candidate.cost.unwrap_or(1.0);
                fallibly(|| ranked.try_reserve(1))?;
                // Zeros have one sign, so that they are equal.
                ranked.push(Ranked {
                    ratio: if cost == 0.0 { f64::INFINITY } else { value / cost + 0.0 },
                    value: value + 0.0,
                    tie: draws.property(&candidate.property).purpose(b"tie"),
                    cents: cents(candidate.cost.unwrap_or(0.0)),
                    place,
                });
            }
            Ok(())
        })?;
        ranked.sort_unstable_by(|a, b| {
            breathe();
            let best = b.ratio.total_cmp(&a.ratio).then_with(|| b.value.total_cmp(&a.value));
            best.then_with(|| a.tie.total_cmp(&b.tie)).then_with(|| a.place.cmp(&b.place))
        });
        let mut chosen = with_room((all as usize).div_ceil(64))?;
        chosen.resize((all as usize).div_ceil(64), 0);
        let mut cut = Self { chosen, rates: [0.0; 2], last: [None; 2], at: 0 };
        let n = cut.choose(rule, &ranked);
        drop(ranked);
        let (n, others) = (n as f64, f64::from(all - excluded) - n as f64);
        let swaps = (rule.exploration * n).round_ties_even().min(others);
        cut.rates = [swaps / n, swaps / others];
        if swaps >= 1.0 {
            cut.draw(source, draws, swaps as usize)?;
        }
        Ok(cut)
    }

    /// Takes from the best until a limit is reached; how many.
    fn choose(&mut self, rule: &Rule, ranked: &[Ranked]) -> u64 {
        let budget = rule.budget.map(cents);
        let (mut spent, mut taken) = (0.0, 0);
        for one in ranked {
            spent += one.cents;
            if rule.capacity.is_some_and(|most| taken as i64 >= most) || budget.is_some_and(|most| spent > most) {
                break;
            }
            taken += 1;
            self.chosen[one.place as usize / 64] |= 1 << (one.place % 64);
        }
        taken
    }

    fn is_chosen(&self, place: u32) -> bool {
        self.chosen[place as usize / 64] >> (place % 64) & 1 == 1
    }

    /// Finds the draws of each side that swap: the smallest.
    fn draw(&mut self, source: &impl Source, draws: &Draws, swaps: usize) -> Result<(), Fault> {
        let mut sides = [with_room(swaps)?, with_room(swaps)?].map(BinaryHeap::<Draw>::from);
        let mut place = 0;
        source.each(|candidate| {
            if candidate.excluded.is_none() {
                let side = &mut sides[usize::from(!self.is_chosen(place))];
                let draw = explored(draws, &candidate.property);
                if side.len() < swaps {
                    side.push(draw);
                } else if let Some(mut greatest) = side.peek_mut()
                    && draw < *greatest
                {
                    *greatest = draw;
                }
            }
            place += 1;
            Ok(())
        })?;
        self.last = sides.map(|side| side.peek().copied());
        Ok(())
    }

    /// What is to be done with the next candidate, whose draw of exploration this is.
    pub fn next(&mut self, candidate: &Candidate, explore: f64) -> Choice {
        let chosen = self.is_chosen(self.at);
        self.at += 1;
        let side = usize::from(!chosen);
        let flip = self.last[side].is_some_and(|last| (explore.to_bits(), candidate.property) <= last);
        Choice { chosen, flip, flip_rate: self.rates[side] }
    }
}

fn explored(draws: &Draws, property: &Id) -> Draw {
    (draws.property(property).purpose(b"explore").to_bits(), *property)
}
