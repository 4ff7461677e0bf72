//! The empirical-Bernstein confidence sequence of an average effect on bounded outcomes (Howard, Ramdas, McAuliffe and
//! Sekhon 2021, gamma-exponential mixture): holds at every look and every size, without any limit theorem.

use crate::statistics::gamma::{deviance, lower, stirling_error};
use crate::statistics::halving::edge;

/// What cases in the order of their assignment have said so far. The order of fields is that of the SQL array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundedLift {
    pub n: f64,
    /// The sum of the cases' effects, and of their squared distances from what was predicted.
    sum: f64,
    variation: f64,
    treated_n: f64,
    treated_sum: f64,
    control_n: f64,
    control_sum: f64,
    /// The least chance that a case had of the arm it was in or of the other.
    pub least_chance: f64,
}

pub const NUMBERS: usize = 8;
/// Beyond it one more would not count.
const MOST_CASES: f64 = (1u64 << 53) as f64;
/// One over its square is a number still.
pub const LEAST_CHANCE: f64 = 1e-100;

impl Default for BoundedLift {
    fn default() -> Self {
        Self::from_numbers(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5])
    }
}

impl BoundedLift {
    pub fn from_numbers(numbers: &[f64; NUMBERS]) -> Self {
        let [n, sum, variation, treated_n, treated_sum, control_n, control_sum, least_chance] = *numbers;
        Self { n, sum, variation, treated_n, treated_sum, control_n, control_sum, least_chance }
    }

    pub fn numbers(self) -> [f64; NUMBERS] {
        let Self { n, sum, variation, treated_n, treated_sum, control_n, control_sum, least_chance } = self;
        [n, sum, variation, treated_n, treated_sum, control_n, control_sum, least_chance]
    }

    /// Whether cases can have left these numbers: no more than can be counted, none further from its prediction than
    /// one over the least chance.
    pub fn is_sound(&self) -> bool {
        let counts = [self.n, self.treated_n, self.control_n];
        let sums = [(self.treated_sum, self.treated_n), (self.control_sum, self.control_n)];
        let furthest = 1.0 / self.least_chance;
        let most = self.n * (1.0 + 1e-9);
        counts.iter().all(|n| *n >= 0.0 && n.fract() == 0.0 && *n <= MOST_CASES)
            && self.treated_n + self.control_n == self.n
            && sums.iter().all(|(sum, n)| *sum >= 0.0 && sum <= n)
            && (LEAST_CHANCE..=0.5).contains(&self.least_chance)
            && self.sum.abs() <= most * (1.0 + furthest)
            && self.variation >= 0.0
            && self.variation <= most * furthest * furthest
    }

    /// Takes in the next case: an outcome from 0 to 1, and its chance of being treated, inside 0 to 1.
    pub fn push(&mut self, outcome: f64, treated: bool, chance: f64) {
        // Predictions know the earlier cases only: that is what keeps the sum a martingale. An arm's is its mean.
        let mean = |sum: f64, n: f64| if self.n == 0.0 { 0.5 } else { sum / n.max(1.0) };
        let (for_treated, for_control) =
            (mean(self.treated_sum, self.treated_n), mean(self.control_sum, self.control_n));
        let surprise =
            if treated { (outcome - for_treated) / chance } else { (for_control - outcome) / (1.0 - chance) };
        self.sum += for_treated - for_control + surprise;
        self.variation += surprise * surprise;
        self.n += 1.0;
        if treated {
            self.treated_n += 1.0;
            self.treated_sum += outcome;
        } else {
            self.control_n += 1.0;
            self.control_sum += outcome;
        }
        self.least_chance = self.least_chance.min(chance).min(1.0 - chance);
    }

    /// The estimate, None without a case.
    pub fn lift(&self) -> Option<f64> {
        (self.n > 0.0).then(|| self.sum / self.n)
    }

    fn mixture(&self, plan: Plan) -> Mixture {
        let chance = plan.least_chance.min(self.least_chance);
        let variation = plan.planned_n * plan.outcome_variance * (1.0 / chance + 1.0 / (1.0 - chance));
        Mixture::new(variation, plan.alpha / 2.0, 2.0 / chance)
    }

    /// The interval that covers the effect at every look with probability 1 - alpha, within the -1 to 1 that are possible.
    pub fn interval(&self, plan: Plan) -> Option<(f64, f64)> {
        let lift = self.lift()?;
        let radius = self.mixture(plan).bound(self.variation, -(plan.alpha / 2.0).ln()) / self.n;
        Some(((lift - radius).clamp(-1.0, 1.0), (lift + radius).clamp(-1.0, 1.0)))
    }

    /// ln of the evidence that the effect is above 0.
    fn ln_evidence(&self, plan: Plan, sign: f64) -> f64 {
        self.mixture(plan).ln_value(sign * self.sum, self.variation)
    }

    /// The least alpha whose interval leaves out 0 (the mixture stays tuned for the plan's).
    pub fn p_value(&self, plan: Plan) -> Option<f64> {
        self.lift().map(|lift| (2.0 * (-self.ln_evidence(plan, lift.signum())).exp()).min(1.0))
    }
}

