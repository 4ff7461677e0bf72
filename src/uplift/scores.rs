//! Scores in order, and what can be said of them alone.

use super::sample::{Row, Sample, from_order_key, order_key, read_f64};
use super::sum::{Sum, mean};

/// One score: the double's order key, so that sorting compares integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(i64);

impl Score {
    /// None for NaN and the infinities.
    pub fn new(score: f64) -> Option<Self> {
        score.is_finite().then(|| Self(order_key(score + 0.0))) // -0 becomes 0
    }

    pub fn value(self) -> f64 {
        from_order_key(self.0)
    }
}

impl Row for Score {
    const MAGIC: [u8; 4] = *b"SOs1";
    const SIZE: usize = 8;

    fn write(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.value().to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::new(read_f64(bytes)?)
    }
}

/// Scores in ascending order.
pub type Scores = Sample<Score>;

impl Scores {
    pub fn n(&self) -> usize {
        self.rows.len()
    }

    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().map(|score| score.value())
    }

    pub fn mean(&self) -> Option<f64> {
        mean(self.values(), self.n())
    }

    /// The sum of squares around the mean.
    pub fn squares(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some(Sum::of(self.values().map(|x| (x - mean) * (x - mean))))
    }

    /// The sample's variance (n - 1); None below two scores.
    pub fn variance(&self) -> Option<f64> {
        (self.n() > 1).then_some(self.squares()? / (self.n() as f64 - 1.0))
    }

    pub fn sd(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The standard deviation of these scores taken as all there are (n).
    pub fn population_sd(&self) -> Option<f64> {
        self.squares().map(|squares| (squares / self.n() as f64).sqrt())
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
        Score::new(x).map_or(0, |x| self.rows.partition_point(|score| *score <= x))
    }

    /// The sizes of the groups of equal scores: how many groups, and the largest.
    pub fn ties(&self) -> (usize, usize) {
        self.rows.chunk_by(|a, b| a == b).fold((0, 0), |(groups, most), group| (groups + 1, most.max(group.len())))
    }

    #[cfg(test)]
    pub fn of(values: &[f64]) -> Self {
        let mut scores = Self { rows: values.iter().filter_map(|x| Score::new(*x)).collect(), ..Self::default() };
        scores.sort(false);
        scores
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
        assert_eq!(scores.mean(), Some(2.5));
        assert_eq!(scores.variance(), Some(5.0 / 3.0));
        assert_eq!(scores.quantile(0.5), Some(2.5));
        assert_eq!(scores.quantile(1.0), Some(4.0));
        assert_eq!(scores.quantile(1.1), None);
        assert_eq!(scores.count_to(3.0), 3);
        assert_eq!(Scores::of(&[0.2, 0.1, 0.2]).ties(), (2, 2));
        let none = Scores::of(&[f64::NAN]);
        assert_eq!((none.mean(), none.variance(), none.quantile(0.5), none.ties()), (None, None, None, (0, 0)));
        assert_eq!(Scores::of(&[0.1]).variance(), None);
    }
}
