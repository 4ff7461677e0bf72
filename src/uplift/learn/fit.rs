//! From rows to a model, the scores that each row gets from the other folds, and what each feature is worth.

use super::basis::{Basis, Part};
use super::choose::{Choice, Chooser};
use super::model::Model;
use super::rows::{FOLDS, Refusal, Rows};
use super::sums::{Design, Effects, Expected, dot, ridged, solve, zeros};
use crate::statistics::cholesky::Symmetric;
use crate::statistics::sum::effective_number;

/// Below these there is nothing to learn from: in each arm, cases, what they are worth after weighing, and conversions
/// as well as cases without one.
const LEAST_CASES: usize = 100;
const LEAST_WORTH: f64 = 50.0;
const LEAST_EVENTS: usize = 10;

/// What a feature has to do with the scores.
#[derive(Debug)]
pub struct Contribution {
    pub name: String,
    /// None of a feature that has one value.
    pub spread: Option<f64>,
    /// By how much the mean square of what was not foretold grows without it, on the folds that were not fitted on.
    pub gain: f64,
    /// Whether its bends are in the model.
    pub bent: bool,
    /// Of a number: by how much the score grows from one standard deviation below the mean to one above. With its error.
    pub step: Option<(f64, f64)>,
    /// Of a text: by how much each one's score is above that of the texts that have no column. With its error.
    pub levels: Vec<(String, f64, f64)>,
}

pub struct Fit {
    pub model: Model,
    /// For each row the score of a model that was fitted and chosen without its fold.
    pub scores: Vec<f64>,
    pub contributions: Vec<Contribution>,
    /// The ridge, in rows' weight.
    pub ridge: f64,
    /// The mean square of what was not foretold, on folds that were not fitted on; and of one effect for all.
    pub loss: f64,
    pub loss_of_constant: f64,
    pub properties: usize,
}

/// Of rows that come in one order: the same rows give the same model to the last bit. `hear` is called now and then, and
/// may not return.
pub fn fit(rows: &Rows, names: &[String], hear: &mut impl FnMut()) -> Result<Fit, Refusal> {
    let properties = answerable(rows)?;
    let basis = Basis::of(rows, names, &mut *hear)?;
    let columns = basis.columns();
    let design = Design::new(rows, &basis);
    let expected = Expected::of(&design, hear)?;
    let effects = Effects::of(&design, &expected, hear)?;
    let of = |outer: usize| Chooser { effects: &effects, outer, n: rows.n() };

    let mut by_fold: [Vec<f64>; FOLDS] = Default::default();
    for (outer, fitted) in by_fold.iter_mut().enumerate() {
        let chosen = of(outer).choose(&columns, &mut *hear)?;
        *fitted = coefficients(&of(outer), &chosen, design.width)?;
    }
    let all = of(FOLDS);
    let chosen = all.choose(&columns, &mut *hear)?;
    let fitted = coefficients(&all, &chosen, design.width)?;
    let mut scores = zeros(rows.n())?;
    // The mean effect of the other folds is the higher, the lower that of a row's own: rows of different folds would be
    // ranked by that, backwards. So all models get the same mean.
    let mean = |fitted: &[f64]| dot(fitted, &effects.means);
    let shifts = by_fold.each_ref().map(|own| mean(&fitted) - mean(own));
    design.visit(hear, |row, decision, columns| {
        let fold = usize::from(decision.fold);
        scores[row] = (dot(&by_fold[fold], columns) + shifts[fold]).clamp(-1.0, 1.0);
    })?;
    let covariance = sandwich(&design, &expected, &effects, &all, properties, hear)?;
    let loss_of_constant = all.loss_of_constant()?;
    let ridge = all.ridge(chosen.ridge, effects.weights.iter().sum());
    drop(design);
    let model = Model { basis, coefficients: fitted, covariance };
    let contributions = contributions(&model, &columns, &all, &chosen, hear)?;
    Ok(Fit { model, scores, contributions, ridge, loss: chosen.loss, loss_of_constant, properties })
}

/// The number of properties, if the rows can answer at all.
fn answerable(rows: &Rows) -> Result<usize, Refusal> {
    if rows.n() == 0 {
        return Err(Refusal::NothingRandom);
    }
    let (mut cases, mut events) = ([0usize; 2], [0usize; 2]);
    let (mut weights, mut squares) = ([0.0; 2], [0.0; 2]);
    for d in &rows.decisions {
        let arm = usize::from(!d.treated);
        let weight = 1.0 / if d.treated { d.propensity } else { 1.0 - d.propensity };
        cases[arm] += 1;
        events[arm] += usize::from(d.outcome != 0.0);
        weights[arm] += weight;
        squares[arm] += weight * weight;
    }
    let properties = rows.decisions.iter().filter(|d| d.first).count();
    if cases.into_iter().min() < Some(LEAST_CASES) || properties < LEAST_CASES {
        return Err(Refusal::FewCases(cases));
    }
    if [0, 1].iter().any(|arm| events[*arm].min(cases[*arm] - events[*arm]) < LEAST_EVENTS) {
        return Err(Refusal::FewEvents(events));
    }
    let worth = [0, 1].map(|arm| effective_number(weights[arm], squares[arm]));
    if worth.iter().any(|worth| *worth < LEAST_WORTH) {
        return Err(Refusal::ThinArm(worth.map(|worth| worth as usize)));
    }
    Ok(properties)
}

