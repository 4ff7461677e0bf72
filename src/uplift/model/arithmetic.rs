//! What is computed number by number, and what closes a classifier.

use super::attributes::Attributes;
use super::data::{Data, Type};
use super::site::{Made, Operator, Site, Source, Step, Value};
use super::{Fault, MOST_WIDTH, invalid, unsupported};
use std::borrow::Cow;

/// What a classifier does with its scores last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Post {
    None,
    Logistic,
    Softmax,
}

impl Post {
    pub fn read(attributes: &Attributes) -> Result<Self, Fault> {
        match attributes.text("post_transform")? {
            b"" | b"NONE" => Ok(Self::None),
            b"LOGISTIC" => Ok(Self::Logistic),
            b"SOFTMAX" => Ok(Self::Softmax),
            _ => unsupported("its post_transform is none of NONE, LOGISTIC and SOFTMAX"),
        }
    }
}

/// As onnxruntime takes it: of the absolute value, so that nothing overflows.
pub fn logistic(x: f32) -> f32 {
    let above = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - above } else { above }
}

pub fn softmax(values: &mut [f32]) {
    let most = values.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (*value - most).exp();
        sum += *value;
    }
    values.iter_mut().for_each(|value| *value /= sum);
}

pub fn finish(post: Post, scores: &mut [f32]) {
    match post {
        Post::None => {}
        Post::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
        Post::Softmax => softmax(scores),
    }
}

/// Of one number each.
struct Each<F>(F);

impl<F: Fn(f32) -> f32> Operator for Each<F> {
    fn run<'a>(&self, inputs: &[&Data<'a>], _: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        Ok(Data::Floats(x.floats()?.iter().map(|x| self.0(*x)).collect()))
    }
}

fn float<'s>(site: &'s Site, place: usize) -> Result<&'s Value, Fault> {
    let value = site.value(place)?;
    if value.kind != Type::Float {
        return unsupported("arithmetic of what are not floats");
    }
    Ok(value)
}

pub fn each(site: &Site, function: impl Fn(f32) -> f32 + 'static) -> Result<Made, Fault> {
    let value = float(site, 0)?;
    Step::of(value, Type::Float, value.dims.clone(), Each(function)).made()
}

/// A limit is an attribute, or since version 11 an input.
pub fn clip(site: &Site) -> Result<Made, Fault> {
    let limit = |place, name, otherwise| {
        if site.has(place) {
            match site.constant(place)?.floats()? {
                [limit] => Ok(*limit),
                _ => invalid("a limit is one number"),
            }
        } else {
            site.node.attributes.float(name, otherwise)
        }
    };
    let (low, high) = (limit(1, "min", f32::MIN)?, limit(2, "max", f32::MAX)?);
    each(site, move |x| {
        if x < low {
            low
        } else if x > high {
            high
        } else {
            x
        }
    })
}

/// One side of an operator of two.
struct Side {
    /// None for what all rows have each their own of.
    constant: Option<Vec<f32>>,
    width: usize,
    /// Which of its numbers stands by which of the result.
    places: Vec<usize>,
}

/// A side's numbers: its own, or the next input's.
fn floats_of<'s>(side: &'s Side, inputs: &mut std::slice::Iter<&'s Data>) -> Result<Cow<'s, [f32]>, Fault> {
    match &side.constant {
        Some(constant) => Ok(constant.into()),
        None => inputs.next().map_or_else(|| invalid("an input is missing"), |data| data.floats()),
    }
}

struct Both<F> {
    left: Side,
    right: Side,
    function: F,
}

impl<F: Fn(f32, f32) -> f32> Operator for Both<F> {
    fn run<'a>(&self, inputs: &[&Data<'a>], rows: usize) -> Result<Data<'a>, Fault> {
        let mut inputs = inputs.iter();
        let left = floats_of(&self.left, &mut inputs)?;
        let right = floats_of(&self.right, &mut inputs)?;
        let start = |side: &Side, row| if side.constant.is_some() { 0 } else { row * side.width };
        let mut results = Vec::with_capacity(rows * self.left.places.len());
        for row in 0..rows {
            let (left, right) = (&left[start(&self.left, row)..], &right[start(&self.right, row)..]);
            results.extend(
                self.left.places.iter().zip(&self.right.places).map(|(l, r)| (self.function)(left[*l], right[*r])),
            );
        }
        Ok(Data::Floats(results))
    }
}

