//! Ceilings: how far a tenants' session may raise settings of the server that every user may set.
//!
//! Whoever sets one, and in whatever way (SET, set_config(), a function's SET clause, PGOPTIONS,
//! ALTER ROLE), passes its check hook, which lowers the value to the ceiling. What a session
//! begins with is lowered when its first transaction, that of the connection, ends.

#![expect(unsafe_code, reason = "check hooks of the server's own settings")]

mod bounds;
mod records;

use super::serves_tenants;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::c_void;

/// True when nothing that this session may fall back to is above a ceiling.
struct Settled(Cell<bool>);
// SAFETY: a backend runs one thread.
unsafe impl Sync for Settled {}
static SETTLED: Settled = Settled(Cell::new(false));

/// Defines the ceilings and wraps the check hooks of what they bound.
pub fn init() {
    bounds::init();
    // SAFETY: the callback lives as long as the library.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction_end), std::ptr::null_mut()) };
}

/// Asks for another look at this session's settings when its transaction ends.
fn unsettle() {
    SETTLED.0.set(false);
}

/// Whether the value now being set is bound by a ceiling.
#[pg_guard]
unsafe extern "C-unwind" fn binds() -> bool {
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

unsafe extern "C-unwind" fn at_transaction_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT && !SETTLED.0.replace(true) {
        // SAFETY: guarded functions; a transaction that commits may still read catalogues.
        unsafe {
            if binds() {
                settle();
            }
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn settle() {
    bounds::settle();
}
