//! Alerts on their way out, to a receiver that answers as receivers do: late, with an error, with nonsense, not at all.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use stormops_tests::receiver::{ACCEPTED, Receiver, SECRET, World, header};
use stormops_tests::{Db, enter, fails_with, provision};
use uuid::Uuid;

#[test]
fn what_fails_is_tried_again_and_what_never_can_is_given_up() {
    for (answer, state, status, after) in [
        (ACCEPTED, "delivered", Some(202), None),
        ("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "pending", Some(500), Some(20.0..31.0)),
        ("HTTP/1.1 429 No\r\nretry-after: 300\r\ncontent-length: 0\r\n\r\n", "pending", Some(429), Some(290.0..301.0)),
        ("not HTTP at all\r\n", "pending", None, Some(20.0..31.0)),
        ("", "pending", None, Some(20.0..31.0)),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "dead", Some(404), None),
        (
            "HTTP/1.1 307 Over there\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
            "dead",
            Some(307),
            None,
        ),
    ] {
        let world = World::new("answers");
        let receiver = Receiver::new(&[answer, ACCEPTED]);
        world.route("webhook", &receiver.address);
        world.alert("uplift_drift", "critical");
        world.deliver();
        let (got_state, got_status, due) = world.message();
        assert_eq!((&*got_state, got_status), (state, status), "{answer}");
        if let Some(range) = after {
            assert!(range.contains(&due), "{answer}: due in {due} s");
            assert_eq!(world.deliver(), [0, 0, 0, 0, 1], "not before it is due");
            world.set("UPDATE stormops_internal.alert_deliveries SET next_attempt_at = now()");
            assert_eq!(world.deliver(), [0, 1, 0, 0, 0]);
            let ids: Vec<_> = receiver.requests().iter().map(|r| header(r, "webhook-id").map(str::to_owned)).collect();
            assert!(ids[0].is_some() && ids[0] == ids[1], "the same key for the same message: {ids:?}");
        }
        if state == "dead" {
            assert_eq!(world.deliver(), [0, 0, 0, 0, 0], "given up");
            let revived: i64 =
                world.admin().query_one("SELECT stormops.retry_deliveries()", &[]).expect("a count").get(0);
            assert_eq!((revived, world.deliver()), (1, [0, 1, 0, 0, 0]));
        }
    }
}

#[test]
fn ten_tries_and_then_no_more() {
    let world = World::new("tries");
    let receiver = Receiver::new(&["HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n"]);
    world.route("webhook", &receiver.address);
    world.alert("uplift_drift", "critical");
    for attempt in 1..=10 {
        let outcome = world.deliver();
        assert_eq!(outcome[2..4], if attempt < 10 { [1, 0] } else { [0, 1] }, "try {attempt}");
        let (_, _, due) = world.message();
        let longest = (30.0 * 2f64.powi(attempt - 1)).min(3600.0);
        assert!(attempt == 10 || (longest * 0.7..=longest).contains(&due), "try {attempt}: due in {due} s");
        world.set("UPDATE stormops_internal.alert_deliveries SET next_attempt_at = now()");
    }
    assert_eq!((world.deliver(), receiver.requests().len()), ([0, 0, 0, 0, 0], 10));
}

#[test]
fn a_receiver_that_is_silent_or_away_costs_the_timeout_and_no_more() {
    let world = World::new("silent");
    let receiver = Receiver::slow(&[ACCEPTED], Duration::from_secs(60));
    world.route("webhook", &receiver.address);
    world.alert("uplift_drift", "critical");
    assert_eq!(world.deliver_within("0.3 s"), [1, 0, 1, 0, 1]);
    // Nobody listens on a port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number");
    world.route("webhook", &format!("http://{port}/"));
    world.set("UPDATE stormops_internal.alert_deliveries SET next_attempt_at = now()");
    assert_eq!(world.deliver(), [0, 0, 1, 0, 1]);
    let detail = "SELECT last_detail FROM stormops.alert_deliveries()";
    let detail: String = world.admin().query_one(detail, &[]).expect("the message").get(0);
    assert!(detail.starts_with("no connection"), "{detail}");
}

