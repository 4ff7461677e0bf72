//! The wire format of protocol buffers, read where it lies: what a file claims is compared with what it carries before
//! anything is allocated for it, and nesting is only as deep as a caller goes.

use super::{Fault, invalid};
use crate::memory::with_room;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub fn bytes(self) -> Result<&'a [u8], Fault> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => broken(),
        }
    }

    pub fn text(self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).or_else(|_| invalid("a name in the file is not UTF-8"))
    }

    pub fn int(self) -> Result<i64, Fault> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            _ => broken(),
        }
    }

    pub fn float(self) -> Result<f32, Fault> {
        match self {
            Self::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => broken(),
        }
    }
}

fn broken<T>() -> Result<T, Fault> {
    invalid("the file is not ONNX, or is damaged")
}

/// The fields of a message, with their tags, in their order.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Field<'a>), Fault> {
        let key = varint(&mut self.0)?;
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut self.0)?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).or_else(|_| broken())?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups nest, and nobody writes them any more.
            _ => return broken(),
        };
        Ok((key >> 3, field))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else { return broken() };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?.try_into().or_else(|_| broken())
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0;
    for place in 0..10 {
        let Some((byte, after)) = rest.split_first() else { return broken() };
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    broken()
}

/// The fields of one tag.
pub fn all(message: &[u8], tag: u64) -> impl Iterator<Item = Result<Field<'_>, Fault>> {
    Fields(message).filter_map(move |field| match field {
        Ok((of, field)) => (of == tag).then_some(Ok(field)),
        Err(fault) => Some(Err(fault)),
    })
}

/// The last field of a tag, which counts if there are several.
pub fn last(message: &[u8], tag: u64) -> Result<Option<Field<'_>>, Fault> {
    all(message, tag).try_fold(None, |_, field| field.map(Some))
}

fn room<T>(count: usize, most: usize) -> Result<Vec<T>, Fault> {
    if count > most {
        return Err(Fault::TooLarge(format!("a list of {count} values, where {most} are the most")));
    }
    Ok(with_room(count)?)
}

/// All whole numbers of a tag, packed or not.
pub fn ints(message: &[u8], tag: u64, most: usize) -> Result<Vec<i64>, Fault> {
    let count = all(message, tag).try_fold(0, |count, field| {
        Ok::<_, Fault>(
            count + if let Field::Bytes(packed) = field? { packed.iter().filter(|b| **b < 0x80).count() } else { 1 },
        )
    })?;
    let mut ints = room(count, most)?;
    for field in all(message, tag) {
        match field? {
            Field::Bytes(mut packed) => {
                while !packed.is_empty() {
                    ints.push(varint(&mut packed)? as i64);
                }
            }
            field => ints.push(field.int()?),
        }
    }
    Ok(ints)
}

/// All floats of a tag, packed or not.
pub fn floats(message: &[u8], tag: u64, most: usize) -> Result<Vec<f32>, Fault> {
    let count = all(message, tag).try_fold(0, |count, field| {
        Ok::<_, Fault>(count + if let Field::Bytes(packed) = field? { packed.len() / 4 } else { 1 })
    })?;
    let mut floats = room(count, most)?;
    for field in all(message, tag) {
        match field? {
            Field::Bytes(packed) => {
                let (values, rest) = packed.as_chunks::<4>();
                if !rest.is_empty() {
                    return broken();
                }
                floats.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            field => floats.push(field.float()?),
        }
    }
    Ok(floats)
}

/// All strings of a tag.
pub fn texts(message: &[u8], tag: u64, most: usize) -> Result<Vec<&[u8]>, Fault> {
    let count = all(message, tag).try_fold(0, |count, field| field.map(|_| count + 1))?;
    let mut texts = room(count, most)?;
    for field in all(message, tag) {
        texts.push(field?.bytes()?);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_packed_or_one_by_one() {
        // Tag 1: 150; then 3 and -1 packed. Tag 2: 1.5; then 2.5 packed.
        let minus_one = [0xff; 9].into_iter().chain([1]);
        let message: Vec<u8> = [0x08, 0x96, 0x01, 0x0a, 11, 3]
            .into_iter()
            .chain(minus_one)
            .chain([0x15])
            .chain(1.5f32.to_le_bytes())
            .chain([0x12, 4])
            .chain(2.5f32.to_le_bytes())
            .collect();
        assert_eq!(ints(&message, 1, 3), Ok(vec![150, 3, -1]));
        assert_eq!(floats(&message, 2, 2), Ok(vec![1.5, 2.5]));
        assert!(matches!(ints(&message, 1, 2), Err(Fault::TooLarge(_))));
        assert_eq!(last(&message, 3), Ok(None));
        assert_eq!(texts(&message, 2, 9), broken(), "a number is no string");
    }

    #[test]
    fn damage_is_an_error() {
        for damaged in [
            &[0x08][..],
            &[0x0a, 5, 1],
            &[0x80; 12],
            &[0x0b],
            &[0x09, 1],
            &[0x0d, 1, 2],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert!(Fields(damaged).any(|field| field.is_err()), "{damaged:?}");
        }
        assert!(ints(&[0x0a, 1, 0x80], 1, 9).is_err());
        assert!(floats(&[0x0a, 3, 0, 0, 0], 1, 9).is_err());
    }
}
