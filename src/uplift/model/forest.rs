//! Trees as they are run: bit for bit what onnxruntime computes with one thread.

use super::arithmetic::{Post, finish, logistic};
use super::data::Data;
use super::site::Operator;
use super::{Fault, invalid};

/// What a node asks of its feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Test {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

impl Test {
    #[inline(always)]
    fn holds(self, x: f32, value: f32) -> bool {
        match self {
            Self::AtMost => x <= value,
            Self::Below => x < value,
            Self::AtLeast => x >= value,
            Self::Above => x > value,
            Self::Equal => x == value,
            Self::Unequal => x != value,
        }
    }
}

/// A leaf leads to itself, so that rows may walk on beside others that are not there yet.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// What a feature is compared with; of a leaf, where trees have one weight each, that weight.
    pub value: f32,
    /// The feature's number, and above it what else there is to know.
    pub feature: u32,
    /// Where to go if the test fails, and if it holds.
    pub next: [u32; 2],
}

pub const LEAF: u32 = 1 << 31;
/// Missing values go where the test holds.
pub const MISSING_HOLDS: u32 = 1 << 30;
/// The bits of a node's test, where tests differ.
const TEST: u32 = 27;
pub const FEATURE: u32 = (1 << TEST) - 1;

pub fn test_bits(test: Test) -> u32 {
    (test as u32) << TEST
}

fn test_of(feature: u32) -> Test {
    match (feature >> TEST) & 7 {
        0 => Test::AtMost,
        1 => Test::Below,
        2 => Test::AtLeast,
        3 => Test::Above,
        4 => Test::Equal,
        _ => Test::Unequal,
    }
}

/// What the leaves' sums become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Close {
    /// Each its own: values of a regressor, or scores of a classifier.
    Scores,
    /// One sum for two classes. `positive`: no weight is below zero, so that the sum is a chance.
    Two { positive: bool },
}

pub struct Forest {
    pub nodes: Vec<Node>,
    pub roots: Vec<u32>,
    /// Where leaves have several weights or several sums: of each node the range of its weights, and to which sum each goes.
    pub ranges: Vec<[u32; 2]>,
    pub weights: Vec<(u32, f32)>,
    pub columns: usize,
    /// Sums, and results.
    pub sums: usize,
    pub out: usize,
    pub average: bool,
    pub base: Vec<f32>,
    pub post: Post,
    pub close: Close,
    /// The test of all nodes, if they have the same; and whether any of them lets missing values hold.
    pub test: Option<Test>,
    pub missing: bool,
}

/// Rows that one tree is run over before the next: it stays in the processor's nearest memory.
const BLOCK: usize = 64;
/// Rows that walk down a tree side by side, so that the processor waits for all of them at once.
const LANES: usize = 8;

impl Operator for Forest {
    fn run<'a>(&self, inputs: &[&Data<'a>], rows: usize) -> Result<Data<'a>, Fault> {
        let [x] = inputs else { return invalid("one input is needed") };
        let x = x.floats()?;
        let mut sums = vec![0f32; rows * self.sums];
        for (x, sums) in x.chunks(BLOCK * self.columns).zip(sums.chunks_mut(BLOCK * self.sums)) {
            match (self.test, self.missing) {
                (Some(Test::AtMost), false) => self.block(x, sums, |node, x| x <= node.value),
                (Some(Test::AtMost), true) => self.block(x, sums, |node, x| x <= node.value || misses(node, x)),
                (Some(Test::Below), _) => self.block(x, sums, |node, x| x < node.value || misses(node, x)),
                _ => self.block(x, sums, |node, x| test_of(node.feature).holds(x, node.value) || misses(node, x)),
            }
        }
        let mut results = Vec::with_capacity(rows * self.out);
        sums.chunks_exact_mut(self.sums).for_each(|sums| self.close(sums, &mut results));
        Ok(Data::Floats(results))
    }
}

#[inline(always)]
fn misses(node: &Node, x: f32) -> bool {
    x.is_nan() && node.feature & MISSING_HOLDS != 0
}

impl Forest {
    #[inline(always)]
    fn block(&self, x: &[f32], sums: &mut [f32], holds: impl Fn(&Node, f32) -> bool + Copy) {
        for root in &self.roots {
            let lanes = x.chunks(LANES * self.columns).zip(sums.chunks_mut(LANES * self.sums));
            for (x, sums) in lanes {
                let mut at = [*root; LANES];
                // Lanes without a row walk with the last.
                let last = x.len() / self.columns - 1;
                let rows: [&[f32]; LANES] =
                    std::array::from_fn(|lane| &x[lane.min(last) * self.columns..][..self.columns]);
                loop {
                    let mut leaves = LEAF;
                    for (row, at) in rows.iter().zip(&mut at) {
                        let node = &self.nodes[*at as usize];
                        leaves &= node.feature;
                        *at = node.next[usize::from(holds(node, row[(node.feature & FEATURE) as usize]))];
                    }
                    if leaves & LEAF != 0 {
                        break;
                    }
                }
                for (at, sums) in at.iter().zip(sums.chunks_exact_mut(self.sums)) {
                    self.add(*at, sums);
                }
            }
        }
    }

    #[inline(always)]
    fn add(&self, leaf: u32, sums: &mut [f32]) {
        if self.ranges.is_empty() {
            sums[0] += self.nodes[leaf as usize].value;
            return;
        }
        let [start, end] = self.ranges[leaf as usize];
        for (sum, weight) in &self.weights[start as usize..end as usize] {
            sums[*sum as usize] += weight;
        }
    }

    fn close(&self, sums: &mut [f32], results: &mut Vec<f32>) {
        if self.average {
            let trees = self.roots.len() as f32;
            sums.iter_mut().for_each(|sum| *sum /= trees);
        }
        match self.close {
            Close::Scores => {
                sums.iter_mut().zip(&self.base).for_each(|(sum, base)| *sum += base);
                finish(self.post, sums);
                results.extend_from_slice(sums);
            }
            Close::Two { positive } => {
                // Of one sum onnxruntime takes no softmax.
                let sum = sums[0] + self.base.last().copied().unwrap_or(0.0);
                let both = match self.post {
                    Post::Logistic => [logistic(-sum), logistic(sum)],
                    _ if positive => [1.0 - sum, sum],
                    _ => [-sum, sum],
                };
                results.extend_from_slice(&both);
            }
        }
    }
}
