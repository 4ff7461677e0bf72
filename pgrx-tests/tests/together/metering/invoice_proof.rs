//! Late events become adjustments, an invoice is proved from the raw events, and prices are tried without writing.

use stormops_tests::billed::{LINES, billed};
use stormops_tests::{Db, fails_with, provision};

const GRADUATED: &str = r#"'model_call', 'graduated', bands => '[{"up_to": 100, "unit_price": 0.05}, {"unit_price": 0.01}]',
    valid_from => '2024-01-01 00:00Z'"#;

#[test]
fn late_events_are_billed_once_on_the_next_invoice() {
    let mut b = billed("late");
    b.price(GRADUATED);
    b.meter("model_call", "90", "2024-01-10Z");
    let january = b.draft("2024-01");
    b.finalize(january);
    assert_eq!(b.about(LINES, january), "usage model_call 90 4.50");
    b.meter("model_call", "30", "2024-01-31 23:59Z");
    b.meter("model_call", "7", "2024-02-05Z");
    let february = b.draft("2024-02");
    // 120 in January: 100 at 0.05 and 20 at 0.01 are 5.20, of which 4.50 were billed.
    assert_eq!(b.about(LINES, february), "usage model_call 7 0.35; adjustment model_call 30 0.70");
    assert_eq!(b.verdict(february), "verified");
    let linked =
        "SELECT count(*) FROM stormops.invoice_lines AS l WHERE l.adjusts IS NOT NULL AND l.invoice_id = i.invoice_id";
    assert_eq!(b.about(linked, february), "1");
    b.finalize(february);
    // Nothing new: nothing adjusted, and what is closed stays proved.
    let march = b.draft("2024-03");
    assert_eq!(
        b.about("SELECT count(*) FROM stormops.invoice_lines AS l WHERE l.invoice_id = i.invoice_id", march),
        "0"
    );
    b.meter("model_call", "1", "2024-01-02Z");
    b.meter("model_call", "1", "2024-02-02Z");
    b.draft("2024-03");
    assert_eq!(b.about(LINES, march), "adjustment model_call 1 0.01; adjustment model_call 1 0.05");
    b.finalize(march);
    for invoice in [january, february, march] {
        assert_eq!(b.verdict(invoice), "verified");
    }
    // What a later invoice adjusts is not voided before that one.
    fails_with(b.op.query("SELECT * FROM stormops.void_invoice($1, 'x')", &[&january]), "55000");
    for invoice in [march, february, january] {
        b.op.query("SELECT * FROM stormops.void_invoice($1, 'all over again')", &[&invoice]).expect("void");
    }
    let again = b.draft("2024-01");
    assert_eq!(b.about(LINES, again), "usage model_call 100 5.00; usage model_call 21 0.21");
}

