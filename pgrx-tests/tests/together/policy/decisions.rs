//! Whom a policy treats and with what probability, and that the log tells exactly that.

use postgres::Client;

use stormops_tests::rule::{LAWS, MONEY, OUT_OF_REACH, OWN_MONEY, decide, obeys, seeded};
use stormops_tests::tenant::{scored_storm, storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

const PROPERTIES: i32 = 4000;

#[test]
fn a_stricter_mode_treats_a_subset_and_without_chance_the_decision_is_the_bare_rule() {
    let db = Db::new("rule");
    db.without_guard("temporary_tables"); // which decide() fills
    let mut session = tenant(&db, "Abc").1;
    let storm = scored_storm(&mut session, "hail", PROPERTIES);
    let bare = [
        ("the rule alone decides", "(d.decision = 'treat') <> e.reachable"),
        ("there are no other reasons", "d.reason NOT IN ('above_threshold', 'below_threshold', 'do_not_contact')"),
        ("nothing is left to chance", "d.propensity <> 1"),
    ];
    // Who is treated by which of the modes a(ggressive), c(onservative) and m(oderate): only these sets may occur, and
    // each does, or the modes would not differ.
    let nested = "SELECT string_agg(DISTINCT modes, ' ') FROM (
        SELECT string_agg(left(policy_mode, 1), '' ORDER BY policy_mode) AS modes
        FROM decided WHERE decision = 'treat' GROUP BY property_id) AS p";
    for properties in ["alike", "varied"] {
        for money in ["default_sd = 0.05", MONEY, "margin = NULL, contact_cost = 90, default_sd = 0.2"] {
            let case = format!("{money}, properties {properties}");
            decide(&mut session, storm, &format!("exploration = 0, holdout = 0, {money}"));
            obeys(&mut session, &LAWS, &case);
            obeys(&mut session, &bare, &case);
            assert_eq!(get::<String>(&mut session, nested, &[]), "a acm am", "{case}");
        }
        session.batch_execute(&format!("{OWN_MONEY}; {OUT_OF_REACH}")).expect("properties of all kinds");
        session.batch_execute("UPDATE policy_modes SET margin = NULL, contact_cost = NULL").expect("modes without");
    }
}

#[test]
fn propensities_are_those_of_the_formula_and_of_the_draws() {
    let db = Db::new("propensities");
    db.without_guard("temporary_tables"); // which decide() fills
    let mut session = seeded(&db, 1);
    let storm = scored_storm(&mut session, "hail", PROPERTIES);
    session.batch_execute(&format!("{OWN_MONEY}; {OUT_OF_REACH}")).expect("properties of all kinds");
    let exact = [
        (
            "the propensity is that of the decision taken",
            "abs(d.propensity - CASE d.decision WHEN 'treat' THEN e.treat_rate ELSE 1 - e.treat_rate END) > 1e-12",
        ),
        (
            "where there is exploration, P(treat) >= 0.02",
            "e.exploration > 0 AND NOT e.do_not_contact AND e.treat_rate < 0.02 - 1e-12",
        ),
    ];
    let deviations = "
        WITH rates AS (
            SELECT policy_mode, unnest(ARRAY['treated', 'held out', 'explored']) AS what,
                unnest(ARRAY[decision = 'treat', reason = 'holdout', reason LIKE 'explore%'])::int AS happened,
                unnest(ARRAY[treat_rate, holdout, (1 - holdout) * flip]) AS rate
            FROM decided JOIN expected USING (policy_mode, property_id) WHERE NOT do_not_contact
        )
        SELECT format('%s by %s', what, policy_mode), (sum(happened) - sum(rate)) / sqrt(sum(rate * (1 - rate)))
        FROM rates GROUP BY policy_mode, what HAVING sum(rate * (1 - rate)) > 0 ORDER BY 1";
    let chances = [
        ("exploration = 0.05, holdout = 0.1", 9),
        ("exploration = 0, holdout = 0.2", 6), // nothing is explored, so there is no deviation from that
        ("exploration = 0.1, holdout = 0", 6),
        ("exploration = 0.001, holdout = 0.5", 9), // lifted to where P(treat) is 0.02
        ("exploration = 0.5, holdout = 0.9", 9),
    ];
    for (set, measured) in chances {
        for money in ["margin = NULL", MONEY] {
            let case = format!("{set}, {money}");
            decide(&mut session, storm, &case);
            obeys(&mut session, &LAWS, &case);
            obeys(&mut session, &exact, &case);
            let rows = session.query(deviations, &[]).expect("deviations");
            assert_eq!(rows.len(), measured, "{case}");
            for row in rows {
                let (what, deviation): (String, f64) = (row.get(0), row.get(1));
                assert!(deviation.abs() < 4.0, "{what}: {deviation} standard deviations off ({case})");
            }
        }
    }
}

