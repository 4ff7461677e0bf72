//! Preparation of columns: Imputer, Scaler, Normalizer, Binarizer, OneHotEncoder, LabelEncoder.

use super::arithmetic::{each, rows};
use super::data::{Data, Type};
use super::site::{Made, Operator, Site, Step};
use super::{Fault, MOST_WIDTH, invalid, unsupported};
use std::collections::HashMap;

/// By columns: one parameter for each, or one for all.
struct Columns<F> {
    width: usize,
    function: F,
}

impl<F: Fn(usize, f32) -> f32> Operator for Columns<F> {
    fn run<'a>(&self, inputs: &[&Data<'a>], _: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        let mut x = x.floats()?.into_owned();
        for row in x.chunks_exact_mut(self.width) {
            for (column, value) in row.iter_mut().enumerate() {
                *value = (self.function)(column, *value);
            }
        }
        Ok(Data::Floats(x))
    }
}

fn columns(site: &Site, keeps_missing: bool, function: impl Fn(usize, f32) -> f32 + 'static) -> Result<Made, Fault> {
    let value = site.numbers(0)?;
    let width = value.columns()?;
    if width == 0 {
        return invalid("its input has no column");
    }
    let step = Step::of(value, Type::Float, value.dims.clone(), Columns { width, function });
    Step { missing: step.missing && keeps_missing, ..step }.made()
}

/// A list of one number for each column; of one for all it makes as many.
fn by_column(values: Vec<f32>, width: usize) -> Result<Vec<f32>, Fault> {
    match values.len() {
        length if length == width => Ok(values),
        1 => Ok(vec![values[0]; width]),
        length => invalid(format!("{length} numbers for {width} columns")),
    }
}

pub fn imputer(site: &Site) -> Result<Made, Fault> {
    let (attributes, value) = (&site.node.attributes, site.numbers(0)?);
    if value.kind != Type::Float || !attributes.has("imputed_value_floats") || !attributes.has("replaced_value_float") {
        return unsupported("it replaces what are not floats");
    }
    let by = by_column(attributes.floats("imputed_value_floats", MOST_WIDTH)?, value.columns()?)?;
    let replaced = attributes.float("replaced_value_float", 0.0)?;
    let keeps = !replaced.is_nan() || by.iter().any(|value| value.is_nan());
    columns(site, keeps, move |column, x| if x == replaced || x.is_nan() && replaced.is_nan() { by[column] } else { x })
}

pub fn scaler(site: &Site) -> Result<Made, Fault> {
    let (attributes, width) = (&site.node.attributes, site.numbers(0)?.columns()?);
    let offset = by_column(attributes.floats("offset", MOST_WIDTH)?, width)?;
    let scale = by_column(attributes.floats("scale", MOST_WIDTH)?, width)?;
    columns(site, true, move |column, x| (x - offset[column]) * scale[column])
}

pub fn binarizer(site: &Site) -> Result<Made, Fault> {
    let threshold = site.node.attributes.float("threshold", 0.0)?;
    each(site, move |x| if x > threshold { 1.0 } else { 0.0 })
}

pub fn normalizer(site: &Site) -> Result<Made, Fault> {
    let size: fn(&[f32]) -> f32 = match site.node.attributes.text("norm")? {
        b"" | b"MAX" => |row| row.iter().copied().fold(f32::MIN, f32::max),
        b"L1" => |row| row.iter().map(|x| x.abs()).sum(),
        b"L2" => |row| row.iter().map(|x| x * x).sum::<f32>().sqrt(),
        _ => return unsupported("its norm is none of MAX, L1 and L2"),
    };
    let dims = site.numbers(0)?.dims.clone();
    rows(site, dims, move |row, results| {
        let size = size(row);
        results.extend(row.iter().map(|x| if size == 0.0 { *x } else { x / size }));
    })
}

/// What is known of texts and whole numbers, by their place in the list.
struct Known<V> {
    texts: HashMap<String, V>,
    ints: HashMap<i64, V>,
}

impl<V: Copy> Known<V> {
    /// For each value what is known of it.
    fn find(&self, data: &Data, mut found: impl FnMut(Option<V>)) {
        match data {
            Data::Texts(texts) => texts.iter().for_each(|text| found(self.texts.get(*text).copied())),
            Data::Ints(ints) => ints.iter().for_each(|int| found(self.ints.get(int).copied())),
            // Categories are whole numbers: onnxruntime cuts the rest off. A missing one is none.
            Data::Floats(floats) => {
                let known = |float: f32| if float.is_nan() { None } else { self.ints.get(&(float as i64)).copied() };
                floats.iter().for_each(|float| found(known(*float)));
            }
        }
    }

