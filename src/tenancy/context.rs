//! The tenant context: which tenant this transaction works in, and who acts.
//!
//! The settings carry it. A trusted application sets them; everybody else enters through `admit()`, by a verified
//! token or an operator's grant.

#![expect(unsafe_code, reason = "callbacks of the server, and the backend's own state")]

use super::checked;
use super::entry::Entry;
use super::guard::transaction;
use super::role::Id;
use super::standing::{self, Standing};
use super::{challenge, refusals, settings};
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::c_void;

thread_local! {
    /// The tenant that this transaction has worked in; a second one is refused.
    static PIN: Cell<Option<Id>> = const { Cell::new(None) };
    /// The tenant that a token or a grant let this transaction into, and whom or by which grant.
    static ADMITTED: Cell<Option<(Id, Id)>> = const { Cell::new(None) };
    /// The standing last read, until its tables change.
    static STANDING: Cell<Option<Standing>> = const { Cell::new(None) };
}

/// Registers the callbacks. Called once, when the library loads.
pub fn init() {
    // SAFETY: the callbacks live as long as the library.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction_end), std::ptr::null_mut());
        pg_sys::CacheRegisterRelcacheCallback(Some(on_change), pg_sys::Datum::null());
    }
}

unsafe extern "C-unwind" fn at_transaction_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::XACT_EVENT_PARALLEL_PRE_COMMIT;
    use pg_sys::XactEvent::{XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE};
    // SAFETY: a plain read of the backend's own state, and a guarded function. A parallel worker commits once before it
    // begins to work, and keeps what it took over.
    unsafe {
        if [XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE].contains(&event) && pg_sys::ParallelWorkerNumber < 0 {
            leave();
        }
    }
    if ![XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE, XACT_EVENT_PARALLEL_PRE_COMMIT].contains(&event) {
        PIN.set(None);
        ADMITTED.set(None);
        challenge::forget();
        checked::forget();
    }
}

/// What was set for the session ends with the transaction too.
#[pg_guard]
unsafe extern "C-unwind" fn leave() {
    if settings::forget_session() && PIN.get().is_none() {
        refusals::warn_of_no_use();
    }
}

unsafe extern "C-unwind" fn on_change(_: pg_sys::Datum, table: pg_sys::Oid) {
    let concerns = |standing: Standing| table == pg_sys::InvalidOid || standing.tables.contains(&table);
    if STANDING.get().is_some_and(concerns) {
        STANDING.set(None);
        checked::forget();
    }
}

unsafe extern "C-unwind" {
    // Declared here, not taken from pg_sys, whose wrapper guards each call: this one only reads
    // a variable, and runs once for each row.
    safe fn GetCurrentStatementStartTimestamp() -> i64;
}

/// Whether the context was checked for this statement.
#[inline]
pub fn is_checked() -> bool {
    checked::holds_for(GetCurrentStatementStartTimestamp())
}

/// The standing of this transaction's tenant, checked for this statement, or an error.
pub fn standing() -> Standing {
    if is_checked()
        && let Some(standing) = STANDING.get()
    {
        return standing;
    }
    // A statement that repeats itself in a transaction takes no new lock, and so would not hear
    // of a suspension. SAFETY: what every lock of a table does.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    let now = GetCurrentStatementStartTimestamp();
    let Some(tenant) = settings::tenant() else { refusals::no_tenant() };
    if PIN.get().is_some_and(|pinned| pinned != tenant) {
        refusals::second_tenant();
    }
    let (user, entry) = (settings::user(), settings::entry());
    still_holds(entry);
    if user.is_none() && entry == Entry::Setting && settings::forgot_user() {
        refusals::no_user();
    }
    let kept = STANDING.get().filter(|kept| (kept.tenant, kept.user, kept.entry) == (tenant, user, entry));
    let standing = kept.unwrap_or_else(|| match standing::read(tenant, user, entry) {
        Ok(standing) => standing,
        Err(refusal) => refusals::refuse(&refusal, entry),
    });
    STANDING.set(Some(standing));
    PIN.set(Some(tenant));
    checked::note(now, tenant);
    standing
}

/// Lets a statement that begins now ask again if the token or the grant has ended: statements that came in one message,
/// or stand in one function, all have the moment at which that began.
pub fn notice_an_end() {
    if has_ended(settings::entry()) {
        checked::forget();
    }
}

fn has_ended(entry: Entry) -> bool {
    // SAFETY: reads the clock.
    entry.expires().is_some_and(|end| unsafe { pg_sys::GetCurrentTimestamp() } >= end)
}

/// For a cursor that goes on: an error if this transaction has left its tenant, if that was closed since, or if its
/// acting user was removed. One that has left is refused here, before the policies of the rows to come would do it:
/// that they do only if there is a row says whether any tenant has one.
pub fn recheck() {
    let Some(pinned) = PIN.get() else { return };
    notice_an_end();
    if is_checked() {
        return;
    }
    let now = settings::tenant();
    if now == Some(pinned) {
        standing();
        return;
    }
    // SAFETY: a lookup of the current role's attributes.
    if unsafe { pg_sys::has_bypassrls_privilege(pg_sys::GetUserId()) } {
        return; // sees all rows anyhow
    }
    if now.is_some() { refusals::second_tenant() } else { refusals::no_tenant() }
}

/// An error if a token or a grant has ended, or another role than the grant's acts.
fn still_holds(entry: Entry) {
    if has_ended(entry) {
        refusals::ended(entry);
    }
    if let Entry::BreakGlass { role, .. } = entry
        // SAFETY: a plain read of the backend's own state.
        && unsafe { pg_sys::GetOuterUserId() } != pg_sys::Oid::from(role)
    {
        refusals::other_role();
    }
}

/// Names the tenant of this transaction, and perhaps the acting user: for a role that is trusted to. An error if the
/// tenant is not open, or the transaction has another.
pub fn name(tenant: Id, user: Option<Id>) {
    settings::name(tenant, user);
    standing();
}

#[repr(u8)]
pub enum Admission {
    Admitted,
    /// The tenant is closed, the user no member, or the grant closed.
    Refused,
    /// The transaction has another tenant already, or another user in it.
    Pinned,
}

/// Lets this transaction into a tenant, if both are as they must be.
pub fn admit(tenant: Id, user: Option<Id>, entry: Entry) -> Admission {
    let who = match entry {
        Entry::BreakGlass { grant, .. } => grant,
        _ => user.unwrap_or_default(),
    };
    let other_tenant = PIN.get().is_some_and(|pinned| pinned != tenant);
    let other_entry = ADMITTED.get().is_some_and(|admitted| admitted != (tenant, who));
    if other_tenant || other_entry {
        return Admission::Pinned;
    }
    let Ok(standing) = standing::read(tenant, user, entry) else { return Admission::Refused };
    ADMITTED.set(Some((tenant, who)));
    PIN.set(Some(tenant));
    settings::set(tenant, user, entry);
    transaction::look_again();
    STANDING.set(Some(standing));
    Admission::Admitted
}
