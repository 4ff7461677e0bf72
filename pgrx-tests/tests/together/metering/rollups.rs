//! Rollups have every event once, whoever writes, waits, fails or comes late: the same as one scan of the raw events.

use postgres::Client;
use stormops_tests::tenant::{session, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get};

/// Metrics of every aggregation, with and without dimensions.
const METRICS: &str = "
    SELECT stormops.declare_metric('bytes', 'byte', 'SUM', NULL, '{region,crew}');
    SELECT stormops.declare_metric('photos', 'file', 'COUNT', NULL, '{crew}');
    SELECT stormops.declare_metric('peak', 'user', 'MAX', NULL, '{region}');
    SELECT stormops.declare_metric('seats', 'seat', 'LATEST', NULL, '{region}');
    SELECT stormops.declare_metric('people', 'person', 'UNIQUE', 'person', '{crew}')";

/// Events of the last forty days, `$1` apart from other calls', some without a dimension, many at the same moment.
const EVENTS: &str = "
    INSERT INTO tenant_usage (metric_name, metric_value, dimensions, recorded_at)
    SELECT (ARRAY['bytes', 'photos', 'peak', 'seats', 'people', 'model_call'])[1 + i % 6], i % 1000 / 7.0 + $1::int,
        jsonb_strip_nulls(jsonb_build_object('region', CASE i % 4 WHEN 0 THEN NULL ELSE 'r' || i % 4 END,
            'crew', i % 3, 'person', 'p' || i * 7 % 41, 'model', repeat('long ', i % 50))),
        date_trunc('hour', now()) - make_interval(hours => (i * 13 + $1::int) % 960)
    FROM generate_series(1, $2::int) AS i";

fn roll_up(operator: &mut Client) -> i64 {
    get(operator, "SELECT events FROM stormops.rollup_usage()", &[])
}

/// How many rollups differ from the raw events.
fn differences(operator: &mut Client) -> i64 {
    get(operator, "SELECT count(*) FROM stormops.verify_rollups()", &[])
}

fn write(session: &mut Client, apart: i32, n: i32) {
    session.execute(EVENTS, &[&apart, &n]).expect("events");
}

#[test]
fn every_aggregation_equals_one_scan_of_the_events() {
    let db = Db::new("scan");
    let mut abc = tenant(&db, "Abc").1;
    abc.batch_execute(METRICS).expect("metrics");
    let mut operator = db.as_role("op");
    for (part, n) in [(0, 3000), (1, 1), (2, 500)] {
        write(&mut abc, part, n);
        assert_eq!(roll_up(&mut operator), i64::from(n), "only what is new");
        assert_eq!(roll_up(&mut operator), 0);
        assert_eq!(differences(&mut operator), 0);
    }
    // The numbers once more, in words of this test's own.
    let mut superuser = db.superuser();
    for (metric, quantity) in [
        ("bytes", "sum(metric_value)"),
        ("photos", "count(*)"),
        ("peak", "max(metric_value)"),
        ("seats", "(array_agg(metric_value ORDER BY recorded_at DESC, usage_id DESC))[1]"),
        ("people", "count(DISTINCT dimensions ->> 'person')"),
        ("model_call", "sum(metric_value)"),
    ] {
        let differ = format!(
            "SELECT count(*) FILTER (WHERE r.quantity IS DISTINCT FROM u.q OR r.event_count <> u.n) + CASE WHEN count(*) > 30 THEN 0 ELSE 1000 END
            FROM (SELECT * FROM stormops.usage_rollups WHERE metric_name = $1 AND grain = 'day' AND dimensions = '{{}}') AS r
            FULL JOIN (SELECT date_trunc('day', recorded_at, 'UTC') AS bucket, {quantity}::numeric AS q, count(*) AS n
                FROM stormops.tenant_usage WHERE metric_name = $1 GROUP BY 1) AS u USING (bucket)"
        );
        assert_eq!(get::<i64>(&mut superuser, &differ, &[&metric]), 0, "{metric}");
    }
    let crews = "SELECT count(*), sum(event_count)::bigint FROM stormops.usage_rollups
        WHERE metric_name = 'bytes' AND grain = 'month' AND dimensions ->> 'region' IS NULL AND dimensions ? 'region'";
    let row = superuser.query_one(crews, &[]).expect("a region that is missing");
    assert!(row.get::<_, i64>(0) > 0 && row.get::<_, i64>(1) > 0);
}

