//! Loops over much hear a cancel, or the statement's end, now and then: which unwinds.

/// After so many steps: a hundred million would take ten seconds and more.
const HEARS_AFTER: usize = 1 << 16;

/// Called with each place of a loop.
#[inline]
pub fn hear(place: usize) {
    if place.is_multiple_of(HEARS_AFTER) {
        pgrx::check_for_interrupts!();
    }
}

/// To be called often, by what counts no places.
pub fn breathe() -> impl FnMut() {
    let mut calls = 0_usize;
    move || {
        calls = calls.wrapping_add(1);
        hear(calls);
    }
}
