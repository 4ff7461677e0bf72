use pgrx::prelude::*;

/// A UUID of version 7 (RFC 9562): time-ordered, so that new keys fall at the end of an index.
#[pg_extern(sql = false)]
fn new_id() -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(*uuid::Uuid::now_v7().as_bytes())
}

/// The smallest version-7 UUID of a moment: the bound of a partition whose key is such an id.
#[pg_extern(sql = false)]
fn first_id_at(unix_milliseconds: i64) -> pgrx::Uuid {
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&unix_milliseconds.to_be_bytes()[2..]);
    pgrx::Uuid::from_bytes(bytes)
}

/// The moment of an id of version 7, in milliseconds since 1970.
#[pg_extern(sql = false)]
fn milliseconds_of(id: pgrx::Uuid) -> i64 {
    id.as_bytes()[..6].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}