#[test]
fn a_rollup_that_lies_is_found() {
    let db = Db::new("lies");
    let mut abc = tenant(&db, "Abc").1;
    abc.batch_execute(METRICS).expect("metrics");
    write(&mut abc, 0, 600);
    let mut operator = db.as_role("op");
    roll_up(&mut operator);
    let mut superuser = db.superuser();
    let one =
        "tenant_id, metric_name, grain, bucket, dimensions) = (SELECT tenant_id, metric_name, grain, bucket, dimensions
        FROM stormops.usage_rollups WHERE metric_name = $1 ORDER BY md5(dimensions || grain || bucket) LIMIT 1";
    for metric in ["bytes", "photos", "peak", "seats", "people"] {
        for lie in [
            format!("UPDATE stormops.usage_rollups SET quantity = quantity + 1e-20 WHERE ({one})"),
            format!("UPDATE stormops.usage_rollups SET event_count = event_count + 1 WHERE ({one})"),
            format!("DELETE FROM stormops.usage_rollups WHERE ({one})"),
        ] {
            let mut transaction = superuser.transaction().expect("a transaction");
            assert_eq!(transaction.execute(&lie, &[&metric]).expect("a lie"), 1, "{lie}");
            let found: i64 =
                transaction.query_one("SELECT count(*) FROM stormops.verify_rollups()", &[]).expect("proof").get(0);
            assert_eq!(found, 1, "{lie}");
        }
    }
    let late =
        "INSERT INTO stormops.usage_rollups (tenant_id, metric_name, grain, bucket, aggregation, quantity, event_count)
        SELECT tenant_id, 'api_call', 'day', '2026-01-01 00:00+00', 'SUM', 1, 1 FROM stormops.tenants";
    superuser.execute(late, &[]).expect("a rollup of nothing");
    assert_eq!(differences(&mut operator), 1);
}

#[test]
fn a_writer_under_way_is_left_to_the_next_call_and_holds_nobody_up() {
    let db = Db::new("in_flight");
    let (abc, mut slow) = tenant(&db, "Abc");
    slow.batch_execute("BEGIN; SELECT stormops.record_usage('model_call', 1)").expect("a slow writer");
    let mut quick = session(&db, abc);
    // Begun later, and committed before it.
    quick.execute("SELECT stormops.record_usage('model_call', 10)", &[]).expect("a quick writer");
    let mut operator = db.as_role("op");
    operator.batch_execute("SET lock_timeout = '1ms'").expect("a setting");
    assert_eq!(roll_up(&mut operator), 1, "what is committed, at once");
    assert_eq!(differences(&mut operator), 0);
    slow.batch_execute("SAVEPOINT s; SELECT stormops.record_usage('model_call', 7); ROLLBACK TO s").unwrap();
    slow.batch_execute("SELECT stormops.record_usage('model_call', 100)").unwrap();
    quick.execute("INSERT INTO tenant_usage (metric_name, metric_value) VALUES ('model_call', 1000)", &[]).unwrap();
    assert_eq!(roll_up(&mut operator), 1);
    slow.batch_execute("COMMIT").unwrap();
    assert_eq!(roll_up(&mut operator), 2, "all of what came late, and nothing else");
    assert_eq!(roll_up(&mut operator), 0);
    assert_eq!(differences(&mut operator), 0);
    let total = "SELECT quantity::text FROM usage_rollups WHERE metric_name = 'model_call' AND grain = 'month' AND dimensions = '{}'";
    assert_eq!(get::<String>(&mut quick, total, &[]), "1111");
    // What is prepared, and may stay so for days, holds nobody up either.
    slow.batch_execute("BEGIN; SELECT stormops.record_usage('model_call', 10000); PREPARE TRANSACTION 'rollups'").ok();
    assert_eq!(roll_up(&mut operator), 0);
    slow.batch_execute("COMMIT PREPARED 'rollups'").ok();
    roll_up(&mut operator);
    assert_eq!(differences(&mut operator), 0);
}

#[test]
fn a_rollup_that_is_killed_has_done_nothing_and_the_next_does_all() {
    let db = Db::new("killed");
    let mut abc = tenant(&db, "Abc").1;
    abc.batch_execute(METRICS).expect("metrics");
    write(&mut abc, 0, 1200);
    let mut superuser = db.superuser();
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'op'";
    // While it waits, and when it has written all and not committed.
    let mut gate = db.superuser();
    gate.batch_execute("BEGIN; LOCK TABLE stormops.usage_rollups IN SHARE MODE").expect("a gate");
    let mut waiting = db.as_role("op");
    let rollup = std::thread::spawn(move || waiting.query("SELECT * FROM stormops.rollup_usage()", &[]).is_err());
    await_blocked(&db, 1);
    assert_eq!(get::<i64>(&mut superuser, kill, &[]), 1);
    assert!(rollup.join().unwrap(), "it was killed");
    gate.batch_execute("COMMIT").unwrap();
    let mut written = db.as_role("op");
    written.batch_execute("BEGIN").unwrap();
    assert_eq!(roll_up(&mut written), 1200);
    assert_eq!(get::<i64>(&mut superuser, kill, &[]), 1);
    drop(written);
    assert_eq!(get::<i64>(&mut superuser, "SELECT count(*) FROM stormops.usage_rollups", &[]), 0);
    let mut operator = db.as_role("op");
    assert_eq!(roll_up(&mut operator), 1200);
    assert_eq!(differences(&mut operator), 0);
}

