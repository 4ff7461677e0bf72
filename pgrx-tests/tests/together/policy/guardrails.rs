//! Whom guardrails exclude: what was said, done and assigned, and when it is quiet.

use postgres::Client;
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

pub(super) const SOME: i32 = 60;

/// Properties by their numbers that a reason excludes from what moderate would decide now.
#[track_caller]
pub(super) fn excluded(session: &mut Client, storm: Uuid, reason: &str) -> Vec<i32> {
    let numbers = "SELECT coalesce(array_agg(p.external_id::int ORDER BY p.external_id::int), '{}')
        FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate')) AS d JOIN properties AS p USING (property_id)
        WHERE d.decision = 'exclude' AND d.propensity = 1 AND d.reason = $2";
    get(session, numbers, &[&storm, &reason])
}

#[track_caller]
pub(super) fn treated(session: &mut Client, storm: Uuid) -> Vec<i32> {
    let numbers = "SELECT array_agg(p.external_id::int ORDER BY p.external_id::int)
        FROM policy_decisions AS d JOIN properties AS p USING (property_id) WHERE d.storm_id = $1 AND d.decision = 'treat'";
    get(session, numbers, &[&storm])
}

/// A tenant without guardrails and without chance, and two storms over the same properties.
pub(super) fn plain(db: &Db, name: &str) -> (Client, [Uuid; 2]) {
    let mut session = tenant(db, name).1;
    session
        .batch_execute("DELETE FROM guardrails; UPDATE policy_modes SET exploration = 0, holdout = 0")
        .expect("an admin");
    let storms = ["hail", "wind"].map(|event| scored_storm(&mut session, event, SOME));
    (session, storms)
}

fn touch(session: &mut Client, numbers: &str, channel: &str, age: &str, times: i32) {
    let insert = format!(
        "INSERT INTO customer_journeys (property_id, touch, channel, occurred_at)
         SELECT property_id, 'call', '{channel}', now() - interval '{age}'
         FROM properties, generate_series(1, {times}) WHERE external_id::int IN ({numbers})"
    );
    session.batch_execute(&insert).expect("touches");
}

pub(super) fn set(session: &mut Client, columns: &str, values: &str) {
    session
        .batch_execute(&format!("INSERT INTO guardrails (name, {columns}) VALUES ('one', {values})"))
        .expect("a guardrail");
}

#[test]
fn contacts_are_capped_by_property_channel_and_window_over_all_storms() {
    let db = Db::new("caps");
    let (mut session, [hail, wind]) = plain(&db, "Abc");
    touch(&mut session, "1, 2", "phone", "10 days", 2);
    touch(&mut session, "3", "phone", "29 days 23 hours", 2);
    touch(&mut session, "4", "phone", "31 days", 9);
    touch(&mut session, "5", "door", "1 day", 2);
    touch(&mut session, "6", "phone", "1 day", 1);
    session
        .batch_execute("UPDATE customer_journeys SET direction = 'inbound' WHERE property_id = md5('property 2')::uuid")
        .expect("calls that came in");
    set(&mut session, "kind, channel, most, days", "'frequency_cap', 'phone', 2, 30");
    assert_eq!(excluded(&mut session, hail, "frequency_cap"), [1, 3]);
    session.batch_execute("UPDATE guardrails SET channel = NULL").expect("an admin");
    assert_eq!(excluded(&mut session, hail, "frequency_cap"), [1, 3, 5]);
    // What another storm's run decided and nobody has done yet is a contact too; once it is done it is one, not two.
    session.batch_execute("UPDATE guardrails SET most = 1, channel = 'e-mail'").expect("an admin");
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let first = treated(&mut session, hail);
    assert!(first.len() > 5);
    assert_eq!(excluded(&mut session, wind, "frequency_cap"), first);
    assert!(excluded(&mut session, hail, "frequency_cap").is_empty(), "not against itself");
    session.batch_execute("UPDATE guardrails SET most = 2").expect("an admin");
    let done = "INSERT INTO customer_journeys (storm_id, property_id, touch, channel)
        SELECT storm_id, property_id, 'letter', 'e-mail' FROM policy_decisions WHERE decision = 'treat'";
    session.batch_execute(done).expect("touches");
    assert!(excluded(&mut session, wind, "frequency_cap").is_empty());
    session.batch_execute("UPDATE guardrails SET enabled = false, most = 0").expect("an admin");
    assert!(excluded(&mut session, wind, "frequency_cap").is_empty());
    session.batch_execute("UPDATE guardrails SET enabled = true").expect("an admin");
    assert_eq!(excluded(&mut session, wind, "frequency_cap").len(), SOME as usize, "0 is nobody");
}

