//! The two one-sided tests of a difference of proportions against any difference.

use super::exact;
use super::proportions::Arm;
use super::score::z;
use crate::statistics::normal;

pub use super::exact::Tails;

/// Below so many leads in an arm the exact test judges, and up to so many where few in an arm converted or few did not:
/// beside 2,000 leads of the treated the score test's normal distribution calls up to 8 of a hundred programmes that do
/// as promised an anomaly with thirty leads of control, and 7 with a hundred; beside 100,000 leads 14 and 9.
const EXACT: u64 = 200;
const EXACT_IF_RARE: u64 = 500;

/// Exact where the normal distribution of the score test's z is not near enough.
pub fn tails(treated: Arm, control: Arm, delta: f64) -> Tails {
    let smaller = treated.n.min(control.n);
    if smaller < EXACT || smaller < EXACT_IF_RARE && !(treated.is_large() && control.is_large()) {
        return exact::tails(treated, control, delta);
    }
    let z = z(treated, control, delta);
    Tails { as_low: normal::sf(-z), as_high: normal::sf(z) }
}
