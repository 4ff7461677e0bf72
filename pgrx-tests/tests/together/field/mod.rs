//! Touches, conversions, footprints.

mod attribution;
mod footprints;
