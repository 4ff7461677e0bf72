//! The map of a storm: where its properties stand, what was decided about them, its box and where it hit. Longitude and
//! latitude as they are, with a degree of longitude as much shorter as it is at the middle latitude.

use super::chart::p;
use super::text::{count, percent, short};
use geojson::{Geometry, GeometryValue};
use maud::{Markup, html};
use serde::Deserialize;

const WIDTH: f64 = 640.0;
const TALLEST: f64 = 760.0;
const FLATTEST: f64 = 240.0;
/// Free at each side, for what stands at the edge.
const MARGIN: f64 = 14.0;
/// Below the map, for the scale.
const FOOT: f64 = 34.0;
const KM_A_DEGREE: f64 = 111.32;

/// x, y, treated, held, excluded.
type Place = (f64, f64, f64, f64, f64);
type Pick = fn(&Place) -> f64;

/// What `storm_map()` tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Map {
    /// West, south, east, north.
    view: (f64, f64, f64, f64),
    storm: Option<(f64, f64, f64, f64)>,
    bands: Vec<Band>,
    places: Vec<Place>,
    /// Columns and rows, where places are cells.
    grid: Option<(f64, f64)>,
    decided: f64,
    placed: f64,
    outside: f64,
}

#[derive(Debug, Deserialize)]
struct Band {
    size: f64,
    geometry: Geometry,
}

/// From degrees to places in the picture.
struct Frame {
    west: f64,
    north: f64,
    across: f64,
    up: f64,
    height: f64,
}

impl Frame {
    fn new((west, south, east, north): (f64, f64, f64, f64)) -> Self {
        let middle = ((south + north) / 2.0).to_radians().cos().max(0.05);
        // A single place is shown with some land around it.
        let (wide, tall) = ((east - west).max(0.002), (north - south).max(0.002));
        let (left, top) = ((west + east - wide) / 2.0, (north + south + tall) / 2.0);
        let room = WIDTH - 2.0 * MARGIN;
        let up = (room / (wide * middle)).min((TALLEST - 2.0 * MARGIN) / tall);
        let (across, high) = (up * middle, tall * up);
        let height = (high + 2.0 * MARGIN).max(FLATTEST);
        Self {
            west: left - ((WIDTH - wide * across) / 2.0) / across,
            north: top + ((height - high) / 2.0) / up,
            across,
            up,
            height,
        }
    }

    fn x(&self, longitude: f64) -> f64 {
        (longitude - self.west) * self.across
    }

    fn y(&self, latitude: f64) -> f64 {
        (self.north - latitude) * self.up
    }
}

pub fn map(map: Option<&Map>) -> Markup {
    html! {
        section.wide {
            h2 { "Map" }
            @match map {
                Some(map) if map.placed > 0.0 || !map.bands.is_empty() || map.storm.is_some() => {
                    (drawing(map))
                    (legend(map))
                },
                _ => { p.quiet { "Drawn when properties have coordinates, or the storm a box or a footprint." } },
            }
        }
    }
}

fn drawing(map: &Map) -> Markup {
    let frame = Frame::new(map.view);
    let total = |pick: Pick| map.places.iter().map(pick).sum::<f64>();
    let told = format!(
        "Map: {} treated, {} held, {} excluded",
        count(total(|place| place.2)),
        count(total(|place| place.3)),
        count(total(|place| place.4))
    );
    html! {
        svg.map viewBox={ "0 0 " (WIDTH) " " (p(frame.height + FOOT)) } role="img" aria-label=(told) {
            title { (told) }
            rect.land x="0" y="0" width=(WIDTH) height=(p(frame.height)) {}
            @for (i, band) in map.bands.iter().enumerate() {
                path.hit fill-opacity=(short(shade(i, map.bands.len()))) fill-rule="evenodd" d=(outline(&band.geometry, &frame)) {}
            }
            @if let Some((west, south, east, north)) = map.storm {
                rect.box x=(p(frame.x(west))) y=(p(frame.y(north))) width=(p((frame.x(east) - frame.x(west)).max(1.0)))
                    height=(p((frame.y(south) - frame.y(north)).max(1.0))) {}
            }
            @match map.grid {
                Some(grid) => { (cells(map, grid, &frame)) },
                None => { (points(map, &frame)) },
            }
            (scale(&frame))
        }
    }
}

