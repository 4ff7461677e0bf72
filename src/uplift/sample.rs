//! What both kinds of stored state share: rows in order, behind a header, as bytes.

use crate::postgres::stored::{self, Plain};
use std::borrow::Cow;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Values from here on are left out, as the infinities are: of their squares there may be no sum.
pub const LIMIT: f64 = 1e100;

/// Whether a value can be computed with: neither NaN nor infinite nor enormous.
pub fn is_usable(value: f64) -> bool {
    value.abs() < LIMIT
}

/// One row of a state. Its bytes are those that are stored, so that a state is written in one copy and read in place.
pub trait Row: Copy + Ord + Plain {
    /// What the first bytes of a state of such rows say.
    const MAGIC: [u8; 4];
    /// Whether such a row can have been collected.
    fn is_valid(&self) -> bool;
}

/// The rows that an aggregate took in, and how many it had to leave out.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a, R: Clone> {
    pub rows: Cow<'a, [R]>,
    /// Rows with a NULL where there must be none.
    pub missing: u64,
    /// Rows with a value outside its range: NaN, infinite, enormous, or a propensity that is no chance.
    pub invalid: u64,
}

impl<R: Clone> Default for Sample<'_, R> {
    fn default() -> Self {
        Self { rows: Cow::default(), missing: 0, invalid: 0 }
    }
}

/// More than anybody counts, and far from where sums of two overflow.
pub const MOST_COUNTED: u64 = 1 << 53;

/// What stands before the rows.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    spare: [u8; 4],
    missing: U64,
    invalid: U64,
}

impl<'a, R: Row> Sample<'a, R> {
    fn header(&self) -> Header {
        Header { magic: R::MAGIC, spare: [0; 4], missing: self.missing.into(), invalid: self.invalid.into() }
    }

    pub fn size(&self) -> usize {
        stored::size(&self.header(), &self.rows)
    }

    /// Writes the state; `bytes` has `size()` of them.
    pub fn write(&self, bytes: &mut [u8]) {
        stored::write(&self.header(), &self.rows, bytes);
    }

    /// Header and rows of a state; None if these bytes cannot be one. What the rows hold is looked at
    /// when they are read.
    fn parts(bytes: &'a [u8]) -> Option<(&'a Header, &'a [R])> {
        stored::read::<Header, R>(bytes).filter(|(header, _)| header.magic == R::MAGIC && header.spare == [0; 4])
    }

    pub fn is_state(bytes: &'a [u8]) -> bool {
        Self::parts(bytes).is_some()
    }

    /// Reads a state where it lies; None if these bytes are none, or its rows are not in order.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rows) = Self::parts(bytes)?;
        let (missing, invalid) = (header.missing.get(), header.invalid.get());
        let good = missing.max(invalid) <= MOST_COUNTED && rows.iter().all(R::is_valid) && rows.is_sorted();
        good.then_some(Self { rows: Cow::Borrowed(rows), missing, invalid })
    }
}
