//! Rust's allocator in a process of the server: an allocation that fails where nobody wants to hear of it ends the session,
//! by the server's own FATAL. That never returns, and so nothing unwinds out of the allocator, which Rust forbids.

#![expect(unsafe_code, reason = "an allocator")]

use super::raise::raise_from_c;
use crate::memory;
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
    if memory.is_null() && !memory::is_fallible() {
        end_session();
    }
    memory
}

/// Returns where there is no session to end, or where it is ending already: then the process aborts.
#[cold]
fn end_session() {
    if memory::is_aside() {
        // Not a thread that the server knows. It stays where it is: nobody waits for it longer than for any other.
        loop {
            // SAFETY: waits for a signal, of which it takes none.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: plain reads of the backend's own state. FATAL does not return: it neither unwinds nor jumps over the
    // frames above, which are left as they are when the process exits.
    unsafe {
        if pg_sys::IsUnderPostmaster && !pg_sys::proc_exit_inprogress {
            raise_from_c(
                PgLogLevel::FATAL,
                PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
                c"out of memory",
                c"Ask for less at a time, or give the server more memory.",
                false,
            );
        }
    }
}
