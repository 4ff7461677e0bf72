//! What privileges cannot refuse, the library does: for roles that work in tenants, wherever the command stands, unless
//! a superuser switched the guard off.

use postgres::{Client, Error};
use stormops_tests::twins::Twins;
use stormops_tests::{Db, SUPERUSER, cluster, sqlstate};

const TENANTS: [&str; 2] = ["app", "tapp"];

/// Each guard and what it refuses. The last of each is one command that a function may give, too.
const GUARDS: [(&str, &[&str]); 11] = [
    (
        "explain",
        &[
            "EXPLAIN (ANALYZE, COSTS off) SELECT",
            "PREPARE p AS SELECT; EXPLAIN EXECUTE p",
            "EXPLAIN DECLARE c CURSOR FOR SELECT",
            "EXPLAIN CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1 AS a",
            "EXPLAIN SELECT",
        ],
    ),
    ("cursors", &["BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT", "DECLARE c CURSOR WITH HOLD FOR SELECT"]),
    (
        "notify",
        &[
            "LISTEN stormops",
            "NOTIFY stormops",
            "NOTIFY stormops, 'x'",
            "SELECT pg_logical_emit_message(false, 'a', 'b')",
            "SELECT pg_notify('stormops', 'x')",
        ],
    ),
    (
        "locks",
        &[
            "LOCK TABLE stormops.storms IN ACCESS SHARE MODE",
            "LOCK TABLE own.storms IN ACCESS EXCLUSIVE MODE",
            "LOCK TABLE own.list",
            "SELECT pg_advisory_lock(7)",
            "SELECT brin_summarize_new_values('own.list')",
            "SELECT pg_try_advisory_xact_lock_shared(7, 7)",
        ],
    ),
    (
        "temporary_tables",
        &[
            "CREATE TEMP TABLE storms (a int)",
            "CREATE TEMP TABLE storms (a int) ON COMMIT DELETE ROWS",
            "CREATE TABLE pg_temp.storms (a int)",
            "SET search_path = pg_temp; CREATE TABLE storms (a int)",
            "CREATE TEMP TABLE storms AS SELECT 1 AS a",
            "PREPARE p AS SELECT 1 AS a; CREATE TEMP TABLE storms AS EXECUTE p",
            "SELECT 1 AS a INTO TEMP storms",
            "CREATE TEMP VIEW storms AS SELECT 1 AS a",
            "CREATE TEMP RECURSIVE VIEW storms (a) AS SELECT 1",
            "CREATE TEMP SEQUENCE storms",
            "CREATE TYPE pg_temp.uuid AS (a int)",
            "CREATE TYPE pg_temp.uuid AS ENUM ('a')",
            "CREATE TYPE pg_temp.uuid AS RANGE (subtype = int)",
            "SET search_path = pg_temp; CREATE DOMAIN uuid AS text",
            "CREATE DOMAIN pg_temp.uuid AS text",
        ],
    ),
    ("prepared_transactions", &["BEGIN; PREPARE TRANSACTION 'p'"]),
    ("large_objects", &["SELECT lo_get(7)", "SELECT lo_from_bytea(0, '')", "SELECT lo_create(0)"]),
    (
        "sessions",
        &[
            "TABLE pg_stat_activity",
            "TABLE pg_locks",
            "TABLE pg_prepared_xacts",
            "TABLE pg_prepared_statements",
            "TABLE pg_stat_progress_vacuum",
            "SELECT pg_cancel_backend(0)",
            "SELECT pg_terminate_backend(0)",
        ],
    ),
    (
        "counters",
        &[
            "TABLE pg_stat_user_tables",
            "TABLE pg_stat_xact_user_tables",
            "TABLE pg_statio_user_indexes",
            "TABLE pg_stat_database",
            "SELECT currtid2('stormops.storms', '(0,1)')",
        ],
    ),
    (
        "role",
        &[
            "ALTER ROLE CURRENT_USER PASSWORD 'x'",
            "ALTER ROLE CURRENT_USER SET row_security = off",
            "ALTER ROLE CURRENT_USER RESET ALL",
            "GRANT app TO nobody",
            "REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER",
            "DROP OWNED BY CURRENT_USER",
        ],
    ),
    (
        "commands",
        &[
            "CREATE TRIGGER t BEFORE INSERT ON stormops.storms EXECUTE FUNCTION own.f()",
            "CREATE RULE r AS ON INSERT TO stormops.storms DO NOTHING",
            "CREATE TEMP TABLE t (a uuid REFERENCES stormops.storms) ON COMMIT DROP",
            "CREATE TABLE own.t (a uuid, FOREIGN KEY (a) REFERENCES stormops.storms)",
            "ALTER TABLE own.list ADD COLUMN a uuid REFERENCES stormops.storms",
            "ALTER TABLE own.list ADD FOREIGN KEY (a) REFERENCES stormops.storms (tenant_id)",
            "ALTER TABLE own.parts ATTACH PARTITION stormops.storms DEFAULT",
            "VACUUM own.list",
            "CREATE TABLE own.t ()",
            "COMMENT ON TABLE own.list IS 'x'",
        ],
    ),
];

