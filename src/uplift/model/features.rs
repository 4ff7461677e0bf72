//! What a model is given: named features of a closed catalogue, and arithmetic over them, as JSON. Nothing here is SQL.
//!
//! A number that is missing is NaN, as is what no arithmetic gives (a division by zero, the logarithm of a negative).

use super::batch::{Batch, Wanted};
use super::data::{Data, Type};
use super::expression::{Number, One, Two, number};
use super::{Fault, invalid, shown, unsupported};
use serde_json::Value;

const MOST_EXPRESSIONS: usize = 10_000;
const DEEPEST: usize = 20;
/// Of the two runs of one model, with treatment and without, which one this is: 1 or 0.
const TREATMENT: &str = "treatment";

/// The features there are, as numbers (float) or text.
pub struct Catalogue(pub Vec<(String, Type)>);

/// What one column of an input is made of.
#[derive(Debug, PartialEq)]
pub enum Expression {
    Number(Number),
    /// A feature, and what stands for it where it is missing.
    Text(usize, String),
}

/// Reads expressions, and notes what they name.
pub struct Reader<'c> {
    catalogue: &'c Catalogue,
    pub wanted: Wanted,
    pub treatment: bool,
    count: usize,
}

fn place(wanted: &mut Vec<usize>, feature: usize) -> usize {
    wanted.iter().position(|known| *known == feature).unwrap_or_else(|| {
        wanted.push(feature);
        wanted.len() - 1
    })
}

impl<'c> Reader<'c> {
    pub fn new(catalogue: &'c Catalogue) -> Self {
        Self { catalogue, wanted: Wanted::default(), treatment: false, count: 0 }
    }

    /// For a column of an input of this type.
    pub fn read(&mut self, value: &Value, kind: Type) -> Result<Expression, Fault> {
        Ok(match kind {
            Type::Text => {
                let (feature, otherwise) = match operation(value)? {
                    Some(("coalesce", [feature, Value::Object(text)])) if text.len() == 1 => match text.get("text") {
                        Some(Value::String(text)) => (feature, text.as_str()),
                        _ => return invalid("what stands for a missing text is written {\"text\": \"unknown\"}"),
                    },
                    Some((name, _)) => {
                        return invalid(format!(
                            "{} gives no text: it takes a feature and {{\"text\": ...}} by coalesce",
                            shown(name)
                        ));
                    }
                    None => (value, ""),
                };
                Expression::Text(self.text(feature)?, otherwise.to_owned())
            }
            Type::Float | Type::Int => {
                let number = self.number(value, 0)?;
                if kind == Type::Int && number.may_be_missing() {
                    return invalid(
                        "an input of integers takes no missing value: give it one by {\"coalesce\": [feature, 0]}",
                    );
                }
                Expression::Number(number)
            }
        })
    }

    fn feature(&self, name: &str) -> Result<(usize, Type), Fault> {
        match self.catalogue.0.iter().position(|feature| feature.0 == name) {
            Some(feature) => Ok((feature, self.catalogue.0[feature].1)),
            None => invalid(format!("there is no feature {}", shown(name))),
        }
    }

    fn text(&mut self, value: &Value) -> Result<usize, Fault> {
        let Value::String(name) = value else { return invalid("a text is the name of a feature") };
        match self.feature(name)? {
            (feature, Type::Text) => Ok(place(&mut self.wanted.texts, feature)),
            _ => invalid(format!("feature {} is a number, where a text is needed", shown(name))),
        }
    }

    fn number(&mut self, value: &Value, depth: usize) -> Result<Number, Fault> {
        self.count += 1;
        if depth > DEEPEST || self.count > MOST_EXPRESSIONS {
            return Err(Fault::TooLarge(format!(
                "features are nested deeper than {DEEPEST}, or more than {MOST_EXPRESSIONS}"
            )));
        }
        if let Value::Number(number) = value {
            return match number.as_f64().filter(|number| number.is_finite()) {
                Some(number) => Ok(Number::Constant(number)),
                None => invalid("a number in features is not finite"),
            };
        }
        if let Value::String(name) = value {
            if name == TREATMENT {
                self.treatment = true;
                return Ok(Number::Treatment);
            }
            return match self.feature(name)? {
                (feature, Type::Float) => Ok(Number::Feature(place(&mut self.wanted.numbers, feature))),
                _ => invalid(format!(
                    "feature {} is text, where a number is needed: equals makes one of it",
                    shown(name)
                )),
            };
        }
        let Some((name, given)) = operation(value)? else {
            return invalid("a feature is a name, a number, or an object of one operation and its list of arguments");
        };
        self.operation(name, given, depth + 1)
    }

