//! A hot standby for real: every reader answers there as on the primary, what writes is quiet or refused, tenants stay
//! apart, and what the primary decides about a tenant holds once it is replayed.

use std::time::{Duration, Instant};

use postgres::Client;
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Cluster, Db, cluster, enter, fails_with, get, sqlstate};
use uuid::Uuid;

use super::{replayed, standby};

/// A session of a tenant's application on a server.
fn session(server: &Cluster, db: &Db, tenant: Uuid) -> Client {
    let mut session = server.connect("tapp", &db.name);
    session.batch_execute("SET search_path = public, stormops").expect("a search path");
    enter(&mut session, tenant);
    session
}

/// A tenant with a storm that was scored, decided, and has outcomes; metered use, expectations and an alert.
fn busy(db: &Db, name: &str, storm: &str) -> (Uuid, Uuid) {
    let (tenant, mut session) = tenant(db, name);
    let storm = scored_storm(&mut session, storm, 200);
    let script = format!(
        "SELECT stormops.set_baseline('{storm}');
         SELECT stormops.apply_policy('{storm}');
         SELECT stormops.record_outcomes('{storm}', (
             SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'converted', abs(hashtext(property_id::text)) % 4 = 0))
             FROM policy_decisions WHERE decision <> 'exclude'));
         SELECT stormops.record_usage('model_call', 1234);
         SELECT stormops.expect_defaults();
         SELECT stormops.run_health_checks()"
    );
    session.batch_execute(&script).expect("a busy tenant");
    db.as_role("op")
        .batch_execute("SELECT stormops.rollup_usage(); SELECT stormops.run_health_checks()")
        .expect("jobs");
    (tenant, storm)
}

const TABLES: [&str; 5] = ["properties", "lead_uplift", "policy_decisions_log", "policy_outcomes", "tenant_usage"];

/// What a tenant reads. The answers name no moment, so that they can be compared.
fn tenants_readers(storm: Uuid) -> Vec<String> {
    let mut readers = vec![
        format!("SELECT (stormops.get_health_dashboard('{storm}') - 'checked_at')::text"),
        format!("SELECT array_agg(s)::text FROM stormops.health_summary('{storm}') AS s"),
        format!("SELECT array_agg(d)::text FROM stormops.check_uplift_distribution('{storm}') AS d"),
        format!("SELECT array_agg(d)::text FROM stormops.uplift_drift('{storm}') AS d"),
        format!("SELECT array_agg(d)::text FROM stormops.score_design_effect('{storm}') AS d"),
        format!("SELECT array_agg(r)::text FROM stormops.check_conversion_rates('{storm}') AS r"),
        format!("SELECT array_agg(u)::text FROM stormops.uplift_summary('{storm}') AS u"),
        format!("SELECT array_agg(c)::text FROM stormops.uplift_curve('{storm}', 10) AS c"),
        format!("SELECT array_agg(c)::text FROM stormops.uplift_calibration('{storm}', 4) AS c"),
        format!("SELECT array_agg(l)::text FROM stormops.lift_over_time('{storm}') AS l"),
        format!("SELECT regexp_replace(stormops.health_report_html('{storm}'), '\\d\\d:\\d\\d UTC', '')"),
        format!("SELECT array_agg(p.decision ORDER BY p)::text FROM (SELECT to_jsonb(q) - 'run_id' AS decision FROM stormops.preview_policy('{storm}') AS q) AS p"),
        "SELECT array_agg(m)::text FROM stormops.get_tenant_metrics() AS m".into(),
        "SELECT array_agg(u)::text FROM stormops.get_tenant_usage() AS u".into(),
        "SELECT array_agg(q)::text FROM stormops.check_quota('model_call') AS q".into(),
        "SELECT array_agg(a ORDER BY a.alert_id)::text FROM stormops.alerts() AS a".into(),
        "SELECT array_agg(i)::text FROM stormops.preview_invoice(NULL, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')) AS i".into(),
        "SELECT array_agg(v)::text FROM stormops.verify_log() AS v".into(),
        "SELECT array_agg(r)::text FROM stormops.runbook() AS r".into(),
        "SELECT count(*)::text || count(DISTINCT tenant_id) FROM stormops.lead_uplift".into(),
    ];
    readers.extend(TABLES.map(|table| {
        format!("SELECT array_agg(to_jsonb(h) - 'age')::text FROM stormops.check_table_health('{table}') AS h")
    }));
    readers
}

/// The answer; that it was no write shows in a transaction of its own.
fn answer(session: &mut Client, query: &str) -> String {
    session.batch_execute("BEGIN READ ONLY").expect("a transaction");
    let answer: Option<String> = get(session, query, &[]);
    assert!(
        get::<bool>(session, "SELECT pg_current_xact_id_if_assigned() IS NULL", &[]),
        "{query} took a transaction id"
    );
    session.batch_execute("COMMIT").expect("its end");
    answer.unwrap_or_else(|| panic!("{query} answers nothing"))
}

