//! Export and import as SQL calls them.

#![expect(unsafe_code, reason = "the security context is a Postgres global")]

mod columns;
mod export;
mod import;

use crate::tenancy::owner::{owner, user_and_flags};
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    /// True while this backend writes rows that come from a file.
    static IMPORTS: Cell<bool> = const { Cell::new(false) };
}

/// Does something as the owner of the tables, who sees every tenant's rows meanwhile; what it writes comes from a file.
fn as_owner<T>(work: impl FnOnce() -> T) -> T {
    /// Puts back what was there, however the work ends.
    struct Before(pg_sys::Oid, i32);
    impl Drop for Before {
        fn drop(&mut self) {
            IMPORTS.set(false);
            // SAFETY: plain writes of the backend's own security context.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let (user, flags) = user_and_flags();
    let _before = Before(user, flags);
    let within = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
    // SAFETY: as above. The same that the server does to check a foreign key.
    unsafe { pg_sys::SetUserIdAndSecContext(owner(), flags | within as i32) };
    IMPORTS.set(true);
    work()
}

/// Whether what is written now comes from a file, and what belongs to it with it.
#[pg_extern(sql = false)]
fn is_import() -> bool {
    IMPORTS.get()
}
