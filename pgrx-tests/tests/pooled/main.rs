//! Many tenants on few pooled connections, in random order: no row ever under another tenant's pin.
//!
//! Each client works through one PgBouncer in transaction mode and gets whatever connection is free, with all that
//! others left on it. Every row that it reads names its tenant; every row that it writes carries the pin as text.
//! `STORMOPS_SEED=n` repeats the clients' choices (how they interleave is the machine's).

mod player;

use std::sync::atomic::AtomicUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use player::Player;
use stormops_tests::pool::Pool;
use stormops_tests::{Db, provision};
use uuid::Uuid;

const TENANTS: usize = 12;
const CLIENTS: usize = 8;
const CONNECTIONS: usize = 3;
const OPERATIONS: usize = 100_000;

struct Tenant {
    id: Uuid,
    token: String,
}

#[test]
fn no_row_is_ever_under_another_pin() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let seed = std::env::var("STORMOPS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("STORMOPS_SEED={seed}");

    let db = Db::new("schedules");
    let mut superuser = db.superuser();
    superuser.batch_execute("SELECT stormops.create_signing_key()").expect("a key");
    let default = format!("ALTER ROLE tapp IN DATABASE \"{}\" SET stormops.session_tenant = off", db.name);
    superuser.batch_execute(&default).expect("as it is unless somebody switches it on");
    let tenants: Vec<Tenant> = (0..TENANTS).map(|n| tenant(&db, n)).collect();
    let pool = Pool::start(CONNECTIONS);
    let done = AtomicUsize::new(0);
    let kept: usize = std::thread::scope(|scope| {
        let start = |n: usize| {
            let trusted = n.is_multiple_of(2);
            let client = pool.connect(if trusted { "tapp" } else { "app" }, &db.name);
            let mut player = Player::new(client, trusted, seed.wrapping_add(n as u64), &tenants, &done);
            scope.spawn(move || {
                player.play();
                player.kept
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        clients.into_iter().map(|client| client.join().unwrap_or_else(|broken| std::panic::resume_unwind(broken))).sum()
    });
    println!("{} operations, {kept} rows written", done.into_inner());

    let written = "SELECT count(*), count(*) FILTER (WHERE metric_name <> 't' || replace(tenant_id::text, '-', '_')) FROM stormops.tenant_usage";
    let written = superuser.query_one(written, &[]).expect("counts");
    assert_eq!(
        (written.get::<_, i64>(0), written.get::<_, i64>(1)),
        (kept as i64, 0),
        "rows, and rows under another pin"
    );
    let misnamed = "SELECT count(*) FROM stormops.storms WHERE name NOT IN ('Storm', tenant_id::text)";
    assert_eq!(superuser.query_one(misnamed, &[]).expect("a count").get::<_, i64>(0), 0, "updates under another pin");
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tapp'";
    let connections: i64 = superuser.query_one(connections, &[]).expect("a count").get(0);
    assert!((1..=CONNECTIONS as i64).contains(&connections), "{connections} connections: the pool did not pool");
}

/// The metric of a tenant, by which an event tells whose it is.
fn mark(tenant: Uuid) -> String {
    format!("t{}", tenant.to_string().replace('-', "_"))
}

fn tenant(db: &Db, n: usize) -> Tenant {
    let id = provision(db, &format!("Roofing {}", char::from(b'A' + n as u8)));
    let mark = mark(id);
    let rows = format!(
        "INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) SELECT '{id}', md5(i::text)::uuid, i, 'Storm'
        FROM generate_series(1, 2) AS i;
        INSERT INTO stormops.properties (tenant_id, property_id, external_id) SELECT '{id}', md5(i::text)::uuid, i
        FROM generate_series(1, 15) AS i;
        INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation) VALUES ('{id}', '{mark}', 'unit', 'SUM')"
    );
    db.superuser().batch_execute(&rows).expect("rows");
    let user = "SELECT user_id FROM stormops.users WHERE tenant_id = $1";
    let user: Uuid = db.superuser().query_one(user, &[&id]).expect("the admin").get(0);
    let issue = format!("SELECT stormops.issue_token('{id}', '{user}')");
    let token = db.as_role("op").query_one(&issue, &[]).expect("a token").get(0);
    Tenant { id, token }
}
