//! How often the drift verdict alarms: where nothing moved, and where something did. Each replay draws its reference
//! anew, since one reference for all replays measures that reference's own luck too.

use super::drift::{Drift, Severity};
use super::scores::Scores;
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
