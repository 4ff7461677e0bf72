//! What happens out there: which touches conversions are credited to.

mod attribution;
mod sql;
