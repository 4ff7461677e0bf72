//! A cursor, a portal and a prepared statement that were there before their tenant was suspended or closed, or its acting
//! user removed: what they have computed by then is not shown any more either.

use postgres::Client;
use stormops_tests::twins::{Twins, id};
use stormops_tests::{enter, fails_with};

const CLOSED: &str = "55000";
const NO_MEMBER: &str = "28000";

/// Queries of two rows or more that are computed row by row, and all at once with the first.
const QUERIES: [&str; 4] = [
    "SELECT tenant_id FROM stormops.policy_modes",
    "SELECT tenant_id FROM stormops.policy_modes ORDER BY policy_mode",
    "SELECT m.tenant_id FROM stormops.policy_modes AS m JOIN stormops.storms AS s USING (tenant_id) ORDER BY policy_mode",
    "WITH m AS MATERIALIZED (SELECT * FROM stormops.policy_modes) SELECT tenant_id FROM m",
];
const BEGINS: [&str; 2] = ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"];

#[track_caller]
fn step(twins: &Twins, action: &str) {
    twins.run("op", &format!("SELECT stormops.{action}_tenant($a, 'test')")).expect("a legal step");
}

fn in_a_transaction(twins: &Twins, begin: &str) -> Client {
    let mut client = twins.db.as_role("tapp");
    enter(&mut client, twins.a);
    client.batch_execute(begin).expect("a session");
    client
}

#[test]
fn an_open_cursor_reads_on_while_suspended_and_not_when_closed() {
    for begin in BEGINS {
        for query in QUERIES {
            let twins = Twins::new("cursor");
            let mut client = in_a_transaction(&twins, begin);
            client.batch_execute(&format!("DECLARE c CURSOR FOR {query}; FETCH c")).expect("a row");
            step(&twins, "suspend");
            assert_eq!(client.query("FETCH c", &[]).expect("a suspended tenant reads").len(), 1, "{query}");
            step(&twins, "close");
            fails_with(client.query("FETCH c", &[]), CLOSED);
        }
    }
}

/// Whether there is a row to come or none: an error for the one and an end for the other would tell.
#[test]
fn a_cursor_of_a_tenant_that_was_left_goes_no_further() {
    let twins = Twins::new("left");
    let nothing = "SELECT tenant_id FROM stormops.policy_modes WHERE policy_mode = 'no such'";
    for query in QUERIES.into_iter().chain([nothing]) {
        for (leave, refused) in [(String::new(), "0B000"), (twins.b.to_string(), "25001")] {
            let mut client = in_a_transaction(&twins, "BEGIN");
            client.batch_execute(&format!("DECLARE c CURSOR FOR {query}; FETCH c")).expect("a first look");
            client.batch_execute(&format!("SET app.current_tenant = '{leave}'")).expect("a setting");
            fails_with(client.query("FETCH c", &[]), refused);
        }
    }
}

/// Who is outside row security has nothing to learn from it, and may go through the tenants one by one.
#[test]
fn a_superusers_cursor_goes_on_in_whatever_tenant() {
    let twins = Twins::new("superuser");
    let mut client = twins.db.superuser();
    client
        .batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 3) AS n; FETCH c")
        .expect("a row");
    enter(&mut client, twins.a);
    client.batch_execute("SELECT stormops.current_tenant(); SET app.current_tenant = ''").expect("a tenant, and none");
    assert_eq!(client.query("FETCH c", &[]).expect("the next").len(), 1);
}

/// What a driver does that fetches by portions: Execute with a limit, which is no FETCH.
#[test]
fn a_portal_goes_on_as_a_cursor_does() {
    for query in QUERIES {
        let twins = Twins::new("portal");
        let mut client = twins.db.as_role("tapp");
        enter(&mut client, twins.a);
        let mut transaction = client.transaction().expect("a transaction");
        let portal = transaction.bind(query, &[]).expect("a portal");
        for action in ["suspend", "close"] {
            assert_eq!(transaction.query_portal(&portal, 1).expect("a portion").len(), 1, "{query}");
            step(&twins, action);
        }
        fails_with(transaction.query_portal(&portal, 1), CLOSED);
    }
}

#[test]
fn a_removed_user_fetches_no_more() {
    for query in QUERIES {
        let twins = Twins::new("user");
        let mut client = in_a_transaction(&twins, "BEGIN");
        client.batch_execute(&format!("SET app.current_user_id = '{}'", id(1))).expect("a user");
        client.batch_execute(&format!("DECLARE c CURSOR FOR {query}; FETCH c")).expect("a row");
        let removed = format!("SELECT stormops.remove_user('{}', 'test', $a)", id(1));
        twins.run("op", &removed).expect("an operator removes a user");
        fails_with(client.query("FETCH c", &[]), NO_MEMBER);
    }
}

#[test]
fn statements_prepared_before_a_suspension_write_no_more() {
    for plan in ["force_generic_plan", "force_custom_plan"] {
        for begin in BEGINS {
            let twins = Twins::new("prepared");
            let mut client = in_a_transaction(&twins, begin);
            client.batch_execute(&format!("SET plan_cache_mode = {plan}")).expect("a setting");
            let read = client.prepare("SELECT FROM stormops.storms").expect("a statement");
            let write = client.prepare("UPDATE stormops.storms SET name = $1").expect("a statement");
            client.execute(&write, &[&"before"]).expect("an active tenant");
            step(&twins, "suspend");
            assert_eq!(client.query(&read, &[]).expect("a suspended tenant reads").len(), 1);
            client.batch_execute("SAVEPOINT s").expect("a transaction");
            fails_with(client.execute(&write, &[&"after"]), CLOSED);
            client.batch_execute("ROLLBACK TO s").expect("a savepoint");
            step(&twins, "close");
            fails_with(client.query(&read, &[]), CLOSED);
        }
    }
}

/// WHERE CURRENT OF, in the transaction that opened the cursor.
#[test]
fn a_cursor_of_before_is_no_way_to_write() {
    let twins = Twins::new("current_of");
    let mut client = in_a_transaction(&twins, "BEGIN");
    client.batch_execute("DECLARE c CURSOR FOR SELECT * FROM stormops.storms FOR UPDATE; FETCH c").expect("a row");
    step(&twins, "suspend");
    fails_with(client.batch_execute("UPDATE stormops.storms SET name = 'x' WHERE CURRENT OF c"), CLOSED);
}

#[test]
fn parallel_workers_hear_of_a_suspension() {
    let twins = Twins::new("parallel");
    let force = "SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')";
    let force: String = twins.db.superuser().query_one(force, &[]).expect("a setting of this server").get(0);
    for begin in BEGINS {
        let mut client = in_a_transaction(&twins, begin);
        let set = format!("SET {force} = on; SET parallel_setup_cost = 0; SET min_parallel_table_scan_size = 0");
        client.batch_execute(&set).expect("settings");
        let read = "SELECT stormops.may_read('viewer') FROM stormops.storms";
        client.query_one(read, &[]).expect("an active tenant");
        step(&twins, "suspend");
        client.query_one(read, &[]).expect("a suspended tenant reads");
        let writes = "SELECT stormops.may_write('viewer') FROM stormops.storms";
        client.batch_execute("SAVEPOINT s").expect("a transaction");
        fails_with(client.query_one(writes, &[]), CLOSED);
        client.batch_execute("ROLLBACK TO s").expect("a savepoint");
        step(&twins, if begin == BEGINS[0] { "reactivate" } else { "close" });
        if begin != BEGINS[0] {
            fails_with(client.query_one(read, &[]), CLOSED);
        }
    }
}
