//! A suspended tenant reads and does not write, a closed one does neither: from the next statement of every session.

use postgres::Client;
use stormops_tests::twins::{Twins, id, insert};
use stormops_tests::{SUPERUSER, enter, fails_with, sqlstate};

const READ: &str = "SELECT FROM stormops.storms";
const WRITE: &str = "UPDATE stormops.storms SET name = 'renamed'";
const REFUSED: &str = "55000";

fn inside(twins: &Twins) -> Client {
    let mut client = twins.db.as_role("tapp");
    enter(&mut client, twins.a);
    client
}

#[track_caller]
fn step(twins: &Twins, action: &str) {
    twins.run("op", &format!("SELECT stormops.{action}_tenant($a, 'test')")).expect("a legal step");
}

/// Reads and writes inside the session's transaction, if it has one, which survives a refusal.
#[track_caller]
fn may(client: &mut Client, in_transaction: bool, read: &str, write: &str) {
    for (sql, expected) in [(READ, read), (WRITE, write)] {
        if in_transaction {
            client.batch_execute("SAVEPOINT s").expect("a transaction");
        }
        assert_eq!(sqlstate(&client.batch_execute(sql)), expected, "{sql}");
        if in_transaction {
            client.batch_execute("ROLLBACK TO s").expect("a savepoint");
        }
    }
}

#[test]
fn a_suspension_acts_at_the_next_statement_of_an_open_session() {
    // In a transaction with a snapshot the old status is still what a query of `tenants` would see.
    for begin in ["", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"] {
        let twins = Twins::new("open");
        let (mut client, mut other) = (inside(&twins), twins.db.as_role("tapp"));
        enter(&mut other, twins.b);
        client.batch_execute(begin).expect("a session");
        for (action, read, write) in [
            (None, "00000", "00000"),
            (Some("suspend"), "00000", REFUSED),
            (Some("reactivate"), "00000", "00000"),
            (Some("suspend"), "00000", REFUSED),
            (Some("close"), REFUSED, REFUSED),
        ] {
            if let Some(action) = action {
                step(&twins, action);
            }
            may(&mut client, !begin.is_empty(), read, write);
            may(&mut other, false, "00000", "00000");
        }
    }
}

#[test]
fn a_suspension_ends_a_loop_of_one_prepared_statement() {
    let twins = Twins::new("loop");
    let mut client = inside(&twins);
    // A generic plan takes no lock that would bring the news.
    client.batch_execute("SET plan_cache_mode = force_generic_plan; BEGIN").expect("a transaction");
    let statement = "INSERT INTO stormops.tenant_usage (metric_name, metric_value) VALUES ('model_call', 1)";
    let statement = client.prepare(statement).expect("a statement");
    for _ in 0..10 {
        client.execute(&statement, &[]).expect("an active tenant");
    }
    step(&twins, "suspend");
    let error = fails_with(client.execute(&statement, &[]), REFUSED);
    assert!(error.hint().is_some());
    // What was written before goes with the transaction.
    client.batch_execute("COMMIT").expect("a rollback");
    assert_eq!(twins.count("tenant_usage", twins.a), 1);
}

#[test]
fn a_suspension_acts_when_it_is_committed_and_not_before() {
    let twins = Twins::new("uncommitted");
    let (mut client, mut op) = (inside(&twins), twins.db.as_role("op"));
    for end in ["ROLLBACK", "COMMIT"] {
        op.batch_execute("BEGIN").expect("a transaction");
        op.execute("SELECT stormops.suspend_tenant($1, 'test')", &[&twins.a]).expect("a step");
        may(&mut client, false, "00000", "00000");
        op.batch_execute(end).expect("its end");
        may(&mut client, false, "00000", if end == "COMMIT" { REFUSED } else { "00000" });
    }
}