#[test]
fn the_latest_score_counts_and_one_below_zero_never_wins() {
    let db = Db::new("latest");
    let mut session = tenant(&db, "Abc").1;
    let storm = storm(&mut session, "hail");
    let modes = "UPDATE policy_modes SET exploration = 0, holdout = 0;
        INSERT INTO policy_modes (policy_mode, confidence, exploration, holdout) VALUES ('reckless', 0.001, 0, 0)";
    session.batch_execute(modes).expect("modes");
    // Scores as (day, model, uplift, sd), in the order of writing; the decisions of moderate and reckless; the model.
    let good = "(1, 'v1', 0.15, 0.01)";
    let bad = "(2, 'v1', -0.01, 1)";
    let cases = [
        ("one", good.to_owned(), Some(["treat", "treat", "v1"])),
        ("a worse one came later", format!("{good}, {bad}"), Some(["hold", "hold", "v1"])),
        ("the later one was written first", format!("{bad}, {good}"), Some(["hold", "hold", "v1"])),
        (
            "two models at one time: the greater name",
            format!("(1, 'v2', -0.5, NULL), {good}"),
            Some(["hold", "hold", "v2"]),
        ),
        ("time goes before the model", format!("(0, 'v9', -0.5, NULL), {good}"), Some(["treat", "treat", "v1"])),
        ("zero, uncertain", "(1, 'v1', 0, 0.5)".to_owned(), Some(["hold", "treat", "v1"])),
        ("at break-even, P(value > 0) = 0.5", "(1, 'v1', 0.05, NULL)".to_owned(), Some(["treat", "treat", "v1"])),
        ("archived", good.to_owned(), None),
    ];
    for (case, scores, decisions) in &cases {
        let status = if *case == "archived" { "archived" } else { "active" };
        let property: Uuid = get(
            &mut session,
            "INSERT INTO properties (external_id, status) VALUES ($1, $2) RETURNING property_id",
            &[case, &status],
        );
        let write = format!(
            "INSERT INTO lead_uplift (storm_id, property_id, scored_at, model_version, uplift, uplift_sd)
             SELECT $1, $2, timestamptz '2026-01-01Z' + day * interval '1 day', model, uplift, sd::float8
             FROM (VALUES {scores}) AS s (day, model, uplift, sd)"
        );
        session.execute(&write, &[&storm, &property]).expect("scores");
        let decided =
            "SELECT d.decision, d.model_version FROM stormops.policy_decisions($1, stormops.policy_parameters($2)) AS d
            WHERE d.property_id = $3";
        for (i, mode) in ["moderate", "reckless"].into_iter().enumerate() {
            let found = session.query_opt(decided, &[&storm, &mode, &property]).expect("decisions");
            let found = found.map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
            assert_eq!(found, decisions.map(|d| (d[i].to_owned(), d[2].to_owned())), "{case}, {mode}");
        }
    }
}

#[test]
fn the_log_is_what_was_previewed_and_can_be_decided_alike_again() {
    let db = Db::new("again");
    let mut session = tenant(&db, "Abc").1;
    let storm = scored_storm(&mut session, "hail", PROPERTIES);
    session.batch_execute(&format!("{OWN_MONEY}; {OUT_OF_REACH}")).expect("properties of all kinds");
    // Floats print so that they read back as the same bits.
    let digest = |from: &str| {
        format!(
            "SELECT count(*) || md5(string_agg(ROW (property_id, decision, reason, propensity, score, score_sd, value,
            model_version)::text, ' ' ORDER BY property_id)) FROM {from}"
        )
    };
    let logged = digest("policy_decisions_log WHERE run_id = $1");
    let again = digest("policy_runs AS r, stormops.policy_decisions(r.storm_id, r.parameters) WHERE r.run_id = $1");
    let told = "ROW (treat, treat_pct, hold, excluded, reasons, expected_value)::text";
    let modes = [
        ("conservative", "margin = NULL"),
        ("moderate", MONEY),
        ("aggressive", "capacity = 100"),
        ("moderate", "budget = 1e4"),
    ];
    for (mode, set) in modes {
        session.batch_execute(&format!("UPDATE policy_modes SET {set}")).expect("modes");
        let preview: String =
            get(&mut session, &format!("SELECT {told} FROM stormops.preview_policy($1, $2)"), &[&storm, &mode]);
        let apply = format!("SELECT run_id, {told} FROM stormops.apply_policy($1, $2, supersede => true)");
        let applied = session.query_one(&apply, &[&storm, &mode]).expect("a run");
        assert_eq!(applied.get::<_, String>(1), preview, "{mode}, {set}");
        let run: Uuid = applied.get(0);
        assert_eq!(told_by_the_log(&mut session, run), preview, "{mode}, {set}");
        let log: String = get(&mut session, &logged, &[&run]);
        let repeated: Uuid =
            get(&mut session, "SELECT run_id FROM stormops.apply_policy($1, $2, true)", &[&storm, &mode]);
        assert_eq!(log, get::<String>(&mut session, &logged, &[&repeated]), "{mode}, {set}: a second run");
        // The run keeps its parameters, whatever becomes of the mode.
        let meddle = "BEGIN; UPDATE policy_modes SET confidence = 0.7, exploration = 0.3, holdout = 0.3, capacity = 7";
        session.batch_execute(meddle).expect("other modes");
        assert_eq!(log, get::<String>(&mut session, &again, &[&run]), "{mode}, {set}: by its parameters");
        session.batch_execute("ROLLBACK").expect("the modes as they were");
    }
}

