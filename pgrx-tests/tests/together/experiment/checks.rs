//! Whether an experiment's draw held in each part, and what each day's look said.

use postgres::Client;
use stormops_tests::rule::seeded;
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

/// An experiment of 4,000 properties with fixed ids, assigned over four days, a thousand a day.
fn four_days(db: &Db, session: &mut Client, settings: &str) -> Uuid {
    let storm = scored_storm(session, "hail", 4_000);
    let create = format!("SELECT experiment_id FROM stormops.create_experiment($1, 'x'{settings})");
    let made: Uuid = get(session, &create, &[&storm]);
    let mut superuser = db.superuser();
    let fix = "UPDATE stormops.experiments SET experiment_id = md5(name)::uuid, started_at = '2026-05-01' RETURNING experiment_id";
    let experiment = get(&mut superuser, fix, &[]);
    assert_ne!(made, experiment);
    get::<i64>(session, "SELECT assigned FROM stormops.assign_experiment($1)", &[&experiment]);
    superuser
        .batch_execute(
            "UPDATE stormops.experiment_assignments AS a
             SET assigned_at = '2026-05-01 12:00+00'::timestamptz + place % 4 * interval '1 day'
             FROM (SELECT property_id, row_number() OVER (ORDER BY property_id) AS place
                 FROM stormops.experiment_assignments) AS p WHERE p.property_id = a.property_id; ANALYZE",
        )
        .expect("four days");
    experiment
}

fn verdicts(session: &mut Client, experiment: Uuid, by: &str) -> String {
    let verdicts = "SELECT string_agg(part || ' ' || verdict, ', ' ORDER BY part)
        || (bool_and(p_adjusted >= p_value)) || sum(n) FROM stormops.check_sample_ratio_by($1, $2)";
    get(session, verdicts, &[&experiment, &by])
}

#[test]
fn a_part_whose_split_is_broken_is_found() {
    let db = Db::new("parts");
    let mut session = seeded(&db, 61);
    let experiment = four_days(&db, &mut session, "");
    let fine = "2026-05-01 ok, 2026-05-02 ok, 2026-05-03 ok, 2026-05-04 oktrue4000";
    assert_eq!(verdicts(&mut session, experiment, "day"), fine);
    assert_eq!(verdicts(&mut session, experiment, "arm"), "control ok, treatment oktrue8000");
    // On the third day a tenth of the controls went into the other arm; on the fourth as many came back.
    let move_some = |from: &str, to: &str, day: &str| {
        format!(
            "UPDATE stormops.experiment_assignments SET arm = '{to}' WHERE property_id IN (
                SELECT property_id FROM stormops.experiment_assignments
                WHERE arm = '{from}' AND assigned_at::date = '{day}' ORDER BY property_id LIMIT 80);"
        )
    };
    let broken = move_some("control", "treatment", "2026-05-03") + &move_some("treatment", "control", "2026-05-04");
    db.superuser().batch_execute(&("SET timezone = 'UTC';".to_owned() + &broken)).expect("moved");
    let whole = "SELECT srm_verdict FROM stormops.experiment_report($1) WHERE arm = 'control'";
    assert_eq!(get::<String>(&mut session, whole, &[&experiment]), "ok", "what the whole does not show");
    let found = verdicts(&mut session, experiment, "day");
    assert!(found.starts_with("2026-05-01 ok, 2026-05-02 ok, 2026-05-03 alarm, 2026-05-04 "), "{found}");
    // By channel: the last touch before the assignment, whatever comes after it.
    session
        .batch_execute(
            "INSERT INTO customer_journeys (property_id, touch, channel, occurred_at)
             SELECT property_id, 'call', CASE WHEN mod(hashtext(property_id::text), 3) = 0 THEN 'phone' ELSE 'door' END,
                 assigned_at - interval '1 hour' FROM experiment_assignments WHERE mod(hashtext(property_id::text), 5) <> 0;
             INSERT INTO customer_journeys (property_id, touch, channel, occurred_at)
             SELECT property_id, 'visit', arm, assigned_at + interval '1 hour' FROM experiment_assignments",
        )
        .expect("touches");
    assert_eq!(verdicts(&mut session, experiment, "channel"), "door ok, phone ok, unknown oktrue4000");
    fails_with(session.query("SELECT stormops.check_sample_ratio_by($1, 'hour')", &[&experiment]), "22023");
    let nobody = Uuid::from_u128(7);
    let (_, mut other) = tenant(&db, "Other");
    for call in ["check_sample_ratio_by($1)", "experiment_looks($1)"] {
        let call = format!("SELECT stormops.{call}");
        fails_with(session.query(&call, &[&nobody]), "P0002");
        fails_with(session.query(&call, &[&None::<Uuid>]), "22004");
        fails_with(other.query(&call, &[&experiment]), "P0002");
    }
}

