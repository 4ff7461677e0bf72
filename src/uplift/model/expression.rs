//! Arithmetic over features: of doubles, column by column.

use super::batch::Batch;

#[derive(Debug, PartialEq)]
pub enum Number {
    Constant(f64),
    Feature(usize),
    Treatment,
    Missing(Box<Number>),
    TextMissing(usize),
    Equals(usize, String),
    One(One, Box<Number>),
    Two(Two, Box<Number>, Box<Number>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum One {
    Ln,
    Exp,
    Sqrt,
    Abs,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Two {
    Add,
    Subtract,
    Multiply,
    Divide,
    Least,
    Greatest,
    Coalesce,
    Less,
    AtMost,
}

impl Number {
    pub fn may_be_missing(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Treatment | Self::Missing(_) | Self::TextMissing(_) | Self::Equals(..) => false,
            Self::Feature(_) | Self::One(..) => true,
            Self::Two(Two::Coalesce | Two::Least | Two::Greatest, x, y) => x.may_be_missing() && y.may_be_missing(),
            Self::Two(..) => true,
        }
    }

    /// Its values for some rows of a batch.
    pub fn column(&self, batch: &Batch, rows: std::ops::Range<usize>, treatment: f64) -> Vec<f64> {
        let flag = |flag: bool| if flag { 1.0 } else { 0.0 };
        match self {
            Self::Constant(value) => vec![*value; rows.len()],
            Self::Treatment => vec![treatment; rows.len()],
            Self::Feature(place) => batch.numbers[*place][rows].to_vec(),
            Self::TextMissing(place) => batch.texts[*place][rows].iter().map(|text| flag(text.is_none())).collect(),
            Self::Equals(place, to) => {
                let equals =
                    |text: &Option<(usize, usize)>| text.is_some_and(|(start, end)| batch.text[start..end] == **to);
                batch.texts[*place][rows].iter().map(|text| flag(equals(text))).collect()
            }
            Self::Missing(x) => x.column(batch, rows, treatment).into_iter().map(|x| flag(x.is_nan())).collect(),
            Self::One(one, x) => {
                let function: fn(f64) -> f64 = match one {
                    One::Ln => f64::ln,
                    One::Exp => f64::exp,
                    One::Sqrt => f64::sqrt,
                    One::Abs => f64::abs,
                };
                x.column(batch, rows, treatment).into_iter().map(|x| number(function(x))).collect()
            }
            Self::Two(two, x, y) => {
                let (x, y) = (x.column(batch, rows.clone(), treatment), y.column(batch, rows, treatment));
                x.into_iter().zip(y).map(|(x, y)| number(two.of(x, y))).collect()
            }
        }
    }
}

impl Two {
    fn of(self, x: f64, y: f64) -> f64 {
        let compared = |holds: bool| if x.is_nan() || y.is_nan() { f64::NAN } else { f64::from(u8::from(holds)) };
        match self {
            Self::Add => x + y,
            Self::Subtract => x - y,
            Self::Multiply => x * y,
            Self::Divide => x / y,
            // Of a missing value and another these are the other, as in SQL.
            Self::Least => x.min(y),
            Self::Greatest => x.max(y),
            Self::Coalesce => {
                if x.is_nan() {
                    y
                } else {
                    x
                }
            }
            Self::Less => compared(x < y),
            Self::AtMost => compared(x <= y),
        }
    }
}

/// What is not finite is missing.
pub fn number(x: f64) -> f64 {
    if x.is_finite() { x } else { f64::NAN }
}
