//! Which properties to treat after a storm: draws and thresholds; what its decisions are counted and sealed with; what another policy would have earned.

mod counts;
mod draw;
mod evaluation;
mod rule;
mod seal;
mod sql;
