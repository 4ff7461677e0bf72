//! An operator reads a tenant's rows under a grant that is on record before the first of them, and writes none.

use std::thread::sleep;
use std::time::Duration;

use postgres::Client;
use stormops_tests::twins::{Twins, id, insert};
use stormops_tests::{NOBODY, SUPERUSER, cluster, enter, fails_with, sqlstate};
use uuid::Uuid;

const USE: &str = "SELECT stormops.break_glass($1)";

/// A committed grant for tenant A.
#[track_caller]
fn opened(twins: &Twins, role: &str, lifetime: &str) -> Uuid {
    let open = format!("SELECT grant_id FROM stormops.open_break_glass($1, 'no scores', 'SUP-1', '{lifetime}')");
    twins.db.as_role(role).query_one(&open, &[&twins.a]).expect("a grant").get(0)
}

/// An operator's transaction under the grant.
#[track_caller]
fn inside(twins: &Twins, role: &str, grant: Uuid, begin: &str) -> Client {
    let mut client = twins.db.as_role(role);
    client.batch_execute(begin).expect("a transaction");
    let tenant: Uuid = client.query_one(USE, &[&grant]).expect("an open grant").get(0);
    assert_eq!(tenant, twins.a);
    client
}

fn uses(grant: Uuid) -> usize {
    cluster().log().lines().filter(|line| line.contains("break-glass: ") && line.contains(&grant.to_string())).count()
}

#[test]
fn without_a_grant_an_operator_reads_nothing() {
    let twins = Twins::new("without");
    let mut client = twins.db.as_role("op");
    for table in &twins.tables {
        fails_with(client.batch_execute(&format!("TABLE stormops.{table}")), "0B000");
    }
    let forged = format!("break_glass {} 900000000000000 10", twins.a);
    for (sql, expected) in [
        (format!("SET app.current_tenant = '{}'", twins.a), "42501"),
        (format!("SET stormops.entry = '{forged}'"), "42501"),
        ("SELECT stormops.login('x')".into(), "42501"),
        ("SELECT stormops.break_glass(NULL)".into(), "28000"),
        (format!("SELECT stormops.break_glass('{}')", twins.a), "28000"),
        ("INSERT INTO stormops.break_glass_grants DEFAULT VALUES".into(), "42501"),
    ] {
        assert_eq!(sqlstate(&client.batch_execute(&sql)), expected, "{sql}");
    }
}

#[test]
fn a_grant_reads_one_tenant_for_one_transaction() {
    let twins = Twins::new("reads");
    let grant = opened(&twins, "op", "1 hour");
    for (before, end) in ["ROLLBACK", "COMMIT"].into_iter().enumerate() {
        let mut client = inside(&twins, "op", grant, "BEGIN");
        assert_eq!(uses(grant), before + 1, "a line in the log before the first row");
        for table in &twins.tables {
            let rows = client.query(&format!("SELECT tenant_id FROM stormops.{table}"), &[]).expect("rows");
            assert_eq!(rows.len(), twins.count(table, twins.a), "{table}");
            assert!(!rows.is_empty() && rows.iter().all(|row| row.get::<_, Uuid>(0) == twins.a), "{table}");
        }
        client.batch_execute(&format!("TABLE stormops.storm_results; {end}")).expect("a view");
        fails_with(client.batch_execute("TABLE stormops.storms"), "0B000");
        assert_eq!(uses(grant), before + 1, "no end of a transaction takes it out again");
    }
    // Nor does anything carry the rows out of it.
    let mut client = inside(&twins, "op", grant, "BEGIN");
    fails_with(client.batch_execute("DECLARE c CURSOR WITH HOLD FOR TABLE stormops.storms"), "42501");
    // A reader: it works on a standby.
    let mut client = inside(&twins, "op", grant, "BEGIN READ ONLY");
    client.batch_execute("TABLE stormops.storms").expect("rows");
    let xid = client.query_one("SELECT pg_current_xact_id_if_assigned()::text", &[]).expect("a function");
    assert_eq!(xid.get::<_, Option<&str>>(0), None);
    // The other tenant takes another transaction.
    let open = "SELECT grant_id FROM stormops.open_break_glass($1, 'r', 't')";
    let other: Uuid = twins.db.as_role("op").query_one(open, &[&twins.b]).expect("a grant").get(0);
    fails_with(client.query(USE, &[&other]), "25001");
}

