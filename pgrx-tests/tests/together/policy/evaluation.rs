//! What another policy would have earned: on a log whose truth is known, for whoever may see it, and refused where it cannot
//! be told.

use postgres::Client;
use postgres::types::FromSql;
use stormops_tests::rule::{OWN_MONEY, seeded};
use stormops_tests::tenant::{acting_as, scored_storm, session, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

/// An outcome for each decided property. A held one converts by one chance in ten, a treated one by its score more, so that
/// treating everybody of scores from -0.1 to 0.2 is worth 0.05 - 0.05 a property, and treating above 0.05 is best.
fn outcomes(session: &mut Client, storm: Uuid) {
    let record = "SELECT recorded FROM stormops.record_outcomes($1, (
        SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'converted',
            stormops.draw('00000000-0000-0000-0000-000000000000', $1, property_id, 'test')
                < 0.1 + CASE decision WHEN 'treat' THEN score ELSE 0 END))
        FROM policy_decisions WHERE storm_id = $1 AND decision <> 'exclude'))";
    session.execute(record, &[&storm]).expect("outcomes");
}

fn of<T: for<'a> FromSql<'a>>(session: &mut Client, storm: Uuid, mode: &str, what: &str) -> T {
    let query = format!("SELECT {what} FROM stormops.evaluate_policy($1, $2)");
    session.query_one(&query, &[&storm, &mode]).expect("one row").get(0)
}

#[test]
fn each_policy_is_worth_what_it_would_have_earned() {
    let db = Db::new("worth");
    let mut session = seeded(&db, 71);
    let storm = scored_storm(&mut session, "hail", 8_000);
    assert_eq!(of::<String>(&mut session, storm, "moderate", "status"), "no_policy");
    session.execute("SELECT stormops.apply_policy($1, 'moderate')", &[&storm]).expect("a run");
    assert_eq!(of::<String>(&mut session, storm, "moderate", "status"), "no_outcomes");
    outcomes(&mut session, storm);
    // The truth, by the scores and the chances that policy_decisions() gives each mode.
    let truth = "SELECT 1000 * avg(0.1 + CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END * (d.score - 0.05))
        FROM stormops.policy_decisions($1, stormops.policy_parameters($2)) AS d";
    for mode in ["conservative", "moderate", "aggressive"] {
        let truth: f64 = get(&mut session, truth, &[&storm, &mode]);
        let told: String = of(
            &mut session,
            storm,
            mode,
            "concat_ws(' ', status, policy, unit, n, excluded, logged_by, weights_suspect)",
        );
        assert_eq!(told, format!("ok {mode} jobs 8000 0 moderate f"));
        let row = session
            .query_one("SELECT doubly_robust, doubly_robust_se, ips, snips, direct, treat_share FROM stormops.evaluate_policy($1, $2)", &[&storm, &mode])
            .expect("one row");
        let se: f64 = row.get(1);
        for (i, times) in [(0, 3.5), (2, 5.0), (3, 5.0), (4, 5.0)] {
            let found: f64 = row.get(i);
            assert!((found - truth).abs() < times * se, "{mode}, column {i}: {found} is not {truth} by {se}");
        }
        let share: f64 = get(
            &mut session,
            "SELECT avg(CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END)
            FROM stormops.policy_decisions($1, stormops.policy_parameters($2)) AS d",
            &[&storm, &mode],
        );
        assert!((share - row.get::<_, f64>(5)).abs() < 1e-9, "{mode}: {share}");
    }
    for (mode, truth) in [("treat_all", 100.0), ("treat_none", 100.0)] {
        let covered: bool =
            of(&mut session, storm, mode, &format!("abs(doubly_robust - {truth}) < 4 * doubly_robust_se"));
        assert!(covered, "{mode}: {}", of::<f64>(&mut session, storm, mode, "doubly_robust"));
    }
    assert!(of::<bool>(&mut session, storm, "treat_none", "gain = 0 AND gain_low = 0 AND treat_share = 0"));
    // The bare rule, without chance, is worth more than the mode that pays for what it learns.
    let bare = "SELECT gain_low > 0 AND treat_share BETWEEN 0.45 AND 0.55
        FROM stormops.evaluate_policy($1, 'moderate', '{\"exploration\": 0, \"holdout\": 0}')";
    assert!(get::<bool>(&mut session, bare, &[&storm]));
}

#[test]
fn policies_stand_side_by_side() {
    let db = Db::new("side");
    let mut session = seeded(&db, 72);
    session.execute("UPDATE policy_modes SET margin = 8000, contact_cost = 400", &[]).expect("money");
    let storm = scored_storm(&mut session, "hail", 4_000);
    session.batch_execute(OWN_MONEY).expect("money of some properties");
    let list =
        "SELECT string_agg(concat_ws(' ', policy, status, unit, applied), ', ') FROM stormops.compare_policies($1)";
    let none =
        "treat_none no_policy, treat_all no_policy, conservative no_policy, moderate no_policy, aggressive no_policy";
    assert_eq!(get::<String>(&mut session, list, &[&storm]), none);
    session.execute("SELECT stormops.apply_policy($1, 'aggressive')", &[&storm]).expect("a run");
    outcomes(&mut session, storm);
    let all = "treat_none ok currency f, treat_all ok currency f, conservative ok currency f, moderate ok currency f, aggressive ok currency t";
    assert_eq!(get::<String>(&mut session, list, &[&storm]), all);
    let same = "SELECT bool_and(c.net_value = e.doubly_robust AND c.gain IS NOT DISTINCT FROM e.gain AND c.net_value_low < c.net_value)
        FROM stormops.compare_policies($1) AS c CROSS JOIN LATERAL stormops.evaluate_policy($1, c.policy) AS e";
    assert!(get::<bool>(&mut session, same, &[&storm]));
    // A limit is kept in the mean, and budgets count whole cents.
    session
        .execute(
            "UPDATE policy_modes SET capacity = 300, exploration = 0, holdout = 0 WHERE policy_mode = 'moderate'",
            &[],
        )
        .expect("a limit");
    let share: f64 = of(&mut session, storm, "moderate", "treat_share");
    assert!((share - 300.0 / 4000.0).abs() < 1e-9, "{share}");
    // A tenant's own mode may have any name, and is what that name then means.
    session
        .execute("INSERT INTO policy_modes (policy_mode, confidence, exploration, holdout) VALUES ('treat_all', 0.9, 0, 0.5)", &[])
        .expect("a mode");
    assert!(of::<bool>(&mut session, storm, "treat_all", "treat_share <= 0.5"));
}

