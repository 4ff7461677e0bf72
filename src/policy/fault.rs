//! Why decisions cannot be made or kept.

use std::collections::TryReserveError;

#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The properties do not come in order, each once.
    Order,
    /// A number is not what it must be: which.
    Range(&'static str),
    /// More different decisions and reasons than are counted.
    Reasons,
    /// More than a value of Postgres can hold.
    Size,
    Memory,
}

impl From<TryReserveError> for Fault {
    fn from(_: TryReserveError) -> Self {
        Self::Memory
    }
}
