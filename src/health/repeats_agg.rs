//! `repeats_agg(hash)` as Postgres calls it. Raw functions, since one runs for each row.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use super::repeats::Hashes;
use crate::errors::raise;
use pgrx::PgMemoryContexts;
use pgrx::fcinfo::{pg_arg_is_null, pg_getarg_datum_raw};
use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;

/// The first allocation: states of small groups stay small.
const FIRST: usize = 32;
/// As many as fit into the largest value that Postgres handles, 1 GB.
const MOST: usize = 125_000_000;

/// The state in argument 0, made if there is none.
///
/// SAFETY: `call` is a call in progress, whose first argument is such a state or NULL.
unsafe fn state<'a>(call: FunctionCallInfo) -> &'a mut Hashes {
    unsafe { if pg_arg_is_null(call, 0) { new_state(call) } else { &mut *pg_getarg_datum_raw(call, 0).cast_mut_ptr() } }
}

/// An empty state in the aggregate's context, which frees it.
unsafe fn new_state<'a>(call: FunctionCallInfo) -> &'a mut Hashes {
    let mut context = std::ptr::null_mut();
    // SAFETY: `call` is a call in progress; the context outlives it.
    unsafe {
        if pg_sys::AggCheckCallContext(call, &mut context) == 0 {
            raise(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "a support function was called outside its aggregate",
                "SELECT stormops.repeats_agg(hash) FROM …",
            );
        }
        &mut *PgMemoryContexts::For(context).leak_and_drop_on_delete(Hashes::default())
    }
}

/// Makes room for so many more, or fails: an allocation that fails otherwise would take the whole server down.
fn reserve(state: &mut Hashes, more: usize) {
    let hashes = &mut state.0;
    let wanted = (hashes.len() * 2).max(FIRST).min(MOST).max(hashes.len() + more);
    if wanted > MOST || hashes.try_reserve_exact(wanted - hashes.len()).is_err() {
        raise(
            PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            format!("no memory for {wanted} hashes"),
            "Aggregate fewer rows, by group or by time.",
        );
    }
}

/// Takes in one row's hash; NULL does not count.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_repeats_collect(call: FunctionCallInfo) -> Datum {
    // SAFETY: a function of a state and a bigint. Whatever may raise an error is guarded.
    unsafe {
        if !pg_arg_is_null(call, 0) {
            let state = &mut *pg_getarg_datum_raw(call, 0).cast_mut_ptr::<Hashes>();
            if state.0.len() == state.0.capacity() {
                pgrx_extern_c_guard(|| reserve(state, 1));
            }
            if !pg_arg_is_null(call, 1) {
                state.0.push(pg_getarg_datum_raw(call, 1).value() as i64);
            }
            return pg_getarg_datum_raw(call, 0);
        }
        pgrx_extern_c_guard(|| {
            let state = new_state(call);
            if !pg_arg_is_null(call, 1) {
                reserve(state, 1);
                state.0.push(pg_getarg_datum_raw(call, 1).value() as i64);
            }
            Datum::from(std::ptr::from_mut(state))
        })
    }
}

/// Takes the second state into the first.
unsafe fn combine(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state(call);
        if !pg_arg_is_null(call, 1) {
            let other = &mut *pg_getarg_datum_raw(call, 1).cast_mut_ptr::<Hashes>();
            if state.0.is_empty() {
                std::mem::swap(state, other);
            } else {
                reserve(state, other.0.len());
                state.0.append(&mut other.0);
            }
        }
        Datum::from(std::ptr::from_mut(state))
    }
}

unsafe fn serialize(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state(call);
        let size = pg_sys::VARHDRSZ + size_of_val(state.0.as_slice());
        let varlena = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(varlena, size as i32);
        // The allocation has `size` bytes, and is all written.
        let bytes =
            std::slice::from_raw_parts_mut(pgrx::vardata_4b(varlena).cast_mut().cast::<u8>(), size - pg_sys::VARHDRSZ);
        bytes.as_chunks_mut().0.iter_mut().zip(state.bytes()).for_each(|(to, hash)| *to = hash);
        Datum::from(varlena)
    }
}

unsafe fn deserialize(call: FunctionCallInfo) -> Datum {
    unsafe {
        let sent = <&[u8]>::from_datum(pg_getarg_datum_raw(call, 0), pg_arg_is_null(call, 0)).unwrap_or_default();
        let state = new_state(call);
        *state = Hashes::read(sent).unwrap_or_default();
        Datum::from(std::ptr::from_mut(state))
    }
}

unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let repeated = if pg_arg_is_null(call, 0) { Vec::new() } else { state(call).repeated() };
        repeated.into_datum().unwrap_or(Datum::from(0))
    }
}

static VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

/// The support functions under their names in the library, each with what PG_FUNCTION_INFO_V1 is in C.
macro_rules! support {
    ($($info:ident $name:ident = $body:expr;)*) => {$(
        /// Guarded: it may raise an error.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: FunctionCallInfo) -> Datum {
            // SAFETY: the SQL declaration gives the arguments that the body takes.
            unsafe { pgrx_extern_c_guard(|| $body(call)) }
        }
        function_info!($info);
    )*};
}
macro_rules! function_info {
    ($name:ident) => {
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name() -> &'static pg_sys::Pg_finfo_record {
            &VERSION_1
        }
    };
}
function_info!(pg_finfo_stormops_repeats_collect);
support! {
    pg_finfo_stormops_repeats_combine stormops_repeats_combine = combine;
    pg_finfo_stormops_repeats_serialize stormops_repeats_serialize = serialize;
    pg_finfo_stormops_repeats_deserialize stormops_repeats_deserialize = deserialize;
    pg_finfo_stormops_repeats_finish stormops_repeats_finish = finish;
}