#[test]
fn two_rollups_at_once_fold_each_event_once() {
    let db = Db::new("two");
    let mut abc = tenant(&db, "Abc").1;
    abc.batch_execute(METRICS).expect("metrics");
    write(&mut abc, 0, 1200);
    let mut gate = db.superuser();
    gate.batch_execute("BEGIN; LOCK TABLE stormops.usage_rollups IN SHARE MODE").expect("a gate");
    let both = [(); 2].map(|()| {
        let mut operator = db.as_role("op");
        std::thread::spawn(move || roll_up(&mut operator))
    });
    await_blocked(&db, 2);
    gate.batch_execute("COMMIT").expect("an open gate");
    let mut folded = both.map(|thread| thread.join().expect("an end"));
    folded.sort();
    assert_eq!(folded, [0, 1200]);
    assert_eq!(differences(&mut db.as_role("op")), 0);
    // What commits while a rollup waits is invisible to a transaction with one snapshot: it would be lost.
    let mut operator = db.as_role("op");
    operator.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    fails_with(operator.query("SELECT stormops.rollup_usage()", &[]), "25000");
}

#[test]
fn many_writers_and_rollups_at_once_lose_and_double_nothing() {
    let db = Db::new("crowd");
    let tenants = ["Abc", "Best", "Crew"].map(|name| {
        let (tenant, mut session) = tenant(&db, name);
        session.batch_execute(METRICS).expect("metrics");
        tenant
    });
    let writers = (0..6).map(|i| {
        let mut session = session(&db, tenants[i % 3]);
        std::thread::spawn(move || {
            for round in 0..12 {
                session.batch_execute("BEGIN").unwrap();
                write(&mut session, round * 7 + i as i32, 40);
                session.batch_execute("SAVEPOINT s").unwrap();
                write(&mut session, round * 7 + i as i32, 11);
                session.batch_execute("ROLLBACK TO s").unwrap();
                // Half of them fail.
                session.batch_execute(if round % 2 == 0 { "COMMIT" } else { "ROLLBACK" }).unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let rollups: Vec<_> = (0..2)
        .map(|_| {
            let mut operator = db.as_role("op");
            std::thread::spawn(move || {
                let fold = |_| {
                    let folded = roll_up(&mut operator);
                    assert_eq!(differences(&mut operator), 0, "at every moment");
                    folded
                };
                (0..8).map(fold).sum::<i64>()
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("a writer");
    }
    let folded: i64 = rollups.into_iter().map(|rollup| rollup.join().expect("rollups")).sum();
    let mut operator = db.as_role("op");
    assert_eq!(folded + roll_up(&mut operator), 6 * 6 * 40);
    assert_eq!(differences(&mut operator), 0);
}

#[test]
fn usage_is_the_same_before_and_after_it_is_rolled_up() {
    let db = Db::new("tail");
    let (abc, mut session) = tenant(&db, "Abc");
    session.batch_execute(METRICS).expect("metrics");
    let mut operator = db.as_role("op");
    let usage = "SELECT string_agg(u::text, chr(10)) FROM stormops.get_tenant_usage($1, 30) AS u";
    for part in 0..3 {
        write(&mut session, part, 700);
        let before: String = get(&mut session, usage, &[&abc]);
        roll_up(&mut operator);
        assert_eq!(get::<String>(&mut session, usage, &[&abc]), before, "part {part}");
        assert_eq!(get::<String>(&mut operator, usage, &[&abc]), before, "the operator sees the same");
        assert_eq!(before.lines().count(), 6);
    }
    let people = "SELECT total::text FROM stormops.get_tenant_usage() WHERE metric_name = 'people'";
    assert_eq!(get::<String>(&mut session, people, &[]), "41", "a person of many days is one");
    let day = "SELECT count::text || ' ' || jsonb_array_length(series) FROM stormops.get_tenant_usage($1, 1) WHERE metric_name = 'bytes'";
    session.execute("SELECT stormops.record_usage('bytes', 1)", &[]).unwrap();
    assert!(get::<String>(&mut session, day, &[&abc]).ends_with(" 1"), "today only");
    for days in [0, -1, 3661] {
        fails_with(session.query(usage.replace("30", &days.to_string()).as_str(), &[&abc]), "22023");
    }
}

#[test]
fn a_restored_database_goes_on_where_the_other_stood() {
    let db = Db::new("before");
    let (abc, mut first) = tenant(&db, "Abc");
    first.batch_execute(METRICS).expect("metrics");
    write(&mut first, 0, 600);
    roll_up(&mut db.as_role("op"));
    write(&mut first, 1, 300);
    first.execute("SELECT stormops.record_usage('bytes', 1, '{}', 'key')", &[]).expect("a key");
    let restored = Db::empty("after");
    restored.pg_restore(&db.pg_dump(&["-Fc"]), &[]);
    let mut again = session(&restored, abc);
    let repeat = "SELECT status FROM stormops.record_usage('bytes', 1, '{}', 'key')";
    assert_eq!(get::<String>(&mut again, repeat, &[]), "duplicate");
    write(&mut again, 2, 120);
    let mut operator = restored.as_role("op");
    assert_eq!(roll_up(&mut operator), 421, "what was not folded there, and what is new here");
    assert_eq!(differences(&mut operator), 0);
}
