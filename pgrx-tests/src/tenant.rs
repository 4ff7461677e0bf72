//! What most tests begin with: a tenant, a session in it, and storms whose properties are scored.

use postgres::Client;
use uuid::Uuid;

use crate::{Db, get};

/// A new tenant, made by the operator.
#[track_caller]
pub fn provision(db: &Db, org_name: &str) -> Uuid {
    let email = format!("admin@{}.example", org_name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let provisioned = "SELECT tenant_id FROM stormops.provision_tenant($1, 'standard', $2)";
    db.as_role("op").query_one(provisioned, &[&org_name, &email]).expect("a tenant").get(0)
}

/// Sets the tenant of a session whose role may (`tapp`).
#[track_caller]
pub fn enter(client: &mut Client, tenant: Uuid) {
    client.batch_execute(&format!("SET app.current_tenant = '{tenant}'")).expect("a trusted role");
}

/// A new tenant, and a session of the trusted application in it.
#[track_caller]
pub fn tenant(db: &Db, org_name: &str) -> (Uuid, Client) {
    let tenant = provision(db, org_name);
    (tenant, session(db, tenant))
}

#[track_caller]
pub fn session(db: &Db, tenant: Uuid) -> Client {
    let mut session = db.as_role("tapp");
    // As grant_usage() sets it; a copied database does not carry that setting.
    session.batch_execute("SET search_path = public, stormops").expect("a search path");
    enter(&mut session, tenant);
    session
}

/// A session on behalf of a new user of the tenant.
#[track_caller]
pub fn acting_as(db: &Db, tenant: Uuid, role: &str) -> Client {
    let mut session = session(db, tenant);
    let add = "SELECT stormops.add_user('a.' || $1 || '@abc.example', $1)";
    let user: Uuid = get(&mut session, add, &[&role]);
    session.batch_execute(&format!("SET app.current_user_id = '{user}'")).expect("a user of the tenant");
    session
}

/// A storm with `n` scored properties. Every tenant's have the same ids, and every storm's properties are the same; the
/// scores run evenly from -0.1 to 0.2, and a third of them come without a standard deviation.
#[track_caller]
pub fn scored_storm(session: &mut Client, event: &str, n: i32) -> Uuid {
    let storm = storm(session, event);
    let properties = "INSERT INTO properties (property_id, external_id)
        SELECT md5('property ' || i)::uuid, i FROM generate_series(1, $1::int) AS i
        ON CONFLICT (tenant_id, property_id) DO NOTHING";
    session.execute(properties, &[&n]).expect("properties");
    let scores = "INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift, uplift_sd)
        SELECT $1, md5('property ' || i)::uuid, 'v1', 0.3 * mod(i * 0.618033988749, 1) - 0.1,
            CASE WHEN i % 3 > 0 THEN 0.01 + 0.09 * mod(i * 0.754877666, 1) END
        FROM generate_series(1, $2::int) AS i";
    session.execute(scores, &[&storm, &n]).expect("scores");
    storm
}

#[track_caller]
pub fn storm(session: &mut Client, event: &str) -> Uuid {
    let storm = "INSERT INTO storms (storm_id, event_id, name) VALUES (md5($1)::uuid, $1, $1) RETURNING storm_id";
    get(session, storm, &[&event])
}
