//! Which properties to treat after a storm: draws and thresholds; what its decisions are counted and sealed with.

mod counts;
mod draw;
mod rule;
mod seal;
mod sql;