/// What the log says itself about a run, after the run's row proved to say the same, and the log to lie in the
/// partition of this month, with no empty field.
fn told_by_the_log(session: &mut Client, run: Uuid) -> String {
    let counts = "
        SELECT count(*) FILTER (WHERE decision = 'treat') AS treat,
            count(*) FILTER (WHERE decision = 'hold') AS hold, count(*) FILTER (WHERE decision = 'exclude') AS excluded,
            round((sum(value) FILTER (WHERE decision = 'treat'))::numeric, 2) AS expected_value,
            (SELECT jsonb_object_agg(reason, n) FROM (
                SELECT reason, count(*) AS n FROM policy_decisions_log WHERE run_id = $1 GROUP BY reason
            ) AS g) AS reasons,
            bool_and(l IS NOT NULL) AS full,
            (SELECT string_agg(DISTINCT b.tableoid::regclass::text, ' ') FROM policy_decision_blocks AS b WHERE b.run_id = $1) AS partitions
        FROM policy_decisions_log AS l WHERE run_id = $1";
    let compare = format!(
        "SELECT ROW (
                l.treat, round(100.0 * l.treat / (l.treat + l.hold), 1), l.hold, l.excluded, l.reasons, l.expected_value
            )::text,
            (l.treat, l.hold, l.excluded, l.reasons, l.expected_value)
                = (r.treat, r.hold, r.excluded, r.reasons, r.expected_value)
                AND (SELECT sum(value::int) FROM jsonb_each_text(l.reasons)) = l.treat + l.hold + l.excluded AND l.full
                AND l.partitions = 'stormops_internal.policy_decision_blocks_' || to_char(r.decided_at AT TIME ZONE 'UTC', 'YYYY_MM')
        FROM ({counts}) AS l, policy_runs AS r WHERE r.run_id = $1"
    );
    let row = session.query_one(&compare, &[&run]).expect("a run and its log");
    assert!(row.get::<_, bool>(1), "the run's row is what its log says");
    row.get(0)
}

#[test]
fn another_tenant_and_another_storm_draw_anew() {
    let db = Db::new("draws");
    db.without_guard("temporary_tables"); // which decide() fills
    let [mut one, mut other] = [1, 2].map(|seed| seeded(&db, seed));
    // Property by property, whether it was held out: one of two is.
    let holdout = |session: &mut Client, event: &str| -> Vec<bool> {
        let storm = scored_storm(session, event, PROPERTIES);
        decide(session, storm, "holdout = 0.5");
        let held =
            "SELECT array_agg(reason = 'holdout' ORDER BY property_id) FROM decided WHERE policy_mode = 'moderate'";
        get(session, held, &[])
    };
    let first = holdout(&mut one, "hail");
    let n = f64::from(PROPERTIES);
    for (what, others) in [("storm", holdout(&mut one, "wind")), ("tenant", holdout(&mut other, "hail"))] {
        let alike = first.iter().zip(others).filter(|(a, b)| **a == *b).count() as f64;
        let deviation = (alike - n / 2.0) / (n / 4.0).sqrt();
        assert!(deviation.abs() < 4.0, "another {what}: {alike} of {n} alike");
    }
}

#[test]
fn decisions_are_counted_by_decision_and_reason() {
    let db = Db::new("counted");
    let mut session = tenant(&db, "Abc").1;
    let counts = |session: &mut Client, rows: &str| -> Option<String> {
        let counts = "SELECT stormops_internal.decision_counts(decision, reason, value)::text FROM";
        get(session, &format!("{counts} ({rows}) AS r (decision, reason, value)"), &[])
    };
    let rows = "VALUES ('hold', 'holdout', 0.1), ('treat', 'holdout', 1), (NULL, 'holdout', 1), ('hold', NULL, 1),
        ('hold', 'holdout', NULL), ('hold', 'holdout', 0.2::float8)";
    assert_eq!(
        counts(&mut session, rows).as_deref(),
        Some(
            r#"[{"n": 2, "value": 0.30000000000000004, "reason": "holdout", "decision": "hold"}, {"n": 1, "value": 1.0, "reason": "holdout", "decision": "treat"}]"#
        )
    );
    assert_eq!(counts(&mut session, "SELECT 'hold', 'holdout', 1 WHERE false"), None);
    assert_eq!(counts(&mut session, "VALUES ('hold', 'holdout', NULL::float8)"), None);
    let many = "SELECT stormops_internal.decision_counts('hold', n::text, 1) FROM generate_series(1, 65) AS n";
    fails_with(session.query(many, &[]), "54000");
}
