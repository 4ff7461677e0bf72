//! apply_policy() as a command: who may, when it is refused, and that of two at once one wins.

use postgres::{Client, Error, NoTls};
use stormops_tests::tenant::{acting_as, scored_storm, session, storm, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get, sqlstate};
use uuid::Uuid;

const SOME: i32 = 300;

fn apply(session: &mut Client, storm: Uuid, supersede: bool) -> Result<Uuid, Error> {
    let run =
        session.query_one("SELECT run_id FROM stormops.apply_policy($1, supersede => $2)", &[&storm, &supersede])?;
    Ok(run.get(0))
}

/// Runs, current runs and logged decisions of the session's tenant.
fn written(session: &mut Client) -> (i64, i64, i64) {
    let counts =
        "SELECT count(*), count(*) FILTER (WHERE superseded_at IS NULL), (SELECT count(*) FROM policy_decisions_log)
        FROM policy_runs";
    let row = session.query_one(counts, &[]).expect("counts");
    (row.get(0), row.get(1), row.get(2))
}

#[test]
fn what_cannot_be_decided_is_refused_with_its_reason_and_leaves_nothing() {
    let db = Db::new("refusals");
    let (abc, mut session) = tenant(&db, "Abc");
    let mut others = tenant(&db, "Other").1;
    let foreign = scored_storm(&mut others, "theirs", SOME);
    let scored = scored_storm(&mut session, "hail", SOME);
    let closed = scored_storm(&mut session, "closed", SOME);
    let bare = storm(&mut session, "bare");
    let archived = scored_storm(&mut session, "archived", SOME);
    let prepare = format!(
        "UPDATE storms SET status = 'closed' WHERE storm_id = '{closed}';
         INSERT INTO properties (property_id, status) VALUES ('{archived}', 'archived');
         DELETE FROM lead_uplift WHERE storm_id = '{archived}';
         INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
         VALUES ('{archived}', '{archived}', 'v1', 0.1)"
    );
    session.batch_execute(&prepare).expect("storms that cannot be decided");
    let nowhere = Uuid::from_u128(1);
    let modes = "modes are conservative, moderate, aggressive";
    let cases = [
        (Some(nowhere), Some("moderate"), "P0002", "storm @ does not exist", "shows this tenant's storms"),
        (Some(foreign), Some("moderate"), "P0002", "storm @ does not exist", "shows this tenant's storms"),
        (None, Some("moderate"), "22004", "storm NULL does not exist", "shows this tenant's storms"),
        (Some(closed), Some("moderate"), "55000", "storm @ is closed", "opens it again"),
        (Some(bare), Some("moderate"), "55000", "storm @ has no scored property", "lead_uplift"),
        (Some(archived), Some("moderate"), "55000", "storm @ has no scored property", "lead_uplift"),
        (Some(scored), Some("bold"), "22023", "unknown policy mode \"bold\"", modes),
        (Some(scored), Some(" "), "22023", "unknown policy mode \" \"", modes),
    ];
    for call in ["apply_policy", "preview_policy"] {
        for (storm, mode, sqlstate, message, hint) in &cases {
            let result = session.query(&format!("SELECT * FROM stormops.{call}($1, $2)"), &[storm, mode]);
            let error = fails_with(result, sqlstate);
            let said = storm.map_or(error.message().to_owned(), |id| error.message().replace(&id.to_string(), "@"));
            assert!(message.is_empty() || said == *message, "{call}: {said}");
            assert!(
                !error.message().is_empty() && error.hint().is_some_and(|h| h.contains(hint)),
                "{call} {said}: {:?}",
                error.hint()
            );
        }
    }
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    assert_eq!(fails_with(apply(&mut session, scored, false), "55000").message(), "tenant is suspended");
    session.execute("SELECT stormops.preview_policy($1)", &[&scored]).expect("a suspended tenant reads");
    assert_eq!(written(&mut session), (0, 0, 0));
}

