//! What the days left of a month will bring: the mean of a day like them, with a prediction interval.
//!
//! With two weeks of days or more each weekday has a mean of its own (a one-way layout); with fewer there is one mean for all.
//! Days are taken as independent around their mean with one variance s². The sum over the days left then varies by
//! s² (h + Σ c_w² / n_w): h days' own noise, and that of each mean (n_w days seen, c_w to come), with Student's t of
//! n - k degrees of freedom for k means (Montgomery and Runger, Applied Statistics and Probability for Engineers, 11-6).

use crate::statistics::student;

const WEEK: usize = 7;

pub struct Forecast {
    pub expected: f64,
    /// None where there are too few days to know how they vary.
    pub interval: Option<(f64, f64)>,
    pub method: &'static str,
}

/// `daily`: the totals of complete days up to the day before the first one left, oldest first. None without a day.
pub fn forecast(daily: &[f64], days_left: usize, confidence: f64) -> Option<Forecast> {
    let by_weekday = daily.len() >= 2 * WEEK;
    let (groups, method) = if by_weekday { (WEEK, "weekday means") } else { (1, "daily mean") };
    // Counted back from the last day seen, so that day `left` of those to come is like group `WEEK - 1 - left % WEEK`.
    let group_of_past = |place: usize| (daily.len() - 1 - place) % groups;
    let group_of_left = |left: usize| (groups - 1) - left % groups;
    let (mut sum, mut n, mut to_come) = ([0.0; WEEK], [0.0; WEEK], [0.0; WEEK]);
    for (place, value) in daily.iter().enumerate() {
        sum[group_of_past(place)] += value;
        n[group_of_past(place)] += 1.0;
    }
    if daily.is_empty() {
        return None;
    }
    (0..days_left).for_each(|left| to_come[group_of_left(left)] += 1.0);
    let mean = |group: usize| sum[group] / n[group];
    let expected: f64 = (0..groups).map(|group| to_come[group] * mean(group)).sum();
    let squares: f64 =
        daily.iter().enumerate().map(|(place, value)| (value - mean(group_of_past(place))).powi(2)).sum();
    let df = daily.len() as f64 - groups as f64;
    let interval = (df >= 1.0).then(|| {
        let of_means: f64 = (0..groups).map(|group| to_come[group].powi(2) / n[group]).sum();
        let sd = (squares / df * (days_left as f64 + of_means)).sqrt();
        let reach = student::upper((1.0 - confidence) / 2.0, df) * sd;
        ((expected - reach).max(0.0), expected + reach)
    });
    Some(Forecast { expected, interval, method })
}

#[cfg(test)]
mod tests {
    use super::forecast;
    use statrs::distribution::{ContinuousCDF, Normal};

    #[test]
    fn one_day_ahead_is_the_textbook_prediction_interval() {
        // Thirteen days, so one mean for all: mean ± t s √(1 + 1/n).
        let first = [19.8, 10.1, 14.9, 7.5, 15.4, 15.4, 15.4, 18.5, 7.9, 12.7, 11.9, 11.4, 11.4];
        let (n, mean) = (13.0, first.iter().sum::<f64>() / 13.0);
        let s = (first.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let found = forecast(&first, 1, 0.95).unwrap();
        let (low, high) = found.interval.unwrap();
        // t(0.025, 12) = 2.1788, from a printed table.
        assert!((found.expected - mean).abs() < 1e-12);
        assert!((high - (mean + 2.1788 * s * (1.0 + 1.0 / n).sqrt())).abs() < 1e-3);
        assert!((low - (mean - 2.1788 * s * (1.0 + 1.0 / n).sqrt())).abs() < 1e-3);
    }

    #[test]
    fn weekdays_repeat() {
        // Three weeks of 10 a weekday and none at weekends, ending on a Sunday: Monday to Friday come.
        let week = [10.0, 10.0, 10.0, 10.0, 10.0, 0.0, 0.0];
        let daily: Vec<f64> = week.iter().cycle().take(21).copied().collect();
        for (days, expected) in [(1, 10.0), (5, 50.0), (6, 50.0), (7, 50.0), (8, 60.0), (12, 100.0)] {
            let found = forecast(&daily, days, 0.9).unwrap();
            assert_eq!((found.expected, found.interval), (expected, Some((expected, expected))), "{days}");
        }
        // One day on, the same weeks end on a Monday.
        let shifted: Vec<f64> = week.iter().cycle().take(22).copied().collect();
        assert_eq!(forecast(&shifted, 5, 0.9).unwrap().expected, 40.0);
    }

    #[test]
    fn a_day_alone_has_no_interval_and_none_no_forecast() {
        assert!(forecast(&[], 3, 0.9).is_none());
        let found = forecast(&[4.0], 3, 0.9).unwrap();
        assert_eq!((found.expected, found.interval), (12.0, None));
        assert_eq!(forecast(&[4.0, 6.0], 0, 0.9).unwrap().interval, Some((0.0, 0.0)));
    }

    /// Uniform draws in (0, 1) by SplitMix64.
    fn draws() -> impl FnMut() -> f64 {
        let mut state = 7u64;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-17
        }
    }

    #[test]
    fn the_interval_holds_what_it_promises() {
        let mut draw = draws();
        let normal = Normal::standard();
        for (seen, left) in [(5, 3), (13, 10), (14, 1), (30, 12), (56, 20)] {
            let mut noise = |day: usize| {
                1000.0 + 100.0 * (day % 7) as f64 * f64::from(seen >= 14) + 30.0 * normal.inverse_cdf(draw())
            };
            let runs = 4000;
            let held = (0..runs).filter(|_| {
                let all: Vec<f64> = (0..seen + left).map(&mut noise).collect();
                let (low, high) = forecast(&all[..seen], left, 0.9).unwrap().interval.unwrap();
                let came: f64 = all[seen..].iter().sum();
                low <= came && came <= high
            });
            // Four standard errors of a share of 0.9 in 4000.
            let share = held.count() as f64 / f64::from(runs);
            assert!((share - 0.9).abs() < 0.019, "{seen} {left}: {share}");
        }
    }
}
