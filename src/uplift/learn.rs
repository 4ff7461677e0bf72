//! Learning uplift from a tenant's own decisions and outcomes: a ridge R-learner (Nie and Wager 2021, arXiv 1712.04912) in closed form.
//!
//! The chance of every decision is logged, so nothing about it is estimated: with the outcome Y, the decision W and its
//! chance e, the effect is what least squares of Y - m on (W - e) * basis finds, whatever m is; a good m, here a ridge fit
//! for each arm, only makes it less noisy. Everything rests on sums by fold, over which each candidate - how strong a
//! ridge, a bend in which feature - is fitted and judged without another look at the rows.
//!
//! Plain Rust that knows nothing of Postgres: what takes long calls back, what grows with the rows asks for its memory.

mod basis;
mod choose;
mod evaluate;
mod fit;
mod model;
mod rows;
mod sums;
#[cfg(test)]
mod tests;

pub use evaluate::report;
pub use fit::fit;
pub use model::Model;
pub use rows::{Refusal, Rows};
