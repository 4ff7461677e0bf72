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
/// A shift that is less than this in standard deviations does not matter, whatever else is found.
const LEAST_EFFECT: f64 = 1e-3;
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
        let judged = bins.merged(design_effect);
        let (chi2, chi2_df) = (judged.chi2(), judged.degrees_of_freedom());
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
            psi: bins.psi(),
            psi_p: judged.psi_p_value(judged.psi() / design_effect),
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
        // In few scores the index exceeds 0.1 by chance alone; and it knows no distances: what moved over an edge by less
        // than rounding changes it as what moved far.
        let index_matters = !self.low_power && self.psi >= EFFECT && self.wasserstein_sd >= LEAST_EFFECT;
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
pub fn distances(current: &Scores, reference: &Scores) -> (f64, f64) {
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
