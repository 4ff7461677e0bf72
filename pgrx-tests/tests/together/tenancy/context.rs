//! How long the tenant context lasts, and that one transaction has one tenant.

use postgres::error::DbError;
use std::collections::HashSet;
use stormops_tests::twins::Twins;
use stormops_tests::{enter, fails_with, sqlstate};
use uuid::Uuid;

const NO_TENANT: &str = "0B000";
const TWO_TENANTS: &str = "25001";

#[test]
fn without_a_tenant_every_table_gives_one_and_the_same_error() {
    let twins = Twins::new("unset");
    let mut told: Vec<DbError> = Vec::new();
    for role in ["app", "tapp"] {
        for relation in twins.tables.iter().chain(&[
            "policy_decisions",
            "policy_decisions_log",
            "policy_decisions_plain",
            "storm_results",
        ]) {
            told.push(fails_with(twins.run(role, &format!("TABLE stormops.{relation}")), NO_TENANT));
        }
        for write in [
            "INSERT INTO stormops.storms (event_id, name) VALUES ('x', 'x')",
            "INSERT INTO stormops.storms (tenant_id, event_id, name) VALUES ($a, 'x', 'x')",
            "UPDATE stormops.storms SET name = 'x'",
            "DELETE FROM stormops.storms",
        ] {
            told.push(fails_with(twins.run(role, write), NO_TENANT));
        }
    }
    // Nor does it matter how the session came to have none.
    for script in [
        "ENTER ''; TABLE stormops.storms",
        "BEGIN; SET LOCAL app.current_tenant = $a; TABLE stormops.storms; COMMIT; TABLE stormops.storms",
        "BEGIN; ENTER $a; TABLE stormops.storms; ROLLBACK; TABLE stormops.storms",
        "BEGIN; ENTER $a; TABLE stormops.storms; ENTER ''; TABLE stormops.storms",
        "BEGIN; SAVEPOINT s; ENTER $a; TABLE stormops.storms; ROLLBACK TO s; TABLE stormops.storms",
        "DO $$ BEGIN SET LOCAL app.current_tenant = $a; COMMIT; PERFORM FROM stormops.storms; END $$",
        "DO $$ BEGIN ENTER $a; RAISE 'x'; EXCEPTION WHEN OTHERS THEN PERFORM FROM stormops.storms; END $$",
    ] {
        told.push(fails_with(twins.run("tapp", script), NO_TENANT));
    }
    let mut client = twins.db.as_role("tapp");
    for leave in ["RESET app.current_tenant", "SET app.current_tenant TO DEFAULT", "RESET ALL", "DISCARD ALL"] {
        enter(&mut client, twins.a);
        client.batch_execute("TABLE stormops.storms").expect("a tenant");
        client.batch_execute(leave).expect("no tenant");
        told.push(fails_with(client.batch_execute("TABLE stormops.storms"), NO_TENANT));
    }
    let first = told[0].clone();
    let hints: HashSet<_> = told.iter().map(|error| error.hint()).collect();
    assert_eq!(hints.len(), 2, "one for each kind of role: {hints:?}");
    assert!(!hints.contains(&None));
    assert!(told.iter().all(|error| error.message() == first.message() && error.detail().is_none()), "{told:?}");
}

#[test]
fn one_transaction_has_one_tenant() {
    let twins = Twins::new("mixed");
    let switch = "CREATE FUNCTION public.rows_of(tenant text) RETURNS SETOF text LANGUAGE plpgsql AS $f$ BEGIN
        PERFORM set_config('app.current_tenant', tenant, true);
        RETURN QUERY SELECT tenant_id::text FROM stormops.storms;
    END $f$";
    twins.db.superuser().batch_execute(switch).expect("a function");
    let in_a = "BEGIN; SAVEPOINT s; ENTER $a; TABLE stormops.storms; ";
    for (script, expected) in [
        ("ENTER $b; TABLE stormops.storms", TWO_TENANTS),
        ("ENTER $b; INSERT INTO stormops.storms (event_id, name) VALUES ('x', 'x')", TWO_TENANTS),
        ("ENTER $b; UPDATE stormops.storms SET name = 'x'", TWO_TENANTS),
        ("ENTER $b; SELECT stormops.current_tenant()", TWO_TENANTS),
        ("ENTER $b; SELECT stormops.current_user_role()", TWO_TENANTS),
        ("ENTER $b; SELECT * FROM stormops.export_tenant_data()", TWO_TENANTS),
        ("RELEASE s; ENTER $b; TABLE stormops.storms", TWO_TENANTS),
        ("SELECT * FROM rows_of($a) UNION ALL SELECT * FROM rows_of($b)", TWO_TENANTS),
        (
            "DO $$ BEGIN ENTER $b; PERFORM FROM stormops.storms;
          EXCEPTION WHEN OTHERS THEN ENTER $b; PERFORM FROM stormops.storms; END $$",
            TWO_TENANTS,
        ),
        // What was read in A is read, though the savepoint is gone.
        ("ROLLBACK TO s; ENTER $b; TABLE stormops.storms", TWO_TENANTS),
        ("COMMIT; SELECT * FROM rows_of($a) UNION ALL SELECT * FROM rows_of($b)", TWO_TENANTS),
        // The next transaction is free.
        ("COMMIT AND CHAIN; ENTER $b; TABLE stormops.storms", "00000"),
        ("ROLLBACK; BEGIN; ENTER $b; TABLE stormops.storms", "00000"),
        // And a detour that reads nothing is none.
        ("ENTER $b; ENTER $a; TABLE stormops.storms", "00000"),
        ("SAVEPOINT t; ENTER $b; ROLLBACK TO t; TABLE stormops.storms", "00000"),
    ] {
        assert_eq!(sqlstate(&twins.run("tapp", &format!("{in_a}{script}"))), expected, "{script}");
    }
    let two = "DO $$ BEGIN PERFORM rows_of($a); COMMIT; PERFORM rows_of($b); END $$";
    twins.run("tapp", two).expect("two transactions");
}

