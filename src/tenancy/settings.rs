//! The three superuser settings that carry a tenant's context, so that Postgres' own machinery gives rollback,
//! savepoints and parallel workers.
//!
//! `app.current_tenant` and `app.current_user_id` say who works where: a trusted application sets them by
//! `GRANT SET ON PARAMETER`, which is the cluster's, and by its kind, which is this database's. `stormops.entry` says by
//! which way the transaction entered. Nobody is granted that one: only `set()` writes it, together with the other two and
//! so that all three go with the transaction or the savepoint.
//!
//! All three end with the transaction, even where the session set them: whoever has the session next, out of a pool,
//! begins in no tenant. `stormops.session_tenant` switches that off.

#![expect(unsafe_code, reason = "settings hooks and the settings machinery")]

use super::entry::Entry;
use super::role::Id;
use super::{checked, kind, owner};
use crate::postgres::settings::{find, will_be_left};
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::{Cell, OnceCell};
use std::ffi::{CStr, CString, c_char, c_void};

static TENANT_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static USER_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static ENTRY_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static SESSION_TENANT: GucSetting<bool> = GucSetting::<bool>::new(false);

const TENANT_NAME: &CStr = c"app.current_tenant";
const USER_NAME: &CStr = c"app.current_user_id";

thread_local! {
    /// The settings as they were read when they were set.
    static TENANT: Cell<Option<Id>> = const { Cell::new(None) };
    static USER: Cell<Option<Id>> = const { Cell::new(None) };
    static ENTRY: Cell<Entry> = const { Cell::new(Entry::Setting) };
    /// True once a user was forgotten, until the session says anew who acts: nobody is the application, which may more.
    static FORGOT_USER: Cell<bool> = const { Cell::new(false) };
    /// True if one of the two was set since the last transaction ended: most transactions set neither.
    static SET: Cell<bool> = const { Cell::new(false) };
    /// The server's records of the two, which stay where they are.
    static RECORDS: OnceCell<Option<[*mut pg_sys::config_generic; 2]>> = const { OnceCell::new() };
    /// True while the library sets them, for whoever has shown a token or a grant.
    static OURSELVES: Cell<bool> = const { Cell::new(false) };
}

pub fn tenant() -> Option<Id> {
    TENANT.get()
}

pub fn user() -> Option<Id> {
    USER.get()
}

/// True if the session had an acting user in an earlier transaction, and has not said since who acts.
pub fn forgot_user() -> bool {
    FORGOT_USER.get()
}

pub fn entry() -> Entry {
    ENTRY.get()
}

/// Defines the settings. Called once, when the library loads.
pub fn init() {
    let flags = GucFlags::NOT_WHILE_SEC_REST | GucFlags::DISALLOW_IN_FILE | GucFlags::NO_SHOW_ALL;
    // SAFETY: the hooks neither panic nor allocate.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            TENANT_NAME,
            c"The tenant that this transaction works in.",
            c"A UUID. Set by a role with the grant (kind trusted_app), or by a verified token.",
            &TENANT_SETTING,
            GucContext::Suset,
            flags,
            Some(check_id),
            Some(assign_tenant),
            None,
        );
        GucRegistry::define_string_guc_with_hooks(
            USER_NAME,
            c"The user of the tenant on whose behalf this transaction works.",
            c"A UUID of stormops.users. Empty: the application itself.",
            &USER_SETTING,
            GucContext::Suset,
            flags,
            Some(check_id),
            Some(assign_user),
            None,
        );
        GucRegistry::define_string_guc_with_hooks(
            c"stormops.entry",
            c"By which way this transaction entered its tenant.",
            c"Written by stormops.login() and stormops.break_glass(). Empty: the tenant was set.",
            &ENTRY_SETTING,
            GucContext::Suset,
            flags,
            Some(check_entry),
            Some(assign_entry),
            None,
        );
    }
    GucRegistry::define_bool_guc(
        c"stormops.session_tenant",
        c"Lets a tenant that was set for the session outlive the transaction that set it.",
        c"For a role whose sessions serve one tenant each. Behind a pool the next client would find the tenant. A superuser sets it.",
        &SESSION_TENANT,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// What begins with `stormops.` and was not defined until now is no setting.
pub fn reserve_prefix() {
    // SAFETY: a C string, which the call copies.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"stormops".as_ptr()) };
}

/// SAFETY: `text` is null or a C string that outlives what is made of this.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    if text.is_null() { None } else { Some(unsafe { CStr::from_ptr(text) }) }
}

fn parse_id(text: &CStr) -> Option<Id> {
    // The one canonical length: no braces, no urn, no blanks.
    let text = Some(text.to_bytes()).filter(|text| text.len() == 36)?;
    uuid::Uuid::try_parse_ascii(text).ok().map(uuid::Uuid::into_bytes)
}

fn parse_entry(text: Option<&CStr>) -> Option<Entry> {
    Entry::parse(text.unwrap_or_default().to_str().ok()?)
}

