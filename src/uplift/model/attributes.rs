//! The attributes of an operator. Their values are read when somebody asks for them.

use super::wire::{Field, Fields, floats, ints, last, texts};
use super::{Fault, MOST_NAMES, invalid, shown, unsupported};

#[derive(Debug)]
pub struct Attribute<'a> {
    name: &'a str,
    message: &'a [u8],
}

const TEXT: u64 = 4;
const TENSOR: u64 = 5;

impl<'a> Attribute<'a> {
    pub fn read(message: &'a [u8]) -> Result<Self, Fault> {
        let mut name = "";
        for field in Fields(message) {
            match field? {
                (1, field) => name = field.text()?,
                (6 | 11, _) => return unsupported("it holds a subgraph, and no model here loops or branches"),
                (21, Field::Bytes(text)) if !text.is_empty() => {
                    return unsupported("it refers to a function's attribute");
                }
                _ => {}
            }
        }
        Ok(Self { name, message })
    }
}

#[derive(Debug, Default)]
pub struct Attributes<'a>(Vec<Attribute<'a>>);

impl<'a> Attributes<'a> {
    pub fn push(&mut self, attribute: Attribute<'a>) -> Result<(), Fault> {
        if self.0.len() >= 100 {
            return Err(Fault::TooLarge("an operator with more than 100 attributes".to_owned()));
        }
        if self.message(attribute.name).is_some() {
            return invalid(format!("attribute {} is there twice", shown(attribute.name)));
        }
        self.0.push(attribute);
        Ok(())
    }

    fn message(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.message)
    }

    fn last(&self, name: &str, tag: u64) -> Result<Option<Field<'a>>, Fault> {
        self.message(name).map_or(Ok(None), |message| last(message, tag))
    }

    pub fn has(&self, name: &str) -> bool {
        self.message(name).is_some()
    }

    pub fn int(&self, name: &str, otherwise: i64) -> Result<i64, Fault> {
        self.last(name, 3)?.map_or(Ok(if self.has(name) { 0 } else { otherwise }), Field::int)
    }

    pub fn float(&self, name: &str, otherwise: f32) -> Result<f32, Fault> {
        self.last(name, 2)?.map_or(Ok(if self.has(name) { 0.0 } else { otherwise }), Field::float)
    }

    /// Empty if it is not there.
    pub fn text(&self, name: &str) -> Result<&'a [u8], Fault> {
        self.last(name, TEXT)?.map_or(Ok(&[]), Field::bytes)
    }

    pub fn tensor(&self, name: &str) -> Result<Option<&'a [u8]>, Fault> {
        self.last(name, TENSOR)?.map(Field::bytes).transpose()
    }

    pub fn floats(&self, name: &str, most: usize) -> Result<Vec<f32>, Fault> {
        self.message(name).map_or(Ok(Vec::new()), |message| floats(message, 7, most))
    }

    pub fn ints(&self, name: &str, most: usize) -> Result<Vec<i64>, Fault> {
        self.message(name).map_or(Ok(Vec::new()), |message| ints(message, 8, most))
    }

    pub fn texts(&self, name: &str, most: usize) -> Result<Vec<&'a [u8]>, Fault> {
        self.message(name).map_or(Ok(Vec::new()), |message| texts(message, 9, most))
    }

    /// The same, as text.
    pub fn names(&self, name: &str) -> Result<Vec<&'a str>, Fault> {
        let utf8 = |text| std::str::from_utf8(text).or_else(|_| invalid(format!("{name} is not UTF-8")));
        self.texts(name, MOST_NAMES)?.into_iter().map(utf8).collect()
    }
}
