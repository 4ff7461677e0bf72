//! Models that users bring: registered, listed and retired, and run over a storm.

use std::fs;
use std::path::PathBuf;

use postgres::{Client, Error};
use serde_json::{Value, json};
use stormops_tests::tenant::{storm, tenant};
use stormops_tests::{Db, fails_with, get, sqlstate};
use uuid::Uuid;

pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../src/uplift/model/fixtures").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn floats(name: &str) -> Vec<f32> {
    fixture(name).as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The fixtures' rows as properties, in whose columns their numbers fit: what they stand for is the model's concern.
pub fn properties(session: &mut Client) -> usize {
    let (numbers, texts) = (floats("rows.bin"), String::from_utf8(fixture("rows.txt")).expect("texts"));
    let mut rows = 0;
    for (row, material) in numbers.chunks_exact(6).zip(texts.lines()) {
        let column: Vec<String> =
            row.iter().map(|x| if x.is_nan() { "NULL".to_owned() } else { x.to_string() }).collect();
        let [age, value, hail, wind, touches, since] = &column[..] else { panic!("six numbers") };
        let insert = format!(
            "INSERT INTO properties (property_id, roof_year, building_value, contact_cost, longitude, latitude, job_margin, year_built, roof_material)
             VALUES (md5('row {rows}')::uuid, 1600 + {age}, {value}, 100 * {hail}::numeric, {wind}, {wind} * 0, 1 + {touches}, 1600 + {since}, nullif('{material}', ''))"
        );
        session.batch_execute(&insert).unwrap_or_else(|e| panic!("{insert}: {e:?}"));
        rows += 1;
    }
    rows
}

/// The features that give the rows back.
pub fn features() -> Vec<Value> {
    let mut features = vec![
        json!({"-": ["roof_year", 1600]}),
        json!("building_value"),
        json!({"/": ["contact_cost", 100]}),
        json!("longitude"),
        json!({"-": ["job_margin", 1]}),
        json!({"-": ["year_built", 1600]}),
    ];
    features
        .extend(["metal", "shake", "shingle", "tile"].map(|material| json!({"equals": ["roof_material", material]})));
    features
}

const REGISTER: &str = "SELECT kind FROM stormops.register_model($1, $2, $3, $4)";

pub fn register(
    session: &mut Client,
    version: &str,
    model: &str,
    features: &[Value],
    control: Option<&str>,
) -> Result<String, Error> {
    let (model, control) = (fixture(model), control.map(fixture));
    session.query_one(REGISTER, &[&version, &model, &json!(features), &control]).map(|row| row.get(0))
}

/// A tenant with the fixtures' rows, a storm, and the model `lightgbm` as v1.
pub fn ready(db: &Db) -> (Uuid, Client, Uuid) {
    let (abc, mut session) = tenant(db, "Abc");
    properties(&mut session);
    let hail = storm(&mut session, "hail");
    register(&mut session, "v1", "lightgbm.onnx", &features(), None).expect("a model");
    (abc, session, hail)
}

pub fn score(session: &mut Client, storm: Uuid, version: &str) -> Result<(i64, i64), Error> {
    let row = session.query_one("SELECT scored, outside FROM stormops.score_storm($1, $2)", &[&storm, &version])?;
    Ok((row.get(0), row.get(1)))
}

/// In the order of the fixtures' rows.
pub fn scores(session: &mut Client, from: &str, storm: Uuid, version: &str) -> Vec<(f64, Option<f64>)> {
    let query = format!(
        "SELECT s.uplift, s.baseline FROM generate_series(0, 199) AS i JOIN {from} AS s ON s.property_id = md5('row ' || i)::uuid
         WHERE $1::uuid IS NOT NULL AND $2::text IS NOT NULL ORDER BY i"
    );
    session.query(&query, &[&storm, &version]).expect("scores").iter().map(|row| (row.get(0), row.get(1))).collect()
}

pub const WRITTEN: &str = "(SELECT * FROM stormops.lead_uplift WHERE storm_id = $1 AND model_version = $2)";
pub const PREVIEWED: &str = "stormops.model_scores($1, $2)";

