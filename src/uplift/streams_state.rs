//! A watched stream as bytes, to be kept between two looks.

use super::sample::{LIMIT, is_usable};
use super::streams::{Adwin, BUCKETS, Detector, PageHinkley, size};
use crate::postgres::stored;
use std::collections::TryReserveError;
use zerocopy::little_endian::{F64, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A detector and how many elements it was shown, those included that were left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    pub shown: u64,
    pub detector: Detector,
}

const MAGIC: [u8; 4] = *b"SOw1";

/// What stands before the numbers of a state.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    shown: U64,
}

/// 2^50 values are more than ever come.
const LEVELS: usize = 50;
/// What the longest state holds: six numbers, and for each level how many buckets it has and two of each.
const MOST_NUMBERS: usize = 6 + LEVELS * (1 + 2 * BUCKETS);

impl Watch {
    /// Magic, the number shown, then numbers: which detector, its parameters, what it remembers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TryReserveError> {
        let mut numbers = Vec::new();
        match &self.detector {
            Detector::Adwin(a) => {
                numbers.extend([0.0, a.delta, a.ticks, a.width, a.total, a.squares]);
                for row in &a.rows {
                    numbers.push(row.len() as f64);
                    numbers.extend(row.iter().flat_map(|(total, squares)| [*total, *squares]));
                }
            }
            Detector::PageHinkley(p) => {
                let changed = f64::from(u8::from(p.changed));
                numbers.extend([1.0, p.delta, p.threshold, p.n, p.mean]);
                numbers.extend([p.rise, p.fall, p.least_rise, p.greatest_fall, changed]);
            }
        }
        let numbers: Vec<F64> = numbers.into_iter().map(F64::new).collect();
        stored::to_bytes(&Header { magic: MAGIC, shown: self.shown.into() }, &numbers)
    }

    /// None if no stream can have left these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, numbers) = stored::read::<Header, F64>(bytes)?;
        if header.magic != MAGIC || numbers.len() > MOST_NUMBERS {
            return None;
        }
        let numbers: Vec<f64> = numbers.iter().map(|number| number.get()).collect();
        if !numbers.iter().all(|number| number.is_finite()) {
            return None;
        }
        let detector = match *numbers.as_slice() {
            [0.0, delta, ticks, width, total, squares, ref rows @ ..] => {
                let adwin = Adwin { delta, ticks, width, total, squares, rows: read_rows(rows)? };
                let held: f64 = adwin.rows.iter().enumerate().map(|(level, row)| size(level) * row.len() as f64).sum();
                let sound = delta > 0.0 && delta < 1.0 && ticks >= width && held == width;
                sound.then_some(Detector::Adwin(adwin))?
            }
            [1.0, delta, threshold, n, mean, rise, fall, least_rise, greatest_fall, changed] => {
                let changed = changed == 1.0;
                (delta >= 0.0 && threshold > 0.0 && n >= 0.0).then_some(Detector::PageHinkley(PageHinkley {
                    delta,
                    threshold,
                    n,
                    mean,
                    rise,
                    fall,
                    least_rise,
                    greatest_fall,
                    changed,
                }))?
            }
            _ => return None,
        };
        Some(Self { shown: header.shown.get(), detector })
    }

    /// The next elements: where the mean changed, counted from the first element ever, and the means before and after.
    pub fn take(&mut self, stream: impl Iterator<Item = Option<f64>>) -> Vec<(i64, Option<f64>, Option<f64>)> {
        let mut changes = Vec::new();
        for value in stream {
            self.shown += 1;
            let Some(value) = value.filter(|value| is_usable(*value)) else { continue };
            let before = self.detector.mean();
            if self.detector.push(value) {
                // What Page-Hinkley holds at a change is what was before; it starts anew with the next value.
                let after = if let Detector::Adwin(_) = self.detector { self.detector.mean() } else { None };
                changes.push((self.shown as i64, before, after));
            }
        }
        changes
    }
}

fn read_rows(mut numbers: &[f64]) -> Option<Vec<Vec<(f64, f64)>>> {
    let mut rows = Vec::new();
    while let Some((length, rest)) = numbers.split_first() {
        let length = *length as usize;
        if length > BUCKETS || rows.len() == LEVELS {
            return None;
        }
        let (row, rest) = rest.split_at_checked(2 * length)?;
        rows.push(row.as_chunks::<2>().0.iter().map(|[total, squares]| (*total, *squares)).collect());
        numbers = rest;
    }
    Some(rows)
}

impl Watch {
    /// A new watch; else what is wrong, and a hint.
    pub fn new(method: &str, delta: Option<f64>, threshold: Option<f64>) -> Result<Self, (&'static str, &'static str)> {
        let detector = match method {
            "adwin" => {
                let delta = delta.unwrap_or(0.002);
                if !(delta > 0.0 && delta < 1.0) || threshold.is_some() {
                    return Err((
                        "adwin takes a delta inside 0 to 1 and no threshold",
                        "The default is 0.002: rarely a false change.",
                    ));
                }
                Detector::Adwin(Adwin::new(delta))
            }
            "page_hinkley" => {
                let (delta, threshold) = (delta.unwrap_or(0.005), threshold.unwrap_or(50.0));
                if !((0.0..LIMIT).contains(&delta) && threshold > 0.0 && threshold < LIMIT) {
                    return Err((
                        "page_hinkley takes a delta of at least 0 and a threshold above 0",
                        "The defaults are 0.005 and 50, in units of the values.",
                    ));
                }
                Detector::PageHinkley(PageHinkley::new(delta, threshold))
            }
            _ => {
                return Err((
                    "method is neither adwin nor page_hinkley",
                    "SELECT * FROM stormops.drift_points(stream, 'adwin');",
                ));
            }
        };
        Ok(Self { shown: 0, detector })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::streams::tests::outcomes;

    fn watch(method: &str) -> Watch {
        Watch::new(method, None, None).unwrap()
    }

    #[test]
    fn a_state_goes_on_where_it_was() {
        for method in ["adwin", "page_hinkley"] {
            let (mut whole, mut stored) = (watch(method), watch(method));
            assert_eq!(Watch::from_bytes(&stored.to_bytes().unwrap()), Some(stored.clone()));
            for value in outcomes() {
                assert_eq!(whole.detector.push(value), stored.detector.push(value));
                stored = Watch::from_bytes(&stored.to_bytes().unwrap()).unwrap();
            }
            assert_eq!(whole.detector, stored.detector);
            let bytes = stored.to_bytes().unwrap();
            assert!(bytes.len() < 1200, "{}", bytes.len());
            for wrong in [&bytes[1..], &bytes[..bytes.len() - 8], &bytes[..bytes.len() - 1], &[], b"SOw1"] {
                assert_eq!(Watch::from_bytes(wrong), None);
            }
            let mut nan = bytes.clone();
            nan[28..36].copy_from_slice(&f64::NAN.to_le_bytes());
            assert_eq!(Watch::from_bytes(&nan), None);
        }
    }
}
