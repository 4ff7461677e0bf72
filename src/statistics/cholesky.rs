//! Small symmetric systems: sums of outer products, Cholesky's factor of them, and what solves by it.
//!
//! Own code, since it is so little: the crates for it bring ten others, allocate where nobody can refuse, and their general
//! matrices give up what this form has, that adding a row's outer product is one run over memory.

use crate::memory::with_room;
use std::collections::TryReserveError;

/// A symmetric matrix as its lower triangle, row by row.
#[derive(Debug, PartialEq)]
pub struct Symmetric {
    size: usize,
    cells: Vec<f64>,
}

/// Where row `i` of a lower triangle begins.
fn start(i: usize) -> usize {
    i * (i + 1) / 2
}

impl Symmetric {
    pub fn zero(size: usize) -> Result<Self, TryReserveError> {
        let mut cells = with_room(start(size))?;
        cells.resize(start(size), 0.0);
        Ok(Self { size, cells })
    }

    /// From its lower triangle, row by row; None if that has another length.
    pub fn from_cells(size: usize, cells: Vec<f64>) -> Option<Self> {
        (cells.len() == start(size)).then_some(Self { size, cells })
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn cells(&self) -> &[f64] {
        &self.cells
    }

    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.cells[start(i.max(j)) + i.min(j)]
    }

    /// Adds weight * row row'.
    pub fn add_outer(&mut self, weight: f64, row: &[f64]) {
        let mut cells = self.cells.as_mut_slice();
        for (i, value) in row.iter().enumerate() {
            let (of_row, rest) = cells.split_at_mut(i + 1);
            cells = rest;
            let factor = weight * value;
            if factor != 0.0 {
                of_row.iter_mut().zip(row).for_each(|(cell, other)| *cell += factor * other);
            }
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.cells.iter_mut().zip(&other.cells).for_each(|(cell, other)| *cell += other);
    }

    pub fn add_to_diagonal(&mut self, i: usize, value: f64) {
        self.cells[start(i) + i] += value;
    }

    /// The rows and columns of these numbers, in ascending order.
    pub fn part(&self, places: &[usize]) -> Result<Self, TryReserveError> {
        let mut cells = with_room(start(places.len()))?;
        for (count, i) in places.iter().enumerate() {
            cells.extend(places[..=count].iter().map(|j| self.cells[start(*i) + j]));
        }
        Ok(Self { size: places.len(), cells })
    }

    /// x' M x.
    pub fn quadratic(&self, x: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (i, value) in x.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            let row = &self.cells[start(i)..=start(i) + i];
            let below: f64 = row[..i].iter().zip(x).map(|(cell, other)| cell * other).sum();
            sum += value * (2.0 * below + row[i] * value);
        }
        sum
    }

    /// The lower factor L, M = L L'; None unless the matrix is positive definite beyond what rounding makes of its diagonal.
    pub fn factor(&self) -> Result<Option<Factor>, TryReserveError> {
        const ROUNDING: f64 = 1e-13;
        let mut cells = with_room(self.cells.len())?;
        for i in 0..self.size {
            for j in 0..=i {
                let (a, b) = (start(i), start(j));
                let inner: f64 = (0..j).map(|k| cells[a + k] * cells[b + k]).sum::<f64>();
                let left = self.cells[a + j] - inner;
                if i > j {
                    cells.push(left / cells[b + j]);
                } else if left > ROUNDING * self.cells[a + i] && left.is_finite() {
                    cells.push(left.sqrt());
                } else {
                    return Ok(None);
                }
            }
        }
        Ok(Some(Factor { size: self.size, cells }))
    }
}

/// Cholesky's lower factor of a matrix.
pub struct Factor {
    size: usize,
    cells: Vec<f64>,
}