#[test]
fn a_storms_scores_are_what_onnxruntime_answers() {
    let db = Db::new("scores");
    let (_, mut session, hail) = ready(&db);
    assert_eq!(score(&mut session, hail, "v1").expect("scores"), (200, 0));
    let expected: Vec<(f64, Option<f64>)> = floats("lightgbm.bin").into_iter().map(|x| (f64::from(x), None)).collect();
    assert_eq!(scores(&mut session, WRITTEN, hail, "v1"), expected);
    assert_eq!(scores(&mut session, PREVIEWED, hail, "v1"), expected);

    // Of outcomes with and without treatment, both ways.
    assert_eq!(
        register(&mut session, "pair", "treated.onnx", &features(), Some("control.onnx")).expect("a pair"),
        "onnx_pair"
    );
    score(&mut session, hail, "pair").expect("scores");
    let second = |name| floats(name).chunks_exact(2).map(|both| f64::from(both[1])).collect::<Vec<_>>();
    let (with, without) = (second("treated.bin"), second("control.bin"));
    let expected: Vec<_> = with.iter().zip(&without).map(|(with, without)| (with - without, Some(*without))).collect();
    assert_eq!(scores(&mut session, WRITTEN, hail, "pair"), expected);
    let mut and_treatment = features();
    and_treatment.push(json!("treatment"));
    let kind = register(&mut session, "one", "treatment.onnx", &and_treatment, None);
    assert_eq!(kind.expect("a model of treatment"), "onnx_treatment");
    let with = second("treatment.bin");
    for ((uplift, baseline), with) in scores(&mut session, PREVIEWED, hail, "one").into_iter().zip(with) {
        assert_eq!(uplift + baseline.expect("a baseline"), with);
    }

    // A column an input, one of them text.
    let inputs = ["roof_age", "building_value", "hail_size_in", "wind_gust_mph", "touches", "days_since_touch"];
    let mut by_input: serde_json::Map<_, _> = inputs.iter().map(|name| (*name).to_owned()).zip(features()).collect();
    by_input.insert("roof_material".to_owned(), json!("roof_material"));
    let refused =
        session.query(REGISTER, &[&"chance", &fixture("logistic.onnx"), &Value::from(by_input), &None::<Vec<u8>>]);
    assert!(fails_with(refused, "22023").message().contains("a chance is no uplift"));

    // And a policy decides on them.
    let treat: i64 = get(&mut session, "SELECT treat FROM stormops.apply_policy($1)", &[&hail]);
    assert!((1..200).contains(&treat), "{treat}");
}

