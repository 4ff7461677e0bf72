//! A tenant's rows as lines: all of them, only them, the same bytes for the same rows; and who may take them out.

use std::collections::BTreeMap;

use postgres::Client;
use serde_json::Value;
use stormops_tests::portable::{export, row, table};
use stormops_tests::tenant::{acting_as, session, tenant};
use stormops_tests::twins::Twins;
use stormops_tests::{Db, enter, fails_with, get, sqlstate};
use uuid::Uuid;

fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))
}

/// The tables of a file in their order, with their rows.
fn tables(lines: &[String]) -> Vec<(String, usize)> {
    let mut tables: Vec<(String, usize)> = Vec::new();
    for line in &lines[1..lines.len() - 1] {
        match read(line) {
            Value::Array(values) => {
                let last = tables.last_mut().expect("a table before its rows");
                assert_eq!(values[0], last.0.as_str(), "{line}");
                last.1 += 1;
            }
            says => tables.push((says["table"].as_str().expect("a name").to_owned(), 0)),
        }
    }
    tables
}

/// The other tenant has rows of the same ids and more.
#[test]
fn every_row_of_the_tenant_is_there_once_and_none_of_another() {
    let twins = Twins::new("export");
    let lines = export(&mut session(&twins.db, twins.a));
    let tables = tables(&lines);
    let there: BTreeMap<_, _> = tables.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
    assert_eq!(there.len(), tables.len(), "each table once");
    let due: BTreeMap<_, _> = twins.tables.iter().map(|table| (*table, twins.count(table, twins.a))).collect();
    assert_eq!(there, due);
    assert!(due.values().all(|rows| *rows > 0), "{due:?}");
    assert!(lines.iter().all(|line| !line.contains(&twins.b.to_string())));
    let own = |line: &&String| line.contains(&twins.a.to_string());
    assert_eq!(lines.iter().filter(own).count(), 2, "the header and the manifest say whose rows they are");

    let manifest = read(lines.last().expect("a manifest"));
    assert_eq!(manifest["rows"], due.values().sum::<usize>());
    let mut superuser = twins.db.superuser();
    for entry in manifest["manifest"].as_array().expect("entries") {
        let begins = format!("[{},", entry["table"]);
        let rows: String =
            lines.iter().filter(|line| line.starts_with(&begins)).map(|line| format!("{line}\n")).collect();
        let digest: String = get(&mut superuser, "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')", &[&rows]);
        assert_eq!(entry["sha256"], digest, "{}", entry["table"]);
    }
    let references = "SELECT DISTINCT c.relname::text, p.relname::text FROM pg_constraint AS k
        JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS p ON p.oid = k.confrelid
        WHERE k.contype = 'f' AND c.oid <> p.oid AND c.relname = ANY ($1) AND p.relname = ANY ($1)";
    let place = |name: &str| tables.iter().position(|table| table.0 == name).expect("a table");
    let references = superuser.query(references, &[&twins.tables]).expect("references");
    assert!(references.len() > 20);
    for reference in references {
        let (child, parent): (String, String) = (reference.get(0), reference.get(1));
        assert!(place(&parent) < place(&child), "{child} refers to {parent}");
    }
}

#[test]
fn a_table_that_is_added_is_in_the_file_without_anybodys_doing() {
    let db = Db::new("added");
    let (a, mut inside) = tenant(&db, "Abc");
    inside
        .batch_execute("INSERT INTO storms (storm_id, event_id, name) VALUES (md5('s')::uuid, 'e', 'n')")
        .expect("a storm");
    let added = format!(
        "CREATE TABLE stormops.aaa (tenant_id uuid NOT NULL, storm_id uuid NOT NULL, names text[], PRIMARY KEY (tenant_id, storm_id),
            FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms);
        INSERT INTO stormops.aaa VALUES ('{a}', md5('s')::uuid, '{{x,NULL,\"y z\"}}');
        ALTER TABLE stormops.aaa OWNER TO stormops_owner;
        CREATE TABLE public.jobs (tenant_id uuid NOT NULL, job_id int NOT NULL, PRIMARY KEY (tenant_id, job_id));
        INSERT INTO public.jobs VALUES ('{a}', 7);
        SELECT stormops.protect('public.jobs')"
    );
    db.superuser().batch_execute(&added).expect("tables");
    let lines = export(&mut session(&db, a));
    assert!(lines[row(&lines, "aaa")].ends_with(",[\"x\",null,\"y z\"]]"), "{}", lines[row(&lines, "aaa")]);
    assert!(table(&lines, "storms") < table(&lines, "aaa"));
    assert_eq!(lines[row(&lines, "public.jobs")], "[\"public.jobs\",7]");
}

#[test]
fn no_setting_changes_a_byte() {
    let twins = Twins::new("settings");
    let mut plain = session(&twins.db, twins.a);
    let due = export(&mut plain);
    for set in [
        "SET DateStyle = 'SQL, DMY'",
        "SET TimeZone = 'Asia/Kathmandu'",
        "SET IntervalStyle = sql_standard",
        "SET bytea_output = escape",
        "SET extra_float_digits = -15",
        "SET client_encoding = LATIN1",
        "SET enable_sort = off; SET enable_indexscan = off; SET enable_bitmapscan = off",
        "SET enable_seqscan = off; SET enable_incremental_sort = off",
        "SET standard_conforming_strings = off; SET quote_all_identifiers = on",
        "SET row_security = off",
    ] {
        let mut session = session(&twins.db, twins.a);
        session.batch_execute(set).unwrap_or_else(|e| panic!("{set}: {e:?}"));
        // What comes over the wire is read in the client's own encoding.
        let digest = "SELECT md5(string_agg(convert_to(l, 'UTF8'), '\\x0a')) FROM stormops.export_tenant_rows() AS l";
        assert_eq!(get::<String>(&mut session, digest, &[]), get::<String>(&mut plain, digest, &[]), "{set}");
    }
    assert_eq!(export(&mut plain), due);
}

