//! The operators that a score needs, in their order, each with what it is given: widths and cost are known from here on.

use super::data::{Data, Type};
use super::file::{File, Node};
use super::operators::{is_number, make};
use super::site::{Made, Operator, Site, Source, Value};
use super::{Fault, MOST_COST, MOST_WIDTH_IN_ALL, invalid, shown, unsupported};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// An input that the score needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    pub name: String,
    pub kind: Type,
    pub dims: Vec<usize>,
}

impl Declared {
    pub fn width(&self) -> usize {
        self.dims.iter().product()
    }
}

/// A file that is sound as far as its names go, and its last output, which is the score.
pub struct Plan<'f> {
    file: &'f File<'f>,
    output: &'f str,
    needed: HashSet<&'f str>,
    pub inputs: Vec<Declared>,
}

impl<'f> Plan<'f> {
    pub fn new(file: &'f File<'f>) -> Result<Self, Fault> {
        let constants: HashSet<&str> = file.constants.iter().map(|constant| constant.0).collect();
        let given = file.inputs.iter().map(|input| input.name).filter(|name| !constants.contains(name));
        let mut known = HashSet::new();
        for name in file.constants.iter().map(|constant| constant.0).chain(given) {
            if !known.insert(name) {
                return invalid(format!("{} is there twice", shown(name)));
            }
        }
        for node in &file.nodes {
            make(node.domain, node.operator)?;
            if let Some(name) = node.inputs.iter().find(|name| !name.is_empty() && !known.contains(*name)) {
                return invalid(format!("{}: {} is used before it is made", node.shown(), shown(name)));
            }
            for name in node.outputs.iter().filter(|name| !name.is_empty()) {
                if !known.insert(*name) {
                    return invalid(format!("{}: {} is there twice", node.shown(), shown(name)));
                }
            }
        }
        let Some(output) = file.outputs.last().copied().filter(|name| known.contains(name)) else {
            return invalid("its last output is never made");
        };
        let mut needed = HashSet::from([output]);
        for node in file.nodes.iter().rev() {
            if makes_any(node, &needed) {
                needed.extend(node.inputs.iter().copied());
            }
        }
        let mut inputs = Vec::new();
        for input in &file.inputs {
            if needed.contains(input.name) && !constants.contains(input.name) {
                let (kind, dims) = input.takes()?;
                inputs.push(Declared { name: input.name.to_owned(), kind, dims });
            }
        }
        if inputs.is_empty() {
            return invalid("its last output comes from no input");
        }
        Ok(Self { file, output, needed, inputs })
    }

    /// `missing`: whether each input may have missing values.
    pub fn compile(&self, missing: &[bool]) -> Result<Program, Fault> {
        let mut program = Program {
            steps: Vec::new(),
            slots: self.inputs.len(),
            inputs: Vec::new(),
            output: 0,
            width: 0,
            cost: 1,
            width_in_all: 0,
        };
        let mut known: HashMap<&str, Source> = HashMap::new();
        for (name, constant) in &self.file.constants {
            if self.needed.contains(name) {
                known.insert(name, Source::Constant(Rc::new(constant.clone())));
            }
        }
        let given = self.inputs.iter().zip(missing).enumerate();
        for (slot, (input, missing)) in given {
            let value = Value { slot, kind: input.kind, dims: input.dims.clone(), missing: *missing };
            program.widen(value.width())?;
            program.inputs.push(value.kind);
            known.insert(&input.name, Source::Value(value));
        }
        for node in self.file.nodes.iter().filter(|node| makes_any(node, &self.needed)) {
            program.add(node, self.file, &mut known).map_err(|fault| fault.of(&node.shown()))?;
        }
        match known.get(self.output) {
            Some(Source::Value(value)) if is_number(&Source::Value(value.clone())) && value.dims.len() <= 1 => {
                (program.output, program.width) = (value.slot, value.width());
            }
            _ => return unsupported(format!("its last output, {}, is no column of floats", shown(self.output))),
        }
        Ok(program)
    }
}

