//! Which channels conversions are credited to: as of now, and day by day by a job that may run as often as it likes.

use postgres::Client;
use stormops_tests::rule::seeded;
use stormops_tests::tenant::{acting_as, scored_storm, session, storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

const MODELS: [&str; 7] = ["first", "last", "linear", "time_decay", "position", "markov", "shapley"];

/// Touches as (property, days ago, channel); channel 'conversion' is one.
fn touch(session: &mut Client, storm: Uuid, touches: &str) {
    let write = format!(
        "INSERT INTO properties (property_id, external_id)
         SELECT md5('property ' || p)::uuid, p FROM (SELECT DISTINCT p FROM (VALUES {touches}) AS t (p, ago, channel)) AS p
         ON CONFLICT (tenant_id, property_id) DO NOTHING;
         INSERT INTO customer_journeys (property_id, storm_id, touch, channel, occurred_at, value)
         SELECT md5('property ' || p)::uuid, '{storm}', CASE channel WHEN 'conversion' THEN channel ELSE 'call' END, channel,
            date_trunc('day', now(), 'UTC') + interval '1 hour' - ago * interval '1 day', CASE channel WHEN 'conversion' THEN 100 END
         FROM (VALUES {touches}) AS t (p, ago, channel)"
    );
    session.batch_execute(&write).expect("touches");
}

fn credits(session: &mut Client, storm: Uuid, model: &str) -> String {
    let list = "SELECT string_agg(coalesce(channel, '-') || ' ' || round(credit::numeric, 4), ', ' ORDER BY channel)
        FROM stormops.attribute_conversions($1, $2)";
    get(session, list, &[&storm, &model])
}

/// Three journeys that converted, one of them untouched for longer than the lookback, and one that did not.
const JOURNEYS: &str = "(1, 10, 'door'), (1, 9, 'phone'), (1, 2, 'mail'), (1, 1, 'conversion'), (1, 0, 'mail'),
    (2, 10, 'door'), (2, 3, 'door'), (2, 3, 'conversion'), (3, 120, 'phone'), (3, 5, 'conversion'), (4, 8, 'mail'), (4, 2, 'phone')";

#[test]
fn each_model_gives_away_each_conversion_once() {
    let db = Db::new("credits");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = storm(&mut session, "hail");
    assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM stormops.attribute_conversions($1)", &[&hail]), 0);
    touch(&mut session, hail, JOURNEYS);
    let expected = [
        ("first", "door 2.0000, mail 0.0000, phone 0.0000, - 1.0000"),
        ("last", "door 1.0000, mail 1.0000, phone 0.0000, - 1.0000"),
        ("linear", "door 1.3333, mail 0.3333, phone 0.3333, - 1.0000"),
        // 2^(-8/7), 2^(-7/7) and 1 days before the last touch.
        ("time_decay", "door 1.2319, mail 0.5121, phone 0.2560, - 1.0000"),
        ("position", "door 1.4000, mail 0.4000, phone 0.2000, - 1.0000"),
        ("shapley", "door 1.3333, mail 0.3333, phone 0.3333, - 1.0000"),
    ];
    for (model, credited) in expected {
        assert_eq!(credits(&mut session, hail, model), credited, "{model}");
    }
    // door -> door or phone or a conversion; phone -> mail or nothing; mail -> phone or a conversion.
    for model in MODELS {
        let sums = "SELECT abs(sum(credit) - 3) < 1e-9 AND abs(sum(share) - 1) < 1e-9 AND abs(sum(value) - 300) < 1e-7 AND bool_and(conversions = 3)
            AND bool_and((removal_effect IS NOT NULL) = ($2 = 'markov' AND channel IS NOT NULL)) AND bool_and(lift IS NULL AND caused IS NULL)
            FROM stormops.attribute_conversions($1, $2)";
        assert!(get::<bool>(&mut session, sums, &[&hail, &model]), "{model}");
    }
    // With a lookback of half a year everything was touched.
    let untouched =
        "SELECT count(*) FROM stormops.attribute_conversions($1, lookback => '180 days') WHERE channel IS NULL";
    assert_eq!(get::<i64>(&mut session, untouched, &[&hail]), 0);
}

#[test]
fn what_chance_tells_stands_beside_the_credits() {
    let db = Db::new("beside");
    let mut session = seeded(&db, 81);
    let hail = scored_storm(&mut session, "hail", 3_000);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let work = "INSERT INTO customer_journeys (property_id, storm_id, touch, channel, occurred_at)
        SELECT property_id, storm_id, 'visit', 'door', decided_at FROM policy_decisions WHERE storm_id = $1 AND decision = 'treat'";
    session.execute(work, &[&hail]).expect("visits");
    let outcomes = "SELECT recorded FROM stormops.record_outcomes($1, (
        SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'value', 10, 'converted', abs(hashtext(property_id::text)) % 100
            < CASE decision WHEN 'treat' THEN 40 ELSE 10 END)) FROM policy_decisions WHERE decision <> 'exclude'))";
    session.execute(outcomes, &[&hail]).expect("outcomes");
    // All treated were visited, so that the doors are credited with what would have come without them, too.
    let told =
        "SELECT a.credit > 1.2 * a.caused AND a.caused BETWEEN a.caused_low AND a.caused_high AND a.lift = r.lift
            AND a.caused = r.lift * r.treated_n AND a.conversions = o.n
        FROM stormops.attribute_conversions($1, 'linear') AS a, stormops.check_conversion_rates($1) AS r,
            (SELECT count(*) AS n FROM policy_outcomes WHERE converted) AS o
        WHERE a.channel = 'door'";
    assert!(get::<bool>(&mut session, told, &[&hail]));
}

