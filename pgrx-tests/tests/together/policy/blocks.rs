//! Decisions kept in blocks read as rows do, through every view and every function.

use postgres::Client;
use stormops_tests::blocks::{as_rows, in_small_blocks};
use stormops_tests::tenant::{acting_as, scored_storm, session, tenant};
use stormops_tests::{Db, fails_with, get};
use uuid::Uuid;

const SOME: i32 = 230;

/// Rows of the first query that the second lacks, and the other way round.
fn differences(session: &mut Client, one: &str, other: &str) -> i64 {
    let count = format!(
        "SELECT (SELECT count(*) FROM ({one} EXCEPT ALL {other}) AS x) + (SELECT count(*) FROM ({other} EXCEPT ALL {one}) AS x)"
    );
    get(session, &count, &[])
}

/// A tenant with two storms, scored by two models; the first decided three times, the second once.
fn decided(name: &str) -> (Db, Uuid, Client, [Uuid; 2]) {
    let db = Db::new(name);
    let (abc, mut session) = tenant(&db, "Abc");
    let storms = ["hail", "wind"].map(|event| scored_storm(&mut session, event, SOME));
    db.superuser()
        .batch_execute("UPDATE stormops.lead_uplift SET model_version = 'v2' WHERE property_id::text < '6'")
        .expect("two models");
    for mode in ["conservative", "aggressive", "moderate"] {
        session.execute("SELECT stormops.apply_policy($1, $2, true)", &[&storms[0], &mode]).expect("a run");
    }
    session.execute("SELECT stormops.apply_policy($1)", &[&storms[1]]).expect("a run");
    (db, abc, session, storms)
}

#[test]
fn both_views_show_each_decision_as_it_was_taken_in_blocks_and_in_rows() {
    let (db, _, mut session, storms) = decided("views");
    let mut superuser = db.superuser();
    superuser.batch_execute("CREATE TABLE public.were AS TABLE stormops.policy_decisions_log").expect("a copy");
    let all: i64 = get(&mut superuser, "SELECT count(*) FROM public.were", &[]);
    assert_eq!(all, 4 * i64::from(SOME));
    let same = |superuser: &mut Client, how: &str| {
        for view in ["policy_decisions_log", "policy_decisions_plain"] {
            assert_eq!(
                differences(superuser, "TABLE public.were", &format!("TABLE stormops.{view}")),
                0,
                "{view}, {how}"
            );
        }
        let current = "SELECT w.* FROM public.were AS w JOIN stormops.policy_runs AS r USING (tenant_id, run_id) WHERE r.superseded_at IS NULL";
        // The columns that USING puts first are the first two.
        assert_eq!(differences(superuser, current, "TABLE stormops.policy_decisions"), 0, "{how}");
    };
    same(&mut superuser, "as applied");
    in_small_blocks(&db);
    let blocks: i64 = get(&mut superuser, "SELECT count(*) FROM stormops.policy_decision_blocks", &[]);
    assert_eq!(blocks, 4 * 5);
    let models = "SELECT count(*) FROM stormops.policy_decision_blocks WHERE models IS NOT NULL AND cardinality(model_versions) = 2";
    assert!(get::<i64>(&mut superuser, models, &[]) > 0);
    same(&mut superuser, "in small blocks");
    let run: Uuid = get(&mut session, "SELECT min(run_id::text)::uuid FROM policy_runs", &[]);
    as_rows(&db, run);
    assert!(get::<i64>(&mut superuser, "SELECT count(*) FROM stormops.policy_decision_rows", &[]) > 0);
    same(&mut superuser, "one run in rows");
    // What the function decides again is what the view shows, for the tenant too.
    let again =
        "SELECT d.property_id, d.decision, d.reason, d.propensity, d.score, d.score_sd, d.value, d.model_version
        FROM policy_runs AS r, stormops.policy_decisions(r.storm_id, r.parameters) AS d WHERE r.superseded_at IS NULL";
    let shown =
        "SELECT property_id, decision, reason, propensity, score, score_sd, value, model_version FROM policy_decisions";
    assert_eq!(differences(&mut session, again, shown), 0);
    assert_eq!(
        get::<i64>(&mut session, "SELECT count(*) FROM policy_decisions WHERE storm_id = $1", &[&storms[1]]),
        i64::from(SOME)
    );
}

