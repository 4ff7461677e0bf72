//! Groups whose mean lies outside limits, found beside other aggregates of the same rows.

use super::aggregate::Gathered;
use std::collections::{HashMap, TryReserveError};

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

/// A group as it is sent: its id, and five numbers of eight bytes.
const SIZE: usize = 16 + 5 * 8;

impl Groups {
    pub fn push(&mut self, member: Member, at: i64, value: f64, limits: (f64, f64)) -> Result<(), TryReserveError> {
        (self.lowest, self.highest) = limits;
        self.add(member, Group { all: (1, value), last_at: at, last: (1, value) })
    }

    fn add(&mut self, member: Member, group: Group) -> Result<(), TryReserveError> {
        self.sums.try_reserve(1)?;
        self.sums.entry(member).or_default().add(group);
        Ok(())
    }

    /// The groups whose mean, of all values or of the last moment's, is below the lowest or above the highest, or no
    /// number, in ascending order.
    pub fn outside(&self) -> Vec<Member> {
        let inside = |(n, sum): Sums| (self.lowest..=self.highest).contains(&(sum / n as f64));
        let left = |(_, group): &(&Member, &Group)| !inside(group.all) || !inside(group.last);
        let mut outside: Vec<_> = self.sums.iter().filter(left).map(|(member, _)| *member).collect();
        outside.sort_unstable();
        outside
    }
}

impl Gathered for Groups {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.sums.len() * SIZE);
        bytes.extend([self.lowest, self.highest].into_iter().flat_map(f64::to_ne_bytes));
        for (member, Group { all, last_at, last }) in &self.sums {
            bytes.extend(member);
            bytes.extend(all.0.to_ne_bytes().into_iter().chain(all.1.to_ne_bytes()));
            bytes.extend(last_at.to_ne_bytes());
            bytes.extend(last.0.to_ne_bytes().into_iter().chain(last.1.to_ne_bytes()));
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8], i: usize| bytes.get(i * 8..)?.first_chunk::<8>().copied();
        let count = |bytes: &[u8], i| number(bytes, i).map(u64::from_ne_bytes);
        let double = |bytes: &[u8], i| number(bytes, i).map(f64::from_ne_bytes);
        let (limits, groups) = bytes.split_at_checked(16)?;
        let mut state = Self { lowest: double(limits, 0)?, highest: double(limits, 1)?, ..Self::default() };
        let (groups, rest) = groups.as_chunks::<SIZE>();
        for group in groups {
            let all = (count(group, 2)?, double(group, 3)?);
            let last = (count(group, 5)?, double(group, 6)?);
            let last_at = number(group, 4).map(i64::from_ne_bytes)?;
            state.add(*group.first_chunk()?, Group { all, last_at, last }).ok()?;
        }
        rest.is_empty().then_some(state)
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
        assert_eq!(one.outside(), [[1; 16], [2; 16], [4; 16]]);
        let bytes = other.bytes();
        assert_eq!(Groups::read(&bytes[1..]), None);
        one.merge(Groups::read(&bytes).unwrap()).unwrap();
        assert_eq!(one.outside(), [[2; 16], [4; 16], [5; 16]]);
        assert!(Groups::default().outside().is_empty());
    }

    #[test]
    fn limits_that_nothing_meets_name_every_group() {
        let mut all = Groups::default();
        all.push([7; 16], 0, 0.2, (1.0, -1.0)).unwrap();
        assert_eq!(all.outside(), [[7; 16]]);
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
            one.merge(Groups::read(&two.bytes()).unwrap()).unwrap();
            assert_eq!(one.outside(), [[1; 16]], "0.36 of the last, 0.194 of all");
        }
        assert!(rows(&[(-1, 0.4), (0, 0.2), (0, 0.12)]).outside().is_empty(), "0.16 and 0.24");
    }
}
