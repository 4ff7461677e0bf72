//! What is wrong with storms, as an operator's run finds it for every tenant: raised, the same as the tenant's own run
//! finds, gone by itself, and looked for only where something came.

use postgres::Client;
use stormops_tests::tenant::{scored_storm, session, tenant};
use stormops_tests::{Db, get};
use uuid::Uuid;

/// An operator's run over all tenants.
fn operator_runs(db: &Db) {
    db.as_role("op").execute("SELECT stormops.run_health_checks()", &[]).expect("a run");
}

/// The open alerts about storms that a session sees.
fn open(session: &mut Client) -> Vec<(String, String)> {
    let alerts = "SELECT issue, severity FROM stormops.alerts() WHERE evidence ? 'storm_id' ORDER BY 1";
    session.query(alerts, &[]).expect("alerts").iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn only(issue: &str, severity: &str) -> Vec<(String, String)> {
    vec![(issue.to_owned(), severity.to_owned())]
}

/// Scores the storm's properties again, around a mean.
fn score_around(session: &mut Client, storm: Uuid, mean: f64) {
    let again = "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift, scored_at)
        SELECT DISTINCT ON (property_id) storm_id, property_id, 'v1', $2::float8 + 0.01 * (get_byte(uuid_send(property_id), 0) / 127.5 - 1), clock_timestamp()
        FROM lead_uplift WHERE storm_id = $1";
    session.execute(again, &[&storm, &mean]).expect("scores");
}

fn outcomes(session: &mut Client, storm: Uuid, converted: &str) {
    let record = format!(
        "SELECT stormops.record_outcomes('{storm}', (
            SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'converted', {converted}, 'idempotency_key', gen_random_uuid()))
            FROM policy_decisions WHERE decision <> 'exclude' AND storm_id = '{storm}'))"
    );
    session.execute(&record, &[]).expect("outcomes");
}

#[test]
fn scores_out_of_the_band_are_an_alert_until_they_are_back() {
    let db = Db::new("band");
    let (abc, mut session) = tenant(&db, "Abc");
    let (_, mut good) = tenant(&db, "Good");
    let storm = scored_storm(&mut session, "hail", 100); // whose mean is 0.05
    let theirs = scored_storm(&mut good, "hail", 100);
    score_around(&mut good, theirs, 0.2);
    operator_runs(&db);
    assert_eq!(open(&mut session), only("uplift_drift", "warning"));
    assert_eq!(open(&mut good), [], "the latest scores count");
    let id = "SELECT alert_id::text || evidence FROM stormops.alerts() WHERE issue = 'uplift_drift'";
    let raised: String = get(&mut session, id, &[]);
    session.execute("SELECT stormops.run_health_checks()", &[]).expect("its own run");
    assert_eq!(get::<String>(&mut session, id, &[]), raised, "the same alert, and the same evidence");

    score_around(&mut session, storm, 0.2);
    operator_runs(&db);
    assert_eq!(open(&mut session), only("uplift_drift", "warning"), "away once");
    operator_runs(&db);
    assert_eq!(open(&mut session), [], "and twice");

    // A suspended tenant's storms wait.
    score_around(&mut session, storm, 0.4);
    let mut operator = db.as_role("op");
    operator.execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    operator_runs(&db);
    assert_eq!(open(&mut session), []);
    operator.execute("SELECT stormops.reactivate_tenant($1, 'paid')", &[&abc]).expect("its end");
    operator_runs(&db);
    assert_eq!(open(&mut session), only("uplift_drift", "warning"));
}

#[test]
fn a_missing_control_and_a_low_lift_are_alerts_until_they_are_mended() {
    let db = Db::new("lift");
    let (_, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", 400);
    score_around(&mut session, storm, 0.2);
    session.batch_execute("UPDATE policy_modes SET holdout = 0, exploration = 0").expect("no control");
    session.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("a run");
    operator_runs(&db);
    assert_eq!(open(&mut session), only("no_control", "warning"));
    session.batch_execute("UPDATE policy_modes SET holdout = 0.5").expect("a control");
    session.execute("SELECT stormops.apply_policy($1, supersede => true)", &[&storm]).expect("a run");
    operator_runs(&db);
    operator_runs(&db);
    assert_eq!(open(&mut session), [], "gone by itself");

    outcomes(&mut session, storm, "false");
    operator_runs(&db);
    assert_eq!(open(&mut session), only("low_lift", "critical"), "nobody converts, treated or not");
    outcomes(&mut session, storm, "decision = 'treat'");
    operator_runs(&db);
    operator_runs(&db);
    assert_eq!(open(&mut session), [], "all of the treated do");
}

#[test]
fn scores_that_left_a_baseline_are_an_alert_in_whatever_band_they_are() {
    let db = Db::new("baseline");
    let (_, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", 300);
    score_around(&mut session, storm, 0.15);
    session.execute("SELECT stormops.set_baseline($1)", &[&storm]).expect("a baseline");
    operator_runs(&db);
    assert_eq!(open(&mut session), []);
    score_around(&mut session, storm, 0.25);
    operator_runs(&db);
    assert_eq!(open(&mut session), only("uplift_drift", "critical"));
}

#[test]
fn storms_to_which_nothing_came_are_looked_at_in_a_complete_run_only() {
    let db = Db::new("unchanged");
    let (abc, mut session1) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session1, "hail", 100);
    score_around(&mut session1, storm, 0.2);
    operator_runs(&db);
    // Scores that say that they came long ago.
    let late = "UPDATE stormops.lead_uplift SET uplift = 0.5, scored_at = scored_at - interval '1 hour'";
    db.superuser().execute(late, &[]).expect("old scores");
    operator_runs(&db);
    assert_eq!(open(&mut session1), []);
    db.as_role("op").execute("SELECT stormops.run_health_checks(complete => true)", &[]).expect("a run");
    assert_eq!(open(&mut session(&db, abc)), only("uplift_drift", "warning"));
}

#[test]
fn a_storm_that_is_over_alarms_nobody() {
    let db = Db::new("over");
    let mut session = tenant(&db, "Abc").1;
    let [closed, deleted] = ["hail", "wind"].map(|event| scored_storm(&mut session, event, 100));
    operator_runs(&db);
    assert_eq!(open(&mut session).len(), 2, "of scores around 0.05");
    session.execute("UPDATE storms SET status = 'closed' WHERE storm_id = $1", &[&closed]).expect("an end");
    operator_runs(&db);
    assert_eq!(open(&mut session), only("uplift_drift", "warning"), "the other's");
    session.execute("DELETE FROM lead_uplift WHERE storm_id = $1", &[&deleted]).expect("no scores");
    session.execute("DELETE FROM storms WHERE storm_id = $1", &[&deleted]).expect("no storm");
    session.execute("SELECT stormops.run_health_checks()", &[]).expect("its own run");
    assert_eq!(open(&mut session), []);
}
