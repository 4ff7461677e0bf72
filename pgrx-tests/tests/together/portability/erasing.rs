//! A closed tenant is erased, step by step, and nobody else loses a row.

use postgres::Client;
use serde_json::Value;
use stormops_tests::portable::{export, import};
use stormops_tests::tenant::session;
use stormops_tests::twins::Twins;
use stormops_tests::{Db, fails_with, get, provision, sqlstate};
use uuid::Uuid;

use super::life::{filled, inside, lines, same};

const STEP: &str = "SELECT done, rows_erased, receipt FROM stormops.erase_tenant($1, $2)";

/// Calls it until it is done, each time in a transaction of its own; the receipt.
#[track_caller]
fn erase(op: &mut Client, tenant: Uuid, max_rows: i32) -> (Value, usize) {
    for calls in 1.. {
        let step = op.query_one(STEP, &[&tenant, &max_rows]).expect("a step");
        if step.get(0) {
            return (step.get(2), calls);
        }
        assert!(step.get::<_, Option<Value>>(2).is_none() && calls < 1000);
    }
    unreachable!()
}

fn close(op: &mut Client, tenant: Uuid) {
    op.execute("SELECT stormops.close_tenant($1, 'gone')", &[&tenant]).expect("a closed tenant");
}

#[test]
fn only_a_closed_tenant_is_erased_and_by_an_operator() {
    let twins = Twins::new("erase_who");
    let (a, db) = (twins.a, &twins.db);
    let mut op = db.as_role("op");
    fails_with(op.query(STEP, &[&a, &10]), "55000");
    op.execute("SELECT stormops.suspend_tenant($1, 'late')", &[&a]).expect("a suspension");
    fails_with(op.query(STEP, &[&a, &10]), "55000");
    close(&mut op, a);
    for role in ["app", "tapp", "mon", "nobody"] {
        fails_with(db.as_role(role).query(STEP, &[&a, &10]), "42501");
    }
    fails_with(session(db, twins.b).query(STEP, &[&a, &10]), "42501");
    fails_with(op.query(STEP, &[&Uuid::nil(), &10]), "P0002");
    fails_with(op.query(STEP, &[&None::<Uuid>, &10]), "22004");
    for wrong in [0, -1, 1_000_001] {
        fails_with(op.query(STEP, &[&a, &wrong]), "22023");
    }
    assert!(
        twins.count("storms", a) > 0
            && get::<i64>(&mut db.superuser(), "SELECT count(*) FROM stormops_internal.erasures", &[]) == 0
    );
}

/// Of every table there is, with the same ids next door.
#[test]
fn every_row_goes_that_may_and_none_of_another_tenant() {
    let twins = Twins::new("erase_all");
    let Twins { db, a, b, .. } = &twins;
    let route = "SELECT stormops.set_alert_route('pager', 'webhook', 'https://example.com/hook', 'SECRET-OF-A-OF-24-CHARACTERS')";
    session(db, *a).batch_execute(route).expect("a route");
    let secrets = "SELECT count(*) FROM stormops_internal.alert_routes WHERE for_tenant IS NOT NULL";
    assert_eq!(get::<i64>(&mut db.superuser(), secrets, &[]), 1);
    db.superuser().batch_execute("ANALYZE stormops.properties, stormops.users").expect("statistics");
    let (before, theirs) =
        (twins.tables.iter().map(|table| twins.count(table, *a)).collect::<Vec<_>>(), twins.contents(*b));
    let mut op = db.as_role("op");
    close(&mut op, *a);
    let (receipt, calls) = erase(&mut op, *a, 7);
    assert!(calls > 4, "{calls}");
    assert_eq!(twins.contents(*b), theirs);
    assert_eq!(get::<i64>(&mut db.superuser(), secrets, &[]), 0);
    let of = |table: &str| {
        let tables = receipt["tables"].as_array().expect("tables");
        tables.iter().find(|entry| entry["table"] == table).unwrap_or_else(|| panic!("{table} in {receipt}")).clone()
    };
    let mut erased = 0;
    for (table, before) in twins.tables.iter().zip(before) {
        let after = twins.count(table, *a);
        let kept = match *table {
            "tenants" | "tenant_events" | "tenant_log" => 1,
            _ => 0,
        };
        assert_eq!((after, of(table)["after"].as_u64()), (kept, Some(kept as u64)), "{table}");
        assert_eq!(of(table)["kept_because"].is_string(), kept > 0, "{table}");
        // Closing wrote an event, and counts change with each row that goes.
        let counted = of(table)["before"].as_u64().expect("a count");
        assert!(counted >= before as u64, "{table}: {counted} of {before}");
        erased += counted as usize - usize::from(*table == "tenants");
    }
    assert!(receipt["rows_erased"].as_u64().is_some_and(|rows| rows as usize >= erased), "{erased} {receipt}");
    assert!(receipt["not_reached"].as_array().is_some_and(|texts| texts.len() > 4));
    assert_eq!(
        op.query_one(STEP, &[a, &10]).expect("once more").get::<_, Value>(2),
        receipt,
        "the same receipt ever after"
    );
    let verify = "SELECT ok AND entries = 1 FROM stormops.verify_log($1)";
    assert!(get::<bool>(&mut op, verify, &[a]));
    // Nothing that the tenant wrote is left in what the planner knows.
    let known =
        "SELECT count(*) FROM pg_stats WHERE schemaname LIKE 'stormops%' AND tablename IN ('properties', 'users')
        AND (most_common_vals::text LIKE '%' || $1 || '%' OR histogram_bounds::text LIKE '%' || $1 || '%')";
    assert_eq!(get::<i64>(&mut db.superuser(), known, &[&a.to_string()]), 0);
}

