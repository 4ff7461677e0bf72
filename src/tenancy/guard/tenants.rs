//! Which sessions the guard watches, and how it refuses.

#![expect(unsafe_code, reason = "reads the backend's own state and its catalogue caches")]

use super::switches::Guard;
use crate::postgres::raise::raise;
use crate::tenancy::{kind, owner, settings};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::borrow::Cow;

static WORKS_IN_TENANTS: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Defines the setting by which a session of such a role is known in the cluster's other databases.
pub fn init() {
    GucRegistry::define_bool_guc(
        c"stormops.works_in_tenants",
        c"On for a role that works in tenants of some database of this cluster.",
        c"grant_usage() sets it for the role. Locks of what all databases share are refused to the role in every one.",
        &WORKS_IN_TENANTS,
        GucContext::Suset,
        GucFlags::NO_SHOW_ALL,
    );
}

/// Raises an error in a tenants' session, unless a superuser switched this guard off.
pub fn refuse_tenants(guard: Guard) {
    refuse_tenants_with(guard, guard.message());
}

/// The same, in other words.
pub fn refuse_tenants_with(guard: Guard, message: impl Into<Cow<'static, str>>) {
    let bound = || if guard.is_of_the_cluster() { may_stop_others() } else { serves_tenants() };
    // PREPARE TRANSACTION of one that has failed is its ROLLBACK. SAFETY: a plain read of the backend's own state.
    if guard.is_on() && unsafe { pg_sys::IsTransactionState() } && bound() {
        let hint = guard.hint();
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

/// True also for a session of such a role in a database where it has no use: the catalogue of roles and the room for
/// locks are the cluster's, and so whoever waits for them.
pub fn may_stop_others() -> bool {
    let (user, flags) = owner::user_and_flags();
    // SAFETY: plain reads of the backend's own state.
    let is_superuser = |role| unsafe { pg_sys::superuser_arg(role) };
    let session = unsafe { pg_sys::GetSessionUserId() };
    let elsewhere =
        || WORKS_IN_TENANTS.get() && !owner::inside_definer(flags) && !is_superuser(user) && !is_superuser(session);
    serves_tenants() || elsewhere()
}

/// True for a role that sees tenants' rows through the policies: not their owner, not a superuser.
fn works_in_tenants(role: pg_sys::Oid) -> bool {
    // SAFETY: a function of the server that reads its caches.
    let superuser = unsafe { pg_sys::superuser_arg(role) };
    !superuser && role != owner::owner() && kind::works_in_tenants(role)
}
