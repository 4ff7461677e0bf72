//! Values that come more than once: what is left to compare when rows are told apart by a hash of them.

use super::aggregate::Gathered;
use std::collections::TryReserveError;

/// The hashes of a group of rows, as they come.
#[derive(Debug, Default, PartialEq)]
pub struct Hashes(Vec<i64>);

impl Hashes {
    pub fn push(&mut self, hash: i64) -> Result<(), TryReserveError> {
        self.0.try_reserve(1)?;
        self.0.push(hash);
        Ok(())
    }

    /// Each hash that more than one row has, once, in ascending order.
    pub fn repeated(&mut self) -> Vec<i64> {
        self.0.sort_unstable();
        self.0.chunk_by(|a, b| a == b).filter(|rows| rows.len() > 1).filter_map(|rows| rows.first().copied()).collect()
    }
}

impl Gathered for Hashes {
    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.to_ne_bytes()).collect()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Self(hashes.iter().copied().map(i64::from_ne_bytes).collect()))
    }

    fn merge(&mut self, mut other: Self) -> Result<(), TryReserveError> {
        if self.0.is_empty() {
            *self = other;
            return Ok(());
        }
        self.0.try_reserve(other.0.len())?;
        self.0.append(&mut other.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn repeated_are_those_counted_twice_however_they_are_split(hashes in prop::collection::vec(-9..9_i64, 0..40), at in 0..40_usize) {
            let mut counts = BTreeMap::new();
            hashes.iter().for_each(|hash| *counts.entry(*hash).or_insert(0) += 1);
            let expected: Vec<_> = counts.into_iter().filter(|&(_, n)| n > 1).map(|(hash, _)| hash).collect();
            let (one, two) = hashes.split_at(at.min(hashes.len()));
            let mut state = Hashes(one.to_vec());
            state.merge(Hashes::read(&Hashes(two.to_vec()).bytes()).unwrap()).unwrap();
            prop_assert_eq!(state.repeated(), expected);
        }
    }

    #[test]
    fn what_a_worker_sends_is_what_it_had() {
        let sent = Hashes(vec![3, i64::MIN, 3, i64::MAX]);
        let bytes = sent.bytes();
        assert_eq!(Hashes::read(&bytes), Some(sent));
        assert_eq!(Hashes::read(&bytes[1..]), None);
    }
}
