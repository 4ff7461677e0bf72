//! What the acting user's role may do, asked by every policy; and what Postgres must know of the functions that it
//! calls without pgrx.

#![expect(unsafe_code, reason = "raw functions for the hot path")]

use super::context::standing;
use super::entry::Entry;
use super::refusals;
use super::role::Role;
use super::standing::Status;
use pgrx::prelude::*;

crate::support::function_info!(
    pg_finfo_stormops_current_tenant
    pg_finfo_stormops_may_write
    pg_finfo_stormops_may_read
    pg_finfo_stormops_login
);

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
        refusals::suspended();
    }
    if writes && matches!(standing.entry, Entry::BreakGlass { .. }) {
        refusals::read_only();
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