/// The greater the size, the darker; bands lie over one another.
fn shade(band: usize, bands: usize) -> f64 {
    0.14 + 0.3 * band as f64 / bands.max(2) as f64
}

fn outline(geometry: &Geometry, frame: &Frame) -> String {
    let GeometryValue::MultiPolygon { coordinates } = &geometry.value else { return String::new() };
    let mut path = String::new();
    for ring in coordinates.iter().flatten() {
        let mut step = 'M';
        for position in ring {
            if let [x, y, ..] = *position.as_slice() {
                path.push(step);
                path.push_str(&p(frame.x(x)));
                path.push(' ');
                path.push_str(&p(frame.y(y)));
                step = 'L';
            }
        }
        path.push('Z');
    }
    path
}

/// Who was held lies below who was treated, and above all who is excluded: they are few.
fn points(map: &Map, frame: &Frame) -> Markup {
    let radius = if map.places.len() > 600 { "2.2" } else { "3.5" };
    let kinds: [(&str, Pick); 3] =
        [("held", |place| place.3), ("treated", |place| place.2), ("excluded", |place| place.4)];
    html! {
        @for (class, pick) in kinds {
            g class=(class) {
                @for place in map.places.iter().filter(|place| pick(place) > 0.0) {
                    circle cx=(p(frame.x(place.0))) cy=(p(frame.y(place.1))) r=(radius) {}
                }
            }
        }
    }
}

/// Each cell divided among the three from left to right, the fuller the denser.
fn cells(map: &Map, (columns, rows): (f64, f64), frame: &Frame) -> Markup {
    let (west, south, east, north) = map.view;
    let (wide, tall) = ((east - west) / columns, (north - south) / rows);
    let fullest = map.places.iter().map(|place| place.2 + place.3 + place.4).fold(1.0, f64::max);
    html! {
        @for &(x, y, treated, held, excluded) in &map.places {
            @let all = treated + held + excluded;
            @let (left, top) = (frame.x(west + x * wide), frame.y(south + (y + 1.0) * tall));
            @let (width, height) = (frame.across * wide - 0.6, frame.up * tall - 0.6);
            @if all > 0.0 {
                g opacity=(short(0.3 + 0.7 * (all / fullest).sqrt())) {
                    @for (class, from, part) in [("treated", 0.0, treated), ("held", treated, held), ("excluded", treated + held, excluded)] {
                        @if part > 0.0 {
                            rect class=(class) x=(p(left + from / all * width)) y=(p(top)) width=(p((part / all * width).max(0.3))) height=(p(height.max(0.3))) {}
                        }
                    }
                }
            }
        }
    }
}

/// A line of a round number of kilometres, and where north is.
fn scale(frame: &Frame) -> Markup {
    let rough = WIDTH / 4.0 / frame.up * KM_A_DEGREE;
    let power = 10f64.powf(rough.log10().floor());
    let km = [5.0, 2.0, 1.0].into_iter().map(|step| step * power).find(|&km| km <= rough).unwrap_or(power);
    let (length, y) = (km / KM_A_DEGREE * frame.up, frame.height + 14.0);
    let text = if km < 1.0 { format!("{} m", count(km * 1000.0)) } else { format!("{} km", count(km)) };
    html! {
        path.axis fill="none" d={ "M" (p(MARGIN)) " " (p(y - 5.0)) "v10M" (p(MARGIN)) " " (p(y)) "h" (p(length)) "m0 -5v10" } {}
        text.tick x=(p(MARGIN + length + 8.0)) y=(p(y + 5.0)) { (text) }
        text.tick.end x=(p(WIDTH - MARGIN)) y=(p(y + 5.0)) { "north is up" }
    }
}

