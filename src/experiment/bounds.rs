//! Every call ends: whatever the counts, the state and the plan, in far less than a second.

use super::bernstein::{self, BoundedLift};
use super::compare::{Plan, compare};
use super::moments::{Moments, cuped, welch};
use super::proportions::{Arm, fisher};
use crate::statistics::draws::Draws;
use std::time::{Duration, Instant};

/// Far more than any takes, on a machine that does other things too.
const LONGEST: Duration = Duration::from_secs(20);

#[test]
fn tails_of_nothing_end() {
    // All tables as unlikely as this one are less likely than any number: their sum went on over 10^14 zeros.
    let (treated, control) =
        (Arm { converted: 5, n: 100_000_000_000_000 }, Arm { converted: 99_999_999_999_995, n: 900_000_000_000_000 });
    assert_eq!(fisher(treated, control), 0.0);
    // More degrees of freedom than the quantile of statrs 0.19.1 ends for.
    let arm = |mean_y: f64| Moments { n: 1e7, mean_y, m2_y: 1.0, ..Moments::default() };
    let (low, high) = welch(&arm(1.0), &arm(0.0)).unwrap().interval(0.05);
    assert!(low < 1.0 && high > 1.0);
}

#[test]
fn no_state_is_too_large() {
    let state = |variation: f64| BoundedLift::from_numbers(&[1.0, 0.5, variation, 1.0, 1.0, 0.0, 0.0, 0.5]);
    assert!(state(4.0).is_sound() && !state(1e300).is_sound() && !state(4.1).is_sound());
    let plan =
        |planned_n, least_chance, alpha| bernstein::Plan { alpha, planned_n, outcome_variance: 0.1, least_chance };
    for plan in [plan(9e18, 0.5, 0.05), plan(9e18, 1e-100, 1e-100), plan(1.0, 1e-100, 0.49)] {
        let ((low, high), p) = (state(1.0).interval(plan).unwrap(), state(1.0).p_value(plan).unwrap());
        assert!(low <= high && (0.0..=1.0).contains(&p), "{low}, {high}, {p}");
    }
}

#[test]
fn every_comparison_has_an_answer_in_time() {
    let mut draws = Draws::new(99);
    for _ in 0..60 {
        let mut arm = || {
            let n = ((draws.next() * 53.0).exp2() as u64).max(1);
            let few = ((draws.next() * 20.0) as u64).min(n);
            let converted = match (draws.next() * 5.0) as u32 {
                0 => 0,
                1 => n,
                2 => few,
                3 => n - few,
                _ => (draws.next() * n as f64) as u64,
            };
            Arm { converted, n }
        };
        let (treated, control) = (arm(), arm());
        let pick = |of: [f64; 3], draw: f64| of[(draw * 3.0) as usize];
        let plan = Plan {
            alpha: pick([0.05, 0.49, 1e-100], draws.next()),
            promised: pick([0.05, -0.999, 1e-12], draws.next()),
            planned_n: pick([1.0, 5000.0, 9e18], draws.next()),
        };
        let start = Instant::now();
        let all = compare(treated, control, plan).contrast.unwrap();
        assert!(start.elapsed() < LONGEST, "{:?} of {treated:?} {control:?} {plan:?}", start.elapsed());
        for p in [all.p, all.always_valid_p, all.p_short, all.probability_better] {
            assert!((0.0..=1.0).contains(&p), "{treated:?} {control:?} {plan:?} {all:?}");
        }
        for (low, high) in [all.newcombe, all.score, all.always_valid] {
            let inside = low <= all.lift + 1e-9 && all.lift - 1e-9 <= high;
            assert!(inside && low >= -1.0 && high <= 1.0, "{treated:?} {control:?} {plan:?} {all:?}");
        }
    }
}

#[test]
fn states_of_any_size_have_an_answer() {
    let mut draws = Draws::new(100);
    for _ in 0..2000 {
        let mut pick = |of: [f64; 5]| of[(draws.next() * 5.0) as usize];
        let mut arm = || Moments {
            n: pick([1.0, 2.0, 50.0, 1e7, 9e15]),
            n_invalid: 0.0,
            mean_y: pick([0.0, 1.0, 1e300, -1e300, 1e-300]),
            m2_y: pick([0.0, 1.0, 1e300, 1e-300, 5e7]),
            mean_x: pick([0.0, 1.0, 1e300, 1e-300, -5.0]),
            m2_x: pick([0.0, 1.0, 1e300, 1e-300, 5.0]),
            c_xy: pick([0.0, 1.0, -1e300, 1e-300, 2.0]),
        };
        let (treated, control) = (arm(), arm());
        assert!(treated.is_sound() && !treated.effective_values().is_nan());
        let found = [welch(&treated, &control), cuped(&treated, &control).map(|(_, difference)| difference)];
        for d in found.into_iter().flatten().filter(|d| d.estimate.is_finite() && d.se.is_finite()) {
            assert!((0.0..=1.0).contains(&d.p()) && !d.interval(0.05).0.is_nan(), "{treated:?} {control:?} {d:?}");
        }
    }
    let uncountable = Moments { n: 1e300, ..Moments::default() };
    assert!(!uncountable.is_sound());
}
