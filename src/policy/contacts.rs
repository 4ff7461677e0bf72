//! Who was contacted so often that a cap excludes it: all caps are counted in one pass over the touches, in any order.

use super::candidate::Id;
use super::ids::Ids;
use crate::memory::fallibly;
use std::collections::TryReserveError;

/// How often a property may be contacted, by a channel or by any, after a moment.
pub struct Cap {
    pub channel: Option<Vec<u8>>,
    pub since: i64,
    pub most: i64,
}

/// The contacts of certain properties: four bytes a cap and 24 to 32 a property.
pub struct Contacts {
    caps: Vec<Cap>,
    of: Ids,
    /// For each property as many as there are caps.
    counts: Vec<u32>,
}

impl Contacts {
    /// Of these properties.
    pub fn of(ids: &[Id], caps: Vec<Cap>, keys: [u64; 2]) -> Result<Self, TryReserveError> {
        let of = Ids::of(ids, keys)?;
        let mut counts = Vec::new();
        fallibly(|| counts.try_reserve_exact(ids.len().saturating_mul(caps.len())))?;
        counts.resize(ids.len() * caps.len(), 0);
        Ok(Self { caps, of, counts })
    }

    /// Takes in a contact; without a channel one that may come by any. Of other properties it is not counted.
    pub fn add<'a>(&mut self, property: &Id, at: i64, channel: impl FnOnce() -> Option<&'a [u8]>) {
        let Some(place) = self.of.place(property) else { return };
        let from = place * self.caps.len();
        let channel = if self.caps.iter().any(|cap| cap.channel.is_some()) { channel() } else { None };
        for (cap, count) in self.caps.iter().zip(&mut self.counts[from..]) {
            let counts = match (&cap.channel, channel) {
                (Some(of), Some(by)) => of == by,
                _ => true,
            };
            if counts && at > cap.since {
                *count = count.saturating_add(1);
            }
        }
    }

    /// The properties that reach a cap, each with the place of the first such cap and the number of its contacts.
    pub fn capped(&self) -> impl Iterator<Item = (&Id, u32, u32)> {
        let width = self.caps.len();
        self.of.all().iter().enumerate().filter_map(move |(place, id)| {
            let counts = &self.counts[place * width..][..width];
            let cap = counts.iter().zip(&self.caps).position(|(&n, cap)| n > 0 && i64::from(n) >= cap.most)?;
            Some((id, cap as u32, counts[cap]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cap, Contacts, Id};

    fn id(i: u32) -> Id {
        u128::from(i).to_be_bytes()
    }

    fn cap(channel: Option<&str>, since: i64, most: i64) -> Cap {
        Cap { channel: channel.map(|channel| channel.as_bytes().to_vec()), since, most }
    }

    #[test]
    fn contacts_count_by_channel_and_moment_and_the_first_cap_is_told() {
        let ids: Vec<Id> = [1, 2, 3, 2].map(id).into();
        let caps = vec![cap(Some("phone"), 10, 2), cap(None, 5, 3)];
        let mut contacts = Contacts::of(&ids, caps, [7, 9]).unwrap();
        for (i, at, channel) in [
            (1, 11, Some("phone")),
            (1, 10, Some("phone")), // not after it
            (1, 12, Some("door")),
            (2, 11, Some("phone")),
            (2, 11, None), // may be a call
            (3, 11, Some("phone")),
            (3, 5, Some("phone")),
            (4, 11, None), // of nobody here
        ] {
            contacts.add(&id(i), at, || channel.map(str::as_bytes));
        }
        let capped: Vec<_> = contacts.capped().collect();
        assert_eq!(capped, [(&id(1), 1, 3), (&id(2), 0, 2)]);
    }

    #[test]
    fn whoever_has_no_contact_is_told_by_no_cap_and_many_find_their_place() {
        let ids: Vec<Id> = (0..1000).map(id).collect();
        for keys in [[1, 1], [u64::MAX, 3], [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03]] {
            let mut contacts = Contacts::of(&ids, vec![cap(None, 0, 0)], keys).unwrap();
            assert_eq!(contacts.capped().count(), 0);
            for i in (0..2000).step_by(2) {
                contacts.add(&id(i), 1, || None);
            }
            assert!(contacts.capped().map(|(id, cap, n)| (*id, cap, n)).eq((0..1000).step_by(2).map(|i| (
                id(i),
                0,
                1
            ))));
        }
        let none = Contacts::of(&[], Vec::new(), [1, 1]).unwrap();
        assert_eq!(none.capped().count(), 0);
    }
}
