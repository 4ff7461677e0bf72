//! Runs, decisions, outcomes, limits.

mod decisions;
mod limits;
mod modes;
mod outcomes;
mod packed;
mod partitions;
mod runs;
mod suggestions;
