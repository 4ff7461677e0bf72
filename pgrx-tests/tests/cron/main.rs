//! Schedules: with pg_cron for real, where the server has it, and without.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use postgres::Client;
use stormops_tests::{Db, cluster, fails_with, provision};

/// A restart ends every session, so these take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn one(session: &mut Client, query: &str) -> String {
    session.query_one(query, &[]).unwrap_or_else(|e| panic!("{query}: {e:?}")).get(0)
}

#[test]
fn without_pg_cron_a_hint_says_what_to_add_and_any_scheduler_will_do() {
    let _turn = turn();
    let db = Db::new("without");
    let mut operator = db.as_role("op");
    let error = fails_with(operator.execute("SELECT stormops.schedule_health_checks()", &[]), "55000");
    assert!(error.hint().is_some_and(|h| h.contains("shared_preload_libraries") && h.contains(&db.name)), "{error:?}");
    assert_eq!(one(&mut operator, "SELECT count(*)::text FROM stormops.schedules()"), "0", "nothing was scheduled");

    operator.batch_execute("SELECT stormops.note_schedule('partitions', '0 3 * * *')").expect("an outside scheduler's");
    let state = "SELECT concat_ws(' ', outcome, missed) FROM stormops.schedules() WHERE job = 'partitions'";
    assert_eq!(one(&mut operator, state), "never ran f");
    // A job that never ran is noticed once its time and ten minutes have gone by.
    let due = "UPDATE stormops_internal.scheduled_jobs SET scheduled_at = scheduled_at - interval '25 hours'";
    db.superuser().execute(due, &[]).expect("a day");
    assert_eq!(one(&mut operator, state), "never ran t");
    assert_eq!(one(&mut operator, "SELECT stormops.run_job('partitions')"), "0", "it made none");
    assert_eq!(one(&mut operator, state), "ok f");

    for (call, code) in [
        ("note_schedule('nope', '* * * * *')", "42704"),
        ("note_schedule('partitions', '5 seconds')", "22023"),
        ("note_schedule('partitions', '61 * * * *')", "22023"),
        ("note_schedule('partitions', '* * * * * *')", "22023"),
        ("schedule_job('partitions', 'soon')", "22023"),
        ("schedule_job(NULL)", "22004"),
        ("run_job('pg_sleep')", "42704"),
        ("forget_health('1 day')", "22023"),
    ] {
        let error = fails_with(operator.execute(&format!("SELECT stormops.{call}"), &[]), code);
        assert!(error.hint().is_some(), "{call}");
    }
    for role in ["tapp", "app", "mon", "nobody"] {
        for call in [
            "schedule_all()",
            "run_job('partitions')",
            "note_schedule('partitions', '* * * * *')",
            "unschedule_all()",
            "forget_health()",
        ] {
            fails_with(db.as_role(role).execute(&format!("SELECT stormops.{call}"), &[]), "42501");
        }
    }
    db.as_role("mon").query("SELECT * FROM stormops.schedules()", &[]).expect("a monitor sees them");
    assert_eq!(one(&mut operator, "SELECT stormops.unschedule_all()::text"), "1");
    assert_eq!(one(&mut operator, "SELECT count(*)::text FROM stormops.schedules()"), "0");
}

#[test]
fn old_measurements_go_and_recent_ones_stay() {
    let _turn = turn();
    let db = Db::new("retention");
    let abc = provision(&db, "Abc");
    let rows = "INSERT INTO stormops.data_quality_metrics (tenant_id, table_name, metric_name, status, measured_at)
        SELECT $1, 'storms', 'volume', 'ok', now() - make_interval(days => d) FROM unnest('{1,50,91,200}'::int[]) AS d";
    db.superuser().execute(rows, &[&abc]).expect("measurements");
    assert_eq!(one(&mut db.as_role("op"), "SELECT stormops.forget_health()::text"), "2");
    assert_eq!(one(&mut db.superuser(), "SELECT count(*)::text FROM stormops.data_quality_metrics"), "2");
}

/// pg_cron starts a job at the full minute, so this takes up to one.
#[test]
fn pg_cron_runs_what_is_scheduled() {
    let _turn = turn();
    let db = Db::new("cron");
    let there = "SELECT count(*)::text FROM pg_available_extensions WHERE name = 'pg_cron'";
    if one(&mut db.superuser(), there) == "0" {
        eprintln!("SKIPPED 1: this server has no pg_cron; Debian's package is postgresql-15-cron");
        return;
    }
    let database = format!("cron.database_name = '{}'", db.name);
    cluster().configure(&[
        "shared_preload_libraries = 'stormops,pg_cron'",
        &database,
        "cron.use_background_workers = on",
    ]);
    let mut superuser = db.superuser();
    let error = fails_with(db.as_role("op").execute("SELECT stormops.schedule_health_checks()", &[]), "55000");
    assert!(error.hint().is_some_and(|hint| hint.contains("CREATE EXTENSION pg_cron")), "{error:?}");
    superuser.batch_execute("CREATE EXTENSION pg_cron").expect("pg_cron");
    let mut operator = db.as_role("op");
    let error = fails_with(operator.execute("SELECT stormops.schedule_health_checks()", &[]), "42501");
    assert_eq!(error.hint(), Some("GRANT USAGE ON SCHEMA cron TO op;"));
    superuser.batch_execute("GRANT USAGE ON SCHEMA cron TO op").expect("a grant");
    // Something to do: a tenant with a broken expectation.
    let abc = provision(&db, "Abc");
    superuser
        .execute("INSERT INTO stormops.properties (tenant_id, property_id) VALUES ($1, stormops.new_id())", &[&abc])
        .expect("a row");
    operator.execute("SELECT stormops.expect_defaults($1)", &[&abc]).expect("expectations");

    assert_eq!(one(&mut operator, "SELECT count(*)::text FROM stormops.schedule_all()"), "8");
    assert_eq!(
        one(&mut operator, "SELECT stormops.schedule_health_checks('* * * * *')"),
        "health_checks: * * * * * (UTC)"
    );
    let jobs = "SELECT string_agg(jobname || ' ' || schedule, ', ' ORDER BY jobname) FROM cron.job WHERE jobname LIKE '%checks'";
    assert_eq!(one(&mut superuser, jobs), "stormops health_checks * * * * *", "again changes it");
    let start = Instant::now();
    let state = "SELECT outcome FROM stormops.schedules() WHERE job = 'health_checks'";
    while one(&mut operator, state) != "ok" {
        assert!(
            start.elapsed() < Duration::from_secs(150),
            "{}",
            one(&mut superuser, "SELECT json_agg(d)::text FROM cron.job_run_details AS d")
        );
        std::thread::sleep(Duration::from_millis(500)); // between looks, not instead of one
    }
    let found = "SELECT issue FROM stormops.alerts() WHERE issue = 'missing_values'";
    assert_eq!(one(&mut operator, found), "missing_values", "the job did its work");
    assert_eq!(one(&mut operator, "SELECT stormops.unschedule_all()::text"), "8");
    assert_eq!(one(&mut superuser, "SELECT count(*)::text FROM cron.job"), "0");
}
