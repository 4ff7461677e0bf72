//! Blocks of decisions as rows. Raw functions, since each makes millions of them.

#![expect(unsafe_code, reason = "sets of rows on the hot path")]

use super::rows::Rows;
use crate::policy::reading::{Fault, Id, find_all, one_length, place, within};
use crate::postgres::call::{self, argument, uuid};
use crate::postgres::interrupts::hear;
use crate::postgres::raise::{raise, refuse};
use crate::postgres::slices::{Odd, element, elements, texts};
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;

fn number(x: f64) -> Datum {
    Datum::from(x.to_bits())
}

fn tell(fault: Fault) -> ! {
    match fault {
        Fault::Order => refuse(
            "the properties to find must come in order, each once",
            "SELECT array_agg(DISTINCT property_id ORDER BY property_id) ...",
        ),
        Fault::Lengths => odd("its arrays are of different lengths"),
        Fault::Place => odd("a class or a model is in none of its dictionaries"),
    }
}

/// A block that apply_policy() did not write so.
fn odd(why: &'static str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        format!("a block of decisions is not valid: {why}"),
        "SELECT * FROM stormops.verify_log(); names the run. Restore it from a backup.",
    )
}

/// An argument that a block always has.
unsafe fn given(call: FunctionCallInfo, i: usize) -> Datum {
    // SAFETY: the declaration has so many arguments.
    unsafe { argument(call, i) }.unwrap_or_else(|| odd("a part of it is NULL"))
}

fn whole<T>(array: Result<T, Odd>) -> T {
    array.unwrap_or_else(|_| odd("an array has a NULL, or several dimensions"))
}

fn checked<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|fault| tell(fault))
}

/// `(property_ids, classes, scores, score_sds, values, decisions, reasons, propensities, model_versions, models, wanted)`:
/// all decisions, or that of one property.
unsafe fn unpack(call: FunctionCallInfo) -> Datum {
    // SAFETY: the declaration gives these arguments.
    unsafe {
        let rows = Rows::of(call, 8);
        let properties = whole(elements::<Id>(given(call, 0)));
        let (decisions, reasons) = (whole(texts(given(call, 5))), whole(texts(given(call, 6))));
        let (propensities, names) = (whole(elements::<f64>(given(call, 7))), whole(texts(given(call, 8))));
        checked(one_length(decisions.len(), &[reasons.len(), propensities.len()]));
        let (n, models) = (properties.len(), argument(call, 9));
        let row = |i: usize, class: i16, numbers: [f64; 3], model: i16| -> Result<(), Fault> {
            let class = place(class, decisions.len())?;
            let [score, score_sd, value] = numbers.map(number);
            rows.push(&[
                Datum::from(std::ptr::from_ref(&properties[i])),
                number(propensities[class]),
                score,
                score_sd,
                value,
                decisions[class],
                reasons[class],
                names[place(model, names.len())?],
            ]);
            Ok(())
        };
        if let Some(wanted) = argument(call, 10) {
            let Ok(i) = properties.binary_search(uuid(wanted)) else { return Datum::null() };
            // Of the long arrays only what lies before the one element is unpacked.
            let small = |array| one(n, whole(element::<i16>(array, i)));
            let large = |j| one(n, whole(element::<f64>(given(call, j), i)));
            let numbers = [large(2), large(3), large(4)];
            checked(row(i, small(given(call, 1)), numbers, models.map_or(1, small)));
            return Datum::null();
        }
        let classes = whole(elements::<i16>(given(call, 1)));
        let [scores, sds, values] = [2, 3, 4].map(|i| whole(elements::<f64>(given(call, i))));
        let models = models.map(|models| whole(elements::<i16>(models)));
        let of_models = models.map_or(n, <[i16]>::len);
        checked(one_length(n, &[classes.len(), scores.len(), sds.len(), values.len(), of_models]));
        for i in 0..n {
            hear(i);
            let numbers = [scores[i], sds[i], values[i]];
            checked(row(i, classes[i], numbers, models.map_or(1, |models| models[i])));
        }
        Datum::null()
    }
}