#[test]
fn features_are_those_of_the_catalogue() {
    let db = Db::new("features");
    let mut session = tenant(&db, "Abc").1;
    let hail = storm(&mut session, "hail");
    session
        .batch_execute(&format!(
            "UPDATE storms SET started_at = '2024-05-10 12:00+00', hail_size_in = 1.75, peril = 'hail', west = 170, east = -170, south = 10, north = 20;
             INSERT INTO properties (property_id, longitude, latitude, roof_year, building_value, roof_material, status) VALUES
                ('{0}1', 175, 15, 2004, 250000, 'metal', 'active'), ('{0}2', -175, 15, NULL, NULL, NULL, 'active'),
                ('{0}3', 160, 15, 2004, 250000, 'metal', 'active'), ('{0}4', NULL, NULL, 2004, 250000, 'metal', 'active'),
                ('{0}5', 175, 15, 2004, 250000, 'metal', 'archived');
             INSERT INTO customer_journeys (property_id, storm_id, touch, channel, direction, occurred_at, value) VALUES
                ('{0}1', NULL, 'conversion', 'door', 'outbound', '2023-05-10 12:00+00', 900),
                ('{0}1', '{hail}', 'call', 'phone', 'inbound', '2024-05-11 12:00+00', NULL),
                ('{0}1', '{hail}', 'visit', 'door', 'outbound', '2024-05-15 12:00+00', NULL)",
            "00000000-0000-7000-8000-00000000000"
        ))
        .expect("properties");
    let features = "SELECT jsonb_agg(to_jsonb(f) - 'property_id' ORDER BY f.property_id) FROM stormops.storm_features($1, '2024-05-12 12:00+00') AS f";
    let found: Value = get(&mut session, features, &[&hail]);
    let none = json!({"job_margin": null, "contact_cost": null, "roof_style": null, "year_built": null, "building_age": null, "wind_gust_mph": null});
    let first = json!({
        "longitude": 175.0, "latitude": 15.0, "roof_year": 2004.0, "roof_age": 20.0, "building_value": 250000.0, "roof_material": "metal",
        "hail_size_in": 1.75, "storm_month": 5.0, "storm_days": 2.0, "peril": "hail", "touches": 2.0, "inbound_touches": 1.0, "storm_touches": 1.0,
        "channels": 2.0, "conversions": 1.0, "converted_value": 900.0, "days_since_touch": 1.0, "days_since_inbound": 1.0, "days_since_conversion": 368.0,
    });
    let second = json!({
        "longitude": -175.0, "latitude": 15.0, "roof_year": null, "roof_age": null, "building_value": null, "roof_material": null,
        "hail_size_in": 1.75, "storm_month": 5.0, "storm_days": 2.0, "peril": "hail", "touches": 0.0, "inbound_touches": 0.0, "storm_touches": 0.0,
        "channels": 0.0, "conversions": 0.0, "converted_value": 0.0, "days_since_touch": null, "days_since_inbound": null, "days_since_conversion": null,
    });
    let with = |mut features: Value| {
        features.as_object_mut().expect("an object").extend(none.as_object().expect("an object").clone());
        features
    };
    // As numbers: 20 and 20.0 are one.
    let equal = "SELECT $1::jsonb = $2::jsonb";
    assert!(get::<bool>(&mut session, equal, &[&found, &json!([with(first), with(second)])]), "{found}");
    let named = "SELECT array_agg(f.feature) = (SELECT array_agg(a.name) FROM unnest((SELECT p.proargnames FROM pg_proc AS p WHERE p.proname = 'storm_features')) WITH ORDINALITY AS a (name, n)
        WHERE a.name NOT IN ('storm_id', 'as_of', 'property_id')) FROM stormops.model_features() AS f";
    assert!(get::<bool>(&mut session, named, &[]), "the catalogue is what storm_features() gives, in its order");
    // Only those in the box are scored; without one all that are active.
    register(&mut session, "v1", "lightgbm.onnx", &self::features(), None).expect("a model");
    assert_eq!(score(&mut session, hail, "v1").expect("scores"), (2, 2));
    session.batch_execute("UPDATE storms SET west = NULL, east = NULL, south = NULL, north = NULL").expect("no box");
    assert_eq!(score(&mut session, hail, "v1").expect("scores"), (4, 0));
}

#[test]
fn a_version_is_registered_once_listed_and_retired() {
    let db = Db::new("versions");
    let (_, mut session, hail) = ready(&db);
    let again = "SELECT registered, kind, inputs, uses, digest FROM stormops.register_model('v1', $1, $2)";
    let row = session.query_one(again, &[&fixture("lightgbm.onnx"), &json!(features())]).expect("the same again");
    assert!(!row.get::<_, bool>(0));
    assert_eq!(row.get::<_, Value>(2), json!([{"input": "x", "type": "number", "width": 10}]));
    assert_eq!(
        row.get::<_, Vec<String>>(3),
        ["building_value", "contact_cost", "job_margin", "longitude", "roof_material", "roof_year", "year_built"]
    );
    let other = register(&mut session, "v1", "xgboost.onnx", &features(), None);
    assert_eq!(fails_with(other, "42710").message(), "model \"v1\" is another one");
    let listed = session
        .query_one("SELECT model_version, kind, bytes, digest, retired_at IS NULL FROM stormops.models", &[])
        .expect("one");
    assert_eq!(listed.get::<_, i32>(2) as usize, fixture("lightgbm.onnx").len());
    assert_eq!((listed.get::<_, String>(3), listed.get::<_, bool>(4)), (row.get(4), true));
    for _ in 0..2 {
        session.execute("SELECT stormops.retire_model('v1')", &[]).expect("a retirement");
        assert_eq!(fails_with(score(&mut session, hail, "v1"), "55000").message(), "model \"v1\" is retired");
    }
    fails_with(session.execute("SELECT stormops.retire_model('v2')", &[]), "P0002");
    fails_with(session.execute("SELECT stormops.retire_model(NULL)", &[]), "22004");
    for change in [
        "UPDATE uplift_models SET model = ''",
        "DELETE FROM uplift_models",
        "INSERT INTO uplift_models (model_version) VALUES ('v3')",
    ] {
        fails_with(session.batch_execute(change), "42501");
    }
}

