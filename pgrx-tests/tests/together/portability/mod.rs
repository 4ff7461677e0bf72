//! Dump and restore, and upgrades.

mod dump;
mod life;
mod settings;
mod upgrade;
