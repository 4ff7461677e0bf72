//! Ceilings: how far a tenants' session may raise settings of the server that every user may set.
//!
//! Whoever sets one, and in whatever way (SET, set_config(), a function's SET clause, PGOPTIONS,
//! ALTER ROLE), passes its check hook, which lowers the value to the ceiling. What a session
//! begins with is lowered when its first transaction, that of the connection, ends.

#![expect(unsafe_code, reason = "check hooks of the server's own settings")]

mod bounds;
mod session;

use pgrx::prelude::*;
use std::ffi::c_void;

/// Defines the ceilings and wraps the check hooks of what they bound.
pub fn init() {
    bounds::init();
    // SAFETY: the callback lives as long as the library.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction_end), std::ptr::null_mut()) };
}

unsafe extern "C-unwind" fn at_transaction_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT && session::settles() {
        // SAFETY: guarded functions; a transaction that commits may still read catalogues.
        unsafe {
            if session::binds() {
                settle();
            }
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn settle() {
    bounds::settle();
}
