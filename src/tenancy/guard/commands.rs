//! Which commands a tenant's role may give, wherever they stand: in a statement, a function, a DO block, a prepared
//! EXPLAIN. All pass through here.
//!
//! Only what an application sends is let through, and nothing else: most of the server's commands lock what they name
//! before they ask whose it is, so that one who has no right to a table stands in the queue for it, and everybody else
//! behind. What is refused here has locked nothing.

#![expect(unsafe_code, reason = "a hook of the server, and its parse trees")]

use super::switches::Guard;
use super::temporary::{self, Place};
use super::tenants::{refuse_tenants, refuse_tenants_with};
use super::transaction;
use crate::postgres::hooks::hook_before;
use pgrx::pg_sys::{self, NodeTag, TransactionStmtKind};
use pgrx::prelude::*;
use std::ffi::{CStr, c_char, c_int};

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
    transaction::watch();
    // SAFETY: the type tag says which node it is.
    unsafe {
        if transaction::makes_a_relation((*command).type_) {
            transaction::count_relation();
        }
        match (*command).type_ {
            // A part of another command that was judged: the index of a key, say.
            _ if context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND => {}
            NodeTag::T_DeclareCursorStmt => {
                let options = (*command.cast::<pg_sys::DeclareCursorStmt>()).options;
                if options & pg_sys::CURSOR_OPT_HOLD as c_int != 0 {
                    refuse_tenants(Guard::Cursors);
                }
            }
            NodeTag::T_TransactionStmt => {
                use TransactionStmtKind::{
                    TRANS_STMT_COMMIT_PREPARED, TRANS_STMT_PREPARE, TRANS_STMT_ROLLBACK_PREPARED,
                };
                let kind = (*command.cast::<pg_sys::TransactionStmt>()).kind;
                if [TRANS_STMT_PREPARE, TRANS_STMT_COMMIT_PREPARED, TRANS_STMT_ROLLBACK_PREPARED].contains(&kind) {
                    refuse_tenants(Guard::PreparedTransactions);
                }
            }
            NodeTag::T_ExplainStmt => refuse_tenants(Guard::Explain),
            NodeTag::T_ListenStmt | NodeTag::T_NotifyStmt => refuse_tenants(Guard::Notify),
            NodeTag::T_LockStmt => refuse_tenants(Guard::Locks),
            // A role may do these to itself, and does them to every tenant that it works for.
            NodeTag::T_AlterRoleStmt
            | NodeTag::T_AlterRoleSetStmt
            | NodeTag::T_GrantRoleStmt
            | NodeTag::T_DropOwnedStmt
            | NodeTag::T_ReassignOwnedStmt => refuse_tenants(Guard::Role),
            kind if is_sent_by_applications(kind) => {}
            _ => match temporary::place(command) {
                Place::UntilTheTransactionEnds => {}
                Place::LeftBehind => refuse_tenants(Guard::TemporaryTables),
                Place::Elsewhere => {
                    let command = CStr::from_ptr(pg_sys::CreateCommandName(command)).to_string_lossy();
                    let message = format!("{command} is no command of a role that works in tenants");
                    refuse_tenants_with(Guard::Commands, message);
                }
            },
        }
    }
}

/// These take no lock but those of the statements in them, or ask for the right before they take one.
fn is_sent_by_applications(kind: NodeTag) -> bool {
    matches!(
        kind,
        NodeTag::T_VariableSetStmt
            | NodeTag::T_VariableShowStmt
            | NodeTag::T_ConstraintsSetStmt
            | NodeTag::T_PrepareStmt
            | NodeTag::T_ExecuteStmt
            | NodeTag::T_DeallocateStmt
            | NodeTag::T_FetchStmt
            | NodeTag::T_ClosePortalStmt
            | NodeTag::T_CopyStmt
            | NodeTag::T_DoStmt
            | NodeTag::T_CallStmt
            | NodeTag::T_DiscardStmt
            // Drivers send it when they give a connection back.
            | NodeTag::T_UnlistenStmt
    )
}
