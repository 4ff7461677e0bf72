//! How old a transaction of a tenant becomes: what it holds open, others wait for, and every statement that it sends
//! begins the server's own timeouts anew. One that is too old is ended with its session, whatever it is doing, as
//! transaction_timeout does from PostgreSQL 17 on for those who set it.

#![expect(unsafe_code, reason = "a timer of the server, and its interrupts")]

use crate::postgres::hooks::hook_before;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

static CEILING: GucSetting<i32> = GucSetting::<i32>::new(3_600_000);
/// Written by the timer, wherever the backend is then.
static TOO_OLD: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The timer of this backend, once it has one.
    static TIMER: Cell<Option<c_int>> = const { Cell::new(None) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

// Of utils/timeout.h, storage/latch.h and utils/palloc.h, not taken from pg_sys: neither a signal's handler nor an error
// under way passes through a guard.
unsafe extern "C-unwind" {
    fn RegisterTimeout(id: c_int, handler: unsafe extern "C-unwind" fn()) -> c_int;
    fn enable_timeout_at(id: c_int, moment: i64);
    fn get_timeout_active(id: c_int) -> bool;
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn SetLatch(latch: *mut pg_sys::Latch);
    fn MemoryContextStrdup(context: pg_sys::MemoryContext, text: *const c_char) -> *mut c_char;
}
/// Any number from the server's USER_TIMEOUT on stands for a timer that is free.
const FREE_TIMER: c_int = 16;

pub fn define() {
    GucRegistry::define_int_guc(
        c"stormops.ceiling_transaction_age",
        c"The oldest that a transaction of a role that works in tenants becomes; 0: no ceiling.",
        c"One that is older is ended, and its session with it. A superuser sets it.",
        &CEILING,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    init();
}

#[inline]
pub fn is_watched() -> bool {
    WATCHED.get()
}

/// Counts from the transaction's begin.
pub fn begin() {
    // SAFETY: plain reads of the backend's own state.
    let is_worker = unsafe { pg_sys::ParallelWorkerNumber >= 0 };
    if CEILING.get() > 0 && !is_worker {
        WATCHED.set(true);
        start();
    }
}

/// After what may have put off all timers.
pub fn go_on() {
    // SAFETY: a plain read of the backend's timers.
    if WATCHED.get() && !TIMER.get().is_some_and(|timer| unsafe { get_timeout_active(timer) }) {
        start();
    }
}

fn start() {
    // SAFETY: the timers of a backend that runs a transaction are ready; the handler lives as long as the library.
    unsafe {
        let timer = TIMER.get().unwrap_or_else(|| RegisterTimeout(FREE_TIMER, expire));
        TIMER.set(Some(timer));
        enable_timeout_at(timer, pg_sys::GetCurrentTransactionStartTimestamp() + i64::from(CEILING.get()) * 1000);
    }
}

pub fn end() {
    if WATCHED.replace(false)
        && let Some(timer) = TIMER.get()
    {
        // SAFETY: a timer that was registered.
        unsafe { disable_timeout(timer, false) };
    }
}

/// Runs in a signal's handler: sets flags, and wakes the backend up.
unsafe extern "C-unwind" fn expire() {
    TOO_OLD.store(true, Ordering::Relaxed);
    // SAFETY: what the server's own handler of SIGTERM does.
    unsafe {
        std::ptr::write_volatile(&raw mut pg_sys::ProcDiePending, 1);
        std::ptr::write_volatile(&raw mut pg_sys::InterruptPending, 1);
        SetLatch(pg_sys::MyLatch);
    }
}

// The server has no interrupt of a library's own, so that the session ends as by an administrator's command. This is
// where it says why, to the log and to the client.
hook_before!(
    emit_log_hook: emit_log_hook_type,
    (error: *mut pg_sys::ErrorData),
    if TOO_OLD.load(Ordering::Relaxed) {
        explain(error);
    }
);

unsafe fn explain(error: *mut pg_sys::ErrorData) {
    const TRANSACTION_TIMEOUT: &[u8; 5] = b"25P04";
    // SAFETY: the server's record of an error that is about to be sent, and constant texts.
    unsafe {
        if (*error).elevel == PgLogLevel::FATAL as c_int
            && (*error).sqlerrcode == PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN as c_int
        {
            let digit = |c: &u8| c_int::from(*c - b'0') & 63;
            (*error).sqlerrcode = TRANSACTION_TIMEOUT.iter().rev().fold(0, |code, c| code << 6 | digit(c));
            // The server gives back what the texts take.
            let context = (*error).assoc_context;
            let text = |text: &CStr| MemoryContextStrdup(context, text.as_ptr());
            (*error).message = text(c"terminating connection: its transaction was open for too long");
            (*error).hint = text(
                c"COMMIT or ROLLBACK sooner. A superuser may raise the ceiling: stormops.ceiling_transaction_age.",
            );
        }
    }
}
