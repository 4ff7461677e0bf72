use super::*;
use crate::statistics::draws::Draws;
use serde_json::json;

fn bands(given: serde_json::Value) -> Result<Vec<Band>, Fault> {
    read(serde_json::from_value(given).map_err(|_| Fault::Kind)?)
}

fn square(x: f64, y: f64, side: f64) -> serde_json::Value {
    json!([[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]])
}

fn polygon(rings: Vec<serde_json::Value>) -> serde_json::Value {
    json!({"type": "Polygon", "coordinates": rings})
}

fn feature(size: serde_json::Value, geometry: serde_json::Value) -> serde_json::Value {
    json!({"type": "Feature", "properties": {"min_size_mm": size}, "geometry": geometry})
}

fn swath() -> serde_json::Value {
    json!({"type": "FeatureCollection", "features": [
        feature(json!(50), polygon(vec![square(-97.2, 32.2, 0.1)])),
        feature(json!(25.44), polygon(vec![square(-98.0, 32.0, 1.0), square(-97.9, 32.1, 0.1)])),
        feature(json!(50.04), json!({"type": "MultiPolygon", "coordinates": [[square(-97.6, 32.6, 0.1)]]})),
    ]})
}

#[test]
fn features_of_one_size_are_one_band() {
    let bands = bands(swath()).unwrap();
    let told: Vec<_> = bands.iter().map(|band| (band.size, band.area.0.len(), band.positions())).collect();
    assert_eq!(told, [(25.4, 1, 10), (50.0, 2, 10)]);
    let bounds = bands[1].bounds().unwrap();
    assert_eq!((bounds.min().x, bounds.max().y), (-97.6, 32.7));
    assert_eq!(bands[0].geometry()["type"], "MultiPolygon");
    assert_eq!(self::bands(bands[0].geometry()).unwrap()[0].positions(), 10, "what is kept can be read again");
    let plain = self::bands(polygon(vec![square(0.0, 0.0, 1.0)])).unwrap();
    assert_eq!((plain.len(), plain[0].size), (1, 0.0));
}

#[test]
fn a_place_is_in_the_band_of_the_largest_size() {
    let prepared =
        Prepared::new(bands(swath()).unwrap().into_iter().zip(1..).map(|(band, number)| (number, band.area)));
    let cases = [
        (-97.15, 32.25, Some(2)),
        (-97.55, 32.65, Some(2)),
        (-97.3, 32.3, Some(1)),
        (-97.85, 32.15, None), // in the hole
        (-96.0, 32.5, None),
        (-97.3, 33.5, None),
        (f64::NAN, 32.3, None),
    ];
    for (longitude, latitude, band) in cases {
        assert_eq!(prepared.band(longitude, latitude), band, "{longitude} {latitude}");
    }
}

/// A star of many rays, against what the angle and the distance say.
#[test]
fn many_places_are_told_apart() {
    let rays = 2000;
    let point = |i: usize| {
        let (turn, far) = (i as f64 / rays as f64 * std::f64::consts::TAU, if i.is_multiple_of(2) { 2.0 } else { 1.0 });
        json!([turn.cos() * far, turn.sin() * far])
    };
    let ring: Vec<_> = (0..rays).chain([0]).map(point).collect();
    let bands = bands(polygon(vec![json!(ring)])).unwrap();
    let prepared = Prepared::new(bands.into_iter().map(|band| (1, band.area)));
    let mut draws = Draws::new(9);
    let mut inside = 0;
    for _ in 0..20_000 {
        let (x, y) = (draws.next() * 5.0 - 2.5, draws.next() * 5.0 - 2.5);
        let far = x.hypot(y);
        let found = prepared.band(x, y).is_some();
        inside += u32::from(found);
        assert!(if far < 0.999 { found } else { far < 2.001 || !found }, "{x} {y}");
    }
    // Its area, half of what lies between the circles among it, of 25.
    assert!((f64::from(inside) / 20_000.0 - std::f64::consts::PI * 2.0 / 25.0).abs() < 0.02, "{inside}");
}

