//! Metrics for monitoring: a text that Prometheus reads whatever names there are, and samples that say what happened.

use std::collections::BTreeSet;
use std::process::Command;

use postgres::Client;
use serde_json::Value;
use stormops_tests::monitoring::{HOSTILE, PROMTOOL, busy_installation, families, have};
use stormops_tests::{Db, enter, fails_with, provision, run};

const TEXT: &str = "SELECT stormops.prometheus_metrics()";

fn text(session: &mut Client) -> String {
    session.query_one(TEXT, &[]).expect("metrics").get(0)
}

/// Prometheus' own reader, which also complains of names that are not after its conventions.
fn promtool_takes(metrics: &str) {
    let printed = run(Command::new("promtool").args(["check", "metrics"]), metrics.as_bytes());
    assert_eq!(String::from_utf8_lossy(&printed), "", "promtool says nothing");
}

/// All samples, as name, labels and value.
fn samples(session: &mut Client) -> Vec<(String, Value, f64)> {
    let rows = session.query("SELECT name, labels, value FROM stormops.monitoring_samples()", &[]).expect("samples");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// The value of the one sample of that name whose labels are at least these.
#[track_caller]
fn value(samples: &[(String, Value, f64)], name: &str, labels: &[(&str, &str)]) -> f64 {
    let is = |s: &&(String, Value, f64)| s.0 == format!("stormops_{name}") && labels.iter().all(|(k, v)| s.1[k] == *v);
    let found: Vec<_> = samples.iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?} {found:?}");
    found[0].2
}

#[test]
fn prometheus_reads_it_empty_busy_and_whatever_names_there_are() {
    if !have(&[PROMTOOL]) {
        return;
    }
    let db = Db::new("text");
    let mut monitor = db.as_role("mon");
    let empty = text(&mut monitor);
    promtool_takes(&empty);
    assert!(empty.ends_with('\n') && !empty.contains("\n\n"), "{empty}");
    assert!(empty.contains("# TYPE stormops_platform_deadlocks_total counter\n") && !empty.contains("tenant_info"));
    busy_installation(&db, HOSTILE);
    // No operator may give such a name, but a name is never to be trusted.
    let other = provision(&db, "Other");
    let broken = "UPDATE stormops.tenants SET org_name = E'line\\nbreak\\\\' WHERE tenant_id = $1";
    db.superuser().execute(broken, &[&other]).expect("a superuser");
    let full = text(&mut monitor);
    promtool_takes(&full);
    assert!(!full.contains("NaN") && !full.contains("Inf"), "{full}");
    let name = HOSTILE.replace('\\', "\\\\").replace('"', "\\\"");
    assert!(full.contains(&format!("org_name=\"{name}\"")), "{full}");
    assert!(full.contains("org_name=\"line\\nbreak\\\\\""), "{full}");
    // Each line is one of the format's, families stand together, and no sample comes twice.
    let (mut seen, mut lines, mut family) = (BTreeSet::new(), BTreeSet::new(), String::new());
    for line in full.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().expect("a name").to_owned();
            assert!(seen.insert(family.clone()), "{family} comes once");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert!(kind == format!("{family} gauge") || kind == format!("{family} counter"), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            assert!(sample == family || sample.starts_with(&format!("{family}{{")), "{line} under {family}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            assert!(lines.insert(sample.to_owned()), "{sample} comes twice");
        }
    }
    assert_eq!(lines.len(), samples(&mut monitor).len());
    // But for a standby, which this server has not got, every family has a sample.
    let there: BTreeSet<String> = families(&mut monitor).into_iter().filter(|name| !seen.contains(name)).collect();
    assert_eq!(there, BTreeSet::from(["stormops_replica_lag_bytes".to_owned()]));
}

