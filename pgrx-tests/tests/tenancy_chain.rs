//! The tamper-evident log: whoever changes, removes, adds or reorders what it vouches for is found, whatever rights he
//! had, and the row is named; and it is written without a fork by sessions at once.

mod policy_setup;

use policy_setup::{await_blocked, get, scored_storm, session, tenant};
use postgres::{Client, Error};
use stormops_tests::{Db, SUPERUSER, fails_with, provision};
use uuid::Uuid;

const SOME: i32 = 60;

#[derive(Debug, PartialEq)]
struct Verdict {
    ok: bool,
    entries: i64,
    decisions: i64,
    broken: Option<String>,
    id: Option<Uuid>,
    run: Option<Uuid>,
    expected: Option<String>,
    actual: Option<String>,
}

#[track_caller]
fn verify(session: &mut Client, tenant: Uuid) -> Verdict {
    let row = session.query_one("SELECT * FROM stormops.verify_log($1)", &[&tenant]).expect("a verdict");
    Verdict {
        ok: row.get("ok"),
        entries: row.get("entries"),
        decisions: row.get("decisions"),
        broken: row.get("broken"),
        id: row.get("broken_id"),
        run: row.get("broken_run"),
        expected: row.get("expected"),
        actual: row.get("actual"),
    }
}

#[track_caller]
fn sound(db: &Db, tenant: Uuid) -> i64 {
    let verdict = verify(&mut db.as_role("op"), tenant);
    assert!(verdict.ok && verdict.broken.is_none(), "{verdict:?}");
    verdict.entries
}

fn apply(session: &mut Client, storm: Uuid) -> Result<Uuid, Error> {
    let apply = "SELECT run_id FROM stormops.apply_policy($1, supersede => true)";
    session.query_one(apply, &[&storm]).map(|row| row.get(0))
}

struct Lived {
    db: Db,
    tenant: Uuid,
    runs: [Uuid; 2],
    /// Some property that both runs decided, not the first or the last.
    property: Uuid,
}

