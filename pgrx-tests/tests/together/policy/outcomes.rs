//! What came of the decisions: each outcome is counted once, in the run that was current when it occurred.

use postgres::Client;
use stormops_tests::tenant::{acting_as, scored_storm, session, storm, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get};
use uuid::Uuid;

const SOME: i32 = 1000;

/// A tenant with a storm that a policy was applied to, with two properties decided.
struct Applied {
    db: Db,
    tenant: Uuid,
    session: Client,
    hail: Uuid,
    run: Uuid,
    one: Uuid,
    other: Uuid,
}

fn applied(name: &str) -> Applied {
    let db = Db::new(name);
    let (tenant, mut session) = tenant(&db, "Abc");
    let hail = scored_storm(&mut session, "hail", SOME);
    let run = get(&mut session, "SELECT run_id FROM stormops.apply_policy($1)", &[&hail]);
    let [one, other] = ["property 1", "property 2"].map(|name| get(&mut session, "SELECT md5($1)::uuid", &[&name]));
    Applied { db, tenant, session, hail, run, one, other }
}

/// Moves a run into the past, as if time had gone by. Only a superuser can.
fn age(db: &Db, run: Uuid, days: i32) {
    let age = "UPDATE stormops.policy_runs SET decided_at = now() - make_interval(days => $2) WHERE run_id = $1";
    assert_eq!(db.superuser().execute(age, &[&run, &days]).expect("an older run"), 1);
}

/// Calls record_outcomes() with elements given as SQL: recorded, duplicates, late.
fn record(session: &mut Client, storm: Uuid, elements: &str) -> Result<[i64; 3], postgres::Error> {
    let call = format!("SELECT * FROM stormops.record_outcomes($1, jsonb_build_array({elements}))");
    session.query_one(&call, &[&storm]).map(|row| [0, 1, 2].map(|i| row.get(i)))
}

fn element(property: Uuid, rest: &str) -> String {
    format!("jsonb_build_object('property_id', '{property}', 'converted', true {rest})")
}

fn count(session: &mut Client) -> i64 {
    get(session, "SELECT count(*) FROM policy_outcomes", &[])
}

#[test]
fn an_outcome_sent_again_is_counted_once_and_a_key_has_one_content() {
    let Applied { db: _db, mut session, hail, one, other, .. } = applied("again");
    // The calls are made in this order: what is sent, and recorded, duplicates or the SQLSTATE.
    let cases = [
        (element(one, ", 'value', 100"), Ok([1, 0])),
        (element(one, ", 'value', 100"), Ok([0, 1])),
        (element(one, ", 'value', 100.001"), Ok([0, 1])), // the same to the cent
        (element(one, ", 'value', 100.01"), Err("23505")),
        (element(one, ""), Err("23505")),
        (element(one, ", 'value', 5, 'idempotency_key', 'k'"), Ok([1, 0])),
        (element(other, ", 'value', 5, 'idempotency_key', 'k'"), Err("23505")),
        (element(one, ", 'value', 5, 'idempotency_key', 'k', 'occurred_at', now()"), Ok([0, 1])),
        (format!("{0}, {0}", element(other, ", 'value', 1, 'idempotency_key', 'twice'")), Ok([1, 1])),
        (
            [1, 2].map(|v| element(other, &format!(", 'value', {v}, 'idempotency_key', 'torn'"))).join(", "),
            Err("23505"),
        ),
        (
            ["1.001", "1"].map(|v| element(other, &format!(", 'value', {v}, 'idempotency_key', 'cent'"))).join(", "),
            Ok([1, 1]),
        ),
    ];
    for (sent, expected) in cases {
        match expected {
            Ok([recorded, duplicates]) => {
                assert_eq!(record(&mut session, hail, &sent).expect("recorded"), [recorded, duplicates, 0], "{sent}");
            }
            Err(sqlstate) => drop(fails_with(record(&mut session, hail, &sent), sqlstate)),
        }
    }
    assert_eq!(count(&mut session), 4);
    let single = "SELECT recorded, duplicate, late FROM stormops.record_outcome($1, $2, $3)";
    for (recorded, duplicate) in [(true, false), (false, true)] {
        let row = session.query_one(single, &[&hail, &other, &false]).expect("an outcome");
        assert_eq!([row.get::<_, bool>(0), row.get(1), row.get(2)], [recorded, duplicate, false]);
    }
    fails_with(session.query(single, &[&hail, &other, &true]), "23505");
    assert_eq!(count(&mut session), 5);
}

