//! A cursor that goes on. What it has sorted or joined before is not judged by the policies again,
//! so each later FETCH asks whether the tenant is still open and the user still a member.

#![expect(unsafe_code, reason = "a hook of the server")]

use crate::postgres::hooks::hook_before;
use crate::tenancy::context;
use pgrx::prelude::*;

/// The hook with the arguments that this version of the server hands over.
macro_rules! on_resumption {
    ($($argument:ident: $kind:ty),*) => {
        hook_before!(
            ExecutorRun_hook: ExecutorRun_hook_type,
            standard_ExecutorRun(query: *mut pg_sys::QueryDesc, $($argument: $kind),*),
            if (*query).already_executed {
                judge();
            }
        );
    };
}
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
on_resumption!(direction: pg_sys::ScanDirection::Type, count: u64, once: bool);
#[cfg(feature = "pg18")]
on_resumption!(direction: pg_sys::ScanDirection::Type, count: u64);

#[pg_guard]
unsafe extern "C-unwind" fn judge() {
    context::recheck();
}
