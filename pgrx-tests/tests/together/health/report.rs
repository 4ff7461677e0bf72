//! Pages to look at: what they show is there, nothing is markup that is not the page's own, and an empty one says so.

use postgres::Client;
use stormops_tests::tenant::{scored_storm, tenant};
use stormops_tests::{Db, fails_with, get};

const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\" onload=\"x";

fn page(session: &mut Client, storm: &str) -> String {
    let html = format!("SELECT stormops.health_report_html('{storm}')");
    session.query_one(&html, &[]).expect("a page").get(0)
}

#[test]
fn a_storms_page_shows_funnel_lift_scores_curve_and_use() {
    let db = Db::new("page");
    let (_, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", 400);
    let empty = page(&mut session, &storm.to_string());
    assert!(empty.contains("No policy is applied yet") && empty.contains("Nothing to compare yet"), "{empty}");
    session
        .batch_execute(&format!(
            "SELECT stormops.apply_policy('{storm}');
            SELECT stormops.record_outcomes('{storm}', (
                SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'converted', abs(hashtext(property_id::text)) % 4 = 0))
                FROM policy_decisions WHERE decision <> 'exclude'));
            SELECT stormops.record_usage('model_call', 1234)"
        ))
        .expect("a run with outcomes");
    db.as_role("op").execute("SELECT stormops.rollup_usage()", &[]).expect("a rollup");
    let full = page(&mut session, &storm.to_string());
    for there in
        ["with outcome", "model_call", "1234", "always-valid interval", "Qini curve", "USD 12.34", "this storm"]
    {
        assert!(full.contains(there), "{there}\n{full}");
    }
    assert!(full.matches("<svg").count() >= 3, "charts");
    // A reader: it works on a standby.
    session.batch_execute("BEGIN READ ONLY").expect("a transaction");
    page(&mut session, &storm.to_string());
    assert!(get::<bool>(&mut session, "SELECT pg_current_xact_id_if_assigned() IS NULL", &[]));
    session.batch_execute("COMMIT").expect("nothing was written");
    // Use and money are an admin's to see.
    let viewer = "SELECT stormops.add_user('viewer@abc.example', 'viewer')::text";
    let viewer: String = session.query_one(viewer, &[]).expect("a viewer").get(0);
    session.batch_execute(&format!("SET app.current_user_id = '{viewer}'")).expect("a trusted role");
    assert!(!page(&mut session, &storm.to_string()).contains("USD"));
    // Another tenant's storm is none.
    let (_, mut other) = tenant(&db, "Other");
    fails_with(other.query(&format!("SELECT stormops.health_report_html('{storm}')"), &[]), "P0002");
}

#[test]
fn a_storms_page_compares_policies_and_has_a_map() {
    let db = Db::new("pictures");
    let (abc, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", 600);
    let name = format!("mode {HOSTILE}");
    session
        .execute("INSERT INTO policy_modes (policy_mode, confidence, exploration, holdout) VALUES (left($1, 50), 0.3, 0, 0.1)", &[&name])
        .expect("a mode");
    let before = page(&mut session, &storm.to_string());
    assert!(
        before.contains("Nothing to compare yet: no policy is applied.")
            && before.contains("Drawn when properties have coordinates")
    );
    session
        .batch_execute(&format!(
            "UPDATE properties SET longitude = -97 - external_id::int % 25 / 50.0, latitude = 32 + external_id::int / 1200.0
                WHERE external_id::int > 10;
            UPDATE properties SET do_not_contact = true WHERE external_id::int % 50 = 11;
            UPDATE storms SET west = -98, south = 31.9, east = -96.9, north = 32.6;
            SELECT stormops.set_footprint('{storm}', '{{\"type\": \"Feature\", \"properties\": {{\"min_size_mm\": 25}},
                \"geometry\": {{\"type\": \"Polygon\", \"coordinates\": [[[-97.6,32],[-97,32],[-97,32.4],[-97.6,32]]]}}}}');
            SELECT stormops.apply_policy('{storm}');
            SELECT stormops.record_outcomes('{storm}', (
                SELECT jsonb_agg(jsonb_build_object('property_id', property_id, 'converted', abs(hashtext(property_id::text)) % 4 = 0))
                FROM policy_decisions WHERE decision <> 'exclude'))"
        ))
        .expect("a run with outcomes");
    let full = page(&mut session, &storm.to_string());
    for there in ["treat_none", "treat_all", "conservative", "applied", "doubly robust", "mode &lt;script&gt;"] {
        assert!(full.contains(there), "{there}\n{full}");
    }
    assert!(
        full.contains("class=\"hit\"") && full.contains("class=\"box\"") && full.contains("25 mm and more"),
        "{full}"
    );
    assert_eq!(
        full.matches("<circle").count(),
        6 + 590,
        "each placed property, and a value for each policy that the log answers"
    );
    assert!(full.contains("10 (1.7 %) have no coordinates"), "{full}");
    assert!(!full.contains("<script") && !full.contains("NaN"), "{full}");
    // Above some thousands they are drawn by cell.
    let many = scored_storm(&mut session, "wind", 4_000);
    session
        .batch_execute(&format!(
            "UPDATE properties SET longitude = -97 - external_id::int % 25 / 50.0, latitude = 32 + external_id::int / 8000.0;
            SELECT stormops.apply_policy('{many}')"
        ))
        .expect("a run");
    let binned = page(&mut session, &many.to_string());
    assert!(binned.contains("each cell divided among them") && !binned.contains("<circle"), "{binned}");
    let mut viewer = stormops_tests::tenant::acting_as(&db, abc, "viewer");
    viewer.batch_execute("BEGIN READ ONLY").expect("a transaction");
    assert!(page(&mut viewer, &storm.to_string()).contains("class=\"hit\""));
}

#[test]
fn hostile_names_stay_text() {
    let db = Db::new("hostile");
    let (_, mut session) = tenant(&db, "Abc");
    let storm = scored_storm(&mut session, "hail", 30);
    session.execute("UPDATE storms SET name = $1", &[&HOSTILE.repeat(4)]).expect("a name");
    let html = page(&mut session, &storm.to_string());
    assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
    for evil in ["<script", "\" onload"] {
        assert!(!html.contains(evil), "{evil}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn the_platforms_page_is_for_operators_and_monitors() {
    let db = Db::new("platform");
    let draw = "SELECT stormops.platform_report_html()";
    let empty: String = db.as_role("op").query_one(draw, &[]).expect("a page").get(0);
    let properties: i64 = get(&mut db.superuser(), "SELECT count(*) FROM stormops_internal.attested_properties()", &[]);
    assert!(
        empty.contains("No tenant is provisioned yet.")
            && empty.contains(&format!("{properties} of {properties} properties hold")),
        "{empty}"
    );
    let (_, mut session) = tenant(&db, "Abc <b> Roofing");
    session.batch_execute("SELECT stormops.record_usage('model_call', 300)").expect("use");
    db.as_role("op").execute("SELECT stormops.rollup_usage()", &[]).expect("a rollup");
    let full: String = db.as_role("op").query_one(draw, &[]).expect("a page").get(0);
    assert!(full.contains("Abc &lt;b&gt; Roofing") && full.contains("USD 3.00"), "{full}");
    let seen: String = db.as_role("mon").query_one(draw, &[]).expect("a page").get(0);
    assert!(seen.contains("Abc &lt;b&gt; Roofing") && !seen.contains("USD"), "money is an operator's to see");
    for role in ["app", "tapp", "nobody"] {
        fails_with(db.as_role(role).query(draw, &[]), "42501");
    }
}
