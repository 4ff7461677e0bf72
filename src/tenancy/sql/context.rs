//! Who works where and what they may do, asked by every policy.

#![expect(unsafe_code, reason = "raw functions for the hot path")]

use crate::postgres::call::{argument, function_info};
use crate::postgres::raise::raise;
use crate::tenancy::context::{self, is_checked, standing};
use crate::tenancy::role::Role;
use crate::tenancy::standing::Status;
use crate::tenancy::{checked, refusals};
use pgrx::prelude::*;

/// `current_tenant()`: the hot path of every policy.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_current_tenant(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    if !is_checked() {
        // SAFETY: a guarded function, which raises Postgres errors and returns otherwise.
        unsafe { enter() };
    }
    // A uuid is passed by reference.
    pg_sys::Datum::from(checked::answer())
}

function_info!(stormops_current_tenant);

#[pg_guard]
unsafe extern "C-unwind" fn enter() {
    standing();
}

/// `may_write(least_role)`: true if the tenant is active and the acting user's role is at least
/// that; an error if the tenant is suspended. Raw, since a WITH CHECK runs it for each row.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_may_write(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a strict function of one text argument.
    unsafe { may(call, true) }
}

function_info!(stormops_may_write);

/// `may_read(least_role)`: true if the acting user's role is at least that.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_may_read(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a strict function of one text argument.
    unsafe { may(call, false) }
}

function_info!(stormops_may_read);

#[pg_guard]
unsafe extern "C-unwind" fn may(call: pg_sys::FunctionCallInfo, writes: bool) -> pg_sys::Datum {
    let standing = standing();
    if writes && standing.status == Status::Suspended {
        refusals::suspended();
    }
    if writes && standing.entry.is_break_glass() {
        refusals::read_only();
    }
    // SAFETY: the first argument is a text, and not NULL.
    let least_role = unsafe { argument(call, 0).and_then(|text| <&str>::from_datum(text, false)) };
    let holds = match (standing.role, least_role.and_then(Role::parse)) {
        (None, Some(_)) => true,
        (Some(role), Some(least)) => role >= least,
        (_, None) => false,
    };
    pg_sys::Datum::from(holds)
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

/// Works in a tenant, and perhaps on behalf of a user, for the rest of the transaction.
#[pg_extern(sql = false)]
fn enter_tenant(tenant_id: Option<pgrx::Uuid>, user_id: Option<pgrx::Uuid>) {
    let Some(tenant) = tenant_id else {
        raise(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "tenant_id must not be NULL",
            "SELECT stormops.enter_tenant('<tenant_id>');",
        )
    };
    context::name(*tenant.as_bytes(), user_id.map(|user| *user.as_bytes()));
}
