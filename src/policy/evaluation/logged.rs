//! A decision of the log with its outcome, as a state of rows keeps it.

use crate::uplift::sample::{Row, is_usable};
use std::cmp::Ordering;
use zerocopy::little_endian::{F64, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// In 48 bytes. No number in it is NaN or -0.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Logged {
    score: F64,
    sd: F64,
    /// Of the decision that was taken: below zero for a property that was held.
    propensity: F64,
    /// The property's own; UNKNOWN where it has none.
    margin: F64,
    cost: F64,
    /// A mix of the property's id; the lowest bit: it converted.
    tag: U64,
}

const UNKNOWN: f64 = -1.0;
/// What of a chance may be rounding.
const CERTAIN: f64 = 1.0 - 1e-12;
/// Into so many parts the rows are divided to fit the model on the others.
pub const FOLDS: usize = 5;

impl Logged {
    /// None if a number is outside of its range.
    pub fn new(
        property: &[u8; 16],
        (treated, propensity): (bool, f64),
        (score, sd): (f64, f64),
        converted: bool,
        (margin, cost): (Option<f64>, Option<f64>),
    ) -> Option<Self> {
        let row = Self {
            score: F64::new(score + 0.0), // -0 becomes 0
            sd: F64::new(sd),
            propensity: F64::new(if treated { propensity } else { -propensity }),
            margin: F64::new(margin.unwrap_or(UNKNOWN)),
            cost: F64::new(cost.unwrap_or(UNKNOWN) + 0.0),
            tag: U64::new(mix(property) << 1 | u64::from(converted)),
        };
        (propensity > 0.0 && row.is_valid()).then_some(row)
    }

    pub fn score(&self) -> f64 {
        self.score.get()
    }

    pub fn sd(&self) -> f64 {
        self.sd.get()
    }

    pub fn treated(&self) -> bool {
        self.propensity.get() > 0.0
    }

    pub fn converted(&self) -> bool {
        self.tag.get() & 1 == 1
    }

    pub fn margin(&self) -> Option<f64> {
        Some(self.margin.get()).filter(|&margin| margin > 0.0)
    }

    pub fn cost(&self) -> Option<f64> {
        Some(self.cost.get()).filter(|&cost| cost >= 0.0)
    }

    /// The part that the property belongs to, by its id alone.
    pub fn fold(&self) -> usize {
        ((self.tag.get() >> 1) % FOLDS as u64) as usize
    }

    /// For equal ones to stand in an order that says nothing of them.
    pub fn turn(&self) -> u64 {
        self.tag.get() >> 1
    }

    /// The decision's weight where the target treats with this chance.
    pub fn weight(&self, chance: f64) -> f64 {
        let taken = if self.treated() { chance } else { 1.0 - chance };
        taken / self.propensity.get().abs()
    }

    /// How likely the target does what the log never does here.
    pub fn never_taken(&self, chance: f64) -> f64 {
        let other = if self.treated() { 1.0 - chance } else { chance };
        if self.propensity.get().abs() > CERTAIN { other } else { 0.0 }
    }
}

/// 64 bits of an id, each of which depends on all of its bits (the finalizer of SplitMix64).
fn mix(id: &[u8; 16]) -> u64 {
    let (high, low) = id.split_at(8);
    let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    let mut x = word(high).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word(low);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The best score first. The rest orders equal scores too: sums then do not depend on the order of the rows.
impl Ord for Logged {
    fn cmp(&self, other: &Self) -> Ordering {
        let by = |a: F64, b: F64| a.get().total_cmp(&b.get());
        by(other.score, self.score)
            .then_with(|| self.tag.get().cmp(&other.tag.get()))
            .then_with(|| by(self.propensity, other.propensity))
            .then_with(|| by(self.sd, other.sd))
            .then_with(|| by(self.margin, other.margin))
            .then_with(|| by(self.cost, other.cost))
    }
}

impl PartialOrd for Logged {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    // Sorting asks for this: mostly one comparison.
    fn lt(&self, other: &Self) -> bool {
        if self.score() == other.score() { self.cmp(other).is_lt() } else { self.score() > other.score() }
    }
}

impl PartialEq for Logged {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Logged {}

impl Row for Logged {
    const MAGIC: [u8; 4] = *b"SOd1";

    fn is_valid(&self) -> bool {
        let (p, margin, cost) = (self.propensity.get().abs(), self.margin.get(), self.cost.get());
        (-1.0..=1.0).contains(&self.score())
            && self.sd() > 0.0
            && self.sd() <= 1.0
            && p > 0.0
            && p <= 1.0
            && is_usable(margin)
            && is_usable(cost)
            && (margin == UNKNOWN || margin > 0.0)
            && (cost == UNKNOWN || cost >= 0.0)
    }
}
