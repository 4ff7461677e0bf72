//! What a tenant and its acting user may do right now.
//!
//! Read past the transaction's snapshot, so that a suspension also ends the writes of a
//! transaction that was open before it. Read once, kept until a relcache message says that the
//! table changed.

use super::entry::Entry;
use super::role::{Id, Role};
use crate::postgres::lookup::{By, Key, Row, Schema, table, with_row};
use pgrx::pg_sys::Oid;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Active,
    Suspended,
}

/// The standing of one tenant and, where the context names one, of its acting user.
#[derive(Clone, Copy)]
pub struct Standing {
    pub tenant: Id,
    pub user: Option<Id>,
    pub entry: Entry,
    pub status: Status,
    /// None: the application itself acts.
    pub role: Option<Role>,
    /// The tables that this was read from: a message about one of them ends it.
    pub tables: [Oid; 3],
}

pub enum Refusal {
    /// Closed or never there: one answer, so that neither can be told from the other.
    NoSuchTenant,
    NoSuchUser,
    GrantClosed,
}

/// Reads the standing of a tenant and of whoever entered it from their tables.
pub fn read(tenant: Id, user: Option<Id>, entry: Entry) -> Result<Standing, Refusal> {
    let tables = [
        table(Schema::Public, c"tenants"),
        table(Schema::Public, c"users"),
        table(Schema::Public, c"break_glass_grants"),
    ];
    let [tenants, users, grants] = tables;
    let in_tenant = (c"tenant_id", Key::Id(tenant));
    let text = |column| move |row: &Row| row.get::<String>(column);
    let status = match with_row(tenants, By::PrimaryKey, &[in_tenant], text(c"status")).flatten().as_deref() {
        Some("active") => Status::Active,
        Some("suspended") => Status::Suspended,
        _ => return Err(Refusal::NoSuchTenant),
    };
    let role = match user {
        None => None,
        Some(user) => {
            let key = [in_tenant, (c"user_id", Key::Id(user))];
            let role = with_row(users, By::PrimaryKey, &key, text(c"role")).flatten();
            Some(role.and_then(|name| Role::parse(&name)).ok_or(Refusal::NoSuchUser)?)
        }
    };
    let role = match entry {
        // A token names its user, and can take from the user's role but add nothing.
        Entry::Token { limit, .. } => {
            let role = role.ok_or(Refusal::NoSuchUser)?;
            Some(limit.map_or(role, |limit| role.min(limit)))
        }
        Entry::BreakGlass { grant, .. } => {
            let key = [in_tenant, (c"grant_id", Key::Id(grant))];
            let open = |row: &Row| row.get::<i64>(c"closed_at").is_none();
            with_row(grants, By::PrimaryKey, &key, open).filter(|open| *open).ok_or(Refusal::GrantClosed)?;
            role
        }
        Entry::Setting => role,
    };
    Ok(Standing { tenant, user, entry, status, role, tables })
}
