//! Functions that Postgres calls without pgrx' conversions, since one of them runs for each row: how they are declared,
//! and how an aggregate's find their arguments and their state.

#![expect(unsafe_code, reason = "raw functions for the hot path")]

use crate::errors::raise;
use pgrx::PgMemoryContexts;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;

/// What `PG_FUNCTION_INFO_V1` is in C.
macro_rules! function_info {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name() -> &'static pgrx::pg_sys::Pg_finfo_record {
            static VERSION_1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &VERSION_1
        }
    )*};
}
pub(crate) use function_info;

/// Functions under their names in the library, each with its info.
macro_rules! support {
    ($($info:ident $name:ident = $body:expr;)*) => {$(
        /// Guarded: it may raise an error.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            // SAFETY: the SQL declaration gives the arguments that the body takes.
            unsafe { pgrx::pg_sys::panic::pgrx_extern_c_guard(|| $body(call)) }
        }
        $crate::support::function_info!($info);
    )*};
}
pub(crate) use support;

/// A call's argument; None if it is NULL.
///
/// SAFETY: the call has so many arguments.
#[inline]
pub unsafe fn argument(call: FunctionCallInfo, i: usize) -> Option<Datum> {
    unsafe {
        let argument = &*(*call).args.as_ptr().add(i);
        (!argument.isnull).then_some(argument.value)
    }
}

#[inline]
pub fn double(datum: Datum) -> f64 {
    f64::from_bits(datum.value() as u64)
}

/// A new state of an aggregate, in its own context, which outlives the call and frees it. `usage`: how the aggregate is
/// called, for whoever calls the function outside of it.
///
/// SAFETY: `call` is a call in progress.
pub unsafe fn new_state<S>(call: FunctionCallInfo, state: S, usage: &str) -> *mut S {
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
        PgMemoryContexts::For(context).leak_and_drop_on_delete(state)
    }
}
