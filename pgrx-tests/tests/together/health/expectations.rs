//! Expectations: what may be declared, what each rule finds, that only new rows are looked at, and whose they are.

use postgres::Client;
use stormops_tests::tenant::{acting_as, scored_storm, session, tenant};
use stormops_tests::{Db, fails_with, get, sqlstate};

/// What a run says: expectations judged, failed; rows judged, failing.
fn run(session: &mut Client) -> [i64; 4] {
    let row = session.query_one("SELECT * FROM stormops.run_health_checks()", &[]).expect("a run");
    ["judged", "failed", "rows_judged", "rows_failing"].map(|column| row.get(column))
}

fn status(session: &mut Client, name: &str) -> (String, Option<i64>, Option<i64>) {
    let last = "SELECT status, rows_judged, rows_failing FROM data_quality_metrics WHERE metric_name = $1 ORDER BY measured_at DESC LIMIT 1";
    let row = session.query_one(last, &[&name]).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    (row.get(0), row.get(1), row.get(2))
}

/// Lets time go by for all expectations, and a quarter of an hour more for the rows: they came well before the last run.
fn later(db: &Db, interval: &str) {
    let script = format!(
        "UPDATE stormops.expectations SET judged_at = judged_at - interval '{interval}';
         UPDATE stormops.properties SET created_at = created_at - interval '{interval}' - interval '15 minutes';
         UPDATE stormops.lead_uplift SET scored_at = scored_at - interval '{interval}' - interval '15 minutes'"
    );
    db.superuser().batch_execute(&script).expect("time goes by");
}

#[test]
fn each_rule_finds_its_fault_and_nothing_else() {
    let db = Db::new("rules");
    let (_, mut session) = tenant(&db, "Abc");
    scored_storm(&mut session, "hail", 100);
    let declare = "
        UPDATE properties SET address = CASE WHEN external_id::int > 2 THEN external_id END, year_built = 1900 + external_id::int;
        INSERT INTO properties (address, year_built) VALUES ('7', 2050), ('8', 1700);
        SELECT stormops.expect('properties', 'not_null', '{address}', threshold => 0.01, name => 'address');
        SELECT stormops.expect('properties', 'not_null', '{address}', threshold => 0.05, name => 'lenient');
        SELECT stormops.expect('properties', 'range', '{year_built}', 1800, 2024, threshold => 0, name => 'built');
        SELECT stormops.expect('properties', 'range', '{year_built}', lowest => 1600, name => 'wide');
        SELECT stormops.expect('properties', 'unique', '{address}', name => 'unique');
        SELECT stormops.expect('properties', 'unique', '{address,year_built}', name => 'unique pair');
        SELECT stormops.expect('lead_uplift', 'referential', '{property_id}', threshold => 0, name => 'parents');
        SELECT stormops.expect('properties', 'freshness', max_age => '1 hour', name => 'fresh');
        SELECT stormops.expect('customer_journeys', 'freshness', max_age => '1 hour', name => 'stale');
        SELECT stormops.expect('customer_journeys', 'row_count', name => 'volume')";
    session.batch_execute(declare).expect("expectations");
    assert_eq!(run(&mut session), [10, 4, 712, 8]);
    for (name, expected) in [
        ("address", ("failed", Some(102), Some(2))),
        ("lenient", ("ok", Some(102), Some(2))),
        ("built", ("failed", Some(102), Some(2))),
        ("wide", ("ok", Some(102), Some(0))),
        ("unique", ("failed", Some(102), Some(2))),
        ("unique pair", ("ok", Some(102), Some(0))),
        ("parents", ("ok", Some(100), Some(0))),
        ("fresh", ("ok", None, None)),
        ("stale", ("failed", None, None)),
        ("volume", ("warning", None, None)),
    ] {
        let (said, judged, failing) = status(&mut session, name);
        assert_eq!((&*said, judged, failing), expected, "{name}");
    }
    // The parents that are missing, past the foreign keys.
    let past = "SET session_replication_role = replica; UPDATE stormops.lead_uplift SET property_id = stormops.new_id()
        WHERE property_id IN (SELECT property_id FROM stormops.properties WHERE external_id::int <= 3); RESET session_replication_role";
    db.superuser().batch_execute(past).expect("orphans");
    session.execute("SELECT stormops.run_health_checks(complete => true)", &[]).expect("a run");
    assert_eq!(status(&mut session, "parents"), ("failed".into(), Some(100), Some(3)));
}

