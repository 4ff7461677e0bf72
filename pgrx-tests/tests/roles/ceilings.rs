//! No session of a tenant raises a setting above its ceiling, in whatever way it sets it.

use postgres::{Client, Config, NoTls};
use stormops_tests::{Db, SUPERUSER, cluster, fails_with};

/// A setting, its ceiling in the setting's own unit, and values above it.
const CEILINGS: [(&str, &str, &[&str]); 8] = [
    ("statement_timeout", "3600000", &["0", "3600001", "2147483647"]),
    ("idle_in_transaction_session_timeout", "600000", &["0", "600001"]),
    ("work_mem", "1048576", &["1048577", "2147483647"]),
    ("maintenance_work_mem", "1048576", &["1048577"]),
    ("temp_buffers", "32768", &["32769"]),
    ("max_parallel_workers_per_gather", "8", &["9", "1024"]),
    ("hash_mem_multiplier", "8", &["8.5", "1000"]),
    ("debug_print_plan", "off", &["on"]), // which goes with EXPLAIN
];

fn value(client: &mut Client, setting: &str) -> String {
    let value = "SELECT setting FROM pg_settings WHERE name = $1";
    client.query_one(value, &[&setting]).expect("a setting").get(0)
}

#[test]
fn every_way_to_set_a_value_ends_at_the_ceiling() {
    let db = Db::new("ways");
    db.without_guard("commands"); // for functions of the role's own
    db.superuser().batch_execute("CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO app, tapp").expect("a schema");
    for (setting, ceiling, above) in CEILINGS {
        for (role, value_set) in above.iter().map(|value| ("app", value)).chain([("tapp", &above[0])]) {
            let mut client = db.as_role(role);
            for script in [
                "SET $s = '$v'",
                "BEGIN; SET LOCAL $s = '$v'",
                "SELECT set_config('$s', '$v', false)",
                "BEGIN; SELECT set_config('$s', '$v', true)",
                "UPDATE pg_settings SET setting = '$v' WHERE name = '$s'",
                "DO $$ BEGIN SET $s = '$v'; END $$",
                "SET SESSION AUTHORIZATION DEFAULT; SET $s = '$v'",
            ] {
                let script = script.replace("$s", setting).replace("$v", value_set);
                client.batch_execute(&script).unwrap_or_else(|e| panic!("{script}: {e:?}"));
                assert_eq!(value(&mut client, setting), ceiling, "{role}: {script}");
                client.batch_execute("ROLLBACK").expect("as before");
            }
            let function = "CREATE FUNCTION own.f() RETURNS text LANGUAGE sql SET $s = '$v' AS
                $f$ SELECT setting FROM pg_settings WHERE name = '$s' $f$";
            client.batch_execute(&function.replace("$s", setting).replace("$v", value_set)).expect("a function");
            assert_eq!(
                client.query_one("SELECT own.f()", &[]).expect("a call").get::<_, &str>(0),
                ceiling,
                "{setting}"
            );
            client.batch_execute("DROP FUNCTION own.f").expect("as before");

            let mut config = Config::new();
            config.host(cluster().socket()).port(5432).user(role).dbname(&db.name);
            let mut client = config.options(&format!("-c {setting}={value_set}")).connect(NoTls).expect("a session");
            assert_eq!(value(&mut client, setting), ceiling, "PGOPTIONS: {setting}");
            for back in ["RESET ALL", "DISCARD ALL", &format!("RESET {setting}"), &format!("SET {setting} TO DEFAULT")]
            {
                client.batch_execute(back).expect("a reset");
                assert_eq!(value(&mut client, setting), ceiling, "{back}: {setting}");
            }
        }
    }
}

