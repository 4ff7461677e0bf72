//! `decisions_seal()`: one digest over the decisions of a run, and a fingerprint of each, in the order of
//! the properties. The digest says that a row was touched, the fingerprints say which.
//!
//! Raw functions, since one runs for each of a million rows.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::errors::raise;
use crate::support::{self, argument};
use crate::tenancy::digest::{LENGTH, digest, push};
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;
use pgrx::varlena_to_byte_slice;
use sha2::{Digest, Sha256};

/// The end of the property's id and the beginning of the row's digest.
const FINGERPRINT: usize = 8;
/// What a value of Postgres can hold, less the digest.
const MOST: usize = (1 << 30) - 64;

#[derive(Default)]
struct Seal {
    rows: Sha256,
    fingerprints: Vec<u8>,
    last: Option<[u8; 16]>,
    /// Kept for its allocation.
    form: Vec<u8>,
}

enum Fault {
    Order,
    Size,
}

impl Seal {
    /// Takes in the row whose form is ready.
    fn push(&mut self, property: [u8; 16]) -> Result<(), Fault> {
        if self.last >= Some(property) {
            return Err(Fault::Order);
        }
        let row = digest(&self.form);
        self.rows.update(row);
        let room = self.fingerprints.capacity() - self.fingerprints.len();
        let more = self.fingerprints.len().clamp(64 * FINGERPRINT, MOST);
        if room < FINGERPRINT && self.fingerprints.try_reserve_exact(more).is_err()
            || self.fingerprints.len() + FINGERPRINT > MOST
        {
            return Err(Fault::Size);
        }
        self.fingerprints.extend_from_slice(&property[12..]);
        self.fingerprints.extend_from_slice(&row[..4]);
        self.last = Some(property);
        Ok(())
    }

    fn digest(&self) -> [u8; LENGTH] {
        self.rows.clone().finalize().into()
    }
}

/// The bytes of a `uuid`.
unsafe fn uuid<'a>(datum: Datum) -> &'a [u8; 16] {
    unsafe { &*datum.cast_mut_ptr::<[u8; 16]>() }
}

/// The transition: `(state, tenant_id, run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value,
/// decision, reason, policy_mode, model_version)`. A time and a double are eight bytes, the most significant first, as
/// their send functions give them.
unsafe fn take(call: FunctionCallInfo) -> Datum {
    unsafe {
        let seal = match argument(call, 0) {
            Some(state) => state.cast_mut_ptr::<Seal>(),
            None => support::new_state(call, Seal::default(), "SELECT stormops_internal.decisions_seal(…) FROM …"),
        };
        let seal = &mut *seal;
        seal.form.clear();
        for i in 1..=4 {
            push(&mut seal.form, argument(call, i).map(|datum| uuid(datum).as_slice()));
        }
        for i in 5..=9 {
            let bytes = argument(call, i).map(|datum| (datum.value() as u64).to_be_bytes());
            push(&mut seal.form, bytes.as_ref().map(<[u8; 8]>::as_slice));
        }
        for i in 10..=13 {
            let text = argument(call, i).map(|datum| pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr()));
            push(&mut seal.form, text.map(|text| varlena_to_byte_slice(text)));
        }
        let property = argument(call, 3).map_or([0; 16], |datum| *uuid(datum));
        match seal.push(property) {
            Ok(()) => Datum::from(std::ptr::from_mut(seal)),
            Err(Fault::Order) => raise(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "decisions must come in the order of property_id, each once",
                "SELECT … FROM (SELECT * FROM stormops.policy_decisions_log … ORDER BY property_id) AS d",
            ),
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
        let empty = Seal::default();
        let seal = argument(call, 0).map_or(&empty, |state| &*state.cast_mut_ptr::<Seal>());
        let size = pg_sys::VARHDRSZ + LENGTH + seal.fingerprints.len();
        let varlena = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(varlena, size as i32);
        let bytes =
            std::slice::from_raw_parts_mut(pgrx::vardata_4b(varlena).cast_mut().cast::<u8>(), size - pg_sys::VARHDRSZ);
        bytes[..LENGTH].copy_from_slice(&seal.digest());
        bytes[LENGTH..].copy_from_slice(&seal.fingerprints);
        Datum::from(varlena)
    }
}

support::support! {
    pg_finfo_stormops_seal_take stormops_seal_take = take;
    pg_finfo_stormops_seal_finish stormops_seal_finish = finish;
}
