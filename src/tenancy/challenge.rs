//! What a bound token must name: a number that this backend drew for this transaction.
//!
//! Drawn at random, not made of process and transaction ids, so that it works on a standby, which
//! assigns none, and that nobody foresees it.

#![expect(unsafe_code, reason = "the server's random numbers")]

use crate::postgres::raise::raise;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    static CHALLENGE: Cell<Option<[u8; 32]>> = const { Cell::new(None) };
}

pub fn forget() {
    CHALLENGE.set(None);
}

pub fn current() -> Option<String> {
    CHALLENGE.get().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// The challenge of this transaction: the same until it ends, and never again.
pub fn draw() -> String {
    let bytes = CHALLENGE.get().unwrap_or_else(random);
    CHALLENGE.set(Some(bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: writes 32 bytes.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        raise(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "could not draw random bytes", "The operating system gave none.");
    }
    bytes
}