impl Factor {
    /// Puts M^-1 x in place of x.
    pub fn solve(&self, x: &mut [f64]) {
        for i in 0..self.size {
            let row = &self.cells[start(i)..=start(i) + i];
            let inner: f64 = row[..i].iter().zip(x.iter()).map(|(cell, other)| cell * other).sum();
            x[i] = (x[i] - inner) / row[i];
        }
        for i in (0..self.size).rev() {
            let inner: f64 = (i + 1..self.size).map(|k| self.cells[start(k) + i] * x[k]).sum();
            x[i] = (x[i] - inner) / self.cells[start(i) + i];
        }
    }

    /// M^-1 S M^-1.
    pub fn sandwich(&self, inner: &Symmetric) -> Result<Symmetric, TryReserveError> {
        let n = self.size;
        // Row by row M^-1 S; its transpose, S M^-1, solved again is the answer.
        let mut half = with_room(n * n)?;
        for i in 0..n {
            let from = half.len();
            half.extend((0..n).map(|j| inner.at(i, j)));
            self.solve(&mut half[from..]);
        }
        let mut result = Symmetric::zero(n)?;
        let mut column = with_room(n)?;
        for i in 0..n {
            column.clear();
            column.extend((0..n).map(|k| half[k * n + i]));
            self.solve(&mut column);
            result.cells[start(i)..=start(i) + i].copy_from_slice(&column[..=i]);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::assert_near;
    use crate::statistics::draws::Draws;

    fn random(size: usize, rows: usize) -> Symmetric {
        let mut draws = Draws::new(size as u64);
        let mut matrix = Symmetric::zero(size).unwrap();
        for _ in 0..rows {
            let row: Vec<f64> = (0..size).map(|_| draws.normal()).collect();
            matrix.add_outer(draws.next(), &row);
        }
        matrix
    }

    /// By hand: [[4, 2, 2], [2, 5, 3], [2, 3, 6]] has the factor [[2], [1, 2], [1, 1, 2]].
    #[test]
    fn a_factor_of_whole_numbers() {
        let matrix = Symmetric::from_cells(3, vec![4.0, 2.0, 5.0, 2.0, 3.0, 6.0]).unwrap();
        let factor = matrix.factor().unwrap().unwrap();
        assert_eq!(factor.cells, [2.0, 1.0, 2.0, 1.0, 1.0, 2.0]);
        let mut x = [8.0, 10.0, 11.0];
        factor.solve(&mut x);
        assert_eq!(x, [1.0, 1.0, 1.0]);
        assert_eq!((matrix.quadratic(&[1.0, -1.0, 2.0]), matrix.at(0, 2)), (25.0, 2.0));
        assert_eq!(matrix.part(&[0, 2]).unwrap().cells, [4.0, 2.0, 6.0]);
    }

    #[test]
    fn what_was_solved_multiplies_back() {
        for size in [1, 2, 7, 60] {
            let matrix = random(size, 3 * size);
            let factor = matrix.factor().unwrap().unwrap();
            let mut x: Vec<f64> = (0..size).map(|i| i as f64 - 3.0).collect();
            factor.solve(&mut x);
            for i in 0..size {
                let back: f64 = (0..size).map(|j| matrix.at(i, j) * x[j]).sum();
                assert!((back - (i as f64 - 3.0)).abs() < 1e-8 * size as f64, "{back} at {i} of {size}");
            }
            // M^-1 M M^-1 is M^-1.
            let inverse = factor.sandwich(&matrix).unwrap();
            for i in 0..size {
                let one: f64 = (0..size).map(|k| inverse.at(i, k) * matrix.at(k, i)).sum();
                assert_near(one, 1.0, 1e-8);
            }
        }
    }

    #[test]
    fn a_singular_matrix_has_no_factor() {
        assert!(random(5, 4).factor().unwrap().is_none());
        assert!(Symmetric::zero(2).unwrap().factor().unwrap().is_none());
        assert!(Symmetric::from_cells(1, vec![f64::NAN]).unwrap().factor().unwrap().is_none());
        assert!(Symmetric::zero(0).unwrap().factor().unwrap().is_some());
    }
}
