//! The files in examples/monitoring: valid, of names that are there, and the exporter's made from their one home.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use stormops_tests::monitoring::{AMTOOL, PROMTOOL, families, have, metrics_in, read, shipped};
use stormops_tests::{Db, run};

/// Every column of a monitor_…() is a measure or a label, and the exporter's queries say so with the same help.
#[test]
fn the_exporters_queries_are_made_from_the_families() {
    let db = Db::new("queries");
    let mut monitor = db.as_role("mon");
    let columns = "SELECT substring(p.proname FROM 9), c.name, f.kind, f.help
        FROM (SELECT source, min(place) AS place FROM stormops.metric_families() GROUP BY source) AS s
        JOIN pg_proc AS p ON p.pronamespace = 'stormops'::regnamespace AND p.proname = 'monitor_' || s.source
        CROSS JOIN LATERAL unnest(p.proargnames) WITH ORDINALITY AS c (name, place)
        LEFT JOIN stormops.metric_families() AS f ON f.source = s.source AND f.measure = c.name
        ORDER BY s.place, c.place";
    let mut made = String::from(
        "# What prometheus-postgres-exporter asks: --extend.query-path. Made from metric_families() by a test, which also proves it.\n",
    );
    let mut source = String::new();
    let rows = monitor.query(columns, &[]).expect("columns");
    for row in &rows {
        let (from, column): (String, String) = (row.get(0), row.get(1));
        if from != source {
            made += &format!("\nstormops_{from}:\n  query: SELECT * FROM stormops.monitor_{from}()\n  metrics:\n");
            source = from;
        }
        let (usage, help) = match (row.get::<_, Option<String>>(2), row.get::<_, Option<String>>(3)) {
            (Some(kind), Some(help)) => (kind.to_uppercase(), help),
            _ => ("LABEL".to_owned(), column.replace('_', " ")),
        };
        made += &format!("    - {column}: {{usage: {usage}, description: {}}}\n", Value::from(help));
    }
    let there: i64 = monitor
        .query_one(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'stormops'::regnamespace AND proname LIKE 'monitor\\_%'",
            &[],
        )
        .expect("n")
        .get(0);
    assert_eq!(made.matches("query:").count() as i64, there, "each has measures");
    if std::env::var_os("STORMOPS_WRITE").is_some() {
        std::fs::write(shipped("queries.yaml"), &made).expect("a file");
    }
    assert_eq!(read("queries.yaml"), made, "STORMOPS_WRITE=1 writes it anew");
}

#[test]
fn what_is_shipped_is_valid_and_names_what_is_there() {
    let db = Db::new("shipped");
    let mut monitor = db.as_role("mon");
    let mut known = families(&mut monitor);
    known.extend(["up", "pg_exporter_last_scrape_error"].map(str::to_owned)); // Prometheus' and the exporter's own
    let rules = read("stormops.rules.yml");
    for (name, text) in [
        ("stormops.rules.yml", rules.clone()),
        ("stormops.rules.test.yml", read("stormops.rules.test.yml")),
        ("stormops.tenants.test.yml", read("stormops.tenants.test.yml")),
        ("grafana/stormops.json", read("grafana/stormops.json")),
    ] {
        let unknown: Vec<_> = metrics_in(&text).difference(&known).cloned().collect();
        assert_eq!(unknown, [""; 0], "{name}");
    }
    // Each alert says how bad, what, and what to do, and is tested both ways.
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 20, "{}", alerts.len());
    let tests = read("stormops.rules.test.yml") + &read("stormops.tenants.test.yml");
    let mut told = BTreeMap::new();
    for alert in alerts {
        let name = alert.lines().next().expect("a name");
        for part in ["severity: ", "summary: ", "description: ", "runbook: \"SELECT * FROM stormops.runbook('", "for: "]
        {
            assert!(alert.contains(part), "{name}: {part}");
        }
        let issue =
            alert.split("stormops.runbook('").nth(1).and_then(|rest| rest.split('\'').next()).expect("an issue");
        told.insert(name.to_owned(), issue.to_owned());
        if issue != "{{ $labels.issue }}" {
            assert!(alert.contains(&format!("issue: {issue}\n")), "{name}");
            monitor.query("SELECT * FROM stormops.runbook($1)", &[&issue]).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        }
        if alert.contains("stormops_tenant_") {
            assert!(alert.contains("group_left (org_name)"), "{name} names its tenant");
        }
        let fires = tests.matches(&format!("alertname: {name}\n        exp_alerts:\n          - exp_labels")).count();
        let rests = tests.matches(&format!("alertname: {name}, exp_alerts: []")).count();
        assert!(fires > 0 && rests > 0, "{name} is tested to fire and to rest");
    }
    assert_eq!(told.len(), rules.matches("- alert: ").count(), "names are unique");
    if have(&[PROMTOOL, AMTOOL]) {
        let path = |name: &str| shipped(name).display().to_string();
        run(Command::new("promtool").args(["check", "config", &path("prometheus.yml")]), &[]);
        run(Command::new("promtool").args(["check", "rules", &path("stormops.rules.yml")]), &[]);
        run(
            Command::new("promtool").args([
                "test",
                "rules",
                &path("stormops.rules.test.yml"),
                &path("stormops.tenants.test.yml"),
            ]),
            &[],
        );
        run(Command::new("amtool").args(["check-config", &path("alertmanager.yml")]), &[]);
        let route = |labels: &[&str]| {
            let config = format!("--config.file={}", path("alertmanager.yml"));
            let printed = run(Command::new("amtool").args(["config", "routes", "test", &config]).args(labels), &[]);
            String::from_utf8(printed).expect("a receiver").trim().to_owned()
        };
        assert_eq!(route(&["severity=critical", "tenant_id=x"]), "on-call");
        assert_eq!(route(&["severity=warning"]), "chat");
    }
}
