//! How often the drift verdict alarms: where nothing moved, and where something did. Each replay draws its reference
//! anew, since one reference for all replays measures that reference's own luck too.

use super::drift::{Drift, Severity};
use super::ranking::Ranking;
use super::scores::Scores;
use super::summary::summary;
use super::trial::Trial;
use crate::statistics::draws::Draws;

/// The share of replays whose verdict is drift, of `n` scores against 1,500.
fn alarms(
    n: usize,
    design_effect: f64,
    replays: u32,
    mut sample: impl FnMut(&mut Draws, usize, bool) -> Vec<f64>,
) -> f64 {
    let mut draws = Draws::new(20_260_102);
    let alarmed = |_: &u32| {
        let reference = Scores::of(&sample(&mut draws, 1500, false));
        let current = Scores::of(&sample(&mut draws, n, true));
        Drift::of(&current, &reference, design_effect).unwrap().severity(0.05, 0.02) == Severity::Drift
    };
    (0..replays).filter(alarmed).count() as f64 / f64::from(replays)
}

/// Most leads hardly gain, some gain much: sd 0.1, skewness 2. A bell would hide what skewed scores do to Welch's
/// test, which alone alarms for 7 % of 30 such, and takes the verdict with it.
fn skewed(draws: &mut Draws, n: usize) -> Vec<f64> {
    (0..n).map(|_| 0.1 - 0.1 * (1.0 - draws.next()).ln()).collect()
}

#[test]
fn the_verdict_keeps_its_level() {
    for (n, replays) in [(30, 2000), (100, 1000), (300, 500)] {
        let rate = alarms(n, 1.0, replays, |draws, n, _| skewed(draws, n));
        assert!(rate <= 0.045, "{rate} of {n} scores");
    }
}

#[test]
fn the_verdict_finds_a_shift() {
    let moved = |by: f64| {
        move |draws: &mut Draws, n: usize, current: bool| {
            let by = if current { by } else { 0.0 };
            skewed(draws, n).into_iter().map(|score| score + by).collect()
        }
    };
    for (n, by, power) in [(30, 0.05, 0.8), (100, 0.05, 0.99), (100, 0.02, 0.5), (300, 0.02, 0.95)] {
        let rate = alarms(n, 1.0, 300, moved(by));
        assert!(rate >= power, "{rate} of {n} scores moved by {by}");
    }
}

/// The share of verdicts of drift where `n` scores and `m` of reference are from one source.
fn false_alarms(n: usize, m: usize, replays: u32, mut score: impl FnMut(&mut Draws) -> f64) -> f64 {
    let mut draws = Draws::new(20_260_106);
    let alarmed = |_: &u32| {
        let mut sample = |n| Scores::of(&(0..n).map(|_| score(&mut draws)).collect::<Vec<_>>());
        Drift::of(&sample(n), &sample(m), 1.0).unwrap().severity(0.05, 0.02) == Severity::Drift
    };
    (0..replays).filter(alarmed).count() as f64 / f64::from(replays)
}

/// Few values of which most are rare, and few scores of reference: without merging the bins 20 and 7 to 12 % alarm.
#[test]
fn bins_that_expect_few_do_not_alarm() {
    let label = |draws: &mut Draws| {
        let place = draws.next();
        if place < 0.97 { (place * 5.0).floor() / 100.0 } else { 0.05 + ((place - 0.97) * 500.0).floor() / 100.0 }
    };
    for (n, m, replays) in [(30, 5000, 1000), (5000, 30, 1000), (60, 60, 1000), (40, 400, 1000)] {
        let rate = false_alarms(n, m, replays, label);
        assert!(rate <= 0.06, "{rate} of {n} labels against {m}");
    }
    for (n, m, replays) in
        [(1000, 30, 2000), (1000, 50, 1000), (30, 30, 1000), (50, 200, 1000), (3, 1000, 1000), (5, 8, 2000)]
    {
        for rate in [
            false_alarms(n, m, replays, |draws| draws.normal()),
            false_alarms(n, m, replays, |draws| -(1.0 - draws.next()).ln()),
        ] {
            assert!(rate <= 0.06, "{rate} of {n} scores against {m}");
        }
    }
}

/// Thirty houses a neighbourhood, which shares a fifth of the variance.
#[test]
fn neighbours_alarm_without_their_design_effect() {
    let near = |draws: &mut Draws, n: usize, _: bool| {
        let mut bell = || (0..12).map(|_| draws.next()).sum::<f64>() - 6.0;
        let mut place = 0.0;
        let score = |i| {
            if i % 30 == 0 {
                place = bell();
            }
            0.2 + 0.1 * (place * 0.2f64.sqrt() + bell() * 0.8f64.sqrt())
        };
        (0..n).map(score).collect()
    };
    let effect = 1.0 + 29.0 * 0.2;
    let (plain, corrected) = (alarms(300, 1.0, 500, near), alarms(300, effect, 500, near));
    assert!(plain > 0.3 && corrected <= 0.06, "{plain}, corrected {corrected}");
}

/// Programmes without any effect, under the chances of the conservative and the moderate mode: how often uplift and
/// AUTOC are found all the same, of those that are not marked as small; and the share that is.
fn found_by_log(cases: usize, treated: [f64; 2], rates: [f64; 2], replays: u32) -> [f64; 3] {
    let mut draws = Draws::new(20_260_107);
    let mut found = [0.0; 3];
    for _ in 0..replays {
        let case = |_| {
            let score = 0.2 * draws.next();
            let high = usize::from(score >= 0.1);
            let outcome = f64::from(draws.next() < rates[high]);
            (score, draws.next() < treated[high], outcome, Some(treated[high]))
        };
        let trial = Trial::of((0..cases).map(case));
        let summary = summary(&trial, &Ranking::new(&trial));
        let (overall, rate) = (summary.overall.unwrap(), summary.rate.unwrap());
        found[0] += f64::from(overall.se.is_some_and(|se| overall.uplift().abs() > 1.96 * se));
        found[1] += f64::from(rate.autoc.p_value().is_some_and(|p| p < 0.05));
        found[2] += f64::from(summary.small_sample);
    }
    found.map(|found| found / f64::from(replays))
}

/// By the outcomes alone 24 and 14 % of the first are found, 11 and 10 % of the second.
#[test]
fn few_explored_find_no_effect_where_there_is_none() {
    for (cases, treated) in [(1000, [0.02, 0.78]), (1000, [0.045, 0.855]), (3000, [0.02, 0.78]), (3000, [0.045, 0.855])]
    {
        let [uplift, autoc, small] = found_by_log(cases, treated, [0.1, 0.1], 400);
        assert!(uplift <= 0.085 && autoc <= 0.085, "{uplift}, {autoc} of {cases}");
        assert!(cases > 1000 || small > 0.5, "{small} of {cases} are small");
    }
    // Those that the rule holds convert more often than those it treats: marked as small, all of them.
    assert!(found_by_log(500, [0.02, 0.78], [0.2, 0.05], 100)[2] > 0.99);
}
