//! A storm's scores against earlier ones, and what they were worth, as ordinary roles see it.

use postgres::Client;
use stormops_tests::tenant::{acting_as, session, storm, tenant};
use stormops_tests::twins::{self, Twins};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

/// A storm with `n` scores of a model, in one statement: a bell around `center`, the same in every run.
#[track_caller]
fn scored(session: &mut Client, event: &str, model: &str, n: i32, center: f64) -> Uuid {
    let storm = storm(session, event);
    session
        .execute(
            "INSERT INTO properties (property_id, external_id)
             SELECT md5('property ' || i)::uuid, i FROM generate_series(1, $1::int) AS i
             ON CONFLICT (tenant_id, property_id) DO NOTHING",
            &[&n],
        )
        .expect("properties");
    score(session, storm, model, 1, n, center);
    storm
}

/// Scores the properties from one number to another.
#[track_caller]
fn score(session: &mut Client, storm: Uuid, model: &str, from: i32, to: i32, center: f64) {
    let scores = "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
        SELECT $1, md5('property ' || i)::uuid, $2, $5::float8 + 0.1 * (u.a + u.b + u.c - 1.5)
        FROM generate_series($3::int, $4::int) AS i, LATERAL (
            SELECT mod(i * 0.618033988749, 1), mod(i * 0.754877666247, 1), mod(i * 0.569840290998, 1)
        ) AS u (a, b, c)";
    session.execute(scores, &[&storm, &model, &from, &to, &center]).expect("scores");
}

#[derive(Debug, PartialEq)]
struct Check {
    n: i64,
    severity: String,
    drift_detected: Option<bool>,
    reference: Option<String>,
}

#[track_caller]
fn check(session: &mut Client, storm: Uuid) -> Check {
    let row = session
        .query_one(
            "SELECT n, severity, drift_detected, reference FROM stormops.check_uplift_distribution($1)",
            &[&storm],
        )
        .expect("a check");
    Check { n: row.get(0), severity: row.get(1), drift_detected: row.get(2), reference: row.get(3) }
}

fn expect(n: i64, severity: &str, drift_detected: Option<bool>, reference: Option<&str>) -> Check {
    Check { n, severity: severity.to_owned(), drift_detected, reference: reference.map(str::to_owned) }
}

#[test]
fn a_storm_is_compared_with_earlier_ones_of_its_model() {
    let db = Db::new("earlier");
    let (_, mut session) = tenant(&db, "Abc");
    let first = scored(&mut session, "first", "v1", 2000, 0.20);
    assert_eq!(check(&mut session, first), expect(2000, "new_model", None, None));
    let same = scored(&mut session, "same", "v1", 1500, 0.20);
    assert_eq!(check(&mut session, same), expect(1500, "none", Some(false), Some("earlier storms")));
    let moved = scored(&mut session, "moved", "v1", 1500, 0.25);
    assert_eq!(check(&mut session, moved), expect(1500, "drift", Some(true), Some("earlier storms")));
    // The fixed rule does not see it: the mean is still between 0.10 and 0.30.
    let band = "SELECT mean_out_of_band FROM stormops.check_uplift_distribution($1)";
    assert!(!get::<bool>(&mut session, band, &[&moved]));
    let other = scored(&mut session, "other", "v2", 1500, 0.40);
    assert_eq!(check(&mut session, other), expect(1500, "new_model", None, None));
    assert!(get::<bool>(&mut session, band, &[&other]));
    let few = scored(&mut session, "few", "v1", 20, 0.21);
    assert_eq!(check(&mut session, few), expect(20, "low_power", Some(false), Some("earlier storms")));
    // Its own and later scores are no reference.
    assert_eq!(check(&mut session, first), expect(2000, "new_model", None, None));
}

