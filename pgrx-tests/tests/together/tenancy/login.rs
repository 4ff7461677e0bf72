//! `login(token)` and the transaction that it opens: whose rows, as whom, and for how long.

use std::thread::sleep;
use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};
use stormops_tests::tokens::{claims, jwks, now, signed, trust};
use stormops_tests::twins::{Twins, insert};
use stormops_tests::{cluster, fails_with, sqlstate};
use uuid::Uuid;

struct Storm {
    twins: Twins,
    admin: Uuid,
    viewer: Uuid,
}

impl Storm {
    fn new(name: &str) -> Self {
        let twins = Twins::new(name);
        trust(&twins.db, &jwks(), "");
        let mut op = twins.db.as_role("op");
        let mut user = |role: &str| {
            let add = "SELECT stormops.add_user($1, $2, NULL, $3)";
            op.query_one(add, &[&format!("{role}@new.example"), &role, &twins.a]).expect("a user").get(0)
        };
        let (admin, viewer) = (user("admin"), user("viewer"));
        Self { twins, admin, viewer }
    }

    /// A user of the other tenant.
    fn other(&self) -> String {
        let user = "SELECT user_id FROM stormops.users WHERE tenant_id = $1 AND role = 'admin'";
        let user: Uuid = self.twins.db.superuser().query_one(user, &[&self.twins.b]).expect("an admin").get(0);
        signed("ed", &claims(self.twins.b, user))
    }

    fn claims(&self) -> Value {
        claims(self.twins.a, self.admin)
    }

    fn token(&self) -> String {
        signed("ed", &self.claims())
    }

    fn narrowed(&self, user: Uuid, role: &str) -> String {
        let mut claims = claims(self.twins.a, user);
        claims["role"] = role.into();
        signed("ed", &claims)
    }

    /// A session of the application in a transaction that is logged in.
    #[track_caller]
    fn inside(&self, token: &str) -> Client {
        let mut client = self.twins.db.as_role("app");
        client.batch_execute("BEGIN").expect("a transaction");
        client.execute("SELECT stormops.login($1)", &[&token]).expect("a good token");
        client
    }
}

fn text(client: &mut Client, sql: &str) -> Option<String> {
    client.query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}")).get(0)
}

/// The answers to statements that each may fail, in the transaction that is open.
#[track_caller]
fn answers(client: &mut Client, statements: &[(&str, &str)]) {
    for (sql, expected) in statements {
        client.batch_execute("SAVEPOINT s").expect("a transaction");
        assert_eq!(sqlstate(&client.batch_execute(sql)), *expected, "{sql}");
        client.batch_execute("ROLLBACK TO s; RELEASE s").expect("a savepoint");
    }
}

const WHO: &str =
    "SELECT concat_ws(' ', stormops.current_tenant(), stormops.current_user_id(), stormops.current_user_role())";

#[test]
fn a_token_lets_its_user_into_its_tenant_until_the_end_of_the_transaction() {
    let storm = Storm::new("login");
    for (kid, end) in [("ed", "ROLLBACK"), ("hs", "COMMIT")] {
        let mut client = storm.inside(&signed(kid, &storm.claims()));
        assert_eq!(text(&mut client, WHO), Some(format!("{} {} admin", storm.twins.a, storm.admin)));
        for table in &storm.twins.tables {
            let rows = client.query(&format!("SELECT tenant_id FROM stormops.{table}"), &[]).expect("rows");
            assert_eq!(rows.len(), storm.twins.count(table, storm.twins.a), "{table}");
            assert!(rows.iter().all(|row| row.get::<_, Uuid>(0) == storm.twins.a), "{table}");
        }
        client.batch_execute(&format!("{}; {end}", insert("storms", storm.twins.a, 7, 7))).expect("an admin");
        fails_with(client.batch_execute("TABLE stormops.storms"), "0B000");
    }
    // One statement that is a transaction of its own.
    let mut client = storm.twins.db.as_role("app");
    client.execute("SELECT stormops.login($1)", &[&storm.token()]).expect("a good token");
    fails_with(client.batch_execute("TABLE stormops.storms"), "0B000");
}

