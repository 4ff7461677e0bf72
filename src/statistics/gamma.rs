//! The gamma function's parts, put together so that large arguments keep their digits: the logarithms of a ratio of
//! gammas are a thousand times what is left of them.

use super::normal;
use statrs::function::gamma::ln_gamma;
use std::f64::consts::TAU;

/// What Stirling's formula leaves of ln Γ(x), for x > 0: ln Γ(x) = (x - 1/2) ln x - x + ln(2π)/2 + stirling_error(x).
pub fn stirling_error(x: f64) -> f64 {
    if x < 10.0 {
        return ln_gamma(x) - ((x - 0.5) * x.ln() - x + 0.5 * TAU.ln());
    }
    let y = 1.0 / (x * x);
    (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x
}

/// x ln(x / m) + m - x, the distance of a count from its mean (Loader 2000): 0 where they are equal, never less.
pub fn deviance(x: f64, m: f64) -> f64 {
    if x == 0.0 || m == 0.0 {
        return if x == m { 0.0 } else { f64::INFINITY }.min(if x == 0.0 { m } else { f64::INFINITY });
    }
    let v = (x - m) / (x + m);
    if v.abs() >= 0.1 {
        return x * (x / m).ln() + m - x;
    }
    // ln(x / m) = 2 artanh(v), by its series: from one tenth down every term takes two digits.
    let (mut sum, mut power) = ((x - m) * v, 2.0 * x * v);
    for odd in (3..30).step_by(2) {
        power *= v * v;
        sum += power / f64::from(odd);
    }
    sum
}

/// From here on the normal distribution with Temme's correction is as exact as numbers are.
const LARGE: f64 = 1e5;
/// More terms than the series and the fraction take below.
const MOST_TERMS: u32 = 10_000;

/// The regularised lower incomplete gamma function P(a, x) for a > 0.
pub fn lower(a: f64, x: f64) -> f64 {
    if a > LARGE {
        return normal_to(a, x, -1.0);
    }
    if x <= a + 1.0 { series(a, x) } else { 1.0 - fraction(a, x) }
}

/// Q(a, x) = 1 - P(a, x), by itself: small ones keep their digits.
pub fn upper(a: f64, x: f64) -> f64 {
    if a > LARGE {
        return normal_to(a, x, 1.0);
    }
    if x <= a + 1.0 { 1.0 - series(a, x) } else { fraction(a, x) }
}

/// x^a e^-x / Γ(a).
fn front(a: f64, x: f64) -> f64 {
    (-deviance(a, x) - stirling_error(a)).exp() * (a / TAU).sqrt()
}

/// P(a, x) from x^a e^-x / Γ(a + 1) times 1 + x/(a+1) + x²/((a+1)(a+2)) + …
fn series(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..MOST_TERMS {
        term *= x / (a + f64::from(k));
        sum += term;
        if term <= sum * 1e-17 {
            break;
        }
    }
    (front(a, x) / a * sum).min(1.0)
}

/// Q(a, x) by its continued fraction, after Lentz.
fn fraction(a: f64, x: f64) -> f64 {
    if x.is_infinite() {
        return 0.0;
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / b);
    let mut product = d;
    for k in 1..MOST_TERMS {
        let k = f64::from(k);
        let an = -k * (k - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        product *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    (front(a, x) * product).clamp(0.0, 1.0)
}

/// Both by Temme's uniform expansion (1979; DLMF 8.12): P for side -1, Q for side 1.
fn normal_to(a: f64, x: f64, side: f64) -> f64 {
    let mu = (x - a) / a;
    if x <= 0.0 || x.is_infinite() {
        return if (side > 0.0) == (x <= 0.0) { 1.0 } else { 0.0 };
    }
    let half_square = deviance(a, x) / a; // x/a - 1 - ln(x/a)
    let eta = (2.0 * half_square).sqrt().copysign(mu);
    let (first, second) = if eta.abs() < 0.01 {
        (-1.0 / 3.0 + eta / 12.0 - eta * eta * (2.0 / 135.0 - eta / 864.0), -1.0 / 540.0)
    } else {
        (1.0 / mu - 1.0 / eta, 1.0 / eta.powi(3) - 1.0 / mu.powi(3) - 1.0 / mu.powi(2) - 1.0 / (12.0 * mu))
    };
    let rest = (-a * half_square).exp() / (TAU * a).sqrt() * (first + second / a);
    (normal::sf(side * eta * a.sqrt()) + side * rest).clamp(0.0, 1.0)
}
