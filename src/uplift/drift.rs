//! Whether scores moved against a reference: every statistic from the two sorted samples, and a
//! verdict that needs both significance and size.

use super::bins::Bins;
use super::means::{Moments, Sizes, pooled, welch};
use super::scores::Scores;

use crate::statistics::multiplicity::benjamini_hochberg;
use crate::statistics::sum::Sum;
use crate::statistics::{chi_square, kolmogorov, student};

/// Below so many scores only the tests that hold there are used.
const FEW: f64 = 30.0;
/// From here on a shift in standard deviations, or an index, counts as one that matters.
const EFFECT: f64 = 0.1;
/// The smallest standard deviation to divide by.
const LEAST_SD: f64 = 1e-3;
/// z(0.975) + z(0.8): a shift of so many standard errors is found with 80 % power.
const POWER: f64 = 2.8;

/// The verdict, from nothing to act on to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing to compare with: the model is new, or the tenant is.
    NewModel,
    /// Too few scores to say that nothing moved.
    LowPower,
    None,
    /// Significant, but too small to matter.
    Watch,
    Drift,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::NewModel => "new_model",
            Self::LowPower => "low_power",
            Self::None => "none",
            Self::Watch => "watch",
            Self::Drift => "drift",
        }
    }
}

/// All statistics of a current sample against a reference; neither is empty.
pub struct Drift {
    pub current: Moments,
    pub reference: Moments,
    pub mean_shift: f64,
    /// Welch's t and its degrees of freedom; None where neither sample varies.
    pub welch: Option<(f64, f64)>,
    pub welch_p: Option<f64>,
    /// Of the mean shift if both samples are of one source, whose variance they then share.
    pub mean_p: Option<f64>,
    pub ks: f64,
    pub ks_p: f64,
    pub wasserstein: f64,
    /// Wasserstein distance in standard deviations of the reference.
    pub wasserstein_sd: f64,
    pub psi: f64,
    pub psi_p: Option<f64>,
    pub jensen_shannon: f64,
    pub hellinger: f64,
    pub chi2: f64,
    pub chi2_df: usize,
    pub chi2_p: Option<f64>,
    /// The share of current scores below the reference's least or above its greatest.
    pub share_outside: f64,
    /// The share of the most frequent current score: a model that is stuck repeats itself.
    pub share_of_mode: f64,
    /// The smallest shift of the mean that so many scores would show.
    pub detectable_shift: Option<f64>,
    pub low_power: bool,
}

impl Drift {
    /// None if a sample is empty. `design_effect` is by how much the scores' neighbourhoods make the variance of a
    /// mean exceed that of independent scores: so many scores say as much as n over it of those.
    pub fn of(current: &Scores, reference: &Scores, design_effect: f64) -> Option<Self> {
        let (n, m) = (current.n(), reference.n());
        let sizes = Sizes { n: n as f64 / design_effect, m: m as f64 / design_effect };
        let (a, b) = (current.moments()?, reference.moments()?);
        let welch = welch(a, b, sizes);
        let (ks, wasserstein) = distances(current, reference);
        let bins = Bins::of(current, reference);
        let (psi, chi2, chi2_df) = (bins.psi(), bins.chi2(), bins.degrees_of_freedom());
        let (least, greatest) = (reference.rows.first()?, reference.rows.last()?);
        let below = current.rows.partition_point(|score| score < least);
        let to = current.rows.partition_point(|score| score <= greatest);
        let share = |count: usize| count as f64 / n as f64;
        Some(Self {
            current: a,
            reference: b,
            mean_shift: a.mean - b.mean,
            welch,
            welch_p: welch.map(|(t, df)| student::two_sided(t, df)),
            mean_p: pooled(a, b, sizes).map(|(t, df)| student::two_sided(t, df)),
            ks,
            ks_p: kolmogorov::two_sample(ks, sizes.n, sizes.m),
            wasserstein,
            wasserstein_sd: wasserstein / b.population_sd().max(LEAST_SD),
            psi,
            psi_p: bins.psi_p_value(psi / design_effect),
            jensen_shannon: bins.jensen_shannon(),
            hellinger: bins.hellinger(),
            chi2,
            chi2_df,
            chi2_p: chi_square::sf(chi2 / design_effect, chi2_df),
            share_outside: share(below + n - to),
            share_of_mode: share(current.ties().1),
            detectable_shift: b.sd().filter(|sd| *sd > 0.0).map(|sd| POWER * sd * sizes.of_difference().sqrt()),
            low_power: sizes.n.min(sizes.m) < FEW,
        })
    }

    /// The least of the tests' p-values, adjusted for taking the least (Benjamini and Hochberg). The mean is tested by
    /// the common variance, not by Welch's two: of few and skewed scores, their own variance goes along with their
    /// mean, and Welch's test against many reference scores alarms too often. What changes the variance, the others see.
    pub fn adjusted_p(&self) -> f64 {
        // In few scores the bins' counts are too small for chi-square.
        let chi2 = if self.low_power { None } else { self.chi2_p };
        let tests = [Some(self.ks_p), self.mean_p, chi2];
        benjamini_hochberg(&tests).into_iter().flatten().fold(1.0, f64::min)
    }

    /// Drift is a shift that is significant at `alpha` and matters: a tenth of a standard deviation,
    /// an index of 0.1, or `tolerance` in units of uplift.
    pub fn severity(&self, alpha: f64, tolerance: f64) -> Severity {
        let significant = self.adjusted_p() < alpha;
        // In few scores the index exceeds 0.1 by chance alone.
        let index_matters = !self.low_power && self.psi >= EFFECT;
        let matters = self.wasserstein_sd >= EFFECT || index_matters || self.mean_shift.abs() >= tolerance;
        match (significant, matters, self.low_power) {
            (true, true, _) => Severity::Drift,
            (true, false, _) => Severity::Watch,
            (false, _, true) => Severity::LowPower,
            (false, _, false) => Severity::None,
        }
    }
}

/// The greatest distance between the two distribution functions, and the area between them. One
/// merge of the sorted samples, looked at after each group of equal scores.
fn distances(current: &Scores, reference: &Scores) -> (f64, f64) {
    let (a, b) = (&*current.rows, &*reference.rows);
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j, mut greatest, mut area) = (0, 0, 0f64, Sum::default());
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        let here = x.min(y).value();
        // Without a branch, since nobody can foretell which is less.
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => (*x).min(*y).value(),
            (Some(x), None) | (None, Some(x)) => x.value(),
            (None, None) => break,
        };
        // Within a group of equal scores there is nothing to see.
        if next > here {
            let distance = (i as f64 / n - j as f64 / m).abs();
            greatest = greatest.max(distance);
            area.add(distance * (next - here));
        }
    }
    // What is left of one sample lies beyond the other's end, which is at 1; but for what equals that end.
    let (rest, size, end) = if i < a.len() { (&a[i..], n, b.last()) } else { (&b[j..], m, a.last()) };
    let beyond = rest.partition_point(|score| Some(score) <= end);
    greatest = greatest.max((rest.len() - beyond) as f64 / size);
    for (k, pair) in rest.windows(2).enumerate() {
        area.add((rest.len() - k - 1) as f64 / size * (pair[1].value() - pair[0].value()));
    }
    (greatest, area.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::{assert_near, fixture};

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
}
