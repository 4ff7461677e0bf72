//! Copies that are no dump of the whole and no physical standby: what is rolled up and billed in them is what was, and goes
//! on from there. Nothing lost, nothing twice.

use std::time::{Duration, Instant};

use postgres::Client;
use stormops_tests::billed::{Billed, billed};
use stormops_tests::tenant::session;
use stormops_tests::{Db, SUPERUSER, cluster, fails_with, get, provision};
use uuid::Uuid;

/// A tenant with a final invoice, a late event of its month, events that are rolled up and one that is not.
fn used(name: &str) -> (Billed, Uuid) {
    let mut b = billed(name);
    b.meter("model_call", "100", "2024-01-10Z");
    let january = b.draft("2024-01");
    b.finalize(january);
    b.meter("model_call", "20", "2024-01-11Z");
    b.meter("model_call", "3", "2024-02-10Z");
    b.op.batch_execute("SELECT stormops.rollup_usage()").expect("a rollup");
    b.meter("model_call", "4", "2024-02-11Z");
    (b, january)
}

fn roll_up(op: &mut Client) -> i64 {
    get(op, "SELECT events FROM stormops.rollup_usage()", &[])
}

/// The copy bills what the original would, goes on metering, and proves all of it.
fn goes_on(db: &Db, tenant: Uuid, january: Uuid, unfolded: i64) {
    let mut op = db.as_role("op");
    session(db, tenant)
        .batch_execute("SELECT stormops.record_usage('model_call', 500, at => '2024-02-12Z')")
        .expect("usage");
    assert_eq!(roll_up(&mut op), unfolded + 1, "what was not rolled up, and what is new here");
    assert_eq!(roll_up(&mut op), 0);
    assert_eq!(get::<i64>(&mut op, "SELECT count(*) FROM stormops.verify_rollups()", &[]), 0);
    assert!(get::<bool>(&mut op, "SELECT verified FROM stormops.verify_invoice($1)", &[&january]));
    let draft = "SELECT invoice_id FROM stormops.generate_invoice($1, '2024-02')";
    let february: Uuid = get(&mut op, draft, &[&tenant]);
    let lines = "SELECT string_agg(concat_ws(' ', kind, trim_scale(quantity), amount), '; ' ORDER BY line)
        FROM stormops.invoice_lines WHERE invoice_id = $1";
    let lines: String = get(&mut db.superuser(), lines, &[&february]);
    assert_eq!(lines, "usage 507 5.07; adjustment 20 0.20");
    let number = "SELECT invoice_number FROM stormops.finalize_invoice($1)";
    assert_eq!(get::<i64>(&mut op, number, &[&february]), 2, "numbers go on");
    assert!(get::<bool>(&mut op, "SELECT verified FROM stormops.verify_invoice($1)", &[&february]));
}

