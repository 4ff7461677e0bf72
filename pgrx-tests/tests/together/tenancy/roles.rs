//! Roles inside a tenant are the database's to enforce: who may do what is `stormops.role_matrix()`, statement by
//! statement.

use postgres::{Client, Error, Row};
use stormops_tests::twins::{Twins, id, insert};
use stormops_tests::{enter, fails_with, sqlstate};
use uuid::Uuid;

/// From the least to the most powerful.
const ROLES: [&str; 4] = ["viewer", "field_user", "crew_chief", "admin"];

fn power(role: &str) -> usize {
    ROLES.iter().position(|known| *known == role).expect("a role")
}

/// A new user of tenant A.
fn user(twins: &Twins, role: &str) -> Uuid {
    let email = format!("{role}@roles.example");
    let add = "SELECT stormops.add_user($1, $2, NULL, $3)";
    twins.db.as_role("op").query_one(add, &[&email, &role, &twins.a]).expect("a user").get(0)
}

fn acting(twins: &Twins, user: Uuid) -> Client {
    let mut client = twins.db.as_role("tapp");
    enter(&mut client, twins.a);
    client.batch_execute(&format!("SET app.current_user_id = '{user}'")).expect("a trusted role");
    client
}

/// How many rows a statement concerns; it is taken back.
fn attempt(client: &mut Client, sql: &str) -> Result<u64, Error> {
    client.transaction()?.execute(sql, &[])
}

/// The least role and a column that the command may name, where the matrix grants it to plain SQL.
fn granted(twins: &Twins, table: &str, command: &str) -> Option<(String, String)> {
    let entry = "SELECT least_role, coalesce(columns[1], 'tenant_id') FROM stormops.role_matrix()
        WHERE table_name = $1 AND command = $2 AND through IS NULL";
    let entry = twins.db.superuser().query_opt(entry, &[&table, &command]).expect("the role matrix");
    entry.map(|row: Row| (row.get(0), row.get(1)))
}

#[test]
fn each_role_does_to_each_table_what_the_matrix_says() {
    let twins = Twins::new("matrix");
    // Parents that nothing refers to yet.
    for table in ["storms", "properties", "experiments"] {
        twins.db.superuser().batch_execute(&insert(table, twins.a, 3, 3)).expect("a row");
    }
    let mut users: Vec<_> = ROLES.iter().map(|role| (*role, acting(&twins, user(&twins, role)))).collect();
    // Without an acting user the application itself works, with the powers of an admin.
    let mut application = twins.db.as_role("tapp");
    enter(&mut application, twins.a);
    users.push(("admin", application));
    let mut allowed = 0;
    for table in &twins.tables {
        let own = twins.count(table, twins.a) as u64;
        for command in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let entry = granted(&twins, table, command);
            let column = entry.as_ref().map_or("tenant_id", |(_, column)| column);
            let (sql, rows) = match command {
                "SELECT" => (format!("SELECT FROM stormops.{table}"), own),
                "INSERT" if *table == "tenants" => (format!("INSERT INTO stormops.{table} DEFAULT VALUES"), 1),
                "INSERT" => (insert(table, twins.a, 4, 3), 1),
                "UPDATE" => (format!("UPDATE stormops.{table} SET {column} = {column}"), own),
                _ => (format!("DELETE FROM stormops.{table}"), own),
            };
            for (role, client) in &mut users {
                let answer = attempt(client, &sql);
                let may = entry.as_ref().map(|(least, _)| power(role) >= power(least));
                let told = format!("{role}: {sql}: {answer:?}");
                match (may, command) {
                    (None, _) | (Some(false), "INSERT") => assert_eq!(sqlstate(&answer), "42501", "{told}"),
                    // Rows that one may not change are not found.
                    (Some(false), _) => assert_eq!(answer.ok(), Some(0), "{told}"),
                    // Storms have children, and so stay.
                    (Some(true), "DELETE") if *table == "storms" => assert_eq!(sqlstate(&answer), "23503", "{told}"),
                    (Some(true), _) => assert_eq!(answer.ok(), Some(rows), "{told}"),
                }
                allowed += usize::from(may == Some(true));
            }
        }
    }
    assert!(allowed > 100, "{allowed} of all were allowed: the matrix is nearly empty");
}