fn makes_any(node: &Node, needed: &HashSet<&str>) -> bool {
    node.outputs.iter().any(|name| needed.contains(name))
}

struct Run {
    operator: Box<dyn Operator>,
    inputs: Vec<usize>,
    output: usize,
}

pub struct Program {
    /// Their types; their values stand in the first slots.
    inputs: Vec<Type>,
    steps: Vec<Run>,
    slots: usize,
    output: usize,
    /// Of the score.
    pub width: usize,
    pub cost: u64,
    width_in_all: usize,
}

/// Values, and steps, that are at work at once: beyond them a cancel is heard, and memory is given back.
const VALUES_AT_ONCE: usize = 1 << 20;
const STEPS_AT_ONCE: u64 = 1 << 25;
const ROWS_AT_ONCE: usize = 2048;

impl Program {
    fn widen(&mut self, width: usize) -> Result<(), Fault> {
        self.width_in_all = self.width_in_all.saturating_add(width);
        if self.width_in_all > MOST_WIDTH_IN_ALL {
            return Err(Fault::TooLarge(format!("its values are more than {MOST_WIDTH_IN_ALL} wide together")));
        }
        Ok(())
    }

    fn add<'f>(&mut self, node: &Node<'f>, file: &File<'f>, known: &mut HashMap<&'f str, Source>) -> Result<(), Fault> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(if name.is_empty() {
                None
            } else {
                match known.get(name) {
                    Some(source) => Some(source.clone()),
                    None => {
                        return unsupported(format!(
                            "{} is a class or another result that is not computed",
                            shown(name)
                        ));
                    }
                }
            });
        }
        let site = Site { node, inputs, producer: file.producer };
        let (output, source) = match make(node.domain, node.operator)?(&site)? {
            Made::Same(source) => (0, source),
            Made::Constant(constant) => (0, Source::Constant(Rc::new(constant))),
            Made::Step(step) => {
                let value = Value { slot: self.slots, kind: step.kind, dims: step.dims, missing: step.missing };
                self.widen(value.width())?;
                self.cost = self.cost.saturating_add(step.cost as u64);
                if self.cost > MOST_COST {
                    return Err(Fault::TooLarge(format!("a row would take more than {MOST_COST} steps")));
                }
                self.steps.push(Run { operator: step.operator, inputs: step.inputs, output: self.slots });
                self.slots += 1;
                (step.output, Source::Value(value))
            }
        };
        if let Some(name) = node.outputs.get(output) {
            known.insert(name, source);
        }
        Ok(())
    }

    /// Rows that are worth a run of their own, and no more than that.
    pub fn rows_at_once(&self) -> usize {
        let by_cost = usize::try_from(STEPS_AT_ONCE / self.cost).unwrap_or(usize::MAX);
        (VALUES_AT_ONCE / self.width_in_all.max(1)).min(by_cost).clamp(1, ROWS_AT_ONCE)
    }

    /// The score's columns, row after row.
    pub fn run<'a>(&self, inputs: Vec<Data<'a>>, rows: usize) -> Result<Vec<f32>, Fault> {
        let mut slots: Vec<Option<Data<'a>>> = inputs.into_iter().map(Some).collect();
        if slots.len() != self.inputs.len() {
            return invalid(format!("{} inputs for {}", slots.len(), self.inputs.len()));
        }
        slots.resize_with(self.slots, || None);
        for step in &self.steps {
            let given = step.inputs.iter().map(|slot| slots[*slot].as_ref()).collect::<Option<Vec<_>>>();
            let Some(given) = given else { return invalid("an input was not made") };
            slots[step.output] = Some(step.operator.run(&given, rows)?);
        }
        match slots.get_mut(self.output).and_then(Option::take) {
            Some(Data::Floats(scores)) if scores.len() == rows * self.width => Ok(scores),
            _ => invalid("no score was made"),
        }
    }
}
