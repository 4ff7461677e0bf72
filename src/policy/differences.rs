//! Where the prints of a run's blocks, as they were kept, differ from those of the blocks that are there now.

use super::seal::{HEAD, MARK};
use std::cmp::Ordering;

struct Print<'a> {
    first: [u8; 16],
    digest: &'a [u8],
    marks: &'a [[u8; MARK]],
}

#[derive(Debug, PartialEq, Eq)]
pub enum What {
    Changed,
    Missing,
    Added,
}

/// The first difference.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub what: What,
    /// Place of the block, from 0: among those that are there now, or, if it is the whole block that is missing, among those
    /// that were kept.
    pub block: usize,
    /// Place in the block, from 0, of the one decision that is changed, missing or added; None: the block as a whole.
    pub decision: Option<usize>,
    /// The least property of the block.
    pub first: [u8; 16],
    pub expected: Option<Vec<u8>>,
    pub actual: Option<Vec<u8>>,
}

fn prints(mut bytes: &[u8]) -> Vec<Print<'_>> {
    let mut prints = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let (first, head) = head.split_at(16);
        let (n, digest) = head.split_at(4);
        let n = n.iter().fold(0_usize, |n, byte| n << 8 | usize::from(*byte));
        // What was tampered with may say anything.
        let (marks, after) = rest.split_at(n.saturating_mul(MARK).min(rest.len()));
        let mut of = [0; 16];
        of.copy_from_slice(first);
        prints.push(Print { first: of, digest, marks: marks.as_chunks::<MARK>().0 });
        bytes = after;
    }
    prints
}

/// The first difference, None if there is none.
pub fn first(kept: &[u8], now: &[u8]) -> Option<Difference> {
    let (kept, now) = (prints(kept), prints(now));
    let block = (0..kept.len().max(now.len())).find(|i| {
        let whole = |prints: &[Print]| prints.get(*i).map(|print| (print.first, print.digest.to_vec()));
        whole(&kept) != whole(&now)
    })?;
    let (was, is) = (kept.get(block), now.get(block));
    let is_later =
        |print: &Print, prints: &[Print]| prints.iter().skip(block + 1).any(|other| other.digest == print.digest);
    let digest = |print: &Print| Some(print.digest.to_vec());
    let whole = |what, print: &Print, expected, actual| Difference {
        what,
        block,
        decision: None,
        first: print.first,
        expected,
        actual,
    };
    match (was, is) {
        (Some(was), None) => Some(whole(What::Missing, was, digest(was), None)),
        (None, Some(is)) => Some(whole(What::Added, is, None, digest(is))),
        (Some(was), Some(is)) if is_later(is, &kept) => Some(whole(What::Missing, was, digest(was), None)),
        (Some(was), Some(is)) if is_later(was, &now) => Some(whole(What::Added, is, None, digest(is))),
        (Some(was), Some(is)) => {
            let (what, decision) = within(was.marks, is.marks);
            Some(Difference { what, decision, ..whole(What::Changed, is, digest(was), digest(is)) })
        }
        (None, None) => None,
    }
}

/// What became of a block's decisions, by their marks.
fn within(was: &[[u8; MARK]], is: &[[u8; MARK]]) -> (What, Option<usize>) {
    let first = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    let what = match was.len().cmp(&is.len()) {
        Ordering::Greater => What::Missing,
        Ordering::Less => What::Added,
        Ordering::Equal => What::Changed,
    };
    (what, (first < was.len().max(is.len())).then_some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A print of a block that begins with this property, with a mark for each of its decisions.
    fn print(first: u8, digest: u8, marks: &[u8]) -> Vec<u8> {
        let mut print = [[first; 16].as_slice(), &(marks.len() as u32).to_be_bytes(), &[digest; 32]].concat();
        marks.iter().for_each(|mark| print.extend([*mark; MARK]));
        print
    }

    /// What, the block, the decision, the property that the block begins with.
    fn told(kept: &[Vec<u8>], now: &[Vec<u8>]) -> Option<(What, usize, Option<usize>, u8)> {
        let found = first(&kept.concat(), &now.concat())?;
        assert_ne!(found.expected, found.actual);
        Some((found.what, found.block, found.decision, found.first[0]))
    }

    #[test]
    fn what_was_done_to_a_block_is_told() {
        let [a, b, c] = [1, 2, 3].map(|i| print(10 * i, i, &[1, 2, 3]));
        let kept = [a.clone(), b.clone(), c.clone()];
        assert_eq!(told(&kept, &kept), None);
        assert_eq!(told(&[], &[]), None);
        let cases = [
            ([b.clone(), c.clone()].to_vec(), (What::Missing, 0, None, 10)),
            ([a.clone(), c.clone()].to_vec(), (What::Missing, 1, None, 20)),
            ([a.clone(), b.clone()].to_vec(), (What::Missing, 2, None, 30)),
            (vec![], (What::Missing, 0, None, 10)),
            ([a.clone(), b.clone(), print(25, 9, &[7]), c.clone()].to_vec(), (What::Added, 2, None, 25)),
            ([a.clone(), b.clone(), c.clone(), print(40, 9, &[7])].to_vec(), (What::Added, 3, None, 40)),
            ([a.clone(), print(20, 9, &[1, 2, 3]), c.clone()].to_vec(), (What::Changed, 1, None, 20)),
            ([a.clone(), print(20, 9, &[1, 7, 3]), c.clone()].to_vec(), (What::Changed, 1, Some(1), 20)),
            ([a.clone(), print(21, 9, &[2, 3]), c.clone()].to_vec(), (What::Missing, 1, Some(0), 21)),
            ([a.clone(), print(20, 9, &[1, 2]), c.clone()].to_vec(), (What::Missing, 1, Some(2), 20)),
            ([a.clone(), print(20, 9, &[1, 2, 3, 4]), c.clone()].to_vec(), (What::Added, 1, Some(3), 20)),
            ([a, print(19, 9, &[8, 1, 2, 3]), c].to_vec(), (What::Added, 1, Some(0), 19)),
        ];
        for (now, expected) in cases {
            assert_eq!(told(&kept, &now), Some(expected));
        }
    }

    /// What was tampered with may be anything.
    #[test]
    fn prints_that_are_cut_off_are_differences_too() {
        let kept = print(1, 1, &[1, 2, 3]);
        for end in 0..kept.len() {
            assert!(end < HEAD || first(&kept, &kept[..end]).is_none_or(|found| found.block == 0));
        }
        assert_eq!(first(&kept, &[]).map(|found| found.what), Some(What::Missing));
    }
}