#[test]
fn a_token_narrows_the_role_that_users_has_and_never_widens_it() {
    let storm = Storm::new("role");
    let write = insert("storms", storm.twins.a, 7, 7);
    for (user, claim, role, writes) in [
        (storm.admin, "viewer", "viewer", "42501"),
        (storm.admin, "crew_chief", "crew_chief", "00000"),
        (storm.viewer, "admin", "viewer", "42501"),
        (storm.viewer, "viewer", "viewer", "42501"),
    ] {
        let mut client = storm.inside(&storm.narrowed(user, claim));
        assert_eq!(text(&mut client, "SELECT stormops.current_user_role()").as_deref(), Some(role));
        let reads = if role == "admin" { 1 } else { 0 };
        assert_eq!(client.query("TABLE stormops.tenant_events", &[]).expect("a read").len(), reads, "{role}");
        answers(&mut client, &[(&write, writes), ("SELECT stormops.add_user('x@y.example', 'admin')", "42501")]);
    }
    // users has it now: the token's user is made less inside the transaction, and then removed.
    let mut client = storm.inside(&storm.token());
    let mut op = storm.twins.db.as_role("op");
    let set = "SELECT stormops.set_user_role($1, 'viewer', $2)";
    op.execute(set, &[&storm.admin, &storm.twins.a]).expect("another admin stays");
    assert_eq!(text(&mut client, "SELECT stormops.current_user_role()").as_deref(), Some("viewer"));
    answers(&mut client, &[(&write, "42501")]);
    op.execute("SELECT stormops.remove_user($1, 'left', $2)", &[&storm.admin, &storm.twins.a]).expect("a removal");
    fails_with(client.batch_execute("TABLE stormops.storms"), "28000");
}

#[test]
fn a_transaction_has_one_login() {
    let storm = Storm::new("pin");
    let (same, other_user, other_tenant) =
        (storm.token(), signed("ed", &claims(storm.twins.a, storm.viewer)), storm.other());
    let login = |token: &str| format!("SELECT stormops.login('{token}')");
    let logins = [login(&same), login(&other_user), login(&other_tenant)];
    let expected = [(logins[0].as_str(), "00000"), (&logins[1], "25001"), (&logins[2], "25001")];
    let mut client = storm.inside(&same);
    answers(&mut client, &expected);
    assert!(!cluster().log().contains(&other_tenant), "a token that is good elsewhere is not logged");
    assert_eq!(text(&mut client, WHO), Some(format!("{} {} admin", storm.twins.a, storm.admin)));
    // A login that is taken back leaves no tenant, and the transaction is no other's.
    client.batch_execute("ROLLBACK; BEGIN; SAVEPOINT first").expect("a transaction");
    client.batch_execute(&logins[0]).expect("a good token");
    client.batch_execute("ROLLBACK TO first").expect("a savepoint");
    answers(&mut client, &[("TABLE stormops.storms", "0B000")]);
    answers(&mut client, &expected);
    // So does the block of a function that catches an error.
    let caught =
        format!("DO $$ BEGIN PERFORM stormops.login('{same}'); RAISE 'x'; EXCEPTION WHEN raise_exception THEN END $$");
    client.batch_execute(&format!("ROLLBACK; BEGIN; {caught}")).expect("a block");
    answers(&mut client, &[("TABLE stormops.storms", "0B000")]);
    // A savepoint that is kept keeps it, and so does the end of a function.
    client.batch_execute(&format!("SAVEPOINT s; {}; RELEASE s; TABLE stormops.storms", logins[0])).expect("a login");
    let kept = format!("ROLLBACK; BEGIN; DO $$ BEGIN PERFORM stormops.login('{same}'); END $$; TABLE stormops.storms");
    client.batch_execute(&kept).expect("a login");
}

