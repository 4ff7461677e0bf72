//! The tamper-evident log: whoever changes, removes, adds or reorders what it vouches for is found, whatever rights he
//! had, and the row is named; and it is written without a fork by sessions at once.

mod at_once;
mod tampering;
mod ways;

use postgres::{Client, Error};
use stormops_tests::tenant::{scored_storm, session, tenant};
use stormops_tests::{Db, SUPERUSER, await_blocked, fails_with, get, provision};
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
    lived_with(name, SOME)
}

fn lived_with(name: &str, properties: i32) -> Lived {
    let db = Db::new(name);
    let (abc, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", properties);
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
    let mut crew_chief = stormops_tests::tenant::acting_as(&db, abc, "crew_chief");
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
    let tamper =
        "UPDATE stormops.policy_decision_blocks SET scores[array_position(property_ids, $2)] = 0.123 WHERE run_id = $1";
    plain.superuser().execute(tamper, &[&runs[0], &property]).expect("a forgery");
    assert_eq!(verify(&mut plain.superuser(), abc).id, Some(property));
}

/// The digests that the library makes are those that anybody can make from the forms' description.
#[test]
fn the_digest_of_a_run_is_that_of_its_blocks_and_once_was_that_of_its_rows() {
    let Lived { db, tenant: abc, runs, .. } = lived("digest");
    let by_hand = "
        WITH print AS (
            SELECT b.first_property, uuid_send(b.first_property) || int4send(b.n) AS head, stormops.log_digest(VARIADIC
                ARRAY[uuid_send(b.tenant_id), uuid_send(b.run_id), int4send(b.block_no), uuid_send(b.storm_id), timestamptz_send(b.decided_at),
                    convert_to(b.policy_mode, 'UTF8'), uuid_send(b.first_property), uuid_send(b.last_property), int4send(b.n),
                    (SELECT string_agg(uuid_send(x), '' ORDER BY o) FROM unnest(b.property_ids) WITH ORDINALITY AS u (x, o)),
                    (SELECT string_agg(int2send(x), '' ORDER BY o) FROM unnest(b.classes) WITH ORDINALITY AS u (x, o)),
                    (SELECT string_agg(float8send(x), '' ORDER BY o) FROM unnest(b.scores) WITH ORDINALITY AS u (x, o)),
                    (SELECT string_agg(float8send(x), '' ORDER BY o) FROM unnest(b.score_sds) WITH ORDINALITY AS u (x, o)),
                    (SELECT string_agg(float8send(x), '' ORDER BY o) FROM unnest(b.\"values\") WITH ORDINALITY AS u (x, o)),
                    int4send(cardinality(b.decisions))]
                || (SELECT array_agg(f ORDER BY o, i) FROM unnest(b.decisions, b.reasons, b.propensities, b.counts) WITH ORDINALITY AS u (d, r, p, c, o),
                    LATERAL unnest(ARRAY[convert_to(d, 'UTF8'), convert_to(r, 'UTF8'), float8send(p), int4send(c)]) WITH ORDINALITY AS x (f, i))
                || int4send(cardinality(b.model_versions)) || (SELECT array_agg(convert_to(x, 'UTF8') ORDER BY o) FROM unnest(b.model_versions) WITH ORDINALITY AS u (x, o))
                || NULL::bytea) AS digest
            FROM stormops.policy_decision_blocks AS b WHERE b.tenant_id = $1 AND b.run_id = $2 AND b.models IS NULL
        )
        SELECT sha256(string_agg(p.digest, '' ORDER BY p.first_property)) = d.digest AND count(*) = d.blocks
            AND substr(d.fingerprints, 1, 52) = (array_agg(p.head || p.digest ORDER BY p.first_property))[1]
        FROM print AS p, stormops.policy_run_digests AS d
        WHERE d.tenant_id = $1 AND d.run_id = $2 GROUP BY d.digest, d.blocks, d.fingerprints";
    let row_by_row = "
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
        FROM row AS r, stormops_internal.decisions_digest($1, $2) AS d GROUP BY d.digest, d.decisions, d.fingerprints";
    for run in runs {
        for digest in [by_hand, row_by_row] {
            assert!(get::<bool>(&mut db.superuser(), digest, &[&abc, &run]), "{digest}");
        }
    }
    let unordered =
        "SELECT stormops_internal.decisions_seal(tenant_id, run_id, property_id, storm_id, decided_at, propensity, score,
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
    fails_with(
        session.execute("SELECT stormops_internal.append_entry($1, 'events', $1, sha256('x'))", &[&abc]),
        "42501",
    );
}
