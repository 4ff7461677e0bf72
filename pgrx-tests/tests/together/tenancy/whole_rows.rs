//! Mappers of objects write whole rows: every column may be named with the value that is there. What role_matrix() does not
//! let an UPDATE change is refused by its name.

use stormops_tests::twins::{Twins, id};
use stormops_tests::{Db, enter, fails_with, get};

/// Every column of a table, those that an UPDATE may change apart.
struct Columns {
    table: String,
    all: Vec<String>,
    given: Vec<String>,
}

fn updated(db: &Db) -> Vec<Columns> {
    let query = "SELECT m.table_name, array_agg(a.attname::text ORDER BY a.attnum),
            array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attname <> ALL (m.columns))
        FROM stormops.role_matrix() AS m JOIN pg_attribute AS a ON a.attrelid = to_regclass('stormops.' || m.table_name)
        WHERE m.command = 'UPDATE' AND m.through IS NULL AND a.attnum > 0 AND NOT a.attisdropped GROUP BY 1";
    let rows = db.superuser().query(query, &[]).expect("the role matrix");
    rows.iter().map(|row| Columns { table: row.get(0), all: row.get(1), given: row.get(2) }).collect()
}

/// A value that no row has in that column.
fn another(column: &str, kind: &str) -> String {
    match (column, kind) {
        ("table_name", _) => "'customer_journeys'".into(),
        ("rule", _) => "'unique'".into(),
        ("columns", _) => "'{roof_style}'".into(),
        (_, "uuid") => format!("'{}'", id(9)),
        (_, "timestamp with time zone") => "'2001-02-03 04:05:06+00'".into(),
        (_, "smallint") => "77".into(),
        (_, "bytea") => "'\\x00'".into(),
        _ => "'warning'".into(),
    }
}

#[test]
fn a_whole_row_may_be_written_and_what_is_given_once_stays() {
    let twins = Twins::new("whole");
    let tables = updated(&twins.db);
    assert_eq!(tables.len(), 7);
    let mut refused = 0;
    for Columns { table, all, given } in tables {
        let mut session = twins.db.as_role("tapp");
        enter(&mut session, twins.a);
        let same: Vec<_> = all.iter().map(|column| format!("{column} = t.{column}")).collect();
        let save = format!("UPDATE stormops.{table} AS t SET {}", same.join(", "));
        assert!(session.execute(&save, &[]).unwrap_or_else(|e| panic!("{save}: {e:?}")) > 0);
        // As PostgREST sends an upsert.
        let key: String = get(
            &mut twins.db.superuser(),
            "SELECT string_agg(a.attname, ', ') FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                WHERE i.indrelid = to_regclass('stormops.' || $1) AND i.indisprimary",
            &[&table],
        );
        let excluded: Vec<_> = all.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
        let upsert = format!(
            "INSERT INTO stormops.{table} SELECT * FROM stormops.{table} ON CONFLICT ({key}) DO UPDATE SET {}",
            excluded.join(", ")
        );
        assert!(session.execute(&upsert, &[]).unwrap_or_else(|e| panic!("{upsert}: {e:?}")) > 0);
        for column in &given {
            let kind: String = get(
                &mut twins.db.superuser(),
                "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = to_regclass('stormops.' || $1) AND attname = $2",
                &[&table, column],
            );
            let change = format!("UPDATE stormops.{table} SET {column} = {}", another(column, &kind));
            let error = fails_with(session.execute(&change, &[]), "42501");
            assert_eq!(
                (error.table(), error.column()),
                (Some(table.as_str()), Some(column.as_str())),
                "{change}: {error:?}"
            );
            assert!(error.message().contains(column) && error.hint().is_some(), "{error:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 28);
    let mut session = twins.db.as_role("tapp");
    enter(&mut session, twins.a);
    for judgement in ["judged_at) VALUES (now()", "judged_status) VALUES ('ok'", "reference) VALUES ('\\x00'"] {
        let (column, value) = judgement.split_once(") VALUES (").expect("both");
        let insert = format!(
            "INSERT INTO stormops.expectations (name, table_name, rule, columns, {column}) VALUES ('n', 'storms', 'not_null', '{{name}}', {value})"
        );
        assert_eq!(fails_with(session.execute(&insert, &[]), "42501").column(), Some(column), "{insert}");
    }
}