#[test]
fn a_run_looks_at_new_rows_only_and_what_is_not_due_waits() {
    let db = Db::new("watermark");
    let (_, mut session) = tenant(&db, "Abc");
    scored_storm(&mut session, "hail", 100);
    session
        .batch_execute("SELECT stormops.expect('properties', 'not_null', '{address}', every => '1 hour')")
        .expect("one");
    assert_eq!(run(&mut session), [1, 1, 100, 100]);
    assert_eq!(run(&mut session), [0; 4], "not due");
    later(&db, "2 hours");
    assert_eq!(run(&mut session), [1, 1, 0, 0], "due, and nothing new: as it was");
    later(&db, "1 hour");
    session.batch_execute("INSERT INTO properties (address) VALUES ('1'), (NULL), ('2')").expect("three");
    assert_eq!(run(&mut session), [1, 1, 3, 1]);
    // A row of a transaction that was open when the last run looked.
    later(&db, "1 hour");
    let before =
        "INSERT INTO properties (address, created_at) SELECT NULL, judged_at - interval '9 minutes' FROM expectations";
    session.batch_execute(before).expect("a late row");
    assert_eq!(run(&mut session), [1, 1, 1, 1], "ten minutes before it");
    assert_eq!(
        get::<i64>(&mut session, "SELECT rows_judged FROM stormops.run_health_checks(complete => true)", &[]),
        104
    );
}

#[test]
fn drift_of_scores_is_found_against_those_judged_first() {
    let db = Db::new("drift");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = scored_storm(&mut session, "hail", 300);
    session.batch_execute("SELECT stormops.expect('lead_uplift', 'drift', '{uplift}', name => 'drift')").expect("one");
    let mut step = |sql: &str| {
        later(&db, "1 day");
        session.execute(sql, &[]).expect("scores");
        run(&mut session);
        status(&mut session, "drift").0
    };
    let again = |shift: f64| {
        format!(
            "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift) SELECT storm_id, property_id, 'v1', uplift + {shift}
             FROM lead_uplift WHERE storm_id = '{hail}' AND scored_at < now() - interval '1 hour' ORDER BY scored_at, property_id LIMIT 300"
        )
    };
    assert_eq!(step("SELECT stormops.run_health_checks()"), "ok", "what comes first is the reference");
    assert_eq!(step(&again(0.0)), "ok");
    assert_eq!(step(&again(0.2)), "failed");
    assert_eq!(step(&again(0.0)), "ok");
}

#[test]
fn row_counts_are_compared_with_the_same_weekday() {
    let db = Db::new("weekday");
    let (abc, mut session) = tenant(&db, "Abc");
    session
        .batch_execute("SELECT stormops.expect('properties', 'row_count', threshold => 0.5, name => 'volume')")
        .expect("one");
    let days = "INSERT INTO stormops.row_counts (tenant_id, table_name, bucket, inserted, deleted)
        SELECT $1, 'properties', date_trunc('day', now(), 'UTC') - make_interval(days => 1 + d), $2, 0
        FROM unnest($3::int[]) AS d";
    let mut superuser = db.superuser();
    // A thousand on every other weekday says nothing of this one.
    superuser.execute(days, &[&abc, &1000_i64, &vec![1, 2, 3, 8, 15]]).expect("days");
    run(&mut session);
    assert_eq!(status(&mut session, "volume").0, "warning", "nothing to compare with");
    superuser.execute(days, &[&abc, &100_i64, &vec![7, 14, 21, 28]]).expect("the same weekday");
    for (yesterday, expected) in [(49, "failed"), (2, "ok")] {
        superuser.execute("UPDATE stormops.expectations SET judged_at = NULL", &[]).expect("due");
        let more =
            "INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted, happened_at)
            SELECT $1, 'properties', stormops.new_id(), $2, 0, date_trunc('day', now(), 'UTC') - interval '1 second'";
        superuser.execute(more, &[&abc, &i64::from(yesterday)]).expect("yesterday");
        run(&mut session);
        assert_eq!(status(&mut session, "volume").0, expected, "{yesterday} more of 100");
    }
}

