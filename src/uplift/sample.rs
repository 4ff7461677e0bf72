//! What both kinds of stored state share: rows in order, behind a header, as bytes.

use std::borrow::Cow;
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// Values from here on are left out, as the infinities are: of their squares there may be no sum.
pub const LIMIT: f64 = 1e100;

/// Whether a value can be computed with: neither NaN nor infinite nor enormous.
pub fn is_usable(value: f64) -> bool {
    value.abs() < LIMIT
}

/// One row of a state. Its bytes are those that are stored, so that a state is written in one copy and read in place.
pub trait Row: Copy + Ord + FromBytes + IntoBytes + Immutable + Unaligned {
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

/// Magic, four spare bytes, `missing`, `invalid`.
const HEADER: usize = 24;

impl<'a, R: Row> Sample<'a, R> {
    pub fn size(&self) -> usize {
        HEADER + size_of_val(&*self.rows)
    }

    /// Writes the state; `bytes` has `size()` of them.
    pub fn write(&self, bytes: &mut [u8]) {
        let (header, rows) = bytes.split_at_mut(HEADER);
        header[..4].copy_from_slice(&R::MAGIC);
        header[4..8].fill(0);
        header[8..16].copy_from_slice(&self.missing.to_le_bytes());
        header[16..].copy_from_slice(&self.invalid.to_le_bytes());
        rows.copy_from_slice(self.rows.as_bytes());
    }

    /// Header and rows of a state; None if these bytes cannot be one. What the rows hold is looked at
    /// when they are read.
    fn parts(bytes: &'a [u8]) -> Option<(&'a [u8], &'a [R])> {
        let (header, rows) = bytes.split_at_checked(HEADER)?;
        let known = header[..4] == R::MAGIC && header[4..8] == [0; 4];
        known.then_some((header, <[R]>::ref_from_bytes(rows).ok()?))
    }

    pub fn is_state(bytes: &'a [u8]) -> bool {
        Self::parts(bytes).is_some()
    }

    /// Reads a state where it lies; None if these bytes are none, or its rows are not in order.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rows) = Self::parts(bytes)?;
        let counter = |from: usize| {
            let count = header[from..from + 8].try_into().map(u64::from_le_bytes).ok();
            count.filter(|&count| count <= MOST_COUNTED)
        };
        let good = rows.iter().all(R::is_valid) && rows.is_sorted();
        good.then_some(Self { rows: Cow::Borrowed(rows), missing: counter(8)?, invalid: counter(16)? })
    }
}
