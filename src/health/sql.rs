//! Health as SQL functions.

mod aggregates;
mod alerts;
mod reports;

pub use alerts::init;

use super::{blanks, schedule, shipped};
use crate::postgres::memory::need;
use crate::postgres::time;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// For functions of 0.1.0, which run in this library until `ALTER EXTENSION ... UPDATE`: the columns that the statements of a file of `tables/` make.
#[pg_extern(sql = false)]
fn read_columns(
    statements: &str,
) -> TableIterator<
    '_,
    (name!(table_name, String), name!(column_name, String), name!(data_type, String), name!(not_null, bool)),
> {
    // Each column takes three texts of its own.
    need(statements.len() * 10);
    let columns = shipped::columns(statements).into_iter();
    TableIterator::new(columns.map(|c| (c.table.to_owned(), c.name.to_owned(), c.data_type.to_owned(), c.not_null)))
}

/// When a cron expression is due next; NULL if it is not valid or never due.
#[pg_extern(sql = false)]
fn next_run(schedule: &str, after: TimestampWithTimeZone) -> Option<TimestampWithTimeZone> {
    let next = schedule::next_run(schedule, time::to_unix(i64::from(after)))?;
    TimestampWithTimeZone::try_from(time::from_unix(next)).ok()
}

/// More than this is asked for before it is taken.
const SMALL: usize = 1 << 16;

/// A text as it shows; NULL if it shows nothing.
#[pg_extern(sql = false)]
fn fold_blanks(value: &str) -> Option<String> {
    if value.len() > SMALL {
        need(value.len() * 2);
    }
    blanks::fold(value).map(Into::into)
}

#[pg_extern(sql = false)]
fn shows_nothing(value: &str) -> bool {
    blanks::shows_nothing(value)
}
