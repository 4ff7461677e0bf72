//! What a tenant does in a transaction that it leaves open is its own affair: every run of the platform ends in time, what
//! it does for the others is done, and they read and write as ever.

use std::time::{Duration, Instant};

use postgres::Client;
use stormops_tests::tenant::{acting_as, scored_storm, session, tenant};
use stormops_tests::{Db, enter, get, sqlstate};
use uuid::Uuid;

/// What A holds open, as whom: a role within the tenant, or "app" for a login without a token.
const HELD: &[(&str, &str)] = &[
    ("app", "INSERT INTO stormops.tenant_usage (metric_name, metric_value) SELECT 'model_call', 1 WHERE false"),
    ("app", "INSERT INTO stormops.storms (event_id, name) SELECT 'x', 'x' WHERE false"),
    ("crew_chief", "SELECT stormops.acknowledge_alert(alert_id) FROM alerts WHERE resolved_at IS NULL"),
    (
        "crew_chief",
        "SELECT stormops.silence_alert(alert_id, now() + interval '1 hour') FROM alerts WHERE resolved_at IS NULL",
    ),
    ("crew_chief", "SELECT * FROM stormops.run_health_checks(complete => true)"),
    ("admin", "SELECT stormops.add_user('held@abc.example', 'viewer')"),
    ("admin", "SELECT stormops.add_user('held@abc.example', 'viewer'); SET CONSTRAINTS ALL IMMEDIATE"),
    ("admin", "SELECT stormops.add_user('held@abc.example', 'viewer'); SELECT ok FROM stormops.verify_log()"),
    ("admin", "SELECT stormops.set_alert_route('held', 'slack', 'https://hooks.slack.com/services/x')"),
    ("admin", "SELECT stormops.retry_deliveries()"),
    ("admin", "SELECT stormops.declare_metric('held', 'piece', 'SUM')"),
    ("viewer", "SELECT count(*) FROM storms"),
    ("admin", "SELECT count(*) FROM tenant_usage; SELECT count(*) FROM policy_decisions"),
    ("viewer", "SELECT stormops.record_usage('model_call', 1), stormops.record_usage('storage_mb', 1)"),
    ("viewer", "SELECT stormops.record_usage('health_check', 1, '{}', 'held')"),
    ("crew_chief", "INSERT INTO storms (event_id, name) VALUES ('held', 'Held')"),
    ("admin", "SELECT stormops.apply_policy(storm_id, supersede => true) FROM storms LIMIT 1"),
];

/// What the platform runs meanwhile, and how it may end; all but the last two succeed.
const RUNS: &[(&str, &[&str])] = &[
    ("SELECT * FROM stormops.rollup_usage()", &["00000"]),
    ("SELECT * FROM stormops.run_health_checks(complete => true)", &["00000"]),
    ("SELECT stormops.run_job('health_checks')", &["00000"]),
    ("SELECT * FROM stormops.deliver_alerts()", &["00000"]),
    ("SELECT * FROM stormops.expire_trials()", &["00000"]),
    ("SELECT * FROM stormops.generate_invoices('2024-01')", &["00000"]),
    ("SELECT stormops.set_price_book($a, 'default')", &["00000"]),
    ("SELECT stormops.maintain_partitions(6)", &["00000"]),
    ("SELECT stormops.set_tier_quota('enterprise', 'model_call', 1000)", &["00000"]),
    ("SELECT stormops.set_quota($a, 'api_call', 1000)", &["00000"]),
    ("SELECT * FROM stormops.measure_storage()", &["00000"]),
    ("SELECT stormops.recount_rows('storms')", &["00000"]),
    ("SELECT stormops.fold_row_counts()", &["00000"]),
    ("SELECT stormops.forget_health('7 days')", &["00000"]),
    ("SELECT * FROM stormops.get_system_health()", &["00000"]),
    ("SELECT * FROM stormops.set_tier($a, 'enterprise')", &["00000"]),
    ("SELECT * FROM stormops.suspend_tenant($a, 'unpaid')", &["00000"]),
    ("SELECT * FROM stormops.reactivate_tenant($a)", &["00000"]),
    // Who reads is in the way of these: they say so, and nobody stands behind them.
    ("SELECT stormops.drop_usage_before('2010-01-01')", &["00000", "55P03", "55000"]),
    ("SELECT stormops.drop_decisions_before('2010-01-01')", &["00000", "55P03"]),
];

