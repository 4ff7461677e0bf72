//! Memory for what a caller sizes, or an error of the statement.

#![expect(unsafe_code, reason = "asks the operating system")]

use super::raise::raise;
use crate::memory;
use pgrx::prelude::*;
use std::collections::TryReserveError;

pub fn out_of_memory() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        "out of memory",
        "Ask for less at a time: fewer rows, a smaller value.",
    )
}

/// What was allocated; an error of the statement where it could not be.
pub fn allocated<T>(result: Result<T, TryReserveError>) -> T {
    result.unwrap_or_else(|_| out_of_memory())
}

/// The most elements that an array may hand in.
const MOST_ELEMENTS: usize = 10_000_000;

/// An error if there are more elements than an array may hand in, or no memory for so many bytes for each.
pub fn need_for_each(elements: usize, bytes: usize) {
    if elements > MOST_ELEMENTS {
        raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "an array holds more than ten million elements",
            "Hand in fewer at a time.",
        );
    }
    need(elements * bytes);
}

/// All elements, of which there are at most so many.
pub fn collected<T>(elements: impl Iterator<Item = T>, most: usize) -> Vec<T> {
    let mut collected = allocated(memory::with_room(most));
    collected.extend(elements.take(most));
    collected
}

/// An error now if so much memory is not to be had: for code that does not ask before it allocates. Nobody takes it before
/// that code does: a backend runs one thread, and beside it (`health/aside.rs`) only small requests.
pub fn need(bytes: usize) {
    if !is_there(bytes) {
        out_of_memory();
    }
}

pub fn is_there(bytes: usize) -> bool {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a mapping of its own, given back at once.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), bytes.max(1), access, flags, -1, 0);
        memory != libc::MAP_FAILED && libc::munmap(memory, bytes.max(1)) == 0
    }
}
