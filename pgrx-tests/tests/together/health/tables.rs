//! check_table_health(): what it finds in a table, and for whom.

use postgres::{Client, Row};
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, fails_with, get};

fn health(session: &mut Client, table: &str) -> Row {
    session
        .query_one("SELECT * FROM stormops.check_table_health($1)", &[&table])
        .unwrap_or_else(|e| panic!("{table}: {e:?}"))
}

#[test]
fn an_empty_table_says_so_and_one_row_is_enough_for_an_answer() {
    let db = Db::new("empty");
    let mut session = tenant(&db, "Abc").1;
    let tables = "SELECT table_name FROM stormops.counted_tables() WHERE table_name <> 'users'";
    for table in session.query(tables, &[]).expect("the list").iter().map(|row| row.get::<_, String>(0)) {
        let row = health(&mut session, &table);
        assert_eq!(row.get::<_, &str>("status"), "empty", "{table}");
        assert_eq!(
            [row.get::<_, i64>("total_rows"), row.get("recent_rows_24h"), row.get("judged_rows")],
            [0; 3],
            "{table}"
        );
        assert!(!row.get::<_, bool>("volume_drop") && row.get::<_, Option<serde_json::Value>>("null_rates").is_none());
        assert_eq!(row.get::<_, serde_json::Value>("schema_drift"), serde_json::json!([]), "{table} is as shipped");
    }
    session.batch_execute("INSERT INTO storms (event_id, name) VALUES ('1', 'Hail')").expect("a storm");
    let row = health(&mut session, "storms");
    assert_eq!((row.get("status"), row.get::<_, i64>("total_rows"), row.get::<_, i64>("judged_rows")), ("ok", 1, 1));
    assert_eq!(row.get::<_, serde_json::Value>("null_rates")["hail_size_in"], serde_json::json!(1.0));
}

#[test]
fn seeded_faults_are_found_and_counted() {
    let db = Db::new("faults");
    let (_, mut session) = tenant(&db, "Abc");
    scored_storm(&mut session, "hail", 100);
    let rows = "UPDATE properties SET address = external_id;
        UPDATE properties SET address = NULL WHERE external_id::int <= 25;
        INSERT INTO properties (address) VALUES ('100'), ('100'), ('99');
        INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift, scored_at)
            SELECT storm_id, property_id, 'v1', uplift, now() + interval '1 day' FROM lead_uplift LIMIT 3";
    session.batch_execute(rows).expect("rows");
    let row = health(&mut session, "properties");
    let rates: serde_json::Value = row.get("null_rates");
    assert_eq!(rates["address"], serde_json::json!(0.242718), "25 of 103");
    assert!(rates.get("property_id").is_none(), "which may not be NULL");
    assert_eq!((row.get("status"), row.get::<_, i64>("duplicate_rows")), ("warning", 3));
    let row = health(&mut session, "lead_uplift");
    assert_eq!((row.get("status"), row.get::<_, i64>("out_of_range_rows")), ("critical", 3), "from the future");

    // What no constraint would let in, put there past them.
    let mut superuser = db.superuser();
    let past = "SET session_replication_role = replica;
        INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift)
            SELECT tenant_id, storm_id, stormops.new_id(), 'v1', 0.1 FROM stormops.storms;
        ALTER TABLE stormops.lead_uplift DROP CONSTRAINT lead_uplift_uplift_check;
        UPDATE stormops.lead_uplift SET uplift = 3 WHERE uplift > 0.19;
        ALTER TABLE stormops.lead_uplift ADD CONSTRAINT lead_uplift_uplift_check CHECK (uplift BETWEEN -1 AND 1) NOT VALID;
        RESET session_replication_role";
    superuser.batch_execute(past).expect("a superuser");
    let bad: i64 =
        get(&mut superuser, "SELECT count(*) FROM stormops.lead_uplift WHERE uplift = 3 OR scored_at > now()", &[]);
    let row = health(&mut session, "lead_uplift");
    assert_eq!((row.get::<_, i64>("orphan_rows"), row.get::<_, i64>("out_of_range_rows")), (1, bad));
    assert!(bad > 3);

    let drift = "ALTER TABLE stormops.storms ADD COLUMN ours text; ALTER TABLE stormops.storms DROP COLUMN peril;
        ALTER TABLE stormops.storms ALTER COLUMN name DROP NOT NULL; ALTER TABLE stormops.storms ALTER COLUMN west TYPE numeric";
    superuser.batch_execute(drift).expect("another schema");
    let row = health(&mut session, "storms");
    let found = [
        ("name", "may be NULL"),
        ("ours", "added"),
        ("peril", "missing"),
        ("west", "numeric instead of double precision"),
    ];
    let found = found.map(|(column, change)| serde_json::json!({"column": column, "change": change}));
    assert_eq!(row.get::<_, serde_json::Value>("schema_drift"), serde_json::json!(found));
    assert_eq!(row.get::<_, &str>("status"), "critical");
}

