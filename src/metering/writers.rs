//! The wait that makes a watermark over a sequence sound.

#![expect(unsafe_code, reason = "the lock manager")]

use pgrx::prelude::*;

/// Waits until every transaction has ended that holds a lock of the table for writing now.
///
/// A writer takes its lock before its first number of the sequence, and keeps it to its end. So once
/// this returns, every event with a number that was drawn before the call is committed or gone.
/// Nobody waits for this: no lock is asked for, and new writers go on (as CREATE INDEX CONCURRENTLY).
#[pg_extern(volatile, parallel_unsafe)]
fn await_writers(table: pg_sys::Oid) {
    // SAFETY: the tag of a relation, as SET_LOCKTAG_RELATION makes it; an error leaves by Postgres' own way.
    unsafe {
        let relation = pg_sys::LOCKTAG {
            locktag_field1: u32::from(pg_sys::MyDatabaseId),
            locktag_field2: u32::from(table),
            locktag_field3: 0,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_RELATION as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        pg_sys::WaitForLockers(relation, pg_sys::ShareLock as pg_sys::LOCKMODE, false);
    }
}
