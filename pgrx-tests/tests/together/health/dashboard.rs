//! The dashboard: what it says of a storm at each stage of its life, and that it writes nothing.

use postgres::Client;
use serde_json::Value;
use stormops_tests::tenant::{acting_as, scored_storm, storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

fn dashboard(session: &mut Client, storm: Uuid) -> Value {
    get(session, "SELECT stormops.get_health_dashboard($1)", &[&storm])
}

/// The issues, each with its severity.
fn issues(dashboard: &Value) -> Vec<(&str, &str)> {
    let issues = dashboard["issues"].as_array().expect("an array");
    issues.iter().map(|i| (i["issue"].as_str().expect("a name"), i["severity"].as_str().expect("a severity"))).collect()
}

/// Scores whose mean is 0.2, and outcomes: of the treated that many in a hundred convert, of the held ten.
fn played_out(session: &mut Client, event: &str, treated: i32) -> Uuid {
    let hail = scored_storm(session, event, 1500);
    let script = format!(
        "DELETE FROM lead_uplift WHERE storm_id = '{hail}';
         INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
            SELECT '{hail}', property_id, 'v1', 0.15 + 0.1 * external_id::int / 1500 FROM properties
            WHERE external_id IS NOT NULL;
         SELECT stormops.apply_policy('{hail}', 'conservative');
         SELECT stormops.record_outcomes('{hail}', (SELECT jsonb_agg(jsonb_build_object('property_id', d.property_id,
            'converted', d.n % 100 < CASE d.decision WHEN 'treat' THEN {treated} ELSE 10 END))
            FROM (SELECT *, row_number() OVER (PARTITION BY decision ORDER BY property_id) AS n FROM policy_decisions
            WHERE storm_id = '{hail}') AS d))"
    );
    session.batch_execute(&script).expect("a storm's life");
    hail
}

#[test]
fn each_stage_of_a_storm_says_what_is_missing() {
    let db = Db::new("stages");
    let (_, mut session) = tenant(&db, "Abc");
    let bare = storm(&mut session, "bare");
    let said = dashboard(&mut session, bare);
    assert_eq!((said["health_status"].as_str(), issues(&said)), (Some("healthy"), vec![("no_scores", "info")]));
    assert_eq!(said["data_quality"]["met"], Value::Null, "nothing was judged");

    session.batch_execute(&format!(
        "INSERT INTO properties (address) VALUES ('1');
         INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift) SELECT '{bare}', property_id, 'v1', 0.2 FROM properties"
    )).expect("one row");
    let said = dashboard(&mut session, bare);
    assert_eq!((said["health_status"].as_str(), issues(&said)), (Some("healthy"), vec![("no_policy", "info")]));
    session.execute("SELECT stormops.apply_policy($1)", &[&bare]).expect("one decision");
    let said = dashboard(&mut session, bare);
    assert_eq!((said["health_status"].as_str(), issues(&said)), (Some("degraded"), vec![("no_control", "warning")]));

    let good = played_out(&mut session, "good", 40);
    let said = dashboard(&mut session, good);
    assert_eq!((said["health_status"].as_str(), issues(&said)), (Some("healthy"), vec![]), "{said:#}");
    assert!(said["conversion"]["lift"].as_f64().is_some_and(|lift| lift > 0.2));
    assert_eq!(said["funnel"]["scored"], 1500);
    assert_eq!(said["tables"]["lead_uplift"]["total_rows"], 1501);

    let poor = played_out(&mut session, "poor", 5);
    session.execute("UPDATE policy_runs SET decided_at = decided_at", &[]).expect_err("not theirs");
    let said = dashboard(&mut session, poor);
    assert_eq!((said["health_status"].as_str(), issues(&said)), (Some("critical"), vec![("low_lift", "critical")]));
    let issue = &said["issues"][0];
    assert_eq!(issue["steps"][0], "Verify policy compliance");
    assert!(issue["evidence"]["lift"].as_f64().is_some_and(|lift| lift < 0.0));
    assert!(issue["since"].is_string());

    let low = scored_storm(&mut session, "low", 100); // whose mean is 0.05
    let said = dashboard(&mut session, low);
    assert_eq!(
        (said["health_status"].as_str(), issues(&said)),
        (Some("degraded"), vec![("uplift_drift", "warning"), ("no_policy", "info")])
    );
    assert_eq!(said["issues"][0]["steps"].as_array().map(Vec::len), Some(4));
    // Since when: once a check has seen it, since then.
    session.execute("SELECT stormops.run_health_checks()", &[]).expect("a check");
    db.superuser().execute("UPDATE stormops.alerts SET raised_at = '2024-01-01 00:00Z'", &[]).expect("long ago");
    let said = dashboard(&mut session, low);
    assert_eq!(said["issues"][0]["since"], "2024-01-01T00:00:00+00:00");
    // Against a baseline that was kept, drift is shown and critical.
    session.execute("SELECT stormops.set_baseline($1)", &[&good]).expect("a baseline");
    let said = dashboard(&mut session, low);
    assert_eq!(issues(&said)[0], ("uplift_drift", "critical"));
}

