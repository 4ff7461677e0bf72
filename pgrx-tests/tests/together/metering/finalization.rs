//! What is final stays: immutable, numbered without a gap, corrected by others, never out of date when it is made final.

use stormops_tests::billed::{Billed, LINES, billed};
use stormops_tests::{fails_with, provision, sqlstate};
use uuid::Uuid;

/// Every way of changing what is final, for whoever is allowed to try.
#[test]
fn a_final_invoice_is_immutable_even_for_a_superuser() {
    let mut b = billed("immutable");
    b.meter("model_call", "100", "2024-01-10Z");
    let invoice = b.draft("2024-01");
    b.finalize(invoice);
    let tenant = b.tenant;
    let statements = [
        "UPDATE stormops.invoices SET total = 0".to_owned(),
        "UPDATE stormops.invoices SET status = 'draft', invoice_number = NULL, finalized_at = NULL, finalized_by = NULL".to_owned(),
        "UPDATE stormops.invoices SET status = 'void', voided_at = now(), voided_by = 'x', reason = 'x', total = 0".to_owned(),
        "UPDATE stormops.invoices SET org_name = 'Other'".to_owned(),
        "DELETE FROM stormops.invoices".to_owned(),
        "TRUNCATE stormops.invoices CASCADE".to_owned(),
        "UPDATE stormops.invoice_lines SET amount = 0".to_owned(),
        "DELETE FROM stormops.invoice_lines".to_owned(),
        "TRUNCATE stormops.invoice_lines".to_owned(),
        format!(
            "INSERT INTO stormops.invoice_lines (tenant_id, invoice_id, line, kind, metric_name, from_time, to_time, rule, quantity, amount)
             VALUES ('{tenant}', '{invoice}', 9, 'usage', 'x', '2024-01-01', '2024-01-02', 'x', 1, 1)"
        ),
    ];
    for statement in &statements {
        assert_eq!(sqlstate(&b.db.superuser().batch_execute(statement)), "55000", "{statement}");
        // The tables' owner sees the tenant's rows only within the tenant, and may not change them there either.
        let mut owner = b.db.superuser();
        let within =
            format!("BEGIN; SET LOCAL app.current_tenant = '{tenant}'; SET LOCAL ROLE stormops_owner; {statement}");
        let result = owner.batch_execute(&within);
        assert!(matches!(sqlstate(&result), "55000" | "42501" | "00000"), "{statement}");
    }
    assert_eq!(b.about("SELECT concat_ws(' ', i.status, i.total, i.org_name)", invoice), "finalized 1.00 Abc Roofing");
    assert_eq!(b.about(LINES, invoice), "usage model_call 100 1.00");
}

