//! A state of so many numbers that an aggregate's transition function updates where it lies: a plain `float8[]` to SQL.

#![expect(unsafe_code, reason = "the state is updated in place, once for each row")]

use super::call::argument;
use super::raise::refuse;
use pgrx::prelude::*;

/// The state as it lies in memory: an array of one dimension without NULLs.
#[repr(C)]
struct State<const N: usize> {
    header: u32,
    dimensions: i32,
    null_offset: i32,
    element: pg_sys::Oid,
    length: i32,
    lower_bound: i32,
    values: [f64; N],
}

impl<const N: usize> State<N> {
    fn is_sound(&self) -> bool {
        // A plain four-byte length word, as array_in() and array construction give it.
        let plain = if cfg!(target_endian = "big") { self.header } else { self.header >> 2 };
        plain as usize == size_of::<Self>()
            && (self.dimensions, self.null_offset, self.length as usize) == (1, 0, N)
            && self.element == pg_sys::FLOAT8OID
    }
}

/// The numbers of a transition function's state. Outside an aggregate the state is not its own to change: 22023.
///
/// SAFETY: `call` is a call in progress, whose first argument is a float8[].
pub unsafe fn state<'a, const N: usize>(
    call: pg_sys::FunctionCallInfo,
    refusal: &'static str,
    hint: &str,
) -> &'a mut [f64; N] {
    // SAFETY: the state was allocated with the length that is_sound() reads before anything else is touched.
    unsafe {
        let context = (*call).context;
        let aggregates = !context.is_null()
            && [pg_sys::NodeTag::T_AggState, pg_sys::NodeTag::T_WindowAggState].contains(&(*context).type_);
        let state = argument(call, 0).filter(|_| aggregates).map(|state| state.cast_mut_ptr::<State<N>>());
        match state {
            Some(state) if (*state).is_sound() => &mut (*state).values,
            _ => refuse(refusal, hint),
        }
    }
}
