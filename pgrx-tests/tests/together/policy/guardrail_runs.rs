//! Runs under guardrails: no two at once use what is there once, and each can be decided and explained from what it kept.

use postgres::{Client, Error};
use stormops_tests::rule::{MONEY, OUT_OF_REACH, OWN_MONEY};
use stormops_tests::tenant::{scored_storm, session, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get, sqlstate};
use uuid::Uuid;

const SOME: i32 = 300;

fn apply(session: &mut Client, storm: Uuid) -> Result<Uuid, Error> {
    let run = "SELECT run_id FROM stormops.apply_policy($1, supersede => true)";
    Ok(session.query_one(run, &[&storm])?.get(0))
}

/// One contact in a month, a budget for ten and four a day in all of the one area.
const TIGHT: [(&str, &str, i64); 3] = [
    ("kind, most, days", "'frequency_cap', 1, 30", 1),
    ("kind, amount, days, contact_cost", "'budget', 1000, 30, 100", 10),
    ("kind, most, days", "'area_capacity', 4, 1", 4),
];

#[test]
fn two_storms_at_once_do_not_both_use_what_is_there_once() {
    for (columns, values, most) in TIGHT {
        for isolation in ["read committed", "repeatable read", "serializable"] {
            let db = Db::new("guarded_at_once");
            let (abc, mut first) = tenant(&db, "Abc");
            let storms = ["hail", "wind"].map(|event| scored_storm(&mut first, event, SOME));
            let rows = format!(
                "DELETE FROM guardrails; INSERT INTO guardrails (name, {columns}) VALUES ('one', {values});
                UPDATE policy_modes SET holdout = 0, exploration = 0"
            );
            first.batch_execute(&rows).expect("an admin");
            // The second begins, and sees what there is, before the first has committed.
            first.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}")).expect("a transaction");
            apply(&mut first, storms[0]).expect("a run");
            let mut other = session(&db, abc);
            other
                .batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM policy_runs"))
                .expect("a snapshot");
            let second = std::thread::spawn(move || {
                let applied = apply(&mut other, storms[1]);
                let ended = sqlstate(&applied).to_owned();
                other.batch_execute(if applied.is_ok() { "COMMIT" } else { "ROLLBACK" }).expect("an end");
                ended
            });
            await_blocked(&db, 1);
            first.batch_execute("COMMIT").expect("a commit");
            let ended = second.join().expect("an end");
            assert_eq!(ended, if isolation == "read committed" { "00000" } else { "40001" }, "{values}");
            if ended != "00000" {
                apply(&mut session(&db, abc), storms[1]).expect("a second try");
            }
            let used = if columns.contains("amount") || values.contains("area") {
                "SELECT count(*) FROM policy_decisions WHERE decision = 'treat'"
            } else {
                "SELECT max(n) FROM (SELECT count(*) AS n FROM policy_decisions WHERE decision = 'treat' GROUP BY property_id) AS p"
            };
            assert_eq!(get::<i64>(&mut first, used, &[]), most, "{values}, {isolation}");
        }
    }
}

#[test]
fn two_transactions_of_several_runs_do_not_wait_for_each_other() {
    let db = Db::new("guarded_crosswise");
    let (abc, mut first) = tenant(&db, "Abc");
    let [hail, wind] = ["hail", "wind"].map(|event| scored_storm(&mut first, event, 30));
    first.batch_execute("BEGIN").expect("a transaction");
    apply(&mut first, hail).expect("a run");
    let mut other = session(&db, abc);
    let crosswise = std::thread::spawn(move || {
        other.batch_execute("BEGIN")?;
        apply(&mut other, wind)?;
        apply(&mut other, hail)?;
        other.batch_execute("COMMIT")
    });
    await_blocked(&db, 1);
    apply(&mut first, wind).expect("the other's storm is not taken yet");
    first.batch_execute("COMMIT").expect("a commit");
    crosswise.join().expect("an end").expect("its turn");
}

