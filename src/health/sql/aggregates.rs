//! `repeats_agg()` and `groups_outside()` as Postgres calls them. Raw functions, since one runs for each row.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::health::duplicate_hashes::Hashes;
use crate::health::gathered::Gathered;
use crate::health::group_means::Groups;
use crate::postgres::aggregate::{self, answer, given, new_state};
use crate::postgres::call::{self, argument, bytes, double, uuid};
use crate::postgres::memory::{allocated, collected};
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;

const USAGE: &str = "SELECT stormops_internal.repeats_agg(hash) FROM ...";

/// The state in argument 0, made if there is none.
///
/// SAFETY: `call` is a call in progress, whose first argument is such a state or NULL.
unsafe fn state<'a, S: Gathered>(call: FunctionCallInfo) -> &'a mut S {
    unsafe { aggregate::state(call, USAGE) }
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
            let limits = (double(lowest), double(highest));
            allocated(state.push(*uuid(member), at.value() as i64, double(value), limits));
        }
        answer(state)
    }
}

/// Takes the second state into the first.
unsafe fn combine<S: Gathered>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state::<S>(call);
        if let Some(other) = given::<S>(call, 1) {
            allocated(state.merge(std::mem::take(other)));
        }
        answer(state)
    }
}

unsafe fn serialize<S: Gathered>(call: FunctionCallInfo) -> Datum {
    unsafe { aggregate::sent(&allocated(state::<S>(call).to_bytes())) }
}

unsafe fn deserialize<S: Gathered>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let sent = argument(call, 0).map(|sent| bytes(sent)).unwrap_or_default();
        let state = new_state::<S>(call, USAGE);
        *state = allocated(S::read(sent)).unwrap_or_default();
        answer(state)
    }
}

unsafe fn finish_hashes(call: FunctionCallInfo) -> Datum {
    unsafe {
        let repeated = given::<Hashes>(call, 0).map_or_else(Vec::new, |state| allocated(state.repeated()));
        repeated.into_datum().unwrap_or(Datum::from(0))
    }
}

unsafe fn finish_groups(call: FunctionCallInfo) -> Datum {
    unsafe {
        let outside = given::<Groups>(call, 0).map_or_else(Vec::new, |state| allocated(state.outside()));
        let count = outside.len();
        let outside = collected(outside.into_iter().map(pgrx::datum::Uuid::from_bytes), count);
        outside.into_datum().unwrap_or(Datum::from(0))
    }
}

call::functions! {
    stormops_repeats_collect = collect_hash;
    stormops_repeats_combine = combine::<Hashes>;
    stormops_repeats_serialize = serialize::<Hashes>;
    stormops_repeats_deserialize = deserialize::<Hashes>;
    stormops_repeats_finish = finish_hashes;
    stormops_outside_collect = collect_member;
    stormops_outside_combine = combine::<Groups>;
    stormops_outside_serialize = serialize::<Groups>;
    stormops_outside_deserialize = deserialize::<Groups>;
    stormops_outside_finish = finish_groups;
}