#[test]
fn nobody_leaves_the_login_by_another_way() {
    let storm = Storm::new("leave");
    let (tenant, mut client) = (storm.twins.b, storm.inside(&storm.narrowed(storm.viewer, "viewer")));
    let refused = [
        format!("SET LOCAL app.current_tenant = '{tenant}'"),
        format!("SELECT set_config('app.current_user_id', '{}', true)", storm.admin),
        "SET app.current_user_id = ''".into(),
        "RESET app.current_user_id".into(),
        "RESET stormops.entry".into(),
        "SET LOCAL stormops.entry = ''".into(),
        "SET stormops.entry = 'token admin 900000000000000'".into(),
        "UPDATE pg_settings SET setting = '' WHERE name = 'stormops.entry'".into(),
        "ALTER ROLE app SET stormops.entry = ''".into(),
    ];
    for sql in &refused {
        client.batch_execute("SAVEPOINT s").expect("a transaction");
        // pg_settings does not even show it, so that there is no row to update.
        let expected = if sql.starts_with("UPDATE") { "00000" } else { "42501" };
        assert_eq!(sqlstate(&client.batch_execute(sql)), expected, "{sql}");
        client.batch_execute("ROLLBACK TO s").expect("a savepoint");
    }
    assert_eq!(text(&mut client, WHO), Some(format!("{} {} viewer", storm.twins.a, storm.viewer)));
    // What RESET ALL takes it takes all at once: not the user or the limit alone.
    answers(&mut client, &[("RESET ALL; TABLE stormops.storms", "0B000")]);
    client.batch_execute("COMMIT").expect("its end");
    client.batch_execute("DISCARD ALL").expect("a pool's reset");
    fails_with(client.batch_execute("TABLE stormops.storms"), "0B000");
}

#[test]
fn a_pooled_session_serves_one_tenant_after_the_other() {
    let storm = Storm::new("pool");
    let (a, b) = (storm.token(), storm.other());
    let mut client = storm.twins.db.as_role("app");
    client.batch_execute("PREPARE storms AS SELECT tenant_id::text FROM stormops.storms").expect("a statement");
    for n in 0..12 {
        let (token, tenant) = if n % 2 == 0 { (&a, storm.twins.a) } else { (&b, storm.twins.b) };
        client.batch_execute("BEGIN").expect("a transaction");
        client.execute("SELECT stormops.login($1)", &[token]).expect("a good token");
        let rows = client.query("SELECT DISTINCT tenant_id FROM stormops.storms", &[]).expect("rows");
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<Uuid>>(), [tenant]);
        let prepared = client.simple_query("EXECUTE storms").expect("rows");
        let ours = tenant.to_string();
        assert!(prepared.iter().all(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0) == Some(ours.as_str()),
            _ => true,
        }));
        client.batch_execute(["COMMIT", "ROLLBACK", "SELECT 1 / 0"][n % 3]).ok();
        client.batch_execute("ROLLBACK").expect("the end of it");
    }
}

#[test]
fn parallel_workers_are_logged_in_too() {
    let storm = Storm::new("parallel");
    storm.twins.db.without_guard("explain");
    let force = "SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')";
    let force: String = storm.twins.db.superuser().query_one(force, &[]).expect("a setting").get(0);
    let mut client = storm.inside(&storm.narrowed(storm.admin, "field_user"));
    client
        .batch_execute(&format!(
            "SET LOCAL {force} = on; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL parallel_setup_cost = 0;
            SET LOCAL parallel_tuple_cost = 0"
        ))
        .expect("settings");
    let plan = client.simple_query("EXPLAIN SELECT stormops.current_user_role() FROM stormops.storms");
    assert!(format!("{plan:?}").contains("Gather"), "{plan:?}");
    assert_eq!(
        text(&mut client, "SELECT min(stormops.current_user_role()) FROM stormops.storms").as_deref(),
        Some("field_user")
    );
    assert_eq!(text(&mut client, WHO), Some(format!("{} {} field_user", storm.twins.a, storm.admin)));
}

