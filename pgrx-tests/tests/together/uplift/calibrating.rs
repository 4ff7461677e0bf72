//! Scores as what they turned out to stand for.

use stormops_tests::rule::seeded;
use stormops_tests::tenant::{acting_as, session, tenant};
use stormops_tests::{Db, fails_with, get};

use super::answered::{BY_HALF_THE_SCORE, age, answered_storm, decided_storm};

const CALIBRATE: &str = "SELECT * FROM stormops.calibrate_model($1, include_open => true)";
const SOME: i32 = 6000;

#[test]
fn scores_that_promise_twice_as_much_are_halved() {
    let db = Db::new("halved");
    let mut session = seeded(&db, 7);
    answered_storm(&mut session, "hail", SOME, BY_HALF_THE_SCORE);
    let rows = session.query(CALIBRATE, &[&"v1"]).expect("a calibration");
    assert_eq!(rows.len(), 10);
    let column = |name: &str| rows.iter().map(|row| row.get::<_, f64>(name)).collect::<Vec<_>>();
    let (scores, effects, sds, errors) = (column("mean_score"), column("effect"), column("sd"), column("measured_se"));
    assert!(scores.is_sorted() && effects.is_sorted(), "{scores:?} {effects:?}");
    assert!(sds.iter().zip(&errors).all(|(sd, error)| 0.0 < *sd && sd < error), "drawing together makes surer");
    for (score, (effect, sd)) in scores.iter().zip(effects.iter().zip(&sds)) {
        assert!((effect - 0.5 * score.max(0.0)).abs() < 4.0 * sd, "{effect} +- {sd} of {score}");
    }
    assert!(effects[9] < 0.4, "a score of 0.47 does not stand for that: {effects:?}");
    // What is kept answers for any score: straight between, level beyond.
    let at = "SELECT u.effect FROM uplift_calibrations AS c, stormops.calibrated_uplift($1, c.scores, c.effects, c.effect_sds) AS u
        WHERE c.model_version = 'v1'";
    let mut of = |score: f64| get::<f64>(&mut session, at, &[&score]);
    assert_eq!((of(-1.0), of(scores[0]), of(1.0)), (effects[0], effects[0], effects[9]));
    let middle = of((scores[4] + scores[5]) / 2.0);
    assert!((middle - (effects[4] + effects[5]) / 2.0).abs() < 1e-12);
    let same = "SELECT count(*) = 10 AND bool_and(a = b) FROM (
        SELECT m::text AS a, c::text AS b FROM stormops.model_calibration('v1', include_open => true) AS m
        JOIN (SELECT * FROM stormops.calibrate_model('v1', include_open => true)) AS c USING (bin)) AS s";
    assert!(get::<bool>(&mut session, same, &[]), "the reader shows what would be kept, and it is kept again");
}

#[test]
fn it_is_refused_until_there_are_outcomes() {
    let db = Db::new("early");
    let (_, mut session) = tenant(&db, "Abc");
    fails_with(session.query(CALIBRATE, &[&"v1"]), "55000");
    decided_storm(&mut session, "hail", 1000);
    let error = fails_with(session.query(CALIBRATE, &[&"v1"]), "55000");
    assert!(error.message().contains("does not show"), "{}", error.message());
    fails_with(session.query(CALIBRATE, &[&"v9"]), "55000");
    fails_with(session.query(CALIBRATE, &[&None::<&str>]), "22004");
    let error = fails_with(session.query("SELECT stormops.calibrate_model('v1')", &[]), "55000");
    assert!(error.message().contains("still due"), "{}", error.message());
    let mut enough = tenant(&db, "Enough").1;
    answered_storm(&mut enough, "hail", SOME / 2, BY_HALF_THE_SCORE);
    for bins in [1, 101] {
        fails_with(enough.query("SELECT stormops.model_calibration('v1', $1, true)", &[&bins]), "22023");
    }
    age(&db);
    enough.query("SELECT stormops.calibrate_model('v1')", &[]).expect("once outcomes are complete");
    for (scores, effects) in
        [("{0.1,0.1}", "{0,0}"), ("{0,0.1}", "{0.2,0.1}"), ("{0,NULL}", "{0,0}"), ("{}", "{}"), ("{0}", "{0,1}")]
    {
        let call = "SELECT stormops.calibrated_uplift(0.1, ($1::text)::float8[], ($2::text)::float8[], '{0.1,0.1}')";
        fails_with(enough.query(call, &[&scores, &effects]), "22023");
    }
}

