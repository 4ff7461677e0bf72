//! Sessions at once write one chain.

use super::*;

/// A tenant whose runs count nothing that others decided: with a cap or a budget they go one after the other.
fn uncapped(db: &Db) -> (Uuid, Client) {
    let (tenant, mut session) = tenant(db, "Abc");
    session.batch_execute("UPDATE guardrails SET enabled = false").expect("no guardrail");
    (tenant, session)
}

/// Both have written their run, and commit at once: the second waits for the first's entry and stands behind it.
#[test]
fn two_runs_of_a_tenant_at_once_make_one_chain() {
    let db = Db::new("two_runs");
    let (abc, mut first) = uncapped(&db);
    let storms = ["hail", "wind"].map(|event| scored_storm(&mut first, event, SOME));
    let mut second = session(&db, abc);
    for session in [&mut first, &mut second] {
        session.batch_execute("BEGIN").expect("a transaction");
    }
    apply(&mut first, storms[0]).expect("a run");
    // Whoever runs holds up nobody: neither another run nor a suspension.
    apply(&mut second, storms[1]).expect("a run beside it");
    // Both in the other order, which would be a deadlock if a run held the chain until its commit.
    db.as_role("op")
        .execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc])
        .expect("a suspension beside both");
    first.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").expect("its entry");
    let commit = std::thread::spawn(move || second.batch_execute("COMMIT"));
    await_blocked(&db, 1);
    // A chain that a tenant keeps to itself stops no operator.
    db.as_role("op").execute("SELECT stormops.reactivate_tenant($1)", &[&abc]).expect("beside an entry");
    first.batch_execute("COMMIT").expect("a commit");
    commit.join().expect("an end").expect("a commit behind it");
    assert_eq!(sound(&db, abc), 6);
    let entries =
        "SELECT array_agg(entry ORDER BY entry) FROM stormops.tenant_log WHERE tenant_id = $1 AND log = 'runs'";
    assert_eq!(get::<Vec<i64>>(&mut db.superuser(), entries, &[&abc]), [1, 2]);
}

#[test]
fn crossing_runs_do_not_block_each_other_for_ever() {
    let db = Db::new("crossing");
    let (abc, mut first) = uncapped(&db);
    let storms = ["a", "b", "c"].map(|event| scored_storm(&mut first, event, SOME));
    let mut second = session(&db, abc);
    first.batch_execute("BEGIN").expect("a transaction");
    apply(&mut first, storms[0]).expect("a run");
    let hold = storms[1];
    second.batch_execute("BEGIN").expect("a transaction");
    apply(&mut second, hold).expect("a run");
    // The first wants the storm that the second has, and the second is about to be entered where the first stands.
    let waiting = std::thread::spawn(move || {
        apply(&mut first, hold).expect("a run once the other is through");
        first.batch_execute("COMMIT").expect("a commit");
    });
    await_blocked(&db, 1);
    second.batch_execute("COMMIT").expect("a commit that waits for nobody");
    waiting.join().expect("an end");
    assert_eq!(sound(&db, abc), 5);
}

#[test]
fn two_steps_of_a_tenant_at_once_make_one_chain() {
    let db = Db::new("two_steps");
    let (abc, best) = (provision(&db, "Abc"), provision(&db, "Best"));
    let mut first = db.as_role("op");
    first.batch_execute("BEGIN").expect("a transaction");
    first.execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a step");
    let mut second = db.as_role("op");
    let close = std::thread::spawn(move || second.execute("SELECT stormops.close_tenant($1, 'sold')", &[&abc]));
    await_blocked(&db, 1);
    // Another tenant's log is nobody's business.
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&best]).expect("no waiting");
    first.batch_execute("COMMIT").expect("a commit");
    close.join().expect("an end").expect("a step after it");
    assert_eq!((sound(&db, abc), sound(&db, best)), (4, 3));
}

/// The second has seen neither row nor entry of the first: it is told to begin anew, and writes nothing.
#[test]
fn a_repeatable_read_run_beside_another_begins_anew() {
    let db = Db::new("repeatable");
    let (abc, mut first) = uncapped(&db);
    let storms = ["hail", "wind"].map(|event| scored_storm(&mut first, event, SOME));
    let mut second = session(&db, abc);
    second.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM storms").expect("a snapshot");
    apply(&mut first, storms[0]).expect("a run");
    apply(&mut second, storms[1]).expect("a run");
    fails_with(second.batch_execute("COMMIT"), "40001");
    assert_eq!(sound(&db, abc), 3);
    apply(&mut second, storms[1]).expect("again");
    assert_eq!(sound(&db, abc), 4);
}
