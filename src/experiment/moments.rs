//! Moments of an arm's measure and of a covariate, and what two arms say of each other: Welch's test and CUPED.

use crate::statistics::student;

/// Beyond it one more would not count.
pub const MOST_VALUES: f64 = (1u64 << 53) as f64;

/// Count, means and centred sums of a measure y and a covariate x. Welford's and Chan's updates: sums of squares would
/// cancel. The order of fields is that of the SQL array.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    pub n: f64,
    /// Values that were NaN or infinite, and left out.
    pub n_invalid: f64,
    pub mean_y: f64,
    pub m2_y: f64,
    pub mean_x: f64,
    pub m2_x: f64,
    pub c_xy: f64,
}

impl Moments {
    /// Whether values can have left these numbers: no more than can be counted, and none whose squares leave the range.
    pub fn is_sound(&self) -> bool {
        let Self { n, n_invalid, mean_y, m2_y, mean_x, m2_x, c_xy } = *self;
        [n, n_invalid].iter().all(|count| (0.0..=MOST_VALUES).contains(count) && count.fract() == 0.0)
            && [m2_y, m2_x].iter().all(|squares| *squares >= 0.0 && squares.is_finite())
            && [mean_y, mean_x, c_xy].iter().all(|v| v.is_finite())
    }

    pub fn push(&mut self, y: f64, x: f64) {
        if !(y.is_finite() && x.is_finite()) {
            self.n_invalid += 1.0;
            return;
        }
        self.n += 1.0;
        let (dy, dx) = (y - self.mean_y, x - self.mean_x);
        self.mean_y += dy / self.n;
        self.mean_x += dx / self.n;
        self.m2_y += dy * (y - self.mean_y);
        self.m2_x += dx * (x - self.mean_x);
        self.c_xy += dy * (x - self.mean_x);
    }

    pub fn merge(self, other: Self) -> Self {
        let n = self.n + other.n;
        let n_invalid = self.n_invalid + other.n_invalid;
        if self.n == 0.0 || other.n == 0.0 {
            let full = if self.n == 0.0 { other } else { self };
            return Self { n_invalid, ..full };
        }
        let (dy, dx) = (other.mean_y - self.mean_y, other.mean_x - self.mean_x);
        let (share, weight) = (other.n / n, self.n * other.n / n);
        Self {
            n,
            n_invalid,
            mean_y: self.mean_y + dy * share,
            m2_y: self.m2_y + other.m2_y + dy * dy * weight,
            mean_x: self.mean_x + dx * share,
            m2_x: self.m2_x + other.m2_x + dx * dx * weight,
            c_xy: self.c_xy + other.c_xy + dy * dx * weight,
        }
    }

    /// Of how many values that are equal and not zero it would be the sum that has such squares: (sum y)^2 / sum y^2
    /// (Kish 1965). Amounts that are rare, or of which a few are the most, count for few.
    pub fn effective_values(&self) -> f64 {
        let spread = (self.m2_y / self.n).sqrt() / self.mean_y.abs();
        if spread.is_nan() { 0.0 } else { self.n / (1.0 + spread * spread) }
    }

    /// Sample variance of the measure; None below two values.
    pub fn variance_y(&self) -> Option<f64> {
        (self.n >= 2.0).then(|| self.m2_y / (self.n - 1.0))
    }

    pub fn variance_x(&self) -> Option<f64> {
        (self.n >= 2.0).then(|| self.m2_x / (self.n - 1.0))
    }

    pub fn covariance(&self) -> Option<f64> {
        (self.n >= 2.0).then(|| self.c_xy / (self.n - 1.0))
    }
}

/// So many effective values bring a mean near enough to the normal distribution for looking at it often.
pub const ENOUGH_VALUES: f64 = 50.0;

/// Whether the always-valid sequence of a difference of means, which relies on the limit theorem, may be claimed. In
/// leads alone it may not: of five leads in a hundred with an amount, a control of a tenth has seen hardly one when the
/// sequence begins, and finds in up to 28 of a hundred programmes without effect that there is one.
pub fn allow_looks(treated: &Moments, control: &Moments) -> bool {
    [treated, control].iter().all(|arm| arm.effective_values() >= ENOUGH_VALUES)
}

/// A difference of means with its standard error and degrees of freedom.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    pub estimate: f64,
    pub se: f64,
    pub df: f64,
}

impl Difference {
    pub fn new(estimate: f64, se: f64, df: f64) -> Self {
        Self { estimate, se, df }
    }

    /// Welch's difference of means; None below two values in an arm or without any variation.
    fn welch(estimate: f64, parts: [(f64, f64); 2]) -> Option<Self> {
        let [v1, v0] = parts.map(|(variance, n)| variance / n);
        let df = student::degrees_of_sum([(v1, parts[0].1 - 1.0), (v0, parts[1].1 - 1.0)]);
        (v1 + v0 > 0.0 && df.is_finite()).then(|| Self::new(estimate, (v1 + v0).sqrt(), df))
    }

    pub fn p(&self) -> f64 {
        student::two_sided(self.estimate / self.se, self.df)
    }

    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let half = student::upper(alpha / 2.0, self.df) * self.se;
        (self.estimate - half, self.estimate + half)
    }
}

/// The plain difference of the means.
pub fn welch(treated: &Moments, control: &Moments) -> Option<Difference> {
    let parts = [(treated.variance_y()?, treated.n), (control.variance_y()?, control.n)];
    Difference::welch(treated.mean_y - control.mean_y, parts)
}

/// CUPED (Deng et al. 2013) with the slope within the arms, as the analysis of covariance has it: the difference of the
/// means of y - slope * x, with an error that knows that the slope is an estimate. A slope over both arms together would
/// take for the covariate's what the treatment did, wherever chance has made the arms' covariates differ.
pub fn cuped(treated: &Moments, control: &Moments) -> Option<(f64, Difference)> {
    let squares = treated.m2_x + control.m2_x;
    let slope = if squares > 0.0 { (treated.c_xy + control.c_xy) / squares } else { 0.0 };
    let left = |arm: &Moments| {
        let explained = slope * arm.variance_x()?.sqrt();
        let left = arm.variance_y()? - 2.0 * slope * arm.covariance()? + explained * explained;
        // Where the covariate tells the measure, what is left is rounding.
        let rounding = 1e-13 * (arm.variance_y()? + explained * explained);
        Some(if left > rounding { left } else { 0.0 })
    };
    let parts = [(left(treated)?, treated.n), (left(control)?, control.n)];
    let apart = treated.mean_x - control.mean_x;
    let plain = Difference::welch(treated.mean_y - control.mean_y - slope * apart, parts)?;
    if squares == 0.0 {
        return Some((0.0, plain));
    }
    let freedom = treated.n + control.n - 3.0;
    if freedom < 1.0 {
        return None;
    }
    let residual = (parts[0].0 * (treated.n - 1.0) + parts[1].0 * (control.n - 1.0)) / freedom;
    let of_slope = apart * (residual / squares).sqrt();
    let se = (plain.se * ((freedom + 1.0) / freedom).sqrt()).hypot(of_slope);
    Some((slope, Difference::new(plain.estimate, se, (plain.df - 1.0).max(1.0))))
}
