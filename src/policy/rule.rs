//! The decision rule of a risk attitude.

use super::calibrations::Calibrations;
use super::candidate::Candidate;
use crate::statistics::normal;

/// How many standard deviations of its uncertainty a score is moved before it is compared with
/// the break-even uplift.
///
/// With uplift ~ N(score, sd), P(uplift > breakeven) >= confidence exactly where
/// score + z * sd >= breakeven for z = the (1 - confidence) quantile of N(0, 1). Since z falls
/// as confidence rises, what a stricter mode treats a laxer one treats too.
pub fn attitude(confidence: f64) -> Option<f64> {
    (confidence > 0.0 && confidence < 1.0).then(|| normal::quantile(1.0 - confidence))
}

/// What decisions rest on beside the data: `policy_runs.parameters`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub z: f64,
    pub default_sd: f64,
    pub margin: Option<f64>,
    pub cost: Option<f64>,
    pub breakeven: f64,
    pub exploration: f64,
    pub holdout: f64,
    pub capacity: Option<i64>,
    pub budget: Option<f64>,
    pub calibrations: Calibrations,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Treat,
    Hold,
    Exclude,
}

impl Decision {
    pub fn name(self) -> &'static str {
        match self {
            Self::Treat => "treat",
            Self::Hold => "hold",
            Self::Exclude => "exclude",
        }
    }
}

/// The rule's own reasons, in the order of their places; what excludes has further ones.
pub const REASONS: [&str; 6] =
    ["above_threshold", "explore_treat", "below_threshold", "over_capacity", "holdout", "explore_hold"];
const ABOVE_THRESHOLD: u32 = 0;
const EXPLORE_TREAT: u32 = 1;
const BELOW_THRESHOLD: u32 = 2;
const OVER_CAPACITY: u32 = 3;
const HOLDOUT: u32 = 4;
const EXPLORE_HOLD: u32 = 5;

/// What many decisions have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    pub decision: Decision,
    /// Place among the reasons.
    pub reason: u32,
    pub propensity: f64,
}

/// What came of choosing and exploring, whatever the holdout draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    pub chosen: bool,
    /// Exploration does the opposite.
    pub flip: bool,
    /// The probability of that.
    pub flip_rate: f64,
}

impl Rule {
    /// Whether properties compete for a place.
    pub fn is_limited(&self) -> bool {
        self.capacity.is_some() || self.budget.is_some()
    }

    /// The value of treating, and whether the rule wants it: P(value > 0) >= confidence, and a score not below zero.
    pub fn assess(&self, candidate: &Candidate) -> (f64, bool) {
        let Candidate { score, sd, margin, cost, model, .. } = *candidate;
        let (score, sd) = self.calibrations.at(model, score, sd);
        let (value, threshold) = match (margin, cost) {
            (Some(margin), Some(cost)) => (margin * score - cost, cost / margin),
            _ => (score - self.breakeven, self.breakeven),
        };
        (value, score >= 0.0 && score + self.z * sd >= threshold)
    }

    /// The decision on a property that is not excluded.
    pub fn decide(&self, choice: Choice, wanted: bool, held_out: bool) -> Class {
        let Choice { chosen, flip, flip_rate } = choice;
        let treated = chosen != flip && !held_out;
        let treat_rate = (1.0 - self.holdout) * if chosen { 1.0 - flip_rate } else { flip_rate };
        let reason = match (held_out, chosen, flip) {
            (true, _, _) => HOLDOUT,
            (false, true, false) => ABOVE_THRESHOLD,
            (false, true, true) => EXPLORE_HOLD,
            (false, false, true) => EXPLORE_TREAT,
            (false, false, false) if wanted => OVER_CAPACITY,
            (false, false, false) => BELOW_THRESHOLD,
        };
        Class {
            decision: if treated { Decision::Treat } else { Decision::Hold },
            reason,
            propensity: if treated { treat_rate } else { 1.0 - treat_rate },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::attitude;

    /// Quantiles of the standard normal distribution (scipy.stats.norm.ppf).
    #[test]
    fn attitudes_are_normal_quantiles() {
        let near = |confidence, expected: f64| {
            let z = attitude(confidence).unwrap();
            assert!((z - expected).abs() < 1e-12, "{confidence}: {z}");
        };
        near(0.95, -1.6448536269514729);
        near(0.5, 0.0);
        near(0.2, 0.8416212335729143);
    }

    #[test]
    fn stricter_moves_down_and_no_confidence_is_no_rule() {
        let zs: Vec<f64> = (1..100).map(|i| attitude(f64::from(i) / 100.0).unwrap()).collect();
        assert!(zs.windows(2).all(|pair| pair[0] > pair[1]));
        for bad in [0.0, 1.0, -0.1, 1.1, f64::NAN] {
            assert_eq!(attitude(bad), None);
        }
    }
}