#[test]
fn it_is_a_reader_for_monitors_and_operators() {
    let db = Db::new("reader");
    busy_installation(&db, "Abc");
    db.as_role("op").query(TEXT, &[]).expect("an operator too");
    let mut session = db.as_role("mon");
    session.batch_execute("BEGIN READ ONLY").expect("a transaction");
    let first = text(&mut session);
    // In one transaction nothing moves but the server's own counters.
    let steady = |text: &str| {
        let moving = ["cache_hit", "_age", "oldest", "connections", "deadlocks", "database_bytes"];
        text.lines().filter(|l| !moving.iter().any(|m| l.contains(m))).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(steady(&first), steady(&text(&mut session)), "the same order and values");
    let none = "SELECT pg_current_xact_id_if_assigned() IS NULL";
    assert!(session.query_one(none, &[]).expect("an answer").get::<_, bool>(0));
    session.batch_execute("COMMIT").expect("nothing was written");
    // A session that wants fewer digits gets all the same.
    session.batch_execute("SET extra_float_digits = -15").expect("a setting");
    let size = value(&samples(&mut session), "platform_database_bytes", &[]);
    assert!(text(&mut session).contains(&format!("stormops_platform_database_bytes {size}\n")), "{size}");
    for role in ["app", "tapp", "nobody"] {
        let mut session = db.as_role(role);
        for call in
            ["prometheus_metrics()", "monitoring_samples()", "monitor_tenant_usage()", "usage_by_day(now(), now())"]
        {
            fails_with(session.query(&format!("SELECT * FROM stormops.{call}"), &[]), "42501");
        }
    }
}

#[test]
fn samples_say_what_happened() {
    let db = Db::new("samples");
    let abc = busy_installation(&db, "Abc");
    let closed = provision(&db, "Closed");
    let mut operator = db.as_role("op");
    operator.execute("SELECT stormops.close_tenant($1, 'over')", &[&closed]).expect("a closed tenant");
    let mut session = db.as_role("tapp");
    enter(&mut session, abc);
    session
        .batch_execute("SELECT stormops.record_usage('api_call', 5); SELECT stormops.declare_metric('photo', 'file')")
        .expect("use");
    let mut monitor = db.as_role("mon");
    let before = samples(&mut monitor);
    let (id, value_of) = (abc.to_string(), value);
    let platform = |name: &str| value(&before, name, &[]);
    let tenant = |name: &str| value(&before, &format!("tenant_{name}"), &[("tenant_id", &id)]);
    let metric =
        |name: &str| value(&before, &format!("tenant_{name}"), &[("tenant_id", &id), ("metric_name", "api_call")]);
    let schedule = |name: &str, job: &str| value(&before, &format!("schedule_{name}"), &[("job_name", job)]);
    assert_eq!(platform("installation_info"), 1.0);
    assert_eq!([platform("platform_active_tenants"), platform("platform_closed_tenants")], [1.0, 1.0]);
    assert_eq!([metric("usage_events_total"), metric("usage_quantity")], [1.0, 85.0], "rolled up so far");
    assert_eq!(metric("quota_used_ratio"), 0.85);
    assert_eq!(tenant("storage_bytes"), 3.0 * 1_048_576.0);
    assert_eq!(platform("metering_unfolded_events"), 1.0);
    assert!(platform("metering_unfolded_age_seconds") >= 0.0);
    assert!(platform("metering_last_fold_timestamp_seconds") > 1.7e9);
    assert_eq!([tenant("expectations_active"), tenant("expectations_failing")], [2.0, 1.0]);
    assert_eq!([tenant("quality_judged_rows"), tenant("quality_failing_ratio")], [401.0, 0.997506]);
    let missing =
        [("tenant_id", id.as_str()), ("issue", "missing_values"), ("severity", "critical"), ("state", "open")];
    assert_eq!(value(&before, "alerts_unresolved", &missing), 1.0);
    let call =
        |name: &str| value(&before, &format!("tenant_service_{name}"), &[("tenant_id", &id), ("call", "apply_policy")]);
    assert_eq!(call("recent_calls"), 1.0);
    assert!(call("p50_seconds") > 0.0 && call("p99_seconds") < 600.0, "seconds");
    assert_eq!(schedule("missed", "partitions"), 0.0);
    assert_eq!(schedule("last_run_timestamp_seconds", "partitions"), 0.0, "never");
    let ran = schedule("last_success_timestamp_seconds", "health_checks");
    assert!(ran > 1.7e9);
    assert_eq!(schedule("last_run_timestamp_seconds", "health_checks"), ran);
    assert!(schedule("expected_by_timestamp_seconds", "partitions") > ran);

    let trouble =
        "INSERT INTO stormops_internal.alert_deliveries (delivery_id, route_id, alert_id, event, message, state, created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'trigger', '{}', s, now() - interval '1 hour'
        FROM unnest('{pending,pending,dead,delivered}'::text[]) AS s;
        UPDATE stormops_internal.scheduled_jobs SET outcome = 'failed' WHERE job = 'health_checks';
        UPDATE stormops_internal.scheduled_jobs SET scheduled_at = now() - interval '2 days' WHERE job = 'partitions';
        UPDATE stormops.quotas SET quota = 0";
    db.superuser().batch_execute(trouble).expect("trouble");
    let after = samples(&mut monitor);
    let value = |name: &str, labels: &[(&str, &str)]| value_of(&after, name, labels);
    assert_eq!([value("delivery_pending_messages", &[]), value("delivery_dead_messages", &[])], [2.0, 1.0]);
    assert!(value("delivery_oldest_pending_seconds", &[]) >= 3600.0);
    assert_eq!(value("schedule_last_run_failed", &[("job_name", "health_checks")]), 1.0);
    let succeeded = |s: &(String, Value, f64)| s.0.ends_with("last_success_timestamp_seconds");
    assert!(!after.iter().any(succeeded), "its last run failed, and the other never ran");
    assert_eq!(value("schedule_missed", &[("job_name", "partitions")]), 1.0);
    assert_eq!(value("platform_status", &[]), 2.0, "critical");
    assert_eq!(value("tenant_quota_used_ratio", &[("tenant_id", &id), ("metric_name", "api_call")]), 1.0, "of nothing");
    // A closed tenant has none, and what a tenant names itself is no label.
    let closed = closed.to_string();
    for (name, labels, _) in &after {
        let text = labels.to_string();
        assert!(![closed.as_str(), "photo", "hail"].iter().any(|s| text.contains(s)), "{name} {text}");
    }
    // Its days, as a chart draws them.
    let days = "SELECT count(*), sum(quantity)::float8 FROM stormops.usage_by_day(now() - interval '1 day', now()) WHERE metric_name = 'api_call'";
    let row = monitor.query_one(days, &[]).expect("days");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, f64>(1)), (1, 85.0));
    for (span, code) in [
        ("now(), NULL", "22004"),
        ("now(), now() - interval '1 day'", "22023"),
        ("'2020-01-01', now()", "22023"),
        ("'-infinity', now()", "22023"),
    ] {
        let error = fails_with(monitor.query(&format!("SELECT * FROM stormops.usage_by_day({span})"), &[]), code);
        assert!(error.hint().is_some());
    }
}
