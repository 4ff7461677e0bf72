//! One row of a table of StormOps as it is committed at this moment, past the transaction's snapshot.
//!
//! An index scan with `SnapshotSelf`, without the SQL machinery: for what every statement of
//! every tenant asks, and for what a transaction may not be allowed to have overlooked.

#![expect(unsafe_code, reason = "an index scan with a snapshot of its own")]

use pgrx::pg_sys::{self, Oid};
use pgrx::{FromDatum, IntoDatum};
use std::ffi::CStr;

/// The value of a key's column: a uuid, or a text under the collation C.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    Id([u8; 16]),
    Text(&'a str),
}

/// How to find the row.
#[derive(Clone, Copy, PartialEq)]
pub enum By {
    PrimaryKey,
    /// Row by row, in a small table.
    Column,
}

/// A row under the scan, to read columns of.
pub struct Row {
    table: Oid,
    tuple: pg_sys::HeapTuple,
    shape: pg_sys::TupleDesc,
}

impl Row {
    /// None: NULL, or a column that is not there. `T` must be what the column holds.
    pub fn get<T: FromDatum>(&self, column: &CStr) -> Option<T> {
        let mut is_null = false;
        // SAFETY: `with_row` holds the tuple while this lives; the value is copied out.
        unsafe {
            let attribute = i32::from(pg_sys::get_attnum(self.table, column.as_ptr()));
            if attribute == 0 {
                return None;
            }
            let datum = pg_sys::heap_getattr(self.tuple, attribute, self.shape, &mut is_null);
            T::from_datum(datum, is_null)
        }
    }

    /// Whether this transaction wrote the row, which nobody else sees yet.
    pub fn is_of_this_transaction(&self) -> bool {
        // SAFETY: as above.
        unsafe {
            let header = (*self.tuple).t_data;
            let frozen = u32::from((*header).t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN;
            !frozen && pg_sys::TransactionIdIsCurrentTransactionId((*header).t_choice.t_heap.t_xmin)
        }
    }
}

/// Where a table of StormOps stands.
#[derive(Clone, Copy)]
pub enum Schema {
    /// What users use.
    Public,
    /// What only functions read.
    Internal,
}

/// A table of StormOps; invalid where it is missing.
pub fn table(schema: Schema, name: &CStr) -> Oid {
    let schema = match schema {
        Schema::Public => c"stormops",
        Schema::Internal => c"stormops_internal",
    };
    // SAFETY: catalogue lookups by name.
    unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), false);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// What `read` makes of the row with this key; None if there is no such row.
///
/// A scan that an update's commit overtakes can pass the new version before and the old one
/// after that commit, and see neither. A second look finds the row.
pub fn with_row<T>(table: Oid, by: By, key: &[(&CStr, Key)], read: impl Fn(&Row) -> T) -> Option<T> {
    if table == pg_sys::InvalidOid {
        return None;
    }
    scan(table, by, key, &read).or_else(|| scan(table, by, key, &read))
}

fn scan<T>(table: Oid, by: By, key: &[(&CStr, Key)], read: impl Fn(&Row) -> T) -> Option<T> {
    // SAFETY: the relation stays open and locked from here to `table_close`; what is read from
    // a tuple is copied out before the scan moves on.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        pg_sys::list_free(pg_sys::RelationGetIndexList(relation)); // fills rd_pkindex
        let mut keys: Vec<pg_sys::ScanKeyData> = key
            .iter()
            .map(|(column, value)| {
                let (equal, value) = match value {
                    Key::Id(id) => (pg_sys::F_UUID_EQ, pgrx::Uuid::from_bytes(*id).into_datum()),
                    Key::Text(text) => (pg_sys::F_TEXTEQ, text.into_datum()),
                };
                let mut scan_key = pg_sys::ScanKeyData::default();
                pg_sys::ScanKeyInit(
                    &mut scan_key,
                    pg_sys::get_attnum(table, column.as_ptr()),
                    pg_sys::BTEqualStrategyNumber as u16,
                    Oid::from(equal),
                    value.unwrap_or(pg_sys::Datum::null()),
                );
                scan_key
            })
            .collect();
        let scan = pg_sys::systable_beginscan(
            relation,
            (*relation).rd_pkindex,
            by == By::PrimaryKey,
            &raw mut pg_sys::SnapshotSelfData,
            keys.len() as i32,
            keys.as_mut_ptr(),
        );
        let tuple = pg_sys::systable_getnext(scan);
        let found = (!tuple.is_null()).then(|| read(&Row { table, tuple, shape: (*relation).rd_att }));
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        found
    }
}
