//! How many decisions a run has by decision and reason, and the sum of their values in the order in which they were made.

use super::counts::MOST;
use super::fault::Fault;
use super::rule::{Class, Decision};

pub struct Group {
    pub decision: Decision,
    /// Place among the reasons.
    pub reason: u32,
    pub n: i64,
    pub value: f64,
}

#[derive(Default)]
pub struct Tally(pub Vec<Group>);

impl Tally {
    pub fn push(&mut self, class: Class, value: f64) -> Result<(), Fault> {
        let of = |group: &&mut Group| group.reason == class.reason && group.decision == class.decision;
        if let Some(group) = self.0.iter_mut().find(of) {
            group.n += 1;
            group.value += value;
            return Ok(());
        }
        if self.0.len() == MOST {
            return Err(Fault::Reasons);
        }
        self.0.push(Group { decision: class.decision, reason: class.reason, n: 1, value });
        Ok(())
    }

    pub fn decisions(&self) -> i64 {
        self.0.iter().map(|group| group.n).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_apart_and_have_an_end() {
        let mut tally = Tally::default();
        let class = |decision, reason| Class { decision, reason, propensity: 0.5 };
        for (decision, reason, value) in
            [(Decision::Treat, 0, 1.0), (Decision::Hold, 0, 2.0), (Decision::Treat, 0, 0.5)]
        {
            assert_eq!(tally.push(class(decision, reason), value), Ok(()));
        }
        let told: Vec<_> = tally.0.iter().map(|group| (group.decision, group.n, group.value)).collect();
        assert_eq!(told, [(Decision::Treat, 2, 1.5), (Decision::Hold, 1, 2.0)]);
        assert_eq!(tally.decisions(), 3);
        assert!((1..63).all(|reason| tally.push(class(Decision::Hold, reason), 0.0).is_ok()));
        assert_eq!(tally.push(class(Decision::Hold, 63), 0.0), Err(Fault::Reasons));
    }
}
