//! From scores to measured effects: what a score stood for once outcomes came in.
//!
//! Each bin of the ranking has a measured effect with an error. Few outcomes make bins differ by chance, so each is drawn
//! towards what all have in common, by as much as its error is large beside what the bins really differ by (DerSimonian
//! and Laird 1986; Morris 1983). Then a higher score never means a lower effect, and between bins runs a straight line.

use super::calibration::Bin;
use crate::statistics::sum::Sum;

/// What bins have in common, and what they differ by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    pub mean: f64,
    /// The variance of the mean.
    pub mean_variance: f64,
    /// The variance of the true effects: 0 where chance alone explains all differences.
    pub variance: f64,
    /// Cochran's Q.
    pub q: f64,
}

/// Of effects with their standard errors, which are above 0. None without any.
pub fn between(effects: &[(f64, f64)]) -> Option<Between> {
    let weights = |variance: f64| effects.iter().map(move |(_, se)| 1.0 / (se * se + variance));
    let mean_by = |variance: f64| {
        let weight = Sum::of(weights(variance));
        (Sum::of(effects.iter().zip(weights(variance)).map(|((effect, _), w)| w * effect)) / weight, weight)
    };
    if effects.is_empty() {
        return None;
    }
    let (fixed, weight) = mean_by(0.0);
    let q = Sum::of(effects.iter().zip(weights(0.0)).map(|((effect, _), w)| w * (effect - fixed).powi(2)));
    let free = effects.len() as f64 - 1.0;
    let scale = weight - Sum::of(weights(0.0).map(|w| w * w)) / weight;
    let variance = if scale > 0.0 { ((q - free) / scale).max(0.0) } else { 0.0 };
    let (mean, weight) = mean_by(variance);
    Some(Between { mean, mean_variance: 1.0 / weight, variance, q })
}

impl Between {
    /// The effect that is likeliest in view of all, and its standard deviation.
    pub fn shrunk(&self, effect: f64, se: f64) -> (f64, f64) {
        let own = self.variance / (self.variance + se * se);
        let left = own * se * se + (1.0 - own).powi(2) * self.mean_variance;
        (self.mean + own * (effect - self.mean), left.sqrt())
    }
}

/// A bin with what it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knot {
    pub cases: usize,
    /// The mean score of the bin.
    pub score: f64,
    pub measured: f64,
    pub measured_se: f64,
    pub effect: f64,
    pub sd: f64,
}

/// The bins as knots, the lowest score first; those of which no error can be told are left out. None of fewer than two.
pub fn knots(bins: &[Bin]) -> Option<(Vec<Knot>, Between)> {
    let shown = || bins.iter().rev().filter_map(|bin| bin.effect_se.map(|se| (bin, se)));
    let effects: Vec<(f64, f64)> = shown().map(|(bin, se)| (bin.effect, se)).collect();
    let between = between(&effects).filter(|_| effects.len() > 1)?;
    let knot = |(bin, se): (&Bin, f64)| {
        let (effect, sd) = between.shrunk(bin.effect, se);
        Knot { cases: bin.cases.len(), score: bin.mean_score, measured: bin.effect, measured_se: se, effect, sd }
    };
    let mut knots: Vec<Knot> = shown().map(knot).collect();
    rising(&mut knots);
    Some((knots, between))
}

/// Draws neighbours together that fall, by their precision (pool adjacent violators; Ayer et al. 1955). A bin keeps its
/// own deviation: that two were drawn together makes neither of them surer.
fn rising(knots: &mut [Knot]) {
    // Groups as (where it ends, precision, effect).
    let mut groups: Vec<(usize, f64, f64)> = Vec::new();
    for (place, knot) in knots.iter().enumerate() {
        let mut group = (place + 1, 1.0 / knot.sd.powi(2), knot.effect);
        while let Some(before) = groups.pop_if(|before| before.2 > group.2) {
            let weight = before.1 + group.1;
            group = (place + 1, weight, (before.1 * before.2 + group.1 * group.2) / weight);
        }
        groups.push(group);
    }
    let mut start = 0;
    for (end, _, effect) in groups {
        knots[start..end].iter_mut().for_each(|knot| knot.effect = effect);
        start = end;
    }
}

/// From a score to an effect with its standard deviation.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Score, effect, standard deviation; the scores rise, the effects never fall.
    points: Vec<(f64, f64, f64)>,
}

/// More points than anybody keeps.
pub const MOST_POINTS: usize = 1000;

impl Map {
    /// None unless scores rise, effects never fall and lie in -1 to 1, and deviations are above 0 to 1.
    pub fn new(points: Vec<(f64, f64, f64)>) -> Option<Self> {
        let range = |(score, effect, sd): &(f64, f64, f64)| {
            (-1.0..=1.0).contains(score) && (-1.0..=1.0).contains(effect) && *sd > 0.0 && *sd <= 1.0
        };
        let rises = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        (!points.is_empty() && points.len() <= MOST_POINTS && rises && points.iter().all(range))
            .then_some(Self { points })
    }

