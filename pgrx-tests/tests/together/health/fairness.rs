//! One run judges all tenants, and one delivery tells all of them: none can stop it, fill it or hold it up for the others.

use std::thread;
use std::time::Duration;

use postgres::Client;
use stormops_tests::receiver::{ACCEPTED, Receiver, SECRET, World};
use stormops_tests::{Db, enter, fails_with, provision};
use uuid::Uuid;

fn run(db: &Db) -> [i64; 4] {
    let row = db.as_role("op").query_one("SELECT * FROM stormops.run_health_checks()", &[]).expect("a run");
    ["tenants", "judged", "failed", "alerts_raised"].map(|column| row.get(column))
}

fn admin(db: &Db, tenant: Uuid) -> Client {
    let mut client = db.as_role("tapp");
    enter(&mut client, tenant);
    client
}

#[test]
fn no_tenant_can_stop_the_run_for_the_others() {
    let db = Db::new("stop");
    let (fair, hostile) = (provision(&db, "Fair"), provision(&db, "Hostile"));
    admin(&db, fair)
        .batch_execute("SELECT stormops.expect('customer_journeys', 'freshness', max_age => '1 hour')")
        .expect("an expectation");
    let mut hostile = admin(&db, hostile);
    hostile
        .batch_execute(
            "INSERT INTO stormops.properties (external_id, address, roof_year) VALUES ('a', 'b', 2000);
            -- Intervals that compare as ten days and lead out of the calendar; a number that no float holds; a sum past any bigint.
            SELECT stormops.expect('properties', 'freshness', max_age => '3000000 mons -89999990 days', name => 'age');
            SELECT stormops.expect('properties', 'not_null', '{address}', every => '3000000 mons -89999990 days', name => 'every');
            SELECT stormops.expect('properties', 'range', '{roof_year}', lowest => 1e-400, highest => 1e15, name => 'tiny');
            INSERT INTO stormops.data_quality_metrics (table_name, metric_name, metric_value, status, rows_judged, rows_failing)
            SELECT 'properties', 'mine', 0, 'ok', 9e18::bigint, 9e18::bigint FROM generate_series(1, 3);
            -- More rules about one table than a statement has columns for.
            INSERT INTO stormops.expectations (name, table_name, rule, columns, lowest)
            SELECT 'range ' || n, 'properties', 'range', '{roof_year}', n FROM generate_series(1, 497) AS n",
        )
        .expect("legal, each of it");
    let one_more = "SELECT stormops.expect('properties', 'not_null', '{address}', name => 'one more')";
    assert!(fails_with(hostile.batch_execute(one_more), "54000").hint().is_some());
    assert_eq!(run(&db)[..3], [2, 501, 1], "one of them is stale, the other's rows hold");
    db.superuser()
        .batch_execute("UPDATE stormops.expectations SET judged_at = judged_at - interval '1 day'")
        .expect("a day goes by");
    // `every` is ten days for one of them.
    assert_eq!(run(&db)[..3], [2, 500, 1]);
}

#[test]
fn what_is_due_within_a_minute_is_due() {
    let db = Db::new("clock");
    admin(&db, provision(&db, "Abc"))
        .batch_execute(
            "SELECT stormops.expect('properties', 'not_null', '{address}');
            SELECT stormops.expect('storms', 'not_null', '{name}', every => '1 minute')",
        )
        .expect("expectations");
    assert_eq!(run(&db)[1], 2);
    // A scheduler's minute strikes a little sooner than last time.
    for (passed, due) in [("14 minutes 1 second", 2), ("13 minutes", 1), ("30 seconds", 0), ("55 seconds", 1)] {
        db.superuser()
            .batch_execute(&format!("UPDATE stormops.expectations SET judged_at = now() - interval '{passed}'"))
            .expect("time goes by");
        assert_eq!(run(&db)[1], due, "{passed}");
    }
}

#[test]
fn an_illegal_expectation_is_refused_with_a_hint() {
    let db = Db::new("hints");
    let mut admin = admin(&db, provision(&db, "Abc"));
    admin.batch_execute("SELECT stormops.expect('storms', 'row_count', name => 'taken')").expect("an expectation");
    for (arguments, code) in [
        ("'properties', 'bogus'", "23514"),
        ("'properties', 'range', '{roof_year}', lowest => 'NaN'", "23514"),
        ("'properties', 'not_null', '{address,roof_year}'", "23514"),
        ("'properties', 'not_null', '{address}', threshold => 'NaN'", "23514"),
        ("'properties', 'not_null', '{address}', severity => 'loud'", "23514"),
        ("'properties', 'not_null', '{address}', every => '1 second'", "23514"),
        ("'properties', 'freshness', max_age => '-1 day'", "23514"),
        ("'properties', 'row_count', name => 'taken'", "23505"),
        ("'properties', 'range', '{nope}', 1", "42703"),
        ("'pg_class', 'row_count'", "42704"),
    ] {
        let error = fails_with(admin.batch_execute(&format!("SELECT stormops.expect({arguments})")), code);
        assert!(error.hint().is_some(), "{arguments}: {error:?}");
    }
    let left: i64 = admin.query_one("SELECT count(*) FROM stormops.expectations", &[]).expect("a count").get(0);
    assert_eq!(left, 1, "nothing was written");
}

#[test]
fn who_comes_while_another_delivers_does_not_wait() {
    let world = World::new("wait");
    let receiver = Receiver::slow(&[ACCEPTED], Duration::from_millis(500));
    world.route("webhook", &receiver.address);
    world.alert("issue_0", "critical");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    for i in 1..6 {
        world.alert(&format!("issue_{i}"), "critical");
    }
    thread::scope(|scope| {
        let first = scope.spawn(|| world.deliver());
        thread::sleep(Duration::from_millis(300));
        let mut second = world.db.as_role("op");
        second.batch_execute("SET lock_timeout = '200 ms'").expect("a setting");
        let queued: i64 =
            second.query_one("SELECT queued FROM stormops.deliver_alerts()", &[]).expect("no wait").get(0);
        assert_eq!((queued, first.join().expect("a delivery")), (0, [5, 5, 0, 0, 0]));
    });
    assert_eq!(receiver.requests().len(), 6, "each once");
}

#[test]
fn a_tenants_routes_are_few_and_its_silent_ones_go_last() {
    let world = World::new("routes");
    let silent = Receiver::slow(&[ACCEPTED], Duration::from_secs(30));
    let mut admin = world.admin();
    let set = "SELECT stormops.set_alert_route($1, 'webhook', $2, $3)";
    for i in 0..20 {
        admin.execute(set, &[&format!("route {i}"), &silent.address, &SECRET]).expect("a route");
    }
    assert!(fails_with(admin.execute(set, &[&"one more", &silent.address, &SECRET]), "54000").hint().is_some());
    admin.execute(set, &[&"route 0", &silent.address, &SECRET]).expect("a change of one");
    world.alert("low_lift", "critical");
    world.set(
        "SELECT stormops_internal.queue_alerts();
        UPDATE stormops_internal.alert_deliveries SET attempts = 1, next_attempt_at = now() - interval '1 day'",
    );
    let other = World { tenant: provision(&world.db, "Other"), db: world.db };
    let receiver = Receiver::new(&[ACCEPTED]);
    other.route("webhook", &receiver.address);
    other.alert("low_lift", "critical");
    let deliver = "SELECT * FROM stormops.deliver_alerts(most => 1, timeout => '0.2 s')";
    let row = other.db.as_role("op").query_one(deliver, &[]).expect("a delivery");
    assert_eq!((row.get::<_, i64>("queued"), row.get::<_, i64>("delivered")), (1, 1));
}
