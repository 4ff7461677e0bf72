//! Scores, their drift, and what is learned of outcomes.

mod answered;
mod calibrating;
mod drift;
mod learning;
mod learning_trial;
mod models;
mod models_of_tenants;
mod states;

pub use answered::{BY_HALF_THE_SCORE, answered_storm, decided_storm};
