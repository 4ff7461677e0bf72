//! Arrays of the server as slices, in place: for functions that read long ones, element after element of the same width.

#![expect(unsafe_code, reason = "the layout of arrays, as in utils/array.h")]

use pgrx::pg_sys::{self, ArrayType, Datum};
use zerocopy::FromBytes;

/// Before the elements of an array of one dimension: the header, its length and its lower bound.
pub const BEFORE: usize = size_of::<ArrayType>() + 2 * size_of::<i32>();
const _: () = assert!(BEFORE == 24);

/// An array is not what it should be: of several dimensions, or with a NULL.
#[derive(Debug)]
pub struct Odd;

/// The elements of an array. Unpacked where it was packed, in the memory of the call.
///
/// SAFETY: the datum is an array of a type that is passed as `T` lies in memory, by value or not.
pub unsafe fn elements<'a, T: FromBytes>(array: Datum) -> Result<&'a [T], Odd> {
    // SAFETY: as above.
    unsafe { read(array).map(|(_, elements)| elements) }
}

/// As `elements()`, of an array that is counted from 1, as those are that StormOps writes.
///
/// SAFETY: as there.
pub unsafe fn elements_from_one<'a, T: FromBytes>(array: Datum) -> Result<&'a [T], Odd> {
    // SAFETY: as there.
    unsafe { read(array).and_then(|(first, elements)| if first == 1 { Ok(elements) } else { Err(Odd) }) }
}

/// Where an array begins to count, and its elements.
///
/// SAFETY: as `elements()`.
unsafe fn read<'a, T: FromBytes>(array: Datum) -> Result<(i32, &'a [T]), Odd> {
    // SAFETY: a whole array, aligned as arrays are.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr());
        let size = pgrx::varsize_any(array);
        let bytes = std::slice::from_raw_parts(array.cast(), size);
        let n = length(bytes)?;
        if n == 0 {
            return Ok((1, &[]));
        }
        if size != BEFORE + n * size_of::<T>() {
            return Err(Odd);
        }
        let first = word(bytes, 5).ok_or(Odd)?;
        Ok((first, std::slice::from_raw_parts(array.cast::<u8>().add(BEFORE).cast(), n)))
    }
}

/// Element `i` and the array's length: no more of the array is read than its beginning up to there.
///
/// SAFETY: as `elements()`.
pub unsafe fn element<T: FromBytes>(array: Datum, i: usize) -> Result<(Option<T>, usize), Odd> {
    // SAFETY: a slice does not count the word that says how long it is, and may be shorter than was asked.
    unsafe {
        let word = pg_sys::VARHDRSZ;
        let end = BEFORE - word + (i + 1) * size_of::<T>();
        let part = pg_sys::pg_detoast_datum_slice(array.cast_mut_ptr(), 0, end as i32);
        let bytes = std::slice::from_raw_parts(part.cast::<u8>(), pgrx::varsize_any(part));
        let n = length(bytes)?;
        let element = (i < n).then(|| T::read_from_prefix(bytes.get(BEFORE + i * size_of::<T>()..)?).ok());
        Ok((element.flatten().map(|(element, _)| element), n))
    }
}

/// Of the words that an array begins with: its size, dimensions, offset of the map of NULLs, type; length and first place.
fn word(bytes: &[u8], i: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(4 * i..4 * i + 4)?.try_into().ok()?))
}

/// How many elements, by an array's first bytes.
fn length(bytes: &[u8]) -> Result<usize, Odd> {
    match (word(bytes, 1), word(bytes, 2), word(bytes, 4)) {
        (Some(0), ..) => Ok(0),
        // One dimension, and no map of NULLs.
        (Some(1), Some(0), Some(n)) => usize::try_from(n).map_err(|_| Odd),
        _ => Err(Odd),
    }
}

/// The texts of a short array, as they lie in it.
///
/// SAFETY: the datum is a `text[]`.
pub unsafe fn texts<'a>(array: Datum) -> Result<&'a [Datum], Odd> {
    // SAFETY: as above.
    unsafe { read_texts(array).map(|(_, texts)| texts) }
}

/// As `texts()`, of an array that is counted from 1.
///
/// SAFETY: as there.
pub unsafe fn texts_from_one<'a>(array: Datum) -> Result<&'a [Datum], Odd> {
    // SAFETY: as there.
    unsafe { read_texts(array).and_then(|(first, texts)| if first == 1 { Ok(texts) } else { Err(Odd) }) }
}

/// Where an array begins to count, and its texts.
///
/// SAFETY: as `texts()`.
unsafe fn read_texts<'a>(array: Datum) -> Result<(i32, &'a [Datum]), Odd> {
    // SAFETY: what deconstruct_array() gives lives as long as the memory of the call.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr());
        let bytes = std::slice::from_raw_parts(array.cast(), pgrx::varsize_any(array).min(BEFORE));
        if length(bytes)? == 0 {
            return Ok((1, &[]));
        }
        let first = word(bytes, 5).ok_or(Odd)?;
        let (mut texts, mut n) = (std::ptr::null_mut(), 0);
        let by_int = pg_sys::TYPALIGN_INT as std::ffi::c_char;
        pg_sys::deconstruct_array(
            array.cast(),
            pg_sys::TEXTOID,
            -1,
            false,
            by_int,
            &mut texts,
            std::ptr::null_mut(),
            &mut n,
        );
        Ok((first, std::slice::from_raw_parts(texts, n as usize)))
    }
}