#[test]
fn all_that_was_decided_about_a_property_is_found_run_by_run() {
    let (db, _, mut session, _) = decided("about");
    in_small_blocks(&db);
    let (_, mut best) = tenant(&db, "Best");
    let hail = scored_storm(&mut best, "hail", 10);
    best.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("another tenant's run");
    // The last property is in the last run of the first storm alone.
    let run: Uuid = get(&mut session, "SELECT run_id FROM policy_runs ORDER BY decided_at LIMIT 1", &[]);
    as_rows(&db, run);
    let told = "SELECT count(*), bool_and(d IS NOT DISTINCT FROM l), count(*) FILTER (WHERE d.superseded_at IS NULL)
        FROM (SELECT property_id FROM properties ORDER BY external_id LIMIT 40) AS p
        CROSS JOIN LATERAL stormops.decisions_about(p.property_id) AS d
        JOIN (
            SELECT l.property_id, l.run_id, l.storm_id, l.decided_at, r.superseded_at, l.policy_mode, l.decision, l.reason, l.propensity, l.score,
                l.score_sd, l.value, l.model_version
            FROM policy_decisions_log AS l JOIN policy_runs AS r USING (tenant_id, run_id)
        ) AS x ON x.property_id = p.property_id AND x.run_id = d.run_id
        CROSS JOIN LATERAL (SELECT x.run_id, x.storm_id, x.decided_at, x.superseded_at, x.policy_mode, x.decision, x.reason, x.propensity, x.score,
            x.score_sd, x.value, x.model_version) AS l";
    let row = session.query_one(told, &[]).expect("decisions");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1), row.get::<_, i64>(2)), (160, true, 80));
    let in_order = "SELECT array_agg(run_id) = array_agg(run_id ORDER BY run_id DESC) FROM stormops.decisions_about(md5('property 1')::uuid)";
    assert!(get::<bool>(&mut session, in_order, &[]), "the latest first");
    for nothing in [
        "NULL",
        "md5('property 0')::uuid",
        "'00000000-0000-0000-0000-000000000000'",
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    ] {
        let none = format!("SELECT count(*) FROM stormops.decisions_about({nothing})");
        assert_eq!(get::<i64>(&mut session, &none, &[]), 0, "{nothing}");
    }
    assert_eq!(get::<i64>(&mut best, "SELECT count(*) FROM stormops.decisions_about(md5('property 1')::uuid)", &[]), 1);
    fails_with(
        db.as_role("tapp").query("SELECT * FROM stormops.decisions_about(md5('property 1')::uuid)", &[]),
        "0B000",
    );
    fails_with(
        db.as_role("mon").query("SELECT * FROM stormops.decisions_about(md5('property 1')::uuid)", &[]),
        "42501",
    );
}

