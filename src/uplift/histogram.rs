//! How many scores fall into each of several bins of one width: for a picture.

use super::scores::Scores;

/// The counts of `bins` equal bins from `low` to `high`. What lies outside counts in the first or last.
pub fn counts(scores: &Scores, low: f64, high: f64, bins: usize) -> Vec<i64> {
    let mut counts = vec![0; bins];
    for score in scores.values() {
        let bin = ((score - low) / (high - low) * bins as f64).clamp(0.0, bins as f64 - 1.0);
        counts[bin as usize] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::scores::Score;

    #[test]
    fn each_score_is_in_one_bin() {
        let rows =
            [-0.5, 0.0, 0.1, 0.25, 0.5, 0.99, 1.0, 7.0].into_iter().filter_map(Score::new).collect::<Vec<_>>().into();
        let scores = Scores { rows, ..Scores::default() };
        assert_eq!(counts(&scores, 0.0, 1.0, 4), [3, 1, 1, 3]);
        assert_eq!(counts(&Scores::default(), 0.0, 1.0, 2), [0, 0]);
    }
}
