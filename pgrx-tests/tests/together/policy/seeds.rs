//! Laws of the policy over many draws: what is only probable holds in so many of them as it should.

use postgres::Client;
use stormops_tests::rule::{MONEY, seeded};
use stormops_tests::tenant::scored_storm;
use stormops_tests::{Db, get};
use uuid::Uuid;

const SEEDS: u8 = 12;
const SOME: i32 = 600;

/// Storms of tenants of which each draws for itself.
fn each_seed(name: &str, mut check: impl FnMut(&mut Client, Uuid)) {
    let db = Db::new(name);
    for seed in 1..=SEEDS {
        let mut session = seeded(&db, seed);
        let storm = scored_storm(&mut session, "hail", SOME);
        session
            .batch_execute("INSERT INTO guardrails (name, kind, channel) VALUES ('asked', 'consent', 'door')")
            .expect("an admin");
        let refused = "INSERT INTO contact_consents (property_id, channel, consented) SELECT property_id, 'door', false FROM properties WHERE external_id::int % 17 = 0";
        session.batch_execute(refused).expect("refusals");
        check(&mut session, storm);
    }
}

/// Chi-square of how many were treated against how many the propensities lead to expect, over the seeds, the modes and
/// both sides of the rule: each cell is binomial, or less spread under a capacity.
#[test]
fn logged_propensities_reproduce_what_is_observed() {
    for (set, least) in [
        ("exploration = 0.1, holdout = 0.2", true),
        ("exploration = 0.3, holdout = 0.1", true),
        ("exploration = 0.2, holdout = 0.15, capacity = 200", false),
    ] {
        let (mut chi2, mut cells) = (0.0, 0);
        each_seed("rates", |session, storm| {
            session.batch_execute(&format!("UPDATE policy_modes SET {set}, {MONEY}")).expect("modes");
            let rates = "SELECT (sum(treated) - sum(rate)) ^ 2 / sum(rate * (1 - rate)) FROM (
                    SELECT m.policy_mode, round(r.rate::numeric, 6) AS cell, (d.decision = 'treat')::int AS treated, r.rate
                    FROM policy_modes AS m, stormops.policy_decisions($1, stormops.policy_parameters(m.policy_mode)) AS d,
                        LATERAL (SELECT CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END AS rate) AS r
                    WHERE d.decision <> 'exclude') AS p
                -- Draws are the same in every mode, so that only one of them is a cell.
                WHERE policy_mode = 'moderate' GROUP BY cell";
            for row in session.query(rates, &[&storm]).expect("cells") {
                chi2 += row.get::<_, f64>(0);
                cells += 1;
            }
        });
        // The normal quantiles of the cube root (Wilson and Hilferty): p > 0.001 on each side.
        let df = f64::from(cells);
        let z = ((chi2 / df).cbrt() - (1.0 - 2.0 / (9.0 * df))) / (2.0 / (9.0 * df)).sqrt();
        assert_eq!(cells, 2 * i32::from(SEEDS), "{set}");
        assert!(z < 3.09 && (!least || z > -3.09), "{set}: chi2 {chi2} of {cells} cells");
    }
}

/// Treated without chance, by each mode: the stricter one's are the laxer one's too, whatever guardrails exclude for
/// themselves; where there is a capacity they need not be, as docs/policy.md says.
#[test]
fn modes_are_nested_and_under_a_capacity_exploration_treats_as_many() {
    each_seed("nested", |session, storm| {
        session
            .batch_execute(&format!("UPDATE policy_modes SET exploration = 0, holdout = 0, {MONEY}"))
            .expect("modes");
        let outside = "WITH d AS (SELECT m.confidence, d.property_id, d.decision FROM policy_modes AS m,
                stormops.policy_decisions($1, stormops.policy_parameters(m.policy_mode)) AS d)
            SELECT count(*) FROM d AS strict JOIN d AS lax USING (property_id)
            WHERE strict.confidence > lax.confidence AND strict.decision = 'treat' AND lax.decision <> 'treat'";
        assert_eq!(get::<i64>(session, outside, &[&storm]), 0);
        let expected = "SELECT sum(CASE decision WHEN 'treat' THEN propensity ELSE 1 - propensity END)
            FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate')) WHERE decision <> 'exclude'";
        for holdout in ["0", "0.2"] {
            let [without, with] = ["0", "0.2"].map(|exploration| {
                let set =
                    format!("UPDATE policy_modes SET capacity = 150, holdout = {holdout}, exploration = {exploration}");
                session.batch_execute(&set).expect("modes");
                get::<f64>(session, expected, &[&storm])
            });
            assert!((without - with).abs() < 1e-6, "{without} without exploration, {with} with it");
        }
        let run = "SELECT md5(string_agg(d::text, ' ' ORDER BY property_id)) FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate')) AS d";
        assert_eq!(
            get::<String>(session, run, &[&storm]),
            get::<String>(session, run, &[&storm]),
            "decided alike again"
        );
    });
}
