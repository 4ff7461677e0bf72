//! What both kinds of stored state share: rows in order, behind a header, as bytes.

/// One row of a state, in the form in which it is collected and sorted.
pub trait Row: Copy + Ord {
    /// What the first bytes of a state of such rows say.
    const MAGIC: [u8; 4];
    /// The bytes that a row takes, in memory and stored.
    const SIZE: usize;
    fn write(self, bytes: &mut [u8]);
    /// None if no such row can have been collected.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// The rows that an aggregate took in, and how many it had to leave out.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<R> {
    pub rows: Vec<R>,
    /// Rows with a NULL where there must be none.
    pub missing: u64,
    /// Rows with a value outside its range: NaN, infinite, or a propensity that is no chance.
    pub invalid: u64,
}

impl<R> Default for Sample<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), missing: 0, invalid: 0 }
    }
}

/// Magic, four spare bytes, `missing`, `invalid`.
const HEADER: usize = 24;

impl<R: Row> Sample<R> {
    pub fn size(&self) -> usize {
        HEADER + self.rows.len() * R::SIZE
    }

    /// Puts the rows in order. Takes up the order that is there: states that were merged are sorted runs.
    pub fn sort(&mut self, merged: bool) {
        if merged { self.rows.sort() } else { self.rows.sort_unstable() }
    }

    /// Writes the state; `bytes` has `size()` of them.
    pub fn write(&self, bytes: &mut [u8]) {
        let (header, rows) = bytes.split_at_mut(HEADER);
        header[..4].copy_from_slice(&R::MAGIC);
        header[4..8].fill(0);
        header[8..16].copy_from_slice(&self.missing.to_le_bytes());
        header[16..].copy_from_slice(&self.invalid.to_le_bytes());
        for (row, bytes) in self.rows.iter().zip(rows.chunks_exact_mut(R::SIZE)) {
            row.write(bytes);
        }
    }

    /// Header and rows of a state; None if these bytes cannot be one. What the rows hold is looked at
    /// when they are read.
    fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (header, rows) = bytes.split_at_checked(HEADER)?;
        let fits = header[..4] == R::MAGIC && header[4..8] == [0; 4] && rows.len() % R::SIZE == 0;
        fits.then_some((header, rows))
    }

    pub fn is_state(bytes: &[u8]) -> bool {
        Self::parts(bytes).is_some()
    }

    /// Reads a state; None if these bytes are none, or its rows are not in order.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (header, rows) = Self::parts(bytes)?;
        let rows = rows.chunks_exact(R::SIZE).map(R::read).collect::<Option<Vec<R>>>()?;
        let counter = |from: usize| header[from..from + 8].try_into().map(u64::from_le_bytes).ok();
        rows.is_sorted().then_some(Self { rows, missing: counter(8)?, invalid: counter(16)? })
    }
}

/// A double as an integer in the same order. Neither NaN nor -0 come here.
pub fn order_key(x: f64) -> i64 {
    let bits = x.to_bits().cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

/// The double of an order key: the same exchange again.
pub fn from_order_key(key: i64) -> f64 {
    f64::from_bits((key ^ ((key >> 63).cast_unsigned() >> 1).cast_signed()).cast_unsigned())
}

/// The double in eight bytes of a state.
pub fn read_f64(bytes: &[u8]) -> Option<f64> {
    bytes.try_into().map(f64::from_le_bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_doubles() {
        let values = [f64::MIN, -2.5, -1e-300, 0.0, 1e-300, 0.1, 0.30000000000000004, f64::MAX];
        assert!(values.map(order_key).is_sorted());
        assert_eq!(values.map(order_key).map(from_order_key), values);
    }
}
