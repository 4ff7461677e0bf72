//! What a tenant and its acting user may do right now.
//!
//! Read from the table with `SnapshotSelf`: what is committed at this moment, not what the
//! transaction's snapshot saw, so that a suspension also ends the writes of a transaction that
//! was open before it. Read once, kept until a relcache message says that the table changed.

#![expect(unsafe_code, reason = "an index scan with a snapshot of its own")]

use pgrx::pg_sys::{self, Oid};
use pgrx::{FromDatum, IntoDatum};
use std::ffi::CStr;

pub type Id = [u8; 16];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    FieldUser,
    CrewChief,
    Admin,
}

impl Role {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "viewer" => Some(Self::Viewer),
            "field_user" => Some(Self::FieldUser),
            "crew_chief" => Some(Self::CrewChief),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::FieldUser => "field_user",
            Self::CrewChief => "crew_chief",
            Self::Admin => "admin",
        }
    }
}

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
    pub status: Status,
    /// None: the application itself acts.
    pub role: Option<Role>,
    /// The tables that this was read from: a message about one of them ends it.
    pub tables: [Oid; 2],
}

pub enum Refusal {
    /// Closed or never there: one answer, so that neither can be told from the other.
    NoSuchTenant,
    NoSuchUser,
}

/// Reads the standing of a tenant and its acting user from their tables.
pub fn read(tenant: Id, user: Option<Id>) -> Result<Standing, Refusal> {
    let tenants = table(c"tenants");
    let status = match text_of(tenants, &[(c"tenant_id", tenant)], c"status").as_deref() {
        Some("active") => Status::Active,
        Some("suspended") => Status::Suspended,
        _ => return Err(Refusal::NoSuchTenant),
    };
    let users = table(c"users");
    let role = match user {
        None => None,
        Some(user) => {
            let key = [(c"tenant_id", tenant), (c"user_id", user)];
            let role = text_of(users, &key, c"role").and_then(|name| Role::parse(&name));
            Some(role.ok_or(Refusal::NoSuchUser)?)
        }
    };
    Ok(Standing { tenant, user, status, role, tables: [tenants, users] })
}

fn table(name: &CStr) -> Oid {
    // SAFETY: catalogue lookups by name.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"stormops".as_ptr(), false);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// The text column of the row whose primary key is `key`; None if no such row or NULL.
///
/// A scan that an update's commit overtakes can pass the new version before and the old one
/// after that commit, and see neither. A second look finds the row.
fn text_of(table: Oid, key: &[(&CStr, Id)], column: &CStr) -> Option<String> {
    if table == pg_sys::InvalidOid {
        return None;
    }
    scan(table, key, column).or_else(|| scan(table, key, column))
}

fn scan(table: Oid, key: &[(&CStr, Id)], column: &CStr) -> Option<String> {
    // SAFETY: the relation stays open and locked from here to `table_close`; what is read from
    // a tuple is copied out before the scan moves on.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        pg_sys::list_free(pg_sys::RelationGetIndexList(relation)); // fills rd_pkindex
        let mut keys: Vec<pg_sys::ScanKeyData> = key
            .iter()
            .map(|(name, id)| {
                let mut scan_key = pg_sys::ScanKeyData::default();
                pg_sys::ScanKeyInit(
                    &mut scan_key,
                    pg_sys::get_attnum(table, name.as_ptr()),
                    pg_sys::BTEqualStrategyNumber as u16,
                    Oid::from(pg_sys::F_UUID_EQ),
                    pgrx::Uuid::from_bytes(*id).into_datum().unwrap_or(pg_sys::Datum::null()),
                );
                scan_key
            })
            .collect();
        let scan = pg_sys::systable_beginscan(
            relation,
            (*relation).rd_pkindex,
            true,
            &raw mut pg_sys::SnapshotSelfData,
            keys.len() as i32,
            keys.as_mut_ptr(),
        );
        let tuple = pg_sys::systable_getnext(scan);
        let found = if tuple.is_null() {
            None
        } else {
            let mut is_null = false;
            let attribute = i32::from(pg_sys::get_attnum(table, column.as_ptr()));
            let datum = pg_sys::heap_getattr(tuple, attribute, (*relation).rd_att, &mut is_null);
            String::from_datum(datum, is_null)
        };
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        found
    }
}
