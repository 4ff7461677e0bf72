//! Storms with decisions that chance took, and what came of them.

use postgres::Client;
use stormops_tests::tenant::storm;
use stormops_tests::{Db, get};
use uuid::Uuid;

/// So many properties: half of the roofs are old. Every storm's are the same.
const PROPERTIES: &str = "INSERT INTO properties (property_id, external_id, year_built, roof_year, building_value, roof_material)
    SELECT md5('property ' || i)::uuid, i, 1950 + i % 67, CASE WHEN mod(i * 0.569840290998, 1) < 0.5 THEN 1990 ELSE 2015 END + i % 9,
        100000 + i * 37 % 401 * 1000, CASE WHEN i % 3 = 0 THEN 'metal' ELSE 'wood_shake' END
    FROM generate_series(1, $1::int) AS i
    ON CONFLICT (tenant_id, property_id) DO NOTHING";

/// Of the treated, those with an old roof convert by 25 points more often; the scores know nothing of that.
pub const BY_ROOF: &str = "CASE WHEN p.roof_year < 2005 THEN 0.25 ELSE 0 END";
/// Treating does half of what the score says.
pub const BY_HALF_THE_SCORE: &str = "0.5 * greatest(d.score, 0)";

/// A storm whose scores run evenly from -0.1 to 0.5, decided with a chance near one half either way, and who converted
/// of it: 15 percent, and of the treated so much more.
#[track_caller]
pub fn answered_storm(session: &mut Client, event: &str, n: i32, effect: &str) -> Uuid {
    let storm = decided_storm(session, event, n);
    record(session, storm, effect);
    storm
}

#[track_caller]
pub fn decided_storm(session: &mut Client, event: &str, n: i32) -> Uuid {
    let storm = storm(session, event);
    session.execute(PROPERTIES, &[&n]).expect("properties");
    let scores = "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
        SELECT $1, md5('property ' || i)::uuid, 'v1', 0.6 * mod(i * 0.618033988749, 1) - 0.1 FROM generate_series(1, $2::int) AS i";
    session.execute(scores, &[&storm, &n]).expect("scores");
    session.execute("UPDATE policy_modes SET exploration = 0.4, holdout = 0.1", &[]).expect("chance");
    session.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("decisions");
    storm
}

#[track_caller]
pub fn record(session: &mut Client, storm: Uuid, effect: &str) {
    let outcomes = format!(
        "SELECT recorded FROM stormops.record_outcomes($1, (
            SELECT jsonb_agg(jsonb_build_object('property_id', d.property_id, 'converted', true, 'value', 8000 + p.external_id::int % 9 * 1000))
            FROM policy_decisions AS d JOIN properties AS p USING (tenant_id, property_id)
            WHERE d.storm_id = $1 AND stormops.draw(d.storm_id, d.storm_id, d.property_id, 'outcome')
                < 0.15 + CASE d.decision WHEN 'treat' THEN {effect} ELSE 0 END))"
    );
    assert!(get::<i64>(session, &outcomes, &[&storm]) > 0);
}

/// Moves all runs so far into the past that no outcome is due any more. Only a superuser can.
pub fn age(db: &Db) {
    let age = "UPDATE stormops.policy_runs SET decided_at = decided_at - interval '91 days'";
    db.superuser().execute(age, &[]).expect("older runs");
}
