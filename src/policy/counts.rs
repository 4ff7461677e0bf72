//! `decision_counts()`: how many decisions there are by decision and reason, and the sum of their values, in one
//! pass with whatever else is asked of the same rows.
//!
//! Raw functions, since one runs for each of a million rows.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::errors::raise;
use crate::support::{self, argument, double};
use pgrx::JsonB;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;
use pgrx::varlena_to_byte_slice;
use serde_json::json;

/// There are seven reasons; they are searched one by one.
const MOST: usize = 64;

struct Group {
    decision: Vec<u8>,
    reason: Vec<u8>,
    n: i64,
    value: f64,
}

#[derive(Default)]
struct Counts(Vec<Group>);

impl Counts {
    /// False if there are too many groups.
    fn push(&mut self, decision: &[u8], reason: &[u8], value: f64) -> bool {
        let place = self.0.iter().position(|group| group.reason == reason && group.decision == decision);
        let place = place.unwrap_or(self.0.len());
        if place == MOST {
            return false;
        }
        if place == self.0.len() {
            self.0.push(Group { decision: decision.to_vec(), reason: reason.to_vec(), n: 0, value: 0.0 });
        }
        self.0[place].n += 1;
        self.0[place].value += value;
        true
    }
}

/// The transition: `(state, decision, reason, value)`. Rows with a NULL are none.
unsafe fn take(call: FunctionCallInfo) -> Datum {
    unsafe {
        let counts = match argument(call, 0) {
            Some(state) => state.cast_mut_ptr::<Counts>(),
            None => support::new_state(call, Counts::default(), "SELECT stormops_internal.decision_counts(…) FROM …"),
        };
        if let (Some(decision), Some(reason), Some(value)) = (argument(call, 1), argument(call, 2), argument(call, 3)) {
            let decision = varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(decision.cast_mut_ptr()));
            let reason = varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(reason.cast_mut_ptr()));
            if !(*counts).push(decision, reason, double(value)) {
                raise(
                    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    "too many different decisions and reasons",
                    "SELECT stormops_internal.decision_counts(decision, reason, value) FROM stormops.policy_decisions_log; they are at most 64.",
                );
            }
        }
        Datum::from(counts)
    }
}

/// An array of `{decision, reason, n, value}`; NULL of none.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let groups = argument(call, 0).map_or(&[][..], |state| &(*state.cast_mut_ptr::<Counts>()).0);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let groups: Vec<_> = groups
            .iter()
            .map(|group| json!({
                "decision": text(&group.decision), "reason": text(&group.reason), "n": group.n, "value": group.value,
            }))
            .collect();
        let counts = (!groups.is_empty()).then(|| JsonB(groups.into())).and_then(IntoDatum::into_datum);
        counts.unwrap_or_else(|| {
            (*call).isnull = true;
            Datum::null()
        })
    }
}

support::support! {
    pg_finfo_stormops_counts_take stormops_counts_take = take;
    pg_finfo_stormops_counts_finish stormops_counts_finish = finish;
}
