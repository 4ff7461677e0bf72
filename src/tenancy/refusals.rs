//! What the tenant context refuses, in words: each with its SQLSTATE and what to do.

use super::entry::Entry;
use super::standing::Refusal;
use crate::postgres::raise::raise;
use pgrx::prelude::*;

pub fn no_tenant() -> ! {
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
