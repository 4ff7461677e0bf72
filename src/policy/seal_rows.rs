//! One digest over the decisions of a run, and a fingerprint of each, in the order of the properties. The digest says
//! that a row was touched, the fingerprints say which.

use crate::memory::fallibly;
use crate::tenancy::digest::{Form, LENGTH};
use sha2::{Digest, Sha256};

/// The end of the property's id and the beginning of the row's digest.
const FINGERPRINT: usize = 8;
/// What a value of Postgres can hold, less the digest.
const MOST: usize = (1 << 30) - 64;

#[derive(Default)]
pub struct Seal {
    rows: Sha256,
    pub fingerprints: Vec<u8>,
    last: Option<[u8; 16]>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    Order,
    Size,
    Memory,
}

impl Seal {
    /// Takes in a row.
    pub fn push(&mut self, property: [u8; 16], row: Form) -> Result<(), Fault> {
        if self.last >= Some(property) {
            return Err(Fault::Order);
        }
        self.reserve()?;
        let row = row.digest();
        self.rows.update(row);
        self.fingerprints.extend_from_slice(&property[12..]);
        self.fingerprints.extend_from_slice(&row[..4]);
        self.last = Some(property);
        Ok(())
    }

    /// Makes room for a fingerprint.
    fn reserve(&mut self) -> Result<(), Fault> {
        let fingerprints = &mut self.fingerprints;
        if fingerprints.len() + FINGERPRINT > MOST {
            return Err(Fault::Size);
        }
        if fingerprints.capacity() - fingerprints.len() >= FINGERPRINT {
            return Ok(());
        }
        let more = fingerprints.len().clamp(64 * FINGERPRINT, MOST);
        fallibly(|| fingerprints.try_reserve_exact(more)).map_err(|_| Fault::Memory)
    }

    pub fn digest(&self) -> [u8; LENGTH] {
        self.rows.clone().finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_order_each_once() {
        let mut seal = Seal::default();
        assert_eq!(seal.push([1; 16], Form::default()), Ok(()));
        for earlier in [[1; 16], [0; 16]] {
            assert_eq!(seal.push(earlier, Form::default()), Err(Fault::Order));
        }
        assert_eq!(seal.push([2; 16], Form::default()), Ok(()));
        // Of a row without fields the digest is that of nothing: FIPS 180-4.
        assert_eq!(seal.fingerprints, [1, 1, 1, 1, 0xe3, 0xb0, 0xc4, 0x42, 2, 2, 2, 2, 0xe3, 0xb0, 0xc4, 0x42]);
    }
}
