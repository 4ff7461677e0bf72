//! A tenant holds for the transaction that named it, and for a role that may name one in this database.

use stormops_tests::twins::Twins;
use stormops_tests::{Db, cluster, fails_with, get, provision, sqlstate};
use uuid::Uuid;

const NO_CONTEXT: &str = "0B000";

/// Where the trusted role is as it is by default.
fn twins(name: &str) -> Twins {
    let twins = Twins::new(name);
    let default = format!("ALTER ROLE tapp IN DATABASE \"{}\" SET stormops.session_tenant = off", twins.db.name);
    twins.db.superuser().batch_execute(&default).expect("a superuser");
    twins
}

/// What a session gives for the last of these messages. `$a` and `$b` are the tenants, `$u` a user of the first.
fn last(twins: &Twins, role: &str, messages: &[&str]) -> Result<u64, postgres::Error> {
    let mut session = twins.db.as_role(role);
    let user: Uuid =
        get(&mut twins.db.superuser(), "SELECT user_id FROM stormops.users WHERE tenant_id = $1 LIMIT 1", &[&twins.a]);
    let mut answer = Ok(0);
    for message in messages {
        let (a, b, user) = (format!("'{}'", twins.a), format!("'{}'", twins.b), format!("'{user}'"));
        let rows = session.simple_query(&message.replace("$a", &a).replace("$b", &b).replace("$u", &user));
        answer = rows
            .map(|rows| rows.iter().filter(|row| matches!(row, postgres::SimpleQueryMessage::Row(_))).count() as u64);
    }
    answer
}

