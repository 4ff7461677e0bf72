//! Footprints as SQL functions, and `footprint_agg()`: raw functions, since one runs for each of a million places.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::field::footprint::{Band, MOST_BANDS, Prepared, area, read};
use crate::postgres::aggregate::{answer, given, state};
use crate::postgres::bytea::bytea;
use crate::postgres::call::{self, argument, double, uuid};
use crate::postgres::json::Document;
use crate::postgres::memory::allocated;
use crate::postgres::raise::{raise, refuse};
use geojson::{GeoJson, Geometry};
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;
use serde::Deserialize;

const SHAPE: &str = "GeoJSON (RFC 7946): a FeatureCollection of Polygons and MultiPolygons with the property min_size_mm, rings closed; what crosses the antimeridian cut into two.";
/// A property's id and its band.
const HIT: usize = 17;
/// What fits into the largest value that Postgres handles.
const MOST_HITS: usize = 50_000_000;

#[expect(clippy::type_complexity, reason = "a row of SQL")]
#[pg_extern(sql = false)]
fn footprint_bands(
    footprint: Document,
) -> TableIterator<
    'static,
    (
        name!(band, i16),
        name!(min_size_mm, f64),
        name!(geometry, String),
        name!(positions, i32),
        name!(west, f64),
        name!(south, f64),
        name!(east, f64),
        name!(north, f64),
    ),
> {
    let Some(given) = footprint.read::<GeoJson>() else { refuse("this is not GeoJSON", SHAPE) };
    let bands = read(given).unwrap_or_else(|fault| match fault.message() {
        (true, message) => raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            message,
            "Simplify it: a map of a storm needs a position every hundred metres at most.",
        ),
        (false, message) => refuse(message, SHAPE),
    });
    let row = |(number, band): (i16, Band)| {
        let bounds = band.bounds()?;
        let (low, high) = (bounds.min(), bounds.max());
        let geometry = band.geometry().to_string();
        Some((number, band.size, geometry, band.positions() as i32, low.x, low.y, high.x, high.y))
    };
    TableIterator::new((1..).zip(bands).filter_map(row).collect::<Vec<_>>())
}

#[derive(Default)]
struct Hits {
    prepared: Option<Prepared>,
    found: Vec<u8>,
}

#[derive(Deserialize)]
struct Numbered {
    band: i16,
    geometry: Geometry,
}

fn prepare(bands: &Document) -> Prepared {
    let area = |numbered: Numbered| {
        let known = (1..=MOST_BANDS as i16).contains(&numbered.band);
        area(numbered.geometry).ok().filter(|_| known).map(|area| (numbered.band, area))
    };
    let areas = bands.read::<Vec<Numbered>>().and_then(|bands| bands.into_iter().map(area).collect::<Option<Vec<_>>>());
    match areas {
        Some(areas) => Prepared::new(areas.into_iter()),
        None => refuse("these are not bands of a footprint", "SELECT * FROM stormops.affected_properties(storm_id);"),
    }
}

/// `(state, bands, property_id, longitude, latitude)`.
unsafe fn take(call: FunctionCallInfo) -> Datum {
    unsafe {
        let hits = state::<Hits>(call, "SELECT * FROM stormops.affected_properties(storm_id);");
        let prepared = match &hits.prepared {
            Some(prepared) => prepared,
            None => {
                let bands = argument(call, 1).and_then(|bands| Document::from_datum(bands, false));
                hits.prepared.insert(bands.map_or_else(|| Prepared::new(std::iter::empty()), |bands| prepare(&bands)))
            }
        };
        if let [Some(property), Some(longitude), Some(latitude)] = [2, 3, 4].map(|i| argument(call, i))
            && let Some(band) = prepared.band(double(longitude), double(latitude))
        {
            if hits.found.len() == MOST_HITS * HIT {
                raise(
                    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    "more than 50 million properties stand in the footprint",
                    "Set a smaller one.",
                );
            }
            if hits.found.capacity() - hits.found.len() < HIT {
                let more = hits.found.len().max(64 * HIT);
                allocated(crate::memory::fallibly(|| hits.found.try_reserve_exact(more)));
            }
            hits.found.extend_from_slice(uuid(property));
            hits.found.push(band as u8);
        }
        answer(hits)
    }
}

unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let found = given::<Hits>(call, 0).map_or(&[][..], |hits| &hits.found);
        bytea(found.len(), |bytes| bytes.copy_from_slice(found))
    }
}

#[pg_extern(sql = false)]
fn footprint_hits<'a>(hits: &'a [u8]) -> TableIterator<'a, (name!(property_id, pgrx::Uuid), name!(band, i16))> {
    let (hits, rest) = hits.as_chunks::<HIT>();
    if !rest.is_empty() {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            "these bytes are no hits of a footprint",
            "SELECT * FROM stormops.affected_properties(storm_id);",
        );
    }
    let row = |hit: &[u8; HIT]| {
        let mut property = [0; 16];
        property.copy_from_slice(&hit[..16]);
        (pgrx::Uuid::from_bytes(property), i16::from(hit[16]))
    };
    TableIterator::new(hits.iter().map(row))
}

call::functions! {
    stormops_footprint_take = take;
    stormops_footprint_finish = finish;
}
