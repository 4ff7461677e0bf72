//! What an aggregate gathers in several workers at once.

use std::collections::TryReserveError;

pub trait Gathered: Default {
    /// As the workers of one server send it to each other.
    fn to_bytes(&self) -> Result<Vec<u8>, TryReserveError>;
    /// None if these bytes are none of this kind.
    fn read(bytes: &[u8]) -> Result<Option<Self>, TryReserveError>;
    /// Takes another worker's in.
    fn merge(&mut self, other: Self) -> Result<(), TryReserveError>;
}
