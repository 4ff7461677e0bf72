//! A hole in the server's row security, closed: `MERGE` filters its target by the SELECT policies
//! only if it reads a column of it (up to PostgreSQL 18 at least). One that reads none,
//! `MERGE INTO storms USING (SELECT 1) AS x ON true WHEN MATCHED AND f(x) THEN DELETE`, meets
//! every tenant's rows: `f` counts them.
//!
//! Judged where every statement passes, the planner: a stored SQL body is never analysed again.

#![expect(unsafe_code, reason = "a hook of the server, and its query trees")]

use crate::postgres::hooks::hook_before;
use crate::postgres::raise::raise;
use pgrx::pg_sys::{self, CmdType, NodeTag};
use pgrx::prelude::*;
use std::ffi::{c_char, c_int};

hook_before!(
    planner_hook: planner_hook_type,
    standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt,
    // WITH may hold a MERGE from PostgreSQL 17 on, at the top of a statement only.
    if (*query).commandType == CmdType::CMD_MERGE || (*query).hasModifyingCTE {
        judge(query);
    }
);

/// Raises an error for a `MERGE` that row security would not filter.
#[pg_guard]
unsafe extern "C-unwind" fn judge(query: *mut pg_sys::Query) {
    // SAFETY: the type tag says which node it is.
    unsafe {
        for expression in pgrx::PgList::<pg_sys::CommonTableExpr>::from_pg((*query).cteList).iter_ptr() {
            let inner = (*expression).ctequery;
            if (*inner).type_ == NodeTag::T_Query {
                judge(inner.cast());
            }
        }
        if (*query).commandType == CmdType::CMD_MERGE && !reads_its_target(query) {
            raise(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "a MERGE that reads no column of its table would meet every tenant's rows",
                "Join the rows in ON by a column of the table.",
            );
        }
    }
}

/// True also where no row security applies: to a superuser, or to a table that has none.
unsafe fn reads_its_target(query: *const pg_sys::Query) -> bool {
    // SAFETY: the target is an entry of the query's own range table, counted from 1.
    unsafe {
        let tables = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable);
        let Some(target) = tables.get_ptr((*query).resultRelation as usize - 1) else { return false };
        #[cfg(feature = "pg15")]
        let required = (*target).requiredPerms;
        #[cfg(not(feature = "pg15"))]
        let required = {
            let rights = pgrx::PgList::<pg_sys::RTEPermissionInfo>::from_pg((*query).rteperminfos);
            let Some(rights) = rights.get_ptr((*target).perminfoindex as usize - 1) else { return false };
            (*rights).requiredPerms
        };
        let reads = required & pg_sys::ACL_SELECT as pg_sys::AclMode != 0;
        let secured = || {
            let answer = pg_sys::check_enable_rls((*target).relid, pg_sys::InvalidOid, true);
            answer == pg_sys::CheckEnableRlsResult::RLS_ENABLED as c_int
        };
        reads || !secured()
    }
}