#[test]
fn a_tenant_whose_receivers_are_slow_does_not_use_up_the_time_of_the_others() {
    let world = World::new("fair");
    let (silent, receiver) = (Receiver::slow(&[ACCEPTED], Duration::from_secs(60)), Receiver::new(&[ACCEPTED]));
    world.route("webhook", &silent.address);
    for issue in ["low_lift", "no_control", "uplift_drift"] {
        world.alert(issue, "critical");
    }
    world.set("SELECT stormops_internal.queue_alerts()");
    let other = provision(&world.db, "Other Roofing");
    let route = "SELECT stormops.set_alert_route('on call', 'webhook', $1, $2, tenant_id => $3)";
    world.db.as_role("op").execute(route, &[&receiver.address, &SECRET, &other]).expect("a route");
    world.set(&format!(
        "INSERT INTO stormops.alerts (tenant_id, alert_id, alert_key, issue, severity)
        VALUES ('{other}', stormops.new_id(), 'theirs', 'low_lift', 'critical')"
    ));
    // Theirs stand first in line: one is waited for, two are left for the next call.
    assert_eq!(world.deliver_within("3.2 s"), [1, 1, 1, 0, 3]);
}

#[test]
fn an_alert_is_told_once_then_acknowledged_then_resolved() {
    let world = World::new("life");
    let receiver = Receiver::new(&[ACCEPTED]);
    world.route("pagerduty", &receiver.address);
    let alert = world.alert("uplift_drift", "critical");
    assert_eq!((world.deliver(), world.deliver()), ([1, 1, 0, 0, 0], [0, 0, 0, 0, 0]));
    world.set("UPDATE stormops.alerts SET acknowledged_at = now(), acknowledged_by = 'x'");
    world.deliver();
    world.set("UPDATE stormops.alerts SET resolved_at = now()");
    world.deliver();
    let told = receiver.bodies();
    let events: Vec<_> = told.iter().map(|body| body["event_action"].as_str().unwrap_or_default()).collect();
    assert_eq!(events, ["trigger", "acknowledge", "resolve"]);
    assert!(told.iter().all(|body| body["dedup_key"] == alert.to_string() && body["routing_key"] == SECRET));
    assert_eq!(told[0]["payload"]["severity"], "critical");
    assert_eq!(told[0]["payload"]["summary"], "ABC Roofing: uplift drift");
    assert_eq!(told[0]["payload"]["custom_details"]["evidence"]["mean"], 0.41);
    let steps = &told[0]["payload"]["custom_details"]["runbook"];
    assert_eq!(steps[0], "Check storm characteristics", "{steps}");
}

#[test]
fn nobody_is_told_of_what_is_silenced_minor_over_or_another_tenants() {
    let world = World::new("quiet");
    let receiver = Receiver::new(&[ACCEPTED]);
    world.route("slack", &receiver.address);
    let other = provision(&world.db, "Other Roofing");
    world.alert("volume_drop", "info");
    let silenced = world.alert("low_lift", "critical");
    world.set(&format!(
        "UPDATE stormops.alerts SET silenced_until = now() + interval '1 h' WHERE alert_id = '{silenced}'"
    ));
    world.set(
        "INSERT INTO stormops.alerts (tenant_id, alert_id, alert_key, issue, severity, resolved_at)
        SELECT tenant_id, stormops.new_id(), 'over', 'low_lift', 'critical', now() FROM stormops.alerts LIMIT 1",
    );
    world.set(&format!(
        "INSERT INTO stormops.alerts (tenant_id, alert_id, alert_key, issue, severity)
        VALUES ('{other}', stormops.new_id(), 'theirs', 'low_lift', 'critical')"
    ));
    world.set(
        "INSERT INTO stormops_internal.platform_alerts (alert_id, alert_key, issue, severity)
        VALUES (stormops.new_id(), 'p', 'schedule_overdue', 'critical')",
    );
    assert_eq!(world.deliver(), [0, 0, 0, 0, 0]);
    world.set("UPDATE stormops.alerts SET silenced_until = now() - interval '1 s' WHERE silenced_until IS NOT NULL");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    assert!(receiver.bodies()[0]["text"].as_str().is_some_and(|text| text.contains("ABC Roofing: low lift")));
    // The platform's alerts have routes of the operator's own.
    let platform = "SELECT stormops.set_alert_route('pager', 'webhook', $1, $2)";
    world.db.as_role("op").execute(platform, &[&receiver.address, &SECRET]).expect("a route of the platform");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    assert!(world.admin().query("SELECT FROM stormops.alert_routes()", &[]).expect("routes").len() == 1);
}

