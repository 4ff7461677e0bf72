//! Moments of an arm's measure and of a covariate, and what two arms say of each other: Welch's test and CUPED.

use crate::statistics::student;

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
        // By the share of each, or the squares of very large and very small measures leave the range.
        let share = v1 / (v1 + v0);
        let df = 1.0 / (share * share / (parts[0].1 - 1.0) + (1.0 - share).powi(2) / (parts[1].1 - 1.0));
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

/// CUPED (Deng et al. 2013): the slope of y on x over both arms together, and the difference of the means of
/// y - slope * x. Its expectation is the same, since x was there before the arms were drawn.
pub fn cuped(treated: &Moments, control: &Moments) -> Option<(f64, Difference)> {
    let both = treated.merge(*control);
    let slope = if both.m2_x > 0.0 { both.c_xy / both.m2_x } else { 0.0 };
    let part = |arm: &Moments| {
        let explained = slope * arm.variance_x()?.sqrt();
        let left = arm.variance_y()? - 2.0 * slope * arm.covariance()? + explained * explained;
        // Where the covariate tells the measure, what is left is rounding.
        let rounding = 1e-13 * (arm.variance_y()? + explained * explained);
        Some((if left > rounding { left } else { 0.0 }, arm.n))
    };
    let parts = [part(treated)?, part(control)?];
    let estimate = treated.mean_y - control.mean_y - slope * (treated.mean_x - control.mean_x);
    Some((slope, Difference::welch(estimate, parts)?))
}
