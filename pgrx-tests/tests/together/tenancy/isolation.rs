//! No statement of an application's role reads, changes, counts or reveals a row of another tenant.
//!
//! Two tenants, A and B, hold rows with the same ids and keys in every table. Everything here is done as `tapp` in A,
//! and is judged by what a superuser sees of B before and after.

use std::io::{Read, Write};

use postgres::{Client, Error};
use stormops_tests::twins::{Twins, id, insert, insert_below};
use stormops_tests::{enter, fails_with, sqlstate};
use uuid::Uuid;

/// Betrays every row that it is shown: a predicate that costs nothing and so is tried first.
const TELL: &str = "CREATE FUNCTION pg_temp.tell(shown uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
    $$ BEGIN
        IF shown <> current_setting('app.current_tenant')::uuid THEN RAISE 'saw %', shown; END IF;
        RETURN true;
    END $$";

fn inside(twins: &Twins) -> Client {
    twins.db.without_guard("commands");
    let mut client = twins.db.as_role("tapp");
    enter(&mut client, twins.a);
    client.batch_execute(TELL).expect("a temporary function");
    client
}

/// The tenants of the rows that a statement returns.
fn tenants(client: &mut Client, sql: &str) -> Result<Vec<Uuid>, Error> {
    Ok(client.query(sql, &[])?.iter().map(|row| row.get(0)).collect())
}

/// Every table, with a column that the command may name, or none where plain SQL is not granted.
fn grants(twins: &Twins, command: &str) -> Vec<(&'static str, Option<String>)> {
    let mut superuser = twins.db.superuser();
    let granted = "SELECT coalesce(columns[1], 'tenant_id') FROM stormops.role_matrix()
        WHERE table_name = $1 AND command = $2 AND through IS NULL";
    let mut column = |table: &&str| superuser.query_opt(granted, &[table, &command]).expect("the role matrix");
    twins.tables.iter().map(|table| (*table, column(table).map(|row| row.get(0)))).collect()
}

fn reads_its_own_rows_and_no_other(twins: &Twins) {
    let (client, own, other) = (&mut inside(twins), twins.a, twins.b);
    let views = "SELECT c.relname::text FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind = 'v'";
    let views = twins.db.superuser().query(views, &[]).expect("views");
    let views = views.iter().map(|row| row.get::<_, &str>(0));
    for relation in twins.tables.iter().copied().chain(views) {
        let rows = vec![own; twins.count(relation, own)];
        assert!(!rows.is_empty(), "nothing to see in {relation}");
        for (sql, expected) in [
            (format!("SELECT tenant_id FROM stormops.{relation}"), &rows[..]),
            (format!("SELECT tenant_id FROM stormops.{relation} WHERE pg_temp.tell(tenant_id)"), &rows),
            (format!("SELECT tenant_id FROM stormops.{relation} WHERE tenant_id = '{other}'"), &[]),
            (format!("SELECT tenant_id FROM stormops.{relation} WHERE tenant_id <> '{own}'"), &[]),
        ] {
            assert_eq!(tenants(client, &sql).expect("rows"), expected, "{sql}");
        }
        // The second form fails or is empty where Postgres copies no view or partitioned table by its name.
        for (from, expected) in [
            (format!("(SELECT tenant_id FROM stormops.{relation})"), rows.len()),
            (format!("stormops.{relation} (tenant_id)"), 0),
        ] {
            let mut copied = String::new();
            if let Ok(mut copy) = client.copy_out(&format!("COPY {from} TO STDOUT")) {
                copy.read_to_string(&mut copied).expect("text");
            }
            assert!(copied.lines().count() >= expected, "{from}: {copied}");
            assert!(copied.lines().all(|line| line == own.to_string()), "{from}: {copied}");
        }
    }
}

#[test]
fn a_tenant_reads_its_own_rows_and_no_other() {
    reads_its_own_rows_and_no_other(&Twins::new("reads"));
}

#[test]
fn a_policy_added_later_opens_nothing() {
    let twins = Twins::new("floor");
    for table in &twins.tables {
        let open = format!("CREATE POLICY support ON stormops.{table} USING (true) WITH CHECK (true)");
        twins.db.superuser().batch_execute(&open).expect("a policy");
    }
    reads_its_own_rows_and_no_other(&twins);
    let planted = format!("{} RETURNING tenant_id", insert("storms", twins.b, 3, 3));
    fails_with(tenants(&mut inside(&twins), &planted), "42501");
}

