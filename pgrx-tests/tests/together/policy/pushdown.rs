//! A condition on the property reaches the blocks, whoever names the view; and no statement returns another row for it.

use std::sync::{Arc, Mutex};

use postgres::{Client, Config, NoTls};
use stormops_tests::blocks::in_small_blocks;
use stormops_tests::tenant::{enter, scored_storm, tenant};
use stormops_tests::{Db, cluster, get};
use uuid::Uuid;

const X: &str = "md5('property 7')::uuid";

/// These look for one property. VIEW stands for the view, @x for a literal.
const NARROWED: &[&str] = &[
    "SELECT * FROM VIEW WHERE property_id = @x",
    "SELECT * FROM VIEW WHERE @x = property_id AND decision <> 'exclude'",
    "SELECT * FROM VIEW WHERE property_id = md5('property 7')::uuid",
    "SELECT * FROM VIEW AS d WHERE d.score < 1 AND (d.value < 1e9 AND d.property_id = @x)",
    "SELECT * FROM (SELECT property_id AS p, decision FROM VIEW) AS d WHERE d.p = @x",
    "SELECT * FROM (SELECT * FROM VIEW UNION ALL SELECT * FROM VIEW) AS d WHERE property_id = @x",
    "SELECT decision FROM VIEW JOIN stormops.properties USING (tenant_id, property_id) WHERE property_id = @x",
    "SELECT d.decision FROM stormops.properties AS p JOIN VIEW AS d ON d.property_id = p.property_id WHERE p.property_id = @x",
    "SELECT d.decision FROM stormops.properties AS p LEFT JOIN VIEW AS d ON d.tenant_id = p.tenant_id AND d.property_id = p.property_id WHERE p.property_id = @x",
    "SELECT d.decision FROM stormops.properties AS p LEFT JOIN VIEW AS d ON d.tenant_id = p.tenant_id AND d.property_id = p.property_id AND d.property_id = @x",
    "SELECT d.decision FROM VIEW AS d RIGHT JOIN stormops.properties AS p ON d.property_id = p.property_id AND p.property_id = @x",
    "SELECT p.external_id FROM stormops.properties AS p WHERE EXISTS (SELECT FROM VIEW AS d WHERE d.property_id = @x AND d.tenant_id = p.tenant_id)",
    "SELECT (SELECT count(*) FROM VIEW WHERE property_id = @x)",
    "SELECT * FROM (SELECT DISTINCT ON (property_id) * FROM VIEW ORDER BY property_id, run_id, tenant_id) AS d WHERE property_id = @x",
    "SELECT * FROM (SELECT property_id, count(*) AS n, min(score) FROM VIEW GROUP BY property_id) AS d WHERE property_id = @x",
    "SELECT d.decision, f.x FROM VIEW AS d FULL JOIN (SELECT @x AS x) AS f ON f.x = d.property_id WHERE d.property_id = @x",
    "SELECT * FROM VIEW WHERE property_id = ANY (ARRAY[@x, md5('property 8')::uuid])",
    "SELECT * FROM VIEW WHERE property_id IN (@x, md5('property 8')::uuid) AND decision <> 'exclude'",
    "SELECT * FROM VIEW WHERE property_id = ANY (ARRAY[@x, NULL])",
    "WITH moved AS (SELECT count(*) AS n FROM VIEW WHERE property_id = @x) SELECT n FROM moved",
];

