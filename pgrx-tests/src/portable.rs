//! A tenant's file: taken out, brought in, and forged.

use postgres::{Client, Error};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Db, get};

/// The lines of the tenant that a session works in.
#[track_caller]
pub fn export(session: &mut Client) -> Vec<String> {
    let lines = session.query("SELECT l FROM stormops.export_tenant_rows() AS l", &[]).expect("a tenant's rows");
    lines.iter().map(|row| row.get(0)).collect()
}

/// Brings them in as the operator.
pub fn import(db: &Db, lines: &[String]) -> Result<Value, Error> {
    let import = "SELECT stormops.import_tenant_rows(l ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS l (l, n)";
    db.as_role("op").query_one(import, &[&lines]).map(|row| row.get(0))
}

/// The same under another id and name.
pub fn import_as(db: &Db, lines: &[String], tenant: Uuid, name: &str) -> Result<Value, Error> {
    let import = "SELECT stormops.import_tenant_rows(l, $2, $3 ORDER BY n)
        FROM unnest($1::text[]) WITH ORDINALITY AS l (l, n)";
    db.as_role("op").query_one(import, &[&lines, &tenant, &name]).map(|row| row.get(0))
}

/// The same lines with a manifest that is right for them, as one would write who changed them.
pub fn sealed(db: &Db, lines: &[String]) -> Vec<String> {
    let mut superuser = db.superuser();
    let read = |line: &String| serde_json::from_str::<Value>(line).expect("a line");
    let header = read(&lines[0]);
    let mut entries: Vec<(Value, String, u64)> = Vec::new();
    let body = &lines[..lines.len() - 1];
    for line in &body[1..] {
        match entries.last_mut() {
            Some((_, rows, n)) if line.starts_with('[') => {
                *rows += &format!("{line}\n");
                *n += 1;
            }
            _ => entries.push((read(line), String::new(), 0)),
        }
    }
    let mut manifest = Vec::new();
    for (table, rows, n) in &entries {
        let digest = "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')";
        let sha256: String = get(&mut superuser, digest, &[rows]);
        manifest.push(json!({ "table": table["table"], "columns": table["columns"], "rows": n, "sha256": sha256 }));
    }
    let rows: u64 = entries.iter().map(|entry| entry.2).sum();
    let last = json!({ "manifest": manifest, "tenant_id": header["tenant_id"], "rows": rows });
    body.iter().cloned().chain([last.to_string()]).collect()
}

/// Changes the value of a column in the first row of a table.
pub fn set(lines: &mut [String], table: &str, column: &str, value: Value) {
    let begins = format!("[{}", json!(table));
    let (row, place) = (row(lines, table), place(lines, table, column));
    assert!(lines[row].starts_with(&begins));
    let mut values: Vec<Value> = serde_json::from_str(&lines[row]).expect("a row");
    values[place] = value;
    lines[row] = Value::from(values).to_string();
}

/// Where the first row of a table is.
pub fn row(lines: &[String], table: &str) -> usize {
    let begins = format!("[{},", json!(table));
    lines.iter().position(|line| line.starts_with(&begins)).unwrap_or_else(|| panic!("no row of {table}"))
}

/// Where a table begins.
pub fn table(lines: &[String], table: &str) -> usize {
    let begins = format!("{{\"table\":{},", json!(table));
    lines.iter().position(|line| line.starts_with(&begins)).unwrap_or_else(|| panic!("no table {table}"))
}

fn place(lines: &[String], of: &str, column: &str) -> usize {
    let says: Value = serde_json::from_str(&lines[table(lines, of)]).expect("a table");
    let columns = says["columns"].as_array().expect("columns");
    columns.iter().position(|name| name == column).expect("the column") + 1
}