/// A tenant with five events and two runs.
fn lived(name: &str) -> Lived {
    let db = Db::new(name);
    let (abc, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", SOME);
    let runs = [(); 2].map(|()| apply(&mut session, storm).expect("a run"));
    session.execute("SELECT stormops.add_user('c@abc.example', 'crew_chief')", &[]).expect("a user");
    let step = "SELECT stormops.suspend_tenant($1, 'unpaid'), stormops.reactivate_tenant($1, 'paid')";
    db.as_role("op").execute(step, &[&abc]).expect("two steps");
    let property = "SELECT property_id FROM policy_decisions ORDER BY property_id OFFSET 20 LIMIT 1";
    let property = get(&mut session, property, &[]);
    Lived { db, tenant: abc, runs, property }
}

#[test]
fn events_and_runs_are_entered_and_verified_by_operators_and_the_tenants_admins() {
    let Lived { db, tenant: abc, .. } = lived("entered");
    let best = provision(&db, "Best");
    let whole = Verdict {
        ok: true,
        entries: 7,
        decisions: 2 * i64::from(SOME),
        broken: None,
        id: None,
        run: None,
        expected: None,
        actual: None,
    };
    assert_eq!(verify(&mut db.as_role("op"), abc), whole);
    assert_eq!(verify(&mut session(&db, abc), abc), whole);
    assert_eq!(sound(&db, best), 2);
    let mut crew_chief = policy_setup::acting_as(&db, abc, "crew_chief");
    for call in ["verify_log", "log_head"] {
        let call = |tenant: &str| format!("SELECT * FROM stormops.{call}({tenant})");
        fails_with(session(&db, abc).query(&call(&format!("'{best}'")), &[]), "42501");
        fails_with(crew_chief.query(&call(""), &[]), "42501");
        fails_with(db.as_role("mon").query(&call(""), &[]), "42501");
    }
    fails_with(db.as_role("op").query("SELECT * FROM stormops.verify_log($1)", &[&Uuid::nil()]), "P0002");
    // A run of this transaction is entered before it is verified; so is nothing that it takes back.
    let mut session = session(&db, abc);
    session.batch_execute("BEGIN").expect("a transaction");
    let storm = scored_storm(&mut session, "wind", SOME);
    apply(&mut session, storm).expect("a run");
    let inside = verify(&mut session, abc);
    assert_eq!((inside.ok, inside.decisions), (true, 3 * i64::from(SOME)));
    session.batch_execute("ROLLBACK").expect("a rollback");
    let after = verify(&mut session, abc);
    assert_eq!((after.ok, after.decisions), (true, 2 * i64::from(SOME)));
}

#[test]
fn no_setting_of_a_session_changes_the_form() {
    let Lived { db, tenant: abc, .. } = lived("settings");
    let (mut operator, mut tapp) = (db.as_role("op"), session(&db, abc));
    for settings in [
        "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'",
        "SET bytea_output = 'escape'; SET extra_float_digits = -15; SET client_encoding = 'LATIN1'",
        "SET lc_numeric = 'C'; SET lc_monetary = 'C'; SET standard_conforming_strings = off; SET quote_all_identifiers = on",
        "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET work_mem = '64kB'; SET search_path = pg_temp",
    ] {
        operator.batch_execute(settings).expect("settings");
        assert!(verify(&mut operator, abc).ok, "{settings}");
        tapp.batch_execute(settings).expect("settings");
        tapp.batch_execute("SET search_path = stormops").expect("a path");
        // And what is written under them is verified without.
        let storm: Uuid = get(&mut tapp, "SELECT storm_id FROM storms LIMIT 1", &[]);
        apply(&mut tapp, storm).expect("a run");
        tapp.execute(
            "SELECT stormops.add_user('zoë' || $1 || '@abc.example', 'viewer', 'Zoë')",
            &[&settings.len().to_string()],
        )
        .ok();
        assert!(verify(&mut db.as_role("op"), abc).ok, "written under {settings}");
    }
}

/// What a superuser does, and which row the verdict names: the table and the id, `$run` the first run, `$last` the
/// second, `$property` a property, `$event` and `$first` the last and the first event.
const TAMPERING: &[(&str, &str, &str)] = &[
    ("UPDATE tenant_events SET reason = 'late' WHERE event_id = $event", "tenant_events", "$event"),
    ("UPDATE tenant_events SET happened_at = happened_at - interval '1 us' WHERE event_id = $event", "tenant_events", "$event"),
    ("UPDATE tenant_events SET actor = 'nobody' WHERE event_id = $first", "tenant_events", "$first"),
    ("UPDATE tenant_events SET from_status = NULL, to_status = from_status WHERE event_id = $event", "tenant_events", "$event"),
    ("DELETE FROM tenant_events WHERE event_id = $first", "tenant_events", "$first"),
    // Not through the trigger: a row that was slipped in.
    (
        "SET LOCAL session_replication_role = replica;
         INSERT INTO tenant_events (tenant_id, event_id, action, actor) VALUES ($tenant, $new, 'suspend', 'op')",
        "tenant_events",
        "$new",
    ),
    // Two rows change places.
    (
        "UPDATE tenant_events AS e SET action = o.action, from_status = o.from_status, to_status = o.to_status, reason = o.reason
         FROM tenant_events AS o WHERE (e.event_id, o.event_id) IN (($first, $event), ($event, $first))",
        "tenant_events",
        "$first",
    ),
    ("UPDATE tenant_log SET hash = sha256('x') WHERE log = 'events' AND entry = 1", "tenant_log", "$first"),
    ("UPDATE tenant_log SET content = sha256('x') WHERE log = 'runs' AND entry = 2", "tenant_log", "$last"),
    ("UPDATE tenant_log SET adopted = true WHERE log = 'runs' AND entry = 1", "tenant_log", "$run"),
    ("DELETE FROM tenant_log WHERE log = 'runs' AND entry = 1", "tenant_log", "$last"),
    // Two entries change places.
    (
        "UPDATE tenant_log SET entry = entry + 10 WHERE log = 'runs';
         UPDATE tenant_log SET entry = 13 - entry WHERE log = 'runs'",
        "tenant_log",
        "$last",
    ),
    ("UPDATE policy_runs SET treat = treat + 1 WHERE run_id = $run", "policy_runs", "$run"),
    ("UPDATE policy_runs SET parameters = parameters || '{\"holdout\": 0}' WHERE run_id = $last", "policy_runs", "$last"),
    ("UPDATE policy_runs SET expected_value = expected_value + 0.01 WHERE run_id = $run", "policy_runs", "$run"),
    ("UPDATE policy_runs SET superseded_at = superseded_at + interval '1 s' WHERE run_id = $run", "policy_runs", "$run"),
    ("UPDATE policy_run_digests SET digest = sha256('x') WHERE run_id = $last", "policy_runs", "$last"),
    (
        "UPDATE policy_run_digests SET fingerprints = set_byte(fingerprints, 4, get_byte(fingerprints, 4) # 1) WHERE run_id = $run",
        "policy_runs",
        "$run",
    ),
    ("DELETE FROM policy_run_digests WHERE run_id = $run", "policy_runs", "$run"),
    ("UPDATE policy_decisions_log SET decision = 'treat', reason = 'holdout' WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decisions_log SET score = score + 1e-16 WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decisions_log SET propensity = propensity / 2 WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decisions_log SET decided_at = decided_at + interval '1 us' WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decisions_log SET model_version = 'v1 ' WHERE $one", "policy_decisions_log", "$property"),
    ("DELETE FROM policy_decisions_log WHERE $one", "policy_decisions_log", "$property"),
    ("DELETE FROM policy_decisions_log WHERE run_id = $run", "policy_decisions_log", "$least"),
    (
        "INSERT INTO policy_decisions_log SELECT tenant_id, run_id, $new, storm_id, decided_at, propensity, score,
             score_sd, value, decision, reason, policy_mode, model_version FROM policy_decisions_log WHERE $one",
        "policy_decisions_log",
        "$new",
    ),
    // Two decisions change places: the first of them is named.
    (
        "UPDATE policy_decisions_log AS d SET score = o.score, score_sd = o.score_sd, value = o.value, decision = o.decision,
             reason = o.reason, propensity = o.propensity
         FROM policy_decisions_log AS o
         WHERE d.run_id = $run AND o.run_id = $run
             AND (d.property_id, o.property_id) IN (($least, $property), ($property, $least))",
        "policy_decisions_log",
        "$least",
    ),
    // Of no run at all.
    (
        "INSERT INTO policy_decisions_log SELECT tenant_id, $new, property_id, storm_id, decided_at, propensity, score,
             score_sd, value, decision, reason, policy_mode, model_version FROM policy_decisions_log WHERE $one",
        "policy_decisions_log",
        "$property",
    ),
];

#[test]
fn each_way_of_tampering_is_found_and_the_row_named() {
    let Lived { db, tenant: abc, runs, property } = lived("tampering");
    let mut superuser = db.superuser();
    let id = |session: &mut Client, query: &str| -> Uuid { get(session, query, &[&abc]) };
    let first = id(&mut superuser, "SELECT min(event_id::text)::uuid FROM stormops.tenant_events WHERE tenant_id = $1");
    let event = id(&mut superuser, "SELECT max(event_id::text)::uuid FROM stormops.tenant_events WHERE tenant_id = $1");
    let least = id(
        &mut superuser,
        "SELECT min(property_id::text)::uuid FROM stormops.policy_decisions_log WHERE tenant_id = $1",
    );
    // Its id comes behind all others, so that nothing before it differs.
    let new = Uuid::from_u128(u128::MAX - 1);
    let ids = [
        ("$event", event),
        ("$first", first),
        ("$run", runs[0]),
        ("$last", runs[1]),
        ("$property", property),
        ("$least", least),
        ("$new", new),
        ("$tenant", abc),
    ];
    sound(&db, abc);
    for (sql, table, row) in TAMPERING {
        let sql = sql.replace("$one", "run_id = $run AND property_id = $property");
        let sql = ids.iter().fold(sql, |sql, (name, id)| sql.replace(name, &format!("'{id}'")));
        superuser.batch_execute("BEGIN; SET LOCAL search_path = stormops").expect("a transaction");
        superuser.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let verdict = verify(&mut superuser, abc);
        superuser.batch_execute("ROLLBACK").expect("a rollback");
        let due = ids.iter().find(|(name, _)| name == row).map(|(_, id)| *id);
        assert!(!verdict.ok, "{sql}");
        assert_eq!((verdict.broken.as_deref(), verdict.id), (Some(*table), due), "{sql}\n{verdict:?}");
        assert_ne!(verdict.expected, verdict.actual, "{sql}");
        assert!(verdict.expected.is_some() && verdict.actual.is_some(), "{sql}\n{verdict:?}");
    }
    sound(&db, abc);
}

/// Who can write the tables past row security can write a chain anew. A head that was kept elsewhere tells.
#[test]
fn a_chain_that_was_shortened_has_another_head() {
    let Lived { db, tenant: abc, .. } = lived("heads");
    let heads = |db: &Db| -> Vec<(String, i64, String)> {
        let heads = "SELECT * FROM stormops.log_head($1)";
        let rows = db.as_role("op").query(heads, &[&abc]).expect("heads");
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    };
    let kept = heads(&db);
    assert_eq!(kept.iter().map(|head| (head.0.as_str(), head.1)).collect::<Vec<_>>(), [("events", 5), ("runs", 2)]);
    let shorten = "DELETE FROM stormops.tenant_log WHERE log = 'events' AND entry = 5;
        DELETE FROM stormops.tenant_events WHERE action = 'reactivate'";
    db.superuser().batch_execute(shorten).expect("a forgery");
    sound(&db, abc);
    assert_ne!(heads(&db), kept);
}

#[test]
fn rows_from_before_the_log_are_adopted_once() {
    let Lived { db, tenant: abc, .. } = lived("adopted");
    let best = provision(&db, "Best");
    let mut superuser = db.superuser();
    let before = "DELETE FROM stormops.tenant_log WHERE tenant_id = $1";
    superuser.execute(before, &[&abc]).expect("no log");
    superuser.execute("DELETE FROM stormops.policy_run_digests WHERE tenant_id = $1", &[&abc]).expect("no digests");
    let slip_in = "SET session_replication_role = replica;
        INSERT INTO stormops.tenant_events (tenant_id, action, actor) VALUES ($best, 'suspend', 'op');
        RESET session_replication_role";
    superuser.batch_execute(&slip_in.replace("$best", &format!("'{best}'"))).expect("a row");
    superuser.execute("SELECT stormops.install()", &[]).expect("install()");
    let row = superuser
        .query_one("SELECT ok, entries, adopted, decisions FROM stormops.verify_log($1)", &[&abc])
        .expect("a verdict");
    assert_eq!((row.get(0), row.get(1), row.get(2), row.get(3)), (true, 7_i64, 7_i64, 2 * i64::from(SOME)));
    // A tenant with a log is not looked at again.
    let verdict = verify(&mut superuser, best);
    assert_eq!((verdict.ok, verdict.entries, verdict.actual.is_some()), (false, 2, true));
    assert!(apply(&mut session(&db, abc), get(&mut session(&db, abc), "SELECT storm_id FROM storms", &[])).is_ok());
    assert_eq!(sound(&db, abc), 8);
}

#[test]
fn a_dump_and_a_restore_keep_it_valid() {
    let Lived { db, tenant: abc, runs, property } = lived("dumped");
    let target = Db::empty("dumped_target");
    target.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error", "--single-transaction"]);
    assert_eq!(sound(&target, abc), 7);
    provision(&target, "Best");
    apply(&mut session(&target, abc), get(&mut session(&target, abc), "SELECT storm_id FROM storms", &[]))
        .expect("a run");
    assert_eq!(sound(&target, abc), 8);
    let plain = Db::empty("plain_target");
    plain.psql(SUPERUSER, &String::from_utf8(db.pg_dump(&[])).expect("UTF-8 from pg_dump"));
    let tamper = "UPDATE stormops.policy_decisions_log SET score = score / 2 WHERE run_id = $1 AND property_id = $2";
    plain.superuser().execute(tamper, &[&runs[0], &property]).expect("a forgery");
    assert_eq!(verify(&mut plain.superuser(), abc).id, Some(property));
}

#[test]
fn decisions_that_retention_dropped_are_told_from_stolen_ones() {
    let db = Db::new("retention");
    let (abc, mut session) = tenant(&db, "Abc");
    let best = provision(&db, "Best");
    let storm = scored_storm(&mut session, "hail", SOME);
    let now = apply(&mut session, storm).expect("a run");
    // Three months ago the same happened.
    let then = "
        WITH first AS (SELECT stormops.first_id_of((date_trunc('month', now()) - interval '3 months')::date) AS id),
        run AS (
            INSERT INTO policy_runs SELECT r.tenant_id, first.id, r.storm_id, r.policy_mode, r.parameters, r.decided_at,
                r.decided_by, r.acting_user, r.treat, r.hold, r.excluded, r.reasons, r.expected_value, r.supersedes, r.decided_at
            FROM policy_runs AS r, first RETURNING run_id
        )
        INSERT INTO policy_decisions_log SELECT d.tenant_id, first.id, d.property_id, d.storm_id, d.decided_at, d.propensity,
            d.score, d.score_sd, d.value, d.decision, d.reason, d.policy_mode, d.model_version
        FROM policy_decisions_log AS d, first;
        UPDATE policy_runs SET supersedes = (SELECT min(run_id::text)::uuid FROM policy_runs) WHERE superseded_at IS NULL;
        UPDATE policy_runs SET decided_at = decided_at;
        DELETE FROM tenant_log; DELETE FROM policy_run_digests;";
    let mut superuser = db.superuser();
    superuser.batch_execute(&format!("SET search_path = stormops; {then}")).expect("an old run");
    superuser.execute("SELECT stormops.install()", &[]).expect("adopted");
    db.as_role("op").execute("SELECT stormops.maintain_partitions(0)", &[]).expect("a partition for it");
    assert_eq!(sound(&db, abc), 4);
    let drop =
        "SELECT cardinality(stormops.drop_decisions_before((date_trunc('month', now()) - interval '2 months')::date))";
    assert_eq!(get::<i32>(&mut db.as_role("op"), drop, &[]), 1);
    assert_eq!(get::<i32>(&mut db.as_role("op"), drop, &[]), 0);
    let row = superuser
        .query_one("SELECT ok, entries, decisions, decisions_dropped FROM stormops.verify_log($1)", &[&abc])
        .expect("a verdict");
    assert_eq!((row.get(0), row.get(1), row.get(2), row.get(3)), (true, 5_i64, i64::from(SOME), i64::from(SOME)));
    let event = "SELECT reason || ' ' || (to_status::date = (date_trunc('month', now()) - interval '2 months')::date)
        FROM stormops.tenant_events WHERE action = 'drop_decisions' AND tenant_id = $1";
    assert_eq!(get::<String>(&mut superuser, event, &[&abc]), format!("{SOME} decisions of 1 runs true"));
    assert_eq!(sound(&db, best), 2, "whose decisions stayed hears nothing");
    superuser.execute("DELETE FROM stormops.policy_decisions_log WHERE run_id = $1", &[&now]).expect("a theft");
    let verdict = verify(&mut superuser, abc);
    assert_eq!(
        (verdict.broken.as_deref(), verdict.run, verdict.actual.as_deref()),
        (Some("policy_decisions_log"), Some(now), Some("no row"))
    );
}

/// Both have written their run, and commit at once: the second waits for the first's entry and stands behind it.
#[test]
fn two_runs_of_a_tenant_at_once_make_one_chain() {
    let db = Db::new("two_runs");
    let (abc, mut first) = tenant(&db, "Abc");
    let storms = ["hail", "wind"].map(|event| scored_storm(&mut first, event, SOME));
    let mut second = session(&db, abc);
    for session in [&mut first, &mut second] {
        session.batch_execute("BEGIN").expect("a transaction");
    }
    apply(&mut first, storms[0]).expect("a run");
    // Whoever runs holds up nobody: neither another run nor a suspension.
    apply(&mut second, storms[1]).expect("a run beside it");
    // Both in the other order, which would be a deadlock if a run held the chain until its commit.
    db.as_role("op")
        .execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc])
        .expect("a suspension beside both");
    first.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").expect("its entry");
    let commit = std::thread::spawn(move || second.batch_execute("COMMIT"));
    await_blocked(&db, 1);
    // A chain that a tenant keeps to itself stops no operator.
    db.as_role("op").execute("SELECT stormops.reactivate_tenant($1)", &[&abc]).expect("beside an entry");
    first.batch_execute("COMMIT").expect("a commit");
    commit.join().expect("an end").expect("a commit behind it");
    assert_eq!(sound(&db, abc), 6);
    let entries =
        "SELECT array_agg(entry ORDER BY entry) FROM stormops.tenant_log WHERE tenant_id = $1 AND log = 'runs'";
    assert_eq!(get::<Vec<i64>>(&mut db.superuser(), entries, &[&abc]), [1, 2]);
}

