//! attest() sees each property of a safe installation broken, names what broke it, and calls nothing else broken.

mod breaks;
mod catalogues;
mod remedies;
mod sabotage;
mod settings;

use breaks::BREAKS;
use postgres::Client;
use stormops_tests::twins::Twins;
use stormops_tests::{Db, ROLES, fails_with, turn};

/// What fails, whatever a test does: the server may be older than its repairs.
const FAILING: &str =
    "SELECT property, evidence, remedy FROM stormops.attest() WHERE NOT pass AND property <> 'server_minor'";

fn db(name: &str) -> Db {
    let db = Db::new(name);
    close(&db);
    db
}

/// What an installation must do itself: by default everybody may make temporary tables in a database.
fn close(db: &Db) {
    let revoke = format!("REVOKE TEMPORARY ON DATABASE \"{}\" FROM PUBLIC", db.name);
    db.superuser().batch_execute(&revoke).expect("no temporary tables");
}

/// The properties that fail, each with its evidence.
#[track_caller]
fn failing(session: &mut Client) -> Vec<(String, String)> {
    let rows = session.query(FAILING, &[]).unwrap_or_else(|e| panic!("attest(): {e:?}"));
    rows.iter().for_each(|row| assert!(row.get::<_, Option<&str>>(2).is_some(), "a failure without a remedy"));
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn each_property_fails_when_it_is_broken_and_no_other() {
    let db = db("breaks");
    let mut superuser = db.superuser();
    assert_eq!(failing(&mut superuser), [], "before anything is broken");
    for (property, sql, evidence) in BREAKS {
        let _turn = sql.contains("PARAMETER").then(turn);
        superuser.batch_execute("BEGIN").expect("a transaction");
        superuser.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let failing = failing(&mut superuser);
        superuser.batch_execute("ROLLBACK").expect("a rollback");
        assert!(matches!(&failing[..], [(name, _)] if name == property), "{sql}\n  {property} was due: {failing:#?}");
        assert!(failing[0].1.contains(evidence), "{sql}\n  {} lacks {evidence}", failing[0].1);
    }
    assert_eq!(failing(&mut superuser), [], "after it was all rolled back");
    // Every property but those that only the server itself can break.
    let properties = superuser.query("SELECT property FROM stormops.attest()", &[]).expect("properties");
    let mut rest: Vec<String> = properties.iter().map(|row| row.get(0)).collect();
    rest.retain(|property| BREAKS.iter().all(|broken| broken.0 != property));
    rest.retain(|property| sabotage::all().all(|broken| broken.0.split(' ').all(|name| name != property)));
    assert_eq!(rest, ["server_minor", "library_preloaded"]);
}

/// Each in a transaction that is rolled back; before that it is undone in the way that the row says, and then nothing is left.
#[test]
fn each_sabotage_is_named_and_what_undoes_it_leaves_nothing() {
    let db = db("sabotages");
    let mut superuser = db.superuser();
    assert!(sabotage::all().count() >= 60);
    let mut wrong = Vec::new();
    for (properties, sql, evidence, undone) in sabotage::all() {
        let _turn = (sql.contains("PARAMETER") || sql.contains("ROLE")).then(turn);
        superuser.batch_execute("BEGIN").expect("a transaction");
        if let Err(error) = superuser.batch_execute(sql) {
            superuser.batch_execute("ROLLBACK").expect("a rollback");
            wrong.push(format!("{sql}\n  {error:?}"));
            continue;
        }
        let found = failing(&mut superuser);
        if let Err(error) = superuser.batch_execute(undone) {
            superuser.batch_execute("ROLLBACK").expect("a rollback");
            wrong.push(format!("{undone}\n  {error:?}"));
            continue;
        }
        let left = failing(&mut superuser);
        superuser.batch_execute("ROLLBACK").expect("a rollback");
        let mut named: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let mut due: Vec<&str> = properties.split(' ').collect();
        let first = found.iter().find(|(name, _)| name == due[0]);
        let says = first.is_some_and(|(_, says)| says.contains(evidence));
        named.sort_unstable();
        due.sort_unstable();
        if named != due || !says || !left.is_empty() {
            wrong.push(format!("{sql}\n  {properties}: {evidence}\n  was {found:#?}\n  undone {left:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(failing(&mut superuser), [], "after it was all rolled back");
}

/// Outside a transaction, since it concerns the database itself.
#[test]
fn rights_to_make_temporary_tables_are_found() {
    let db = Db::new("temporary");
    let mut superuser = db.superuser();
    assert_eq!(failing(&mut superuser), [], "the library refuses them");
    superuser.batch_execute("SET stormops.guard_temporary_tables = off").expect("a superuser's setting");
    let found = failing(&mut superuser);
    assert!(
        matches!(&found[..], [(name, evidence)] if name == "no_temporary_tables" && evidence.contains("tapp")),
        "{found:#?}"
    );
    close(&db);
    assert_eq!(failing(&mut superuser), []);
}

#[test]
fn operators_and_monitors_ask_and_nobody_else() {
    let db = db("askers");
    for (role, kind) in ROLES {
        let mut session = db.as_role(role);
        if ["operator", "monitor"].contains(&kind) {
            assert_eq!(failing(&mut session), [], "{role}");
            let summary = "SELECT passed, failed, ok, worst, failing FROM stormops.attest_summary()";
            let row = session.query_one(summary, &[]).expect("a summary");
            let minor: bool = session
                .query_one("SELECT pass FROM stormops.attest() WHERE property = 'server_minor'", &[])
                .expect("a row")
                .get(0);
            assert_eq!((row.get::<_, i64>(0) + row.get::<_, i64>(1), row.get::<_, bool>(2)), (31, minor));
            assert_eq!(row.get::<_, Option<&str>>(3), (!minor).then_some("high"));
        } else {
            fails_with(session.query("SELECT * FROM stormops.attest()", &[]), "42501");
        }
    }
}

/// What the database's own people may add without opening anything.
#[test]
fn harmless_additions_pass() {
    let db = db("harmless");
    let additions = "
        CREATE POLICY no_wind ON stormops.storms AS RESTRICTIVE FOR SELECT USING (peril <> 'wind');
        CREATE INDEX storms_by_name ON stormops.storms (tenant_id, name);
        ALTER TABLE stormops.storms ADD COLUMN note text;
        CREATE VIEW public.hail WITH (security_invoker) AS SELECT * FROM stormops.storms WHERE peril = 'hail';
        CREATE PUBLICATION one FOR TABLE stormops.storms
            WHERE (tenant_id = '01000000-0000-7000-8000-000000000001');
        CREATE TABLE public.perils (peril text PRIMARY KEY);
        SELECT stormops.maintain_partitions(6)";
    db.superuser().batch_execute(additions).expect("additions");
    assert_eq!(failing(&mut db.superuser()), []);
}

#[test]
fn what_attest_says_survives_use_dump_restore_and_a_new_installation() {
    let twins = Twins::new("lives");
    close(&twins.db);
    let mut superuser = twins.db.superuser();
    assert_eq!(failing(&mut superuser), [], "with rows");
    superuser.batch_execute("SELECT stormops.install()").expect("install()");
    assert_eq!(failing(&mut superuser), [], "installed again");
    let restored = Db::empty("restored");
    restored.pg_restore(&twins.db.pg_dump(&["-Fc"]), &["--exit-on-error"]);
    close(&restored);
    assert_eq!(failing(&mut restored.superuser()), [], "restored");
    superuser.batch_execute("ALTER POLICY tenant ON stormops.storms USING (true)").expect("a hole");
    superuser.batch_execute("DROP EXTENSION stormops CASCADE; CREATE EXTENSION stormops").expect("the extension again");
    assert_eq!(failing(&mut superuser), [], "the extension dropped and made again");
    superuser.batch_execute("ALTER POLICY tenant ON stormops.storms USING (true)").expect("a hole");
    let holed = Db::empty("holed");
    holed.pg_restore(&twins.db.pg_dump(&["-Fc"]), &["--exit-on-error"]);
    close(&holed);
    let found = failing(&mut holed.superuser());
    assert!(
        matches!(&found[..], [(name, _)] if name == "policies_as_shipped"),
        "a hole is restored and found: {found:#?}"
    );
}

/// The versions that attacks are known against, and those that repaired them.
#[test]
fn known_faults_of_the_server_are_listed_for_each_version() {
    let db = db("minors");
    let least = "SELECT string_agg(major || '.' || fixed_in, ' ' ORDER BY major) FROM (
        SELECT major, max(fixed_in) AS fixed_in FROM stormops_internal.known_bypasses() GROUP BY major) AS m";
    let row = db.superuser().query_one(least, &[]).expect("minors");
    assert_eq!(row.get::<_, &str>(0), "15.20 16.16 17.12 18.7");
    let number =
        "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version_num')::int % 10000";
    let row = db.superuser().query_one(number, &[]).expect("a version");
    let (major, minor): (i32, i32) = (row.get(0), row.get(1));
    let repaired = minor >= [20, 16, 12, 7][(major - 15) as usize];
    let pass = "SELECT pass FROM stormops.attest() WHERE property = 'server_minor'";
    assert_eq!(db.superuser().query_one(pass, &[]).expect("a row").get::<_, bool>(0), repaired, "{major}.{minor}");
}
