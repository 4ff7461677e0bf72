//! A hot standby answers Prometheus too, and the primary says how far it is behind.

use postgres::Client;
use stormops_tests::monitoring::programs::until;
use stormops_tests::{Db, provision};

use super::{replayed, standby};

#[test]
fn a_standby_answers_too_and_its_lag_is_measured() {
    let db = Db::new("standby");
    let abc = provision(&db, "Abc");
    replayed();
    let mut standby: Client = standby().connect("mon", &db.name);
    let text: String = standby.query_one("SELECT stormops.prometheus_metrics()", &[]).expect("a reader").get(0);
    let line = |begin: &str, end: &str| text.lines().any(|l| l.starts_with(begin) && l.ends_with(end));
    assert!(line("stormops_installation_in_recovery{", "} 1"), "{text}");
    assert!(
        text.contains(&format!("stormops_tenant_info{{org_name=\"Abc\",status=\"active\",tenant_id=\"{abc}\"")),
        "{text}"
    );

    // The primary's side, for a role that may see it; one that may not has no sample rather than a wrong one.
    let lag = "SELECT labels ->> 'replica', value FROM stormops.monitoring_samples() WHERE name = 'stormops_replica_lag_bytes'";
    let mut primary = db.superuser();
    let (replica, bytes) = until("the lag", || {
        primary.query(lag, &[]).expect("samples").first().map(|row| (row.get::<_, String>(0), row.get::<_, f64>(1)))
    });
    assert!(!replica.is_empty() && bytes.abs() < 1e9, "{replica} {bytes}");
    assert!(db.as_role("mon").query(lag, &[]).expect("samples").is_empty());
}
