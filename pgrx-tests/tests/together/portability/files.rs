//! Files that somebody changed, manifest and all: refused, and nothing written.

use serde_json::{Value, json};
use stormops_tests::portable::{export, import, import_as, row, sealed, set, table};
use stormops_tests::tenant::session;
use stormops_tests::twins::{Twins, id};
use stormops_tests::{fails_with, get};
use uuid::Uuid;

use super::life::{rows, same};

/// A file with a row in each table, of a tenant whose neighbour is here.
struct Stage {
    twins: Twins,
    file: Vec<String>,
    stranger: Uuid,
    before: Vec<String>,
}

fn stage(name: &str) -> Stage {
    let twins = Twins::new(name);
    let file = export(&mut session(&twins.db, twins.a));
    let before = rows(&twins.db);
    Stage { twins, file, stranger: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001), before }
}

impl Stage {
    /// What becomes of the file after this change, with a manifest that is right for it; as another tenant, beside the two.
    #[track_caller]
    fn refused(&self, sqlstate: &str, says: &str, change: impl FnOnce(&mut Vec<String>)) {
        let mut lines = self.file.clone();
        change(&mut lines);
        let lines = sealed(&self.twins.db, &lines);
        let error = fails_with(import_as(&self.twins.db, &lines, self.stranger, "Stranger"), sqlstate);
        assert!(error.message().contains(says), "{}, where {says} was due", error.message());
        same(&self.before, &rows(&self.twins.db), says);
    }
}

/// Or what is refused below would be refused for another reason.
#[test]
fn a_file_that_was_sealed_anew_comes_in() {
    let stage = stage("sealed");
    let mut lines = stage.file.clone();
    set(&mut lines, "storms", "name", json!("changed"));
    let lines = sealed(&stage.twins.db, &lines);
    import_as(&stage.twins.db, &lines, stage.stranger, "Stranger").expect("a tenant");
    let name = "SELECT name FROM stormops.storms WHERE tenant_id = $1";
    assert_eq!(get::<String>(&mut stage.twins.db.superuser(), name, &[&stage.stranger]), "changed");
}

#[test]
fn what_is_not_whole_is_refused() {
    let stage = stage("whole");
    let db = &stage.twins.db;
    let mut cut = vec![0, 1, 2, stage.file.len() / 2, stage.file.len() - 1];
    for place in cut.drain(..) {
        let mut lost = stage.file.clone();
        lost.remove(place);
        // Without the tenant's own row its children are what is wrong first.
        let due = if place == 2 { "23503" } else { "22023" };
        fails_with(import_as(db, &lost, stage.stranger, "Stranger"), due);
        fails_with(import_as(db, &stage.file[..place], stage.stranger, "Stranger"), "22023");
    }
    let mut changed = stage.file.clone();
    set(&mut changed, "invoices", "total", json!("0.01"));
    let error = fails_with(import_as(db, &changed, stage.stranger, "Stranger"), "22023");
    assert!(error.message().contains("rows of table \"invoices\" do not match"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("Nothing was written")), "{error:?}");
    let reversed: Vec<String> = stage.file.iter().rev().cloned().collect();
    fails_with(import_as(db, &reversed, stage.stranger, "Stranger"), "22023");
    same(&stage.before, &rows(db), "rows");
}

