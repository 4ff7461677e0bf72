//! Of a clock that was ahead and has been put back: what came first is told by steps and by what stood, not by times.

use stormops_tests::billed::{Billed, LINES, billed};
use stormops_tests::{fails_with, provision};

/// What a clock leaves behind, which no trigger lets anybody write.
#[track_caller]
fn leave(b: &Billed, change: &str) {
    b.db.superuser()
        .batch_execute(&format!("SET session_replication_role = replica; {change}"))
        .unwrap_or_else(|e| panic!("{change}: {e:?}"));
}

const FINALIZE: &str = "SELECT * FROM stormops.finalize_invoice($1)";

#[test]
fn an_invoice_that_was_finalized_or_voided_ahead_keeps_no_other_back() {
    let mut b = billed("finalized_ahead");
    b.meter("model_call", "1000", "2024-01-10Z");
    b.meter("model_call", "2000", "2024-02-10Z");
    let january = b.draft("2024-01");
    b.finalize(january);
    leave(
        &b,
        "UPDATE stormops.invoices SET generated_at = now() + interval '1 day', finalized_at = now() + interval '1 day'",
    );
    let february = b.draft("2024-02");
    assert_eq!(b.finalize(february), 2);
    b.op.query("SELECT FROM stormops.void_invoice($1, 'wrong')", &[&february]).expect("void");
    leave(&b, "UPDATE stormops.invoices SET voided_at = now() + interval '1 day' WHERE status = 'void'");
    let again = b.draft("2024-02");
    assert_eq!(b.finalize(again), 3);
    // Late events too belong to the next invoice, and to no other.
    b.meter("model_call", "100", "2024-01-11Z");
    let march = b.draft("2024-03");
    b.finalize(march);
    assert_eq!(b.about(LINES, march), "adjustment model_call 100 1.00");
    assert_eq!([january, again, march].map(|invoice| b.verdict(invoice)), ["verified"; 3]);
}

#[test]
fn a_price_that_was_set_ahead_keeps_no_draft_back_and_none_that_came_after_a_draft_is_missed() {
    let mut b = billed("priced_ahead");
    b.meter("model_call", "1000", "2024-01-10Z");
    b.price("'platform', 'flat', 5, valid_from => '2024-01-01 00:00Z'");
    leave(&b, "UPDATE stormops_internal.prices SET created_at = now() + interval '1 day'");
    let january = b.draft("2024-01");
    // A draft of the clock that was ahead, and a price of now.
    leave(&b, "UPDATE stormops.invoices SET generated_at = now() + interval '1 day'");
    b.price("'platform', 'flat', 7, valid_from => '2024-01-31 23:00Z'");
    fails_with(b.op.query(FINALIZE, &[&january]), "55000");
    b.draft("2024-01");
    b.price(&format!("'platform', 'flat', 8, tenant_id => '{}', valid_from => '2024-01-01 00:00Z'", b.tenant));
    fails_with(b.op.query(FINALIZE, &[&january]), "55000");
    b.draft("2024-01");
    // What holds for another tenant, or from the next month on, is none of this draft's.
    let other = provision(&b.db, "Other");
    b.price(&format!("'platform', 'flat', 9, tenant_id => '{other}', valid_from => '2024-01-01 00:00Z'"));
    b.price(&format!("'platform', 'flat', 9, tenant_id => '{}', valid_from => '2024-02-01 00:00Z'", b.tenant));
    assert_eq!(b.finalize(january), 1);
    assert_eq!(b.about(LINES, january), "flat platform 1 8.00; usage model_call 1000 10.00");
}

#[test]
fn the_book_that_was_assigned_last_holds_whatever_was_assigned_ahead() {
    let mut b = billed("assigned_ahead");
    b.meter("model_call", "1000", "2024-01-10Z");
    for (book, currency) in [("euro", "EUR"), ("pound", "GBP"), ("yen", "JPY")] {
        b.op.execute("SELECT stormops.create_price_book($1, $2)", &[&book, &currency]).expect("a book");
        b.op.execute("SELECT stormops.set_price_book($1, $2)", &[&b.tenant, &book]).expect("no invoice is final");
        let january = b.draft("2024-01");
        assert_eq!(b.about("i.currency", january), currency);
        leave(&b, "UPDATE stormops.price_book_assignments SET assigned_at = assigned_at + interval '1 day'");
    }
}

#[test]
fn a_step_that_was_taken_ahead_ends_with_the_next_one() {
    let mut b = billed("steps_ahead");
    b.meter("model_call", "1000", "2024-01-25Z");
    b.price("'platform', 'flat', 31, valid_from => '2024-01-01 00:00Z'");
    b.price("'model_call', 'per_unit', 1, tier => 'enterprise', valid_from => '2024-01-01 00:00Z'");
    for step in ["suspend_tenant($1, 'unpaid')", "reactivate_tenant($1, 'paid')", "set_tier($1, 'enterprise', 'grown')"]
    {
        b.op.execute(&format!("SELECT stormops.{step}"), &[&b.tenant]).expect("a step");
    }
    b.op.execute("SELECT stormops.set_tier($1, 'standard', 'a mistake')", &[&b.tenant]).expect("a step");
    // The first of each two by a clock that was ten days ahead.
    leave(
        &b,
        "UPDATE stormops.tenant_events SET happened_at = CASE WHEN action = 'suspend' OR to_status = 'enterprise'
            THEN '2024-01-20 10:00Z' ELSE '2024-01-10 10:00Z' END::timestamptz
        WHERE action IN ('suspend', 'reactivate', 'set_tier')",
    );
    assert_eq!(b.lines("2024-01"), ["flat platform 1 31.00", "usage model_call 1000 10.00"]);
}