/// A reader that logs in assigns no transaction id, so that it can on a standby.
#[test]
fn a_login_writes_nothing() {
    let storm = Storm::new("standby");
    let mut client = storm.twins.db.as_role("app");
    client.batch_execute("BEGIN READ ONLY; SELECT stormops.login_challenge()").expect("a transaction");
    client.execute("SELECT stormops.login($1)", &[&storm.token()]).expect("a good token");
    client.batch_execute("TABLE stormops.storms").expect("rows");
    assert_eq!(text(&mut client, "SELECT pg_current_xact_id_if_assigned()::text"), None);
}

#[test]
fn a_token_ends_inside_the_transaction_too() {
    let storm = Storm::new("expiry");
    let mut claims = storm.claims();
    claims["exp"] = (now() - 28).into(); // of the thirty seconds of leeway
    let mut client = storm.inside(&signed("ed", &claims));
    client.batch_execute("TABLE stormops.storms").expect("it holds yet");
    sleep(Duration::from_millis(2500));
    let error = fails_with(client.batch_execute("TABLE stormops.storms"), "28000");
    assert_eq!(error.message(), "login has expired");
    assert!(error.hint().is_some());
}

#[test]
fn a_suspended_tenant_reads_and_a_closed_one_lets_nobody_in() {
    let storm = Storm::new("status");
    let mut client = storm.inside(&storm.token());
    let write = insert("storms", storm.twins.a, 7, 7);
    storm.twins.run("op", "SELECT stormops.suspend_tenant($a, 'test')").expect("a step");
    answers(&mut client, &[("TABLE stormops.storms", "00000"), (&write, "55000")]);
    let mut client = storm.inside(&storm.token());
    answers(&mut client, &[("TABLE stormops.storms", "00000"), (&write, "55000")]);
    storm.twins.run("op", "SELECT stormops.close_tenant($a, 'test')").expect("a step");
    answers(&mut client, &[("TABLE stormops.storms", "55000")]);
    client.batch_execute("ROLLBACK").expect("an end");
    let refused = client.execute("SELECT stormops.login($1)", &[&storm.token()]);
    assert_eq!(fails_with(refused, "28000").message(), "login refused");
}

/// A bound token is good in the one transaction whose challenge it names.
#[test]
fn a_bound_token_is_worthless_anywhere_else() {
    let storm = Storm::new("bound");
    trust(&storm.twins.db, &jwks(), ", bound => true");
    let mut client = storm.twins.db.as_role("app");
    client.batch_execute("BEGIN").expect("a transaction");
    let challenge = text(&mut client, "SELECT stormops.login_challenge()").expect("a challenge");
    assert_eq!(challenge.len(), 43);
    let mut claims = storm.claims();
    claims["nonce"] = json!(challenge);
    let (token, login) = (signed("ed", &claims), "SELECT stormops.login($1)");
    // Elsewhere first, as whoever read it in a log would.
    let mut thief = storm.twins.db.as_role("app");
    for begin in ["BEGIN", "ROLLBACK; BEGIN; SELECT stormops.login_challenge()"] {
        thief.batch_execute(begin).expect("a transaction");
        fails_with(thief.execute(login, &[&token]), "28000");
    }
    client.batch_execute("SAVEPOINT s").expect("a transaction");
    assert_eq!(text(&mut client, "SELECT stormops.login_challenge()").as_deref(), Some(challenge.as_str()));
    client.execute(login, &[&token]).expect("its own transaction");
    client.batch_execute("TABLE stormops.storms; COMMIT; BEGIN").expect("rows");
    fails_with(client.execute(login, &[&token]), "28000");
    client.batch_execute("ROLLBACK; BEGIN").expect("a transaction");
    assert_ne!(text(&mut client, "SELECT stormops.login_challenge()").as_deref(), Some(challenge.as_str()));
    fails_with(client.execute(login, &[&token]), "28000");
    client.batch_execute("ROLLBACK; BEGIN; SELECT stormops.login_challenge()").expect("a transaction");
    fails_with(client.execute(login, &[&storm.token()]), "28000");
}
