//! What a login that is refused tells: the caller nothing, the operator why.

use postgres::error::DbError;
use postgres::{Config, NoTls};
use serde_json::{Value, json};
use stormops_tests::tokens::{claims, jwks, now, signed, signed_as, trust};
use stormops_tests::twins::{Twins, id};
use stormops_tests::{cluster, fails_with};
use uuid::Uuid;

use super::{admin, login};

/// All that an error tells.
fn told(error: &DbError) -> String {
    let fields = (error.message(), error.detail(), error.hint(), error.where_(), error.schema(), error.table());
    format!("{} {fields:?} {:?}", error.code().code(), (error.column(), error.constraint(), error.line()))
}

#[test]
fn every_refusal_is_told_alike_and_the_token_nowhere() {
    let twins = Twins::new("refusals");
    trust(&twins.db, &jwks(), "");
    let good = claims(twins.a, admin(&twins));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signed("ed", &claims)
    };
    let of_header = |header: Value| signed_as("ed", &header, &good);
    let token = signed("ed", &good);
    let (signed_part, _) = token.rsplit_once('.').expect("three parts");
    let mut client = twins.db.as_role("app");
    login(&mut client, &token).expect("the good one");
    let removed = "SELECT stormops.remove_user(user_id, 'test', tenant_id) FROM stormops.users
        WHERE tenant_id = $1 AND email = 'twin1@twin.example'";
    twins.db.superuser().execute(removed, &[&twins.a]).expect("a removal");
    let refused = [
        String::new(),
        "x".into(),
        "..".into(),
        "é.é.é".into(),
        token.replace('.', " "),
        format!("{signed_part}."),
        format!("{signed_part}.AAAA"),
        format!("{token}="),
        format!("{token}."),
        format!(" {token}"),
        "a".repeat(1_000_000),
        with("pad", json!("x".repeat(8192))),
        with("deep", json!([[[[[[[[[[[]]]]]]]]]]])),
        with("iss", json!("https://evil.example")),
        with("iss", json!("stormops")),
        with("aud", json!("another")),
        with("exp", json!(now() - 31)),
        with("exp", json!(now() + 90_000)),
        with("nbf", json!(now() + 60)),
        with("role", json!("owner")),
        with("tenant_id", json!(twins.b.to_string())),
        with("tenant_id", json!(id(9).to_string())),
        with("sub", json!(id(1).to_string())), // removed
        with("sub", json!(id(9).to_string())),
        with("sub", json!("nobody@twin.example")),
        of_header(json!({"alg": "EdDSA"})),
        of_header(json!({"alg": "EdDSA", "kid": "another"})),
        of_header(json!({"alg": "EdDSA", "kid": "ed' OR true --"})),
        of_header(json!({"alg": "EdDSA", "kid": "../../dev/null"})),
        of_header(json!({"alg": "EdDSA", "kid": "ed\u{0}"})),
        of_header(json!({"alg": "EdDSA", "kid": "hs"})),
        of_header(json!({"alg": "HS256", "kid": "ed"})),
        of_header(json!({"alg": "HS256", "kid": "hs"})),
        of_header(json!({"alg": "none", "kid": "ed"})),
        of_header(json!({"alg": "EdDSA", "kid": "ed", "crit": ["exp"]})),
    ];
    let mut all = Vec::new();
    for token in &refused {
        all.push(told(&fails_with(login(&mut client, token), "28000")));
        // Written into the statement, where the server's log would show it.
        let literal = format!("SELECT stormops.login('{}')", token.replace('\'', "''"));
        all.push(told(&fails_with(client.batch_execute(&literal), "28000")));
    }
    all.push(told(&fails_with(client.batch_execute("SELECT stormops.login(NULL)"), "28000")));
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("login refused") && all[0].contains("Log in with"), "{all:?}");
    let log = cluster().log();
    assert!(log.contains("login refused"));
    for token in refused.iter().filter(|token| token.len() > 40) {
        assert!(!log.contains(token.as_str()), "the log shows {token}");
    }
}

/// What each refusal was about stands in the server's log, and whoever asked hears nothing of it.
#[test]
fn an_operator_reads_why_a_login_was_refused_and_the_caller_does_not() {
    let twins = Twins::new("reasons");
    trust(&twins.db, &jwks(), "");
    let good = claims(twins.a, admin(&twins));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signed("ed", &claims)
    };
    let mut fractions = good.clone();
    fractions["exp"] = json!(now() as f64 + 600.5);
    fractions["iat"] = json!(now() as f64 - 0.25);
    login(&mut twins.db.as_role("app"), &signed("ed", &fractions)).expect("dates with a fraction");
    let (say, said) = std::sync::mpsc::channel();
    let mut config = Config::new();
    config.host(cluster().socket()).port(5432).user("app").dbname(&twins.db.name);
    config.notice_callback(move |notice| say.send(notice.message().to_owned()).expect("a test"));
    let mut client = config.connect(NoTls).expect("a session");
    client.batch_execute("SET client_min_messages = debug5").expect("a setting");
    for (token, reason) in [
        (with("exp", json!(1.5)), "it has expired"),
        (with("exp", json!("soon")), "it has no exp that is a number"),
        (with("aud", json!("another")), "its aud is not the audience"),
        (with("role", json!(["admin"])), "its role claim names no role"),
        (with("sub", json!("me")), "its user claim is missing"),
        (with("sub", json!(Uuid::from_u128(7).to_string())), "its user is no member"),
        (with("iss", json!("https://other.example")), "its issuer is not trusted"),
        ("x".to_owned(), "it is no token"),
    ] {
        let before = cluster().log().matches(reason).count();
        fails_with(login(&mut client, &token), "28000");
        assert!(cluster().log().matches(reason).count() > before, "{reason}");
        assert!(said.try_iter().all(|heard| !heard.contains("login refused")), "{reason}");
    }
}
