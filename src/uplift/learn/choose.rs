//! How strong a ridge and which bends: what foretells the folds best that were not fitted on.

use super::basis::Part;
use super::rows::{FOLDS, Refusal};
use super::sums::{Effects, dot, solve, zeros};
use crate::memory::with_room;
use crate::statistics::cholesky::Symmetric;

/// Ridges, as shares of the weight of all rows: from next to none to one that leaves hardly more than a constant.
const RIDGES: [f64; 11] = [100.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0];
/// But never less than so many rows are worth.
const LEAST_RIDGE: f64 = 10.0;

/// A candidate: columns in ascending order, and the ridge's share.
#[derive(Clone, Debug)]
pub struct Choice {
    pub columns: Vec<usize>,
    pub ridge: f64,
    /// The loss on the folds that were not fitted on, a mean over their weight.
    pub loss: f64,
}

/// The fits on all folds but one that is left out (FOLDS: none).
pub struct Chooser<'a> {
    pub effects: &'a Effects,
    pub outer: usize,
    pub n: usize,
}

impl Chooser<'_> {
    fn folds(&self) -> impl Iterator<Item = usize> {
        let outer = self.outer;
        (0..FOLDS).filter(move |fold| *fold != outer)
    }

    fn weight(&self) -> f64 {
        self.folds().map(|fold| self.effects.weights[fold]).sum()
    }

    /// The ridge that a share of the weight stands for.
    pub fn ridge(&self, share: f64, weight: f64) -> f64 {
        let mean_weight = self.effects.weights.iter().sum::<f64>() / self.n.max(1) as f64;
        (share * weight).max(LEAST_RIDGE * mean_weight)
    }

    /// The sums over some folds, of some columns: products, sides, weight.
    fn summed(&self, without: Option<usize>, columns: &[usize]) -> Result<(Symmetric, Vec<f64>, f64), Refusal> {
        let mut products = Symmetric::zero(columns.len())?;
        let (mut sides, mut weight) = (zeros(columns.len())?, 0.0);
        for fold in self.folds().filter(|fold| Some(*fold) != without) {
            products.add(&self.effects.products[fold].part(columns)?);
            let of_fold = &self.effects.sides[fold][self.outer];
            sides.iter_mut().zip(columns).for_each(|(side, column)| *side += of_fold[*column]);
            weight += self.effects.weights[fold];
        }
        Ok((products, sides, weight))
    }

    /// The coefficients of these columns.
    pub fn fit(&self, columns: &[usize], ridge: f64) -> Result<Vec<f64>, Refusal> {
        let (products, sides, weight) = self.summed(None, columns)?;
        solve(&products, &sides, self.ridge(ridge, weight))
    }

    /// The best of some ridges for some columns; the stronger one of equals.
    fn best(&self, columns: Vec<usize>, ridges: &[f64]) -> Result<Choice, Refusal> {
        let mut losses = zeros(ridges.len())?;
        for fold in self.folds() {
            let (products, sides, weight) = self.summed(Some(fold), &columns)?;
            let judge = self.effects.products[fold].part(&columns)?;
            let mut side = with_room(columns.len())?;
            side.extend(columns.iter().map(|column| self.effects.sides[fold][self.outer][*column]));
            for (loss, ridge) in losses.iter_mut().zip(ridges) {
                let fitted = solve(&products, &sides, self.ridge(*ridge, weight))?;
                *loss += self.effects.squares[fold][self.outer] - 2.0 * dot(&fitted, &side) + judge.quadratic(&fitted);
            }
        }
        let weight = self.weight().max(f64::MIN_POSITIVE);
        let mut best = Choice { columns, ridge: ridges[0], loss: losses[0] / weight };
        for (loss, ridge) in losses.iter().zip(ridges) {
            if loss / weight < best.loss {
                (best.loss, best.ridge) = (loss / weight, *ridge);
            }
        }
        Ok(best)
    }

    /// Lines first; then each feature's bends are tried alone, and those that help together.
    pub fn choose(&self, columns: &[(usize, Part)], mut hear: impl FnMut()) -> Result<Choice, Refusal> {
        let without = |bent: &[usize]| -> Vec<usize> {
            let kept = |(feature, part): &(usize, Part)| *part != Part::Bend || bent.contains(feature);
            columns.iter().enumerate().filter(|(_, column)| kept(column)).map(|(place, _)| place).collect()
        };
        let lines = self.best(without(&[]), &RIDGES)?;
        let mut bendable: Vec<usize> = columns.iter().filter(|c| c.1 == Part::Bend).map(|c| c.0).collect();
        bendable.dedup();
        let mut helpful = Vec::new();
        for feature in bendable {
            hear();
            if self.best(without(&[feature]), &[lines.ridge])?.loss < lines.loss {
                helpful.push(feature);
            }
        }
        if helpful.is_empty() {
            return Ok(lines);
        }
        let bent = self.best(without(&helpful), &RIDGES)?;
        Ok(if bent.loss < lines.loss { bent } else { lines })
    }

    /// The loss of one effect for all.
    pub fn loss_of_constant(&self) -> Result<f64, Refusal> {
        Ok(self.best(vec![0], &[0.0])?.loss)
    }

    /// By how much the loss grows without a feature.
    pub fn loss_without(&self, choice: &Choice, columns: &[(usize, Part)], feature: usize) -> Result<f64, Refusal> {
        let kept = choice.columns.iter().copied().filter(|place| columns[*place].0 != feature).collect();
        Ok(self.best(kept, &[choice.ridge])?.loss - choice.loss)
    }
}