#[test]
fn what_is_no_model_is_refused_with_its_reason() {
    let db = Db::new("refusals");
    let (_, mut session, hail) = ready(&db);
    let file = fixture("lightgbm.onnx");
    let ten = json!(features());
    let none = None::<Vec<u8>>;
    for (version, file, features, sqlstate, says) in [
        (Some("v2"), Some(&file[..900]), &ten, "22023", "is damaged"),
        (Some("v2"), Some(&b"not a model"[..]), &ten, "22023", "is damaged"),
        (Some("v2"), Some(&b""[..]), &ten, "22023", "no graph"),
        (Some("v2"), Some(&file[..]), &json!(["roof_age"]), "22023", "it takes 10 features, and is given 1"),
        (Some("v2"), Some(&file[..]), &json!("roof_age; DROP TABLE storms"), "22023", "features are a list"),
        (Some("v2"), Some(&file[..]), &json!(vec!["(SELECT 1)"; 10]), "22023", "there is no feature (SELECT 1)"),
        (Some("v2"), Some(&file[..]), &json!({"y": ten}), "22023", "there is no input y"),
        (Some("v2"), Some(&fixture("forest_fault.onnx")[..]), &ten, "22023", "skl2onnx, up to 1.20 at least, drops"),
        (Some(""), Some(&file[..]), &ten, "22023", "1 to 100 characters"),
        (None, Some(&file[..]), &ten, "22004", "1 to 100 characters"),
        (Some("v2"), None, &ten, "22004", "1 to 100 characters"),
    ] {
        let error = fails_with(session.query(REGISTER, &[&version, &file, features, &none]), sqlstate);
        assert!(error.message().contains(says), "{}", error.message());
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{}", error.message());
    }
    let large = vec![0u8; (16 << 20) + 1];
    assert!(
        fails_with(session.query(REGISTER, &[&"v2", &large, &ten, &none]), "54000")
            .message()
            .contains("16777217 bytes")
    );
    assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM uplift_models", &[]), 1);

    // What a model gives is a score, or an error that names the property; and nothing is written.
    let mut missing = features();
    missing[0] = json!({"-": ["roof_year", 3000]});
    register(&mut session, "ridge", "ridge.onnx", &missing, None).expect("a model");
    let error = fails_with(score(&mut session, hail, "ridge"), "22003");
    let named =
        error.message().strip_prefix("the model gives property ").and_then(|rest| rest.get(..36)).expect("a property");
    assert!(error.message().contains("an uplift of ") && error.hint().is_some(), "{}", error.message());
    let known = "SELECT count(*) FROM properties WHERE property_id = $1";
    assert_eq!(get::<i64>(&mut session, known, &[&named.parse::<Uuid>().expect("a UUID")]), 1);
    let bare = storm(&mut session, "bare");
    session
        .batch_execute("UPDATE storms SET west = 1, east = 2, south = 50, north = 51 WHERE event_id = 'bare'")
        .expect("a box");
    for (storm, version, sqlstate, says) in [
        (Some(hail), Some("v9"), "P0002", "model \"v9\" does not exist"),
        (Some(hail), None, "22004", "does not exist"),
        (Some(Uuid::from_u128(1)), Some("v1"), "P0002", "storm"),
        (None, Some("v1"), "22004", "storm NULL does not exist"),
        (Some(bare), Some("v1"), "55000", "has no property to score"),
    ] {
        let error =
            fails_with(session.query("SELECT * FROM stormops.score_storm($1, $2)", &[&storm, &version]), sqlstate);
        assert!(error.message().contains(says) && error.hint().is_some(), "{}", error.message());
    }
    assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM lead_uplift", &[]), 0);
    assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM tenant_usage", &[]), 0);
    let twice =
        format!("BEGIN; SELECT stormops.score_storm('{hail}', 'v1'); SELECT stormops.score_storm('{hail}', 'v1')");
    assert!(fails_with(session.batch_execute(&twice), "55000").message().contains("in this transaction already"));
    session.batch_execute("ROLLBACK").expect("its end");
    // The functions behind these, called as they were not meant.
    let direct = session.batch_execute("SELECT stormops_internal.model_score('onnx', '', NULL, '{}', ROW(1)) OVER ()");
    assert_eq!(sqlstate(&direct), "22023");
}