#[test]
fn only_crew_chiefs_and_admins_of_a_tenant_apply_and_everybody_in_it_previews() {
    let db = Db::new("roles");
    let (abc, mut first) = tenant(&db, "Abc");
    let hail = scored_storm(&mut first, "hail", SOME);
    for (role, may) in [("viewer", false), ("field_user", false), ("crew_chief", true), ("admin", true)] {
        let mut session = acting_as(&db, abc, role);
        session.execute("SELECT stormops.preview_policy($1)", &[&hail]).expect("a preview");
        let applied = apply(&mut session, hail, true);
        match may {
            true => drop(applied.expect("a run")),
            false => {
                let error = fails_with(applied, "42501");
                assert!(error.hint().is_some_and(|hint| hint.contains("preview_policy")), "{error:?}");
            }
        }
    }
    let acted = "SELECT count(*) FROM policy_runs AS r JOIN users AS u ON u.user_id = r.acting_user
        WHERE r.decided_by = 'tapp' AND u.role IN ('crew_chief', 'admin')";
    assert_eq!(get::<i64>(&mut first, acted, &[]), 2, "each run says who applied it");
    for (role, sqlstate) in
        [("tapp", "0B000"), ("app", "0B000"), ("op", "42501"), ("mon", "42501"), ("nobody", "42501")]
    {
        fails_with(apply(&mut db.as_role(role), hail, true), sqlstate);
    }
}

#[test]
fn a_second_run_replaces_the_first_only_when_told_to_and_both_stay_in_the_log() {
    let db = Db::new("supersede");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", SOME);
    let wind = scored_storm(&mut session, "wind", SOME);
    let first = apply(&mut session, hail, false).expect("a run");
    let unsure = "SELECT stormops.apply_policy($1, supersede => NULL)";
    for refused in [apply(&mut session, hail, false).map(drop), session.execute(unsure, &[&hail]).map(drop)] {
        let error = fails_with(refused, "55000");
        assert!(error.detail().is_some_and(|d| d.contains(&first.to_string())), "{:?}", error.detail());
        assert!(error.hint().is_some_and(|h| h.contains("supersede => true")), "{:?}", error.hint());
    }
    apply(&mut session, wind, false).expect("another storm is another matter");
    let replaces: Uuid = get(&mut session, "SELECT supersedes FROM stormops.preview_policy($1)", &[&hail]);
    let second = apply(&mut session, hail, true).expect("a second run");
    let link = "SELECT old.run_id FROM policy_runs AS new JOIN policy_runs AS old ON old.run_id = new.supersedes
        WHERE new.run_id = $1 AND new.superseded_at IS NULL AND old.superseded_at = new.decided_at";
    assert_eq!([get::<Uuid>(&mut session, link, &[&second]), replaces], [first; 2]);
    assert_eq!(written(&mut session), (3, 2, 3 * i64::from(SOME)));
    // Not even a superuser's hand makes two runs of a storm current.
    let both = db.superuser().execute("UPDATE stormops.policy_runs SET superseded_at = NULL", &[]);
    assert_eq!(fails_with(both, "23505").constraint(), Some("policy_runs_current"));
    let stand = "SELECT count(*), array_agg(DISTINCT run_id) FROM policy_decisions WHERE storm_id = $1";
    let stand = session.query_one(stand, &[&hail]).expect("the decisions that stand");
    assert_eq!((stand.get(0), stand.get(1)), (i64::from(SOME), vec![second]));
}

#[test]
fn of_two_who_apply_at_once_one_wins_and_two_who_supersede_go_one_after_the_other() {
    let db = Db::new("at_once");
    let (abc, mut first) = tenant(&db, "Abc");
    let hail = scored_storm(&mut first, "hail", SOME);
    for (supersede, expected, runs) in [(false, ["00000", "55000"], 1), (true, ["00000", "00000"], 3)] {
        // Both are well under way, and neither has seen the other, when the storm's row is let go.
        let mut gate = db.superuser();
        let hold = format!("BEGIN; SELECT FROM stormops.storms WHERE storm_id = '{hail}' FOR UPDATE");
        gate.batch_execute(&hold).expect("the storm's row");
        let both = [(); 2].map(|()| {
            let mut session = session(&db, abc);
            std::thread::spawn(move || apply(&mut session, hail, supersede))
        });
        await_blocked(&db, 2);
        gate.batch_execute("COMMIT").expect("an open gate");
        let mut ended = both.map(|thread| sqlstate(&thread.join().expect("an end")).to_owned());
        ended.sort();
        assert_eq!(ended, expected);
        assert_eq!(written(&mut first), (runs, 1, runs * i64::from(SOME)));
    }
    let chain = "SELECT count(DISTINCT supersedes) FROM policy_runs";
    assert_eq!(get::<i64>(&mut first, chain, &[]), 2, "each of the later runs replaced the one before it");
}

