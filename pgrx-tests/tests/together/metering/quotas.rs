//! Hard quotas hold at the write, whoever writes at once; soft ones raise alerts; tiers give defaults.

use std::sync::{Arc, Barrier};

use postgres::{Client, Error};
use stormops_tests::tenant::{acting_as, session, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get, provision, sqlstate};
use uuid::Uuid;

fn set_quota(operator: &mut Client, tenant: Uuid, quota: &str, rest: &str) -> Result<u64, Error> {
    let set = format!("SELECT stormops.set_quota($1, 'api_call', $2::text::numeric, {rest})");
    operator.execute(&set, &[&tenant, &quota])
}

fn call(session: &mut Client, value: &str) -> Result<u64, Error> {
    session.execute("SELECT stormops.record_usage('api_call', $1::text::numeric)", &[&value])
}

const PLAIN: &str = "INSERT INTO tenant_usage (metric_name, metric_value) VALUES ('api_call', 1)";
const USED: &str = "SELECT coalesce(sum(metric_value), 0)::text FROM tenant_usage WHERE metric_name = 'api_call'";

#[test]
fn fifty_writers_under_a_limit_of_51_never_write_52() {
    let db = Db::new("fifty");
    let (abc, mut first) = tenant(&db, "Abc");
    let mut operator = db.as_role("op");
    call(&mut first, "1").expect("before there is a quota");
    set_quota(&mut operator, abc, "51", "'month', 'hard'").expect("a quota");
    let barrier = Arc::new(Barrier::new(50));
    let writers: Vec<_> = (0..50)
        .map(|i| {
            let (mut session, barrier) = (session(&db, abc), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                // Two each, by function or plain.
                let two =
                    [0, 1].map(|_| if i % 2 == 0 { call(&mut session, "1") } else { session.execute(PLAIN, &[]) });
                two.iter().map(|result| sqlstate(result).to_owned()).collect::<Vec<_>>()
            })
        })
        .collect();
    let answers: Vec<String> = writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "00000").count(), 50);
    assert_eq!(answers.iter().filter(|answer| *answer == "53400").count(), 50);
    assert_eq!(get::<String>(&mut first, USED, &[]), "51");
    let checked =
        "SELECT used::text || ' ' || remaining || ' ' || percent || ' ' || kind FROM stormops.check_quota('api_call')";
    assert_eq!(get::<String>(&mut first, checked, &[]), "51 0 100.0 hard");
}

#[test]
fn a_refusal_says_when_and_what_failed_counts_for_nothing() {
    let db = Db::new("refused");
    let (abc, mut session) = tenant(&db, "Abc");
    let mut operator = db.as_role("op");
    set_quota(&mut operator, abc, "10", "'day', 'hard'").expect("a quota");
    session.batch_execute(&format!("BEGIN; {PLAIN}; SAVEPOINT s; {PLAIN}; {PLAIN}; ROLLBACK TO s; COMMIT")).unwrap();
    session.batch_execute(&format!("BEGIN; {PLAIN}; ROLLBACK")).unwrap();
    let many =
        "INSERT INTO tenant_usage (metric_name, metric_value) SELECT 'api_call', 1 FROM generate_series(1, $1::int)";
    let error = fails_with(session.execute(many, &[&10]), "53400");
    assert!(error.hint().is_some_and(|hint| hint.contains("check_quota")));
    let batch = "SELECT stormops.record_usages('[{\"metric_name\": \"api_call\", \"value\": 5}, {\"metric_name\": \"api_call\", \"value\": 4.1}]')";
    fails_with(session.execute(batch, &[]), "53400");
    session.execute(many, &[&9]).expect("what is left, to the last");
    fails_with(call(&mut session, "0.000001"), "53400");
    // Yesterday is another day, and other metrics are others.
    let yesterday = "SELECT stormops.record_usage('api_call', 10, at => now() - interval '1 day')";
    session.execute(yesterday, &[]).expect("yesterday");
    fails_with(session.execute(&yesterday.replace("10,", "1,"), &[]), "53400");
    session.execute("SELECT stormops.record_usage('model_call', 1000)", &[]).expect("another metric");
    // A repeat uses nothing up.
    set_quota(&mut operator, abc, "11", "'day', 'hard'").expect("a quota");
    let key = "SELECT status FROM stormops.record_usage('api_call', 1, '{}', 'key')";
    assert_eq!(get::<String>(&mut session, key, &[]), "recorded");
    assert_eq!(get::<String>(&mut session, key, &[]), "duplicate");
    let resets =
        "SELECT resets_at = date_trunc('day', now(), 'UTC') + interval '1 day' FROM stormops.check_quota('api_call')";
    assert!(get::<bool>(&mut session, resets, &[]));
    assert!(get::<bool>(&mut acting_as(&db, abc, "viewer"), resets, &[]), "a viewer may ask");
    // Lifted, and set again: what was used meanwhile counts.
    operator.execute("SELECT stormops.set_quota($1, 'api_call', NULL, 'day', 'hard')", &[&abc]).expect("no limit");
    call(&mut session, "100").expect("no limit");
    set_quota(&mut operator, abc, "112", "'day', 'hard'").expect("a quota");
    fails_with(call(&mut session, "2"), "53400");
}

