//! Many ids, and where each stands: an open table, half of the size of one of the library's, since there may be millions.

use super::candidate::Id;
use crate::memory::fallibly;
use std::collections::TryReserveError;

pub struct Ids {
    /// Nobody who chooses ids knows these, so nobody can choose such as collide.
    keys: [u64; 2],
    /// Places among the ids; a power of two long and at most half full.
    slots: Vec<u32>,
    ids: Vec<Id>,
}

const EMPTY: u32 = u32::MAX;

impl Ids {
    /// Less than 2^31 ids; one that comes again is there already.
    pub fn of(ids: &[Id], keys: [u64; 2]) -> Result<Self, TryReserveError> {
        let mut all = Self::with_room(ids.len(), keys)?;
        for id in ids {
            all.insert(id);
        }
        Ok(all)
    }

    /// None so far, and room for so many.
    pub fn with_room(most: usize, keys: [u64; 2]) -> Result<Self, TryReserveError> {
        let n = (most * 2).next_power_of_two();
        let mut all = Self { keys, slots: Vec::new(), ids: Vec::new() };
        fallibly(|| {
            all.slots.try_reserve_exact(n)?;
            all.ids.try_reserve_exact(most)
        })?;
        all.slots.resize(n, EMPTY);
        Ok(all)
    }

    /// Its place, where it now is if it was not. No more than there is room for are put in.
    pub fn insert(&mut self, id: &Id) -> usize {
        let slot = self.slot(id);
        if self.slots[slot] == EMPTY {
            self.slots[slot] = self.ids.len() as u32;
            self.ids.push(*id);
        }
        self.slots[slot] as usize
    }

    pub fn place(&self, id: &Id) -> Option<usize> {
        let place = self.slots[self.slot(id)];
        (place != EMPTY).then_some(place as usize)
    }

    pub fn all(&self) -> &[Id] {
        &self.ids
    }

    /// Where it is, or would be.
    fn slot(&self, id: &Id) -> usize {
        let id = u128::from_be_bytes(*id);
        let folded = u128::from((id >> 64) as u64 ^ self.keys[0]) * u128::from(id as u64 ^ self.keys[1]);
        let mask = self.slots.len() - 1;
        let mut slot = ((folded >> 64) as u64 ^ folded as u64) as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => return slot,
                place if u128::from_be_bytes(self.ids[place as usize]) == id => return slot,
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}
