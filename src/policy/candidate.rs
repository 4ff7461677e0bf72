//! A property that is to be decided, with all that the rule asks about it.

pub type Id = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub property: Id,
    pub score: f64,
    pub sd: f64,
    pub model: u32,
    pub margin: Option<f64>,
    pub cost: Option<f64>,
    pub excluded: Option<u32>,
}
