//! Window functions: how one looks at the rows before and after its own. pgrx has no declarations of these.

#![expect(unsafe_code, reason = "the server's own functions for window functions")]

use super::raise::raise;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;
use std::ffi::c_int;

unsafe extern "C-unwind" {
    fn WinGetCurrentPosition(window: *mut pg_sys::WindowObjectData) -> i64;
    fn WinSetMarkPosition(window: *mut pg_sys::WindowObjectData, position: i64);
    fn WinGetFuncArgCurrent(window: *mut pg_sys::WindowObjectData, argument: c_int, null: *mut bool) -> Datum;
    fn WinGetFuncArgInPartition(
        window: *mut pg_sys::WindowObjectData,
        argument: c_int,
        position: c_int,
        from: c_int,
        set_mark: bool,
        null: *mut bool,
        outside: *mut bool,
    ) -> Datum;
}

const FROM_CURRENT: c_int = 0;

/// The window that a call stands in.
#[derive(Clone, Copy)]
pub struct Window(*mut pg_sys::WindowObjectData);

impl Window {
    /// SAFETY: `call` is a call in progress.
    pub unsafe fn of(call: FunctionCallInfo) -> Self {
        unsafe {
            let context = (*call).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_WindowObjectData {
                raise(
                    PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                    "a window function was called outside of a window",
                    "SELECT f(...) OVER () FROM ...",
                );
            }
            Self(context.cast())
        }
    }

    /// The current row's place in its partition, from 0 on. No row before it will be asked for any more.
    pub fn position(self) -> i64 {
        // SAFETY: the window is that of a call in progress; an error becomes a panic that unwinds.
        unsafe {
            pg_guard_ffi_boundary(|| {
                let position = WinGetCurrentPosition(self.0);
                WinSetMarkPosition(self.0, position);
                position
            })
        }
    }

    /// An argument for the current row; None if it is NULL.
    pub fn argument(self, number: c_int) -> Option<Datum> {
        let mut null = true;
        // SAFETY: as above; the call has such an argument.
        let datum = unsafe { pg_guard_ffi_boundary(|| WinGetFuncArgCurrent(self.0, number, &raw mut null)) };
        (!null).then_some(datum)
    }

    /// An argument for the row so many places after the current one; None beyond the last row, and `Some(None)` if it is NULL.
    pub fn ahead(self, number: c_int, places: c_int) -> Option<Option<Datum>> {
        let (mut null, mut outside) = (true, true);
        // SAFETY: as above.
        let datum = unsafe {
            pg_guard_ffi_boundary(|| {
                WinGetFuncArgInPartition(self.0, number, places, FROM_CURRENT, false, &raw mut null, &raw mut outside)
            })
        };
        (!outside).then_some((!null).then_some(datum))
    }
}
