//! Experiments as an application meets them: who is in which arm, what the report makes of it, and that it stays within
//! one tenant.

use postgres::Client;
use stormops_tests::rule::seeded;
use stormops_tests::tenant::{acting_as, scored_storm, session, storm, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get, provision};
use uuid::Uuid;

/// So that the tests' own joins are planned for what they meet.
fn analyze(db: &Db) {
    db.superuser().batch_execute("ANALYZE").expect("statistics");
}

/// With an id that is always the same, and with it every draw.
fn create(db: &Db, session: &mut Client, storm: Uuid, settings: &str) -> Uuid {
    let create = format!("SELECT experiment_id FROM stormops.create_experiment($1, {settings})");
    let made: Uuid = get(session, &create, &[&storm]);
    let fix = "UPDATE stormops.experiments SET experiment_id = md5(name)::uuid WHERE experiment_id = $1
        RETURNING experiment_id";
    get(&mut db.superuser(), fix, &[&made])
}

fn assign(session: &mut Client, experiment: Uuid) -> i64 {
    get(session, "SELECT assigned FROM stormops.assign_experiment($1)", &[&experiment])
}

#[test]
fn assignment_is_deterministic_stable_and_as_weighted() {
    let db = Db::new("assign");
    db.without_guard("temporary_tables");
    let mut session = seeded(&db, 41);
    let storm = scored_storm(&mut session, "hail", 8_000);
    let experiment = create(&db, &mut session, storm, r#"'three', '{"a": 0.2, "b": 0.3, "control": 0.5}'"#);
    session.execute("DELETE FROM lead_uplift WHERE mod(hashtext(property_id::text), 2) = 0", &[]).expect("fewer leads");
    let first = assign(&mut session, experiment);
    session
        .batch_execute("CREATE TEMP TABLE before AS SELECT property_id, arm, assigned_at FROM experiment_assignments")
        .expect("a copy");
    assert_eq!(assign(&mut session, experiment), 0, "a second call finds nobody new");
    scored_storm_again(&mut session, storm, 8_000);
    assert_eq!(first + assign(&mut session, experiment), 8_000);
    analyze(&db);
    let kept = "SELECT count(*) = $1 FROM before JOIN experiment_assignments USING (property_id, arm, assigned_at)";
    assert!(get::<bool>(&mut session, kept, &[&first]));
    let drawn = "SELECT count(*) = 8000 FROM experiment_assignments JOIN stormops_internal.draw_arms($1) USING (property_id, arm)";
    assert!(get::<bool>(&mut session, drawn, &[&experiment]), "what is written is what is drawn");
    // Chi-square of two degrees of freedom: 13.8 is its 0.999 quantile.
    let fits = "SELECT s.chi2 < 13.8 FROM (
            SELECT array_agg(n ORDER BY arm) AS n FROM (SELECT arm, count(*) AS n FROM experiment_assignments GROUP BY arm) AS a) AS a,
        stormops.check_sample_ratio(a.n, '{0.2,0.3,0.5}') AS s";
    assert!(get::<bool>(&mut session, fits, &[]));
    // Another experiment draws independently: four cells of the same two arms are alike.
    let other = create(&db, &mut session, storm, "'two'");
    assign(&mut session, other);
    analyze(&db);
    let independent = "SELECT max(n) / min(n)::float8 < 1.1 FROM (
        SELECT a.arm, count(*) FILTER (WHERE b.arm = 'control') / count(*)::float8 AS n FROM experiment_assignments AS a
        JOIN experiment_assignments AS b ON b.property_id = a.property_id AND b.experiment_id = $2
        WHERE a.experiment_id = $1 GROUP BY a.arm) AS x";
    assert!(get::<bool>(&mut session, independent, &[&experiment, &other]));
}

/// Scores for those of the storm's properties that have none.
fn scored_storm_again(session: &mut Client, storm: Uuid, n: i32) {
    let scores = "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift)
        SELECT $1, md5('property ' || i)::uuid, 'v1', 0.1 FROM generate_series(1, $2::int) AS i";
    session.execute(scores, &[&storm, &n]).expect("scores");
}

