//! The batch of a transaction's events.

#![expect(unsafe_code, reason = "the number of the transaction")]

use pgrx::prelude::*;
use std::cell::Cell;
use uuid::Uuid;

thread_local! {
    /// The transaction that asked last, and its batch.
    static LAST: Cell<(u64, [u8; 16])> = const { Cell::new((0, [0; 16])) };
}

/// The same for all events of a transaction, savepoints included, and of no other: what is random in it keeps those of two
/// servers apart.
#[pg_extern(sql = false)]
fn usage_batch() -> pgrx::Uuid {
    // SAFETY: the backend's own state; an error leaves by Postgres' own way.
    let transaction = unsafe { pg_sys::GetTopFullTransactionId() }.value;
    let (of, batch) = LAST.get();
    if of == transaction {
        return pgrx::Uuid::from_bytes(batch);
    }
    let batch = *Uuid::now_v7().as_bytes();
    LAST.set((transaction, batch));
    pgrx::Uuid::from_bytes(batch)
}
