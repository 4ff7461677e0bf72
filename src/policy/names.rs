//! Names that come many times over, each kept once.

use super::fault::Fault;
use crate::memory::fallibly;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// No name.
const NONE: u32 = u32::MAX;

/// A name's place never changes. Names are bytes: no collation has a say in them.
#[derive(Default)]
pub struct Names {
    bytes: Vec<u8>,
    /// Where each name ends.
    ends: Vec<usize>,
    /// By the hash of a name, the last one that has it, and before each the one before.
    last_of: HashMap<u64, u32>,
    before: Vec<u32>,
    hashes: RandomState,
    found: u32,
}

impl Names {
    /// The place of a name; a new one comes to the end.
    pub fn place(&mut self, name: &[u8]) -> Result<u32, Fault> {
        if self.get(self.found) == Some(name) {
            return Ok(self.found);
        }
        let hash = self.hashes.hash_one(name);
        let last = self.last_of.get(&hash).copied().unwrap_or(NONE);
        let mut place = last;
        while let Some(other) = self.get(place) {
            if other == name {
                self.found = place;
                return Ok(place);
            }
            place = self.before[place as usize];
        }
        let place = u32::try_from(self.ends.len()).ok().filter(|place| *place < NONE).ok_or(Fault::Size)?;
        fallibly(|| {
            self.bytes.try_reserve(name.len())?;
            self.ends.try_reserve(1)?;
            self.before.try_reserve(1)?;
            self.last_of.try_reserve(1)
        })?;
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
        self.before.push(last);
        self.last_of.insert(hash, place);
        self.found = place;
        Ok(place)
    }

    pub fn get(&self, place: u32) -> Option<&[u8]> {
        let place = place as usize;
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    /// The name at a place that `place()` gave.
    pub fn at(&self, place: u32) -> &[u8] {
        self.get(place).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_place() {
        let mut names = Names::default();
        assert_eq!(names.get(0), None);
        for _ in 0..2 {
            for (i, name) in [&b"a"[..], b"", b"ab", b"b"].into_iter().enumerate() {
                assert_eq!(names.place(name), Ok(i as u32));
                assert_eq!(names.at(i as u32), name);
            }
        }
        assert_eq!((names.get(4), names.at(4)), (None, &b""[..]));
    }

    #[test]
    fn many_names_are_told_apart() {
        let mut names = Names::default();
        let places: Vec<_> = (0..1000_u32).map(|i| names.place(i.to_string().as_bytes()).unwrap()).collect();
        assert_eq!(places, (0..1000).collect::<Vec<_>>());
        assert!((0..1000).all(|i| names.at(i) == i.to_string().as_bytes()));
    }
}
