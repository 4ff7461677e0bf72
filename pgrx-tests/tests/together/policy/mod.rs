//! Runs, decisions, outcomes, limits.

mod decisions;
mod evaluation;
mod limits;
mod modes;
mod outcomes;
mod partitions;
mod runs;