/// One for each column of the design; zeros where it was not chosen.
fn coefficients(chooser: &Chooser, chosen: &Choice, width: usize) -> Result<Vec<f64>, Refusal> {
    let fitted = chooser.fit(&chosen.columns, chosen.ridge)?;
    let mut all = zeros(width)?;
    chosen.columns.iter().zip(fitted).for_each(|(column, value)| all[*column] = value);
    Ok(all)
}

/// The covariance of the coefficients with every bend and the least ridge, whatever was chosen: what the lines of a model
/// leave out would make its error look small. Robust to outcomes of unequal variance, and to a property that was
/// decided in more than one storm (Liang and Zeger 1986, with the usual correction for few).
fn sandwich(
    design: &Design,
    expected: &Expected,
    effects: &Effects,
    all: &Chooser,
    properties: usize,
    hear: &mut impl FnMut(),
) -> Result<Symmetric, Refusal> {
    let width = design.width;
    let (mut products, mut sides) = (Symmetric::zero(width)?, zeros(width)?);
    for fold in 0..FOLDS {
        products.add(&effects.products[fold]);
        sides.iter_mut().zip(&effects.sides[fold][FOLDS]).for_each(|(side, more)| *side += more);
    }
    let ridge = all.ridge(0.0, effects.weights.iter().sum());
    let fitted = solve(&products, &sides, ridge)?;
    let (n, p) = (properties as f64, width as f64);
    let correction = if n > p { n / (n - 1.0) * (design.rows.n() as f64 - 1.0) / (n - p).max(1.0) } else { n };
    let (mut inner, mut of_property) = (Symmetric::zero(width)?, zeros(width)?);
    design.visit(hear, |row, decision, columns| {
        if decision.first && row > 0 {
            inner.add_outer(correction, &of_property);
            of_property.fill(0.0);
        }
        let left =
            decision.outcome - expected.at(decision, FOLDS, columns) - decision.surprise() * dot(&fitted, columns);
        let pull = decision.surprise() * left;
        of_property.iter_mut().zip(columns).for_each(|(sum, value)| *sum += pull * value);
    })?;
    inner.add_outer(correction, &of_property);
    match ridged(&products, ridge)?.factor()? {
        Some(factor) => Ok(factor.sandwich(&inner)?),
        None => Err(Refusal::Constant),
    }
}

fn contributions(
    model: &Model,
    columns: &[(usize, Part)],
    all: &Chooser,
    chosen: &Choice,
    hear: &mut impl FnMut(),
) -> Result<Vec<Contribution>, Refusal> {
    let mut products = Symmetric::zero(columns.len())?;
    all.effects.products.iter().for_each(|more| products.add(more));
    let weight = products.at(0, 0);
    let (mut found, numbers) = (Vec::new(), model.basis.numbers.len());
    for (feature, name) in model.basis.names().enumerate() {
        hear();
        let own: Vec<usize> = (1..columns.len()).filter(|place| columns[*place].0 == feature).collect();
        let part = |place: &usize| model.coefficients[*place];
        // The variance of the feature's part of the score, over the rows as they weigh.
        let mean: f64 = own.iter().map(|i| part(i) * products.at(*i, 0) / weight).sum();
        let square: f64 = own
            .iter()
            .flat_map(|i| own.iter().map(move |j| (i, j)))
            .map(|(i, j)| part(i) * part(j) * products.at(*i, *j) / weight)
            .sum();
        let bent = own.iter().any(|place| columns[*place].1 == Part::Bend && chosen.columns.contains(place));
        let with_error =
            |vector: &[f64]| (dot(&model.coefficients, vector), model.covariance.quadratic(vector).max(0.0).sqrt());
        let mut step = None;
        let mut levels = Vec::new();
        if let Some(number) = model.basis.numbers.get(feature) {
            if number.sd > 0.0 {
                step = Some(with_error(&step_of(model, feature)?));
            }
        } else {
            for (level, place) in model.basis.texts[feature - numbers].levels.iter().zip(&own) {
                let mut one = zeros(columns.len())?;
                one[*place] = 1.0;
                let (effect, error) = with_error(&one);
                levels.push((level.clone(), effect, error));
            }
        }
        found.push(Contribution {
            name: name.to_owned(),
            spread: (!own.is_empty()).then(|| (square - mean * mean).max(0.0).sqrt()),
            gain: if own.is_empty() { 0.0 } else { all.loss_without(chosen, columns, feature)? },
            bent,
            step,
            levels,
        });
    }
    Ok(found)
}

/// The columns one standard deviation above a number's mean, less those one below it.
fn step_of(model: &Model, feature: usize) -> Result<Vec<f64>, Refusal> {
    let width = model.coefficients.len();
    let (mut above, mut below) = (zeros(width)?, zeros(width)?);
    let mut numbers: Vec<f64> = model.basis.numbers.iter().map(|number| number.mean).collect();
    let number = &model.basis.numbers[feature];
    numbers[feature] = number.mean + number.sd;
    model.basis.fill(&numbers, |_| None, &mut above);
    numbers[feature] = number.mean - number.sd;
    model.basis.fill(&numbers, |_| None, &mut below);
    above.iter_mut().zip(below).for_each(|(above, below)| *above -= below);
    Ok(above)
}
