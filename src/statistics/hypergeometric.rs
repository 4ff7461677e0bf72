//! How many of `drawn` balls are marked: the distribution behind Fisher's test and behind the comparison of two rates
//! with beta distributions.

use super::gamma::{deviance, stirling_error};
use super::normal;
use std::f64::consts::TAU;

/// Of `marked` and `others` so many are drawn, without putting any back.
#[derive(Clone, Copy, Debug)]
pub struct Hypergeometric {
    pub marked: u64,
    pub others: u64,
    pub drawn: u64,
}

/// A tail is summed as far as its terms count: a few standard deviations, and never more terms than this.
const MOST_TERMS: usize = 4_000_000;
/// From this variance on the normal distribution with two corrections is nearer than rounding.
const NORMAL_FROM: f64 = 1e10;

/// ln P(k) of a binomial distribution (Loader 2000), which keeps its digits at any size.
fn ln_binomial(k: f64, n: f64, p: f64, q: f64) -> f64 {
    let distance = deviance(k, n * p) + deviance(n - k, n * q);
    if k == 0.0 || k == n {
        return -distance;
    }
    stirling_error(n) - stirling_error(k) - stirling_error(n - k) - distance + (n / (TAU * k * (n - k))).ln() / 2.0
}

impl Hypergeometric {
    pub fn least(&self) -> u64 {
        self.drawn.saturating_sub(self.others)
    }

    pub fn most(&self) -> u64 {
        self.drawn.min(self.marked)
    }

    /// The likeliest number.
    pub fn mode(&self) -> u64 {
        let all = (self.marked + self.others + 2) as f64;
        let mode = (self.marked + 1) as f64 / all * (self.drawn + 1) as f64;
        (mode as u64).clamp(self.least(), self.most())
    }

    /// ln P(k), for k from the least to the most.
    pub fn ln_chance(&self, k: u64) -> f64 {
        if self.least() == self.most() {
            return 0.0;
        }
        let (marked, others, drawn, k) = (self.marked as f64, self.others as f64, self.drawn as f64, k as f64);
        let all = marked + others;
        let (p, q) = (drawn / all, (self.marked + self.others - self.drawn) as f64 / all);
        ln_binomial(k, marked, p, q) + ln_binomial(drawn - k, others, p, q) - ln_binomial(drawn, all, p, q)
    }

    /// P(k + 1) / P(k).
    fn rise(&self, k: u64) -> f64 {
        let numerator = (self.marked - k) as f64 * (self.drawn - k) as f64;
        numerator / ((k + 1) as f64 * (self.others - (self.drawn - k) + 1) as f64)
    }

    /// The chances of k and of all below it, where they fall: k is no more than the mode.
    pub fn falling(&self, k: u64) -> f64 {
        sum(self.ln_chance(k), (self.least()..k).rev().map(|k| 1.0 / self.rise(k)))
    }

    /// The chances of k and of all above it, where they fall: k is no less than the mode.
    pub fn rising(&self, k: u64) -> f64 {
        sum(self.ln_chance(k), (k..self.most()).map(|k| self.rise(k)))
    }

    /// P(X <= k).
    pub fn up_to(&self, k: u64) -> f64 {
        if k >= self.most() {
            return 1.0;
        }
        if k < self.least() {
            return 0.0;
        }
        let all = (self.marked + self.others) as f64;
        let (marked, drawn) = (self.marked as f64 / all, self.drawn as f64 / all);
        let (unmarked, left) = (self.others as f64 / all, (self.marked + self.others - self.drawn) as f64 / all);
        let variance = all * marked * unmarked * drawn * left * (all / (all - 1.0));
        if variance > NORMAL_FROM {
            let sd = variance.sqrt();
            // k less the mean, which may be as large as 10^15 and next to k: in whole numbers.
            let all_whole = i128::from(self.marked) + i128::from(self.others);
            let distance = i128::from(k) * all_whole - i128::from(self.drawn) * i128::from(self.marked);
            let distance = distance as f64 / all;
            let skewness = (1.0 - 2.0 * marked) * (1.0 - 2.0 * drawn) / sd;
            let excess = (1.0 - 6.0 * (marked * unmarked + drawn * left)) / variance;
            return normal::sf_corrected(-(distance + 0.5) / sd, -skewness, excess);
        }
        if k <= self.mode() { self.falling(k) } else { 1.0 - self.rising(k + 1) }
    }
}

/// The sum of terms of which the first is given by its logarithm and each other by its ratio to the one before. It
/// ends where they vanish, which is at once where the first is too small for a number.
fn sum(ln_first: f64, ratios: impl Iterator<Item = f64>) -> f64 {
    let mut term = ln_first.exp();
    let mut sum = term;
    for ratio in ratios.take(MOST_TERMS) {
        term *= ratio;
        if term <= sum * 1e-18 {
            break;
        }
        sum += term;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;

    /// mpmath 1.4.1 at 80 digits, every table summed.
    #[test]
    fn large_numbers_keep_their_digits() {
        let tables = |marked: u64, others: u64, drawn| Hypergeometric { marked, others, drawn };
        let (thousand_million, most) = (1_000_000_001, 1_000_000_000_000_001);
        assert_near(tables(most, most, 11).up_to(3), 0.11328124999999936, 1e-12);
        assert_near(tables(1_000_001, 1_000_001, 71).up_to(20), 0.00015154520133127045, 1e-12);
        assert_near(tables(1_000_001, 1_000_001, 71).up_to(50), 0.9998484547986687, 1e-12);
        // By symmetry one half, whatever the size: summed, and by the normal distribution.
        for (size, drawn) in
            [(thousand_million, 200_001), (most, 200_001), (most, 1_000_000_000_001), (thousand_million, 999_999_999)]
        {
            assert_near(tables(size, size, drawn).up_to(drawn / 2), 0.5, 1e-9);
        }
        // Where one passes into the other they agree.
        let edge = tables(40_000_000_000, 40_000_000_000, 40_000_000_000);
        let (below, above) = (edge.marked / 2 - 100_000, edge.marked / 2 - 20_000);
        for k in [below, above] {
            assert_near(edge.falling(k), edge.up_to(k), 1e-8);
        }
        assert_eq!((tables(5, 0, 3).up_to(3), tables(5, 4, 3).up_to(3), tables(2, 9, 4).least()), (1.0, 1.0, 0));
    }
}
