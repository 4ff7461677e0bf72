//! The states of the aggregates: what workers and stored states make of them, and what bounds them.

use std::sync::{Arc, Mutex};

use postgres::{Config, NoTls};
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, cluster, enter, fails_with, get};

#[test]
fn aggregates_run_in_parallel_workers_and_say_the_same() {
    let db = Db::new("parallel");
    let mut superuser = db.superuser();
    superuser
        .batch_execute(
            "CREATE TABLE any_data AS
             SELECT mod(i * 0.618033988749, 1)::float8 AS score, i % 2 = 0 AS treated, (i % 7 = 0)::int::float8 AS outcome,
                 0.5::float8 AS propensity, i % 5 AS day
             FROM generate_series(1, 200000) AS i;
             ANALYZE any_data;
             SET search_path = public, stormops;
             SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
        )
        .expect("any data");
    let ask = "SELECT md5(score_agg(score)) || md5(uplift_agg(score, treated, outcome, propensity)) FROM any_data";
    let plan: Vec<String> = superuser
        .query(&format!("EXPLAIN (COSTS off) {ask}"), &[])
        .expect("a plan")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(plan.iter().any(|line| line.contains("Partial Aggregate")), "{plan:#?}");
    let parallel: String = get(&mut superuser, ask, &[]);
    superuser.batch_execute("SET max_parallel_workers_per_gather = 0").expect("a setting");
    assert_eq!(parallel, get::<String>(&mut superuser, ask, &[]));
    // A day's states, kept as bytea, say merged what the rows say.
    superuser
        .batch_execute(
            "CREATE TABLE days AS SELECT day, score_agg(score)::bytea AS scores,
                 uplift_agg(score, treated, outcome, propensity)::bytea AS cases FROM any_data GROUP BY day",
        )
        .expect("a state for each day");
    let rolled = "SELECT md5(rollup(scores::score_sketch)) || md5(rollup(cases::uplift_sketch)) FROM days";
    assert_eq!(parallel, get::<String>(&mut superuser, rolled, &[]));
    // The states outlive the extension.
    superuser.batch_execute("DROP EXTENSION stormops CASCADE").expect("no extension");
    assert_eq!(get::<i64>(&mut superuser, "SELECT count(scores) FROM days", &[]), 5);
    superuser.batch_execute("CREATE EXTENSION stormops").expect("the extension");
    assert_eq!(parallel, get::<String>(&mut superuser, rolled, &[]));
}

#[test]
fn a_state_is_capped_by_a_superuser() {
    let db = Db::new("cap");
    let mut superuser = db.superuser();
    let (_, mut session) = tenant(&db, "Abc");
    fails_with(session.batch_execute("SET stormops.max_aggregate_rows = 1"), "42501");
    superuser.batch_execute("SET stormops.max_aggregate_rows = 100").expect("a cap");
    let sum = |n| format!("SELECT stormops.n(stormops.score_agg(i)) FROM generate_series(1, {n}) AS i");
    assert_eq!(get::<i64>(&mut superuser, &sum(100), &[]), 100);
    fails_with(superuser.query(&sum(101), &[]), "54000");
    let rolled = "SELECT stormops.n(stormops.rollup(s)) FROM (
        SELECT stormops.score_agg(i) AS s FROM generate_series(1, 150) AS i GROUP BY i % 2) AS x";
    fails_with(superuser.query(rolled, &[]), "54000");
    fails_with(superuser.query("SELECT stormops.n('\\x1234'::stormops.score_sketch)", &[]), "23514");
    let forged = |byte| {
        format!(
            "SELECT stormops.n(set_byte(stormops.score_agg(i)::bytea, {byte}, 255)::stormops.score_sketch) FROM generate_series(1, 2) AS i"
        )
    };
    fails_with(superuser.query(&forged(0), &[]), "23514"); // no state
    fails_with(superuser.query(&forged(31), &[]), "22P03"); // minus infinity
    for count in [15, 23] {
        fails_with(superuser.query(&forged(count), &[]), "22P03"); // more missing or invalid ones than can be added up
    }
}

/// Whatever reads all of a storm's scores or decisions does so in parallel workers: what a SQL function that returns a
/// value reads, or one in PL/pgSQL row by row, would be planned for them and launch none.
#[test]
fn a_storms_rows_are_read_by_parallel_workers() {
    let db = Db::new("workers");
    let (tenant, mut session) = tenant(&db, "Abc");
    let storms = ["first", "second"].map(|event| scored_storm(&mut session, event, 3000));
    for storm in storms {
        get::<i64>(&mut session, "SELECT treat FROM apply_policy($1)", &[&storm]);
    }
    let record = "SELECT recorded FROM record_outcomes($1, (SELECT jsonb_agg(jsonb_build_object(
        'property_id', d.property_id, 'converted', d.propensity < 0.9)) FROM policy_decisions AS d WHERE d.storm_id = $1))";
    get::<i64>(&mut session, record, &[&storms[1]]);
    let settings: String = [
        "session_preload_libraries = auto_explain",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_nested_statements = on",
        "auto_explain.log_level = notice",
    ]
    .map(|setting| format!("ALTER ROLE tapp IN DATABASE \"{}\" SET {setting};", db.name))
    .concat();
    // Workers share out blocks, of which a run has one for each 4,096 decisions.
    stormops_tests::blocks::in_small_blocks(&db);
    // Without statistics a storm looks like one row, which no worker is worth.
    db.superuser().batch_execute(&format!("{settings} ANALYZE")).expect("a superuser");
    let plans = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&plans);
    let mut session = Config::new()
        .host(cluster().socket())
        .user("tapp")
        .dbname(&db.name)
        .notice_callback(move |notice| told.lock().expect("a list").push(notice.message().to_owned()))
        .connect(NoTls)
        .expect("a session");
    enter(&mut session, tenant);
    session
        .batch_execute(
            "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
             SET min_parallel_index_scan_size = 0",
        )
        .expect("settings");
    for (ask, reads) in [
        ("check_uplift_distribution", "score_agg(l.uplift)"),
        ("uplift_drift", "score_agg(l.uplift)"),
        ("uplift_summary", "uplift_agg(d.score"),
        ("uplift_curve", "uplift_agg(d.score"),
        ("uplift_calibration", "uplift_agg(d.score"),
    ] {
        plans.lock().expect("a list").clear();
        let rows = session.query(&format!("SELECT * FROM stormops.{ask}($1)"), &[&storms[1]]).expect("an answer");
        assert!(!rows.is_empty(), "{ask}");
        let plans = plans.lock().expect("a list");
        let of_rows: Vec<&String> =
            plans.iter().filter(|plan| plan.contains(reads) && plan.contains("Workers Planned")).collect();
        assert!(!of_rows.is_empty(), "{ask} plans no workers: {plans:#?}");
        for plan in of_rows {
            assert!(!plan.contains("Workers Launched: 0"), "{ask} launches no workers: {plan}");
        }
    }
}
