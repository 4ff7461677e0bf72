//! Grafana's dashboard: every panel's statement runs as a monitor, with macros and variables put in as Grafana does.

use postgres::{Client, Row};
use serde_json::Value;
use stormops_tests::monitoring::{HOSTILE, busy_installation, read};
use stormops_tests::{Db, provision};

const FROM: &str = "(now() - interval '30 days')";

fn moment(session: &mut Client, of: &str) -> String {
    let rfc3339 = format!("SELECT to_char({of} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')");
    format!("'{}'", session.query_one(&rfc3339, &[]).expect("a moment").get::<_, String>(0))
}

/// The arguments of a macro's first use, and its text.
fn first_use(sql: &str, name: &str) -> Option<(String, Vec<String>)> {
    let begin = sql.find(&format!("{name}("))?;
    let arguments = &sql[begin + name.len() + 1..];
    let end = arguments.find(')').expect("its end");
    let list = arguments[..end].split(',').map(|a| a.trim().to_owned()).collect();
    Some((sql[begin..=begin + name.len() + 1 + end].to_owned(), list))
}

/// As Grafana's PostgreSQL data source: variables and $__interval in the browser, then the macros in the server.
fn interpolated(session: &mut Client, sql: &str, tenants: &[String]) -> String {
    let quoted: Vec<String> = tenants.iter().map(|t| format!("'{}'", t.replace('\'', "''"))).collect();
    let mut sql = sql.replace("$tenant", &quoted.join(",")).replace("$metric", "api_call").replace("$__interval", "1h");
    let (from, to) = (moment(session, FROM), moment(session, "(now() + interval '1 minute')"));
    while let Some((text, arguments)) = first_use(&sql, "$__timeGroupAlias") {
        let group = format!("floor(extract(epoch from {})/3600)*3600 AS \"time\"", arguments[0]);
        assert_eq!(arguments[1], "1h", "the interval");
        sql = sql.replace(&text, &group);
    }
    while let Some((text, arguments)) = first_use(&sql, "$__timeFilter") {
        sql = sql.replace(&text, &format!("{} BETWEEN {from} AND {to}", arguments[0]));
    }
    sql = sql.replace("$__timeFrom()", &from).replace("$__timeTo()", &to);
    assert!(!sql.contains('$'), "a macro or variable that nobody put in: {sql}");
    sql
}

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/stormops.json")).expect("JSON")
}

/// Its panels by title, rows of the page left out.
fn panels(dashboard: &Value) -> Vec<(String, Value)> {
    let all = dashboard["panels"].as_array().expect("panels");
    let queried = all.iter().filter(|panel| panel["type"] != "row");
    queried.map(|panel| (panel["title"].as_str().expect("a title").to_owned(), panel.clone())).collect()
}

fn run(session: &mut Client, title: &str, panel: &Value, tenants: &[String]) -> Vec<Row> {
    let target = &panel["targets"][0];
    let sql = interpolated(session, target["rawSql"].as_str().expect("a statement"), tenants);
    let rows = session.query(&sql, &[]).unwrap_or_else(|e| panic!("{title}: {e:?}\n{sql}"));
    if target["format"] == "time_series"
        && let Some(row) = rows.first()
    {
        let types: Vec<_> = row.columns().iter().map(|c| (c.name(), c.type_().name())).collect();
        assert_eq!(types[0].0, "time", "{title}: {types:?}");
        assert!(["timestamptz", "numeric", "float8"].contains(&types[0].1), "{title}: {types:?}");
        assert_eq!((types[1], types[2].0), (("metric", "text"), "value"), "{title}: {types:?}");
    }
    rows
}

