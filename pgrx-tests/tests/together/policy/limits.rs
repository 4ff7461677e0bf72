//! A policy under a limit: at most so many properties, or so much money, and the best of them.

use postgres::Row;

use stormops_tests::rule::{LAWS, MONEY, OUT_OF_REACH, OWN_MONEY, decide, obeys, seeded};
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, get};

/// Looks at several storms of one tenant, each with draws of its own, under each setting of the modes.
fn each_storm(vary: &str, sets: impl IntoIterator<Item = String>, query: &str, mut check: impl FnMut(Row, &str)) {
    let db = Db::new("limits");
    db.without_guard("temporary_tables"); // which decide() fills
    let mut session = seeded(&db, 1);
    let storms = ["hail", "wind", "tornado"].map(|event| (event, scored_storm(&mut session, event, 900)));
    session.batch_execute(&format!("{vary}; {OUT_OF_REACH}")).expect("properties of all kinds");
    for set in sets {
        for (event, storm) in storms {
            decide(&mut session, storm, &set);
            obeys(&mut session, &LAWS, &format!("{set}, {event}"));
            let rows = session.query(query, &[]).expect("a row for each mode");
            assert_eq!(rows.len(), 3);
            for row in rows {
                let case = format!("{}, {set}, {event}", row.get::<_, &str>("policy_mode"));
                check(row, &case);
            }
        }
    }
}

/// A copy of a setting with each of some others.
fn with<'a>(sets: &'a [&str], others: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    sets.iter().flat_map(move |set| others.iter().map(move |other| format!("{set}, {other}")))
}

/// Without exploration and holdout: what is wanted, what the rule took, and where it cut. Value per cost, where there
/// is a cost, says how good a property is; what costs nothing comes before all others, by its value.
const CUT: &str = "
    SELECT policy_mode, max(capacity)::bigint AS capacity, max(budget)::float8 AS budget,
        count(*) FILTER (WHERE reachable) AS wanted,
        count(*) FILTER (WHERE decision = 'treat') AS taken,
        coalesce(sum(cost) FILTER (WHERE decision = 'treat'), 0) AS spent,
        min(ARRAY[best, value]) FILTER (WHERE decision = 'treat') AS worst_in,
        max(ARRAY[best, value]) FILTER (WHERE reason = 'over_capacity') AS best_out
    FROM (
        SELECT e.*, d.decision, d.reason,
            CASE WHEN e.cost = 0 THEN 'Infinity' ELSE e.value / coalesce(e.cost, 1) END AS best
        FROM decided AS d JOIN expected AS e USING (policy_mode, property_id)
    ) AS p
    GROUP BY policy_mode";

fn cut_between_the_better_and_the_worse(row: &Row, case: &str) {
    let worst_in: Option<Vec<f64>> = row.get("worst_in");
    if let (Some(inside), Some(outside)) = (worst_in, row.get::<_, Option<Vec<f64>>>("best_out")) {
        assert!(inside >= outside, "the better was left out: {outside:?} is above {inside:?} ({case})");
    }
}

#[test]
fn capacity_takes_the_best_and_no_more() {
    let money = ["margin = NULL, contact_cost = NULL", MONEY, "margin = 8000, contact_cost = 0"];
    let sets = with(&["capacity = 1", "capacity = 200", "capacity = 100000"], &money);
    let sets = sets.map(|set| format!("exploration = 0, holdout = 0, {set}"));
    each_storm(OWN_MONEY, sets, CUT, |row, case| {
        let [wanted, taken, capacity] = ["wanted", "taken", "capacity"].map(|name| row.get::<_, i64>(name));
        assert_eq!(taken, wanted.min(capacity), "{case}");
        cut_between_the_better_and_the_worse(&row, case);
    });
}

