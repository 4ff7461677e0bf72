//! The statistics of drift against their references, and the verdict at its edges.

use super::drift::{Drift, Severity, distances};
use super::scores::Scores;
use super::{assert_near, fixture};

/// scipy 1.17.1 (ks_2samp, wasserstein_distance, ttest_ind, jensenshannon, chi2_contingency,
/// false_discovery_control) and psi-inference 0.1.0 (psi_test) on the fixture's rows.
#[test]
fn statistics_equal_the_references() {
    let reference = fixture::scores(1, 1000, 0.2);
    let moments = reference.moments().unwrap();
    assert_near(moments.mean, 0.200578, 1e-12);
    assert_near(moments.sd().unwrap(), 0.05646306752200056, 1e-12);
    let moved = Drift::of(&fixture::scores(2, 600, 0.215), &reference, 1.0).unwrap();
    let (t, df) = moved.welch.unwrap();
    for (value, expected) in [
        (moved.ks, 0.12566666666666665),
        (moved.wasserstein, 0.014713666666666668),
        (moved.wasserstein_sd, 0.2607196113900661),
        (t, 4.919215824813794),
        (df, 1221.3916349575518),
        (moved.psi, 0.07764573745445495),
        (moved.jensen_shannon, 0.11793033819690696),
        (moved.hellinger, 0.09834971997008443),
        (moved.chi2, 28.52685172622387),
    ] {
        assert_near(value, expected, 1e-11);
    }
    for (value, expected) in [
        (moved.welch_p.unwrap(), 9.875244655977954e-07),
        (moved.psi_p.unwrap(), 0.0006192025808968844),
        (moved.chi2_p.unwrap(), 0.0007784551388145447),
        (moved.ks_p, 1.2309074885649402e-05),
        (moved.mean_p.unwrap(), 7.455464608507811e-07),
        (moved.adjusted_p(), 2.2366393825523432e-06),
    ] {
        assert_near(value, expected, 1e-9);
    }
    assert_eq!(moved.severity(0.05, 0.02), Severity::Drift);
    assert_eq!(moved.severity(1e-6, 0.02), Severity::None);
}

/// The same formulas in scipy, with a fourth of the scores: neighbours say the same thing.
#[test]
fn neighbours_count_less() {
    let moved = Drift::of(&fixture::scores(2, 600, 0.215), &fixture::scores(1, 1000, 0.2), 4.0).unwrap();
    for (value, expected) in [
        (moved.mean_p.unwrap(), 0.01338519944830282),
        (moved.ks_p, 0.09547688303901115),
        (moved.chi2_p.unwrap(), 0.6234082918310929),
        (moved.psi_p.unwrap(), 0.6080664705136651),
        (moved.adjusted_p(), 0.040155598344908464),
    ] {
        assert_near(value, expected, 1e-9);
    }
    assert!(Drift::of(&fixture::scores(2, 100, 0.2), &fixture::scores(1, 1000, 0.2), 4.0).unwrap().low_power);
}

/// The samples meet in a group of equal scores with which one of them ends: scipy.stats.ks_2samp.
#[test]
fn a_sample_may_end_within_equal_scores() {
    let mut many = vec![0.1; 8];
    many.extend([0.2; 20]);
    many.extend([0.3; 22]);
    let (one, many) = (Scores::of(&[0.2]), Scores::of(&many));
    assert_near(distances(&one, &many).0, 0.44, 1e-12);
    assert_near(distances(&many, &one).0, 0.44, 1e-12);
    assert_near(distances(&Scores::of(&[0.1, 0.2, 0.2]), &Scores::of(&[0.2; 4])).0, 1.0 / 3.0, 1e-12);
}

#[test]
fn the_same_source_does_not_alarm() {
    let still = Drift::of(&fixture::scores(3, 500, 0.2), &fixture::scores(1, 1000, 0.2), 1.0).unwrap();
    assert_near(still.ks, 0.024, 1e-12);
    assert_near(still.adjusted_p(), 0.5693364449714577, 1e-9);
    assert_eq!(still.severity(0.05, 0.02), Severity::None);
    assert!(!still.low_power);
}

