//! A fitted model: what it is kept as, and what it says of a property.

use super::basis::{Basis, MOST_COLUMNS};
use super::rows::Refusal;
use super::sums::{dot, zeros};
use crate::statistics::cholesky::Symmetric;
use crate::uplift::sample::is_usable;
use serde::Deserialize;

/// Of the form in which a model is kept: JSON, which anybody can read.
const FORM: u32 = 1;
/// A score's deviation is above 0, as the tables that keep it ask.
const LEAST_SD: f64 = 1e-6;
const MOST_FEATURES: usize = 100;

#[derive(Debug, PartialEq)]
pub struct Model {
    pub basis: Basis,
    /// One for each column; 0 for a bend that did not help.
    pub coefficients: Vec<f64>,
    /// Of the coefficients of a fit with a bend wherever one can be.
    pub covariance: Symmetric,
}

#[derive(Deserialize)]
struct Kept {
    linear: u32,
    #[serde(flatten)]
    basis: Basis,
    coefficients: Vec<f64>,
    /// The lower triangle, row by row.
    covariance: Vec<f64>,
}

/// What `score()` writes into, so that it asks for memory once.
pub struct Scratch(Vec<f64>);

impl Model {
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "linear": FORM,
            "numbers": self.basis.numbers,
            "texts": self.basis.texts,
            "coefficients": self.coefficients,
            "covariance": self.covariance.cells(),
        })
    }

    /// None if these bytes are no model that this version can compute with.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(bytes).ok()?;
        let (basis, width) = (kept.basis, kept.coefficients.len());
        let covariance = Symmetric::from_cells(width, kept.covariance)?;
        let numbers = basis.numbers.iter().all(|number| {
            // A number without a spread has no line, and so no bend either.
            let finite =
                [number.mean, number.sd, number.low, number.high].iter().chain(&number.bends).all(|x| is_usable(*x));
            finite && number.low <= number.high && (number.sd > 0.0 || number.sd == 0.0 && number.bends.is_empty())
        });
        let finite = |values: &[f64]| values.iter().all(|value| is_usable(*value));
        let sound = kept.linear == FORM
            && numbers
            && width <= MOST_COLUMNS
            && basis.numbers.len() + basis.texts.len() <= MOST_FEATURES
            && width == basis.width()
            && finite(&kept.coefficients)
            && finite(covariance.cells());
        sound.then_some(Self { basis, coefficients: kept.coefficients, covariance })
    }

    pub fn scratch(&self) -> Result<Scratch, Refusal> {
        Ok(Scratch(zeros(self.coefficients.len())?))
    }

    /// The uplift of a property, and the standard deviation of the error that comes of having learned from so many
    /// decisions and no more: that the effect is no sum of lines and bends is not in it. `numbers`: NaN where one is
    /// missing, as many as the basis has.
    pub fn score(&self, numbers: &[f64], texts: &[Option<&str>], scratch: &mut Scratch) -> (f64, f64) {
        let level = |feature: usize| {
            let text = texts.get(feature).copied().flatten()?;
            self.basis.texts[feature].levels.iter().position(|level| level == text)
        };
        self.basis.fill(numbers, level, &mut scratch.0);
        self.of_columns(&scratch.0)
    }

    pub fn of_columns(&self, columns: &[f64]) -> (f64, f64) {
        let variance = self.covariance.quadratic(columns).max(0.0);
        let score = dot(&self.coefficients, columns).clamp(-1.0, 1.0);
        // A number far outside what was learned from has no sum.
        let score = if score.is_nan() { 0.0 } else { score + 0.0 };
        (score, if variance.is_nan() { 1.0 } else { variance.sqrt().clamp(LEAST_SD, 1.0) })
    }
}
