//! Dump and restore, upgrades, and the scripts of both.

mod bringing;
mod copies;
mod delivery;
mod dump;
mod erasing;
mod files;
mod life;
mod person;
mod rows;
mod script;
mod settings;
mod upgrade;