/// Has a table and a view of a tenant's role, in a schema of its own.
fn twins(name: &str) -> Twins {
    let twins = Twins::new(name);
    let own = "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO app, tapp; CREATE TABLE own.list ();
        GRANT ALL ON own.list TO app, tapp; CREATE VIEW own.storms AS TABLE stormops.storms;
        ALTER VIEW own.storms OWNER TO tapp; GRANT ALL ON own.storms TO app";
    twins.db.superuser().batch_execute(own).expect("a schema");
    twins
}

fn refused<T>(answer: &Result<T, Error>, guard: &str) -> bool {
    let error = answer.as_ref().err().and_then(Error::as_db_error);
    error.is_some_and(|error| {
        let named = error.hint().is_some_and(|hint| hint.contains(&format!(": stormops.guard_{guard}.")));
        named && error.code().code() == "42501"
    })
}

/// In a session that begins anew, or went on after an error.
fn run(client: &mut Client, sql: &str) -> Result<(), Error> {
    let answer = client.batch_execute(sql);
    for sql in ["ROLLBACK", "DISCARD ALL"] {
        client.batch_execute(sql).expect("what a pool does");
    }
    answer
}

fn end_prepared(twins: &Twins) {
    let mut superuser = twins.db.superuser();
    let prepared = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
    for gid in superuser.query(prepared, &[]).expect("a list") {
        superuser.batch_execute(&format!("ROLLBACK PREPARED '{}'", gid.get::<_, &str>(0))).expect("its end");
    }
}

#[test]
fn every_guard_refuses_tenants_alone_and_each_can_be_switched_off() {
    let twins = twins("each");
    for (off, _) in GUARDS {
        let switch = format!("SET stormops.guard_{off} = off");
        for role in TENANTS {
            let mut client = twins.db.superuser();
            for (guard, statements) in GUARDS {
                // Of the guards that stay on, one statement each.
                let rest = if guard == off { 0 } else { statements.len() - 1 };
                for sql in &statements[rest..] {
                    let as_tenant = format!("BEGIN; {switch}; SET ROLE {role}; {sql}");
                    let answer = run(&mut client, &as_tenant);
                    assert_eq!(refused(&answer, guard), guard != off, "{as_tenant}: {answer:?}");
                    client.batch_execute("ROLLBACK").expect("a session");
                    client.execute("SELECT pg_advisory_unlock_all()", &[]).expect("a session");
                    end_prepared(&twins);
                }
            }
        }
    }
}