/// What is fixed before the first look.
#[derive(Clone, Copy)]
pub struct Plan {
    pub alpha: f64,
    pub planned_n: f64,
    pub outcome_variance: f64,
    pub least_chance: f64,
}

/// Evidence against a sum being noise, mixed over effects: best where the variation is `planned`; `scale` bounds a case.
struct Mixture {
    rho: f64,
    scale: f64,
}

impl Mixture {
    fn new(planned: f64, alpha: f64, scale: f64) -> Self {
        let spent = -2.0 * (2.0 * alpha).ln();
        Self { rho: planned / (spent + (1.0 + spent).ln()), scale }
    }

    /// ln of the evidence that a sum has at a variation.
    ///
    /// By the paper it is ln of ρ^ρ / (Γ(ρ) P(ρ, ρ)) · Γ(a) P(a, x) / x^a · e^(x - ρ), with ρ and a = ρ + variation in
    /// squares of the scale and x = a + sum in scales. Stirling's formula takes out what cancels.
    fn ln_value(&self, sum: f64, variation: f64) -> f64 {
        let square = self.scale * self.scale;
        let (rho, a) = (self.rho / square, (variation + self.rho) / square);
        let x = a + sum / self.scale;
        if x <= 0.0 {
            return f64::NEG_INFINITY; // as far on the other side as a sum can be
        }
        deviance(a, x) + (rho / a).ln() / 2.0 + stirling_error(a) - stirling_error(rho)
            + (lower(a, x) / lower(rho, rho)).ln()
    }

    /// The sum at which that evidence reaches a threshold.
    fn bound(&self, variation: f64, threshold: f64) -> f64 {
        let reached = |sum: f64| self.ln_value(sum, variation) >= threshold;
        let mut high = variation.max(1.0);
        while !reached(high) && high < 1e300 {
            high *= 2.0;
        }
        edge(high, 0.0, reached).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::draws::Draws;

    const PLAN: Plan = Plan { alpha: 0.05, planned_n: 50.0, outcome_variance: 0.16, least_chance: 0.5 };

    /// confseq 0.0.11, the first and some later rows of demo/ate_data.csv; all thousand are compared in
    /// pgrx-tests/tests/experiment_trials.rs.
    #[test]
    fn sequence_is_that_of_confseq() {
        let mut lift = BoundedLift::default();
        let cases = [
            (1, 1, 1.0, 0.983920078788205),
            (0, 0, 1.0, 0.803732245074608),
            (0, 0, 1.0, 0.654114340727266),
            (1, 0, 0.5, 1.0),
            (0, 0, 0.666666666666667, 1.0),
            (1, 1, 0.680555555555556, 0.94028246312668),
            (0, 0, 0.761904761904762, 0.75981171256372),
            (0, 0, 0.816666666666667, 0.612058899086761),
        ];
        for (y, t, estimate, p) in cases {
            lift.push(f64::from(y), t == 1, 0.5);
            assert!((lift.lift().unwrap() - estimate).abs() < 1e-12);
            let one_sided = (-lift.ln_evidence(PLAN, 1.0)).exp().min(1.0);
            assert!((one_sided - p).abs() < 1e-9, "{one_sided}, not {p}");
        }
        assert_eq!(lift.interval(PLAN), Some((-1.0, 1.0)));
    }

    #[test]
    fn interval_and_p_value_agree() {
        let (mut draws, mut lift) = (Draws::new(5), BoundedLift::default());
        let mut found = 0;
        for _ in 0..1500 {
            let treated = draws.next() < 0.3;
            lift.push(f64::from(draws.next() < if treated { 0.5 } else { 0.1 }), treated, 0.3);
            let plan = Plan { planned_n: 1000.0, least_chance: 0.3, ..PLAN };
            let (low, high) = lift.interval(plan).unwrap();
            let excludes_zero = low > 1e-9 || high < -1e-9;
            assert!(low <= lift.lift().unwrap() && lift.lift().unwrap() <= high || lift.lift().unwrap().abs() > 1.0);
            assert_eq!(excludes_zero, lift.p_value(plan).unwrap() < 0.05);
            found += u32::from(excludes_zero);
        }
        assert!(found > 500 && lift.is_sound() && BoundedLift::from_numbers(&lift.numbers()) == lift);
        assert_eq!(
            (
                BoundedLift::default().lift(),
                BoundedLift::default().interval(PLAN),
                BoundedLift::default().p_value(PLAN)
            ),
            (None, None, None)
        );
    }

    /// Rare conversions, looked at after every tenth of 400 leads: the truth stays inside, where the asymptotic
    /// sequence promises nothing yet.
    #[test]
    fn looking_always_is_safe() {
        let plan = Plan { planned_n: 400.0, outcome_variance: 0.02, ..PLAN };
        let mut draws = Draws::new(6);
        let missed = (0..200)
            .filter(|_| {
                let mut lift = BoundedLift::default();
                (1..=400).any(|lead| {
                    let treated = draws.next() < 0.5;
                    lift.push(f64::from(draws.next() < 0.02), treated, 0.5);
                    lead % 10 == 0 && lift.p_value(plan).unwrap() < 0.05
                })
            })
            .count();
        assert!(missed <= 10, "{missed} of 200");
    }
}
