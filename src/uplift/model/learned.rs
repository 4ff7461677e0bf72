//! What `learn_uplift()` kept, as a kind of model.

use super::batch::{Batch, Wanted};
use super::data::Type;
use super::features::Catalogue;
use super::score::Score;
use super::{Fault, invalid, shown};
use crate::uplift::learn::Model;
use std::ops::Range;

/// The model, and its features in its own order, numbers and texts.
pub fn read(model: &[u8], catalogue: &Catalogue) -> Result<(Model, Wanted), Fault> {
    let Some(model) = Model::read(model) else { return invalid("it is no model of learn_uplift()") };
    let (mut wanted, numbers) = (Wanted::default(), model.basis.numbers.len());
    for (i, name) in model.basis.names().enumerate() {
        let kind = if i < numbers { Type::Float } else { Type::Text };
        let Some(place) = catalogue.0.iter().position(|feature| feature.0 == name && feature.1 == kind) else {
            return invalid(format!("there is no feature {}", shown(name)));
        };
        if kind == Type::Float { &mut wanted.numbers } else { &mut wanted.texts }.push(place);
    }
    Ok((model, wanted))
}

/// Steps for a row: its deviation takes the square of the columns.
pub fn cost(model: &Model) -> u64 {
    (model.coefficients.len() as u64).pow(2)
}

pub fn scores(model: &Model, batch: &Batch, rows: Range<usize>, scores: &mut Vec<Score>) -> Result<(), Fault> {
    let mut scratch = model.scratch().map_err(|_| Fault::Memory)?;
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for row in rows {
        numbers.clear();
        numbers.extend(batch.numbers.iter().map(|column| column[row]));
        texts.clear();
        texts.extend(batch.texts.iter().map(|column| column[row].map(|(start, end)| &batch.text[start..end])));
        let (uplift, sd) = model.score(&numbers, &texts, &mut scratch);
        scores.push(Score { uplift, sd: Some(sd), baseline: None });
    }
    Ok(())
}
