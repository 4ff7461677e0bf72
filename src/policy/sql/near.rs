//! `near_agg()`: who lives near somebody who was treated. Raw functions, since one runs for each property.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use super::contacts::{keys, odd, record};
use crate::policy::candidate::Id;
use crate::policy::near::{Near, Reach};
use crate::postgres::aggregate::{self, answer, given};
use crate::postgres::call::{self, argument, double, uuid};
use crate::postgres::interrupts::breathe;
use crate::postgres::memory::allocated;
use crate::postgres::slices::elements;
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use zerocopy::FromBytes;

/// None until the first row says of whom.
#[derive(Default)]
struct State(Option<Near>);

/// `(state, property_id, x, y, z, asked, treated, treated_at, since, chords)`
unsafe fn collect(call: FunctionCallInfo) -> Datum {
    // SAFETY: the declaration gives these arguments.
    unsafe {
        let state = aggregate::state::<State>(call, "SELECT * FROM stormops.preview_policy(...);");
        if state.0.is_none() {
            state.0 = Some(begin(call));
        }
        let point = [2, 3, 4].map(|i| argument(call, i).map(double));
        if let (Some(near), Some(property), [Some(x), Some(y), Some(z)]) = (&mut state.0, argument(call, 1), point) {
            allocated(near.add(uuid(property), [x, y, z]));
        }
        answer(state)
    }
}

/// SAFETY: the argument is an array of T, or NULL.
unsafe fn array<'a, T: FromBytes>(call: FunctionCallInfo, i: usize) -> &'a [T] {
    unsafe { argument(call, i).map_or(&[][..], |array| elements::<T>(array).unwrap_or_else(|_| odd())) }
}

/// SAFETY: a call of `collect()`.
unsafe fn begin(call: FunctionCallInfo) -> Near {
    // SAFETY: as above; what is read of the arrays is copied before the call ends.
    unsafe {
        let (asked, treated) = (array::<Id>(call, 5), array::<Id>(call, 6));
        let (treated_at, since, chords) = (array::<i64>(call, 7), array::<i64>(call, 8), array::<f64>(call, 9));
        if treated.len() != treated_at.len() || since.len() != chords.len() {
            odd();
        }
        let reaches = since.iter().zip(chords).map(|(&since, &chord)| Reach { since, chord });
        allocated(Near::of(asked, treated, treated_at, reaches.collect(), keys()))
    }
}

/// Who is near, as bytes for `capped_properties()`.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    // SAFETY: the state of `collect()`, or NULL.
    unsafe {
        let mut records = Vec::new();
        if let Some(near) = given::<State>(call, 0).and_then(|state| state.0.as_ref()) {
            allocated(near.each(|id, reach| record(&mut records, id, reach, 0), breathe()));
        }
        aggregate::sent(&records)
    }
}

call::functions! {
    stormops_near_collect = collect;
    stormops_near_finish = finish;
}
