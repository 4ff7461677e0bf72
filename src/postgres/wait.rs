//! Waiting as the server waits: it hears a cancel, a time limit and the end of the session.

#![expect(unsafe_code, reason = "the server's latch")]

use pgrx::pg_sys;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

/// Waits until something can be read, but not beyond the deadline; says which it was. Whatever interrupts the statement
/// ends it by the server's own error.
pub fn until_readable(source: BorrowedFd<'_>, deadline: Instant) -> bool {
    let events = pg_sys::WL_SOCKET_READABLE | pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    loop {
        pgrx::check_for_interrupts!();
        let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        // SAFETY: the backend's own latch; the descriptor is borrowed, and so open.
        let seen = unsafe {
            let (latch, fd) = (pg_sys::MyLatch, source.as_raw_fd());
            let timeout = left.min(3_600_000) as std::ffi::c_long;
            let seen = pg_sys::WaitLatchOrSocket(latch, events as i32, fd, timeout, pg_sys::PG_WAIT_EXTENSION) as u32;
            if seen & pg_sys::WL_LATCH_SET != 0 {
                pg_sys::ResetLatch(latch);
            }
            seen
        };
        if seen & pg_sys::WL_SOCKET_READABLE != 0 {
            return true;
        }
        if left == 0 {
            return false;
        }
    }
}
