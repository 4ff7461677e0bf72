//! How the library ends a statement.

#![expect(unsafe_code, reason = "the server's own way of raising an error")]

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};

/// Sees to it that no error tells its client where in the library it came from, whatever RUST_BACKTRACE says: pgrx would
/// write it into the DETAIL. Whether there are backtraces is settled by the first that is asked for.
pub fn keep_backtraces_out() {
    const SETTING: &str = "RUST_LIB_BACKTRACE";
    let before = std::env::var_os(SETTING);
    // SAFETY: a process of the server has one thread.
    unsafe {
        std::env::set_var(SETTING, "0");
        let _ = std::backtrace::Backtrace::capture();
        match before {
            Some(value) => std::env::set_var(SETTING, value),
            None => std::env::remove_var(SETTING),
        }
    }
}

/// An error with its SQLSTATE, what is wrong, and what to do about it.
pub fn raise(code: PgSqlErrorCode, message: impl Into<Cow<'static, str>>, hint: &str) -> ! {
    ErrorReport::new(code, message, "stormops").set_hint(hint).report(PgLogLevel::ERROR);
    unreachable!("an error does not return")
}

/// Ends the statement: an argument is not valid.
pub fn refuse(message: &'static str, hint: &str) -> ! {
    raise(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, hint)
}

/// What is not NULL, in a function that takes NULL for other arguments.
pub fn required<T>(argument: Option<T>, name: &str) -> T {
    argument.unwrap_or_else(|| {
        raise(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("{name} must not be NULL"),
            "Leave it out for its default.",
        )
    })
}

/// What ereport() is in C, perhaps with errhidestmt(): the statement, and what it holds, stays out of the log.
///
/// SAFETY: an ERROR jumps over the frames up to the nearest guard: they own nothing. No text has a per cent sign.
pub unsafe fn raise_from_c(
    level: PgLogLevel,
    code: PgSqlErrorCode,
    message: &'static CStr,
    hint: &'static CStr,
    hide_statement: bool,
) {
    unsafe extern "C-unwind" {
        fn errstart(level: c_int, domain: *const c_char) -> bool;
        fn errcode(code: c_int) -> c_int;
        fn errmsg(format: *const c_char, ...) -> c_int;
        fn errhint(format: *const c_char, ...) -> c_int;
        fn errhidestmt(hide: bool) -> c_int;
        fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    }
    // SAFETY: as above.
    unsafe {
        if errstart(level as c_int, std::ptr::null()) {
            errcode(code as c_int);
            errmsg(message.as_ptr());
            errhint(hint.as_ptr());
            errhidestmt(hide_statement);
            errfinish(c"raise.rs".as_ptr(), line!() as c_int, c"raise_from_c".as_ptr());
        }
    }
}
