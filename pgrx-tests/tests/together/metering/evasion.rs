//! How a tenant might pay less than it uses, or store more than an event may carry.

use postgres::types::Json;
use serde_json::json;
use stormops_tests::tenant::tenant;
use stormops_tests::{Db, fails_with, get};

#[test]
fn nobody_takes_the_key_of_what_the_platform_will_measure() {
    let db = Db::new("keys");
    let mut abc = tenant(&db, "Abc").1;
    let key: String =
        get(&mut abc, "SELECT 'stormops:storage_mb:' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')", &[]);
    let call = "SELECT stormops.record_usage($1, 0, idempotency_key => $2)";
    for metric in ["storage_mb", "api_call"] {
        assert!(fails_with(abc.execute(call, &[&metric, &key]), "22023").hint().is_some());
        let batch = json!([{"metric_name": metric, "value": 0, "idempotency_key": key}]);
        fails_with(abc.execute("SELECT stormops.record_usages($1)", &[&Json(batch)]), "22023");
        let insert = "INSERT INTO tenant_usage (metric_name, metric_value, idempotency_key) VALUES ($1, 0, $2)";
        fails_with(abc.execute(insert, &[&metric, &key]), "22023");
    }
    // Any other it may use.
    let day = key.strip_prefix("stormops:").expect("the platform's prefix");
    abc.execute(call, &[&"api_call", &day]).expect("a key of its own");
    let measure = "SELECT bool_and(recorded) FROM stormops.measure_storage()";
    let mut operator = db.as_role("op");
    assert_eq!([(); 2].map(|()| get::<bool>(&mut operator, measure, &[])), [true, false], "metered, once a day");
}

#[test]
fn dimensions_are_as_large_as_they_read() {
    let db = Db::new("compressed");
    let mut abc = tenant(&db, "Abc").1;
    // Stored, this takes 7 kB.
    db.superuser()
        .batch_execute(
            "CREATE TABLE public.labels AS SELECT jsonb_build_object('x', repeat('x', 600000)) AS labels;
            GRANT SELECT ON public.labels TO PUBLIC",
        )
        .expect("a table");
    for (statement, expected) in [
        ("SELECT stormops.record_usage('model_call', 1, labels) FROM public.labels", "22023"),
        (
            "INSERT INTO tenant_usage (metric_name, metric_value, dimensions) SELECT 'model_call', 1, labels FROM public.labels",
            "23514",
        ),
    ] {
        fails_with(abc.batch_execute(statement), expected);
    }
}

#[test]
fn of_a_key_twice_in_a_batch_the_first_counts() {
    let db = Db::new("first");
    let mut abc = tenant(&db, "Abc").1;
    let event =
        |key: &str, at: &str| json!({"metric_name": "model_call", "value": 1, "idempotency_key": key, "at": at});
    for n in 0..20 {
        let key = format!("k{n}");
        let batch = json!([event("z", "2024-01-01Z"), event(&key, "2024-01-02Z"), event(&key, "2024-02-02Z")]);
        abc.execute("SELECT stormops.record_usages($1)", &[&Json(batch)]).expect("a batch");
    }
    let january = "SELECT count(*) FROM tenant_usage WHERE recorded_at < '2024-02-01Z'";
    assert_eq!(get::<i64>(&mut abc, january, &[]), 21);
}

#[test]
fn a_tier_that_a_tenant_comes_back_to_counts_what_it_used_meanwhile() {
    let db = Db::new("back");
    let (abc, mut session) = tenant(&db, "Abc");
    let mut operator = db.as_role("op");
    operator.batch_execute("SELECT stormops.set_tier_quota('standard', 'api_call', 5)").expect("a quota");
    let mut record = |value: i32| session.execute("SELECT stormops.record_usage('api_call', $1::int)", &[&value]);
    let mut tier = |tier: &str| {
        operator.execute("SELECT stormops.set_tier($1, $2)", &[&abc, &tier]).expect("a tier");
    };
    record(3).expect("within the quota");
    tier("enterprise");
    record(10).expect("no quota");
    tier("standard");
    fails_with(record(1), "53400");
}
