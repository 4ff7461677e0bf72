//! The rows of a query, without pgrx' conversions, since there may be millions: through a cursor of SPI, some at a time, so
//! that memory is the same for any number.

#![expect(unsafe_code, reason = "cursors of SPI on the hot path")]

use super::call::{self, boolean, double};
use pgrx::pg_sys::{self, Datum, Oid, Portal};
use std::ffi::{CStr, c_char, c_int, c_long};

/// How many rows are fetched at a time.
const BATCH: c_long = 1000;

/// A query under way, with rows of W columns. An error closes it with its transaction.
pub struct Rows<const W: usize> {
    portal: Portal,
    batch: *mut pg_sys::SPITupleTable,
    at: usize,
    n: usize,
}

/// The columns of a row, which live until the next one is asked for.
pub struct Row<const W: usize> {
    values: [Datum; W],
    nulls: [bool; W],
}

impl<const W: usize> Rows<W> {
    /// `ids` and after them `text` are the query's parameters, uuids and a text. It sees what the statement that called sees, and writes nothing.
    ///
    /// SAFETY: within a connection of SPI, which outlives this; the query gives W columns.
    pub unsafe fn of(query: &CStr, ids: &[[u8; 16]], text: Datum) -> Self {
        let mut types = vec![pg_sys::UUIDOID; ids.len()];
        types.push(pg_sys::TEXTOID);
        let mut values: Vec<Datum> = ids.iter().map(|id| Datum::from(id.as_ptr())).collect();
        values.push(text);
        // SAFETY: as many types as values, which the cursor copies.
        let portal = unsafe {
            pg_sys::SPI_cursor_open_with_args(
                std::ptr::null(),
                query.as_ptr(),
                values.len() as c_int,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                std::ptr::null(),
                true,
                pg_sys::CURSOR_OPT_NO_SCROLL as c_int,
            )
        };
        Self { portal, batch: std::ptr::null_mut(), at: 0, n: 0 }
    }

    pub fn next(&mut self) -> Option<Row<W>> {
        if self.at == self.n && !self.fetch() {
            return None;
        }
        let mut row = Row { values: [Datum::null(); W], nulls: [true; W] };
        // SAFETY: the batch holds n rows of W columns; what they refer to lives as long as it does.
        unsafe {
            let tuple = *(*self.batch).vals.add(self.at);
            pg_sys::heap_deform_tuple(tuple, (*self.batch).tupdesc, row.values.as_mut_ptr(), row.nulls.as_mut_ptr());
        }
        self.at += 1;
        Some(row)
    }

    /// The next rows, if there are any.
    fn fetch(&mut self) -> bool {
        if self.portal.is_null() {
            return false;
        }
        // SAFETY: the cursor is open; the last batch is done with.
        unsafe {
            if !self.batch.is_null() {
                pg_sys::SPI_freetuptable(self.batch);
            }
            pg_sys::SPI_cursor_fetch(self.portal, true, BATCH);
            (self.batch, self.at, self.n) = (pg_sys::SPI_tuptable, 0, pg_sys::SPI_processed as usize);
        }
        if self.n == 0 {
            self.close();
        }
        self.n > 0
    }

    fn close(&mut self) {
        if self.portal.is_null() {
            return;
        }
        // SAFETY: the cursor is open.
        unsafe {
            if !self.batch.is_null() {
                pg_sys::SPI_freetuptable(self.batch);
            }
            pg_sys::SPI_cursor_close(self.portal);
        }
        (self.portal, self.batch, self.at, self.n) = (std::ptr::null_mut(), std::ptr::null_mut(), 0, 0);
    }
}

impl<const W: usize> Drop for Rows<W> {
    fn drop(&mut self) {
        // After an error the server itself puts away what is open.
        if !std::thread::panicking() {
            self.close();
        }
    }
}

impl<const W: usize> Row<W> {
    pub fn value(&self, i: usize) -> Option<Datum> {
        (!self.nulls[i]).then_some(self.values[i])
    }

    /// A `uuid`; zeros if it is NULL.
    ///
    /// SAFETY: the column is one.
    pub unsafe fn uuid(&self, i: usize) -> [u8; 16] {
        self.value(i).map_or([0; 16], |value| unsafe { *call::uuid(value) })
    }

    /// A `double precision`; NaN if it is NULL.
    pub fn double(&self, i: usize) -> f64 {
        self.value(i).map_or(f64::NAN, double)
    }

    /// A `boolean`; false if it is NULL.
    pub fn boolean(&self, i: usize) -> bool {
        self.value(i).is_some_and(boolean)
    }

    /// A `text`.
    ///
    /// SAFETY: the column is one; what is made of it is used before the next row is asked for.
    pub unsafe fn text<'a>(&self, i: usize) -> Option<&'a [u8]> {
        self.value(i).map(|value| unsafe { call::bytes(value) })
    }
}

/// A statement that writes, executed many times, each time with the same types.
pub struct Statement<const W: usize> {
    plan: pg_sys::SPIPlanPtr,
}

impl<const W: usize> Statement<W> {
    /// SAFETY: within a connection of SPI, which outlives this.
    pub unsafe fn prepare(statement: &CStr, types: [Oid; W]) -> Self {
        let mut types = types;
        // SAFETY: W types; an error does not return.
        Self { plan: unsafe { pg_sys::SPI_prepare(statement.as_ptr(), W as c_int, types.as_mut_ptr()) } }
    }

    /// SAFETY: the values are of the types; those that are None are NULL.
    pub unsafe fn execute(&self, values: [Option<Datum>; W]) {
        let nulls = values.map(|value| if value.is_some() { b' ' } else { b'n' } as c_char);
        let mut values = values.map(|value| value.unwrap_or(Datum::null()));
        // SAFETY: as above. Whatever goes wrong with it is an error, which does not return.
        unsafe { pg_sys::SPI_execute_plan(self.plan, values.as_mut_ptr(), nulls.as_ptr(), false, 0) };
    }
}
