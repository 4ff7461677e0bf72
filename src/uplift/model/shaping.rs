//! What moves values without computing: Cast, Concat, Gather, ArrayFeatureExtractor, Reshape and the like.

use super::data::{Data, Type};
use super::site::{Made, Operator, Site, Source, Step, Value};
use super::{Fault, MOST_WIDTH, invalid, unsupported};

struct Ints;

impl Operator for Ints {
    fn run<'a>(&self, inputs: &[&Data<'a>], _: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        Ok(Data::Ints(x.floats()?.iter().map(|x| *x as i64).collect()))
    }
}

struct Floats;

impl Operator for Floats {
    fn run<'a>(&self, inputs: &[&Data<'a>], _: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        Ok(Data::Floats(x.floats()?.into_owned()))
    }
}

pub fn cast(site: &Site) -> Result<Made, Fault> {
    let value = site.value(0)?;
    match (site.node.attributes.int("to", 0)?, value.kind) {
        (1, Type::Float) | (6 | 7, Type::Int) | (8, Type::Text) => Ok(Made::Same(Source::Value(value.clone()))),
        (1, Type::Int) => Step::of(value, Type::Float, value.dims.clone(), Floats).made(),
        (6 | 7, Type::Float) if !value.missing => Step::of(value, Type::Int, value.dims.clone(), Ints).made(),
        (6 | 7, Type::Float) => {
            invalid("a value that may be missing cannot become an integer: give its features one by coalesce")
        }
        (to, kind) => unsupported(format!("from {kind:?} to element type {to}")),
    }
}

/// Of which input and which of its columns each column of the result is.
struct Pick {
    widths: Vec<usize>,
    columns: Vec<(usize, usize)>,
}

impl Operator for Pick {
    fn run<'a>(&self, inputs: &[&Data<'a>], rows: usize) -> Result<Data<'a>, Fault> {
        fn all<T: Copy>(pick: &Pick, inputs: &[&[T]], rows: usize) -> Vec<T> {
            let mut results = Vec::with_capacity(rows * pick.columns.len());
            for row in 0..rows {
                results.extend(pick.columns.iter().map(|(of, column)| inputs[*of][row * pick.widths[*of] + column]));
            }
            results
        }
        macro_rules! picked {
            ($kind:ident) => {{
                let values = |data: &&'_ Data<'a>| match data {
                    Data::$kind(values) => Ok(values.clone()),
                    _ => invalid("its inputs are of several types"),
                };
                let inputs = inputs.iter().map(values).collect::<Result<Vec<_>, _>>()?;
                let inputs: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
                Ok(Data::$kind(all(self, &inputs, rows)))
            }};
        }
        match inputs.first() {
            Some(Data::Floats(_)) => picked!(Floats),
            Some(Data::Ints(_)) => picked!(Ints),
            Some(Data::Texts(_)) => picked!(Texts),
            None => invalid("no input"),
        }
    }
}

fn picked(values: &[&Value], columns: Vec<(usize, usize)>) -> Result<Made, Fault> {
    let Some(first) = values.first() else { return invalid("no input") };
    if columns.len() > MOST_WIDTH {
        return Err(Fault::TooLarge(format!("its result is {} wide, where {MOST_WIDTH} are the most", columns.len())));
    }
    if values.iter().any(|value| value.kind != first.kind) {
        return invalid("its inputs are of several types");
    }
    let widths = values.iter().map(|value| value.width()).collect();
    let dims = vec![columns.len()];
    let missing = values.iter().any(|value| value.missing);
    let step = Step::of(first, first.kind, dims, Pick { widths, columns });
    Step { inputs: values.iter().map(|value| value.slot).collect(), missing, ..step }.made()
}

