//! How the library ends a statement.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::borrow::Cow;

/// An error with its SQLSTATE, what is wrong, and what to do about it.
pub fn raise(code: PgSqlErrorCode, message: impl Into<Cow<'static, str>>, hint: &str) -> ! {
    ErrorReport::new(code, message, "stormops").set_hint(hint).report(PgLogLevel::ERROR);
    unreachable!("an error does not return")
}
