//! tenant_usage is partitioned by month: whoever inserts sees nothing of it, and nothing is lost or dropped too early.

use postgres::Client;
use stormops_tests::tenant::{session, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get};

fn record(session: &mut Client, at: &str, key: &str) -> Result<u64, postgres::Error> {
    let call = "SELECT stormops.record_usage('model_call', 1, '{}', $2, $1::text::timestamptz)";
    session.execute(call, &[&at, &key])
}

/// Where the events lie: the ends of the partitions' names.
fn places(db: &Db) -> String {
    let places = "SELECT string_agg(place || ' ' || n, ', ' ORDER BY place) FROM (
        SELECT right(tableoid::regclass::text, 7) AS place, count(*) AS n FROM stormops.tenant_usage GROUP BY 1) AS p";
    get(&mut db.superuser(), places, &[])
}

fn maintain(operator: &mut Client) -> i32 {
    get(operator, "SELECT stormops.maintain_partitions()", &[])
}

#[test]
fn an_event_of_a_month_without_partition_waits_in_the_default_one() {
    let db = Db::new("default");
    let mut abc = tenant(&db, "Abc").1;
    let mut operator = db.as_role("op");
    assert_eq!(maintain(&mut operator), 0, "CREATE EXTENSION made this month's and three ahead");
    // The edge of two months, to the microsecond, in UTC.
    for (at, key) in [
        ("2024-02-29 23:59:59.999999+00", "last"),
        ("2024-03-01 00:00:00+00", "first"),
        ("2024-03-01 01:00:00+02", "before"),
    ] {
        record(&mut abc, at, key).expect("an event");
    }
    assert_eq!(places(&db), "default 3");
    get::<i64>(&mut operator, "SELECT events FROM stormops.rollup_usage()", &[]);
    let months =
        "SELECT string_agg(bucket AT TIME ZONE 'UTC' || ' ' || quantity, ', ' ORDER BY bucket) FROM usage_rollups
        WHERE grain = 'month' AND dimensions = '{}'";
    assert_eq!(get::<String>(&mut abc, months, &[]), "2024-02-01 00:00:00 2, 2024-03-01 00:00:00 1");
    assert_eq!((maintain(&mut operator), maintain(&mut operator)), (2, 0));
    assert_eq!(places(&db), "2024_02 2, 2024_03 1");
    // Moved, they are neither new nor gone, and their keys hold.
    assert_eq!(get::<i64>(&mut operator, "SELECT events FROM stormops.rollup_usage()", &[]), 0);
    assert_eq!(get::<i64>(&mut operator, "SELECT count(*) FROM stormops.verify_rollups()", &[]), 0);
    let again = "SELECT status FROM stormops.record_usage('model_call', 1, '{}', 'first')";
    assert_eq!(get::<String>(&mut abc, again, &[]), "duplicate");
    let open = "SELECT count(*) FROM pg_partition_tree('stormops.tenant_usage') JOIN pg_class AS c ON c.oid = relid
        WHERE NOT (relrowsecurity AND relforcerowsecurity AND pg_get_userbyid(relowner) = 'stormops_owner'
            AND (NOT isleaf OR NOT EXISTS (SELECT FROM aclexplode(relacl) AS a WHERE a.grantee <> relowner)))";
    assert_eq!(get::<i64>(&mut db.superuser(), open, &[]), 0);
}

#[test]
fn rows_that_are_being_written_are_moved_too() {
    let db = Db::new("moving");
    let (abc, mut slow) = tenant(&db, "Abc");
    record(&mut slow, "2024-02-01", "there").expect("an event");
    slow.batch_execute("BEGIN").unwrap();
    record(&mut slow, "2024-02-02", "under way").expect("an event");
    let mut operator = db.as_role("op");
    let upkeep = std::thread::spawn(move || maintain(&mut operator));
    await_blocked(&db, 1);
    session(&db, abc).execute("SELECT stormops.record_usage('model_call', 1)", &[]).expect("this month goes on");
    slow.batch_execute("COMMIT").unwrap();
    assert_eq!(upkeep.join().expect("upkeep"), 1);
    assert!(places(&db).starts_with("2024_02 2, "));
}

#[test]
fn only_what_is_rolled_up_is_dropped_and_nothing_comes_after_it() {
    let db = Db::new("drop");
    let mut abc = tenant(&db, "Abc").1;
    let mut operator = db.as_role("op");
    for (at, key) in [("2024-01-15", "a"), ("2024-02-15", "b"), ("2024-03-15", "c"), ("now", "d")] {
        record(&mut abc, at, key).expect("an event");
    }
    let mut drop_before = |date: &str| {
        let row = operator.query_one("SELECT stormops.drop_usage_before($1::text::date)", &[&date])?;
        Ok::<Vec<String>, postgres::Error>(row.get(0))
    };
    for date in ["today", "infinity"] {
        assert!(fails_with(drop_before(date), "22023").hint().is_some(), "{date}");
    }
    let error = fails_with(drop_before("2024-02-20"), "55000");
    assert!(error.message().contains("not rolled up"));
    let mut other = db.as_role("op");
    other.execute("SELECT stormops.rollup_usage()", &[]).expect("a rollup");
    assert_eq!(drop_before("2024-02-20").expect("a list"), ["tenant_usage_2024_01"]);
    let none: [&str; 0] = [];
    assert_eq!(drop_before("2024-02-20").expect("a list"), none);
    let left =
        "SELECT count(*) || ' ' || (SELECT count(*) FROM usage_keys) || ' ' || (SELECT count(*) FROM usage_rollups
        WHERE grain = 'month' AND dimensions = '{}') FROM tenant_usage";
    assert_eq!(get::<String>(&mut abc, left, &[]), "3 3 4", "rollups stay");
    assert_eq!(get::<i64>(&mut other, "SELECT count(*) FROM stormops.verify_rollups()", &[]), 0);
    // Nobody can tell any more whether this one is new.
    assert!(fails_with(record(&mut abc, "2024-01-15", "a"), "22023").message().contains("dropped"));
    fails_with(abc.execute("INSERT INTO tenant_usage (metric_name, metric_value, recorded_at) VALUES ('model_call', 1, '2024-01-31 23:59+00')", &[]), "22023");
    record(&mut abc, "2024-02-01", "e").expect("what is kept goes on");
    fails_with(abc.execute("SELECT stormops.drop_usage_before('2024-03-01')", &[]), "42501");
}

