//! Which properties to treat after a storm: draws and thresholds; the pass that decides; the blocks in which decisions are
//! kept, and what they are counted and sealed with; what another policy would have earned.

mod block;
mod calibrations;
mod candidate;
mod candidates;
mod contacts;
mod counts;
mod differences;
mod draw;
mod evaluation;
mod fault;
mod ids;
mod limit;
mod names;
mod near;
mod pass;
#[cfg(test)]
mod pass_tests;
mod pushdown;
mod reading;
mod rule;
mod seal;
mod seal_rows;
mod sql;
mod tally;

/// Sets the hooks. Called once, when the library loads.
pub fn init() {
    pushdown::init();
}
