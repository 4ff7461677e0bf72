//! Jobs: each leaves a mark of how it ended, however it ended.

use stormops_tests::tenant::tenant;
use stormops_tests::{Db, get, provision};

#[test]
fn a_job_that_is_cut_off_has_failed() {
    let db = Db::new("cut_off");
    let mut operator = db.as_role("op");
    operator
        .batch_execute(
            "SELECT stormops.note_schedule('health_checks', '*/15 * * * *'); SELECT stormops.run_job('health_checks')",
        )
        .expect("a run");
    let last = "SELECT concat_ws(' ', outcome, detail) FROM stormops.schedules()";
    assert!(get::<String>(&mut operator, last, &[]).starts_with("ok"));

    let mut superuser = db.superuser();
    superuser.batch_execute("BEGIN; LOCK TABLE stormops.row_counts").expect("something in its way");
    operator.batch_execute("SET statement_timeout = '1s'").expect("a timeout");
    let said: String = get(&mut operator, "SELECT stormops.run_job('health_checks')", &[]);
    assert!(said.starts_with("57014"), "{said}");
    superuser.batch_execute("ROLLBACK").expect("its end");
    assert_eq!(get::<String>(&mut operator, last, &[]), format!("failed {said}"));
    let issue = "SELECT count(*) FROM stormops.get_system_health(), jsonb_array_elements(issues) AS i WHERE i ->> 'issue' = 'schedule_failed'";
    operator.batch_execute("RESET statement_timeout").expect("no timeout");
    assert_eq!(get::<i64>(&mut operator, issue, &[]), 1);
    operator.batch_execute("SELECT stormops.run_job('health_checks')").expect("a run");
    assert_eq!(get::<i64>(&mut operator, issue, &[]), 0);
}

#[test]
fn what_is_priced_is_metered_by_what_is_scheduled() {
    let db = Db::new("priced");
    let (_, mut session) = tenant(&db, "Abc");
    provision(&db, "Other");
    session.batch_execute("INSERT INTO storms (event_id, name) VALUES ('1', 'Hail')").expect("a row");
    let mut operator = db.as_role("op");
    let jobs =
        operator.query("SELECT job FROM stormops.known_jobs()", &[]).expect("the jobs that schedule_all() takes");
    for job in jobs.iter().map(|row| row.get::<_, String>(0)) {
        operator.execute("SELECT stormops.note_schedule($1, '@daily')", &[&job]).expect("a schedule");
        operator.execute("SELECT stormops.run_job($1)", &[&job]).expect("a run");
    }
    let metered = "SELECT count(*) FROM stormops.get_tenant_usage() WHERE metric_name = 'storage_mb' AND total > 0";
    assert_eq!(get::<i64>(&mut session, metered, &[]), 1);
    let told = "SELECT concat_ws(' ', outcome, detail) FROM stormops.schedules() WHERE job = 'storage'";
    assert_eq!(get::<String>(&mut operator, told, &[]), "ok 2 rows");
}
