//! The pass that decides gives, to the last bit, what the rule gives in SQL alone (`rule.sql`); and the blocks hold it.

use postgres::Client;
use stormops_tests::rule::{ORACLE, seeded};
use stormops_tests::tenant::{scored_storm, storm, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

/// Decisions as they are compared: doubles by their bits.
const BITS: &str = "property_id, decision, reason, float8send(propensity), float8send(score), float8send(score_sd), \
                    float8send(value), model_version";

/// Ten modes of all kinds.
const MODES: &str = "
    INSERT INTO policy_modes (policy_mode, confidence, exploration, holdout, margin, contact_cost, capacity, budget) VALUES
        ('money', 0.7, 0.05, 0.1, 8000, 150, NULL, NULL), ('capacity', 0.5, 0.05, 0.1, NULL, NULL, 120, NULL),
        ('both', 0.4, 0.08, 0.1, 8000, 150, 160, NULL), ('budget', 0.5, 0.05, 0, 8000, 150, NULL, 12000),
        ('cents', 0.5, 0.1, 0.1, 8000, 150.01, 120, 12000.55), ('never', 0.5, 0, 0.1, 8000, 150, 120, NULL),
        ('ample', 0.5, 0.3, 0.1, NULL, NULL, 1000000, NULL)";

/// Properties and scores that are hard to get right: money of their own, costs of nothing, several scores of one moment by
/// models whose names sort differently in other collations, ties, zeros of both signs, the ends of every range.
const ODD: &str = "
    INSERT INTO properties (property_id, external_id, job_margin, contact_cost, do_not_contact, status)
    SELECT md5('odd ' || n)::uuid, n, CASE WHEN n % 3 = 0 THEN 500 + n * 7 % 9000 + 0.01 * (n % 100) END,
        CASE WHEN n % 4 = 0 THEN n * 13 % 300 + 0.01 * (n % 100) WHEN n % 19 = 0 THEN 0 END, n % 23 = 0,
        CASE WHEN n % 29 = 0 THEN 'archived' ELSE 'active' END
    FROM generate_series(1, 600) AS n;
    INSERT INTO lead_uplift (storm_id, property_id, scored_at, model_version, uplift, uplift_sd)
    SELECT $storm, md5('odd ' || n)::uuid, timestamptz '2026-01-01Z' + (g / 2) * interval '1 hour',
        (ARRAY['a', 'B', 'ä', 'Ä b', 'a-b', 'ab', '!'])[1 + (n + g) % 7],
        CASE n % 50 WHEN 0 THEN '-0' WHEN 1 THEN 0 WHEN 2 THEN 1 WHEN 3 THEN -1 WHEN 4 THEN 0.05 WHEN 5 THEN 1e-300
            ELSE round((n * 0.618 % 1 * 0.4 - 0.1)::numeric, 2)::float8 END,
        CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN 1 WHEN 2 THEN 1e-200 ELSE 0.01 + (n % 10) * 0.01 END
    FROM generate_series(1, 600) AS n, generate_series(0, 3) AS g WHERE (n * 7 + g * 3) % 5 > 0";

/// How many decisions a query gives, and a digest of all that they are.
fn told(session: &mut Client, from: &str) -> (i64, String) {
    let query = format!(
        "SELECT count(*), coalesce(md5(string_agg(ROW ({BITS})::text, ' ' ORDER BY property_id)), '') FROM {from}"
    );
    let row = session.query_one(&query, &[]).unwrap_or_else(|e| panic!("{from}: {e:?}"));
    (row.get(0), row.get(1))
}

#[test]
fn the_log_the_preview_and_every_repetition_are_the_rule_in_sql() {
    let db = Db::new("oracle");
    db.superuser().batch_execute(ORACLE).expect("the rule in SQL");
    let mut session = seeded(&db, 7);
    session.batch_execute(MODES).expect("modes");
    let hail = storm(&mut session, "hail");
    session.batch_execute(&ODD.replace("$storm", &format!("'{hail}'"))).expect("odd data");
    db.superuser().batch_execute("ANALYZE").expect("statistics");
    let modes = session.query("SELECT policy_mode FROM policy_modes", &[]).expect("modes");
    let modes: Vec<String> = modes.iter().map(|row| row.get(0)).collect();
    assert_eq!(modes.len(), 10);
    let settings = [
        "SET extra_float_digits = -15; SET enable_indexscan = off; SET enable_bitmapscan = off",
        "SET extra_float_digits = 3; SET enable_seqscan = off; SET work_mem = '64kB'",
    ];
    let mut reasons: i64 = 0;
    let counts = "ROW (treat, treat_pct, hold, excluded, reasons, expected_value)::text";
    for (i, mode) in modes.iter().enumerate() {
        session.batch_execute(settings[i % 2]).expect("settings");
        let preview = format!("SELECT {counts} FROM stormops.preview_policy($1, $2)");
        let preview: String = get(&mut session, &preview, &[&hail, mode]);
        let apply = format!("SELECT run_id, {counts} FROM stormops.apply_policy($1, $2, supersede => true)");
        let run = session.query_one(&apply, &[&hail, mode]).expect("a run");
        assert_eq!(run.get::<_, String>(1), preview, "{mode}");
        let run = format!("'{}'", run.get::<_, Uuid>(0));
        let again = |schema: &str| {
            format!("policy_runs AS r, {schema}.policy_decisions(r.storm_id, r.parameters) WHERE r.run_id = {run}")
        };
        let repeated = told(&mut session, &again("stormops"));
        let reset = "RESET extra_float_digits; RESET enable_indexscan; RESET enable_bitmapscan; RESET enable_seqscan; RESET work_mem";
        session.batch_execute(reset).expect("settings");
        let log = told(&mut session, &format!("policy_decisions_log WHERE run_id = {run}"));
        let rule = told(&mut session, &again("oracle"));
        assert!(rule.0 > 400, "{rule:?}");
        assert_eq!(log, rule, "{mode}: the log");
        assert_eq!(repeated, rule, "{mode}: decided again");
        reasons |= get::<i64>(
            &mut session,
            "SELECT sum(DISTINCT 1 << array_position('{above_threshold,explore_treat,below_threshold,over_capacity,holdout,explore_hold,do_not_contact}', reason))
             FROM policy_decisions",
            &[],
        );
    }
    assert_eq!(reasons, 254, "every reason occurs");
}

#[test]
fn one_property_is_a_block_and_no_property_is_no_run() {
    let db = Db::new("one_property");
    let mut session = tenant(&db, "Abc").1;
    let (one, none) = (scored_storm(&mut session, "one", 1), storm(&mut session, "none"));
    let apply = "SELECT stormops.apply_policy($1)";
    session.execute(apply, &[&one]).expect("a run");
    fails_with(session.execute(apply, &[&none]), "55000");
    let blocks =
        "SELECT count(*) FROM policy_decision_blocks WHERE n = 1 AND first_property = last_property AND block_no = 0
        AND counts = '{1}' AND models IS NULL";
    assert_eq!(get::<i64>(&mut session, blocks, &[]), 1);
    let nobody = "SELECT count(*) FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate'))";
    assert_eq!(get::<i64>(&mut session, nobody, &[&none]), 0);
}

/// Blocks in the order of property_id: how many decisions, how many entries the dictionaries have.
fn blocks(session: &mut Client) -> Vec<(i32, i32, i32)> {
    let blocks = "SELECT n, cardinality(decisions), cardinality(model_versions) FROM policy_decision_blocks
        ORDER BY run_id, first_property";
    session.query(blocks, &[]).expect("blocks").iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[test]
fn a_block_ends_where_it_or_a_dictionary_is_full() {
    let db = Db::new("full_blocks");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", 9000);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let full = blocks(&mut session);
    assert_eq!(full.iter().map(|block| (block.0, block.2)).collect::<Vec<_>>(), [(4096, 1), (4096, 1), (808, 1)]);
    let in_order = "SELECT count(*) FROM (
            SELECT *, lag(last_property) OVER w AS before, row_number() OVER w - 1 AS place,
                ARRAY(SELECT p FROM unnest(property_ids) AS p ORDER BY p) = property_ids AS ordered,
                (SELECT array_agg(c.n ORDER BY c.class) FROM (SELECT class, count(*)::int AS n FROM unnest(classes) AS class GROUP BY class) AS c) = counts AS counted
            FROM policy_decision_blocks WINDOW w AS (ORDER BY first_property)
        ) AS b WHERE before >= first_property OR place <> block_no OR NOT ordered OR NOT counted";
    assert_eq!(get::<i64>(&mut session, in_order, &[]), 0);
    // A model of its own for each property, and money of its own.
    let wind = storm(&mut session, "wind");
    let own = "UPDATE properties SET job_margin = 1000 + external_id::int, contact_cost = external_id::int % 97 WHERE external_id::int <= 600;
        INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
        SELECT $storm, property_id, 'model ' || external_id, 0.1 FROM properties WHERE external_id::int <= 600";
    session.batch_execute(&own.replace("$storm", &format!("'{wind}'"))).expect("models");
    session.execute("SELECT stormops.apply_policy($1)", &[&wind]).expect("a run");
    let cut: Vec<_> = blocks(&mut session)[3..].iter().map(|block| (block.0, block.2)).collect();
    assert_eq!(cut, [(255, 255), (255, 255), (90, 90)]);
    let models = "SELECT count(*) FROM policy_decisions AS d JOIN lead_uplift AS l USING (storm_id, property_id)
        WHERE d.storm_id = $1 AND d.model_version = l.model_version";
    assert_eq!(get::<i64>(&mut session, models, &[&wind]), 600);
}

/// The one place from which the pass hears of properties that are not like others.
#[test]
fn what_policy_exceptions_excludes_is_excluded_for_its_reason() {
    let db = Db::new("exceptions");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", 60);
    session
        .batch_execute("UPDATE properties SET do_not_contact = true WHERE external_id::int <= 3")
        .expect("an owner's wish");
    let mut superuser = db.superuser();
    let body: String = get(
        &mut superuser,
        "SELECT pg_get_functiondef('stormops_internal.policy_exceptions(uuid,jsonb,boolean)'::regprocedure)",
        &[],
    );
    let further = "UNION ALL SELECT p.property_id, false, r.reason, NULL, NULL FROM stormops.properties AS p,
            (VALUES ('quiet', 2, 5), ('often', 5, 6)) AS r (reason, first, last)
        WHERE p.tenant_id = stormops.current_tenant() AND p.external_id::int BETWEEN r.first AND r.last";
    let (start, end) = body.rsplit_once("$function$").expect("a body");
    superuser.batch_execute(&format!("{start}{further} $function${end}")).expect("further exceptions");
    let told: String =
        get(&mut session, "SELECT excluded || ' ' || (reasons - '{above_threshold,explore_treat,below_threshold,holdout,explore_hold}'::text[])
            FROM stormops.apply_policy($1)", &[&hail]);
    assert_eq!(told, r#"6 {"often": 2, "quiet": 1, "do_not_contact": 3}"#);
    let each = "SELECT string_agg(external_id || ' ' || reason, ', ' ORDER BY external_id) FROM policy_decisions JOIN properties USING (property_id)
        WHERE decision = 'exclude' AND propensity = 1";
    let each: String = get(&mut session, each, &[]);
    assert_eq!(each, "1 do_not_contact, 2 do_not_contact, 3 do_not_contact, 4 quiet, 5 often, 6 often");
}

/// A database's own policy may hide properties even from us: what it hides is not decided, and surely not treated.
#[test]
fn properties_that_a_policy_of_the_database_hides_are_not_decided() {
    let db = Db::new("hidden");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", 60);
    let hide = "UPDATE stormops.properties SET do_not_contact = true WHERE external_id = '5';
        CREATE POLICY theirs ON stormops.properties AS RESTRICTIVE FOR SELECT USING (external_id <> '5')";
    db.superuser().batch_execute(hide).expect("a policy");
    let told: (i64, i64) = {
        let row =
            session.query_one("SELECT treat + hold, excluded FROM stormops.apply_policy($1)", &[&hail]).expect("a run");
        (row.get(0), row.get(1))
    };
    assert_eq!(told, (59, 0));
}

/// Whatever moment a statement is cancelled at, there is a whole run or nothing.
#[test]
fn a_run_that_times_out_is_whole_or_not_there() {
    let db = Db::new("timeouts");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", 12_000);
    let (mut ended, mut whole) = (0, 0);
    for milliseconds in (1..).map(|i| 1 + i * i / 2).take(40) {
        session.batch_execute(&format!("SET statement_timeout = {milliseconds}")).expect("a timeout");
        let result = session.execute("SELECT stormops.apply_policy($1, supersede => true)", &[&hail]);
        session.batch_execute("RESET statement_timeout").expect("time");
        match result {
            Ok(_) => whole += 1,
            Err(_) => {
                ended += 1;
                fails_with(result, "57014");
            }
        }
        let left =
            "SELECT (SELECT count(*) FROM policy_runs), (SELECT coalesce(sum(n), 0) FROM policy_decision_blocks),
            (SELECT count(*) FROM policy_run_digests)";
        let left = session.query_one(left, &[]).expect("counts");
        assert_eq!(
            (left.get::<_, i64>(0), left.get::<_, i64>(1), left.get::<_, i64>(2)),
            (whole, 12_000 * whole, whole)
        );
        if whole == 2 {
            break;
        }
    }
    assert!(ended > 0 && whole > 0, "{ended} ended, {whole} whole");
}

#[test]
fn arrays_are_compressed_fast_or_not_at_all() {
    let db = Db::new("storage");
    let mut superuser = db.superuser();
    superuser.batch_execute("SELECT stormops.maintain_partitions(5)").expect("new partitions");
    let slow = "SELECT count(*) FROM pg_partition_tree('stormops.policy_decision_blocks') AS t JOIN pg_attribute AS a ON a.attrelid = t.relid
        WHERE a.attnum > 0 AND format_type(a.atttypid, NULL) LIKE '%[]' AND a.attcompression <> 'l' AND a.attstorage <> 'e'";
    assert_eq!(get::<i64>(&mut superuser, slow, &[]), 0);
}

#[test]
fn parameters_that_lack_a_number_are_refused() {
    let db = Db::new("parameters");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", 10);
    for lacking in ["z", "default_sd", "breakeven_uplift", "exploration", "holdout"] {
        let call = format!(
            "SELECT * FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate') - '{lacking}')"
        );
        fails_with(session.query(&call, &[&hail]), "22023");
    }
    fails_with(session.query("SELECT * FROM stormops.policy_decisions($1, NULL)", &[&hail]), "22023");
    let enough =
        "SELECT count(*) FROM stormops.policy_decisions($1, stormops.policy_parameters('moderate') - 'confidence')";
    assert_eq!(get::<i64>(&mut session, enough, &[&hail]), 10);
}
