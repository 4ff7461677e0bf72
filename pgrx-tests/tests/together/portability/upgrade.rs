//! An installation of a released version, made by its own script, becomes what a fresh one is and keeps every row.

use std::path::Path;

use stormops_tests::{Db, ROLES, SUPERUSER, cluster, fails_with, run};

use super::life::{Filled, catalogue, fill, filled, inside, lines, same, works};

/// The directory of the scripts that were released.
fn released() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the checkout").join("sql/released")
}

/// Every released version, and its install script.
fn versions() -> Vec<(String, String)> {
    let read = |file: std::fs::DirEntry| {
        let name = file.file_name().into_string().expect("UTF-8");
        let version = name.strip_prefix("stormops--")?.strip_suffix(".sql")?.to_owned();
        Some((version, std::fs::read_to_string(file.path()).expect("a script")))
    };
    let files = std::fs::read_dir(released()).expect("released scripts");
    let mut versions: Vec<_> = files.filter_map(|file| read(file.expect("a file"))).collect();
    versions.sort();
    assert!(!versions.is_empty());
    versions
}

fn installed(version: &str) -> Filled {
    let db = Db::empty("released");
    let create = format!("CREATE EXTENSION stormops VERSION '{version}'");
    db.superuser().batch_execute(&create).expect("a released version");
    for (role, kind) in ROLES {
        db.in_turn(&format!("SELECT stormops.grant_usage('{role}', '{kind}')"));
    }
    fill(db)
}

/// Each table of the first with the digest of its rows in both, as far as both have its columns.
fn kept(before: &Db, after: &Db) -> [Vec<String>; 2] {
    let columns = "SELECT a.attrelid::regclass || ' ' || quote_ident(a.attname)
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text IN ('stormops', 'stormops_internal', 'public')
            AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.oid::regclass::text, a.attname";
    let (mut older, mut newer) = (before.superuser(), after.superuser());
    let there = lines(&mut newer, columns);
    let both: Vec<String> = lines(&mut older, columns).into_iter().filter(|column| there.contains(column)).collect();
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for line in both {
        let (table, column) = line.split_once(' ').expect("a table and a column");
        match tables.last_mut() {
            Some((last, columns)) if last == table => columns.push(column.to_owned()),
            _ => tables.push((table.to_owned(), vec![column.to_owned()])),
        }
    }
    assert!(tables.len() > 40, "{tables:?}");
    let digest = |(table, columns): &(String, Vec<String>)| {
        let row = format!("ROW({})::text", columns.join(", "));
        format!("SELECT concat_ws(' ', '{table}', count(*), md5(string_agg({row}, ' ' ORDER BY {row}))) FROM {table}")
    };
    let digests = tables.iter().map(digest).collect::<Vec<_>>().join(" UNION ALL ");
    [lines(&mut older, &digests), lines(&mut newer, &digests)]
}

/// Every decision, as a digest: of a table in a version before, of a view in this one.
fn decisions(db: &Db) -> Vec<String> {
    let digest =
        "SELECT concat_ws(' ', tenant_id, run_id, count(*), md5(string_agg(l::text, ' ' ORDER BY property_id)))
        FROM stormops.policy_decisions_log AS l GROUP BY tenant_id, run_id ORDER BY 1";
    lines(&mut db.superuser(), digest)
}

/// Every decision of the older database is in the newer one and its log as it was: row by row, and as blocks, into which an
/// operator makes it. Then the newer one has the partitions of a fresh one.
fn decisions_are_kept(older: &Db, db: &Db, version: &str) {
    let before = decisions(older);
    assert!(before.len() >= 6, "{before:?}");
    let (mut superuser, mut op) = (db.superuser(), db.as_role("op"));
    let verified = "SELECT t.org_name || ' ' || v.ok || ' ' || v.decisions FROM stormops.tenants AS t, stormops.verify_log(t.tenant_id) AS v ORDER BY 1";
    let as_rows = lines(&mut superuser, verified);
    assert!(
        as_rows.len() == 3 && as_rows.iter().all(|line| line.contains(" true ") && !line.ends_with(" 0")),
        "{as_rows:?}"
    );
    same(&before, &decisions(db), &format!("decisions of {version}"));
    let mut pack = |most: i32| {
        let row = op
            .query_one("SELECT runs, refused, runs_left, decisions FROM stormops.pack_decisions($1)", &[&most])
            .expect("blocks");
        [0, 1, 2, 3].map(|i| row.get::<_, i64>(i))
    };
    let runs = before.len() as i64;
    assert_eq!(pack(2)[..3], [2, 0, runs - 2], "two runs of {version}");
    same(&before, &decisions(db), &format!("decisions of {version}, some in blocks"));
    assert_eq!(lines(&mut superuser, verified), as_rows, "{version}, some in blocks");
    assert_eq!(pack(1000)[..3], [runs - 2, 0, 0], "the others of {version}");
    assert_eq!(pack(1000), [0; 4], "none is left");
    same(&before, &decisions(db), &format!("decisions of {version}, in blocks"));
    assert_eq!(lines(&mut superuser, verified), as_rows, "{version}, in blocks");
    let left = "SELECT count(*)::text FROM stormops.policy_decision_rows UNION ALL
        SELECT relid::regclass::text FROM pg_partition_tree('stormops.policy_decision_rows') WHERE level > 0";
    assert_eq!(lines(&mut superuser, left), ["0", "stormops_internal.policy_decision_rows_default"]);
    db.as_role("op").execute("SELECT stormops.maintain_partitions(5)", &[]).expect("partitions, as fill() makes them");
}