/// Rows of other properties matter to these.
const WIDE: &[&str] = &[
    "SELECT count(*) FROM VIEW",
    "SELECT * FROM VIEW WHERE property_id <> @x",
    "SELECT * FROM VIEW WHERE property_id = @x OR score > 0.1",
    "SELECT * FROM VIEW WHERE NOT property_id = @x",
    "SELECT * FROM VIEW WHERE property_id <> ALL (ARRAY[@x, md5('property 8')::uuid])",
    "SELECT * FROM (SELECT * FROM VIEW ORDER BY property_id, run_id, tenant_id LIMIT 719) AS d WHERE property_id = @x",
    "SELECT * FROM (SELECT property_id, run_id, tenant_id, row_number() OVER (ORDER BY property_id, run_id, tenant_id) AS n FROM VIEW) AS d WHERE property_id = @x",
    "SELECT * FROM (SELECT DISTINCT ON (decision) decision, property_id FROM VIEW ORDER BY decision, property_id, run_id) AS d WHERE property_id = @x",
    "SELECT d.property_id, d.run_id, p.property_id FROM VIEW AS d LEFT JOIN stormops.properties AS p ON p.tenant_id = d.tenant_id AND p.property_id = d.property_id AND d.property_id = @x",
    "SELECT d.property_id, p.property_id FROM VIEW AS d FULL JOIN stormops.properties AS p ON p.property_id = d.property_id AND p.tenant_id = d.tenant_id AND d.run_id = p.tenant_id",
    "SELECT d.property_id, d.run_id FROM VIEW AS d LEFT JOIN (SELECT @x AS x) AS f ON f.x = d.property_id AND d.property_id = @x",
    "SELECT * FROM VIEW EXCEPT ALL SELECT * FROM VIEW WHERE property_id = @x",
    "SELECT property_id FROM VIEW GROUP BY ROLLUP (property_id)",
];

/// Two tenants with the same properties, in small blocks, some runs superseded.
fn decided(name: &str) -> (Db, [Uuid; 2]) {
    let db = Db::new(name);
    let tenants = ["Abc", "Best"].map(|org| {
        let (tenant, mut session) = tenant(&db, org);
        let hail = scored_storm(&mut session, "hail", 180);
        for mode in ["moderate", "aggressive"] {
            session.execute("SELECT stormops.apply_policy($1, $2, true)", &[&hail, &mode]).expect("a run");
        }
        tenant
    });
    in_small_blocks(&db);
    (db, tenants)
}

fn answers(session: &mut Client, query: &str) -> Vec<String> {
    let rows = session
        .query(&format!("SELECT q::text FROM ({query}) AS q ORDER BY 1"), &[])
        .unwrap_or_else(|e| panic!("{query}: {e:?}"));
    rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
}