/// The owner of the tables, whom row security would spare if it were not forced.
#[test]
fn the_owner_is_under_the_policies_too() {
    let twins = Twins::new("owner");
    let mut owner = twins.db.superuser();
    owner.batch_execute("SET ROLE stormops_owner").expect("a superuser");
    for table in &twins.tables {
        let rows = format!("SELECT tenant_id FROM stormops.{table}");
        fails_with(tenants(&mut owner, &rows), "0B000");
        owner
            .batch_execute(&format!(
                "RESET ROLE; SET stormops.session_tenant = on; SET app.current_tenant = '{}'; SET ROLE stormops_owner",
                twins.a
            ))
            .unwrap();
        assert_eq!(tenants(&mut owner, &rows).expect("rows"), vec![twins.a; twins.count(table, twins.a)], "{table}");
        owner.batch_execute("RESET ROLE; RESET app.current_tenant; SET ROLE stormops_owner").unwrap();
    }
}

#[test]
fn no_statement_changes_a_row_of_another_tenant() {
    let twins = Twins::new("writes");
    let (client, a, b) = (&mut inside(&twins), twins.a, twins.b);
    let before = twins.contents(b);

    for (table, column) in grants(&twins, "UPDATE") {
        let set = column.clone().unwrap_or("tenant_id".into());
        let own = vec![a; twins.count(table, a)];
        let merge = format!("MERGE INTO stormops.{table} USING (SELECT) AS x ON tenant_id = '{b}'");
        for (sql, expected) in [
            (format!("UPDATE stormops.{table} SET {set} = {set} RETURNING tenant_id"), own),
            (format!("UPDATE stormops.{table} SET {set} = {set} WHERE tenant_id = '{b}' RETURNING tenant_id"), vec![]),
            // MERGE returns nothing: a mistake of it shows in the contents.
            (format!("{merge} WHEN MATCHED THEN UPDATE SET {set} = {set}"), vec![]),
        ] {
            match tenants(client, &sql) {
                Ok(rows) if column.is_some() => assert_eq!(rows, expected, "{sql}"),
                result => drop(fails_with(result, "42501")),
            }
        }
        let moved = format!("UPDATE stormops.{table} SET tenant_id = '{b}' RETURNING tenant_id");
        fails_with(tenants(client, &moved), "42501");
    }

    for (table, granted) in grants(&twins, "INSERT").into_iter().filter(|(table, _)| *table != "tenants") {
        let sql = insert(table, b, 2, 2);
        for clause in ["", "ON CONFLICT DO NOTHING", &format!("ON CONFLICT ON CONSTRAINT {table}_pkey DO NOTHING")] {
            let error = fails_with(tenants(client, &format!("{sql} {clause} RETURNING tenant_id")), "42501");
            let by_policy = error.message().starts_with("new row violates row-level security policy");
            assert_eq!(by_policy, granted.is_some(), "{sql}: {}", error.message());
        }
        // A session of its own: the client library loses step after a refused COPY.
        let mut client = inside(&twins);
        let copy = client.copy_in(&format!("COPY stormops.{table} (tenant_id) FROM STDIN"));
        let copied = copy.and_then(|mut copy| {
            copy.write_all(format!("{b}\n").as_bytes()).expect("a pipe");
            copy.finish()
        });
        // Postgres has no COPY FROM under row security.
        assert_eq!(sqlstate(&copied), if granted.is_some() { "0A000" } else { "42501" }, "COPY {table}");
    }

    // Children come before their parents, and what runs refer to stays: those deletions fail as they should.
    for (table, granted) in grants(&twins, "DELETE").into_iter().rev() {
        for condition in ["true", &format!("tenant_id = '{b}'")] {
            let delete = format!("DELETE FROM stormops.{table} WHERE {condition} RETURNING tenant_id");
            match tenants(client, &delete) {
                Ok(rows) if granted.is_some() => assert!(rows.iter().all(|tenant| *tenant == a), "{delete}"),
                result if granted.is_some() => drop(fails_with(result, "23503")),
                result => drop(fails_with(result, "42501")),
            }
        }
    }
    assert_eq!(twins.contents(b), before);
}