#[test]
fn invoices_stay_without_the_name_and_what_another_tenant_proves_still_holds() {
    let source = filled();
    let [_, other, closed] = source.tenants;
    let mut op = source.db.as_role("op");
    let mut superuser = source.db.superuser();
    let before = "SELECT concat_ws(' ', invoice_id, kind, invoice_number, total, finalized_at) FROM stormops.invoices WHERE tenant_id = '$1' AND status <> 'draft' ORDER BY 1";
    let of = |tenant: Uuid, query: &str| query.replace("$1", &tenant.to_string());
    let (invoices, file) = (lines(&mut superuser, &of(closed, before)), export(&mut inside(&source.db, other)));
    assert!(!invoices.is_empty());
    let change = of(closed, "UPDATE stormops.invoices SET org_name = 'erased' WHERE tenant_id = '$1'");
    assert_eq!(sqlstate(&superuser.batch_execute(&change)), "55000", "of a tenant that is not erased nothing changes");
    let (receipt, _) = erase(&mut op, closed, 1000);
    assert_eq!(lines(&mut superuser, &of(closed, before)), invoices);
    let named = of(
        closed,
        "SELECT DISTINCT org_name || coalesce(reason, '') FROM stormops.invoices WHERE tenant_id = '$1' ORDER BY 1",
    );
    assert!(lines(&mut superuser, &named).iter().all(|name| name.replace("erased", "").is_empty()));
    let drafts = of(closed, "SELECT count(*)::text FROM stormops.invoices WHERE tenant_id = '$1' AND status = 'draft'");
    assert_eq!(lines(&mut superuser, &drafts), ["0"]);
    let kept = receipt["tables"]
        .as_array()
        .expect("tables")
        .iter()
        .find(|entry| entry["table"] == "invoices")
        .expect("invoices");
    assert!(kept["kept_because"].as_str().is_some_and(|why| why.contains("law")), "{kept}");
    let tampered = of(
        closed,
        "UPDATE stormops.invoices SET org_name = 'erased', total = 0 WHERE tenant_id = '$1' AND status <> 'draft'",
    );
    assert_eq!(sqlstate(&superuser.batch_execute(&tampered)), "55000");
    same(&file, &export(&mut inside(&source.db, other)), "the other tenant");
    for tenant in [other, closed] {
        assert!(get::<bool>(&mut op, "SELECT ok FROM stormops.verify_log($1)", &[&tenant]));
    }
    assert_eq!(get::<i64>(&mut op, "SELECT count(*) FROM stormops.verify_rollups()", &[]), 0);
    op.batch_execute(
        "SELECT stormops.rollup_usage(), stormops.generate_invoices('2024-03'), stormops.measure_storage()",
    )
    .expect("the platform goes on");
    op.batch_execute("SELECT stormops.run_health_checks()").expect("and checks");
    assert_eq!(
        lines(
            &mut superuser,
            &of(
                closed,
                "SELECT count(*)::text FROM stormops.invoices WHERE tenant_id = '$1' AND period = '2024-03-01'"
            )
        ),
        ["0"]
    );
}

/// A call that ends in a crash never was; the next one goes on.
#[test]
fn an_erasure_that_was_cut_off_goes_on() {
    let twins = Twins::new("erase_cut");
    let mut op = twins.db.as_role("op");
    close(&mut op, twins.a);
    let left = || twins.tables.iter().map(|table| twins.count(table, twins.a)).sum::<usize>();
    let all = left();
    op.execute(STEP, &[&twins.a, &5]).expect("a step");
    let after_one = left();
    assert!(after_one < all);
    op.batch_execute("BEGIN").expect("a transaction");
    op.execute(STEP, &[&twins.a, &5]).expect("a step");
    let pid: i32 = get(&mut op, "SELECT pg_backend_pid()", &[]);
    assert!(get::<bool>(&mut twins.db.superuser(), "SELECT pg_terminate_backend($1, 10000)", &[&pid]));
    assert_eq!(left(), after_one);
    let mut op = twins.db.as_role("op");
    fails_with(op.query("SELECT stormops.verify_log($1)", &[&twins.a]), "55000");
    let (receipt, _) = erase(&mut op, twins.a, 100_000);
    let named =
        "SELECT count(*) FROM stormops_internal.erasures AS e WHERE e.finished_at IS NOT NULL AND e.receipt = $1";
    assert_eq!(get::<i64>(&mut op_superuser(&twins.db), named, &[&receipt]), 1);
}

fn op_superuser(db: &Db) -> Client {
    db.superuser()
}

#[test]
fn id_and_name_of_an_erased_tenant_are_taken_for_ever() {
    let db = Db::new("tomb");
    let tenant = provision(&db, "Abc Roofing");
    let file = export(&mut session(&db, tenant));
    let mut op = db.as_role("op");
    close(&mut op, tenant);
    erase(&mut op, tenant, 1000);
    let kept = "SELECT org_name || ' ' || name_key FROM stormops.tenants";
    let kept: String = get(&mut db.superuser(), kept, &[]);
    assert!(kept.starts_with("erased erased:") && !kept.contains("abc"), "{kept}");
    for name in ["Abc Roofing", "ABC  roofing", "\u{410}bc Roofing"] {
        let provision = "SELECT stormops.provision_tenant($1, 'standard', 'a@b.example')";
        fails_with(op.query(provision, &[&name]), "23505");
    }
    fails_with(import(&db, &file), "23505");
    let another = "SELECT stormops.import_tenant_rows(l, stormops_internal.first_id_at(1), NULL ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS l (l, n)";
    fails_with(db.superuser().query(another, &[&file]), "23505");
    provision(&db, "Abd Roofing");
}
