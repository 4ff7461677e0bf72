//! Whom guardrails exclude: each kind by itself, and who may set them.

use postgres::Client;
use stormops_tests::tenant::{acting_as, scored_storm, session, tenant};
use stormops_tests::{Db, fails_with, get, provision, sqlstate};
use uuid::Uuid;

const SOME: i32 = 60;

/// Properties by their numbers that a reason excludes from what moderate would decide now.
#[track_caller]
fn excluded(session: &mut Client, storm: Uuid, reason: &str) -> Vec<i32> {
    let numbers = "SELECT coalesce(array_agg(p.external_id::int ORDER BY p.external_id::int), '{}')
        FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate')) AS d JOIN properties AS p USING (property_id)
        WHERE d.decision = 'exclude' AND d.propensity = 1 AND d.reason = $2";
    get(session, numbers, &[&storm, &reason])
}

#[track_caller]
fn treated(session: &mut Client, storm: Uuid) -> Vec<i32> {
    let numbers = "SELECT array_agg(p.external_id::int ORDER BY p.external_id::int)
        FROM policy_decisions AS d JOIN properties AS p USING (property_id) WHERE d.storm_id = $1 AND d.decision = 'treat'";
    get(session, numbers, &[&storm])
}

/// A tenant without guardrails and without chance, and two storms over the same properties.
fn plain(db: &Db, name: &str) -> (Client, [Uuid; 2]) {
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

fn set(session: &mut Client, columns: &str, values: &str) {
    session
        .batch_execute(&format!("INSERT INTO guardrails (name, {columns}) VALUES ('one', {values})"))
        .expect("a guardrail");
}

#[test]
fn a_new_tenant_has_the_guardrails_of_its_tier_and_an_older_one_when_it_asks() {
    let db = Db::new("default_guardrails");
    let mut op = db.as_role("op");
    for (tier, most) in [("trial", 3), ("standard", 4), ("enterprise", 6)] {
        let provisioned = "SELECT tenant_id FROM stormops.provision_tenant($1, $1, $1 || '@abc.example')";
        let mut session = session(&db, op.query_one(provisioned, &[&tier]).expect("a tenant").get(0));
        let rows = "SELECT string_agg(concat_ws(' ', kind, most, days, enabled), '; ' ORDER BY kind) FROM guardrails";
        let expected = format!("consent t; experiment_control t; frequency_cap {most} 30 t");
        assert_eq!(get::<String>(&mut session, rows, &[]), expected);
        session.batch_execute("DELETE FROM guardrails WHERE kind <> 'consent'").expect("an admin");
        let add = "SELECT stormops.add_default_guardrails()";
        assert_eq!(get::<Vec<String>>(&mut session, add, &[]), ["contacts in a month", "controls of experiments"]);
        assert_eq!(get::<String>(&mut session, rows, &[]), expected);
        assert!(get::<Vec<String>>(&mut session, add, &[]).is_empty());
    }
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

#[test]
fn the_best_of_an_area_are_taken_and_what_was_treated_there_counts() {
    let db = Db::new("areas");
    let (mut session, [hail, wind]) = plain(&db, "Abc");
    session.batch_execute("UPDATE properties SET area = CASE WHEN external_id::int <= 20 THEN 'north' WHEN external_id::int <= 40 THEN 'south' END").expect("areas");
    set(&mut session, "kind, most, days", "'area_capacity', 3, 1");
    let best = "SELECT array_agg(n ORDER BY n) FROM (
        SELECT p.external_id::int AS n, row_number() OVER (PARTITION BY p.area ORDER BY u.uplift >= 0 AND u.uplift >= 0.05 DESC, u.uplift DESC) AS place
        FROM lead_uplift AS u JOIN properties AS p USING (property_id) WHERE u.storm_id = $1) AS r WHERE place BETWEEN $2 AND $3";
    let first: Vec<i32> = get(&mut session, best, &[&hail, &1i64, &3i64]);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    assert_eq!(treated(&mut session, hail), first, "three of each area, the third of those without one");
    // The other storm comes to the same areas on the same day.
    assert_eq!(excluded(&mut session, wind, "area_capacity").len(), SOME as usize);
    session.batch_execute("UPDATE guardrails SET most = 5, area = 'south'").expect("an admin");
    assert_eq!(excluded(&mut session, wind, "area_capacity").len(), 18, "two of the south's twenty are left");
    // Exploration takes no more than there are.
    session
        .batch_execute("UPDATE guardrails SET area = NULL, most = 6; UPDATE policy_modes SET exploration = 0.5")
        .expect("an admin");
    session.execute("SELECT stormops.apply_policy($1)", &[&wind]).expect("a run");
    let most: i64 = get(
        &mut session,
        "SELECT max(n) FROM (SELECT count(*) AS n FROM policy_decisions JOIN properties AS p USING (property_id)
        WHERE decision = 'treat' GROUP BY p.area) AS a",
        &[],
    );
    assert!(most <= 6, "{most}");
}