fn legend(map: &Map) -> Markup {
    let lacking = map.decided - map.placed;
    html! {
        p.quiet {
            @if map.placed > 0.0 {
                span.key.treated { "treated" } " " span.key.held { "held" } " " span.key.excluded { "excluded" }
                @if map.grid.is_some() { " | each cell divided among them, the fuller the denser" }
            } @else { "No policy is applied yet." }
            @if map.storm.is_some() { " | dashed: the storm's box" }
            @if !map.bands.is_empty() {
                " | shaded: where it hit" @for band in map.bands.iter().filter(|band| band.size > 0.0) { ", " (short(band.size)) " mm and more" }
            }
            @if map.outside > 0.0 { " | " (count(map.outside)) " stand outside of the map" }
            @if lacking > 0.0 { " | " (count(lacking)) " (" (percent(lacking / map.decided)) ") have no coordinates" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drawn(data: serde_json::Value) -> String {
        map(Some(&serde_json::from_value(data).unwrap())).into_string()
    }

    #[test]
    fn a_degree_of_longitude_is_as_short_as_it_is_there() {
        let frame = Frame::new((-97.0, 59.5, -96.0, 60.5));
        let (wide, tall) = (frame.x(-96.0) - frame.x(-97.0), frame.y(59.5) - frame.y(60.5));
        assert!((wide / tall - 0.5).abs() < 1e-9, "{wide} {tall}");
        assert!(tall <= TALLEST && frame.x(-97.0) >= MARGIN && frame.x(-96.0) <= WIDTH - MARGIN + 1e-9);
    }

    #[test]
    fn points_cells_box_and_bands_are_drawn() {
        let ring = json!([[[[-97.5, 32.2], [-97.2, 32.2], [-97.2, 32.5], [-97.5, 32.2]]]]);
        let common = json!({"view": [-98, 32, -97, 33], "storm": [-98, 32, -97, 33], "decided": 10, "placed": 8, "outside": 1,
            "bands": [{"size": 25.4, "geometry": {"type": "MultiPolygon", "coordinates": ring}}]});
        let with = |more: serde_json::Value| {
            let mut data = common.clone();
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            drawn(data)
        };
        let points = with(json!({"places": [[-97.5, 32.5, 1, 0, 0], [-97.4, 32.4, 0, 1, 0]]}));
        assert!(points.matches("<circle").count() == 2 && points.contains("1 stand outside"), "{points}");
        assert!(points.contains("2 (20 %) have no coordinates") && points.contains("25.4 mm and more"), "{points}");
        let cells = with(json!({"places": [[0, 0, 30, 10, 0], [47, 31, 0, 0, 5]], "grid": [48, 32]}));
        assert!(cells.contains("class=\"excluded\"") && !cells.contains("<circle"), "{cells}");
        for page in [points, cells] {
            assert!(page.contains("class=\"hit\"") && page.contains("class=\"box\"") && page.contains(" km"), "{page}");
            assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
        }
    }

    #[test]
    fn one_place_or_none_is_a_map_or_none() {
        let one = drawn(json!({"view": [5, 50, 5, 50], "places": [[5, 50, 1, 0, 0]], "decided": 1, "placed": 1}));
        assert!(one.contains("<circle") && !one.contains("NaN") && !one.contains("inf"), "{one}");
        let none = map(None).into_string();
        assert!(!none.contains("<svg") && !drawn(json!({})).contains("<svg"), "{none}");
        let pole = drawn(json!({"view": [-180, 89, 180, 90], "storm": [-180, 89, 180, 90]}));
        assert!(!pole.contains("NaN") && !pole.contains("inf"), "{pole}");
    }
}