    fn operation(&mut self, name: &str, given: &[Value], depth: usize) -> Result<Number, Fault> {
        let one = match name {
            "ln" => Some(One::Ln),
            "exp" => Some(One::Exp),
            "sqrt" => Some(One::Sqrt),
            "abs" => Some(One::Abs),
            _ => None,
        };
        let two = match name {
            "+" => Some(Two::Add),
            "-" => Some(Two::Subtract),
            "*" => Some(Two::Multiply),
            "/" => Some(Two::Divide),
            "least" => Some(Two::Least),
            "greatest" => Some(Two::Greatest),
            "coalesce" => Some(Two::Coalesce),
            "<" => Some(Two::Less),
            "<=" => Some(Two::AtMost),
            _ => None,
        };
        match (one, two, given) {
            (Some(one), _, [x]) => Ok(Number::One(one, Box::new(self.number(x, depth)?))),
            (_, Some(two), [x, y]) => {
                Ok(Number::Two(two, Box::new(self.number(x, depth)?), Box::new(self.number(y, depth)?)))
            }
            (_, _, [feature, Value::String(text)]) if name == "equals" => {
                Ok(Number::Equals(self.text(feature)?, text.clone()))
            }
            (_, _, [Value::String(feature)])
                if name == "is_missing" && matches!(self.feature(feature), Ok((_, Type::Text))) =>
            {
                Ok(Number::TextMissing(self.text(&given[0])?))
            }
            (_, _, [x]) if name == "is_missing" => Ok(Number::Missing(Box::new(self.number(x, depth)?))),
            _ => unsupported(format!(
                "{} of {}: one argument have ln, exp, sqrt, abs, is_missing; two have +, -, *, /, <, <=, least, greatest, coalesce, and equals, of a text",
                shown(name),
                given.len()
            )),
        }
    }
}

/// An object of one key, whose value is a list.
fn operation(value: &Value) -> Result<Option<(&str, &[Value])>, Fault> {
    let Value::Object(object) = value else { return Ok(None) };
    match object.iter().next() {
        Some((name, Value::Array(given))) if object.len() == 1 => Ok(Some((name, given))),
        _ => invalid(
            "an operation is an object of its name and the list of its arguments, like {\"ln\": [\"building_value\"]}",
        ),
    }
}

impl Expression {
    pub fn may_be_missing(&self) -> bool {
        matches!(self, Self::Number(number) if number.may_be_missing())
    }
}

/// An input of a model for some rows of a batch: a column for each expression.
pub fn input<'b>(
    expressions: &'b [Expression],
    kind: Type,
    batch: &'b Batch,
    rows: std::ops::Range<usize>,
    treatment: f64,
) -> Result<Data<'b>, Fault> {
    let (width, count) = (expressions.len(), rows.len());
    let mut floats = vec![0f32; if kind == Type::Float { width * count } else { 0 }];
    let mut ints = vec![0i64; if kind == Type::Int { width * count } else { 0 }];
    let mut texts = vec![""; if kind == Type::Text { width * count } else { 0 }];
    for (column, expression) in expressions.iter().enumerate() {
        let places = (column..).step_by(width);
        match (kind, expression) {
            (Type::Float, Expression::Number(x)) => {
                for (place, x) in places.zip(x.column(batch, rows.clone(), treatment)) {
                    // What is too large for a float of 32 bits is missing, too.
                    floats[place] = number(f64::from(x as f32)) as f32;
                }
            }
            (Type::Int, Expression::Number(x)) => {
                for (place, x) in places.zip(x.column(batch, rows.clone(), treatment)) {
                    ints[place] = x as i64;
                }
            }
            (Type::Text, Expression::Text(feature, otherwise)) => {
                for (place, range) in places.zip(&batch.texts[*feature][rows.clone()]) {
                    texts[place] = range.map_or(otherwise, |(start, end)| &batch.text[start..end]);
                }
            }
            _ => return invalid("a feature is of another type than its input"),
        }
    }
    Ok(match kind {
        Type::Float => Data::Floats(floats),
        Type::Int => Data::Ints(ints),
        Type::Text => Data::Texts(texts),
    })
}