/// A default of the role's own, or one that an administrator left for everybody.
#[test]
fn a_session_begins_below_the_ceilings() {
    let db = Db::new("defaults");
    db.without_guard("role"); // nor then
    let mut superuser = db.superuser();
    db.in_turn("CREATE ROLE web LOGIN; SELECT stormops.grant_usage('web', 'app')");
    for (setting, ceiling, above) in CEILINGS {
        for value_set in above {
            let database = format!("\"{}\"", db.name);
            let of_role = format!("ALTER ROLE web SET {setting} = '{value_set}'");
            db.as_role("web").batch_execute(&of_role).expect("a default of its own");
            let mut client = db.as_role("web");
            assert_eq!(value(&mut client, setting), ceiling, "{of_role}");
            client.batch_execute(&format!("RESET {setting}")).expect("a reset");
            assert_eq!(value(&mut client, setting), ceiling, "{of_role}");
            client.batch_execute("ALTER ROLE web RESET ALL").expect("no default");
            let of_database = format!("ALTER DATABASE {database} SET {setting} = '{value_set}'");
            superuser.batch_execute(&of_database).expect("a default");
            assert_eq!(value(&mut db.as_role("web"), setting), ceiling, "{of_database}");
            for role in ["op", SUPERUSER] {
                assert_eq!(value(&mut db.as_role(role), setting), *value_set, "{of_database}: {role}");
            }
            superuser.batch_execute(&format!("ALTER DATABASE {database} RESET {setting}")).expect("no default");
        }
    }
}

#[test]
fn what_is_below_stays_and_others_are_free() {
    let db = Db::new("below");
    for (setting, below) in
        [("statement_timeout", "5000"), ("work_mem", "64"), ("max_parallel_workers_per_gather", "0")]
    {
        let mut client = db.as_role("app");
        client.batch_execute(&format!("SET {setting} = {below}")).expect("a lower value");
        assert_eq!(value(&mut client, setting), below);
    }
    for role in ["op", "mon", "nobody", SUPERUSER] {
        let mut client = db.as_role(role);
        for (setting, _, above) in CEILINGS {
            client.batch_execute(&format!("SET {setting} = '{}'", above[0])).expect("no ceiling");
            assert_eq!(value(&mut client, setting), above[0], "{role}");
        }
    }
}

#[test]
fn a_superuser_moves_a_ceiling_and_lifts_it() {
    let db = Db::new("moved");
    let of_database = |value: &str| format!("ALTER DATABASE \"{}\" SET stormops.ceiling_work_mem = '{value}'", db.name);
    for (ceiling, asked, given) in [("128MB", "1GB", "131072"), ("0", "100GB", "104857600")] {
        db.superuser().batch_execute(&of_database(ceiling)).expect("a superuser");
        let mut client = db.as_role("app");
        client.batch_execute(&format!("SET work_mem = '{asked}'")).expect("a value");
        assert_eq!(value(&mut client, "work_mem"), given);
    }
    // In a session that is open: from the end of the transaction that hears of it.
    let mut client = db.as_role("app");
    client.batch_execute("SET maintenance_work_mem = '512MB'").expect("a value below");
    for sql in ["ALTER SYSTEM SET stormops.ceiling_maintenance_work_mem = '256MB'", "SELECT pg_reload_conf()"] {
        db.superuser().batch_execute(sql).expect("a superuser");
    }
    let heard = "SELECT current_setting('stormops.ceiling_maintenance_work_mem')";
    while client.query_one(heard, &[]).expect("a setting").get::<_, &str>(0) != "256MB" {}
    assert_eq!(value(&mut client, "maintenance_work_mem"), "262144");
    for sql in ["ALTER SYSTEM RESET stormops.ceiling_maintenance_work_mem", "SELECT pg_reload_conf()"] {
        db.superuser().batch_execute(sql).expect("a superuser");
    }
}

#[test]
fn a_statement_ends_at_the_ceiling_and_no_plan_is_sent() {
    let db = Db::new("acts");
    let ceiling = format!("ALTER DATABASE \"{}\" SET stormops.ceiling_statement_timeout = '200ms'", db.name);
    db.superuser().batch_execute(&ceiling).expect("a superuser");
    let mut client = db.as_role("app");
    for set in ["SET statement_timeout = 0", "RESET statement_timeout", "BEGIN; SET LOCAL statement_timeout = 0"] {
        client.batch_execute(set).expect("a setting");
        fails_with(client.batch_execute("SELECT pg_sleep(10)"), "57014");
        client.batch_execute("ROLLBACK").expect("a session");
        client.batch_execute(set).expect("a setting");
        fails_with(client.query("SELECT pg_sleep(10)", &[]), "57014");
        client.batch_execute("ROLLBACK").expect("a session");
    }
    let mut psql = cluster().program("psql", "app", &db.name);
    let show = "SET client_min_messages = log; SET debug_print_plan = on; SELECT relname FROM pg_class";
    let shown = psql.args(["-X", "-c", show]).output().expect("psql");
    assert!(!String::from_utf8_lossy(&shown.stderr).contains("plan_rows"), "{shown:?}");
}
