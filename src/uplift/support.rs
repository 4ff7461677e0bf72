//! What the weights of a policy's log leave of its cases.
//!
//! Where a mode treats few of those that its rule would hold, each of these counts for many: ten cases carry half of an
//! estimate, and where none of the ten happened to convert, the outcomes that were seen show an error far below the
//! true one. Where that can be, an error is taken to be no less than the one that the chances of treatment and the
//! arm's outcomes as a whole lead one to expect.

use super::trial::Case;
use crate::statistics::sum::{Sum, effective_number};

#[derive(Clone, Copy, Default)]
pub struct Support {
    /// As many events, or cases without one where these are fewer, as the arm that has the fewest of them is worth: its
    /// share of events times its effective number of cases, (sum w)^2 / sum w^2 (Kish 1965).
    events: f64,
    /// The variance of the outcomes of held and of treated.
    variance: [f64; 2],
}

/// From so many on the outcomes show their error themselves.
const ENOUGH: f64 = 40.0;
/// Below so many not even the expected error is near.
const FEW: f64 = 10.0;

impl Support {
    /// Of weighted cases; an arm without a case supports nothing.
    pub fn of(cases: &[Case], weight: impl Fn(&Case) -> f64) -> Self {
        let [mut weights, mut squares, mut outcomes, mut events, mut spread] = [[Sum::default(); 2]; 5];
        for case in cases {
            let (arm, w) = (usize::from(case.treated()), weight(case));
            weights[arm].add(w);
            squares[arm].add(w * w);
            outcomes[arm].add(w * case.outcome());
            events[arm].add(if case.outcome() == 0.0 { 0.0 } else { w });
        }
        let over_weight = |sums: [Sum; 2]| [0, 1].map(|arm| sums[arm].value() / weights[arm].value());
        let (mean, events) = (over_weight(outcomes), over_weight(events));
        for case in cases {
            let arm = usize::from(case.treated());
            spread[arm].add(weight(case) * (case.outcome() - mean[arm]).powi(2));
        }
        let worth = |arm: usize| {
            effective_number(weights[arm].value(), squares[arm].value()) * events[arm].min(1.0 - events[arm])
        };
        Self { events: worth(0).min(worth(1)), variance: over_weight(spread) }
    }

    pub fn is_small(&self) -> bool {
        self.events < FEW
    }

    /// Whether outcomes may hide their error.
    fn is_thin(&self) -> bool {
        self.events < ENOUGH
    }

    /// The expected square of what a sum of such cases of an arm misses by; `squares`: the sum of their squared weights.
    pub fn of_arm(&self, arm: usize, squares: f64) -> f64 {
        if self.is_thin() { self.variance[arm] * squares } else { 0.0 }
    }

    /// The expected square of a case's effect, whichever way chance took it; `p`: its chance of treatment.
    pub fn of_effect(&self, p: f64) -> f64 {
        if self.is_thin() { self.variance[1] / p + self.variance[0] / (1.0 - p) } else { 0.0 }
    }
}
