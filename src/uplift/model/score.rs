//! What a model says of a property.

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    pub uplift: f64,
    /// Its standard deviation, where the model gives one.
    pub sd: Option<f64>,
    /// The chance of the outcome without treatment, where the model gives it.
    pub baseline: Option<f64>,
}
