//! Constants of a file.

use super::wire::{Field, Fields, floats, ints, last, texts};
use super::{Fault, MOST_BYTES, invalid, shown, unsupported};

#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub dims: Vec<usize>,
    pub values: Values,
}

const FLOAT: i64 = 1;
const INT32: i64 = 6;
const INT64: i64 = 7;
const STRING: i64 = 8;
const DOUBLE: i64 = 11;

impl Constant {
    /// Of a tensor, and its name.
    pub fn read(message: &[u8]) -> Result<(&str, Self), Fault> {
        let name = last(message, 8)?.map_or(Ok(""), Field::text)?;
        let read = || {
            let values = values(message)?;
            let claimed = ints(message, 1, 8)?;
            let mut dims = Vec::new();
            for dim in claimed {
                let Ok(dim) = usize::try_from(dim) else { return invalid(format!("a dimension of {dim}")) };
                dims.push(dim);
            }
            let count = dims.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim));
            if count != Some(values.len()) {
                return invalid(format!("its dimensions are {dims:?}, and it carries {} values", values.len()));
            }
            Ok(Self { dims, values })
        };
        Ok((name, read().map_err(|fault| fault.of(&format!("constant {}", shown(name))))?))
    }

    pub fn floats(&self) -> Result<&[f32], Fault> {
        match &self.values {
            Values::Floats(values) => Ok(values),
            _ => invalid("a constant of floats is needed"),
        }
    }

    pub fn ints(&self) -> Result<&[i64], Fault> {
        match &self.values {
            Values::Ints(values) => Ok(values),
            _ => invalid("a constant of integers is needed"),
        }
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }
}

fn values(message: &[u8]) -> Result<Values, Fault> {
    let (mut element, mut raw) = (0, None);
    for field in Fields(message) {
        match field? {
            (2, field) => element = field.int()?,
            (9, field) => raw = Some(field.bytes()?),
            (13, _) => return unsupported("its values lie outside of the file"),
            (14, field) if field.int()? != 0 => return unsupported("its values lie outside of the file"),
            _ => {}
        }
    }
    let raw = raw.filter(|raw| !raw.is_empty());
    Ok(match (element, raw) {
        (FLOAT, None) => Values::Floats(floats(message, 4, MOST_BYTES)?),
        (FLOAT, Some(raw)) => Values::Floats(parts(raw)?.map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        (INT32, None) => Values::Ints(ints(message, 5, MOST_BYTES)?),
        (INT32, Some(raw)) => Values::Ints(parts(raw)?.map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect()),
        (INT64, None) => Values::Ints(ints(message, 7, MOST_BYTES)?),
        (INT64, Some(raw)) => Values::Ints(parts(raw)?.map(|bytes| i64::from_le_bytes(*bytes)).collect()),
        (STRING, None) => {
            let text = |bytes| std::str::from_utf8(bytes).map(str::to_owned);
            let texts = texts(message, 6, super::MOST_NAMES)?.into_iter().map(text).collect::<Result<_, _>>();
            Values::Texts(texts.or_else(|_| invalid("it is not UTF-8"))?)
        }
        (DOUBLE, _) => return unsupported("it is of double precision: export the model with FloatTensorType inputs"),
        (element, _) => return unsupported(format!("its element type is {element}")),
    })
}

fn parts<const N: usize>(raw: &[u8]) -> Result<impl Iterator<Item = &[u8; N]>, Fault> {
    let (parts, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return invalid(format!("{} bytes are no whole number of values", raw.len()));
    }
    Ok(parts.iter())
}