#[test]
fn every_reader_answers_on_a_standby_as_on_the_primary() {
    let db = Db::new("readers");
    let (abc, storm) = busy(&db, "Abc", "hail");
    let schedule = "SELECT stormops.note_schedule('health_checks', '*/15 * * * *')";
    db.as_role("op").batch_execute(schedule).expect("a schedule");
    replayed();
    let (mut here, mut there) = (session(cluster(), &db, abc), session(standby(), &db, abc));
    for query in tenants_readers(storm) {
        assert_eq!(answer(&mut there, &query), answer(&mut here, &query), "{query}");
    }
    for role in ["op", "mon"] {
        let (mut here, mut there) = (cluster().connect(role, &db.name), standby().connect(role, &db.name));
        for query in [
            "SELECT array_agg(s.job || s.expected_by)::text FROM stormops.schedules() AS s",
            "SELECT array_agg(a ORDER BY a.alert_id)::text FROM stormops.alerts() AS a",
            "SELECT array_agg(t)::text FROM stormops.list_tenants() AS t",
            "SELECT array_agg(o)::text FROM stormops.usage_overview(to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')) AS o",
            "SELECT (to_jsonb(h) - '{age,size_bytes,last_vacuum,last_analyze,dead_rows}'::text[])::text FROM stormops.check_table_health('lead_uplift') AS h",
        ] {
            assert_eq!(answer(&mut there, query), answer(&mut here, query), "{role}: {query}");
        }
        let metrics = format!("SELECT array_agg(m)::text FROM stormops.get_tenant_metrics('{abc}', 7) AS m");
        assert_eq!(answer(&mut there, &metrics), answer(&mut here, &metrics));
        assert!(answer(&mut there, "SELECT stormops.platform_report_html()").contains("Abc"), "{role}");
        answer(&mut there, "SELECT array_agg(a)::text FROM stormops.attest() AS a");
        answer(&mut there, "SELECT h::text FROM stormops.get_system_health() AS h");
    }
}