#[test]
fn whose_it_is_and_who_may() {
    let db = Db::new("whose_calibration");
    let (abc, mut session_abc) = tenant(&db, "Abc");
    let (xyz, mut session_xyz) = tenant(&db, "Xyz");
    answered_storm(&mut session_abc, "hail", SOME / 2, BY_HALF_THE_SCORE);
    for role in ["viewer", "field_user", "crew_chief"] {
        let mut user = acting_as(&db, abc, role);
        fails_with(user.query(CALIBRATE, &[&"v1"]), "42501");
        assert_eq!(user.execute("DELETE FROM uplift_calibrations", &[]).expect("finds none of its own"), 0);
        // Looking is anybody's, on a standby too.
        let look = "BEGIN READ ONLY; SET LOCAL app.current_tenant = '$'; SELECT stormops.model_calibration('v1', include_open => true);
            SELECT pg_current_xact_id_if_assigned() IS NULL; COMMIT";
        user.simple_query(&look.replace('$', &abc.to_string())).expect("a reader");
    }
    acting_as(&db, abc, "admin").query(CALIBRATE, &[&"v1"]).expect("a calibration");
    fails_with(session_xyz.query(CALIBRATE, &[&"v1"]), "55000");
    let count = "SELECT count(*) FROM uplift_calibrations";
    assert_eq!((get::<i64>(&mut session_abc, count, &[]), get::<i64>(&mut session_xyz, count, &[])), (1, 0));
    fails_with(session_abc.execute("UPDATE uplift_calibrations SET n = 1", &[]), "42501");
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'test')", &[&xyz]).expect("suspended");
    fails_with(session(&db, xyz).query(CALIBRATE, &[&"v1"]), "55000");
    // And back to the scores.
    assert_eq!(session_abc.execute("DELETE FROM uplift_calibrations", &[]).expect("by an admin"), 1);
}

#[test]
fn policies_decide_by_it_while_it_is_there() {
    let db = Db::new("by_calibration");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = answered_storm(&mut session, "hail", SOME, BY_HALF_THE_SCORE);
    session.execute("UPDATE policy_modes SET breakeven_uplift = 0.15", &[]).expect("a break-even");
    let preview = |session: &mut postgres::Client| {
        let row =
            session.query_one("SELECT basis, treat FROM stormops.preview_policy($1)", &[&hail]).expect("a preview");
        (row.get::<_, String>(0), row.get::<_, i64>(1))
    };
    let (basis, by_score) = preview(&mut session);
    assert_eq!(basis, "scores");
    session.query(CALIBRATE, &[&"v1"]).expect("a calibration");
    let (basis, by_effect) = preview(&mut session);
    assert!(basis == "calibrations" && by_effect < by_score, "{by_effect} of {by_score}");
    // Every decision is that of the rule on the effect; the log keeps the score.
    let wrong = "SELECT count(*) FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate')) AS d
        JOIN lead_uplift AS l ON l.storm_id = $1 AND l.property_id = d.property_id
        JOIN uplift_calibrations AS c ON c.model_version = d.model_version
        CROSS JOIN LATERAL stormops.calibrated_uplift(l.uplift, c.scores, c.effects, c.effect_sds) AS u
        WHERE abs(d.value - (u.effect - 0.15)) > 1e-12 OR d.score <> l.uplift
            OR d.reason = 'above_threshold' AND u.effect < 0.15 OR d.reason = 'below_threshold' AND u.effect >= 0.15";
    assert_eq!(get::<i64>(&mut session, wrong, &[&hail]), 0);
    // A run can be decided again from its parameters, whatever became of the calibration.
    let run = "SELECT run_id FROM stormops.apply_policy($1, supersede => true)";
    let run: uuid::Uuid = get(&mut session, run, &[&hail]);
    // It is valued, and explained, by what it decided by.
    let outcome = "SELECT recorded FROM stormops.record_outcome($1,
        (SELECT property_id FROM policy_decisions WHERE storm_id = $1 AND reason = 'above_threshold' LIMIT 1), true)";
    assert!(get::<bool>(&mut session, outcome, &[&hail]));
    let weight = "SELECT largest_weight FROM stormops.evaluate_policy($1, 'moderate')";
    assert_eq!(get::<f64>(&mut session, weight, &[&hail]), 1.0, "the policy that was applied");
    let explained =
        "SELECT string_agg(DISTINCT d.reason || ' ' || e.outcome, ', ' ORDER BY d.reason || ' ' || e.outcome)
        FROM (SELECT reason, property_id, row_number() OVER (PARTITION BY reason ORDER BY property_id) AS n
            FROM policy_decisions WHERE storm_id = $1) AS d
        CROSS JOIN LATERAL stormops.explain_decision($1, d.property_id) AS e
        WHERE d.n <= 20 AND d.reason LIKE '%threshold' AND e.rule = 'break-even'";
    let explained: String = get(&mut session, explained, &[&hail]);
    assert_eq!(explained, "above_threshold holds, below_threshold fails");
    session.execute("DELETE FROM uplift_calibrations", &[]).expect("by an admin");
    let again = "SELECT count(*) FROM policy_decisions_log AS l FULL JOIN (
            SELECT d.* FROM policy_runs AS r, stormops.policy_decisions(r.storm_id, r.parameters) AS d WHERE r.run_id = $1
        ) AS d USING (property_id, decision, reason, propensity, value, score)
        WHERE l.run_id = $1 AND d.property_id IS NULL OR l.run_id IS NULL";
    assert_eq!(get::<i64>(&mut session, again, &[&run]), 0);
    assert_eq!(preview(&mut session), ("scores".to_owned(), by_score));
}
