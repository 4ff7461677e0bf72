//! How the values of a table's columns are written, by their types.

#![expect(unsafe_code, reason = "values as Postgres keeps them")]

use crate::portability::values;
use crate::postgres::call::{boolean, bytes, double, uuid};
use crate::postgres::memory::need;
use crate::postgres::raise::raise;
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::prelude::*;
use std::ffi::{CStr, c_char};

/// Above so many bytes memory for a value is asked for before it is written.
const LARGE: usize = 1 << 20;
/// What a byte may become: `\u0001`.
const GROWTH: usize = 6;

pub enum Kind {
    Boolean,
    Small,
    Integer,
    Big,
    Real,
    Double,
    Text,
    Uuid,
    Moment,
    Bytes,
    /// By the function of `jsonb`: an object or an array stands as it is, anything else as text.
    Json(Oid),
    Array(Box<Elements>),
    /// By the type's own function, as text.
    Printed(Oid),
}

pub struct Elements {
    kind: Kind,
    element: Oid,
    length: i16,
    by_value: bool,
    align: c_char,
    /// Of the array, for those that JSON has no form for.
    print: Oid,
}

impl Kind {
    pub fn of(declared: Oid) -> Self {
        // SAFETY: look-ups in the catalogue of a type that a column has.
        unsafe {
            let of = pg_sys::getBaseType(declared);
            let simple = [
                (pg_sys::BOOLOID, Self::Boolean),
                (pg_sys::INT2OID, Self::Small),
                (pg_sys::INT4OID, Self::Integer),
                (pg_sys::INT8OID, Self::Big),
                (pg_sys::FLOAT4OID, Self::Real),
                (pg_sys::FLOAT8OID, Self::Double),
                (pg_sys::TEXTOID, Self::Text),
                (pg_sys::VARCHAROID, Self::Text),
                (pg_sys::BPCHAROID, Self::Text),
                (pg_sys::JSONOID, Self::Text),
                (pg_sys::UUIDOID, Self::Uuid),
                (pg_sys::TIMESTAMPTZOID, Self::Moment),
                (pg_sys::BYTEAOID, Self::Bytes),
            ];
            if let Some((_, kind)) = simple.into_iter().find(|(oid, _)| *oid == of) {
                return kind;
            }
            let (mut print, mut varlena) = (pg_sys::InvalidOid, false);
            pg_sys::getTypeOutputInfo(of, &mut print, &mut varlena);
            if of == pg_sys::JSONBOID {
                return Self::Json(print);
            }
            let element = pg_sys::get_element_type(of);
            if element == pg_sys::InvalidOid {
                return Self::Printed(print);
            }
            let (mut length, mut by_value, mut align) = (0, false, 0);
            pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
            Self::Array(Box::new(Elements { kind: Self::of(element), element, length, by_value, align, print }))
        }
    }

    /// SAFETY: the value is of the type that this is of.
    pub unsafe fn write(&self, line: &mut Vec<u8>, value: Datum) {
        unsafe {
            match self {
                Self::Boolean => line.extend_from_slice(if boolean(value) { b"true" } else { b"false" }),
                Self::Small => values::integer(line, i64::from(value.value() as i16)),
                Self::Integer => values::integer(line, i64::from(value.value() as i32)),
                Self::Big => values::integer(line, value.value() as i64),
                Self::Real => values::real(line, f32::from_bits(value.value() as u32)),
                Self::Double => values::double(line, double(value)),
                Self::Text => values::text(line, utf8(sized(bytes(value)))),
                Self::Uuid => values::uuid(line, uuid(value)),
                Self::Bytes => values::base64(line, sized(bytes(value))),
                Self::Moment => {
                    if !values::moment(line, value.value() as i64) {
                        let (mut print, mut varlena) = (pg_sys::InvalidOid, false);
                        pg_sys::getTypeOutputInfo(pg_sys::TIMESTAMPTZOID, &mut print, &mut varlena);
                        values::text(line, printed(print, value));
                    }
                }
                Self::Json(print) => {
                    let json = printed(*print, value);
                    if json.starts_with(['{', '[']) {
                        line.extend_from_slice(json.as_bytes());
                    } else {
                        values::text(line, json);
                    }
                }
                Self::Printed(print) => values::text(line, printed(*print, value)),
                Self::Array(elements) => elements.write(line, value),
            }
        }
    }
}

impl Elements {
    unsafe fn write(&self, line: &mut Vec<u8>, value: Datum) {
        unsafe {
            let array = pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let (dimensions, lowest) = ((*array).ndim, array.cast::<i32>().add(size_of::<pg_sys::ArrayType>() / 4));
            // After the header stand the lengths, and after them the lower bounds.
            if dimensions > 1 || dimensions == 1 && *lowest.add(1) != 1 {
                return values::text(line, printed(self.print, Datum::from(array)));
            }
            let (mut datums, mut nulls, mut n) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
            pg_sys::deconstruct_array(
                array,
                self.element,
                i32::from(self.length),
                self.by_value,
                self.align,
                &mut datums,
                &mut nulls,
                &mut n,
            );
            line.push(b'[');
            for i in 0..n as usize {
                if i > 0 {
                    line.push(b',');
                }
                if *nulls.add(i) {
                    line.extend_from_slice(b"null");
                } else {
                    self.kind.write(line, *datums.add(i));
                }
            }
            line.push(b']');
        }
    }
}

/// The same bytes, where there is memory for what is made of them.
fn sized(bytes: &[u8]) -> &[u8] {
    if bytes.len() > LARGE {
        need(bytes.len() * GROWTH);
    }
    bytes
}

fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_else(|_| {
        raise(
            PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            "a text is not in UTF-8",
            "StormOps needs a database in UTF8.",
        )
    })
}

/// SAFETY: the function is that of the value's type.
unsafe fn printed<'a>(function: Oid, value: Datum) -> &'a str {
    unsafe { utf8(sized(CStr::from_ptr(pg_sys::OidOutputFunctionCall(function, value)).to_bytes())) }
}
