//! Which tokens `login()` takes: whose, signed by which key, and what it tells of those that it refuses.

use postgres::error::DbError;
use postgres::{Client, Config, Error, NoTls};
use serde_json::{Value, json};
use stormops_tests::tokens::{ISSUER, claims, jwks, now, signed, signed_as, trust};
use stormops_tests::twins::{Twins, id};
use stormops_tests::{NOBODY, SUPERUSER, cluster, fails_with, sqlstate};
use uuid::Uuid;

const LOGIN: &str = "SELECT stormops.login($1)";

/// The first admin of tenant A.
fn admin(twins: &Twins) -> Uuid {
    let admin = "SELECT user_id FROM stormops.users WHERE tenant_id = $1 AND role = 'admin'";
    twins.db.superuser().query_one(admin, &[&twins.a]).expect("an admin").get(0)
}

fn login(client: &mut Client, token: &str) -> Result<u64, Error> {
    client.execute(LOGIN, &[&token])
}

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
    assert_eq!(stormops_tests::get::<Vec<String>>(&mut twins.db.as_role("op"), kept, &[]), ["ed", "hs"]);
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
fn claims_of_other_names_hold_tenant_user_and_role() {
    let twins = Twins::new("claims");
    trust(&twins.db, &jwks(), ", false, 'https://storm/tenant', 'uid', 'https://storm/role'");
    let mut claims = claims(twins.b, id(2)); // which do not count
    claims["https://storm/tenant"] = json!(twins.a.to_string());
    claims["uid"] = json!(admin(&twins).to_string());
    claims["https://storm/role"] = json!("viewer");
    let mut client = twins.db.as_role("app");
    client.batch_execute("BEGIN").expect("a transaction");
    login(&mut client, &signed("ed", &claims)).expect("a good token");
    let who = "SELECT stormops.current_tenant(), stormops.current_user_role()";
    let who = client.query_one(who, &[]).expect("a login");
    assert_eq!((who.get::<_, Uuid>(0), who.get::<_, &str>(1)), (twins.a, "viewer"));
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

#[test]
fn an_installation_without_a_provider_issues_its_own() {
    let twins = Twins::new("own");
    let (mut superuser, mut op, mut client) = (twins.db.superuser(), twins.db.as_role("op"), twins.db.as_role("app"));
    let user = admin(&twins);
    let issue = |more: &str| format!("SELECT stormops.issue_token('{}', '{user}' {more})", twins.a);
    let mut issued = |more: &str| op.query_one(&issue(more), &[]).map(|row| row.get::<_, String>(0));
    fails_with(issued(""), "55000");
    superuser.batch_execute("SELECT stormops.create_signing_key()").expect("a key");
    fails_with(superuser.batch_execute("SELECT stormops.create_signing_key()"), "55000");
    let token = issued(", '15 minutes', 'viewer'").expect("a token");
    client.batch_execute("BEGIN").expect("a transaction");
    login(&mut client, &token).expect("its own token");
    let role = client.query_one("SELECT stormops.current_user_role()", &[]).expect("a login");
    assert_eq!(role.get::<_, &str>(0), "viewer");
    client.batch_execute("ROLLBACK").expect("its end");
    for (more, expected) in [
        (", '0 seconds'", "22023"),
        (", '25 hours'", "22023"),
        (", role => 'owner'", "22023"),
        (", nonce => repeat('x', 201)", "22023"),
    ] {
        assert_eq!(sqlstate(&issued(more)), expected, "{more}");
    }
    for (tenant, user, expected) in [
        (Some(twins.b), Some(user), "P0002"),
        (Some(twins.a), Some(id(9)), "P0002"),
        (None, Some(user), "22004"),
        (Some(twins.a), None, "22004"),
    ] {
        let answer = twins.db.as_role("op").query("SELECT stormops.issue_token($1, $2)", &[&tenant, &user]);
        assert_eq!(sqlstate(&answer), expected, "{tenant:?} {user:?}");
    }
    // The tenant sees who issued for whom.
    let event =
        "SELECT actor, user_id, to_status FROM stormops.tenant_events WHERE action = 'issue_token' AND tenant_id = $1";
    let event = superuser.query_one(event, &[&twins.a]).expect("one event");
    assert_eq!((event.get(0), event.get(1), event.get(2)), ("op", user, "viewer"));
    // The old key's tokens are taken for a while, or not at all.
    superuser.batch_execute("SELECT stormops.rotate_signing_key()").expect("a key");
    let second = issued("").expect("a token");
    login(&mut client, &token).expect("an overlap");
    superuser.batch_execute("SELECT stormops.rotate_signing_key('0')").expect("a key");
    fails_with(login(&mut client, &token), "28000");
    fails_with(login(&mut client, &second), "28000");
    let third = issued("").expect("a token");
    login(&mut client, &third).expect("the new key");
    fails_with(superuser.batch_execute("SELECT stormops.rotate_signing_key('-1 hour')"), "22023");
    // A key that ended without anybody's doing.
    let ended = "UPDATE stormops_internal.token_keys SET not_after = now() - interval '1 second'";
    superuser.batch_execute(ended).expect("a superuser");
    fails_with(login(&mut client, &third), "28000");
    superuser.batch_execute("SELECT stormops.distrust_issuer('stormops')").expect("a superuser");
    fails_with(issued(""), "55000");
    fails_with(superuser.batch_execute("SELECT stormops.rotate_signing_key()"), "55000");
}

#[test]
fn an_issued_token_can_be_bound() {
    let twins = Twins::new("issued");
    twins.db.superuser().batch_execute("SELECT stormops.create_signing_key(true)").expect("a key");
    let (mut op, mut client) = (twins.db.as_role("op"), twins.db.as_role("app"));
    client.batch_execute("BEGIN").expect("a transaction");
    let challenge: String = client.query_one("SELECT stormops.login_challenge()", &[]).expect("a challenge").get(0);
    let issue = "SELECT stormops.issue_token($1, $2, nonce => $3)";
    let token: String = op.query_one(issue, &[&twins.a, &admin(&twins), &challenge]).expect("a token").get(0);
    login(&mut client, &token).expect("its challenge");
    client.batch_execute("TABLE stormops.storms; COMMIT").expect("rows");
    fails_with(login(&mut client, &token), "28000");
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
