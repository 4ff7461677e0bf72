//! What changes roles or settings that all sessions of the cluster have.

mod ceilings;
mod comers;
mod guard;

use std::sync::Mutex;

/// Held by a test that attest() would report in any database, and by one that asks it.
static TURN: Mutex<()> = Mutex::new(());