#[test]
fn who_refused_or_must_not_be_contacted_is_not_treated() {
    let db = Db::new("consents");
    let (mut session, [hail, _]) = plain(&db, "Abc");
    let say = "INSERT INTO contact_consents (property_id, channel, consented, recorded_at)
        SELECT md5('property ' || i)::uuid, c, said, now() - interval '1 day' * age FROM (VALUES
            (1, 'phone', false, 1), (2, 'phone', true, 1), (3, 'phone', false, 2), (3, 'phone', true, 1),
            (4, 'phone', true, 2), (4, 'phone', false, 1), (5, 'phone', false, 1), (5, 'door', true, 1), -- and one of tomorrow:
            (1, 'phone', true, -1)) AS v (i, c, said, age)";
    session.batch_execute(say).expect("consents");
    session.batch_execute("UPDATE properties SET do_not_contact = true WHERE external_id = '4'").expect("a mark");
    assert!(excluded(&mut session, hail, "consent").is_empty(), "no guardrail asks");
    set(&mut session, "kind", "'consent'");
    assert_eq!(excluded(&mut session, hail, "consent"), [1]);
    assert_eq!(excluded(&mut session, hail, "do_not_contact"), [4]);
    session.batch_execute("UPDATE guardrails SET channel = 'phone'").expect("an admin");
    assert_eq!(excluded(&mut session, hail, "consent"), [1, 5]);
    session.batch_execute("UPDATE guardrails SET opt_in = true").expect("an admin");
    let all: Vec<i32> = (1..=SOME).filter(|i| ![2, 3, 4].contains(i)).collect();
    assert_eq!(excluded(&mut session, hail, "consent"), all);
    for statement in ["UPDATE contact_consents SET consented = true", "DELETE FROM contact_consents"] {
        fails_with(session.execute(statement, &[]), "42501");
    }
}

#[test]
fn controls_of_an_experiment_are_left_alone_while_it_counts_them() {
    let db = Db::new("controls");
    let (mut session, [hail, wind]) = plain(&db, "Abc");
    set(&mut session, "kind", "'experiment_control'");
    let experiment: Uuid = get(
        &mut session,
        "SELECT experiment_id FROM stormops.create_experiment($1, 'A/B', outcome_days => 30)",
        &[&hail],
    );
    session.execute("SELECT stormops.assign_experiment($1)", &[&experiment]).expect("arms");
    let control = "SELECT array_agg(p.external_id::int ORDER BY p.external_id::int)
        FROM experiment_assignments JOIN properties AS p USING (property_id) WHERE arm = 'control'";
    let control: Vec<i32> = get(&mut session, control, &[]);
    assert!(control.len() > 10);
    for storm in [hail, wind] {
        assert_eq!(excluded(&mut session, storm, "experiment_control"), control);
    }
    session.execute("SELECT stormops.stop_experiment($1)", &[&experiment]).expect("an end");
    assert_eq!(excluded(&mut session, wind, "experiment_control"), control, "its outcomes still count");
    let age = "UPDATE stormops.experiment_assignments SET assigned_at = now() - interval '31 days'";
    db.superuser().batch_execute(age).expect("a superuser");
    assert!(excluded(&mut session, wind, "experiment_control").is_empty());
}

#[test]
fn nobody_is_treated_in_a_quiet_window() {
    let db = Db::new("quiet");
    let (mut session, [hail, _]) = plain(&db, "Abc");
    let today = "(now() AT TIME ZONE 'Asia/Tokyo')::date";
    let time = "(now() AT TIME ZONE 'Asia/Tokyo')::time";
    let day = "extract(isodow FROM now() AT TIME ZONE 'Asia/Tokyo')::int";
    let cases = [
        ("from_date, until_date", format!("{today}, {today}"), true),
        ("from_date", format!("{today} + 1"), false),
        ("until_date", format!("{today} - 1"), false),
        ("weekdays", format!("ARRAY[{day}]"), true),
        ("weekdays", format!("ARRAY[{day} % 7 + 1]"), false),
        // Of an hour ago until before that: all of the day but that hour, over midnight or not.
        ("from_time, until_time", format!("{time} - interval '1 hour', {time} - interval '2 hours'"), true),
        ("from_time, until_time", format!("{time} - interval '2 hours', {time} - interval '1 hour'"), false),
        (
            "from_time, until_time, weekdays",
            format!("{time} - interval '1 hour', {time} + interval '1 hour', ARRAY[{day}]"),
            true,
        ),
    ];
    for (columns, values, quiet) in cases {
        session.batch_execute("DELETE FROM guardrails").expect("an admin");
        set(&mut session, &format!("kind, time_zone, {columns}"), &format!("'quiet_window', 'Asia/Tokyo', {values}"));
        let found = excluded(&mut session, hail, "quiet_window").len();
        assert_eq!(found, if quiet { SOME as usize } else { 0 }, "{columns}: {values}");
    }
    let run = "SELECT treat + hold FROM stormops.apply_policy($1)";
    assert_eq!(get::<i64>(&mut session, run, &[&hail]), 0, "a run all the same, with a reason for each");
}