/// As above; the bins that are empty in one sample add half a row to each.
#[test]
fn few_scores_are_judged_by_two_tests() {
    let few = Drift::of(&fixture::scores(4, 25, 0.35), &fixture::scores(1, 1000, 0.2), 1.0).unwrap();
    assert!(few.low_power);
    assert_near(few.psi, 2.9861032111561885, 1e-11);
    assert_near(few.adjusted_p(), 1.6579418142385783e-40, 1e-9);
    assert_eq!(few.severity(0.05, 0.02), Severity::Drift);
    let fewer = Drift::of(&fixture::scores(5, 3, 0.2), &fixture::scores(1, 1000, 0.2), 1.0).unwrap();
    assert_eq!(fewer.severity(0.05, 0.02), Severity::LowPower);
    assert!(fewer.detectable_shift.unwrap() > 0.05);
}

/// Scores that went through a column of type real: every value moved, by no more than 4e-9.
#[test]
fn a_rounding_is_no_drift() {
    let exact: Vec<f64> = fixture::scores(1, 3000, 0.2).values().collect();
    let rounded: Vec<f64> = exact.iter().map(|score| f64::from(*score as f32)).collect();
    let drift = Drift::of(&Scores::of(&rounded), &Scores::of(&exact), 1.0).unwrap();
    assert!(drift.wasserstein < 1e-8);
    assert_eq!(drift.severity(0.05, 0.02), Severity::None);
    let labels: Vec<f64> = (0..2000).map(|i| f64::from(i % 7) / 10.0).collect();
    let rounded: Vec<f64> = labels.iter().map(|score| f64::from(*score as f32)).collect();
    let drift = Drift::of(&Scores::of(&rounded), &Scores::of(&labels), 1.0).unwrap();
    assert!(drift.psi > 1.0);
    assert_eq!(drift.severity(0.05, 0.02), Severity::Watch);
}

/// scipy 1.17.1 ks_2samp(method='exact'): Stephens' correction would say 0.047, and the verdict drift.
#[test]
fn two_scores_against_four_are_no_drift() {
    let drift = Drift::of(&Scores::of(&[0.1, 0.2]), &Scores::of(&[0.3, 0.4, 0.5, 0.6]), 1.0).unwrap();
    assert_near(drift.ks_p, 0.13333333333333333, 1e-12);
    assert_eq!(drift.severity(0.05, 0.02), Severity::LowPower);
}

#[test]
fn a_small_shift_of_many_scores_is_to_be_watched() {
    let drift = Drift::of(&fixture::scores(6, 100_000, 0.2015), &fixture::scores(7, 100_000, 0.2), 1.0).unwrap();
    assert!(drift.wasserstein_sd < 0.1 && drift.mean_shift.abs() < 0.02);
    assert_eq!(drift.severity(0.05, 0.02), Severity::Watch);
    assert_eq!(drift.severity(0.05, 0.001), Severity::Drift, "within the tenant's own tolerance");
}

#[test]
fn edges() {
    let reference = fixture::scores(1, 1000, 0.2);
    assert!(Drift::of(&Scores::of(&[]), &reference, 1.0).is_none());
    assert!(Drift::of(&reference, &Scores::of(&[f64::NAN]), 1.0).is_none());
    let one = Drift::of(&Scores::of(&[0.2]), &reference, 1.0).unwrap();
    assert!(one.welch.is_none() && one.ks_p > 0.0);
    let stuck = Drift::of(&Scores::of(&[0.2; 50]), &reference, 1.0).unwrap();
    assert_eq!((stuck.share_of_mode, stuck.share_outside), (1.0, 0.0));
    assert_eq!(stuck.severity(0.05, 0.02), Severity::Drift);
    let equal = Drift::of(&Scores::of(&[0.2; 50]), &Scores::of(&[0.2; 40]), 1.0).unwrap();
    assert_eq!((equal.ks, equal.wasserstein, equal.psi, equal.chi2_p, equal.welch), (0.0, 0.0, 0.0, None, None));
    assert_eq!((equal.mean_p, equal.detectable_shift), (None, None), "nothing says how much a score may vary");
    assert_eq!(equal.severity(0.05, 0.02), Severity::None);
    let apart = Drift::of(&Scores::of(&[0.5; 50]), &Scores::of(&[0.2; 40]), 1.0).unwrap();
    assert_eq!((apart.ks, apart.share_outside), (1.0, 1.0));
    assert_near(apart.wasserstein, 0.3, 1e-12);
    assert_eq!(apart.severity(0.05, 0.02), Severity::Drift);
}