pub fn concat(site: &Site) -> Result<Made, Fault> {
    let values = (0..site.inputs.len()).map(|place| site.value(place)).collect::<Result<Vec<_>, _>>()?;
    if !matches!(site.node.attributes.int("axis", 0)?, 1 | -1) || values.iter().any(|value| value.dims.len() != 1) {
        return unsupported("another axis than that of the columns");
    }
    let all = values.iter().map(|value| value.width()).fold(0, usize::saturating_add);
    if all > MOST_WIDTH {
        return Err(Fault::TooLarge(format!("its result is {all} wide, where {MOST_WIDTH} are the most")));
    }
    let columns = values.iter().enumerate().flat_map(|(of, value)| (0..value.width()).map(move |column| (of, column)));
    picked(&values, columns.collect())
}

/// Gather and ArrayFeatureExtractor: columns by their numbers.
pub fn columns(site: &Site) -> Result<Made, Fault> {
    let (value, numbers) = (site.value(0)?, site.constant(1)?);
    let gather = site.node.operator == "Gather";
    if gather && !matches!(site.node.attributes.int("axis", 0)?, 1 | -1)
        || value.dims.len() != 1
        || gather && numbers.dims.len() != 1
    {
        return unsupported("another axis than that of the columns");
    }
    let width = value.width();
    let mut columns = Vec::new();
    for number in numbers.ints()? {
        let from_the_end =
            if gather && *number < 0 { number.checked_add_unsigned(width as u64) } else { Some(*number) };
        match from_the_end.and_then(|number| usize::try_from(number).ok()).filter(|column| *column < width) {
            Some(column) => columns.push((0, column)),
            None => return invalid(format!("column {number} of {width}")),
        }
    }
    if columns.is_empty() {
        return invalid("it takes no column");
    }
    picked(&[value], columns)
}

/// Rows stay rows, and have as many numbers as before.
fn shaped(value: &Value, dims: Vec<usize>) -> Result<Made, Fault> {
    let width = dims.iter().try_fold(1usize, |width, dim| width.checked_mul(*dim));
    if width != Some(value.width()) {
        return invalid(format!("rows of {:?} do not become rows of {dims:?}", value.dims));
    }
    Ok(Made::Same(Source::Value(Value { dims, ..value.clone() })))
}

pub fn reshape(site: &Site) -> Result<Made, Fault> {
    let value = site.value(0)?;
    let [rows, target @ ..] = site.constant(1)?.ints()? else { return invalid("its shape is empty") };
    let (mut dims, mut open) = (Vec::new(), None);
    for (place, dim) in target.iter().enumerate() {
        dims.push(match *dim {
            -1 if open.replace(place).is_none() => 1,
            0 if place < value.dims.len() => value.dims[place],
            dim => match usize::try_from(dim) {
                Ok(dim) if dim > 0 => dim,
                _ => return invalid(format!("a dimension of {dim}")),
            },
        });
    }
    match (rows, open) {
        (-1, None) => {}
        (0, None) => {}
        (0, Some(open)) => {
            let known: usize = dims.iter().try_fold(1usize, |known, dim| known.checked_mul(*dim)).unwrap_or(0);
            dims[open] = value.width().checked_div(known).unwrap_or(0);
        }
        _ => return unsupported("a shape whose first dimension is not that of the rows"),
    }
    shaped(value, dims)
}

pub fn flatten(site: &Site) -> Result<Made, Fault> {
    let value = site.value(0)?;
    if site.node.attributes.int("axis", 1)? != 1 {
        return unsupported("another axis than 1");
    }
    shaped(value, vec![value.width()])
}

/// Squeeze and Unsqueeze: the axes are an attribute, or an input.
pub fn squeezed(site: &Site) -> Result<Made, Fault> {
    let value = site.value(0)?;
    let axes = if site.has(1) { site.constant(1)?.ints()?.to_vec() } else { site.node.attributes.ints("axes", 8)? };
    let dims = match (site.node.operator, &axes[..], &value.dims[..]) {
        ("Squeeze", [1 | -1], [1]) => vec![],
        ("Unsqueeze", [1 | -1], []) => vec![1],
        _ => return unsupported(format!("axes {axes:?} of rows of {:?}", value.dims)),
    };
    shaped(value, dims)
}
