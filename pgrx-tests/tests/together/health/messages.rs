//! What is told of an alert: from its trigger to its end, by whom the checks themselves are watched, and what is kept.

use stormops_tests::fails_with;
use stormops_tests::receiver::{ACCEPTED, Receiver, SECRET, World, header};

#[test]
fn an_end_is_told_to_whoever_was_told_of_the_beginning() {
    let world = World::new("milder");
    let receiver = Receiver::new(&[ACCEPTED]);
    let mut admin = world.admin();
    let set = "SELECT stormops.set_alert_route('pager', 'pagerduty', $1, $2, 'critical')";
    admin.execute(set, &[&receiver.address, &SECRET]).expect("a route");
    world.alert("low_lift", "critical");
    world.alert("volume_drop", "info");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    // It grew milder than what the pager is for, and then ended.
    world.set("UPDATE stormops.alerts SET severity = 'warning'");
    assert_eq!(world.deliver(), [0, 0, 0, 0, 0]);
    world.set("UPDATE stormops.alerts SET resolved_at = now()");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    let told = receiver.bodies();
    assert_eq!(
        (told[0]["event_action"].as_str(), told[1]["event_action"].as_str()),
        (Some("trigger"), Some("resolve"))
    );
    assert_eq!(told[0]["dedup_key"], told[1]["dedup_key"]);
}

#[test]
fn who_was_told_of_a_warning_is_told_once_that_it_is_critical_now() {
    let world = World::new("worse");
    let receiver = Receiver::new(&[ACCEPTED]);
    let mut admin = world.admin();
    let set = "SELECT stormops.set_alert_route($1, $2, $3, $4, 'warning')";
    admin.execute(set, &[&"pager", &"pagerduty", &receiver.address, &SECRET]).expect("a route");
    world.alert("low_lift", "warning");
    world.alert("volume_drop", "critical");
    assert_eq!(world.deliver(), [2, 2, 0, 0, 0]);
    world.set("UPDATE stormops.alerts SET severity = 'critical'");
    assert_eq!((world.deliver(), world.deliver()), ([1, 1, 0, 0, 0], [0, 0, 0, 0, 0]), "told once");
    let told = receiver.bodies();
    let (first, worse) =
        (told.iter().find(|told| told["payload"]["class"] == "low_lift").expect("its trigger"), &told[2]);
    assert_eq!(
        (first["payload"]["severity"].as_str(), worse["payload"]["severity"].as_str()),
        (Some("warning"), Some("critical"))
    );
    assert_eq!((&worse["event_action"], &worse["dedup_key"]), (&"trigger".into(), &first["dedup_key"]));
    // Who was told of the worst already, or has it in hand, is not told again.
    world.set("UPDATE stormops.alerts SET severity = 'warning'");
    assert_eq!(world.deliver(), [0, 0, 0, 0, 0]);
    world.alert("no_control", "warning");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    world.set("UPDATE stormops.alerts SET severity = 'critical', acknowledged_at = now() WHERE issue = 'no_control'");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    assert_eq!(receiver.bodies()[4]["event_action"], "acknowledge");
}

#[test]
fn a_message_says_what_it_is_about() {
    let world = World::new("subject");
    let receiver = Receiver::new(&[ACCEPTED]);
    world.route("slack", &receiver.address);
    let mut admin = world.admin();
    admin
        .batch_execute(
            "SELECT stormops.expect('properties', 'freshness', max_age => '1 day', name => '<!channel> fresh');
            SELECT * FROM stormops.run_health_checks()",
        )
        .expect("a run");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    let told = &receiver.bodies()[0];
    assert_eq!(told["text"], ":warning: warning: ABC Roofing: stale data (properties)");
    let text = told["blocks"][0]["text"]["text"].as_str().expect("a text");
    assert!(text.contains("expectation: &lt;!channel&gt; fresh, max_age: 1 day, table: properties\n1. "), "{text}");
}

#[test]
fn deliveries_tell_when_the_checks_do_not_run() {
    let world = World::new("watchman");
    let receiver = Receiver::new(&[ACCEPTED]);
    let mut operator = world.db.as_role("op");
    let set = "SELECT stormops.set_alert_route('pager', 'pagerduty', $1, $2)";
    operator.execute(set, &[&receiver.address, &SECRET]).expect("a route");
    operator.batch_execute("SELECT stormops.note_schedule('health_checks', '*/15 * * * *')").expect("a schedule");
    assert_eq!(world.deliver(), [0, 0, 0, 0, 0]);
    world.set("UPDATE stormops_internal.scheduled_jobs SET scheduled_at = now() - interval '2 hours'");
    assert_eq!((world.deliver(), world.deliver()), ([1, 1, 0, 0, 0], [0, 0, 0, 0, 0]), "told once");
    let told = &receiver.bodies()[0];
    assert_eq!(told["payload"]["class"], "schedule_missed");
    assert_eq!(told["payload"]["custom_details"]["evidence"]["jobs"], "health_checks");
    // Two runs that find all well resolve it.
    for _ in 0..3 {
        operator.batch_execute("SELECT stormops.run_job('health_checks')").expect("a run");
    }
    let open = "SELECT count(*) FROM stormops.alerts() WHERE issue = 'schedule_missed'";
    assert_eq!(operator.query_one(open, &[]).expect("a count").get::<_, i64>(0), 0);
    world.set("UPDATE stormops_internal.scheduled_jobs SET outcome = 'failed', detail = 'XX000: no'");
    world.deliver();
    assert!(receiver.bodies().iter().any(|told| told["payload"]["class"] == "schedule_failed"));
}

