//! For real, on loopback: exporter, Prometheus, Alertmanager, and a receiver in the place of PagerDuty and Slack. The
//! shipped files are what runs; only addresses, the places of the two secrets, and intervals are put in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stormops_tests::monitoring::programs::{Program, Receiver, until};
use stormops_tests::monitoring::{
    ALERTMANAGER, EXPORTER, HOSTILE, PROMETHEUS, busy_installation, families, have, read, shipped,
};
use stormops_tests::{Db, cluster};

/// A directory of this test's own, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("monitoring-{}", std::process::id()));
        std::fs::create_dir_all(&place).expect("a directory");
        Self(place)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).expect("a file");
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The text with each pair put in, which must be there to be replaced.
#[track_caller]
fn put(text: String, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// Lines "# TYPE" and samples without their values, of our metrics, without the label that the exporter adds.
fn shape(metrics: &str) -> BTreeSet<String> {
    let ours = |line: &&str| {
        line.starts_with("stormops_") || line.starts_with("# HELP stormops_") || line.starts_with("# TYPE stormops_")
    };
    let shape = |line: &str| {
        if line.starts_with('#') {
            return line.to_owned();
        }
        let sample = line.rsplit_once(' ').expect("a value").0;
        let Some(server) = sample.find("server=\"") else { return sample.to_owned() };
        let end = server + 8 + sample[server + 8..].find('"').expect("its end") + 1;
        let without = format!("{}{}", &sample[..server], sample[end..].trim_start_matches(','));
        without.replace(",}", "}").replace("{}", "")
    };
    metrics.lines().filter(ours).map(shape).collect()
}

#[test]
fn a_condition_in_the_database_reaches_pager_and_chat() {
    if !have(&[EXPORTER, PROMETHEUS, ALERTMANAGER, ("setpriv", "util-linux")]) {
        return;
    }
    let db = Db::new("chain");
    let mut superuser = db.superuser();
    // As examples/monitoring/README.md says.
    db.in_turn("CREATE ROLE prometheus LOGIN; SELECT stormops.grant_usage('prometheus', 'monitor'); GRANT pg_monitor TO prometheus");
    busy_installation(&db, HOSTILE);
    superuser
        .batch_execute(
            "SELECT stormops.note_schedule('trial_expiry', '30 3 * * *');
             UPDATE stormops_internal.scheduled_jobs SET scheduled_at = now() - interval '2 days' WHERE job <> 'health_checks'",
        )
        .expect("two jobs that did not run");

    let source = format!("user=prometheus host={} port=5432 dbname={} sslmode=disable", cluster().socket(), db.name);
    let queries = format!("--extend.query-path={}", shipped("queries.yaml").display());
    let exporter = Program::start(
        EXPORTER.0,
        "--web.listen-address",
        &["--disable-settings-metrics".into(), queries],
        &[("DATA_SOURCE_NAME", &source)],
    );
    let exported = until("the exporter's first answer", || {
        let metrics = exporter.get("/metrics");
        metrics.contains("stormops_installation_info").then_some(metrics)
    });
    assert!(exported.contains("\npg_exporter_last_scrape_error 0\n"), "{exported}");
    // The same names, kinds, help and labels as the text that the database itself writes, and no value that is none.
    let written: String =
        db.as_role("prometheus").query_one("SELECT stormops.prometheus_metrics()", &[]).expect("metrics").get(0);
    assert_eq!(shape(&exported), shape(&written));
    assert!(
        written.contains("\nstormops_platform_attest_failures 0\n"),
        "its role leaves the installation as isolated as it was"
    );
    assert!(!exported.lines().any(|l| l.starts_with("stormops_") && l.ends_with(" NaN")), "{exported}");

    let place = Place::new();
    let receiver = Receiver::start();
    let pager_url = format!("http://{}/pager", receiver.address);
    let pager_key = place.write("pagerduty_routing_key", "a-routing-key");
    let chat_url = place.write("slack_webhook_url", &format!("http://{}/chat", receiver.address));
    let routing = put(
        read("alertmanager.yml"),
        &[
            ("https://events.pagerduty.com/v2/enqueue", &pager_url),
            ("/etc/prometheus/stormops/pagerduty_routing_key", &pager_key),
            ("/etc/prometheus/stormops/slack_webhook_url", &chat_url),
            ("group_wait: 30s", "group_wait: 1s"),
            ("group_interval: 5m", "group_interval: 1s"),
        ],
    );
    let alertmanager = Program::start(
        ALERTMANAGER.0,
        "--web.listen-address",
        &[
            format!("--config.file={}", place.write("alertmanager.yml", &routing)),
            format!("--storage.path={}", place.path("alertmanager")),
            "--cluster.listen-address=".into(),
        ],
        &[],
    );
    let rules = read("stormops.rules.yml");
    let impatient: String = rules
        .lines()
        .map(|l| if l.trim_start().starts_with("for: ") { "        for: 0s\n".into() } else { format!("{l}\n") })
        .collect();
    place.write("stormops.rules.yml", &impatient);
    let scraping = put(
        read("prometheus.yml"),
        &[("localhost:9187", &exporter.address), ("localhost:9093", &alertmanager.address), ("30s", "10s")],
    );
    let prometheus = Program::start(
        PROMETHEUS.0,
        "--web.listen-address",
        &[
            format!("--config.file={}", place.write("prometheus.yml", &scraping)),
            format!("--storage.tsdb.path={}", place.path("prometheus")),
            "--rules.alert.resend-delay=1s".into(),
        ],
        &[],
    );

    // Every family arrives in Prometheus, but for that of a standby, which this server has not got.
    let mut due = families(&mut superuser);
    due.remove("stormops_replica_lag_bytes");
    let missing = || {
        let names: Value = serde_json::from_str(&prometheus.get("/api/v1/label/__name__/values")).expect("JSON");
        let there: BTreeSet<String> =
            names["data"].as_array().expect("names").iter().map(|n| n.as_str().expect("a name").to_owned()).collect();
        due.difference(&there).cloned().collect::<BTreeSet<_>>()
    };
    until("a scrape", || missing().is_empty().then_some(()));
    let query = "/api/v1/query?query=stormops_tenant_info";
    let info: Value = serde_json::from_str(&prometheus.get(query)).expect("JSON");
    assert_eq!(info["data"]["result"][0]["metric"]["org_name"], HOSTILE, "the name arrives as it is");

    // Two conditions of one kind are one page that names both.
    let missed = |body: &Value| {
        body["payload"]["summary"].as_str().is_some_and(|summary| {
            summary.split("; ").collect::<BTreeSet<_>>()
                == BTreeSet::from(["Job partitions did not run", "Job trial_expiry did not run"])
        })
    };
    let page = receiver.wait("a page", "/pager", |body| missed(body) && body["event_action"] == "trigger");
    assert_eq!(
        (&page["routing_key"], &page["payload"]["severity"]),
        (&"a-routing-key".into(), &"critical".into()),
        "{page}"
    );
    assert!(page["dedup_key"].as_str().is_some_and(|key| !key.is_empty()), "{page}");
    assert_eq!(page["payload"]["class"], "schedule_missed", "{page}");
    assert_eq!(
        page["payload"]["custom_details"]["runbook"], "SELECT * FROM stormops.runbook('schedule_missed');",
        "{page}"
    );
    let summary = format!("{HOSTILE}: missing_values");
    let tenants = receiver.wait("a tenant's page", "/pager", |body| body["payload"]["summary"] == summary.as_str());
    assert_eq!(
        tenants["payload"]["custom_details"]["runbook"], "SELECT * FROM stormops.runbook('missing_values');",
        "{tenants}"
    );
    let near = format!("{HOSTILE}: api_call nears its quota");
    let chat = receiver.wait("a message", "/chat", |body| {
        body["attachments"][0]["title"].as_str().is_some_and(|t| t.contains("nears its quota"))
    });
    assert_eq!(chat["channel"], "#stormops");
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let title = &chat["attachments"][0]["title"];
    assert!(*title == near.as_str() || *title == escaped(&near).as_str(), "{chat}");
    let text = chat["attachments"][0]["text"].as_str().expect("a text");
    assert!(
        text.contains("85% of the soft quota of api_call for this month are used.")
            && text.contains("stormops.runbook('quota_used')"),
        "{chat}"
    );

    // The jobs run, and the page is taken back under the same key.
    db.as_role("op")
        .batch_execute("SELECT stormops.run_job('partitions'); SELECT stormops.run_job('trial_expiry')")
        .expect("their runs");
    let back = receiver
        .wait("its end", "/pager", |body| body["dedup_key"] == page["dedup_key"] && body["event_action"] == "resolve");
    assert_eq!(back["routing_key"], "a-routing-key");
}
