//! A role may do what `stormops.grant_usage()` gave it and nothing beside: no right that row security does not see
//! (TRUNCATE, TRIGGER, REFERENCES), no object of its own in the schema, no function of another kind of use.

use postgres::Client;
use stormops_tests::twins::Twins;
use stormops_tests::{Db, NOBODY, ROLES, enter, sqlstate};

/// The roles that work inside a tenant, and those that have no table at all.
const INSIDE: [&str; 2] = ["app", "tapp"];
const OUTSIDE: [&str; 2] = [NOBODY, "mon"];

fn names(client: &mut Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).expect("a catalogue").iter().map(|row| row.get(0)).collect()
}

/// Works in the tenant whether or not its role may set that: what refuses it is then the missing grant.
fn placed(twins: &Twins, role: &str) -> Client {
    let mut client = twins.db.superuser();
    enter(&mut client, twins.a);
    client.batch_execute(&format!("SET ROLE {role}")).expect("a superuser");
    client
}

/// Each of the statements, alone.
#[track_caller]
fn all_fail_with(client: &mut Client, expected: &str, statements: &[String]) {
    for sql in statements {
        let mut transaction = client.transaction().expect("a transaction");
        assert_eq!(sqlstate(&transaction.batch_execute(sql)), expected, "{sql}");
    }
}

#[test]
fn roles_without_tables_are_refused_at_each() {
    let twins = Twins::new("outside");
    let relations = "SELECT oid::regclass::text FROM pg_class
        WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND relkind = ANY ('{r,p}')";
    let tables = names(&mut twins.db.superuser(), relations);
    let views = names(&mut twins.db.superuser(), &relations.replace("r,p", "v"));
    // It holds no tenant's rows.
    let shown = "SELECT 'stormops.' || view_name FROM stormops_internal.granted_views() WHERE 'monitor' = ANY (kinds)";
    let shown = names(&mut twins.db.superuser(), shown);
    assert_eq!(shown, ["stormops.reference"]);
    for role in OUTSIDE {
        let mut client = placed(&twins, role);
        let hidden = views.iter().filter(|view| role == NOBODY || !shown.contains(view));
        for relation in hidden.chain(&tables) {
            let read = [format!("SELECT FROM {relation}"), format!("COPY (SELECT FROM {relation}) TO STDOUT")];
            all_fail_with(&mut client, "42501", &read);
        }
        for table in &tables {
            let of_installation = names(
                &mut twins.db.superuser(),
                &format!(
                    "SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname <> 'tenant_id'
                        AND attnum = (SELECT min(attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped)"
                ),
            );
            let column = of_installation.first().map_or("tenant_id", String::as_str);
            let write = [
                format!("COPY {table} TO STDOUT"),
                format!("COPY {table} FROM STDIN"),
                format!("INSERT INTO {table} ({column}) VALUES (NULL)"),
                format!("UPDATE {table} SET {column} = NULL"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table}"),
                format!("LOCK TABLE {table} IN ACCESS SHARE MODE"),
            ];
            all_fail_with(&mut client, "42501", &write);
        }
    }
}

#[test]
fn no_application_gets_round_row_security() {
    let twins = Twins::new("inside");
    // A schema of its own is the most that an application may reasonably have.
    let own = "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO app, tapp;
        CREATE FUNCTION own.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'";
    twins.db.superuser().batch_execute(own).expect("a schema");
    for role in INSIDE {
        let mut client = placed(&twins, role);
        for table in &twins.tables {
            let statements = [
                format!("TRUNCATE stormops.{table}"),
                format!("CREATE TRIGGER spy BEFORE INSERT ON stormops.{table} FOR EACH ROW EXECUTE FUNCTION own.spy()"),
                format!("CREATE TABLE own.probe (tenant_id uuid REFERENCES stormops.{table})"),
                format!("CREATE RULE spy AS ON INSERT TO stormops.{table} DO INSTEAD NOTHING"),
                format!("CREATE POLICY spy ON stormops.{table}"),
                format!("DROP POLICY tenant_floor ON stormops.{table}"),
                format!("ALTER TABLE stormops.{table} NO FORCE ROW LEVEL SECURITY"),
                format!("ALTER TABLE stormops.{table} DISABLE ROW LEVEL SECURITY"),
                format!("ALTER TABLE stormops.{table} OWNER TO {role}"),
                format!("CREATE INDEX ON stormops.{table} (tenant_id)"),
                format!("CREATE STATISTICS own.s ON tenant_id, xmin FROM stormops.{table}"),
                format!("DROP TABLE stormops.{table} CASCADE"),
                format!("SET row_security = off; SELECT FROM stormops.{table}"),
            ];
            all_fail_with(&mut client, "42501", &statements);
        }
    }
}

#[test]
fn no_ordinary_role_makes_or_takes_anything_in_the_schema() {
    let db = Db::new("schema");
    for role in ROLES.map(|(role, _)| role).into_iter().chain([NOBODY]) {
        let mut client = db.as_role(role);
        let statements = [
            "CREATE TABLE stormops.mine ()",
            "CREATE TABLE pg_temp.child () INHERITS (stormops.storms)",
            "CREATE VIEW stormops.mine AS SELECT 1",
            "CREATE FUNCTION stormops_internal.name_key(bytea) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'",
            "CREATE OPERATOR stormops.= (leftarg = uuid, rightarg = uuid, function = pg_catalog.uuid_ne)",
            "DROP SCHEMA stormops CASCADE",
            "DROP EXTENSION stormops CASCADE",
            "ALTER EXTENSION stormops UPDATE",
            "ALTER FUNCTION stormops.current_tenant() LEAKPROOF",
            "SET ROLE stormops_owner",
            "SET SESSION AUTHORIZATION postgres",
            "SET session_replication_role = replica",
            "LOAD '/tmp/stormops.so'",
            "COPY pg_class TO PROGRAM 'cat'",
        ];
        all_fail_with(&mut client, "42501", &statements.map(str::to_owned));
    }
}

/// LOCK TABLE is judged by table, not by row: with it one tenant stops all.
#[test]
fn no_tenant_locks_the_others_out() {
    let twins = Twins::new("locks");
    for role in INSIDE {
        let lock = |table: &&str| format!("LOCK TABLE stormops.{table} IN ACCESS EXCLUSIVE MODE NOWAIT");
        let locks: Vec<String> = twins.tables.iter().map(lock).collect();
        all_fail_with(&mut placed(&twins, role), "42501", &locks);
    }
}

/// Called for real, by every role: those that `granted_functions()` does not list for its kind are refused.
#[test]
fn each_kind_of_use_calls_its_own_functions_only() {
    let db = Db::new("functions");
    let mut superuser = db.superuser();
    // What refuses nobody is then the missing right to execute: PUBLIC has none.
    superuser.batch_execute("GRANT USAGE ON SCHEMA stormops, stormops_internal TO nobody").expect("a grant");
    // NULL as a sub-select: for a constant NULL the planner answers a strict function without asking who calls.
    let calls = "SELECT format('SELECT %s(%s)', p.oid::regproc, (
                SELECT string_agg(CASE WHEN p.provariadic <> 0 AND a.place = p.pronargs THEN 'VARIADIC ' ELSE '' END
                    || format('(SELECT NULL::%s)', format_type(a.type, NULL)), ', ' ORDER BY a.place)
                FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, place))),
            EXISTS (SELECT FROM stormops_internal.granted_functions() AS f
                WHERE f.signature::regprocedure = p.oid AND $1 = ANY (f.kinds))
        FROM pg_proc AS p WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND p.prokind = 'f'
            AND 'internal'::regtype <> ALL (p.proargtypes) -- which no statement has a value of";
    for (role, kind) in ROLES.into_iter().chain([(NOBODY, "none")]) {
        let mut client = db.as_role(role);
        let calls = superuser.query(calls, &[&kind]).expect("functions");
        assert!(calls.len() > 30);
        for call in calls {
            let (sql, listed): (String, bool) = (call.get(0), call.get(1));
            let mut transaction = client.transaction().expect("a transaction");
            let answer = transaction.batch_execute(&sql);
            let denied = answer.err().is_some_and(|error| {
                error.as_db_error().is_some_and(|error| error.message().starts_with("permission denied for function"))
            });
            assert_eq!(denied, !listed, "{role}: {sql}");
        }
    }
}

