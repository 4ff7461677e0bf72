//! The rows that a function returns, without pgrx' conversions, since there may be millions.

#![expect(unsafe_code, reason = "sets of rows on the hot path")]

use crate::postgres::raise::refuse;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};

unsafe extern "C-unwind" {
    // Declared here, not taken from pg_sys, whose wrapper would guard each of a million calls: where it is called no frame
    // owns anything.
    fn tuplestore_putvalues(
        store: *mut pg_sys::Tuplestorestate,
        shape: pg_sys::TupleDesc,
        values: *const Datum,
        nulls: *const bool,
    );
}

/// The rows of a call, which the server keeps in memory up to `work_mem` and on disk beyond.
pub struct Rows {
    store: *mut pg_sys::Tuplestorestate,
    shape: pg_sys::TupleDesc,
}

impl Rows {
    /// SAFETY: a call of a function that is declared to return rows of so many columns.
    pub unsafe fn of(call: FunctionCallInfo, columns: usize) -> Self {
        // SAFETY: as above; it raises an error where a set cannot be returned.
        unsafe {
            pg_sys::InitMaterializedSRF(call, 0);
            let answer = (*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let rows = Self { store: (*answer).setResult, shape: (*answer).setDesc };
            if (*rows.shape).natts as usize != columns {
                refuse("the function is declared with other columns", "ALTER EXTENSION stormops UPDATE;");
            }
            rows
        }
    }

    /// As `push()`, with a guard, for who owns something meanwhile.
    pub fn push_guarded<const N: usize>(&self, values: &mut [Datum; N]) {
        // SAFETY: as there.
        unsafe { pg_sys::tuplestore_putvalues(self.store, self.shape, values.as_mut_ptr(), [false; N].as_mut_ptr()) };
    }

    #[inline]
    pub fn push<const N: usize>(&self, values: &[Datum; N]) {
        // SAFETY: the store and its shape are this call's; `of()` compared the columns.
        unsafe { tuplestore_putvalues(self.store, self.shape, values.as_ptr(), [false; N].as_ptr()) };
    }
}
