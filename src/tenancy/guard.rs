//! What privileges cannot refuse: a cursor that outlives its transaction, and with it its tenant,
//! and a lock on a table that all tenants share.
//!
//! It watches commands, never settings: those are guarded by their own context and check hook.

#![expect(unsafe_code, reason = "a hook of the server, and its parse trees")]

use pgrx::direct_function_call;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::prelude::*;
use std::ffi::{c_char, c_int};
use std::sync::OnceLock;

static NEXT: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();

pub fn init() {
    // SAFETY: the hook is a plain global, set once when the library loads.
    unsafe {
        NEXT.get_or_init(|| pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(hook);
    }
}

/// Not guarded by pgrx, and without anything to drop: an error of the server jumps over this
/// frame with all its fields, where a guard would raise it again with fewer.
unsafe extern "C-unwind" fn hook(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    unsafe extern "C-unwind" {
        fn standard_ProcessUtility(
            statement: *mut pg_sys::PlannedStmt,
            query: *const c_char,
            read_only: bool,
            context: pg_sys::ProcessUtilityContext::Type,
            params: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            destination: *mut pg_sys::DestReceiver,
            completion: *mut pg_sys::QueryCompletion,
        );
    }
    // SAFETY: the server hands over a valid statement, and this hands it on.
    unsafe {
        judge((*statement).utilityStmt);
        match NEXT.get() {
            Some(Some(next)) => {
                next(statement, query, read_only, context, params, environment, destination, completion);
            }
            _ => standard_ProcessUtility(
                statement,
                query,
                read_only,
                context,
                params,
                environment,
                destination,
                completion,
            ),
        }
    }
}

/// Raises an error for a command that a tenant's role may not give.
#[pg_guard]
unsafe extern "C-unwind" fn judge(command: *mut pg_sys::Node) {
    // SAFETY: the type tag says which node it is.
    unsafe {
        match (*command).type_ {
            NodeTag::T_DeclareCursorStmt => {
                let options = (*command.cast::<pg_sys::DeclareCursorStmt>()).options;
                if options & pg_sys::CURSOR_OPT_HOLD as c_int != 0 && works_in_tenants() {
                    refuse(
                        "a cursor WITH HOLD would carry a tenant's rows out of its transaction",
                        "Declare it without WITH HOLD and fetch in the same transaction.",
                    );
                }
            }
            NodeTag::T_LockStmt => {
                let tables = (*command.cast::<pg_sys::LockStmt>()).relations;
                let tables = pgrx::PgList::<pg_sys::RangeVar>::from_pg(tables);
                if tables.iter_ptr().any(|table| is_shared(table)) && works_in_tenants() {
                    refuse("a lock on this table would stop every tenant", "Lock rows instead: SELECT … FOR UPDATE.");
                }
            }
            _ => {}
        }
    }
}

/// True for a table that tenants share: StormOps' own, and one that `protect()` gave to its owner.
unsafe fn is_shared(table: *const pg_sys::RangeVar) -> bool {
    // SAFETY: catalogue lookups by name, of a table that may be missing.
    unsafe {
        let flags = pg_sys::RVROption::RVR_MISSING_OK;
        let table = pg_sys::RangeVarGetRelidExtended(table, pg_sys::NoLock as c_int, flags, None, std::ptr::null_mut());
        let owner = super::visit::owner();
        owner != pg_sys::InvalidOid && owner_of(table) == owner
    }
}

/// The owner of a relation; invalid where there is none.
unsafe fn owner_of(relation: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a lookup in the catalogue's cache, whose row is read before it is released.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as c_int, relation.into());
        if row.is_null() {
            return pg_sys::InvalidOid;
        }
        let owner = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(row);
        owner
    }
}

/// True for a role that sees tenants' rows through the policies: not their owner, not a superuser.
/// By the catalogue caches, since LOCK runs without a snapshot.
fn works_in_tenants() -> bool {
    // SAFETY: functions of the server that read its caches.
    unsafe {
        if pg_sys::superuser() || pg_sys::GetUserId() == super::visit::owner() {
            return false;
        }
        let name = "stormops.current_tenant()".into_datum();
        direct_function_call::<pg_sys::Oid>(pg_sys::to_regprocedure, &[name])
            .and_then(|function| {
                let question = [function.into_datum(), "EXECUTE".into_datum()];
                direct_function_call::<bool>(pg_sys::has_function_privilege_id, &question)
            })
            .unwrap_or(false)
    }
}

fn refuse(message: &'static str, hint: &str) -> ! {
    super::context::raise(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message, hint)
}
