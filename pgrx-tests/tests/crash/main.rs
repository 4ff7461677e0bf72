//! The server dies while a policy is being applied. In a file of its own, since that ends every other session.

use stormops_tests::tenant::{scored_storm, session, tenant};
use stormops_tests::{Db, await_blocked, cluster, get};

#[test]
fn a_crash_half_way_leaves_no_run_and_no_decision() {
    let n = 50_000;
    let db = Db::new("crash");
    let (abc, mut first) = tenant(&db, "Abc");
    let hail = scored_storm(&mut first, "hail", n);
    // Nobody may write a run meanwhile: apply_policy() has logged all decisions when it comes to that.
    let mut gate = db.superuser();
    gate.batch_execute("BEGIN; LOCK TABLE stormops.policy_runs IN SHARE MODE").expect("a gate");
    let mut session = session(&db, abc);
    let half = std::thread::spawn(move || session.execute("SELECT stormops.apply_policy($1)", &[&hail]));
    await_blocked(&db, 1);
    let on_disk =
        "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('stormops.policy_decision_blocks')";
    assert!(get::<i64>(&mut gate, on_disk, &[]) > 15 * i64::from(n), "half way, the decisions are in the table");
    cluster().crash_and_restart();
    half.join().expect("an end").expect_err("its server died");

    let mut after = stormops_tests::tenant::session(&db, abc);
    let left = "SELECT (SELECT count(*) FROM policy_runs) + (SELECT count(*) FROM policy_decisions_log)";
    assert_eq!(get::<i64>(&mut after, left, &[]), 0);
    let decided = "SELECT treat + hold FROM stormops.apply_policy($1)";
    assert_eq!(get::<i64>(&mut after, decided, &[&hail]), i64::from(n));
    assert_eq!(get::<i64>(&mut after, left, &[]), i64::from(n) + 1);
}