#[test]
fn a_quota_counts_who_was_writing_when_it_was_set() {
    let db = Db::new("set");
    let (abc, mut slow) = tenant(&db, "Abc");
    let mut other = tenant(&db, "Other").1;
    slow.batch_execute("BEGIN; SELECT stormops.record_usage('api_call', 5)").unwrap();
    let mut operator = db.as_role("op");
    let setting = std::thread::spawn(move || set_quota(&mut operator, abc, "6", "'month', 'hard'").expect("a quota"));
    await_blocked(&db, 1);
    call(&mut other, "1").expect("another tenant waits for nothing");
    slow.batch_execute("COMMIT").unwrap();
    setting.join().unwrap();
    let mut second = session(&db, abc);
    fails_with(call(&mut second, "2"), "53400");
    call(&mut second, "1").expect("the rest");
}

#[test]
fn a_tiers_quota_counts_who_was_writing_too() {
    let db = Db::new("tier_set");
    let mut operator = db.as_role("op");
    let trial = "SELECT tenant_id FROM stormops.provision_tenant('Trial', 'trial', 'a@b.example')";
    let trial: Uuid = get(&mut operator, trial, &[]);
    let mut slow = session(&db, trial);
    slow.batch_execute("BEGIN; SELECT stormops.record_usage('model_call', 5)").unwrap();
    let set = "SELECT stormops.set_tier_quota('trial', 'model_call', 6)";
    let setting = std::thread::spawn(move || operator.execute(set, &[]).expect("a quota"));
    await_blocked(&db, 1);
    call(&mut session(&db, trial), "1").expect("another metric waits for nothing");
    slow.batch_execute("COMMIT").unwrap();
    setting.join().unwrap();
    let mut second = session(&db, trial);
    fails_with(second.execute("SELECT stormops.record_usage('model_call', 2)", &[]), "53400");
    second.execute("SELECT stormops.record_usage('model_call', 1)", &[]).expect("the rest");
}

/// A statement over more tenants than locks are taken for holds the metric for all of them.
#[test]
fn a_quota_counts_what_was_metered_for_many_tenants_at_once() {
    let db = Db::new("many");
    let (abc, mut one) = tenant(&db, "Abc");
    let more = "INSERT INTO stormops.tenants (org_name, name_key, tier) SELECT 'T' || i, 't' || i, 'standard' FROM generate_series(1, 70) AS i";
    db.superuser().execute(more, &[]).expect("many tenants");
    let mut measuring = db.as_role("op");
    measuring.batch_execute("BEGIN; SELECT stormops.measure_storage()").expect("storage of all");
    // Another database's table may well have the same oid.
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'stormops.quotas'::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()";
    assert_eq!(get::<i64>(&mut db.superuser(), locks, &[]), 1);
    let mut operator = db.as_role("op");
    let set = "SELECT stormops.set_quota($1, 'storage_mb', 0.000001)";
    let setting = std::thread::spawn(move || operator.execute(set, &[&abc]).expect("a quota"));
    await_blocked(&db, 1);
    let record = "SELECT stormops.record_usage('storage_mb', $1::text::numeric)";
    let mut other = tenant(&db, "Other").1;
    other.execute(record, &[&"1"]).expect("writers wait for nothing");
    measuring.batch_execute("COMMIT").unwrap();
    setting.join().unwrap();
    fails_with(one.execute(record, &[&"0"]), "53400");
}

