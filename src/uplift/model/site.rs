//! Where an operator stands: what it is given, and what is made of it.

use super::data::{Data, Type};
use super::file::Node;
use super::tensor::Constant;
use super::{Fault, invalid, unsupported};
use std::rc::Rc;

/// What rows have at some place of the program: of each row as many values as `dims` multiply to.
#[derive(Clone, Debug)]
pub struct Value {
    pub slot: usize,
    pub kind: Type,
    pub dims: Vec<usize>,
    /// Whether a number may be missing, NaN that is.
    pub missing: bool,
}

impl Value {
    pub fn width(&self) -> usize {
        self.dims.iter().product()
    }

    /// The width, if rows have one dimension or none.
    pub fn columns(&self) -> Result<usize, Fault> {
        if self.dims.len() > 1 {
            return unsupported(format!("an input of {} dimensions", self.dims.len() + 1));
        }
        Ok(self.width())
    }
}

#[derive(Clone, Debug)]
pub enum Source {
    Value(Value),
    Constant(Rc<Constant>),
}

/// An operator with its parameters.
pub trait Operator {
    fn run<'a>(&self, inputs: &[&Data<'a>], rows: usize) -> Result<Data<'a>, Fault>;
}

/// What becomes of an operator of the file.
pub enum Made {
    Step(Step),
    /// Nothing: its first output is what it was given.
    Same(Source),
    Constant(Constant),
}

pub struct Step {
    pub operator: Box<dyn Operator>,
    /// Slots.
    pub inputs: Vec<usize>,
    /// Which of its outputs is made.
    pub output: usize,
    pub kind: Type,
    pub dims: Vec<usize>,
    pub missing: bool,
    /// Steps for each row, at the most.
    pub cost: usize,
}

impl Step {
    /// Of one input, whose missing values stay missing.
    pub fn of(value: &Value, kind: Type, dims: Vec<usize>, operator: impl Operator + 'static) -> Self {
        let cost = value.width().max(dims.iter().product());
        Self {
            operator: Box::new(operator),
            inputs: vec![value.slot],
            output: 0,
            kind,
            dims,
            missing: value.missing,
            cost,
        }
    }

    pub fn made(self) -> Result<Made, Fault> {
        Ok(Made::Step(self))
    }
}

pub struct Site<'s, 'f> {
    pub node: &'s Node<'f>,
    pub inputs: Vec<Option<Source>>,
    pub producer: &'f str,
}

impl Site<'_, '_> {
    pub fn source(&self, place: usize) -> Result<&Source, Fault> {
        match self.inputs.get(place) {
            Some(Some(source)) => Ok(source),
            _ => invalid(format!("its input {} is missing", place + 1)),
        }
    }

    /// An input that rows have each their own of.
    pub fn value(&self, place: usize) -> Result<&Value, Fault> {
        match self.source(place)? {
            Source::Value(value) => Ok(value),
            Source::Constant(_) => unsupported(format!("its input {} is a constant", place + 1)),
        }
    }

    /// The same, of numbers.
    pub fn numbers(&self, place: usize) -> Result<&Value, Fault> {
        let value = self.value(place)?;
        if value.kind == Type::Text {
            return invalid("text where numbers are needed");
        }
        Ok(value)
    }

    pub fn constant(&self, place: usize) -> Result<&Constant, Fault> {
        match self.source(place)? {
            Source::Constant(constant) => Ok(constant),
            Source::Value(_) => unsupported(format!("its input {} is no constant", place + 1)),
        }
    }

    pub fn has(&self, place: usize) -> bool {
        matches!(self.inputs.get(place), Some(Some(_)))
    }
}
