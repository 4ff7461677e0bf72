//! What scores were worth, in one row: how well they rank, how well they are calibrated.

use super::calibration::{self, Line};
use super::curve::{self, Areas};
use super::ranking::{Contrast, Ranking};
use super::rate::{self, Rate};
use super::trial::Trial;

/// Below so many cases, or events in an arm, the standard errors are not to be trusted.
const FEW_CASES: usize = 200;
const FEW_EVENTS: usize = 10;
const BINS: usize = 10;

#[derive(Default)]
pub struct Summary {
    /// `ok`, or why there is no answer: `no_rows`, `no_treatment`, `no_control`, `no_events`,
    /// `all_events`; `equal_scores` where the order says nothing.
    pub status: &'static str,
    pub small_sample: bool,
    /// Rate of the treated, rate of the controls, all cases.
    pub overall: Option<Contrast>,
    pub areas: Option<Areas>,
    /// The best 10, 20 and 30 percent.
    pub top: [Option<Contrast>; 3],
    pub rate: Option<Rate>,
    pub line: Option<Line>,
    /// The mean error over ten bins, and what chance alone makes of it.
    pub calibration: Option<(f64, Option<f64>)>,
}

pub fn summary(trial: &Trial, ranking: &Ranking) -> Summary {
    let (treated, control) = (&ranking.treated, &ranking.control);
    let varies = trial.rows.windows(2).any(|pair| pair[0].outcome() != pair[1].outcome());
    let status = match (treated.cases, control.cases, treated.events + control.events) {
        (0, 0, _) => "no_rows",
        (0, ..) => "no_treatment",
        (_, 0, _) => "no_control",
        (.., 0) => "no_events",
        _ if !varies => "all_events",
        _ if trial.all_equal() => "equal_scores",
        _ => "ok",
    };
    let few = trial.n() < FEW_CASES || treated.events.min(control.events) < FEW_EVENTS;
    let small_sample = few || ranking.support.is_some_and(|support| support.is_small());
    let effects = ranking.effects().filter(|_| ["ok", "equal_scores"].contains(&status));
    let Some(effects) = effects else { return Summary { status, small_sample, ..Summary::default() } };
    Summary {
        status,
        small_sample,
        overall: ranking.top(1.0),
        areas: curve::areas(ranking),
        top: [0.1, 0.2, 0.3].map(|share| ranking.top(share)),
        rate: Some(rate::rate(ranking, &effects)),
        line: calibration::line(ranking, &effects),
        calibration: calibration::error(&calibration::bins(ranking, &effects, BINS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::assert_near;
    use crate::uplift::fixture::{self, Raw};

    fn of(cases: &[Raw]) -> Summary {
        let trial = Trial::of(cases.iter().copied());
        summary(&trial, &Ranking::new(&trial))
    }

    /// The fixture's scores made distinct: by row, in ascending order.
    fn distinct() -> Vec<Raw> {
        let apart = |(i, (score, t, y, p)): (usize, Raw)| (score + i as f64 * 1e-9, t, y, p);
        fixture::cases(11, 2000, false).into_iter().enumerate().map(apart).collect()
    }

    /// scikit-uplift 0.5.1: qini_auc_score, uplift_auc_score, and uplift_at_k(strategy='overall')
    /// where no scores are equal.
    #[test]
    fn curves_equal_the_references() {
        let areas = of(&fixture::cases(11, 2000, false)).areas.unwrap();
        assert_near(areas.qini.unwrap(), 0.10091361686502882, 1e-12);
        assert_near(areas.auuc.unwrap(), 0.07936538957478223, 1e-12);
        assert_near(areas.qini_area, 0.010688647778222388, 1e-12);
        let distinct = of(&distinct());
        let areas = distinct.areas.unwrap();
        assert_near(areas.qini.unwrap(), 0.10107760157768836, 1e-12);
        assert_near(areas.auuc.unwrap(), 0.07948802644963147, 1e-12);
        for (top, expected) in
            distinct.top.into_iter().zip([0.2765551200884333, 0.2050261570423769, 0.18231823182318233])
        {
            assert_near(top.unwrap().uplift(), expected, 1e-12);
        }
    }

    /// The definition in numpy 2; EconML 0.17.0's calc_uplift on a grid of 2,000 points gives QINI
    /// 0.0211567 with 0.0055340, and 0.0790 with 0.0199 for AUTOC, whose steepest part a grid cuts off.
    #[test]
    fn rates_equal_the_references() {
        let rate = of(&fixture::cases(11, 2000, false)).rate.unwrap();
        assert_near(rate.autoc.value, 0.0801981687892338, 1e-12);
        assert_near(rate.autoc.se.unwrap(), 0.02019014775336666, 1e-12);
        assert_near(rate.qini.value, 0.021158633875863843, 1e-12);
        assert_near(rate.qini.se.unwrap(), 0.005535351388988849, 1e-12);
    }

    /// statsmodels 0.15.0: OLS(...).fit(cov_type='HC1').
    #[test]
    fn the_line_equals_the_reference() {
        let line = of(&fixture::cases(11, 2000, false)).line.unwrap();
        assert_near(line.intercept, -0.04107063856557761, 1e-9);
        assert_near(line.slope, 1.368725570475323, 1e-9);
        assert_near(line.intercept_se.unwrap(), 0.03676550018193601, 1e-9);
        assert_near(line.slope_se.unwrap(), 0.33163205607884755, 1e-9);
    }

    /// Where high scores are treated more often, arms differ in scores: without weights the
    /// difference of rates would be 0.1329, where treating does 0.1. The references are numpy 2.4.6's, the last that of mpmath at 40 digits.
    #[test]
    fn a_policys_log_is_weighted_by_its_propensities() {
        let log = of(&fixture::cases(12, 3000, true));
        let overall = log.overall.unwrap();
        assert_near(overall.treated_rate, 0.2854693527646807, 1e-12);
        assert_near(overall.control_rate, 0.18788863505869993, 1e-12);
        assert_near(overall.se.unwrap(), 0.03027410859400355, 1e-12);
        assert_near(log.areas.unwrap().qini_area, 0.011330441437616424, 1e-11);
        let rate = log.rate.unwrap();
        assert_near(rate.autoc.value, 0.07814299674860217, 1e-11);
        assert_near(rate.autoc.se.unwrap(), 0.022607677018639537, 1e-11);
        assert_near(rate.qini.value, 0.02248525479037871, 1e-11);
        assert_near(rate.qini.se.unwrap(), 0.008150638064747082, 1e-11);
    }

    #[test]
    fn a_constant_propensity_changes_no_curve() {
        let known: Vec<Raw> =
            fixture::cases(11, 2000, false).into_iter().map(|(s, t, y, _)| (s, t, y, Some(0.5))).collect();
        let (known, unknown) = (of(&known), of(&fixture::cases(11, 2000, false)));
        assert_eq!(known.areas.unwrap().qini, unknown.areas.unwrap().qini);
        assert_ne!(known.rate.unwrap().autoc, unknown.rate.unwrap().autoc);
    }

    #[test]
    fn the_order_of_the_rows_says_nothing() {
        for policy in [false, true] {
            let cases = fixture::cases(12, 3000, policy);
            let reversed: Vec<Raw> = cases.iter().rev().copied().collect();
            let (a, b) = (of(&cases), of(&reversed));
            assert_eq!(a.top[0].as_ref().unwrap().uplift(), b.top[0].as_ref().unwrap().uplift());
            assert_eq!(a.areas.unwrap().qini, b.areas.unwrap().qini);
            assert_eq!(a.rate.unwrap().autoc, b.rate.unwrap().autoc);
        }
    }

    #[test]
    fn equal_scores_rank_nobody() {
        let equal_to = |score: f64, n: usize| -> Vec<Raw> {
            fixture::cases(11, n, false).into_iter().map(|(_, t, y, p)| (score, t, y, p)).collect()
        };
        // Whatever rounding makes of their mean, they do not vary.
        for (score, n) in [(0.1, 33), (0.2, 333), (0.3, 303), (0.7, 1001), (1.0 / 3.0, 301)] {
            let equal = of(&equal_to(score, n));
            assert!(equal.status == "equal_scores" && equal.line.is_none());
        }
        let equal = of(&equal_to(0.2, 2000));
        assert_eq!(equal.status, "equal_scores");
        let areas = equal.areas.unwrap();
        assert!(areas.qini.unwrap().abs() < 1e-12 && areas.auuc.unwrap().abs() < 1e-12);
        let rate = equal.rate.unwrap();
        assert_eq!((rate.autoc.value, rate.autoc.se, rate.autoc.z()), (0.0, None, None));
        // The best tenth of equals is any tenth: the average effect.
        assert_near(equal.top[0].as_ref().unwrap().uplift(), equal.overall.unwrap().uplift(), 1e-12);
        assert!(equal.line.is_none());
    }

    /// Up to five cases, in every way: of what does not vary there is no error, rather than one that rounding made.
    #[test]
    fn few_cases_have_no_error_of_nothing() {
        for n in 2..=5 {
            for kinds in 0..1 << (2 * n) {
                let bit = |place: usize| kinds >> place & 1 == 1;
                let cases: Vec<Raw> =
                    (0..n).map(|i| (0.1 * (i + 1) as f64, bit(i), f64::from(u8::from(bit(n + i))), None)).collect();
                let summary = of(&cases);
                let rates = summary.rate.iter().flat_map(|rate| [rate.autoc.se, rate.qini.se]);
                let lines = summary.line.iter().flat_map(|line| [line.slope_se, line.intercept_se]);
                let tops = summary.top.iter().chain([&summary.overall]).flatten().map(|top| top.se);
                let by_chance = summary.calibration.iter().map(|calibration| calibration.1);
                for se in rates.chain(lines).chain(tops).chain(by_chance).flatten() {
                    assert!(se > 1e-6, "{se} of {cases:?}");
                }
            }
        }
    }

    #[test]
    fn edges_have_a_status_and_no_estimate() {
        let none = |cases: &[Raw], status| {
            let summary = of(cases);
            assert_eq!(summary.status, status);
            assert!(summary.small_sample || cases.len() > 100);
            assert!(summary.overall.is_none() && summary.areas.is_none() && summary.rate.is_none());
            assert!(summary.top.iter().all(Option::is_none) && summary.calibration.is_none());
        };
        none(&[], "no_rows");
        none(&[(f64::NAN, true, 1.0, None)], "no_rows");
        none(&[(0.1, true, 1.0, None), (0.2, true, 0.0, None)], "no_control");
        none(&[(0.1, false, 1.0, None)], "no_treatment");
        none(&[(0.1, false, 0.0, None), (0.2, true, 0.0, None)], "no_events");
        none(&[(0.1, false, 1.0, None), (0.2, true, 1.0, None)], "all_events");
        let two = of(&[(0.1, false, 1.0, None), (0.2, true, 0.0, None)]);
        assert_eq!((two.status, two.small_sample), ("ok", true));
        let overall = two.overall.unwrap();
        assert_eq!((overall.uplift(), overall.se), (-1.0, None), "no interval of no width");
        let sums =
            of(&fixture::cases(11, 500, false).into_iter().map(|(s, t, y, p)| (s, t, y * 9.5, p)).collect::<Vec<_>>());
        let areas = sums.areas.unwrap();
        assert!(areas.qini.is_none() && areas.qini_area > 0.0, "amounts have no perfect order");
    }
}
