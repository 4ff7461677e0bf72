//! What no single number shows: every small table has an answer, and looking often is safe.

use super::compare::{Plan, Status, compare};
use super::proportions::{Arm, fisher, newcombe, pooled_z};
use super::{score, sequential};
use crate::statistics::draws::Draws;
use crate::statistics::normal;

const PLAN: Plan = Plan { alpha: 0.05, promised: 0.05, planned_n: 5000.0 };

fn arms([x1, n1, x0, n0]: [u64; 4]) -> (Arm, Arm) {
    (Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap())
}

/// All tables of one to twelve leads an arm, which statsmodels' score interval and gbstats mostly refuse.
#[test]
fn every_small_table_has_an_answer() {
    let mut tables = 0;
    for (n1, n0) in (1..=12).flat_map(|n1| (1..=12).map(move |n0| (n1, n0))) {
        for (x1, x0) in (0..=n1).flat_map(|x1| (0..=n0).map(move |x0| (x1, x0))) {
            tables += 1;
            let (treated, control) = arms([x1, n1, x0, n0]);
            let d = treated.rate() - control.rate();
            for interval in [newcombe, score::interval] {
                let (low, high) = interval(treated, control, normal::upper(0.025));
                assert!(low.is_finite() && high.is_finite() && low < high, "{treated:?} {control:?}");
                assert!(low <= d + 1e-12 && d <= high + 1e-12, "{treated:?} {control:?}");
                let (swapped_low, swapped_high) = interval(control, treated, normal::upper(0.025));
                assert!((low + swapped_high).abs().max((high + swapped_low).abs()) < 1e-11, "{treated:?} {control:?}");
            }
            assert!((fisher(treated, control) - fisher(control, treated)).abs() < 1e-11);
            // The whole answer costs an enumeration: of every seventeenth.
            if tables % 17 == 0 {
                let all = compare(treated, control, PLAN).contrast.unwrap();
                let (low, high) = all.always_valid;
                assert!(low <= d && d <= high && low < high, "{all:?}");
                for p in [all.p, all.always_valid_p, all.p_short, all.probability_better] {
                    assert!((0.0..=1.0).contains(&p), "{all:?}");
                }
            }
        }
    }
    assert_eq!(tables, 8100);
}

#[test]
fn a_missing_arm_is_a_status() {
    for (counts, status) in [
        ([0, 0, 0, 0], Status::NoOutcomes),
        ([0, 0, 3, 9], Status::NoTreatment),
        ([3, 9, 0, 0], Status::NoControl),
        ([0, 9, 0, 9], Status::Ok),
    ] {
        let (treated, control) = arms(counts);
        let got = compare(treated, control, PLAN);
        assert_eq!((got.status, got.small_sample, got.contrast.is_some()), (status, true, status == Status::Ok));
    }
    assert!(Arm::new(4, 3).is_none());
}

/// Share of replays, with nothing to find, in which one of sixty looks finds something: by the fixed-horizon z and by
/// the always-valid p.
fn false_alarms(look: impl Fn(&mut Draws, u32, &mut [u64; 4])) -> (f64, f64) {
    let mut draws = Draws::new(20_260_101);
    let rho = sequential::rho(6000.0, 0.05);
    let (mut fixed, mut valid) = (0, 0);
    for _ in 0..500 {
        let mut counts = [0u64; 4];
        let (mut fixed_once, mut valid_once) = (false, false);
        for turn in 0..60 {
            look(&mut draws, turn, &mut counts);
            let (treated, control) = arms(counts);
            let Some(z) = pooled_z(treated, control).filter(|_| treated.is_large() && control.is_large()) else {
                continue;
            };
            let (se, n) = ((treated.variance() + control.variance()).sqrt(), (treated.n + control.n) as f64);
            fixed_once |= normal::two_sided(z) < 0.05;
            valid_once |= sequential::p_value(treated.rate() - control.rate(), se, n, rho) < 0.05;
        }
        fixed += u32::from(fixed_once);
        valid += u32::from(valid_once);
    }
    (f64::from(fixed) / 500.0, f64::from(valid) / 500.0)
}

#[test]
fn looking_often_at_arriving_leads_is_safe() {
    let (fixed, valid) = false_alarms(|draws, _, counts| {
        for _ in 0..50 {
            for arm in [0, 2] {
                counts[arm] += u64::from(draws.next() < 0.15);
                counts[arm + 1] += 1;
            }
        }
    });
    assert!(fixed > 0.2 && valid <= 0.05, "fixed {fixed}, always valid {valid}");
}

/// As check_conversion_rates() looks: the leads are there from the start, their conversions come over time.
#[test]
fn looking_often_at_arriving_conversions_is_safe() {
    let (fixed, valid) = false_alarms(|draws, turn, counts| {
        (counts[1], counts[3]) = (3000, 3000);
        // A sixtieth of the 15 % that convert in the end, of those that have not yet.
        let chance = 0.15 / 60.0 / (1.0 - 0.15 * f64::from(turn) / 60.0);
        for arm in [0, 2] {
            let left = counts[arm + 1] - counts[arm];
            counts[arm] += (0..left).filter(|_| draws.next() < chance).count() as u64;
        }
    });
    assert!(fixed > 0.15 && valid <= 0.05, "fixed {fixed}, always valid {valid}");
}
