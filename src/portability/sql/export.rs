//! Rows as lines. Raw, since it runs for each row of a tenant.

#![expect(unsafe_code, reason = "a row as Postgres keeps it")]

use super::columns::Kind;
use crate::portability::file::hex;
use crate::portability::values;
use crate::postgres::bytea::bytea;
use crate::postgres::call::{self, argument, bytes, null};
use crate::postgres::raise::raise;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo, Oid};
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, PgTupleDesc};
use sha2::{Digest, Sha256};
use std::cell::RefCell;

thread_local! {
    /// Of the rows of the table that is being exported: how many, and their digest.
    static SUM: RefCell<(i64, Sha256)> = RefCell::default();
}

/// What is known of the rows of one call site.
struct Writer {
    of: (Oid, i32),
    columns: PgTupleDesc<'static>,
    kinds: Vec<Kind>,
    values: Vec<Datum>,
    nulls: Vec<bool>,
    line: Vec<u8>,
}

impl Writer {
    /// SAFETY: a composite type that is there.
    unsafe fn new(of: (Oid, i32)) -> Self {
        unsafe {
            let columns = PgTupleDesc::from_pg_is_copy(pg_sys::lookup_rowtype_tupdesc_copy(of.0, of.1));
            let kinds: Vec<_> = columns.iter().map(|column| Kind::of(column.atttypid)).collect();
            let n = kinds.len();
            Self { of, columns, kinds, values: vec![Datum::null(); n], nulls: vec![true; n], line: Vec::new() }
        }
    }
}

/// The writer of this call site: made at its first row.
///
/// SAFETY: a call in progress.
unsafe fn writer<'a>(call: FunctionCallInfo, of: (Oid, i32)) -> &'a mut Writer {
    unsafe {
        let function = &mut *(*call).flinfo;
        let kept = function.fn_extra.cast::<Writer>();
        if !kept.is_null() && (*kept).of == of {
            return &mut *kept;
        }
        let mut context = PgMemoryContexts::For(function.fn_mcxt);
        let writer = context.switch_to(|_| Writer::new(of));
        let kept = context.leak_and_drop_on_delete(writer);
        function.fn_extra = kept.cast();
        &mut *kept
    }
}

/// `(table_name, row)`: the line of a row, which enters the digest of its table.
unsafe fn line(call: FunctionCallInfo) -> Datum {
    unsafe {
        let (Some(name), Some(row)) = (argument(call, 0), argument(call, 1)) else { return null(call) };
        let header = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        let of = (pgrx::heap_tuple_header_get_type_id(header), pgrx::heap_tuple_header_get_typmod(header));
        let writer = writer(call, of);
        let mut tuple = pg_sys::HeapTupleData {
            t_len: pgrx::heap_tuple_header_get_datum_length(header) as u32,
            t_data: header,
            ..Default::default()
        };
        let (values, nulls) = (writer.values.as_mut_ptr(), writer.nulls.as_mut_ptr());
        pg_sys::heap_deform_tuple(&mut tuple, writer.columns.as_ptr(), values, nulls);
        let line = &mut writer.line;
        line.clear();
        line.push(b'[');
        values::text(line, std::str::from_utf8(bytes(name)).unwrap_or_default());
        for (i, kind) in writer.kinds.iter().enumerate() {
            line.push(b',');
            if writer.nulls[i] {
                line.extend_from_slice(b"null");
            } else {
                kind.write(line, writer.values[i]);
            }
        }
        line.push(b']');
        if line.len() > 1 << 29 {
            raise(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "a row is longer than a line can be",
                "Take it out with pg_dump.",
            );
        }
        SUM.with_borrow_mut(|(rows, sum)| {
            *rows += 1;
            sum.update(&*line);
            sum.update(b"\n");
        });
        bytea(line.len(), |text| text.copy_from_slice(line))
    }
}

call::functions! {
    stormops_export_line = line;
}

/// How many rows were written since this was last called, and the SHA-256 of their lines.
#[pg_extern(sql = false)]
fn export_sum() -> TableIterator<'static, (name!(rows, i64), name!(sha256, String))> {
    let (rows, sum) = SUM.take();
    TableIterator::once((rows, hex(&sum.finalize())))
}
