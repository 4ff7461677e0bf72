//! Tables that are not fit.

use super::*;

#[test]
fn what_is_not_fit_is_refused_and_named_and_nothing_is_changed() {
    let db = Db::new("unfit");
    let mut superuser = db.superuser();
    let tables: [(&str, &str); 14] = [
        ("CREATE TABLE t (id uuid PRIMARY KEY)", "column tenant_id is not there as uuid NOT NULL"),
        ("CREATE TABLE t (tenant_id uuid, id uuid UNIQUE)", "column tenant_id is not there as uuid NOT NULL"),
        ("CREATE TABLE t (tenant_id text NOT NULL PRIMARY KEY)", "column tenant_id is not there as uuid NOT NULL"),
        ("CREATE TABLE t (tenant_id uuid NOT NULL)", "the table has no primary key"),
        (
            "CREATE TABLE t (tenant_id uuid NOT NULL, id uuid PRIMARY KEY)",
            "index public.t_pkey does not begin with tenant_id",
        ),
        (
            "CREATE TABLE t (tenant_id uuid, id uuid, name text UNIQUE, PRIMARY KEY (tenant_id, id))",
            "index public.t_name_key does not begin with tenant_id",
        ),
        (
            "CREATE TABLE t (tenant_id uuid, id uuid, name text, PRIMARY KEY (tenant_id, id)); CREATE INDEX slow ON t (name)",
            "index public.slow does not begin with tenant_id",
        ),
        (
            "CREATE TABLE t (tenant_id uuid, id uuid PRIMARY KEY, storm uuid); CREATE TABLE c (tenant_id uuid NOT NULL, id uuid REFERENCES t)",
            "foreign key c_id_fkey of public.c does not lead from tenant_id to tenant_id",
        ),
        (
            "CREATE TABLE t (tenant_id uuid, id uuid, storm_id uuid, PRIMARY KEY (tenant_id, id),
                 FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms ON DELETE CASCADE)",
            "changes rows that refer to a row",
        ),
        (
            "CREATE TABLE t (tenant_id uuid, id bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (tenant_id, id))",
            "column id takes its values from a sequence",
        ),
        (
            "CREATE TABLE t (tenant_id uuid, id bigserial, PRIMARY KEY (tenant_id, id))",
            "column id takes its values from a sequence",
        ),
        (
            "CREATE TABLE t (tenant_id uuid PRIMARY KEY); CREATE POLICY all_rows ON t USING (true)",
            "policy all_rows is permissive",
        ),
        ("CREATE TABLE t (tenant_id uuid PRIMARY KEY); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", "rule r"),
        ("CREATE VIEW t AS SELECT NULL::uuid AS tenant_id", ""),
    ];
    for (sql, fault) in tables {
        superuser.batch_execute("BEGIN").expect("a transaction");
        superuser.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        superuser.batch_execute("SAVEPOINT before").expect("a savepoint");
        let refused = superuser.execute("SELECT stormops.protect('t')", &[]);
        if fault.is_empty() {
            assert!(["42809", "55000"].contains(&sqlstate(&refused)), "{sql}: {refused:?}");
        } else {
            let refused = fails_with(refused, "55000");
            assert!(
                refused.hint().is_some_and(|hint| hint.contains(fault)),
                "{sql}\n  {:?} lacks {fault}",
                refused.hint()
            );
        }
        superuser.batch_execute("ROLLBACK TO before").expect("a savepoint");
        let kept = "SELECT count(*) FROM stormops_internal.protected_tables";
        assert_eq!(superuser.query_one(kept, &[]).expect("a count").get::<_, i64>(0), 0);
        superuser.batch_execute("ROLLBACK").expect("a rollback");
    }
    superuser.batch_execute("CREATE TABLE t (tenant_id uuid PRIMARY KEY)").expect("a fit table");
    for roles in ["[]", "{\"TRUNCATE\": \"admin\"}", "{\"SELECT\": \"owner\"}", "{\"SELECT\": 1}"] {
        fails_with(superuser.execute(&format!("SELECT stormops.protect('t', '{roles}')"), &[]), "22023");
    }
    fails_with(superuser.execute("SELECT stormops.protect(NULL)", &[]), "22004");
    fails_with(superuser.execute("SELECT stormops.protect('stormops.storms')", &[]), "55000");
    fails_with(superuser.execute("SELECT stormops.unprotect('t')", &[]), "42704");
    // A row of no tenant.
    superuser.batch_execute("INSERT INTO t VALUES (gen_random_uuid())").expect("a row");
    fails_with(superuser.execute("SELECT stormops.protect('t')", &[]), "23503");
    for role in ["tapp", "op", "mon", "nobody"] {
        fails_with(db.as_role(role).execute("SELECT stormops.protect('t')", &[]), "42501");
    }
}
