//! The one way past forced row security, for the owner's own set-based functions.

#![expect(unsafe_code, reason = "the security context is a Postgres global")]

use pgrx::prelude::*;

/// Lets the SECURITY DEFINER function that calls it see every tenant's rows until it returns.
///
/// Work over several tenants (provisioning, rollups) is one statement in a function owned by
/// `stormops_owner`, not a loop over pins. Postgres checks foreign keys by the same flag; it
/// drops it again when that function returns or fails.
#[pg_extern(sql = false)]
fn visit_all_tenants() {
    let (mut user, mut flags) = (pg_sys::InvalidOid, 0);
    // SAFETY: plain reads and writes of the backend's own security context.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut flags) };
    let inside_definer = flags as u32 & pg_sys::SECURITY_LOCAL_USERID_CHANGE != 0;
    if !inside_definer || user != owner() {
        ereport!(
            PgLogLevel::ERROR,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "only a function of stormops_owner may visit all tenants"
        );
    }
    // SAFETY: as above; the caller's context comes back with the end of the definer function.
    unsafe {
        pg_sys::SetUserIdAndSecContext(user, flags | pg_sys::SECURITY_NOFORCE_RLS as i32);
    }
}

/// The role that owns the tables; invalid where it is missing.
pub fn owner() -> pg_sys::Oid {
    // SAFETY: a catalogue lookup by name.
    unsafe { pg_sys::get_role_oid(c"stormops_owner".as_ptr(), true) }
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