#[test]
fn what_is_no_block_is_an_error_and_never_a_row() {
    let db = Db::new("no_block");
    let (abc, _) = tenant(&db, "Abc");
    let mut session = session(&db, abc);
    let good = [
        ("property_ids", "ARRAY[md5('a')::uuid, md5('b')::uuid]"),
        ("classes", "'{1,2}'"),
        ("scores", "'{0.1,0.2}'"),
        ("score_sds", "'{0.1,0.2}'"),
        ("values", "'{1,-1}'"),
        ("decisions", "'{treat,hold}'"),
        ("reasons", "'{a,b}'"),
        ("propensities", "'{0.5,0.25}'"),
        ("model_versions", "'{v1,v2}'"),
        ("models", "'{2,1}'"),
        ("wanted", "NULL"),
    ];
    let unpack = |name: &str, value: &str| {
        let arguments: Vec<_> =
            good.iter().map(|(n, v)| format!("\"{n}\" => {}", if *n == name { value } else { v })).collect();
        format!(
            "SELECT string_agg(concat_ws(' ', decision, reason, propensity, score, score_sd, value, model_version), '; ' ORDER BY value DESC)
            FROM stormops_internal.unpack_decisions({})",
            arguments.join(", ")
        )
    };
    let whole = "treat a 0.5 0.1 0.1 1 v2; hold b 0.25 0.2 0.2 -1 v1";
    for (name, value, expected) in [
        ("wanted", "NULL", Some(whole)),
        ("wanted", "md5('a')::uuid", Some("treat a 0.5 0.1 0.1 1 v2")),
        ("wanted", "md5('b')::uuid", None), // the properties are not in order: it is looked for where it would be
        ("wanted", "md5('c')::uuid", None),
        ("property_ids", "'{}'", None),
    ] {
        let told = session.query_one(&unpack(name, value), &[]);
        if name == "property_ids" {
            fails_with(told, "XX001");
        } else if value != "md5('b')::uuid" {
            assert_eq!(told.expect("decisions").get::<_, Option<&str>>(0), expected, "{name} {value}");
        }
    }
    for (name, value) in [
        ("classes", "'{1}'"),
        ("classes", "'{1,2,1}'"),
        ("classes", "'{1,3}'"),
        ("classes", "'{0,1}'"),
        ("classes", "'{-1,1}'"),
        ("classes", "'{1,NULL}'"),
        ("classes", "'{{1,2}}'"),
        ("classes", "NULL"),
        ("scores", "'{0.1}'"),
        ("scores", "'{0.1,NULL}'"),
        ("score_sds", "'{}'"),
        ("values", "'{1,2,3}'"),
        ("values", "NULL"),
        ("property_ids", "NULL"),
        ("property_ids", "ARRAY[md5('a')::uuid, NULL]"),
        ("property_ids", "ARRAY[[md5('a')::uuid], [md5('b')::uuid]]"),
        ("decisions", "'{treat}'"),
        ("decisions", "'{treat,NULL}'"),
        ("decisions", "'{}'"),
        ("reasons", "'{a}'"),
        ("reasons", "NULL"),
        ("propensities", "'{1}'"),
        ("propensities", "'{1,NULL}'"),
        ("model_versions", "'{v1}'"),
        ("model_versions", "'{v1,NULL}'"),
        ("models", "'{1}'"),
        ("models", "'{1,3}'"),
        ("models", "'{1,NULL}'"),
    ] {
        let error = fails_with(session.query(&unpack(name, value), &[]), "XX001");
        assert!(error.hint().is_some_and(|hint| hint.contains("verify_log")), "{name} {value}: {error:?}");
    }
    let find = |classes: &str, wanted: &str| {
        format!(
            "SELECT count(*) FROM stormops_internal.find_decisions('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000003',
            '{{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000003}}', '{classes}', '{wanted}')"
        )
    };
    let [one, three] = [1, 3].map(|n| format!("00000000-0000-0000-0000-00000000000{n}"));
    assert_eq!(get::<i64>(&mut session, &find("{1,2}", &format!("{{{one},{three}}}")), &[]), 2);
    assert_eq!(get::<i64>(&mut session, &find("{1,2}", "{}"), &[]), 0);
    fails_with(session.query(&find("{1,2}", &format!("{{{three},{one}}}")), &[]), "22023");
    fails_with(session.query(&find("{1,2}", &format!("{{{one},{one}}}")), &[]), "22023");
    fails_with(session.query(&find("{1}", &format!("{{{one}}}")), &[]), "XX001");
    fails_with(session.query(&find("{1,2}", "{NULL}"), &[]), "XX001");
    let mut nobody = db.as_role("nobody");
    fails_with(nobody.query(&unpack("wanted", "NULL"), &[]), "42501");
}