fn numbers(b: &Billed) -> Vec<Option<i64>> {
    let numbers = "SELECT invoice_number FROM stormops.invoices WHERE tenant_id = $1 ORDER BY invoice_number";
    b.db.superuser().query(numbers, &[&b.tenant]).expect("numbers").iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_tenants_numbers_have_no_gap_whatever_is_rolled_back_or_done_at_once() {
    let mut b = billed("numbers");
    let other = provision(&b.db, "Other");
    b.db.superuser()
        .batch_execute("UPDATE stormops.tenants SET created_at = '2023-12-01 00:00Z'")
        .expect("older tenants");
    b.meter("model_call", "10000", "2024-01-10Z");
    let january = b.draft("2024-01");
    let own = b.tenant;
    b.tenant = other;
    let others = b.draft("2024-01");
    b.tenant = own;
    let finalize = "SELECT stormops.finalize_invoice($1)";
    b.op.batch_execute("BEGIN").expect("a transaction");
    b.op.execute(finalize, &[&january]).expect("a number");
    // Another tenant's series is its own, and waits for nobody.
    let mut beside = b.db.as_role("op");
    beside.batch_execute("SET lock_timeout = '1ms'").expect("a setting");
    let number = "SELECT invoice_number FROM stormops.finalize_invoice($1)";
    assert_eq!(beside.query_one(number, &[&others]).expect("no wait").get::<_, i64>(0), 1);
    b.op.batch_execute("ROLLBACK").expect("an end");
    b.finalize(january);
    // One takes the number and gives it back while another waits for it.
    let credit = "SELECT stormops.credit_invoice($1, 1, 'outage')";
    let (mut holder, mut waiter) = (b.db.as_role("op"), b.db.as_role("op"));
    holder.batch_execute("BEGIN").expect("a transaction");
    holder.execute(credit, &[&january]).expect("a number");
    let waiting = std::thread::spawn(move || waiter.execute(credit, &[&january]).expect("a number"));
    let waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query LIKE '%credit_invoice%'";
    while b.db.superuser().query(waits, &[]).expect("activity").is_empty() {
        assert!(!waiting.is_finished(), "the second did not wait");
    }
    holder.batch_execute("ROLLBACK").expect("an end");
    waiting.join().expect("a thread");
    assert_eq!(numbers(&b), [Some(1), Some(2)]);
    // A month's invoice and notes to another, at once.
    let february = b.draft("2024-02");
    let calls =
        [credit, credit, finalize, credit, credit].map(|call| (call, if call == credit { january } else { february }));
    let sessions = calls.map(|(call, invoice)| {
        let mut op = b.db.as_role("op");
        std::thread::spawn(move || op.execute(call, &[&invoice]).expect("a number"))
    });
    for session in sessions {
        session.join().expect("a thread");
    }
    assert_eq!(numbers(&b), (1..=7).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_credit_note_corrects_and_a_void_invoice_is_written_anew() {
    let mut b = billed("credit");
    b.meter("model_call", "1000", "2024-01-10Z");
    let invoice = b.draft("2024-01");
    let credit = "SELECT concat_ws(' ', invoice_number, total, left_to_credit) FROM stormops.credit_invoice($1, $2::text::numeric, $3)";
    fails_with(b.op.query(credit, &[&invoice, &"1", &"early"]), "55000");
    b.finalize(invoice);
    for (amount, reason, expected) in [
        ("0", "x", "22023"),
        ("-1", "x", "22023"),
        ("NaN", "x", "22023"),
        ("10.01", "x", "22023"),
        ("1.005", "x", "22023"),
        ("1", " ", "22023"),
    ] {
        assert!(fails_with(b.op.query(credit, &[&invoice, &amount, &reason]), expected).hint().is_some(), "{amount}");
    }
    let given: String = b.op.query_one(credit, &[&invoice, &"2.5", &"outage"]).expect("a credit note").get(0);
    assert_eq!(given, "2 -2.50 7.50");
    fails_with(b.op.query(credit, &[&invoice, &"7.51", &"too much"]), "22023");
    fails_with(b.op.query("SELECT * FROM stormops.void_invoice($1, 'wrong')", &[&invoice]), "55000");

    let february = b.draft("2024-02");
    b.finalize(february);
    fails_with(b.op.query("SELECT * FROM stormops.void_invoice($1, NULL)", &[&february]), "22004");
    b.op.query("SELECT * FROM stormops.void_invoice($1, 'wrong tenant')", &[&february]).expect("void");
    fails_with(b.op.query("SELECT * FROM stormops.finalize_invoice($1)", &[&february]), "55000");
    let again = b.draft("2024-02");
    assert_ne!(again, february);
    assert_eq!(b.finalize(again), 4);
    assert_eq!(b.about("SELECT concat_ws(' ', i.status, i.invoice_number, i.reason)", february), "void 3 wrong tenant");
}

#[test]
fn a_stale_draft_is_not_finalized() {
    let mut b = billed("stale");
    b.meter("model_call", "1000", "2024-01-10Z");
    let (january, february) = (b.draft("2024-01"), b.draft("2024-02"));
    b.finalize(january);
    // Both might carry the same adjustment.
    let finalize = "SELECT * FROM stormops.finalize_invoice($1)";
    fails_with(b.op.query(finalize, &[&february]), "55000");
    assert_eq!(b.draft("2024-02"), february);
    b.price("'platform', 'flat', 5, valid_from => '2024-02-10 00:00Z'");
    fails_with(b.op.query(finalize, &[&february]), "55000");
    b.draft("2024-02");
    assert_eq!(b.finalize(february), 2);
    // What is invoiced keeps its prices.
    let error = b.op.query("SELECT stormops.set_price('platform', 'flat', 5, valid_from => '2024-02-29 23:00Z')", &[]);
    fails_with(error, "55000");
    b.price("'platform', 'flat', 6, valid_from => '2024-03-01 00:00Z'");
    fails_with(b.op.query(finalize, &[&Uuid::nil()]), "P0002");
}

#[test]
fn a_draft_in_another_books_currency_is_not_finalized() {
    let mut b = billed("books");
    b.meter("model_call", "1000", "2024-01-10Z");
    let january = b.draft("2024-01");
    b.op.batch_execute("SELECT stormops.create_price_book('euro', 'EUR')").expect("a book");
    b.op.execute("SELECT stormops.set_price_book($1, 'euro')", &[&b.tenant]).expect("no invoice is final");
    // Final, it would have its late events billed in euros.
    fails_with(b.op.query("SELECT * FROM stormops.finalize_invoice($1)", &[&january]), "55000");
    assert_eq!(b.draft("2024-01"), january);
    b.finalize(january);
    assert_eq!(b.about("SELECT i.currency", january), "EUR");
}

/// Sessions whose transaction began before what another one did.
#[test]
fn no_step_of_billing_goes_by_what_was_before() {
    let mut b = billed("snapshots");
    b.meter("model_call", "1000", "2024-01-10Z");
    b.meter("model_call", "1000", "2024-02-10Z");
    let mut old = b.db.as_role("op");
    old.batch_execute("BEGIN; SELECT FROM stormops.list_tenants()").expect("a transaction");
    let january = b.draft("2024-01");
    old.batch_execute("SELECT stormops.set_price('platform', 'flat', 5, valid_from => '2024-01-01 00:00Z'); COMMIT")
        .expect("a price");
    fails_with(b.op.query("SELECT * FROM stormops.finalize_invoice($1)", &[&january]), "55000");
    b.draft("2024-01");
    b.finalize(january);
    let february = b.draft("2024-02");
    let steps = [
        "SELECT stormops.set_price('other', 'flat', 5, valid_from => '2024-05-01 00:00Z')".to_owned(),
        format!("SELECT stormops.set_price_book('{}', 'default')", b.tenant),
        format!("SELECT stormops.generate_invoice('{}', '2024-02')", b.tenant),
        "SELECT stormops.generate_invoices('2024-02')".to_owned(),
        format!("SELECT stormops.finalize_invoice('{february}')"),
        format!("SELECT stormops.credit_invoice('{january}', 1, 'x')"),
        format!("SELECT stormops.void_invoice('{january}', 'x')"),
        "SELECT stormops.rollup_usage()".to_owned(),
    ];
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for step in &steps {
            old.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).expect("a transaction");
            assert!(fails_with(old.batch_execute(step), "25000").hint().is_some(), "{level} {step}");
            old.batch_execute("ROLLBACK").expect("the end");
        }
    }
    assert_eq!((b.verdict(january).as_str(), b.finalize(february)), ("verified", 2));
}

#[test]
fn a_suspension_that_is_committed_late_is_waited_for() {
    let mut b = billed("late_step");
    b.price("'platform', 'flat', 31, valid_from => '2024-01-01 00:00Z'");
    let mut other = b.db.as_role("op");
    other
        .batch_execute(&format!("BEGIN; SELECT stormops.suspend_tenant('{}', 'unpaid')", b.tenant))
        .expect("a step that is not committed");
    b.op.batch_execute("SET lock_timeout = '100ms'").expect("a setting");
    fails_with(b.op.query("SELECT stormops.generate_invoice($1, '2024-01')", &[&b.tenant]), "55P03");
    other.batch_execute("COMMIT").expect("a commit");
    b.draft("2024-01");
}
