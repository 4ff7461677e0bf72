//! `property_id = X` on a view of the decision log reaches the blocks: before a statement is planned, blocks that cannot
//! hold the property are ruled out by their first_property and last_property, and of those left only X is unpacked.
//!
//! Only true conditions are added, those that follow from what stands there; the condition itself stays where it was. So
//! no statement returns another row than without this, and policies, barriers and rights are as they were. X is a constant
//! or a parameter, or made of such, so that it needs no row to be known.

#![expect(unsafe_code, reason = "a hook of the server, and its query trees")]

mod blocks;
mod facts;

use crate::postgres::hooks::hook_before;
use facts::{Column, Facts, Known};
use pgrx::PgList;
use pgrx::pg_sys::{self, CmdType, Node, NodeTag, Query, RTEKind, RangeTblEntry};
use pgrx::prelude::*;
use std::ffi::{c_char, c_int, c_void};

hook_before!(
    planner_hook: planner_hook_type,
    standard_planner(
        query: *mut Query,
        text: *const c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt,
    // A view is a query in the table list, whoever names it.
    if !(*query).rtable.is_null() || (*query).hasSubLinks || !(*query).cteList.is_null() {
        look(query);
    }
);

#[pg_guard]
unsafe extern "C-unwind" fn look(query: *mut Query) {
    // SAFETY: a query that the server is about to plan, and may change.
    unsafe { visit(query.cast(), std::ptr::null_mut()) };
}

/// Looks at each query within.
#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: the type tag says which node it is; the walkers of the server guard the depth.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == NodeTag::T_Query {
            let query = node.cast::<Query>();
            narrow(query, &[]);
            pg_sys::query_tree_walker(query, Some(visit), context, 0)
        } else {
            pg_sys::expression_tree_walker(node, Some(visit), context)
        }
    }
}

unsafe fn tag(node: *const Node) -> NodeTag {
    // SAFETY: a node or none.
    unsafe { if node.is_null() { NodeTag::T_Invalid } else { (*node).type_ } }
}

unsafe fn entry(query: *const Query, place: i32) -> Option<*mut RangeTblEntry> {
    // SAFETY: the query's own list of tables, counted from 1.
    unsafe { PgList::<RangeTblEntry>::from_pg((*query).rtable).get_ptr(usize::try_from(place).ok()?.checked_sub(1)?) }
}

/// Rules out what the query's own conditions rule out, and `known`: what whoever reads the query will ask of its columns.
unsafe fn narrow(query: *mut Query, known: &[Known]) {
    // SAFETY: as above.
    unsafe {
        pg_sys::check_stack_depth();
        // In a MERGE what does not meet the condition is used as well.
        if (*query).commandType == CmdType::CMD_MERGE || (*query).jointree.is_null() {
            return;
        }
        let mut facts = Facts::new(query, known);
        facts.collect((*query).jointree.cast());
        facts.settle(&mut |tables, known| apply(query, tables, known));
    }
}

/// In this part of the query only rows with `known` matter. `tables`: those that lie in it; None: all.
unsafe fn apply(query: *mut Query, tables: Option<&[i32]>, known: Known) {
    // SAFETY: as above.
    unsafe {
        if tables.is_some_and(|tables| !tables.contains(&known.column.table)) {
            return;
        }
        let Some(table) = entry(query, known.column.table) else { return };
        match (*table).rtekind {
            RTEKind::RTE_SUBQUERY => narrow_inner((*table).subquery, known),
            RTEKind::RTE_FUNCTION if known.column.place == 1 && tables.is_none() => {
                blocks::rule_out(query, table, known.value);
            }
            _ => {}
        }
    }
}

/// Of this query only rows with `known`, a column of its result, matter.
unsafe fn narrow_inner(query: *mut Query, known: Known) {
    // SAFETY: as above.
    unsafe {
        if query.is_null() || (*query).commandType != CmdType::CMD_SELECT {
            return;
        }
        if !(*query).setOperations.is_null() {
            arms((*query).setOperations, query, known);
            return;
        }
        // Rows are counted or cut there, so that others matter too.
        if !(*query).limitCount.is_null()
            || !(*query).limitOffset.is_null()
            || !(*query).groupingSets.is_null()
            || (*query).hasWindowFuncs
            || (*query).hasTargetSRFs
        {
            return;
        }
        let targets = PgList::<pg_sys::TargetEntry>::from_pg((*query).targetList);
        let Some(target) = targets.iter_ptr().find(|t| (**t).resno == known.column.place && !(**t).resjunk) else {
            return;
        };
        // Groups and first ones are of this value or of another, if it is by this column that they are made.
        let made_by = |list: *mut pg_sys::List| {
            list.is_null()
                || PgList::<pg_sys::SortGroupClause>::from_pg(list)
                    .iter_ptr()
                    .any(|by| (*by).tleSortGroupRef == (*target).ressortgroupref)
        };
        if (*query).hasAggs && (*query).groupClause.is_null()
            || !made_by((*query).groupClause)
            || !made_by((*query).distinctClause)
        {
            return;
        }
        if let Some(column) = facts::column(query, (*target).expr.cast()) {
            narrow(query, &[Known { column, value: known.value }]);
        }
    }
}

/// The parts of a UNION ALL, which have the same columns.
unsafe fn arms(node: *mut Node, query: *mut Query, known: Known) {
    // SAFETY: as above.
    unsafe {
        pg_sys::check_stack_depth();
        match tag(node) {
            NodeTag::T_SetOperationStmt => {
                let operation = node.cast::<pg_sys::SetOperationStmt>();
                if (*operation).op == pg_sys::SetOperation::SETOP_UNION && (*operation).all {
                    arms((*operation).larg, query, known);
                    arms((*operation).rarg, query, known);
                }
            }
            NodeTag::T_RangeTblRef => {
                if let Some(table) = entry(query, (*node.cast::<pg_sys::RangeTblRef>()).rtindex) {
                    narrow_inner((*table).subquery, Known { column: Column { table: 0, ..known.column }, ..known });
                }
            }
            _ => {}
        }
    }
}