#[test]
fn a_grant_is_of_no_use_before_it_is_committed() {
    let twins = Twins::new("committed");
    let mut client = twins.db.as_role("op");
    let open = "SELECT grant_id FROM stormops.open_break_glass($1, 'no scores', 'SUP-1')";
    for begin in ["BEGIN", "BEGIN; SAVEPOINT s"] {
        client.batch_execute(begin).expect("a transaction");
        let grant: Uuid = client.query_one(open, &[&twins.a]).expect("a grant").get(0);
        fails_with(client.query(USE, &[&grant]), "55000");
        client.batch_execute("ROLLBACK").expect("its end");
        fails_with(client.query(USE, &[&grant]), "28000");
        // Nor is one that another session has not committed.
        client.batch_execute("BEGIN").expect("a transaction");
        let grant: Uuid = client.query_one(open, &[&twins.a]).expect("a grant").get(0);
        fails_with(twins.db.as_role("op").query(USE, &[&grant]), "28000");
        client.batch_execute("ROLLBACK").expect("its end");
        assert_eq!(uses(grant), 0);
    }
}

#[test]
fn nothing_can_be_written() {
    let twins = Twins::new("writes");
    let (grant, before) = (opened(&twins, "op", "1 hour"), twins.contents(twins.a));
    let mut statements = Vec::new();
    for table in &twins.tables {
        statements.push(format!("UPDATE stormops.{table} SET tenant_id = tenant_id"));
        statements.push(format!("DELETE FROM stormops.{table}"));
        statements.push(format!("SELECT FROM stormops.{table} FOR UPDATE"));
        if *table != "tenants" {
            statements.push(insert(table, twins.a, 3, 1));
        }
    }
    let mut client = inside(&twins, "op", grant, "BEGIN");
    for sql in &statements {
        client.batch_execute("SAVEPOINT s").expect("a transaction");
        assert_eq!(sqlstate(&client.batch_execute(sql)), "42501", "{sql}");
        client.batch_execute("ROLLBACK TO s").expect("a savepoint");
    }
    client.batch_execute("ROLLBACK").expect("its end");
    // Not the missing privilege alone refuses it. What no policy lets anybody do changes no row.
    let tables: Vec<_> = twins.tables.iter().map(|table| format!("stormops.{table}")).collect();
    let all =
        format!("GRANT ALL ON {} TO op; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA stormops TO op", tables.join(", "));
    twins.db.superuser().batch_execute(&all).expect("grants");
    let mut client = inside(&twins, "op", grant, "BEGIN");
    let calls = ["apply_policy('$1')", "record_outcome('$1', '$1', true)"];
    let calls = calls.map(|call| format!("SELECT stormops.{}", call.replace("$1", &id(1).to_string())));
    let mut refused = 0;
    for sql in statements.iter().chain(&calls) {
        client.batch_execute("SAVEPOINT s").expect("a transaction");
        match client.execute(sql.as_str(), &[]) {
            Ok(rows) => assert_eq!(rows, 0, "{sql}"),
            Err(error) => {
                let code = error.code().expect("an answer").code().to_owned();
                assert!(["25006", "42501", "23503", "55000"].contains(&code.as_str()), "{sql}: {error:?}");
                refused += usize::from(code == "25006");
            }
        }
        client.batch_execute("ROLLBACK TO s").expect("a savepoint");
    }
    assert!(refused >= 10, "{refused} were refused for being under break-glass");
    client.batch_execute("COMMIT").expect("its end");
    assert_eq!(twins.contents(twins.a), before);
}

#[test]
fn a_grant_serves_the_role_that_opened_it() {
    let twins = Twins::new("role");
    // Of this test's own: roles are the cluster's, and attest() elsewhere would name a member of tapp or a trusted one.
    let roles = "CREATE ROLE glass LOGIN; CREATE ROLE glass2 LOGIN; CREATE ROLE glass3 LOGIN;
        SELECT stormops.grant_usage('glass', 'operator'); SELECT stormops.grant_usage('glass2', 'operator');
        SELECT stormops.grant_usage('glass3', 'app'); GRANT glass3, glass2 TO glass";
    twins.db.in_turn(roles);
    let grant = opened(&twins, "glass", "1 hour");
    for role in ["op", "glass2", SUPERUSER] {
        fails_with(twins.db.as_role(role).query(USE, &[&grant]), "28000");
    }
    for role in ["app", "tapp", "mon", NOBODY] {
        fails_with(twins.db.as_role(role).query(USE, &[&grant]), "42501");
    }
    assert_eq!(uses(grant), 0);
    // Nor does another role come into it later.
    let mut client = inside(&twins, "glass", grant, "BEGIN");
    for role in ["glass3", "glass2"] {
        client.batch_execute(&format!("SAVEPOINT s; SET LOCAL ROLE {role}")).expect("a member");
        fails_with(client.batch_execute("TABLE stormops.storms"), "28000");
        client.batch_execute("ROLLBACK TO s; TABLE stormops.storms").expect("itself again");
    }
    client.batch_execute("ROLLBACK").expect("its end");
    let revoke = "SELECT stormops.revoke_usage('glass'), stormops.revoke_usage('glass2')";
    twins.db.in_turn(revoke);
    // glass is still a member of glass3, which may not either.
    fails_with(client.query(USE, &[&grant]), "42501");
}

