//! `decision_counts()`: how many decisions there are by decision and reason, and the sum of their values, in one
//! pass with whatever else is asked of the same rows.
//!
//! Raw functions, since one runs for each of a million rows.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::policy::counts::Counts;
use crate::postgres::aggregate::{answer, given, state};
use crate::postgres::call::{self, argument, bytes, double, null};
use crate::postgres::raise::raise;
use pgrx::JsonB;
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;
use serde_json::json;

/// `(state, decision, reason, value)`. Rows with a NULL are none.
unsafe fn collect(call: FunctionCallInfo) -> Datum {
    unsafe {
        let counts = state::<Counts>(call, "SELECT stormops_internal.decision_counts(...) FROM ...");
        if let (Some(decision), Some(reason), Some(value)) = (argument(call, 1), argument(call, 2), argument(call, 3))
            && !counts.push(bytes(decision), bytes(reason), double(value))
        {
            raise(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "too many different decisions and reasons, or a long one",
                "SELECT stormops_internal.decision_counts(decision, reason, value) FROM stormops.policy_decisions_log; they are at most 64, of at most 1000 bytes.",
            );
        }
        answer(counts)
    }
}

/// An array of `{decision, reason, n, value}`; NULL of none.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let groups = given::<Counts>(call, 0).map_or(&[][..], |counts| &counts.0);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let groups: Vec<_> = groups
            .iter()
            .map(|group| json!({
                "decision": text(&group.decision), "reason": text(&group.reason), "n": group.n, "value": group.value,
            }))
            .collect();
        let counts = (!groups.is_empty()).then(|| JsonB(groups.into())).and_then(IntoDatum::into_datum);
        counts.unwrap_or_else(|| null(call))
    }
}

call::functions! {
    stormops_counts_take = collect;
    stormops_counts_finish = finish;
}
