//! Dump and restore, and upgrades.

mod dump;
mod life;
mod upgrade;