/// A tenant with something of everything: alerts, hard quotas, users' rows, usage.
fn furnished(db: &Db, name: &str) -> (Uuid, Client) {
    let (id, mut session) = tenant(db, name);
    scored_storm(&mut session, "hail", 40);
    session.batch_execute("SELECT stormops.apply_policy(storm_id) FROM storms").expect("a run");
    session
        .batch_execute("SELECT stormops.expect('properties', 'not_null', '{address}'); SELECT stormops.record_usage('model_call', 1)")
        .expect("an expectation that fails");
    let mut op = db.as_role("op");
    for metric in ["model_call", "storage_mb", "health_check"] {
        op.execute("SELECT stormops.set_quota($1, $2, 100000)", &[&id, &metric]).expect("a hard quota");
    }
    (id, session)
}

/// A hold lasts until the test ends it, so whatever ends has not waited for it. In practice each takes a second more than usual.
const MOST: Duration = Duration::from_secs(20);

fn within<T>(what: &str, most: Duration, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed() < most, "{what}: {:?}", start.elapsed());
    result
}

#[test]
fn whatever_a_tenant_holds_open_the_platform_and_the_others_go_on() {
    let db = Db::new("held");
    let (abc, _) = furnished(&db, "Abc");
    let (_, mut best) = furnished(&db, "Best");
    let mut op = db.as_role("op");
    op.batch_execute("SELECT * FROM stormops.run_health_checks(complete => true)").expect("alerts");
    assert!(get::<i64>(&mut op, "SELECT count(*) FROM stormops.alerts()", &[]) > 0);
    // However busy the machine is, nobody waits for A: neither B, nor the platform for longer than it has patience.
    best.batch_execute("SET lock_timeout = '900ms'").expect("a setting");
    op.batch_execute("SET lock_timeout = '900ms'").expect("a setting");
    let user = "SELECT stormops.add_user('one.' || $1 || '@abc.example', $1)";
    let users: Vec<(&str, Uuid)> = ["viewer", "field_user", "crew_chief", "admin"]
        .map(|role| (role, get(&mut session(&db, abc), user, &[&role])))
        .to_vec();
    for (role, held) in HELD {
        let mut holder = match users.iter().find(|user| user.0 == *role) {
            None => db.as_role(role),
            Some((_, user)) => {
                let mut holder = session(&db, abc);
                holder.batch_execute(&format!("SET app.current_user_id = '{user}'")).expect("a user");
                holder
            }
        };
        holder.batch_execute(&format!("BEGIN; {held}")).unwrap_or_else(|e| panic!("{role}: {held}: {e:?}"));
        for (run, outcomes) in RUNS {
            let run = run.replace("$a", &format!("'{abc}'"));
            let what = format!("{run} beside {role}: {held}");
            // What B does meanwhile, from a thread of its own until the run has ended.
            let beside = std::thread::scope(|scope| {
                let running = scope.spawn(|| within(&what, MOST, || op.batch_execute(&run)));
                let mut beside = 0;
                loop {
                    let read = "SELECT count(*) FROM storms; SELECT count(*) FROM tenant_usage; SELECT count(*) FROM policy_decisions";
                    let write = "SELECT stormops.record_usage('model_call', 1)";
                    for statement in [read, write] {
                        best.batch_execute(statement).unwrap_or_else(|e| panic!("B beside {what}: {e:?}"));
                    }
                    beside += 1;
                    if running.is_finished() {
                        let outcome = running.join().expect("a run");
                        let state = sqlstate(&outcome).to_owned();
                        assert!(outcomes.contains(&state.as_str()), "{what}: {outcome:?}");
                        break beside;
                    }
                }
            });
            assert!(beside > 0);
        }
        // What was to be done for B is done.
        let behind = "SELECT count(*) FROM stormops.usage_batches AS b JOIN stormops.tenants AS t USING (tenant_id)
            WHERE t.org_name = 'Best' AND b.mark IS NULL";
        op.batch_execute("SELECT * FROM stormops.rollup_usage()").expect("a rollup");
        assert_eq!(get::<i64>(&mut db.superuser(), behind, &[]), 0, "{held}");
        holder.batch_execute("ROLLBACK").expect("an end");
        // And for A once it has ended.
        op.execute("SELECT stormops.rollup_usage()", &[]).expect("a rollup");
        assert_eq!(get::<i64>(&mut op, "SELECT count(*) FROM stormops.verify_rollups()", &[]), 0, "{held}");
        let month = "UPDATE stormops.tenants SET tier = 'standard', trial_ends_at = NULL WHERE tenant_id = $1";
        db.superuser().execute(month, &[&abc]).expect("the tier of before");
    }
}