#[test]
fn the_latest_score_of_a_property_counts() {
    let db = Db::new("latest");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = scored(&mut session, "hail", "v1", 500, 0.20);
    score(&mut session, hail, "v1", 1, 100, 0.30); // scored again, later
    let query = "SELECT n, mean FROM stormops.check_uplift_distribution($1)";
    let row = session.query_one(query, &[&hail]).expect("a check");
    assert_eq!(row.get::<_, i64>(0), 500);
    assert!((row.get::<_, f64>(1) - 0.22).abs() < 0.002, "a fifth moved by 0.1");
    // A newer model scored a part: the check is of its scores.
    score(&mut session, hail, "v2", 1, 200, 0.15);
    let query = "SELECT n, model_version FROM stormops.check_uplift_distribution($1)";
    let row = session.query_one(query, &[&hail]).expect("a check");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, String>(1)), (200, "v2".to_owned()));
}

/// Neighbours' scores are alike: a storm whose cells differ by chance moves its mean without any drift.
#[test]
fn neighbours_count_less() {
    let db = Db::new("neighbours");
    let (_, mut session) = tenant(&db, "Abc");
    let first = scored(&mut session, "first", "v1", 3000, 0.20);
    let effect = "SELECT clusters, design_effect, few_clusters, n FROM stormops.score_design_effect($1)";
    let row = session.query_one(effect, &[&first]).expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(3)), (3000, 3000), "each without coordinates is its own");
    assert!((row.get::<_, f64>(1) - 1.0).abs() < 0.1 && !row.get::<_, bool>(2));
    // Forty cells of 75 houses, each shifted by its own amount, the sum of which is not zero.
    session
        .execute(
            "UPDATE properties SET longitude = -97 + 0.01 * mod(external_id::int, 40) + 0.005, latitude = 35.005",
            &[],
        )
        .expect("coordinates");
    let second = storm(&mut session, "second");
    session
        .execute(
            "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
             SELECT $1, p.property_id, 'v1', l.uplift + 0.06 * (mod(mod(p.external_id::int, 40) * 0.618033988749, 1) - 0.4)
             FROM properties AS p JOIN lead_uplift AS l ON l.storm_id = $2 AND l.property_id = p.property_id",
            &[&second, &first],
        )
        .expect("scores");
    let row = session.query_one(effect, &[&second]).expect("a row");
    assert_eq!(row.get::<_, i64>(0), 40);
    // By hand: the variance of the mean by cells over the plain one, the same scores in plain SQL.
    let by_hand: f64 = get(
        &mut session,
        "SELECT sum(s * s) * 40 / 39 / (sum(n) ^ 2) / (min(v) / sum(n)) FROM (
            SELECT sum(x - m) AS s, count(*)::float8 AS n, min(v) AS v FROM (
                SELECT uplift AS x, avg(uplift) OVER () AS m, variance(uplift) OVER () AS v,
                    mod(p.external_id::int, 40) AS cell
                FROM lead_uplift AS l JOIN properties AS p USING (tenant_id, property_id) WHERE storm_id = $1
            ) AS x GROUP BY cell) AS c",
        &[&second],
    );
    assert!(by_hand > 2.0 && (row.get::<_, f64>(1) / by_hand - 1.0).abs() < 1e-9, "{by_hand}");
    let severity = "SELECT severity, p_adjusted FROM stormops.check_uplift_distribution($1, design_effect => $2)";
    let p = |session: &mut Client, effect: f64| -> f64 {
        session.query_one(severity, &[&second, &effect]).expect("a check").get(1)
    };
    assert!(p(&mut session, by_hand) > 100.0 * p(&mut session, 1.0));
    for refused in [0.5, f64::NAN, 1e7] {
        fails_with(session.query(severity, &[&second, &refused]), "22023");
    }
    let (empty, equal) = (storm(&mut session, "empty"), storm(&mut session, "equal"));
    let equal_scores = "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
        SELECT $1, property_id, 'v1', 0.1 FROM properties";
    session.execute(equal_scores, &[&equal]).expect("scores");
    for (storm, clusters, n) in [(empty, 0, 0), (equal, 40, 3000)] {
        let row = session.query_one(effect, &[&storm]).expect("a row");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, Option<f64>>(1), row.get::<_, i64>(3)), (clusters, None, n));
    }
}