#[test]
fn what_cannot_be_an_outcome_is_refused_with_all_that_came_with_it() {
    let Applied { db, tenant, mut session, hail, one, other, .. } = applied("refused");
    let undecided: Uuid = get(&mut session, "INSERT INTO properties DEFAULT VALUES RETURNING property_id", &[]);
    let bare = storm(&mut session, "bare");
    let bad = [
        (hail, element(one, ", 'value', -0.01"), "22023"),
        (hail, element(one, ", 'value', 100000000001"), "22023"),
        (hail, element(one, ", 'value', 'NaN'"), "22023"),
        (hail, element(one, ", 'value', 'Infinity'"), "22023"),
        (hail, element(one, ", 'occurred_at', now() + interval '1 hour'"), "22023"),
        (hail, element(one, ", 'occurred_at', 'infinity'"), "22023"),
        (hail, element(one, ", 'occurred_at', '-infinity'"), "22023"),
        (hail, element(one, ", 'occurred_at', now() - interval '1 hour'"), "22023"), // before the decision
        (hail, element(one, ", 'idempotency_key', ''"), "22023"),
        (hail, element(one, ", 'idempotency_key', repeat('x', 201)"), "22023"),
        (hail, element(undecided, ""), "22023"),
        (hail, element(Uuid::nil(), ""), "22023"),
        (bare, element(one, ""), "22023"),
        (Uuid::nil(), element(one, ""), "22023"),
        (hail, "jsonb_build_object('converted', true)".to_owned(), "22023"),
        (hail, format!("jsonb_build_object('property_id', '{one}')"), "22023"),
        (hail, "1".to_owned(), "22023"),
        (hail, "1, 2, 'a'::text".to_owned(), "22023"),
        (hail, element(one, ", 'value', 'much'"), "22P02"),
        (hail, element(one, ", 'occurred_at', 'soon'"), "22007"),
        (hail, "'{\"property_id\": \"x\"}'::jsonb".to_owned(), "22P02"),
    ];
    // A good one before and a good one after: neither may be written.
    for (storm, sent, sqlstate) in &bad {
        let good = element(other, "");
        let error = fails_with(record(&mut session, *storm, &format!("{good}, {sent}, {good}")), sqlstate);
        assert!(error.hint().is_some(), "no hint: {}", error.message());
    }
    let one_of_many = "SELECT stormops.record_outcomes($1, jsonb_agg(jsonb_build_object(
            'property_id', property_id, 'converted', true, 'value', CASE property_id WHEN $2 THEN -1 ELSE 1 END)))
        FROM policy_decisions";
    let error = fails_with(session.query(one_of_many, &[&hail, &one]), "22023");
    assert!(error.detail().is_some_and(|d| d.contains(&one.to_string())), "which one: {:?}", error.detail());
    for (storm, outcomes, sqlstate) in [
        (Some(hail), None, "22004"),
        (None, Some("[]"), "22004"),
        (Some(hail), Some("{}"), "22023"),
        (Some(hail), Some("1"), "22023"),
    ] {
        fails_with(
            session.query("SELECT stormops.record_outcomes($1, $2::text::jsonb)", &[&storm, &outcomes]),
            sqlstate,
        );
    }
    assert_eq!(record(&mut session, hail, "VARIADIC '{}'::text[]").expect("nothing to do"), [0, 0, 0]);
    let error = fails_with(record(&mut acting_as(&db, tenant, "viewer"), hail, &element(one, "")), "42501");
    assert!(error.hint().is_some_and(|hint| hint.contains("role_matrix")), "{error:?}");
    let mut others = stormops_tests::tenant::tenant(&db, "Other").1;
    fails_with(record(&mut others, hail, &element(one, "")), "22023");
    assert_eq!(count(&mut session), 0);
    record(&mut acting_as(&db, tenant, "field_user"), hail, &element(one, "")).expect("a field user may");
    assert_eq!(count(&mut session), 1);
}