/// An element of an array that should have `n`.
fn one<T>(n: usize, (element, length): (Option<T>, usize)) -> T {
    checked(one_length(n, &[length]));
    element.unwrap_or_else(|| tell(Fault::Lengths))
}

/// `(first_property, last_property, property_ids, classes, wanted)`: which of the wanted properties the block has, each
/// with its class. Of a block that cannot have any nothing is unpacked.
unsafe fn find(call: FunctionCallInfo) -> Datum {
    // SAFETY: as above.
    unsafe {
        let rows = Rows::of(call, 2);
        let Some(wanted) = argument(call, 4) else { return Datum::null() };
        let wanted = within(uuid(given(call, 0)), uuid(given(call, 1)), whole(elements::<Id>(wanted)));
        if wanted.is_empty() {
            return Datum::null();
        }
        let properties = whole(elements::<Id>(given(call, 2)));
        let classes = whole(elements::<i16>(given(call, 3)));
        checked(one_length(properties.len(), &[classes.len()]));
        let found =
            |at: usize| rows.push(&[Datum::from(std::ptr::from_ref(&properties[at])), Datum::from(classes[at])]);
        checked(find_all(properties, wanted, found, hear));
        Datum::null()
    }
}

/// `(property_ids, classes, scores, decisions, propensities, converted)`: score, treated, converted (1, 0) and the chance
/// of being treated, of those that could have gone either way. `converted`: the properties that did, in order, of the run.
unsafe fn randomised(call: FunctionCallInfo) -> Datum {
    // SAFETY: as above.
    unsafe {
        let rows = Rows::of(call, 4);
        let properties = whole(elements::<Id>(given(call, 0)));
        let classes = whole(elements::<i16>(given(call, 1)));
        let scores = whole(elements::<f64>(given(call, 2)));
        let (decisions, propensities) = (whole(texts(given(call, 3))), whole(elements::<f64>(given(call, 4))));
        checked(one_length(properties.len(), &[classes.len(), scores.len()]));
        checked(one_length(decisions.len(), &[propensities.len()]));
        let converted = argument(call, 5).map_or(&[][..], |ids| whole(elements::<Id>(ids)));
        let converted = match (properties.first(), properties.last()) {
            (Some(first), Some(last)) => within(first, last, converted),
            _ => return Datum::null(),
        };
        let mut next = 0;
        for (i, property) in properties.iter().enumerate() {
            hear(i);
            while converted.get(next).is_some_and(|id| id < property) {
                next += 1;
            }
            let class = checked(place(classes[i], decisions.len()));
            let treated = match call::bytes(decisions[class]) {
                b"treat" => true,
                b"hold" => false,
                _ => continue,
            };
            let chance = propensities[class];
            if chance < 1.0 {
                let has_converted = converted.get(next) == Some(property);
                rows.push(&[
                    number(scores[i]),
                    Datum::from(treated),
                    number(f64::from(u8::from(has_converted))),
                    number(if treated { chance } else { 1.0 - chance }),
                ]);
            }
        }
        Datum::null()
    }
}

/// `(first_property, last_property, wanted)`: whether a block with these ends may have one of the wanted properties, in
/// whatever order they come.
unsafe fn may_have(call: FunctionCallInfo) -> Datum {
    // SAFETY: as above; none is NULL.
    unsafe {
        let (first, last) = (uuid(given(call, 0)), uuid(given(call, 1)));
        // Of an array with a NULL the elements are not looked at.
        let among =
            elements::<Id>(given(call, 2)).map_or(true, |wanted| wanted.iter().any(|id| first <= id && id <= last));
        Datum::from(among)
    }
}

call::functions! {
    stormops_block_may_have = may_have;
    stormops_unpack_decisions = unpack;
    stormops_find_decisions = find;
    stormops_randomised_decisions = randomised;
}
