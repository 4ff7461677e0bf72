//! Arrays for the server, made of bytes: one-dimensional, from 1, without NULLs, as StormOps' own tables hold them.

#![expect(unsafe_code, reason = "memory of the server")]

use super::slices::BEFORE;
use pgrx::pg_sys::{self, Datum, Oid};

/// An array of `n` elements, which are `data` as the server keeps them: of 2, 4, 8 or 16 bytes each, or `texts()`.
fn array(element: Oid, n: usize, data: &[u8]) -> Datum {
    if n == 0 {
        // SAFETY: makes a value.
        return Datum::from(unsafe { pg_sys::construct_empty_array(element) });
    }
    let size = BEFORE + data.len();
    // SAFETY: the allocation has `size` bytes, which are all written: the header of a one-dimensional array without NULLs,
    // whose length is a multiple of eight, and the elements. One that is too large raises an error.
    unsafe {
        let array = pg_sys::palloc(size).cast::<pg_sys::ArrayType>();
        pgrx::set_varsize_4b(array.cast(), size as i32);
        (*array).ndim = 1;
        (*array).dataoffset = 0;
        (*array).elemtype = element;
        array.add(1).cast::<[i32; 2]>().write([n as i32, 1]);
        std::ptr::copy_nonoverlapping(data.as_ptr(), array.cast::<u8>().add(BEFORE), data.len());
        Datum::from(array)
    }
}

/// Elements of one size, as memory has them.
pub fn of_numbers<const N: usize>(element: Oid, data: &[u8]) -> Datum {
    array(element, data.len() / N, data)
}

pub fn of_texts<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Datum {
    let (mut n, mut data) = (0, Vec::new());
    for text in texts {
        // Each is a value of its own, which begins with its length, and ends at a multiple of four.
        let length = (text.len() + pg_sys::VARHDRSZ) as u32;
        data.extend_from_slice(&if cfg!(target_endian = "big") { length } else { length << 2 }.to_ne_bytes());
        data.extend_from_slice(text);
        data.resize(data.len().next_multiple_of(4), 0);
        n += 1;
    }
    array(pg_sys::TEXTOID, n, &data)
}