/// Refused calls of those below the least role of the rows that a function writes.
#[test]
fn functions_respect_the_roles() {
    let twins = Twins::new("calls");
    let through = "SELECT DISTINCT least_role FROM stormops.role_matrix() WHERE through LIKE $1 || '()%'";
    let through =
        |name: &str| -> String { twins.db.superuser().query_one(through, &[&name]).expect("one role").get(0) };
    let one = id(1);
    let calls = [
        (through("apply_policy"), format!("apply_policy('{one}', supersede => true)")),
        (through("record_outcome"), format!("record_outcome('{one}', '{one}', true, idempotency_key => 'new')")),
        (through("record_outcome"), format!("record_outcomes('{one}', '[]')")),
        ("viewer".into(), format!("preview_policy('{one}')")),
        ("admin".into(), "add_user('new@roles.example', 'viewer')".into()),
        ("admin".into(), format!("set_user_role('{one}', 'crew_chief')")),
        ("admin".into(), format!("remove_user('{one}')")),
        ("admin".into(), "export_tenant_data()".into()),
    ];
    for role in ROLES {
        let user = user(&twins, role);
        let mut client = acting(&twins, user);
        let own = "SELECT stormops.current_user_id(), stormops.current_user_role()";
        let own = client.query_one(own, &[]).expect("an acting user");
        assert_eq!((own.get(0), own.get(1)), (user, role));
        for (least, call) in &calls {
            let answer = attempt(&mut client, &format!("SELECT * FROM stormops.{call}"));
            if power(role) >= power(least) {
                answer.unwrap_or_else(|e| panic!("{role}: {call}: {e:?}"));
            } else {
                assert!(fails_with(answer, "42501").hint().is_some(), "{role}: {call}");
            }
        }
        // Nobody promotes himself on another way.
        for sql in [
            format!("UPDATE stormops.users SET role = 'admin' WHERE user_id = '{user}'"),
            format!("INSERT INTO stormops.users (email, role) VALUES ('{role}2@roles.example', 'admin')"),
            "SET app.current_user_role = 'admin'; DELETE FROM stormops.users".into(),
        ] {
            fails_with(client.batch_execute(&sql), "42501");
        }
    }
}

#[test]
fn who_is_no_user_of_the_tenant_does_nothing() {
    let twins = Twins::new("strangers");
    let removed = user(&twins, "admin");
    twins
        .db
        .as_role("op")
        .execute("SELECT stormops.remove_user($1, 'left', $2)", &[&removed, &twins.a])
        .expect("an end");
    // User 2 is B's.
    for stranger in [removed, id(2), id(9), Uuid::nil()] {
        let mut client = acting(&twins, stranger);
        let reads = twins.tables.iter().map(|table| format!("TABLE stormops.{table}"));
        let calls =
            ["SELECT stormops.current_user_role()", "SELECT stormops.current_tenant()", "DELETE FROM stormops.storms"];
        let calls = calls.iter().map(|call| (*call).to_owned());
        let write = insert("storms", twins.a, 4, 3);
        let add = "SELECT stormops.add_user('new@roles.example', 'admin')".into();
        for sql in reads.chain(calls).chain([write, add]) {
            assert!(fails_with(client.batch_execute(&sql), "28000").hint().is_some(), "{sql}");
        }
    }
}

#[test]
fn a_change_of_role_acts_at_the_next_statement() {
    // Also where a snapshot still shows the old role.
    for begin in ["", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"] {
        let twins = Twins::new("change");
        let (user, mut op) = (user(&twins, "viewer"), twins.db.as_role("op"));
        let mut client = acting(&twins, user);
        client.batch_execute(begin).expect("a session");
        for (change, renamed) in [
            (None, Some(0)),
            (Some("set_user_role($1, 'crew_chief', $2)"), Some(1)),
            (Some("set_user_role($1, 'field_user', $2)"), Some(0)),
            (Some("set_user_role($1, 'admin', $2)"), Some(1)),
            (Some("remove_user($1, 'left', $2)"), None),
        ] {
            if let Some(change) = change {
                op.execute(&format!("SELECT stormops.{change}"), &[&user, &twins.a]).expect("a change");
            }
            let answer = client.execute("UPDATE stormops.storms SET name = 'renamed'", &[]);
            match renamed {
                Some(rows) => assert_eq!(answer.expect("a member"), rows, "{begin}: {change:?}"),
                None => drop(fails_with(answer, "28000")),
            }
        }
    }
}
