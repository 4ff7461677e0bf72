//! Groups whose mean lies outside limits, found beside other aggregates of the same rows.

use super::gathered::Gathered;
use crate::memory::{fallibly, with_room};
use crate::postgres::stored;
use std::collections::{HashMap, TryReserveError};
use zerocopy::little_endian::{F64, I64, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

type Member = [u8; 16];

/// How many values, and their sum.
type Sums = (u64, f64);

/// The values of each group, all of them and those of the last moment; the limits, which are the same for all.
#[derive(Debug, Default, PartialEq)]
pub struct Groups {
    sums: HashMap<Member, Group>,
    lowest: f64,
    highest: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Group {
    all: Sums,
    last_at: i64,
    last: Sums,
}

impl Group {
    fn add(&mut self, other: Self) {
        let sum = |a: Sums, b: Sums| (a.0 + b.0, a.1 + b.1);
        if self.all.0 == 0 || other.last_at > self.last_at {
            (self.last_at, self.last) = (other.last_at, other.last);
        } else if other.last_at == self.last_at {
            self.last = sum(self.last, other.last);
        }
        self.all = sum(self.all, other.all);
    }
}

/// The limits as they are sent.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SentLimits {
    lowest: F64,
    highest: F64,
}

/// A group as it is sent.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SentGroup {
    member: Member,
    n: U64,
    sum: F64,
    last_at: I64,
    last_n: U64,
    last_sum: F64,
}

impl SentGroup {
    fn new(member: Member, Group { all, last_at, last }: Group) -> Self {
        let (n, sum, last_at) = (all.0.into(), all.1.into(), last_at.into());
        Self { member, n, sum, last_at, last_n: last.0.into(), last_sum: last.1.into() }
    }

    fn group(&self) -> Group {
        let (all, last) = ((self.n.get(), self.sum.get()), (self.last_n.get(), self.last_sum.get()));
        Group { all, last_at: self.last_at.get(), last }
    }
}

impl Groups {
    pub fn push(&mut self, member: Member, at: i64, value: f64, limits: (f64, f64)) -> Result<(), TryReserveError> {
        (self.lowest, self.highest) = limits;
        self.add(member, Group { all: (1, value), last_at: at, last: (1, value) })
    }

    fn add(&mut self, member: Member, group: Group) -> Result<(), TryReserveError> {
        fallibly(|| self.sums.try_reserve(1))?;
        self.sums.entry(member).or_default().add(group);
        Ok(())
    }

    /// The groups whose mean, of all values or of the last moment's, is below the lowest or above the highest, or no
    /// number, in ascending order.
    pub fn outside(&self) -> Result<Vec<Member>, TryReserveError> {
        let inside = |(n, sum): Sums| (self.lowest..=self.highest).contains(&(sum / n as f64));
        let is_outside = |group: &Group| !inside(group.all) || !inside(group.last);
        let mut outside = with_room(self.sums.values().filter(|group| is_outside(group)).count())?;
        outside.extend(self.sums.iter().filter(|(_, group)| is_outside(group)).map(|(member, _)| *member));
        outside.sort_unstable();
        Ok(outside)
    }
}

impl Gathered for Groups {
    fn to_bytes(&self) -> Result<Vec<u8>, TryReserveError> {
        let limits = SentLimits { lowest: self.lowest.into(), highest: self.highest.into() };
        let mut groups = with_room(self.sums.len())?;
        groups.extend(self.sums.iter().map(|(member, group)| SentGroup::new(*member, *group)));
        stored::to_bytes(&limits, &groups)
    }

    fn read(bytes: &[u8]) -> Result<Option<Self>, TryReserveError> {
        let Some((limits, groups)) = stored::read::<SentLimits, SentGroup>(bytes) else { return Ok(None) };
        let mut state = Self { lowest: limits.lowest.get(), highest: limits.highest.get(), ..Self::default() };
        groups.iter().try_for_each(|group| state.add(group.member, group.group()))?;
        Ok(Some(state))
    }

    fn merge(&mut self, other: Self) -> Result<(), TryReserveError> {
        (self.lowest, self.highest) = (other.lowest, other.highest);
        other.sums.into_iter().try_for_each(|(member, group)| self.add(member, group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(rows: &[(u8, f64)]) -> Groups {
        let mut groups = Groups::default();
        rows.iter().for_each(|&(member, value)| groups.push([member; 16], 0, value, (0.1, 0.3)).unwrap());
        groups
    }

    #[test]
    fn means_are_of_all_workers_rows() {
        // 1: 0.2 in the middle of two that are outside; 2: just outside; 3: on the edge; 4: no number.
        let mut one = groups(&[(1, 0.0), (2, 0.31), (3, 0.3), (4, f64::NAN)]);
        let other = groups(&[(1, 0.4), (4, 0.2), (5, 0.05)]);
        assert_eq!(one.outside().unwrap(), [[1; 16], [2; 16], [4; 16]]);
        let bytes = other.to_bytes().unwrap();
        assert_eq!(bytes.len(), 16 + 3 * 56);
        assert_eq!(Groups::read(&bytes[1..]), Ok(None));
        one.merge(Groups::read(&bytes).unwrap().unwrap()).unwrap();
        assert_eq!(one.outside().unwrap(), [[2; 16], [4; 16], [5; 16]]);
        assert!(Groups::default().outside().unwrap().is_empty());
    }

    #[test]
    fn limits_that_nothing_meets_name_every_group() {
        let mut all = Groups::default();
        all.push([7; 16], 0, 0.2, (1.0, -1.0)).unwrap();
        assert_eq!(all.outside().unwrap(), [[7; 16]]);
    }

    #[test]
    fn the_last_moment_counts_by_itself_whichever_worker_saw_it() {
        let rows = |rows: &[(i64, f64)]| {
            let mut groups = Groups::default();
            rows.iter().for_each(|&(at, value)| groups.push([1; 16], at, value, (0.1, 0.3)).unwrap());
            groups
        };
        let (early, late) = ([(1, 0.05), (2, 0.1)], [(3, 0.4), (3, 0.32), (2, 0.1)]);
        for (mut one, two) in [(rows(&early), rows(&late)), (rows(&late), rows(&early))] {
            one.merge(Groups::read(&two.to_bytes().unwrap()).unwrap().unwrap()).unwrap();
            assert_eq!(one.outside().unwrap(), [[1; 16]], "0.36 of the last, 0.194 of all");
        }
        assert!(rows(&[(-1, 0.4), (0, 0.2), (0, 0.12)]).outside().unwrap().is_empty(), "0.16 and 0.24");
    }
}
