//! Files of ONNX for tests, written byte by byte: what no exporter would write, too.

/// A message of protocol buffers.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

impl Message {
    pub fn int(mut self, tag: u64, value: i64) -> Self {
        varint(tag << 3, &mut self.0);
        varint(value as u64, &mut self.0);
        self
    }

    pub fn float(mut self, tag: u64, value: f32) -> Self {
        varint(tag << 3 | 5, &mut self.0);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, tag: u64, bytes: &[u8]) -> Self {
        varint(tag << 3 | 2, &mut self.0);
        varint(bytes.len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, tag: u64, text: &str) -> Self {
        self.bytes(tag, text.as_bytes())
    }

    pub fn inner(self, tag: u64, inner: &Self) -> Self {
        self.bytes(tag, &inner.0)
    }
}

pub fn ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().text(1, name), |message, value| message.int(8, *value))
}

pub fn floats(name: &str, values: &[f32]) -> Message {
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Message::default().text(1, name).bytes(7, &packed)
}

pub fn texts(name: &str, values: &[&str]) -> Message {
    values.iter().fold(Message::default().text(1, name), |message, value| message.text(9, value))
}

pub fn int(name: &str, value: i64) -> Message {
    Message::default().text(1, name).int(3, value)
}

pub fn text(name: &str, value: &str) -> Message {
    Message::default().text(1, name).text(4, value)
}

pub fn node(domain: &str, operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    let message = Message::default().text(4, operator).text(7, domain);
    let message = inputs.iter().fold(message, |message, name| message.text(1, name));
    let message = outputs.iter().fold(message, |message, name| message.text(2, name));
    attributes.iter().fold(message, |message, attribute| message.inner(5, attribute))
}

pub fn plain(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    node("", operator, inputs, outputs, attributes)
}

pub fn ml(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    node("ai.onnx.ml", operator, inputs, outputs, attributes)
}

/// Of floats.
pub fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    dims.iter().fold(Message::default(), |message, dim| message.int(1, *dim)).int(2, 1).text(8, name).bytes(9, &raw)
}

/// Of integers of 64 bits.
pub fn indices(name: &str, values: &[i64]) -> Message {
    let message = Message::default().int(1, values.len() as i64).int(2, 7).text(8, name);
    values.iter().fold(message, |message, value| message.int(7, *value))
}

/// An input or output of so many columns; a negative width leaves it open.
pub fn value(name: &str, element: i64, width: i64) -> Message {
    let dim = |size: i64| if size < 0 { Message::default().text(2, "N") } else { Message::default().int(1, size) };
    let shape = Message::default().inner(1, &dim(-1)).inner(1, &dim(width));
    let kind = Message::default().inner(1, &Message::default().int(1, element).inner(2, &shape));
    Message::default().text(1, name).inner(2, &kind)
}

pub fn graph(nodes: &[Message], constants: &[Message], inputs: &[Message], output: &str) -> Message {
    let graph = nodes.iter().fold(Message::default().text(2, "graph"), |graph, node| graph.inner(1, node));
    let graph = constants.iter().fold(graph, |graph, constant| graph.inner(5, constant));
    let graph = inputs.iter().fold(graph, |graph, input| graph.inner(11, input));
    graph.inner(12, &Message::default().text(1, output))
}

pub fn file(graph: &Message) -> Vec<u8> {
    let opset = Message::default().text(1, "").int(2, 15);
    Message::default().int(1, 8).text(2, "test").inner(7, graph).inner(8, &opset).0
}

/// A model of one input `x` of so many floats and one output `y`.
pub fn model(width: i64, nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    file(&graph(nodes, constants, &[value("x", 1, width)], "y"))
}

/// Of trees, by their attributes, which tests change.
#[derive(Clone)]
pub struct Trees {
    pub trees: Vec<i64>,
    pub nodes: Vec<i64>,
    pub features: Vec<i64>,
    pub values: Vec<f32>,
    pub modes: Vec<&'static str>,
    pub holds: Vec<i64>,
    pub fails: Vec<i64>,
    pub leaf_nodes: Vec<i64>,
    pub results: Vec<i64>,
    pub weights: Vec<f32>,
    pub more: Vec<Message>,
}

impl Trees {
    /// One node, which asks whether x[0] <= 0.5, and two leaves of 0.25 and -0.25.
    pub fn stump() -> Self {
        Self {
            trees: vec![0; 3],
            nodes: vec![0, 1, 2],
            features: vec![0; 3],
            values: vec![0.5, 0.0, 0.0],
            modes: vec!["BRANCH_LEQ", "LEAF", "LEAF"],
            holds: vec![1, 0, 0],
            fails: vec![2, 0, 0],
            leaf_nodes: vec![1, 2],
            results: vec![0, 0],
            weights: vec![0.25, -0.25],
            more: Vec::new(),
        }
    }

    pub fn file(&self) -> Vec<u8> {
        let mut attributes = vec![
            ints("nodes_treeids", &self.trees),
            ints("nodes_nodeids", &self.nodes),
            ints("nodes_featureids", &self.features),
            ints("nodes_truenodeids", &self.holds),
            ints("nodes_falsenodeids", &self.fails),
            floats("nodes_values", &self.values),
            texts("nodes_modes", &self.modes),
            ints("target_treeids", &vec![0; self.leaf_nodes.len()]),
            ints("target_nodeids", &self.leaf_nodes),
            ints("target_ids", &self.results),
            floats("target_weights", &self.weights),
        ];
        attributes.extend(self.more.iter().cloned());
        model(2, &[ml("TreeEnsembleRegressor", &["x"], &["y"], &attributes)], &[])
    }
}
