//! A block of decisions, as it is read: arrays of one length, and places in dictionaries, which may have come from anywhere.

/// A `uuid`, which compares as its bytes do.
pub type Id = [u8; 16];

/// What is wrong with a block.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Fault {
    /// Arrays that belong together are of different lengths.
    Lengths,
    /// A place outside its dictionary.
    Place,
    /// What is looked for does not come in order, each once.
    Order,
}

/// A place in a dictionary of `n`, which counts from 1, as it counts from 0.
#[inline]
pub fn place(stored: i16, n: usize) -> Result<usize, Fault> {
    match usize::try_from(stored) {
        Ok(place @ 1..) if place <= n => Ok(place - 1),
        _ => Err(Fault::Place),
    }
}

/// Whether all are `n`.
pub fn one_length(n: usize, lengths: &[usize]) -> Result<(), Fault> {
    if lengths.iter().all(|length| *length == n) { Ok(()) } else { Err(Fault::Lengths) }
}

/// Those of `wanted`, which come in order, that could be among properties from first to last.
pub fn within<'a>(first: &Id, last: &Id, wanted: &'a [Id]) -> &'a [Id] {
    let begin = wanted.partition_point(|id| id < first);
    let end = begin + wanted[begin..].partition_point(|id| id <= last);
    &wanted[begin..end]
}

/// Calls `found` with the place of each of `wanted` that is among the properties, and `hear` with each place of `wanted`. Both come in order.
pub fn find_all(
    properties: &[Id],
    wanted: &[Id],
    mut found: impl FnMut(usize),
    mut hear: impl FnMut(usize),
) -> Result<(), Fault> {
    let mut from = 0;
    let mut before = None;
    for (i, id) in wanted.iter().enumerate() {
        hear(i);
        if before >= Some(id) {
            return Err(Fault::Order);
        }
        before = Some(id);
        match properties[from..].binary_search(id) {
            Ok(at) => {
                found(from + at);
                from += at + 1;
            }
            Err(at) => from += at,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(bytes: &[u8]) -> Vec<Id> {
        bytes.iter().map(|byte| [*byte; 16]).collect()
    }

    #[test]
    fn places_count_from_one_and_end_with_the_dictionary() {
        assert_eq!([1, 2, 3].map(|stored| place(stored, 3)), [Ok(0), Ok(1), Ok(2)]);
        assert_eq!([0, -1, 4, i16::MIN, i16::MAX].map(|stored| place(stored, 3)), [Err(Fault::Place); 5]);
        assert_eq!(place(1, 0), Err(Fault::Place));
    }

    #[test]
    fn a_shorter_and_a_longer_array_are_told() {
        assert_eq!(one_length(2, &[2, 2]), Ok(()));
        assert_eq!(one_length(2, &[2, 1]), Err(Fault::Lengths));
        assert_eq!(one_length(2, &[3, 2]), Err(Fault::Lengths));
    }

    #[test]
    fn what_is_found_is_what_both_have() {
        let properties = ids(&[2, 4, 6, 8]);
        let found = |wanted: &[u8]| {
            let mut places = Vec::new();
            find_all(&properties, &ids(wanted), |at| places.push(at), |_| {}).map(|()| places)
        };
        assert_eq!(found(&[1, 2, 3, 6, 8, 9]), Ok(vec![0, 2, 3]));
        assert_eq!(found(&[]), Ok(vec![]));
        assert_eq!(found(&[9, 10]), Ok(vec![]));
        assert_eq!([found(&[4, 4]), found(&[4, 2])], [Err(Fault::Order), Err(Fault::Order)]);
    }

    #[test]
    fn only_what_lies_between_is_looked_for() {
        let wanted = ids(&[1, 2, 4, 8, 9]);
        assert_eq!(within(&[2; 16], &[8; 16], &wanted), ids(&[2, 4, 8]));
        assert_eq!(within(&[10; 16], &[12; 16], &wanted), ids(&[]));
        assert_eq!(within(&[5; 16], &[7; 16], &wanted), ids(&[]));
        // Out of order, something is returned, and not too much.
        assert!(within(&[2; 16], &[8; 16], &ids(&[9, 1, 4])).len() <= 3);
    }
}
