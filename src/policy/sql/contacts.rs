//! `capped_agg()`: who reaches a cap, as rows of the touches are counted. Raw functions, since one runs for each touch.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use super::rows::Rows;
use crate::memory::fallibly;
use crate::policy::candidate::Id;
use crate::policy::contacts::{Cap, Contacts};
use crate::postgres::aggregate::{self, answer, given};
use crate::postgres::call::{self, argument, bytes, uuid};
use crate::postgres::interrupts::hear;
use crate::postgres::memory::allocated;
use crate::postgres::raise::{raise, refuse};
use crate::postgres::slices::{elements, texts};
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;
use std::hash::{BuildHasher, RandomState};

/// The most caps of a run: a tenant has at most 50 guardrails.
const MOST_CAPS: usize = 255;

/// Property, cap and number, as they travel from the aggregate to `capped_properties()`.
pub const RECORD: usize = 24;

/// None until the first row says of whom.
#[derive(Default)]
struct State(Option<Contacts>);

/// Of each state its own.
pub fn keys() -> [u64; 2] {
    let random = RandomState::new();
    [0, 1].map(|i| random.hash_one(i))
}

pub fn odd() -> ! {
    refuse(
        "the properties and what they are asked must be arrays, without NULL, of one length",
        "SELECT * FROM stormops.preview_policy(...);",
    )
}

/// `(state, property_id, channel, occurred_at, of, channels, since, most)`
unsafe fn collect(call: FunctionCallInfo) -> Datum {
    // SAFETY: the declaration gives these arguments.
    unsafe {
        let state = aggregate::state::<State>(call, "SELECT * FROM stormops.preview_policy(...);");
        if state.0.is_none() {
            state.0 = Some(begin(call));
        }
        if let (Some(contacts), Some(property), Some(at)) = (&mut state.0, argument(call, 1), argument(call, 3)) {
            contacts.add(uuid(property), at.value() as i64, || argument(call, 2).map(|channel| bytes(channel)));
        }
        answer(state)
    }
}

/// SAFETY: a call of `collect()`.
unsafe fn begin(call: FunctionCallInfo) -> Contacts {
    // SAFETY: as above; what is read of the arrays is copied before the call ends.
    unsafe {
        let of = argument(call, 4).map_or(&[][..], |of| elements::<Id>(of).unwrap_or_else(|_| odd()));
        let channels = argument(call, 5).map_or(&[][..], |channels| texts(channels).unwrap_or_else(|_| odd()));
        let [since, most] =
            [6, 7].map(|i| argument(call, i).map_or(&[][..], |array| elements::<i64>(array).unwrap_or_else(|_| odd())));
        if since.len() != channels.len() || most.len() != channels.len() {
            odd();
        }
        if channels.len() > MOST_CAPS {
            raise(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("a run asks at most {MOST_CAPS} frequency caps"),
                "A tenant has at most 50 guardrails; parameters are those of policy_parameters().",
            );
        }
        let caps = channels.iter().zip(since).zip(most).map(|((&channel, &since), &most)| Cap {
            // '' is any channel, '=' comes before the name of one.
            channel: bytes(channel).strip_prefix(b"=").map(<[u8]>::to_vec),
            since,
            most,
        });
        allocated(Contacts::of(of, caps.collect(), keys()))
    }
}

/// Adds a property to what `capped_properties()` will tell.
pub fn record(records: &mut Vec<u8>, id: &Id, cap: u32, n: u32) {
    allocated(fallibly(|| records.try_reserve(RECORD)));
    records.extend_from_slice(id);
    records.extend_from_slice(&cap.to_ne_bytes());
    records.extend_from_slice(&n.to_ne_bytes());
}

/// What was collected, as bytes for `capped_properties()`.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    // SAFETY: the state of `collect()`, or NULL.
    unsafe {
        let Some(contacts) = given::<State>(call, 0).and_then(|state| state.0.as_ref()) else {
            return aggregate::sent(&[]);
        };
        let mut records = Vec::new();
        for (id, cap, n) in contacts.capped() {
            record(&mut records, id, cap, n);
        }
        aggregate::sent(&records)
    }
}

/// `(capped)`: property_id, cap, from 1, and n.
unsafe fn properties(call: FunctionCallInfo) -> Datum {
    // SAFETY: the declaration gives the argument and the columns.
    unsafe {
        let rows = Rows::of(call, 3);
        let (records, rest) = argument(call, 0).map_or(&[][..], |capped| bytes(capped)).as_chunks::<RECORD>();
        if !rest.is_empty() {
            refuse("these bytes are not of capped_agg()", "SELECT * FROM stormops.preview_policy(...);");
        }
        for (i, record) in records.iter().enumerate() {
            hear(i);
            let (id, numbers) = record.split_at(size_of::<Id>());
            let [cap, n] = [0, 4].map(|from| {
                let mut number = [0; 4];
                number.copy_from_slice(&numbers[from..from + 4]);
                u32::from_ne_bytes(number)
            });
            rows.push(&[
                Datum::from(id.as_ptr()),
                Datum::from((cap as i32).wrapping_add(1)),
                Datum::from(f64::from(n).to_bits()),
            ]);
        }
        Datum::null()
    }
}

call::functions! {
    stormops_capped_collect = collect;
    stormops_capped_finish = finish;
    stormops_capped_properties = properties;
}
