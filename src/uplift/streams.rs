//! Changes in a stream of numbers, found as they come: ADWIN and Page-Hinkley.

/// How a stream is watched, and what is remembered of it. A few hundred numbers at most, whatever has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Detector {
    Adwin(Adwin),
    PageHinkley(PageHinkley),
}

impl Detector {
    /// Takes the next value in; true if it shows that the mean changed.
    pub fn push(&mut self, value: f64) -> bool {
        match self {
            Self::Adwin(adwin) => adwin.push(value),
            Self::PageHinkley(page_hinkley) => page_hinkley.push(value),
        }
    }

    /// The mean since the last change, None without a value.
    pub fn mean(&self) -> Option<f64> {
        match self {
            Self::Adwin(adwin) => (adwin.width > 0.0).then(|| adwin.total / adwin.width),
            Self::PageHinkley(p) => (p.n > 0.0).then_some(p.mean),
        }
    }
}

/// Buckets of each size that are kept; one more, and the two oldest become one of twice the size.
pub const BUCKETS: usize = 5;
/// Looks for a cut after so many values.
const CLOCK: f64 = 32.0;
/// No look before so many.
const GRACE: f64 = 10.0;
/// The shortest part that a cut may leave.
const SHORTEST: f64 = 5.0;

/// Adaptive windowing (Bifet and Gavaldà 2007): a window of the latest values, from which the older part is dropped
/// when the means of two parts differ by more than chance allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Adwin {
    pub delta: f64,
    pub ticks: f64,
    pub width: f64,
    pub total: f64,
    pub squares: f64,
    /// Row i holds buckets of 2^i values, the oldest first: their sum, and their squares around their mean.
    pub rows: Vec<Vec<(f64, f64)>>,
}

impl Adwin {
    pub fn new(delta: f64) -> Self {
        Self { delta, ticks: 0.0, width: 0.0, total: 0.0, squares: 0.0, rows: Vec::new() }
    }

    fn push(&mut self, value: f64) -> bool {
        self.ticks += 1.0;
        if self.width > 0.0 {
            self.squares += between(self.width, self.total / self.width, 1.0, value);
        }
        self.width += 1.0;
        self.total += value;
        self.insert(0, (value, 0.0));
        if self.ticks % CLOCK != 0.0 || self.width <= GRACE {
            return false;
        }
        let mut changed = false;
        while self.finds_cut() {
            changed = true;
            self.drop_oldest();
        }
        changed
    }

    fn insert(&mut self, level: usize, bucket: (f64, f64)) {
        if self.rows.len() == level {
            self.rows.push(Vec::with_capacity(BUCKETS + 1));
        }
        let Some(row) = self.rows.get_mut(level) else { return };
        row.push(bucket);
        if row.len() > BUCKETS {
            let ((u1, s1), (u2, s2)) = (row.remove(0), row.remove(0));
            let n = size(level);
            self.insert(level + 1, (u1 + u2, s1 + s2 + between(n, u1 / n, n, u2 / n)));
        }
    }

    /// Whether some cut, looked for from the oldest value on, parts the window into two means.
    fn finds_cut(&self) -> bool {
        let (mut n0, mut u0) = (0.0, 0.0);
        for (level, row) in self.rows.iter().enumerate().rev() {
            for (total, _) in row {
                n0 += size(level);
                u0 += total;
                let (n1, u1) = (self.width - n0, self.total - u0);
                if n1 > 0.0 && n0 >= SHORTEST && n1 >= SHORTEST && self.differ(n0, n1, u0 / n0 - u1 / n1) {
                    return true;
                }
            }
        }
        false
    }

    fn differ(&self, n0: f64, n1: f64, shift: f64) -> bool {
        let spent = (2.0 * self.width.ln() / self.delta).ln();
        let reciprocal = 1.0 / (n0 - SHORTEST + 1.0) + 1.0 / (n1 - SHORTEST + 1.0);
        let variance = (self.squares / self.width).max(0.0);
        shift.abs() > (2.0 * reciprocal * variance * spent).sqrt() + 2.0 / 3.0 * spent * reciprocal
    }

    fn drop_oldest(&mut self) {
        let Some(level) = self.rows.iter().rposition(|row| !row.is_empty()) else { return };
        let (n, (total, squares)) = (size(level), self.rows[level].remove(0));
        self.width -= n;
        self.total -= total;
        if self.width > 0.0 {
            self.squares -= squares + between(n, total / n, self.width, self.total / self.width);
        }
        while self.rows.last().is_some_and(Vec::is_empty) {
            self.rows.pop();
        }
    }
}

