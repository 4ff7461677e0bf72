//! Deterministic draws: the same tenant, storm, property and purpose draw the same number on
//! every machine and in every version, so that a run can be repeated and a log be checked.

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// What comes of tenant, storm and property, before it is said what for.
#[derive(Clone, Copy)]
pub struct Draws(SipHasher24);

impl Draws {
    pub fn new(tenant: &[u8; 16], storm: &[u8; 16]) -> Self {
        let mut hasher = SipHasher24::new();
        hasher.write(tenant);
        hasher.write(storm);
        Self(hasher)
    }

    pub fn property(&self, property: &[u8; 16]) -> Self {
        let mut hasher = self.0;
        hasher.write(property);
        Self(hasher)
    }

    /// A number in [0, 1) from SipHash-2-4, to 53 bits.
    pub fn purpose(&self, purpose: &[u8]) -> f64 {
        let mut hasher = self.0;
        hasher.write(purpose);
        // The upper 53 bits fill a double's mantissa exactly.
        (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A number in [0, 1) from the four.
pub fn draw(tenant: &[u8; 16], storm: &[u8; 16], property: &[u8; 16], purpose: &[u8]) -> f64 {
    Draws::new(tenant, storm).property(property).purpose(purpose)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(n: u64) -> [u8; 16] {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&n.to_be_bytes());
        id
    }

    /// The logged propensities rest on these numbers: they may never change. The value is that of
    /// a second implementation, checked against the test vector of the SipHash paper, appendix A.
    #[test]
    fn draws_are_fixed_for_ever() {
        let one = draw(&property(1), &property(2), &property(3), b"holdout");
        assert_eq!(one, 0.45441820666352695);
    }

    #[test]
    fn draws_are_uniform_and_purposes_independent() {
        let n = 100_000;
        let pairs: Vec<(f64, f64)> = (0..n)
            .map(|i| {
                let id = property(i);
                (draw(&[7; 16], &[9; 16], &id, b"holdout"), draw(&[7; 16], &[9; 16], &id, b"explore"))
            })
            .collect();
        // Chi-square over 100 cells with 99 degrees of freedom: 149.4 is its 0.999 quantile.
        let mut cells = [0f64; 100];
        for (u, v) in &pairs {
            cells[(u * 10.0) as usize * 10 + (v * 10.0) as usize] += 1.0;
        }
        let expected = n as f64 / 100.0;
        let chi2: f64 = cells.iter().map(|o| (o - expected).powi(2) / expected).sum();
        assert!(chi2 < 149.4, "chi2 = {chi2}");
    }
}