/// A standing that the same session has changed and taken back.
#[test]
fn a_session_forgets_what_it_rolled_back() {
    let twins = Twins::new("own");
    // Policies do not bind a superuser; what they call answers alike.
    let script = "ENTER $a; BEGIN; SAVEPOINT s; SELECT stormops.suspend_tenant($a, 'test')::text;
        SELECT stormops.may_read('viewer'); ROLLBACK TO s; SELECT stormops.may_write('viewer')";
    assert_eq!(twins.run(SUPERUSER, script).expect("an active tenant again").last().map(String::as_str), Some("t"));
    let script = script.replace("ROLLBACK TO s; ", "");
    fails_with(twins.run(SUPERUSER, &script), REFUSED);
}

/// Plain commands that the role matrix grants, and the functions that do the rest.
fn writes(twins: &Twins) -> Vec<String> {
    let plain = "SELECT table_name, command, coalesce(columns[1], 'tenant_id') FROM stormops.role_matrix()
        WHERE command <> 'SELECT' AND through IS NULL";
    let plain = twins.db.superuser().query(plain, &[]).expect("the role matrix");
    let plain = plain.iter().map(|row| {
        let (table, command, column): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        match command {
            "INSERT" => insert(table, twins.a, 3, 1),
            "UPDATE" => format!("UPDATE stormops.{table} SET {column} = {column}"),
            _ => format!("DELETE FROM stormops.{table}"),
        }
    });
    let (one, nobody) = (id(1), id(9));
    let calls = [
        format!("apply_policy('{one}')"),
        format!("record_outcome('{one}', '{one}', true)"),
        "add_user('new@twin.example', 'viewer')".into(),
        format!("set_user_role('{one}', 'admin')"),
        format!("remove_user('{one}')"),
        // Nor is the answer another for what is not there.
        format!("apply_policy('{nobody}')"),
        format!("remove_user('{nobody}')"),
    ];
    plain.chain(calls.map(|call| format!("SELECT stormops.{call}"))).collect()
}

#[test]
fn a_suspended_tenant_reads_everything_and_writes_nothing() {
    let twins = Twins::new("suspended");
    step(&twins, "suspend");
    let (before, mut client) = (twins.contents(twins.a), inside(&twins));
    for sql in writes(&twins) {
        assert_eq!(sqlstate(&client.batch_execute(&sql)), REFUSED, "{sql}");
    }
    for table in &twins.tables {
        let read = client.query(&format!("SELECT FROM stormops.{table}"), &[]).expect("a suspended tenant reads");
        assert_eq!(read.len(), twins.count(table, twins.a), "{table}");
    }
    client.query("SELECT * FROM stormops.export_tenant_data()", &[]).expect("it takes its data along");
    client.query("SELECT * FROM stormops.preview_policy($1)", &[&id(1)]).expect("a preview writes nothing");
    assert_eq!(twins.contents(twins.a), before);
}

#[test]
fn a_closed_tenant_does_nothing_and_looks_like_none() {
    let twins = Twins::new("closed");
    step(&twins, "close");
    let (before, mut client) = (twins.contents(twins.a), inside(&twins));
    let reads = twins.tables.iter().map(|table| format!("SELECT FROM stormops.{table}"));
    let calls = ["export_tenant_data()".into(), format!("preview_policy('{}')", id(1)), "current_tenant()".into()];
    let calls = calls.map(|call: String| format!("SELECT * FROM stormops.{call}"));
    let mut told = Vec::new();
    for sql in writes(&twins).into_iter().chain(reads).chain(calls) {
        let error = fails_with(client.batch_execute(&sql), REFUSED);
        told.push((error.message().to_owned(), error.hint().map(str::to_owned)));
    }
    assert_eq!(twins.contents(twins.a), before);
    enter(&mut client, id(9));
    let error = fails_with(client.batch_execute(READ), REFUSED);
    let nobody = (error.message().to_owned(), error.hint().map(str::to_owned));
    assert!(told.iter().all(|told| *told == nobody), "{told:?}");
}