#[test]
fn the_run_that_stands_is_the_latest_though_its_transaction_began_first() {
    let db = Db::new("began_first");
    let (abc, mut late) = tenant(&db, "Abc");
    let hail = scored_storm(&mut late, "hail", SOME);
    late.batch_execute("BEGIN; SELECT now()").expect("a transaction, with its time");
    let other = apply(&mut session(&db, abc), hail, false).expect("a run of a transaction that began later");
    let stands = apply(&mut late, hail, true).expect("a run that replaces it");
    late.batch_execute("COMMIT").expect("a commit");
    let order =
        "SELECT array_agg(run_id ORDER BY decided_at, run_id), bool_and(superseded_at >= decided_at) FROM policy_runs";
    let row = late.query_one(order, &[]).expect("both");
    assert_eq!((row.get(0), row.get(1)), (vec![other, stands], Some(true)));
    let outcome = "SELECT recorded FROM record_outcome($1, (SELECT property_id FROM policy_decisions LIMIT 1), true)";
    assert!(get::<bool>(&mut late, outcome, &[&hail]));
    assert_eq!(get::<Uuid>(&mut late, "SELECT run_id FROM policy_outcomes", &[]), stands, "the run that was current");
}

#[test]
fn how_a_session_prints_numbers_changes_no_parameter_and_no_value() {
    let db = Db::new("float_digits");
    let (_, mut session) = tenant(&db, "Abc");
    let hail = scored_storm(&mut session, "hail", SOME);
    session.batch_execute("UPDATE policy_modes SET margin = 8000, contact_cost = 400").expect("money");
    let run = apply(&mut session, hail, false).expect("a run");
    session.batch_execute("SET extra_float_digits = -15").expect("anybody may");
    let preview = "SELECT expected_value::text FROM preview_policy($1)";
    let previewed: String = get(&mut session, preview, &[&hail]);
    let rough = apply(&mut session, hail, true).expect("a run");
    let same = "SELECT count(DISTINCT parameters) = 1 AND count(DISTINCT expected_value) = 1 AND min(expected_value)::text = $3
        FROM policy_runs WHERE run_id IN ($1, $2)";
    assert!(get::<bool>(&mut session, same, &[&run, &rough, &previewed]));
}

#[test]
fn a_run_that_is_cancelled_or_rolled_back_leaves_nothing() {
    let db = Db::new("half_way");
    let (abc, mut first) = tenant(&db, "Abc");
    let hail = scored_storm(&mut first, "hail", SOME);
    // Nobody may write a run meanwhile: apply_policy() has logged all decisions when it comes to that.
    let mut gate = db.superuser();
    gate.batch_execute("BEGIN; LOCK TABLE stormops.policy_runs IN SHARE MODE").expect("a gate");
    let mut session = session(&db, abc);
    let token = session.cancel_token();
    let half = std::thread::spawn(move || apply(&mut session, hail, false));
    await_blocked(&db, 1);
    token.cancel_query(NoTls).expect("a cancel");
    fails_with(half.join().expect("an end"), "57014");
    gate.batch_execute("COMMIT").expect("an open gate");
    assert_eq!(written(&mut first), (0, 0, 0));

    first.batch_execute("BEGIN").expect("a transaction");
    apply(&mut first, hail, false).expect("a run");
    assert_eq!(written(&mut first), (1, 1, i64::from(SOME)));
    first.batch_execute("ROLLBACK").expect("a rollback");
    assert_eq!(written(&mut first), (0, 0, 0));
    apply(&mut first, hail, false).expect("as if nothing had been");
    assert_eq!(written(&mut first), (1, 1, i64::from(SOME)));
}
