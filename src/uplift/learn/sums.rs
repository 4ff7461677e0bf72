//! The sums by fold that everything is fitted from: two passes over the rows.

use super::basis::Basis;
use super::rows::{Decision, FOLDS, Refusal, Rows};
use crate::memory::with_room;
use crate::statistics::cholesky::Symmetric;

/// A cancel is heard after so many rows.
pub const HEARS_AFTER: usize = 1024;

/// The pairs of a fold and the one that is left out beside it; FOLDS: none is.
pub const OUTERS: usize = FOLDS + 1;

/// Normal equations of one weighted least squares.
pub struct Equations {
    pub products: Symmetric,
    pub sides: Vec<f64>,
    pub weight: f64,
}

impl Equations {
    fn zero(width: usize) -> Result<Self, Refusal> {
        Ok(Self { products: Symmetric::zero(width)?, sides: zeros(width)?, weight: 0.0 })
    }

    fn add(&mut self, other: &Self) {
        self.products.add(&other.products);
        self.sides.iter_mut().zip(&other.sides).for_each(|(side, more)| *side += more);
        self.weight += other.weight;
    }
}

pub fn zeros(n: usize) -> Result<Vec<f64>, Refusal> {
    let mut zeros = with_room(n)?;
    zeros.resize(n, 0.0);
    Ok(zeros)
}

/// Rows as their columns, one after the other.
pub struct Design<'a> {
    pub rows: &'a Rows,
    pub basis: &'a Basis,
    pub width: usize,
    places: Vec<Vec<Option<usize>>>,
}

impl<'a> Design<'a> {
    pub fn new(rows: &'a Rows, basis: &'a Basis) -> Self {
        Self { rows, basis, width: basis.width(), places: basis.places(rows) }
    }

    pub fn fill(&self, row: usize, out: &mut [f64]) {
        let codes = self.rows.codes(row);
        let level = |feature: usize| self.places[feature].get(usize::from(codes[feature])).copied().flatten();
        self.basis.fill(self.rows.numbers(row), level, out);
    }

    /// Each decision with its columns.
    pub fn visit(&self, hear: &mut impl FnMut(), mut see: impl FnMut(usize, &Decision, &[f64])) -> Result<(), Refusal> {
        let mut columns = zeros(self.width)?;
        for (row, decision) in self.rows.decisions.iter().enumerate() {
            if row % HEARS_AFTER == 0 {
                hear();
            }
            self.fill(row, &mut columns);
            see(row, decision, &columns);
        }
        Ok(())
    }
}

/// What the outcome is expected to be, for each arm: a ridge fit on the folds that are not left out.
pub struct Expected([[[Vec<f64>; 2]; OUTERS]; FOLDS]);

/// As many rows as the ridge of the expected outcomes is worth.
const RIDGE: f64 = 10.0;

impl Expected {
    pub fn of(design: &Design, hear: &mut impl FnMut()) -> Result<Self, Refusal> {
        // By fold and arm. Rows weigh as they do in the effect: there the noise matters that a bad guess adds.
        let mut sums = Vec::new();
        for _ in 0..2 * FOLDS {
            sums.push(Equations::zero(design.width)?);
        }
        design.visit(hear, |_, decision, columns| {
            let sum = &mut sums[2 * usize::from(decision.fold) + usize::from(decision.treated)];
            let weight = decision.weight();
            sum.products.add_outer(weight, columns);
            sum.sides.iter_mut().zip(columns).for_each(|(side, value)| *side += weight * decision.outcome * value);
            sum.weight += weight;
        })?;
        let counts = arm_counts(design.rows);
        let mut expected = Self(Default::default());
        for fold in 0..FOLDS {
            for outer in (0..OUTERS).filter(|outer| *outer != fold) {
                hear();
                for arm in 0..2 {
                    // The pair is left out whichever of the two is asked for.
                    if outer < fold {
                        expected.0[fold][outer][arm] = expected.0[outer][fold][arm].clone();
                        continue;
                    }
                    let mut all = Equations::zero(design.width)?;
                    let mut n = 0;
                    for other in (0..FOLDS).filter(|other| ![fold, outer].contains(other)) {
                        all.add(&sums[2 * other + arm]);
                        n += counts[other][arm];
                    }
                    let ridge = RIDGE * all.weight / f64::from(n.max(1));
                    expected.0[fold][outer][arm] = solve(&all.products, &all.sides, ridge)?;
                }
            }
        }
        Ok(expected)
    }