#[test]
fn report_says_what_happened() {
    let db = Db::new("report");
    let mut session = seeded(&db, 54);
    let storm = scored_storm(&mut session, "hail", 4000);
    session
        .batch_execute(
            "UPDATE properties SET roof_material = CASE WHEN external_id::int % 2 = 0 THEN 'tile' ELSE 'metal' END,
        longitude = -93 + external_id::int % 50 * 0.01, latitude = 42",
        )
        .expect("roofs");
    let experiment = create(
        &db,
        &mut session,
        storm,
        "'visit', covariate => 'uplift', planned_n => 4000, cluster_by => 'neighbourhood'",
    );
    let empty = "SELECT string_agg(verdict, ' ' ORDER BY arm) FROM stormops.experiment_report($1)";
    assert_eq!(get::<String>(&mut session, empty, &[&experiment]), "control no_outcomes");
    assign(&mut session, experiment);
    session.batch_execute("
        INSERT INTO customer_journeys (property_id, touch, channel, direction)
        SELECT property_id, 'visit', 'door', 'outbound' FROM experiment_assignments WHERE arm = 'treatment';
        INSERT INTO customer_journeys (property_id, touch, channel, direction)
        SELECT property_id, 'call', 'phone', 'outbound' FROM experiment_assignments WHERE arm = 'control' ORDER BY property_id LIMIT 100;
        INSERT INTO customer_journeys (property_id, storm_id, touch, channel, direction, occurred_at)
        SELECT a.property_id, e.storm_id, 'conversion', 'door', 'inbound',
            CASE place WHEN 1 THEN a.assigned_at - interval '1 day' ELSE now() END
        FROM (SELECT *, row_number() OVER (PARTITION BY arm ORDER BY md5(property_id::text)) AS place FROM experiment_assignments) AS a
        JOIN experiments AS e USING (experiment_id)
        WHERE place <= CASE arm WHEN 'treatment' THEN 401 ELSE 201 END").expect("journeys");
    let whole = "SELECT r.verdict || ' ' || r.method || ' ' || r.decided_by || ' ' || (r.converted = 400 AND r.early_outcomes = 1
            AND r.contact_rate = 1 AND r.crossovers = 0 AND round(r.contamination * c.n) = 100 AND c.crossovers = 100
            AND c.converted = 200 AND r.clusters = 50 AND r.adjusted_lift BETWEEN r.adjusted_low AND r.adjusted_high
            AND r.lift_of_contact > r.lift AND r.p_adjusted = r.p_value AND r.srm_verdict = 'ok')
        FROM stormops.experiment_report($1) AS r, stormops.experiment_report($1) AS c
        WHERE r.arm = 'treatment' AND c.arm = 'control'";
    // All are assigned, but for none of them are the days of its outcome over: each look may be one of many.
    assert_eq!(get::<String>(&mut session, whole, &[&experiment]), "better cluster always_valid false");
    db.superuser()
        .batch_execute(
            "UPDATE stormops.experiment_assignments SET assigned_at = assigned_at - interval '91 days';
             UPDATE stormops.customer_journeys SET occurred_at = occurred_at - interval '91 days';
             UPDATE stormops.lead_uplift SET scored_at = scored_at - interval '91 days'",
        )
        .expect("three months later");
    assert_eq!(get::<String>(&mut session, whole, &[&experiment]), "better cluster fixed_horizon true");
    // What takes properties as independent is not said of clusters, or allows for them.
    let allows = "SELECT r.probability_better IS NULL AND r.detectable_lift >= p.detectable_lift
        FROM stormops.experiment_report($1) AS r, stormops.experiment_report($1) AS c,
            stormops.compare_proportions(r.converted, r.n, c.converted, c.n) AS p
        WHERE r.arm = 'treatment' AND c.arm = 'control'";
    assert!(get::<bool>(&mut session, allows, &[&experiment]));
    let segments = "SELECT string_agg(coalesce(segment, 'all') || ' ' || verdict, ', ' ORDER BY segment NULLS FIRST)
            || (bool_and(p_adjusted >= p_value)) FROM stormops.experiment_report($1, 'roof_material') WHERE verdict <> 'control'";
    assert_eq!(get::<String>(&mut session, segments, &[&experiment]), "all better, metal better, tile bettertrue");
    let summary: String = get(
        &mut session,
        "SELECT summary FROM stormops.experiment_report($1) WHERE verdict = 'better'",
        &[&experiment],
    );
    assert!(summary.starts_with("treatment converts 1") && summary.ends_with(": better."), "{summary}");
}

