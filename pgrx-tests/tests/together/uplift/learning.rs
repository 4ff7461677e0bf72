//! A model from a tenant's own decisions and outcomes, as ordinary roles make it.

use postgres::Client;
use stormops_tests::rule::seeded;
use stormops_tests::tenant::{acting_as, session, tenant};
use stormops_tests::{Db, fails_with, get};

use super::answered::{BY_ROOF, age, answered_storm, decided_storm, record};

const LEARN: &str = "SELECT * FROM stormops.learn_uplift($1, include_open => true)";
const FEW: i32 = 2000;

/// The error of learning, with what its hint says.
#[track_caller]
fn refused(session: &mut Client, call: &str, sqlstate: &str, says: &str) {
    let error = fails_with(session.query(call, &[]), sqlstate);
    assert!(error.message().contains(says), "{}", error.message());
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{}", error.message());
}

#[test]
fn what_the_log_shows_is_found_and_kept() {
    let db = Db::new("learned");
    let mut session = seeded(&db, 7);
    answered_storm(&mut session, "hail", FEW, BY_ROOF);
    answered_storm(&mut session, "wind", FEW, BY_ROOF);
    let row = session.query_one(LEARN, &[&"own-1"]).expect("a model");
    let number = |column: &str| row.get::<_, f64>(column);
    assert_eq!(row.get::<_, String>("status"), "ok");
    assert_eq!((row.get::<_, i64>("n"), row.get::<_, i64>("properties")), (i64::from(2 * FEW), i64::from(FEW)));
    assert_eq!(row.get::<_, i64>("storms_used"), 2);
    assert_eq!(row.get::<_, i64>("treated") + row.get::<_, i64>("held"), i64::from(2 * FEW));
    assert!(number("autoc") > 4.0 * number("autoc_se") && number("qini") > 0.0, "{row:?}");
    assert!((number("uplift") - 0.125).abs() < 4.0 * number("uplift_se"));
    assert!((number("slope") - 1.0).abs() < 4.0 * number("slope_se"), "the scores mean what they say");
    let best =
        "SELECT f ->> 'feature' FROM jsonb_array_elements($1::jsonb) AS f ORDER BY (f ->> 'gain')::float8 DESC LIMIT 1";
    let contributions: serde_json::Value = row.get("contributions");
    assert_eq!(get::<String>(&mut session, best, &[&contributions]), "roof_age");
    let constant =
        "SELECT string_agg(f ->> 'feature', ' ' ORDER BY f ->> 'feature') FROM jsonb_array_elements($1::jsonb) AS f
        WHERE (f ->> 'constant')::boolean";
    assert!(get::<String>(&mut session, constant, &[&contributions]).contains("roof_style"), "nobody has one");
    let kept =
        "SELECT kind = 'linear' AND digest = sha256(model) AND notes ->> 'autoc' IS NOT NULL AND retired_at IS NULL
        FROM uplift_models WHERE model_version = 'own-1'";
    assert!(get::<bool>(&mut session, kept, &[]));
    // Nothing uses it until somebody does.
    assert!(!get::<bool>(&mut session, "SELECT EXISTS (SELECT FROM lead_uplift WHERE model_version = 'own-1')", &[]));
}

/// What was learned scores the next storm, and policies decide on it.
#[test]
fn a_learned_model_scores_a_storm() {
    let db = Db::new("scores");
    let mut session = seeded(&db, 7);
    answered_storm(&mut session, "hail", FEW, BY_ROOF);
    session.query_one(LEARN, &[&"own-1"]).expect("a model");
    let next = stormops_tests::tenant::storm(&mut session, "next");
    session.query("SELECT * FROM stormops.score_storm($1, 'own-1')", &[&next]).expect("scores");
    let found = "SELECT avg(l.uplift) FILTER (WHERE p.roof_year < 2005), avg(l.uplift) FILTER (WHERE p.roof_year >= 2005),
            count(*), bool_and(l.uplift_sd > 0 AND l.uplift_sd < 0.3)
        FROM lead_uplift AS l JOIN properties AS p USING (tenant_id, property_id) WHERE l.storm_id = $1 AND l.model_version = 'own-1'";
    let row = session.query_one(found, &[&next]).expect("scores");
    let (old, new) = (row.get::<_, f64>(0), row.get::<_, f64>(1));
    assert!((old - 0.25).abs() < 0.08 && new.abs() < 0.08, "{old} {new}");
    assert!(row.get::<_, i64>(2) == i64::from(FEW) && row.get::<_, bool>(3), "each with its sampling error");
    session.query_one("SELECT * FROM stormops.apply_policy($1)", &[&next]).expect("decisions");
}

