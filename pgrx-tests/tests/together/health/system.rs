//! What an operator asks of the whole installation, and how one tenant is served.

use postgres::Client;
use serde_json::Value;
use stormops_tests::tenant::{acting_as, scored_storm, tenant};
use stormops_tests::{Db, fails_with, get};

fn system(session: &mut Client) -> (String, Vec<String>) {
    let row = session.query_one("SELECT health_status, issues FROM stormops.get_system_health()", &[]).expect("health");
    let issues: Value = row.get(1);
    let issues = issues.as_array().expect("an array");
    assert!(issues.iter().all(|i| !i["steps"].as_array().expect("steps").is_empty()), "{issues:?}");
    (row.get(0), issues.iter().map(|i| i["issue"].as_str().expect("a name").to_owned()).collect())
}

#[test]
fn the_system_is_healthy_and_each_trouble_shows() {
    let db = Db::new("system");
    let (abc, _) = tenant(&db, "Abc");
    let (mut operator, mut superuser) = (db.as_role("op"), db.superuser());
    assert_eq!(system(&mut operator), ("healthy".into(), vec!["nothing_scheduled".into()]));
    let row = operator.query_one("SELECT * FROM stormops.get_system_health()", &[]).expect("health");
    assert_eq!([row.get::<_, i64>("active_tenants"), row.get("suspended_tenants"), row.get("open_alerts")], [1, 0, 0]);
    assert!(row.get::<_, i64>("db_size_bytes") > 1_000_000 && row.get::<_, i32>("xid_age") > 0);
    assert!(row.get::<_, i32>("partition_runway_days") > 80, "this month and three");
    assert_eq!(row.get::<_, i64>("invoices_overdue"), 0);
    assert_eq!(row.get::<_, Option<Value>>("slow_statements"), None, "not installed");

    operator.batch_execute("SELECT stormops.note_schedule('health_checks', '*/15 * * * *')").expect("a schedule");
    assert_eq!(system(&mut operator).1, [""; 0]);
    let trouble = "UPDATE stormops_internal.scheduled_jobs SET scheduled_at = now() - interval '1 hour'";
    superuser.batch_execute(trouble).expect("an hour without a run");
    assert_eq!(system(&mut operator), ("critical".into(), vec!["schedule_missed".into()]));
    assert_eq!(system(&mut db.as_role("mon")).1, ["schedule_missed"]);

    // A job fails: it is noted, and what it did was taken back.
    superuser.batch_execute("ALTER TABLE stormops.row_counts RENAME TO hidden").expect("trouble");
    let ran: String = get(&mut operator, "SELECT stormops.run_job('health_checks')", &[]);
    assert!(ran.starts_with("42P01"), "{ran}");
    superuser.batch_execute("ALTER TABLE stormops.hidden RENAME TO row_counts").expect("its end");
    assert_eq!(system(&mut operator), ("degraded".into(), vec!["schedule_failed".into()]));
    operator.execute("SELECT stormops.run_job('health_checks')", &[]).expect("a run");
    assert_eq!(system(&mut operator).1, [""; 0]);

    let old = "SELECT count(*) FROM pg_class WHERE relname ~ '^policy_decision_blocks_\\d{4}' AND relkind = 'r'";
    let partitions: i64 = get(&mut superuser, old, &[]);
    assert!(partitions > 3);
    let drop = "DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT oid::regclass FROM pg_class
        WHERE relname ~ '^policy_decision_blocks_\\d{4}' AND relkind = 'r' LOOP EXECUTE 'DROP TABLE ' || p; END LOOP; END $$";
    superuser.batch_execute(drop).expect("no partitions");
    operator.execute("SELECT stormops.maintain_partitions(0)", &[]).expect("this month's");
    let days: i32 = get(&mut operator, "SELECT partition_runway_days FROM stormops.get_system_health()", &[]);
    assert!((1..=31).contains(&days));
    assert_eq!(system(&mut operator).1.contains(&"partition_runway".into()), days < 14);

    operator.execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    let row = operator
        .query_one("SELECT active_tenants, suspended_tenants FROM stormops.get_system_health()", &[])
        .expect("health");
    assert_eq!([row.get::<_, i64>(0), row.get(1)], [0, 1]);
    for role in ["app", "tapp", "nobody"] {
        fails_with(db.as_role(role).query("SELECT * FROM stormops.get_system_health()", &[]), "42501");
    }
}

