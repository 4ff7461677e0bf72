//! Commands that lock what they name before they ask whose it is. Refused in the end, they would have stood in the queue
//! until then, and everybody else behind them: so they are refused before they lock anything.

use postgres::Error;
use stormops_tests::twins::Twins;
use stormops_tests::{Db, sqlstate};

const REFUSED: &str = "42501";
const WAITED: &str = "55P03";

/// What another session holds: the lock of an autovacuum. Every command below would wait for it, or for a stronger one.
const HELD: &str = "BEGIN; LOCK TABLE stormops.storms, stormops.policy_decision_blocks, pg_catalog.pg_authid,
    pg_catalog.pg_class, own.list, own.parts, own.brin IN SHARE UPDATE EXCLUSIVE MODE";

/// What the commands name: tables of all tenants, catalogues, and the role's own.
const OWN: &str = "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO app, tapp;
    CREATE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TABLE own.list (a uuid, b uuid, c uuid); CREATE INDEX list_a ON own.list (a); GRANT SELECT ON own.list TO tapp; ALTER TABLE own.list OWNER TO app;
    CREATE TABLE own.parts (LIKE stormops.policy_decision_blocks) PARTITION BY LIST (tenant_id); ALTER TABLE own.parts OWNER TO app;
    CREATE VIEW own.v AS TABLE stormops.storms; CREATE SEQUENCE own.s;
    CREATE MATERIALIZED VIEW own.m AS TABLE own.list; ALTER MATERIALIZED VIEW own.m OWNER TO app;
    CREATE TABLE own.brin (a int); CREATE INDEX brin_a ON own.brin USING brin (a)";

/// These wait where the guard is off.
const WAITING: &[&str] = &[
    "CREATE RULE r AS ON INSERT TO pg_catalog.pg_authid DO INSTEAD NOTHING",
    "CREATE RULE r AS ON INSERT TO stormops.storms DO INSTEAD NOTHING",
    "CREATE RULE r AS ON DELETE TO own.list DO INSTEAD NOTHING",
    "CREATE TRIGGER t BEFORE INSERT ON stormops.storms FOR EACH ROW EXECUTE FUNCTION own.f()",
    "CREATE TRIGGER t BEFORE INSERT ON pg_catalog.pg_authid FOR EACH ROW EXECUTE FUNCTION own.f()",
    "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON own.list FROM stormops.storms FOR EACH ROW EXECUTE FUNCTION own.f()",
    "CREATE TABLE own.probe (a uuid, b uuid, FOREIGN KEY (a, b) REFERENCES stormops.storms)",
    "CREATE TABLE own.probe (a oid REFERENCES pg_catalog.pg_authid (oid))",
    "CREATE TEMP TABLE probe (a uuid REFERENCES stormops.storms) ON COMMIT DROP",
    "CREATE TEMP TABLE probe (a uuid, b uuid, FOREIGN KEY (a, b) REFERENCES stormops.storms) ON COMMIT DROP",
    "CREATE TEMP TABLE probe () INHERITS (stormops.storms) ON COMMIT DROP",
    "CREATE TEMP TABLE probe () INHERITS (pg_catalog.pg_authid) ON COMMIT DROP",
    "CREATE TEMP TABLE probe PARTITION OF stormops.policy_decision_blocks DEFAULT ON COMMIT DROP",
    "CREATE TABLE own.probe PARTITION OF stormops.policy_decision_blocks DEFAULT",
    "CREATE STATISTICS own.x ON tenant_id, name FROM stormops.storms",
    "ALTER TABLE own.list INHERIT stormops.storms",
    "ALTER TABLE own.list ADD FOREIGN KEY (a, b) REFERENCES stormops.storms",
    "ALTER TABLE own.list ADD COLUMN d uuid REFERENCES stormops.storms",
    "ALTER TABLE own.parts ATTACH PARTITION stormops.policy_decision_blocks DEFAULT",
    "ALTER TABLE own.parts ATTACH PARTITION pg_catalog.pg_authid DEFAULT",
    "ALTER TABLE own.list SET (fillfactor = 70)",
    "DROP TABLE own.list",
    "COMMENT ON TABLE stormops.storms IS 'x'",
    "COMMENT ON COLUMN pg_catalog.pg_authid.rolname IS 'x'",
    "TRUNCATE own.list",
    "VACUUM FULL stormops.policy_decision_blocks",
    "ANALYZE own.list",
    "REINDEX TABLE own.list",
    "BEGIN; LOCK TABLE stormops.storms IN SHARE MODE",
    "SELECT brin_summarize_new_values('own.brin_a')",
    "SELECT brin_summarize_range('own.brin_a', 0)",
    "SELECT brin_desummarize_range('own.brin_a', 0)",
    "CLUSTER own.list USING list_a",
];

