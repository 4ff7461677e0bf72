//! Events come in once, whole, and only into the tenant in context, by record_usage(), record_usages() and plain INSERT.

use postgres::types::Json;
use postgres::{Client, Error};
use serde_json::json;
use stormops_tests::tenant::{acting_as, scored_storm, session, tenant};
use stormops_tests::{Db, await_blocked, enter, fails_with, get, provision, sqlstate};

/// What record_usage() says of an event.
fn record(session: &mut Client, metric: &str, value: &str, key: Option<&str>, at: &str) -> Result<String, Error> {
    let call = "SELECT status FROM stormops.record_usage($1, $2::text::numeric, '{}', $3, $4::text::timestamptz)";
    session.query_one(call, &[&metric, &value, &key, &at]).map(|row| row.get(0))
}

/// The events and the sum of their values, as the tenant sees them.
fn events(session: &mut Client) -> (i64, String) {
    let sum = "SELECT count(*), coalesce(sum(metric_value), 0)::text FROM tenant_usage";
    let row = session.query_one(sum, &[]).expect("a sum");
    (row.get(0), row.get(1))
}

#[test]
fn a_repeat_is_counted_once_and_says_so() {
    let db = Db::new("repeat");
    let mut abc = tenant(&db, "Abc").1;
    assert_eq!(record(&mut abc, "model_call", "0.1", Some("k"), "now").unwrap(), "recorded");
    // Another day and another partition: a retry need not remember when the first attempt was.
    for at in ["now", "2024-01-31 23:59:59.999999+00", "2024-02-01 00:00+00"] {
        assert_eq!(record(&mut abc, "model_call", "0.1", Some("k"), at).unwrap(), "duplicate", "{at}");
    }
    for (metric, value) in [("model_call", "0.2"), ("api_call", "0.1")] {
        let error = fails_with(record(&mut abc, metric, value, Some("k"), "now"), "23505");
        assert!(error.hint().is_some());
    }
    let plain = "INSERT INTO tenant_usage (metric_name, metric_value, idempotency_key, recorded_at)
        VALUES ('model_call', 0.1, $1, '2024-02-01')";
    fails_with(abc.execute(plain, &[&"k"]), "23505");
    abc.execute(plain, &[&"plain"]).expect("a new key");
    assert_eq!(record(&mut abc, "model_call", "0.1", Some("plain"), "now").unwrap(), "duplicate");
    assert_eq!(events(&mut abc), (2, "0.2".into()));
    // Another tenant's keys are its own.
    let mut other = tenant(&db, "Other").1;
    assert_eq!(record(&mut other, "model_call", "7", Some("k"), "now").unwrap(), "recorded");
}

#[test]
fn a_batch_is_recorded_whole_or_not_at_all() {
    let db = Db::new("batch");
    let mut abc = tenant(&db, "Abc").1;
    let mut batch = |events: serde_json::Value| {
        let call = "SELECT recorded, duplicates FROM stormops.record_usages($1)";
        abc.query_one(call, &[&Json(events)]).map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)))
    };
    let call =
        |value: f64, key: Option<&str>| json!({"metric_name": "model_call", "value": value, "idempotency_key": key});
    assert_eq!(batch(json!([])).unwrap(), (0, 0));
    let twice =
        json!([call(1.0, Some("a")), call(1.0, Some("a")), call(2.5, Some("b")), call(4.0, None), call(4.0, None)]);
    assert_eq!(batch(twice.clone()).unwrap(), (4, 1));
    assert_eq!(batch(twice).unwrap(), (2, 3));
    let not_valid = [
        (json!({}), "22023"),
        (json!([call(8.0, None), call(-1.0, None)]), "22023"),
        (json!([call(8.0, None), {"metric_name": "model_call"}]), "22004"),
        (json!([call(8.0, None), {"metric_name": "nonsense", "value": 1}]), "22023"),
        (json!([call(8.0, None), {"metric_name": "model_call", "value": "NaN"}]), "22023"),
        (json!([call(8.0, None), 1]), "22023"),
        (json!([call(8.0, None), {"metric_name": "model_call", "value": "x".repeat(9000)}]), "22023"),
        (json!([call(8.0, None), {"metric_name": "model_call", "value": 1, "at": "soon"}]), "22023"),
        (json!([call(8.0, None), call(9.0, Some("a"))]), "23505"),
        (json!([call(8.0, Some("c")), call(9.0, Some("c"))]), "23505"),
    ];
    for (events, expected) in not_valid {
        let error = fails_with(batch(events.clone()), expected);
        assert!(error.hint().is_some(), "{events}");
    }
    assert_eq!(events(&mut abc), (6, "19.5".into()), "nothing of what was refused");
}

