//! Dump and restore, upgrades, and the scripts of both.

mod copies;
mod delivery;
mod dump;
mod life;
mod script;
mod settings;
mod upgrade;