#[test]
fn a_grant_ends_inside_the_transaction_too() {
    let twins = Twins::new("ends");
    let (grant, short) = (opened(&twins, "op", "1 hour"), opened(&twins, "op", "2 seconds"));
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"] {
        let grant = if begin == "BEGIN" { grant } else { opened(&twins, "op", "1 hour") };
        let mut client = inside(&twins, "op", grant, begin);
        client.batch_execute("TABLE stormops.storms").expect("it is open");
        twins.db.as_role("op").execute("SELECT stormops.close_break_glass($1)", &[&grant]).expect("closed");
        let error = fails_with(client.batch_execute("TABLE stormops.storms"), "28000");
        assert_eq!(error.message(), "break-glass grant is not open");
        client.batch_execute("ROLLBACK").expect("its end");
        fails_with(client.query(USE, &[&grant]), "28000");
        fails_with(client.execute("SELECT stormops.close_break_glass($1)", &[&grant]), "P0002");
    }
    let fresh = opened(&twins, "op", "2 seconds");
    let mut client = inside(&twins, "op", fresh, "BEGIN");
    client.batch_execute("TABLE stormops.storms").expect("it is open");
    sleep(Duration::from_millis(2200));
    fails_with(client.batch_execute("TABLE stormops.storms"), "28000");
    client.batch_execute("ROLLBACK").expect("its end");
    fails_with(client.query(USE, &[&short]), "28000");
    twins.run("op", "SELECT stormops.close_tenant($a, 'test')").expect("a step");
}

#[test]
fn the_tenants_admins_see_who_looked_and_why() {
    let twins = Twins::new("told");
    let grant = opened(&twins, "op", "1 hour");
    inside(&twins, "op", grant, "BEGIN").batch_execute("TABLE stormops.storms; ROLLBACK").expect("rows");
    twins.db.as_role("op").execute("SELECT stormops.close_break_glass($1)", &[&grant]).expect("closed");
    let mut tenant = twins.db.as_role("tapp");
    enter(&mut tenant, twins.a);
    let events =
        "SELECT action, actor, reason FROM stormops.tenant_events WHERE action LIKE '%break_glass' ORDER BY event_id";
    let events = tenant.query(events, &[]).expect("an admin");
    assert_eq!(events.iter().map(|e| e.get(0)).collect::<Vec<&str>>(), ["open_break_glass", "close_break_glass"]);
    let (actor, reason): (&str, &str) = (events[0].get(1), events[0].get(2));
    assert!(actor == "op" && reason.starts_with("no scores (ticket SUP-1, until 20"), "{actor} {reason}");
    let grants =
        "SELECT opened_by, reason, ticket, closed_at IS NOT NULL FROM stormops.break_glass_grants WHERE grant_id = $1";
    let row = tenant.query_one(grants, &[&grant]).expect("an admin");
    assert_eq!((row.get(0), row.get(1), row.get(2), row.get(3)), ("op", "no scores", "SUP-1", true));
    let listed = "SELECT org_name, open FROM stormops.break_glass_grants() WHERE grant_id = $1";
    let row = twins.db.as_role("op").query_one(listed, &[&grant]).expect("an operator");
    assert_eq!((row.get(0), row.get(1)), ("Alpha Roofing", false));
    assert_eq!(uses(grant), 1);
}

#[test]
fn a_grant_has_a_reason_a_ticket_and_an_end() {
    let twins = Twins::new("arguments");
    let mut op = twins.db.as_role("op");
    for (arguments, expected) in [
        ("NULL, 'r', 't'", "22004"),
        ("'$a', NULL, 't'", "22004"),
        ("'$a', 'r', NULL", "22004"),
        ("'$a', 'r', 't', NULL", "00000"),
        ("'$a', ' ', 't'", "22023"),
        ("'$a', 'r', ''", "22023"),
        ("'$a', repeat('r', 301), 't'", "22023"),
        ("'$a', 'r', repeat('t', 101)", "22023"),
        ("'$a', 'r', 't', '0'", "22023"),
        ("'$a', 'r', 't', '25 hours'", "22023"),
        ("'00000000-0000-7000-8000-000000000009', 'r', 't'", "P0002"),
        ("'$a', repeat('r', 300), repeat('t', 100), '1 day'", "00000"),
    ] {
        let call = format!("SELECT stormops.open_break_glass({})", arguments.replace("$a", &twins.a.to_string()));
        assert_eq!(sqlstate(&op.batch_execute(&call)), expected, "{call}");
    }
    for role in ["app", "tapp", "mon", NOBODY] {
        for call in ["open_break_glass($a, 'r', 't')", "close_break_glass($a)", "break_glass_grants()"] {
            fails_with(twins.run(role, &format!("SELECT stormops.{call}")), "42501");
        }
    }
}
