//! What the tests of monitoring share: the files in examples/monitoring, and the programs that read them.

pub mod programs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postgres::Client;
use uuid::Uuid;

use crate::{Db, enter};

pub const HOSTILE: &str = "a\"b\\n\\\\ <script>{x=\"y\"} 1 é";

/// A file of examples/monitoring.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the checkout").join("examples/monitoring").join(name)
}

pub fn read(name: &str) -> String {
    std::fs::read_to_string(shipped(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Whether this machine has the programs; where it has not, the test says so and is skipped.
pub fn have(programs: &[(&str, &str)]) -> bool {
    let there = |program: &str| {
        let run = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok()
    };
    let missing = programs.iter().find(|(program, _)| !there(program));
    if let Some((program, package)) = missing {
        eprintln!("SKIPPED 1: this machine has no {program}; Debian's package is {package}");
    }
    missing.is_none()
}

pub const PROMTOOL: (&str, &str) = ("promtool", "prometheus");
pub const PROMETHEUS: (&str, &str) = ("prometheus", "prometheus");
pub const AMTOOL: (&str, &str) = ("amtool", "prometheus-alertmanager");
pub const ALERTMANAGER: (&str, &str) = ("prometheus-alertmanager", "prometheus-alertmanager");
pub const EXPORTER: (&str, &str) = ("prometheus-postgres-exporter", "prometheus-postgres-exporter");

/// Every name of a metric in a text: words that begin as ours, or as the exporter's or Prometheus' own.
pub fn metrics_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("stormops_") || word.starts_with("pg_exporter_") || *word == "up")
        .map(str::to_owned)
        .collect()
}

pub fn families(session: &mut Client) -> BTreeSet<String> {
    let rows = session.query("SELECT name FROM stormops.metric_families()", &[]).expect("families");
    rows.iter().map(|row| row.get(0)).collect()
}

/// A tenant of that name with something of everything that is measured, and alerts, quotas and schedules of the platform.
/// Its scores lie below 0.10 in the mean, which is an alert whatever chance decides.
pub fn busy_installation(db: &Db, org_name: &str) -> Uuid {
    let mut operator = db.as_role("op");
    let provisioned = "SELECT tenant_id FROM stormops.provision_tenant($1, 'standard', 'admin@abc.example')";
    let tenant: Uuid = operator.query_one(provisioned, &[&org_name]).expect("a tenant").get(0);
    let mut session = db.as_role("tapp");
    session.batch_execute("SET search_path = public, stormops").expect("a search path");
    enter(&mut session, tenant);
    let rows = "INSERT INTO storms (storm_id, event_id, name) VALUES (md5('hail')::uuid, 'hail', 'hail');
        INSERT INTO properties (property_id, external_id) SELECT md5('property ' || i)::uuid, i FROM generate_series(1, 400) AS i;
        INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
            SELECT md5('hail')::uuid, md5('property ' || i)::uuid, 'v1', 0.15 * i / 400 FROM generate_series(1, 400) AS i;
        SELECT stormops.apply_policy(md5('hail')::uuid);
        SELECT stormops.record_outcomes(md5('hail')::uuid, (
            SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'converted', abs(hashtext(property_id::text)) % 4 = 0))
            FROM policy_decisions WHERE decision <> 'exclude'));
        SELECT stormops.record_usage('api_call', 85);
        SELECT stormops.record_usage('storage_mb', 3);
        SELECT stormops.expect('properties', 'not_null', '{address}', severity => 'critical');
        SELECT stormops.expect('storms', 'not_null', '{name}')";
    session.batch_execute(rows).expect("a tenant's work");
    session.execute("SELECT stormops.run_health_checks()", &[]).expect("its storms are looked at");
    let quota = format!("SELECT stormops.set_quota('{tenant}', 'api_call', 100, 'month', 'soft')");
    operator.batch_execute(&quota).expect("a quota");
    operator
        .batch_execute(
            "SELECT stormops.note_schedule('health_checks', '*/15 * * * *'); SELECT stormops.note_schedule('partitions', '0 3 * * *');
             SELECT stormops.run_job('health_checks'); SELECT stormops.rollup_usage()",
        )
        .expect("schedules");
    tenant
}
