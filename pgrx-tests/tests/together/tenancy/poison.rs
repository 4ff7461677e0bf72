//! What one tenant writes, allowed or tried, hinders no run of the platform's over all tenants.

use postgres::Client;
use stormops_tests::{Db, enter, fails_with, provision};
use uuid::Uuid;

/// Two tenants: the second, and a session in the first.
fn two_tenants(db: &Db) -> (Uuid, Client) {
    let (mallory, victim) = (provision(db, "Mallory Roofing"), provision(db, "Victim Roofing"));
    let mut session = db.as_role("tapp");
    enter(&mut session, mallory);
    (victim, session)
}

/// The operator's run over all tenants, whose expectations are all judged anew.
fn judged(db: &Db) -> i64 {
    let run = "SELECT judged FROM stormops.run_health_checks(complete => true)";
    db.as_role("op").query_one(run, &[]).expect("a run over all tenants").get(0)
}

#[test]
fn no_expectation_stops_the_run_over_all_tenants() {
    let db = Db::new("poison_expectations");
    let (victim, mut session) = two_tenants(&db);
    db.as_role("op").execute("SELECT stormops.expect_defaults($1)", &[&victim]).expect("expectations");
    // Columns that do not begin at one, and what only the platform writes.
    let offences = [
        ("rule, columns", "'not_null', '[0:0]={address}'", "23514"),
        ("rule, columns", "'not_null', '{{address}}'", "0A000"),
        ("rule, columns, judged_at", "'not_null', '{address}', '4714-11-24 00:00:00+00 BC'", "42501"),
        ("rule, columns, judged_at", "'not_null', '{address}', '294276-12-31 23:59:59+00'", "42501"),
        ("rule, columns, judged_status", "'not_null', '{address}', 'ok'", "42501"),
        ("rule, columns, reference", "'not_null', '{address}', repeat('x', 64)::bytea", "42501"),
    ];
    for (columns, values, sqlstate) in offences {
        let insert = format!(
            "INSERT INTO stormops.expectations (name, table_name, {columns}) VALUES ('x', 'properties', {values})"
        );
        fails_with(session.execute(&insert, &[]), sqlstate);
        assert_eq!(judged(&db), 6, "after {insert}");
    }
}

#[test]
fn many_different_expectations_are_judged_in_several_passes() {
    let db = Db::new("poison_many");
    let (victim, mut session) = two_tenants(&db);
    // Half of them fail, of each pass; the limits tell whether each is judged by its own.
    let ranges = "INSERT INTO stormops.expectations (name, table_name, rule, columns, highest)
        SELECT i, 'properties', 'range', '{year_built}', 1900 + i FROM generate_series(1, $1::integer) AS i";
    let too_many = fails_with(session.execute(ranges, &[&501]), "54000");
    assert_eq!(too_many.message(), "a tenant has at most 500 expectations");
    session.execute(ranges, &[&500]).expect("as many as may be");
    session.batch_execute("INSERT INTO stormops.properties (year_built) VALUES (2150)").expect("a property");
    let mut other = db.as_role("tapp");
    enter(&mut other, victim);
    // Other columns than the first tenant's: rules of their own.
    let unique = "INSERT INTO stormops.expectations (name, table_name, rule, columns)
        SELECT i, 'properties', 'unique', (ARRAY['address', 'roof_style', 'roof_material', 'external_id', 'year_built', 'roof_year', 'status', 'created_at'])
            [1:1 + i % 8] FROM generate_series(1, 100) AS i";
    other.execute(unique, &[]).expect("expectations");
    let twins = "INSERT INTO stormops.properties (address, external_id) VALUES ('1 Main St', 'a'), ('1 Main St', 'b')";
    other.batch_execute(twins).expect("properties");
    assert_eq!(judged(&db), 600);
    let failed = "SELECT count(*), min(name::integer), max(name::integer) FROM stormops.expectations WHERE judged_status = 'failed'";
    let row = session.query_one(failed, &[]).expect("verdicts");
    assert_eq!((row.get(0), row.get(1), row.get(2)), (249_i64, 1, 249), "those below 2150");
    // Only of the address alone, as every eighth is: nothing else is known of both.
    let failed =
        "SELECT count(*), bool_and(columns = '{address}') FROM stormops.expectations WHERE judged_status = 'failed'";
    let row = other.query_one(failed, &[]).expect("verdicts");
    assert_eq!((row.get(0), row.get(1)), (12_i64, true));
}

#[test]
fn no_measurement_of_a_tenants_own_overflows_the_platforms() {
    let db = Db::new("poison_quality");
    let (_, mut session) = two_tenants(&db);
    let huge = "INSERT INTO stormops.data_quality_metrics (table_name, metric_name, status, rows_judged, rows_failing)
        SELECT 'storms', 'x', 'ok', 9223372036854775807, 9223372036854775807 FROM generate_series(1, 2)";
    session.execute(huge, &[]).expect("a crew_chief measures what it likes");
    assert_eq!(judged(&db), 0);
    for call in ["prometheus_metrics()", "get_system_health()", "monitor_tenant_quality()"] {
        db.as_role("mon").query(&format!("SELECT * FROM stormops.{call}"), &[]).expect(call);
    }
}

#[test]
fn no_metric_stops_the_rollup_and_the_invoices_of_all() {
    let db = Db::new("poison_metric");
    let (_, mut session) = two_tenants(&db);
    // Every kind of metric, with all the dimensions there may be, and values as long and as large as they may be.
    let labels = "(SELECT jsonb_object_agg(rpad(k, 40, 'x'), repeat(chr(65536 + 1000 * ascii(k)), 100)) FROM unnest('{a,b,c,d}'::text[]) AS k)";
    let names = "ARRAY(SELECT rpad(k, 40, 'x') FROM unnest('{a,b,c,d}'::text[]) AS k)";
    for aggregation in ["SUM", "COUNT", "MAX", "LATEST", "UNIQUE"] {
        let unique = if aggregation == "UNIQUE" { "rpad('a', 40, 'x')" } else { "NULL" };
        let named = format!("lower('{aggregation}')");
        let declared = format!("SELECT stormops.declare_metric({named}, 'u', '{aggregation}', {unique}, {names})");
        session.query(&declared, &[]).expect("a metric");
        let shifted =
            format!("SELECT stormops.declare_metric({named} || 0, 'u', '{aggregation}', {unique}, '[0:0]={{q}}')");
        fails_with(session.query(&shifted, &[]), "22023");
        let used = format!(
            "INSERT INTO stormops.tenant_usage (metric_name, metric_value, dimensions, recorded_at)
            SELECT {named}, 1e15, {labels}, now() - interval '40 days' FROM generate_series(1, 3)"
        );
        session.execute(&used, &[]).expect("usage");
    }
    let mut operator = db.as_role("op");
    let rolled: i64 = operator.query_one("SELECT events FROM stormops.rollup_usage()", &[]).expect("a rollup").get(0);
    assert_eq!(rolled, 15);
    let invoices = "SELECT drafts FROM stormops.generate_invoices(to_char(now() - interval '40 days', 'YYYY-MM'))";
    operator.query(invoices, &[]).expect("invoices");
}
