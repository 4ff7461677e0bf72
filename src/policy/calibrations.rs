//! Measured effects in place of scores: what `uplift_calibrations` held of some models when a run was made.

use crate::uplift::calibrated::Map;
use sha2::{Digest, Sha256};
use std::cell::RefCell;

/// Of a few models; scores of the others stand for themselves.
#[derive(Clone, Debug, Default)]
pub struct Calibrations {
    /// By the key of the model's name.
    maps: Vec<(f64, Map)>,
    /// For each model by its place, where its map is.
    by_model: RefCell<Vec<Option<usize>>>,
}

/// The first six bytes of the name's digest, as a whole number that a double holds exactly.
fn key(name: &[u8]) -> f64 {
    Sha256::digest(name).iter().take(6).fold(0.0, |number, byte| number * 256.0 + f64::from(*byte))
}

impl Calibrations {
    /// From numbers, for each model its key, how many points, and their scores, effects and deviations. None if they are
    /// something else.
    pub fn read(mut numbers: &[Option<f64>]) -> Option<Self> {
        let mut maps = Vec::new();
        while let [key, points, rest @ ..] = numbers {
            let (key, points) = ((*key)?, (*points)? as usize);
            let all: Option<Vec<f64>> = rest.get(..points.checked_mul(3)?)?.iter().copied().collect();
            let (scores, others) = all.as_deref()?.split_at(points);
            let (effects, sds) = others.split_at(points);
            let points = scores.iter().zip(effects.iter().zip(sds)).map(|(score, (effect, sd))| (*score, *effect, *sd));
            numbers = &rest[3 * scores.len()..];
            maps.push((key, Map::new(points.collect())?));
        }
        numbers.is_empty().then(|| Self { maps, by_model: RefCell::default() })
    }

    /// Tells of a model by its place. Places are told in ascending order, one more than once.
    pub fn note(&self, place: u32, name: &[u8]) {
        let mut by_model = self.by_model.borrow_mut();
        if !self.maps.is_empty() && by_model.len() == place as usize {
            let key = key(name);
            by_model.push(self.maps.iter().position(|map| map.0 == key));
        }
    }

    /// What a score of a model stands for, and its deviation.
    pub fn at(&self, model: u32, score: f64, sd: f64) -> (f64, f64) {
        match self.by_model.borrow().get(model as usize) {
            Some(Some(map)) => self.maps[*map].1.at(score),
            _ => (score, sd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_calibrated_model_stand_for_their_effects() {
        // sha256('v1') begins with 3bfc269594ef.
        let key = f64::from(0x3bfc_2695_u32) * 65536.0 + f64::from(0x94ef_u32);
        let numbers = [key, 2.0, 0.0, 0.2, 0.05, 0.1, 0.01, 0.02].map(Some);
        let calibrations = Calibrations::read(&numbers).unwrap();
        for (place, name) in [(0, "v0"), (0, "v0"), (1, "v1"), (2, "v2")] {
            calibrations.note(place, name.as_bytes());
        }
        assert_eq!(calibrations.at(0, 0.1, 0.3), (0.1, 0.3));
        assert_eq!(calibrations.at(1, -0.5, 0.3), (0.05, 0.01));
        assert_eq!(calibrations.at(1, 0.9, 0.3), (0.1, 0.02));
        assert_eq!(Calibrations::default().at(1, 0.9, 0.3), (0.9, 0.3));
        for none in [&numbers[..7], &numbers[..1], &[Some(key), None], &[Some(key), Some(1e300)]] {
            assert!(Calibrations::read(none).is_none());
        }
    }
}
