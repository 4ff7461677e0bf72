//! `bounded_lift_agg(outcome, treated, propensity)`: cases in the order of their assignment, into a state of eight numbers.

#![expect(unsafe_code, reason = "the state is updated in place, once for each row")]

use crate::experiment::bernstein::{BoundedLift, NUMBERS};
use crate::postgres::call::{argument, boolean, double, function_info};
use crate::postgres::float_state::state;
use crate::postgres::raise::{raise, refuse};
use pgrx::fcinfo::pg_getarg_datum_raw;
use pgrx::prelude::*;

/// The transition function. A row with a NULL does not count.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn stormops_bounded_accum(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared with these four arguments.
    unsafe {
        let numbers = state::<NUMBERS>(
            call,
            "bounded_accum() works inside bounded_lift_agg() only",
            "SELECT stormops.bounded_lift_agg(outcome, treated, propensity ORDER BY assigned_at) ...",
        );
        if let Some(outcome) = argument(call, 1).map(double)
            && let Some(treated) = argument(call, 2).map(boolean)
            && let Some(propensity) = argument(call, 3).map(double)
        {
            if !(0.0..=1.0).contains(&outcome) {
                refuse(
                    "an outcome must lie between 0 and 1",
                    "Cap it and divide it by the cap: least(value, 50000) / 50000.",
                );
            }
            if !(propensity > 0.0 && propensity < 1.0) {
                refuse("a propensity must lie inside 0 to 1", "Leave out the cases that chance did not decide.");
            }
            let mut lift = BoundedLift::from_numbers(numbers);
            lift.push(outcome, treated, propensity);
            if !lift.is_sound() {
                raise(
                    PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                    "value out of range: overflow",
                    "A propensity this near to 0 or 1 leaves no room for chance: leave the case out.",
                );
            }
            *numbers = lift.numbers();
        }
        pg_getarg_datum_raw(call, 0)
    }
}

function_info!(stormops_bounded_accum);
