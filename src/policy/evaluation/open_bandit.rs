//! The Open Bandit logs: the estimators on what a real recommender logged, against numbers of obp.
//!
//! `open_bandit.bin` is taken from the sample that the package obp carries of the Open Bandit Dataset (ZOZO, Inc.; Saito et
//! al. 2020, arXiv 2008.07146), campaign "all", under CC BY 4.0 (<https://creativecommons.org/licenses/by/4.0/>); only the
//! form was changed. First how often the policy BTS showed each of 80 items at each of 3 positions, as 240 numbers of two
//! bytes, the lowest first; then the 10,000 rounds of the uniformly random policy, two bytes each: the item, and the position
//! with, as bit 2, the click. No attribute of a user is in it.

use super::estimate::{Round, estimates};
use crate::statistics::assert_near;

const LOG: &[u8] = include_bytes!("open_bandit.bin");
const ITEMS: usize = 80;
const POSITIONS: usize = 3;

/// BTS as target, a model that knows the clicks of each position.
fn rounds() -> Vec<Round> {
    let (shown, rounds) = LOG.split_at(2 * ITEMS * POSITIONS);
    let shown: Vec<_> = shown.chunks(2).map(|b| f64::from(u16::from_le_bytes([b[0], b[1]]))).collect();
    let total = |position: usize| (0..ITEMS).map(|item| shown[item * POSITIONS + position]).sum::<f64>();
    let totals = [0, 1, 2].map(total);
    let rounds: Vec<_> =
        rounds.chunks(2).map(|b| (usize::from(b[0]), usize::from(b[1] & 3), f64::from(b[1] >> 2))).collect();
    let clicks = [0, 1, 2].map(|position| {
        let there: Vec<_> = rounds.iter().filter(|round| round.1 == position).map(|round| round.2).collect();
        there.iter().sum::<f64>() / there.len() as f64
    });
    let round = |&(item, position, outcome): &(usize, usize, f64)| {
        let chance = shown[item * POSITIONS + position] / totals[position];
        Round { weight: chance * ITEMS as f64, outcome, fitted: clicks[position], direct: clicks[position] }
    };
    rounds.iter().map(round).collect()
}

/// obp 0.5.10: InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting, DirectMethod, DoublyRobust; their
/// errors in numpy.
#[test]
fn the_estimators_are_obps() {
    let rounds = rounds();
    assert_eq!(rounds.len(), 10_000);
    let e = estimates(rounds.iter().copied());
    assert_near(e.ips.value, 0.005035366932711512, 1e-12);
    assert_near(e.ips.se.unwrap(), 0.001283078249589915, 1e-12);
    let snips = e.snips.unwrap();
    assert_near(snips.value, 0.005253072196421469, 1e-12);
    assert_near(snips.se.unwrap(), 0.0013363789698295101, 1e-12);
    assert_near(e.direct.value, 0.0038, 1e-12);
    assert_near(e.doubly_robust.value, 0.005190053163706038, 1e-12);
    assert_near(e.doubly_robust.se.unwrap(), 0.0012809285948503183, 1e-12);
    assert_near(e.effective, 2638.8734492267367, 1e-12);
    assert_near(e.largest_weight, 9.62315345191438, 1e-12);
    assert_near(e.mean_weight.value, 0.9585565825921327, 1e-12);
    assert_near(e.mean_weight.z(1.0).unwrap(), -0.04144341740786732 / 0.016010405442803844, 1e-9);
    // The interval that obp's users print: .00252058 to .00755015.
    let (low, high) = e.ips.interval().unwrap();
    assert_near(low, 0.005035366932711512 - 1.959963984540054 * 0.001283078249589915, 1e-9);
    assert_near(high, 0.00755015, 1e-6);
}
