//! Where a storm hit: polygons in bands of size, checked, and which places stand in them.

mod check;
#[cfg(test)]
mod tests;

use geo::indexed::IntervalTreeMultiPolygon;
use geo::{BoundingRect, Contains, Coord, LineString, MultiPolygon, Polygon, Rect};
use geojson::{Feature, FeatureCollection, GeoJson, Geometry, GeometryValue};
use std::collections::BTreeMap;

/// In all bands together.
const MOST_POSITIONS: usize = 100_000;
const MOST_POLYGONS: usize = 5_000;
pub const MOST_BANDS: usize = 20;
/// In millimetres: the largest hailstones known have 200.
const LARGEST: f64 = 300.0;
/// The property of a feature that says from which size on.
const SIZE: &str = "min_size_mm";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Kind,
    Position,
    Ring,
    Wide,
    Crossing,
    Hole,
    Size,
    Bands,
    Positions,
    Polygons,
    Intricate,
}

impl Fault {
    /// Whether there is too much of it, and what.
    pub fn message(self) -> (bool, &'static str) {
        match self {
            Self::Kind => (false, "a footprint is made of polygons"),
            Self::Position => (false, "a position is a longitude from -180 to 180 and a latitude from -90 to 90"),
            Self::Ring => (false, "a ring has at least four positions, the last the same as the first, and an area"),
            Self::Wide => (false, "a polygon spans more than 180 degrees of longitude"),
            Self::Crossing => (false, "the rings of a polygon cross or touch themselves or one another"),
            Self::Hole => (false, "a hole lies outside of its polygon, or in another hole"),
            Self::Size => (false, "min_size_mm is not a number from 0 to 300"),
            Self::Bands => (true, "a footprint has more than 20 bands"),
            Self::Positions => (true, "a footprint has more than 100000 positions"),
            Self::Polygons => (true, "a footprint has more than 5000 rings"),
            Self::Intricate => (true, "a polygon is too intricate to check"),
        }
    }
}

/// Where hail had at least this size.
pub struct Band {
    pub size: f64,
    pub area: MultiPolygon<f64>,
}

impl Band {
    pub fn positions(&self) -> usize {
        let rings = |polygon: &Polygon<f64>| {
            polygon.exterior().0.len() + polygon.interiors().iter().map(|ring| ring.0.len()).sum::<usize>()
        };
        self.area.iter().map(rings).sum()
    }

    pub fn bounds(&self) -> Option<Rect<f64>> {
        self.area.bounding_rect()
    }

    pub fn geometry(&self) -> serde_json::Value {
        serde_json::to_value(GeometryValue::from(&self.area)).unwrap_or_default()
    }
}

/// The bands of a footprint, the smallest size first. Features of one size are one band; without a size it is 0.
pub fn read(given: GeoJson) -> Result<Vec<Band>, Fault> {
    let features = match given {
        GeoJson::FeatureCollection(FeatureCollection { features, .. }) => features,
        GeoJson::Feature(feature) => vec![feature],
        GeoJson::Geometry(geometry) => vec![Feature { geometry: Some(geometry), ..Feature::default() }],
    };
    let mut bands: BTreeMap<u64, Band> = BTreeMap::new();
    let (mut positions, mut rings) = (0, 0);
    for feature in features {
        let size = match feature.property(SIZE) {
            None | Some(serde_json::Value::Null) => 0.0,
            Some(size) => size.as_f64().filter(|size| (0.0..=LARGEST).contains(size)).ok_or(Fault::Size)?,
        };
        // In tenths, as they are kept; sizes are not below 0, so that their bits are in order too.
        let size = (size * 10.0).round() / 10.0;
        let parts = polygons(feature.geometry.ok_or(Fault::Kind)?)?;
        rings += parts.iter().map(Vec::len).sum::<usize>();
        positions += parts.iter().flatten().map(Vec::len).sum::<usize>();
        if positions > MOST_POSITIONS {
            return Err(Fault::Positions);
        }
        if rings > MOST_POLYGONS {
            return Err(Fault::Polygons);
        }
        let band = bands.entry(size.to_bits()).or_insert_with(|| Band { size, area: MultiPolygon(Vec::new()) });
        for part in parts {
            band.area.0.push(check::polygon(part)?);
        }
        if bands.len() > MOST_BANDS {
            return Err(Fault::Bands);
        }
    }
    let bands: Vec<_> = bands.into_values().filter(|band| !band.area.0.is_empty()).collect();
    if bands.is_empty() { Err(Fault::Kind) } else { Ok(bands) }
}

type Rings = Vec<Vec<Coord<f64>>>;

/// The polygons of a geometry, which is nothing else.
fn polygons(geometry: Geometry) -> Result<Vec<Rings>, Fault> {
    let rings = |rings: geojson::PolygonType| -> Result<Rings, Fault> {
        let ring = |ring: geojson::LineStringType| ring.iter().map(|position| place(position.as_slice())).collect();
        rings.into_iter().map(ring).collect()
    };
    match geometry.value {
        GeometryValue::Polygon { coordinates } => Ok(vec![rings(coordinates)?]),
        GeometryValue::MultiPolygon { coordinates } => coordinates.into_iter().map(rings).collect(),
        _ => Err(Fault::Kind),
    }
}

fn place(position: &[f64]) -> Result<Coord<f64>, Fault> {
    match *position {
        [x, y, ..] if x.abs() <= 180.0 && y.abs() <= 90.0 => Ok(Coord { x: x + 0.0, y: y + 0.0 }),
        _ => Err(Fault::Position),
    }
}

/// The area of a geometry that was checked before.
pub fn area(geometry: Geometry) -> Result<MultiPolygon<f64>, Fault> {
    let polygon = |rings: Rings| {
        let mut rings = rings.into_iter().map(LineString);
        rings.next().map(|outer| Polygon::new(outer, rings.collect())).ok_or(Fault::Ring)
    };
    Ok(MultiPolygon(polygons(geometry)?.into_iter().map(polygon).collect::<Result<_, _>>()?))
}

/// Bands ready to be asked for many places.
pub struct Prepared {
    /// The largest size first: number, bounds, tree.
    bands: Vec<(i16, Rect<f64>, IntervalTreeMultiPolygon<f64>)>,
}

impl Prepared {
    /// From number and area.
    pub fn new(bands: impl Iterator<Item = (i16, MultiPolygon<f64>)>) -> Self {
        let prepare = |(number, area): (i16, MultiPolygon<f64>)| {
            Some((number, area.bounding_rect()?, IntervalTreeMultiPolygon::new(&area)))
        };
        let mut bands: Vec<_> = bands.filter_map(prepare).collect();
        bands.sort_by_key(|band| std::cmp::Reverse(band.0));
        Self { bands }
    }

    /// The band of the largest size that a place stands in.
    pub fn band(&self, longitude: f64, latitude: f64) -> Option<i16> {
        let place = Coord { x: longitude, y: latitude };
        let within = |bounds: &Rect<f64>| {
            let (low, high) = (bounds.min(), bounds.max());
            (low.x..=high.x).contains(&place.x) && (low.y..=high.y).contains(&place.y)
        };
        let stands_in = |(_, bounds, tree): &&(i16, Rect<f64>, IntervalTreeMultiPolygon<f64>)| {
            within(bounds) && tree.contains(&place)
        };
        self.bands.iter().find(stands_in).map(|band| band.0)
    }
}
