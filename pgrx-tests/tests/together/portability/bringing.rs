//! A tenant comes into another installation, or as another tenant: exactly as it was, and goes on from there.

use stormops_tests::portable::{export, import, import_as};
use stormops_tests::tenant::{session, tenant};
use stormops_tests::twins::Twins;
use stormops_tests::{Db, fails_with, get, sqlstate};
use uuid::Uuid;

use super::life::{filled, inside, lines, rows, same};

const OK: &str = "SELECT ok AND entries > 4 AND adopted = 0 FROM stormops.verify_log($1)";

#[test]
fn what_came_in_goes_out_again_byte_for_byte_and_goes_on() {
    let source = filled();
    let tenant = source.tenants[1];
    let file = export(&mut inside(&source.db, tenant));
    let target = Db::new("target");
    let refused = fails_with(import(&target, &file), "22023");
    assert!(refused.message().contains("column \"note\" of table \"storms\""), "{refused:?}");
    target.superuser().batch_execute("ALTER TABLE stormops.storms ADD COLUMN note text").expect("a column");
    let report = import(&target, &file).expect("a tenant");
    assert_eq!(report["tenant_id"], tenant.to_string());
    assert!(report["rows"].as_u64().is_some_and(|rows| rows > 1000), "{report}");
    same(&file, &export(&mut inside(&target, tenant)), "the file");

    let mut op = target.as_role("op");
    assert!(get::<bool>(&mut op, OK, &[&tenant]));
    let differ = "SELECT count(*) FROM stormops.verify_rollups()";
    assert_eq!(get::<i64>(&mut op, differ, &[]), 0);
    let counts = "SELECT total_rows FROM stormops.check_table_health('properties')";
    let mut session = inside(&target, tenant);
    assert_eq!(get::<i64>(&mut session, counts, &[]), 200, "the counters came too, and nothing was counted again");
    session.batch_execute("INSERT INTO properties (address) VALUES ('new')").expect("a row");
    assert_eq!(get::<i64>(&mut session, counts, &[]), 201);
    session
        .batch_execute("SELECT stormops.apply_policy(storm_id, supersede => true) FROM storms WHERE peril = 'hail'")
        .expect("runs");
    session.batch_execute("SELECT stormops.record_usage('model_call', 3, at => '2024-03-02Z')").expect("usage");
    op.batch_execute("SELECT stormops.rollup_usage()").expect("a rollup");
    let number = "SELECT invoice_number FROM stormops.finalize_invoice((SELECT invoice_id FROM stormops.generate_invoice($1, '2024-03')))";
    let last: i64 = get(&mut target.superuser(), "SELECT max(invoice_number) FROM stormops.invoices", &[]);
    assert_eq!(get::<i64>(&mut op, number, &[&tenant]), last + 1);
    assert!(get::<bool>(&mut op, OK, &[&tenant]));
    fails_with(import(&target, &file), "23505");
}

/// With a row in each table.
#[test]
fn every_table_comes_in() {
    let twins = Twins::new("all");
    let file = export(&mut session(&twins.db, twins.a));
    let target = Db::new("all_in");
    import(&target, &file).expect("a tenant");
    same(&file, &export(&mut session(&target, twins.a)), "the file");
}

