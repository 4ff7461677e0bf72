//! Which sessions the guard watches, and how it refuses.

#![expect(unsafe_code, reason = "reads the backend's own state and its catalogue caches")]

use super::switches::Guard;
use crate::postgres::raise::raise;
use crate::tenancy::{owner, settings};
use pgrx::direct_function_call;
use pgrx::prelude::*;

/// Raises an error in a tenants' session, unless a superuser switched this guard off.
pub fn refuse_tenants(guard: Guard) {
    if guard.is_on() && serves_tenants() {
        let (message, hint) = guard.refusal();
        let hint = format!("{hint} A superuser may switch this off: {}.", guard.setting());
        raise(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message, &hint);
    }
}

/// True where tenants' rows are seen through the policies: the role in force does, or the session
/// is of such a role, whatever ordinary role it set since, or an operator is in a tenant under
/// break-glass. Inside a SECURITY DEFINER function the function's owner counts.
pub fn serves_tenants() -> bool {
    let (user, flags) = owner::user_and_flags();
    // SAFETY: plain reads of the backend's own state.
    let (session, superuser) = unsafe { (pg_sys::GetSessionUserId(), pg_sys::superuser_arg(user)) };
    if superuser {
        return false;
    }
    if works_in_tenants(user) {
        return true;
    }
    if owner::inside_definer(flags) {
        return false;
    }
    (session != user && works_in_tenants(session)) || settings::entry().is_break_glass()
}

/// True for a role that sees tenants' rows through the policies: not their owner, not a superuser.
/// By the catalogue caches, since some commands run without a snapshot.
fn works_in_tenants(role: pg_sys::Oid) -> bool {
    // SAFETY: functions of the server that read its caches.
    unsafe {
        if pg_sys::superuser_arg(role) || role == owner::owner() {
            return false;
        }
        let function = may_write();
        let question = [role.into_datum(), function.into_datum(), "EXECUTE".into_datum()];
        function != pg_sys::InvalidOid
            && direct_function_call::<bool>(pg_sys::has_function_privilege_id_id, &question).unwrap_or(false)
    }
}

/// `may_write(text)`, which only roles that work in tenants may call: an operator under break-glass
/// reads. Invalid in a database without the extension. Found by its key, since a lookup as SQL's
/// would ask whether this role may look into the schema.
fn may_write() -> pg_sys::Oid {
    let arguments = [pg_sys::TEXTOID];
    // SAFETY: a lookup in a catalogue cache.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"stormops".as_ptr(), true);
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            c"may_write".as_ptr().into(),
            pg_sys::buildoidvector(arguments.as_ptr(), arguments.len() as i32).into(),
            schema.into(),
            pg_sys::Datum::null(),
        )
    }
}
