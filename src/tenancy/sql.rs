//! Tenancy as SQL functions: ids, names, the log's digest, who calls.

#![expect(unsafe_code, reason = "the backend's own state")]

mod announce;
mod break_glass;
mod context;
mod keys;
mod loading;
mod login;

use super::digest::Form;
use super::{names, owner};
use crate::postgres::memory::need;
use pgrx::prelude::*;

/// A UUID of version 7 (RFC 9562): time-ordered, so that new keys fall at the end of an index.
#[pg_extern(sql = false)]
fn new_id() -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(*uuid::Uuid::now_v7().as_bytes())
}

/// The smallest version-7 UUID of a moment: the bound of a partition whose key is such an id.
#[pg_extern(sql = false)]
fn first_id_at(unix_milliseconds: i64) -> pgrx::Uuid {
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&unix_milliseconds.to_be_bytes()[2..]);
    pgrx::Uuid::from_bytes(bytes)
}

/// The moment of an id of version 7, in milliseconds since 1970.
#[pg_extern(sql = false)]
fn milliseconds_of(id: pgrx::Uuid) -> i64 {
    id.as_bytes()[..6].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}

#[pg_extern(sql = false)]
fn name_key_sql(name: &str) -> Option<String> {
    names::name_key(name)
}

#[pg_extern(sql = false)]
fn tidy_name_sql(name: &str) -> String {
    need(name.len() * 3); // the text that grows, and the one that it grows from
    names::tidy_name(name)
}

#[pg_extern(sql = false)]
fn email_key_sql(address: &str) -> Option<String> {
    names::email_key(address)
}

/// SHA-256 over fields.
#[pg_extern(sql = false)]
fn log_digest(fields: VariadicArray<&[u8]>) -> Vec<u8> {
    let mut form = Form::default();
    fields.iter().for_each(|field| form.push(field));
    form.digest().to_vec()
}

/// Lets the SECURITY DEFINER function of the owner that calls it see every tenant's rows until it returns.
#[pg_extern(sql = false)]
fn visit_all_tenants() {
    owner::visit_all_tenants();
}

/// The role in force outside every SECURITY DEFINER function: who called, after SET ROLE.
#[pg_extern(sql = false)]
fn calling_role() -> String {
    // SAFETY: a plain read of the backend's own state, and the name of an existing role.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetOuterUserId(), false);
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}