#[test]
fn crossing_runs_do_not_block_each_other_for_ever() {
    let db = Db::new("crossing");
    let (abc, mut first) = tenant(&db, "Abc");
    let storms = ["a", "b", "c"].map(|event| scored_storm(&mut first, event, SOME));
    let mut second = session(&db, abc);
    first.batch_execute("BEGIN").expect("a transaction");
    apply(&mut first, storms[0]).expect("a run");
    let hold = storms[1];
    second.batch_execute("BEGIN").expect("a transaction");
    apply(&mut second, hold).expect("a run");
    // The first wants the storm that the second has, and the second is about to be entered where the first stands.
    let waiting = std::thread::spawn(move || {
        apply(&mut first, hold).expect("a run once the other is through");
        first.batch_execute("COMMIT").expect("a commit");
    });
    await_blocked(&db, 1);
    second.batch_execute("COMMIT").expect("a commit that waits for nobody");
    waiting.join().expect("an end");
    assert_eq!(sound(&db, abc), 5);
}

#[test]
fn two_steps_of_a_tenant_at_once_make_one_chain() {
    let db = Db::new("two_steps");
    let (abc, best) = (provision(&db, "Abc"), provision(&db, "Best"));
    let mut first = db.as_role("op");
    first.batch_execute("BEGIN").expect("a transaction");
    first.execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a step");
    let mut second = db.as_role("op");
    let close = std::thread::spawn(move || second.execute("SELECT stormops.close_tenant($1, 'sold')", &[&abc]));
    await_blocked(&db, 1);
    // Another tenant's log is nobody's business.
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&best]).expect("no waiting");
    first.batch_execute("COMMIT").expect("a commit");
    close.join().expect("an end").expect("a step after it");
    assert_eq!((sound(&db, abc), sound(&db, best)), (4, 3));
}

