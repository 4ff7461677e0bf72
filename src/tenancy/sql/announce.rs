#![expect(unsafe_code, reason = "a call into the backend's cache invalidation")]

use pgrx::prelude::*;

/// Tells every backend, when this transaction commits, to read its tenant's standing afresh.
///
/// A trigger of `tenants` and `users`, so that whoever changes them is heard, a superuser too.
/// The message travels with the commit record, to standbys as well.
#[pg_trigger(sql = false)]
fn announce_standing<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, PgTriggerError> {
    let table = trigger.relation()?.oid();
    // SAFETY: called in a transaction, as every trigger is.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) };
    Ok(None)
}