/// The values in a bucket.
pub fn size(level: usize) -> f64 {
    2f64.powi(level as i32)
}

/// What two groups of values add to their squares by having two means.
fn between(n: f64, mean: f64, m: f64, other: f64) -> f64 {
    n * m * (mean - other).powi(2) / (n + m)
}

/// Page's cumulative sum in both directions (1954), fading, against the mean so far (Hinkley 1971). Starts anew after
/// a change.
#[derive(Clone, Debug, PartialEq)]
pub struct PageHinkley {
    pub delta: f64,
    pub threshold: f64,
    pub n: f64,
    pub mean: f64,
    pub rise: f64,
    pub fall: f64,
    pub least_rise: f64,
    pub greatest_fall: f64,
    pub changed: bool,
}

/// How much of the sums is kept from one value to the next.
const FADING: f64 = 0.9999;
/// No change before so many values.
const FEWEST: f64 = 30.0;

impl PageHinkley {
    pub fn new(delta: f64, threshold: f64) -> Self {
        Self {
            delta,
            threshold,
            n: 0.0,
            mean: 0.0,
            rise: 0.0,
            fall: 0.0,
            least_rise: f64::MAX,
            greatest_fall: -1.0,
            changed: false,
        }
    }

    fn push(&mut self, value: f64) -> bool {
        if self.changed {
            *self = Self::new(self.delta, self.threshold);
        }
        self.n += 1.0;
        self.mean += (value - self.mean) / self.n;
        let distance = value - self.mean;
        self.rise = FADING * self.rise + distance - self.delta;
        self.fall = FADING * self.fall + distance + self.delta;
        self.least_rise = self.least_rise.min(self.rise);
        self.greatest_fall = self.greatest_fall.max(self.fall);
        let furthest = (self.rise - self.least_rise).max(self.greatest_fall - self.fall);
        self.changed = self.n >= FEWEST && furthest > self.threshold;
        self.changed
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::statistics::draws::Draws;

    /// 3,000 outcomes at a rate of 0.1, 3,000 at 0.2, 2,000 at 0.05.
    pub fn outcomes() -> Vec<f64> {
        let mut draws = Draws::new(77);
        let rates = [(3000, 0.1), (3000, 0.2), (2000, 0.05)];
        rates.iter().flat_map(|(n, rate)| vec![*rate; *n]).map(|rate| f64::from(draws.next() < rate)).collect()
    }

    fn changes(detector: &mut Detector, values: &[f64]) -> Vec<usize> {
        values.iter().enumerate().filter_map(|(i, value)| detector.push(*value).then_some(i)).collect()
    }

    /// river 0.26.1, the window below its `drift.ADWIN` (which itself forgets the window at a change).
    #[test]
    fn adwin_is_that_of_river() {
        let mut detector = Detector::Adwin(Adwin::new(0.002));
        let found = changes(&mut detector, &outcomes());
        assert_eq!(found, [3231, 3263, 3391, 3455, 3615, 6271, 6367, 6431, 7583]);
        let Detector::Adwin(adwin) = detector else { panic!() };
        assert_eq!((adwin.width, adwin.total), (1984.0, 106.0));
        assert!((adwin.squares / adwin.width - 100.33669354838605 / 1984.0).abs() < 1e-9, "{}", adwin.squares);
        assert!(adwin.rows.len() < 12 && adwin.rows.iter().all(|row| row.len() <= BUCKETS));
    }

    /// river 0.26.1, `drift.PageHinkley`.
    #[test]
    fn page_hinkley_is_that_of_river() {
        for (delta, threshold, expected) in [
            (0.005, 50.0, &[3437, 6188][..]),
            (0.005, 20.0, &[3097, 3746, 5850, 6251]),
            (0.02, 10.0, &[3047, 3743, 4704, 5013, 5120, 5351, 6120]),
        ] {
            let mut detector = Detector::PageHinkley(PageHinkley::new(delta, threshold));
            assert_eq!(changes(&mut detector, &outcomes()), expected);
        }
    }

    #[test]
    fn a_constant_never_changes() {
        for mut detector in [Detector::Adwin(Adwin::new(0.002)), Detector::PageHinkley(PageHinkley::new(0.005, 50.0))] {
            assert_eq!(detector.mean(), None);
            assert!(changes(&mut detector, &[0.3; 5000]).is_empty());
            assert!((detector.mean().unwrap() - 0.3).abs() < 1e-9);
        }
    }
}
