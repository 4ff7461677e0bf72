//! What the effect is a weighted sum of: a constant, each number in standard deviations, bends in it, and texts as yes or no.

use super::rows::{NO_LEVEL, Refusal, Rows};
use crate::memory::with_room;
use crate::statistics::sum::Sum;
use serde::{Deserialize, Serialize};

/// As many columns as are fitted: the time grows with the square.
pub const MOST_COLUMNS: usize = 200;
/// A number that has no more different values than this gets no bends.
const FEW_VALUES: usize = 10;
/// As many texts of a feature get a column of their own: the most frequent ones, of at least so large a share of the rows.
const MOST_LEVELS: usize = 10;
const LEAST_SHARE: f64 = 0.01;

/// A feature that is a number.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Number {
    pub name: String,
    pub mean: f64,
    /// 0: it has one value, and no column.
    pub sd: f64,
    /// The least and the greatest that was learned from: what lies beyond counts as these, since nothing is known of it.
    pub low: f64,
    pub high: f64,
    /// Whether being missing has a column. What is missing otherwise counts as the mean.
    pub missing: bool,
    /// Where bends are, in the feature's own units: its terciles.
    pub bends: Vec<f64>,
}

/// A feature that is a text.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Text {
    pub name: String,
    /// The texts with a column; all others are nothing.
    pub levels: Vec<String>,
}

/// What a column stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    Constant,
    Line,
    Missing,
    Bend,
    Level,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Basis {
    pub numbers: Vec<Number>,
    pub texts: Vec<Text>,
}

impl Basis {
    /// Looks at features only, never at what was decided or what came of it.
    pub fn of(rows: &Rows, names: &[String], mut hear: impl FnMut()) -> Result<Self, Refusal> {
        let mut basis = Self::default();
        let mut values = with_room(rows.n())?;
        for (feature, name) in names.iter().enumerate().take(rows.numeric) {
            hear();
            values.clear();
            values.extend((0..rows.n()).map(|row| rows.numbers(row)[feature]).filter(|value| !value.is_nan()));
            basis.numbers.push(number(name.clone(), &mut values, rows.n()));
        }
        for feature in 0..rows.textual {
            hear();
            basis.texts.push(text(names[rows.numeric + feature].clone(), rows, feature));
        }
        let columns = basis.columns();
        match columns.len() {
            1 => Err(Refusal::Constant),
            wide if wide > MOST_COLUMNS => Err(Refusal::Wide(wide)),
            _ => Ok(basis),
        }
    }

    /// The columns, each with the feature that it is of: numbers first.
    pub fn columns(&self) -> Vec<(usize, Part)> {
        let mut columns = vec![(usize::MAX, Part::Constant)];
        for (feature, number) in self.numbers.iter().enumerate() {
            columns.extend((number.sd > 0.0).then_some((feature, Part::Line)));
            columns.extend(number.missing.then_some((feature, Part::Missing)));
            columns.extend(number.bends.iter().map(|_| (feature, Part::Bend)));
        }
        for (feature, text) in self.texts.iter().enumerate() {
            columns.extend(text.levels.iter().map(|_| (self.numbers.len() + feature, Part::Level)));
        }
        columns
    }

    pub fn width(&self) -> usize {
        let numbers = self.numbers.iter().map(|n| usize::from(n.sd > 0.0) + usize::from(n.missing) + n.bends.len());
        1 + numbers.sum::<usize>() + self.texts.iter().map(|text| text.levels.len()).sum::<usize>()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.numbers.iter().map(|n| n.name.as_str()).chain(self.texts.iter().map(|t| t.name.as_str()))
    }

    /// Writes a row's columns; `out` has `width()` of them. `level`: the place of the row's text among the levels.
    pub fn fill(&self, numbers: &[f64], level: impl Fn(usize) -> Option<usize>, out: &mut [f64]) {
        let mut place = 0;
        let mut put = |value: f64| {
            out[place] = value;
            place += 1;
        };
        put(1.0);
        for (number, value) in self.numbers.iter().zip(numbers) {
            let standard = |value: f64| (value.clamp(number.low, number.high) - number.mean) / number.sd;
            let missing = value.is_nan();
            if number.sd > 0.0 {
                put(if missing { 0.0 } else { standard(*value) });
            }
            if number.missing {
                put(f64::from(u8::from(missing)));
            }
            for bend in &number.bends {
                put(if missing { 0.0 } else { standard(*value) - standard(*bend) }.max(0.0));
            }
        }
        for (feature, text) in self.texts.iter().enumerate() {
            let level = level(feature);
            (0..text.levels.len()).for_each(|other| put(f64::from(u8::from(level == Some(other)))));
        }
    }

    /// For each text feature, the place among its levels of each code.
    pub fn places(&self, rows: &Rows) -> Vec<Vec<Option<usize>>> {
        let place = |levels: &[String], text: &str| levels.iter().position(|level| level == text);
        let of = |(feature, text): (usize, &Text)| {
            rows.levels(feature).into_iter().map(|level| place(&text.levels, level)).collect()
        };
        self.texts.iter().enumerate().map(of).collect()
    }
}

/// `values`: those that are not missing, in any order.
fn number(name: String, values: &mut [f64], rows: usize) -> Number {
    let n = values.len() as f64;
    let share = n / rows.max(1) as f64;
    let missing = share > LEAST_SHARE && share < 1.0 - LEAST_SHARE;
    if values.is_empty() {
        return Number { name, ..Number::default() };
    }
    let mean = Sum::of(values.iter().copied()) / n;
    let sd = (Sum::of(values.iter().map(|value| (value - mean).powi(2))) / n).sqrt();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if sd <= 1e-12 * mean.abs() || sd < 1e-100 {
        return Number { name, mean, low, high, missing, ..Number::default() };
    }
    let mut bends = Vec::new();
    if has_many(values) {
        for third in [1, 2] {
            let place = values.len() * third / 3;
            let bend = *values.select_nth_unstable_by(place, f64::total_cmp).1;
            // At the least value a bend would be the line itself, and where two are one, one does.
            if bend > low && bends.last() != Some(&bend) {
                bends.push(bend);
            }
        }
    }
    Number { name, mean, sd, low, high, missing, bends }
}

/// Whether there are more than a few different values.
fn has_many(values: &[f64]) -> bool {
    let mut different: Vec<f64> = Vec::new();
    for value in values {
        if !different.contains(value) {
            different.push(*value);
            if different.len() > FEW_VALUES {
                return true;
            }
        }
    }
    false
}

fn text(name: String, rows: &Rows, feature: usize) -> Text {
    let levels = rows.levels(feature);
    let mut counts = vec![0usize; levels.len()];
    for row in 0..rows.n() {
        let code = rows.codes(row)[feature];
        if code != NO_LEVEL {
            counts[usize::from(code)] += 1;
        }
    }
    let least = (LEAST_SHARE * rows.n() as f64).max(1.0);
    let mut frequent: Vec<(usize, &str)> = counts.into_iter().zip(levels).filter(|(n, _)| *n as f64 >= least).collect();
    frequent.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    // All rows are told apart by one column less; a text that all rows have tells nothing.
    let all = frequent.iter().map(|(n, _)| n).sum::<usize>() == rows.n();
    frequent.truncate(if all { frequent.len().saturating_sub(1) } else { frequent.len() }.min(MOST_LEVELS));
    Text { name, levels: frequent.into_iter().map(|(_, level)| level.to_owned()).collect() }
}
