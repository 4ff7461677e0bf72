//! The tenant context: which tenant this transaction works in, and who acts.
//!
//! Two superuser settings carry it, so that Postgres' own machinery gives rollback, savepoints
//! and parallel workers: `app.current_tenant` and `app.current_user_id`. A trusted application
//! sets them by `GRANT SET ON PARAMETER`; everybody else enters through `admit()`, by a verified
//! token or an operator's grant.
//!
//! Every policy calls `stormops.current_tenant()` for each row it judges. What that call must
//! know is checked once per statement and kept: `CHECKED` holds the statement's start while
//! `ANSWER` stands, and `NEVER` after anything that could change it.

#![expect(unsafe_code, reason = "settings hooks and a raw function for the hot path")]

use super::entry::{self, Entry};
use super::refusals;
use super::role::{Id, Role};
use super::standing::{self, Standing};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};

static TENANT_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static USER_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// A value of this backend. A backend runs one thread, the settings' hooks included.
struct Backend<T>(Cell<T>);
// SAFETY: never shared: Postgres backends are processes with a single thread that runs SQL.
unsafe impl<T> Sync for Backend<T> {}

/// The parsed settings.
static TENANT: Backend<Option<Id>> = Backend(Cell::new(None));
static USER: Backend<Option<Id>> = Backend(Cell::new(None));
/// The tenant that this transaction has worked in; a second one is refused.
static PIN: Backend<Option<Id>> = Backend(Cell::new(None));
/// The tenant that a token or a grant let this transaction into, and whom or by which grant.
static ADMITTED: Backend<Option<(Id, Id)>> = Backend(Cell::new(None));
/// The standing last read, until its tables change.
static STANDING: Backend<Option<Standing>> = Backend(Cell::new(None));
/// The start of the statement for which `ANSWER` was checked.
static CHECKED: Backend<i64> = Backend(Cell::new(NEVER));
/// No statement starts at minus infinity; a background worker's may well start at zero.
const NEVER: i64 = i64::MIN;
/// The bytes that `current_tenant()` returns by reference.
static ANSWER: Backend<Id> = Backend(Cell::new([0; 16]));

/// Defines the settings and registers the callbacks. Called once, when the library loads.
pub fn init() {
    let flags = GucFlags::NOT_WHILE_SEC_REST | GucFlags::DISALLOW_IN_FILE | GucFlags::NO_SHOW_ALL;
    // SAFETY: the hooks neither panic nor allocate; the callbacks live as long as the library.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"app.current_tenant",
            c"The tenant that this session works in.",
            c"A UUID. Set by a role with the grant (kind trusted_app), or by a verified token.",
            &TENANT_SETTING,
            GucContext::Suset,
            flags,
            Some(check_id),
            Some(assign_tenant),
            None,
        );
        GucRegistry::define_string_guc_with_hooks(
            c"app.current_user_id",
            c"The user of the tenant on whose behalf this session works.",
            c"A UUID of stormops.users. Empty: the application itself.",
            &USER_SETTING,
            GucContext::Suset,
            flags,
            Some(check_id),
            Some(assign_user),
            None,
        );
        pg_sys::MarkGUCPrefixReserved(c"stormops".as_ptr());
        pg_sys::RegisterXactCallback(Some(at_transaction_end), std::ptr::null_mut());
        pg_sys::CacheRegisterRelcacheCallback(Some(on_change), pg_sys::Datum::null());
    }
}

fn parse(text: *const c_char) -> Option<Id> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the settings machinery hands over a C string.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    // The one canonical length: no braces, no urn, no blanks.
    if text.len() != 36 {
        return None;
    }
    uuid::Uuid::try_parse_ascii(text).ok().map(uuid::Uuid::into_bytes)
}

/// Empty or a UUID, and only from a running session: never from a file, a startup packet or a
/// role's or database's default, so that each session begins without a tenant.
unsafe extern "C-unwind" fn check_id(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the settings machinery hands over a pointer to a C string.
    let text = unsafe { *value };
    if text.is_null() || unsafe { *text } == 0 {
        return true;
    }
    from_session(source) && parse(text).is_some()
}

/// True for a value that a running session sets, or that a worker takes over from one.
pub fn from_session(source: pg_sys::GucSource::Type) -> bool {
    // SAFETY: a plain global.
    source == pg_sys::GucSource::PGC_S_SESSION || unsafe { pg_sys::InitializingParallelWorker }
}

/// What the context says is to be checked again.
pub fn changed() {
    CHECKED.0.set(NEVER);
}

unsafe extern "C-unwind" fn assign_tenant(value: *const c_char, _extra: *mut c_void) {
    TENANT.0.set(parse(value));
    changed();
}