#[test]
fn neighbourhoods_are_drawn_whole() {
    let db = Db::new("areas");
    let mut session = seeded(&db, 55);
    let storm = scored_storm(&mut session, "hail", 3000);
    session.execute("UPDATE properties SET longitude = -93 + external_id::int % 100 * 0.01, latitude = 42 WHERE external_id::int > 10", &[]).expect("places");
    let experiment = create(&db, &mut session, storm, "'areas', unit => 'neighbourhood', primary_metric => 'value'");
    assign(&mut session, experiment);
    let whole = "SELECT count(*) = 100 AND max(arms) = 1 FROM (SELECT neighbourhood, count(DISTINCT arm) AS arms
        FROM experiment_assignments WHERE neighbourhood IS NOT NULL GROUP BY neighbourhood) AS n";
    assert!(get::<bool>(&mut session, whole, &[]));
    let report = "SELECT r.method = 'cluster' AND r.clusters > 100 AND r.srm_verdict = 'ok' AND r.verdict = 'undecided'
        FROM stormops.experiment_report($1) AS r WHERE arm = 'treatment'";
    assert!(get::<bool>(&mut session, report, &[&experiment]));
}

#[test]
fn an_experiment_is_its_tenants() {
    let db = Db::new("tenants");
    let (_, mut a) = tenant(&db, "Abc");
    let (_, mut b) = tenant(&db, "Best");
    let (storm_a, storm_b) = (scored_storm(&mut a, "hail", 100), scored_storm(&mut b, "hail", 100));
    let (in_a, in_b) = (create(&db, &mut a, storm_a, "'x'"), create(&db, &mut b, storm_b, "'y'"));
    assign(&mut a, in_a);
    let nobody = Uuid::from_u128(7);
    for call in ["assign_experiment($1)", "stop_experiment($1)", "experiment_report($1)"] {
        let call = format!("SELECT * FROM stormops.{call}");
        let other = fails_with(a.query(&call, &[&in_b]), "P0002");
        let none = fails_with(a.query(&call, &[&nobody]), "P0002");
        assert_eq!(other.message().replace(&in_b.to_string(), ""), none.message().replace(&nobody.to_string(), ""));
        fails_with(a.query(&call, &[&None::<Uuid>]), "22004");
    }
    for set in ["draw_arms($1)", "experiment_units($1)", "experiment_cells($1, NULL)"] {
        assert!(a.query(&format!("SELECT * FROM stormops_internal.{set}"), &[&in_b]).expect("no row").is_empty());
    }
    assert_eq!(get::<i64>(&mut b, "SELECT count(*) FROM experiment_assignments", &[]), 0);
    // Tenants share ids, and not a draw.
    assign(&mut b, in_b);
    fails_with(a.query("SELECT * FROM stormops.check_conversion_rates($1)", &[&nobody]), "P0002");
}

