//! How a rollup is computed: workers add up what each of them reads.

use std::sync::mpsc;

use postgres::{Config, NoTls};
use stormops_tests::tenant::tenant;
use stormops_tests::{Db, SUPERUSER, cluster};

#[test]
fn workers_add_up_what_they_read() {
    let db = Db::new("workers");
    let (_, mut session) = tenant(&db, "Abc");
    let events = "INSERT INTO tenant_usage (metric_name, metric_value, dimensions, recorded_at)
        SELECT 'model_call', 1, jsonb_build_object('model', 'v' || n % 5), now() - make_interval(secs => n) FROM generate_series(1, 30000) AS n";
    session.batch_execute(events).expect("events");
    let (say, said) = mpsc::channel();
    let mut config = Config::new();
    config.host(cluster().socket()).port(5432).user(SUPERUSER).dbname(&db.name);
    config.notice_callback(move |notice| say.send(notice.message().to_owned()).expect("a test"));
    let mut superuser = config.connect(NoTls).expect("a session");
    superuser
        .batch_execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = '20ms'; SET auto_explain.log_nested_statements = on;
            SET client_min_messages = log; SET parallel_setup_cost = 0; SET min_parallel_table_scan_size = 0;
            SELECT stormops.rollup_usage()",
        )
        .expect("a rollup");
    let plans: Vec<String> = said.try_iter().filter(|plan| plan.contains("date_bin")).collect();
    assert!(plans.iter().any(|plan| plan.contains("Partial HashAggregate")), "{plans:#?}");
}