unsafe extern "C-unwind" fn assign_user(value: *const c_char, _extra: *mut c_void) {
    USER.0.set(parse(value));
    changed();
}

unsafe extern "C-unwind" fn at_transaction_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::XACT_EVENT_PARALLEL_PRE_COMMIT;
    use pg_sys::XactEvent::{XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE};
    if ![XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE, XACT_EVENT_PARALLEL_PRE_COMMIT].contains(&event) {
        PIN.0.set(None);
        ADMITTED.0.set(None);
        super::challenge::forget();
        changed();
    }
}

unsafe extern "C-unwind" fn on_change(_: pg_sys::Datum, table: pg_sys::Oid) {
    let concerns = |standing: Standing| table == pg_sys::InvalidOid || standing.tables.contains(&table);
    if STANDING.0.get().is_some_and(concerns) {
        STANDING.0.set(None);
        changed();
    }
    super::login::on_change(table);
}

unsafe extern "C-unwind" {
    // Declared here, not taken from pg_sys, whose wrapper guards each call: this one only reads
    // a variable, and runs once for each row.
    safe fn GetCurrentStatementStartTimestamp() -> i64;
}

/// `current_tenant()`: the hot path of every policy. Returns a pointer to `ANSWER`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_current_tenant(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    if CHECKED.0.get() != GetCurrentStatementStartTimestamp() {
        // SAFETY: a guarded function, which raises Postgres errors and returns otherwise.
        unsafe { enter() };
    }
    pg_sys::Datum::from(ANSWER.0.as_ptr().cast_const())
}

#[pg_guard]
unsafe extern "C-unwind" fn enter() {
    standing();
}

/// The standing of this transaction's tenant, checked for this statement, or an error.
pub fn standing() -> Standing {
    let now = GetCurrentStatementStartTimestamp();
    if CHECKED.0.get() == now
        && let Some(standing) = STANDING.0.get()
    {
        return standing;
    }
    // A statement that repeats itself in a transaction takes no new lock, and so would not hear
    // of a suspension. SAFETY: what every lock of a table does.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    let Some(tenant) = TENANT.0.get() else { refusals::no_tenant() };
    if PIN.0.get().is_some_and(|pinned| pinned != tenant) {
        refusals::second_tenant();
    }
    let (user, entry) = (USER.0.get(), entry::current());
    still_holds(entry, now);
    let kept = STANDING.0.get().filter(|kept| (kept.tenant, kept.user, kept.entry) == (tenant, user, entry));
    let standing = kept.unwrap_or_else(|| match standing::read(tenant, user, entry) {
        Ok(standing) => standing,
        Err(refusal) => refusals::refuse(&refusal),
    });
    STANDING.0.set(Some(standing));
    PIN.0.set(Some(tenant));
    ANSWER.0.set(tenant);
    CHECKED.0.set(now);
    standing
}

/// For a cursor that goes on: an error if this transaction has left its tenant, if that was closed since, or if its
/// acting user was removed. One that has left is refused here, before the policies of the rows to come would do it:
/// that they do only if there is a row says whether any tenant has one.
pub fn recheck() {
    let Some(pinned) = PIN.0.get() else { return };
    if CHECKED.0.get() == GetCurrentStatementStartTimestamp() {
        return;
    }
    let now = TENANT.0.get();
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
fn still_holds(entry: Entry, now: i64) {
    if entry.expires().is_some_and(|end| now >= end) {
        refusals::ended(entry);
    }
    if let Entry::BreakGlass { role, .. } = entry
        // SAFETY: a plain read of the backend's own state.
        && unsafe { pg_sys::GetOuterUserId() } != pg_sys::Oid::from(role)
    {
        refusals::other_role();
    }
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
    let other_tenant = PIN.0.get().is_some_and(|pinned| pinned != tenant);
    if other_tenant || ADMITTED.0.get().is_some_and(|admitted| admitted != (tenant, who)) {
        return Admission::Pinned;
    }
    let Ok(standing) = standing::read(tenant, user, entry) else { return Admission::Refused };
    ADMITTED.0.set(Some((tenant, who)));
    PIN.0.set(Some(tenant));
    entry::set_context(tenant, user, entry);
    STANDING.0.set(Some(standing));
    Admission::Admitted
}

/// The user of the tenant on whose behalf this session works; NULL: the application itself.
#[pg_extern(sql = false)]
fn current_user_id() -> Option<pgrx::Uuid> {
    standing().user.map(pgrx::Uuid::from_bytes)
}

/// The acting user's role, read from `users`; NULL: the application itself.
#[pg_extern(sql = false)]
fn current_user_role() -> Option<&'static str> {
    standing().role.map(Role::name)
}
