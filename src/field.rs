//! What happens out there: where a storm hit, and which touches conversions are credited to.

mod attribution;
mod footprint;
mod sql;