/// Outcomes find the run and the block that they belong to, and count as they do when decisions are rows.
#[test]
fn outcomes_of_several_runs_and_blocks_are_judged_counted_and_compared_alike() {
    let (db, abc, mut session, [hail, _]) = decided("judged");
    in_small_blocks(&db);
    let mut superuser = db.superuser();
    // The runs of the first storm lie five days apart, and the last property is in the first of them only.
    superuser
        .batch_execute(&format!(
            "UPDATE stormops.policy_runs AS r SET decided_at = now() - n * interval '5 days'
            FROM (SELECT run_id, row_number() OVER (ORDER BY run_id DESC) AS n FROM stormops.policy_runs WHERE storm_id = '{hail}') AS o
            WHERE o.run_id = r.run_id"
        ))
        .expect("older runs");
    let record = "SELECT recorded, duplicates FROM stormops.record_outcomes($1, (
            SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'converted', external_id::int % 3 = 0, 'value', external_id::int,
                'occurred_at', now() - (external_id::int % 14) * interval '1 day', 'idempotency_key', 'k' || external_id))
            FROM properties WHERE external_id::int % 2 = 0))";
    for (recorded, duplicates) in [(115i64, 0i64), (0, 115)] {
        let row = session.query_one(record, &[&hail]).expect("outcomes");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (recorded, duplicates));
    }
    let placed = "SELECT count(*) FILTER (WHERE r.run_id = o.run_id), count(DISTINCT o.run_id) FROM policy_outcomes AS o
        JOIN LATERAL (SELECT run_id FROM policy_runs WHERE storm_id = o.storm_id AND decided_at <= o.occurred_at ORDER BY decided_at DESC LIMIT 1) AS r ON true";
    let row = session.query_one(placed, &[]).expect("places");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (115, 3));
    let missing = "SELECT stormops.record_outcomes($1, jsonb_build_array(
        jsonb_build_object('property_id', md5('property 1'), 'converted', true),
        jsonb_build_object('property_id', md5('property 999'), 'converted', true)))";
    let error = fails_with(session.query(missing, &[&hail]), "22023");
    assert!(
        error.message().contains("no decision in the run")
            && error.detail().is_some_and(|d| d.starts_with("Element 2,")),
        "{error:?}"
    );

    let rates = format!("SELECT row_to_json(r)::text FROM stormops.check_conversion_rates('{hail}') AS r");
    let by_property = format!(
        "SELECT concat_ws(' ', count(*) FILTER (WHERE compared AND treated), count(*) FILTER (WHERE compared AND treated AND converted),
            count(*) FILTER (WHERE compared AND NOT treated), count(*) FILTER (WHERE compared AND NOT treated AND converted),
            count(*) FILTER (WHERE compared AND has_outcome), count(*) FILTER (WHERE NOT compared))
        FROM stormops.compared_decisions('{hail}')"
    );
    let counted = format!("SELECT concat_ws(' ', c.treated_n, c.treated_converted, c.control_n, c.control_converted, c.recorded, c.not_compared)
        FROM stormops_internal.conversion_counts('{abc}', '{hail}') AS c");
    let uplift = format!("SELECT row_to_json(u)::text FROM stormops.uplift_summary('{hail}') AS u");
    let states = format!("SELECT (t.cases = (SELECT stormops.uplift_agg(score, treated, converted::int::float8, propensity) FROM stormops.randomised_decisions('{hail}')))::text
        FROM stormops_internal.storm_trial('{hail}') AS t");
    let results = "SELECT string_agg(r::text, ' ' ORDER BY r::text) FROM storm_results AS r".to_owned();
    let read = |session: &mut Client| {
        [&rates, &by_property, &counted, &uplift, &states, &results].map(|query| get::<String>(session, query, &[]))
    };
    let of_blocks = read(&mut session);
    assert_eq!(of_blocks[1], of_blocks[2]);
    assert_eq!(of_blocks[4], "true");
    let run: Uuid =
        get(&mut session, "SELECT run_id FROM policy_runs WHERE storm_id = $1 AND superseded_at IS NULL", &[&hail]);
    as_rows(&db, run);
    assert_eq!(read(&mut session), of_blocks, "as rows");
    assert_eq!(session.query_one(record, &[&hail]).expect("outcomes").get::<_, i64>(1), 115);
    drop(acting_as(&db, abc, "viewer"));
}
