//! Whether two samples have one mean.

use crate::statistics::student::degrees_of_sum;

/// The first two moments of some scores.
#[derive(Clone, Copy)]
pub struct Moments {
    pub n: usize,
    pub mean: f64,
    /// The sum of squares around the mean.
    pub squares: f64,
}

impl Moments {
    /// The sample's variance (n - 1); None below two scores.
    pub fn variance(self) -> Option<f64> {
        (self.n > 1).then(|| self.squares / (self.n as f64 - 1.0))
    }

    pub fn sd(self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The standard deviation of these scores taken as all there are (n).
    pub fn population_sd(self) -> f64 {
        (self.squares / self.n as f64).sqrt()
    }
}

/// How many independent scores the samples are worth.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub n: f64,
    pub m: f64,
}

impl Sizes {
    /// The variance of a difference of means, in variances of a score.
    pub fn of_difference(self) -> f64 {
        1.0 / self.n + 1.0 / self.m
    }
}

/// Welch's t with Satterthwaite's degrees of freedom.
pub fn welch(current: Moments, reference: Moments, sizes: Sizes) -> Option<(f64, f64)> {
    let Sizes { n, m } = sizes;
    let shift = current.mean - reference.mean;
    let (a, b) = (current.variance()? / n, reference.variance()? / m);
    let df = degrees_of_sum([(a, n - 1.0), (b, m - 1.0)]);
    (a + b > 0.0 && n > 1.0 && m > 1.0).then(|| (shift / (a + b).sqrt(), df))
}

/// Student's t with the variance of both samples together.
pub fn pooled(current: Moments, reference: Moments, sizes: Sizes) -> Option<(f64, f64)> {
    let shift = current.mean - reference.mean;
    let cases = (current.n + reference.n) as f64;
    let squares = current.squares + reference.squares;
    let df = sizes.n + sizes.m - 2.0;
    (squares > 0.0 && cases > 2.0 && df > 0.0)
        .then(|| (shift / (squares / (cases - 2.0) * sizes.of_difference()).sqrt(), df))
}