/// With the statistics that a monitor is usually granted: sessions of others, and statements.
#[test]
fn other_sessions_show_to_a_role_that_may_see_them() {
    let db = Db::new("sessions");
    let mut open = db.superuser();
    open.batch_execute("BEGIN; SELECT pg_current_xact_id()").expect("an open transaction");
    let seen =
        "SELECT oldest_transaction_seconds::float8, hidden_sessions, oldest_xmin_age FROM stormops.get_system_health()";
    let mut superuser = db.superuser();
    db.in_turn(
        "CREATE ROLE seeing LOGIN; SELECT stormops.grant_usage('seeing', 'monitor'); GRANT pg_monitor TO seeing",
    );
    let row = db.as_role("mon").query_one(seen, &[]).expect("health");
    assert!(row.get::<_, i64>(1) > 0, "it says that it may not see all");
    let row = db.as_role("seeing").query_one(seen, &[]).expect("health");
    assert!(row.get::<_, f64>(0) > 0.0);
    assert_eq!(row.get::<_, i64>(1), 0);
    assert!(row.get::<_, i32>(2) >= 0);
    superuser.batch_execute("CREATE EXTENSION pg_stat_statements").expect("from contrib");
    let statements: Option<Value> =
        get(&mut db.as_role("seeing"), "SELECT slow_statements FROM stormops.get_system_health()", &[]);
    assert_eq!(statements, None, "it is not preloaded here, and that is no error");
}

#[test]
fn a_tenants_metrics_add_up_and_are_for_those_who_may() {
    let db = Db::new("metrics");
    let (abc, mut session) = tenant(&db, "Abc");
    let other = tenant(&db, "Other").0;
    let hail = scored_storm(&mut session, "hail", 30);
    session
        .batch_execute(&format!(
            "INSERT INTO tenant_usage (metric_name, metric_value, recorded_at) VALUES ('model_call', 1, now()), ('model_call', 2, now()),
                ('model_call', 4, now() - interval '8 days'), ('storage_mb', 70, now() - interval '1 day'), ('storage_mb', 50, now());
             SELECT stormops.apply_policy('{hail}')"
        ))
        .expect("use");
    let metrics = "SELECT events::float8, model_calls::float8, storage::float8, usage, rows, service_levels, rows_added
        FROM stormops.get_tenant_metrics($1, $2)";
    let mut before = None;
    for fold in [false, true] {
        if fold {
            db.as_role("op").execute("SELECT stormops.fold_row_counts()", &[]).expect("a fold");
        }
        let row = db.as_role("mon").query_one(metrics, &[&abc, &7]).expect("metrics");
        assert_eq!(
            (row.get::<_, f64>(0), row.get::<_, f64>(1), row.get::<_, f64>(2)),
            (6.0, 3.0, 50.0),
            "with what the run itself metered"
        );
        let (usage, rows, levels): (Value, Value, Value) = (row.get(3), row.get(4), row.get(5));
        assert_eq!(usage["storage_mb"]["total"], 120);
        assert_eq!((&rows["lead_uplift"], &rows["tenant_usage"]), (&30.into(), &7.into()));
        assert_eq!(
            row.get::<_, i64>(6),
            1 + 1 + 30 + 30 + 7 + 30 + 1,
            "user, storm, properties, scores, use, decisions, run"
        );
        assert_eq!(levels["apply_policy"]["calls"], 1);
        assert!(levels["apply_policy"]["p50_ms"].as_f64().is_some_and(|ms| ms > 0.0));
        assert_eq!(levels["apply_policy"]["p50_ms"], levels["apply_policy"]["p99_ms"], "one call");
        assert_eq!(*before.get_or_insert(levels.clone()), levels, "folded or not");
    }
    let eight: f64 =
        get(&mut db.as_role("op"), "SELECT model_calls::float8 FROM stormops.get_tenant_metrics($1, 9)", &[&abc]);
    assert_eq!(eight, 7.0);
    // Percentiles of a known histogram: 1 ms ninety times, 10 ms nine times, 1 s once.
    let known = "DELETE FROM stormops.call_durations; INSERT INTO stormops.call_durations (tenant_id, table_name, day, class, calls)
        SELECT '$1', 'policy_runs', current_date, stormops_internal.duration_class(ms), n FROM (VALUES (1.0, 90), (10.0, 9), (1000.0, 1)) AS v (ms, n)";
    db.superuser().batch_execute(&known.replace("$1", &abc.to_string())).expect("a histogram");
    let levels = "SELECT p50::float8, p95::float8, p99::float8 FROM stormops_internal.service_levels($1, 7)";
    let row = db.superuser().query_one(levels, &[&abc]).expect("levels");
    assert_eq!([row.get::<_, f64>(0), row.get(1), row.get(2)], [1.0, 10.0, 10.0]);

    fails_with(session.query(metrics, &[&other, &7]), "42501");
    fails_with(acting_as(&db, abc, "crew_chief").query("SELECT * FROM stormops.get_tenant_metrics()", &[]), "42501");
    session.query("SELECT * FROM stormops.get_tenant_metrics()", &[]).expect("its own");
    let mut operator = db.as_role("op");
    for (days, code) in [(Some(0), "22023"), (Some(61), "22023")] {
        fails_with(operator.query(metrics, &[&abc, &days]), code);
    }
    fails_with(operator.query(metrics, &[&uuid::Uuid::nil(), &7]), "P0002");
}
