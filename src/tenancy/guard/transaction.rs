//! What one transaction of a tenant may come to: the locks that it gathers, which all sessions share the room of, and
//! how long it holds anything at all.

#![expect(unsafe_code, reason = "callbacks of the server, and the backend's own state")]

use super::age;
use super::tenants::may_stop_others;
use crate::postgres::raise::raise;
use crate::tenancy::owner;
use pgrx::pg_sys::{self, NodeTag, Oid};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::Cell;
use std::ffi::{CStr, c_void};

static NEW_RELATIONS: GucSetting<i32> = GucSetting::<i32>::new(100);
static SAVEPOINTS: GucSetting<i32> = GucSetting::<i32>::new(1000);

thread_local! {
    static RELATIONS: Cell<i32> = const { Cell::new(0) };
    /// The role that this transaction was last looked at as, so that each statement need not ask anew.
    static LOOKED_AS: Cell<Oid> = const { Cell::new(pg_sys::InvalidOid) };
}

/// Defines the settings and registers the callbacks. Called once, when the library loads.
pub fn init() {
    let define = |name: &'static CStr, description: &'static CStr, value| {
        let why = c"Each takes room that all sessions share. 0: no ceiling. A superuser sets it.";
        let flags = GucFlags::default();
        GucRegistry::define_int_guc(name, description, why, value, 0, i32::MAX, GucContext::Suset, flags);
    };
    let relations = c"The most tables, indexes and sequences that a transaction of a role that works in tenants makes.";
    define(c"stormops.ceiling_new_relations", relations, &NEW_RELATIONS);
    let savepoints = c"The most savepoints that are open at once in a transaction of a role that works in tenants.";
    define(c"stormops.ceiling_savepoints", savepoints, &SAVEPOINTS);
    // SAFETY: the callbacks live as long as the library.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), std::ptr::null_mut());
    }
}

/// Called before each command and each run of a plan, and after each analysis.
pub fn watch() {
    if age::is_watched() {
        return;
    }
    // One that has failed waits for its ROLLBACK: it holds nothing, and no catalogue may be asked.
    // SAFETY: a plain read of the backend's own state.
    if !unsafe { pg_sys::IsTransactionState() } {
        return;
    }
    let (user, flags) = owner::user_and_flags();
    // What a SECURITY DEFINER function does belongs to the statement that called it.
    if flags == 0 && LOOKED_AS.replace(user) != user && may_stop_others() {
        age::begin();
    }
}

/// The transaction has just become a tenant's.
pub fn look_again() {
    LOOKED_AS.set(pg_sys::InvalidOid);
}

pub fn makes_a_relation(command: NodeTag) -> bool {
    use NodeTag::{T_CreateSeqStmt, T_CreateStmt, T_CreateTableAsStmt, T_IndexStmt, T_ViewStmt};
    [T_CreateStmt, T_CreateTableAsStmt, T_IndexStmt, T_CreateSeqStmt, T_ViewStmt].contains(&command)
}

/// Each is locked until the transaction ends, be it dropped before or not.
pub fn count_relation() {
    let made = RELATIONS.get() + 1;
    RELATIONS.set(made);
    if NEW_RELATIONS.get() > 0 && made > NEW_RELATIONS.get() && may_stop_others() {
        too_much("too many tables, indexes and sequences in one transaction", "stormops.ceiling_new_relations");
    }
}

unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_START_SUB => {
            // SAFETY: a plain read of the backend's own state, and a guarded function.
            unsafe {
                let open = pg_sys::GetCurrentTransactionNestLevel() - 1;
                if SAVEPOINTS.get() > 0 && open > SAVEPOINTS.get() {
                    judge_depth();
                }
            }
        }
        // An error has put off all timers.
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => age::go_on(),
        _ => {}
    }
}

/// Each open savepoint that something was written under holds a lock of its own.
#[pg_guard]
unsafe extern "C-unwind" fn judge_depth() {
    if may_stop_others() {
        too_much("too many savepoints are open at once", "stormops.ceiling_savepoints");
    }
}

fn too_much(message: &'static str, setting: &str) -> ! {
    let hint = format!("COMMIT in between. A superuser may raise the ceiling: {setting}.");
    raise(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, message, &hint)
}

unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::{
        XACT_EVENT_PARALLEL_ABORT, XACT_EVENT_PARALLEL_COMMIT, XACT_EVENT_PARALLEL_PRE_COMMIT, XACT_EVENT_PRE_COMMIT,
    };
    if event == XACT_EVENT_PRE_COMMIT {
        age::end(); // nothing is cut off between the commit and its answer
    } else if ![XACT_EVENT_PARALLEL_ABORT, XACT_EVENT_PARALLEL_COMMIT, XACT_EVENT_PARALLEL_PRE_COMMIT].contains(&event)
    {
        age::end();
        RELATIONS.set(0);
        look_again();
    }
}
