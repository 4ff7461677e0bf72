//! The rule of a policy, written a second time from its documentation: the comments on `policy_candidates()`,
//! `policy_decisions()` and the columns of `policy_modes`.

use postgres::Client;
use uuid::Uuid;

use crate::tenant::session;
use crate::{Db, get};

/// The rule in SQL alone, as a schema `oracle`: what decisions have to be to the last bit.
pub const ORACLE: &str = include_str!("rule.sql");

/// A tenant whose id is always the same, and with it every draw: what is tested within four standard deviations then
/// either always holds or never does.
#[track_caller]
pub fn seeded(db: &Db, seed: u8) -> Client {
    let tenant = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(seed));
    let rows = format!(
        "INSERT INTO stormops.tenants (tenant_id, org_name, name_key, tier)
         VALUES ('{tenant}', 'S{seed}', 's{seed}', 'standard');
         INSERT INTO stormops.policy_modes (tenant_id, policy_mode, confidence, exploration, holdout)
         SELECT '{tenant}', * FROM stormops.default_policy_modes()"
    );
    db.superuser().batch_execute(&rows).expect("a tenant");
    session(db, tenant)
}

/// Some properties have money of their own, and some of those a cost of nothing.
pub const OWN_MONEY: &str = "
    UPDATE properties SET job_margin = 2000 + external_id::int % 7 * 1000, contact_cost = external_id::int % 11 * 50
        WHERE external_id::int % 5 = 0;
    UPDATE properties SET contact_cost = 700 WHERE external_id::int % 31 = 0";
/// Some properties nobody may contact, some are archived.
pub const OUT_OF_REACH: &str = "
    UPDATE properties SET do_not_contact = true WHERE external_id::int % 13 = 0;
    UPDATE properties SET status = 'archived' WHERE external_id::int % 17 = 0";
pub const MONEY: &str = "margin = 8000, contact_cost = 400";

/// Changes every mode of the tenant, then fills two temporary tables for each mode and property of a storm: `decided`,
/// what the extension says, and `expected`, what its documentation promises.
#[track_caller]
pub fn decide(session: &mut Client, storm: Uuid, set: &str) {
    let script = format!(
        "UPDATE policy_modes SET {set};
        DROP TABLE IF EXISTS decided, expected;
        CREATE TEMP TABLE decided AS
        SELECT m.policy_mode, d.*
        FROM policy_modes AS m, stormops.policy_decisions('{storm}', stormops.policy_parameters(m.policy_mode)) AS d;
        CREATE TEMP TABLE expected AS
        WITH scored AS (
            SELECT DISTINCT ON (property_id) p.*, u.uplift, u.uplift_sd, u.model_version
            FROM lead_uplift AS u JOIN properties AS p USING (tenant_id, property_id)
            WHERE u.storm_id = '{storm}' AND p.status = 'active'
            ORDER BY property_id, u.scored_at DESC, u.model_version DESC
        ), priced AS (
            SELECT m.*, s.property_id, s.do_not_contact, s.uplift, s.model_version,
                coalesce(s.uplift_sd, m.default_sd) AS sd,
                coalesce(s.contact_cost, m.contact_cost)::float8 AS cost,
                coalesce(s.job_margin, m.margin)::float8 AS worth
            FROM policy_modes AS m CROSS JOIN scored AS s
        ), ruled AS (
            SELECT p.*, coalesce(worth * uplift - cost, uplift - breakeven_uplift) AS value,
                uplift >= 0 AND uplift + z * sd >= coalesce(cost / worth, breakeven_uplift) AS wanted,
                CASE WHEN exploration > 0 THEN greatest(exploration, 0.02 / (1 - holdout)) ELSE 0 END AS flip
            FROM priced AS p
            -- z, the quantiles of the standard normal distribution at 1 - confidence
            JOIN (VALUES (0.95::float8, -1.6448536269514729::float8), (0.5, 0), (0.2, 0.8416212335729143))
                AS q (confidence, z) USING (confidence)
        )
        SELECT *, wanted AND NOT do_not_contact AS reachable,
            CASE WHEN do_not_contact THEN 0 ELSE 1 - holdout END
                * CASE WHEN wanted THEN 1 - flip ELSE flip END AS treat_rate
        FROM ruled;
        ANALYZE decided, expected"
    );
    session.batch_execute(&script).expect("decisions");
}

/// Asserts that no decision offends a law: `d` is the decision, `e` the expectation.
#[track_caller]
pub fn obeys(session: &mut Client, laws: &[(&str, &str)], case: &str) {
    let offences: Vec<String> = laws.iter().map(|(_, offence)| format!("count(*) FILTER (WHERE {offence})")).collect();
    let from = "FROM decided AS d FULL JOIN expected AS e USING (policy_mode, property_id)";
    let counts: Vec<i64> = get(session, &format!("SELECT ARRAY[{}] {from}", offences.join(", ")), &[]);
    for ((law, _), offences) in laws.iter().zip(counts) {
        assert_eq!(offences, 0, "{law} ({case})");
    }
}

/// What each decision obeys, under a limit or not; each law with the condition that finds an offence.
pub const LAWS: [(&str, &str); 6] = [
    ("every active scored property is decided, and no other", "d.decision IS NULL OR e.uplift IS NULL"),
    ("no column is NULL", "NOT d IS NOT NULL"),
    ("a propensity is above 0 and at most 1", "(d.propensity > 0 AND d.propensity <= 1) IS NOT TRUE"),
    (
        "whom nobody may contact is excluded, for certain, and nobody else is",
        "(d.decision = 'exclude') <> e.do_not_contact OR (d.reason = 'do_not_contact') <> e.do_not_contact
            OR e.do_not_contact AND d.propensity <> 1",
    ),
    (
        "decision, reason and rule agree",
        "NOT e.do_not_contact AND (d.reason, d.decision, e.wanted) NOT IN (
            ('holdout', 'hold', e.wanted), ('above_threshold', 'treat', true), ('explore_hold', 'hold', true),
            ('over_capacity', 'hold', true), ('below_threshold', 'hold', false),
            ('explore_treat', 'treat', e.wanted AND num_nonnulls(e.capacity, e.budget) > 0))",
    ),
    (
        "score, model and value are those of the latest score",
        "(d.score, d.score_sd, d.model_version) <> (e.uplift, e.sd, e.model_version) OR abs(d.value - e.value) > 1e-9",
    ),
];