/// Everything that the days say.
fn days(session: &mut Client) -> Vec<String> {
    let rows = session.query("SELECT d::text FROM attribution_days AS d ORDER BY 1", &[]).expect("days");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn days_add_up_and_are_filled_once_however_often() {
    let db = Db::new("days");
    let (abc, mut session) = tenant(&db, "Abc");
    let (_, mut others) = tenant(&db, "Other");
    let hail = storm(&mut session, "hail");
    let theirs = storm(&mut others, "hail");
    touch(&mut session, hail, JOURNEYS);
    touch(&mut others, theirs, "(1, 1, 'door'), (1, 0, 'conversion')");
    let mut operator = db.as_role("op");
    let run = "SELECT concat_ws(' ', storms, written, removed) FROM stormops.attribute_days()";
    // Ours: 5 rows of the newest conversion's day for shapley, say; both storms came.
    let first: String = get(&mut operator, run, &[]);
    assert!(first.starts_with("2 ") && first.ends_with(" 0"), "{first}");
    let kept = days(&mut session);
    assert_eq!(get::<String>(&mut operator, run, &[]), "2 0 0");
    assert_eq!(days(&mut session), kept, "not even computed_at");
    for model in MODELS.into_iter().filter(|model| *model != "markov") {
        let same = "SELECT bool_and(abs(a.credit - d.credit) < 1e-9 AND abs(a.value - d.value) < 1e-7 AND a.journeys = d.journeys AND a.touches = d.touches)
                AND count(*) = (SELECT count(DISTINCT channel) FROM attribution_days WHERE storm_id = $1)
            FROM stormops.attribute_conversions($1, $2) AS a
            JOIN (SELECT channel, sum(credit) AS credit, sum(value) AS value, sum(journeys) AS journeys, sum(touches) AS touches
                  FROM attribution_days WHERE storm_id = $1 AND model = $2 GROUP BY channel) AS d ON d.channel = coalesce(a.channel, '')";
        assert!(get::<bool>(&mut session, same, &[&hail, &model]), "{model}");
    }
    // A touch that was written late changes its day, and one that was taken back leaves it.
    touch(&mut session, hail, "(3, 6, 'mail')");
    let late: String = get(&mut operator, run, &[]);
    assert_ne!(late, "2 0 0");
    assert!(late.ends_with(" 6"), "the untouched conversion is no longer: {late}");
    session
        .batch_execute(
            "DELETE FROM customer_journeys WHERE channel = 'mail' AND occurred_at < now() - interval '5 days'
        AND property_id = md5('property 3')::uuid",
        )
        .expect("an admin");
    get::<String>(&mut operator, run, &[]);
    let without_time = |rows: Vec<String>| -> Vec<String> {
        rows.iter().map(|row| row.rsplit_once(',').expect("columns").0.to_owned()).collect()
    };
    assert_eq!(without_time(days(&mut session)), without_time(kept));
    // A tenant sees its own days and writes none; nobody else runs it.
    assert_eq!(
        get::<i64>(&mut others, "SELECT count(*) FROM attribution_days WHERE credit = 1 AND channel = 'door'", &[]),
        6
    );
    fails_with(session.batch_execute("DELETE FROM attribution_days"), "42501");
    fails_with(session.query(run, &[]), "42501");
    fails_with(operator.query("SELECT stormops.attribute_days(0)", &[]), "22023");
    // A suspended tenant waits.
    operator.execute("SELECT stormops.suspend_tenant($1, 'payment_failed')", &[&abc]).expect("a suspension");
    assert_eq!(get::<String>(&mut operator, run, &[]), "1 0 0");
}

#[test]
fn a_tenants_open_transaction_holds_no_day_up() {
    let db = Db::new("open");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = storm(&mut session, "hail");
    touch(&mut session, hail, "(1, 1, 'door'), (1, 0, 'conversion')");
    session
        .batch_execute(
            "BEGIN; SELECT count(*) FROM attribution_days; DELETE FROM customer_journeys; DELETE FROM storms",
        )
        .expect("a tenant that takes its time");
    let mut operator = db.as_role("op");
    operator.batch_execute("SET lock_timeout = '5s'").expect("a timeout");
    let run = "SELECT concat_ws(' ', storms, written, removed) FROM stormops.attribute_days()";
    assert_eq!(get::<String>(&mut operator, run, &[]), "0 0 0");
    session.batch_execute("ROLLBACK").expect("its end");
    assert_eq!(get::<String>(&mut operator, run, &[]), "1 6 0");
}

#[test]
fn attribution_is_a_readers_and_of_ones_own() {
    let db = Db::new("readers");
    let (abc, mut session_of) = tenant(&db, "Abc");
    let hail = storm(&mut session_of, "hail");
    touch(&mut session_of, hail, JOURNEYS);
    let call = "SELECT count(*) FROM stormops.attribute_conversions($1, 'markov')";
    let mut viewer = acting_as(&db, abc, "viewer");
    viewer.batch_execute("BEGIN READ ONLY").expect("a transaction");
    assert_eq!(get::<i64>(&mut viewer, call, &[&hail]), 4);
    viewer.batch_execute("COMMIT").expect("nothing was written");
    let (_, mut others) = tenant(&db, "Other");
    fails_with(others.query(call, &[&hail]), "P0002");
    fails_with(db.as_role("op").query(call, &[&hail]), "42501");
    fails_with(session_of.query("SELECT * FROM stormops.attribute_conversions(NULL)", &[]), "22004");
    for arguments in
        ["'best'", "'linear', '-1 day'", "'linear', '0'", "'linear', '178000000 years'", "'time_decay', '90 days', '0'"]
    {
        let asked =
            session_of.query(&format!("SELECT * FROM stormops.attribute_conversions('{hail}', {arguments})"), &[]);
        assert!(fails_with(asked, "22023").hint().is_some(), "{arguments}");
    }
    // A channel for everybody is no channel.
    let many = "INSERT INTO customer_journeys (property_id, storm_id, touch, channel)
        SELECT md5('property 1')::uuid, $1, 'call', 'person ' || i FROM generate_series(1, 300) AS i";
    session_of.execute(many, &[&hail]).expect("touches");
    let mut suspended = session(&db, abc);
    // The first journey is over: what came after its conversion does not count, so this is still answered.
    assert_eq!(get::<i64>(&mut suspended, call, &[&hail]), 4);
    let many = "INSERT INTO customer_journeys (property_id, storm_id, touch, channel)
        SELECT md5('property 4')::uuid, $1, 'call', 'person ' || i FROM generate_series(1, 300) AS i";
    session_of.execute(many, &[&hail]).expect("touches");
    fails_with(suspended.query(call, &[&hail]), "54000");
    // And holds up nobody else's days.
    let other = storm(&mut others, "wind");
    touch(&mut others, other, "(1, 1, 'door'), (1, 0, 'conversion')");
    let run = "SELECT concat_ws(' ', storms, written, removed) FROM stormops.attribute_days()";
    assert_eq!(get::<String>(&mut db.as_role("op"), run, &[]), "1 6 0");
}
