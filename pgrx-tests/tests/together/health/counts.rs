//! The counters say what count(*) says, whatever was done, and without a look at the rows.

use postgres::Client;
use stormops_tests::tenant::{scored_storm, session, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get};

/// Each tenant and table whose counters differ from count(*), of the tables that are watched.
fn wrong(db: &Db) -> Vec<String> {
    let mut superuser = db.superuser();
    let tables =
        "SELECT string_agg(format('SELECT tenant_id, %L::text AS t, count(*) AS n FROM stormops.%I GROUP BY 1',
            table_name, table_name), ' UNION ALL ')
        FROM stormops.counted_tables()";
    let tables: String = get(&mut superuser, tables, &[]);
    let wrong = format!(
        "SELECT concat_ws(' ', t, a.n, 'rows, counted', c.total_rows) FROM ({tables}) AS a
         FULL JOIN (SELECT tenant_id, table_name AS t, total_rows FROM stormops_internal.tenant_row_counts()
            WHERE total_rows <> 0) AS c USING (tenant_id, t)
         WHERE a.n IS DISTINCT FROM c.total_rows ORDER BY 1"
    );
    superuser.query(&wrong, &[]).expect("counts").iter().map(|row| row.get(0)).collect()
}

fn fold(db: &Db) -> i64 {
    get(&mut db.as_role("op"), "SELECT stormops.fold_row_counts()", &[])
}

fn work(session: &mut Client) {
    let hail = scored_storm(session, "hail", 50);
    let script = format!(
        "INSERT INTO customer_journeys (property_id, touch, channel) SELECT property_id, 'call', 'phone' FROM properties;
         INSERT INTO properties (property_id) SELECT property_id FROM properties ON CONFLICT DO NOTHING;
         DELETE FROM customer_journeys WHERE property_id IN (SELECT property_id FROM properties LIMIT 7);
         INSERT INTO tenant_usage (metric_name, metric_value) VALUES ('model_call', 1);
         SELECT stormops.apply_policy('{hail}');
         SELECT stormops.apply_policy('{hail}', 'aggressive', supersede => true);
         SELECT stormops.record_outcomes('{hail}', (SELECT jsonb_agg(jsonb_build_object('property_id', property_id,
            'converted', true)) FROM policy_decisions));
         SELECT stormops.create_experiment('{hail}', 'A/B');
         SELECT stormops.assign_experiment(experiment_id) FROM experiments;
         SELECT stormops.add_user('b@abc.example', 'viewer')"
    );
    session.batch_execute(&script).expect("a tenant's work");
    let undone = "BEGIN; DELETE FROM customer_journeys; SAVEPOINT s; DELETE FROM lead_uplift; ROLLBACK TO s;
        INSERT INTO storms (event_id, name) VALUES ('gone', 'gone'); ROLLBACK";
    session.batch_execute(undone).expect("what is taken back");
}

#[test]
fn the_counters_equal_a_count_whatever_was_done_before_and_after_folding() {
    let db = Db::new("counts");
    let mut sessions = [tenant(&db, "Abc").1, tenant(&db, "Best").1];
    sessions.iter_mut().for_each(work);
    assert_eq!(wrong(&db), [""; 0]);
    let deltas: i64 = get(&mut db.superuser(), "SELECT count(*) FROM stormops.row_count_deltas", &[]);
    assert!(deltas > 20);
    assert_eq!([fold(&db), fold(&db)], [deltas, 0]);
    assert_eq!(wrong(&db), [""; 0], "once folded");
    work_again(&mut sessions[0]);
    assert_eq!(wrong(&db), [""; 0], "folded and not");
    let table = |session: &mut Client| -> (i64, i64) {
        let row =
            session.query_one("SELECT total_rows, recent_rows_24h FROM stormops.check_table_health('properties')", &[]);
        row.map(|row| (row.get(0), row.get(1))).expect("health")
    };
    assert_eq!(sessions.each_mut().map(table), [(51, 51), (50, 50)], "each sees its own");
    // What a restore says of itself, an operator may say too.
    db.as_role("op")
        .batch_execute(
            "SET row_security = off; SELECT stormops.provision_tenant('Third', 'standard', 'c@third.example')",
        )
        .expect("a tenant");
    assert_eq!(wrong(&db), [""; 0], "with row_security off");
    db.superuser().batch_execute("TRUNCATE stormops.customer_journeys").expect("a superuser");
    assert_eq!(wrong(&db), [""; 0], "truncated");
}