#[test]
fn nothing_goes_to_an_address_that_is_not_public() {
    let db = Db::new("egress");
    let tenant = provision(&db, "ABC Roofing");
    let mut admin = db.as_role("tapp");
    enter(&mut admin, tenant);
    for address in [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "ftp://x.example/",
        "x",
        "",
        "https://a:b@x.example/",
    ] {
        let set = format!("SELECT stormops.set_alert_route('r', 'webhook', '{address}', '{SECRET}')");
        let error = fails_with(admin.batch_execute(&set), "22023");
        assert!(!error.message().contains(SECRET) && error.detail().is_none(), "{error:?}");
    }
    // A name is judged when it is looked up.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let set = format!("SELECT stormops.set_alert_route('r', 'webhook', 'https://localhost:{port}/', '{SECRET}')");
    admin.batch_execute(&set).expect("a name");
    let world = World { db, tenant };
    world.alert("low_lift", "critical");
    assert_eq!(world.deliver(), [1, 0, 0, 1, 0]);
    listener.set_nonblocking(true).expect("a socket");
    assert!(listener.accept().is_err(), "nobody knocked");
    // No role of ours can allow more.
    for role in ["tapp", "op", "app", "mon"] {
        let mut client = world.db.as_role(role);
        fails_with(client.batch_execute("SET stormops.egress_networks = '127.0.0.0/8'"), "42501");
        fails_with(
            client.query("SELECT stormops_internal.post_alert('slack', 'https://x.example/', '', '{}', 1)", &[]),
            "42501",
        );
    }
}

#[test]
fn secrets_are_for_nobody_and_routes_for_admins() {
    let world = World::new("secrets");
    world.route("webhook", "https://hooks.example/path-is-secret-too");
    for role in ["tapp", "op", "app", "mon", "nobody"] {
        let mut client = world.db.as_role(role);
        for table in ["alert_routes", "alert_deliveries"] {
            fails_with(client.query(&format!("SELECT * FROM stormops_internal.{table}"), &[]), "42501");
        }
    }
    let shown = world
        .db
        .psql("tapp", &format!("SET app.current_tenant = '{}'; SELECT * FROM stormops.alert_routes();", world.tenant));
    assert!(shown.contains("on call|webhook|hooks.example|warning|0|0|"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
    let mut viewer = world.admin();
    let add = "SELECT stormops.add_user('viewer@abc.example', 'viewer')";
    let user: Uuid = viewer.query_one(add, &[]).expect("a viewer").get(0);
    viewer.batch_execute(&format!("SET app.current_user_id = '{user}'")).expect("a trusted role");
    for call in [
        "set_alert_route('x', 'slack', 'https://hooks.example/')",
        "remove_alert_route('on call')",
        "alert_routes()",
        "alert_deliveries()",
        "retry_deliveries()",
    ] {
        fails_with(viewer.query(&format!("SELECT stormops.{call}"), &[]), "42501");
    }
    let mut admin = world.admin();
    fails_with(admin.batch_execute("SELECT stormops.remove_alert_route('no such')"), "P0002");
    for (call, code) in [
        ("NULL, 'slack'", "22004"),
        ("'x', 'mail'", "22023"),
        ("'x', 'webhook', 'https://x.example/', 'short'", "22023"),
        ("'x', 'pagerduty'", "22023"),
        ("'x', 'slack', 'https://x.example/', '', 'loud'", "22023"),
    ] {
        fails_with(admin.batch_execute(&format!("SELECT stormops.set_alert_route({call})")), code);
    }
    fails_with(
        world.db.as_role("op").batch_execute(
            "SELECT stormops.set_alert_route('x', 'slack', 'https://x.example/', tenant_id => gen_random_uuid())",
        ),
        "P0002",
    );
}

#[test]
fn two_at_once_share_the_work_and_no_tenant_waits() {
    let world = World::new("share");
    let receiver = Receiver::slow(&[ACCEPTED], Duration::from_millis(300));
    world.route("webhook", &receiver.address);
    for i in 0..6 {
        world.alert(&format!("issue_{i}"), "critical");
    }
    world.set("SELECT stormops_internal.queue_alerts()");
    let delivered: i64 = thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| world.deliver()[1]));
        thread::sleep(Duration::from_millis(200));
        let mut admin = world.admin();
        admin.batch_execute("SET lock_timeout = '150 ms'").expect("a setting");
        let set = "SELECT stormops.set_alert_route('on call', 'webhook', $1, $2)";
        admin.execute(set, &[&receiver.address, &SECRET]).expect("a change of the route, at once");
        both.into_iter().map(|one| one.join().expect("a delivery")).sum()
    });
    assert_eq!((delivered, receiver.requests().len()), (6, 6));
}
