//! Scores and their drift.

mod drift;
mod models;
mod states;
