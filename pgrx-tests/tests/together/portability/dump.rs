//! What pg_dump writes and pg_restore reads back is the same database, and no way of removing the extension loses a row
//! or opens one.

use stormops_tests::{Db, SUPERUSER, fails_with};

use super::life::{Filled, catalogue, filled, inside, lines, rows, same, works};

#[test]
fn a_dump_restores_to_the_same_database() {
    let Filled { db, tenants } = filled();
    let (rows_before, catalogue_before) = (rows(&db), catalogue(&db));
    for format in ["custom", "plain"] {
        let target = Db::empty(format);
        match format {
            "custom" => target.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error", "--single-transaction"]),
            _ => drop(target.psql(SUPERUSER, &String::from_utf8(db.pg_dump(&[])).expect("UTF-8 from pg_dump"))),
        }
        same(&rows_before, &rows(&target), format);
        same(&catalogue_before, &catalogue(&target), format);
        works(&target, tenants);
    }
    same(&rows_before, &rows(&db), "a dump changes nothing");
}

#[test]
fn dropping_the_extension_loses_no_row_and_opens_none_and_it_comes_back() {
    let Filled { db, tenants } = filled();
    let (rows_before, catalogue_before) = (rows(&db), catalogue(&db));
    let mut superuser = db.superuser();
    let decisions = |from: &str| format!("SELECT l::text FROM stormops.{from} AS l ORDER BY 1");
    let decided = lines(&mut superuser, &decisions("policy_decisions_log"));
    assert!(!decided.is_empty());
    fails_with(superuser.batch_execute("DROP EXTENSION stormops"), "2BP01");
    superuser.batch_execute("DROP EXTENSION stormops CASCADE").expect("a drop");
    same(&rows_before, &rows(&db), "without the extension");
    // A decision is a decision still.
    same(&decided, &lines(&mut superuser, &decisions("policy_decisions_plain")), "in plain SQL");
    let tables = "SELECT oid::regclass::text FROM pg_class
        WHERE relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND relkind IN ('r', 'p', 'v')";
    let tables = lines(&mut superuser, tables);
    for role in ["tapp", "app", "op", "mon", "nobody"] {
        let mut session = db.as_role(role);
        for table in &tables {
            // Refused or empty, and not to be written, whether or not the setting of the tenant still exists.
            session.batch_execute(&format!("SET app.current_tenant = '{}'", tenants[0])).ok();
            let seen = session.query(&format!("SELECT * FROM {table}"), &[]).unwrap_or_default();
            assert_eq!(seen.len(), 0, "{role} reads {table}");
            assert!(
                session.execute(&format!("INSERT INTO {table} DEFAULT VALUES"), &[]).is_err(),
                "{role} writes {table}"
            );
        }
    }
    superuser.batch_execute("CREATE EXTENSION stormops").expect("the extension again");
    same(&rows_before, &rows(&db), "with it again");
    same(&catalogue_before, &catalogue(&db), "with it again");
    // The script that ran with the grants in place does not take them for its own, which a dump would leave out.
    let target = Db::empty("again");
    target.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error"]);
    same(&catalogue_before, &catalogue(&target), "a dump of that");
    works(&db, tenants);
}

#[test]
fn a_policy_that_users_added_opens_nothing_once_the_extension_is_gone() {
    let Filled { db, tenants } = filled();
    let mut superuser = db.superuser();
    // Harmless beside the extension's own restrictive policies.
    superuser
        .batch_execute("CREATE POLICY hail ON stormops.storms FOR SELECT USING (peril = 'hail')")
        .expect("a policy");
    let theirs = "SELECT * FROM stormops.storms WHERE tenant_id <> $1";
    assert_eq!(inside(&db, tenants[0]).query(theirs, &[&tenants[0]]).expect("none").len(), 0);
    superuser.batch_execute("DROP EXTENSION stormops CASCADE").expect("a drop");
    let seen = db.as_role("tapp").query("SELECT * FROM stormops.storms", &[]).unwrap_or_default();
    assert_eq!(seen.len(), 0, "tapp reads storms of several tenants");
}

#[test]
fn installing_again_changes_nothing() {
    let Filled { db, tenants } = filled();
    let (rows_before, catalogue_before) = (rows(&db), catalogue(&db));
    for _ in 0..2 {
        db.superuser().execute("SELECT stormops.install()", &[]).expect("install()");
        same(&rows_before, &rows(&db), "rows");
        same(&catalogue_before, &catalogue(&db), "catalogue");
    }
    works(&db, tenants);
    for role in ["tapp", "op", "stormops_owner"] {
        let mut session = db.superuser();
        session.batch_execute(&format!("SET ROLE {role}")).expect("a role");
        fails_with(session.execute("SELECT stormops.install()", &[]), "42501");
    }
}
