//! Which properties to treat after a storm: draws and thresholds; and what its decisions are sealed with.

mod draw;
mod rule;
mod seal;