fn failing(db: &Db) -> Vec<String> {
    let failing =
        "SELECT property || ': ' || evidence FROM stormops.attest() WHERE NOT pass AND property <> 'server_minor'";
    lines(&mut db.superuser(), failing)
}

#[test]
fn an_upgraded_database_is_what_a_fresh_one_is_and_keeps_every_row() {
    let fresh = filled();
    let expected = catalogue(&fresh.db);
    for (version, _) in versions() {
        let Filled { db, tenants } = installed(&version);
        let before = db.copy_of();
        db.superuser().batch_execute("ALTER EXTENSION stormops UPDATE").expect("an upgrade");
        let [older, newer] = kept(&before, &db);
        same(&older, &newer, &format!("rows of {version}"));
        decisions_are_kept(&before, &db, &version);
        same(&expected, &catalogue(&db), &format!("the catalogue of {version}, upgraded"));
        assert_eq!(failing(&db), failing(&fresh.db), "attest() of {version}, upgraded");

        let restored = Db::empty("upgraded_restored");
        restored.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error"]);
        same(&expected, &catalogue(&restored), &format!("{version}, upgraded, dumped and restored"));
        works(&db, tenants);
    }
}

/// pg_dump writes no version: whoever restores has the newer functions over the older tables, until install() runs. What it
/// writes of grants on functions is left out, since some of these are gone; install() gives them too.
#[test]
fn a_dump_of_a_released_version_restores_under_this_one() {
    let expected = catalogue(&filled().db);
    for (version, _) in versions() {
        let Filled { db, tenants } = installed(&version);
        let restored = Db::empty("older_restored");
        let dump = db.pg_dump(&["-Fc"]);
        let entries = run(cluster().program("pg_restore", SUPERUSER, &db.name).arg("-l"), &dump);
        let entries = String::from_utf8(entries).expect("UTF-8 from pg_restore");
        let granted = |entry: &&str| entry.contains(" ACL ") && entry.contains(" FUNCTION ");
        assert!(entries.lines().any(|entry| granted(&entry)));
        let list = std::env::temp_dir().join(format!("stormops-restore-{}", std::process::id()));
        let others: Vec<_> = entries.lines().filter(|entry| !granted(entry)).collect();
        std::fs::write(&list, others.join("\n")).expect("a list");
        restored.pg_restore(&dump, &["--exit-on-error", "-L", list.to_str().expect("UTF-8")]);
        std::fs::remove_file(&list).ok();
        restored.superuser().batch_execute("SELECT stormops.install()").expect("the tables of this version");
        let [older, newer] = kept(&db, &restored);
        same(&older, &newer, &format!("rows of {version}"));
        decisions_are_kept(&db, &restored, &version);
        same(&expected, &catalogue(&restored), &format!("the catalogue of {version}, restored"));
        works(&restored, tenants);
    }
}

/// A run that was changed stays as it is, for verify_log() to name the row; the others are packed.
#[test]
fn packing_refuses_a_run_that_is_not_as_it_was_written() {
    for (version, _) in versions() {
        let Filled { db, tenants } = installed(&version);
        db.superuser().batch_execute("ALTER EXTENSION stormops UPDATE").expect("an upgrade");
        let mut op = db.as_role("op");
        for bad in [0, -1] {
            fails_with(op.query("SELECT stormops.pack_decisions($1)", &[&bad]), "22023");
        }
        for role in ["app", "tapp", "mon", "nobody"] {
            fails_with(db.as_role(role).query("SELECT stormops.pack_decisions()", &[]), "42501");
        }
        let touch = "UPDATE stormops.policy_decision_rows SET score = score / 2
            WHERE (run_id, property_id) = (SELECT run_id, property_id FROM stormops.policy_decision_rows WHERE tenant_id = $1 AND score > 0.01 ORDER BY 1, 2 LIMIT 1)
            RETURNING run_id";
        let touched: uuid::Uuid = db.superuser().query_one(touch, &[&tenants[0]]).expect("a touched row").get(0);
        let before = decisions(&db);
        let row =
            op.query_one("SELECT runs, refused, runs_left FROM stormops.pack_decisions(NULL)", &[]).expect("blocks");
        assert_eq!([0, 1, 2].map(|i| row.get::<_, i64>(i)), [before.len() as i64 - 1, 1, 1]);
        same(&before, &decisions(&db), "one in rows");
        let in_rows: uuid::Uuid = db
            .superuser()
            .query_one("SELECT DISTINCT run_id FROM stormops.policy_decision_rows", &[])
            .expect("one run")
            .get(0);
        assert_eq!(in_rows, touched);
        let verified = "SELECT ok, broken, broken_run FROM stormops.verify_log($1)";
        let row = op.query_one(verified, &[&tenants[0]]).expect("a verdict");
        assert!(!row.get::<_, bool>(0) && row.get::<_, &str>(1) == "policy_decisions_log");
        assert_eq!(row.get::<_, uuid::Uuid>(2), touched);
        assert!(op.query_one(verified, &[&tenants[1]]).expect("a verdict").get::<_, bool>(0));
    }
}

