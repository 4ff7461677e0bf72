//! The Markov chain of first order over channels, solved, not simulated.
//!
//! A journey begins at the start, goes from touch to touch and ends in a conversion or in nothing. How often each step was
//! taken makes its probability. The removal effect of a channel is by which share conversions fall if every step into it led to
//! nothing. With N = (I - Q)^-1, how often a state is visited, and b = N r, how likely it leads to a conversion, that is
//! (N_0x / N_xx) b_x / b_0: the chance of ever coming to x, times what is lost there, by all there is. Every path ended, so that
//! from every state there is a way out, and I - Q has an inverse.

use super::credit::Touch;

/// Counts of steps, a row for the start and one for each channel.
#[derive(Default)]
pub struct Chain {
    rows: Vec<Row>,
}

#[derive(Default, Clone)]
struct Row {
    to: Vec<f64>,
    converted: f64,
    ended: f64,
}

const START: usize = 0;

impl Chain {
    fn row(&mut self, state: usize) -> &mut Row {
        if self.rows.len() <= state {
            self.rows.resize(state + 1, Row::default());
        }
        &mut self.rows[state]
    }

    /// A path without a touch says nothing of channels.
    pub fn push(&mut self, path: &[Touch], converted: bool) {
        if path.is_empty() {
            return;
        }
        let mut from = START;
        for touch in path {
            let to = &mut self.row(from).to;
            if to.len() <= touch.channel {
                to.resize(touch.channel + 1, 0.0);
            }
            to[touch.channel] += 1.0;
            from = touch.channel + 1;
        }
        let row = self.row(from);
        *(if converted { &mut row.converted } else { &mut row.ended }) += 1.0;
    }

    /// Of each of so many channels.
    pub fn removal_effects(&self, channels: usize) -> Vec<f64> {
        let states = channels + 1;
        let none = Row::default();
        let row = |state: usize| self.rows.get(state).unwrap_or(&none);
        // Augmented with the unit matrix: I - Q on the left becomes N on the right.
        let mut left = vec![vec![0.0; states]; states];
        let mut chance = vec![0.0; states];
        for (state, (steps, chance)) in left.iter_mut().zip(&mut chance).enumerate() {
            let row = row(state);
            let total: f64 = row.to.iter().sum::<f64>() + row.converted + row.ended;
            steps[state] = 1.0;
            if total > 0.0 {
                for (channel, &taken) in row.to.iter().enumerate() {
                    steps[channel + 1] -= taken / total;
                }
                *chance = row.converted / total;
            }
        }
        let visits = inverse(left);
        let leads: Vec<f64> = visits.iter().map(|row| row.iter().zip(&chance).map(|(n, r)| n * r).sum()).collect();
        let effect = |x: usize| {
            let effect = visits[START][x] / visits[x][x] * leads[x] / leads[START];
            if effect.is_finite() { effect } else { 0.0 }
        };
        (1..states).map(effect).collect()
    }
}

/// The inverse of a matrix whose rows are dominated by their diagonal, so that no pivot vanishes.
fn inverse(mut left: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = left.len();
    let mut right = vec![vec![0.0; n]; n];
    for (i, row) in right.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    for pivot in 0..n {
        let scale = 1.0 / left[pivot][pivot];
        left[pivot].iter_mut().chain(&mut right[pivot]).for_each(|x| *x *= scale);
        let (top, side) = (left[pivot].clone(), right[pivot].clone());
        for other in (0..n).filter(|&other| other != pivot) {
            let factor = left[other][pivot];
            if factor != 0.0 {
                left[other].iter_mut().zip(&top).for_each(|(x, y)| *x -= factor * y);
                right[other].iter_mut().zip(&side).for_each(|(x, y)| *x -= factor * y);
            }
        }
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample of paths that ChannelAttribution 2.2.5 (Altomare, Loris; GPL-3) carries: 10,000 paths, 12 channels, 88,387
    /// journeys, of which 19,785 converted. `steps.csv` has only how often each step occurs in them (from the start and from
    /// each channel, to each channel, a conversion and nothing), and `sets.csv` how many conversions each set of channels has:
    /// counts, from which no path can be told.
    fn real() -> Chain {
        let row = |line: &str| {
            let counts: Vec<f64> = line.split(',').map(|count| count.parse().unwrap()).collect();
            Row { to: counts[..12].to_vec(), converted: counts[12], ended: counts[13] }
        };
        Chain { rows: include_str!("steps.csv").lines().map(row).collect() }
    }

    /// marketing-attribution-models 2.1.1 (removal_effect), and solving anew without each channel in numpy.
    #[test]
    fn the_removal_effects_of_real_paths() {
        let effects = real().removal_effects(12);
        let expected = [
            0.5583994895077468,
            0.26403853574123637,
            0.00048199575803842265,
            0.06263858227549068,
            0.34902633187114573,
            0.017879974419968803,
            0.4058350044719441,
            0.02866338665546564,
            0.13402212280970016,
            0.0001799458198938897,
            0.20601046277277002,
            0.03981051781738332,
        ];
        for (found, expected) in effects.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        let credit = 19_785.0 * effects[0] / effects.iter().sum::<f64>();
        assert!((credit - 5344.947682085165).abs() < 1e-6, "{credit}");
    }

    #[test]
    fn a_channel_that_nothing_leads_to_has_no_effect() {
        let touch = |channel| Touch { channel, at: 0 };
        let mut chain = Chain::default();
        chain.push(&[touch(0), touch(0), touch(2)], true);
        chain.push(&[touch(2)], false);
        chain.push(&[], true);
        let effects = chain.removal_effects(4);
        assert_eq!(effects[1], 0.0);
        assert_eq!(effects[3], 0.0);
        assert!((effects[2] - 1.0).abs() < 1e-12 && effects[0] > 0.0);
    }
}
