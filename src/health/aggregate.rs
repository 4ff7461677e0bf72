//! Aggregates whose state is a Rust value, as Postgres calls them. Raw functions, since one runs for each row.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use super::outside::Groups;
use super::repeats::Hashes;
use crate::errors::raise;
use pgrx::PgMemoryContexts;
use pgrx::fcinfo::{pg_arg_is_null, pg_getarg_datum_raw};
use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
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
    unsafe { if pg_arg_is_null(call, 0) { new_state(call) } else { &mut *pg_getarg_datum_raw(call, 0).cast_mut_ptr() } }
}

unsafe fn new_state<'a, S: Gathered>(call: FunctionCallInfo) -> &'a mut S {
    let mut context = std::ptr::null_mut();
    // SAFETY: `call` is a call in progress; the context outlives it, and frees the state.
    unsafe {
        if pg_sys::AggCheckCallContext(call, &mut context) == 0 {
            raise(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "a support function was called outside its aggregate",
                "SELECT stormops.repeats_agg(hash) FROM …",
            );
        }
        &mut *PgMemoryContexts::For(context).leak_and_drop_on_delete(S::default())
    }
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
        if !pg_arg_is_null(call, 1) {
            allocated(state.push(pg_getarg_datum_raw(call, 1).value() as i64));
        }
        answer(state)
    }
}

/// `groups_outside(member, at, value, lowest, highest)`: a row with a NULL does not count.
unsafe fn collect_member(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state::<Groups>(call);
        if !(1..6).any(|i| pg_arg_is_null(call, i)) {
            let double = |i| f64::from_bits(pg_getarg_datum_raw(call, i).value() as u64);
            // A uuid is passed by reference to its 16 bytes.
            let member = *pg_getarg_datum_raw(call, 1).cast_mut_ptr::<[u8; 16]>();
            let at = pg_getarg_datum_raw(call, 2).value() as i64;
            allocated(state.push(member, at, double(3), (double(4), double(5))));
        }
        answer(state)
    }
}

/// Takes the second state into the first.
unsafe fn combine<S: Gathered>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state::<S>(call);
        if !pg_arg_is_null(call, 1) {
            allocated(state.merge(std::mem::take(&mut *pg_getarg_datum_raw(call, 1).cast_mut_ptr::<S>())));
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
        let sent = <&[u8]>::from_datum(pg_getarg_datum_raw(call, 0), pg_arg_is_null(call, 0)).unwrap_or_default();
        let state = new_state::<S>(call);
        *state = S::read(sent).unwrap_or_default();
        answer(state)
    }
}

unsafe fn finish_hashes(call: FunctionCallInfo) -> Datum {
    unsafe {
        let repeated = if pg_arg_is_null(call, 0) { Vec::new() } else { state::<Hashes>(call).repeated() };
        repeated.into_datum().unwrap_or(Datum::from(0))
    }
}

unsafe fn finish_groups(call: FunctionCallInfo) -> Datum {
    unsafe {
        let outside = if pg_arg_is_null(call, 0) { Vec::new() } else { state::<Groups>(call).outside() };
        let outside: Vec<_> = outside.into_iter().map(pgrx::datum::Uuid::from_bytes).collect();
        outside.into_datum().unwrap_or(Datum::from(0))
    }
}

/// The support functions under their names in the library, each with what PG_FUNCTION_INFO_V1 is in C.
macro_rules! support {
    ($($info:ident $name:ident = $body:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: FunctionCallInfo) -> Datum {
            // SAFETY: the SQL declaration gives the arguments that the body takes. Guarded: it may raise an error.
            unsafe { pgrx_extern_c_guard(|| $body(call)) }
        }
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $info() -> &'static pg_sys::Pg_finfo_record {
            static VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }
    )*};
}
support! {
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