#[test]
fn a_budget_is_one_over_all_storms() {
    let db = Db::new("budgets");
    let (mut session, [hail, wind]) = plain(&db, "Abc");
    session.batch_execute("UPDATE policy_modes SET margin = 8000, contact_cost = 100; UPDATE properties SET contact_cost = 250.10 WHERE external_id::int % 3 = 0").expect("money");
    set(&mut session, "kind, amount, days, contact_cost", "'budget', 2000, 7, 999");
    let spend = "SELECT coalesce(sum(coalesce(p.contact_cost, 100)), 0) FROM policy_decisions JOIN properties AS p USING (property_id) WHERE decision = 'treat'";
    let spent = |session: &mut Client| -> String { get(session, &format!("SELECT ({spend})::text"), &[]) };
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let first: f64 = spent(&mut session).parse().expect("a number");
    assert!(first <= 2000.0 && first > 1749.0, "{first}");
    session.batch_execute("UPDATE guardrails SET amount = 2600").expect("an admin");
    session.execute("SELECT stormops.apply_policy($1)", &[&wind]).expect("a run");
    let both: f64 = spent(&mut session).parse().expect("a number");
    assert!(both <= 2600.0 && both > first, "{both}");
    // What its properties cost when they were decided is what was spent.
    session
        .batch_execute(&format!(
            "UPDATE guardrails SET amount = ({spend}) + 0.05; UPDATE properties SET contact_cost = 0.01"
        ))
        .expect("other money");
    let tornado = scored_storm(&mut session, "tornado", SOME);
    assert_eq!(excluded(&mut session, tornado, "budget").len(), SOME as usize - 5);
}

#[test]
fn neighbours_of_who_was_treated_wait() {
    let db = Db::new("spacing");
    let (mut session, [hail, wind]) = plain(&db, "Abc");
    // 1 is treated for the hail. A degree of latitude is 111,195 m; the others stand at so many metres from it, some over the date line.
    let place = "UPDATE properties SET longitude = CASE external_id WHEN '6' THEN -179.9996 ELSE 179.9999 END,
            latitude = 60 + CASE external_id WHEN '2' THEN 90 WHEN '3' THEN 99 WHEN '4' THEN 101 WHEN '5' THEN -99 ELSE 0 END / 111195.08
        WHERE external_id::int <= 7;
        UPDATE properties SET longitude = NULL, latitude = NULL WHERE external_id = '7'";
    session.batch_execute(place).expect("places");
    set(&mut session, "kind, metres, days", "'spacing', 100, 10");
    let only = "DELETE FROM lead_uplift WHERE storm_id = $1 AND property_id <> md5('property 1')::uuid";
    session.execute(only, &[&hail]).expect("scores");
    session.execute("INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift, scored_at) VALUES ($1, md5('property 1')::uuid, 'v2', 0.9, now())", &[&hail]).expect("a score");
    assert_eq!(get::<i64>(&mut session, "SELECT treat FROM stormops.apply_policy($1)", &[&hail]), 1);
    // 6 is 0.0005 degrees of longitude at 60 degrees away, 28 m, on the other side of the date line.
    assert_eq!(excluded(&mut session, wind, "spacing"), [2, 3, 5, 6]);
}

