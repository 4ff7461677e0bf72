//! What the tenant context refuses, in words: each with its SQLSTATE and what to do.

#![expect(unsafe_code, reason = "who calls, and a warning that comes back")]

use super::entry::Entry;
use super::kind;
use super::standing::Refusal;
use crate::postgres::raise::{raise, raise_from_c};
use pgrx::prelude::*;

pub fn no_tenant() -> ! {
    // SAFETY: a plain read of the backend's own state.
    let caller = unsafe { pg_sys::GetOuterUserId() };
    let hint = if kind::is_operator(caller) {
        "An operator reads one tenant's rows under break-glass: SELECT * FROM stormops.open_break_glass(tenant_id, reason, ticket); then BEGIN; SELECT stormops.break_glass('<grant_id>');"
    } else if kind::works_in_tenants(caller) && kind::is_trusted(caller) == Some(false) {
        "A tenant holds for the transaction that logged in: BEGIN; SELECT stormops.login('<token>');"
    } else {
        "A tenant holds for the transaction that named it: BEGIN; SELECT stormops.enter_tenant('<tenant_id>');"
    };
    raise(PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_INITIATION, "no tenant in context", hint)
}

/// Where somebody acted in this session before.
pub fn no_user() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_INITIATION,
        "no user in context",
        "The session's last user ended with its transaction. Say who acts: SELECT stormops.enter_tenant('<tenant_id>', '<user_id>'); or SET LOCAL app.current_user_id = ''; for the application itself.",
    )
}

/// A tenant was set for the session, and nothing came of it.
pub fn warn_of_no_use() {
    // SAFETY: a warning returns.
    unsafe {
        raise_from_c(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_NO_ACTIVE_SQL_TRANSACTION,
            c"app.current_tenant held for this transaction only, which is over",
            c"BEGIN; SELECT stormops.enter_tenant('<tenant_id>'); A superuser may let a role keep it: ALTER ROLE web SET stormops.session_tenant = on;",
            false,
        );
    }
}

pub fn second_tenant() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
        "this transaction already works in another tenant",
        "One transaction, one tenant: COMMIT or ROLLBACK first.",
    )
}

pub fn suspended() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "tenant is suspended",
        "A suspended tenant reads and does not write until an operator calls stormops.reactivate_tenant().",
    )
}

pub fn read_only() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
        "break-glass reads and does not write",
        "COMMIT or ROLLBACK first; the tenant's own users write its rows.",
    )
}

pub fn ended(entry: Entry) -> ! {
    let (message, hint) = match entry {
        Entry::BreakGlass { .. } => {
            ("break-glass grant is not open", "SELECT stormops.open_break_glass(tenant_id, reason, ticket);")
        }
        _ => ("login has expired", "ROLLBACK, and log in with a new token."),
    };
    raise(PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, message, hint)
}

pub fn other_role() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        "a break-glass grant is good for the role that opened it",
        "RESET ROLE, or begin another transaction.",
    )
}

/// For a tenant that was entered by this way.
pub fn refuse(refusal: &Refusal, entry: Entry) -> ! {
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
        Refusal::GrantClosed => ended(entry),
    }
}
