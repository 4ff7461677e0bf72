//! The decisions that are learned from: features, what was decided by which chance, what came of it.

use crate::memory::fallibly;
use crate::uplift::sample::is_usable;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, TryReserveError};

/// Rows are fitted on the other folds than their own. A property's rows all are in one.
pub const FOLDS: usize = 5;
/// What of texts counts as no value of its own.
pub const NO_LEVEL: u16 = u16::MAX;
/// Texts beyond so many different ones, or longer ones, are no value of their own.
const MOST_LEVELS: usize = 1000;
const LONGEST_LEVEL: usize = 200;

/// Why nothing can be learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    Memory,
    /// No decision could have gone the other way.
    NothingRandom,
    /// Treated, held: cases.
    FewCases([usize; 2]),
    /// Treated, held: conversions, and cases without one.
    FewEvents([usize; 2]),
    /// Treated, held: how many cases the weighted ones are worth.
    ThinArm([usize; 2]),
    /// Every feature has one value.
    Constant,
    /// More columns than are fitted.
    Wide(usize),
}

impl From<TryReserveError> for Refusal {
    fn from(_: TryReserveError) -> Self {
        Self::Memory
    }
}

/// A decision that could have gone either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub treated: bool,
    pub outcome: f64,
    /// P(treated), treated or not.
    pub propensity: f64,
    pub fold: u8,
    /// Whether the property is another than that of the row before.
    pub first: bool,
}

impl Decision {
    /// W - e.
    pub fn surprise(&self) -> f64 {
        f64::from(u8::from(self.treated)) - self.propensity
    }

    pub fn weight(&self) -> f64 {
        self.surprise().powi(2)
    }
}

/// The fold of a property: of its id alone, so that it is the same in every storm and on every machine.
pub fn fold(property: &[u8; 16]) -> u8 {
    let digest = Sha256::digest(property);
    let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    (number % FOLDS as u64) as u8
}

/// Rows with so many features that are numbers and so many that are texts.
#[derive(Default)]
pub struct Rows {
    pub numeric: usize,
    pub textual: usize,
    pub decisions: Vec<Decision>,
    numbers: Vec<f64>,
    codes: Vec<u16>,
    levels: Vec<HashMap<String, u16>>,
    last: Option<[u8; 16]>,
    /// Rows that are no decision of chance, or have no outcome.
    pub invalid: u64,
}

impl Rows {
    pub fn new(numeric: usize, textual: usize) -> Self {
        Self { numeric, textual, levels: vec![HashMap::new(); textual], ..Self::default() }
    }

    pub fn n(&self) -> usize {
        self.decisions.len()
    }

    /// Makes room for so many rows more.
    pub fn reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        let (numbers, codes) = (more * self.numeric, more * self.textual);
        fallibly(|| {
            self.decisions.try_reserve(more)?;
            self.numbers.try_reserve(numbers)?;
            self.codes.try_reserve(codes)
        })
    }

    /// Adds a row, for which there is room; one with a propensity that is no chance is only counted. NaN, infinite and
    /// huge numbers count as missing. Rows of one property come one after the other.
    pub fn push<'a>(
        &mut self,
        property: &[u8; 16],
        (treated, outcome, propensity): (bool, f64, f64),
        numbers: impl Iterator<Item = Option<f64>>,
        texts: impl Iterator<Item = Option<&'a str>>,
    ) {
        if !(propensity > 0.0 && propensity < 1.0 && is_usable(outcome)) {
            self.invalid += 1;
            return;
        }
        let first = self.last != Some(*property);
        let fold = match self.decisions.last() {
            Some(last) if !first => last.fold,
            _ => fold(property),
        };
        self.last = Some(*property);
        self.decisions.push(Decision { treated, outcome, propensity, fold, first });
        let usable = |number: Option<f64>| number.filter(|number| is_usable(*number)).unwrap_or(f64::NAN);
        let numbers = numbers.map(usable).chain(std::iter::repeat(f64::NAN));
        self.numbers.extend(numbers.take(self.numeric));
        let texts = texts.chain(std::iter::repeat(None));
        self.codes.extend(texts.zip(&mut self.levels).map(|(text, levels)| code(levels, text)));
    }

    /// The numbers of a row; NaN where one is missing.
    pub fn numbers(&self, row: usize) -> &[f64] {
        &self.numbers[row * self.numeric..(row + 1) * self.numeric]
    }

    /// The codes of a row's texts.
    pub fn codes(&self, row: usize) -> &[u16] {
        &self.codes[row * self.textual..(row + 1) * self.textual]
    }

    /// The different texts of a feature by code.
    pub fn levels(&self, feature: usize) -> Vec<&str> {
        let mut levels: Vec<_> = self.levels[feature].iter().map(|(text, code)| (*code, text.as_str())).collect();
        levels.sort_unstable();
        levels.into_iter().map(|level| level.1).collect()
    }
}

fn code(levels: &mut HashMap<String, u16>, text: Option<&str>) -> u16 {
    let Some(text) = text.filter(|text| text.len() <= LONGEST_LEVEL) else { return NO_LEVEL };
    match levels.get(text) {
        Some(code) => *code,
        None if levels.len() == MOST_LEVELS => NO_LEVEL,
        None => {
            let code = levels.len() as u16;
            levels.insert(text.to_owned(), code);
            code
        }
    }
}
