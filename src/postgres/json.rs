//! A document of JSON that somebody hands in, read without trust: one that is too large or too deep is an error.

#![expect(unsafe_code, reason = "an argument as Postgres hands it over")]

use super::memory::need;
use super::raise::{raise, required};
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::direct_function_call;
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;
use serde::de::DeserializeOwned;
use std::ffi::CStr;

/// In bytes of its text: more than a year of invoices.
const LONGEST: usize = 8 << 20;
/// What reading and printing it may take for each byte: a list of empty objects becomes a list of structures.
const GROWTH: usize = 100;

/// An argument of type jsonb.
pub struct Document(Datum);

impl Document {
    /// None if it is not of this shape, or nested deeper than 128 levels.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        // SAFETY: a jsonb, which its output function takes and nobody else sees the text of.
        let text = unsafe {
            if pg_sys::toast_raw_datum_size(self.0) > LONGEST {
                too_long();
            }
            direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(self.0)])?.to_bytes()
        };
        // A number may be short as jsonb keeps it and long as text.
        if text.len() > LONGEST {
            too_long();
        }
        need(text.len() * GROWTH);
        serde_json::from_slice(text).ok()
    }
}

fn too_long() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        "the document is longer than 8 MB",
        "Ask for less at a time: a shorter period, a smaller storm.",
    )
}

impl FromDatum for Document {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<Self> {
        (!is_null).then_some(Self(datum))
    }
}

// SAFETY: declared as jsonb; functions that take one are STRICT.
unsafe impl<'fcx> ArgAbi<'fcx> for Document {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(|| required(None, "the document"))
    }
}

// SAFETY: says what SQL calls it.
unsafe impl SqlTranslatable for Document {
    const TYPE_IDENT: &'static str = "Document";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("jsonb"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::literal("jsonb")));
}
