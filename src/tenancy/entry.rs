//! By which way the transaction entered its tenant, and until when that holds.
//!
//! The third setting of the context, `stormops.entry`. Nobody is granted it: only this module
//! writes it, together with the other two and so that all three go with the transaction or the
//! savepoint. A parallel worker takes it over from its leader.

#![expect(unsafe_code, reason = "settings hooks and the settings machinery")]

use super::role::{Id, Role};
use pgrx::pg_sys;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;

static ENTRY_SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// Times are those of Postgres: microseconds since 2000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A trusted application, or a superuser, set the tenant.
    Setting,
    /// A verified token.
    Token { limit: Option<Role>, expires: i64 },
    /// A grant to an operator, good for the role that opened it.
    BreakGlass { grant: Id, role: u32, expires: i64 },
}

thread_local! {
    static ENTRY: Cell<Entry> = const { Cell::new(Entry::Setting) };
}

pub fn current() -> Entry {
    ENTRY.get()
}

pub fn is_break_glass() -> bool {
    matches!(current(), Entry::BreakGlass { .. })
}

impl Entry {
    pub fn expires(self) -> Option<i64> {
        match self {
            Self::Setting => None,
            Self::Token { expires, .. } | Self::BreakGlass { expires, .. } => Some(expires),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Setting);
        }
        let mut words = text.split(' ');
        let kind = words.next()?;
        let (first, expires) = (words.next()?, words.next()?.parse().ok()?);
        match (kind, words.next(), words.next()) {
            ("token", None, None) if first == "-" => Some(Self::Token { limit: None, expires }),
            ("token", None, None) => Some(Self::Token { limit: Some(Role::parse(first)?), expires }),
            ("break_glass", Some(role), None) => {
                let grant = uuid::Uuid::try_parse(first).ok()?.into_bytes();
                Some(Self::BreakGlass { grant, role: role.parse().ok()?, expires })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Setting => Ok(()),
            Self::Token { limit, expires } => write!(out, "token {} {expires}", limit.map_or("-", Role::name)),
            Self::BreakGlass { grant, role, expires } => {
                write!(out, "break_glass {} {expires} {role}", uuid::Uuid::from_bytes(*grant))
            }
        }
    }
}

/// Defines the setting. Called once, when the library loads.
pub fn init() {
    // SAFETY: the hooks neither panic nor allocate.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"stormops.entry",
            c"By which way this transaction entered its tenant.",
            c"Written by stormops.login() and stormops.break_glass(). Empty: the tenant was set.",
            &ENTRY_SETTING,
            GucContext::Suset,
            GucFlags::NOT_WHILE_SEC_REST | GucFlags::DISALLOW_IN_FILE | GucFlags::NO_SHOW_ALL,
            Some(check),
            Some(assign),
            None,
        );
    }
}

unsafe fn read(text: *const c_char) -> Option<Entry> {
    if text.is_null() {
        return Some(Entry::Setting);
    }
    // SAFETY: the settings machinery hands over a C string.
    unsafe { CStr::from_ptr(text) }.to_str().ok().and_then(Entry::parse)
}

/// Only from a running session, as the tenant itself.
unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the settings machinery hands over a pointer to a C string.
    match unsafe { read(*value) } {
        Some(Entry::Setting) => true,
        Some(_) => super::context::from_session(source),
        None => false,
    }
}

unsafe extern "C-unwind" fn assign(value: *const c_char, _extra: *mut c_void) {
    // SAFETY: as above; `check` has accepted the value.
    ENTRY.set(unsafe { read(value) }.unwrap_or(Entry::Setting));
    super::context::changed();
}

/// Writes the whole context for the rest of the transaction, as a superuser's SET LOCAL would.
pub fn set_context(tenant: Id, user: Option<Id>, entry: Entry) {
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