    fn of(texts: Vec<&str>, ints: Vec<i64>, values: impl Iterator<Item = V> + Clone) -> Result<Self, Fault> {
        let count = texts.len() + ints.len();
        let known = Self {
            texts: texts.into_iter().map(str::to_owned).zip(values.clone()).collect(),
            ints: ints.into_iter().zip(values).collect(),
        };
        if known.texts.len() + known.ints.len() != count || known.texts.is_empty() == known.ints.is_empty() {
            return invalid("its categories are none, of two types, or not all different");
        }
        Ok(known)
    }
}

/// Whether rows have texts where texts are known, and numbers where numbers are.
fn fits<V>(known: &Known<V>, kind: Type) -> Result<(), Fault> {
    if known.texts.is_empty() == (kind == Type::Text) {
        invalid("its categories are of another type than its input")
    } else {
        Ok(())
    }
}

struct OneHot {
    known: Known<usize>,
    width: usize,
}

impl Operator for OneHot {
    fn run<'a>(&self, inputs: &[&Data<'a>], _: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        let mut results = Vec::new();
        self.known.find(x, |place| {
            let start = results.len();
            results.resize(start + self.width, 0.0);
            if let Some(place) = place {
                results[start + place] = 1.0;
            }
        });
        Ok(Data::Floats(results))
    }
}

pub fn one_hot(site: &Site) -> Result<Made, Fault> {
    let (attributes, value) = (&site.node.attributes, site.value(0)?);
    if attributes.int("zeros", 1)? == 0 {
        return unsupported("zeros = 0, an error for a category that it does not know");
    }
    let (texts, ints) = (attributes.names("cats_strings")?, attributes.ints("cats_int64s", MOST_WIDTH)?);
    let width = texts.len().max(ints.len());
    let known = Known::of(texts, ints, 0..)?;
    fits(&known, value.kind)?;
    let mut dims = value.dims.clone();
    dims.push(width);
    let step = Step::of(value, Type::Float, dims, OneHot { known, width });
    Step { missing: false, ..step }.made()
}

/// Numbers for categories.
struct Codes {
    known: Known<f32>,
    otherwise: f32,
}

impl Operator for Codes {
    fn run<'a>(&self, inputs: &[&Data<'a>], _: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        let mut results = Vec::new();
        self.known.find(x, |code| results.push(code.unwrap_or(self.otherwise)));
        Ok(Data::Floats(results))
    }
}

/// To numbers, that is; whole ones too become floats, which hold them up to 2^24.
pub fn label_encoder(site: &Site) -> Result<Made, Fault> {
    let (attributes, value) = (&site.node.attributes, site.value(0)?);
    let (texts, ints) = (attributes.names("keys_strings")?, attributes.ints("keys_int64s", MOST_WIDTH)?);
    if attributes.has("keys_floats")
        || attributes.has("values_strings")
        || !(attributes.has("keys_strings") || attributes.has("keys_int64s"))
    {
        return unsupported("other keys than texts and integers, or other values than numbers");
    }
    let (codes, otherwise, kind) = if attributes.has("values_floats") {
        (attributes.floats("values_floats", MOST_WIDTH)?, attributes.float("default_float", -0.0)?, Type::Float)
    } else {
        let codes = attributes.ints("values_int64s", MOST_WIDTH)?.into_iter().map(|code| code as f32).collect();
        (codes, attributes.int("default_int64", -1)? as f32, Type::Int)
    };
    if codes.len() != texts.len().max(ints.len()) {
        return invalid("keys and values differ in number");
    }
    let known = Known::of(texts, ints, codes.into_iter())?;
    fits(&known, value.kind)?;
    let missing = otherwise.is_nan();
    if kind == Type::Int && known.texts.values().chain(known.ints.values()).any(|code| code.abs() >= 16_777_216.0) {
        return unsupported("codes of 2^24 and more");
    }
    let step = Step::of(value, Type::Float, value.dims.clone(), Codes { known, otherwise });
    // What follows is a Cast, or an operator that takes integers and floats alike.
    Step { missing, ..step }.made()
}