#[test]
fn a_baseline_is_kept_and_replaced_by_crew_chiefs() {
    let db = Db::new("baseline");
    let (abc, mut session) = tenant(&db, "Abc");
    let (first, second) = (scored(&mut session, "1", "v1", 2000, 0.20), scored(&mut session, "2", "v1", 1000, 0.30));
    let set = "SELECT n, replaced FROM stormops.set_baseline($1)";
    let row = acting_as(&db, abc, "crew_chief").query_one(set, &[&first]).expect("a baseline");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (2000, false));
    assert_eq!(check(&mut session, second).severity, "drift");
    assert!(check(&mut session, second).reference.is_some_and(|name| name.starts_with("baseline default of ")));
    assert!(get::<bool>(&mut session, "SELECT replaced FROM stormops.set_baseline($1)", &[&second]));
    assert_eq!(check(&mut session, second).severity, "none", "equal to itself");
    let named = "SELECT severity FROM stormops.check_uplift_distribution($1, $2)";
    fails_with(session.query(named, &[&first, &"spring"]), "P0002");
    session.execute("SELECT stormops.set_baseline($1, 'spring')", &[&first]).expect("another baseline");
    assert_eq!(get::<String>(&mut session, named, &[&second, &"spring"]), "drift");
    let other = scored(&mut session, "3", "v2", 100, 0.20);
    assert_eq!(get::<String>(&mut session, named, &[&other, &"spring"]), "new_model");

    for role in ["field_user", "viewer"] {
        fails_with(acting_as(&db, abc, role).query(set, &[&first]), "42501");
    }
    let empty = storm(&mut session, "empty");
    fails_with(session.query(set, &[&empty]), "55000");
    fails_with(session.query("SELECT stormops.set_baseline($1, repeat('x', 101))", &[&first]), "22023");
    fails_with(session.execute("UPDATE uplift_baselines SET n = 1", &[]), "42501");
}

const READERS: [&str; 6] = [
    "check_uplift_distribution",
    "uplift_drift",
    "score_design_effect",
    "uplift_summary",
    "uplift_curve",
    "uplift_calibration",
];

#[test]
fn readers_see_one_tenant_and_write_nothing() {
    let twins = Twins::new("readers");
    let storm = twins::id(2); // of B alone
    for reader in READERS {
        let call = format!("SELECT to_jsonb(r) FROM stormops.{reader}('{storm}') AS r");
        let error = twins.run("tapp", &format!("ENTER $a; {call}"));
        fails_with(error, "P0002");
        fails_with(twins.run("tapp", &format!("ENTER $a; SELECT stormops.{reader}(NULL)")), "22004");
        fails_with(twins.run("tapp", &call), "0B000");
        fails_with(twins.run("mon", &call), "42501");
        // A standby has no transaction ids to give either.
        let script =
            format!("BEGIN READ ONLY; ENTER $b; {call}; SELECT pg_current_xact_id_if_assigned() IS NULL; COMMIT");
        let answer = twins.run("tapp", &script).expect("an answer");
        assert_eq!(answer.last().map(String::as_str), Some("t"), "{reader} took a transaction id");
    }
}

#[test]
fn a_storm_without_scores_or_decisions_has_a_status() {
    let db = Db::new("nothing");
    let (_, mut session) = tenant(&db, "Abc");
    let empty = storm(&mut session, "empty");
    assert_eq!(check(&mut session, empty), expect(0, "low_power", None, None));
    for none in ["uplift_drift", "uplift_curve", "uplift_calibration"] {
        let rows = session.query(&format!("SELECT * FROM stormops.{none}($1)"), &[&empty]).expect("no row");
        assert!(rows.is_empty(), "{none}");
    }
    let row = session
        .query_one("SELECT status, n, qini, autoc, run_id FROM stormops.uplift_summary($1)", &[&empty])
        .expect("a summary");
    assert_eq!((row.get::<_, String>(0), row.get::<_, i64>(1)), ("no_rows".to_owned(), 0));
    assert_eq!((row.get::<_, Option<f64>>(2), row.get::<_, Option<f64>>(3)), (None, None));
    fails_with(session.query("SELECT stormops.check_uplift_distribution($1, alpha => 0)", &[&empty]), "22023");
    fails_with(session.query("SELECT stormops.uplift_curve($1, 0)", &[&empty]), "22023");
}

