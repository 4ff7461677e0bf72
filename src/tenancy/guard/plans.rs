//! The beginning of each run of a plan, the statements of functions among them.

#![expect(unsafe_code, reason = "a hook of the server")]

use super::transaction;
use crate::postgres::hooks::hook_before;
use crate::tenancy::context;
use pgrx::prelude::*;
use std::ffi::c_int;

hook_before!(
    ExecutorStart_hook: ExecutorStart_hook_type,
    standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int),
    begin()
);

#[pg_guard]
unsafe extern "C-unwind" fn begin() {
    context::notice_an_end();
    transaction::watch();
}