const DECIDED: &str = "count(*) || md5(string_agg(ROW (property_id, decision, reason, propensity, score, score_sd, value, model_version)::text,
    ' ' ORDER BY property_id))";

#[test]
fn a_run_is_decided_again_from_what_it_kept_whatever_changed_since() {
    let db = Db::new("kept");
    let mut session = tenant(&db, "Abc").1;
    let [wind, hail] = ["wind", "hail"].map(|event| scored_storm(&mut session, event, 5200));
    session.batch_execute(&format!("{OWN_MONEY}; {OUT_OF_REACH}; UPDATE properties SET area = external_id::int % 7 WHERE external_id::int % 2 = 0")).expect("properties of all kinds");
    let rows = format!(
        "UPDATE policy_modes SET {MONEY};
        INSERT INTO customer_journeys (property_id, touch, channel) SELECT property_id, 'call', 'door' FROM properties, generate_series(1, 5) WHERE external_id::int % 19 = 0;
        INSERT INTO contact_consents (property_id, channel, consented) SELECT property_id, 'door', false FROM properties WHERE external_id::int % 23 = 0;
        INSERT INTO guardrails (name, kind, most, days) VALUES ('areas', 'area_capacity', 500, 1);
        INSERT INTO guardrails (name, kind, amount, days, contact_cost) VALUES ('money', 'budget', 1200000, 30, 300)");
    session.batch_execute(&rows).expect("guardrails");
    apply(&mut session, wind).expect("a run");
    let sets = ["capacity = NULL", "capacity = 900", "capacity = NULL, budget = 200000"];
    let runs: Vec<(Uuid, String)> = sets
        .iter()
        .map(|set| {
            session.batch_execute(&format!("UPDATE policy_modes SET {set}")).expect("modes");
            let run = apply(&mut session, hail).expect("a run");
            let log =
                get(&mut session, &format!("SELECT {DECIDED} FROM policy_decisions_log WHERE run_id = $1"), &[&run]);
            (run, log)
        })
        .collect();
    let reasons: String = get(
        &mut session,
        "SELECT string_agg(r, ' ' ORDER BY r) FROM policy_runs, jsonb_object_keys(reasons) AS r WHERE run_id = $1",
        &[&runs[1].0],
    );
    for reason in ["area_capacity", "consent", "do_not_contact", "frequency_cap", "over_capacity"] {
        assert!(reasons.contains(reason), "{reason} is not among {reasons}");
    }
    let blocked: i64 = get(&mut session, "SELECT count(*) FROM policy_run_inputs WHERE run_id = $1", &[&runs[0].0]);
    assert_eq!(blocked, 1, "all inputs fit into one block");
    let change = "UPDATE properties SET job_margin = 1 + random() * 9000, contact_cost = 1 + random() * 500, do_not_contact = random() < 0.5, status = 'archived', area = NULL;
        UPDATE policy_modes SET margin = 5, contact_cost = 4, confidence = 0.7, capacity = 3;
        DELETE FROM guardrails; DELETE FROM customer_journeys; DELETE FROM lead_uplift;
        INSERT INTO contact_consents (property_id, channel, consented) SELECT property_id, 'door', true FROM properties;
        UPDATE storms SET status = 'closed'".to_string();
    session.batch_execute(&change).expect("years");
    for ((run, log), set) in runs.iter().zip(sets) {
        let again = format!("SELECT {DECIDED} FROM stormops.decide_again($1)");
        assert_eq!(get::<String>(&mut session, &again, &[run]), *log, "{set}");
    }
    // Not even a superuser's hand changes an input unseen.
    db.superuser()
        .batch_execute("UPDATE stormops.policy_run_inputs SET costs[1] = coalesce(costs[1], 0) + 1")
        .expect("a superuser");
    fails_with(session.query("SELECT * FROM stormops.decide_again($1)", &[&runs[0].0]), "XX001");
    let nowhere = Uuid::from_u128(1);
    fails_with(session.query("SELECT * FROM stormops.decide_again($1)", &[&nowhere]), "P0002");
    fails_with(session.query("SELECT * FROM stormops.decide_again(NULL)", &[]), "22004");
    let old = "UPDATE stormops.policy_runs SET parameters = parameters - 'inputs'";
    db.superuser().batch_execute(old).expect("a run of an earlier version");
    fails_with(session.query("SELECT * FROM stormops.decide_again($1)", &[&runs[0].0]), "55000");
    let mut other = tenant(&db, "Other").1;
    fails_with(other.query("SELECT * FROM stormops.decide_again($1)", &[&runs[0].0]), "P0002");
}

#[test]
fn a_decision_explains_itself_by_the_log_alone() {
    let db = Db::new("explained");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", SOME);
    session
        .batch_execute(&format!("UPDATE policy_modes SET {MONEY}, holdout = 0.2, exploration = 0.2; {OUT_OF_REACH}"))
        .expect("modes");
    let touches = "INSERT INTO customer_journeys (property_id, touch, channel)
        SELECT property_id, 'call', 'door' FROM properties, generate_series(1, 5) WHERE external_id::int IN (1, 2)";
    session.batch_execute(touches).expect("touches");
    let run = apply(&mut session, hail).expect("a run");
    session.batch_execute("DELETE FROM customer_journeys; DELETE FROM guardrails; UPDATE policy_modes SET margin = 1; UPDATE properties SET status = 'archived'").expect("years");
    // Of every decision the last step is what the log has, and each step agrees with it.
    let faults = "SELECT count(*) FROM policy_decisions AS d CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(s.rule, to_jsonb(s)) AS s FROM stormops.explain_decision(d.storm_id, d.property_id) AS s) AS e
        WHERE s #>> '{decision,outcome}' <> d.decision OR (s #>> '{decision,value}')::float8 <> d.propensity
            OR (s #>> '{score,value}')::float8 <> d.score
            OR d.decision = 'exclude' AND (s #>> '{guardrails,outcome}' <> d.reason OR s ? 'break-even')
            OR d.decision <> 'exclude' AND (
                (s #>> '{not below zero,outcome}' = 'holds' AND s #>> '{break-even,outcome}' = 'holds')
                    <> (d.reason IN ('above_threshold', 'explore_hold')) AND d.reason <> 'holdout'
                OR ((s #>> '{holdout,value}')::float8 < 0.2) <> (d.reason = 'holdout')
                OR coalesce((s #>> '{exploration,value}')::float8 < (s #>> '{exploration,threshold}')::float8, false) <> (d.reason LIKE 'explore%'))";
    assert_eq!(get::<i64>(&mut session, faults, &[]), 0);
    let capped = "SELECT value, threshold, outcome, explanation FROM stormops.explain_decision($1, md5('property 1')::uuid) WHERE rule = 'guardrails'";
    let row = session.query_one(capped, &[&hail]).expect("a step");
    assert_eq!((row.get::<_, f64>(0), row.get::<_, f64>(1), row.get::<_, &str>(2)), (5.0, 4.0, "frequency_cap"));
    assert!(row.get::<_, &str>(3).contains("contacts in a month"));
    let by_run = "SELECT count(*) FROM stormops.explain_decision($1, md5('property 3')::uuid, $2)";
    assert!(get::<i64>(&mut session, by_run, &[&hail, &run]) >= 6);
    let nobody = Uuid::from_u128(1);
    for (call, refused) in [
        ("SELECT * FROM stormops.explain_decision($1, $2)", "P0002"),
        ("SELECT * FROM stormops.explain_decision($2, $1)", "P0002"),
        ("SELECT * FROM stormops.explain_decision($1, NULL, $2)", "22004"),
        ("SELECT * FROM stormops.explain_decision($1, md5('property 3')::uuid, $2)", "P0002"),
    ] {
        fails_with(session.query(call, &[&hail, &nobody]), refused);
    }
}
