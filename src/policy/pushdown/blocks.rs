//! What is added where blocks are unpacked.

use super::facts::Value;
use super::{entry, tag};
use pgrx::PgList;
use pgrx::pg_sys::{self, Node, NodeTag, Oid, Query, RTEKind, RangeTblEntry};
use std::ffi::CStr;

/// `table` is a function among the query's tables. If it unpacks blocks of the log, only those that may have the property
/// are read, and of each only that. What the whole query asks must ask it: the conditions become its own.
pub unsafe fn rule_out(query: *mut Query, table: *mut RangeTblEntry, property: Value) {
    // SAFETY: a query that the server is about to plan.
    unsafe {
        let functions = PgList::<pg_sys::RangeTblFunction>::from_pg((*table).functions);
        let Some(function) = functions.get_ptr(0).filter(|_| functions.len() == 1) else { return };
        if tag((*function).funcexpr) != NodeTag::T_FuncExpr {
            return;
        }
        let call = (*function).funcexpr.cast::<pg_sys::FuncExpr>();
        if !is_ours((*call).funcid) {
            return;
        }
        let mut arguments = PgList::<Node>::from_pg((*call).args);
        let (Some(ids), Some(wanted)) = (arguments.get_ptr(0), arguments.get_ptr(WANTED)) else { return };
        // One that is looked for already.
        if tag(ids) != NodeTag::T_Var
            || tag(wanted) != NodeTag::T_Const
            || !(*wanted.cast::<pg_sys::Const>()).constisnull
        {
            return;
        }
        let ids = ids.cast::<pg_sys::Var>();
        let Some(blocks) = entry(query, (*ids).varno).filter(|_| (*ids).varlevelsup == 0) else { return };
        if (*blocks).rtekind != RTEKind::RTE_RELATION || !are_blocks((*blocks).relid, (*ids).varattno) {
            return;
        }
        // Not among the columns whose right is asked for: what they say follows from what was asked.
        let column = |name: &CStr| {
            let place = pg_sys::get_attnum((*blocks).relid, name.as_ptr());
            (place > 0).then(|| pg_sys::makeVar((*ids).varno, place, pg_sys::UUIDOID, -1, pg_sys::InvalidOid, 0))
        };
        let (Some(first), Some(last)) = (column(c"first_property"), column(c"last_property")) else { return };
        let mut conditions = PgList::<Node>::new();
        match property {
            Value::One(property) => {
                conditions.push(compare(first, LESS_OR_EQUAL, property));
                conditions.push(compare(last, GREATER_OR_EQUAL, property));
                arguments.pop();
                arguments.push(pg_sys::copyObjectImpl(property.cast()).cast());
                (*call).args = arguments.into_pg();
            }
            Value::OneOf(array) => {
                let Some(call) = may_have(first, last, array) else { return };
                conditions.push(call);
            }
        }
        let from = (*query).jointree;
        if !(*from).quals.is_null() {
            conditions.push((*from).quals);
        }
        (*from).quals = pg_sys::make_ands_explicit(conditions.into_pg()).cast();
    }
}

/// uuid <= uuid and uuid >= uuid, in every version: pg_operator.dat.
const LESS_OR_EQUAL: u32 = 2976;
const GREATER_OR_EQUAL: u32 = 2977;

unsafe fn compare(column: *mut pg_sys::Var, operator: u32, value: *mut Node) -> *mut Node {
    // SAFETY: nodes of the query.
    unsafe {
        let value = pg_sys::copyObjectImpl(value.cast()).cast();
        let none = pg_sys::InvalidOid;
        let condition =
            pg_sys::make_opclause(Oid::from(operator), pg_sys::BOOLOID, false, column.cast(), value, none, none);
        pg_sys::set_opfuncid(condition.cast());
        condition.cast()
    }
}

/// A call of `block_may_have()`; None where the function is not there, or of another type.
unsafe fn may_have(first: *mut pg_sys::Var, last: *mut pg_sys::Var, array: *mut Node) -> Option<*mut Node> {
    // SAFETY: as above.
    unsafe {
        let types = [pg_sys::UUIDOID, pg_sys::UUIDOID, pg_sys::UUIDARRAYOID];
        if pg_sys::exprType(array) != pg_sys::UUIDARRAYOID {
            return None;
        }
        let mut name = PgList::<Node>::new();
        for part in [c"stormops_internal", c"block_may_have"] {
            name.push(pg_sys::makeString(pg_sys::pstrdup(part.as_ptr())).cast());
        }
        let function = pg_sys::LookupFuncName(name.into_pg(), 3, types.as_ptr(), true);
        if function == pg_sys::InvalidOid {
            return None;
        }
        let mut arguments = PgList::<Node>::new();
        arguments.push(first.cast());
        arguments.push(last.cast());
        arguments.push(pg_sys::copyObjectImpl(array.cast()).cast());
        let (none, form) = (pg_sys::InvalidOid, pg_sys::CoercionForm::COERCE_EXPLICIT_CALL);
        Some(pg_sys::makeFuncExpr(function, pg_sys::BOOLOID, arguments.into_pg(), none, none, form).cast())
    }
}

/// The argument of `unpack_decisions()` that names the property to look for, its last.
const WANTED: usize = 10;

/// Whether it is `stormops_internal.unpack_decisions()`.
unsafe fn is_ours(function: Oid) -> bool {
    // SAFETY: catalogue lookups.
    unsafe {
        function.to_u32() >= pg_sys::FirstNormalObjectId
            && is(pg_sys::get_func_name(function), c"unpack_decisions")
            && is(pg_sys::get_namespace_name(pg_sys::get_func_namespace(function)), c"stormops_internal")
    }
}

/// Whether it is `stormops.policy_decision_blocks`, and the column its `property_ids`.
unsafe fn are_blocks(relation: Oid, column: i16) -> bool {
    // SAFETY: as above.
    unsafe {
        is(pg_sys::get_rel_name(relation), c"policy_decision_blocks")
            && is(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation)), c"stormops")
            && pg_sys::get_attnum(relation, c"property_ids".as_ptr()) == column
    }
}

unsafe fn is(name: *const std::ffi::c_char, expected: &CStr) -> bool {
    // SAFETY: a name of the catalogue, or NULL.
    unsafe { !name.is_null() && CStr::from_ptr(name) == expected }
}
