//! Whose models are, who may what with them, and what scoring costs.

use serde_json::{Value, json};
use stormops_tests::tenant::{acting_as, session, storm, tenant};
use stormops_tests::{Db, fails_with, get, sqlstate};

use super::models::{PREVIEWED, WRITTEN, features, floats, properties, ready, register, score, scores};

#[test]
fn admins_register_crew_chiefs_score_and_everybody_in_the_tenant_looks() {
    let db = Db::new("roles");
    let (abc, mut session, hail) = ready(&db);
    for (role, registers, scores) in
        [("viewer", false, false), ("field_user", false, false), ("crew_chief", false, true), ("admin", true, true)]
    {
        let mut user = acting_as(&db, abc, role);
        let expected = |may: bool| if may { "00000" } else { "42501" };
        let registered = register(&mut user, role, "lightgbm.onnx", &features(), None);
        assert_eq!(sqlstate(&registered), expected(registers), "{role}");
        assert_eq!(sqlstate(&score(&mut user, hail, "v1")), expected(scores), "{role}");
        let retired = user.execute("SELECT stormops.retire_model($1)", &[&role]);
        assert_eq!(sqlstate(&retired), expected(registers), "{role}");
        assert_eq!(self::scores(&mut user, PREVIEWED, hail, "v1").len(), 200, "{role}");
        assert!(get::<i64>(&mut user, "SELECT count(*) FROM models", &[]) >= 1, "{role}");
    }
    session.batch_execute("SET default_transaction_read_only = on").expect("a setting");
    assert_eq!(sqlstate(&register(&mut session, "v2", "lightgbm.onnx", &features(), None)), "25006");
    assert_eq!(sqlstate(&score(&mut session, hail, "v1")), "25006");
    assert_eq!(scores(&mut session, PREVIEWED, hail, "v1").len(), 200);
    session.batch_execute("SET default_transaction_read_only = off").expect("a setting");
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'unpaid')", &[&abc]).expect("a suspension");
    assert_eq!(sqlstate(&register(&mut session, "v2", "lightgbm.onnx", &features(), None)), "55000");
    assert_eq!(sqlstate(&score(&mut session, hail, "v1")), "55000");
    assert_eq!(sqlstate(&session.execute("SELECT stormops.retire_model('v1')", &[])), "55000");
    assert_eq!(scores(&mut session, PREVIEWED, hail, "v1").len(), 200, "a suspended tenant reads");
    for role in ["op", "mon", "nobody"] {
        let mut other = db.as_role(role);
        assert_eq!(sqlstate(&score(&mut other, hail, "v1")), "42501", "{role}");
    }
}

#[test]
fn a_model_is_its_tenants() {
    let db = Db::new("isolation");
    let (_, mut session, hail) = ready(&db);
    let (other, mut theirs) = tenant(&db, "Other");
    properties(&mut theirs);
    let their_storm = storm(&mut theirs, "wind");
    assert_eq!(get::<i64>(&mut theirs, "SELECT count(*) FROM uplift_models", &[]), 0);
    assert_eq!(get::<i64>(&mut theirs, "SELECT count(*) FROM models", &[]), 0);
    assert_eq!(sqlstate(&score(&mut theirs, their_storm, "v1")), "P0002", "not with another's model");
    fails_with(theirs.execute("SELECT stormops.retire_model('v1')", &[]), "P0002");
    register(&mut theirs, "v1", "xgboost.onnx", &features(), None).expect("a version of the same name");
    assert_eq!(sqlstate(&score(&mut theirs, hail, "v1")), "P0002", "nor another's storm");
    score(&mut theirs, their_storm, "v1").expect("scores");
    score(&mut session, hail, "v1").expect("scores");
    let of = |name| floats(name).into_iter().map(|x| (f64::from(x), None)).collect::<Vec<_>>();
    assert_eq!(scores(&mut theirs, WRITTEN, their_storm, "v1"), of("xgboost.bin"));
    assert_eq!(scores(&mut session, WRITTEN, hail, "v1"), of("lightgbm.bin"));
    assert_eq!(get::<i64>(&mut self::session(&db, other), "SELECT count(*) FROM lead_uplift", &[]), 200);
}

#[test]
fn each_scored_property_is_a_model_call() {
    let db = Db::new("metered");
    let (abc, mut session, hail) = ready(&db);
    score(&mut session, hail, "v1").expect("scores");
    let metered = "SELECT metric_value::int, dimensions FROM tenant_usage";
    let row = session.query_one(metered, &[]).expect("one event");
    assert_eq!(
        (row.get::<_, i32>(0), row.get::<_, Value>(1)),
        (200, json!({"model": "v1", "storm_id": hail.to_string()}))
    );
    session.query("SELECT * FROM stormops.model_scores($1, 'v1')", &[&hail]).expect("a look, which is free");
    let quota = "SELECT stormops.set_quota($1, 'model_call', 300, 'month', 'hard')";
    db.as_role("op").execute(quota, &[&abc]).expect("a quota");
    fails_with(score(&mut session, hail, "v1"), "53400");
    assert_eq!(get::<i64>(&mut session, "SELECT count(*) FROM lead_uplift", &[]), 200, "nothing was written");
    assert_eq!(session.query(metered, &[]).expect("events").len(), 1);
}
