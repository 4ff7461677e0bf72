//! Whom the guard binds, and who may switch it off.

use postgres::{Config, NoTls};
use stormops_tests::{Db, SUPERUSER, cluster, fails_with, sqlstate};

use super::TURN;

const REFUSED: &str = "42501";

/// What a script gives in a session of its own: one message.
fn run(db: &Db, role: &str, script: &str) -> Result<(), postgres::Error> {
    db.as_role(role).batch_execute(script)
}

#[test]
fn the_role_in_force_and_that_of_the_session_are_bound() {
    let _turn = TURN.lock();
    let db = Db::new("bound");
    // Roles are the cluster's: of these tests only this one makes such.
    let roles = "CREATE ROLE plain; GRANT plain TO app; CREATE ROLE heir LOGIN IN ROLE app;
        CREATE ROLE guest LOGIN NOINHERIT IN ROLE tapp; GRANT op TO plain";
    db.superuser().batch_execute(roles).expect("roles");
    for (role, script, expected) in [
        ("app", "LISTEN c", REFUSED),
        ("app", "SET ROLE plain; LISTEN c", REFUSED), // which is no way out
        ("app", "SET ROLE op; LISTEN c", REFUSED),
        ("heir", "LISTEN c", REFUSED),
        ("guest", "LISTEN c", "00000"), // sees no tenant before it sets the role
        ("guest", "SET ROLE tapp; LISTEN c", REFUSED),
        (SUPERUSER, "LISTEN c", "00000"),
        (SUPERUSER, "SET ROLE app; LISTEN c", REFUSED),
        (SUPERUSER, "SET SESSION AUTHORIZATION app; LISTEN c", REFUSED),
        (SUPERUSER, "SET ROLE app; RESET ROLE; LISTEN c", "00000"),
        (SUPERUSER, "SET ROLE op; LISTEN c", "00000"),
    ] {
        assert_eq!(sqlstate(&run(&db, role, script)), expected, "{role}: {script}");
    }
    db.in_turn("SELECT stormops.revoke_usage('app')");
    assert_eq!(sqlstate(&run(&db, "app", "LISTEN c")), "00000");
    assert_eq!(sqlstate(&run(&db, "heir", "LISTEN c")), "00000");
    db.superuser().batch_execute("DROP ROLE plain, heir, guest").expect("no such roles");
}

/// What a tenant calls runs with the rights of whom it belongs to.
#[test]
fn a_definer_function_works_as_its_owner() {
    let db = Db::new("definer");
    db.without_guard("commands"); // for a function of the role's own
    let function = "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO app, op;
        SET ROLE $owner; CREATE FUNCTION own.f() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '3GB' AS $f$
            BEGIN
                EXECUTE 'EXPLAIN SELECT'; NOTIFY c; PERFORM pg_advisory_xact_lock(7);
                CREATE TEMP TABLE left_behind ();
                RETURN (SELECT setting::bigint FROM pg_settings WHERE name = 'work_mem');
            END $f$";
    for (owner, expected) in [("op", Ok(3_i64 << 20)), (SUPERUSER, Ok(3_i64 << 20)), ("app", Err(REFUSED))] {
        db.superuser().batch_execute(&function.replace("$owner", owner)).expect("a function");
        let called = db.as_role("app").query_one("SELECT own.f()", &[]);
        assert_eq!(called.as_ref().map(|row| row.get(0)).map_err(|_| sqlstate(&called)), expected, "{owner}");
        db.superuser().batch_execute("DROP SCHEMA own CASCADE").expect("a superuser");
    }
}

#[test]
fn only_a_superuser_switches_a_guard_or_moves_a_ceiling() {
    let db = Db::new("switches");
    let settings = "SELECT name, CASE vartype WHEN 'bool' THEN 'off' ELSE '0' END FROM pg_settings
        WHERE name ~ '^stormops[.](guard|ceiling|session)_'";
    let settings = db.superuser().query(settings, &[]).expect("settings");
    assert_eq!(settings.len(), 22);
    for row in settings {
        let (name, off): (&str, &str) = (row.get(0), row.get(1));
        for role in ["app", "tapp", "op", "mon"] {
            for script in [
                "SET $s = $o",
                "SET LOCAL $s = $o",
                "RESET $s",
                "SELECT set_config('$s', '$o', false)",
                "UPDATE pg_settings SET setting = '$o' WHERE name = '$s'",
                "ALTER ROLE CURRENT_USER SET $s = $o",
                "ALTER SYSTEM SET $s = $o",
                "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET $s = $o AS 'SELECT 1'",
                "DO $$ BEGIN PERFORM set_config('$s', '$o', true); END $$",
            ] {
                let script = script.replace("$s", name).replace("$o", off);
                assert_eq!(sqlstate(&run(&db, role, &script)), REFUSED, "{role}: {script}");
            }
        }
        let mut config = Config::new();
        config.host(cluster().socket()).port(5432).user("app").dbname(&db.name).options(&format!("-c {name}={off}"));
        assert!(config.connect(NoTls).is_err(), "PGOPTIONS: {name}");
    }
    fails_with(run(&db, "app", "EXPLAIN SELECT"), REFUSED);
}

#[test]
fn a_superuser_switches_a_guard_off_for_a_role_a_database_or_a_session() {
    let db = Db::new("off");
    let database = format!("\"{}\"", db.name);
    for (off, on) in [
        (
            format!("ALTER DATABASE {database} SET stormops.guard_notify = off"),
            format!("ALTER DATABASE {database} RESET ALL"),
        ),
        (
            format!("ALTER ROLE app IN DATABASE {database} SET stormops.guard_notify = off"),
            format!("ALTER ROLE app IN DATABASE {database} RESET stormops.guard_notify"),
        ),
    ] {
        db.superuser().batch_execute(&off).expect("a superuser");
        assert_eq!(sqlstate(&run(&db, "app", "LISTEN c")), "00000", "{off}");
        assert_eq!(sqlstate(&run(&db, "app", "EXPLAIN SELECT")), REFUSED, "{off}");
        db.superuser().batch_execute(&on).expect("a superuser");
        fails_with(run(&db, "app", "LISTEN c"), REFUSED);
    }
    let session = "SET stormops.guard_explain = off; SET ROLE app; EXPLAIN SELECT";
    db.superuser().batch_execute(session).expect("a superuser who looks as the application");
}

/// The hooks raise the server's own errors with all their fields.
#[test]
fn the_servers_errors_keep_their_detail() {
    let db = Db::new("detail");
    let error = fails_with(run(&db, SUPERUSER, "DROP ROLE tapp"), "2BP01");
    assert!(error.detail().is_some_and(|detail| !detail.contains("stormops::")), "{error:?}");
    let cursor = "CREATE TABLE once (a int PRIMARY KEY); INSERT INTO once VALUES (1);
        CREATE FUNCTION again(i int) RETURNS int LANGUAGE sql AS 'INSERT INTO once VALUES ($1) RETURNING 1';
        BEGIN; DECLARE c CURSOR FOR SELECT again(i) FROM generate_series(2, 1, -1) AS i; FETCH c; FETCH c";
    let error = fails_with(run(&db, SUPERUSER, cursor), "23505");
    assert_eq!(error.detail(), Some("Key (a)=(1) already exists."));
}
