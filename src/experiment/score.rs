//! The score test of a difference of proportions against any difference, by Miettinen and Nurminen (1985), with the
//! right cubic: statsmodels 0.15.0 has a slip in it (issue #10269).

use super::proportions::{Arm, lift, mostly_convert};
use crate::statistics::halving::edge;
use std::f64::consts::PI;

/// Two arms of which the first is to convert more by `delta`, and both together no more than half of all: rates are then
/// small numbers that keep their digits, and not 1 less a small number.
#[derive(Clone, Copy)]
struct Pair {
    high: (f64, f64),
    low: (f64, f64),
    delta: f64,
    /// 1, or -1 where a difference that exceeds `delta` is one that falls short of it as it was asked.
    sign: f64,
}

impl Pair {
    fn of(treated: Arm, control: Arm, delta: f64) -> Self {
        let mostly = mostly_convert(treated, control);
        let part = |arm: Arm| (if mostly { arm.n - arm.converted } else { arm.converted } as f64, arm.n as f64);
        let (high, low) = (part(treated), part(control));
        let (delta, sign) = if mostly { (-delta, -1.0) } else { (delta, 1.0) };
        if delta < 0.0 {
            Self { high: low, low: high, delta: -delta, sign: -sign }
        } else {
            Self { high, low, delta, sign }
        }
    }

    /// The low arm's rate that is likeliest where the rates differ by `delta`: the root of the likelihood's slope.
    fn low_rate(&self) -> f64 {
        let most = 1.0 - self.delta;
        if self.delta == 0.0 {
            return (self.high.0 + self.low.0) / (self.high.1 + self.low.1);
        }
        let (mut least, mut greatest, mut rate) = (0.0, most, self.cubic_root().clamp(0.0, most));
        // The cubic's closed form loses digits where rates are small: a few steps of Newton's bring them back. Each
        // stays between two rates on either side of the root, so that they end.
        for _ in 0..100 {
            let (slope, curvature) = self.likelihood(rate);
            if slope > 0.0 {
                least = rate
            } else {
                greatest = rate
            }
            let step = slope / curvature;
            let next = if step.is_finite() { rate + step } else { f64::NAN };
            let next = if next > least && next < greatest { next } else { f64::midpoint(least, greatest) };
            let moved = (next - rate).abs();
            rate = next;
            if moved <= 1e-16 * rate || least >= greatest {
                break;
            }
        }
        rate
    }

    /// The first derivative of the log likelihood by the low arm's rate, and the second with its sign changed.
    fn likelihood(&self, rate: f64) -> (f64, f64) {
        let ((x1, n1), (x0, n0)) = (self.high, self.low);
        let parts = [
            (x1, rate + self.delta, 1.0),
            (n1 - x1, 1.0 - self.delta - rate, -1.0),
            (x0, rate, 1.0),
            (n0 - x0, 1.0 - rate, -1.0),
        ];
        parts.into_iter().filter(|part| part.0 > 0.0).fold((0.0, 0.0), |(slope, curvature), (count, chance, sign)| {
            (slope + sign * count / chance, curvature + count / chance / chance)
        })
    }

    fn cubic_root(&self) -> f64 {
        let ((x1, n1), (x0, n0), delta) = (self.high, self.low, self.delta);
        let l3 = n1 + n0;
        let l2 = (n1 + 2.0 * n0) * delta - l3 - (x1 + x0);
        let l1 = (n0 * delta - l3 - 2.0 * x0) * delta + x1 + x0;
        let l0 = x0 * delta * (1.0 - delta);
        let q = (l2 / (3.0 * l3)).powi(3) - l1 / l3 * (l2 / l3) / 6.0 + l0 / (2.0 * l3);
        let p = ((l2 / (3.0 * l3)).powi(2) - l1 / (3.0 * l3)).max(0.0).sqrt() * q.signum();
        let turn = if p == 0.0 { 0.0 } else { (q / p.powi(3)).clamp(-1.0, 1.0) };
        2.0 * p * ((PI + turn.acos()) / 3.0).cos() - l2 / (3.0 * l3)
    }

    /// The variance of the difference of the arms' rates at the likeliest of them.
    fn variance(&self) -> f64 {
        let low = self.low_rate();
        let high = (low + self.delta).min(1.0);
        high * (1.0 - high) / self.high.1 + low * (1.0 - low) / self.low.1
    }
}

/// z of the observed difference against `delta`: positive if it is greater.
pub fn z(treated: Arm, control: Arm, delta: f64) -> f64 {
    let pair = Pair::of(treated, control, delta);
    let (high, low) = (pair.high.0 / pair.high.1, pair.low.0 / pair.low.1);
    let difference = high - low - pair.delta;
    // Between equal ones rounding leaves no more.
    if difference.abs() <= 4.0 * f64::EPSILON * (high + low + pair.delta) {
        return 0.0;
    }
    let total = pair.high.1 + pair.low.1;
    pair.sign * difference / (pair.variance() * total / (total - 1.0)).sqrt()
}

/// The Miettinen-Nurminen interval: every delta that the test does not reject.
pub fn interval(treated: Arm, control: Arm, critical: f64) -> (f64, f64) {
    let d = lift(treated, control);
    let inside = |delta: f64| z(treated, control, delta).abs() <= critical;
    let end = |outside: f64| if inside(outside) { outside } else { edge(d, outside, inside).0 };
    (end(-1.0), end(1.0))
}