#[test]
fn an_outcome_belongs_to_the_run_current_when_it_occurred_and_is_late_after_the_window() {
    let Applied { db, mut session, hail, run, one, other, .. } = applied("window");
    age(&db, run, 100);
    let second: Uuid = get(&mut session, "SELECT run_id FROM stormops.apply_policy($1, supersede => true)", &[&hail]);
    // Days after the first decision, key and property; the run, and whether late. The mode's window is 90 days.
    let decided = "(SELECT min(decided_at) FROM policy_runs)";
    let cases = [
        ("interval '0'", one, run, false),
        ("interval '90 days'", one, run, false),
        ("interval '90 days 1 second'", one, run, true),
        ("interval '99 days'", other, run, true),
    ];
    for (i, (after, property, belongs, late)) in cases.into_iter().enumerate() {
        let sent =
            element(property, &format!(", 'value', 10, 'idempotency_key', '{i}', 'occurred_at', {decided} + {after}"));
        assert_eq!(record(&mut session, hail, &sent).expect("an outcome"), [1, 0, i64::from(late)], "{after}");
        let kept =
            session.query_one("SELECT run_id, late FROM policy_outcomes WHERE idempotency_key = $1", &[&i.to_string()]);
        let kept = kept.expect("the outcome");
        assert_eq!((kept.get::<_, Uuid>(0), kept.get::<_, bool>(1)), (belongs, late), "{after}");
    }
    assert_eq!(record(&mut session, hail, &element(one, ", 'value', 3")).expect("now"), [1, 0, 0]);
    let unconverted =
        format!("jsonb_build_object('property_id', '{one}', 'converted', false, 'value', 4, 'idempotency_key', 'u')");
    record(&mut session, hail, &unconverted).expect("a second outcome of the property");
    // Only what belongs to the current run counts: one property, which converted, with both values.
    let results =
        "SELECT sum(properties)::bigint, sum(with_outcome)::bigint, sum(converted)::bigint, sum(value)::float8,
        count(*) FILTER (WHERE run_id <> $1) FROM storm_results";
    let row = session.query_one(results, &[&second]).expect("results");
    assert_eq!(
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)),
        (i64::from(SOME), 1i64, 1i64, 7.0f64, 0i64)
    );
    // And of the current run only what came in time.
    age(&db, second, 95);
    record(&mut session, hail, &element(other, ", 'value', 1000")).expect("a late one");
    assert_eq!(get::<f64>(&mut session, "SELECT sum(value)::float8 FROM storm_results", &[]), 7.0);
}

/// Of a clock that was a day ahead and has been put back: what happens now belongs to the run that is current now.
#[test]
fn a_clock_that_was_ahead_sends_no_outcome_to_a_run_that_is_over() {
    let Applied { db, mut session, hail, run, one, other, .. } = applied("ahead");
    age(&db, run, 3);
    let again = "SELECT run_id FROM stormops.apply_policy($1, supersede => true)";
    let ahead: Uuid = get(&mut session, again, &[&hail]);
    age(&db, ahead, -1);
    let belongs = |session: &mut Client, property: Uuid, rest: &str, key: &str| -> Uuid {
        let keyed = format!("{rest}, 'idempotency_key', '{key}'");
        assert_eq!(record(session, hail, &element(property, &keyed)).expect("an outcome")[0], 1, "{rest}");
        get(session, "SELECT run_id FROM policy_outcomes WHERE idempotency_key = $1", &[&key])
    };
    assert_eq!(belongs(&mut session, one, "", "now"), ahead);
    assert_eq!(belongs(&mut session, one, ", 'occurred_at', now() - interval '2 days'", "before"), run);
    // The next run comes after it, though the clock says before.
    let third: Uuid = get(&mut session, again, &[&hail]);
    assert_eq!(belongs(&mut session, other, "", "third"), third);
    let late = "SELECT late FROM stormops.record_outcomes($1, jsonb_build_array(jsonb_build_object(
        'property_id', $2::uuid, 'converted', true, 'idempotency_key', 'soon')))";
    assert_eq!(get::<i64>(&mut session, late, &[&hail, &other]), 0);
}

#[test]
fn of_two_sessions_that_send_one_key_at_once_one_counts() {
    let Applied { db, tenant, session: mut first, hail, one, .. } = applied("at_once");
    // What the second one sends while the first has written and not yet committed.
    for (key, value, expected) in [("same", 1, Ok([0, 1, 0])), ("another", 2, Err("23505"))] {
        first.batch_execute("BEGIN").expect("a transaction");
        let sent = element(one, &format!(", 'value', 1, 'idempotency_key', '{key}'"));
        record(&mut first, hail, &sent).expect("the first");
        let mut second = session(&db, tenant);
        let sent = element(one, &format!(", 'value', {value}, 'idempotency_key', '{key}'"));
        let waiting = std::thread::spawn(move || record(&mut second, hail, &sent));
        await_blocked(&db, 1);
        first.batch_execute("COMMIT").expect("a commit");
        let ended = waiting.join().expect("an end");
        match expected {
            Ok(counts) => assert_eq!(ended.expect("a duplicate"), counts),
            Err(sqlstate) => drop(fails_with(ended, sqlstate)),
        }
    }
    assert_eq!(count(&mut first), 2);
}
