//! Which kind of use a role has in this database, asked of the catalogue caches: some commands run without a snapshot,
//! and settings are set at any time. A role has a kind if it may execute what only that kind is granted.

#![expect(unsafe_code, reason = "reads the backend's catalogue caches")]

use pgrx::direct_function_call;
use pgrx::pg_sys::{self, Oid};
use pgrx::prelude::*;
use std::ffi::CStr;

/// True for a role that works in tenants by itself: an operator reads, and under break-glass only.
pub fn works_in_tenants(role: Oid) -> bool {
    may_execute(role, c"may_write", &[pg_sys::TEXTOID]).unwrap_or(false)
}

/// True for a role that may name the tenant; None where the extension is not.
pub fn is_trusted(role: Oid) -> Option<bool> {
    may_execute(role, c"enter_tenant", &[pg_sys::UUIDOID, pg_sys::UUIDOID])
}

pub fn is_operator(role: Oid) -> bool {
    may_execute(role, c"break_glass", &[pg_sys::UUIDOID]).unwrap_or(false)
}

/// None if there is no such function. It is found by its key, since a lookup as SQL's would ask whether this role may
/// look into the schema.
fn may_execute(role: Oid, function: &CStr, arguments: &[Oid]) -> Option<bool> {
    // SAFETY: lookups in catalogue caches.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"stormops".as_ptr(), true);
        let function = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            function.as_ptr().into(),
            pg_sys::buildoidvector(arguments.as_ptr(), arguments.len() as i32).into(),
            schema.into(),
            pg_sys::Datum::null(),
        );
        if function == pg_sys::InvalidOid {
            return None;
        }
        let question = [role.into_datum(), function.into_datum(), "EXECUTE".into_datum()];
        direct_function_call::<bool>(pg_sys::has_function_privilege_id_id, &question)
    }
}