/// Late events, events that are not rolled up, invoices that are final and void: what they meant is what they mean.
#[test]
fn what_was_billed_under_a_released_version_is_billed_alike_under_this_one() {
    for (version, _) in versions() {
        let Filled { db, tenants } = installed(&version);
        let mut op = db.as_role("op");
        let meter = |value: &str, at: &str| {
            let event = format!("SELECT stormops.record_usage('model_call', {value}, at => '{at}')");
            inside(&db, tenants[1]).batch_execute(&event).expect("an event");
        };
        let invoice = |op: &mut postgres::Client, call: &str| -> uuid::Uuid {
            let call = format!("SELECT invoice_id FROM stormops.{call}");
            op.query_one(&call, &[&tenants[1]]).expect("an invoice").get(0)
        };
        meter("700", "2024-03-10Z");
        meter("300", "2024-04-10Z");
        let march = invoice(&mut op, "generate_invoice($1, '2024-03')");
        op.execute("SELECT stormops.finalize_invoice($1)", &[&march]).expect("a final invoice");
        meter("50", "2024-03-11Z");
        let april = invoice(&mut op, "generate_invoice($1, '2024-04')");
        op.execute("SELECT stormops.finalize_invoice($1)", &[&april]).expect("a final invoice");
        meter("20", "2024-03-12Z");
        op.batch_execute("SELECT stormops.rollup_usage()").expect("a rollup");
        meter("7", "2024-04-12Z");
        let lines = "SELECT coalesce(string_agg(concat_ws(' ', kind, metric_name, trim_scale(quantity), amount), '; ' ORDER BY line), 'none')
            FROM stormops.preview_invoice($1, '2024-05')";
        op.batch_execute("BEGIN; SELECT stormops.rollup_usage()").expect("a rollup");
        let due: String = op.query_one(lines, &[&tenants[1]]).expect("a preview").get(0);
        op.batch_execute("ROLLBACK").expect("as before");
        assert!(due.contains("adjustment model_call 20") && due.contains("adjustment model_call 7"), "{due}");

        db.superuser().batch_execute("ALTER EXTENSION stormops UPDATE").expect("an upgrade");
        let mut op = db.as_role("op");
        let proved = "SELECT bool_and(v.verified) AND count(*) >= 4 FROM stormops.list_invoices() AS i
            CROSS JOIN LATERAL stormops.verify_invoice(i.invoice_id) AS v WHERE i.status <> 'draft'";
        let differ = "SELECT count(*) FROM stormops.verify_rollups()";
        for folded in [4, 0] {
            // One of this test, and one that each tenant's life left.
            let events: i64 = op.query_one("SELECT events FROM stormops.rollup_usage()", &[]).expect("a rollup").get(0);
            assert!(events == 0 || folded > 0, "{events}");
            assert_eq!(op.query_one(differ, &[]).expect("a proof").get::<_, i64>(0), 0);
            assert!(op.query_one(proved, &[]).expect("a proof").get::<_, bool>(0));
        }
        assert_eq!(op.query_one(lines, &[&tenants[1]]).expect("a preview").get::<_, String>(0), due);
        let may = invoice(&mut op, "generate_invoice($1, '2024-05')");
        op.execute("SELECT stormops.finalize_invoice($1)", &[&may]).expect("a final invoice");
        assert!(op.query_one(proved, &[]).expect("a proof").get::<_, bool>(0));
        assert_eq!(
            op.query_one(
                "SELECT count(*) FROM stormops.preview_invoice($1, '2024-06') WHERE kind = 'adjustment'",
                &[&tenants[1]]
            )
            .expect("a preview")
            .get::<_, i64>(0),
            0
        );
    }
}

/// What a release made by CREATE TABLE stays as it was: below it stand ALTERs that may run again. So a fresh
/// installation, an upgraded one and an older dump run the same statements.
#[test]
fn a_released_create_table_is_frozen() {
    let statements = |script: &str| -> Vec<String> {
        let script = script.replace("''", "'");
        let made = script.split("CREATE TABLE IF NOT EXISTS ").skip(1);
        made.map(|rest| rest.split_once(";\n").expect("an end").0.to_owned()).collect()
    };
    let now = "SELECT statements FROM stormops_internal.shipped_tables()";
    let now: Vec<_> = lines(&mut Db::new("frozen").superuser(), now).iter().flat_map(|file| statements(file)).collect();
    for (version, script) in versions() {
        let then = statements(&script);
        assert!(then.len() > 40, "{version} makes {} tables", then.len());
        let changed: Vec<_> = then.iter().filter(|table| !now.contains(table)).collect();
        assert!(changed.is_empty(), "changed since {version}: {changed:#?}");
    }
}