/// Makes `to` a subscriber of what `from` publishes, and waits until it has all.
fn subscribe(from: &Db, to: &Db, name: &str, publication: &str) {
    from.superuser().batch_execute(publication).expect("a publication");
    // Within one server the slot is made by hand: CREATE SUBSCRIPTION would wait for its own transaction.
    get::<String>(
        &mut from.superuser(),
        &format!("SELECT slot_name::text FROM pg_create_logical_replication_slot('{name}', 'pgoutput')"),
        &[],
    );
    let subscription = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION 'host={} port=5432 user={SUPERUSER} dbname={}' PUBLICATION {name}
         WITH (create_slot = false, slot_name = '{name}', copy_data = true)",
        cluster().socket(),
        from.name
    );
    to.superuser().batch_execute(&subscription).expect("a subscription");
    let start = Instant::now();
    let ready = "SELECT count(*) > 0 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel";
    while !get::<bool>(&mut to.superuser(), ready, &[]) {
        assert!(start.elapsed() < Duration::from_secs(60), "a copy of every table by now");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn caught_up(from: &Db, to: &Db, query: &str) {
    let start = Instant::now();
    while get::<i64>(&mut from.superuser(), query, &[]) != get::<i64>(&mut to.superuser(), query, &[]) {
        assert!(start.elapsed() < Duration::from_secs(60), "{query}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn promote(to: &Db, name: &str) {
    to.superuser()
        .batch_execute(&format!("ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name}"))
        .expect("a promotion");
}

/// A database with the schema of another, which holds no row: as for a logical copy of the whole.
fn without_rows(of: &Db, name: &str) -> Db {
    let empty = Db::empty(name);
    empty.pg_restore(&of.pg_dump(&["-Fc", "--schema-only"]), &["--exit-on-error"]);
    empty
}

#[test]
fn a_promoted_logical_copy_bills_what_the_original_would() {
    let (b, january) = used("published");
    let copy = without_rows(&b.db, "promoted");
    subscribe(
        &b.db,
        &copy,
        "promotion",
        "CREATE PUBLICATION promotion FOR ALL TABLES WITH (publish_via_partition_root = true)",
    );
    // While it follows, the original goes on.
    b.meter("model_call", "1000", "2024-03-01Z");
    let mut op = b.db.as_role("op");
    assert_eq!(roll_up(&mut op), 2);
    b.meter("model_call", "1", "2024-03-02Z");
    caught_up(&b.db, &copy, "SELECT count(*) FROM stormops.tenant_usage");
    caught_up(&b.db, &copy, "SELECT count(*) FROM stormops.usage_batches WHERE mark IS NULL");
    promote(&copy, "promotion");
    b.db.superuser().batch_execute("SELECT pg_drop_replication_slot('promotion')").ok();
    goes_on(&copy, b.tenant, january, 1);
}

#[test]
fn rows_alone_restored_into_an_installation_are_billed_once() {
    let (b, january) = used("rows_from");
    let target = Db::new("rows_into");
    let dump = b.db.pg_dump(&["-Fc", "--data-only"]);
    target.pg_restore(&dump, &["--exit-on-error"]);
    goes_on(&target, b.tenant, january, 1);
    // And what was never told how to bring rows: beside rows of its own it refuses none of them.
    let again = cluster().program("pg_restore", SUPERUSER, &target.name).args(["-d", &target.name]).output();
    assert!(again.is_ok());
}

#[test]
fn a_tenant_that_is_moved_by_logical_replication_is_billed_there_once() {
    let (b, january) = used("moved_from");
    let target = Db::new("moved_into");
    // The other node has a tenant of its own, and used more.
    let other = provision(&target, "Best Roofs");
    let mut best = session(&target, other);
    for _ in 0..30 {
        best.batch_execute("SELECT stormops.record_usage('model_call', 1)").expect("usage there");
    }
    roll_up(&mut target.as_role("op"));
    best.batch_execute("SELECT stormops.record_usage('model_call', 1)").expect("usage there");
    let tables = "SELECT string_agg(format('stormops.%I WHERE (tenant_id = %L)', c.relname, $1::uuid), ', ')
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = 'stormops'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition";
    let tables: String = get(&mut b.db.superuser(), tables, &[&b.tenant]);
    let prices =
        "SELECT count(*) FROM stormops_internal.prices WHERE price_id IN (SELECT price_id FROM stormops.invoice_lines)";
    // The prices that it is billed by are the installation's: there they are the same.
    let price: String = get(
        &mut b.db.superuser(),
        "SELECT price_id::text FROM stormops_internal.prices WHERE metric_name = 'model_call'",
        &[],
    );
    target
        .superuser()
        .batch_execute(&format!(
            "ALTER TABLE stormops_internal.prices DISABLE TRIGGER USER;
             UPDATE stormops_internal.prices SET price_id = '{price}' WHERE metric_name = 'model_call';
             ALTER TABLE stormops_internal.prices ENABLE TRIGGER USER"
        ))
        .expect("the same prices");
    subscribe(
        &b.db,
        &target,
        "moving",
        &format!("CREATE PUBLICATION moving FOR TABLE {tables} WITH (publish_via_partition_root = true)"),
    );
    caught_up(&b.db, &target, prices);
    promote(&target, "moving");
    b.db.superuser().batch_execute("SELECT pg_drop_replication_slot('moving')").ok();
    // One of the tenant that was there waits too.
    goes_on(&target, b.tenant, january, 2);
    fails_with(target.as_role("op").query("SELECT * FROM stormops.verify_invoice($1)", &[&Uuid::nil()]), "P0002");
}