#[test]
fn what_is_no_polygon_has_its_answer() {
    let line = |positions: serde_json::Value| polygon(vec![positions]);
    let far = [1e300, 1e300];
    let cases = [
        (json!({"type": "Point", "coordinates": [0, 0]}), Fault::Kind),
        (json!({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}), Fault::Kind),
        (json!({"type": "FeatureCollection", "features": []}), Fault::Kind),
        (json!({"type": "MultiPolygon", "coordinates": []}), Fault::Kind),
        (
            json!({"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": []}]}),
            Fault::Kind,
        ),
        (json!({"type": "Feature", "properties": null, "geometry": null}), Fault::Kind),
        (json!({"type": "Circle"}), Fault::Kind),
        (json!({"type": "Polygon", "coordinates": []}), Fault::Ring),
        (line(json!([])), Fault::Ring),
        (line(json!([[0, 0], [1, 0], [0, 0]])), Fault::Ring),
        (line(json!([[0, 0], [1, 0], [1, 1], [0, 1]])), Fault::Ring),
        (line(json!([[0, 0], [0, 0], [0, 0], [0, 0]])), Fault::Ring),
        (line(json!([[0, 0], [1, 1], [2, 2], [0, 0]])), Fault::Ring),
        (line(json!([[0, 0], [1, 0], [1], [0, 0]])), Fault::Position),
        (line(json!([[0, 0], [181, 0], [1, 1], [0, 0]])), Fault::Position),
        (line(json!([[0, 0], [1, 91], [1, 1], [0, 0]])), Fault::Position),
        (line(json!([[0, 0], far, [1, 1], [0, 0]])), Fault::Position),
        (line(json!([[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]])), Fault::Wide),
        (line(json!([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]])), Fault::Ring), // a bow tie: its areas cancel out
        (line(json!([[0, 0], [2, 2], [2, 0], [0, 1], [0, 0]])), Fault::Crossing),
        (line(json!([[0, 0], [4, 0], [4, 4], [2, 4], [2, 0], [1, 4], [0, 0]])), Fault::Crossing), // touches its own side
        (line(json!([[0, 0], [4, 0], [4, 4], [4, 2], [0, 2], [0, 0]])), Fault::Crossing),         // a spike
        (polygon(vec![square(0.0, 0.0, 2.0), square(1.0, 1.0, 2.0)]), Fault::Crossing),
        (polygon(vec![square(0.0, 0.0, 2.0), square(5.0, 5.0, 1.0)]), Fault::Hole),
        (polygon(vec![square(0.0, 0.0, 9.0), square(1.0, 1.0, 5.0), square(2.0, 2.0, 1.0)]), Fault::Hole),
        (feature(json!("big"), polygon(vec![square(0.0, 0.0, 1.0)])), Fault::Size),
        (feature(json!(-1), polygon(vec![square(0.0, 0.0, 1.0)])), Fault::Size),
        (feature(json!(301), polygon(vec![square(0.0, 0.0, 1.0)])), Fault::Size),
    ];
    for (given, fault) in cases {
        let said = given.to_string();
        assert_eq!(bands(given).err(), Some(fault), "{said}");
    }
}

#[test]
fn what_is_too_much_has_its_answer() {
    let many = |n: i32| {
        let features: Vec<_> = (0..n).map(|i| feature(json!(i), polygon(vec![square(0.0, 0.0, 1.0)]))).collect();
        json!({"type": "FeatureCollection", "features": features})
    };
    assert_eq!(bands(many(20)).map(|bands| bands.len()), Ok(20));
    assert_eq!(bands(many(21)).err(), Some(Fault::Bands));
    let circle = |n: usize| {
        let turn = |i: usize| i as f64 / n as f64 * std::f64::consts::TAU;
        let point = |i: usize| json!([turn(i).cos(), turn(i).sin()]);
        let mut ring: Vec<_> = (0..n).map(point).collect();
        ring.push(ring[0].clone());
        polygon(vec![json!(ring)])
    };
    assert_eq!(bands(circle(20_000)).map(|bands| bands[0].positions()), Ok(20_001));
    assert_eq!(bands(circle(100_000)).err(), Some(Fault::Positions));
    let tiny: Vec<_> = (0..5_001).map(|i| json!([square(f64::from(i) / 100.0, 0.0, 0.001)])).collect();
    assert_eq!(bands(json!({"type": "MultiPolygon", "coordinates": tiny})).err(), Some(Fault::Polygons));
    // A comb whose teeth all lie over one another.
    let mut comb: Vec<_> =
        (0..10_000).map(|i| json!([if i % 2 == 0 { 0.0 } else { 10.0 }, f64::from(i) / 1e4])).collect();
    comb.extend([json!([-1.0, 1.0]), json!([-1.0, 0.0]), comb[0].clone()]);
    assert_eq!(bands(polygon(vec![json!(comb)])).err(), Some(Fault::Intricate));
}
