//! Conversion checks as an application meets them: what is compared, and when an anomaly is called.

use postgres::Client;
use postgres::types::FromSql;
use stormops_tests::rule::seeded;
use stormops_tests::tenant::scored_storm;
use stormops_tests::{Db, get};
use uuid::Uuid;

/// An outcome for each decided property: so many of a hundred convert, by decision.
fn outcomes(session: &mut Client, storm: Uuid, treated: i32, held: i32) {
    let record = "SELECT recorded FROM stormops.record_outcomes($1, (
        SELECT jsonb_agg(jsonb_build_object('property_id', property_id,
            'idempotency_key', run_id || '/' || property_id, 'converted',
            place <= members * CASE decision WHEN 'treat' THEN $2::int ELSE $3::int END / 100.0))
        FROM (SELECT *, row_number() OVER (PARTITION BY decision, reason ORDER BY property_id) AS place,
                count(*) OVER (PARTITION BY decision, reason) AS members
            FROM policy_decisions WHERE storm_id = $1 AND decision <> 'exclude') AS d))";
    session.execute(record, &[&storm, &treated, &held]).expect("outcomes");
}

fn column<T: for<'a> FromSql<'a>>(session: &mut Client, storm: Uuid, column: &str) -> T {
    let check = format!("SELECT {column} FROM stormops.check_conversion_rates($1)");
    session.query_one(&check, &[&storm]).expect("one row").get(0)
}

#[test]
fn conversion_rates_compare_what_chance_decided() {
    let db = Db::new("rates");
    let mut session = seeded(&db, 51);
    let storm = scored_storm(&mut session, "hail", 8_000);
    assert_eq!(column::<String>(&mut session, storm, "status || ' ' || verdict"), "no_policy inconclusive");
    session.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("a run");
    assert_eq!(column::<String>(&mut session, storm, "status || ' ' || verdict"), "no_outcomes inconclusive");
    outcomes(&mut session, storm, 20, 10);
    db.superuser().batch_execute("ANALYZE").expect("statistics"); // the test's own join is planned by them
    // The rule's choice is what it treated, explored away from or held out; nothing below the threshold is in it.
    let sets = "SELECT bool_and(compared) FILTER (WHERE reason IN ('above_threshold', 'explore_hold'))
            AND NOT bool_or(compared) FILTER (WHERE reason IN ('below_threshold', 'explore_treat'))
            AND bool_and(compared = (score >= 0 AND score > 0.05)) FILTER (WHERE reason = 'holdout')
        FROM stormops.compared_decisions($1) AS c JOIN policy_decisions AS d USING (property_id, reason)";
    assert!(get::<bool>(&mut session, sets, &[&storm]));
    let shares =
        "round(lift::numeric, 2) = 0.10 AND treated_n > 5 * control_n AND treated_n + control_n + not_compared = 8000";
    assert!(column::<bool>(&mut session, storm, shares));
    assert_eq!(column::<String>(&mut session, storm, "status || ' ' || verdict"), "ok ok");
    assert!(column::<bool>(
        &mut session,
        storm,
        "NOT anomaly AND NOT rule_anomaly AND awaiting = 0 AND p_value < 0.001"
    ));
    assert!(column::<bool>(&mut session, storm, "always_valid_low < lift_low AND always_valid_high > lift_high"));
}

#[test]
fn an_anomaly_waits_for_the_outcomes() {
    let db = Db::new("anomaly");
    let mut session = seeded(&db, 52);
    let storm = scored_storm(&mut session, "hail", 8_000);
    session.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("a run");
    let first = "SELECT stormops.record_outcome($1, property_id, false) FROM policy_decisions WHERE reason = 'above_threshold' LIMIT 1";
    session.execute(first, &[&storm]).expect("an outcome");
    assert!(column::<bool>(
        &mut session,
        storm,
        "rule_anomaly AND NOT anomaly AND verdict = 'inconclusive' AND awaiting > 0"
    ));
    let told =
        "SELECT anomaly AND verdict = 'anomaly' FROM stormops.check_conversion_rates($1, outcomes_final => true)";
    assert!(get::<bool>(&mut session, told, &[&storm]));
    let mut other = seeded(&db, 90);
    let storm = scored_storm(&mut other, "wind", 8_000);
    other.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("a run");
    outcomes(&mut other, storm, 8, 10);
    assert!(column::<bool>(&mut other, storm, "anomaly AND rule_anomaly AND always_valid_anomaly"));
}

#[test]
fn under_a_capacity_the_choice_is_found_by_its_propensity() {
    let db = Db::new("capacity");
    let mut session = seeded(&db, 53);
    session.execute("UPDATE policy_modes SET capacity = 3000", &[]).expect("a capacity");
    let storm = scored_storm(&mut session, "hail", 8_000);
    session.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("a run");
    outcomes(&mut session, storm, 20, 10);
    assert!(column::<bool>(
        &mut session,
        storm,
        "treated_n + control_n = 3000 AND control_n BETWEEN 300 AND 600 AND status = 'ok'"
    ));
    session.execute("UPDATE policy_modes SET capacity = NULL, holdout = 0, exploration = 0", &[]).expect("a mode");
    session.execute("SELECT stormops.apply_policy($1, supersede => true)", &[&storm]).expect("a run");
    outcomes(&mut session, storm, 20, 10);
    assert_eq!(column::<String>(&mut session, storm, "status || ' ' || verdict"), "no_control inconclusive");
    assert!(column::<bool>(
        &mut session,
        storm,
        "control_n = 0 AND control_rate IS NULL AND lift IS NULL AND NOT anomaly"
    ));
}
