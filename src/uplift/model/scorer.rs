//! From a registered model to scores: what kinds of models there are, and what each makes of the features of a property.

use super::batch::{Batch, Wanted};
use super::data::{Data, Type};
use super::features::{Catalogue, Expression, Reader, input};
use super::file::File;
use super::learned;
use super::program::{Declared, Plan, Program};
use super::score::Score;
use super::{Fault, invalid, shown, unsupported};
use crate::uplift::learn;
use serde_json::{Map, Value};
use std::ops::Range;

/// Why there are no scores.
#[derive(Debug, PartialEq)]
pub enum Failure {
    Fault(Fault),
    /// What the model gives for a property is no score.
    Unfit {
        property: [u8; 16],
        gives: String,
    },
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A model that is ready to score. A new kind has its name in `name()`, its reading in `Scorer::read()`, and its scores in
/// `scores()`.
enum Model {
    /// A file that gives the uplift.
    Onnx(Bound),
    /// The chance with treatment, and without.
    Pair(Bound, Bound),
    /// One file for both: treatment is a feature of it.
    Treatment(Bound),
    /// Learned in the database; the batch has its features in its own order.
    Linear(learn::Model),
}

pub struct Scorer {
    model: Model,
    pub wanted: Wanted,
    pub summary: Summary,
}

/// What is said of a model when it is registered.
pub struct Summary {
    pub inputs: Vec<Declared>,
    /// Expressions by input, each a list.
    pub features: Map<String, Value>,
    pub cost: u64,
}

/// A program, and what its inputs are made of.
struct Bound {
    program: Program,
    inputs: Vec<(Type, Vec<Expression>)>,
}

impl Scorer {
    /// `kind`: what it is registered as; None to find out.
    pub fn read(
        kind: Option<&str>,
        model: &[u8],
        control: Option<&[u8]>,
        features: Option<&Value>,
        catalogue: &Catalogue,
    ) -> Result<Self, Fault> {
        if kind == Some("linear") {
            let (model, wanted) = learned::read(model, catalogue)?;
            let summary = Summary { inputs: Vec::new(), features: Map::new(), cost: learned::cost(&model) };
            return Ok(Self { model: Model::Linear(model), wanted, summary });
        }
        let file = File::read(model)?;
        let plan = Plan::new(&file)?;
        let control_file = control.map(File::read).transpose().map_err(|fault| fault.of("control"))?;
        let control_plan = control_file.as_ref().map(Plan::new).transpose().map_err(|fault| fault.of("control"))?;
        let mut inputs = plan.inputs.clone();
        inputs.extend(
            control_plan
                .iter()
                .flat_map(|plan| plan.inputs.iter().filter(|input| !plan_has(&inputs, input)).cloned())
                .collect::<Vec<_>>(),
        );
        let features = by_input(features, &inputs, control.is_some())?;
        let mut reader = Reader::new(catalogue);
        let bound = bind(&plan, &features, &mut reader)?;
        let model = match control_plan {
            Some(_) if reader.treatment => {
                return invalid("a pair of models takes no feature treatment: each file knows its own");
            }
            Some(control) => {
                Model::Pair(bound, bind(&control, &features, &mut reader).map_err(|fault| fault.of("control"))?)
            }
            None if reader.treatment => Model::Treatment(bound),
            None => Model::Onnx(bound),
        };
        if reader.treatment && matches!(model, Model::Pair(..)) {
            return invalid("a pair of models takes no feature treatment: each file knows its own");
        }
        let scorer = Self { summary: Summary { inputs, features, cost: model.cost() }, model, wanted: reader.wanted };
        scorer.model.fits()?;
        match kind {
            Some(kind) if kind != scorer.kind() => {
                invalid(format!("the model is of kind {}, and registered as {}", scorer.kind(), shown(kind)))
            }
            _ => Ok(scorer),
        }
    }

    pub fn kind(&self) -> &'static str {
        self.model.name()
    }

    /// One score for each property of the batch. `hear` is called between parts of it that take some milliseconds.
    pub fn score(&self, batch: &Batch, scores: &mut Vec<Score>, mut hear: impl FnMut()) -> Result<(), Failure> {
        let (mut start, step) = (0, self.model.rows_at_once());
        while start < batch.properties.len() {
            hear();
            let end = (start + step).min(batch.properties.len());
            self.model.scores(batch, start..end, scores)?;
            start = end;
        }
        Ok(())
    }
}

fn plan_has(inputs: &[Declared], input: &Declared) -> bool {
    inputs.iter().any(|known| known.name == input.name)
}