#[test]
fn an_address_or_a_key_that_can_never_do_is_refused_when_it_is_set() {
    let world = World::new("literal");
    let mut admin = world.admin();
    for address in [
        "https://10.0.0.1/",
        "https://2852039166/",
        "https://[::ffff:192.168.0.1]/",
        "https://0xa000001/",
        "https://[::1]:8443/",
    ] {
        let set = format!("SELECT stormops.set_alert_route('r', 'webhook', '{address}', '{SECRET}')");
        assert!(fails_with(admin.batch_execute(&set), "22023").hint().is_some(), "{address}");
    }
    for (key, legal) in [("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true), ("whsec_this is not base64 at all!", false)]
    {
        let set = format!("SELECT stormops.set_alert_route('r', 'webhook', 'https://hooks.example/', '{key}')");
        if legal {
            admin.batch_execute(&set).expect("a key");
        } else {
            assert!(!fails_with(admin.batch_execute(&set), "22023").message().contains(key));
        }
    }
}

#[test]
fn messages_go_with_their_alerts() {
    let world = World::new("forget");
    let receiver = Receiver::new(&[ACCEPTED]);
    world.route("webhook", &receiver.address);
    for issue in ["open", "over", "recent"] {
        world.alert(issue, "critical");
    }
    assert_eq!(world.deliver(), [3, 3, 0, 0, 0]);
    world.set(
        "UPDATE stormops.alerts SET raised_at = now() - interval '1 year', last_seen_at = now() - interval '1 year',
            resolved_at = CASE issue WHEN 'over' THEN now() - interval '100 days' WHEN 'recent' THEN now() - interval '10 days' END;
        UPDATE stormops_internal.alert_deliveries SET created_at = now() - interval '1 year'",
    );
    world.db.as_role("op").batch_execute("SELECT stormops.forget_health()").expect("old news");
    let left = "SELECT string_agg(message ->> 'issue', ' ' ORDER BY message ->> 'issue') FROM stormops_internal.alert_deliveries";
    assert_eq!(world.db.superuser().query_one(left, &[]).expect("the rest").get::<_, String>(0), "open recent");
}

#[test]
fn an_operator_sees_that_messages_do_not_arrive() {
    let world = World::new("lost");
    let receiver = Receiver::new(&["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", ACCEPTED]);
    world.route("webhook", &receiver.address);
    world.alert("low_lift", "critical");
    let issue = || {
        let look =
            "SELECT (jsonb_path_query_first(issues, '$[*] ? (@.issue == \"alert_delivery\")') -> 'evidence')::text
            FROM stormops.get_system_health()";
        world.db.as_role("mon").query_one(look, &[]).expect("health").get::<_, Option<String>>(0)
    };
    assert_eq!(issue(), None);
    assert_eq!(world.deliver(), [1, 0, 0, 1, 0]);
    assert_eq!(issue().as_deref(), Some(r#"{"dead_messages": 1, "late_messages": 0}"#));
    world.admin().batch_execute("SELECT stormops.retry_deliveries()").expect("another try");
    world.set("UPDATE stormops_internal.alert_deliveries SET created_at = now() - interval '1 hour'");
    assert_eq!(issue().as_deref(), Some(r#"{"dead_messages": 0, "late_messages": 1}"#));
    assert_eq!((world.deliver(), issue()), ([0, 1, 0, 0, 0], None));
}

#[test]
fn what_was_sent_and_taken_back_is_sent_again_under_the_same_keys() {
    let world = World::new("again");
    let receiver = Receiver::new(&[ACCEPTED]);
    world.route("webhook", &receiver.address);
    world.alert("low_lift", "critical");
    // As if the server had stopped before the commit, of the call that made the message too.
    let mut operator = world.db.as_role("op");
    operator.batch_execute("BEGIN; SELECT stormops.deliver_alerts(); ROLLBACK").expect("a delivery");
    assert_eq!(world.deliver(), [1, 1, 0, 0, 0]);
    let ids: Vec<_> = receiver.requests().iter().map(|r| header(r, "webhook-id").map(str::to_owned)).collect();
    assert!(ids.len() == 2 && ids[0].is_some() && ids[0] == ids[1], "{ids:?}");
    let bodies = receiver.bodies();
    assert_eq!(bodies[0]["data"]["dedup_key"], bodies[1]["data"]["dedup_key"]);
}