#[test]
fn a_guard_holds_on_every_way_to_a_command() {
    let twins = twins("ways");
    for role in TENANTS {
        let mut client = twins.db.as_role(role);
        for (guard, statements) in GUARDS {
            let sql = statements.last().expect("a statement");
            let quoted = sql.replace('\'', "''");
            let extended = client.query(*sql, &[]).map(drop);
            assert!(refused(&extended, guard) || guard == "prepared_transactions", "extended: {sql}: {extended:?}");
            if guard == "prepared_transactions" {
                continue; // nor does a function end a transaction
            }
            for way in [
                format!("DO $do$ BEGIN EXECUTE '{quoted}'; END $do$"),
                format!("DO $do$ BEGIN BEGIN EXECUTE '{quoted}'; EXCEPTION WHEN others THEN RAISE; END; END $do$"),
            ] {
                let answer = run(&mut client, &way);
                assert!(refused(&answer, guard), "{way}: {answer:?}");
            }
            // Its owner is no other.
            for definer in ["", "SECURITY DEFINER"] {
                let function = format!(
                    "DROP FUNCTION IF EXISTS own.f; CREATE FUNCTION own.f() RETURNS void LANGUAGE plpgsql {definer} AS
                    $f$ BEGIN EXECUTE '{quoted}'; END $f$; ALTER FUNCTION own.f OWNER TO {role}"
                );
                twins.db.superuser().batch_execute(&function).expect("a function");
                let answer = run(&mut client, "SELECT own.f()");
                assert!(refused(&answer, guard), "{function}: {answer:?}");
            }
        }
    }
    let later = "CREATE OR REPLACE FUNCTION own.later(bigint, oid) RETURNS bigint LANGUAGE sql AS
        'SELECT pg_stat_get_live_tuples($2)'";
    // As an operator, an aggregate's step, a cursor's query, and through the protocol's call of a function.
    for (guard, way) in [
        (
            "notify",
            "CREATE OPERATOR own.! (leftarg = text, rightarg = text, function = pg_notify); SELECT 'a' OPERATOR(own.!) 'b'",
        ),
        ("counters", "CREATE AGGREGATE own.n (oid) (sfunc = own.later, stype = bigint); SELECT own.n(1)"),
        ("sessions", "BEGIN; DECLARE c CURSOR FOR TABLE pg_stat_activity; FETCH c"),
        ("sessions", "SELECT query_to_xml('TABLE pg_stat_activity', true, true, '')"),
        (
            "explain",
            "DROP FUNCTION own.f; CREATE FUNCTION own.f() RETURNS SETOF text LANGUAGE plpgsql AS
            $f$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN TABLE stormops.storms'; END $f$; SELECT own.f()",
        ),
    ] {
        let (made, way) = way.rsplit_once("; SELECT").map_or((later, way), |(made, _)| (made, &way[made.len() + 2..]));
        twins.db.superuser().batch_execute(&format!("{later}; {made}")).expect("made by another");
        let answer = twins.db.as_role("tapp").batch_execute(way);
        assert!(refused(&answer, guard), "{way}: {answer:?}");
    }
    let mut psql = cluster().program("psql", "app", &twins.db.name);
    let output = psql.args(["-X", "-c", "\\lo_unlink 7"]).output().expect("psql");
    assert!(String::from_utf8_lossy(&output.stderr).contains("stormops.guard_large_objects"), "{output:?}");
}

/// All functions of the server of these kinds, in this version of it.
#[test]
fn no_function_of_a_guarded_kind_is_left_out() {
    let db = Db::new("functions");
    let functions = "SELECT format('SELECT %s(%s)', p.oid::regproc, (
            SELECT string_agg(format('(SELECT NULL::%s)', format_type(a.type, NULL)), ', ' ORDER BY a.place)
            FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, place)))
        FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege('app', p.oid, 'EXECUTE')
            AND p.proname ~ '^(lo_|lo(read|write)$|pg_(try_)?advisory(_xact)?_lock|pg_stat_get_|pg_notify$|(pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_isolation_test_session_is_blocked)$)'";
    let functions = db.superuser().query(functions, &[]).expect("functions");
    assert!(functions.len() > 100, "{}", functions.len());
    let mut client = db.as_role("app");
    for call in functions {
        let sql: &str = call.get(0);
        let answer = client.query(sql, &[]);
        assert!(GUARDS.iter().any(|(guard, _)| refused(&answer, guard)), "{sql}: {answer:?}");
    }
}

/// Everybody else works as on any server; so do the commands that clean a session.
#[test]
fn nobody_else_is_bound_and_nothing_else_is_refused() {
    let twins = twins("others");
    for role in ["op", "mon", "nobody", SUPERUSER] {
        let mut client = twins.db.as_role(role);
        for (guard, statements) in GUARDS {
            for sql in statements {
                let answer = run(&mut client, &format!("BEGIN; {sql}"));
                assert!(!refused(&answer, guard), "{role}: {sql}: {answer:?}");
            }
        }
        end_prepared(&twins);
    }
    for sql in [
        "UNLISTEN *; CLOSE ALL; DEALLOCATE ALL; RESET ALL",
        "DISCARD TEMP",
        "DISCARD ALL",
        "SELECT pg_advisory_unlock_all()",
        "BEGIN; DECLARE c CURSOR FOR SELECT; FETCH c; COMMIT",
        "BEGIN; CREATE TEMP TABLE t (id serial PRIMARY KEY, a int GENERATED ALWAYS AS IDENTITY) ON COMMIT DROP;
            CREATE INDEX ON t (a); INSERT INTO t DEFAULT VALUES; COMMIT",
        "BEGIN; CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1 AS a; COMMIT; SELECT 1 / (to_regclass('t') IS NULL)::int",
        "SELECT pg_relation_size('stormops.storms'), pg_backend_pid()",
    ] {
        for role in TENANTS {
            assert_eq!(sqlstate(&twins.db.as_role(role).batch_execute(sql)), "00000", "{role}: {sql}");
        }
    }
}
