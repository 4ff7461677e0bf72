//! A file of ONNX: its operators, constants, inputs and outputs, as far as a model here may have them.

use super::attributes::{Attribute, Attributes};
use super::data::Type;
use super::tensor::Constant;
use super::wire::{Field, Fields, last};
use super::{Fault, MOST_BYTES, MOST_NAMES, MOST_OPERATORS, MOST_WIDTH, invalid, shown, unsupported};

#[derive(Debug, Default)]
pub struct File<'a> {
    pub producer: &'a str,
    pub nodes: Vec<Node<'a>>,
    pub constants: Vec<(&'a str, Constant)>,
    pub inputs: Vec<Input<'a>>,
    pub outputs: Vec<&'a str>,
    names: usize,
}

#[derive(Debug, Default)]
pub struct Node<'a> {
    pub operator: &'a str,
    pub domain: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub attributes: Attributes<'a>,
}

/// What the graph takes; a constant may be listed here too, and then has no type of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Input<'a> {
    pub name: &'a str,
    element: i64,
    /// Of each dimension its size, None if it is open; None without a shape.
    shape: Option<Vec<Option<i64>>>,
}

impl<'a> File<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.len() > MOST_BYTES {
            return Err(Fault::TooLarge(format!(
                "the file has {} bytes, where {MOST_BYTES} are the most",
                bytes.len()
            )));
        }
        let (mut file, mut graph) = (Self::default(), None);
        for field in Fields(bytes) {
            match field? {
                (2, field) => file.producer = field.text()?,
                (7, _) if graph.is_some() => return invalid("it has two graphs"),
                (7, field) => graph = Some(field.bytes()?),
                (20, _) => return unsupported("it holds a graph for training"),
                (25, _) => return unsupported("it defines functions"),
                _ => {}
            }
        }
        let Some(graph) = graph else { return invalid("the file is not ONNX: it has no graph") };
        file.graph(graph)?;
        Ok(file)
    }

    fn graph(&mut self, graph: &'a [u8]) -> Result<(), Fault> {
        for field in Fields(graph) {
            match field? {
                (1, field) => {
                    if self.nodes.len() >= MOST_OPERATORS {
                        return Err(Fault::TooLarge(format!("it has more than {MOST_OPERATORS} operators")));
                    }
                    let node = self.node(field.bytes()?)?;
                    self.nodes.push(node);
                }
                (5, field) => {
                    self.count()?;
                    self.constants.push(Constant::read(field.bytes()?)?);
                }
                (11, field) => {
                    self.count()?;
                    self.inputs.push(Input::read(field.bytes()?)?);
                }
                (12, field) => {
                    self.count()?;
                    self.outputs.push(last(field.bytes()?, 1)?.map_or(Ok(""), Field::text)?);
                }
                (15, _) => return unsupported("it holds sparse constants"),
                _ => {}
            }
        }
        if self.nodes.is_empty() || self.outputs.is_empty() {
            return invalid("it has no operator or no output");
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.names += 1;
        if self.names > MOST_NAMES {
            return Err(Fault::TooLarge(format!("it names more than {MOST_NAMES} values")));
        }
        Ok(())
    }

    fn node(&mut self, message: &'a [u8]) -> Result<Node<'a>, Fault> {
        let mut node = Node::default();
        for field in Fields(message) {
            match field? {
                (1, field) => {
                    self.count()?;
                    node.inputs.push(field.text()?);
                }
                (2, field) => {
                    self.count()?;
                    node.outputs.push(field.text()?);
                }
                (4, field) => node.operator = field.text()?,
                (5, field) => {
                    let attribute = field.bytes().and_then(Attribute::read);
                    let pushed = attribute.and_then(|attribute| node.attributes.push(attribute));
                    pushed.map_err(|fault| fault.of(&node.shown()))?;
                }
                (7, field) => node.domain = field.text()?,
                _ => {}
            }
        }
        if node.domain == "ai.onnx" {
            node.domain = "";
        }
        Ok(node)
    }
}

impl Node<'_> {
    /// How an error names it.
    pub fn shown(&self) -> String {
        match self.outputs.first() {
            Some(output) => format!("operator {} that makes {}", shown(self.operator), shown(output)),
            None => format!("operator {}", shown(self.operator)),
        }
    }
}

impl<'a> Input<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Fault> {
        let name = last(message, 1)?.map_or(Ok(""), Field::text)?;
        let inner = |message: &'a [u8], tag| last(message, tag)?.map(Field::bytes).transpose();
        let Some(tensor) = inner(message, 2)?.map_or(Ok(None), |kind| inner(kind, 1))? else {
            return Ok(Self { name, element: 0, shape: None });
        };
        let element = last(tensor, 1)?.map_or(Ok(0), Field::int)?;
        let Some(dims) = inner(tensor, 2)? else { return Ok(Self { name, element, shape: None }) };
        let mut shape = Vec::new();
        for dim in super::wire::all(dims, 1) {
            if shape.len() >= 8 {
                return invalid(format!("input {} has more than 8 dimensions", shown(name)));
            }
            let size = last(dim?.bytes()?, 1)?.map(Field::int).transpose()?;
            shape.push(size.filter(|size| *size > 0)); // -1 and 0 stand for an open one
        }
        Ok(Self { name, element, shape: Some(shape) })
    }

    /// What it takes for each row.
    pub fn takes(&self) -> Result<(Type, Vec<usize>), Fault> {
        let fault = |fault: Fault| fault.of(&format!("input {}", shown(self.name)));
        let kind = match self.element {
            1 => Type::Float,
            6 | 7 => Type::Int,
            8 => Type::Text,
            11 => return unsupported("it is of double precision: export with FloatTensorType").map_err(fault),
            other => return unsupported(format!("its element type is {other}")).map_err(fault),
        };
        let dims = match self.shape.as_deref() {
            Some([None]) => vec![],
            Some([None, Some(width)]) => match usize::try_from(*width) {
                Ok(width) if width <= MOST_WIDTH => vec![width],
                _ => {
                    return Err(fault(Fault::TooLarge(format!("it is {width} wide, where {MOST_WIDTH} are the most"))));
                }
            },
            Some([Some(_), ..]) => {
                return unsupported("its number of rows is fixed: export with an open first dimension").map_err(fault);
            }
            _ => return invalid("its shape is not rows by a fixed number of columns").map_err(fault),
        };
        Ok((kind, dims))
    }
}
