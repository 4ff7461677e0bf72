//! The three superuser settings that carry a tenant's context, so that Postgres' own machinery gives rollback,
//! savepoints and parallel workers.
//!
//! `app.current_tenant` and `app.current_user_id` say who works where: a trusted application sets them by
//! `GRANT SET ON PARAMETER`. `stormops.entry` says by which way the transaction entered. Nobody is granted that one:
//! only `set()` writes it, together with the other two and so that all three go with the transaction or the savepoint.

#![expect(unsafe_code, reason = "settings hooks and the settings machinery")]

use super::checked;
use super::entry::Entry;
use super::role::Id;
use pgrx::pg_sys;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};

static TENANT_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static USER_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static ENTRY_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

thread_local! {
    /// The settings as they were read when they were set.
    static TENANT: Cell<Option<Id>> = const { Cell::new(None) };
    static USER: Cell<Option<Id>> = const { Cell::new(None) };
    static ENTRY: Cell<Entry> = const { Cell::new(Entry::Setting) };
}

pub fn tenant() -> Option<Id> {
    TENANT.get()
}

pub fn user() -> Option<Id> {
    USER.get()
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

/// Empty or a UUID.
unsafe extern "C-unwind" fn check_id(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the settings machinery hands over a pointer to a C string.
    let id = unsafe { text(*value) }.unwrap_or_default();
    id.is_empty() || (from_session(source) && parse_id(id).is_some())
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
    checked::forget();
}

unsafe extern "C-unwind" fn assign_user(value: *const c_char, _extra: *mut c_void) {
    // SAFETY: as above.
    USER.set(unsafe { text(value) }.and_then(parse_id));
    checked::forget();
}

unsafe extern "C-unwind" fn assign_entry(value: *const c_char, _extra: *mut c_void) {
    // SAFETY: as above; `check_entry` has accepted the value.
    ENTRY.set(parse_entry(unsafe { text(value) }).unwrap_or(Entry::Setting));
    checked::forget();
}

/// Writes the whole context for the rest of the transaction, as a superuser's SET LOCAL would.
pub fn set(tenant: Id, user: Option<Id>, entry: Entry) {
    let id = |id: Id| uuid::Uuid::from_bytes(id).to_string();
    for (name, value) in [
        (c"app.current_tenant", id(tenant)),
        (c"app.current_user_id", user.map(id).unwrap_or_default()),
        (c"stormops.entry", entry.to_string()),
    ] {
        let value = CString::new(value).unwrap_or_default();
        // SAFETY: C strings that outlive the call, which copies them; an error of it unwinds.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_LOCAL,
                true,
                0,
                false,
            );
        }
    }
}
