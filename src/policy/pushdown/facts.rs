//! What is known of the columns of a query: which are equal to each other, and which to a value that needs no row.

use super::{entry, tag};
use pgrx::PgList;
use pgrx::pg_sys::{self, BoolExprType, JoinType, Node, NodeTag, Query, RTEKind};

/// A column of an entry of the query's own list of tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub table: i32,
    pub place: i16,
}

/// What a column equals.
#[derive(Clone, Copy)]
pub enum Value {
    One(*mut Node),
    /// An element of an array.
    OneOf(*mut Node),
}

#[derive(Clone, Copy)]
pub struct Known {
    pub column: Column,
    pub value: Value,
}

/// A part of a query in which all joins are inner ones: what is asked of one of its rows holds of all. What stands on the
/// side of an outer join that may stay empty is a part of its own.
pub struct Facts {
    query: *mut Query,
    known: Vec<Known>,
    equal: Vec<[Column; 2]>,
    /// The tables of the part; None: whatever the query has.
    tables: Option<Vec<i32>>,
    /// The parts of outer joins, with what the join asks.
    outer: Vec<(*mut Node, *mut Node)>,
}

impl Facts {
    pub fn new(query: *mut Query, known: &[Known]) -> Self {
        Self { query, known: known.to_vec(), equal: Vec::new(), tables: None, outer: Vec::new() }
    }

