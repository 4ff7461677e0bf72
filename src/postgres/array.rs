//! Arrays of the server as bytes: one-dimensional, from 1, without NULLs, as StormOps' own tables hold them.

#![expect(unsafe_code, reason = "memory of the server")]

use super::call::bytes;
use pgrx::pg_sys::{self, Datum, Oid};

/// What stands before the elements: length, dimensions, no offset of a null bitmap, type; size and first place.
const HEADER: usize = size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>();

/// An array of `n` elements, which are `data` as the server keeps them: of 2, 4, 8 or 16 bytes each, or `texts()`.
fn array(element: Oid, n: usize, data: &[u8]) -> Datum {
    if n == 0 {
        // SAFETY: makes a value.
        return Datum::from(unsafe { pg_sys::construct_empty_array(element) });
    }
    let size = HEADER + data.len();
    // SAFETY: the allocation has `size` bytes, which are all written: the header of a one-dimensional array without NULLs,
    // whose length is a multiple of eight, and the elements. One that is too large raises an error.
    unsafe {
        let array = pg_sys::palloc(size).cast::<pg_sys::ArrayType>();
        pgrx::set_varsize_4b(array.cast(), size as i32);
        (*array).ndim = 1;
        (*array).dataoffset = 0;
        (*array).elemtype = element;
        array.add(1).cast::<[i32; 2]>().write([n as i32, 1]);
        std::ptr::copy_nonoverlapping(data.as_ptr(), array.cast::<u8>().add(HEADER), data.len());
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

/// The elements of an array of numbers of N bytes, as memory has them; None if it is of another form.
///
/// SAFETY: the datum is an array of such elements; its memory outlives what is made of this.
pub unsafe fn numbers<'a, const N: usize>(datum: Datum) -> Option<&'a [u8]> {
    unsafe { elements(datum).filter(|(n, data)| data.len() == n * N).map(|(_, data)| data) }
}

/// SAFETY: the datum is an array; its memory outlives what is made of this.
unsafe fn elements<'a>(datum: Datum) -> Option<(usize, &'a [u8])> {
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let size = pgrx::varsize_any(array.cast());
        if (*array).ndim == 0 {
            return Some((0, &[]));
        }
        if (*array).ndim != 1 || (*array).dataoffset != 0 || size < HEADER {
            return None;
        }
        let [n, from] = array.add(1).cast::<[i32; 2]>().read();
        let data = std::slice::from_raw_parts(array.cast::<u8>().add(HEADER), size - HEADER);
        (from == 1).then_some((usize::try_from(n).ok()?, data))
    }
}

/// The elements of an array of texts; None if it is of another form.
///
/// SAFETY: the datum is a `text[]`; its memory outlives what is made of this.
pub unsafe fn texts<'a>(datum: Datum) -> Option<Vec<&'a [u8]>> {
    unsafe {
        let (n, data) = elements(datum)?;
        let (mut texts, mut at) = (Vec::new(), 0);
        for _ in 0..n {
            // One with a short header stands anywhere; before one with a long header there are zeros.
            if *data.get(at)? == 0 {
                at = at.next_multiple_of(4);
            }
            let text = data.get(at..).filter(|text| text.len() >= pg_sys::VARHDRSZ)?.as_ptr();
            texts.push(bytes(Datum::from(text)));
            at += pgrx::varsize_any(text.cast());
        }
        Some(texts)
    }
}
