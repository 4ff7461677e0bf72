//! The red-team suite: attacks written as SQL (`pgrx-tests/redteam/`), played against two databases that differ in the
//! victim's rows alone. Whatever differs in what the attacker is told is a leak.

mod attack;
mod judge;
mod session;
mod stage;

pub use attack::{Attack, Expected, Naive, attacks};
pub use judge::{Verdict, play};
pub use stage::{CLOSE_COMMANDS, OPEN_COMMANDS, Pair, Schema};

/// A text that only the victim's rows hold.
pub const CANARY: &str = "BRAVO-SECRET";