/// Who may not read events or keys may record them, keys and all.
#[test]
fn a_viewer_records_with_keys_in_every_way() {
    let db = Db::new("viewer");
    let (abc, mut admin) = tenant(&db, "Abc");
    let mut viewer = acting_as(&db, abc, "viewer");
    for status in ["recorded", "duplicate"] {
        assert_eq!(record(&mut viewer, "model_call", "1", Some("one"), "now").unwrap(), status);
    }
    let two = "SELECT recorded || ' ' || duplicates FROM stormops.record_usages('[
        {\"metric_name\": \"model_call\", \"value\": 1, \"idempotency_key\": \"two\"},
        {\"metric_name\": \"model_call\", \"value\": 1, \"idempotency_key\": \"three\"}]')";
    assert_eq!(["2 0", "0 2"].map(|_| get::<String>(&mut viewer, two, &[])), ["2 0", "0 2"]);
    let mixed = two.replace("three", "four");
    assert_eq!(get::<String>(&mut viewer, &mixed, &[]), "1 1");
    let plain =
        "INSERT INTO tenant_usage (metric_name, metric_value, idempotency_key) VALUES ('model_call', 1, 'plain')";
    viewer.execute(plain, &[]).expect("a plain event");
    fails_with(viewer.execute(plain, &[]), "23505");
    assert_eq!(get::<i64>(&mut viewer, "SELECT count(metric_name) FROM tenant_usage", &[]), 0, "it reads none");
    assert_eq!(events(&mut admin), (5, "5".into()));
}

#[test]
fn two_sessions_that_send_the_same_event_count_it_once() {
    let db = Db::new("race");
    let (abc, mut first) = tenant(&db, "Abc");
    for (end, status, counted) in [("ROLLBACK", "recorded", 1), ("COMMIT", "duplicate", 2)] {
        let key = format!("k {end}");
        first.batch_execute("BEGIN").unwrap();
        record(&mut first, "model_call", "1", Some(&key), "now").expect("the first");
        let mut second = session(&db, abc);
        let waiting = std::thread::spawn(move || record(&mut second, "model_call", "1", Some(&key), "now").unwrap());
        await_blocked(&db, 1);
        first.batch_execute(end).unwrap();
        assert_eq!(waiting.join().unwrap(), status);
        assert_eq!(events(&mut first).0, counted);
    }
}

#[test]
fn what_is_not_valid_is_refused_with_a_hint_and_leaves_nothing() {
    let db = Db::new("bad");
    let mut abc = tenant(&db, "Abc").1;
    for (metric, value, at) in [
        ("model_call", "-1", "now"),
        ("model_call", "NaN", "now"),
        ("model_call", "Infinity", "now"),
        ("model_call", "1e400", "now"),
        ("model_call", "1e-21", "now"),
        ("modelcall", "1", "now"),
        ("", "1", "now"),
        ("model_call", "1", "2999-12-31"),
        ("model_call", "1", "infinity"),
        ("model_call", "1", "-infinity"),
        ("model_call", "1", "1999-12-31 23:00+00"),
    ] {
        let error = fails_with(record(&mut abc, metric, value, Some("key"), at), "22023");
        assert!(error.hint().is_some(), "{metric} {value} {at}");
    }
    let large = format!("{{\"x\": \"{}\"}}", "large ".repeat(200_000));
    for (dimensions, key, expected) in
        [(large.as_str(), "k", "22023"), ("[1]", "k", "22023"), ("{}", "", "22023"), ("{}", &"k".repeat(201), "22023")]
    {
        let call = "SELECT stormops.record_usage('model_call', 1, $1::text::jsonb, $2)";
        let error = fails_with(abc.query(call, &[&dimensions, &key]), expected);
        assert!(error.hint().is_some() && error.message().len() < 200);
    }
    fails_with(abc.query("SELECT stormops.record_usage('model_call', NULL)", &[]), "22004");
    // Plain SQL goes by the same rules, as constraints.
    for (columns, values, expected) in [
        ("metric_value", "-1", "23514"),
        ("metric_value", "'NaN'", "23514"),
        ("metric_value", "1e400", "23514"),
        ("metric_value, recorded_at", "1, now() + interval '6 minutes'", "23514"),
        ("metric_value, recorded_at", "1, '1999-01-01'", "23514"),
        ("metric_value, dimensions", "1, jsonb_build_object('x', repeat(md5('x'), 40000))", "23514"),
    ] {
        let insert = format!("INSERT INTO tenant_usage (metric_name, {columns}) VALUES ('model_call', {values})");
        assert_eq!(sqlstate(&abc.batch_execute(&insert)), expected, "{insert}");
    }
    // An event of a batch that is rolled up would never be counted.
    let behind = "INSERT INTO tenant_usage (metric_name, metric_value, batch_id) VALUES ('model_call', 1, gen_random_uuid())";
    fails_with(abc.batch_execute(behind), "42501");
    let error = fails_with(
        abc.batch_execute("INSERT INTO tenant_usage (metric_name, metric_value) VALUES ('typo', 1)"),
        "22023",
    );
    assert!(error.hint().is_some());
    assert_eq!(events(&mut abc).0, 0);
    assert_eq!(get::<i64>(&mut abc, "SELECT count(*) FROM usage_keys", &[]), 0, "nor a key");
    // Five minutes are for clocks that differ.
    let ahead = "SELECT stormops.record_usage('model_call', 1, at => now() + interval '4 minutes')";
    abc.execute(ahead, &[]).expect("a clock that is fast");
}

#[test]
fn nobody_meters_another_tenant_or_one_that_is_not_active() {
    let db = Db::new("whose");
    let (abc, mut session) = tenant(&db, "Abc");
    let other = provision(&db, "Other");
    let plain =
        format!("INSERT INTO tenant_usage (tenant_id, metric_name, metric_value) VALUES ('{other}', 'model_call', 1)");
    fails_with(session.batch_execute(&plain), "42501");
    session.execute("SELECT stormops.declare_metric('photo', 'file')", &[]).expect("a metric");
    let mut others = db.as_role("tapp");
    enter(&mut others, other);
    // A metric of another tenant is like none.
    let error = fails_with(record(&mut others, "photo", "1", None, "now"), "22023");
    assert_eq!(error.message(), "metric \"photo\" is not declared");
    fails_with(others.query("SELECT * FROM stormops.get_tenant_usage($1)", &[&abc]), "42501");
    fails_with(others.query("SELECT * FROM stormops.check_quota('photo', $1)", &[&abc]), "42501");
    fails_with(others.query("SELECT stormops.rollup_usage()", &[]), "42501");
    fails_with(db.as_role("op").query("SELECT stormops.record_usage('model_call', 1)", &[]), "42501");
    fails_with(record(&mut db.as_role("tapp"), "model_call", "1", None, "now"), "0B000");
    for action in ["suspend", "close"] {
        db.as_role("op").execute(&format!("SELECT stormops.{action}_tenant($1, 'test')"), &[&abc]).expect("a step");
        let plain = "INSERT INTO tenant_usage (metric_name, metric_value) VALUES ('model_call', 1)";
        fails_with(record(&mut session, "model_call", "1", Some("k"), "now"), "55000");
        fails_with(session.batch_execute(plain), "55000");
    }
}

#[test]
fn a_declaration_stands_for_ever_and_a_trial_needs_none() {
    let db = Db::new("declare");
    let mut abc = tenant(&db, "Abc").1;
    let mut declare = |arguments: &str| {
        abc.query_one(&format!("SELECT stormops.declare_metric({arguments})"), &[]).map(|row| row.get::<_, bool>(0))
    };
    assert!(declare("'crew', 'person', 'UNIQUE', 'user_id'").unwrap());
    assert!(!declare("'crew', 'person', 'UNIQUE', 'user_id'").unwrap(), "declared before");
    for (arguments, expected) in [
        ("'crew', 'person', 'UNIQUE', 'other'", "42710"),
        ("'crew', 'person'", "42710"),
        ("'Crew', 'person'", "22023"),
        ("'x', 'person', 'UNIQUE'", "22023"),
        ("'x', 'person', 'AVG'", "22023"),
        ("'x', 'person', 'SUM', NULL, '{a,b,c,d,e}'", "22023"),
        ("'x', 'person', 'SUM', NULL, '{\"a b\"}'", "22023"),
        ("NULL, 'person'", "22004"),
    ] {
        assert!(fails_with(declare(arguments), expected).hint().is_some(), "{arguments}");
    }
    // A tenant that came without the default metrics, by an import.
    db.superuser().batch_execute("DELETE FROM stormops.metrics WHERE metric_name = 'storage_mb'").expect("a gap");
    assert_eq!(record(&mut abc, "storage_mb", "1", None, "now").unwrap(), "recorded");
    let declared = "SELECT aggregation FROM metrics WHERE metric_name = 'storage_mb'";
    assert_eq!(get::<String>(&mut abc, declared, &[]), "MAX", "as it is everywhere");
    let trial = "SELECT tenant_id FROM stormops.provision_tenant('Trial', 'trial', 'a@b.example')";
    let trial: uuid::Uuid = get(&mut db.as_role("op"), trial, &[]);
    let mut trial = session(&db, trial);
    assert_eq!(record(&mut trial, "anything", "1", None, "now").unwrap(), "recorded");
    fails_with(record(&mut trial, "No name!", "1", None, "now"), "22023");
    let declared: String = get(&mut trial, "SELECT aggregation FROM metrics WHERE metric_name = 'anything'", &[]);
    assert_eq!(declared, "SUM");
}

#[test]
fn usage_goes_with_its_transaction_unless_the_work_has_a_savepoint() {
    let db = Db::new("rolled_back");
    let mut abc = tenant(&db, "Abc").1;
    abc.batch_execute("BEGIN; SELECT stormops.record_usage('model_call', 1, '{}', 'k'); ROLLBACK").unwrap();
    assert_eq!(events(&mut abc).0, 0);
    // Work that must be metered even when it fails.
    let work = "BEGIN; SAVEPOINT work; INSERT INTO storms (event_id, name) VALUES ('hail', 'Hail'); ROLLBACK TO work;
        SELECT stormops.record_usage('model_call', 1, '{\"failed\": true}', 'k'); COMMIT";
    abc.batch_execute(work).unwrap();
    assert_eq!(events(&mut abc).0, 1);
    assert_eq!(get::<i64>(&mut abc, "SELECT count(*) FROM storms", &[]), 0);
}

#[test]
fn the_platform_meters_its_runs_and_its_storage() {
    let db = Db::new("platform");
    let mut session = tenant(&db, "Abc").1;
    provision(&db, "Other");
    let hail = scored_storm(&mut session, "hail", 300);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    session.batch_execute("BEGIN").unwrap();
    session.execute("SELECT stormops.apply_policy($1, supersede => true)", &[&hail]).expect("a run");
    session.batch_execute("ROLLBACK").unwrap();
    let metered = "SELECT string_agg(metric_name || ' ' || metric_value, ', ' ORDER BY metric_name) FROM tenant_usage";
    assert_eq!(get::<String>(&mut session, metered, &[]), "policy_decision 300, policy_run 1");

    let mut operator = db.as_role("op");
    let measure = "SELECT storage_mb::text, recorded FROM stormops.measure_storage() ORDER BY storage_mb DESC";
    let first = operator.query(measure, &[]).expect("a measurement");
    assert_eq!(first.iter().map(|row| row.get(1)).collect::<Vec<bool>>(), [true, true]);
    let again = operator.query(measure, &[]).expect("another");
    assert_eq!(again.iter().map(|row| row.get(1)).collect::<Vec<bool>>(), [false, false], "once a day");
    let stored = "SELECT metric_value::text FROM tenant_usage WHERE metric_name = 'storage_mb'";
    assert_eq!(get::<String>(&mut session, stored, &[]), first[0].get::<_, String>(0));
    // All shares together are the size of the tables that have rows.
    let whole = "SELECT abs(s.bytes - t.bytes) FROM
        (SELECT sum(bytes) AS bytes FROM stormops_internal.storage_by_tenant()) AS s,
        (SELECT sum(pg_total_relation_size(c.oid)) AS bytes FROM pg_class AS c
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND relkind = 'r'
            AND (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM ' || c.oid::regclass, false, true, '')))[1]::text <> '0') AS t";
    let whole = format!("SELECT ({whole})::float8");
    assert!(get::<f64>(&mut db.superuser(), &whole, &[]) < 1.0);
}
