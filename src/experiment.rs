//! Conversion rates, lift, experiments: how sure one may be that a treatment worked.
//!
//! The modules are plain Rust, so that they can be tested against published numbers without a server; `functions` and
//! `arm_agg` show them to SQL.

mod arm_agg;
mod bayes;
mod bernoulli;
mod bernstein;
mod boschloo;
mod bounded_agg;
#[cfg(test)]
mod bounds;
mod clusters;
mod compare;
mod exact;
mod functions;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod goldens_means;
mod in_place;
#[cfg(test)]
mod levels;
mod moments;
mod one_sided;
#[cfg(any(test, feature = "pg_test"))]
mod pg_tests;
mod power;
mod proportions;
mod relative;
mod score;
mod sequential;
#[cfg(test)]
mod simulations;
mod srm;
