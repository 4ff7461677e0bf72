//! The model of the direct method: conversion rates by tenth of the scores and arm. Simple, and said to be: its errors are
//! the correction's to mend.
//!
//! Of a row it is fitted on the other parts only (cross-fitting), or it would know the outcome that it is to be judged by. A
//! rate is moved towards its arm's by one case, so that an empty tenth has one.

use super::logged::{FOLDS, Logged};
use super::target::Prices;

const BINS: usize = 10;

#[derive(Clone, Copy, Default)]
struct Cell {
    cases: f64,
    conversions: f64,
}

impl Cell {
    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.conversions += other.conversions;
    }

    fn less(self, other: Self) -> Self {
        Self { cases: self.cases - other.cases, conversions: self.conversions - other.conversions }
    }

    /// Moved towards the arm's rate by one case.
    fn rate(self, arm: Self) -> f64 {
        let prior = if arm.cases > 0.0 { arm.conversions / arm.cases } else { 0.0 };
        (self.conversions + prior) / (self.cases + 1.0)
    }
}

pub struct Model {
    /// The tenth of each row, from 0, the best.
    pub bins: Vec<u8>,
    /// By tenth, arm and the part that was left out; the last is of all.
    rates: [[[f64; FOLDS + 1]; 2]; BINS],
    cases: [[f64; 2]; BINS],
}

impl Model {
    /// Of rows in descending order of score. Equal scores stand in one tenth.
    pub fn fit(rows: &[Logged]) -> Self {
        let mut bins = Vec::with_capacity(rows.len());
        let mut cells = [[[Cell::default(); FOLDS + 1]; 2]; BINS];
        let (mut bin, mut before) = (0, f64::NAN);
        for (i, row) in rows.iter().enumerate() {
            if row.score() != before {
                (bin, before) = (i * BINS / rows.len(), row.score());
            }
            bins.push(bin as u8);
            let case = Cell { cases: 1.0, conversions: f64::from(row.converted()) };
            let arm = &mut cells[bin][usize::from(row.treated())];
            arm[row.fold()].add(case);
            arm[FOLDS].add(case);
        }
        let mut arms = [[Cell::default(); FOLDS + 1]; 2];
        for (arm, sums) in arms.iter_mut().enumerate() {
            for (fold, sum) in sums.iter_mut().enumerate() {
                cells.iter().for_each(|cell| sum.add(cell[arm][fold]));
            }
        }
        let none = Cell::default();
        let rates = std::array::from_fn(|bin| {
            std::array::from_fn(|arm| {
                std::array::from_fn(|fold| {
                    let all =
                        |cells: &[Cell; FOLDS + 1]| cells[FOLDS].less(if fold < FOLDS { cells[fold] } else { none });
                    all(&cells[bin][arm]).rate(all(&arms[arm]))
                })
            })
        });
        let cases = std::array::from_fn(|bin| std::array::from_fn(|arm| cells[bin][arm][FOLDS].cases));
        Self { bins, rates, cases }
    }

    /// P(conversion), as the other parts say it.
    pub fn rate(&self, bin: u8, treated: bool, fold: usize) -> f64 {
        self.rates[usize::from(bin)][usize::from(treated)][fold]
    }

    /// The variance that the target's mean has from the rates' own: each rate is binomial, and weighs what the target leans
    /// on it. What the model misses inside a tenth is not in it.
    pub fn variance(&self, rows: &[Logged], chances: &[f64], prices: &Prices) -> f64 {
        let mut lean = [[0.0; 2]; BINS];
        for ((row, &bin), &chance) in rows.iter().zip(&self.bins).zip(chances) {
            let margin = prices.of(row).margin;
            lean[usize::from(bin)][1] += chance * margin;
            lean[usize::from(bin)][0] += (1.0 - chance) * margin;
        }
        let n = rows.len() as f64;
        let part = |bin: usize, arm: usize| {
            let rate = self.rates[bin][arm][FOLDS];
            (lean[bin][arm] / n).powi(2) * rate * (1.0 - rate) / (self.cases[bin][arm] + 1.0)
        };
        (0..BINS).flat_map(|bin| [part(bin, 0), part(bin, 1)]).sum()
    }
}
