//! Aggregates whose state is a Rust value: where it lives, and how the steps hand it on.

#![expect(unsafe_code, reason = "states behind pointers that Postgres keeps")]

use super::call::argument;
use super::raise::raise;
use pgrx::PgMemoryContexts;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;

/// The largest value that Postgres handles, which a worker's state must fit into.
const MOST_BYTES: usize = 1_000_000_000;

/// The state that a call works on: argument 0, or a new one in the aggregate's own context, which outlives the call and
/// frees it. `usage`: how the aggregate is called, for whoever calls the function outside of it.
///
/// SAFETY: `call` is a call in progress, whose argument 0 is such a state or NULL.
#[inline]
pub unsafe fn state<'a, S: Default>(call: FunctionCallInfo, usage: &str) -> &'a mut S {
    unsafe {
        match argument(call, 0) {
            Some(state) => &mut *state.cast_mut_ptr(),
            None => new_state(call, usage),
        }
    }
}

/// A new state.
///
/// SAFETY: `call` is a call in progress.
pub unsafe fn new_state<'a, S: Default>(call: FunctionCallInfo, usage: &str) -> &'a mut S {
    let mut context = std::ptr::null_mut();
    // SAFETY: as above.
    unsafe {
        if pg_sys::AggCheckCallContext(call, &mut context) == 0 {
            raise(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "a support function was called outside its aggregate",
                usage,
            );
        }
        &mut *PgMemoryContexts::For(context).leak_and_drop_on_delete(S::default())
    }
}

/// The state in argument `i`; None if it is NULL.
///
/// SAFETY: the call has such an argument, and it is such a state or NULL.
pub unsafe fn given<'a, S>(call: FunctionCallInfo, i: usize) -> Option<&'a mut S> {
    unsafe { argument(call, i).map(|state| &mut *state.cast_mut_ptr()) }
}

/// A state as a step's answer.
pub fn answer<S>(state: &mut S) -> Datum {
    Datum::from(std::ptr::from_mut(state))
}

/// Bytes for another worker, as a bytea.
pub fn sent(bytes: &[u8]) -> Datum {
    if bytes.len() > MOST_BYTES {
        raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "the state of an aggregate is larger than 1 GB",
            "Aggregate fewer rows, by group or by time.",
        );
    }
    super::bytea::bytea(bytes.len(), |all| all.copy_from_slice(bytes))
}