#[test]
fn failing_expectations_and_quiet_tables_show() {
    let db = Db::new("data");
    let (abc, mut session) = tenant(&db, "Abc");
    let bare = storm(&mut session, "bare");
    session
        .batch_execute(
            "INSERT INTO properties (address) VALUES (NULL);
        SELECT stormops.expect('properties', 'not_null', '{address}', severity => 'critical');
        SELECT stormops.run_health_checks()",
        )
        .expect("a failure");
    let old = "INSERT INTO stormops.row_counts (tenant_id, table_name, bucket, inserted, deleted) VALUES ($1, 'lead_uplift', '2024-01-01', 100, 0)";
    db.superuser().execute(old, &[&abc]).expect("old rows");
    let said = dashboard(&mut session, bare);
    let expected = vec![
        ("missing_values", "critical"),
        ("data_quality", "warning"),
        ("volume_drop", "info"),
        ("no_scores", "info"),
    ];
    let mut found = issues(&said);
    found.sort_by_key(|issue| expected.iter().position(|e| e == issue));
    assert_eq!((said["health_status"].as_str(), found), (Some("critical"), expected));
    assert_eq!(said["data_quality"]["failing_share"].as_f64(), Some(1.0));
    assert_eq!(said["expectations"]["failing"], 1);
    let summary =
        session.query("SELECT what, value, status, trend FROM stormops.health_summary($1)", &[&bare]).expect("rows");
    let line = |what: &str| {
        summary.iter().find(|row| row.get::<_, &str>(0) == what).unwrap_or_else(|| panic!("{what}: {summary:?}"))
    };
    assert_eq!((line("storm").get(1), line("storm").get(2)), ("bare", "critical"));
    assert_eq!(line("properties").get::<_, &str>(3), "▁▁▁▁▁▁▁▁▁▁▁▁▁█", "fourteen days, the last of them today");
    assert_eq!(line("issue").get::<_, &str>(1), "missing_values");
    let lines = |counts: &str| {
        get::<String>(&mut db.superuser(), "SELECT stormops_internal.sparkline($1::text::numeric[])", &[&counts])
    };
    assert_eq!(["{0,1,2,7}", "{NULL,3}", "{0,0}", "{5}"].map(lines), ["▁▂▃█", " █", "▁▁", "█"]);
}

#[test]
fn readers_assign_no_transaction_id_and_are_for_those_in_the_tenant() {
    let db = Db::new("readers");
    let (abc, mut session) = tenant(&db, "Abc");
    let good = played_out(&mut session, "good", 40);
    let calls = [
        format!("stormops.get_health_dashboard('{good}')"),
        format!("stormops.health_summary('{good}')"),
        "stormops.check_table_health('lead_uplift')".into(),
        "stormops.alerts()".into(),
        "stormops.runbook('low_lift')".into(),
        "stormops.get_tenant_metrics()".into(),
    ];
    let system = [
        "stormops.get_system_health()",
        "stormops.schedules()",
        "stormops.check_table_health('storms')",
        "stormops.alerts()",
    ];
    let mut operator = db.as_role("op");
    let all = calls.iter().map(|call| (true, &**call)).chain(system.iter().map(|call| (false, *call)));
    for (tenants, call) in all {
        let session = if tenants { &mut session } else { &mut operator };
        session.batch_execute("BEGIN").expect("a transaction");
        session.query(&format!("SELECT * FROM {call}"), &[]).unwrap_or_else(|e| panic!("{call}: {e:?}"));
        let assigned: Option<String> = get(session, "SELECT pg_current_xact_id_if_assigned()::text", &[]);
        assert_eq!(assigned, None, "{call}");
        session.batch_execute("COMMIT; BEGIN READ ONLY").expect("a transaction");
        session.query(&format!("SELECT * FROM {call}"), &[]).unwrap_or_else(|e| panic!("{call}: {e:?}"));
        session.batch_execute("COMMIT").expect("an end");
    }
    let mut viewer = acting_as(&db, abc, "viewer");
    assert_eq!(dashboard(&mut viewer, good)["health_status"], "healthy");
    let mut other = tenant(&db, "Other").1;
    let theirs = {
        let bare = storm(&mut other, "bare");
        dashboard(&mut other, bare)
    };
    assert_eq!(theirs["tables"]["lead_uplift"], Value::Null, "not the other's rows");
    for storm in [Some(good), Some(Uuid::nil()), None] {
        let code = if storm.is_some() { "P0002" } else { "22004" };
        let error = fails_with(other.query("SELECT stormops.get_health_dashboard($1)", &[&storm]), code);
        assert!(error.hint().is_some_and(|hint| hint.contains("storms")));
        fails_with(other.query("SELECT * FROM stormops.health_summary($1)", &[&storm]), code);
    }
    for (role, code) in [("tapp", "0B000"), ("op", "42501"), ("mon", "42501"), ("nobody", "42501")] {
        fails_with(db.as_role(role).query("SELECT stormops.get_health_dashboard($1)", &[&good]), code);
    }
}

#[test]
fn a_line_of_blocks_has_a_place_for_each_number_whatever_it_is() {
    let db = Db::new("sparkline");
    let line = "SELECT stormops_internal.sparkline('{0,7,NULL,NaN,3.5,Infinity,-Infinity,-2}')";
    assert_eq!(get::<String>(&mut db.as_role("mon"), line, &[]), "\u{2581}\u{2588}  \u{2584}  \u{2581}");
}