#[test]
fn what_the_log_cannot_answer_is_said() {
    let db = Db::new("positivity");
    let mut session = seeded(&db, 73);
    session.execute("UPDATE policy_modes SET exploration = 0, holdout = 0.2", &[]).expect("modes that do not explore");
    let storm = scored_storm(&mut session, "hail", 2_000);
    session.execute("SELECT stormops.apply_policy($1, 'moderate')", &[&storm]).expect("a run");
    outcomes(&mut session, storm);
    // Nobody below the threshold was ever treated; everybody might have been held.
    let told = "concat_ws(' ', status, doubly_robust IS NULL, ips IS NULL, gain IS NULL, unsupported_share > 0.05)";
    for mode in ["treat_all", "aggressive"] {
        assert_eq!(of::<String>(&mut session, storm, mode, told), "unsupported t t t t");
    }
    for mode in ["treat_none", "moderate", "conservative"] {
        assert_eq!(of::<String>(&mut session, storm, mode, told), "ok f f f f");
    }
    let few = scored_storm(&mut session, "wind", 60);
    session.execute("SELECT stormops.apply_policy($1, 'moderate')", &[&few]).expect("a run");
    outcomes(&mut session, few);
    assert_eq!(of::<String>(&mut session, few, "treat_none", "concat_ws(' ', status, ips IS NULL)"), "small_sample f");
    // Some have money and some do not: their worths cannot be added up.
    session
        .execute("UPDATE properties SET job_margin = 100, contact_cost = 1 WHERE external_id::int % 2 = 0", &[])
        .expect("money");
    assert_eq!(of::<String>(&mut session, storm, "treat_none", "concat_ws(' ', status, ips IS NULL)"), "mixed_units t");
}

#[test]
fn only_the_parameters_of_a_policy_are_taken() {
    let db = Db::new("parameters");
    let (abc, mut session_of) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session_of, "hail", 100);
    session_of.execute("SELECT stormops.apply_policy($1)", &[&storm]).expect("a run");
    outcomes(&mut session_of, storm);
    let cases = [
        ("bold", None, "22023"),
        ("moderate", Some("[]"), "22023"),
        ("moderate", Some("null"), "22023"),
        ("moderate", Some(r#"{"epsilon": 1}"#), "22023"),
        ("moderate", Some(r#"{"holdout": 2}"#), "22023"),
        ("moderate", Some(r#"{"holdout": null}"#), "22023"),
        ("moderate", Some(r#"{"confidence": "high"}"#), "22023"),
        ("moderate", Some(r#"{"capacity": 1e300}"#), "22023"),
        ("treat_all", Some(r#"{"holdout": 0}"#), "22023"),
    ];
    for (mode, parameters, code) in cases {
        let asked = session_of
            .query("SELECT * FROM stormops.evaluate_policy($1, $2, $3::text::jsonb)", &[&storm, &mode, &parameters]);
        let error = fails_with(asked, code);
        assert!(error.hint().is_some(), "{mode} {parameters:?}: {}", error.message());
    }
    for nothing in ["NULL", "'00000000-0000-0000-0000-000000000000'"] {
        let code = if nothing == "NULL" { "22004" } else { "P0002" };
        for call in ["evaluate_policy", "compare_policies"] {
            fails_with(session_of.query(&format!("SELECT * FROM stormops.{call}({nothing})"), &[]), code);
        }
    }
    // A viewer may look, on a standby too; another tenant finds no such storm; an operator is no tenant.
    let mut viewer = acting_as(&db, abc, "viewer");
    viewer.batch_execute("BEGIN READ ONLY").expect("a transaction");
    assert_eq!(get::<i64>(&mut viewer, "SELECT count(*) FROM stormops.compare_policies($1)", &[&storm]), 5);
    assert!(get::<bool>(&mut viewer, "SELECT pg_current_xact_id_if_assigned() IS NULL", &[]));
    viewer.batch_execute("COMMIT").expect("nothing was written");
    let (other, mut others) = tenant(&db, "Other");
    for call in ["evaluate_policy", "compare_policies"] {
        fails_with(others.query(&format!("SELECT * FROM stormops.{call}($1)"), &[&storm]), "P0002");
        fails_with(db.as_role("op").query(&format!("SELECT * FROM stormops.{call}($1)"), &[&storm]), "42501");
    }
    // The same ids in another tenant are another storm's.
    scored_storm(&mut others, "hail", 100);
    assert_eq!(of::<String>(&mut others, storm, "moderate", "status"), "no_policy");
    // A suspended tenant reads as it reads everything.
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'payment_failed')", &[&abc]).expect("a suspension");
    assert_eq!(of::<String>(&mut session(&db, abc), storm, "treat_none", "policy"), "treat_none");
    let _ = other;
}
