//! How the library came into this backend, and what its settings are, for `attest()`.

#![expect(unsafe_code, reason = "settings that only a superuser may read by SQL")]

use pgrx::prelude::*;
use std::ffi::CStr;

/// True if every session has the library from its first statement on.
#[pg_extern(sql = false)]
fn library_is_preloaded() -> bool {
    [c"shared_preload_libraries", c"session_preload_libraries"].into_iter().any(|setting| names_us(&value(setting)))
}

fn value(setting: &CStr) -> String {
    // SAFETY: both settings exist in every version; the value is a C string, or null.
    unsafe {
        let value = pg_sys::GetConfigOption(setting.as_ptr(), true, false);
        if value.is_null() { String::new() } else { CStr::from_ptr(value).to_string_lossy().into_owned() }
    }
}

fn names_us(libraries: &str) -> bool {
    libraries.split(',').any(|library| {
        let library = library.trim().trim_matches('"');
        library.strip_prefix("$libdir/").unwrap_or(library).trim_end_matches(".so") == "stormops"
    })
}