/// These do not, or not in every version: no application sends them either.
const OTHERS: &[&str] = &[
    "CREATE OR REPLACE RULE r AS ON DELETE TO own.v DO INSTEAD NOTHING",
    "CREATE TRIGGER t INSTEAD OF INSERT ON own.v FOR EACH ROW EXECUTE FUNCTION own.f()",
    "CREATE SCHEMA AUTHORIZATION app CREATE TABLE probe () INHERITS (pg_catalog.pg_class)",
    "CREATE INDEX ON stormops.storms (name)",
    "CREATE PUBLICATION p FOR TABLE stormops.storms",
    "CREATE VIEW own.w AS TABLE stormops.storms",
    "CREATE TABLE own.copy AS TABLE own.v",
    "CREATE TABLE own.copy (LIKE own.list INCLUDING ALL)",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE stormops.storms INHERIT own.list",
    "ALTER POLICY tenant ON stormops.storms USING (true)",
    "ALTER TRIGGER t ON stormops.storms RENAME TO u",
    "ALTER INDEX stormops.storms_pkey DEPENDS ON EXTENSION stormops",
    "DROP TABLE stormops.storms",
    "SECURITY LABEL ON TABLE stormops.storms IS 'x'",
    "TRUNCATE stormops.storms",
    "ANALYZE stormops.storms",
    "CLUSTER stormops.storms USING storms_pkey",
    "REINDEX TABLE stormops.storms",
    "REFRESH MATERIALIZED VIEW own.m",
    "GRANT SELECT ON own.list TO PUBLIC",
    "GRANT SELECT ON stormops.storms TO PUBLIC",
    "REVOKE SELECT ON pg_catalog.pg_authid FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "IMPORT FOREIGN SCHEMA s FROM SERVER v INTO own",
    "CHECKPOINT",
    "LOAD '$libdir/plugins/x'",
    "ALTER SYSTEM SET work_mem = 64",
    "CREATE POLICY p ON stormops.storms",
    "DROP POLICY tenant ON stormops.storms",
    "COMMENT ON CONSTRAINT storms_pkey ON stormops.storms IS 'x'",
    "VACUUM stormops.storms",
    "DROP TRIGGER t ON stormops.storms",
    "DROP RULE r ON pg_catalog.pg_authid",
];

fn attempt(twins: &Twins, guard: &str, role: &str, command: &str) -> Result<(), Error> {
    let mut session = twins.db.superuser();
    // A message of its own: some commands take no other beside them.
    session
        .batch_execute(&format!(
            "SET stormops.guard_commands = {guard}; SET stormops.guard_locks = {guard}; SET lock_timeout = 50; SET ROLE {role}"
        ))
        .expect("a session");
    session.batch_execute(command)
}