#[test]
fn volume_drops_by_the_fixed_rule_and_only_recent_rows_are_judged() {
    let db = Db::new("volume");
    let (abc, mut session) = tenant(&db, "Abc");
    let mut operator = db.as_role("op");
    for (recent, old, dropped) in [(10, 90, false), (9, 91, true)] {
        let rows = "DELETE FROM lead_uplift; DELETE FROM storms; INSERT INTO storms (event_id, name) SELECT 'E' || i, 'Storm ' || i
            FROM generate_series(1, 100) AS i";
        session.batch_execute(rows).expect("rows");
        operator.execute("SELECT stormops.fold_row_counts()", &[]).expect("a fold");
        // Of the hundred, the old came the day before yesterday.
        let age = "DELETE FROM stormops.row_counts WHERE table_name = 'storms'";
        db.superuser().batch_execute(age).expect("no counts");
        let age = "INSERT INTO stormops.row_counts (tenant_id, table_name, bucket, inserted, deleted, last_at)
            VALUES ($1, 'storms', date_trunc('hour', now()), $2, 0, now()), ($1, 'storms', date_trunc('hour', now()) - interval '40 hours', $3, 0, now())";
        db.superuser().execute(age, &[&abc, &i64::from(recent), &i64::from(old)]).expect("two buckets");
        let row = health(&mut session, "storms");
        assert_eq!((row.get::<_, i64>("total_rows"), row.get::<_, i64>("recent_rows_24h")), (100, i64::from(recent)));
        assert_eq!(row.get::<_, bool>("volume_drop"), dropped, "{recent} of 100");
    }
    let judged = "SELECT judged_rows FROM stormops.check_table_health('storms', $1::text::interval)";
    session
        .batch_execute(
            "INSERT INTO storms (event_id, name, created_at) VALUES ('old', 'old', now() - interval '3 days')",
        )
        .expect("a row");
    assert_eq!(["1 day", "4 days"].map(|back| get::<i64>(&mut session, judged, &[&back])), [100, 101]);
    for (bad, code) in [(Some("0"), "22023"), (Some("-1 day"), "22023"), (Some("11 years"), "22023")] {
        fails_with(session.query(judged, &[&bad]), code);
    }
}

#[test]
fn only_watched_tables_and_each_only_its_own() {
    let db = Db::new("closed");
    let mut session = tenant(&db, "Abc").1;
    scored_storm(&mut tenant(&db, "Other").1, "theirs", 10);
    assert_eq!(health(&mut session, "properties").get::<_, i64>("total_rows"), 0);
    for (bad, code) in [
        (Some("pg_authid"), "42704"),
        (Some("tenants"), "42704"),
        (Some("storms; DROP TABLE storms"), "42704"),
        (Some("stormops.storms"), "42704"),
        (Some(""), "42704"),
        (None, "22004"),
    ] {
        let error = fails_with(session.query("SELECT * FROM stormops.check_table_health($1)", &[&bad]), code);
        assert!(error.hint().is_some_and(|hint| hint.contains("lead_uplift")), "{error:?}");
    }
    for role in ["op", "mon"] {
        let row = health(&mut db.as_role(role), "properties");
        assert_eq!(
            (row.get::<_, i64>("total_rows"), row.get::<_, Option<i64>>("judged_rows")),
            (10, None),
            "{role} looks at no row"
        );
        assert!(row.get::<_, i64>("size_bytes") > 0);
    }
    assert!(health(&mut session, "properties").get::<_, Option<i64>>("size_bytes").is_none(), "not a tenant's to see");
    for (role, code) in [("tapp", "0B000"), ("app", "0B000"), ("nobody", "42501")] {
        fails_with(db.as_role(role).query("SELECT * FROM stormops.check_table_health('storms')", &[]), code);
    }
}

#[test]
fn what_does_not_show_is_missing_and_makes_no_difference() {
    let db = Db::new("blanks");
    let (_, mut session) = tenant(&db, "Abc");
    let rows = "INSERT INTO properties (external_id, address) VALUES ('1001', '1 Elm'), (' 1001', ' '), (U&'\\FEFF1001', U&'\\00A01 Elm'),
            ('1002', '2 Elm'), ('elm', 'x'), ('Elm', NULL);
        SELECT stormops.expect('properties', 'not_null', '{address}', name => 'address');
        SELECT stormops.expect('properties', 'not_null', '{longitude}', name => 'place');
        SELECT stormops.expect('properties', 'unique', '{external_id}', name => 'ids');
        SELECT stormops.run_health_checks()";
    session.batch_execute(rows).expect("rows");
    let row = health(&mut session, "properties");
    assert_eq!(row.get::<_, serde_json::Value>("blank_values"), serde_json::json!({"address": 1}));
    assert_eq!(row.get::<_, serde_json::Value>("null_rates")["address"], serde_json::json!(0.333333));
    assert_eq!(row.get::<_, i64>("duplicate_rows"), 1, "1 Elm");
    let told = "SELECT string_agg(concat_ws(' ', metric_name, rows_failing, details ->> 'rows_failing_by_blanks'), '; ' ORDER BY metric_name)
        FROM data_quality_metrics";
    assert_eq!(get::<String>(&mut session, told, &[]), "address 2 1; ids 2 2; place 6");
}