#[test]
fn nothing_that_names_a_tenant_outlives_its_transaction() {
    let twins = twins("left");
    for before in [
        &["SET app.current_tenant = $a"][..],
        &["SET SESSION app.current_tenant = $a"],
        &["SELECT set_config('app.current_tenant', $a, false)"],
        &["UPDATE pg_settings SET setting = $a WHERE name = 'app.current_tenant'"],
        &["DO $$ BEGIN PERFORM set_config('app.current_tenant', $a, false); END $$"],
        &["DO $$ BEGIN SET app.current_tenant = $a; COMMIT; END $$"],
        &["BEGIN", "SET app.current_tenant = $a", "TABLE stormops.storms", "COMMIT"],
        &["BEGIN", "SET app.current_tenant = $a", "TABLE stormops.storms", "ROLLBACK"],
        &["BEGIN", "SET app.current_tenant = $a", "COMMIT AND CHAIN"],
        &["BEGIN", "SET app.current_tenant = $a", "SET LOCAL app.current_tenant = ''", "COMMIT"],
        &["BEGIN", "SET app.current_tenant = $a", "SET LOCAL app.current_tenant = $a", "COMMIT"],
        &["BEGIN", "SET LOCAL app.current_tenant = $a", "SET app.current_tenant = $a", "COMMIT"],
        &["BEGIN", "SAVEPOINT s", "SET app.current_tenant = $a", "RELEASE s", "COMMIT"],
        &[
            "BEGIN",
            "SET app.current_tenant = $a",
            "SAVEPOINT s",
            "SET LOCAL app.current_tenant = ''",
            "RELEASE s",
            "COMMIT",
        ],
        &[
            "BEGIN",
            "SET app.current_tenant = $a",
            "SAVEPOINT s",
            "SET app.current_tenant = ''",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        &["SET app.current_tenant = $a; TABLE stormops.storms"],
        &["BEGIN", "SELECT stormops.enter_tenant($a)", "TABLE stormops.storms", "COMMIT"],
        &["SELECT stormops.enter_tenant($a)"],
        &["SET app.current_tenant = $a", "SET app.current_tenant = $a", "BEGIN"],
        &["SET app.current_tenant = $a", "RESET ALL"],
    ] {
        for next in [
            "TABLE stormops.storms",
            "SELECT stormops.current_tenant()",
            "INSERT INTO stormops.storms (event_id) VALUES ('x')",
        ] {
            let messages: Vec<&str> = before.iter().copied().chain([next]).collect();
            let answer = last(&twins, "tapp", &messages);
            assert_eq!(sqlstate(&answer), NO_CONTEXT, "{messages:?}: {answer:?}");
        }
    }
}

/// A superuser says so for a role whose sessions serve one tenant each.
#[test]
fn the_session_form_is_switched_on_for_a_role() {
    let twins = twins("kept");
    let kept = ["SET app.current_tenant = $a", "SELECT 1", "TABLE stormops.storms"];
    assert_eq!(sqlstate(&last(&twins, "tapp", &kept)), NO_CONTEXT);
    let on = format!("ALTER ROLE tapp IN DATABASE \"{}\" SET stormops.session_tenant = on", twins.db.name);
    twins.db.superuser().batch_execute(&on).expect("a superuser");
    assert_eq!(last(&twins, "tapp", &kept).ok(), Some(1));
    assert_eq!(
        last(&twins, "tapp", &["SET app.current_tenant = $a", "DISCARD ALL", "TABLE stormops.storms"]).ok(),
        None
    );
}

/// Nobody is the application itself, which may do more than a user: a user who is left over becomes an error.
#[test]
fn a_user_who_is_left_over_is_not_forgotten_silently() {
    let twins = twins("users");
    let enter = "SELECT stormops.enter_tenant($a)";
    for (messages, expected) in [
        (&["BEGIN; SET LOCAL app.current_tenant = $a; SET app.current_user_id = $u; COMMIT", enter][..], NO_CONTEXT),
        (&["SET app.current_user_id = $u", enter], NO_CONTEXT),
        (
            &["SET app.current_user_id = $u", "BEGIN; SET LOCAL app.current_tenant = $a", "TABLE stormops.storms"],
            NO_CONTEXT,
        ),
        (&["SET app.current_user_id = $u", "SELECT stormops.enter_tenant($a, $u)"], "00000"),
        (&["SET app.current_user_id = $u", "BEGIN; SET LOCAL app.current_user_id = ''", enter], "00000"),
        (&["SET app.current_user_id = $u", "DISCARD ALL", enter], "00000"),
        (&["BEGIN; SET LOCAL app.current_tenant = $a; SET LOCAL app.current_user_id = $u; COMMIT", enter], "00000"),
        (&["SELECT stormops.enter_tenant($a, $u)", enter], "00000"),
    ] {
        assert_eq!(sqlstate(&last(&twins, "tapp", messages)), expected, "{messages:?}");
    }
}

#[test]
fn enter_tenant_takes_what_drivers_bind_and_says_what_is_wrong() {
    let twins = twins("bound");
    let mut session = twins.db.as_role("tapp");
    let admin = "SELECT user_id FROM stormops.users WHERE tenant_id = $1 AND role = 'admin' LIMIT 1";
    let user: Uuid = get(&mut twins.db.superuser(), admin, &[&twins.a]);
    let mut transaction = session.transaction().expect("a transaction");
    transaction.execute("SELECT stormops.enter_tenant($1)", &[&twins.a]).expect("a tenant");
    assert_eq!(
        transaction.query("TABLE stormops.storms", &[]).expect("its rows").len(),
        twins.count("storms", twins.a)
    );
    transaction.execute("SELECT stormops.enter_tenant($1, $2)", &[&twins.a, &user]).expect("the same, for a user");
    let acting: Uuid = transaction.query_one("SELECT stormops.current_user_id()", &[]).expect("an id").get(0);
    assert_eq!(acting, user);
    fails_with(transaction.execute("SELECT stormops.enter_tenant($1)", &[&twins.b]), "25001");
    drop(transaction);
    for (arguments, expected) in [
        ("NULL", "22004"),
        ("'00000000-0000-7000-8000-00000000dead'", "55000"),
        ("$a, '00000000-0000-7000-8000-00000000dead'", "28000"),
        ("'x'", "22P02"),
    ] {
        assert_eq!(sqlstate(&last(&twins, "tapp", &[&format!("SELECT stormops.enter_tenant({arguments})")])), expected);
    }
    for role in ["app", "op", "mon", "nobody"] {
        assert_eq!(sqlstate(&last(&twins, role, &["SELECT stormops.enter_tenant($a)"])), "42501", "{role}");
    }
}

#[test]
fn whoever_is_in_no_tenant_is_told_the_way_into_one() {
    let twins = twins("hints");
    for (role, way) in [("tapp", "stormops.enter_tenant("), ("app", "stormops.login("), ("op", "stormops.break_glass(")]
    {
        let error = fails_with(last(&twins, role, &["TABLE stormops.storms"]), NO_CONTEXT);
        assert!(error.hint().is_some_and(|hint| hint.contains(way)), "{role}: {error:?}");
    }
}

/// The right to the parameter is the cluster's, the kind of use is the database's.
#[test]
fn a_role_names_tenants_where_it_is_trusted_and_nowhere_else() {
    let [prod, staging] = ["prod", "staging"].map(Db::new);
    let tenant = provision(&staging, "Staged Roofing");
    let live = provision(&prod, "Live Roofing");
    let role = format!("web_{}", std::process::id());
    prod.in_turn(&format!("CREATE ROLE {role} LOGIN; SELECT stormops.grant_usage('{role}', 'trusted_app')"));
    staging.in_turn(&format!("SELECT stormops.grant_usage('{role}', 'app')"));
    let attempt = |db: &Db, tenant: Uuid| {
        let mut session = cluster().connect(&role, &db.name);
        let script = format!("BEGIN; SET LOCAL app.current_tenant = '{tenant}'; TABLE stormops.storms; COMMIT");
        session.batch_execute(&script)
    };
    for (way, expected) in [
        ("SET app.current_tenant = $t", "42501"),
        ("SELECT set_config('app.current_tenant', $t, true)", "42501"),
        ("SET app.current_user_id = $t", "42501"),
        ("SET app.current_tenant = ''", "00000"),
    ] {
        let mut session = cluster().connect(&role, &staging.name);
        let answer = session.batch_execute(&way.replace("$t", &format!("'{tenant}'")));
        assert_eq!(sqlstate(&answer), expected, "{way}");
    }
    assert_eq!(sqlstate(&attempt(&prod, live)), "00000");
    staging.in_turn(&format!("SELECT stormops.revoke_usage('{role}')"));
    assert_eq!(sqlstate(&attempt(&prod, live)), "00000", "taken in another database");
    prod.in_turn("SELECT stormops.renew_grants()");
    staging.in_turn(&format!("SELECT stormops.grant_usage('{role}', 'app')"));
    prod.in_turn("SELECT stormops.renew_grants()");
    assert_eq!(sqlstate(&attempt(&staging, tenant)), "42501");
    let unfit =
        "SELECT count(*) FROM stormops.attest() WHERE NOT pass AND property IN ('no_grant_added', 'no_grant_missing')";
    assert_eq!(get::<i64>(&mut staging.superuser(), unfit, &[]), 0);
    for db in [&staging, &prod] {
        db.in_turn(&format!("SELECT stormops.revoke_usage('{role}')"));
    }
    let left = "SELECT count(*) FROM pg_parameter_acl WHERE paracl::text LIKE '%' || $1 || '%'";
    assert_eq!(get::<i64>(&mut prod.superuser(), left, &[&role]), 0, "the last one takes the parameter");
    prod.superuser().batch_execute(&format!("DROP OWNED BY {role}")).expect("nothing left");
    staging.superuser().batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).expect("nothing left");
}
