//! Health as SQL functions.

mod aggregates;
mod alerts;
mod reports;

pub use alerts::init;

use super::{schedule, shipped};
use crate::postgres::time;
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
    let next = schedule::next_run(schedule, time::to_unix(i64::from(after)))?;
    TimestampWithTimeZone::try_from(time::from_unix(next)).ok()
}
