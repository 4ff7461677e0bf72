//! protect(): a table of the database's own people under the same regime, or refused with what must be changed.

mod unfit;

use stormops_tests::protected::{Protected, count, failing, inside, protected};
use stormops_tests::{Db, fails_with, sqlstate};

#[test]
fn a_tenant_works_with_its_own_rows_and_with_no_others() {
    let Protected { db, a, b } = protected("own");
    for tenant in [a, b] {
        let mut session = inside(&db, tenant, None);
        assert_eq!(count(&mut session, "jobs"), 1);
        assert_eq!(count(&mut session, "visits"), 1);
        assert_eq!(session.execute("INSERT INTO jobs (title) VALUES ('new')", &[]).expect("its own row"), 1);
        assert_eq!(session.execute("UPDATE jobs SET price = 1", &[]).expect("its own rows"), 2);
        assert_eq!(session.execute("DELETE FROM jobs WHERE title = 'new'", &[]).expect("its own row"), 1);
        let other = if tenant == a { b } else { a };
        fails_with(session.execute("INSERT INTO jobs (tenant_id, title) VALUES ($1, 'theirs')", &[&other]), "42501");
        assert_eq!(session.execute("UPDATE jobs SET price = 2 WHERE tenant_id = $1", &[&other]).expect("none"), 0);
    }
    // Whole rows, as mappers of objects write them.
    let mut session = inside(&db, a, None);
    let whole = "UPDATE jobs SET tenant_id = tenant_id, job_id = job_id, title = title, price = 3";
    assert_eq!(session.execute(whole, &[]).expect("a whole row"), 1);
    let error = fails_with(session.execute("UPDATE jobs SET price = 4, job_id = gen_random_uuid()", &[]), "42501");
    assert_eq!(error.message(), "column \"job_id\" of table \"jobs\" is given once and does not change");
    // What no policy sees, or a change of the key, is granted to nobody; nor is a partition by its name.
    for refused in [
        "TRUNCATE jobs CASCADE",
        "UPDATE jobs SET tenant_id = gen_random_uuid()",
        "SELECT * FROM visits_2026",
        "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE",
        "DELETE FROM visits",
        "UPDATE visits SET at = at + 1",
    ] {
        fails_with(inside(&db, a, None).batch_execute(refused), "42501");
    }
    fails_with(db.as_role("tapp").query("SELECT * FROM work.jobs", &[]), "0B000");
    fails_with(db.as_role("nobody").query("SELECT title FROM work.jobs", &[]), "42501");
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&a]).expect("a suspension");
    fails_with(inside(&db, a, None).execute("INSERT INTO jobs (title) VALUES ('late')", &[]), "55000");
    assert_eq!(count(&mut inside(&db, a, None), "jobs"), 1);
}

#[test]
fn the_matrix_holds_for_each_role() {
    let Protected { db, a, .. } = protected("roles");
    let statements = [
        "SELECT title FROM jobs",
        "INSERT INTO jobs (title) VALUES ('new')",
        "UPDATE jobs SET price = 3",
        "DELETE FROM jobs WHERE title = 'new'",
        "INSERT INTO visits (job_id) SELECT job_id FROM jobs WHERE title = 'old'",
    ];
    // The number of rows, or the SQLSTATE.
    let due = [
        ("viewer", ["1", "42501", "0", "0", "42501"]),
        ("field_user", ["1", "00000", "0", "0", "42501"]),
        ("crew_chief", ["2", "00000", "3", "0", "42501"]),
        ("admin", ["3", "00000", "4", "3", "00000"]),
    ];
    for (role, answers) in due {
        let mut session = inside(&db, a, Some(role));
        for (statement, answer) in statements.iter().zip(answers) {
            let result = session.execute(*statement, &[]);
            match answer.len() {
                1 => assert_eq!(result.expect("rows").to_string(), answer, "{role}: {statement}"),
                _ => assert_eq!(sqlstate(&result), answer, "{role}: {statement}"),
            }
        }
        let reads = if ["viewer", "field_user"].contains(&role) { 0 } else { 1 + i64::from(role == "admin") };
        assert_eq!(count(&mut session, "visits"), reads, "{role}");
    }
}

