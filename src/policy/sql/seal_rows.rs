//! `decisions_seal()`. Raw functions, since one runs for each of a million rows.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::policy::seal_rows::{Fault, Seal};
use crate::postgres::aggregate::{answer, given, state};
use crate::postgres::bytea::bytea;
use crate::postgres::call::{self, argument, bytes, uuid};
use crate::postgres::memory::out_of_memory;
use crate::postgres::raise::{raise, refuse};
use crate::tenancy::digest::{Form, LENGTH};
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;

/// `(state, tenant_id, run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value,
/// decision, reason, policy_mode, model_version)`. A time and a double are eight bytes, the most significant first, as
/// their send functions give them.
unsafe fn collect(call: FunctionCallInfo) -> Datum {
    unsafe {
        let seal = state::<Seal>(call, "SELECT stormops_internal.decisions_seal(...) FROM ...");
        let mut row = Form::default();
        for i in 1..=4 {
            row.push(argument(call, i).map(|datum| uuid(datum).as_slice()));
        }
        for i in 5..=9 {
            let number = argument(call, i).map(|datum| (datum.value() as u64).to_be_bytes());
            row.push(number.as_ref().map(<[u8; 8]>::as_slice));
        }
        for i in 10..=13 {
            row.push(argument(call, i).map(|datum| bytes(datum)));
        }
        let property = argument(call, 3).map_or([0; 16], |datum| *uuid(datum));
        match seal.push(property, row) {
            Ok(()) => answer(seal),
            Err(Fault::Order) => refuse(
                "decisions must come in the order of property_id, each once",
                "SELECT ... FROM (SELECT * FROM stormops.policy_decisions_log ... ORDER BY property_id) AS d",
            ),
            Err(Fault::Memory) => out_of_memory(),
            Err(Fault::Size) => raise(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "too many decisions for one seal",
                "A run holds at most 134 million decisions.",
            ),
        }
    }
}

/// The digest and after it the fingerprints.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let empty = &mut Seal::default();
        let seal = given::<Seal>(call, 0).unwrap_or(empty);
        bytea(LENGTH + seal.fingerprints.len(), |bytes| {
            bytes[..LENGTH].copy_from_slice(&seal.digest());
            bytes[LENGTH..].copy_from_slice(&seal.fingerprints);
        })
    }
}

call::functions! {
    stormops_seal_take = collect;
    stormops_seal_finish = finish;
}
