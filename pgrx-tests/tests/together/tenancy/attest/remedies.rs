//! What attest() says to do is enough, and what CREATE EXTENSION finds there decides nothing.

use stormops_tests::twins::Twins;
use stormops_tests::{Db, fails_with};

use super::{close, db, failing};

const AGAIN: &str = "SET client_min_messages = warning; DROP EXTENSION stormops CASCADE; CREATE EXTENSION stormops";

#[test]
fn whose_everything_became_gives_it_back() {
    for remedy in ["SELECT stormops.install()", AGAIN] {
        let twins = Twins::new("reassigned");
        close(&twins.db);
        let mut superuser = twins.db.superuser();
        superuser.batch_execute("REASSIGN OWNED BY stormops_owner TO nobody").expect("another owner");
        let found = failing(&mut superuser);
        let named = found.iter().find(|(name, _)| name == "functions_as_shipped").expect("the functions");
        assert!(named.1.contains("is nobody's"), "{}", named.1);
        assert!(found.len() > 20, "nothing passes that was not looked at: {found:#?}");
        superuser.batch_execute(remedy).unwrap_or_else(|e| panic!("{remedy}: {e:?}"));
        assert_eq!(failing(&mut superuser), [], "{remedy}");
    }
}

/// A superuser writes into them then.
#[test]
fn tables_that_became_somebody_elses_come_back_without_what_was_added_to_them() {
    let db = db("planted");
    let mut superuser = db.superuser();
    let planted = "REASSIGN OWNED BY stormops_owner TO nobody;
        CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ALTER ROLE nobody SUPERUSER; RETURN NEW; END';
        CREATE TRIGGER planted BEFORE INSERT ON stormops_internal.usage_grants FOR EACH ROW EXECUTE FUNCTION public.planted()";
    superuser.batch_execute(planted).expect("a trap");
    let error = fails_with(superuser.batch_execute("SELECT stormops.install()"), "55000");
    assert!(
        error.detail().is_some_and(|detail| detail.contains("trigger planted of stormops_internal.usage_grants")),
        "{error:?}"
    );
    let error =
        fails_with(superuser.batch_execute("DROP EXTENSION stormops CASCADE; CREATE EXTENSION stormops"), "55000");
    assert!(error.hint().is_some_and(|hint| hint.starts_with("Drop these")), "{error:?}");
    superuser
        .batch_execute("DROP TRIGGER planted ON stormops_internal.usage_grants; SELECT stormops.install()")
        .expect("tables");
    assert_eq!(failing(&mut superuser), []);
}

/// What stands there when the extension is made is compared with what the statements make on empty ground.
#[test]
fn a_changed_table_is_still_named_after_the_extension_was_made_again_and_after_a_restore() {
    let db = db("kept");
    let mut superuser = db.superuser();
    let sabotage = "ALTER TABLE stormops_internal.usage_grants DROP CONSTRAINT usage_grants_kind_check;
        ALTER TABLE stormops.storms ALTER COLUMN name DROP NOT NULL;
        ALTER SEQUENCE stormops.usage_order CYCLE; CREATE TABLE stormops.extra (note text);
        ALTER TABLE stormops.extra OWNER TO stormops_owner; ALTER TABLE stormops.extra ENABLE ROW LEVEL SECURITY";
    superuser.batch_execute(sabotage).expect("sabotage");
    let before = failing(&mut superuser);
    let names: Vec<_> = before.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["definitions_as_shipped", "tables_registered"]);
    superuser.batch_execute(AGAIN).expect("the extension again");
    assert_eq!(failing(&mut superuser), before, "made again");
    let restored = Db::empty("restored");
    restored.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error"]);
    close(&restored);
    assert_eq!(failing(&mut restored.superuser()), before, "restored");
}

/// The statements were run beside the tables, and undone.
#[test]
fn recording_what_is_shipped_leaves_nothing_and_takes_nothing() {
    let twins = Twins::new("beside");
    close(&twins.db);
    let mut superuser = twins.db.superuser();
    let rows =
        "SELECT count(*)::text || ' ' || md5(string_agg(s::text, ' ' ORDER BY s::text)) FROM stormops.storms AS s";
    let before: String = superuser.query_one(rows, &[]).expect("rows").get(0);
    let shipped =
        "SELECT md5(string_agg(d::text, ' ' ORDER BY d::text)) FROM stormops_internal.shipped_definitions() AS d";
    let recorded: String = superuser.query_one(shipped, &[]).expect("a record").get(0);
    superuser.batch_execute(AGAIN).expect("the extension again");
    assert_eq!(superuser.query_one(rows, &[]).expect("rows").get::<_, String>(0), before);
    assert_eq!(
        superuser.query_one(shipped, &[]).expect("a record").get::<_, String>(0),
        recorded,
        "beside tables and without"
    );
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'stormops%aside'";
    assert_eq!(superuser.query_one(left, &[]).expect("a count").get::<_, i64>(0), 0);
    assert_eq!(failing(&mut superuser), []);
}
