//! Scores, their drift, and what is learned of outcomes.

pub mod answered;
mod calibrating;
mod drift;
mod learning;
mod learning_trial;
mod models;
mod states;
