//! Whatever a database or a session sets: the extension is made the same, and a tenant's life in it goes on. And where it
//! cannot be made, it says so.

use postgres::{Config, NoTls};
use stormops_tests::{Db, ROLES, SUPERUSER, cluster, fails_with};

use super::life::{Filled, catalogue, fill, filled, lines, same, works};

/// Settings that change how a statement is read, what a value looks like as text, where a table goes or how a statement
/// runs. Those of a group hold together, in every session of one database.
const HOSTILE: [(&str, &[(&str, &str)]); 2] = [
    (
        "read",
        &[
            ("standard_conforming_strings", "off"),
            ("backslash_quote", "off"),
            ("array_nulls", "off"),
            ("transform_null_equals", "on"),
            ("quote_all_identifiers", "on"),
            ("check_function_bodies", "off"),
            ("plpgsql.extra_errors", "all"),
            ("plpgsql.variable_conflict", "use_column"),
            ("search_path", "public"),
        ],
    ),
    (
        "written",
        &[
            ("DateStyle", "SQL, DMY"),
            ("IntervalStyle", "sql_standard"),
            ("TimeZone", "Asia/Kathmandu"),
            ("bytea_output", "escape"),
            ("extra_float_digits", "-15"),
            ("xmlbinary", "hex"),
            ("lc_monetary", "C.UTF-8"),
            ("client_min_messages", "error"),
            ("default_tablespace", "pg_default"),
            ("default_table_access_method", "heap_of_others"),
            ("default_toast_compression", "pglz"),
            ("plan_cache_mode", "force_generic_plan"),
            ("max_parallel_workers_per_gather", "2"),
            ("parallel_setup_cost", "0"),
            ("parallel_tuple_cost", "0"),
            ("min_parallel_table_scan_size", "0"),
            ("work_mem", "64kB"),
            ("jit", "off"),
        ],
    ),
];

/// What an operator has run each day, and what it answers; months that are over are there to be dropped.
const UPKEEP: [(&str, &str); 6] = [
    ("SELECT stormops.maintain_partitions(7)::text", "4"),
    ("SELECT array_to_string(stormops.drop_usage_before('2025-06-01'), ' ')", "tenant_usage_2025_01"),
    ("SELECT array_to_string(stormops.drop_decisions_before('2025-06-01'), ' ')", "policy_decision_blocks_2025_01"),
    ("SELECT (partition_runway_days > 180)::text FROM stormops.get_system_health()", "true"),
    ("SELECT failed::text FROM stormops.run_health_checks()", "0"),
    ("SELECT count(*)::text FROM stormops.verify_rollups()", "0"),
];

const OLD_PARTITIONS: &str = "
    CREATE TABLE stormops_internal.tenant_usage_2025_01 PARTITION OF stormops.tenant_usage
        FOR VALUES FROM ('2025-01-01 00:00Z') TO ('2025-02-01 00:00Z');
    DO $$ BEGIN EXECUTE format('CREATE TABLE stormops_internal.policy_decision_blocks_2025_01
        PARTITION OF stormops.policy_decision_blocks FOR VALUES FROM (%L) TO (%L)',
        stormops_internal.first_id_of('2025-01-01'), stormops_internal.first_id_of('2025-02-01')); END $$;
    ALTER TABLE stormops_internal.tenant_usage_2025_01 OWNER TO stormops_owner;
    ALTER TABLE stormops_internal.policy_decision_blocks_2025_01 OWNER TO stormops_owner";

fn attested(db: &Db) -> Vec<String> {
    let failing =
        "SELECT property || ': ' || evidence FROM stormops.attest() WHERE NOT pass AND property <> 'server_minor'";
    lines(&mut db.superuser(), failing)
}