/// One tenant without storage left must not leave all the others unmeasured.
#[test]
fn what_the_platform_measures_counts_and_is_never_refused() {
    let db = Db::new("measured");
    let (abc, mut session) = tenant(&db, "Abc");
    let (other, _) = tenant(&db, "Other");
    let mut operator = db.as_role("op");
    operator.execute("SELECT stormops.set_quota($1, 'storage_mb', 0.000001)", &[&abc]).expect("a hard quota");
    let measured =
        operator.query("SELECT tenant_id FROM stormops.measure_storage() WHERE recorded", &[]).expect("both");
    let measured: Vec<Uuid> = measured.iter().map(|row| row.get(0)).collect();
    assert!(measured.contains(&abc) && measured.contains(&other), "{measured:?}");
    let over = "SELECT used > quota FROM stormops.check_quota('storage_mb', $1)";
    assert!(get::<bool>(&mut operator, over, &[&abc]));
    fails_with(session.execute("SELECT stormops.record_usage('storage_mb', 0)", &[]), "53400");
}

#[test]
fn the_largest_and_the_number_of_events_can_be_limited_too() {
    let db = Db::new("kinds");
    let (abc, mut session) = tenant(&db, "Abc");
    session.batch_execute("SELECT stormops.declare_metric('photos', 'file', 'COUNT'); SELECT stormops.declare_metric('seats', 'seat', 'LATEST')").unwrap();
    let mut operator = db.as_role("op");
    for (metric, limit) in [("storage_mb", 10), ("photos", 2)] {
        operator
            .execute("SELECT stormops.set_quota($1, $2, $3::int, 'month')", &[&abc, &metric, &limit])
            .expect("a quota");
    }
    let mut record = |metric: &str, value: i32| {
        session.execute("SELECT stormops.record_usage($1, $2::int)", &[&metric, &value]).map(|_| ())
    };
    for (metric, value, expected) in [
        ("storage_mb", 7, "00000"),
        ("storage_mb", 10, "00000"),
        ("storage_mb", 11, "53400"),
        ("storage_mb", 3, "00000"),
        ("photos", 500, "00000"),
        ("photos", 500, "00000"),
        ("photos", 0, "53400"),
    ] {
        assert_eq!(sqlstate(&record(metric, value)), expected, "{metric} {value}");
    }
    for (arguments, expected) in [
        ("'seats', 1, 'month', 'hard'", "22023"),
        ("'api_call', -1, 'month', 'hard'", "22023"),
        ("'api_call', 'NaN', 'month', 'hard'", "22023"),
        ("'api_call', 1, 'year', 'hard'", "22023"),
        ("'api_call', 1, 'month', 'firm'", "22023"),
        ("NULL, 1", "22004"),
        ("'nonsense', 1", "P0002"),
    ] {
        let set = format!("SELECT stormops.set_quota($1, {arguments})");
        assert!(fails_with(operator.execute(&set, &[&abc]), expected).hint().is_some(), "{arguments}");
    }
    operator.execute("SELECT stormops.set_quota($1, 'seats', 1, 'month', 'soft')", &[&abc]).expect("a soft one");
    fails_with(session.execute("SELECT stormops.set_quota($1, 'api_call', 1)", &[&abc]), "42501");
}

