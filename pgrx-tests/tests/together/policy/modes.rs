//! A tenant's modes are its own to change, within bounds; what the extension writes is nobody's.

use stormops_tests::tenant::{acting_as, scored_storm, tenant};
use stormops_tests::{Db, fails_with, get, provision, sqlstate};
use uuid::Uuid;

#[test]
fn a_tenant_changes_its_modes_and_adds_its_own() {
    let db = Db::new("modes");
    let mut session = tenant(&db, "Abc").1;
    let mut other = tenant(&db, "Other").1;
    let [hail, theirs] = [&mut session, &mut other].map(|session| scored_storm(session, "hail", 300));
    let before: i64 = get(&mut other, "SELECT treat FROM stormops.preview_policy($1)", &[&theirs]);
    let change = "UPDATE policy_modes SET capacity = 7 WHERE policy_mode = 'moderate';
        INSERT INTO policy_modes (policy_mode, confidence, exploration, holdout, breakeven_uplift)
        VALUES ('everybody', 0.001, 0, 0, 0)";
    session.batch_execute(change).expect("modes of its own");
    let treats = |session: &mut _, storm: Uuid, mode: &str| -> i64 {
        get(session, "SELECT treat FROM stormops.apply_policy($1, $2, supersede => true)", &[&storm, &mode])
    };
    assert!((1..=7).contains(&treats(&mut session, hail, "moderate")), "its own capacity");
    // A third of the scores are below zero: those not even this mode wants.
    let above: i64 = get(&mut session, "SELECT count(*) FROM lead_uplift WHERE uplift >= 0", &[]);
    assert_eq!(treats(&mut session, hail, "everybody"), above, "its own mode");
    assert_eq!(treats(&mut other, theirs, "moderate"), before, "another tenant keeps its own");
    let hint = fails_with(other.query("SELECT stormops.preview_policy($1, 'everybody')", &[&theirs]), "22023");
    assert!(!hint.hint().is_some_and(|h| h.contains("everybody")), "another tenant does not hear of it: {hint:?}");
    let kept = "SELECT (parameters ->> 'capacity')::int FROM policy_runs WHERE policy_mode = 'moderate'";
    assert_eq!(get::<i32>(&mut session, kept, &[]), 7, "the run keeps the mode as it was");
}

#[test]
fn a_mode_that_makes_no_sense_is_refused() {
    let db = Db::new("bad_modes");
    let mut session = tenant(&db, "Abc").1;
    let bounds = [
        ("confidence", "0 1 -0.5 2 NaN Infinity -Infinity"),
        ("exploration", "-0.01 0.51 NaN Infinity"),
        ("holdout", "-0.01 0.91 1 NaN Infinity"),
        ("breakeven_uplift", "-0.01 1.01 NaN Infinity"),
        ("contact_cost", "-0.01 1000000001 NaN"),
        ("capacity", "0 -1"),
        ("default_sd", "0 -1 1.01 NaN Infinity"),
        ("outcome_days", "0 -1 3651"),
        // Each of these goes with a cost, or it would be refused for the want of one.
        ("contact_cost = 10, margin", "0 -1 1000000001 NaN"),
        ("contact_cost = 10, budget", "0 -1 100000000001 NaN"),
    ];
    let single = bounds.iter().flat_map(|(column, bad)| bad.split(' ').map(move |bad| format!("{column} = '{bad}'")));
    let together = ["margin = 100", "budget = 100", "budget = 100, contact_cost = 0"].map(str::to_owned);
    for set in single.chain(together) {
        let result = session.execute(&format!("UPDATE policy_modes SET {set}"), &[]);
        assert_eq!(sqlstate(&result), "23514", "{set}");
    }
    for set in
        ["margin = 'Infinity', contact_cost = 1", "contact_cost = '-Infinity'", "margin = 1e12, contact_cost = 1"]
    {
        fails_with(session.execute(&format!("UPDATE policy_modes SET {set}"), &[]), "22003");
    }
    let named = "INSERT INTO policy_modes (policy_mode, confidence, exploration, holdout) VALUES ($1, 0.5, 0, 0)";
    for (name, sqlstate) in
        [(Some(""), "23514"), (Some(&*"x".repeat(51)), "23514"), (Some("moderate"), "23505"), (None, "23502")]
    {
        fails_with(session.execute(named, &[&name]), sqlstate);
    }
    fails_with(session.execute("UPDATE policy_modes SET policy_mode = 'x'", &[]), "42501");
    let sane = "SELECT count(*) FROM policy_modes
        JOIN stormops.default_policy_modes() AS d USING (policy_mode, confidence, exploration, holdout)
        WHERE breakeven_uplift = 0.05 AND default_sd = 0.05 AND outcome_days = 90
            AND num_nonnulls(margin, contact_cost, capacity, budget) = 0";
    assert_eq!(get::<i64>(&mut session, sane, &[]), 3, "every mode is as it was provisioned");
}

#[test]
fn only_an_admin_changes_modes() {
    let db = Db::new("mode_roles");
    let abc = provision(&db, "Abc");
    for (role, may) in [("viewer", 0), ("crew_chief", 0), ("admin", 3)] {
        let mut session = acting_as(&db, abc, role);
        assert_eq!(session.execute("UPDATE policy_modes SET capacity = 5", &[]).expect("an update"), may, "{role}");
        let insert = session.execute(
            "INSERT INTO policy_modes (policy_mode, confidence, exploration, holdout) VALUES ('m', 0.5, 0, 0)",
            &[],
        );
        match may {
            0 => drop(fails_with(insert, "42501")),
            _ => drop(insert.expect("a mode")),
        }
    }
}

#[test]
fn runs_decisions_and_outcomes_are_written_by_their_functions_only() {
    let db = Db::new("direct");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", 30);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let outcome =
        "SELECT stormops.record_outcome($1, (SELECT min(property_id::text)::uuid FROM policy_decisions), true)";
    session.execute(outcome, &[&hail]).expect("an outcome");
    let partition: String = get(&mut session, "SELECT min(tableoid::regclass::text) FROM policy_decision_blocks", &[]);
    let tables = [
        "policy_runs",
        "policy_decision_blocks",
        "policy_decision_rows",
        "policy_outcomes",
        "stormops_internal.policy_decision_blocks_default",
        "stormops_internal.policy_decision_rows_default",
        &partition,
    ];
    let views = ["policy_decisions", "policy_decisions_log", "storm_results"];
    for table in tables.into_iter().chain(views) {
        let of_blocks = table.contains("policy_decision_blocks_");
        let read = if of_blocks { "policy_decision_blocks" } else { table };
        for statement in [
            format!("INSERT INTO {table} SELECT * FROM {read} LIMIT 1"),
            format!("UPDATE {table} SET storm_id = storm_id"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("SELECT * FROM {table} FOR UPDATE"),
        ] {
            // What no view of several tables can do is refused as such, whoever asks.
            let view = views.contains(&table) && !statement.starts_with("SELECT");
            let refusals: &[&str] = if view { &["55000", "42809", "42501"] } else { &["42501"] };
            let result = session.execute(&statement, &[]);
            assert!(refusals.contains(&sqlstate(&result)), "{statement}: {result:?}");
        }
    }
}