#[test]
fn months_are_of_utc_whatever_a_session_is_set_to() {
    let db = Db::new("settings");
    let mut abc = tenant(&db, "Abc").1;
    record(&mut abc, "2024-02-29 23:59:59.999999+00", "last").expect("an event");
    record(&mut abc, "2024-03-01 00:00:00+00", "first").expect("an event");
    let mut operator = db.as_role("op");
    // IST, as this style writes it, reads as the time of Israel.
    operator.batch_execute("SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'").expect("settings");
    assert_eq!(maintain(&mut operator), 2);
    assert_eq!(places(&db), "2024_02 1, 2024_03 1");
    let odd = "SELECT count(*) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'stormops.tenant_usage'::regclass AND pg_get_expr(c.relpartbound, c.oid) NOT LIKE '%-01 00:00:00+00%-01 00:00:00+00%'
            AND c.relname NOT IN ('tenant_usage_default', 'tenant_usage_old')";
    let mut superuser = db.superuser();
    superuser.batch_execute("SET TimeZone = 'UTC'").expect("a setting");
    assert_eq!(get::<i64>(&mut superuser, odd, &[]), 0);
}

/// A neighbour's calls lock every partition that there is.
#[test]
fn events_of_long_ago_make_no_partitions() {
    let db = Db::new("old");
    let mut abc = tenant(&db, "Abc").1;
    let mut operator = db.as_role("op");
    let each_month = "INSERT INTO stormops.tenant_usage (metric_name, metric_value, recorded_at)
        SELECT 'model_call', 1, '2000-01-01Z'::timestamptz + make_interval(months => g) FROM generate_series(0, 287) AS g";
    abc.batch_execute(each_month).expect("24 years of one event a month");
    record(&mut abc, "2023-12-31 23:59:59.999999+00", "last").expect("an event");
    record(&mut abc, "2024-01-01 00:00:00+00", "first").expect("an event");
    assert_eq!(places(&db), "age_old 289, default 1");
    assert_eq!(maintain(&mut operator), 1);
    assert_eq!(places(&db), "2024_01 1, age_old 289");
    assert_eq!(get::<i64>(&mut operator, "SELECT events FROM stormops.rollup_usage()", &[]), 290);
    assert_eq!(get::<i64>(&mut operator, "SELECT count(*) FROM stormops.verify_rollups()", &[]), 0);
    let mut drop_before =
        |date: &str| get::<Vec<String>>(&mut operator, "SELECT stormops.drop_usage_before($1::text::date)", &[&date]);
    assert_eq!(drop_before("2010-06-15"), ["tenant_usage_old"]);
    assert_eq!(drop_before("2010-06-15"), [""; 0]);
    let from = "SELECT min(recorded_at AT TIME ZONE 'UTC')::text || ' ' || count(*) FROM stormops.tenant_usage";
    assert_eq!(get::<String>(&mut db.superuser(), from, &[]), "2010-06-01 00:00:00 165");
    fails_with(record(&mut abc, "2010-05-31", "late"), "22023");
    assert_eq!(drop_before("2024-02-01"), ["tenant_usage_old", "tenant_usage_2024_01"]);
}

#[test]
fn nobody_who_writes_notices_that_a_partition_is_made() {
    let db = Db::new("unnoticed");
    let abc = tenant(&db, "Abc").0;
    let writers: Vec<_> = (0..4)
        .map(|n| {
            let mut writer = session(&db, abc);
            std::thread::spawn(move || {
                // Each month is new to everybody.
                for month in 0..24 {
                    let insert = "INSERT INTO stormops.tenant_usage (metric_name, metric_value, recorded_at)
                        SELECT 'model_call', 1, '2024-01-01Z'::timestamptz + make_interval(months => $1, days => g)
                        FROM generate_series(0, 20) AS g";
                    writer.execute(insert, &[&month]).unwrap_or_else(|error| panic!("writer {n}: {error:?}"));
                }
            })
        })
        .collect();
    let mut operator = db.as_role("op");
    let mut made = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        made += maintain(&mut operator);
    }
    writers.into_iter().for_each(|writer| writer.join().expect("a writer who notices nothing"));
    assert_eq!(made + maintain(&mut operator), 24);
    assert_eq!(get::<i64>(&mut db.superuser(), "SELECT count(*) FROM stormops.tenant_usage", &[]), 4 * 24 * 21);
    assert_eq!(get::<i64>(&mut db.superuser(), "SELECT count(*) FROM stormops_internal.tenant_usage_default", &[]), 0);
}
