//! What SQL asks of streams. The declarations stand in `sql/uplift_streams.sql`.

use crate::postgres::interrupts::hear;
use crate::postgres::memory::{allocated, need};
use crate::postgres::raise::{raise, refuse};
use crate::uplift::streams_state::Watch;
use pgrx::prelude::*;

fn watch(method: Option<&str>, delta: Option<f64>, threshold: Option<f64>) -> Watch {
    let method = method.filter(|method| !method.is_empty()).unwrap_or("adwin");
    Watch::new(method, delta, threshold).unwrap_or_else(|(message, hint)| refuse(message, hint))
}

/// The elements of a stream, with memory for the changes in it: at most one for each ten elements, of 40 bytes.
fn elements(stream: &Option<Array<f64>>) -> impl Iterator<Item = Option<f64>> {
    need(stream.as_ref().map_or(0, Array::len) * 10);
    stream.iter().flat_map(Array::iter).enumerate().map(|(place, element)| {
        hear(place);
        element
    })
}

#[pg_extern(sql = false)]
fn stream_points(
    stream: Option<Array<f64>>,
    method: Option<&str>,
    delta: Option<f64>,
    threshold: Option<f64>,
) -> TableIterator<'static, (name!(at, i64), name!(mean_before, Option<f64>), name!(mean_after, Option<f64>))> {
    TableIterator::new(watch(method, delta, threshold).take(elements(&stream)))
}

#[expect(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn stream_watch(
    state: Option<&[u8]>,
    stream: Option<Array<f64>>,
    method: Option<&str>,
    delta: Option<f64>,
    threshold: Option<f64>,
) -> TableIterator<
    'static,
    (name!(next_state, Vec<u8>), name!(n, i64), name!(changes, Vec<i64>), name!(mean, Option<f64>)),
> {
    let mut watch = state.map_or_else(
        || watch(method, delta, threshold),
        |state| {
            Watch::from_bytes(state).unwrap_or_else(|| {
                raise(
                    PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
                    "not a state of watch_drift()".to_owned(),
                    "Keep its next_state in a column of type bytea, and leave it as it is.",
                )
            })
        },
    );
    let changes = watch.take(elements(&stream)).into_iter().map(|change| change.0).collect();
    TableIterator::once((allocated(watch.to_bytes()), watch.shown as i64, changes, watch.detector.mean()))
}