fn work_again(session: &mut Client) {
    session.batch_execute("INSERT INTO properties (address) VALUES ('1 Main St')").expect("a row");
}

#[test]
fn rows_grow_old_in_their_buckets_and_none_is_lost() {
    let db = Db::new("buckets");
    let (abc, mut session) = tenant(&db, "Abc");
    let mut superuser = db.superuser();
    fold(&db);
    let old = "INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted, happened_at, took_ms)
        SELECT $1, 'properties', stormops.new_id(), 1, 0, now() - h * interval '1 hour', 5
        FROM generate_series(0, 24 * 100) AS h";
    superuser.execute(old, &[&abc]).expect("a hundred days");
    let said =
        "SELECT total_rows, recent_rows_24h FROM stormops_internal.tenant_row_counts() WHERE table_name = 'properties'";
    let before = session.query_one(said, &[]).expect("counts");
    assert_eq!((before.get::<_, i64>(0), before.get::<_, i64>(1)), (2401, 25), "this hour and 24 before");
    assert_eq!(fold(&db), 2401);
    let buckets = "SELECT count(*) FROM stormops.row_counts WHERE table_name = 'properties'";
    let buckets: i64 = get(&mut superuser, buckets, &[]);
    assert!((100..115).contains(&buckets), "49 hours, 58 days and one: {buckets}");
    let after = session.query_one(said, &[]).expect("counts");
    assert_eq!((after.get::<_, i64>(0), after.get::<_, i64>(1)), (2401, 25));
    // Hours that are now days, and days that are now the past, move on.
    superuser
        .batch_execute(
            "UPDATE stormops.row_counts SET bucket = bucket - interval '70 days' WHERE bucket > '1970-01-01'",
        )
        .expect("time goes by");
    fold(&db);
    let after = session.query_one(said, &[]).expect("counts");
    assert_eq!((after.get::<_, i64>(0), after.get::<_, i64>(1)), (2401, 0));
}

/// Neither waits for the other, and a fold takes only what is committed.
#[test]
fn writers_do_not_wait_for_each_other_nor_for_folding() {
    let db = Db::new("convoy");
    let (abc, mut first) = tenant(&db, "Abc");
    let mut second = session(&db, abc);
    first.batch_execute("BEGIN; INSERT INTO properties (external_id) VALUES ('1')").expect("a row");
    second
        .batch_execute("SET lock_timeout = '5s'; INSERT INTO properties (external_id) VALUES ('2')")
        .expect("no wait");
    let mut operator = db.as_role("op");
    operator.batch_execute("SET lock_timeout = '5s'; BEGIN; SELECT stormops.fold_row_counts()").expect("no wait");
    second.batch_execute("INSERT INTO properties (external_id) VALUES ('3')").expect("no wait");
    // Two that fold stand in line.
    let mut other = db.as_role("op");
    let fold = std::thread::spawn(move || get::<i64>(&mut other, "SELECT stormops.fold_row_counts()", &[]));
    await_blocked(&db, 1);
    first.batch_execute("COMMIT").expect("a commit");
    operator.batch_execute("COMMIT").expect("a commit");
    assert_eq!(fold.join().expect("an end"), 2, "rows 1 and 3");
    assert_eq!(wrong(&db), [""; 0]);
}