#[test]
fn a_p_value_never_rises_between_looks() {
    let db = Db::new("looks");
    let mut session = seeded(&db, 62);
    let experiment = four_days(&db, &mut session, ", planned_n => 4000");
    // The treated convert first, the control later: the evidence is there, and goes.
    session
        .batch_execute(
            "INSERT INTO customer_journeys (property_id, storm_id, touch, channel, direction, occurred_at)
             SELECT a.property_id, e.storm_id, 'conversion', 'door', 'inbound',
                 '2026-05-06 12:00+00'::timestamptz + CASE arm WHEN 'treatment' THEN 0 ELSE 3 END * interval '1 day'
             FROM (SELECT *, row_number() OVER (PARTITION BY arm ORDER BY property_id) AS place FROM experiment_assignments) AS a
             JOIN experiments AS e USING (experiment_id) WHERE place <= 200",
        )
        .expect("conversions");
    let looks = "SELECT look::text, n + control_n AS leads, converted, control_converted, p_value, least_p, low, high
        FROM stormops.experiment_looks($1)";
    let rows = session.query(looks, &[&experiment]).expect("looks");
    let seen: Vec<(String, i64, i64, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let days = ["01", "02", "03", "04", "06", "09"].map(|day| format!("2026-05-{day}"));
    let expected = [(1000, 0, 0), (2000, 0, 0), (3000, 0, 0), (4000, 0, 0), (4000, 200, 0), (4000, 200, 200)];
    let expected: Vec<_> = days.into_iter().zip(expected).map(|(day, (n, x, y))| (day, n, x, y)).collect();
    assert_eq!(seen, expected);
    let p: Vec<(f64, f64)> = rows.iter().map(|row| (row.get("p_value"), row.get("least_p"))).collect();
    assert!(p[4].0 < 1e-6 && p[5].0 > 0.5, "{p:?}");
    assert!(p.windows(2).all(|looks| looks[1].1 <= looks[0].1) && p[5].1 == p[4].0, "{p:?}");
    let interval: Vec<(f64, f64)> = rows.iter().map(|row| (row.get("low"), row.get("high"))).collect();
    assert!(interval.windows(2).all(|looks| looks[1].0 >= looks[0].0 && looks[1].1 <= looks[0].1), "{interval:?}");
    // The last look is what the report says of now.
    let same = "SELECT bool_and(r.always_valid_p = l.p_value) FROM stormops.experiment_report($1) AS r
        JOIN stormops.experiment_looks($1) AS l ON l.arm = r.arm AND l.look = '2026-05-09'";
    assert!(get::<bool>(&mut session, same, &[&experiment]));
    fails_with(session.query("SELECT stormops.experiment_looks($1, 0.7)", &[&experiment]), "22023");
    let read_only = "BEGIN READ ONLY; SELECT stormops.experiment_looks(md5('x')::uuid); SELECT stormops.check_sample_ratio_by(md5('x')::uuid)";
    session.batch_execute(read_only).expect("readers");
    assert!(get::<bool>(&mut session, "SELECT pg_current_xact_id_if_assigned() IS NULL", &[]));
    session.batch_execute("ROLLBACK").expect("an end");
    db.superuser().batch_execute("UPDATE stormops.experiments SET cluster_by = 'neighbourhood'").expect("clusters");
    fails_with(session.query("SELECT stormops.experiment_looks($1)", &[&experiment]), "0A000");
}
