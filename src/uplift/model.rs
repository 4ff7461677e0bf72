//! Models that users bring, as ONNX files: read without trust, made into a program of known shapes and cost, and run over
//! columns of features.
//!
//! What a file may do is a list of operators (`operators`): none of them loops, nests or reads anything but its inputs.
//! Every width is known before the first row, so that no row can ask for more memory or time than another.

mod arithmetic;
mod attributes;
mod batch;
mod data;
mod expression;
mod features;
mod file;
mod forest;
mod learned;
mod linear;
mod operators;
mod program;
mod score;
mod scorer;
mod shaping;
mod site;
mod tables;
mod tensor;
mod trees;
mod walk;
mod wire;

#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod maker;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod tree_tests;

pub use batch::Batch;
pub use data::Type;
pub use features::Catalogue;
pub use score::Score;
pub use scorer::{Failure, Scorer};

use std::collections::TryReserveError;

/// Bytes of one file.
pub const MOST_BYTES: usize = 16 << 20;
const MOST_OPERATORS: usize = 2000;
/// Names and attributes of a file, each kind.
const MOST_NAMES: usize = 50_000;
/// Numbers of a row in one value.
const MOST_WIDTH: usize = 1 << 16;
/// Numbers of a row in all values together.
const MOST_WIDTH_IN_ALL: usize = 1 << 18;
/// Nodes of all trees together.
const MOST_NODES: usize = 1_000_000;
/// Steps for a row: a node of a tree, a multiplication, a comparison.
const MOST_COST: u64 = 4_000_000;

/// Why a file is no model here.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// It is not what it says, or does not fit its features.
    Invalid(String),
    /// It may be right, but needs what is not done here.
    Unsupported(String),
    TooLarge(String),
    Memory,
}

impl From<TryReserveError> for Fault {
    fn from(_: TryReserveError) -> Self {
        Self::Memory
    }
}

impl Fault {
    /// Says where: of what operator, file or feature.
    fn of(self, what: &str) -> Self {
        match self {
            Self::Invalid(text) => Self::Invalid(format!("{what}: {text}")),
            Self::Unsupported(text) => Self::Unsupported(format!("{what}: {text}")),
            Self::TooLarge(text) => Self::TooLarge(format!("{what}: {text}")),
            Self::Memory => Self::Memory,
        }
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Invalid(text.into()))
}

fn unsupported<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(text.into()))
}

/// A name out of a file or a document, fit to be shown: short, and ASCII.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(60).flat_map(char::escape_default).collect();
    if name.chars().nth(60).is_some() {
        shown += "...";
    }
    shown
}
