//! States as bytes: a header and the rows after it, each as it lies in memory. So a state is written in one copy and read
//! in place. The bytes of stored states outlive every version: what is stored is made of numbers with a byte order.

use crate::memory::with_room;
use std::collections::TryReserveError;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What may stand in a state: every pattern of bytes is one of these.
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned> Plain for T {}

/// How many bytes a state takes.
pub fn size<H: Plain, R: Plain>(_: &H, rows: &[R]) -> usize {
    size_of::<H>() + size_of_val(rows)
}

/// Writes a state; `bytes` has `size()` of them.
pub fn write<H: Plain, R: Plain>(header: &H, rows: &[R], bytes: &mut [u8]) {
    let (head, rest) = bytes.split_at_mut(size_of::<H>());
    head.copy_from_slice(header.as_bytes());
    rest.copy_from_slice(rows.as_bytes());
}

/// A state in memory of its own.
pub fn to_bytes<H: Plain, R: Plain>(header: &H, rows: &[R]) -> Result<Vec<u8>, TryReserveError> {
    let mut bytes = with_room(size(header, rows))?;
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(rows.as_bytes());
    Ok(bytes)
}

/// Header and rows of a state; None if these bytes cannot be one. What they hold is for the caller to judge.
pub fn read<H: Plain, R: Plain>(bytes: &[u8]) -> Option<(&H, &[R])> {
    let (header, rest) = H::ref_from_prefix(bytes).ok()?;
    Some((header, <[R]>::ref_from_bytes(rest).ok()?))
}
