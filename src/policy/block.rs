//! A block: up to 4,096 decisions of a run in the order of property_id, column by column. What is alike in many of them
//! stands once, in dictionaries, and each decision has its place there.

use super::candidate::{Candidate, Id};
use super::fault::Fault;
use super::names::Names;
use super::rule::Class;
use super::seal::Entry;
use crate::memory::with_room;

/// The most decisions of a block.
pub const MOST: usize = 4096;
/// The most entries of a dictionary. A decision that finds no room in one begins the next block.
pub const MOST_ENTRIES: usize = 255;

pub struct Block {
    pub ids: Vec<Id>,
    /// Places from 1, as SQL counts them.
    pub classes: Vec<i16>,
    pub models: Vec<i16>,
    pub scores: Vec<f64>,
    pub score_sds: Vec<f64>,
    pub values: Vec<f64>,
    pub entries: Vec<(Class, i32)>,
    /// Places among the run's models.
    pub versions: Vec<u32>,
    /// Of the run so far, beyond this block.
    last: Option<Id>,
}

impl Block {
    pub fn new() -> Result<Self, Fault> {
        Ok(Self {
            ids: with_room(MOST)?,
            classes: with_room(MOST)?,
            models: with_room(MOST)?,
            scores: with_room(MOST)?,
            score_sds: with_room(MOST)?,
            values: with_room(MOST)?,
            entries: with_room(MOST_ENTRIES)?,
            versions: with_room(MOST_ENTRIES)?,
            last: None,
        })
    }

    /// Takes in a decision, or says that there is no room for it. What a table checks row by row is checked here:
    /// order, each property once, ranges.
    pub fn push(&mut self, candidate: &Candidate, class: Class, value: f64) -> Result<bool, Fault> {
        if self.ids.len() == MOST {
            return Ok(false);
        }
        if self.last.is_some_and(|last| last >= candidate.property) {
            return Err(Fault::Order);
        }
        within(candidate.score >= -1.0 && candidate.score <= 1.0, "score")?;
        within(candidate.sd > 0.0 && candidate.sd <= 1.0, "score_sd")?;
        within(value.is_finite(), "value")?;
        within(class.propensity > 0.0 && class.propensity <= 1.0, "propensity")?;
        let entry = place(&self.entries, |(known, _)| *known == class);
        let version = place(&self.versions, |known| *known == candidate.model);
        let (Some(entry), Some(version)) = (entry, version) else { return Ok(false) };
        if entry == self.entries.len() {
            self.entries.push((class, 0));
        }
        if version == self.versions.len() {
            self.versions.push(candidate.model);
        }
        self.entries[entry].1 += 1;
        self.ids.push(candidate.property);
        self.classes.push(entry as i16 + 1);
        self.models.push(version as i16 + 1);
        self.scores.push(candidate.score);
        self.score_sds.push(candidate.sd);
        self.values.push(value);
        self.last = Some(candidate.property);
        Ok(true)
    }

    /// Begins the next block of the run.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.classes.clear();
        self.models.clear();
        self.scores.clear();
        self.score_sds.clear();
        self.values.clear();
        self.entries.clear();
        self.versions.clear();
    }

    /// The dictionaries with their names: of the classes and of the models.
    pub fn named<'a>(&self, reasons: &'a Names, models: &'a Names) -> (Vec<Entry<'a>>, Vec<&'a [u8]>) {
        let entry = |(class, n): &(Class, i32)| Entry {
            decision: class.decision.name().as_bytes(),
            reason: reasons.at(class.reason),
            propensity: class.propensity,
            n: *n,
        };
        (self.entries.iter().map(entry).collect(), self.versions.iter().map(|model| models.at(*model)).collect())
    }
}

fn within(is_within: bool, what: &'static str) -> Result<(), Fault> {
    if is_within { Ok(()) } else { Err(Fault::Range(what)) }
}

/// The place of an entry, or of a new one; None if there is no room.
fn place<T>(entries: &[T], is: impl Fn(&T) -> bool) -> Option<usize> {
    let place = entries.iter().position(is).unwrap_or(entries.len());
    (place < MOST_ENTRIES).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::super::rule::Decision;
    use super::*;

    fn candidate(property: u128, model: u32) -> Candidate {
        Candidate {
            property: property.to_be_bytes(),
            score: 0.5,
            sd: 0.1,
            model,
            margin: None,
            cost: None,
            excluded: None,
        }
    }

    const CLASS: Class = Class { decision: Decision::Hold, reason: 2, propensity: 1.0 };

    #[test]
    fn a_block_has_so_many_decisions_and_so_many_entries() {
        let mut block = Block::new().unwrap();
        assert!((0..MOST as u128).all(|i| block.push(&candidate(i, 0), CLASS, 0.0) == Ok(true)));
        assert_eq!(block.push(&candidate(MOST as u128, 0), CLASS, 0.0), Ok(false));
        assert_eq!((block.entries.len(), block.entries[0].1, block.versions.len()), (1, MOST as i32, 1));
        block.clear();
        assert!((0..255).all(|i| block.push(&candidate(5000 + u128::from(i), i), CLASS, 0.0) == Ok(true)));
        assert_eq!(block.push(&candidate(6000, 255), CLASS, 0.0), Ok(false));
        assert_eq!(block.push(&candidate(6000, 254), CLASS, 0.0), Ok(true));
        assert_eq!((block.models[0], block.models[254], block.models[255]), (1, 255, 255));
        for reason in 0..254 {
            let class = Class { reason: 10 + reason, ..CLASS };
            assert_eq!(block.push(&candidate(7000 + u128::from(reason), 0), class, 0.0), Ok(true));
        }
        assert_eq!(block.push(&candidate(8000, 0), Class { propensity: 0.5, ..CLASS }, 0.0), Ok(false));
    }

    #[test]
    fn what_a_table_would_refuse_is_refused() {
        let mut block = Block::new().unwrap();
        assert_eq!(block.push(&candidate(5, 0), CLASS, 0.0), Ok(true));
        block.clear();
        for earlier in [5, 4] {
            assert_eq!(block.push(&candidate(earlier, 0), CLASS, 0.0), Err(Fault::Order));
        }
        let bad = [f64::NAN, f64::INFINITY, -1.5];
        for number in bad {
            let with = |score, sd| Candidate { score, sd, ..candidate(6, 0) };
            assert_eq!(block.push(&with(number, 0.1), CLASS, 0.0), Err(Fault::Range("score")));
            assert_eq!(block.push(&with(0.1, number), CLASS, 0.0), Err(Fault::Range("score_sd")));
            let class = Class { propensity: number, ..CLASS };
            assert_eq!(block.push(&candidate(6, 0), class, 0.0), Err(Fault::Range("propensity")));
        }
        for number in [f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(block.push(&candidate(6, 0), CLASS, number), Err(Fault::Range("value")));
        }
        assert!(block.ids.is_empty() && block.entries.is_empty());
    }
}