#[test]
fn the_same_log_gives_the_same_model() {
    let db = Db::new("again");
    let (_, mut session) = tenant(&db, "Abc");
    answered_storm(&mut session, "hail", FEW, BY_ROOF);
    session.query_one(LEARN, &[&"one"]).expect("a model");
    // Other plans give the rows in another order.
    db.superuser().batch_execute("VACUUM ANALYZE").expect("statistics");
    session
        .batch_execute("SET enable_hashjoin = off; SET work_mem = '64kB'; SET extra_float_digits = 0")
        .expect("settings");
    session.query_one(LEARN, &[&"two"]).expect("a model");
    let models = "SELECT count(DISTINCT digest) FROM uplift_models";
    assert_eq!(get::<i64>(&mut session, models, &[]), 1);
    fails_with(session.query(LEARN, &[&"two"]), "23505");
    // The order in which features are named, and how often, says nothing.
    let named = "SELECT stormops.learn_uplift($1, ($2::text)::text[], include_open => true)";
    session.query_one(named, &[&"three", &"{roof_age,roof_material}"]).expect("a model");
    session.query_one(named, &[&"four", &"{roof_material,roof_age,roof_age}"]).expect("a model");
    let same = "SELECT count(DISTINCT digest) FROM uplift_models WHERE model_version IN ('three', 'four')";
    assert_eq!(get::<i64>(&mut session, same, &[]), 1);
}

#[test]
fn a_log_that_cannot_answer_is_refused() {
    let db = Db::new("refused");
    let (_, mut session) = tenant(&db, "Abc");
    let learn = |more: &str| format!("SELECT stormops.learn_uplift('m'{more})");
    refused(&mut session, &learn(""), "55000", "no policy was applied");
    let storm = decided_storm(&mut session, "hail", FEW);
    refused(&mut session, &learn(""), "55000", "still due");
    let open = learn(", include_open => true");
    refused(&mut session, &open, "55000", "too few outcomes");
    record(&mut session, storm, BY_ROOF);
    refused(&mut session, &learn(", '{peril}', include_open => true"), "55000", "same value");
    refused(&mut session, &learn(", '{price}', include_open => true"), "22023", "unknown feature");
    refused(&mut session, &learn(", '{}', include_open => true"), "22023", "unknown feature");
    fails_with(session.query(&learn(", storms => ARRAY[md5('none')::uuid]"), &[]), "P0002");
    fails_with(session.query("SELECT stormops.learn_uplift(NULL)", &[]), "22004");
    fails_with(session.query("SELECT stormops.learn_uplift('')", &[]), "22023");
    refused(&mut session, &learn(""), "55000", "still due");
    age(&db);
    session.query_one(&learn(""), &[]).expect("a model, once outcomes are complete");
    // A policy without chance teaches nothing, however much came of it.
    let (_, mut certain) = tenant(&db, "Certain");
    decided_storm(&mut certain, "hail", FEW);
    certain.execute("UPDATE policy_modes SET exploration = 0, holdout = 0", &[]).expect("no chance");
    let hail: uuid::Uuid = get(&mut certain, "SELECT storm_id FROM storms", &[]);
    certain.execute("SELECT stormops.apply_policy($1, supersede => true)", &[&hail]).expect("decisions");
    record(&mut certain, hail, BY_ROOF);
    refused(&mut certain, &open, "55000", "left to chance");
    let (_, mut small) = tenant(&db, "Small");
    answered_storm(&mut small, "hail", 150, BY_ROOF);
    refused(&mut small, &open, "55000", "too few decisions");
    assert_eq!(get::<i64>(&mut small, "SELECT count(*) FROM uplift_models", &[]), 0, "nothing was written");
}

#[test]
fn an_admin_of_the_tenant_learns_from_its_log_alone() {
    let db = Db::new("whose");
    let (abc, mut session_abc) = tenant(&db, "Abc");
    let (xyz, mut session_xyz) = tenant(&db, "Xyz");
    answered_storm(&mut session_abc, "hail", FEW, BY_ROOF);
    answered_storm(&mut session_xyz, "hail", FEW / 2, "0");
    for role in ["viewer", "field_user", "crew_chief"] {
        fails_with(acting_as(&db, abc, role).query(LEARN, &[&role]), "42501");
    }
    acting_as(&db, abc, "admin").query_one(LEARN, &[&"m"]).expect("a model");
    let row = session_xyz.query_one(LEARN, &[&"m"]).expect("a model of the same name");
    assert_eq!(row.get::<_, i64>("n"), i64::from(FEW / 2));
    for session in [&mut session_abc, &mut session_xyz] {
        assert_eq!(get::<i64>(session, "SELECT count(*) FROM uplift_models", &[]), 1);
    }
    // Another tenant's storm is none.
    let foreign = "SELECT stormops.learn_uplift('f', storms => ARRAY[$1::uuid], include_open => true)";
    let own: uuid::Uuid =
        get(&mut session_abc, "INSERT INTO storms (event_id, name) VALUES ('own', 'own') RETURNING storm_id", &[]);
    fails_with(session_xyz.query(foreign, &[&own]), "P0002");
    fails_with(db.as_role("tapp").query(LEARN, &[&"m"]), "0B000");
    fails_with(db.as_role("mon").query(LEARN, &[&"m"]), "42501");
    fails_with(session_abc.execute("INSERT INTO uplift_models (model_version) VALUES ('x')", &[]), "42501");
    db.as_role("op").execute("SELECT stormops.suspend_tenant($1, 'test')", &[&xyz]).expect("suspended");
    fails_with(session(&db, xyz).query(LEARN, &[&"later"]), "55000");
}

#[test]
fn learning_ends_when_it_is_cancelled() {
    let db = Db::new("cancelled");
    let (_, mut session) = tenant(&db, "Abc");
    answered_storm(&mut session, "hail", FEW, BY_ROOF);
    session.batch_execute("SET statement_timeout = '20ms'").expect("a timeout");
    fails_with(session.query(LEARN, &[&"m"]), "57014");
}