#[test]
fn attest_watches_it_from_then_on() {
    let Protected { db, .. } = protected("attested");
    assert_eq!(failing(&db), []);
    let mut superuser = db.superuser();
    let breaks = [
        ("row_security_forced", "ALTER TABLE work.jobs NO FORCE ROW LEVEL SECURITY", "work.jobs"),
        ("row_security_forced", "ALTER TABLE work.visits_2026 DISABLE ROW LEVEL SECURITY", "work.visits_2026"),
        ("no_permissive_policy", "CREATE POLICY open ON work.jobs USING (true)", "work.jobs"),
        ("policies_as_shipped", "DROP POLICY role_insert ON work.visits", "work.visits"),
        ("no_grant_added", "GRANT TRUNCATE ON work.jobs TO tapp", "work.jobs"),
        ("no_grant_missing", "REVOKE DELETE ON work.jobs FROM app", "work.jobs"),
        ("owned_by_owner", "ALTER TABLE work.jobs OWNER TO nobody", "work.jobs"),
        ("keys_lead_with_tenant", "CREATE INDEX ON work.jobs (title)", "jobs_title_idx"),
        ("views_ask_as_caller", "CREATE VIEW work.all_jobs AS SELECT * FROM work.jobs", "work.all_jobs"),
        ("nothing_to_public", "GRANT SELECT ON work.jobs TO PUBLIC", "work.jobs"),
        ("tables_registered", "DROP TABLE work.jobs CASCADE", "is missing"),
    ];
    for (property, sql, evidence) in breaks {
        superuser.batch_execute("BEGIN").expect("a transaction");
        superuser.batch_execute(sql).expect(sql);
        let query = "SELECT property, evidence FROM stormops.attest() WHERE NOT pass AND property <> 'server_minor'";
        let found = superuser.query(query, &[]).expect("attest()");
        superuser.batch_execute("ROLLBACK").expect("a rollback");
        let found: Vec<(String, String)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert!(matches!(&found[..], [(p, e)] if p == property && e.contains(evidence)), "{sql}: {found:#?}");
    }
    // A partition made later is missed until protect() takes it along.
    let later =
        "CREATE TABLE work.visits_2027 PARTITION OF work.visits FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')";
    superuser.batch_execute(later).expect("a partition");
    assert_eq!(
        failing(&db).iter().map(|f| f.0.as_str()).collect::<Vec<_>>(),
        ["row_security_forced", "owned_by_owner"]
    );
    superuser.batch_execute("SELECT stormops.protect('work.visits', '{\"SELECT\": \"viewer\"}')").expect("again");
    assert_eq!(failing(&db), []);
    // A column needs nothing.
    superuser.batch_execute("ALTER TABLE work.jobs ADD COLUMN note text").expect("a column");
    assert_eq!(failing(&db), []);
}

#[test]
fn it_lives_through_dump_and_restore_and_the_end_of_the_extension() {
    let Protected { db, a, b } = protected("lives");
    let counted = |db: &Db| {
        let counted = "SELECT row_count FROM stormops.export_tenant_data($1) WHERE table_name = 'work.jobs'";
        db.as_role("op").query_one(counted, &[&a]).expect("a count").get::<_, i64>(0)
    };
    let works = |db: &Db| {
        for tenant in [a, b] {
            assert_eq!(count(&mut inside(db, tenant, None), "work.jobs"), 1);
            let foreign = "INSERT INTO jobs (tenant_id, title) VALUES (gen_random_uuid(), 'theirs')";
            fails_with(inside(db, tenant, None).execute(foreign, &[]), "42501");
        }
        assert_eq!(counted(db), 1);
        assert_eq!(failing(db), []);
    };
    works(&db);
    let restored = Db::empty("lives_on");
    restored.pg_restore(&db.pg_dump(&["-Fc"]), &["--exit-on-error"]);
    let close = format!("REVOKE TEMPORARY ON DATABASE \"{}\" FROM PUBLIC", restored.name);
    restored.superuser().batch_execute(&close).expect("a closed database");
    works(&restored);
    let mut superuser = db.superuser();
    superuser.batch_execute("DROP EXTENSION stormops CASCADE").expect("a drop");
    assert_eq!(db.as_role("tapp").query("SELECT * FROM work.jobs", &[]).map(|rows| rows.len()).unwrap_or(0), 0);
    superuser.batch_execute("CREATE EXTENSION stormops").expect("the extension again");
    works(&db);
}

#[test]
fn unprotect_shows_nobody_a_row_and_gives_the_table_back() {
    let Protected { db, a, .. } = protected("unprotected");
    let mut superuser = db.superuser();
    superuser
        .batch_execute("SELECT stormops.unprotect('work.visits'); SELECT stormops.unprotect('work.jobs')")
        .expect("unprotect()");
    fails_with(inside(&db, a, None).query("SELECT * FROM jobs", &[]), "42501");
    superuser.batch_execute("GRANT SELECT ON work.jobs TO tapp").expect("a grant");
    assert_eq!(count(&mut inside(&db, a, None), "jobs"), 0);
    let owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'work'::regnamespace AND relkind IN ('r', 'p')";
    assert_eq!(superuser.query_one(owners, &[]).expect("one owner").get::<_, &str>(0), "postgres");
    assert_eq!(failing(&db), []);
    superuser.batch_execute("SELECT stormops.protect('work.jobs')").expect("again");
    assert_eq!(count(&mut inside(&db, a, None), "jobs"), 1);
}
