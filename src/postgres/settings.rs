//! The server's own records of its settings.

#![expect(unsafe_code, reason = "the table of settings is the server's")]

use pgrx::prelude::*;
use std::ffi::CStr;

/// The record of a setting; None in a server that lacks it.
pub fn find(name: &CStr) -> Option<*mut pg_sys::config_generic> {
    // SAFETY: the table is complete before any library loads, and its records stay where they are.
    let record = unsafe { look_up(name) };
    (!record.is_null()).then_some(record)
}

#[cfg(feature = "pg15")]
unsafe fn look_up(name: &CStr) -> *mut pg_sys::config_generic {
    // SAFETY: the server's array and its length, of records with a name each.
    unsafe {
        let records = std::slice::from_raw_parts(pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions() as usize);
        let named = |record: &&*mut pg_sys::config_generic| CStr::from_ptr((***record).name) == name;
        records.iter().find(named).copied().unwrap_or(std::ptr::null_mut())
    }
}

#[cfg(not(feature = "pg15"))]
unsafe fn look_up(name: &CStr) -> *mut pg_sys::config_generic {
    // SAFETY: a lookup by name that makes nothing and raises nothing.
    unsafe { pg_sys::find_option(name.as_ptr(), false, true, 0) }
}

/// Sets a bounded setting: the default that RESET goes back to, or the value of the session.
pub fn set(name: &CStr, value: &CStr, source: pg_sys::GucSource::Type) {
    // SAFETY: names and values are C strings.
    unsafe { pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), pg_sys::GucContext::PGC_SUSET, source) };
}

/// True if a text will be left in a setting when the transaction ends, whatever is in force until then.
pub fn will_be_left(record: *mut pg_sys::config_generic) -> bool {
    // SAFETY: the record is that of a text; the entry of the stack, outside every savepoint the only one, says by its
    // state which of its values comes back.
    unsafe {
        let stack = (*record).stack;
        let text = match stack.as_ref() {
            Some(stack) if stack.state == pg_sys::GucStackState::GUC_LOCAL => stack.prior.val.stringval,
            Some(stack) if stack.state == pg_sys::GucStackState::GUC_SET_LOCAL => stack.masked.val.stringval,
            _ => *(*record.cast::<pg_sys::config_string>()).variable,
        };
        !text.is_null() && *text != 0
    }
}
