//! Which properties to treat after a storm: draws and thresholds.

mod draw;
mod rule;
