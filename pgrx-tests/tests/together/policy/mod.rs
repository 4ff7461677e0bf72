//! Runs, decisions, outcomes, limits.

mod blocks;
mod decisions;
mod limits;
mod modes;
mod outcomes;
mod packed;
mod partitions;
mod pushdown;
mod runs;
mod suggestions;
