//! A cursor that goes on. What it has sorted or joined before is not judged by the policies again,
//! so each later FETCH asks whether the tenant is still open and the user still a member.

#![expect(unsafe_code, reason = "a hook of the server")]

use pgrx::prelude::*;
use std::sync::OnceLock;

static NEXT: OnceLock<pg_sys::ExecutorRun_hook_type> = OnceLock::new();

pub fn init() {
    // SAFETY: the hook is a plain global, set once when the library loads.
    unsafe {
        NEXT.get_or_init(|| pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(hook);
    }
}

/// The hook with the arguments that this version of the server hands over. Not guarded by pgrx, and
/// without anything to drop, as the hook of commands.
macro_rules! hook {
    ($($argument:ident: $type:ty),*) => {
        unsafe extern "C-unwind" fn hook(query: *mut pg_sys::QueryDesc, $($argument: $type),*) {
            unsafe extern "C-unwind" {
                fn standard_ExecutorRun(query: *mut pg_sys::QueryDesc, $($argument: $type),*);
            }
            // SAFETY: the server hands over a valid query, and this hands it on.
            unsafe {
                if (*query).already_executed {
                    judge();
                }
                match NEXT.get() {
                    Some(Some(next)) => next(query, $($argument),*),
                    _ => standard_ExecutorRun(query, $($argument),*),
                }
            }
        }
    };
}
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
hook!(direction: pg_sys::ScanDirection::Type, count: u64, once: bool);
#[cfg(feature = "pg18")]
hook!(direction: pg_sys::ScanDirection::Type, count: u64);

#[pg_guard]
unsafe extern "C-unwind" fn judge() {
    super::super::context::recheck();
}
