//! A bytea, written where Postgres keeps it.

#![expect(unsafe_code, reason = "memory of the server")]

use pgrx::pg_sys::{self, Datum};

/// A bytea of so many bytes; `write` is given all of them, zero so far.
pub fn bytea(size: usize, write: impl FnOnce(&mut [u8])) -> Datum {
    let whole = size + pg_sys::VARHDRSZ;
    // SAFETY: the allocation has `whole` bytes, and is initialized; one that is too large raises an error.
    unsafe {
        let varlena = pg_sys::palloc0(whole).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(varlena, whole as i32);
        write(std::slice::from_raw_parts_mut(pgrx::vardata_4b(varlena).cast_mut().cast(), size));
        Datum::from(varlena)
    }
}