#[test]
fn partitions_that_are_dropped_are_uncounted_and_what_bypassed_the_triggers_is_recounted() {
    let db = Db::new("recount");
    let mut session = tenant(&db, "Abc").1;
    work(&mut session);
    let mut superuser = db.superuser();
    // A run of long ago, in the default partition and then in one of its own.
    let old = "INSERT INTO stormops.policy_decision_blocks
        SELECT (jsonb_populate_record(b, jsonb_build_object('run_id', stormops_internal.first_id_of('2020-03-01')))).*
        FROM stormops.policy_decision_blocks AS b
        WHERE run_id = (SELECT max(run_id::text)::uuid FROM stormops.policy_runs)";
    assert_eq!(superuser.execute(old, &[]).expect("a block of old decisions"), 1);
    assert_eq!(wrong(&db).len(), 1);
    let recount = "SELECT stormops.recount_rows('policy_decisions_log')";
    assert_eq!(get::<i64>(&mut db.as_role("op"), recount, &[]), 1);
    let mut operator = db.as_role("op");
    operator.execute("SELECT stormops.maintain_partitions()", &[]).expect("upkeep");
    assert_eq!(wrong(&db), [""; 0], "moved");
    let dropped: Vec<String> = get(&mut operator, "SELECT stormops.drop_decisions_before('2020-06-01')", &[]);
    assert_eq!(dropped.len(), 1);
    assert_eq!(wrong(&db), [""; 0], "dropped");

    superuser
        .batch_execute(
            "SET session_replication_role = replica; DELETE FROM stormops.lead_uplift; RESET session_replication_role",
        )
        .expect("past the triggers");
    assert_eq!(wrong(&db).len(), 1);
    let recount = "SELECT stormops.recount_rows('lead_uplift')";
    assert_eq!([get::<i64>(&mut operator, recount, &[]), get(&mut operator, recount, &[])], [1, 0]);
    assert_eq!(wrong(&db), [""; 0], "recounted");
    for (bad, code) in [("'pg_class'", "42704"), ("NULL", "22004"), ("'lead_uplift; DROP TABLE x'", "42704")] {
        let error = fails_with(operator.query(&format!("SELECT stormops.recount_rows({bad})"), &[]), code);
        assert!(error.hint().is_some_and(|hint| hint.contains("lead_uplift")), "{error:?}");
    }
}

#[test]
fn rows_from_before_the_counters_and_without_the_extension_are_counted_when_it_comes() {
    let db = Db::new("adopted");
    let (abc, mut session) = tenant(&db, "Abc");
    work(&mut session);
    let mut superuser = db.superuser();
    drop(session);
    superuser.batch_execute("DROP EXTENSION stormops CASCADE").expect("a drop");
    let unseen = "INSERT INTO stormops.properties (tenant_id, property_id, created_at)
        SELECT $1, md5(i::text)::uuid, '2024-01-01' FROM generate_series(1, 9) AS i";
    superuser.execute(unseen, &[&abc]).expect("rows that nobody counts");
    superuser.batch_execute("CREATE EXTENSION stormops").expect("the extension again");
    assert_eq!(wrong(&db), [""; 0]);
    // The same where there was no counter at all.
    superuser.batch_execute("DROP EXTENSION stormops CASCADE; DROP TABLE stormops.row_counts, stormops.row_count_deltas; CREATE EXTENSION stormops").expect("an old installation");
    assert_eq!(wrong(&db), [""; 0]);
    let recent =
        "SELECT total_rows, recent_rows_24h FROM stormops_internal.tenant_row_counts() WHERE table_name = 'properties'";
    let row = superuser.query_one(recent, &[]).expect("counts");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (59, 50), "when they came, their own time says");
}

#[test]
fn a_dump_keeps_the_counters_exact_with_rows_alone_too() {
    let db = Db::new("dumped");
    let mut session = tenant(&db, "Abc").1;
    work(&mut session);
    fold(&db);
    work_again(&mut session);
    let whole = Db::empty("whole");
    whole.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error"]);
    assert_eq!(wrong(&whole), [""; 0]);
    let abc = get(&mut session, "SELECT stormops.current_tenant()", &[]);
    work_again(&mut stormops_tests::tenant::session(&whole, abc));
    assert_eq!(wrong(&whole), [""; 0]);
    // Rows alone, into an installation, which has its own already where they are no tenant's: without the triggers,
    // since what those wrote is in the dump.
    let rows = Db::new("rows");
    let own = "SELECT i.table_name FROM stormops_internal.installation_tables() AS i";
    let own = db.superuser().query(own, &[]).expect("tables of the installation");
    let without: Vec<String> =
        own.iter().map(|row| format!("--exclude-table=stormops_internal.{}", row.get::<_, String>(0))).collect();
    let mut dump = vec!["-Fc", "--data-only", "-n", "stormops", "-n", "stormops_internal"];
    dump.extend(without.iter().map(String::as_str));
    rows.pg_restore(&db.pg_dump(&dump), &["--data-only", "--disable-triggers", "--exit-on-error"]);
    assert_eq!(wrong(&rows), [""; 0]);
}
