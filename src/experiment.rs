//! Conversion rates, lift, experiments: how sure one may be that a treatment worked.
//!
//! The modules are plain Rust, so that they can be tested against published numbers without a server; `sql` shows them
//! to SQL.

mod bayes;
mod bernoulli;
mod bernstein;
mod boschloo;
#[cfg(test)]
mod bounds;
mod clusters;
mod compare;
mod exact;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod goldens_means;
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
mod sql;
mod srm;