/// Whether the plan asks for the tenant once (an index scan) or for each row.
#[test]
fn a_statement_under_way_stays_in_its_tenant() {
    let twins = Twins::new("underway");
    for plan in ["enable_seqscan = off", "enable_indexscan = off; SET enable_bitmapscan = off"] {
        for switch in [
            "DECLARE c CURSOR FOR SELECT tenant_id FROM stormops.policy_modes; FETCH c; ENTER $b; FETCH ALL c",
            "SELECT tenant_id, set_config('app.current_tenant', $b, false) FROM stormops.policy_modes",
        ] {
            match twins.run("tapp", &format!("SET {plan}; ENTER $a; BEGIN; {switch}")) {
                Ok(seen) => assert!(seen.iter().all(|tenant| *tenant == twins.a.to_string()), "{switch}: {seen:?}"),
                refused => drop(fails_with(refused, TWO_TENANTS)),
            }
            let next = format!("SET {plan}; ENTER $a; BEGIN; {switch}; TABLE stormops.storms");
            fails_with(twins.run("tapp", &next), TWO_TENANTS);
        }
    }
}

/// A cursor WITH HOLD outlives its transaction, and so its tenant.
#[test]
fn a_cursor_with_hold_shows_the_next_tenant_nothing() {
    let twins = Twins::new("hold");
    let held = "ENTER $a; BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT tenant_id FROM stormops.storms; COMMIT;
        ENTER $b; FETCH ALL FROM held";
    let seen = twins.run("tapp", held).unwrap_or_default();
    assert!(!seen.contains(&twins.a.to_string()), "B fetched A's row");
}

#[test]
fn a_prepared_plan_follows_the_tenant() {
    let twins = Twins::new("prepared");
    let mut client = twins.db.as_role("tapp");
    client.batch_execute("SET plan_cache_mode = force_generic_plan").expect("a setting");
    let statement = client.prepare("SELECT tenant_id FROM stormops.policy_modes").expect("a statement");
    for tenant in [twins.a, twins.b, twins.a] {
        enter(&mut client, tenant);
        let seen: Vec<Uuid> = client.query(&statement, &[]).expect("rows").iter().map(|row| row.get(0)).collect();
        assert_eq!(seen, vec![tenant; twins.count("policy_modes", tenant)]);
    }
}

#[test]
fn parallel_workers_are_in_the_same_tenant() {
    let twins = Twins::new("parallel");
    twins.db.without_guard("explain");
    let force = "SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')";
    let force: String = twins.db.superuser().query_one(force, &[]).expect("a setting of this server").get(0);
    let in_workers = |user: &str, sql: &str| {
        twins.run(
            "tapp",
            &format!(
                "SET {force} = on; SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0;
            SET parallel_tuple_cost = 0; SET app.current_user_id = '{user}'; ENTER $a; {sql}"
            ),
        )
    };
    for relation in twins.tables.iter().chain(&[
        "policy_decisions",
        "policy_decisions_log",
        "policy_decisions_plain",
        "storm_results",
    ]) {
        let rows = format!("SELECT tenant_id FROM stormops.{relation} WHERE tenant_id = stormops.current_tenant()");
        let plan = in_workers("", &format!("EXPLAIN (COSTS OFF) {rows}")).expect("a plan");
        assert!(plan.iter().any(|line| line.contains("Gather")), "{plan:?}");
        let own = vec![twins.a.to_string(); twins.count(relation, twins.a)];
        assert_eq!(in_workers("", &rows).expect("rows"), own, "{relation}");
    }
    // The acting user goes along.
    let user = stormops_tests::twins::id(1).to_string();
    assert_eq!(
        in_workers(&user, "SELECT stormops.current_user_role() FROM stormops.storms").expect("a role"),
        ["viewer"]
    );
    assert_eq!(in_workers(&user, "SELECT usage_id FROM stormops.tenant_usage").expect("no row for a viewer"), [""; 0]);
}
