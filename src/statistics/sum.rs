//! Sums that keep what plain addition loses.

/// A sum after Neumaier (1974): the rounding error of each step is kept and added at the end. The
/// error is Knuth's, which needs no look at which of the two is larger.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    total: f64,
    lost: f64,
}

impl From<f64> for Sum {
    fn from(total: f64) -> Self {
        Self { total, lost: 0.0 }
    }
}

impl Sum {
    pub fn add(&mut self, x: f64) {
        let next = self.total + x;
        let added = next - self.total;
        self.lost += (self.total - (next - added)) + (x - added);
        self.total = next;
    }

    pub fn value(self) -> f64 {
        self.total + self.lost
    }

    /// In four parts, so that a step need not wait for the one before.
    pub fn of(mut values: impl Iterator<Item = f64>) -> f64 {
        let mut parts = [Self::default(); 4];
        'all: loop {
            for part in &mut parts {
                let Some(x) = values.next() else { break 'all };
                part.add(x);
            }
        }
        let mut sum = Self::default();
        for part in parts {
            sum.add(part.total);
            sum.add(part.lost);
        }
        sum.value()
    }
}

/// Of how many equal parts a sum would be that has these squares (Kish 1965); 0 of nothing.
pub fn effective_number(sum: f64, squares: f64) -> f64 {
    if squares > 0.0 { sum / squares * sum } else { 0.0 }
}

/// The mean of `n` values; None without any.
pub fn mean(values: impl Iterator<Item = f64>, n: usize) -> Option<f64> {
    (n > 0).then(|| Sum::of(values) / n as f64)
}

/// What of a value of this size may be rounding.
const ROUNDING: f64 = 1e-14;

/// A standard error from its square; None where that is no more than rounding leaves of values of this size: there is
/// uncertainty, but these rows do not show it.
pub fn standard_error(variance: f64, size: f64) -> Option<f64> {
    (variance > (ROUNDING * size).powi(2) && variance.is_finite()).then(|| variance.sqrt())
}

/// The greatest of some values, whatever their signs.
pub fn size(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |greatest, value| value.abs().max(greatest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!(Sum::of([1.0, 1e100, 1.0, -1e100].into_iter()), 2.0);
        assert_eq!(Sum::of((0..10).map(|_| 0.1)), 1.0);
        assert_eq!(mean([].into_iter(), 0), None);
    }

    #[test]
    fn rounding_is_no_spread() {
        assert_eq!(size(&[0.5, -3.0, 1.0]), 3.0);
        assert_eq!(standard_error(4.0, 1e3), Some(2.0));
        assert_eq!(
            (standard_error(1e-32, 1.0), standard_error(0.0, 0.0), standard_error(f64::NAN, 1.0)),
            (None, None, None)
        );
    }
}
