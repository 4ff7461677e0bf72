//! Scores and their drift.

mod drift;
mod states;