const ODD: &str = "CREATE TYPE public.mood AS ENUM ('so', 'la la');
    CREATE DOMAIN public.ratio AS double precision CHECK (VALUE <= 1 OR VALUE = 'NaN');
    CREATE TABLE public.odd (tenant_id uuid NOT NULL, k text NOT NULL, b boolean, s smallint, i integer, l bigint, r real, d double precision,
        n numeric, t text, c char(5), by bytea, ts timestamptz, da date, iv interval, j jsonb, js json, u uuid[], ta text[], na numeric[],
        ba bytea[], m integer[][], m0 integer[], da2 double precision[], mood public.mood, ra public.ratio, ip inet, tr tstzrange, bi bit(3),
        g boolean GENERATED ALWAYS AS (i IS NULL) STORED, \"od\"\"d, name\" text, PRIMARY KEY (tenant_id, k));
    SELECT stormops.protect('public.odd')";

const ROWS: &str = "INSERT INTO public.odd (tenant_id, k, b, s, i, l, r, d, n, t, c, by, ts, da, iv, j, js, u, ta, na, ba, m, m0, da2, mood, ra, ip, tr, bi, \"od\"\"d, name\") VALUES
    ($1, 'Z', true, -32768, 2147483647, 9223372036854775807, 1e-45, 5e-324, 0.000100, E'a\\n\\t\\\\ \"\\u0001 \\U0001F600', 'xyz', '\\x00ff0a', '2024-02-29 12:34:56.000001Z',
        '2024-02-29', '1 year -2 mons 3 days -04:05:06.000007', '{\"b\": [1e400, 0.10, null], \"a\": {}}', '{\"x\" :  1}', '{00000000-0000-0000-0000-000000000001}',
        '{NULL,\"NULL\",\"\",\"a,\\\"b\"}', '{1.10,NaN}', '{\"\\\\x00\",NULL}', '{{1,2},{3,NULL}}', '[0:1]={5,6}', '{-0,NaN,Infinity,0.1}', 'la la', -0.0, '10.0.0.1/8',
        '[2024-01-01 00:00Z,)', B'101', 'quoted'),
    ($1, 'a', false, 0, 0, -9007199254740993, 'NaN', '-0', 'NaN', '', '', '', 'infinity', '-infinity', '0', 'null', 'null', '{}', '{}', '{}', '{}', '{}', '{}', '{}', 'so', 'NaN', '::1', 'empty', B'000', ''),
    ($1, 'B', NULL, NULL, NULL, NULL, 'Infinity', '-Infinity', '-Infinity', NULL, NULL, NULL, '0044-03-15 12:00:00Z BC', '20000-01-01', NULL, '\"{}\"', NULL, NULL, '{NULL}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ($1, 'b', NULL, NULL, NULL, 9007199254740992, 0.1, 0.1, 123456789012345678901234567890.5, 'x', NULL, NULL, '12024-01-01Z', NULL, NULL, '-0.0', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{1e300}', NULL, 1, NULL, NULL, NULL, NULL)";

#[test]
fn every_value_of_every_type_is_the_same_after_it() {
    let [source, target] = ["odd", "odd_in"].map(Db::new);
    let (a, _) = tenant(&source, "Abc");
    for db in [&source, &target] {
        db.superuser().batch_execute(ODD).expect("a table");
    }
    source.superuser().batch_execute(&ROWS.replace("$1", &format!("'{a}'"))).expect("rows");
    let file = export(&mut session(&source, a));
    let keys: Vec<_> = file.iter().filter_map(|line| line.strip_prefix("[\"public.odd\",\"")?.get(..1)).collect();
    assert_eq!(keys, ["B", "Z", "a", "b"], "by bytes, and by no locale");
    import(&target, &file).expect("a tenant");
    same(&file, &export(&mut session(&target, a)), "the file");
    let rows = "SELECT o::text FROM public.odd AS o ORDER BY k COLLATE \"C\"";
    let set = "SET extra_float_digits = 3; SET TimeZone = 'UTC'";
    let [before, after] = [&source, &target].map(|db| {
        let mut superuser = db.superuser();
        superuser.batch_execute(set).expect("settings");
        lines(&mut superuser, rows)
    });
    assert_eq!(before, after);
}

#[test]
fn as_another_tenant_it_has_nothing_of_the_old_id_and_its_log_holds() {
    let source = filled();
    let (tenant, other) = (source.tenants[0], Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_000a));
    let mention = format!("UPDATE properties SET address = 'of {tenant}, twice {tenant}' WHERE external_id = '5'");
    inside(&source.db, tenant).batch_execute(&mention).expect("a mention");
    let file = export(&mut inside(&source.db, tenant));
    let refused = fails_with(import_as(&source.db, &file, other, "ABC"), "23505");
    assert!(refused.message().contains("name_key"), "{refused:?}");
    let report = import_as(&source.db, &file, other, "  Abc   Two ").expect("another tenant");
    assert_eq!(report["tenant_id"], other.to_string());
    let mut op = source.db.as_role("op");
    let named = "SELECT org_name FROM stormops.list_tenants() WHERE tenant_id = $1";
    assert_eq!(get::<String>(&mut op, named, &[&other]), "Abc Two");
    let verify = "SELECT ok AND entries = adopted AND entries > 4 AND decisions = 400 FROM stormops.verify_log($1)";
    assert!(get::<bool>(&mut op, verify, &[&other]));
    assert!(get::<bool>(&mut op, OK, &[&tenant]), "the one that it was made of is as it was");
    let again = export(&mut inside(&source.db, other));
    assert!(again.iter().all(|line| !line.contains(&tenant.to_string())));
    assert_eq!(again.iter().filter(|line| line.contains(&format!("of {other}, twice {other}"))).count(), 1);
    assert_eq!(again.len(), file.len());
    same(&file, &export(&mut inside(&source.db, tenant)), "the one that it was made of");
    // The same rows but for what is over the id.
    let of = |lines: &[String]| -> Vec<String> {
        let plain = |line: &&String| {
            !["[\"tenants\"", "[\"policy_runs\"", "[\"tenant_log\"", "[\"policy_run_digests\"", "{"]
                .iter()
                .any(|b| line.starts_with(b))
        };
        lines.iter().filter(plain).map(|line| line.replace(&other.to_string(), &tenant.to_string())).collect()
    };
    same(&of(&file), &of(&again), "rows");
    // What it decided was drawn under the old id: nobody pretends to draw it again, nor finds fault with what was drawn.
    let mut session = inside(&source.db, other);
    let again = "SELECT count(*) FROM policy_runs AS r CROSS JOIN LATERAL stormops.decide_again(r.run_id)";
    fails_with(session.query(again, &[]), "55000");
    let drawn = "SELECT count(*) FILTER (WHERE c.verdict = 'no_data') = count(*) AND count(*) > 0 FROM policy_runs AS r
        CROSS JOIN LATERAL stormops.check_guardrails(r.storm_id) AS c
        WHERE r.superseded_at IS NULL AND c.check_name = 'holdout_draw'";
    assert!(get::<bool>(&mut session, drawn, &[]));
    drop(session);
    inside(&source.db, other)
        .batch_execute("SELECT stormops.apply_policy(storm_id, supersede => true) FROM storms")
        .expect("a run");
    assert!(get::<bool>(&mut op, "SELECT ok FROM stormops.verify_log($1)", &[&other]));
}

