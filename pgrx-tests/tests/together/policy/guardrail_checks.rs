//! check_guardrails(): what was done otherwise than decided is found, and what was not is not.

use std::collections::BTreeMap;

use postgres::Client;
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

const SOME: i32 = 1500;

/// Check, n, value, verdict.
fn checks(session: &mut Client, storm: Uuid) -> BTreeMap<String, (i64, Option<f64>, String)> {
    let rows = session
        .query("SELECT check_name, n, value, verdict FROM stormops.check_guardrails($1)", &[&storm])
        .expect("checks");
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect()
}

/// Touches properties of the storm's run so that a verdict falls.
fn touch(session: &mut Client, storm: Uuid, whom: &str, columns: &str, values: &str) {
    let insert =
        format!("INSERT INTO {columns} SELECT {values} FROM policy_decisions WHERE storm_id = '{storm}' AND {whom}");
    session.batch_execute(&insert).expect("rows");
}
const CALL: (&str, &str) =
    ("customer_journeys (storm_id, property_id, touch, channel)", "storm_id, property_id, 'call', 'phone'");
const REFUSAL: (&str, &str) = ("contact_consents (property_id, channel, consented)", "property_id, 'phone', false");

#[test]
fn each_check_finds_what_it_is_there_for_and_nothing_else() {
    let db = Db::new("checks");
    let mut session = tenant(&db, "Abc").1;
    session.batch_execute("UPDATE policy_modes SET holdout = 0.3").expect("a mode");
    let [hail, wind] = ["hail", "wind"].map(|event| scored_storm(&mut session, event, SOME));
    fails_with(session.query("SELECT * FROM stormops.check_guardrails($1)", &[&hail]), "55000");
    fails_with(session.query("SELECT * FROM stormops.check_guardrails(NULL)", &[]), "22004");
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    fails_with(session.query("SELECT * FROM stormops.check_guardrails($1, 0.7)", &[&hail]), "22023");
    touch(&mut session, hail, "decision = 'treat'", CALL.0, CALL.1);
    let verdicts = |session: &mut Client| -> BTreeMap<String, String> {
        checks(session, hail).into_iter().map(|(name, (.., verdict))| (name, verdict)).collect()
    };
    let sound = verdicts(&mut session);
    let named = "control_touched control_treated excluded_touched harm held_touched holdout_draw holdout_touched holdout_treated_elsewhere \
        opt_outs over_cap propensity_sum treated_untouched";
    assert_eq!(sound.keys().map(String::as_str).collect::<Vec<_>>(), named.split_whitespace().collect::<Vec<_>>());
    for (name, verdict) in &sound {
        let nobody = name.starts_with("control") || name == "excluded_touched";
        let expected = if nobody {
            "no_data"
        } else if name == "treated_untouched" {
            "awaiting"
        } else {
            "ok"
        };
        assert_eq!(verdict, expected, "{name}");
    }
    let held: i64 = get(&mut session, "SELECT count(*) FROM policy_decisions WHERE reason = 'holdout'", &[]);
    let mut broken = |what: &str, script: &dyn Fn(&mut Client), found: &[(&str, &str)]| {
        session.batch_execute("BEGIN").expect("a transaction");
        script(&mut session);
        let now = verdicts(&mut session);
        session.batch_execute("ROLLBACK").expect("as before");
        let changed: Vec<(&str, &str)> = now
            .iter()
            .filter(|(name, verdict)| sound[*name] != **verdict)
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(changed, found, "{what}");
    };
    broken(
        "the held out were called",
        &|s| touch(s, hail, "reason = 'holdout' AND random() < 0.1", CALL.0, CALL.1),
        &[("held_touched", "alarm"), ("holdout_touched", "alarm")],
    );
    broken(
        "another storm treats them",
        &|s| {
            s.batch_execute("DELETE FROM guardrails; UPDATE policy_modes SET holdout = 0").expect("an admin");
            s.execute("SELECT stormops.apply_policy($1)", &[&wind]).expect("a run");
        },
        &[("holdout_treated_elsewhere", "alarm")],
    );
    broken(
        "the treated refuse",
        &|s| touch(s, hail, "decision = 'treat' AND random() < 0.2", REFUSAL.0, REFUSAL.1),
        &[("harm", "alarm"), ("opt_outs", "alarm")],
    );
    broken(
        "some are called again and again",
        &|s| (0..5).for_each(|_| touch(s, hail, "property_id = md5('property 1')::uuid", CALL.0, CALL.1)),
        &[("over_cap", "alarm")],
    );
    let (n, value, _) = &checks(&mut session, hail)["holdout_touched"];
    assert_eq!((*n, *value), (held, Some(0.0)));
}

#[test]
fn a_log_that_was_tampered_with_and_crews_that_stay_at_home_are_found() {
    let db = Db::new("checks_of_the_log");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", SOME);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let verdict = |session: &mut Client, name: &str| checks(session, hail)[name].2.clone();
    assert_eq!(verdict(&mut session, "treated_untouched"), "awaiting");
    let mut superuser = db.superuser();
    superuser
        .batch_execute("UPDATE stormops.policy_runs SET decided_at = decided_at - interval '15 days'")
        .expect("a fortnight");
    assert_eq!(verdict(&mut session, "treated_untouched"), "alarm");
    assert_eq!([verdict(&mut session, "propensity_sum"), verdict(&mut session, "holdout_draw")], ["ok", "ok"]);
    let tamper = "UPDATE stormops.policy_decision_blocks SET
        propensities = ARRAY(SELECT CASE u.d WHEN 'hold' THEN 0.5 ELSE u.p END FROM unnest(decisions, propensities) WITH ORDINALITY AS u (d, p, i) ORDER BY u.i),
        reasons = ARRAY(SELECT CASE u.d WHEN 'hold' THEN 'below_threshold' ELSE u.r END FROM unnest(decisions, reasons) WITH ORDINALITY AS u (d, r, i) ORDER BY u.i)";
    superuser.batch_execute(tamper).expect("a superuser");
    assert_eq!([verdict(&mut session, "propensity_sum"), verdict(&mut session, "holdout_draw")], ["alarm", "alarm"]);
}

#[test]
fn an_experiments_controls_are_counted_where_the_guardrail_was_off() {
    let db = Db::new("checks_of_controls");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", SOME);
    session.batch_execute("DELETE FROM guardrails").expect("an admin");
    let experiment: Uuid =
        get(&mut session, "SELECT experiment_id FROM stormops.create_experiment($1, 'A/B')", &[&hail]);
    session.execute("SELECT stormops.assign_experiment($1)", &[&experiment]).expect("arms");
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    touch(&mut session, hail, "decision = 'treat'", CALL.0, CALL.1);
    let found = checks(&mut session, hail);
    assert_eq!([&*found["control_treated"].2, &*found["control_touched"].2], ["alarm", "alarm"]);
    assert!(!found.contains_key("over_cap"), "no cap");
    session.execute("SELECT stormops.add_default_guardrails()", &[]).expect("an admin");
    session.execute("SELECT stormops.apply_policy($1, supersede => true)", &[&hail]).expect("a run");
    let found = checks(&mut session, hail);
    assert_eq!([&*found["control_treated"].2, &*found["control_touched"].2, &*found["excluded_touched"].2], ["ok"; 3]);
}
