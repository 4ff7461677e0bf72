//! Which properties to treat after a storm: draws and thresholds; what its decisions are counted and sealed with.

mod counts;
mod draw;
mod pushdown;
mod reading;
mod rule;
mod seal;
mod sql;

/// Sets the hooks. Called once, when the library loads.
pub fn init() {
    pushdown::init();
}
