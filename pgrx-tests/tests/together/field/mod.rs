//! Touches, conversions, footprints.

mod attribution;
