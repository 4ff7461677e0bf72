//! How a conversion's credit is shared along its path.

/// first, last, linear, time_decay, position, shapley.
pub const MODELS: usize = 6;
pub const NAMES: [&str; MODELS] = ["first", "last", "linear", "time_decay", "position", "shapley"];

/// What the first and the last touch of a path get by position, of one; those between share the rest.
const ENDS: f64 = 0.4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    pub channel: usize,
    pub at: i64,
}

/// Room for the work on one path.
#[derive(Default)]
pub struct Weights {
    /// The channels of the path, each once.
    distinct: Vec<usize>,
    seen: Vec<bool>,
}

impl Weights {
    /// The channels of the path that was shared last, each once.
    pub fn distinct(&self) -> &[usize] {
        &self.distinct
    }

    /// Tells each part of the credit: channel, model, share. The shares of a model add up to one. `half_life` in the unit of
    /// the touches' times.
    pub fn share(&mut self, path: &[Touch], half_life: f64, mut give: impl FnMut(usize, usize, f64)) {
        let (Some(first), Some(last)) = (path.first(), path.last()) else { return };
        give(first.channel, 0, 1.0);
        give(last.channel, 1, 1.0);
        let n = path.len() as f64;
        // Ages are measured from the last touch: a common factor leaves the shares as they are, and the newest never fades
        // to zero.
        let strength = |touch: &Touch| (-((last.at - touch.at) as f64) / half_life).exp2();
        let all: f64 = path.iter().map(strength).sum();
        for touch in path {
            give(touch.channel, 2, 1.0 / n);
            give(touch.channel, 3, strength(touch) / all);
        }
        match path {
            [only] => give(only.channel, 4, 1.0),
            [first, last] => {
                give(first.channel, 4, 0.5);
                give(last.channel, 4, 0.5);
            }
            [first, between @ .., last] => {
                give(first.channel, 4, ENDS);
                give(last.channel, 4, ENDS);
                for touch in between {
                    give(touch.channel, 4, (1.0 - 2.0 * ENDS) / (n - 2.0));
                }
            }
            [] => {}
        }
        // The Shapley value of "conversions of paths whose channels are all there" shares each equally among its channels.
        self.find_distinct(path);
        let each = 1.0 / self.distinct.len() as f64;
        for &channel in &self.distinct {
            give(channel, 5, each);
        }
    }

    fn find_distinct(&mut self, path: &[Touch]) {
        for &channel in &self.distinct {
            self.seen[channel] = false;
        }
        self.distinct.clear();
        for touch in path {
            if self.seen.len() <= touch.channel {
                self.seen.resize(touch.channel + 1, false);
            }
            if !std::mem::replace(&mut self.seen[touch.channel], true) {
                self.distinct.push(touch.channel);
            }
        }
    }
}