#[test]
fn what_names_no_watched_table_or_fitting_column_is_refused_and_never_becomes_sql() {
    let db = Db::new("refused");
    let mut session = tenant(&db, "Abc").1;
    let evil = "address\" IS NULL); DROP TABLE stormops.storms; --";
    for (table, rule, columns, code) in [
        ("pg_class", "not_null", vec!["relname"], "42704"),
        ("tenants", "not_null", vec!["org_name"], "42704"),
        ("storms; DROP TABLE storms", "not_null", vec!["name"], "42704"),
        ("properties", "not_null", vec!["nope"], "42703"),
        ("properties", "not_null", vec![evil], "42703"),
        ("properties", "unique", vec!["address", evil], "42703"),
        ("properties", "not_null", vec!["ctid"], "42703"),
        ("properties", "range", vec!["address"], "22023"),
        ("properties", "referential", vec!["address"], "22023"),
        ("properties", "drift", vec!["longitude"], "22023"),
        ("properties", "not_null", vec![], "23514"),
        ("properties", "not_null", vec!["address", "status"], "23514"),
        ("properties", "freshness", vec![], "23514"),
        ("properties", "range", vec!["year_built"], "23514"),
        ("properties", "regex", vec!["address"], "23514"),
    ] {
        let call = session.execute("SELECT stormops.expect($1, $2, $3)", &[&table, &rule, &columns]);
        let plain = "INSERT INTO expectations (name, table_name, rule, columns) VALUES ('x', $1, $2, $3)";
        for refused in [call, session.execute(plain, &[&table, &rule, &columns])] {
            assert_eq!(sqlstate(&refused), code, "{table} {rule} {columns:?}");
        }
    }
    fails_with(session.execute("SELECT stormops.expect('properties', NULL)", &[]), "22004");
    for bad in ["threshold => 1.1", "threshold => 'NaN'", "severity => 'bad'", "every => '1 second'", "name => ''"] {
        fails_with(
            session.execute(&format!("SELECT stormops.expect('properties', 'not_null', '{{address}}', {bad})"), &[]),
            "23514",
        );
    }
    fails_with(session.execute("SELECT stormops.expect('properties', 'range', '{year_built}', 5, 3)", &[]), "23514");
    session.execute("SELECT stormops.expect('properties', 'range', '{year_built}', 3, 5)", &[]).expect("one");
    fails_with(session.execute("SELECT stormops.expect('properties', 'range', '{year_built}', 3, 5)", &[]), "23505");
    // A column that goes later takes its expectation out of the run, and not the run down.
    session.execute("SELECT stormops.expect('properties', 'not_null', '{address}')", &[]).expect("another");
    db.superuser()
        .batch_execute("ALTER TABLE stormops.properties DROP COLUMN year_built CASCADE")
        .expect("a superuser");
    assert_eq!(run(&mut session)[0], 1);
}

#[test]
fn each_judges_its_own_and_the_operator_all_active_tenants_at_once() {
    let db = Db::new("whose");
    let (abc, mut first) = tenant(&db, "Abc");
    let (best, mut second) = tenant(&db, "Best");
    scored_storm(&mut first, "hail", 10);
    scored_storm(&mut second, "hail", 20);
    second.batch_execute("UPDATE properties SET address = external_id").expect("addresses");
    let mut operator = db.as_role("op");
    assert_eq!(get::<i64>(&mut operator, "SELECT stormops.expect_defaults()", &[]), 12);
    assert_eq!(get::<i64>(&mut operator, "SELECT stormops.expect_defaults()", &[]), 0);
    let named = "SELECT stormops.expect('storms', 'not_null', '{name}', tenant_id => $1)";
    operator.execute(named, &[&best]).expect("for a tenant");
    fails_with(operator.execute(named, &[&uuid::Uuid::nil()]), "P0002");
    fails_with(first.execute(named, &[&best]), "42501");
    fails_with(operator.execute("SELECT stormops.expect('storms', 'not_null', '{name}')", &[]), "0B000");

    let judged = |session: &mut Client| run(session)[0];
    assert_eq!(judged(&mut first), 6, "its own");
    assert_eq!(second.query("SELECT FROM data_quality_metrics", &[]).expect("none").len(), 0);
    assert_eq!(judged(&mut operator), 7, "the other's");
    assert_eq!(status(&mut first, "properties have an address"), ("failed".into(), Some(10), Some(10)));
    assert_eq!(status(&mut second, "properties have an address"), ("ok".into(), Some(20), Some(0)));
    operator.execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    later(&db, "1 day");
    assert_eq!(judged(&mut operator), 7, "none of the suspended");
    fails_with(session(&db, abc).query("SELECT stormops.run_health_checks()", &[]), "55000");
    for (role, may) in [("viewer", false), ("field_user", false), ("crew_chief", true)] {
        let ran = acting_as(&db, best, role).execute("SELECT stormops.run_health_checks()", &[]);
        assert_eq!(sqlstate(&ran), if may { "00000" } else { "42501" }, "{role}");
    }
    for (role, code) in [("tapp", "0B000"), ("app", "0B000"), ("mon", "42501"), ("nobody", "42501")] {
        fails_with(db.as_role(role).query("SELECT stormops.run_health_checks()", &[]), code);
    }
}

