//! The end of each analysis of a statement, which has locked what the statement names: a client may leave it at that.

#![expect(unsafe_code, reason = "a hook of the server")]

use super::transaction;
use crate::postgres::hooks::hook_before;
use pgrx::prelude::*;

hook_before!(
    post_parse_analyze_hook: post_parse_analyze_hook_type,
    (state: *mut pg_sys::ParseState, query: *mut pg_sys::Query, names: *mut pg_sys::JumbleState),
    watch()
);

#[pg_guard]
unsafe extern "C-unwind" fn watch() {
    transaction::watch();
}
