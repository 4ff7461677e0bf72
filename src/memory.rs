//! Memory that can be refused.
//!
//! An allocation in Rust that fails aborts the process, and of a server process that aborts all sessions of the cluster
//! end. So what a caller can size is bounded, and asked for by `try_reserve()` inside `fallibly()`. Whatever else fails
//! ends the one session that asked (`postgres/allocator.rs`).

use std::cell::Cell;

thread_local! {
    /// True while the code that runs wants to hear of an allocation that fails.
    static FALLIBLE: Cell<bool> = const { Cell::new(false) };
    /// True in a thread that is not the session's.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

#[inline]
pub fn is_aside() -> bool {
    ASIDE.get()
}

/// Says of this thread that it is not the session's, which it then can neither end nor raise an error in.
pub fn leave_the_session() {
    ASIDE.set(true);
}

#[inline]
pub fn is_fallible() -> bool {
    FALLIBLE.get()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_wanted_within_only() {
        assert!(!is_fallible());
        fallibly(|| {
            fallibly(|| ());
            assert!(is_fallible());
        });
        assert!(std::panic::catch_unwind(|| fallibly(|| panic!("an attempt that ends otherwise"))).is_err());
        assert!(!is_fallible());
        assert!(with_room::<u8>(usize::MAX).is_err() && with_room::<u8>(9).unwrap().capacity() >= 9);
    }
}
