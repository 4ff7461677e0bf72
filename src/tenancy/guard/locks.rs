//! Commands that lock a whole table before they ask whether they may: refused in the end, they have
//! stood in the queue by then, and everybody else behind them.

#![expect(unsafe_code, reason = "parse trees of the server")]

use pgrx::pg_sys::{self, AlterTableType, NodeTag};
use pgrx::{FromDatum, PgList};

/// True for such a command on a table under row security, which is every tenant's.
pub unsafe fn locks_first(command: *mut pg_sys::Node) -> bool {
    // SAFETY: the type tag says which node it is.
    unsafe {
        match (*command).type_ {
            NodeTag::T_CreateTrigStmt => {
                let trigger = command.cast::<pg_sys::CreateTrigStmt>();
                is_shared((*trigger).relation) || is_shared((*trigger).constrrel)
            }
            NodeTag::T_RuleStmt => is_shared((*command.cast::<pg_sys::RuleStmt>()).relation),
            // A partition, or a child, of a table of all tenants.
            NodeTag::T_CreateStmt => {
                let parents = (*command.cast::<pg_sys::CreateStmt>()).inhRelations;
                PgList::<pg_sys::RangeVar>::from_pg(parents).iter_ptr().any(|parent| is_shared(parent))
            }
            // The foreign keys of CREATE TABLE come here, too.
            NodeTag::T_AlterTableStmt => {
                let steps = (*command.cast::<pg_sys::AlterTableStmt>()).cmds;
                PgList::<pg_sys::AlterTableCmd>::from_pg(steps).iter_ptr().any(|step| step_locks_first(step))
            }
            _ => false,
        }
    }
}

unsafe fn step_locks_first(step: *mut pg_sys::AlterTableCmd) -> bool {
    // SAFETY: the kind of step says which node its definition is.
    unsafe {
        let definition = (*step).def;
        match (*step).subtype {
            AlterTableType::AT_AddConstraint => refers_to_shared(definition.cast()),
            AlterTableType::AT_AddColumn => {
                let constraints = (*definition.cast::<pg_sys::ColumnDef>()).constraints;
                PgList::<pg_sys::Constraint>::from_pg(constraints).iter_ptr().any(|key| refers_to_shared(key))
            }
            AlterTableType::AT_AttachPartition => is_shared((*definition.cast::<pg_sys::PartitionCmd>()).name),
            _ => false,
        }
    }
}

unsafe fn refers_to_shared(constraint: *mut pg_sys::Constraint) -> bool {
    // SAFETY: a valid node.
    unsafe { (*constraint).contype == pg_sys::ConstrType::CONSTR_FOREIGN && is_shared((*constraint).pktable) }
}

unsafe fn is_shared(table: *const pg_sys::RangeVar) -> bool {
    if table.is_null() {
        return false;
    }
    // SAFETY: catalogue lookups by name, of a table that may be missing.
    unsafe {
        let flags = pg_sys::RVROption::RVR_MISSING_OK;
        let oid = pg_sys::RangeVarGetRelidExtended(table, pg_sys::NoLock as i32, flags, None, std::ptr::null_mut());
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, oid.into());
        if tuple.is_null() {
            return false;
        }
        let mut is_null = false;
        let column = pg_sys::Anum_pg_class_relrowsecurity as i16;
        let value = pg_sys::SysCacheGetAttr(cache, tuple, column, &mut is_null);
        let secured = bool::from_datum(value, is_null).unwrap_or(false);
        pg_sys::ReleaseSysCache(tuple);
        secured
    }
}
