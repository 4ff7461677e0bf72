//! Alerts: one for a condition, answered, silenced, and gone by themselves; and the runbook.

use postgres::Client;
use stormops_tests::tenant::{acting_as, scored_storm, tenant};
use stormops_tests::{Db, fails_with, get, sqlstate};
use uuid::Uuid;

/// The database's time goes on, so that what is declared is due again.
fn check(db: &Db, session: &mut Client) -> (i64, i64) {
    db.superuser()
        .execute("UPDATE stormops.expectations SET judged_at = judged_at - interval '1 hour'", &[])
        .expect("an hour");
    let row = session
        .query_one("SELECT alerts_raised, alerts_resolved FROM stormops.run_health_checks(complete => true)", &[])
        .expect("a run");
    (row.get(0), row.get(1))
}

fn open(session: &mut Client) -> Vec<(String, String)> {
    let rows = session
        .query("SELECT issue, state FROM stormops.alerts() WHERE issue <> 'data_quality' ORDER BY 1", &[])
        .expect("alerts");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn said(issue: &str, state: &str) -> Vec<(String, String)> {
    vec![(issue.to_owned(), state.to_owned())]
}

/// A tenant, half of whose properties have no address, which it minds.
fn complaining(db: &Db) -> (Uuid, Client) {
    let (abc, mut session) = tenant(db, "Abc");
    session
        .batch_execute(
            "INSERT INTO properties (external_id, address) VALUES ('1', '1 Main St'), ('2', NULL);
             SELECT stormops.expect('properties', 'not_null', '{address}')",
        )
        .expect("an expectation");
    (abc, session)
}

const BREAK: &str = "UPDATE properties SET address = NULL WHERE external_id = '2'";
const MEND: &str = "UPDATE properties SET address = '2 Main St' WHERE external_id = '2'";

#[test]
fn a_condition_is_one_alert_until_it_was_away_twice_and_comes_back_as_another() {
    let db = Db::new("once");
    let mut session = complaining(&db).1;
    let first_id = "SELECT alert_id FROM stormops.alerts() WHERE issue = 'missing_values'";
    assert_eq!(check(&db, &mut session), (2, 0), "this, and the platform's objective");
    let first: Uuid = get(&mut session, first_id, &[]);
    for _ in 0..2 {
        assert_eq!(check(&db, &mut session), (0, 0), "once");
    }
    // It comes and goes: one alert all the while.
    for (change, resolved) in [(MEND, false), (BREAK, false), (MEND, false), (MEND, true)] {
        session.batch_execute(change).expect("a change");
        check(&db, &mut session);
        assert_eq!(open(&mut session).is_empty(), resolved, "{change}");
    }
    session.batch_execute(BREAK).expect("a change");
    check(&db, &mut session);
    assert_ne!(get::<Uuid>(&mut session, first_id, &[]), first);
    let all = "SELECT array_agg(state ORDER BY raised_at) FROM stormops.alerts(true) WHERE issue = 'missing_values'";
    assert_eq!(get::<Vec<String>>(&mut session, all, &[]), ["resolved", "open"]);
    // Nobody minds any more.
    session.batch_execute("DELETE FROM expectations").expect("taken back");
    check(&db, &mut session);
    assert_eq!(open(&mut session), []);
}

#[test]
fn alerts_are_acknowledged_and_silenced_by_those_who_may() {
    let db = Db::new("answers");
    let (abc, mut session) = complaining(&db);
    check(&db, &mut session);
    let id: Uuid = get(&mut session, "SELECT alert_id FROM stormops.alerts() WHERE issue = 'missing_values'", &[]);
    for role in ["viewer", "field_user"] {
        let mut user = acting_as(&db, abc, role);
        assert_eq!(open(&mut user), said("missing_values", "open"), "{role} sees it");
        fails_with(user.execute("SELECT stormops.acknowledge_alert($1)", &[&id]), "42501");
        fails_with(user.execute("SELECT stormops.silence_alert($1, now())", &[&id]), "42501");
    }
    let mut chief = acting_as(&db, abc, "crew_chief");
    chief.execute("SELECT stormops.acknowledge_alert($1, 'on it')", &[&id]).expect("an answer");
    session.execute("SELECT stormops.acknowledge_alert($1)", &[&id]).expect("again");
    let by = "SELECT acknowledged_by = (SELECT user_id::text FROM users WHERE role = 'crew_chief'), note FROM stormops.alerts() WHERE alert_id = $1";
    let by = session.query_one(by, &[&id]).expect("an alert");
    assert_eq!((by.get(0), by.get(1)), (true, "on it"), "the first stays named");
    assert_eq!(open(&mut session), said("missing_values", "acknowledged"));
    chief.execute("SELECT stormops.silence_alert($1, now() + interval '1 hour')", &[&id]).expect("silence");
    assert_eq!(open(&mut session), said("missing_values", "silenced"));
    check(&db, &mut session);
    assert_eq!(open(&mut session), said("missing_values", "silenced"), "the condition does not end it");
    chief.execute("SELECT stormops.silence_alert($1, now())", &[&id]).expect("an end");
    assert_eq!(open(&mut session), said("missing_values", "acknowledged"));

    for (call, code) in [
        ("acknowledge_alert(NULL)", "22004"),
        ("acknowledge_alert(stormops.new_id())", "P0002"),
        ("silence_alert(stormops.new_id(), NULL)", "22004"),
        ("silence_alert(stormops.new_id(), 'infinity')", "22023"),
        ("silence_alert(stormops.new_id(), now() + interval '1 year')", "22023"),
    ] {
        let error = fails_with(session.execute(&format!("SELECT stormops.{call}"), &[]), code);
        assert!(error.hint().is_some(), "{call}");
    }
    let long = "SELECT stormops.acknowledge_alert($1, repeat('x', 501))";
    fails_with(session.execute(long, &[&id]), "22023");
    let mut other = tenant(&db, "Other").1;
    assert_eq!(open(&mut other), []);
    fails_with(other.execute("SELECT stormops.acknowledge_alert($1)", &[&id]), "P0002");
    let mut operator = db.as_role("op");
    assert_eq!(open(&mut operator), said("missing_values", "acknowledged"));
    let names = "SELECT count(*) FROM stormops.alerts() WHERE evidence ? 'expectation'";
    assert_eq!(get::<i64>(&mut operator, names, &[]), 0, "names that a tenant gave are its own");
    operator.execute("SELECT stormops.silence_alert($1, now() + interval '1 hour')", &[&id]).expect("any");
    for (role, code) in [("tapp", "0B000"), ("nobody", "42501")] {
        fails_with(db.as_role(role).query("SELECT * FROM stormops.alerts()", &[]), code);
    }
    fails_with(db.as_role("mon").execute("SELECT stormops.acknowledge_alert($1)", &[&id]), "42501");
    db.as_role("mon").query("SELECT * FROM stormops.alerts()", &[]).expect("a monitor sees them");
    for table in ["platform_alerts", "scheduled_jobs"] {
        for role in ["tapp", "op", "mon"] {
            assert_eq!(sqlstate(&db.as_role(role).query(&format!("TABLE stormops_internal.{table}"), &[])), "42501");
        }
    }
}

#[test]
fn a_tenants_run_looks_at_its_storms_and_the_operators_at_the_platform() {
    let db = Db::new("scope");
    let (_, mut session) = tenant(&db, "Abc");
    scored_storm(&mut session, "hail", 100); // whose mean is 0.05
    check(&db, &mut session);
    assert_eq!(open(&mut session), said("uplift_drift", "open"));
    session.batch_execute("UPDATE storms SET status = 'closed'").expect("the storm is over");
    let mut operator = db.as_role("op");
    assert_eq!(check(&db, &mut operator).0, 0, "the platform is well");
    // Of the server's own state the run sees what its caller may.
    let grant = "CREATE ROLE watch LOGIN; SELECT stormops.grant_usage('watch', 'operator'); GRANT pg_monitor TO watch";
    db.in_turn(grant);
    let job = "SELECT stormops.note_schedule('partitions', '0 3 * * *')";
    operator.execute(job, &[]).expect("a job");
    db.superuser()
        .execute("UPDATE stormops_internal.scheduled_jobs SET scheduled_at = now() - interval '2 days'", &[])
        .expect("time");
    assert_eq!(check(&db, &mut db.as_role("watch")).0, 1);
    let missed =
        "SELECT tenant_id IS NULL AND severity = 'critical' FROM stormops.alerts() WHERE issue = 'schedule_missed'";
    assert!(get::<bool>(&mut operator, missed, &[]), "a job that never ran is an alert");
    operator.execute("SELECT stormops.unschedule_all()", &[]).expect("no job");
    check(&db, &mut operator);
    check(&db, &mut operator);
    db.superuser().batch_execute("ALTER TABLE stormops.storms ALTER COLUMN name DROP NOT NULL").expect("drift");
    assert_eq!(check(&db, &mut operator).0, 2, "the table's and the installation's, which is not as shipped");
    let drift = "SELECT tenant_id IS NULL AND evidence ->> 'table' = 'storms' FROM stormops.alerts() WHERE issue = 'schema_drift'";
    assert!(get::<bool>(&mut operator, drift, &[]));
    assert_eq!(open(&mut session), [], "its storm is over, and the platform's are not the tenant's");
    db.superuser().batch_execute("ALTER TABLE stormops.storms ALTER COLUMN name SET NOT NULL").expect("mended");
    assert_eq!([check(&db, &mut operator).1, check(&db, &mut operator).1], [0, 2]);
}

#[test]
fn the_runbook_has_the_brief_steps_and_every_issue_and_the_tenants_own() {
    let db = Db::new("runbook");
    let mut session = tenant(&db, "Abc").1;
    let steps = |session: &mut Client, issue: &str| -> Vec<String> {
        let rows = session.query("SELECT action FROM stormops.runbook($1) ORDER BY step", &[&issue]).expect("steps");
        rows.iter().map(|row| row.get(0)).collect()
    };
    for (issue, expected) in [
        (
            "uplift_drift",
            [
                "Check storm characteristics",
                "Verify feature engineering",
                "Check data quality",
                "Consider model retraining",
            ],
        ),
        (
            "low_lift",
            [
                "Verify policy compliance",
                "Check control contamination",
                "Review experiment assignments",
                "Analyze by segment",
            ],
        ),
        (
            "volume_drop",
            ["Check ingestion pipeline", "Verify Kafka/Flink jobs", "Check upstream sources", "Review error logs"],
        ),
    ] {
        for role in ["op", "mon"] {
            assert_eq!(steps(&mut db.as_role(role), issue), expected);
        }
        assert_eq!(steps(&mut session, issue), expected);
    }
    // Every name that the functions use for an issue has steps.
    let raised = "SELECT DISTINCT m[1] FROM pg_proc, regexp_matches(prosrc, '''([a-z_]+)'', ''(?:info|warning|critical)''', 'g') AS m
        WHERE pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND proname IN ('storm_issues', 'tenant_issues', 'system_issues') AND m[1] NOT IN ('critical', 'warning')
        UNION SELECT stormops_internal.issue_of(r) FROM unnest('{not_null,range,unique,referential,freshness,row_count,drift}'::text[]) AS r
        UNION VALUES ('schema_drift'), ('data_quality')";
    let raised = db.superuser().query(raised, &[]).expect("issues");
    assert!(raised.len() > 18, "{raised:?}");
    for issue in raised.iter().map(|row| row.get::<_, String>(0)) {
        assert!(!steps(&mut session, &issue).is_empty(), "{issue}");
    }
    session
        .batch_execute("INSERT INTO runbook_steps (issue, step, action) VALUES ('low_lift', 1, 'Call Bob'), ('our own', 1, 'Sing')")
        .expect("own steps");
    assert_eq!(steps(&mut session, "low_lift")[4], "Call Bob");
    assert_eq!(steps(&mut session, "our own"), ["Sing"]);
    let mut other = tenant(&db, "Other").1;
    assert_eq!(steps(&mut other, "low_lift").len(), 4);
    let error = fails_with(other.query("SELECT * FROM stormops.runbook('our own')", &[]), "P0002");
    assert!(error.hint().is_some_and(|hint| hint.contains("runbook()")));
}

#[test]
fn a_quota_that_is_nearly_used_up_is_an_alert_until_it_is_raised() {
    let db = Db::new("quota");
    let (abc, mut session) = tenant(&db, "Abc");
    let mut operator = db.as_role("op");
    let set = |operator: &mut Client, quota: i32| {
        operator.execute("SELECT stormops.set_quota($1, 'api_call', $2::int)", &[&abc, &quota]).expect("a hard quota");
    };
    let told = |operator: &mut Client| -> Option<(String, String)> {
        operator
            .batch_execute("SELECT stormops.rollup_usage(); SELECT stormops.run_health_checks()")
            .expect("a schedule");
        let alert = "SELECT severity, evidence ->> 'percent' FROM stormops.alerts() WHERE issue = 'quota_used' AND tenant_id = $1";
        operator.query_opt(alert, &[&abc]).expect("at most one").map(|row| (row.get(0), row.get(1)))
    };
    let said = |severity: &str, percent: &str| Some((severity.to_owned(), percent.to_owned()));
    set(&mut operator, 100);
    for (used, expected) in
        [(79, None), (1, said("warning", "80.0")), (20, said("critical", "100.0")), (0, said("critical", "100.0"))]
    {
        session.execute("SELECT record_usage('api_call', $1::int)", &[&used]).expect("within the quota");
        assert_eq!(told(&mut operator), expected, "{used} more");
    }
    assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM alerts() WHERE cardinality(steps) > 0", &[]), 1);
    set(&mut operator, 1000);
    assert_eq!(told(&mut operator), said("critical", "100.0"), "once away may be chance");
    assert_eq!(told(&mut operator), None);
}

#[test]
fn what_nobody_judges_any_more_is_no_alert() {
    let db = Db::new("unjudged");
    let (abc, mut session) = complaining(&db);
    let mut operator = db.as_role("op");
    let mut open = || {
        operator.batch_execute("SELECT stormops.run_health_checks()").expect("a run");
        let open = "SELECT coalesce(string_agg(issue, ' ' ORDER BY issue), '') FROM stormops.alerts() WHERE tenant_id IS NOT NULL";
        operator.query_one(open, &[]).expect("alerts").get::<_, String>(0)
    };
    assert_eq!(open(), "data_quality missing_values");
    // No row came for more than a day: what is there is as broken as before, but the objective is about what comes.
    db.superuser()
        .batch_execute(
            "UPDATE stormops.data_quality_metrics SET measured_at = measured_at - interval '2 days';
            UPDATE stormops.properties SET created_at = created_at - interval '2 days';
            UPDATE stormops.expectations SET judged_at = now() - interval '1 day'",
        )
        .expect("two days");
    open();
    assert_eq!(open(), "missing_values");
    drop(session.batch_execute("RESET app.current_tenant"));
    db.as_role("op").execute("SELECT stormops.close_tenant($1, 'sold')", &[&abc]).expect("the end");
    assert_eq!((open(), open()), (String::new(), String::new()));
}