/// The checks that could not be noted for one tenant were noted for the others.
#[test]
fn an_alert_that_a_tenant_holds_is_the_only_one_that_waits() {
    let db = Db::new("held_alert");
    let (abc, _) = furnished(&db, "Abc");
    let (best, _) = furnished(&db, "Best");
    let mut op = db.as_role("op");
    let check = "SELECT alerts_raised, alerts_resolved FROM stormops.run_health_checks(complete => true)";
    op.query(check, &[]).expect("alerts");
    let mut holder = acting_as(&db, abc, "crew_chief");
    holder.batch_execute("BEGIN; SELECT stormops.acknowledge_alert(alert_id) FROM alerts").expect("a hold");
    db.superuser().batch_execute("UPDATE stormops.properties SET address = 'here'").expect("a repair");
    for _ in 0..2 {
        within(check, MOST, || op.query(check, &[]).expect("a run"));
    }
    let open = |tenant: Uuid| {
        let open = "SELECT count(*) FROM stormops.alerts WHERE tenant_id = $1 AND issue = 'missing_values' AND resolved_at IS NULL";
        get::<i64>(&mut db.superuser(), open, &[&tenant])
    };
    assert_eq!((open(abc), open(best)), (1, 0));
    holder.batch_execute("COMMIT").expect("an end");
    for _ in 0..2 {
        op.query(check, &[]).expect("a run");
    }
    assert_eq!(open(abc), 0);
}

/// A quota that was set while somebody metered, who did not know of it, holds from the next rollup on.
#[test]
fn what_was_metered_past_a_new_quota_is_counted_once_it_is_rolled_up() {
    let db = Db::new("held_quota");
    let (abc, mut slow) = tenant(&db, "Abc");
    let mut op = db.as_role("op");
    let set = [
        format!("SELECT stormops.set_quota('{abc}', 'api_call', 10)"),
        "SELECT stormops.set_tier_quota('standard', 'policy_run', 10)".to_owned(),
    ];
    slow.batch_execute("BEGIN; SELECT stormops.record_usage('api_call', 8), stormops.record_usage('policy_run', 8)")
        .expect("a writer");
    for set in &set {
        within(set, MOST, || op.batch_execute(set).expect("a quota"));
    }
    let mut quick = session(&db, abc);
    quick
        .batch_execute("SELECT stormops.record_usage('api_call', 1), stormops.record_usage('policy_run', 1)")
        .expect("usage");
    slow.batch_execute("COMMIT").expect("an end");
    op.batch_execute("SELECT stormops.rollup_usage()").expect("a rollup");
    for metric in ["api_call", "policy_run"] {
        let record = |value: &str| format!("SELECT stormops.record_usage('{metric}', {value})");
        assert_eq!(sqlstate(&quick.batch_execute(&record("2"))), "53400", "{metric}");
        quick.batch_execute(&record("1")).expect("the rest");
    }
    // What the platform measures of a tenant that holds its counter is measured, and counted.
    let mut app = db.as_role("tapp");
    enter(&mut app, abc);
    op.batch_execute(&format!("SELECT stormops.set_quota('{abc}', 'storage_mb', 0.5)")).expect("a quota");
    app.batch_execute("BEGIN; SELECT stormops.record_usage('storage_mb', 0)").expect("a counter that is held");
    let measured = "SELECT bool_and(recorded) FROM stormops.measure_storage()";
    assert!(within(measured, MOST, || get::<bool>(&mut op, measured, &[])));
    app.batch_execute("COMMIT").expect("an end");
}