#[test]
fn usage_that_is_taken_back_leaves_nothing() {
    let db = Db::new("revoked");
    let mut superuser = db.superuser();
    superuser.batch_execute("CREATE ROLE gone LOGIN").expect("a role");
    for (_, kind) in ROLES {
        let script = format!("SELECT stormops.grant_usage('gone', '{kind}'); SELECT stormops.revoke_usage('gone')");
        db.in_turn(&script);
        // Only its search_path stays, which needs no right.
        let refers =
            "SELECT classid::regclass::text FROM pg_shdepend WHERE refobjid = 'gone'::regrole AND deptype = 'a'";
        assert_eq!(names(&mut superuser, refers), [""; 0], "{kind}");
        assert_eq!(
            names(&mut superuser, "SELECT kind FROM stormops_internal.usage_grants WHERE role_name = 'gone'"),
            [""; 0]
        );
    }
}

/// Whoever is outside row security would see every tenant: no kind of use for them.
#[test]
fn only_an_ordinary_role_gets_use() {
    let db = Db::new("grantees");
    let mut superuser = db.superuser();
    let roles = "CREATE ROLE boss SUPERUSER; CREATE ROLE seer BYPASSRLS; CREATE ROLE ordinary;
        CREATE ROLE heir; GRANT seer TO heir";
    superuser.batch_execute(roles).expect("roles");
    for (arguments, expected) in [
        ("'boss', 'app'", "0LP01"),
        ("'seer', 'app'", "0LP01"),
        ("'heir', 'app'", "0LP01"), // SET ROLE seer is all it needs
        ("'stormops_owner', 'app'", "0LP01"),
        ("'ordinary', 'admin'", "22023"),
        ("'ordinary', NULL", "22004"),
        ("NULL, 'app'", "22004"),
        ("'missing', 'app'", "42704"),
    ] {
        let call = format!("SELECT stormops.grant_usage({arguments})");
        assert_eq!(sqlstate(&superuser.batch_execute(&call)), expected, "{call}");
    }
    assert_eq!(
        names(&mut superuser, "SELECT role_name FROM stormops_internal.usage_grants ORDER BY 1"),
        ["app", "mon", "op", "tapp"]
    );
    for role in ROLES.map(|(role, _)| role) {
        let mut client = db.as_role(role);
        all_fail_with(&mut client, "42501", &["SELECT stormops.grant_usage(current_user, 'operator')".to_owned()]);
    }
}

/// Roles come and go without the extension: a new one must not begin with what another of its name had.
#[test]
fn a_role_made_anew_has_no_use() {
    let db = Db::new("anew");
    let script = "CREATE ROLE phoenix LOGIN; SELECT stormops.grant_usage('phoenix', 'operator');
        DROP OWNED BY phoenix; DROP ROLE phoenix; CREATE ROLE phoenix LOGIN; SELECT stormops.renew_grants()";
    db.in_turn(script);
    all_fail_with(&mut db.as_role("phoenix"), "42501", &["SELECT stormops.list_tenants()".to_owned()]);
}
