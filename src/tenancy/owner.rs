//! The role that owns the tables, and its way past their forced row security.

#![expect(unsafe_code, reason = "the security context is a Postgres global")]

use pgrx::prelude::*;

/// The owner; invalid where it is missing.
pub fn owner() -> pg_sys::Oid {
    // SAFETY: a catalogue lookup by name.
    unsafe { pg_sys::get_role_oid(c"stormops_owner".as_ptr(), true) }
}

/// The role in force, and the flags of the security context.
pub fn user_and_flags() -> (pg_sys::Oid, i32) {
    let (mut user, mut flags) = (pg_sys::InvalidOid, 0);
    // SAFETY: plain reads of the backend's own security context.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut flags) };
    (user, flags)
}

/// True for flags inside a SECURITY DEFINER function.
pub fn inside_definer(flags: i32) -> bool {
    flags as u32 & pg_sys::SECURITY_LOCAL_USERID_CHANGE != 0
}

/// Lets the SECURITY DEFINER function that calls it see every tenant's rows until it returns.
///
/// Work over several tenants (provisioning, rollups) is one statement in a function owned by
/// `stormops_owner`, not a loop over pins. Postgres checks foreign keys by the same flag; it
/// drops it again when that function returns or fails.
pub fn visit_all_tenants() {
    let (user, flags) = user_and_flags();
    if !inside_definer(flags) || user != owner() {
        ereport!(
            PgLogLevel::ERROR,
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "only a function of stormops_owner may visit all tenants"
        );
    }
    // SAFETY: a plain write; the caller's context comes back with the end of the definer function.
    unsafe { pg_sys::SetUserIdAndSecContext(user, flags | pg_sys::SECURITY_NOFORCE_RLS as i32) };
}
