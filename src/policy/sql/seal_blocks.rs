//! The print of a block that is in the table, and where two lists of prints differ.

#![expect(unsafe_code, reason = "a function of twenty arguments, most of them arrays")]

use crate::policy::differences::{self, What};
use crate::policy::seal::{Content, Entry, HEAD, MARK};
use crate::postgres::bytea::bytea;
use crate::postgres::call::{self, argument, bytes, null, uuid};
use crate::postgres::slices::{elements_from_one, texts_from_one};
use crate::tenancy::digest::LENGTH;
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;

/// `(tenant_id, run_id, block_no, storm_id, decided_at, policy_mode, first_property, last_property, n, property_ids, classes,
/// scores, score_sds, "values", decisions, reasons, propensities, counts, model_versions, models)`. A block of another form
/// than `apply_policy()` writes has a print too: one that no written block has.
unsafe fn print(call: FunctionCallInfo) -> Datum {
    // SAFETY: the SQL declaration gives the arguments.
    unsafe {
        if let Some(print) = form(call) {
            return print;
        }
        let (Some(first), Some(n)) = (argument(call, 6), argument(call, 8)) else { return null(call) };
        bytea(HEAD, |bytes| {
            bytes[..16].copy_from_slice(uuid(first));
            bytes[16..20].copy_from_slice(&(n.value() as i32).to_be_bytes());
        })
    }
}

/// Elements of N bytes as memory has them; None if the array is of another form.
///
/// SAFETY: the datum is an array of such elements.
unsafe fn numbers<'a, const N: usize>(array: Datum) -> Option<&'a [u8]> {
    // SAFETY: as above.
    unsafe { elements_from_one::<[u8; N]>(array).ok().map(<[_]>::as_flattened) }
}

/// The same of texts.
///
/// SAFETY: the datum is a `text[]`.
unsafe fn texts<'a>(array: Datum) -> Option<Vec<&'a [u8]>> {
    // SAFETY: as above.
    unsafe { texts_from_one(array).ok().map(|texts| texts.iter().map(|text| bytes(*text)).collect()) }
}

/// None if the block is of another form.
///
/// SAFETY: a call of `print()`.
unsafe fn form(call: FunctionCallInfo) -> Option<Datum> {
    unsafe {
        let integer = |i| argument(call, i).map(|number| number.value() as i32);
        let id = |i| argument(call, i).map(|id| uuid(id));
        let doubles = |i| numbers::<8>(argument(call, i)?);
        let smallints = |i| numbers::<2>(argument(call, i)?);
        let (decisions, reasons) = (texts(argument(call, 14)?)?, texts(argument(call, 15)?)?);
        let (propensities, counts) = (doubles(16)?, numbers::<4>(argument(call, 17)?)?);
        let (propensities, counts) = (propensities.as_chunks::<8>().0, counts.as_chunks::<4>().0);
        if [reasons.len(), propensities.len(), counts.len()] != [decisions.len(); 3] {
            return None;
        }
        let entry = |i: usize| Entry {
            decision: decisions[i],
            reason: reasons[i],
            propensity: f64::from_ne_bytes(propensities[i]),
            n: i32::from_ne_bytes(counts[i]),
        };
        let entries: Vec<_> = (0..decisions.len()).map(entry).collect();
        let versions = texts(argument(call, 18)?)?;
        let models = match argument(call, 19) {
            Some(models) => Some(numbers::<2>(models)?),
            None => None,
        };
        let content = Content {
            tenant: id(0)?,
            run: id(1)?,
            block_no: integer(2)?,
            storm: id(3)?,
            decided_at: argument(call, 4)?.value() as i64,
            mode: bytes(argument(call, 5)?),
            first: id(6)?,
            last: id(7)?,
            n: integer(8)?,
            ids: numbers::<16>(argument(call, 9)?)?,
            classes: smallints(10)?,
            scores: doubles(11)?,
            score_sds: doubles(12)?,
            values: doubles(13)?,
            entries: &entries,
            versions: &versions,
            models,
        };
        let n = content.ids.len() / 16;
        if usize::try_from(content.n) != Ok(n) {
            return None;
        }
        let digest: [u8; LENGTH] = content.digest();
        Some(bytea(HEAD + MARK * n, |all| {
            let mut at = 0;
            content.print(&digest, |part| {
                all[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            });
        }))
    }
}

/// The first difference between the prints of a run's blocks as they were kept and as they are now; no row if there is none.
/// block: its place, from 0, among those that are there now, or, of a missing block, among those that were kept. decision: the
/// place, from 1, of the one that is changed, missing or added; NULL: the block as a whole.
#[allow(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn block_difference(
    kept: &[u8],
    now: &[u8],
) -> TableIterator<
    'static,
    (
        name!(what, &'static str),
        name!(block, i32),
        name!(decision, Option<i32>),
        name!(first_property, pgrx::Uuid),
        name!(expected, Option<Vec<u8>>),
        name!(actual, Option<Vec<u8>>),
    ),
> {
    let row = differences::first(kept, now).map(|found| {
        let what = match found.what {
            What::Changed => "changed",
            What::Missing => "missing",
            What::Added => "added",
        };
        let decision = found.decision.map(|place| place as i32 + 1);
        (what, found.block as i32, decision, pgrx::Uuid::from_bytes(found.first), found.expected, found.actual)
    });
    TableIterator::new(row)
}

call::functions! {
    stormops_block_print = print;
}