#[test]
fn alerts_are_raised_at_80_and_100_percent_once_a_period() {
    let db = Db::new("alerts");
    let (abc, mut session) = tenant(&db, "Abc");
    let mut operator = db.as_role("op");
    set_quota(&mut operator, abc, "100", "'month', 'soft'").expect("a quota");
    for (value, raised, all) in
        [("79", 0, ""), ("1", 1, "80"), ("1", 0, "80"), ("900", 1, "80 100"), ("1", 0, "80 100")]
    {
        call(&mut session, value).expect("a soft quota refuses nothing");
        assert_eq!(get::<i64>(&mut operator, "SELECT alerts FROM stormops.rollup_usage()", &[]), raised);
        let alerts = "SELECT coalesce(string_agg(threshold::text, ' ' ORDER BY threshold), '') FROM quota_alerts";
        assert_eq!(get::<String>(&mut session, alerts, &[]), all);
    }
    let seen = "SELECT used::text || ' of ' || quota FROM quota_alerts WHERE threshold = 80";
    assert_eq!(get::<String>(&mut session, seen, &[]), "80 of 100");
}

#[test]
fn a_tier_gives_what_a_tenant_has_not_of_its_own() {
    let db = Db::new("tier");
    let mut operator = db.as_role("op");
    let trial = "SELECT tenant_id FROM stormops.provision_tenant('Trial', 'trial', 'a@b.example')";
    let trial: Uuid = get(&mut operator, trial, &[]);
    let mut session = session(&db, trial);
    let mut record = |value: i32| session.execute("SELECT stormops.record_usage('model_call', $1::int)", &[&value]);
    record(10_000).expect("a trial's");
    fails_with(record(1), "53400");
    operator.execute("SELECT stormops.set_tier_quota('trial', 'model_call', 10001)", &[]).expect("more for all trials");
    record(1).expect("one more");
    fails_with(record(1), "53400");
    operator.execute("SELECT stormops.set_quota($1, 'model_call', 10002)", &[&trial]).expect("more for this one");
    record(1).expect("one more");
    fails_with(record(1), "53400");
    for (arguments, expected) in
        [("'gold', 'model_call', 1", "22023"), ("'trial', 'No!', 1", "22023"), ("'trial', 'model_call', -1", "22023")]
    {
        fails_with(operator.execute(&format!("SELECT stormops.set_tier_quota({arguments})"), &[]), expected);
    }
    let other = provision(&db, "Standard");
    let kind = "SELECT string_agg(kind, ' ') FROM stormops.check_quota('model_call', $1)";
    assert_eq!(get::<String>(&mut operator, kind, &[&other]), "soft");
}

#[test]
fn a_trial_that_is_over_is_suspended_once() {
    let db = Db::new("trials");
    let mut operator = db.as_role("op");
    let trials = ["Over", "Not yet"].map(|name| {
        let trial = "SELECT tenant_id FROM stormops.provision_tenant($1, 'trial', 'a@b.example')";
        get::<Uuid>(&mut operator, trial, &[&name])
    });
    let expire = "SELECT coalesce(array_agg(tenant_id), '{}') FROM stormops.expire_trials()";
    assert!(get::<Vec<Uuid>>(&mut operator, expire, &[]).is_empty());
    let over = "UPDATE stormops.tenants SET trial_ends_at = now() WHERE tenant_id = $1";
    db.superuser().execute(over, &[&trials[0]]).expect("thirty days later");
    assert_eq!(get::<Vec<Uuid>>(&mut operator, expire, &[]), [trials[0]]);
    assert!(get::<Vec<Uuid>>(&mut operator, expire, &[]).is_empty());
    fails_with(session(&db, trials[0]).execute(PLAIN, &[]), "55000");
    session(&db, trials[1]).execute(PLAIN, &[]).expect("its trial goes on");
    let why = "SELECT actor || ': ' || reason FROM stormops.tenant_events WHERE action = 'suspend'";
    assert_eq!(get::<String>(&mut db.superuser(), why, &[]), "op: trial expired");
}
