//! Whatever is changed, removed, added or reordered is found, and the row named.

use super::ways::{TAMPERING, TAMPERING_WITH_BLOCKS, TAMPERING_WITH_ROWS};
use super::*;

#[test]
fn each_way_of_tampering_is_found_and_the_row_named() {
    let lived = lived("tampering");
    each_is_found(&lived, TAMPERING);
}

/// Runs of 0.1.0 are sealed row by row, and stay so when they are packed.
#[test]
fn each_way_of_tampering_with_rows_is_found_and_the_row_named() {
    let lived = lived("tampering_rows");
    let to_rows = "SET search_path = stormops; CREATE TABLE public.blocks AS SELECT * FROM policy_decision_blocks;
        INSERT INTO policy_decision_rows SELECT * FROM policy_decisions_log; DELETE FROM policy_decision_blocks;
        DELETE FROM tenant_log; DELETE FROM policy_run_digests; SELECT stormops.install()";
    lived.db.superuser().batch_execute(to_rows).expect("as 0.1.0 wrote it");
    let sealed = "SELECT count(*) FROM stormops.policy_run_digests WHERE blocks IS NULL AND octet_length(fingerprints) = 8 * decisions";
    assert_eq!(get::<i64>(&mut lived.db.superuser(), sealed, &[]), 2);
    each_is_found(&lived, TAMPERING_WITH_ROWS);
    let mut superuser = lived.db.superuser();
    let twice = "BEGIN; INSERT INTO stormops.policy_decision_blocks SELECT * FROM public.blocks";
    superuser.batch_execute(twice).expect("both forms");
    let verdict = verify(&mut superuser, lived.tenant);
    assert_eq!((verdict.ok, verdict.actual.as_deref()), (false, Some("a property twice")));
    superuser.batch_execute("DELETE FROM stormops.policy_decision_rows; COMMIT").expect("packed");
    sound(&lived.db, lived.tenant);
}

#[test]
fn each_way_of_tampering_with_blocks_is_found_and_the_decision_named() {
    let lived = lived_with("tampering_blocks", 9000);
    let tampering: Vec<_> =
        TAMPERING_WITH_BLOCKS.iter().map(|(sql, row)| (*sql, "policy_decision_blocks", *row)).collect();
    each_is_found(&lived, &tampering);
    let slip_in = "INSERT INTO policy_decision_rows SELECT * FROM policy_decisions_log WHERE run_id = $run AND property_id = $property";
    each_is_found(&lived, &[(slip_in, "policy_decision_rows", "$property")]);
}

fn each_is_found(lived: &Lived, tampering: &[(&str, &str, &str)]) {
    let Lived { db, tenant: abc, runs, property } = lived;
    let mut superuser = db.superuser();
    let id = |session: &mut Client, query: &str| -> Uuid { get(session, query, &[abc]) };
    let first = id(&mut superuser, "SELECT min(event_id::text)::uuid FROM stormops.tenant_events WHERE tenant_id = $1");
    let event = id(&mut superuser, "SELECT max(event_id::text)::uuid FROM stormops.tenant_events WHERE tenant_id = $1");
    let least = id(
        &mut superuser,
        "SELECT min(property_id::text)::uuid FROM stormops.policy_decisions_log WHERE tenant_id = $1",
    );
    let of_blocks = |session: &mut Client, what: &str, block: i32| -> Uuid {
        let query = format!("SELECT {what} FROM stormops.policy_decision_blocks WHERE run_id = $1 AND block_no = $2");
        session.query_opt(&query, &[&runs[0], &block]).expect("a block").map_or(Uuid::nil(), |row| row.get(0))
    };
    let second = of_blocks(&mut superuser, "property_ids[array_position(classes, 2::smallint)]", 0);
    let middle = of_blocks(&mut superuser, "first_property", 1);
    // Its id comes behind all others, so that nothing before it differs.
    let new = Uuid::from_u128(u128::MAX - 1);
    let ids = [
        ("$event", event),
        ("$first", first),
        ("$run", runs[0]),
        ("$last", runs[1]),
        ("$property", *property),
        ("$between", Uuid::from_u128(property.as_u128() + 1)),
        ("$least", least),
        ("$second", second),
        ("$middle", middle),
        ("$new", new),
        ("$tenant", *abc),
    ];
    sound(db, *abc);
    for (sql, table, row) in tampering {
        let sql = sql.replace("$one", "run_id = $run AND property_id = $property");
        let sql = sql
            .replace("$block", "run_id = $run AND block_no = 0")
            .replace("$at", "array_position(property_ids, $property)");
        let sql = ids.iter().fold(sql, |sql, (name, id)| sql.replace(name, &format!("'{id}'")));
        superuser.batch_execute("BEGIN; SET LOCAL search_path = stormops").expect("a transaction");
        superuser.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let verdict = verify(&mut superuser, *abc);
        superuser.batch_execute("ROLLBACK").expect("a rollback");
        let due = ids.iter().find(|(name, _)| name == row).map(|(_, id)| *id);
        assert!(!verdict.ok, "{sql}");
        assert_eq!((verdict.broken.as_deref(), verdict.id), (Some(*table), due), "{sql}\n{verdict:?}");
        assert_ne!(verdict.expected, verdict.actual, "{sql}");
        assert!(verdict.expected.is_some() && verdict.actual.is_some(), "{sql}\n{verdict:?}");
    }
    sound(db, *abc);
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
    assert_eq!(
        kept.iter().map(|head| (head.0.as_str(), head.1)).collect::<Vec<_>>(),
        [("events", 3), ("people", 2), ("runs", 2)]
    );
    let shorten = "DELETE FROM stormops.tenant_log WHERE log = 'events' AND entry = 3;
        DELETE FROM stormops.tenant_events WHERE action = 'reactivate'";
    db.superuser().batch_execute(shorten).expect("a forgery");
    sound(&db, abc);
    assert_ne!(heads(&db), kept);
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
        WITH first AS (SELECT stormops_internal.first_id_of((date_trunc('month', now()) - interval '3 months')::date) AS id),
        run AS (
            INSERT INTO policy_runs SELECT r.tenant_id, first.id, r.storm_id, r.policy_mode, r.parameters, r.decided_at,
                r.decided_by, r.acting_user, r.treat, r.hold, r.excluded, r.reasons, r.expected_value, r.supersedes, r.decided_at
            FROM policy_runs AS r, first RETURNING run_id
        )
        INSERT INTO policy_decision_blocks SELECT d.tenant_id, first.id, d.block_no, d.storm_id, d.decided_at, d.policy_mode, d.first_property,
            d.last_property, d.n, d.property_ids, d.classes, d.scores, d.score_sds, d.\"values\", d.decisions, d.reasons, d.propensities,
            d.counts, d.model_versions, d.models
        FROM policy_decision_blocks AS d, first;
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
    superuser.execute("DELETE FROM stormops.policy_decision_blocks WHERE run_id = $1", &[&now]).expect("a theft");
    let verdict = verify(&mut superuser, abc);
    assert_eq!(
        (verdict.broken.as_deref(), verdict.run, verdict.actual.as_deref()),
        (Some("policy_decision_blocks"), Some(now), Some("no row"))
    );
}
