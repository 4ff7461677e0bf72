//! Whether a score of 0.2 means an effect of 0.2.

use super::ranking::{Contrast, Ranking};
use super::sum::{Sum, mean};
use super::trial::Case;
use std::f64::consts::FRAC_2_PI;

/// One bin of the ranking.
pub struct Bin {
    pub number: usize,
    pub n: usize,
    pub mean_score: f64,
    /// None where an arm is missing here.
    pub contrast: Option<Contrast>,
    /// The mean of the cases' effects, and its standard error: None where nothing varies.
    pub effect: f64,
    pub effect_se: Option<f64>,
}

/// The ranking in `count` bins of about equal size, the best first. Equal scores stay together, in
/// the bin of their middle rank. Empty where an arm is missing.
pub fn bins(ranking: &Ranking, count: usize) -> Vec<Bin> {
    let Some(effect) = ranking.effects() else { return Vec::new() };
    let n = ranking.n();
    let mut ends = vec![0; count];
    let mut start = 0;
    for group in ranking.groups() {
        let number = (2 * start + group.len()) * count / (2 * n);
        start += group.len();
        ends[number.min(count - 1)] = start;
    }
    let mut start = 0;
    let mut bins = Vec::new();
    for (number, end) in ends.into_iter().enumerate().filter(|(_, end)| *end > 0) {
        let cases = &ranking.cases[start..end];
        start = end;
        let (Some(value), Some(mean_score)) =
            (mean(cases.iter().map(&effect), cases.len()), mean(cases.iter().map(|case| case.score()), cases.len()))
        else {
            continue;
        };
        let squares = Sum::of(cases.iter().map(|case| (effect(case) - value).powi(2)));
        bins.push(Bin {
            number: number + 1,
            n: cases.len(),
            mean_score,
            contrast: ranking.contrast(&[(cases, 1.0)]),
            effect: value,
            effect_se: (squares > 0.0).then(|| squares.sqrt() / cases.len() as f64),
        });
    }
    bins
}

/// The line effect = intercept + slope * score; a calibrated model has 0 and 1.
pub struct Line {
    pub intercept: f64,
    pub slope: f64,
    /// Standard errors that allow for outcomes of unequal variance (HC1).
    pub intercept_se: f64,
    pub slope_se: f64,
}

/// Least squares of the cases' effects on their scores (Chernozhukov et al. 2018: best linear
/// predictor). None where an arm is missing or all scores are equal.
pub fn line(ranking: &Ranking) -> Option<Line> {
    let effect = ranking.effects()?;
    let size = ranking.n();
    let n = size as f64;
    let mean_score = mean(ranking.cases.iter().map(|case| case.score()), size)?;
    let mean_effect = mean(ranking.cases.iter().map(&effect), size)?;
    let apart = |case: &Case| case.score() - mean_score;
    let squares = Sum::of(ranking.cases.iter().map(|case| apart(case).powi(2)));
    if squares == 0.0 || size < 3 {
        return None;
    }
    let slope = Sum::of(ranking.cases.iter().map(|case| apart(case) * (effect(case) - mean_effect))) / squares;
    let residual = |case: &Case| effect(case) - mean_effect - slope * apart(case);
    let variance = |influence: &dyn Fn(&Case) -> f64| {
        Sum::of(ranking.cases.iter().map(|case| (influence(case) * residual(case)).powi(2))) * n / (n - 2.0)
    };
    let of_slope = |case: &Case| apart(case) / squares;
    let of_intercept = |case: &Case| 1.0 / n - mean_score * of_slope(case);
    Some(Line {
        intercept: mean_effect - slope * mean_score,
        slope,
        intercept_se: variance(&of_intercept).sqrt(),
        slope_se: variance(&of_slope).sqrt(),
    })
}

/// The mean distance between score and effect over the bins, and what chance alone makes of it
/// in a model that is calibrated: E|N(0, se)| = se * sqrt(2/pi).
pub fn error(bins: &[Bin]) -> Option<(f64, f64)> {
    let n: usize = bins.iter().map(|bin| bin.n).sum();
    let weighted = |value: fn(&Bin) -> f64| mean(bins.iter().map(move |bin| value(bin) * bin.n as f64), n);
    Some((
        weighted(|bin| (bin.mean_score - bin.effect).abs())?,
        weighted(|bin| bin.effect_se.unwrap_or(0.0) * FRAC_2_PI.sqrt())?,
    ))
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
        let bins = bins(&ranking, 10);
        assert_eq!(bins.iter().map(|bin| bin.n).sum::<usize>(), 2000);
        assert!(bins.windows(2).all(|pair| pair[0].mean_score > pair[1].mean_score));
        assert!(bins.iter().all(|bin| bin.n.abs_diff(200) < 20 && bin.effect_se.is_some()));
        let (error, chance) = error(&bins).unwrap();
        assert!(error < 3.0 * chance, "{error} of a calibrated model, {chance} by chance");
        let equal = Trial::of(fixture::cases(11, 2000, false).into_iter().map(|(_, t, y, p)| (0.1, t, y, p)));
        let one = super::bins(&Ranking::new(&equal), 10);
        assert_eq!(one.iter().map(|bin| (bin.number, bin.n)).collect::<Vec<_>>(), [(6, 2000)]);
    }

    #[test]
    fn a_bin_without_an_arm_has_no_contrast() {
        let cases = [(0.3, true, 1.0, None), (0.2, false, 0.0, None), (0.1, true, 0.0, None)];
        let trial = Trial::of(cases.into_iter());
        assert!(bins(&Ranking::new(&trial), 3).iter().all(|bin| bin.contrast.is_none() && bin.effect_se.is_none()));
        assert!(error(&[]).is_none());
    }
}
