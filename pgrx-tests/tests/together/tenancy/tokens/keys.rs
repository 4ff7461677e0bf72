//! Whose keys are trusted, from when to when, and that nobody else comes by one.

use serde_json::json;
use stormops_tests::tokens::{ISSUER, claims, jwks, signed, trust};
use stormops_tests::twins::Twins;
use stormops_tests::{NOBODY, SUPERUSER, fails_with, get, sqlstate};

use super::{admin, login};

#[test]
fn keys_that_are_left_out_are_returned_with_the_reason() {
    let twins = Twins::new("left_out");
    let mut set = jwks();
    let keys = set["keys"].as_array_mut().expect("keys");
    keys.push(json!({"kty": "RSA", "kid": "ps", "alg": "PS256", "n": "AA", "e": "AQAB"}));
    keys.push(json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": "AA", "e": "AQAB"}));
    let trusted = "SELECT kid, left_out FROM stormops.trust_issuer('https://kc.example', 'storm', $1) ORDER BY kid";
    let rows = twins.db.superuser().query(trusted, &[&set]).expect("keys");
    let rows: Vec<(String, Option<String>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let why = "RSA PS256 is not taken: a token is signed by EdDSA (Ed25519), ES256 (P-256), RS256 or HS256";
    let due = [("ed", None), ("enc", Some("its use is not sig")), ("hs", None), ("ps", Some(why))];
    assert_eq!(rows, due.map(|(kid, why)| (kid.to_owned(), why.map(str::to_owned))));
    let kept = "SELECT array_agg(kid ORDER BY kid) FROM stormops.issuers() WHERE issuer = 'https://kc.example'";
    assert_eq!(get::<Vec<String>>(&mut twins.db.as_role("op"), kept, &[]), ["ed", "hs"]);
}

#[test]
fn a_key_that_left_the_set_is_refused_at_the_next_login_of_every_session() {
    let twins = Twins::new("rotation");
    trust(&twins.db, &jwks(), "");
    let good = claims(twins.a, admin(&twins));
    let (ed, hs) = (signed("ed", &good), signed("hs", &good));
    let only = |kid: usize| json!({"keys": [jwks()["keys"][kid]]});
    // Sessions whose caches hold both keys, one of them in a snapshot of before.
    let mut sessions = [twins.db.as_role("app"), twins.db.as_role("app")];
    sessions[1].batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").expect("a transaction");
    let mut expect = |answers: [&str; 2]| {
        for client in &mut sessions {
            for (token, expected) in [&ed, &hs].into_iter().zip(answers) {
                let in_transaction = client.batch_execute("SAVEPOINT s").is_ok();
                assert_eq!(sqlstate(&login(client, token)), expected, "{in_transaction} {token}");
                if in_transaction {
                    client.batch_execute("ROLLBACK TO s").expect("a savepoint");
                }
            }
        }
    };
    expect(["00000", "00000"]);
    trust(&twins.db, &only(1), "");
    expect(["28000", "00000"]);
    trust(&twins.db, &only(0), "");
    expect(["00000", "28000"]);
    trust(&twins.db, &jwks(), ", bound => true");
    expect(["28000", "28000"]);
    trust(&twins.db, &jwks(), ", user_claim => 'user'");
    expect(["28000", "28000"]);
    trust(&twins.db, &jwks(), "");
    expect(["00000", "00000"]);
    let mut superuser = twins.db.superuser();
    // Not before it is committed.
    superuser.batch_execute(&format!("BEGIN; SELECT stormops.distrust_issuer('{ISSUER}')")).expect("a superuser");
    expect(["00000", "00000"]);
    superuser.batch_execute("COMMIT").expect("its end");
    expect(["28000", "28000"]);
    fails_with(superuser.batch_execute(&format!("SELECT stormops.distrust_issuer('{ISSUER}')")), "P0002");
}

#[test]
fn a_set_of_keys_is_trusted_whole_or_not_at_all() {
    let twins = Twins::new("jwks");
    trust(&twins.db, &jwks(), "");
    let (mut superuser, mut client) = (twins.db.superuser(), twins.db.as_role("app"));
    let weak = json!({"keys": [jwks()["keys"][0], {"kty": "oct", "kid": "weak", "k": "c2hvcnQ"}]});
    for (issuer, audience, jwks, more, expected) in [
        (Some(ISSUER), Some("storm"), Some(weak), "", "22023"),
        (Some(ISSUER), Some("storm"), Some(json!({"keys": []})), "", "22023"),
        (Some(ISSUER), Some("storm"), Some(json!([])), "", "22023"),
        (Some(ISSUER), Some(""), Some(jwks()), "", "22023"),
        (Some("stormops"), Some("storm"), Some(jwks()), "", "22023"),
        (Some(""), Some("storm"), Some(jwks()), "", "22023"),
        (Some(ISSUER), Some("storm"), Some(jwks()), ", tenant_claim => ''", "22023"),
        (None, Some("storm"), Some(jwks()), "", "22004"),
        (Some(ISSUER), None, Some(jwks()), "", "22004"),
        (Some(ISSUER), Some("storm"), None, "", "22004"),
        (Some(ISSUER), Some("storm"), Some(jwks()), ", bound => NULL", "22004"),
    ] {
        let call = format!("SELECT * FROM stormops.trust_issuer($1, $2, $3 {more})");
        let error = fails_with(superuser.query(&call, &[&issuer, &audience, &jwks]), expected);
        assert!(error.hint().is_some(), "{error:?}");
    }
    login(&mut client, &signed("ed", &claims(twins.a, admin(&twins)))).expect("the keys of before");
    let listed = "SELECT string_agg(concat_ws(' ', issuer, audience, bound, kid, algorithm), ', ' ORDER BY kid), jsonb_agg(i)::text
        FROM stormops.issuers() AS i";
    let listed = twins.db.as_role("op").query_one(listed, &[]).expect("an operator");
    let expected = format!("{ISSUER} storm f ed EdDSA, {ISSUER} storm f hs HS256");
    assert_eq!(listed.get::<_, &str>(0), expected);
    assert!(!listed.get::<_, &str>(1).contains("YSBzZWNy"), "the secret of HS256");
}

/// Keys, and whatever signs with one, are nobody's but a superuser's.
#[test]
fn nobody_reads_a_key_or_makes_one_trusted() {
    let twins = Twins::new("keys");
    let mut superuser = twins.db.superuser();
    superuser.batch_execute("SELECT stormops.create_signing_key()").expect("a key");
    let statements = [
        "TABLE stormops_internal.signing_keys".to_owned(),
        "TABLE stormops_internal.token_keys".into(),
        "TABLE stormops_internal.token_issuers".into(),
        "DELETE FROM stormops_internal.signing_keys".into(),
        "UPDATE stormops_internal.token_keys SET jwk = ''".into(),
        format!("SELECT * FROM stormops.trust_issuer('{ISSUER}', 'storm', '{}')", jwks()),
        "SELECT stormops.distrust_issuer('stormops')".into(),
        "SELECT stormops.create_signing_key()".into(),
        "SELECT stormops.rotate_signing_key()".into(),
        "SELECT stormops_internal.new_signing_key()".into(),
        "SELECT stormops_internal.sign_token('\\x00', 'k', '{}')".into(),
        "SELECT stormops_internal.read_jwks('{}')".into(),
    ];
    for role in ["app", "tapp", "op", "mon", NOBODY] {
        for sql in &statements {
            assert_eq!(sqlstate(&twins.run(role, sql)), "42501", "{role}: {sql}");
        }
    }
    for role in ["app", "tapp", "mon", NOBODY] {
        let issue = "SELECT stormops.issue_token($a, NULL)";
        assert_eq!(sqlstate(&twins.run(role, issue)), "42501", "{role}");
    }
    for role in ["op", "mon", NOBODY] {
        assert_eq!(sqlstate(&twins.run(role, "SELECT stormops.login('x')")), "42501", "{role}");
    }
    assert_eq!(sqlstate(&twins.run(SUPERUSER, "SELECT stormops.login('x')")), "28000");
}
