//! Where a storm hit: who may say it, what is refused, and which properties stand there.

use postgres::Client;
use serde_json::{Value, json};
use stormops_tests::tenant::{acting_as, session, storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

fn square(x: f64, y: f64, side: f64) -> Value {
    json!([[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]])
}

/// A square of a degree, with one of half a degree for larger hail in it, and a hole in the outer.
fn swath() -> String {
    let feature = |size: i32, rings: Vec<Value>| json!({"type": "Feature", "properties": {"min_size_mm": size}, "geometry": {"type": "Polygon", "coordinates": rings}});
    json!({"type": "FeatureCollection", "features": [
        feature(50, vec![square(-97.75, 32.25, 0.5)]),
        feature(25, vec![square(-98.0, 32.0, 1.0), square(-97.95, 32.05, 0.1)]),
    ]})
    .to_string()
}

/// A grid of properties around the swath: 40 by 40, a twentieth of a degree apart, none on a border.
fn properties(session: &mut Client) {
    let grid = "INSERT INTO properties (external_id, longitude, latitude)
        SELECT x || '/' || y, -98.51 + x * 0.05, 31.51 + y * 0.05 FROM generate_series(0, 39) AS x, generate_series(0, 39) AS y;
        INSERT INTO properties (external_id) VALUES ('nowhere');
        INSERT INTO properties (external_id, longitude, latitude, status) VALUES ('archived', -97.5, 32.5, 'archived')";
    session.batch_execute(grid).expect("properties");
}

fn set(session: &mut Client, storm: Uuid, footprint: Option<&str>) -> Result<String, postgres::Error> {
    let set = "SELECT concat_ws(' ', bands, positions, west, south, east, north) FROM stormops.set_footprint($1, $2::text::jsonb)";
    session.query_one(set, &[&storm, &footprint]).map(|row| row.get(0))
}

#[test]
fn a_property_stands_in_the_band_of_the_largest_size() {
    let db = Db::new("bands");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = storm(&mut session, "hail");
    properties(&mut session);
    let count = "SELECT count(*) FROM stormops.affected_properties($1)";
    assert_eq!(get::<i64>(&mut session, count, &[&hail]), 0, "nobody knows yet");
    assert_eq!(set(&mut session, hail, Some(&swath())).expect("a footprint"), "2 15 -98 32 -97 33");
    // The same, from the coordinates.
    let wrong = "SELECT count(*) FROM (
            SELECT property_id, CASE
                WHEN longitude BETWEEN -97.75 AND -97.25 AND latitude BETWEEN 32.25 AND 32.75 THEN 2
                WHEN longitude BETWEEN -97.95 AND -97.85 AND latitude BETWEEN 32.05 AND 32.15 THEN NULL
                WHEN longitude BETWEEN -98 AND -97 AND latitude BETWEEN 32 AND 33 THEN 1 END AS band
            FROM properties WHERE status = 'active') AS p
        FULL JOIN stormops.affected_properties($1) AS a USING (property_id)
        WHERE p.band IS DISTINCT FROM a.band OR a.min_size_mm IS DISTINCT FROM CASE a.band WHEN 1 THEN 25.0 WHEN 2 THEN 50.0 END";
    assert_eq!(get::<i64>(&mut session, wrong, &[&hail]), 0);
    assert_eq!(get::<i64>(&mut session, &format!("{count} WHERE band = 2"), &[&hail]), 100);
    assert_eq!(get::<i64>(&mut session, count, &[&hail]), 396);
    // Another footprint takes its place; none takes it away.
    let one = json!({"type": "Polygon", "coordinates": [square(-97.75, 32.25, 0.5)]}).to_string();
    assert_eq!(set(&mut session, hail, Some(&one)).expect("a footprint"), "1 5 -97.75 32.25 -97.25 32.75");
    assert_eq!(get::<i64>(&mut session, &format!("{count} WHERE min_size_mm = 0"), &[&hail]), 100);
    assert_eq!(set(&mut session, hail, None).expect("none"), "0 0");
    assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM storm_footprints", &[]), 0);
}

