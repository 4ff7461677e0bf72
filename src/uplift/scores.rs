//! Scores in order, and what can be said of them alone.

use super::means::Moments;
use super::sample::{Row, Sample, is_usable};
use crate::statistics::sum::{Sum, mean};
use std::cmp::Ordering;
use zerocopy::little_endian::F64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One score, neither NaN nor infinite nor enormous nor -0: so that there is one order, and equal scores have equal bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Score(F64);

impl Score {
    /// None for NaN, the infinities and what is as good as one.
    pub fn new(score: f64) -> Option<Self> {
        is_usable(score).then(|| Self(F64::new(score + 0.0))) // -0 becomes 0
    }

    pub fn value(self) -> f64 {
        self.0.get()
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value().total_cmp(&other.value())
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    // Sorting asks for this: one comparison.
    fn lt(&self, other: &Self) -> bool {
        self.value() < other.value()
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for Score {}

impl Row for Score {
    const MAGIC: [u8; 4] = *b"SOs1";

    fn is_valid(&self) -> bool {
        is_usable(self.value())
    }
}

/// Scores in ascending order.
pub type Scores<'a> = Sample<'a, Score>;

impl Scores<'_> {
    pub fn n(&self) -> usize {
        self.rows.len()
    }

    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().map(|score| score.value())
    }

    /// What mean and spread come from; None without a score.
    pub fn moments(&self) -> Option<Moments> {
        let (n, first, last) = (self.n(), self.rows.first()?, self.rows.last()?);
        if first == last {
            // What rounding makes of their mean would pass for a spread.
            return Some(Moments { n, mean: first.value(), squares: 0.0 });
        }
        let mean = mean(self.values(), n)?;
        // The mean is rounded, by much where scores are large against their spread: what that adds is taken off again.
        let apart = Sum::of(self.values().map(|x| x - mean));
        let squares = Sum::of(self.values().map(|x| (x - mean) * (x - mean))) - apart * apart / n as f64;
        Some(Moments { n, mean, squares: squares.max(0.0) })
    }

    /// The quantile between order statistics, as `percentile_cont` takes it; None outside [0, 1].
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.n().checked_sub(1)?;
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        let place = q * last as f64;
        let below = place.floor();
        let low = self.rows.get(below as usize)?.value();
        let high = self.rows.get(place.ceil() as usize)?.value();
        Some(low + (high - low) * (place - below))
    }

    /// How many scores are at most `x`.
    pub fn count_to(&self, x: f64) -> usize {
        self.rows.partition_point(|score| score.value() <= x)
    }

    /// The sizes of the groups of equal scores: how many groups, and the largest.
    pub fn ties(&self) -> (usize, usize) {
        self.rows.chunk_by(|a, b| a == b).fold((0, 0), |(groups, most), group| (groups + 1, most.max(group.len())))
    }

    #[cfg(test)]
    pub fn of(values: &[f64]) -> Self {
        let mut rows: Vec<Score> = values.iter().filter_map(|x| Score::new(*x)).collect();
        rows.sort_unstable();
        Self { rows: rows.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_what_was_written() {
        let mut scores = Scores::of(&[0.3, -0.1, 0.3, 0.0, -0.0]);
        scores.invalid = 2;
        let mut bytes = vec![1; scores.size()];
        scores.write(&mut bytes);
        assert_eq!(Scores::read(&bytes), Some(scores));
        assert_eq!(Scores::read(&bytes[1..]), None);
        bytes[24..32].copy_from_slice(&9f64.to_le_bytes());
        assert_eq!(Scores::read(&bytes), None, "not in order");
        bytes[24..32].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(Scores::read(&bytes), None, "no score");
    }

    #[test]
    fn moments_and_quantiles() {
        let scores = Scores::of(&[4.0, 1.0, 3.0, 2.0]);
        let moments = scores.moments().unwrap();
        assert_eq!((moments.mean, moments.variance()), (2.5, Some(5.0 / 3.0)));
        assert_eq!(scores.quantile(0.5), Some(2.5));
        assert_eq!(scores.quantile(1.0), Some(4.0));
        assert_eq!(scores.quantile(1.1), None);
        assert_eq!(scores.count_to(3.0), 3);
        assert_eq!(Scores::of(&[0.2, 0.1, 0.2]).ties(), (2, 2));
        let none = Scores::of(&[f64::NAN]);
        assert!(none.moments().is_none());
        assert_eq!((none.quantile(0.5), none.ties()), (None, (0, 0)));
        assert_eq!(Scores::of(&[0.1]).moments().unwrap().variance(), None);
        assert_eq!(Scores::of(&[1e100, -1e100, f64::MAX, 9e99]).n(), 1);
    }

    /// numpy 2.4.6: std(ddof=1) of the same numbers without the 10^15, which they hold exactly.
    #[test]
    fn a_large_mean_hides_no_spread() {
        let near: Vec<f64> = (1..=10).map(f64::from).collect();
        let far: Vec<f64> = near.iter().map(|x| 1e15 + x).collect();
        assert_eq!(Scores::of(&far).moments().unwrap().squares, Scores::of(&near).moments().unwrap().squares);
        assert!((Scores::of(&far).moments().unwrap().sd().unwrap() - 3.0276503540974917).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_do_not_vary() {
        for (score, n) in
            [0.1, 0.2, 0.3, 0.7, 1.0 / 3.0].into_iter().flat_map(|score| (1..100).map(move |n| (score, n)))
        {
            let moments = Scores::of(&vec![score; n]).moments().unwrap();
            assert_eq!((moments.mean, moments.squares), (score, 0.0));
        }
    }
}