#[test]
fn each_judgement_is_metered_for_its_tenant() {
    let db = Db::new("metered");
    let (abc, mut session) = tenant(&db, "Abc");
    let (other, _) = tenant(&db, "Other");
    let mut operator = db.as_role("op");
    operator.execute("SELECT stormops.expect_defaults()", &[]).expect("six each");
    assert_eq!(run(&mut session)[0], 6);
    assert_eq!(run(&mut operator)[0], 6, "the other's");
    let metered = "SELECT sum(metric_value)::bigint FROM stormops.tenant_usage WHERE tenant_id = $1 AND metric_name = 'health_check'";
    for tenant in [abc, other] {
        assert_eq!(get::<i64>(&mut db.superuser(), metered, &[&tenant]), 6);
    }
    operator.execute("SELECT stormops.set_quota($1, 'health_check', 6)", &[&abc]).expect("a hard quota");
    later(&db, "1 day");
    fails_with(session.query("SELECT stormops.run_health_checks()", &[]), "53400");
    assert_eq!(run(&mut operator)[0], 12, "nobody else is held up");
    assert_eq!(get::<i64>(&mut db.superuser(), metered, &[&abc]), 12);
}

#[test]
fn a_clock_that_was_ahead_and_is_put_back_silences_nothing() {
    let db = Db::new("put_back");
    let (_, mut session) = tenant(&db, "Abc");
    let mut operator = db.as_role("op");
    scored_storm(&mut session, "hail", 50);
    session
        .batch_execute(
            "SELECT stormops.expect('properties', 'not_null', '{address}', name => 'address');
            SELECT stormops.expect('properties', 'freshness', max_age => '1 hour', name => 'fresh');
            UPDATE properties SET address = external_id",
        )
        .expect("expectations");
    assert_eq!(run(&mut operator), [2, 0, 50, 0]);
    // What a clock leaves behind that was a day ahead when it was put back; and an hour goes by.
    db.superuser()
        .batch_execute(
            "UPDATE stormops.expectations SET judged_at = judged_at + interval '1 day';
            UPDATE stormops_internal.health_progress SET reached_at = reached_at + interval '1 day';
            UPDATE stormops.data_quality_metrics SET measured_at = measured_at - interval '2 hours';
            UPDATE stormops.properties SET created_at = created_at - interval '3 hours'",
        )
        .expect("a clock");
    session.batch_execute("INSERT INTO properties (external_id) VALUES ('a'), ('b'), ('c')").expect("bad rows");
    scored_storm(&mut session, "wind", 50); // out of the band, as the first
    let named = "SELECT count(*) FROM stormops.get_system_health(), jsonb_array_elements(issues) AS i WHERE i ->> 'issue' = 'clock_put_back'";
    assert_eq!(get::<i64>(&mut operator, named, &[]), 1);
    assert_eq!(run(&mut operator), [2, 1, 3, 3], "due, and judged from the last time that was not ahead");
    let open = "SELECT string_agg(issue, ' ' ORDER BY issue) FROM stormops.alerts()";
    assert_eq!(
        get::<String>(&mut operator, open, &[]),
        "clock_put_back data_quality missing_values uplift_drift uplift_drift"
    );
    assert_eq!(get::<i64>(&mut operator, named, &[]), 0, "put right by the run");
    // A clock that went ahead without leaving a measurement: all is judged anew.
    db.superuser()
        .batch_execute("DELETE FROM stormops.data_quality_metrics; UPDATE stormops.expectations SET judged_at = judged_at + interval '1 day'")
        .expect("a clock");
    assert_eq!(run(&mut operator), [2, 1, 53, 3]);
    // Rows that came while it was ahead keep nothing fresh.
    db.superuser()
        .batch_execute(
            "UPDATE stormops.row_counts SET last_at = last_at + interval '1 day';
            UPDATE stormops.expectations SET judged_at = judged_at - interval '1 day'",
        )
        .expect("a clock");
    run(&mut operator);
    assert_eq!(status(&mut session, "fresh").0, "failed");
}
