//! Alerts to receivers that do not answer: who is heard meanwhile, what is left behind, and whose turn it is.

use std::thread;
use std::time::{Duration, Instant};

use stormops_tests::receiver::{ACCEPTED, Receiver, SECRET, World};
use stormops_tests::{fails_with, get, provision};
use uuid::Uuid;

/// Answers nobody within a test.
fn silent() -> Receiver {
    Receiver::slow(&[ACCEPTED], Duration::from_secs(60))
}

/// Another tenant, with a route and so many alerts that are due.
fn neighbour(world: &World, name: &str, receiver: &Receiver, alerts: i32) -> Uuid {
    let tenant = provision(&world.db, name);
    let route = "SELECT stormops.set_alert_route('on call', 'webhook', $1, $2, tenant_id => $3)";
    world.db.as_role("op").execute(route, &[&receiver.address, &SECRET, &tenant]).expect("a route");
    world.set(&format!(
        "INSERT INTO stormops.alerts (tenant_id, alert_id, alert_key, issue, severity)
        SELECT '{tenant}', stormops.new_id(), 'alert ' || n, 'low_lift', 'critical' FROM generate_series(1, {alerts}) AS n;
        SELECT stormops_internal.queue_alerts()"
    ));
    tenant
}

#[test]
fn a_cancel_and_the_end_of_a_session_are_heard_while_a_receiver_is_silent() {
    let world = World::new("deaf");
    let receiver = silent();
    world.route("webhook", &receiver.address);
    world.alert("uplift_drift", "critical");
    let deliver = "SELECT FROM stormops.deliver_alerts(timeout => '30 s')";
    let start = Instant::now();
    let mut op = world.db.as_role("op");
    op.batch_execute("SET statement_timeout = '300ms'").expect("a setting");
    fails_with(op.batch_execute(deliver), "57014");
    let mut waiting = world.db.as_role("op");
    let ended = thread::scope(|scope| {
        let waits = scope.spawn(move || waiting.batch_execute(deliver));
        let end = "SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity AS a
            WHERE a.datname = current_database() AND a.wait_event_type = 'Extension'";
        let mut superuser = world.db.superuser();
        while get::<i64>(&mut superuser, end, &[]) == 0 {
            assert!(!waits.is_finished() && start.elapsed() < Duration::from_secs(20), "it waits for the receiver");
            thread::sleep(Duration::from_millis(10));
        }
        waits.join().expect("an end")
    });
    fails_with(ended, "57P01");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(world.deliver_within("0.2 s"), [1, 0, 1, 0, 1], "nothing of it was kept");
}

#[test]
fn what_a_session_gave_up_is_bounded_and_costs_no_message_a_try() {
    let world = World::new("left");
    let receiver = silent();
    world.route("webhook", &receiver.address);
    world.alert("uplift_drift", "critical");
    let mut superuser = world.db.superuser();
    superuser
        .batch_execute("SELECT stormops_internal.queue_alerts(); SET statement_timeout = '60ms'")
        .expect("a message");
    let post = "SELECT p.outcome FROM stormops_internal.alert_deliveries AS d
        JOIN stormops_internal.alert_routes AS r ON r.route_id = d.route_id
        CROSS JOIN stormops_internal.post_alert(r.kind, r.address, r.secret,
            d.message || jsonb_build_object('message_id', d.delivery_id), 30000) AS p";
    let given_up = (0..40).take_while(|_| superuser.query_one(post, &[]).is_err()).count();
    assert_eq!(given_up, 16);
    assert_eq!(get::<String>(&mut superuser, post, &[]), "busy");
    superuser.batch_execute("SET statement_timeout = 0").expect("a setting");
    let deliver =
        "SELECT array_to_string(array[queued, delivered, retried, dead, pending], ' ') FROM stormops.deliver_alerts()";
    assert_eq!(get::<String>(&mut superuser, deliver, &[]), "0 0 0 0 1");
    let tries = "SELECT attempts FROM stormops_internal.alert_deliveries";
    assert_eq!(get::<i32>(&mut superuser, tries, &[]), 0);
    // Another session has all its places.
    assert_eq!(world.deliver_within("0.2 s"), [0, 0, 1, 0, 1]);
}

#[test]
fn every_tenant_has_its_turn_however_much_another_has_to_say() {
    let world = World::new("turns");
    let (away, there) = (silent(), Receiver::new(&[ACCEPTED]));
    neighbour(&world, "First Silent", &away, 3);
    neighbour(&world, "Second Silent", &away, 3);
    let deliver = |most: i32| -> [i64; 5] {
        let deliver = "SELECT * FROM stormops.deliver_alerts($1, '0.1 s')";
        let row = world.db.as_role("op").query_one(deliver, &[&most]).expect("a delivery");
        std::array::from_fn(|i| row.get(i))
    };
    assert_eq!(deliver(2), [0, 0, 2, 0, 6]);
    // Each of the two had one turn, and has news that was never tried and is older than that of the third.
    neighbour(&world, "Third", &there, 1);
    assert_eq!(deliver(1), [0, 1, 0, 0, 6]);
    let tried = "SELECT array_agg(n ORDER BY n) FROM (
        SELECT count(*) FILTER (WHERE attempts > 0) AS n FROM stormops_internal.alert_deliveries GROUP BY for_tenant) AS t";
    assert_eq!(get::<Vec<i64>>(&mut world.db.superuser(), tried, &[]), [1, 1, 1]);
}

/// Of a clock that was a day ahead and has been put back.
#[test]
fn a_clock_that_was_ahead_keeps_no_message_back() {
    let world = World::new("ahead");
    let receiver = Receiver::new(&[ACCEPTED]);
    world.route("webhook", &receiver.address);
    world.alert("uplift_drift", "critical");
    world.set(
        "SELECT stormops_internal.queue_alerts();
        UPDATE stormops_internal.alert_deliveries
        SET attempts = 1, last_attempt_at = now() + interval '1 day', next_attempt_at = now() + interval '1 day 30 s'",
    );
    assert_eq!(world.deliver(), [0, 1, 0, 0, 0]);
    world.alert("low_lift", "critical");
    world.set(
        "SELECT stormops_internal.queue_alerts();
        UPDATE stormops_internal.alert_deliveries SET created_at = now() + interval '1 day', next_attempt_at = now() + interval '1 day'
        WHERE state = 'pending'",
    );
    assert_eq!(world.deliver(), [0, 1, 0, 0, 0]);
}