/// A key that only B has is free in A: no duplicate, no conflict, and no look at B's row on the way
/// (CVE-2026-120154: the WHERE of ON CONFLICT saw rows that row security hides).
#[test]
fn the_keys_of_another_tenant_are_free() {
    let twins = Twins::new("keys");
    let client = &mut inside(&twins);
    let before = twins.contents(twins.b);
    let updates = grants(&twins, "UPDATE");
    for (table, _) in grants(&twins, "INSERT").into_iter().filter(|(_, granted)| granted.is_some()) {
        let update = updates.iter().find(|(of, _)| *of == table).and_then(|(_, column)| column.as_ref());
        let do_update = update.map(|column| {
            let set = format!("SET {column} = excluded.{column} WHERE pg_temp.tell(r.tenant_id)");
            format!("ON CONFLICT ON CONSTRAINT {table}_pkey DO UPDATE {set}")
        });
        for clause in [Some("ON CONFLICT DO NOTHING".into()), do_update, Some(String::new())].into_iter().flatten() {
            // The last one stays: others hang their row 2 on it.
            let mut transaction = client.transaction().expect("a transaction");
            let sql = format!("{} {clause} RETURNING tenant_id", insert(table, twins.a, 2, 2));
            let rows = transaction.query(&sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(rows.len(), 1, "{sql}");
            if clause.is_empty() { transaction.commit() } else { transaction.rollback() }.expect("its end");
        }
    }
    assert_eq!(twins.contents(twins.b), before);
}

/// A reference to a parent that B has fails exactly as one to nothing.
#[test]
fn a_reference_does_not_tell_whether_another_tenant_has_the_parent() {
    let twins = Twins::new("references");
    let client = &mut inside(&twins);
    let before = twins.contents(twins.b);
    let mut tried = 0;
    for (table, _) in grants(&twins, "INSERT").into_iter().filter(|(_, granted)| granted.is_some()) {
        let answers = [2, 9].map(|parent| {
            let refusals = insert_below(table, twins.a, 3, parent).into_iter().map(|sql| {
                let error = fails_with(client.batch_execute(&sql), "23503");
                let detail = error.detail().unwrap_or_default().replace(&id(parent).to_string(), "the parent");
                (error.message().to_owned(), detail, error.hint().map(str::to_owned))
            });
            refusals.collect::<Vec<_>>()
        });
        assert_eq!(answers[0], answers[1], "{table}");
        tried += answers[0].len();
    }
    let references = "SELECT count(*) FROM pg_constraint AS c JOIN stormops.role_matrix() AS m
            ON c.conrelid = format('stormops.%I', m.table_name)::regclass AND m.command = 'INSERT' AND m.through IS NULL
        WHERE c.contype = 'f' AND c.confrelid <> 'stormops.tenants'::regclass";
    let references: i64 = twins.db.superuser().query_one(references, &[]).expect("a count").get(0);
    assert_eq!(tried as i64, references, "every reference of a table that takes INSERT");
    assert_eq!(twins.contents(twins.b), before);
}

#[test]
fn a_partition_named_directly_shows_nothing() {
    let twins = Twins::new("partitions");
    let (mut superuser, client) = (twins.db.superuser(), &mut inside(&twins));
    let partitions =
        "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid AND relkind = 'r'
        WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)";
    let partitions = superuser.query(partitions, &[]).expect("partitions");
    assert!(partitions.len() > 1);
    for partition in partitions.iter().map(|row| row.get::<_, String>(0)) {
        let rows = format!("SELECT tenant_id FROM {partition}");
        fails_with(tenants(client, &rows), "42501");
        // Not the missing grant alone protects it.
        superuser.batch_execute(&format!("GRANT ALL ON {partition} TO tapp")).expect("a grant");
        let delete = format!("DELETE FROM {partition} RETURNING tenant_id");
        for sql in [rows, delete] {
            assert!(tenants(client, &sql).expect("no rows").is_empty(), "{sql}");
        }
    }
}

/// Planner statistics hold values of every tenant.
#[test]
fn statistics_show_nothing() {
    let twins = Twins::new("statistics");
    twins.db.superuser().batch_execute("ANALYZE").expect("statistics");
    for view in ["pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"] {
        let shown = format!("SELECT 1 FROM {view} WHERE schemaname IN ('stormops', 'stormops_internal')");
        assert_eq!(inside(&twins).query(&shown, &[]).expect("a catalogue view").len(), 0, "{view}");
    }
}
