//! The two as SQL functions.

use super::{schedule, shipped};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// The columns that the statements of a file of `tables/` make.
#[pg_extern(sql = false)]
fn read_columns(
    statements: &str,
) -> TableIterator<
    '_,
    (name!(table_name, String), name!(column_name, String), name!(data_type, String), name!(not_null, bool)),
> {
    let columns = shipped::columns(statements).into_iter();
    TableIterator::new(columns.map(|c| (c.table.to_owned(), c.name.to_owned(), c.data_type.to_owned(), c.not_null)))
}

/// When a cron expression is due next; NULL if it is not valid or never due.
#[pg_extern(sql = false)]
fn next_run(schedule: &str, after: TimestampWithTimeZone) -> Option<TimestampWithTimeZone> {
    const POSTGRES_EPOCH: i64 = 946_684_800; // 2000-01-01 in seconds since 1970
    let seconds = i64::from(after).div_euclid(1_000_000) + POSTGRES_EPOCH;
    let next = schedule::next_run(schedule, seconds)?;
    TimestampWithTimeZone::try_from((next - POSTGRES_EPOCH) * 1_000_000).ok()
}
