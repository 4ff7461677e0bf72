//! What operators compute on: the values of some rows, of one type.

use super::{Fault, invalid};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Float,
    Int,
    Text,
}

/// The values of some rows, row after row.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<'a> {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Texts(Vec<&'a str>),
}

impl Data<'_> {
    pub fn floats(&self) -> Result<Cow<'_, [f32]>, Fault> {
        match self {
            Self::Floats(values) => Ok(values.into()),
            Self::Ints(values) => Ok(values.iter().map(|value| *value as f32).collect()),
            Self::Texts(_) => invalid("text where numbers are needed"),
        }
    }
}
