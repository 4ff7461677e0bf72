//! Values that come more than once: what is left to compare when rows are told apart by a hash of them.

/// The hashes of a group of rows, as they come.
#[derive(Debug, Default, PartialEq)]
pub struct Hashes(pub Vec<i64>);

impl Hashes {
    /// Each hash that more than one row has, once, in ascending order.
    pub fn repeated(&mut self) -> Vec<i64> {
        self.0.sort_unstable();
        self.0.chunk_by(|a, b| a == b).filter(|rows| rows.len() > 1).filter_map(|rows| rows.first().copied()).collect()
    }

    /// As the workers of one server send them to each other.
    pub fn bytes(&self) -> impl Iterator<Item = [u8; size_of::<i64>()]> {
        self.0.iter().map(|hash| hash.to_ne_bytes())
    }

    /// None if these are not the bytes of hashes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Self(hashes.iter().copied().map(i64::from_ne_bytes).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn repeated_are_those_counted_twice(hashes in prop::collection::vec(-9..9_i64, 0..40)) {
            let mut counts = BTreeMap::new();
            hashes.iter().for_each(|hash| *counts.entry(*hash).or_insert(0) += 1);
            let expected: Vec<_> = counts.into_iter().filter(|&(_, n)| n > 1).map(|(hash, _)| hash).collect();
            prop_assert_eq!(Hashes(hashes).repeated(), expected);
        }
    }

    #[test]
    fn what_a_worker_sends_is_what_it_had() {
        let sent = Hashes(vec![3, i64::MIN, 3, i64::MAX]);
        let bytes: Vec<u8> = sent.bytes().flatten().collect();
        assert_eq!(Hashes::read(&bytes), Some(sent));
        assert_eq!(Hashes::read(&bytes[1..]), None);
    }
}
