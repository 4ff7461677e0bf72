//! Who sets the tenant context: a trusted role, in its session. Nobody else, nowhere else, and to nothing but a tenant.

use postgres::{Config, NoTls};
use stormops_tests::twins::Twins;
use stormops_tests::{SUPERUSER, cluster, fails_with, sqlstate};
use uuid::Uuid;

const SETTINGS: [&str; 2] = ["app.current_tenant", "app.current_user_id"];

#[test]
fn a_value_that_is_no_uuid_is_refused() {
    let twins = Twins::new("malformed");
    let id = twins.a.to_string();
    let mut client = twins.db.as_role("tapp");
    for value in [
        "x",
        " ",
        "%",
        "NULL",
        "' OR 1=1 --",
        &id[1..],
        &id.replace('-', ""),
        &id.replace('0', "g"),
        &format!("{{{id}}}"),
        &format!("urn:uuid:{id}"),
        &format!(" {id}"),
        &format!("{id} "),
        &format!("{id}, {id}"),
        &format!("{id}{id}"),
        &format!("{}{}", &id[..35], '\u{ff11}'),
    ] {
        for setting in SETTINGS {
            let set = client.execute("SELECT set_config($1, $2, false)", &[&setting, &value]);
            fails_with(set, "22023");
        }
    }
    fails_with(client.batch_execute("TABLE stormops.storms"), "0B000");
}

#[test]
fn a_tenant_is_itself_in_capitals_too_and_nobody_is_every_tenant() {
    let twins = Twins::new("spelling");
    let capitals = format!("ENTER '{}'; SELECT tenant_id FROM stormops.storms", twins.a.to_string().to_uppercase());
    assert_eq!(twins.run("tapp", &capitals).expect("rows"), [twins.a.to_string()]);
    for nobody in [Uuid::nil(), Uuid::max(), Uuid::from_u128(7)] {
        fails_with(twins.run("tapp", &format!("ENTER '{nobody}'; TABLE stormops.storms")), "55000");
    }
}

/// `app` enters a tenant by a token only. Whatever it tries, it is refused or without effect.
#[test]
fn an_untrusted_role_cannot_set_the_context() {
    let twins = Twins::new("forged");
    for setting in SETTINGS {
        for (script, expected) in [
            ("SET $s = $a", "42501"),
            ("SET LOCAL $s = $a", "42501"),
            ("SET $s = ''", "42501"),
            ("SET $s TO DEFAULT", "42501"),
            ("RESET $s", "42501"),
            ("SELECT set_config('$s', $a, false)", "42501"),
            ("SELECT set_config('$s', $a, true) FROM pg_class", "42501"),
            ("ALTER ROLE app SET $s = $a", "42501"),
            ("ALTER ROLE app IN DATABASE postgres SET $s = $a", "42501"),
            ("ALTER SYSTEM SET $s = $a", "42501"),
            ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET $s = $a AS 'SELECT 1'", "42501"),
            ("DO $$ BEGIN PERFORM set_config('$s', $a, true); END $$", "42501"),
            ("SET ROLE tapp", "42501"),
            ("GRANT tapp TO app", "42501"),
            ("UPDATE pg_settings SET setting = $a WHERE name = '$s'", "00000"), // no row: it is not shown
            ("DISCARD ALL", "00000"),
        ] {
            let script = script.replace("$s", setting);
            assert_eq!(sqlstate(&twins.run("app", &script)), expected, "{script}");
        }
        let kept = format!("UPDATE pg_settings SET setting = $a WHERE name = '{setting}'; TABLE stormops.storms");
        fails_with(twins.run("app", &kept), "0B000");
    }
}

/// A session begins without a tenant, also that of a role which may set one: nobody leaves one behind for the next.
#[test]
fn nobody_can_store_the_context() {
    let twins = Twins::new("stored");
    for guard in ["role", "commands"] {
        twins.db.without_guard(guard); // which refuse the attempt
    }
    for (role, script, expected) in [
        ("tapp", "ALTER ROLE tapp SET $s = $a", "22023"),
        ("tapp", "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET $s = $a AS 'SELECT 1'", "22023"),
        ("tapp", "SET $s = $a; ALTER ROLE tapp SET $s FROM CURRENT", "22023"),
        (
            "tapp",
            "SET $s = $a; CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET $s FROM CURRENT AS ''",
            "22023",
        ),
        (SUPERUSER, "ALTER ROLE tapp SET $s = $a", "22023"),
        (SUPERUSER, "ALTER ROLE ALL SET $s = $a", "22023"),
        (SUPERUSER, "ALTER DATABASE postgres SET $s = $a", "22023"),
        (SUPERUSER, "ALTER SYSTEM SET $s = $a", "55P02"),
    ] {
        for setting in SETTINGS {
            let script = script.replace("$s", setting);
            assert_eq!(sqlstate(&twins.run(role, &script)), expected, "{role}: {script}");
        }
    }
    for (role, setting) in [("app", 0), ("tapp", 0), ("tapp", 1), (SUPERUSER, 0)] {
        let mut config = Config::new();
        config.host(cluster().socket()).port(5432).user(role).dbname(&twins.db.name);
        config.options(&format!("-c {}={}", SETTINGS[setting], twins.a));
        assert!(config.connect(NoTls).is_err(), "{role} began with {}", SETTINGS[setting]);
    }
    fails_with(twins.run("tapp", "TABLE stormops.storms"), "0B000");
}

/// The library's own prefix: no setting can be made up there and later be believed.
#[test]
fn no_other_setting_of_the_library_can_be_invented() {
    let twins = Twins::new("prefix");
    for role in ["app", "tapp", "op", SUPERUSER] {
        fails_with(twins.run(role, "SET stormops.role = 'admin'"), "42602");
    }
    // Names that a reader of the manual may try are settings of nobody.
    for forged in ["app.user_role = 'admin'", "app.current_user_role = 'admin'", "request.jwt.claims = '{}'"] {
        fails_with(twins.run("app", &format!("SET {forged}; TABLE stormops.storms")), "0B000");
    }
}