/// Converts by the score: 10 percent, and of the treated the score more.
const OUTCOMES: &str = "
    SELECT stormops.record_outcomes($1, (
        SELECT jsonb_agg(jsonb_build_object('property_id', d.property_id, 'converted',
            stormops.draw(d.tenant_id, d.storm_id, d.property_id, 'outcome')
                < 0.1 + CASE d.decision WHEN 'treat' THEN greatest(d.score, 0) ELSE 0 END))
        FROM policy_decisions AS d))";

#[test]
fn what_scores_were_worth_is_measured_where_chance_decided() {
    let db = Db::new("worth");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = scored(&mut session, "hail", "v1", 20_000, 0.15);
    session
        .execute("UPDATE properties SET do_not_contact = true WHERE external_id::int % 100 = 0", &[])
        .expect("excluded");
    session.execute("UPDATE policy_modes SET breakeven_uplift = 0.15", &[]).expect("a break-even in the middle");
    session.execute("SELECT stormops.apply_policy($1, 'moderate')", &[&hail]).expect("decisions");
    session.execute(OUTCOMES, &[&hail]).expect("outcomes");
    let row = session
        .query_one(
            "SELECT status, n, decided, weighted, uplift, uplift_se, qini, rate_qini, rate_qini_se, slope, slope_se,
                outcomes_due > now(), treated + control
             FROM stormops.uplift_summary($1)",
            &[&hail],
        )
        .expect("a summary");
    let number = |i| row.get::<_, f64>(i);
    assert_eq!(row.get::<_, String>(0), "ok");
    assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (19_800, 19_800), "all but the excluded");
    assert_eq!(row.get::<_, i64>(12), 19_800);
    assert!(row.get::<_, bool>(3) && row.get::<_, bool>(11));
    assert!((number(4) - 0.15).abs() < 4.0 * number(5), "uplift {} ± {}", number(4), number(5));
    assert!((number(9) - 1.0).abs() < 4.0 * number(10), "slope {} ± {}", number(9), number(10));
    let points = get::<i64>(&mut session, "SELECT count(*) FROM stormops.uplift_curve($1, 50)", &[&hail]);
    assert_eq!(points, 51);
    let bins = get::<i64>(&mut session, "SELECT sum(n)::bigint FROM stormops.uplift_calibration($1)", &[&hail]);
    assert_eq!(bins, 19_800);

    // Without exploration the rule alone decides below the threshold: nothing to learn there.
    session.execute("UPDATE policy_modes SET exploration = 0", &[]).expect("no exploration");
    session.execute("SELECT stormops.apply_policy($1, 'moderate', true)", &[&hail]).expect("decisions");
    let query = "SELECT n < decided AND n = (SELECT count(*) FROM policy_decisions WHERE score > 0.15 AND decision <> 'exclude')
            AND NOT weighted AND status = 'no_events' AND qini IS NULL AND uplift IS NULL
        FROM stormops.uplift_summary($1)";
    assert!(get::<bool>(&mut session, query, &[&hail]));
    // Without a holdout either there is no chance at all.
    session.execute("UPDATE policy_modes SET holdout = 0", &[]).expect("no holdout");
    session.execute("SELECT stormops.apply_policy($1, 'moderate', true)", &[&hail]).expect("decisions");
    assert_eq!(get::<String>(&mut session, "SELECT status FROM stormops.uplift_summary($1)", &[&hail]), "no_rows");
}

#[test]
fn baselines_come_back_from_a_dump() {
    let db = Db::new("dumped");
    let (abc, mut session) = tenant(&db, "Abc");
    let first = scored(&mut session, "first", "v1", 500, 0.20);
    session.execute("SELECT stormops.set_baseline($1)", &[&first]).expect("a baseline");
    let restored = Db::empty("restored");
    restored.pg_restore(&db.pg_dump(&["-Fc"]), &[]);
    let mut there = self::session(&restored, abc);
    assert_eq!(check(&mut there, first).severity, "none");
}
