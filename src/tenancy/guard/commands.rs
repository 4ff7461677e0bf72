//! Commands that a tenant's role may not give, wherever they stand: in a statement, a function, a
//! DO block, a prepared EXPLAIN. All pass through here.

#![expect(unsafe_code, reason = "a hook of the server, and its parse trees")]

use super::switches::Guard;
use super::tenants::refuse_tenants;
use crate::postgres::hooks::hook_before;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::prelude::*;
use std::ffi::{c_char, c_int};

hook_before!(
    ProcessUtility_hook: ProcessUtility_hook_type,
    standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    ),
    judge((*statement).utilityStmt, context)
);

/// Raises an error for a command that a tenant's role may not give.
#[pg_guard]
unsafe extern "C-unwind" fn judge(command: *mut pg_sys::Node, context: pg_sys::ProcessUtilityContext::Type) {
    // SAFETY: the type tag says which node it is.
    unsafe {
        match (*command).type_ {
            NodeTag::T_ExplainStmt => refuse_tenants(Guard::Explain),
            // UNLISTEN passes: drivers send it when they give a connection back.
            NodeTag::T_ListenStmt | NodeTag::T_NotifyStmt => refuse_tenants(Guard::Notify),
            NodeTag::T_LockStmt => refuse_tenants(Guard::Locks),
            NodeTag::T_DeclareCursorStmt => {
                let options = (*command.cast::<pg_sys::DeclareCursorStmt>()).options;
                if options & pg_sys::CURSOR_OPT_HOLD as c_int != 0 {
                    refuse_tenants(Guard::Cursors);
                }
            }
            NodeTag::T_TransactionStmt => {
                let kind = (*command.cast::<pg_sys::TransactionStmt>()).kind;
                if kind == pg_sys::TransactionStmtKind::TRANS_STMT_PREPARE {
                    refuse_tenants(Guard::PreparedTransactions);
                }
            }
            // A role may do these to itself, and does them to every tenant that it works for.
            NodeTag::T_AlterRoleStmt
            | NodeTag::T_AlterRoleSetStmt
            | NodeTag::T_GrantRoleStmt
            | NodeTag::T_DropOwnedStmt
            | NodeTag::T_ReassignOwnedStmt => refuse_tenants(Guard::Role),
            _ if super::locks::locks_first(command) => refuse_tenants(Guard::Locks),
            // Part of another command that was judged: the sequence of a serial column, say.
            _ if context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND => {}
            _ if leaves_behind(command) => refuse_tenants(Guard::TemporaryTables),
            _ => {}
        }
    }
}

/// True for a command that makes a relation or a type in the session's temporary schema, which is
/// searched before all others, and does not drop it when the transaction ends.
unsafe fn leaves_behind(command: *mut pg_sys::Node) -> bool {
    let drops = |on_commit| on_commit == pg_sys::OnCommitAction::ONCOMMIT_DROP;
    // SAFETY: the type tag says which node it is; names are looked up as the command itself will.
    unsafe {
        match (*command).type_ {
            // The statement of a foreign table begins with that of a table.
            NodeTag::T_CreateStmt | NodeTag::T_CreateForeignTableStmt => {
                let create = command.cast::<pg_sys::CreateStmt>();
                !drops((*create).oncommit) && is_temporary((*create).relation)
            }
            NodeTag::T_CreateTableAsStmt => {
                let into = (*command.cast::<pg_sys::CreateTableAsStmt>()).into;
                !drops((*into).onCommit) && is_temporary((*into).rel)
            }
            NodeTag::T_ViewStmt => is_temporary((*command.cast::<pg_sys::ViewStmt>()).view),
            NodeTag::T_CreateSeqStmt => is_temporary((*command.cast::<pg_sys::CreateSeqStmt>()).sequence),
            NodeTag::T_CompositeTypeStmt => is_temporary((*command.cast::<pg_sys::CompositeTypeStmt>()).typevar),
            NodeTag::T_CreateDomainStmt => is_temporary_type((*command.cast::<pg_sys::CreateDomainStmt>()).domainname),
            NodeTag::T_CreateEnumStmt => is_temporary_type((*command.cast::<pg_sys::CreateEnumStmt>()).typeName),
            NodeTag::T_CreateRangeStmt => is_temporary_type((*command.cast::<pg_sys::CreateRangeStmt>()).typeName),
            _ => false,
        }
    }
}

unsafe fn is_temporary(relation: *const pg_sys::RangeVar) -> bool {
    // SAFETY: a lookup by name.
    unsafe { pg_sys::isTempNamespace(pg_sys::RangeVarGetCreationNamespace(relation)) }
}

unsafe fn is_temporary_type(names: *mut pg_sys::List) -> bool {
    let mut name = std::ptr::null_mut();
    // SAFETY: a lookup by name.
    unsafe { pg_sys::isTempNamespace(pg_sys::QualifiedNameGetCreationNamespace(names, &mut name)) }
}