#[test]
fn guardrails_are_their_tenants_admins() {
    let db = Db::new("guardrail_roles");
    let abc = provision(&db, "Abc");
    let mut other = tenant(&db, "Other").1;
    for (role, may) in [("viewer", false), ("field_user", false), ("crew_chief", false), ("admin", true)] {
        let mut session = acting_as(&db, abc, role);
        assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM guardrails", &[]), 3, "{role} reads");
        let changed = session.execute("UPDATE guardrails SET enabled = false", &[]).expect("an update");
        assert_eq!(changed, if may { 3 } else { 0 }, "{role}");
        for (statement, refused) in [
            ("INSERT INTO guardrails (name, kind) VALUES ('mine', 'consent')", "42501"),
            ("SELECT stormops.add_default_guardrails()", "42501"),
        ] {
            assert_eq!(
                sqlstate(&session.execute(statement, &[])),
                if may { "00000" } else { refused },
                "{role}: {statement}"
            );
        }
        let say = session.execute("INSERT INTO contact_consents (property_id, channel, consented) SELECT property_id, 'door', false FROM properties", &[]);
        say.expect("there is no property");
        assert_eq!(
            session.execute("DELETE FROM guardrails WHERE name = 'mine'", &[]).expect("a deletion"),
            u64::from(may),
            "{role}"
        );
    }
    assert_eq!(
        get::<i64>(&mut other, "SELECT count(*) FROM guardrails WHERE enabled", &[]),
        3,
        "another tenant's stay"
    );
    let mut admin = session(&db, abc);
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    assert_eq!(get::<i64>(&mut admin, "SELECT count(*) FROM guardrails", &[]), 3);
    for statement in
        ["INSERT INTO guardrails (name, kind) VALUES ('mine', 'consent')", "SELECT stormops.add_default_guardrails()"]
    {
        assert!(["55000", "42501"].contains(&sqlstate(&admin.execute(statement, &[]))), "{statement}");
    }
}

#[test]
fn a_guardrail_that_makes_no_sense_is_refused() {
    let db = Db::new("bad_guardrails");
    let mut session = tenant(&db, "Abc").1;
    for (columns, values, refused) in [
        ("kind", "'whim'", "23514"),
        ("kind, most", "'frequency_cap', 3", "23514"),
        ("kind, most, days", "'frequency_cap', -1, 30", "23514"),
        ("kind, most, days", "'frequency_cap', 3, 0", "23514"),
        ("kind, most, days, metres", "'frequency_cap', 3, 30, 5", "23514"),
        ("kind, metres, days", "'spacing', 1001, 30", "23514"),
        ("kind, amount, days", "'budget', 100, 30", "23514"),
        ("kind, amount, days, contact_cost", "'budget', 'NaN', 30, 1", "23514"),
        ("kind, amount, days, contact_cost", "'budget', 100, 30, 0", "23514"),
        ("kind, time_zone", "'quiet_window', 'UTC'", "23514"),
        ("kind, from_date", "'quiet_window', '2026-01-01'", "23514"),
        ("kind, time_zone, from_date", "'quiet_window', 'UTC', 'infinity'", "23514"),
        ("kind, time_zone, from_date", "'quiet_window', 'Mars/Olympus', '2026-01-01'", "22023"),
        ("kind, time_zone, weekdays", "'quiet_window', 'UTC', '{8}'", "23514"),
        ("kind, time_zone, weekdays", "'quiet_window', 'UTC', '{}'", "23514"),
        ("kind, time_zone, from_time", "'quiet_window', 'UTC', '22:00'", "23514"),
        ("kind, time_zone, from_time, until_time", "'quiet_window', 'UTC', '22:00', '22:00'", "23514"),
        ("kind, channel", "'experiment_control', 'door'", "23514"),
        ("kind, from_time, until_time", "'consent', '22:00', '23:00'", "23514"),
    ] {
        let insert =
            session.execute(&format!("INSERT INTO guardrails (name, {columns}) VALUES ('bad', {values})"), &[]);
        assert_eq!(sqlstate(&insert), refused, "{columns}: {values}");
    }
    fails_with(session.execute("UPDATE guardrails SET kind = 'consent'", &[]), "42501");
    fails_with(session.execute("INSERT INTO guardrails (name, kind) VALUES ('who refused', 'consent')", &[]), "23505");
    let many = "INSERT INTO guardrails (name, kind) SELECT i, 'consent' FROM generate_series(1, $1::int) AS i";
    fails_with(session.execute(many, &[&48]), "54000");
    session.execute(many, &[&47]).expect("fifty");
}