    /// Straight between the points, level beyond the outermost ones.
    pub fn at(&self, score: f64) -> (f64, f64) {
        let next = self.points.partition_point(|point| point.0 < score);
        let (Some(high), low) = (self.points.get(next).or(self.points.last()), self.points[next.saturating_sub(1)])
        else {
            return (score, f64::NAN);
        };
        let way = if high.0 > low.0 { ((score - low.0) / (high.0 - low.0)).clamp(0.0, 1.0) } else { 0.0 };
        (low.1 + way * (high.1 - low.1), low.2 + way * (high.2 - low.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;
    use crate::uplift::calibration::bins;
    use crate::uplift::fixture;
    use crate::uplift::ranking::Ranking;
    use crate::uplift::trial::Trial;

    /// statsmodels 0.15.0: combine_effects(method_re='dl').
    #[test]
    fn what_bins_differ_by_equals_the_reference() {
        let effects = [0.11, 0.083, 0.071, 0.066, 0.052, 0.047, 0.039, 0.021, 0.018, -0.004];
        let errors = [0.011, 0.012, 0.0105, 0.0115, 0.0108, 0.0112, 0.0109, 0.0121, 0.0104, 0.0118];
        let found = between(&effects.into_iter().zip(errors).collect::<Vec<_>>()).unwrap();
        assert_near(found.variance, 0.000993311892076193, 1e-12);
        assert_near(found.mean, 0.05035345976791321, 1e-12);
        assert_near(found.mean_variance, 0.00011193817236206243, 1e-12);
        assert_near(found.q, 80.49030505201159, 1e-12);
        // The definition: shrink by tau^2 / (tau^2 + se^2).
        let own = found.variance / (found.variance + 0.011f64.powi(2));
        assert_near(found.shrunk(0.11, 0.011).0, found.mean + own * (0.11 - found.mean), 1e-12);
    }

    #[test]
    fn equal_effects_are_one() {
        let one = between(&[(0.1, 0.02), (0.1, 0.05), (0.1, 0.01)]).unwrap();
        assert_eq!((one.variance, one.q), (0.0, 0.0));
        let (effect, sd) = one.shrunk(0.3, 0.02);
        assert_near(effect, 0.1, 1e-15);
        assert_near(sd, (1.0 / (2500.0 + 400.0 + 10_000.0f64)).sqrt(), 1e-12);
        assert!(between(&[]).is_none());
    }

    #[test]
    fn what_falls_is_drawn_together() {
        let knot = |effect: f64, sd: f64| Knot { cases: 1, score: 0.0, measured: 0.0, measured_se: 1.0, effect, sd };
        let effects = |mut knots: Vec<Knot>| {
            rising(&mut knots);
            knots.into_iter().map(|knot| knot.effect).collect::<Vec<_>>()
        };
        assert_eq!(effects(vec![knot(0.1, 1.0), knot(0.3, 1.0), knot(0.2, 1.0)]), [0.1, 0.25, 0.25]);
        assert_eq!(effects(vec![knot(0.5, 1.0), knot(0.25, 0.5), knot(0.0, 1.0)]), [0.25, 0.25, 0.25]);
        assert_eq!(effects(vec![knot(0.1, 1.0), knot(0.2, 1.0)]), [0.1, 0.2]);
        assert!(effects(vec![]).is_empty());
    }

    #[test]
    fn a_map_never_falls_and_ends_level() {
        let map = Map::new(vec![(0.0, 0.02, 0.01), (0.1, 0.05, 0.03), (0.3, 0.05, 0.02)]).unwrap();
        assert_eq!((map.at(-0.5), map.at(0.0), map.at(0.9)), ((0.02, 0.01), (0.02, 0.01), (0.05, 0.02)));
        assert_near(map.at(0.05).0, 0.035, 1e-12);
        assert_near(map.at(0.2).1, 0.025, 1e-12);
        let steps: Vec<f64> = (-100..=100).map(|i| map.at(f64::from(i) / 100.0).0).collect();
        assert!(steps.is_sorted());
        for bad in [
            vec![],
            vec![(0.1, 0.2, 0.1), (0.1, 0.3, 0.1)],
            vec![(0.1, 0.2, 0.1), (0.2, 0.1, 0.1)],
            vec![(0.1, 0.2, 0.0)],
            vec![(f64::NAN, 0.2, 0.1)],
            vec![(0.1, 1.5, 0.1)],
        ] {
            assert_eq!(Map::new(bad), None);
        }
        assert_eq!(Map::new(vec![(0.1, 0.2, 0.1)]).unwrap().at(0.7), (0.2, 0.1));
    }

    /// Scores twice too wide come out as wide as the effects are.
    #[test]
    fn wide_scores_are_drawn_in() {
        let wide: Vec<fixture::Raw> = fixture::cases(11, 20_000, false)
            .into_iter()
            .map(|(s, t, y, p)| (0.1 + 2.0 * (s - 0.1), t, y, p))
            .collect();
        let trial = Trial::of(wide.into_iter());
        let ranking = Ranking::new(&trial);
        let (knots, between) = knots(&bins(&ranking, &ranking.effects().unwrap(), 10)).unwrap();
        assert!(
            knots.len() == 10
                && between.variance > 0.0
                && knots.windows(2).all(|pair| pair[0].effect <= pair[1].effect)
        );
        let span = |of: fn(&Knot) -> f64| of(&knots[9]) - of(&knots[0]);
        assert!(span(|k| k.effect) < 0.8 * span(|k| k.score), "{knots:?}");
        assert!(knots.iter().all(|knot| knot.sd < knot.measured_se));
    }
}