/// True for a value that a running session sets, or that a worker takes over from one: never from a file, a startup
/// packet or a role's or database's default, so that each session begins without a tenant.
fn from_session(source: pg_sys::GucSource::Type) -> bool {
    // SAFETY: a plain global.
    source == pg_sys::GucSource::PGC_S_SESSION || unsafe { pg_sys::InitializingParallelWorker }
}

/// Empty, or a UUID of whoever may name a tenant in this database.
unsafe extern "C-unwind" fn check_id(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the settings machinery hands over a pointer to a C string, and reads what it finds in its globals.
    unsafe {
        let id = text(*value).unwrap_or_default();
        if id.is_empty() {
            return true;
        }
        if !from_session(source) || parse_id(id).is_none() {
            pg_sys::GUC_check_errhint_string =
                c"An id is a UUID of 36 characters, set in a session.".as_ptr().cast_mut();
            return false;
        }
        if OURSELVES.get() || pg_sys::InitializingParallelWorker || may_name_tenants() {
            return true;
        }
        pg_sys::GUC_check_errcode(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE as i32);
        pg_sys::GUC_check_errmsg_string = c"this role names no tenant in this database".as_ptr().cast_mut();
        pg_sys::GUC_check_errhint_string =
            c"A role of kind trusted_app does. One of kind app: SELECT stormops.login('<token>');".as_ptr().cast_mut();
        false
    }
}

/// The right to the setting is given for the whole cluster; here it is good for a role of kind trusted_app.
#[pg_guard]
unsafe extern "C-unwind" fn may_name_tenants() -> bool {
    // SAFETY: plain reads of the backend's own state; a session that sets something is in a transaction.
    unsafe {
        let (user, _) = owner::user_and_flags();
        pg_sys::superuser_arg(user) || kind::is_trusted(user).unwrap_or(true)
    }
}

unsafe extern "C-unwind" fn check_entry(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as above.
    match parse_entry(unsafe { text(*value) }) {
        Some(Entry::Setting) => true,
        Some(_) => from_session(source),
        None => false,
    }
}

unsafe extern "C-unwind" fn assign_tenant(value: *const c_char, _extra: *mut c_void) {
    // SAFETY: the settings machinery hands over a C string.
    TENANT.set(unsafe { text(value) }.and_then(parse_id));
    SET.set(true);
    checked::forget();
}

unsafe extern "C-unwind" fn assign_user(value: *const c_char, _extra: *mut c_void) {
    // SAFETY: as above.
    USER.set(unsafe { text(value) }.and_then(parse_id));
    FORGOT_USER.set(false);
    SET.set(true);
    checked::forget();
}

unsafe extern "C-unwind" fn assign_entry(value: *const c_char, _extra: *mut c_void) {
    // SAFETY: as above; `check_entry` has accepted the value.
    ENTRY.set(parse_entry(unsafe { text(value) }).unwrap_or(Entry::Setting));
    checked::forget();
}

/// Writes the whole context for the rest of the transaction, as a superuser's SET LOCAL would.
pub fn set(tenant: Id, user: Option<Id>, entry: Entry) {
    write(TENANT_NAME, &text_of(tenant), LOCAL);
    write(USER_NAME, &user.map(text_of).unwrap_or_default(), LOCAL);
    write(c"stormops.entry", &entry.to_string(), LOCAL);
}

/// Names the tenant for the rest of the transaction, and the acting user if there is one.
pub fn name(tenant: Id, user: Option<Id>) {
    write(TENANT_NAME, &text_of(tenant), LOCAL);
    if let Some(user) = user {
        write(USER_NAME, &text_of(user), LOCAL);
    }
}

/// At the end of a transaction: forgets what was set for the session. True if it was a tenant.
pub fn forget_session() -> bool {
    if SESSION_TENANT.get() || !SET.replace(false) {
        return false;
    }
    let Some([tenant, user]) =
        RECORDS.with(|records| *records.get_or_init(|| Some([find(TENANT_NAME)?, find(USER_NAME)?])))
    else {
        return false;
    };
    let named = will_be_left(tenant);
    if named {
        write(TENANT_NAME, "", SESSION);
    }
    if will_be_left(user) {
        write(USER_NAME, "", SESSION);
        FORGOT_USER.set(true);
    }
    named
}

fn text_of(id: Id) -> String {
    uuid::Uuid::from_bytes(id).to_string()
}

const LOCAL: pg_sys::GucAction::Type = pg_sys::GucAction::GUC_ACTION_LOCAL;
const SESSION: pg_sys::GucAction::Type = pg_sys::GucAction::GUC_ACTION_SET;

fn write(name: &CStr, value: &str, action: pg_sys::GucAction::Type) {
    struct Ours;
    impl Drop for Ours {
        fn drop(&mut self) {
            OURSELVES.set(false);
        }
    }
    let value = CString::new(value).unwrap_or_default();
    OURSELVES.set(true);
    let _ours = Ours;
    // SAFETY: C strings that outlive the call, which copies them; an error of it unwinds.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}
