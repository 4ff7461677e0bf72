//! Values that come more than once: what is left to compare when rows are told apart by a hash of them.

use super::gathered::Gathered;
use crate::memory::{fallibly, with_room};
use crate::postgres::stored;
use std::collections::TryReserveError;
use zerocopy::little_endian::I64;

/// The hashes of a group of rows, as they come.
#[derive(Debug, Default, PartialEq)]
pub struct Hashes(Vec<I64>);

impl Hashes {
    pub fn push(&mut self, hash: i64) -> Result<(), TryReserveError> {
        fallibly(|| self.0.try_reserve(1))?;
        self.0.push(hash.into());
        Ok(())
    }

    /// Each hash that more than one row has, once, in ascending order.
    pub fn repeated(&mut self) -> Result<Vec<i64>, TryReserveError> {
        self.0.sort_unstable();
        let repeats = || self.0.chunk_by(|a, b| a == b).filter(|rows| rows.len() > 1);
        let mut repeated = with_room(repeats().count())?;
        repeated.extend(repeats().filter_map(|rows| rows.first().copied().map(I64::get)));
        Ok(repeated)
    }
}

impl Gathered for Hashes {
    fn to_bytes(&self) -> Result<Vec<u8>, TryReserveError> {
        stored::to_bytes(&(), &self.0)
    }

    fn read(bytes: &[u8]) -> Result<Option<Self>, TryReserveError> {
        let Some(((), hashes)) = stored::read(bytes) else { return Ok(None) };
        let mut read = with_room(hashes.len())?;
        read.extend_from_slice(hashes);
        Ok(Some(Self(read)))
    }

    fn merge(&mut self, mut other: Self) -> Result<(), TryReserveError> {
        if self.0.is_empty() {
            *self = other;
            return Ok(());
        }
        fallibly(|| self.0.try_reserve(other.0.len()))?;
        self.0.append(&mut other.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn hashes(values: &[i64]) -> Hashes {
        Hashes(values.iter().copied().map(I64::new).collect())
    }

    proptest! {
        #[test]
        fn repeated_are_those_counted_twice_however_they_are_split(values in prop::collection::vec(-9..9_i64, 0..40), at in 0..40_usize) {
            let mut counts = BTreeMap::new();
            values.iter().for_each(|hash| *counts.entry(*hash).or_insert(0) += 1);
            let expected: Vec<_> = counts.into_iter().filter(|&(_, n)| n > 1).map(|(hash, _)| hash).collect();
            let (one, two) = values.split_at(at.min(values.len()));
            let mut state = hashes(one);
            state.merge(Hashes::read(&hashes(two).to_bytes().unwrap()).unwrap().unwrap()).unwrap();
            prop_assert_eq!(state.repeated().unwrap(), expected);
        }
    }

    #[test]
    fn what_a_worker_sends_is_what_it_had() {
        let sent = hashes(&[3, i64::MIN, 3, i64::MAX]);
        let bytes = sent.to_bytes().unwrap();
        assert_eq!(bytes[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Hashes::read(&bytes), Ok(Some(sent)));
        assert_eq!(Hashes::read(&bytes[1..]), Ok(None));
    }
}