#[test]
fn rows_of_another_tenant_have_no_way_in() {
    let stage = stage("foreign");
    let b = stage.twins.b.to_string();
    // No row says whose it is; a column that would say it is unknown.
    stage.refused("22023", "column \"tenant_id\"", |lines| {
        let at = table(lines, "storms");
        lines[at] = lines[at].replacen("[\"storm_id\"", "[\"tenant_id\",\"storm_id\"", 1);
        let row = row(lines, "storms");
        lines[row] = lines[row].replacen("[\"storms\",", &format!("[\"storms\",\"{b}\","), 1);
    });
    // Property 2 is the neighbour's.
    for (table, column) in [
        ("customer_journeys", "property_id"),
        ("lead_uplift", "storm_id"),
        ("policy_outcomes", "run_id"),
        ("invoice_lines", "invoice_id"),
    ] {
        stage.refused("23503", "foreign key", |lines| set(lines, table, column, json!(id(2).to_string())));
    }
    // The neighbour's own id and name.
    let mut lines = stage.file.clone();
    for line in &mut lines {
        *line = line.replace(&stage.twins.a.to_string(), &b);
    }
    fails_with(import(&stage.twins.db, &sealed(&stage.twins.db, &lines)), "23505");
    fails_with(import_as(&stage.twins.db, &stage.file, stage.stranger, "BRAVO roofing"), "23505");
    fails_with(import_as(&stage.twins.db, &stage.file, stage.stranger, "\u{200b}"), "22023");
    stage.refused("23505", "tenants_pkey", |lines| {
        let row = row(lines, "tenants");
        lines.insert(row, lines[row].clone());
    });
    same(&stage.before, &rows(&stage.twins.db), "rows");
}

#[test]
fn tables_and_columns_are_those_that_are_here_each_once() {
    let stage = stage("tables");
    stage.refused("22023", "a second time", |lines| {
        let at = table(lines, "storms");
        lines.insert(at, lines[at].clone());
    });
    for name in [
        "nothing",
        "erasures",
        "token_keys",
        "pg_authid",
        "stormops.storms",
        "storms; DROP TABLE x",
        "policy_decisions",
        "",
    ] {
        stage.refused("22023", "that is not here", |lines| {
            let at = table(lines, "runbook_steps");
            lines[at] = lines[at].replace("\"runbook_steps\"", &json!(name).to_string());
            let at = row(lines, "runbook_steps");
            lines[at] = lines[at].replacen("\"runbook_steps\"", &json!(name).to_string(), 1);
        });
    }
    let columns = |line: &str, columns: &str| {
        let mut says: Value = serde_json::from_str(line).expect("a table");
        says["columns"] = serde_json::from_str(columns).expect("columns");
        format!("{{\"table\":{},\"columns\":{}}}", says["table"], says["columns"])
    };
    for (names, says) in [
        ("[\"issue\",\"step\",\"action\",\"action\"]", "twice"),
        ("[\"issue\",\"step\",\"ctid\"]", "\"ctid\""),
        ("[\"issue\",\"step\",\"action) SELECT 1 --\"]", "that is not here"),
        ("[]", "that is not here"),
        ("[\"issue\",\"step\"]", "more or fewer values"),
    ] {
        stage.refused("22023", says, |lines| {
            let at = table(lines, "runbook_steps");
            lines[at] = columns(&lines[at], names);
        });
    }
    stage.refused("22023", "no row of its tenant", |lines| {
        let at = row(lines, "tenants");
        lines.remove(at);
        // Whatever refers to it goes too, or that is what is refused.
        lines.retain(|line| !line.starts_with('['));
    });
}

#[test]
fn values_are_what_their_tables_take() {
    let stage = stage("values");
    for (table, column, value, state, says) in [
        ("storms", "status", json!("open"), "23514", "check constraint"),
        ("storms", "west", json!("NaN"), "23514", "check constraint"),
        ("storms", "created_at", json!("infinity"), "23514", "check constraint"),
        ("storms", "created_at", json!("yesterday; DROP"), "22007", "invalid input syntax"),
        ("storms", "storm_id", json!("x"), "22P02", "invalid input syntax"),
        ("storms", "name", Value::Null, "23502", "null value"),
        ("policy_run_digests", "digest", json!("!"), "22023", "base64"),
        ("metrics", "rollup_dimensions", json!(["x", ["y"]]), "23514", "check constraint"),
        ("tenants", "status", json!("closed"), "55000", "a closed tenant does not come in"),
        ("expectations", "table_name", json!("pg_class"), "42704", "not a table whose health is watched"),
    ] {
        stage.refused(state, says, |lines| set(lines, table, column, value));
    }
    // A name is compared by what it looks like here, whatever the file says of that.
    stage.refused_name();
}

