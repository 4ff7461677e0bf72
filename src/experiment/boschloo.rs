//! Boschloo's exact test (1970): Fisher's p-value as the statistic, its distribution over all tables of the arms' sizes
//! at the rate that makes it most likely. Never less powerful than Fisher's test, which takes the conversions as given.

use super::proportions::Arm;

/// Above so many leads in both arms Fisher's test hardly loses, and this one costs.
const MOST_LEADS: u64 = 200;
/// The rates tried; around the best of them the greatest is looked for.
const RATES: usize = 128;

/// The two-sided p-value, twice the less of both sides; None without an arm or above 200 leads.
pub fn boschloo(treated: Arm, control: Arm) -> Option<f64> {
    let leads = treated.n + control.n;
    if treated.n == 0 || control.n == 0 || leads > MOST_LEADS {
        return None;
    }
    Some((2.0 * one_sided(treated, control).min(one_sided(control, treated))).min(1.0))
}

/// P(a table whose first arm converts as rarely, by Fisher's test, or more so), at most over the common rate.
fn one_sided(arm: Arm, other: Arm) -> f64 {
    let (n, m) = (arm.n as usize, other.n as usize);
    let mut ln_factorial = vec![0.0];
    for i in 1..=n + m {
        ln_factorial.push(ln_factorial[i - 1] + (i as f64).ln());
    }
    let ln_choose = |n: usize, k: usize| ln_factorial[n] - ln_factorial[k] - ln_factorial[n - k];
    // Fisher's one-sided p-values of all tables with so many conversions, from the first arm's fewest on.
    let tails = |all: usize| {
        let first = all.saturating_sub(m);
        (first..=n.min(all)).scan(0.0, move |sum, x| {
            *sum += (ln_choose(n, x) + ln_choose(m, all - x) - ln_choose(n + m, all)).exp();
            Some(*sum)
        })
    };
    let all = (arm.converted + other.converted) as usize;
    let place = arm.converted as usize - all.saturating_sub(m);
    let observed: f64 = tails(all).nth(place).unwrap_or(1.0) * (1.0 + 1e-10);
    // Of each number of conversions, ln of the tables that are as extreme.
    let extreme: Vec<(f64, f64)> = (0..=n + m)
        .filter_map(|all| {
            let share = tails(all).take_while(|tail| *tail <= observed).last()?;
            Some((all as f64, ln_choose(n + m, all) + share.ln()))
        })
        .collect();
    let leads = (n + m) as f64;
    let chance = |rate: f64| {
        let (hit, miss) = (rate.ln(), (-rate).ln_1p());
        extreme.iter().map(|(all, ln)| (ln + all * hit + (leads - all) * miss).exp()).sum::<f64>()
    };
    greatest(chance)
}

/// The greatest value inside 0 to 1 of a function with a few humps.
fn greatest(value: impl Fn(f64) -> f64) -> f64 {
    let step = 1.0 / RATES as f64;
    let tried: Vec<f64> = (0..RATES).map(|i| value((i as f64 + 0.5) * step)).collect();
    let best = tried.iter().fold(0.0f64, |a, b| a.max(*b));
    let near = |i: usize| {
        let (mut low, mut high) = ((i as f64 - 0.5) * step, (i as f64 + 1.5) * step);
        (low, high) = (low.max(1e-12), high.min(1.0 - 1e-12));
        for _ in 0..30 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if value(a) < value(b) {
                low = a;
            } else {
                high = b;
            }
        }
        value((low + high) / 2.0)
    };
    // Between two tried rates a hump rises by little: the lower ones cannot win.
    let higher = |i: usize, other: Option<usize>| other.and_then(|o| tried.get(o)).is_none_or(|o| tried[i] >= *o);
    (0..RATES)
        .filter(|i| tried[*i] > 0.95 * best && higher(*i, i.checked_sub(1)) && higher(*i, Some(i + 1)))
        .map(near)
        .fold(best, f64::max)
        .min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::proportions::fisher;

    fn arms(x1: u64, n1: u64, x0: u64, n0: u64) -> (Arm, Arm) {
        (Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap())
    }

    /// scipy 1.17.1 boschloo_exact; the first in its documentation.
    #[test]
    fn boschloo_is_that_of_scipy() {
        for ([x1, n1, x0, n0], p) in [
            ([7, 10, 2, 12], 0.018733641641156245),
            ([0, 20, 5, 20], 0.02252778607837315),
            ([12, 100, 8, 100], 0.4367534895513047),
            ([1, 1, 0, 1], 0.5),
            ([20, 20, 0, 20], 1.818989403545863e-12),
            ([30, 70, 20, 90], 0.005865813572442407),
            ([5, 20, 5, 20], 1.0),
            ([3, 10, 1, 12], 0.28820592221339975),
            ([0, 20, 0, 20], 1.0),
        ] {
            let (treated, control) = arms(x1, n1, x0, n0);
            let got = boschloo(treated, control).unwrap();
            assert!((got - p).abs() < 1e-9 * p, "{x1}/{n1} {x0}/{n0}: {got:e}, not {p:e}");
            assert!((boschloo(control, treated).unwrap() - got).abs() < 1e-12);
        }
        let (treated, control) = arms(0, 101, 0, 100);
        assert_eq!((boschloo(treated, control), boschloo(arms(0, 0, 1, 2).0, control)), (None, None));
    }

    #[test]
    fn it_keeps_its_level_and_finds_more() {
        const N: u64 = 10;
        let tables = (0..=N).flat_map(|x1| (0..=N).map(move |x0| (x1, x0)));
        let judged: Vec<(u64, u64, bool, bool)> = tables
            .map(|(x1, x0)| {
                let (treated, control) = arms(x1, N, x0, N);
                (x1, x0, boschloo(treated, control).unwrap() < 0.05, fisher(treated, control) < 0.05)
            })
            .collect();
        let more = judged.iter().filter(|(_, _, b, f)| *b && !f).count();
        assert!(more > 5 && !judged.iter().any(|(_, _, b, f)| *f && !b), "{more}");
        // At any one rate the tables that it calls significant come up in at most 5 %.
        for rate in [0.05, 0.2, 0.5, 0.7] {
            let chance = |x: u64| {
                let choose = (0..x).map(|i| (N - i) as f64 / (i + 1) as f64).product::<f64>();
                choose * f64::powi(rate, x as i32) * f64::powi(1.0 - rate, (N - x) as i32)
            };
            let level: f64 = judged.iter().filter(|t| t.2).map(|(x1, x0, ..)| chance(*x1) * chance(*x0)).sum();
            assert!(level <= 0.05 && level > 0.0, "{level} at {rate}");
        }
    }
}