#[test]
fn what_is_wrong_is_said() {
    let db = Db::new("errors");
    let (tenant_id, mut session) = tenant(&db, "Abc");
    let hail = scored_storm(&mut session, "hail", 100);
    let many: Vec<String> = (0..51).map(|i| format!("\"{i}\": {}", 1.0 / 51.0)).collect();
    let many = format!("'x', '{{{}}}', '1'", many.join(","));
    for (settings, sqlstate) in [
        (r#"'x', '{"control": 1}'"#, "22023"),
        (&*many, "22023"),
        (r#"'x', '{"control": 0.5, "t": 0.6}'"#, "22023"),
        (r#"'x', '{"control": 1.5, "t": -0.5}'"#, "22023"),
        (r#"'x', '{"control": 1, "t": 0}'"#, "22023"),
        (r#"'x', '{"control": "NaN", "t": 0.5}'"#, "22023"),
        (r#"'x', '{"control": null, "t": 0.5}'"#, "22023"),
        (r#"'x', '{"control": 0.5, "": 0.5}'"#, "22023"),
        (r#"'x', '[0.5, 0.5]'"#, "22023"),
        (r#"'x', '{"a": 0.5, "b": 0.5}'"#, "22023"),
        ("''", "22023"),
        ("repeat('x', 201)", "22023"),
        ("'x', planned_n => 0", "22023"),
        ("'x', unit => 'roof'", "22023"),
        ("'x', primary_metric => 'fame'", "22023"),
        ("'x', covariate => 'age'", "22023"),
        ("'x', outcome_days => 0", "22023"),
        ("NULL", "22004"),
    ] {
        let create = format!("SELECT stormops.create_experiment($1, {settings})");
        let error = fails_with(session.query(&create, &[&hail]), sqlstate);
        assert!(error.hint().is_some(), "{settings}: {error:?}");
    }
    let experiment = create(&db, &mut session, hail, "'x'");
    fails_with(session.query("SELECT stormops.create_experiment($1, 'x')", &[&hail]), "23505");
    fails_with(session.query("SELECT stormops.create_experiment($1, 'x')", &[&Uuid::from_u128(7)]), "P0002");
    fails_with(session.query("SELECT * FROM stormops.experiment_report($1, 'colour')", &[&experiment]), "22023");
    fails_with(session.query("SELECT * FROM stormops.experiment_report($1, alpha => 'NaN')", &[&experiment]), "22023");
    fails_with(session.execute("UPDATE experiments SET arms = '{}'", &[]), "42501");
    fails_with(session.execute("INSERT INTO experiments (storm_id, name) VALUES ($1, 'y')", &[&hail]), "42501");
    let empty = storm(&mut session, "no scores");
    let nobody = create(&db, &mut session, empty, "'y'");
    fails_with(session.query("SELECT stormops.assign_experiment($1)", &[&nobody]), "55000");

    for role in ["viewer", "field_user"] {
        let mut user = acting_as(&db, tenant_id, role);
        fails_with(user.query("SELECT stormops.create_experiment($1, 'y')", &[&hail]), "42501");
        fails_with(user.query("SELECT stormops.assign_experiment($1)", &[&experiment]), "42501");
        fails_with(user.query("SELECT stormops.stop_experiment($1)", &[&experiment]), "42501");
        assert_eq!(
            user.query("SELECT * FROM stormops.experiment_report($1)", &[&experiment]).expect("a report").len(),
            2
        );
    }
    let mut chief = acting_as(&db, tenant_id, "crew_chief");
    assign(&mut chief, experiment);
    chief.query("SELECT stormops.stop_experiment($1, 'enough')", &[&experiment]).expect("a stop");
    fails_with(chief.query("SELECT stormops.stop_experiment($1)", &[&experiment]), "55000");
    fails_with(chief.query("SELECT stormops.assign_experiment($1)", &[&experiment]), "55000");

    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&tenant_id]).expect("a suspension");
    fails_with(chief.query("SELECT stormops.create_experiment($1, 'z')", &[&hail]), "55000");
    assert_eq!(chief.query("SELECT * FROM stormops.experiment_report($1)", &[&experiment]).expect("a report").len(), 2);
    let (_, mut app) = (provision(&db, "Other"), db.as_role("app"));
    fails_with(app.query("SELECT stormops.check_conversion_rates($1)", &[&hail]), "0B000");
}

#[test]
fn two_calls_at_once_assign_once() {
    let db = Db::new("race");
    let (tenant_id, mut first) = tenant(&db, "Abc");
    let storm = scored_storm(&mut first, "hail", 1000);
    let experiment = create(&db, &mut first, storm, "'x'");
    let mut transaction = first.transaction().expect("a transaction");
    transaction.query("SELECT stormops.assign_experiment($1)", &[&experiment]).expect("an assignment");
    let mut second = session(&db, tenant_id);
    let waiting = std::thread::spawn(move || assign(&mut second, experiment));
    await_blocked(&db, 1);
    transaction.commit().expect("a commit");
    assert_eq!(waiting.join().expect("the second call"), 0);
}

#[test]
fn aggregates_run_in_parallel() {
    let db = Db::new("parallel");
    db.without_guard("explain");
    let mut session = seeded(&db, 56);
    db.superuser()
        .batch_execute(
            "CREATE TABLE public.t AS SELECT i % 7 AS y, i % 11 AS x FROM generate_series(1, 100000) AS i;
        ANALYZE public.t; GRANT SELECT ON public.t TO tapp",
        )
        .expect("a table");
    session
        .batch_execute("SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0")
        .expect("settings");
    let plan = session.query("EXPLAIN SELECT stormops.arm_agg(y, x) FROM public.t", &[]).expect("a plan");
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("Partial Aggregate")), "{plan:?}");
    let alike = "SELECT n = 100000 AND abs(mean - avg) < 1e-9 AND abs(variance - var) < 1e-9 FROM (
        SELECT stormops.arm_agg(y, x) AS state, avg(y), var_samp(y) AS var FROM public.t) AS t, stormops.arm_moments(t.state)";
    assert!(get::<bool>(&mut session, alike, &[]));
}