    /// Takes in a piece of the join tree.
    ///
    /// SAFETY: it is one of the query's.
    pub unsafe fn collect(&mut self, node: *mut Node) {
        // SAFETY: the type tag says which node it is.
        unsafe {
            pg_sys::check_stack_depth();
            match tag(node) {
                NodeTag::T_RangeTblRef => {
                    if let Some(tables) = &mut self.tables {
                        tables.push((*node.cast::<pg_sys::RangeTblRef>()).rtindex);
                    }
                }
                NodeTag::T_FromExpr => {
                    let from = node.cast::<pg_sys::FromExpr>();
                    for item in PgList::<Node>::from_pg((*from).fromlist).iter_ptr() {
                        self.collect(item);
                    }
                    self.note((*from).quals);
                }
                NodeTag::T_JoinExpr => {
                    let join = node.cast::<pg_sys::JoinExpr>();
                    let (left, right, asked) = ((*join).larg, (*join).rarg, (*join).quals);
                    match (*join).jointype {
                        JoinType::JOIN_INNER => {
                            self.collect(left);
                            self.collect(right);
                            self.note(asked);
                        }
                        JoinType::JOIN_LEFT => {
                            self.collect(left);
                            self.outer.push((right, asked));
                        }
                        JoinType::JOIN_RIGHT => {
                            self.collect(right);
                            self.outer.push((left, asked));
                        }
                        // What a full join asks rules nothing out on either side.
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes in a condition.
    unsafe fn note(&mut self, condition: *mut Node) {
        const EQUAL: u32 = 2972; // uuid = uuid, in every version: pg_operator.dat
        // SAFETY: as above.
        unsafe {
            match tag(condition) {
                NodeTag::T_BoolExpr => {
                    pg_sys::check_stack_depth();
                    let all = condition.cast::<pg_sys::BoolExpr>();
                    if (*all).boolop == BoolExprType::AND_EXPR {
                        for one in PgList::<Node>::from_pg((*all).args).iter_ptr() {
                            self.note(one);
                        }
                    }
                }
                NodeTag::T_List => {
                    for one in PgList::<Node>::from_pg(condition.cast()).iter_ptr() {
                        self.note(one);
                    }
                }
                NodeTag::T_ScalarArrayOpExpr => {
                    let any = condition.cast::<pg_sys::ScalarArrayOpExpr>();
                    let sides = PgList::<Node>::from_pg((*any).args);
                    let (Some(x), Some(array)) = (sides.get_ptr(0), sides.get_ptr(1)) else { return };
                    if (*any).useOr
                        && (*any).opno == pg_sys::Oid::from(EQUAL)
                        && needs_no_row(array)
                        && let Some(column) = column(self.query, x)
                    {
                        self.known.push(Known { column, value: Value::OneOf(array) });
                    }
                }
                NodeTag::T_OpExpr if (*condition.cast::<pg_sys::OpExpr>()).opno == pg_sys::Oid::from(EQUAL) => {
                    let sides = PgList::<Node>::from_pg((*condition.cast::<pg_sys::OpExpr>()).args);
                    let (Some(x), Some(y)) = (sides.get_ptr(0), sides.get_ptr(1)) else { return };
                    match (column(self.query, x), column(self.query, y)) {
                        (Some(x), Some(y)) => self.equal.push([x, y]),
                        (Some(column), None) if needs_no_row(y) => {
                            self.known.push(Known { column, value: Value::One(y) })
                        }
                        (None, Some(column)) if needs_no_row(x) => {
                            self.known.push(Known { column, value: Value::One(x) })
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    /// Draws the conclusions, calls `apply` with each, and goes on to the parts of outer joins.
    pub unsafe fn settle(mut self, apply: &mut dyn FnMut(Option<&[i32]>, Known)) {
        // Each turn one more column is known, or it is the last.
        while let Some(more) = self.equal.iter().find_map(|[x, y]| {
            let value = |column: &Column| self.known.iter().find(|known| known.column == *column);
            match (value(x), value(y)) {
                (Some(known), None) => Some(Known { column: *y, ..*known }),
                (None, Some(known)) => Some(Known { column: *x, ..*known }),
                _ => None,
            }
        }) {
            self.known.push(more);
        }
        for known in &self.known {
            apply(self.tables.as_deref(), *known);
        }
        for (side, asked) in std::mem::take(&mut self.outer) {
            let mut inner = Self::new(self.query, &self.known);
            inner.tables = Some(Vec::new());
            // SAFETY: as above.
            unsafe {
                inner.collect(side);
                inner.note(asked);
                inner.settle(apply);
            }
        }
    }
}

/// The column that an expression is, seen through the names that joins give their columns; None: another expression, or
/// a column of a query around this one.
pub unsafe fn column(query: *const Query, node: *const Node) -> Option<Column> {
    // SAFETY: as above. A join's columns are those of what it joins, so that this ends.
    unsafe {
        if tag(node) != NodeTag::T_Var {
            return None;
        }
        let var = node.cast::<pg_sys::Var>();
        if (*var).varlevelsup != 0 || (*var).varattno <= 0 {
            return None;
        }
        let table = entry(query, (*var).varno)?;
        let named = match (*table).rtekind {
            RTEKind::RTE_JOIN => (*table).joinaliasvars,
            #[cfg(feature = "pg18")]
            RTEKind::RTE_GROUP => (*table).groupexprs,
            _ => return Some(Column { table: (*var).varno, place: (*var).varattno }),
        };
        pg_sys::check_stack_depth();
        column(query, PgList::<Node>::from_pg(named).get_ptr((*var).varattno as usize - 1)?)
    }
}

/// Whether an expression has one value for the whole statement, whichever row is looked at: made of constants and of a
/// statement's parameters by functions that are not volatile. Whatever else there is, a column, a sub-select, an aggregate, is
/// something else.
unsafe fn needs_no_row(node: *mut Node) -> bool {
    // SAFETY: as above.
    unsafe {
        pg_sys::check_stack_depth();
        let all = |list: *mut pg_sys::List| PgList::<Node>::from_pg(list).iter_ptr().all(|node| needs_no_row(node));
        let is_plain = match tag(node) {
            NodeTag::T_Const => return true,
            NodeTag::T_Param => return (*node.cast::<pg_sys::Param>()).paramkind == pg_sys::ParamKind::PARAM_EXTERN,
            NodeTag::T_RelabelType => needs_no_row((*node.cast::<pg_sys::RelabelType>()).arg.cast()),
            NodeTag::T_CoerceViaIO => needs_no_row((*node.cast::<pg_sys::CoerceViaIO>()).arg.cast()),
            NodeTag::T_CollateExpr => needs_no_row((*node.cast::<pg_sys::CollateExpr>()).arg.cast()),
            NodeTag::T_ArrayExpr => all((*node.cast::<pg_sys::ArrayExpr>()).elements),
            NodeTag::T_FuncExpr => {
                let call = node.cast::<pg_sys::FuncExpr>();
                !(*call).funcretset && all((*call).args)
            }
            NodeTag::T_OpExpr => {
                let operation = node.cast::<pg_sys::OpExpr>();
                !(*operation).opretset && all((*operation).args)
            }
            _ => false,
        };
        is_plain && !pg_sys::contain_volatile_functions(node)
    }
}