#[test]
fn a_new_metrics_late_event_and_a_cheaper_volume_are_adjusted_too() {
    let mut b = billed("cheaper");
    b.price(r#"'model_call', 'volume', bands => '[{"up_to": 100, "unit_price": 0.05}, {"unit_price": 0.01}]', valid_from => '2024-01-01 00:00Z'"#);
    b.meter("model_call", "100", "2024-01-10Z");
    let january = b.draft("2024-01");
    b.finalize(january);
    b.meter("model_call", "100", "2024-01-11Z");
    b.meter("storage_mb", "3", "2024-01-11Z");
    let february = b.draft("2024-02");
    // 200 at 0.01 are 2.00, billed were 5.00.
    assert_eq!(b.about(LINES, february), "adjustment model_call 100 -3.00; adjustment storage_mb 3 0.30");
    assert_eq!(b.about("i.total", february), "-2.70");
    b.finalize(february);
    assert_eq!(b.verdict(february), "verified");
}

/// The triggers are off, as only a superuser can have them.
fn tamper(db: &Db, statement: &str) {
    let quietly = format!("SET session_replication_role = replica; {statement}");
    db.superuser().batch_execute(&quietly).expect("a superuser's doing");
}

#[test]
fn the_first_line_that_differs_is_named() {
    for (doing, verdict) in [
        (
            "UPDATE stormops.tenant_usage SET metric_value = 101 WHERE metric_value = 100",
            "1: usage model_call: quantity",
        ),
        ("UPDATE stormops.tenant_usage SET recorded_at = '2024-01-11Z' WHERE metric_value = 100", "verified"),
        ("DELETE FROM stormops.tenant_usage WHERE metric_name = 'storage_mb'", "2: not due: usage storage_mb"),
        ("DELETE FROM stormops.tenant_usage WHERE metric_name = 'api_call'", "0: the invoice counts 3 events"),
        ("UPDATE stormops.invoice_lines SET amount = amount + 0.01 WHERE line = 2", "2: usage storage_mb: quantity"),
        ("UPDATE stormops.invoice_lines SET rule = 'other' WHERE line = 2", "2: usage storage_mb: quantity"),
        ("DELETE FROM stormops.invoice_lines WHERE line = 1", "1: missing: usage model_call"),
        ("UPDATE stormops.invoices SET total = total + 1", "0: the total is not the sum"),
        (
            "UPDATE stormops_internal.prices SET unit_prices = '{0.02}' WHERE metric_name = 'model_call'",
            "1: usage model_call: quantity",
        ),
    ] {
        let mut b = billed("tamper");
        b.meter("model_call", "100", "2024-01-10Z");
        b.meter("storage_mb", "5", "2024-01-10Z");
        b.meter("api_call", "5", "2024-01-10Z"); // has no price
        let invoice = b.draft("2024-01");
        b.finalize(invoice);
        // What came after the watermark is no part of it.
        b.meter("model_call", "1", "2024-01-10Z");
        assert_eq!(b.verdict(invoice), "verified");
        tamper(&b.db, doing);
        let found = b.verdict(invoice);
        assert!(found.starts_with(verdict), "{doing}: {found}");
    }
}

#[test]
fn a_proof_covers_every_model_a_change_of_price_and_a_level() {
    let mut b = billed("models");
    b.price(GRADUATED);
    b.price(
        "'model_call', 'package', 2, package_size => 50, included_quantity => 10, valid_from => '2024-01-12 00:00Z'",
    );
    b.price("'platform', 'flat', 9.99, valid_from => '2024-01-07 05:00Z'");
    b.price("'commitment', 'minimum', 1000, valid_from => '2024-01-01 00:00Z'");
    let declare = "SELECT stormops.declare_metric('seats', 'user', 'UNIQUE', 'user', tenant_id => $1)";
    b.op.execute(declare, &[&b.tenant]).expect("a metric");
    b.op.execute("SELECT stormops.declare_metric('disks', 'disk', 'LATEST', tenant_id => $1)", &[&b.tenant])
        .expect("a metric");
    b.price("'seats', 'per_unit', 3, valid_from => '2024-01-01 00:00Z'");
    b.price("'disks', 'per_unit', 5, valid_from => '2024-01-01 00:00Z'");
    for (value, at) in [("90.123456789", "2024-01-03Z"), ("60", "2024-01-11 23:59Z"), ("111", "2024-01-12 00:00Z")] {
        b.meter("model_call", value, at);
    }
    for (value, at) in [("7", "2024-01-03Z"), ("4", "2024-01-30Z"), ("6", "2024-01-20Z")] {
        b.meter("storage_mb", value, at);
        b.meter("disks", value, at);
    }
    let seats = "INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value, dimensions, recorded_at)
        SELECT $1, 'seats', 1, jsonb_build_object('user', i % 3), '2024-01-05 00:00Z' FROM generate_series(1, 9) AS i";
    b.db.superuser().execute(seats, &[&b.tenant]).expect("events");
    let invoice = b.draft("2024-01");
    assert_eq!(
        b.about(LINES, invoice),
        "flat platform 0.799731182796 7.99; usage disks 4 20.00; usage model_call 100 5.00; usage model_call 50.123456789 0.50; \
         included model_call 6.4516129032 0; usage model_call 104.5483870968 6.00; usage seats 3 9.00; \
         usage storage_mb 7 0.70; minimum commitment 1 950.81"
            .replace("6.4516129032", "6.45161290323")
            .replace("104.5483870968", "104.54838709677")
    );
    assert_eq!(b.about("i.total", invoice), "1000.00");
    assert_eq!(b.verdict(invoice), "verified");
}

#[test]
fn neither_splitting_an_event_nor_the_order_of_events_changes_an_amount() {
    let prices = ["'model_call', 'per_unit', 0.0137, valid_from => '2024-01-01 00:00Z'", GRADUATED];
    for price in prices {
        let events = [("33.3", "2024-01-02Z"), ("150.25", "2024-01-09Z"), ("0.45", "2024-01-20Z")];
        let halves: Vec<(String, &str)> = events
            .iter()
            .flat_map(|(value, at)| ["0.25", "0.75"].map(|part| (format!("{value} * {part}"), *at)))
            .collect();
        let whole: Vec<(String, &str)> = events.iter().map(|(value, at)| ((*value).to_owned(), *at)).collect();
        let backwards: Vec<(String, &str)> = whole.iter().rev().cloned().collect();
        let bills: Vec<String> = [whole, halves, backwards]
            .into_iter()
            .map(|events| {
                let mut b = billed("split");
                b.price(price);
                for (value, at) in &events {
                    b.meter("model_call", value, at);
                    // Folded one by one or together.
                    if events.len() == 3 {
                        b.lines("2024-01");
                    }
                }
                let invoice = b.draft("2024-01");
                assert_eq!(b.verdict(invoice), "verified");
                let sums =
                    "SELECT sum(l.amount) = i.total FROM stormops.invoice_lines AS l WHERE l.invoice_id = i.invoice_id";
                assert_eq!(b.about(sums, invoice), "true");
                b.about(LINES, invoice)
            })
            .collect();
        assert!(bills.iter().all(|bill| *bill == bills[0]), "{price}: {bills:?}");
    }
}

#[test]
fn another_price_book_is_tried_and_nothing_written() {
    let mut b = billed("again");
    b.meter("model_call", "1000", "2024-01-10Z");
    let idle = provision(&b.db, "Idle");
    b.db.superuser()
        .batch_execute("UPDATE stormops.tenants SET created_at = '2023-12-01 00:00Z'")
        .expect("older tenants");
    let invoice = b.draft("2024-01");
    b.finalize(invoice);
    b.op.batch_execute("SELECT stormops.create_price_book('dearer', 'USD'), stormops.create_price_book('euro', 'EUR')")
        .expect("books");
    b.price("'model_call', 'per_unit', 0.025, price_book => 'dearer', valid_from => '2024-01-01 00:00Z'");
    b.price("'model_call', 'per_unit', 0.02, price_book => 'euro', valid_from => '2024-01-01 00:00Z'");
    b.op.batch_execute("BEGIN READ ONLY").expect("a reader");
    let again = "SELECT concat_ws(' ', org_name, old_currency, old_total, new_currency, new_total, difference) FROM stormops.rate_again('2024-01', $1)";
    for (book, expected) in [
        ("dearer", ["Abc Roofing USD 10.00 USD 25.00 15.00", "Idle USD 0 USD 0 0"]),
        ("euro", ["Abc Roofing USD 10.00 EUR 20.00", "Idle USD 0 EUR 0"]),
    ] {
        let rows: Vec<String> = b.op.query(again, &[&book]).expect("totals").iter().map(|row| row.get(0)).collect();
        assert_eq!(rows, expected);
    }
    let assigned: Option<i64> =
        b.op.query_one("SELECT txid_current_if_assigned()", &[]).map(|row| row.get(0)).expect("a reader");
    assert_eq!(assigned, None);
    fails_with(b.op.query(again, &[&"nowhere"]), "P0002");
    b.op.batch_execute("ROLLBACK").expect("an end");
    // A tenant moves to a book of its own, but not to another currency once it is invoiced.
    let book = "SELECT stormops.set_price_book($1, $2)";
    fails_with(b.op.execute(book, &[&b.tenant, &"euro"]), "55000");
    fails_with(b.op.execute(book, &[&b.tenant, &"nowhere"]), "P0002");
    b.op.execute(book, &[&b.tenant, &"dearer"]).expect("a book");
    b.op.execute(book, &[&idle, &"euro"]).expect("a book");
}

#[test]
fn raw_events_stay_until_they_are_invoiced() {
    let mut b = billed("kept");
    b.meter("model_call", "1000", "2024-01-10Z");
    b.meter("model_call", "1000", "2024-02-10Z");
    let january = b.draft("2024-01");
    b.finalize(january);
    b.meter("model_call", "500", "2024-01-11Z");
    let february = b.draft("2024-02");
    b.finalize(february);
    b.meter("model_call", "1000", "2024-03-10Z");
    // From before the tenant was here: no invoice will ever be about it.
    b.meter("model_call", "1000", "2023-10-10Z");
    let drop = "SELECT stormops.drop_usage_before($1::text::date)";
    b.op.batch_execute("SELECT stormops.rollup_usage()").expect("a rollup");
    fails_with(b.op.execute(drop, &[&"2024-04-01"]), "55000");
    assert_eq!(b.verdict(february), "verified");
    b.op.execute(drop, &[&"2024-02-01"]).expect("dropped");
    // February's adjusts January by events that are gone: neither proved nor refuted.
    for invoice in [january, february] {
        fails_with(b.op.query("SELECT * FROM stormops.verify_invoice($1)", &[&invoice]), "55000");
    }
}
