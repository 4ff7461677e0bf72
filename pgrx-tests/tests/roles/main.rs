//! What changes roles or settings that all sessions of the cluster have.

mod ceilings;
mod guard;
