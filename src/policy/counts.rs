//! How many decisions there are by decision and reason, and the sum of their values.

/// There are some fifteen reasons; they are searched one by one.
pub const MOST: usize = 64;

/// The longest decision or reason, in bytes.
const LONGEST: usize = 1000;

pub struct Group {
    pub decision: Vec<u8>,
    pub reason: Vec<u8>,
    pub n: i64,
    pub value: f64,
}

#[derive(Default)]
pub struct Counts(pub Vec<Group>);

impl Counts {
    /// False if there are too many groups, or a name that is too long.
    pub fn push(&mut self, decision: &[u8], reason: &[u8], value: f64) -> bool {
        if decision.len().max(reason.len()) > LONGEST {
            return false;
        }
        let place = self.0.iter().position(|group| group.reason == reason && group.decision == decision);
        let place = place.unwrap_or(self.0.len());
        if place == MOST {
            return false;
        }
        if place == self.0.len() {
            self.0.push(Group { decision: decision.to_vec(), reason: reason.to_vec(), n: 0, value: 0.0 });
        }
        self.0[place].n += 1;
        self.0[place].value += value;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_apart_by_both_names() {
        let mut counts = Counts::default();
        for (decision, reason, value) in
            [("treat", "a", 1.0), ("hold", "a", 2.0), ("treat", "b", 3.0), ("treat", "a", 4.0)]
        {
            assert!(counts.push(decision.as_bytes(), reason.as_bytes(), value));
        }
        let found: Vec<_> = counts.0.iter().map(|group| (group.n, group.value)).collect();
        assert_eq!(found, [(2, 5.0), (1, 2.0), (1, 3.0)]);
    }

    #[test]
    fn there_is_an_end_to_names() {
        let mut counts = Counts::default();
        assert!(counts.push(b"treat", &[b'x'; LONGEST], 0.0) && !counts.push(b"treat", &[b'x'; LONGEST + 1], 0.0));
    }

    #[test]
    fn there_is_an_end_to_groups() {
        let mut counts = Counts::default();
        assert!((0..MOST as u8).all(|reason| counts.push(b"treat", &[reason], 0.0)));
        assert!(counts.push(b"treat", &[0], 0.0) && !counts.push(b"treat", &[MOST as u8], 0.0));
    }
}
