//! `break_glass(grant_id)`: an operator reads one tenant's rows, under a grant made before.

#![expect(unsafe_code, reason = "who calls, and when")]

use crate::postgres::lookup::{By, Key, Row, Schema, table, with_row};
use crate::postgres::raise::raise;
use crate::tenancy::context::{self, Admission};
use crate::tenancy::entry::Entry;
use crate::tenancy::refusals;
use crate::tenancy::role::Id;
use pgrx::prelude::*;

struct Grant {
    tenant: Id,
    opened_by: String,
    uncommitted: bool,
    expires: i64,
}

/// The grant, if it is open.
fn open_grant(grant: Id) -> Option<Grant> {
    with_row(
        table(Schema::Public, c"break_glass_grants"),
        By::Column,
        &[(c"grant_id", Key::Id(grant))],
        |row: &Row| {
            if row.get::<i64>(c"closed_at").is_some() {
                return None;
            }
            Some(Grant {
                tenant: *row.get::<pgrx::Uuid>(c"tenant_id")?.as_bytes(),
                opened_by: row.get(c"opened_by")?,
                uncommitted: row.is_of_this_transaction(),
                expires: row.get(c"expires_at")?,
            })
        },
    )?
}

/// Works in the tenant of an open grant for the rest of this transaction, read only. Returns it.
#[pg_extern(sql = false)]
fn break_glass(grant_id: Option<pgrx::Uuid>) -> pgrx::Uuid {
    // SAFETY: plain reads of the backend's own state and of the clock.
    let (role, caller, now) = unsafe {
        let role = pg_sys::GetOuterUserId();
        let caller = std::ffi::CStr::from_ptr(pg_sys::GetUserNameFromId(role, false)).to_string_lossy();
        (role, caller, pg_sys::GetCurrentTimestamp())
    };
    let Some(grant_id) = grant_id else { refused() };
    let id = *grant_id.as_bytes();
    let Some(grant) = open_grant(id).filter(|grant| grant.opened_by == caller && now < grant.expires) else {
        refused()
    };
    // What this transaction wrote it can take back, and nobody would ever have known.
    if grant.uncommitted {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "break-glass grant is not committed yet",
            "COMMIT it first: the grant is on record before the first row is read.",
        );
    }
    let tenant = pgrx::Uuid::from_bytes(grant.tenant);
    // To the server's log, which no ROLLBACK reaches, and which no ordinary role can turn off.
    ereport!(
        PgLogLevel::LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("break-glass: role \"{caller}\" reads tenant {tenant} under grant {grant_id}")
    );
    let entry = Entry::BreakGlass { grant: id, role: role.to_u32(), expires: grant.expires };
    match context::admit(grant.tenant, None, entry) {
        Admission::Admitted => tenant,
        Admission::Refused => refused(),
        Admission::Pinned => refusals::second_tenant(),
    }
}

fn refused() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        "break-glass refused",
        "It takes an open grant of your own for an open tenant: SELECT * FROM stormops.break_glass_grants();",
    )
}
