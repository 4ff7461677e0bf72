//! Whether this session is bound by ceilings, and whether its settings have been looked at.

#![expect(unsafe_code, reason = "the backend's own state")]

use crate::tenancy::guard::tenants::serves_tenants;
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    /// True when nothing that this session may fall back to is above a ceiling.
    static SETTLED: Cell<bool> = const { Cell::new(false) };
}

/// True if the session's settings are to be looked at now, for once.
pub fn settles() -> bool {
    !SETTLED.replace(true)
}

/// Asks for another look at this session's settings when its transaction ends.
pub fn unsettle() {
    SETTLED.set(false);
}

/// Whether the value now being set is bound by a ceiling.
#[pg_guard]
pub unsafe extern "C-unwind" fn binds() -> bool {
    // SAFETY: plain reads of the backend's own state.
    unsafe {
        if pg_sys::InitializingParallelWorker || pg_sys::MyDatabaseId == pg_sys::InvalidOid {
            return false; // a worker takes over what its leader was allowed
        }
        if !pg_sys::IsTransactionState() {
            unsettle(); // the configuration is read again: no catalogue may be asked now
            return false;
        }
    }
    serves_tenants()
}
