//! The aggregate that takes a file in, line by line: its state is what is known of the file so far, and at most a batch of
//! its rows. The caller's own rights give it the lines; only what it writes, it writes as the owner of the tables.

#![expect(unsafe_code, reason = "aggregate support functions")]

use super::as_owner;
use crate::memory;
use crate::portability::file::{Fault, Line, Reader};
use crate::postgres::aggregate::{answer, given, state};
use crate::postgres::call::{self, argument, bytes, uuid};
use crate::postgres::memory::{allocated, need};
use crate::postgres::raise::{raise, refuse, required};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;

const USAGE: &str = "SELECT stormops.import_tenant_rows(line ORDER BY n) FROM lines;";
/// A batch ends with so many rows or bytes.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;
/// Of a table whose rows refer to each other, and so are written in one statement.
const WHOLE_BYTES: usize = 256 << 20;

#[derive(Default)]
struct Import {
    reader: Reader,
    /// The tenant's id in the file, and here.
    from: String,
    to: Option<pgrx::Uuid>,
    /// Another name for it.
    org_name: Option<String>,
    /// How the rows of the table that is being read are inserted; whether all at once.
    statement: Option<(String, bool)>,
    held: Vec<String>,
    bytes: usize,
}

/// Says what is wrong with the file.
fn refused(fault: Fault) -> ! {
    let code = if fault.too_large {
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED
    } else {
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
    };
    raise(
        code,
        fault.message,
        "Nothing was written. Export the tenant again, and hand in every line as it was written, in its order.",
    )
}

/// A query of ours, as the owner of the tables. What goes wrong in it ends the statement.
fn query<A: FromDatum + IntoDatum, B: FromDatum + IntoDatum>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
) -> (Option<A>, Option<B>) {
    as_owner(|| Spi::get_two_with_args(query, arguments)).unwrap_or_else(|error| {
        raise(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, error.to_string(), "This is a fault of StormOps.")
    })
}

impl Import {
    fn take(&mut self, line: &str) {
        match self.reader.take(line).unwrap_or_else(|fault| refused(fault)) {
            Line::Tenant(tenant) => self.begin(tenant),
            Line::Table(table) => {
                self.flush();
                let made = query::<String, bool>(
                    "SELECT s.statement, s.whole FROM stormops_internal.import_statement($1, $2) AS s",
                    &[table.table.into(), table.columns.into()],
                );
                self.statement = made.0.zip(made.1);
            }
            Line::Row => self.hold(line),
            Line::End => {
                self.flush();
                query::<bool, bool>(
                    "SELECT stormops_internal.import_end($1, $2::pg_catalog.uuid), true",
                    &[self.to.into(), self.from.as_str().into()],
                );
            }
        }
    }

    fn begin(&mut self, tenant: uuid::Uuid) {
        self.from = tenant.to_string();
        let to = *self.to.get_or_insert(pgrx::Uuid::from_bytes(*tenant.as_bytes()));
        query::<bool, bool>(
            "SELECT stormops_internal.import_begin($1, $2), true",
            &[to.into(), self.org_name.clone().into()],
        );
    }

    /// Keeps a row until its batch is written. Wherever the tenant's id stands in it, the new one does.
    fn hold(&mut self, line: &str) {
        let to = self.to.map(|to| to.to_string()).unwrap_or_default();
        let mut held = String::new();
        memory::fallibly(|| allocated(held.try_reserve_exact(line.len())));
        if to == self.from {
            held.push_str(line);
        } else {
            // Both are of one length.
            let mut rest = line;
            while let Some((before, after)) = rest.split_once(self.from.as_str()) {
                held.push_str(before);
                held.push_str(&to);
                rest = after;
            }
            held.push_str(rest);
        }
        self.bytes += held.len();
        self.held.push(held);
        if self.statement.as_ref().is_some_and(|statement| statement.1) {
            if self.bytes > WHOLE_BYTES {
                raise(
                    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    "a table whose rows refer to each other has more than 256 MB of them",
                    "Bring this tenant in with pg_dump and pg_restore.",
                );
            }
        } else if self.held.len() == BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Writes the rows that are held.
    fn flush(&mut self) {
        pgrx::check_for_interrupts!();
        let (Some((statement, _)), false) = (&self.statement, self.held.is_empty()) else { return };
        need(self.bytes * 2);
        self.bytes = 0;
        query::<bool, bool>(
            "SELECT stormops_internal.import_rows($1, $2, $3, $4), true",
            &[
                statement.as_str().into(),
                std::mem::take(&mut self.held).into(),
                self.to.into(),
                self.org_name.clone().into(),
            ],
        );
    }
}

/// `(state, line [, tenant_id, org_name])`
unsafe fn collect(call: FunctionCallInfo) -> Datum {
    unsafe {
        let import = state::<Import>(call, USAGE);
        let line = required(argument(call, 1), "line");
        let Ok(line) = std::str::from_utf8(bytes(line)) else { refuse("a line is not in UTF-8", USAGE) };
        if import.from.is_empty() && (*call).nargs == 4 {
            import.to = argument(call, 2).map(|id| pgrx::Uuid::from_bytes(*uuid(id)));
            let name = argument(call, 3).map(|name| String::from_utf8_lossy(bytes(name)).into_owned());
            import.org_name = name.filter(|name| !name.is_empty());
        }
        import.take(line);
        answer(import)
    }
}

/// What came in, as an object.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let Some(import) = given::<Import>(call, 0) else { refuse("there is no line to import", USAGE) };
        import.reader.whole().unwrap_or_else(|fault| refused(fault));
        let tables: serde_json::Map<_, _> =
            import.reader.tables().map(|(table, rows)| (table.to_owned(), rows.into())).collect();
        let tenant = import.to.map(|to| to.to_string());
        let report = serde_json::json!({ "tenant_id": tenant, "rows": import.reader.rows(), "tables": tables });
        pgrx::JsonB(report).into_datum().unwrap_or(Datum::null())
    }
}

call::functions! {
    stormops_import_collect = collect;
    stormops_import_finish = finish;
}