impl Model {
    fn name(&self) -> &'static str {
        match self {
            Self::Onnx(_) => "onnx",
            Self::Pair(..) => "onnx_pair",
            Self::Treatment(_) => "onnx_treatment",
            Self::Linear(_) => "linear",
        }
    }

    fn parts(&self) -> Vec<&Bound> {
        match self {
            Self::Onnx(bound) | Self::Treatment(bound) => vec![bound],
            Self::Pair(treated, control) => vec![treated, control],
            Self::Linear(_) => Vec::new(),
        }
    }

    fn cost(&self) -> u64 {
        self.parts().iter().map(|bound| bound.program.cost).sum()
    }

    fn rows_at_once(&self) -> usize {
        // A linear one has no parts.
        self.parts().iter().map(|bound| bound.program.rows_at_once()).min().unwrap_or(1024)
    }

    /// Whether its results are what its kind has.
    fn fits(&self) -> Result<(), Fault> {
        let widths: Vec<usize> = self.parts().iter().map(|bound| bound.program.width).collect();
        match (self, &widths[..]) {
            (Self::Onnx(_), [1]) => Ok(()),
            (Self::Onnx(_), [2]) => invalid(
                "it gives chances of two classes, and a chance is no uplift: name the feature treatment, or register a pair of models",
            ),
            (Self::Pair(..) | Self::Treatment(_), widths) if widths.iter().all(|width| matches!(width, 1 | 2)) => {
                Ok(())
            }
            _ => unsupported(format!(
                "its last output is {widths:?} wide: an uplift is one number, an outcome one or two"
            )),
        }
    }

    fn scores(&self, batch: &Batch, rows: Range<usize>, scores: &mut Vec<Score>) -> Result<(), Failure> {
        let (with, without) = match self {
            Self::Linear(model) => return Ok(learned::scores(model, batch, rows, scores)?),
            Self::Onnx(model) => {
                for (row, uplift) in rows.clone().zip(model.run(batch, rows, 0.0)?) {
                    let uplift = checked(uplift, -1.0, "an uplift", batch, row)?;
                    scores.push(Score { uplift, sd: None, baseline: None });
                }
                return Ok(());
            }
            Self::Pair(treated, control) => {
                (treated.run(batch, rows.clone(), 1.0)?, control.run(batch, rows.clone(), 0.0)?)
            }
            Self::Treatment(model) => (model.run(batch, rows.clone(), 1.0)?, model.run(batch, rows.clone(), 0.0)?),
        };
        for (row, (with, without)) in rows.zip(with.into_iter().zip(without)) {
            let with = checked(with, 0.0, "a chance with treatment", batch, row)?;
            let baseline = checked(without, 0.0, "a chance without treatment", batch, row)?;
            scores.push(Score { uplift: with - baseline, sd: None, baseline: Some(baseline) });
        }
        Ok(())
    }
}

fn checked(value: f32, low: f32, what: &str, batch: &Batch, row: usize) -> Result<f64, Failure> {
    if value >= low && value <= 1.0 {
        return Ok(f64::from(value));
    }
    Err(Failure::Unfit {
        property: batch.properties[row],
        gives: format!("{what} of {value}, which is not between {low} and 1"),
    })
}

impl Bound {
    /// The last column of its output: of two classes the second one's chance.
    fn run(&self, batch: &Batch, rows: Range<usize>, treatment: f64) -> Result<Vec<f32>, Fault> {
        let inputs =
            self.inputs.iter().map(|(kind, expressions)| input(expressions, *kind, batch, rows.clone(), treatment));
        let inputs = inputs.collect::<Result<Vec<Data>, Fault>>()?;
        let mut scores = self.program.run(inputs, rows.len())?;
        if self.program.width == 2 {
            scores = scores.as_chunks().0.iter().map(|[_, second]| *second).collect();
        }
        Ok(scores)
    }
}

fn bind(plan: &Plan, features: &Map<String, Value>, reader: &mut Reader) -> Result<Bound, Fault> {
    let (mut inputs, mut missing) = (Vec::new(), Vec::new());
    for declared in &plan.inputs {
        let Some(Value::Array(given)) = features.get(&declared.name) else {
            return invalid(format!("input {} has no features", shown(&declared.name)));
        };
        let fault = |fault: Fault| fault.of(&format!("input {}", shown(&declared.name)));
        if given.len() != declared.width() {
            return invalid(format!("it takes {} features, and is given {}", declared.width(), given.len()))
                .map_err(fault);
        }
        let expressions = given
            .iter()
            .map(|value| reader.read(value, declared.kind))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fault)?;
        missing.push(expressions.iter().any(Expression::may_be_missing));
        inputs.push((declared.kind, expressions));
    }
    Ok(Bound { program: plan.compile(&missing)?, inputs })
}

/// A list of expressions for each input. None: each input is the feature of its name.
fn by_input(features: Option<&Value>, inputs: &[Declared], pair: bool) -> Result<Map<String, Value>, Fault> {
    let list = |value: &Value| if value.is_array() { value.clone() } else { Value::Array(vec![value.clone()]) };
    let names = || {
        inputs
            .iter()
            .map(|input| format!("{} ({} wide)", shown(&input.name), input.width()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match features {
        None | Some(Value::Null) => {
            Ok(inputs.iter().map(|input| (input.name.clone(), list(&Value::String(input.name.clone())))).collect())
        }
        Some(Value::Object(object)) => {
            if let Some(name) = object.keys().find(|name| inputs.iter().all(|input| input.name != **name)) {
                return invalid(format!("there is no input {}: they are {}", shown(name), names()));
            }
            Ok(object.iter().map(|(name, value)| (name.clone(), list(value))).collect())
        }
        Some(Value::Array(_)) if inputs.len() == 1 || pair && inputs.len() == 2 => {
            Ok(inputs.iter().filter_map(|input| Some((input.name.clone(), features?.clone()))).collect())
        }
        Some(Value::Array(_)) => {
            invalid(format!("a model of several inputs takes an object of features by input: {}", names()))
        }
        Some(_) => invalid("features are a list, or an object of lists by the names of the inputs"),
    }
}
