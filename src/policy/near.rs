//! Who lives within a distance of somebody who was treated: points in space, by the cells of a grid, so that there is neither
//! a pole nor a date line. Whoever is within reach lies in the same cell or in one of the 26 about it.

use super::candidate::Id;
use super::ids::Ids;
use crate::memory::fallibly;
use std::collections::TryReserveError;

/// Within a straight distance of whom was treated after a moment.
pub struct Reach {
    pub since: i64,
    pub chord: f64,
}

pub type Point = [f64; 3];

/// 32 bytes for each property asked about and for each that was treated, beside their ids.
pub struct Near {
    keys: [u64; 2],
    reaches: Vec<Reach>,
    asked: Ids,
    treated: Ids,
    /// When each was treated.
    treated_at: Vec<i64>,
    /// Places among those asked about and treated, and where these live.
    points: [Vec<(u32, Point)>; 2],
}

const NONE: u32 = u32::MAX;

/// The cell of a point, or one beside it. Cells that are given one id by mistake are told apart by distance.
fn cell(point: &Point, chord: f64, step: [i64; 3]) -> Id {
    let [i, j, k] =
        [0, 1, 2].map(|axis| ((point[axis] / chord).floor() as i64).wrapping_add(step[axis]) as u128 & ((1 << 42) - 1));
    (i << 84 | j << 42 | k).to_be_bytes()
}

impl Near {
    /// `treated` was treated at `treated_at`, each once.
    pub fn of(
        asked: &[Id],
        treated: &[Id],
        treated_at: &[i64],
        reaches: Vec<Reach>,
        keys: [u64; 2],
    ) -> Result<Self, TryReserveError> {
        let mut at = Vec::new();
        fallibly(|| at.try_reserve_exact(treated_at.len()))?;
        at.extend_from_slice(treated_at);
        let [asked, treated] = [Ids::of(asked, keys)?, Ids::of(treated, keys)?];
        Ok(Self { keys, reaches, asked, treated, treated_at: at, points: [Vec::new(), Vec::new()] })
    }

    /// Takes in where a property lives, each once.
    pub fn add(&mut self, property: &Id, point: Point) -> Result<(), TryReserveError> {
        for (ids, points) in [&self.asked, &self.treated].into_iter().zip(&mut self.points) {
            if let Some(place) = ids.place(property) {
                fallibly(|| points.try_reserve(1))?;
                points.push((place as u32, point));
            }
        }
        Ok(())
    }

    /// Tells of each property that is within a reach: its id and the place of the first such reach.
    pub fn each(&self, mut tell: impl FnMut(&Id, u32), mut breathe: impl FnMut()) -> Result<(), TryReserveError> {
        let mut found = Vec::new();
        fallibly(|| found.try_reserve_exact(self.points[0].len()))?;
        found.resize(self.points[0].len(), false);
        for (i, reach) in self.reaches.iter().enumerate() {
            let (cells, firsts, nexts) = self.grid(reach)?;
            for ((place, point), found) in self.points[0].iter().zip(&mut found) {
                breathe();
                let id = &self.asked.all()[*place as usize];
                if !*found && self.is_near(id, point, reach, &cells, &firsts, &nexts) {
                    *found = true;
                    tell(id, i as u32);
                }
            }
        }
        Ok(())
    }

    /// Cells in which somebody was treated since, the first in each, and after each the next.
    fn grid(&self, reach: &Reach) -> Result<(Ids, Vec<u32>, Vec<u32>), TryReserveError> {
        let treated = &self.points[1];
        let mut cells = Ids::with_room(treated.len(), self.keys)?;
        let (mut firsts, mut nexts) = (Vec::new(), Vec::new());
        fallibly(|| {
            firsts.try_reserve_exact(treated.len())?;
            nexts.try_reserve_exact(treated.len())
        })?;
        for (i, (place, point)) in treated.iter().enumerate() {
            nexts.push(NONE);
            if self.treated_at[*place as usize] > reach.since {
                let cell = cells.insert(&cell(point, reach.chord, [0; 3]));
                if cell == firsts.len() {
                    firsts.push(NONE);
                }
                nexts[i] = std::mem::replace(&mut firsts[cell], i as u32);
            }
        }
        Ok((cells, firsts, nexts))
    }

    fn is_near(&self, id: &Id, point: &Point, reach: &Reach, cells: &Ids, firsts: &[u32], nexts: &[u32]) -> bool {
        (0..27).any(|step| {
            let step = [step / 9 - 1, step / 3 % 3 - 1, step % 3 - 1];
            let Some(cell) = cells.place(&cell(point, reach.chord, step)) else { return false };
            let mut next = firsts[cell];
            while next != NONE {
                let (place, other) = &self.points[1][next as usize];
                let squares = [0, 1, 2].map(|axis| (other[axis] - point[axis]) * (other[axis] - point[axis]));
                if squares.iter().sum::<f64>() <= reach.chord * reach.chord
                    && self.treated.all()[*place as usize] != *id
                {
                    return true;
                }
                next = nexts[next as usize];
            }
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Id, Near, Point, Reach};

    fn id(i: usize) -> Id {
        (i as u128).to_be_bytes()
    }

    fn near(points: &[Point], treated: &[(usize, i64)], reaches: Vec<Reach>) -> Vec<(usize, u32)> {
        let asked: Vec<Id> = (0..points.len()).map(id).collect();
        let of: Vec<Id> = treated.iter().map(|&(i, _)| id(i)).collect();
        let at: Vec<i64> = treated.iter().map(|&(_, at)| at).collect();
        let mut near = Near::of(&asked, &of, &at, reaches, [5, 11]).unwrap();
        for (i, point) in points.iter().enumerate() {
            near.add(&id(i), *point).unwrap();
        }
        let mut found = Vec::new();
        near.each(|id, reach| found.push((u128::from_be_bytes(*id) as usize, reach)), || ()).unwrap();
        found.sort_unstable();
        found
    }

    #[test]
    fn neighbours_are_those_that_every_pair_tells() {
        // Two hundred points about the origin, so that cells of either sign are met.
        let number = |i: usize| ((i * 7919 + 13) % 1000) as f64 / 50.0 - 10.0;
        let points: Vec<Point> = (0..200).map(|i| [number(3 * i), number(3 * i + 1), number(3 * i + 2)]).collect();
        let treated: Vec<(usize, i64)> = (0..200).step_by(9).map(|i| (i, i as i64)).collect();
        for chord in [0.5, 2.5, 40.0] {
            let mut expected = Vec::new();
            for (i, a) in points.iter().enumerate() {
                let reached = treated.iter().any(|&(j, at)| {
                    at > 50
                        && j != i
                        && (0..3).map(|axis| (a[axis] - points[j][axis]).powi(2)).sum::<f64>() <= chord * chord
                });
                if reached {
                    expected.push((i, 0));
                }
            }
            assert_eq!(near(&points, &treated, vec![Reach { since: 50, chord }]), expected, "{chord}");
        }
    }

    #[test]
    fn the_first_reach_is_told_and_nobody_is_near_himself() {
        let points = [[0.0; 3], [3.0, 0.0, 0.0], [9.0, 0.0, 0.0]];
        let reaches = || vec![Reach { since: 0, chord: 3.0 }, Reach { since: 0, chord: 10.0 }];
        assert_eq!(near(&points, &[(0, 1)], reaches()), [(1, 0), (2, 1)]);
        assert_eq!(near(&points, &[(0, 0)], reaches()), []);
    }
}
