//! Memory that can be refused.
//!
//! An allocation in Rust that fails aborts the process, and of a server process that aborts all sessions of the cluster
//! end. So what a caller can size is bounded, and asked for by `try_reserve()` inside `fallibly()`. Whatever else fails
//! ends the one session that asked, by the server's own FATAL: it never returns, and so nothing unwinds out of the
//! allocator, which Rust forbids.

use std::cell::Cell;

thread_local! {
    /// True while the code that runs wants to hear of an allocation that fails.
    static FALLIBLE: Cell<bool> = const { Cell::new(false) };
}

/// Runs what deals with allocations that fail: `try_reserve()` and its like answer an error within.
pub fn fallibly<T>(attempt: impl FnOnce() -> T) -> T {
    /// Puts back what was there, however the attempt ends.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            FALLIBLE.set(self.0);
        }
    }
    let _before = Before(FALLIBLE.replace(true));
    attempt()
}

/// A vector with room for so many elements.
pub fn with_room<T>(elements: usize) -> Result<Vec<T>, std::collections::TryReserveError> {
    let mut vector = Vec::new();
    fallibly(|| vector.try_reserve_exact(elements))?;
    Ok(vector)
}

/// Tests run without a server, and so with Rust's own allocator.
#[cfg(not(test))]
mod allocator {
    #![expect(unsafe_code, reason = "an allocator")]

    use super::FALLIBLE;
    use crate::postgres::raise::raise_from_c;
    use pgrx::prelude::*;
    use std::alloc::{GlobalAlloc, Layout, System};

    struct Refusable;

    #[global_allocator]
    static ALLOCATOR: Refusable = Refusable;

    // SAFETY: the system's allocator does the work; what stands around it never unwinds.
    unsafe impl GlobalAlloc for Refusable {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            unsafe { granted(System.alloc(layout)) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            unsafe { granted(System.alloc_zeroed(layout)) }
        }

        unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            unsafe { granted(System.realloc(place, layout, size)) }
        }

        unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
            unsafe { System.dealloc(place, layout) }
        }
    }

    #[inline]
    fn granted(memory: *mut u8) -> *mut u8 {
        if memory.is_null() && !FALLIBLE.get() {
            end_session();
        }
        memory
    }

    /// Returns where there is no session to end, or where it is ending already: then the process aborts.
    #[cold]
    fn end_session() {
        // SAFETY: plain reads of the backend's own state. FATAL does not return: it neither unwinds nor jumps over the
        // frames above, which are left as they are when the process exits.
        unsafe {
            if pg_sys::IsUnderPostmaster && !pg_sys::proc_exit_inprogress {
                raise_from_c(
                    PgLogLevel::FATAL,
                    PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
                    c"out of memory",
                    c"Ask for less at a time, or give the server more memory.",
                );
            }
        }
    }
}
