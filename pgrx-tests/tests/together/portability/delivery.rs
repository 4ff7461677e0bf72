//! delivery/: an upgrade that goes through or leaves the database as it was, and a smoke test that leaves nothing.

use std::process::Output;

use stormops_tests::{Db, ROLES, SUPERUSER, cluster, get, said, turn};

use super::life::{Filled, fill};

/// A script of delivery/, on a database, as its superuser.
fn delivery(script: &str, db: &Db, args: &[&str]) -> Output {
    // The smoke test grants use, which changes what all databases share.
    let _turn = turn();
    let mut script = cluster().script(&format!("delivery/{script}"));
    let psql = cluster().program("psql", SUPERUSER, &db.name);
    let environment = psql.get_envs().filter_map(|(name, value)| Some((name, value?)));
    script.envs(environment).args(args).output().expect("a script")
}

/// What fails in a database that is filled as users do.
const ACCEPTED: &[&str] = &["--accept", "no_foreign_definer"];

fn released() -> Filled {
    let db = Db::empty("delivered");
    db.superuser().batch_execute("CREATE EXTENSION stormops VERSION '0.1.0'").expect("a released version");
    for (role, kind) in ROLES {
        db.in_turn(&format!("SELECT stormops.grant_usage('{role}', '{kind}')"));
    }
    fill(db)
}

fn version(db: &Db) -> String {
    get(&mut db.superuser(), "SELECT extversion FROM pg_extension WHERE extname = 'stormops'", &[])
}

/// What a smoke test could leave behind.
fn left(db: &Db) -> String {
    let all =
        "SELECT concat_ws(' ', (SELECT count(*) FROM stormops.tenants), (SELECT count(*) FROM stormops.properties),
            (SELECT count(*) FROM stormops_internal.usage_grants), (SELECT count(*) FROM stormops.tenant_usage),
            (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'stormops_smoke%'))";
    get(&mut db.superuser(), all, &[])
}

#[test]
fn an_upgrade_that_holds_goes_through_and_may_run_again() {
    let Filled { db, .. } = released();
    let before = left(&db);
    // A trigger of the database's own runs as a superuser, at which version 0.1.0 did not look.
    db.superuser()
        .batch_execute(
            "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN NEW; END $$;
             CREATE TRIGGER theirs BEFORE UPDATE ON stormops.properties FOR EACH ROW EXECUTE FUNCTION public.theirs()",
        )
        .expect("a trigger");
    let unseen = delivery("upgrade", &db, &[]);
    assert!(
        unseen.status.code() == Some(1) && said(&unseen).contains("fails: no_foreign_definer"),
        "{}",
        said(&unseen)
    );
    assert_eq!(version(&db), "0.1.0");
    let first = delivery("upgrade", &db, ACCEPTED);
    assert!(first.status.success(), "{}", said(&first));
    let current = env!("CARGO_PKG_VERSION");
    assert_eq!(version(&db), current);
    assert!(said(&first).contains(&format!("done, the database is at {current}")), "{}", said(&first));
    assert_eq!(left(&db), before);
    let again = delivery("upgrade", &db, ACCEPTED);
    assert!(again.status.success() && said(&again).contains("nothing to do"), "{}", said(&again));
}

#[test]
fn an_upgrade_that_does_not_hold_is_taken_back() {
    let Filled { db, .. } = released();
    let mut superuser = db.superuser();
    // A version that is not there; a transaction that stands in the way for longer than one waits.
    let absent = delivery("upgrade", &db, &["--to", "9.9.9"]);
    assert!(absent.status.code() == Some(1) && said(&absent).contains("9.9.9"), "{}", said(&absent));
    superuser.batch_execute("BEGIN; LOCK TABLE stormops.storms IN ACCESS SHARE MODE").expect("a lock");
    let waited = delivery("upgrade", &db, &["--wait", "1"]);
    assert_eq!(waited.status.code(), Some(1));
    assert!(said(&waited).contains("lock timeout"), "{}", said(&waited));
    superuser.batch_execute("ROLLBACK").expect("the end of it");
    assert_eq!(version(&db), "0.1.0");
}

#[test]
fn a_smoke_test_says_what_does_not_work_and_keeps_nothing() {
    let db = Db::new("smoke");
    let before = left(&db);
    let works = delivery("smoke", &db, &[]);
    assert!(works.status.success(), "{}", said(&works));
    assert!(said(&works).contains("a first storm works"), "{}", said(&works));
    assert_eq!(left(&db), before);
    db.superuser()
        .batch_execute("ALTER TABLE stormops.storms ADD CONSTRAINT no_hail CHECK (peril <> 'hail')")
        .expect("a fault");
    let broken = delivery("smoke", &db, &[]);
    assert!(!broken.status.success() && said(&broken).contains("no_hail"), "{}", said(&broken));
    // Rows of others that a new tenant sees.
    let db = Db::new("smoke_open");
    let tenant = stormops_tests::provision(&db, "Open Roofs");
    stormops_tests::tenant::session(&db, tenant)
        .batch_execute("INSERT INTO stormops.storms (event_id, name, peril) VALUES ('E1', 'One', 'hail')")
        .expect("a storm");
    assert!(delivery("smoke", &db, &[]).status.success());
    db.superuser().batch_execute("ALTER TABLE stormops.storms DISABLE ROW LEVEL SECURITY").expect("a fault");
    let open = delivery("smoke", &db, &[]);
    assert!(!open.status.success() && said(&open).contains("sees rows of others"), "{}", said(&open));
    assert_eq!(delivery("smoke", &db, &["--nonsense"]).status.code(), Some(2));
}