#[test]
fn the_lag_of_replication_shows_on_both_sides() {
    let db = Db::new("lag");
    replayed();
    let grant =
        "CREATE ROLE seeing LOGIN; SELECT stormops.grant_usage('seeing', 'monitor'); GRANT pg_monitor TO seeing";
    db.superuser().batch_execute(grant).expect("a monitor who sees all");
    replayed();
    let lag = "SELECT in_recovery, replicas, replication_lag_bytes::float8, replay_delay_seconds::float8 FROM stormops.get_system_health()";
    let row = cluster().connect("seeing", &db.name).query_one(lag, &[]).expect("the primary's");
    assert_eq!((row.get::<_, bool>(0), row.get::<_, i64>(1)), (false, 1));
    assert!(row.get::<_, Option<f64>>(2).is_some_and(|bytes| bytes >= 0.0));
    assert_eq!(row.get::<_, Option<f64>>(3), None);
    let mut there = standby().connect("seeing", &db.name);
    let row = there.query_one(lag, &[]).expect("the standby's");
    assert_eq!((row.get::<_, bool>(0), row.get::<_, i64>(1)), (true, 0));
    // A standby that stands still falls behind, and says so.
    let mut superuser = standby().connect("postgres", &db.name);
    superuser.batch_execute("SELECT pg_wal_replay_pause()").expect("a pause");
    let start = Instant::now();
    while get::<String>(&mut superuser, "SELECT pg_get_wal_replay_pause_state()", &[]) != "paused" {
        assert!(start.elapsed() < Duration::from_secs(60), "replay should be paused by now");
        std::thread::sleep(Duration::from_millis(5));
    }
    db.superuser()
        .batch_execute("CREATE TABLE public.filler AS SELECT i FROM generate_series(1, 20000) AS i")
        .expect("WAL");
    let start = Instant::now();
    loop {
        let row = there.query_one(lag, &[]).expect("the standby's");
        if row.get::<_, Option<f64>>(2).is_some_and(|bytes| bytes > 100_000.0) {
            assert!(row.get::<_, Option<f64>>(3).is_some_and(|seconds| seconds > 0.0));
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the lag should show by now");
        std::thread::sleep(Duration::from_millis(5));
    }
    let behind: f64 = get(
        &mut cluster().connect("seeing", &db.name),
        "SELECT replication_lag_bytes::float8 FROM stormops.get_system_health()",
        &[],
    );
    assert!(behind > 100_000.0, "{behind}");
    superuser.batch_execute("SELECT pg_wal_replay_resume()").expect("its end");
    replayed();
    let row = there.query_one(lag, &[]).expect("the standby's");
    assert_eq!((row.get::<_, f64>(2), row.get::<_, f64>(3)), (0.0, 0.0));
}

#[test]
fn what_writes_is_quiet_or_refused() {
    let db = Db::new("writers");
    let (abc, storm) = busy(&db, "Abc", "hail");
    replayed();
    const OPERATOR: usize = 0;
    const TENANT: usize = 1;
    let mut clients = [standby().connect("op", &db.name), session(standby(), &db, abc)];
    for (client, quiet, expected) in [
        (OPERATOR, "SELECT (r IS NULL)::text FROM stormops.run_health_checks() AS r", "true"),
        (OPERATOR, "SELECT stormops.run_job('health_checks')", "nothing to do on a standby"),
        (OPERATOR, "SELECT stormops.run_job('usage_rollup')", "nothing to do on a standby"),
        (OPERATOR, "SELECT d::text FROM stormops.deliver_alerts() AS d", "(0,0,0,0,0)"),
        (TENANT, "SELECT (r IS NULL)::text FROM stormops.run_health_checks() AS r", "true"),
    ] {
        assert_eq!(get::<String>(&mut clients[client], quiet, &[]), expected, "{quiet}");
    }
    for (client, refused) in [
        (OPERATOR, "stormops.rollup_usage()".to_owned()),
        (OPERATOR, "stormops.expire_trials()".to_owned()),
        (OPERATOR, "stormops.fold_row_counts()".to_owned()),
        (OPERATOR, "stormops.maintain_partitions(30)".to_owned()),
        (OPERATOR, "stormops.forget_health()".to_owned()),
        (OPERATOR, "stormops.measure_storage()".to_owned()),
        (OPERATOR, "stormops.provision_tenant('New', 'standard', 'a@b.example')".to_owned()),
        (OPERATOR, format!("stormops.suspend_tenant('{abc}', 'unpaid')")),
        (OPERATOR, "stormops.note_schedule('health_checks', '*/15 * * * *')".to_owned()),
        (TENANT, "stormops.record_usage('model_call', 1)".to_owned()),
        (TENANT, "stormops.expect('properties', 'not_null', '{address}')".to_owned()),
        (TENANT, format!("stormops.apply_policy('{storm}', supersede => true)")),
        (TENANT, format!("stormops.set_baseline('{storm}', 'other')")),
        (TENANT, "stormops.acknowledge_alert((SELECT alert_id FROM stormops.alerts() LIMIT 1))".to_owned()),
        (TENANT, "stormops.add_user('x@abc.example', 'viewer')".to_owned()),
    ] {
        let refusal = clients[client].query(&format!("SELECT {refused}"), &[]);
        assert_eq!(sqlstate(&refusal), "25006", "{refused}: {refusal:?}");
    }
}

#[test]
fn tenants_are_apart_there_and_a_suspension_acts_once_it_is_replayed() {
    let db = Db::new("apart");
    let (abc, _) = busy(&db, "Abc", "hail");
    let (other, theirs) = busy(&db, "Other", "wind");
    replayed();
    let mut there = session(standby(), &db, abc);
    for table in TABLES {
        let seen = format!("SELECT array_agg(DISTINCT tenant_id) FROM stormops.{table}");
        assert_eq!(get::<Vec<Uuid>>(&mut there, &seen, &[]), [abc], "{table}");
        let none = format!("SELECT count(*) FROM stormops.{table} WHERE tenant_id = '{other}'");
        assert_eq!(get::<i64>(&mut there, &none, &[]), 0, "{table}");
    }
    for call in ["get_health_dashboard", "check_conversion_rates", "check_uplift_distribution", "health_report_html"] {
        fails_with(there.query(&format!("SELECT stormops.{call}('{theirs}')"), &[]), "P0002");
    }
    fails_with(there.query(&format!("SELECT * FROM stormops.get_tenant_metrics('{other}')"), &[]), "42501");
    let mut nobody = standby().connect("tapp", &db.name);
    fails_with(nobody.query("SELECT * FROM stormops.lead_uplift", &[]), "0B000");
    fails_with(standby().connect("app", &db.name).batch_execute(&format!("SET app.current_tenant = '{abc}'")), "42501");
    there.batch_execute("BEGIN").expect("a transaction");
    there.query("SELECT stormops.current_tenant()", &[]).expect("its tenant");
    let second = format!("SELECT set_config('app.current_tenant', '{other}', true), stormops.current_tenant()");
    fails_with(there.query(&second, &[]), "25001");
    there.batch_execute("ROLLBACK").expect("its end");
    enter(&mut there, abc);

    // The same sessions go on: what they know of the tenant is put right by what is replayed.
    let write = "SELECT stormops.expect('properties', 'not_null', '{address}')";
    fails_with(there.query(write, &[]), "25006");
    let mut operator = db.as_role("op");
    operator.execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    replayed();
    fails_with(there.query(write, &[]), "55000");
    assert_eq!(get::<i64>(&mut there, "SELECT count(*) FROM stormops.storms", &[]), 1, "it reads on");
    operator.execute("SELECT stormops.reactivate_tenant($1, 'paid')", &[&abc]).expect("its end");
    replayed();
    fails_with(there.query(write, &[]), "25006");
    operator.execute("SELECT stormops.close_tenant($1, 'left')", &[&abc]).expect("the end");
    replayed();
    fails_with(there.query("SELECT count(*) FROM stormops.storms", &[]), "55000");
}
