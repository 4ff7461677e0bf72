//! Tokens of the installation's own.

use stormops_tests::twins::{Twins, id};
use stormops_tests::{fails_with, sqlstate};

use super::{admin, login};

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
