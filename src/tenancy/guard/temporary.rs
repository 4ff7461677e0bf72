//! Commands on what is temporary: the session's own, and so out of everybody's way.
//!
//! Names are looked up as the command itself will, and without a lock. What is found in the session's temporary schema
//! is nobody else's to change meanwhile.

#![expect(unsafe_code, reason = "parse trees of the server")]

use pgrx::PgList;
use pgrx::pg_sys::{self, NodeTag};

/// Where a command works.
pub enum Place {
    /// On a temporary relation that this transaction drops, and on nothing else.
    UntilTheTransactionEnds,
    /// In the session's temporary schema, which is searched before all others: the next transaction will find it.
    LeftBehind,
    Elsewhere,
}

pub unsafe fn place(command: *mut pg_sys::Node) -> Place {
    // SAFETY: the type tag says which node it is.
    unsafe {
        match (*command).type_ {
            NodeTag::T_CreateStmt => {
                let create = command.cast::<pg_sys::CreateStmt>();
                if !is_made_temporary((*create).relation) || reaches_out(create) {
                    Place::Elsewhere
                } else {
                    until((*create).oncommit)
                }
            }
            NodeTag::T_CreateTableAsStmt => {
                let into = (*command.cast::<pg_sys::CreateTableAsStmt>()).into;
                if is_made_temporary((*into).rel) { until((*into).onCommit) } else { Place::Elsewhere }
            }
            NodeTag::T_IndexStmt => on((*command.cast::<pg_sys::IndexStmt>()).relation),
            NodeTag::T_DropStmt => {
                let drop = command.cast::<pg_sys::DropStmt>();
                let names = PgList::<pg_sys::List>::from_pg((*drop).objects);
                let mut tables = names.iter_ptr().map(|name| pg_sys::makeRangeVarFromNameList(name));
                let tables_only = (*drop).removeType == pg_sys::ObjectType::OBJECT_TABLE;
                // One that is missing is dropped IF EXISTS, as a rule, before it is made.
                all(tables_only && tables.all(|table| find(table).is_none_or(|table| is_ours(table))))
            }
            NodeTag::T_TruncateStmt => {
                let tables = (*command.cast::<pg_sys::TruncateStmt>()).relations;
                all(PgList::<pg_sys::RangeVar>::from_pg(tables).iter_ptr().all(|table| is_temporary(table)))
            }
            // ANALYZE, which without a table is one of all tables.
            NodeTag::T_VacuumStmt => {
                let vacuum = command.cast::<pg_sys::VacuumStmt>();
                let tables = PgList::<pg_sys::VacuumRelation>::from_pg((*vacuum).rels);
                let own = !tables.is_empty() && tables.iter_ptr().all(|table| is_temporary((*table).relation));
                all(!(*vacuum).is_vacuumcmd && own)
            }
            NodeTag::T_CreateForeignTableStmt => {
                let create = command.cast::<pg_sys::CreateForeignTableStmt>();
                left_behind(is_made_temporary((*create).base.relation))
            }
            NodeTag::T_ViewStmt => left_behind(is_made_temporary((*command.cast::<pg_sys::ViewStmt>()).view)),
            NodeTag::T_CreateSeqStmt => {
                left_behind(is_made_temporary((*command.cast::<pg_sys::CreateSeqStmt>()).sequence))
            }
            NodeTag::T_CompositeTypeStmt => {
                left_behind(is_made_temporary((*command.cast::<pg_sys::CompositeTypeStmt>()).typevar))
            }
            NodeTag::T_CreateDomainStmt => {
                left_behind(is_temporary_name((*command.cast::<pg_sys::CreateDomainStmt>()).domainname))
            }
            NodeTag::T_CreateEnumStmt => {
                left_behind(is_temporary_name((*command.cast::<pg_sys::CreateEnumStmt>()).typeName))
            }
            NodeTag::T_CreateRangeStmt => {
                left_behind(is_temporary_name((*command.cast::<pg_sys::CreateRangeStmt>()).typeName))
            }
            _ => Place::Elsewhere,
        }
    }
}

fn until(on_commit: pg_sys::OnCommitAction::Type) -> Place {
    let drops = on_commit == pg_sys::OnCommitAction::ONCOMMIT_DROP;
    if drops { Place::UntilTheTransactionEnds } else { Place::LeftBehind }
}

fn left_behind(temporary: bool) -> Place {
    if temporary { Place::LeftBehind } else { Place::Elsewhere }
}

fn all(temporary: bool) -> Place {
    if temporary { Place::UntilTheTransactionEnds } else { Place::Elsewhere }
}

unsafe fn on(table: *const pg_sys::RangeVar) -> Place {
    // SAFETY: as the caller's.
    all(unsafe { is_temporary(table) })
}

/// True for a table that is a child or a partition of another, or has a foreign key to one: those are locked first.
unsafe fn reaches_out(create: *const pg_sys::CreateStmt) -> bool {
    let is_foreign = |key: *mut pg_sys::Constraint| unsafe { (*key).contype == pg_sys::ConstrType::CONSTR_FOREIGN };
    // SAFETY: the type tag says which node an element is.
    unsafe {
        let foreign = |element: *mut pg_sys::Node| match (*element).type_ {
            NodeTag::T_Constraint => is_foreign(element.cast()),
            NodeTag::T_ColumnDef => {
                let keys = (*element.cast::<pg_sys::ColumnDef>()).constraints;
                PgList::<pg_sys::Constraint>::from_pg(keys).iter_ptr().any(is_foreign)
            }
            _ => false,
        };
        let elements = PgList::<pg_sys::Node>::from_pg((*create).tableElts);
        !(*create).inhRelations.is_null() || elements.iter_ptr().any(foreign)
    }
}

/// Of a relation that is to be made.
unsafe fn is_made_temporary(relation: *const pg_sys::RangeVar) -> bool {
    // SAFETY: a lookup by name.
    unsafe { pg_sys::isTempNamespace(pg_sys::RangeVarGetCreationNamespace(relation)) }
}

/// Of a type that is to be made.
unsafe fn is_temporary_name(names: *mut pg_sys::List) -> bool {
    let mut name = std::ptr::null_mut();
    // SAFETY: a lookup by name.
    unsafe { pg_sys::isTempNamespace(pg_sys::QualifiedNameGetCreationNamespace(names, &mut name)) }
}

/// Of a relation that is there.
unsafe fn is_temporary(relation: *const pg_sys::RangeVar) -> bool {
    // SAFETY: as the caller's.
    unsafe { find(relation).is_some_and(|relation| is_ours(relation)) }
}

unsafe fn find(relation: *const pg_sys::RangeVar) -> Option<pg_sys::Oid> {
    let (flags, none) = (pg_sys::RVROption::RVR_MISSING_OK, std::ptr::null_mut());
    // SAFETY: a lookup by name, of a relation that may be missing.
    let found = unsafe { pg_sys::RangeVarGetRelidExtended(relation, pg_sys::NoLock as i32, flags, None, none) };
    (found != pg_sys::InvalidOid).then_some(found)
}

unsafe fn is_ours(relation: pg_sys::Oid) -> bool {
    // SAFETY: a lookup in the catalogue's cache.
    unsafe { pg_sys::isTempNamespace(pg_sys::get_rel_namespace(relation)) }
}
