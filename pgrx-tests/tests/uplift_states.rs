//! The states of the aggregates: what workers and stored states make of them, and what bounds them.

mod policy_setup;

use policy_setup::{get, tenant};
use stormops_tests::{Db, fails_with};

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
