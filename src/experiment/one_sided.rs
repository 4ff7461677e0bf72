//! The two one-sided tests of a difference of proportions against any difference.

use super::exact;
use super::proportions::{Arm, SMALL};
use super::score::z;
use crate::statistics::normal;

pub use super::exact::Tails;

/// Exact where an arm is small, else by the normal distribution of the score test's z.
pub fn tails(treated: Arm, control: Arm, delta: f64) -> Tails {
    if treated.n.min(control.n) < SMALL {
        return exact::tails(treated, control, delta);
    }
    let z = z(treated, control, delta);
    Tails { as_low: normal::sf(-z), as_high: normal::sf(z) }
}
