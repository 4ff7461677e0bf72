//! Whom guardrails exclude because of others: the best of an area and of a budget are taken, and neighbours wait.

use super::guardrails::{SOME, excluded, plain, set, treated};
use postgres::Client;
use stormops_tests::tenant::scored_storm;
use stormops_tests::{Db, get};

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