/// A reader of rows gets them and writes nothing.
#[test]
fn it_is_one_snapshot_and_a_read_only_one() {
    let twins = Twins::new("snapshot");
    let mut inside = session(&twins.db, twins.a);
    let due = export(&mut inside);
    inside
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM storms")
        .expect("a snapshot");
    let storm = "INSERT INTO storms (event_id, name) VALUES ('later', 'later')";
    session(&twins.db, twins.a).batch_execute(storm).expect("a storm");
    assert_eq!(export(&mut inside), due);
    inside.batch_execute("COMMIT").expect("the end");
    enter(&mut inside, twins.a);
    assert!(export(&mut inside).len() > due.len());
}

fn call(client: &mut Client, tenant: &str) -> String {
    let rows = client.query(&format!("SELECT stormops.export_tenant_rows({tenant})"), &[]);
    let csv = client.query(&format!("SELECT stormops.export_table_csv('storms', {tenant})"), &[]);
    assert_eq!(sqlstate(&rows), sqlstate(&csv));
    sqlstate(&rows).to_owned()
}

#[test]
fn a_tenants_admin_takes_out_the_own_rows_and_an_operator_what_a_grant_opens() {
    let twins = Twins::new("who");
    let Twins { db, a, b, .. } = &twins;
    let (own, other) = (format!("'{a}'"), format!("'{b}'"));
    for (role, due) in [("admin", "00000"), ("crew_chief", "42501"), ("field_user", "42501"), ("viewer", "42501")] {
        let mut user = acting_as(db, *a, role);
        assert_eq!(call(&mut user, &own), due, "{role}");
        assert_eq!(call(&mut user, "NULL"), due, "{role}");
        assert_eq!(call(&mut user, &other), "42501", "{role}");
    }
    for (role, tenant, due) in [
        ("tapp", "NULL", "0B000"),
        ("app", own.as_str(), "0B000"),
        ("op", own.as_str(), "42501"),
        ("op", "NULL", "42501"),
        ("mon", own.as_str(), "42501"),
        ("nobody", own.as_str(), "42501"),
    ] {
        assert_eq!(call(&mut db.as_role(role), tenant), due, "{role} {tenant}");
    }
    let mut op = db.as_role("op");
    let grant = "SELECT grant_id FROM stormops.open_break_glass($1, 'moves', 'SUP-2')";
    let grant: Uuid = get(&mut op, grant, &[a]);
    op.batch_execute(&format!("BEGIN; SELECT stormops.break_glass('{grant}')")).expect("a grant");
    assert!(export(&mut op).len() > 30);
    fails_with(op.query("SELECT stormops.export_tenant_rows($1)", &[b]), "42501");
    op.batch_execute("ROLLBACK").expect("the end");
    op.execute("SELECT stormops.suspend_tenant($1, 'late')", &[a]).expect("a suspension");
    assert_eq!(call(&mut session(db, *a), "NULL"), "00000", "a suspended tenant takes its rows along");
    op.execute("SELECT stormops.close_tenant($1, 'gone')", &[a]).expect("an end");
    assert_eq!(call(&mut session(db, *a), "NULL"), "55000");
}

#[test]
fn no_cell_of_a_csv_runs_in_a_spreadsheet() {
    let db = Db::new("csv");
    let (_, mut inside) = tenant(&db, "Abc");
    let formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\u{ff1d}1", "\u{a0}=1"];
    for (i, formula) in formulas.iter().enumerate() {
        let property = "INSERT INTO properties (external_id, address, longitude, latitude) VALUES ({i}, $1, -97.5, 35)";
        inside.execute(&property.replace("{i}", &i.to_string()), &[formula]).unwrap_or_else(|e| panic!("{e:?}"));
    }
    let quoted = "INSERT INTO properties (external_id, address) VALUES ('q', 'a \"b\", c' || chr(10) || 'd')";
    inside.batch_execute(quoted).expect("a property");
    let lines = inside.query("SELECT c FROM stormops.export_table_csv('properties') AS c", &[]).expect("a table");
    let csv: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    assert!(csv[0].starts_with("\"property_id\",\"address\",") && !csv[0].contains("tenant_id"), "{}", csv[0]);
    for formula in formulas {
        assert!(csv.iter().any(|line| line.contains(&format!(",\"'{formula}\","))), "{formula:?} in {csv:#?}");
    }
    assert!(csv.iter().any(|line| line.contains("\"a \"\"b\"\", c\nd\"")));
    assert!(csv[1].contains(",-97.5,"), "a number is a number: {}", csv[1]);
    fails_with(inside.query("SELECT stormops.export_table_csv('prices')", &[]), "42704");
    fails_with(inside.query("SELECT stormops.export_table_csv('storms; DROP TABLE x')", &[]), "42704");
    fails_with(inside.query("SELECT stormops.export_table_csv(NULL)", &[]), "22004");
}