impl Stage {
    fn refused_name(&self) {
        let mut lines = self.file.clone();
        set(&mut lines, "tenants", "org_name", json!("Bravo  ROOFING"));
        set(&mut lines, "tenants", "name_key", json!("something else"));
        let lines = sealed(&self.twins.db, &lines);
        let import = "SELECT stormops.import_tenant_rows(l, $2, NULL ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS l (l, n)";
        fails_with(self.twins.db.as_role("op").query(import, &[&lines, &self.stranger]), "23505");
    }
}

#[test]
fn no_size_and_no_depth_ends_more_than_the_statement() {
    let stage = stage("sizes");
    let db = &stage.twins.db;
    stage.refused("54001", "stack depth", |lines| {
        let at = row(lines, "alerts");
        lines[at] = format!("[\"alerts\",{}1{}]", "[".repeat(2_000_000), "]".repeat(2_000_000));
    });
    stage.refused("22P02", "invalid input syntax", |lines| {
        let at = row(lines, "alerts");
        lines[at] = format!("{}{}", "[\"alerts\",".to_owned(), "[".repeat(100));
    });
    // A hundred million characters, made in the server.
    let mut op = db.as_role("op");
    for (value, due) in [("repeat('x', 100000000)", "23514"), ("repeat('x', 270000000)", "54000")] {
        let long = format!(
            "SELECT stormops.import_tenant_rows(CASE WHEN n = $3 THEN '[\"storms\",\"{}\",\"2024-01-01Z\",null,null,\"e\",null,\"' || {value} || '\",null,\"hail\",null,null,\"active\",null,null]' ELSE l END, $2, 'Stranger' ORDER BY n)
             FROM unnest($1::text[]) WITH ORDINALITY AS l (l, n)",
            id(7)
        );
        let at = row(&stage.file, "storms") as i64 + 1;
        fails_with(op.query(&long, &[&stage.file, &stage.stranger, &at]), due);
    }
    let header = "SELECT stormops.import_tenant_rows(repeat('{', 100000000))";
    fails_with(op.query(header, &[]), "54000");
    assert_eq!(get::<i32>(&mut op, "SELECT 1", &[]), 1, "the session lives");
    same(&stage.before, &rows(db), "rows");
}

/// A session that sets what a restore sets writes what it may, and is counted, metered and logged as ever.
#[test]
fn what_holds_during_an_import_holds_for_nobody_else() {
    let twins = Twins::new("during");
    let mut inside = session(&twins.db, twins.a);
    inside.batch_execute("SET row_security = off").expect("a setting");
    fails_with(inside.batch_execute("INSERT INTO storms (event_id, name) VALUES ('x', 'x')"), "42501");
    let before: i64 = get(&mut twins.db.superuser(), "SELECT count(*) FROM stormops.usage_batches", &[]);
    inside.batch_execute("SELECT stormops.record_usage('model_call', 1)").ok();
    let metered = "SELECT count(*) FROM stormops.tenant_usage AS u WHERE NOT EXISTS (
        SELECT FROM stormops.usage_batches AS b WHERE b.tenant_id = u.tenant_id AND b.batch_id = u.batch_id) AND u.recorded_at > now() - interval '1 hour' AND u.idempotency_key IS NULL";
    assert_eq!(get::<i64>(&mut twins.db.superuser(), metered, &[]), 0, "{before}");
    let mut op = twins.db.as_role("op");
    op.batch_execute("BEGIN").expect("a transaction");
    let stranger = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
    let file = export(&mut session(&twins.db, twins.a));
    let import = "SELECT stormops.import_tenant_rows(l, $2, 'Stranger' ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS l (l, n)";
    op.query(import, &[&file, &stranger]).expect("a tenant");
    assert!(!get::<bool>(&mut twins.db.superuser(), "SELECT stormops_internal.is_import()", &[]));
    op.batch_execute("SELECT stormops.provision_tenant('After', 'standard', 'a@b.example'); COMMIT")
        .expect("a tenant as ever");
    let logged = "SELECT count(*) FROM stormops.tenant_log AS l JOIN stormops.tenants AS t USING (tenant_id) WHERE t.org_name = 'After'";
    assert_eq!(get::<i64>(&mut twins.db.superuser(), logged, &[]), 2);
}