#[test]
fn what_locks_before_it_asks_is_refused_before_it_locks() {
    let twins = Twins::new("queue");
    twins.db.superuser().batch_execute(OWN).expect("a schema");
    let mut other = twins.db.superuser();
    other.batch_execute(HELD).expect("what an autovacuum holds");
    let mut wrong = Vec::new();
    for command in WAITING.iter().chain(OTHERS) {
        for role in ["app", "tapp"] {
            let answer = attempt(&twins, "on", role, command);
            let error = answer.as_ref().err().and_then(Error::as_db_error);
            let named = error.and_then(|error| error.hint()).is_some_and(|hint| hint.contains("stormops.guard_"));
            if sqlstate(&answer) != REFUSED || !named {
                wrong.push(format!("{role}: {command}: {answer:?}"));
            }
        }
        let answer = attempt(&twins, "off", "app", command);
        if WAITING.contains(command) && sqlstate(&answer) != WAITED {
            wrong.push(format!("guard off: {command}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In a session that has locked nothing, so that whoever holds what it names does not matter.
#[test]
fn what_an_application_sends_passes() {
    let twins = Twins::new("sent");
    let own = format!("{OWN}; CREATE PROCEDURE own.p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'");
    twins.db.superuser().batch_execute(&own).expect("a schema");
    let mut other = twins.db.superuser();
    other.batch_execute(HELD).expect("what an autovacuum holds");
    for script in [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SAVEPOINT s; ROLLBACK TO s; RELEASE s; COMMIT AND CHAIN; ROLLBACK",
        "SET lock_timeout = '5s'; SET LOCAL timezone = 'UTC'; SHOW timezone; RESET timezone; RESET ALL",
        "BEGIN; SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED; END",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p; DEALLOCATE ALL",
        "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; MOVE 1 FROM c; CLOSE c; CLOSE ALL; COMMIT",
        "DO 'BEGIN PERFORM 1; END'",
        "CALL own.p()",
        "UNLISTEN *; DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP",
        "DISCARD ALL",
        "DROP TABLE IF EXISTS scratch; BEGIN; CREATE TEMP TABLE scratch (id serial PRIMARY KEY, a int UNIQUE CHECK (a > 0)) ON COMMIT DROP;
            CREATE INDEX ON scratch (a) WHERE a > 1; INSERT INTO scratch (a) VALUES (1); ANALYZE scratch (a); ANALYZE pg_temp.scratch;
            TRUNCATE scratch; DROP TABLE scratch; COMMIT",
        "BEGIN; CREATE TEMP TABLE scratch (LIKE own.list INCLUDING ALL) ON COMMIT DROP; COMMIT",
        "BEGIN; CREATE TEMP TABLE scratch ON COMMIT DROP AS SELECT 1 AS a; ROLLBACK",
    ] {
        for role in ["app", "tapp"] {
            let mut session = twins.db.as_role(role);
            session.batch_execute("SET lock_timeout = 50").expect("a session");
            let answer = session.simple_query(script);
            assert_eq!(sqlstate(&answer), "00000", "{role}: {script}: {answer:?}");
        }
    }
    for role in ["app", "tapp"] {
        assert_eq!(twins.db.psql(role, "COPY (SELECT 7) TO STDOUT; COPY own.list TO STDOUT"), "7\n", "{role}");
    }
    let load = "BEGIN; CREATE TEMP TABLE scratch (a int) ON COMMIT DROP;\nCOPY scratch FROM STDIN;\n7\n\\.\nTABLE scratch; COMMIT;";
    assert_eq!(twins.db.psql("tapp", load), "7\n");
}

/// The catalogue of roles is the cluster's, and so is the room for locks: a role that works in tenants of one database
/// stops nobody from another either.
#[test]
fn nobody_is_stopped_from_another_database() {
    let other = Db::empty("elsewhere");
    let own = "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO PUBLIC; CREATE TABLE own.list ()";
    other.superuser().batch_execute(own).expect("a schema");
    let many =
        "DO $$ BEGIN FOR i IN 1 .. 101 LOOP CREATE TEMP TABLE t () ON COMMIT DROP; DROP TABLE t; END LOOP; END $$";
    for (command, expected) in [
        ("CREATE RULE r AS ON INSERT TO pg_catalog.pg_authid DO INSTEAD NOTHING", REFUSED),
        ("COMMENT ON COLUMN pg_catalog.pg_authid.rolname IS 'x'", REFUSED),
        ("VACUUM pg_catalog.pg_authid", REFUSED),
        ("CREATE TABLE own.mine ()", REFUSED),
        ("SELECT pg_advisory_lock(7)", REFUSED),
        (many, "54000"),
        ("ALTER ROLE CURRENT_USER RESET stormops.works_in_tenants", REFUSED),
        ("SET stormops.works_in_tenants = off", REFUSED),
        ("SELECT count(*) FROM pg_roles; SET work_mem = 64; DISCARD ALL", "00000"),
    ] {
        for role in ["app", "tapp"] {
            let mut session = other.as_role(role);
            let answer = if command.starts_with("VACUUM") || command.contains("DISCARD") {
                command.split("; ").map(|command| session.batch_execute(command)).last().expect("a command")
            } else {
                session.batch_execute(command)
            };
            assert_eq!(sqlstate(&answer), expected, "{role}: {command}: {answer:?}");
        }
    }
    for role in ["op", "mon", "nobody"] {
        let made = format!("CREATE TABLE own.{role} (); SELECT pg_advisory_lock(7); {many}");
        assert_eq!(sqlstate(&other.as_role(role).batch_execute(&made)), "00000", "{role}");
    }
}
