//! The server's own functions that a tenant's role may not call. PUBLIC may execute them and a
//! REVOKE would take them from everybody, so they are refused when an expression is made ready to
//! run, or a function is called directly through the protocol.

#![expect(unsafe_code, reason = "a hook of the server, and its table of built-in functions")]

use super::switches::Guard;
use super::tenants::refuse_tenants;
use crate::postgres::hooks::hook_before;
use pgrx::prelude::*;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::LazyLock;

/// By the function's oid, so that no catalogue is read when a function is called.
static GUARDED: LazyLock<Box<[Option<Guard>]>> = LazyLock::new(guarded_builtins);

/// The guard of a built-in function, by its name in the server's C sources.
fn guard_of(function: &str) -> Option<Guard> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| function.starts_with(prefix));
    Some(match function {
        "pg_notify" => Guard::Notify,
        // To whoever decodes the log, as a notification.
        _ if begins(&["pg_logical_emit_message"]) => Guard::Notify,
        // Giving locks back is harmless, and what pools do.
        _ if begins(&["pg_advisory_lock", "pg_advisory_xact_lock", "pg_try_advisory"]) => Guard::Locks,
        // They lock the table as VACUUM does, and ask whose it is after that.
        _ if begins(&["brin_summarize", "brin_desummarize", "gin_clean_pending_list"]) => Guard::Locks,
        _ if begins(&["pg_restore_relation", "pg_restore_attribute", "pg_clear_relation", "pg_clear_attribute"]) => {
            Guard::Locks
        }
        // be_lo_open, be_loread, be_lo_get and all others.
        _ if begins(&["be_lo"]) => Guard::LargeObjects,
        "pg_cancel_backend"
        | "pg_terminate_backend"
        | "pg_lock_status"
        | "pg_blocking_pids"
        | "pg_isolation_test_session_is_blocked"
        | "pg_safe_snapshot_blocking_pids"
        | "pg_prepared_xact"
        | "pg_prepared_statement"
        | "pg_stat_get_activity"
        | "pg_stat_get_progress_info" => Guard::Sessions,
        _ if begins(&["pg_stat_get_backend"]) => Guard::Sessions,
        // The session's own counters (pg_stat_get_xact_…) also count the rows that a policy hid.
        _ if begins(&["pg_stat_get"]) => Guard::Counters,
        // Follows the versions of any row of a table that may be read, policies or not.
        "currtid_byrelname" => Guard::Counters,
        _ => return None,
    })
}

/// As in utils/fmgrtab.h, the same in every supported version.
#[repr(C)]
struct FmgrBuiltin {
    oid: pg_sys::Oid,
    arguments: i16,
    strict: bool,
    returns_set: bool,
    name: *const c_char,
    function: *const c_void,
}

unsafe extern "C" {
    static fmgr_builtins: [FmgrBuiltin; 0];
    static fmgr_nbuiltins: c_int;
}

/// Read once, in the postmaster when the library is preloaded.
pub fn read_builtins() {
    LazyLock::force(&GUARDED);
}

fn guarded_builtins() -> Box<[Option<Guard>]> {
    // SAFETY: a constant table of the server, and its length.
    let builtins = unsafe { std::slice::from_raw_parts(fmgr_builtins.as_ptr(), fmgr_nbuiltins as usize) };
    let mut guarded = Vec::new();
    for builtin in builtins {
        // SAFETY: a constant C string.
        let name = unsafe { CStr::from_ptr(builtin.name) }.to_str().unwrap_or_default();
        if let Some(guard) = guard_of(name) {
            let place = builtin.oid.to_u32() as usize;
            guarded.resize(guarded.len().max(place + 1), None);
            guarded[place] = Some(guard);
        }
    }
    guarded.into_boxed_slice()
}

hook_before!(
    object_access_hook: object_access_hook_type,
    (
        access: pg_sys::ObjectAccessType::Type,
        class: pg_sys::Oid,
        object: pg_sys::Oid,
        part: c_int,
        argument: *mut c_void,
    ),
    if access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE
        && let Some(Some(guard)) = GUARDED.get(object.to_u32() as usize)
    {
        judge(*guard);
    }
);

#[pg_guard]
unsafe extern "C-unwind" fn judge(guard: Guard) {
    refuse_tenants(guard);
}