    /// What least squares compares the outcome with: the arms' expectations, each by the chance of the other (Robins,
    /// Rotnitzky and Zhao 1994). Of all guesses this one leaves the least noise.
    pub fn at(&self, decision: &Decision, outer: usize, columns: &[f64]) -> f64 {
        let [held, treated] = &self.0[usize::from(decision.fold)][outer];
        let p = decision.propensity;
        (1.0 - p) * dot(treated, columns) + p * dot(held, columns)
    }
}

fn arm_counts(rows: &Rows) -> [[u32; 2]; FOLDS] {
    let mut counts = [[0; 2]; FOLDS];
    rows.decisions.iter().for_each(|d| counts[usize::from(d.fold)][usize::from(d.treated)] += 1);
    counts
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The coefficients of a ridge that leaves the constant alone; zeros where there is nothing to fit.
pub fn solve(products: &Symmetric, sides: &[f64], ridge: f64) -> Result<Vec<f64>, Refusal> {
    let mut x = with_room(sides.len())?;
    x.extend_from_slice(sides);
    match ridged(products, ridge)?.factor()? {
        Some(factor) => factor.solve(&mut x),
        None => x.fill(0.0),
    }
    Ok(x)
}

/// With the ridge on its diagonal, but for the constant's.
pub fn ridged(products: &Symmetric, ridge: f64) -> Result<Symmetric, Refusal> {
    let all: Vec<usize> = (0..products.size()).collect();
    let mut ridged = products.part(&all)?;
    (1..products.size()).for_each(|i| ridged.add_to_diagonal(i, ridge));
    Ok(ridged)
}

/// The least squares of the effect: by fold its products, and by fold and the fold left out its right sides.
pub struct Effects {
    pub products: Vec<Symmetric>,
    /// sum of (W - e)^2, by fold.
    pub weights: [f64; FOLDS],
    pub sides: Vec<[Vec<f64>; OUTERS]>,
    /// sum of (Y - m)^2.
    pub squares: [[f64; OUTERS]; FOLDS],
    /// The mean of each column, all rows alike.
    pub means: Vec<f64>,
}

impl Effects {
    pub fn of(design: &Design, expected: &Expected, hear: &mut impl FnMut()) -> Result<Self, Refusal> {
        let mut effects = Self {
            products: Vec::new(),
            weights: [0.0; FOLDS],
            sides: Vec::new(),
            squares: [[0.0; OUTERS]; FOLDS],
            means: zeros(design.width)?,
        };
        for _ in 0..FOLDS {
            effects.products.push(Symmetric::zero(design.width)?);
            let mut sides: [Vec<f64>; OUTERS] = Default::default();
            for side in &mut sides {
                *side = zeros(design.width)?;
            }
            effects.sides.push(sides);
        }
        design.visit(hear, |_, decision, columns| {
            let fold = usize::from(decision.fold);
            effects.products[fold].add_outer(decision.weight(), columns);
            effects.weights[fold] += decision.weight();
            effects.means.iter_mut().zip(columns).for_each(|(mean, value)| *mean += value);
            for outer in (0..OUTERS).filter(|outer| *outer != fold) {
                let left = decision.outcome - expected.at(decision, outer, columns);
                let pull = decision.surprise() * left;
                effects.sides[fold][outer].iter_mut().zip(columns).for_each(|(side, value)| *side += pull * value);
                effects.squares[fold][outer] += left * left;
            }
        })?;
        effects.means.iter_mut().for_each(|mean| *mean /= design.rows.n().max(1) as f64);
        Ok(effects)
    }
}
