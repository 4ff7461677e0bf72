//! What the log says of a mode's parameters; it changes none.

use postgres::Client;
use stormops_tests::rule::seeded;
use stormops_tests::tenant::{acting_as, tenant};
use stormops_tests::{Db, fails_with, get};

use crate::uplift::{BY_HALF_THE_SCORE, answered_storm, decided_storm};

#[derive(Debug)]
struct Proposal {
    current: Option<f64>,
    proposed: Option<f64>,
    evidence: String,
    n: i64,
    low: Option<f64>,
    high: Option<f64>,
}

/// Break-even, exploration, capacity.
#[track_caller]
fn suggested(session: &mut Client) -> [Proposal; 3] {
    let rows = session.query("SELECT * FROM stormops.suggest_policy(include_open => true)", &[]).expect("proposals");
    let parameters: Vec<&str> = rows.iter().map(|row| row.get("parameter")).collect();
    assert_eq!(parameters, ["breakeven_uplift", "exploration", "capacity"]);
    [0, 1, 2].map(|i| {
        let row = &rows[i];
        let number = |column: &str| row.get::<_, Option<f64>>(column);
        Proposal {
            current: number("current"),
            proposed: number("proposed"),
            evidence: row.get("evidence"),
            n: row.get("n"),
            low: number("low"),
            high: number("high"),
        }
    })
}

#[test]
fn proposals_rest_on_what_came_of_decisions() {
    let db = Db::new("suggested");
    let mut session = seeded(&db, 7);
    let rows = "SELECT md5(string_agg(m::text, ',' ORDER BY policy_mode)) FROM policy_modes AS m";
    answered_storm(&mut session, "hail", 6000, BY_HALF_THE_SCORE);
    let [_, exploration, _] = suggested(&mut session);
    assert!(
        exploration.proposed.is_none() && exploration.evidence.contains("too few"),
        "1,500 below the rule: {exploration:?}"
    );
    session.execute("UPDATE policy_modes SET breakeven_uplift = 0.1", &[]).expect("a larger effect to show");
    let [breakeven, exploration, capacity] = suggested(&mut session);
    assert_eq!((breakeven.current, breakeven.proposed), (Some(0.1), None), "{}", breakeven.evidence);
    assert!(breakeven.evidence.contains("contact_cost"), "{}", breakeven.evidence);
    assert_eq!((exploration.current, exploration.n), (Some(0.4), 6000));
    let enough = exploration.proposed.expect("enough decisions");
    assert!((0.02..0.4).contains(&enough), "{exploration:?}");
    assert!(exploration.low.expect("an interval") <= enough && enough <= exploration.high.expect("an interval"));
    // An effect of half the score pays from a score of 0.2 on: of half of the properties, by bins of a tenth, each give or
    // take what chance does to a few hundred outcomes.
    let most = capacity.proposed.expect("outcomes");
    assert!(capacity.current.is_none() && (1800.0..=4800.0).contains(&most), "{capacity:?}");
    assert!(capacity.low.expect("an interval") <= most && most <= capacity.high.expect("an interval"));
    session.execute("UPDATE policy_modes SET margin = 5000, contact_cost = 2000", &[]).expect("money");
    let before: String = get(&mut session, rows, &[]);
    let [breakeven, _, dear] = suggested(&mut session);
    // Jobs bring 12,000 on average.
    assert_eq!(breakeven.current, Some(0.4));
    let proposed = breakeven.proposed.expect("jobs with a value");
    assert!((proposed - 1.0 / 6.0).abs() < 0.003 && breakeven.n > 1000, "{breakeven:?}");
    assert!(breakeven.low < Some(proposed) && breakeven.high > Some(proposed), "{breakeven:?}");
    assert!(dear.proposed.expect("outcomes") <= most, "{dear:?}");
    assert_eq!(get::<String>(&mut session, rows, &[]), before, "nothing was changed");
}

#[test]
fn little_evidence_is_no_proposal() {
    let db = Db::new("little");
    let (abc, mut session) = tenant(&db, "Abc");
    fails_with(session.query("SELECT stormops.suggest_policy()", &[]), "55000");
    decided_storm(&mut session, "hail", 500);
    session.execute("UPDATE policy_modes SET margin = 5000, contact_cost = 1200", &[]).expect("money");
    for proposal in suggested(&mut session) {
        assert!(proposal.proposed.is_none() && !proposal.evidence.is_empty(), "{proposal:?}");
    }
    fails_with(session.query("SELECT stormops.suggest_policy('none', true)", &[]), "22023");
    fails_with(session.query("SELECT stormops.suggest_policy()", &[]), "55000");
    // Anybody of the tenant may look, on a standby too.
    let mut viewer = acting_as(&db, abc, "viewer");
    let look = "BEGIN READ ONLY; SET LOCAL app.current_tenant = '$'; SELECT stormops.suggest_policy(include_open => true); COMMIT";
    viewer.simple_query(&look.replace('$', &abc.to_string())).expect("a reader");
    let mut other = tenant(&db, "Xyz").1;
    fails_with(other.query("SELECT stormops.suggest_policy(include_open => true)", &[]), "55000");
    fails_with(db.as_role("mon").query("SELECT stormops.suggest_policy()", &[]), "42501");
}
