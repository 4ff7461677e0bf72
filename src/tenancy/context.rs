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
use super::role::{Id, Role};
use super::standing::{self, Refusal, Standing, Status};
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

static VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

/// What `PG_FUNCTION_INFO_V1` is in C.
macro_rules! function_info {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name() -> &'static pg_sys::Pg_finfo_record {
            &VERSION_1
        }
    )*};
}
function_info!(
    pg_finfo_stormops_current_tenant
    pg_finfo_stormops_may_write
    pg_finfo_stormops_may_read
    pg_finfo_stormops_login
);

#[pg_guard]
unsafe extern "C-unwind" fn enter() {
    standing();
}

/// The standing of this transaction's tenant, checked for this statement, or an error.
fn standing() -> Standing {
    let now = GetCurrentStatementStartTimestamp();
    if CHECKED.0.get() == now
        && let Some(standing) = STANDING.0.get()
    {
        return standing;
    }
    // A statement that repeats itself in a transaction takes no new lock, and so would not hear
    // of a suspension. SAFETY: what every lock of a table does.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    let Some(tenant) = TENANT.0.get() else { no_tenant() };
    if PIN.0.get().is_some_and(|pinned| pinned != tenant) {
        second_tenant();
    }
    let (user, entry) = (USER.0.get(), entry::current());
    still_holds(entry, now);
    let kept = STANDING.0.get().filter(|kept| (kept.tenant, kept.user, kept.entry) == (tenant, user, entry));
    let standing = kept.unwrap_or_else(|| match standing::read(tenant, user, entry) {
        Ok(standing) => standing,
        Err(refusal) => refuse(&refusal),
    });
    STANDING.0.set(Some(standing));
    PIN.0.set(Some(tenant));
    ANSWER.0.set(tenant);
    CHECKED.0.set(now);
    standing
}

/// For a cursor that goes on: an error if the tenant that this transaction works in was closed since,
/// or its acting user removed.
pub fn recheck() {
    let Some(pinned) = PIN.0.get() else { return };
    if CHECKED.0.get() == GetCurrentStatementStartTimestamp() {
        return;
    }
    if TENANT.0.get() == Some(pinned) {
        standing();
    } else if let Err(refusal) = standing::read(pinned, None, Entry::Setting) {
        refuse(&refusal); // the setting names no tenant now, or one that no policy has let in
    }
}

/// An error if a token or a grant has ended, or another role than the grant's acts.
fn still_holds(entry: Entry, now: i64) {
    if entry.expires().is_some_and(|end| now >= end) {
        ended(entry);
    }
    if let Entry::BreakGlass { role, .. } = entry
        // SAFETY: a plain read of the backend's own state.
        && unsafe { pg_sys::GetOuterUserId() } != pg_sys::Oid::from(role)
    {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            "a break-glass grant is good for the role that opened it",
            "RESET ROLE, or begin another transaction.",
        )
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
#[pg_extern(stable, parallel_safe)]
fn current_user_id() -> Option<pgrx::Uuid> {
    standing().user.map(pgrx::Uuid::from_bytes)
}

/// The acting user's role, read from `users`; NULL: the application itself.
#[pg_extern(stable, parallel_safe)]
fn current_user_role() -> Option<&'static str> {
    standing().role.map(Role::name)
}

/// `may_write(least_role)`: true if the tenant is active and the acting user's role is at least
/// that; an error if the tenant is suspended. Raw, since a WITH CHECK runs it for each row.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_may_write(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a strict function of one text argument.
    unsafe { may(call, true) }
}

/// `may_read(least_role)`: true if the acting user's role is at least that.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_may_read(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a strict function of one text argument.
    unsafe { may(call, false) }
}

#[pg_guard]
unsafe extern "C-unwind" fn may(call: pg_sys::FunctionCallInfo, writes: bool) -> pg_sys::Datum {
    let standing = standing();
    if writes && standing.status == Status::Suspended {
        suspended();
    }
    if writes && matches!(standing.entry, Entry::BreakGlass { .. }) {
        read_only();
    }
    // SAFETY: the first argument is a text, and not NULL.
    let least_role = unsafe { <&str>::from_datum(pgrx::fcinfo::pg_getarg_datum_raw(call, 0), false) };
    let holds = match (standing.role, least_role.and_then(Role::parse)) {
        (None, Some(_)) => true,
        (Some(role), Some(least)) => role >= least,
        (_, None) => false,
    };
    pg_sys::Datum::from(holds)
}

pub fn raise(code: PgSqlErrorCode, message: &'static str, hint: &str) -> ! {
    let report = pg_sys::panic::ErrorReport::new(code, message, "stormops").set_hint(hint);
    report.report(PgLogLevel::ERROR);
    unreachable!("an error does not return")
}

fn no_tenant() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_INITIATION,
        "no tenant in context",
        "Set the tenant first: BEGIN; SET LOCAL app.current_tenant = '<tenant_id>'; or, as a role of kind app: BEGIN; SELECT stormops.login('<token>');",
    )
}

pub fn second_tenant() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
        "this transaction already works in another tenant",
        "One transaction, one tenant: COMMIT or ROLLBACK first.",
    )
}

fn suspended() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "tenant is suspended",
        "A suspended tenant reads and does not write until an operator calls stormops.reactivate_tenant().",
    )
}

fn read_only() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
        "break-glass reads and does not write",
        "COMMIT or ROLLBACK first; the tenant's own users write its rows.",
    )
}

fn ended(entry: Entry) -> ! {
    let (message, hint) = match entry {
        Entry::BreakGlass { .. } => {
            ("break-glass grant is not open", "SELECT stormops.open_break_glass(tenant_id, reason, ticket);")
        }
        _ => ("login has expired", "ROLLBACK, and log in with a new token."),
    };
    raise(PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, message, hint)
}

fn refuse(refusal: &Refusal) -> ! {
    match refusal {
        Refusal::NoSuchTenant => raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "tenant is closed or does not exist",
            "Check app.current_tenant; an operator sees all tenants in stormops.list_tenants().",
        ),
        Refusal::NoSuchUser => raise(
            PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            "user is not a member of this tenant",
            "Check app.current_user_id against the users of this tenant, or RESET it.",
        ),
        Refusal::GrantClosed => ended(entry::current()),
    }
}
