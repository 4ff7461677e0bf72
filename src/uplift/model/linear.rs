//! Products with constant matrices: LinearClassifier, LinearRegressor, MatMul, Gemm.

use super::arithmetic::{Post, finish};
use super::data::{Data, Type};
use super::site::{Made, Operator, Site, Step};
use super::tensor::Constant;
use super::{Fault, MOST_BYTES, MOST_WIDTH, invalid, unsupported};

/// `x` of `wide` columns times a matrix of as many rows, plus the bias.
struct Product {
    wide: usize,
    out: usize,
    /// Row after row, `out` numbers each.
    matrix: Vec<f32>,
    bias: Vec<f32>,
    post: Post,
    /// A classifier of two classes that computes the second one's score only.
    second: bool,
}

impl Operator for Product {
    fn run<'a>(&self, inputs: &[&Data<'a>], rows: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        let x = x.floats()?;
        let mut sums = vec![0f32; rows * self.out];
        for (x, sums) in x.chunks_exact(self.wide).zip(sums.chunks_exact_mut(self.out)) {
            for (x, weights) in x.iter().zip(self.matrix.chunks_exact(self.out)) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += x * weight;
                }
            }
            for (sum, bias) in sums.iter_mut().zip(&self.bias) {
                *sum += bias;
            }
        }
        if self.second {
            let both = |score: f32| match self.post {
                Post::Logistic => [super::arithmetic::logistic(-score), super::arithmetic::logistic(score)],
                _ => [-score, score],
            };
            return Ok(Data::Floats(sums.into_iter().flat_map(both).collect()));
        }
        sums.chunks_exact_mut(self.out).for_each(|scores| finish(self.post, scores));
        Ok(Data::Floats(sums))
    }
}

fn made(site: &Site, product: Product, output: usize) -> Result<Made, Fault> {
    let value = site.numbers(0)?;
    let width = if product.second { 2 } else { product.out };
    let cost = product.wide.saturating_mul(product.out);
    let step = Step::of(value, Type::Float, vec![width], product);
    Step { output, cost, ..step }.made()
}

fn is_finite(values: &[f32]) -> Result<(), Fault> {
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { invalid("a coefficient is not finite") }
}

pub fn linear(site: &Site, classifier: bool) -> Result<Made, Fault> {
    let attributes = &site.node.attributes;
    let wide = site.numbers(0)?.columns()?;
    let coefficients = attributes.floats("coefficients", MOST_BYTES)?;
    let bias = attributes.floats("intercepts", MOST_WIDTH)?;
    let labels =
        attributes.ints("classlabels_ints", MOST_WIDTH)?.len().max(attributes.names("classlabels_strings")?.len());
    let out = if classifier { bias.len().max(1) } else { usize::try_from(attributes.int("targets", 1)?).unwrap_or(0) };
    if wide == 0
        || out == 0
        || wide.checked_mul(out) != Some(coefficients.len())
        || !(bias.is_empty() || bias.len() == out)
    {
        return invalid(format!(
            "{} coefficients and {} intercepts for {wide} columns and {out} results",
            coefficients.len(),
            bias.len()
        ));
    }
    let second = classifier && out == 1 && labels == 2;
    if classifier && labels != if second { 2 } else { out } {
        return invalid(format!("{labels} classes for {out} scores"));
    }
    is_finite(&coefficients)?;
    is_finite(&bias)?;
    let post = Post::read(attributes)?;
    if matches!(post, Post::Softmax) && second || !classifier && !matches!(post, Post::None) {
        return unsupported("its post_transform");
    }
    let matrix =
        (0..wide).flat_map(|x| (0..out).map(move |y| (x, y))).map(|(x, y)| coefficients[y * wide + x]).collect();
    made(site, Product { wide, out, matrix, bias, post, second }, usize::from(classifier))
}

/// Rows and columns of a constant matrix.
fn matrix(constant: &Constant) -> Result<(usize, usize, &[f32]), Fault> {
    match constant.dims[..] {
        [rows, columns] if rows > 0 && columns > 0 && rows.max(columns) <= MOST_WIDTH => {
            Ok((rows, columns, constant.floats()?))
        }
        _ => unsupported(format!("a constant of dimensions {:?} where a matrix is needed", constant.dims)),
    }
}

pub fn matmul(site: &Site) -> Result<Made, Fault> {
    let (rows, out, weights) = matrix(site.constant(1)?)?;
    product(site, rows, out, weights.to_vec(), Vec::new())
}

pub fn gemm(site: &Site) -> Result<Made, Fault> {
    let attributes = &site.node.attributes;
    if attributes.int("transA", 0)? != 0 {
        return unsupported("transA");
    }
    let (alpha, beta) = (attributes.float("alpha", 1.0)?, attributes.float("beta", 1.0)?);
    let (rows, columns, weights) = matrix(site.constant(1)?)?;
    let transposed = attributes.int("transB", 0)? != 0;
    let (wide, out) = if transposed { (columns, rows) } else { (rows, columns) };
    let at = |x: usize, y: usize| if transposed { weights[y * wide + x] } else { weights[x * out + y] };
    let weights = (0..wide).flat_map(|x| (0..out).map(move |y| (x, y))).map(|(x, y)| alpha * at(x, y)).collect();
    let bias = if site.has(2) {
        let bias = site.constant(2)?;
        let values = bias.floats()?;
        let fits = match bias.dims[..] {
            [] | [1] | [1, 1] => true,
            [width] | [1, width] => width == out,
            _ => false,
        };
        if !fits {
            return invalid(format!("a bias of dimensions {:?} for {out} results", bias.dims));
        }
        values.iter().cycle().take(out).map(|value| beta * value).collect()
    } else {
        Vec::new()
    };
    product(site, wide, out, weights, bias)
}

fn product(site: &Site, wide: usize, out: usize, matrix: Vec<f32>, bias: Vec<f32>) -> Result<Made, Fault> {
    let value = site.numbers(0)?;
    if value.kind != Type::Float || value.dims != [wide] {
        return invalid(format!("a matrix of {wide} rows for an input of {:?} columns", value.dims));
    }
    is_finite(&matrix)?;
    is_finite(&bias)?;
    made(site, Product { wide, out, matrix, bias, post: Post::None, second: false }, 0)
}
