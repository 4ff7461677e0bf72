//! The two as SQL functions.

use super::{schedule, shipped};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// The columns of the tables as shipped.
#[pg_extern(sql = false)]
fn shipped_columns() -> TableIterator<
    'static,
    (
        name!(table_name, &'static str),
        name!(column_name, &'static str),
        name!(data_type, &'static str),
        name!(not_null, bool),
    ),
> {
    let columns = crate::install::SCRIPTS.iter().flat_map(|script| shipped::columns(script));
    TableIterator::new(columns.map(|c| (c.table, c.name, c.data_type, c.not_null)))
}

/// When a cron expression is due next; NULL if it is not valid or never due.
#[pg_extern(sql = false)]
fn next_run(schedule: &str, after: TimestampWithTimeZone) -> Option<TimestampWithTimeZone> {
    const POSTGRES_EPOCH: i64 = 946_684_800; // 2000-01-01 in seconds since 1970
    let seconds = i64::from(after).div_euclid(1_000_000) + POSTGRES_EPOCH;
    let next = schedule::next_run(schedule, seconds)?;
    TimestampWithTimeZone::try_from((next - POSTGRES_EPOCH) * 1_000_000).ok()
}