fn plan(session: &mut Client, query: &str) -> String {
    let lines = session.query(&format!("EXPLAIN (COSTS OFF, VERBOSE) {query}"), &[]).expect("a plan");
    lines.iter().map(|line| line.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

/// How many scans of blocks there are, and how many of them rule blocks out.
fn scans(plan: &str) -> [usize; 2] {
    let ruled_out = ["first_property <= ", "block_may_have("].map(|sign| plan.matches(sign).count());
    [plan.matches("unpack_decisions(").count(), ruled_out.iter().sum()]
}

#[test]
fn a_condition_on_the_property_reaches_the_blocks_and_changes_no_answer() {
    let (db, _) = decided("narrowed");
    let mut superuser = db.superuser();
    let literal: Uuid = get(&mut superuser, &format!("SELECT {X}"), &[]);
    let written = |query: &str, view: &str| query.replace("VIEW", view).replace("@x", &format!("'{literal}'::uuid"));
    for (queries, narrowed) in [(NARROWED, true), (WIDE, false)] {
        for query in queries {
            for view in ["stormops.policy_decisions_log", "stormops.policy_decisions"] {
                let query = written(query, view);
                let plan = plan(&mut superuser, &query);
                let [unpacked, ruled_out] = scans(&plan);
                // Of a plan without a block nothing is to be said: `policy_decisions` may know better.
                assert!(unpacked > 0, "{query}\n{plan}");
                if narrowed {
                    assert!(ruled_out > 0, "{query}\n{plan}");
                } else if !query.contains("EXCEPT") {
                    assert_eq!(ruled_out, 0, "{query}\n{plan}");
                }
            }
            let [log, plain] = ["log", "plain"].map(|view| {
                let query = written(query, &format!("stormops.policy_decisions_{view}"));
                answers(&mut superuser, &query)
            });
            assert_eq!(log, plain, "{query}");
            assert!(!log.is_empty() || query.contains("ON (decision)"), "{query}");
        }
    }
}

#[test]
fn a_parameter_and_a_variable_reach_them_too_and_a_volatile_function_does_not() {
    let (db, [abc, _]) = decided("parameters");
    db.without_guard("explain");
    let mut session = db.as_role("tapp");
    enter(&mut session, abc);
    let query = "SELECT decision FROM stormops.policy_decisions_log WHERE property_id";
    for mode in ["force_generic_plan", "force_custom_plan"] {
        session
            .batch_execute(&format!("SET plan_cache_mode = {mode}; PREPARE about (uuid) AS {query} = $1; PREPARE over (text) AS {query} = md5('property ' || $1)::uuid"))
            .expect("statements");
        for execute in [format!("EXECUTE about ({X})"), "EXECUTE over ('7')".to_owned()] {
            let plan = plan(&mut session, &execute);
            assert!(scans(&plan)[1] > 0, "{mode}: {plan}");
            assert_eq!(session.query(&execute, &[]).expect("decisions").len(), 2, "{mode}");
        }
        session.batch_execute("DEALLOCATE ALL").expect("an end");
    }
    let seven: Uuid = get(&mut session, &format!("SELECT {X}"), &[]);
    assert_eq!(session.query(&format!("{query} = $1"), &[&seven]).expect("two").len(), 2);
    for wide in ["gen_random_uuid()", "(SELECT property_id FROM stormops.properties LIMIT 1)"] {
        assert_eq!(scans(&plan(&mut session, &format!("{query} = {wide}")))[1], 0, "{wide}");
    }
    // In a function of the tenant's own, by a variable of it.
    let body = "DO $$ DECLARE x uuid := md5('property 7'); n integer; BEGIN
        SELECT count(*) INTO n FROM stormops.policy_decisions WHERE property_id = x; ASSERT n = 1; END $$";
    session.batch_execute(body).expect("one current decision");
    // A MERGE uses the rows that do not match as well.
    let merge = format!(
        "CREATE TEMPORARY TABLE seen (p uuid, r uuid) ON COMMIT DROP; MERGE INTO seen AS s USING stormops.policy_decisions_log AS d
        ON s.p = d.property_id AND d.property_id = {X} WHEN NOT MATCHED THEN INSERT VALUES (d.property_id, d.run_id);
        DO $$ BEGIN ASSERT (SELECT count(*) FROM seen) = 360; END $$"
    );
    db.superuser().batch_execute("SELECT 1").expect("a superuser");
    session.batch_execute(&format!("BEGIN; {merge}; COMMIT")).expect("all decisions");
}

/// A function that tells every row that it is shown, and costs nothing, hears of its own tenant alone.
#[test]
fn a_function_that_tells_what_it_is_shown_hears_of_no_other_tenant() {
    let (db, [abc, best]) = decided("leaky");
    db.superuser()
        .batch_execute(
            "CREATE SCHEMA mallory; GRANT USAGE ON SCHEMA mallory TO tapp;
            CREATE FUNCTION mallory.tell(shown text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', shown; RETURN true; END $$;
            CREATE FUNCTION mallory.tell_id(shown uuid) RETURNS uuid LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', shown; RETURN shown; END $$",
        )
        .expect("a leak");
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let mut session = Config::new()
        .host(cluster().socket())
        .user("tapp")
        .dbname(&db.name)
        .notice_callback(move |notice| heard.lock().expect("a list").push(notice.message().to_owned()))
        .connect(NoTls)
        .expect("a session");
    enter(&mut session, abc);
    for view in ["policy_decisions_log", "policy_decisions", "policy_decision_blocks"] {
        for of_one in [
            "",
            &format!("property_id = {X} AND"),
            &format!("mallory.tell_id(property_id) = {X} AND"),
            &format!("property_id = mallory.tell_id({X}) AND"),
        ] {
            let of_one = if view == "policy_decision_blocks" { "" } else { of_one };
            told.lock().expect("a list").clear();
            let rows = session
                .query(&format!("SELECT 1 FROM stormops.{view} AS r WHERE {of_one} mallory.tell(r::text)"), &[])
                .expect("rows");
            let told = told.lock().expect("a list");
            assert!(!rows.is_empty() && told.len() >= rows.len(), "{view} {of_one}");
            assert!(told.iter().all(|line| !line.contains(&best.to_string())), "{view} {of_one}: {told:?}");
            assert!(told.iter().any(|line| line.contains(&abc.to_string())), "{view} {of_one}");
        }
    }
}
