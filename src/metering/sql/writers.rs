//! Who writes usage: the wait that makes a watermark over a sequence sound, and the locks between writers and quotas.

#![expect(unsafe_code, reason = "the lock manager")]

use crate::postgres::raise::required;
use pgrx::prelude::*;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Waits until every transaction has ended that holds a lock of the table for writing now.
///
/// A writer takes its lock before its first number of the sequence, and keeps it to its end. So once
/// this returns, every event with a number that was drawn before the call is committed or gone.
/// Nobody waits for this: no lock is asked for, and new writers go on (as CREATE INDEX CONCURRENTLY).
#[pg_extern(sql = false)]
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

/// Keeps a change of quotas and the writers whom it concerns apart, to the end of the transaction; writers never
/// keep each other waiting.
///
/// A lock of the metric and one of the tenant's metric, as tables have intention locks for their rows. Whoever writes
/// for many tenants, or changes a tier's quota, holds the metric's alone. They stand in the server's memory: a lock of
/// rows that many share would be written to disk with the list of those who share it, each time one more comes.
#[pg_extern(sql = false)]
fn lock_quotas(
    table: Option<pg_sys::Oid>,
    tenant_id: Option<pgrx::Uuid>,
    metric_name: Option<&str>,
    changes: Option<bool>,
) {
    let (table, metric_name, changes) =
        (required(table, "relation"), required(metric_name, "metric_name"), required(changes, "changes"));
    let (of_metric, of_tenant) = match (tenant_id, changes) {
        (Some(_), false) => (pg_sys::RowShareLock, Some(pg_sys::ShareLock)),
        (None, false) => (pg_sys::ShareLock, None),
        (Some(_), true) => (pg_sys::RowExclusiveLock, Some(pg_sys::ExclusiveLock)),
        (None, true) => (pg_sys::ExclusiveLock, None),
    };
    // Names that share a place wait for each other's change of quota, no more. A tenant with a thousand metrics so
    // takes no more than 128 locks.
    let place = hash(metric_name.as_bytes()) as u16 % 64;
    lock(table, 0, place, of_metric);
    if let (Some(tenant), Some(mode)) = (tenant_id, of_tenant) {
        lock(table, hash(tenant.as_bytes()).max(1), place, mode);
    }
}

fn lock(table: pg_sys::Oid, object: u32, place: u16, mode: u32) {
    // SAFETY: asks the lock manager for a lock; an error leaves by Postgres' own way.
    unsafe { pg_sys::LockDatabaseObject(table, object.into(), place, mode as pg_sys::LOCKMODE) }
}

fn hash(bytes: &[u8]) -> u32 {
    let mut hasher = SipHasher24::new();
    hasher.write(bytes);
    hasher.finish() as u32
}
