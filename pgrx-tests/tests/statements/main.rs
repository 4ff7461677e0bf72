//! Slow statements where the server keeps statistics of them: by role from pg_stat_statements, by tenant from the
//! platform's own clock.

use serde_json::Value;
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, cluster, fails_with, get};

#[test]
fn slow_statements_show_by_role_and_slow_calls_by_tenant() {
    cluster().configure(&["shared_preload_libraries = 'stormops,pg_stat_statements'"]);
    let db = Db::new("statements");
    let grant = "CREATE EXTENSION pg_stat_statements;
        CREATE ROLE seeing LOGIN; SELECT stormops.grant_usage('seeing', 'monitor'); GRANT pg_monitor TO seeing";
    db.superuser().batch_execute(grant).expect("from contrib");
    let (abc, mut session) = tenant(&db, "Abc");
    let (other, mut theirs) = tenant(&db, "Other");
    let storm = scored_storm(&mut session, "hail", 300);
    session.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("a run");
    theirs.execute("SELECT stormops.record_usage('model_call', 1)", &[]).expect("use");

    let statements = "SELECT slow_statements FROM stormops.get_system_health()";
    let seen: Value = get(&mut db.as_role("seeing"), statements, &[]);
    let seen = seen.as_array().expect("statements");
    assert_eq!(seen.len(), 5);
    assert!(
        seen.iter().any(|s| s["query"].as_str().is_some_and(|q| q.contains("apply_policy")) && s["role"] == "tapp"),
        "{seen:?}"
    );

    // Known times: of the one tenant a second, of the other a millisecond.
    let known = "DELETE FROM stormops.row_count_deltas; DELETE FROM stormops.call_durations;
        INSERT INTO stormops.call_durations (tenant_id, table_name, day, class, calls)
        SELECT t, 'policy_runs', current_date - d, stormops_internal.duration_class(ms), n
        FROM (VALUES ('$1'::uuid, 0, 1.0, 90), ('$1', 0, 1000.0, 10), ('$2', 0, 10.0, 5), ('$2', 7, 60000.0, 5)) AS v (t, d, ms, n)";
    let known = known.replace("$1", &abc.to_string()).replace("$2", &other.to_string());
    db.superuser().batch_execute(&known).expect("a histogram");
    let calls = "SELECT slow_calls FROM stormops.get_system_health()";
    for role in ["mon", "op"] {
        let calls: Value = get(&mut db.as_role(role), calls, &[]);
        let expected = serde_json::json!([
            {"tenant_id": abc.to_string(), "call": "apply_policy", "calls": 100, "p50_ms": 1.0, "p95_ms": 1000.0, "p99_ms": 1000.0},
            {"tenant_id": other.to_string(), "call": "apply_policy", "calls": 5, "p50_ms": 10.0, "p95_ms": 10.0, "p99_ms": 10.0},
        ]);
        assert_eq!(calls, expected, "{role}");
    }
    let longest = "SELECT tenant_id FROM stormops.slowest_calls(1, 60)";
    assert_eq!(get::<uuid::Uuid>(&mut db.as_role("mon"), longest, &[]), other, "over more days the other");
    for (most, days, code) in [(Some(0), Some(1), "22023"), (Some(1), Some(61), "22023"), (None, Some(0), "22023")] {
        fails_with(db.as_role("mon").query("SELECT stormops.slowest_calls($1, $2)", &[&most, &days]), code);
    }
    for role in ["app", "tapp", "nobody"] {
        fails_with(db.as_role(role).query("SELECT stormops.slowest_calls()", &[]), "42501");
    }
}
