//! Field as SQL functions and aggregates.

mod attribution;
mod footprint;