/// An operator of two inputs, of which one has the other's dimensions or 1 in their place.
pub fn both(site: &Site, function: impl Fn(f32, f32) -> f32 + 'static) -> Result<Made, Fault> {
    let (left, right) = (site.source(0)?, site.source(1)?);
    let of = |source: &Source| match source {
        Source::Value(value) => Some(value.clone()),
        Source::Constant(_) => None,
    };
    let values: Vec<Value> = [left, right].into_iter().filter_map(of).collect();
    let rank = values.iter().map(|value| value.dims.len()).max();
    let Some(rank) =
        rank.filter(|rank| values.iter().all(|value| value.dims.len() == *rank && value.kind == Type::Float))
    else {
        return unsupported("arithmetic of what are not floats of the same number of dimensions");
    };
    let dims_of = |source: &Source| match source {
        Source::Value(value) => Ok(value.dims.clone()),
        Source::Constant(constant) => {
            let (mut dims, over) = (constant.dims.clone(), constant.dims.len().saturating_sub(rank));
            if dims.iter().take(over).any(|dim| *dim != 1) || over > 1 {
                return unsupported(format!("a constant of dimensions {dims:?} beside rows of {rank}"));
            }
            dims.drain(..over);
            while dims.len() < rank {
                dims.insert(0, 1);
            }
            Ok(dims)
        }
    };
    let (left_dims, right_dims) = (dims_of(left)?, dims_of(right)?);
    let mut dims = Vec::new();
    for (l, r) in left_dims.iter().zip(&right_dims) {
        match (*l, *r) {
            (l, r) if l == r => dims.push(l),
            (1, other) | (other, 1) => dims.push(other),
            (l, r) => return invalid(format!("its inputs are {l} and {r} wide")),
        }
    }
    let width = dims.iter().try_fold(1usize, |width, dim| width.checked_mul(*dim)).filter(|width| *width <= MOST_WIDTH);
    let Some(width) = width else { return Err(Fault::TooLarge("its result is too wide".to_owned())) };
    let side = |source: &Source, own: &[usize]| {
        let constant = match source {
            Source::Value(_) => None,
            Source::Constant(constant) => Some(constant.floats()?.to_vec()),
        };
        Ok::<_, Fault>(Side { constant, width: own.iter().product(), places: places(&dims, own, width) })
    };
    let (left, right) = (side(left, &left_dims)?, side(right, &right_dims)?);
    Step {
        operator: Box::new(Both { left, right, function }),
        inputs: values.iter().map(|value| value.slot).collect(),
        output: 0,
        kind: Type::Float,
        missing: values.iter().any(|value| value.missing),
        cost: width,
        dims,
    }
    .made()
}

/// For each number of `dims` the place in `own`, which has 1 where it is the same for all.
fn places(dims: &[usize], own: &[usize], width: usize) -> Vec<usize> {
    let place = |number: usize| {
        let (mut rest, mut step, mut place) = (number, 1, 0);
        for (dim, own) in dims.iter().zip(own).rev() {
            if *own > 1 {
                place += rest % dim * step;
            }
            rest /= dim;
            step *= own;
        }
        place
    };
    (0..width).map(place).collect()
}

/// Of the numbers of a row.
struct Rows<F> {
    width: usize,
    out: usize,
    function: F,
}

impl<F: Fn(&[f32], &mut Vec<f32>)> Operator for Rows<F> {
    fn run<'a>(&self, inputs: &[&Data<'a>], rows: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        let mut results = Vec::with_capacity(rows * self.out);
        x.floats()?.chunks_exact(self.width).for_each(|row| (self.function)(row, &mut results));
        Ok(Data::Floats(results))
    }
}

pub fn rows(site: &Site, dims: Vec<usize>, function: impl Fn(&[f32], &mut Vec<f32>) + 'static) -> Result<Made, Fault> {
    let value = site.numbers(0)?;
    let width = value.columns()?;
    if width == 0 {
        return invalid("its input has no column");
    }
    let out = dims.iter().product();
    Step::of(value, Type::Float, dims, Rows { width, out, function }).made()
}

/// Whether an operator works along the columns, which is all that it may do.
pub fn along_columns(site: &Site, otherwise: i64) -> Result<usize, Fault> {
    let value = float(site, 0)?;
    match (site.node.attributes.int("axis", otherwise)?, value.dims.len()) {
        (1 | -1, 1) => value.columns(),
        _ => unsupported("another axis than that of the columns"),
    }
}

pub fn softmax_of(site: &Site) -> Result<Made, Fault> {
    let width = along_columns(site, -1)?;
    rows(site, vec![width], |row, results| {
        let start = results.len();
        results.extend_from_slice(row);
        softmax(&mut results[start..]);
    })
}

/// ReduceSum, ReduceMean: the axes are an attribute, or an input.
pub fn reduced(site: &Site, function: impl Fn(&[f32]) -> f32 + 'static) -> Result<Made, Fault> {
    let axes = if site.has(1) { site.constant(1)?.ints()?.to_vec() } else { site.node.attributes.ints("axes", 8)? };
    if float(site, 0)?.dims.len() != 1 || !matches!(axes[..], [1 | -1]) {
        return unsupported("another axis than that of the columns");
    }
    let dims = if site.node.attributes.int("keepdims", 1)? != 0 { vec![1] } else { vec![] };
    rows(site, dims, move |row, results| results.push(function(row)))
}
