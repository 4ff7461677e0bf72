//! The server's time and Unix time: microseconds since 2000, and seconds since 1970.

/// Seconds from 1970 to 2000.
const EPOCH: i64 = 946_684_800;

pub fn to_unix(timestamp: i64) -> i64 {
    timestamp.div_euclid(1_000_000) + EPOCH
}

pub fn from_unix(seconds: i64) -> i64 {
    (seconds - EPOCH) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_count_the_same_moment() {
        assert_eq!((to_unix(0), from_unix(946_684_800)), (946_684_800, 0));
        assert_eq!((to_unix(-1), from_unix(0)), (946_684_799, -946_684_800_000_000));
    }
}
