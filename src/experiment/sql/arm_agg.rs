//! `arm_agg(y [, x])`: an arm's moments as an aggregate. Its state is an array of seven numbers, 80 bytes whatever it
//! has seen: a plain `float8[]`, which a user's table can keep and which outlives the extension, where a type of our
//! own would take the column with it.

#![expect(unsafe_code, reason = "the state is updated in place, once for each row")]

use super::means::{first_elements, moments};
use crate::experiment::moments::Moments;
use crate::postgres::call::{argument, double, function_info};
use crate::postgres::float_state::state;
use crate::postgres::raise::raise;
use pgrx::fcinfo::pg_getarg_datum_raw;
use pgrx::prelude::*;

/// The transition function, for one argument and for two. A row with a NULL does not count, as in `regr_slope()`.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn stormops_arm_accum(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: Postgres calls with as many arguments as `nargs` says.
    unsafe {
        let values = state::<7>(call, "arm_accum() works inside arm_agg() only", "SELECT stormops.arm_agg(y, x) ...");
        let with_covariate = (*call).nargs == 3;
        if let Some(y) = argument(call, 1).map(double)
            && let Some(x) = if with_covariate { argument(call, 2).map(double) } else { Some(0.0) }
        {
            let mut moments = from_values(values);
            moments.push(y, x);
            if !(moments.m2_y + moments.m2_x + moments.c_xy).is_finite() {
                overflow();
            }
            *values = to_values(&moments);
        }
        pg_getarg_datum_raw(call, 0)
    }
}

function_info!(stormops_arm_accum);

fn from_values(values: &[f64; 7]) -> Moments {
    let [n, n_invalid, mean_y, m2_y, mean_x, m2_x, c_xy] = *values;
    Moments { n, n_invalid, mean_y, m2_y, mean_x, m2_x, c_xy }
}

fn to_values(m: &Moments) -> [f64; 7] {
    [m.n, m.n_invalid, m.mean_y, m.m2_y, m.mean_x, m.m2_x, m.c_xy]
}

fn overflow() -> ! {
    let code = PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
    raise(code, "value out of range: overflow", "Scale the measure down.")
}

#[pg_extern(sql = false)]
fn arm_combine(state: Array<f64>, other: Array<f64>) -> Vec<f64> {
    let read = |array: Array<f64>| moments(&first_elements(&array));
    let merged = to_values(&read(state).merge(read(other)));
    if merged.iter().all(|value| value.is_finite()) { merged.to_vec() } else { overflow() }
}
