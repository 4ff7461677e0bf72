//! The operators that a model may have. None loops, branches, holds a graph or reads anything but its inputs.

use super::arithmetic::{both, clip, each, logistic, reduced, softmax_of};
use super::linear::{gemm, linear, matmul};
use super::shaping::{cast, columns, concat, flatten, reshape, squeezed};
use super::site::{Made, Site, Source};
use super::tables::{binarizer, imputer, label_encoder, normalizer, one_hot, scaler};
use super::tensor::{Constant, Values};
use super::trees::trees;
use super::{Fault, shown, unsupported};

const ML: &str = "ai.onnx.ml";

type Make = fn(&Site) -> Result<Made, Fault>;

/// None for what is not on the list. What gives a class and no number is, since classifiers have it beside their scores; no
/// score comes from it.
pub fn make(domain: &str, name: &str) -> Result<Make, Fault> {
    let make: Make = match (domain, name) {
        (ML, "TreeEnsembleClassifier") => |site| trees(site, true),
        (ML, "TreeEnsembleRegressor") => |site| trees(site, false),
        (ML, "LinearClassifier") => |site| linear(site, true),
        (ML, "LinearRegressor") => |site| linear(site, false),
        (ML, "Imputer") => imputer,
        (ML, "Scaler") => scaler,
        (ML, "Normalizer") => normalizer,
        (ML, "Binarizer") => binarizer,
        (ML, "OneHotEncoder") => one_hot,
        (ML, "LabelEncoder") => label_encoder,
        (ML, "ArrayFeatureExtractor") | ("", "Gather") => columns,
        (ML, "ZipMap") | ("", "Identity" | "Dropout") => |site| Ok(Made::Same(site.source(0)?.clone())),
        ("", "Constant") => constant,
        ("", "Cast") => cast,
        ("", "Concat") => concat,
        ("", "Reshape") => reshape,
        ("", "Flatten") => flatten,
        ("", "Squeeze" | "Unsqueeze") => squeezed,
        ("", "MatMul") => matmul,
        ("", "Gemm") => gemm,
        ("", "Add") => |site| both(site, |x, y| x + y),
        ("", "Sub") => |site| both(site, |x, y| x - y),
        ("", "Mul") => |site| both(site, |x, y| x * y),
        ("", "Div") => |site| both(site, |x, y| x / y),
        ("", "Neg") => |site| each(site, |x| -x),
        ("", "Abs") => |site| each(site, f32::abs),
        ("", "Exp") => |site| each(site, f32::exp),
        ("", "Log") => |site| each(site, f32::ln),
        ("", "Sqrt") => |site| each(site, f32::sqrt),
        ("", "Tanh") => |site| each(site, f32::tanh),
        ("", "Sigmoid") => |site| each(site, logistic),
        ("", "Relu") => |site| each(site, |x| if x < 0.0 { 0.0 } else { x }),
        ("", "LeakyRelu") => |site| {
            let alpha = site.node.attributes.float("alpha", 0.01)?;
            each(site, move |x| if x < 0.0 { alpha * x } else { x })
        },
        ("", "Clip") => clip,
        ("", "Softmax") => softmax_of,
        ("", "ReduceSum") => |site| reduced(site, |row| row.iter().sum()),
        ("", "ReduceMean") => |site| reduced(site, |row| row.iter().sum::<f32>() / row.len() as f32),
        ("", "ArgMax") => |_| unsupported("it gives a class and no number"),
        ("", "Loop" | "Scan" | "If" | "SequenceMap") => {
            return unsupported(format!("operator {name} loops or branches, which no model here does"));
        }
        (ML, "TreeEnsemble") => {
            return unsupported(
                "operator TreeEnsemble is of ai.onnx.ml 5: export with target_opset={'': 15, 'ai.onnx.ml': 3}",
            );
        }
        _ => {
            let of = if domain.is_empty() { String::new() } else { format!(" of {}", shown(domain)) };
            return unsupported(format!("operator {}{of} is not supported", shown(name)));
        }
    };
    Ok(make)
}

fn constant(site: &Site) -> Result<Made, Fault> {
    let attributes = &site.node.attributes;
    let (dims, values) = if let Some(tensor) = attributes.tensor("value")? {
        return Ok(Made::Constant(Constant::read(tensor)?.1));
    } else if attributes.has("value_float") {
        (vec![], Values::Floats(vec![attributes.float("value_float", 0.0)?]))
    } else if attributes.has("value_int") {
        (vec![], Values::Ints(vec![attributes.int("value_int", 0)?]))
    } else if attributes.has("value_floats") {
        let values = attributes.floats("value_floats", super::MOST_BYTES)?;
        (vec![values.len()], Values::Floats(values))
    } else if attributes.has("value_ints") {
        let values = attributes.ints("value_ints", super::MOST_WIDTH)?;
        (vec![values.len()], Values::Ints(values))
    } else {
        return unsupported("a constant of another type than tensor, float and int");
    };
    Ok(Made::Constant(Constant { dims, values }))
}

/// Of a source that a score is to come from.
pub fn is_number(source: &Source) -> bool {
    matches!(source, Source::Value(value) if value.kind == super::Type::Float)
}
