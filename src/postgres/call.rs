//! Functions that Postgres calls without pgrx' conversions, since one of them runs for each row: how they are declared,
//! and how they find their arguments.

#![expect(unsafe_code, reason = "raw functions for the hot path")]

use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::varlena_to_byte_slice;

/// What `PG_FUNCTION_INFO_V1` is in C.
macro_rules! function_info {
    ($name:ident) => {
        const _: () = {
            #[unsafe(export_name = concat!("pg_finfo_", stringify!($name)))]
            extern "C-unwind" fn info() -> &'static pgrx::pg_sys::Pg_finfo_record {
                static VERSION_1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &VERSION_1
            }
        };
    };
}
pub(crate) use function_info;

/// Functions under their names in the library. Guarded: they may raise an error.
macro_rules! functions {
    ($($name:ident = $body:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            // SAFETY: the SQL declaration gives the arguments that the body takes.
            unsafe { pgrx::pg_sys::panic::pgrx_extern_c_guard(|| $body(call)) }
        }
        $crate::postgres::call::function_info!($name);
    )*};
}
pub(crate) use functions;

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

/// A `double precision`.
#[inline]
pub fn double(datum: Datum) -> f64 {
    f64::from_bits(datum.value() as u64)
}

/// A `boolean`.
#[inline]
pub fn boolean(datum: Datum) -> bool {
    datum.value() & 1 == 1
}

/// The bytes of a `uuid`, which is passed by reference to them.
///
/// SAFETY: the datum is one.
#[inline]
pub unsafe fn uuid<'a>(datum: Datum) -> &'a [u8; 16] {
    unsafe { &*datum.cast_mut_ptr::<[u8; 16]>() }
}

/// The bytes of a `text` or `bytea`, unpacked where it was packed.
///
/// SAFETY: the datum is one; its memory outlives what is made of this.
pub unsafe fn bytes<'a>(datum: Datum) -> &'a [u8] {
    unsafe { varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr())) }
}

/// NULL as a function's answer.
///
/// SAFETY: `call` is a call in progress.
pub unsafe fn null(call: FunctionCallInfo) -> Datum {
    unsafe { (*call).isnull = true };
    Datum::null()
}
