//! Scores and their drift.

mod drift;
mod models;
mod models_of_tenants;
mod states;