#[test]
fn settings_of_a_database_change_nothing_of_what_is_made_nor_of_what_is_done() {
    let plain = filled();
    let (expected, expected_attested) = (catalogue(&plain.db), attested(&plain.db));
    for (group, settings) in HOSTILE {
        let db = Db::empty(group);
        let mut superuser = db.superuser();
        let others = "CREATE ACCESS METHOD heap_of_others TYPE TABLE HANDLER heap_tableam_handler";
        superuser.batch_execute(others).expect("an access method");
        for (name, value) in settings {
            let set = format!("ALTER DATABASE \"{}\" SET {name} = '{value}'", db.name);
            superuser.batch_execute(&set).unwrap_or_else(|e| panic!("{set}: {e:?}"));
        }
        db.superuser().batch_execute("CREATE EXTENSION stormops").unwrap_or_else(|e| panic!("{group}: {e:?}"));
        for (role, kind) in ROLES {
            db.in_turn(&format!("SELECT stormops.grant_usage('{role}', '{kind}')"));
        }
        let Filled { db, tenants } = fill(db);
        superuser.batch_execute(&format!("ALTER DATABASE \"{}\" RESET ALL", db.name)).expect("a reset");
        assert_eq!(attested(&db), expected_attested, "{group}");
        same(&expected, &without_method(catalogue(&db)), group);
        for (name, value) in settings {
            superuser
                .batch_execute(&format!("ALTER DATABASE \"{}\" SET {name} = '{value}'", db.name))
                .expect("a setting");
        }
        superuser.batch_execute(OLD_PARTITIONS).expect("partitions of a month that is over");
        let mut operator = db.as_role("op");
        for (query, answer) in UPKEEP {
            assert_eq!(lines(&mut operator, query), [answer], "{group}: {query}");
        }
        works(&db, tenants);
    }
}

/// Nothing of the extension's.
fn without_method(catalogue: Vec<String>) -> Vec<String> {
    catalogue.into_iter().filter(|line| !line.contains("heap_of_others")).collect()
}

#[test]
fn a_database_that_is_not_utf8_is_refused() {
    let db = Db { name: "latin".to_owned() };
    let create = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    cluster().connect(SUPERUSER, "postgres").batch_execute(create).expect("a database");
    let refusal = fails_with(db.superuser().batch_execute("CREATE EXTENSION stormops"), "0A000");
    assert_eq!(refusal.message(), "StormOps needs a database in UTF8; \"latin\" is in LATIN1");
    assert!(refusal.hint().expect("a hint").contains("ENCODING 'UTF8'"), "{refusal:?}");
}

/// A restore sets it too, and brings the tables; there nobody is told anything.
#[test]
fn without_row_security_nothing_is_made_and_that_is_said() {
    let db = Db::empty("row_security");
    let (say, said) = std::sync::mpsc::channel();
    let mut config = Config::new();
    config.host(cluster().socket()).port(5432).user(SUPERUSER).dbname(&db.name);
    config.notice_callback(move |notice| {
        say.send((notice.message().to_owned(), notice.hint().map(str::to_owned))).expect("a test")
    });
    let mut superuser = config.connect(NoTls).expect("a session");
    superuser.batch_execute("SET row_security = off; CREATE EXTENSION stormops").expect("the extension");
    let (message, hint) = said.try_recv().expect("a warning");
    assert_eq!(message, "the tables of StormOps were not made, since row_security is off");
    let hint = hint.expect("a hint");
    superuser.batch_execute(hint.split_once("Otherwise: ").expect("a statement").1).expect("what the hint says");
    assert_eq!(
        lines(&mut superuser, "SELECT (count(*) > 30)::text FROM pg_tables WHERE schemaname = 'stormops'"),
        ["true"]
    );
    superuser
        .batch_execute("DROP EXTENSION stormops CASCADE; SET xmloption = content; CREATE EXTENSION stormops")
        .expect("a restore");
    assert!(said.try_iter().all(|(message, _)| !message.contains("not made")));
}

/// It sets row_security on, and then brings the tables as ever.
#[test]
fn a_restore_with_row_security_enabled_is_a_restore() {
    let Filled { db, tenants } = filled();
    let target = Db::empty("enabled");
    target.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error", "--enable-row-security"]);
    same(&super::life::rows(&db), &super::life::rows(&target), "rows");
    same(&catalogue(&db), &catalogue(&target), "the catalogue");
    works(&target, tenants);
}