#[test]
fn every_panel_shows_what_a_monitor_may_see() {
    let db = Db::new("panels");
    let mut monitor = db.as_role("mon");
    let dashboard = dashboard();
    let panels = panels(&dashboard);
    assert!(panels.len() >= 15, "{}", panels.len());
    let nobody = ["''".to_owned()];
    for (title, panel) in &panels {
        run(&mut monitor, title, panel, &nobody); // of an empty installation
    }
    let abc = busy_installation(&db, HOSTILE);
    provision(&db, "Quiet");
    db.superuser()
        .batch_execute(
            "UPDATE stormops_internal.scheduled_jobs SET scheduled_at = now() - interval '2 days' WHERE job = 'partitions'",
        )
        .expect("trouble");
    // Whether the storm's lift is low is up to chance.
    let low = "SELECT stormops_internal.note_findings(jsonb_build_array(jsonb_build_object('tenant_id', $1::uuid, 'key', 'low_lift:' || $1::uuid,
        'issue', 'low_lift', 'severity', 'warning', 'failing', true, 'evidence', jsonb_build_object('storm_id', $1::uuid,
        'lift', 0.01, 'lift_low', -0.02, 'lift_high', 0.04, 'treated_n', 100, 'control_n', 100))))";
    db.superuser().execute(low, &[&abc]).expect("a low lift");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let query = |name: &str| {
        let variable = variables.iter().find(|v| v["name"] == name).expect("a variable");
        variable["query"].as_str().expect("a statement").to_owned()
    };
    let tenants: Vec<(String, String)> =
        monitor.query(&query("tenant"), &[]).expect("tenants").iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(tenants.len(), 2);
    assert!(tenants.contains(&(HOSTILE.to_owned(), abc.to_string())));
    let metrics = monitor.query(&query("metric"), &[]).expect("metrics");
    assert!(metrics.iter().any(|row| row.get::<_, String>(0) == "api_call"));
    let tenants: Vec<String> = tenants.into_iter().map(|(_, id)| id).collect();
    for (title, panel) in &panels {
        let rows = run(&mut monitor, title, panel, &tenants);
        // All is as shipped here, so that panel alone stays empty.
        assert_eq!(rows.is_empty(), title == "What isolates the tenants", "{title}");
    }
    // One tenant chosen is one tenant shown.
    let of = |title: &str| panels.iter().find(|(t, _)| t == title).map(|(_, panel)| panel).expect("a panel");
    let one = run(&mut monitor, "one", of("Tenants this month"), &[abc.to_string()]);
    assert_eq!(one.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), [HOSTILE]);
    let day = run(&mut monitor, "day", of("Usage by day"), &[abc.to_string()]);
    assert_eq!(day.len(), 1);
}

/// What Grafana needs to load it: ids, a place on the page, the data source by its variable.
#[test]
fn the_dashboard_is_one_that_grafana_loads() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_i64().is_some_and(|v| v >= 37));
    assert!(dashboard.get("id").is_none_or(Value::is_null), "an id is the installation's own");
    let all = dashboard["panels"].as_array().expect("panels");
    let mut ids: Vec<i64> = all.iter().map(|p| p["id"].as_i64().expect("an id")).collect();
    ids.dedup();
    assert_eq!(ids.len(), all.len());
    let place = |panel: &Value, key: &str| panel["gridPos"][key].as_i64().expect("a place");
    for (n, panel) in all.iter().enumerate() {
        assert!(place(panel, "x") + place(panel, "w") <= 24, "{panel}");
        for other in &all[n + 1..] {
            let apart = |a: &str, b: &str| {
                place(panel, a) + place(panel, b) <= place(other, a)
                    || place(other, a) + place(other, b) <= place(panel, a)
            };
            assert!(apart("x", "w") || apart("y", "h"), "{} lies on {}", other["title"], panel["title"]);
        }
        if panel["type"] != "row" {
            for source in [&panel["datasource"], &panel["targets"][0]["datasource"]] {
                assert_eq!((&source["type"], &source["uid"]), (&"postgres".into(), &"${datasource}".into()));
            }
            assert!(panel["description"].as_str().is_some_and(|d| !d.is_empty()), "{}", panel["title"]);
        }
    }
}
