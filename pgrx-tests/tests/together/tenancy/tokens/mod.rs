//! Which tokens `login()` takes: whose, signed by which key, and what it tells of those that it refuses.

use postgres::{Client, Error};
use serde_json::json;
use stormops_tests::tokens::{claims, jwks, signed, trust};
use stormops_tests::twins::{Twins, id};
use uuid::Uuid;

mod issued;
mod keys;
mod refusals;

/// The first admin of tenant A.
fn admin(twins: &Twins) -> Uuid {
    let admin = "SELECT user_id FROM stormops.users WHERE tenant_id = $1 AND role = 'admin'";
    twins.db.superuser().query_one(admin, &[&twins.a]).expect("an admin").get(0)
}

fn login(client: &mut Client, token: &str) -> Result<u64, Error> {
    client.execute("SELECT stormops.login($1)", &[&token])
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
