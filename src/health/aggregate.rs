//! Aggregates whose state is a Rust value, as Postgres calls them. Raw functions, since one runs for each row.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use super::outside::Groups;
use super::repeats::Hashes;
use crate::errors::raise;
use crate::support::{self, argument, double};
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;
use std::collections::TryReserveError;

/// The largest value that Postgres handles, which a worker's state must fit into.
const MOST_BYTES: usize = 1_000_000_000;

/// What an aggregate gathers.
pub trait Gathered: Default {
    /// As the workers of one server send it to each other.
    fn bytes(&self) -> Vec<u8>;
    /// None if these bytes are none of this kind.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Takes another worker's in.
    fn merge(&mut self, other: Self) -> Result<(), TryReserveError>;
}

/// The state in argument 0, made in the aggregate's context if there is none.
///
/// SAFETY: `call` is a call in progress, whose first argument is such a state or NULL.
unsafe fn state<'a, S: Gathered>(call: FunctionCallInfo) -> &'a mut S {
    unsafe { argument(call, 0).map_or_else(|| new_state(call), |state| &mut *state.cast_mut_ptr()) }
}

unsafe fn new_state<'a, S: Gathered>(call: FunctionCallInfo) -> &'a mut S {
    // SAFETY: `call` is a call in progress.
    unsafe { &mut *support::new_state(call, S::default(), "SELECT stormops_internal.repeats_agg(hash) FROM …") }
}

/// An allocation that fails otherwise would take the whole server down.
fn allocated<T>(result: Result<T, TryReserveError>) -> T {
    result.unwrap_or_else(|_| {
        raise(
            PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            "no memory for the state of an aggregate",
            "Aggregate fewer rows, by group or by time.",
        )
    })
}

fn answer<S>(state: &mut S) -> Datum {
    Datum::from(std::ptr::from_mut(state))
}

/// `repeats_agg(hash)`: NULL does not count.
unsafe fn collect_hash(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state::<Hashes>(call);
        if let Some(hash) = argument(call, 1) {
            allocated(state.push(hash.value() as i64));
        }
        answer(state)
    }
}

/// `groups_outside(member, at, value, lowest, highest)`: a row with a NULL does not count.
unsafe fn collect_member(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state::<Groups>(call);
        let [member, at, value, lowest, highest] = [1, 2, 3, 4, 5].map(|i| argument(call, i));
        if let (Some(member), Some(at), Some(value), Some(lowest), Some(highest)) = (member, at, value, lowest, highest)
        {
            // A uuid is passed by reference to its 16 bytes.
            let member = *member.cast_mut_ptr::<[u8; 16]>();
            allocated(state.push(member, at.value() as i64, double(value), (double(lowest), double(highest))));
        }
        answer(state)
    }
}

/// Takes the second state into the first.
unsafe fn combine<S: Gathered>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state::<S>(call);
        if let Some(other) = argument(call, 1) {
            allocated(state.merge(std::mem::take(&mut *other.cast_mut_ptr::<S>())));
        }
        answer(state)
    }
}

unsafe fn serialize<S: Gathered>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let bytes = state::<S>(call).bytes();
        if bytes.len() > MOST_BYTES {
            raise(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "the state of an aggregate is larger than 1 GB",
                "Aggregate fewer rows, by group or by time.",
            );
        }
        bytes.into_datum().unwrap_or(Datum::from(0))
    }
}

unsafe fn deserialize<S: Gathered>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let sent = argument(call, 0).and_then(|sent| <&[u8]>::from_datum(sent, false)).unwrap_or_default();
        let state = new_state::<S>(call);
        *state = S::read(sent).unwrap_or_default();
        answer(state)
    }
}

unsafe fn finish_hashes(call: FunctionCallInfo) -> Datum {
    unsafe {
        let repeated = argument(call, 0).map_or_else(Vec::new, |_| state::<Hashes>(call).repeated());
        repeated.into_datum().unwrap_or(Datum::from(0))
    }
}

unsafe fn finish_groups(call: FunctionCallInfo) -> Datum {
    unsafe {
        let outside = argument(call, 0).map_or_else(Vec::new, |_| state::<Groups>(call).outside());
        let outside: Vec<_> = outside.into_iter().map(pgrx::datum::Uuid::from_bytes).collect();
        outside.into_datum().unwrap_or(Datum::from(0))
    }
}

support::support! {
    pg_finfo_stormops_repeats_collect stormops_repeats_collect = collect_hash;
    pg_finfo_stormops_repeats_combine stormops_repeats_combine = combine::<Hashes>;
    pg_finfo_stormops_repeats_serialize stormops_repeats_serialize = serialize::<Hashes>;
    pg_finfo_stormops_repeats_deserialize stormops_repeats_deserialize = deserialize::<Hashes>;
    pg_finfo_stormops_repeats_finish stormops_repeats_finish = finish_hashes;
    pg_finfo_stormops_outside_collect stormops_outside_collect = collect_member;
    pg_finfo_stormops_outside_combine stormops_outside_combine = combine::<Groups>;
    pg_finfo_stormops_outside_serialize stormops_outside_serialize = serialize::<Groups>;
    pg_finfo_stormops_outside_deserialize stormops_outside_deserialize = deserialize::<Groups>;
    pg_finfo_stormops_outside_finish stormops_outside_finish = finish_groups;
}