#[test]
fn what_is_no_footprint_is_refused_and_changes_nothing() {
    let db = Db::new("refused");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = storm(&mut session, "hail");
    set(&mut session, hail, Some(&swath())).expect("a footprint");
    let ring = |positions: &str| format!(r#"{{"type": "Polygon", "coordinates": [{positions}]}}"#);
    let round: Vec<Value> = (0..100_001).map(|i| json!([f64::from(i).cos(), f64::from(i).sin()])).collect();
    let deep = format!("{}{}", r#"{"type": "GeometryCollection", "geometries": ["#.repeat(500), "]}".repeat(500));
    let cases = [
        ("null".to_owned(), "22023"),
        ("7".to_owned(), "22023"),
        ("{}".to_owned(), "22023"),
        (r#"{"type": "Point", "coordinates": [1, 2]}"#.to_owned(), "22023"),
        (
            r#"{"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": []}]}"#
                .to_owned(),
            "22023",
        ),
        (deep, "22023"),
        (ring("[[0, 0], [1, 0], [1, 1], [0, 1]]"), "22023"), // open
        (ring("[[0, 0], [2, 2], [2, 0], [0, 1], [0, 0]]"), "22023"), // crosses itself
        (ring("[[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]"), "22023"), // across the antimeridian
        (ring("[[0, 0], [1e400, 0], [1, 1], [0, 0]]"), "22023"),
        (ring("[[0, 0], [null, 0], [1, 1], [0, 0]]"), "22023"),
        (ring("[[0, 0], [\"NaN\", 0], [1, 1], [0, 0]]"), "22023"),
        (ring(&Value::from(round).to_string()), "54000"),
        (ring(&format!("[{}]", "[0, 0], ".repeat(1_000_000) + "[0, 0]")), "54000"),
    ];
    for (given, code) in cases {
        let said: String = given.chars().take(80).collect();
        let error = fails_with(set(&mut session, hail, Some(&given)), code);
        assert!(error.hint().is_some(), "{said}: {}", error.message());
        assert_eq!(get::<i64>(&mut session, "SELECT sum(positions)::bigint FROM storm_footprints", &[]), 15, "{said}");
    }
    // What only the aggregate is handed is not trusted either.
    for bands in [
        "[]",
        "{}",
        r#"[{"band": 1, "geometry": {"type": "MultiPolygon", "coordinates": [[[[1]]]]}}]"#,
        r#"[{"band": 99, "geometry": null}]"#,
    ] {
        let asked = session
            .query(&format!("SELECT length(stormops_internal.footprint_agg('{bands}', stormops.new_id(), 1, 2))"), &[]);
        assert!(asked.is_ok() == (bands == "[]"), "{bands}");
        if let Err(error) = asked {
            assert_eq!(error.code().expect("an answer").code(), "22023", "{bands}");
        }
    }
}

#[test]
fn a_footprint_is_a_crew_chiefs_to_set_and_anybodys_of_the_tenant_to_see() {
    let db = Db::new("rights");
    let (abc, mut session_of) = tenant(&db, "Abc");
    let hail = storm(&mut session_of, "hail");
    properties(&mut session_of);
    for role in ["viewer", "field_user"] {
        fails_with(set(&mut acting_as(&db, abc, role), hail, Some(&swath())), "42501");
    }
    set(&mut acting_as(&db, abc, "crew_chief"), hail, Some(&swath())).expect("a crew chief");
    for write in ["DELETE FROM storm_footprints", "UPDATE storm_footprints SET min_size_mm = 1"] {
        fails_with(session_of.batch_execute(write), "42501");
    }
    let count = "SELECT count(*) FROM stormops.affected_properties($1)";
    let mut viewer = session(&db, abc);
    viewer.batch_execute("BEGIN READ ONLY").expect("a transaction");
    assert_eq!(get::<i64>(&mut viewer, count, &[&hail]), 396);
    assert!(get::<bool>(&mut viewer, "SELECT pg_current_xact_id_if_assigned() IS NULL", &[]));
    viewer.batch_execute("COMMIT").expect("nothing was written");
    let (_, mut others) = tenant(&db, "Other");
    fails_with(others.query(count, &[&hail]), "P0002");
    fails_with(set(&mut others, hail, Some(&swath())), "P0002");
    // The same ids: another storm, without a footprint.
    storm(&mut others, "hail");
    properties(&mut others);
    assert_eq!(get::<i64>(&mut others, count, &[&hail]), 0);
    assert_eq!(get::<i64>(&mut others, "SELECT count(*) FROM storm_footprints", &[]), 0);
    fails_with(db.as_role("op").query(count, &[&hail]), "42501");
    fails_with(session_of.query("SELECT * FROM stormops.affected_properties(NULL)", &[]), "22004");
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'payment_failed')", &[&abc]).expect("a suspension");
    let refused = set(&mut session_of, hail, None);
    assert!(refused.is_err(), "a suspended tenant writes nothing");
    assert_eq!(get::<i64>(&mut session(&db, abc), count, &[&hail]), 396);
}
