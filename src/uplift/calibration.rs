//! Whether a score of 0.2 means an effect of 0.2.

use super::ranking::{Contrast, Ranking};
use super::trial::{Case, tied};
use crate::statistics::sum::{Sum, mean, size, standard_error};
use std::f64::consts::FRAC_2_PI;

/// One bin of the ranking.
pub struct Bin<'a> {
    pub number: usize,
    pub cases: &'a [Case],
    pub mean_score: f64,
    /// None where an arm is missing here.
    pub contrast: Option<Contrast>,
    /// The mean of the cases' effects, and its standard error: None where nothing varies.
    pub effect: f64,
    pub effect_se: Option<f64>,
}

/// The ranking in `count` bins of about equal size, the best first. Equal scores stay together, in
/// the bin of their middle rank.
pub fn bins<'a>(ranking: &Ranking<'a>, effects: &[f64], count: usize) -> Vec<Bin<'a>> {
    let (n, size) = (ranking.n(), size(effects));
    let mut ends = vec![0; count];
    let (mut start, mut number) = (0, 0);
    for group in ranking.groups() {
        // The middle rank's share of n, in bins; by comparison, as a division for each case would cost more.
        while number + 1 < count && (2 * start + group.len()) * count >= (number + 1) * 2 * n {
            number += 1;
        }
        start += group.len();
        ends[number] = start;
    }
    let mut start = 0;
    let mut bins = Vec::new();
    for (number, end) in ends.into_iter().enumerate().filter(|(_, end)| *end > 0) {
        let (cases, effects) = (&ranking.cases[start..end], &effects[start..end]);
        let n = (end - start) as f64;
        let effect = Sum::of(effects.iter().copied()) / n;
        let squares = Sum::of(effects.iter().map(|e| (e - effect).powi(2)));
        let squares = squares.max(Sum::of(cases.iter().map(|case| ranking.expected_square(case))));
        bins.push(Bin {
            number: number + 1,
            cases,
            mean_score: Sum::of(cases.iter().map(|case| case.score())) / n,
            contrast: ranking.contrast(&[(cases, 1.0)]),
            effect,
            effect_se: standard_error(squares / n / n, size / n.sqrt()),
        });
        start = end;
    }
    bins
}

/// The line effect = intercept + slope * score; a calibrated model has 0 and 1.
pub struct Line {
    pub intercept: f64,
    pub slope: f64,
    /// Standard errors that allow for outcomes of unequal variance (HC1); None where the line meets every effect.
    pub intercept_se: Option<f64>,
    pub slope_se: Option<f64>,
}

/// Least squares of the cases' effects on their scores (Chernozhukov et al. 2018: best linear
/// predictor). None where all scores are equal.
pub fn line(ranking: &Ranking, effects: &[f64]) -> Option<Line> {
    let (n, size) = (ranking.n() as f64, size(effects));
    let (first, last) = (ranking.cases.first()?, ranking.cases.last()?);
    if tied(first, last) || n < 3.0 {
        return None;
    }
    let mean_score = Sum::of(ranking.cases.iter().map(|case| case.score())) / n;
    let mean_effect = Sum::of(effects.iter().copied()) / n;
    let apart = || ranking.cases.iter().zip(effects).map(|(case, e)| (case.score() - mean_score, e - mean_effect));
    let (mut squares, mut products) = (Sum::default(), Sum::default());
    for (score, effect) in apart() {
        squares.add(score * score);
        products.add(score * effect);
    }
    let squares = squares.value();
    if squares == 0.0 {
        return None; // scores of 1e-200 have no squares
    }
    let slope = products.value() / squares;
    let [mut of_slope, mut of_intercept, mut slope_expected, mut intercept_expected] = [Sum::default(); 4];
    let share = mean_score / squares;
    for ((score, effect), case) in apart().zip(ranking.cases) {
        let (residual, expected) = (effect - slope * score, ranking.expected_square(case));
        let pull = 1.0 / n - share * score;
        of_slope.add((score * residual).powi(2));
        of_intercept.add((pull * residual).powi(2));
        slope_expected.add(score * score * expected);
        intercept_expected.add(pull * pull * expected);
    }
    let widened = n / (n - 2.0);
    let (of_slope, of_intercept) =
        (of_slope.value().max(slope_expected.value()), of_intercept.value().max(intercept_expected.value()));
    Some(Line {
        intercept: mean_effect - slope * mean_score,
        slope,
        intercept_se: standard_error(of_intercept * widened, size * (1.0 / n + share * mean_score).sqrt()),
        slope_se: standard_error(of_slope / squares * widened, size).map(|se| se / squares.sqrt()),
    })
}

/// The mean distance between score and effect over the bins, and what chance alone makes of it
/// in a model that is calibrated: E|N(0, se)| = se * sqrt(2/pi); None where a bin does not show its error.
pub fn error(bins: &[Bin]) -> Option<(f64, Option<f64>)> {
    let n: usize = bins.iter().map(|bin| bin.cases.len()).sum();
    let weigh = |bin: &Bin, value: f64| value * bin.cases.len() as f64;
    let distance = mean(bins.iter().map(|bin| weigh(bin, (bin.mean_score - bin.effect).abs())), n)?;
    let by_chance: Option<Vec<f64>> =
        bins.iter().map(|bin| bin.effect_se.map(|se| weigh(bin, se * FRAC_2_PI.sqrt()))).collect();
    Some((distance, by_chance.and_then(|errors| mean(errors.into_iter(), n))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::fixture;
    use crate::uplift::trial::Trial;

    #[test]
    fn equal_scores_share_a_bin() {
        let trial = fixture::trial(11, 2000, false);
        let ranking = Ranking::new(&trial);
        let bins = bins(&ranking, &ranking.effects().unwrap(), 10);
        assert_eq!(bins.iter().map(|bin| bin.cases.len()).sum::<usize>(), 2000);
        assert!(bins.windows(2).all(|pair| pair[0].mean_score > pair[1].mean_score));
        assert!(bins.iter().all(|bin| bin.cases.len().abs_diff(200) < 20 && bin.effect_se.is_some()));
        let (error, chance) = error(&bins).unwrap();
        let chance = chance.unwrap();
        assert!(error < 3.0 * chance, "{error} of a calibrated model, {chance} by chance");
        let equal = Trial::of(fixture::cases(11, 2000, false).into_iter().map(|(_, t, y, p)| (0.1, t, y, p)));
        let ranking = Ranking::new(&equal);
        let one = super::bins(&ranking, &ranking.effects().unwrap(), 10);
        assert_eq!(one.iter().map(|bin| (bin.number, bin.cases.len())).collect::<Vec<_>>(), [(6, 2000)]);
    }

    #[test]
    fn a_bin_without_an_arm_has_no_contrast() {
        let cases = [(0.3, true, 1.0, None), (0.2, false, 0.0, None), (0.1, true, 0.0, None)];
        let trial = Trial::of(cases.into_iter());
        let ranking = Ranking::new(&trial);
        let bins = bins(&ranking, &ranking.effects().unwrap(), 3);
        assert!(bins.iter().all(|bin| bin.contrast.is_none() && bin.effect_se.is_none()));
        assert!(error(&bins).unwrap().1.is_none() && error(&[]).is_none());
    }
}