#[test]
fn a_budget_is_spent_on_the_best_and_never_exceeded() {
    let sets = with(&[MONEY], &["budget = 300", "budget = 20000", "budget = 1e9"]);
    let sets = sets.map(|set| format!("exploration = 0, holdout = 0, {set}"));
    each_storm(OWN_MONEY, sets, CUT, |row, case| {
        let [spent, budget] = ["spent", "budget"].map(|name| row.get::<_, f64>(name));
        assert!(spent <= budget, "{spent} spent ({case})");
        cut_between_the_better_and_the_worse(&row, case);
        // No contact costs more than 700, so the cut falls where less than that is left.
        let all = row.get::<_, i64>("taken") == row.get::<_, i64>("wanted");
        assert!(all == (budget > 1e6) && (all || budget - spent < 700.0), "{spent} spent ({case})");
    });
}

/// The swaps that the comment on `policy_decisions()` promises: a fixed number of the chosen against as many others.
/// Without money no two scores are equal, so who is chosen is certain.
const SWAPS: &str = "
    WITH ranked AS (
        SELECT *, coalesce(row_number() OVER (PARTITION BY policy_mode ORDER BY reachable DESC, value DESC) <= capacity
            AND reachable, false) AS chosen
        FROM expected WHERE NOT do_not_contact
    ), counted AS (
        SELECT *, count(*) FILTER (WHERE chosen) OVER mode AS inside,
            count(*) FILTER (WHERE NOT chosen) OVER mode AS outside
        FROM ranked WINDOW mode AS (PARTITION BY policy_mode)
    ), swapped AS (
        SELECT *, least(round(flip * inside), outside) AS swaps FROM counted
    ), rated AS (
        SELECT *, (1 - holdout) * CASE WHEN chosen THEN 1 - swaps / inside ELSE swaps / outside END AS rate FROM swapped
    )
    SELECT policy_mode, max(capacity)::bigint AS capacity, max(holdout) AS holdout, max(inside) AS inside,
        max(swaps)::bigint AS swaps,
        count(*) FILTER (WHERE decision = 'treat') AS treated,
        count(*) FILTER (WHERE reason = 'explore_treat') AS swapped_in,
        count(*) FILTER (WHERE reason = 'explore_hold') AS swapped_out,
        count(*) FILTER (WHERE reason <> 'holdout' AND chosen <> (reason IN ('above_threshold', 'explore_hold')))
            AS misplaced,
        count(*) FILTER (WHERE abs(propensity - CASE decision WHEN 'treat' THEN rate ELSE 1 - rate END) > 1e-12)
            AS misrated
    FROM decided JOIN rated USING (policy_mode, property_id) GROUP BY policy_mode";

#[test]
fn exploration_swaps_a_fixed_number_and_never_treats_more_than_the_capacity() {
    let chances = [
        "exploration = 0.05, holdout = 0",
        "exploration = 0.5, holdout = 0", // more swaps than there are others, at the largest capacity
        "exploration = 0.1, holdout = 0.2",
    ];
    let sets = with(&["capacity = 1", "capacity = 37", "capacity = 800"], &chances);
    each_storm("", sets, SWAPS, |row, case| {
        let count = |name| row.get::<_, i64>(name);
        let [capacity, inside, swaps] = ["capacity", "inside", "swaps"].map(count);
        let [treated, swapped_in, swapped_out] = ["treated", "swapped_in", "swapped_out"].map(count);
        assert!(treated <= capacity, "{treated} treated ({case})");
        assert_eq!([count("misplaced"), count("misrated")], [0, 0], "who is chosen, and how likely that was ({case})");
        if row.get::<_, f64>("holdout") == 0.0 {
            assert_eq!([swapped_in, swapped_out, treated], [swaps, swaps, inside], "{case}");
        } else {
            assert!(swapped_in <= swaps && swapped_out <= swaps, "{case}");
        }
    });
}

/// Three tenths make 0.30000000000000004 when doubles are added: a budget is spent to the last cent all the same.
#[test]
fn a_budget_is_spent_to_the_last_cent() {
    let db = Db::new("cents");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = scored_storm(&mut session, "hail", 300);
    let set = "UPDATE policy_modes SET margin = 10, contact_cost = 0.10, budget = 0.30, exploration = 0, holdout = 0, confidence = 0.5";
    session.batch_execute(set).expect("modes");
    assert_eq!(get::<i64>(&mut session, "SELECT treat FROM stormops.preview_policy($1)", &[&hail]), 3);
}
