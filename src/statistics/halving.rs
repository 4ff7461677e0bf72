//! Searches by halving. Each ends: after as many steps as a number has digits.

/// A search in a range of whole numbers in which a condition changes once.
pub trait Halving {
    /// The last place of a condition that holds first and then no more.
    fn last_where(self, holds: impl Fn(u64) -> bool) -> Option<u64>;
    /// The first place of a condition that holds from somewhere on.
    fn first_where(self, holds: impl Fn(u64) -> bool) -> Option<u64>;
}

impl Halving for std::ops::Range<u64> {
    fn last_where(self, holds: impl Fn(u64) -> bool) -> Option<u64> {
        let start = self.start;
        let end = self.clone().first_where(|k| !holds(k)).unwrap_or(self.end);
        (end > start).then(|| end - 1)
    }

    fn first_where(mut self, holds: impl Fn(u64) -> bool) -> Option<u64> {
        let end = self.end;
        while self.start < self.end {
            let middle = self.start + (self.end - self.start) / 2;
            if holds(middle) {
                self.end = middle;
            } else {
                self.start = middle + 1;
            }
        }
        (self.start < end).then_some(self.start)
    }
}

/// So many halvings bring any two numbers between -1 and 1 together, to the last digits of one that is not below 1e-20.
const STEPS: u32 = 120;

/// The two sides of the edge of a condition that holds at `within` and not at `without`, as near as numbers can be.
pub fn edge(mut within: f64, mut without: f64, holds: impl Fn(f64) -> bool) -> (f64, f64) {
    for _ in 0..STEPS {
        let middle = f64::midpoint(within, without);
        if middle == within || middle == without {
            break;
        }
        if holds(middle) {
            within = middle;
        } else {
            without = middle;
        }
    }
    (within, without)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_found() {
        assert_eq!((0..10).first_where(|k| k >= 7), Some(7));
        assert_eq!((0..10).last_where(|k| k < 7), Some(6));
        assert_eq!(((0..10).first_where(|_| false), (3..10).last_where(|_| false)), (None, None));
        assert_eq!((0..u64::MAX).first_where(|k| k > 1 << 60), Some((1 << 60) + 1));
        let (within, without) = edge(0.0, 1.0, |x| x <= 1e-15);
        assert!(within <= 1e-15 && without > 1e-15 && without - within < 1e-30);
        assert!(edge(0.5, f64::NAN, |_| true).0.is_nan());
    }
}