/// The second has seen neither row nor entry of the first: it is told to begin anew, and writes nothing.
#[test]
fn a_repeatable_read_run_beside_another_begins_anew() {
    let db = Db::new("repeatable");
    let (abc, mut first) = tenant(&db, "Abc");
    let storms = ["hail", "wind"].map(|event| scored_storm(&mut first, event, SOME));
    let mut second = session(&db, abc);
    second.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM storms").expect("a snapshot");
    apply(&mut first, storms[0]).expect("a run");
    apply(&mut second, storms[1]).expect("a run");
    fails_with(second.batch_execute("COMMIT"), "40001");
    assert_eq!(sound(&db, abc), 3);
    apply(&mut second, storms[1]).expect("again");
    assert_eq!(sound(&db, abc), 4);
}

/// The digest that the aggregate makes, row by row, is the one that anybody can make from the form's description.
#[test]
fn the_digest_of_a_run_is_that_of_its_rows() {
    let Lived { db, tenant: abc, runs, .. } = lived("digest");
    let by_hand = "
        WITH row AS (
            SELECT property_id, stormops.log_digest(
                uuid_send(tenant_id), uuid_send(run_id), uuid_send(property_id), uuid_send(storm_id),
                timestamptz_send(decided_at), float8send(propensity), float8send(score), float8send(score_sd),
                float8send(value), convert_to(decision, 'UTF8'), convert_to(reason, 'UTF8'),
                convert_to(policy_mode, 'UTF8'), convert_to(model_version, 'UTF8')) AS digest
            FROM stormops.policy_decisions_log WHERE tenant_id = $1 AND run_id = $2
        )
        SELECT sha256(string_agg(r.digest, '' ORDER BY r.property_id)) = d.digest AND count(*) = d.decisions
            AND string_agg(substr(uuid_send(r.property_id), 13) || substr(r.digest, 1, 4), '' ORDER BY r.property_id) = d.fingerprints
        FROM row AS r, stormops.policy_run_digests AS d
        WHERE d.tenant_id = $1 AND d.run_id = $2 GROUP BY d.digest, d.decisions, d.fingerprints";
    for run in runs {
        assert!(get::<bool>(&mut db.superuser(), by_hand, &[&abc, &run]));
    }
    let unordered =
        "SELECT stormops.decisions_seal(tenant_id, run_id, property_id, storm_id, decided_at, propensity, score,
            score_sd, value, decision, reason, policy_mode, model_version)
        FROM (SELECT * FROM stormops.policy_decisions_log WHERE run_id = $1 ORDER BY property_id DESC) AS d";
    fails_with(db.superuser().query(unordered, &[&runs[0]]), "22023");
}

/// Whatever the transaction was granted beside it, nobody but the functions writes the log.
#[test]
fn applications_read_their_own_log_and_write_none() {
    let Lived { db, tenant: abc, .. } = lived("own_log");
    let best = provision(&db, "Best");
    let mut session = session(&db, abc);
    let tenants = "SELECT count(DISTINCT tenant_id) FROM tenant_log";
    assert_eq!(get::<i64>(&mut session, tenants, &[]), 1);
    for table in ["tenant_log", "policy_run_digests"] {
        fails_with(session.execute(&format!("DELETE FROM {table}"), &[]), "42501");
        fails_with(session.execute(&format!("UPDATE {table} SET tenant_id = '{best}'"), &[]), "42501");
    }
    fails_with(session.execute("SELECT stormops.append_entry($1, 'events', $1, sha256('x'))", &[&abc]), "42501");
}
