//! Numbers for tests, the same on every machine.

/// The 64-bit linear congruential generator of Knuth's MMIX (a = 6364136223846793005, c = 1442695040888963407), whose
/// upper 53 bits are a number in [0, 1).
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A standard normal one (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (radius, turn) = ((-2.0 * (1.0 - self.next()).ln()).sqrt(), self.next() * std::f64::consts::TAU);
        radius * turn.cos()
    }
}