/// Who holds a grant to read elsewhere has none here, however long it says.
#[test]
fn a_grant_to_read_that_was_open_comes_in_closed() {
    let source = Db::new("granted");
    let (a, mut inside) = tenant(&source, "Abc");
    let open = "SELECT grant_id FROM stormops.open_break_glass($1, 'looks', 'SUP-3')";
    let grant: Uuid = get(&mut source.as_role("op"), open, &[&a]);
    let target = Db::new("granted_in");
    import(&target, &export(&mut inside)).expect("a tenant");
    let mut op = target.as_role("op");
    fails_with(op.query("SELECT stormops.break_glass($1)", &[&grant]), "28000");
    assert!(!get::<bool>(&mut op, "SELECT open FROM stormops.break_glass_grants()", &[]));
}

#[test]
fn only_an_operator_brings_a_tenant_in_and_a_failure_leaves_nothing() {
    let source = filled();
    let file = export(&mut inside(&source.db, source.tenants[0]));
    let target = Db::new("refused");
    let before = rows(&target);
    let import = "SELECT stormops.import_tenant_rows(l ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS l (l, n)";
    for role in ["app", "tapp", "mon", "nobody"] {
        fails_with(target.as_role(role).query(import, &[&file]), "42501");
    }
    let mut op = target.as_role("op");
    for call in [
        "SELECT stormops_internal.import_rows('SELECT 1', '{}', NULL, NULL)",
        "SELECT stormops_internal.import_begin(NULL, NULL)",
        "SELECT stormops_internal.import_end(NULL, NULL)",
    ] {
        assert_eq!(sqlstate(&op.batch_execute(call)), "42501", "{call}");
    }
    fails_with(op.query("SELECT stormops.import_tenant_rows(l) OVER (ORDER BY n) FROM unnest('{a,b}'::text[]) WITH ORDINALITY AS l (l, n)", &[]), "0A000");
    fails_with(op.query("SELECT stormops.import_tenant_rows(NULL)", &[]), "22004");
    fails_with(op.query("SELECT stormops.import_tenant_rows('x') WHERE false", &[]), "22023");
    op.batch_execute("BEGIN READ ONLY").expect("a transaction");
    fails_with(op.query(import, &[&file]), "25006");
    op.batch_execute("ROLLBACK").expect("the end");
    same(&before, &rows(&target), "rows");
}
