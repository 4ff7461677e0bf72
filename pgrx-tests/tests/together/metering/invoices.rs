//! Invoices: drafted, refreshed, shown; what is charged for a part of a month.

use postgres::Client;
use stormops_tests::billed::{Billed, LINES, billed};
use stormops_tests::{SUPERUSER, enter, fails_with, provision, sqlstate};
use uuid::Uuid;

fn backdate(b: &Billed, action: &str, at: &str) {
    let event = "UPDATE stormops.tenant_events SET happened_at = $1::text::timestamptz WHERE action = $2";
    b.db.superuser().execute(event, &[&at, &action]).expect("an earlier event");
}

#[test]
fn a_draft_is_refreshed_and_a_final_invoice_is_not() {
    let mut b = billed("draft");
    b.meter("model_call", "100", "2024-01-10Z");
    let first = b.draft("2024-01");
    assert_eq!(b.about(LINES, first), "usage model_call 100 1.00");
    b.meter("model_call", "50", "2024-01-11Z");
    assert_eq!(b.draft("2024-01-01"), first);
    assert_eq!(b.about(LINES, first), "usage model_call 150 1.50");
    assert_eq!(b.finalize(first), 1);
    b.meter("model_call", "50", "2024-01-12Z");
    assert_eq!((b.draft("2024-01"), b.finalize(first)), (first, 1));
    assert_eq!(b.about(LINES, first), "usage model_call 150 1.50");
    assert_eq!(
        b.about("SELECT concat_ws(' ', i.status, i.currency, i.total, i.org_name)", first),
        "finalized USD 1.50 Abc Roofing"
    );
}

#[test]
fn all_tenants_are_invoiced_at_once_as_one_by_one() {
    let mut b = billed("all");
    b.meter("model_call", "100", "2024-01-10Z");
    let (first, none) = (b.tenant, provision(&b.db, "Idle"));
    b.tenant = provision(&b.db, "Best Roofs");
    b.db.superuser()
        .batch_execute("UPDATE stormops.tenants SET created_at = '2023-12-01 00:00Z'")
        .expect("older tenants");
    b.meter("model_call", "7", "2024-01-31 23:59:59.999Z");
    // The next month's.
    b.meter("model_call", "9", "2024-02-01Z");
    let run = "SELECT concat_ws(' ', currency, drafts, finalized, total) FROM stormops.generate_invoices('2024-01')";
    let text = |op: &mut Client, sql: &str| -> String { op.query_one(sql, &[]).expect("a run").get(0) };
    assert_eq!(text(&mut b.op, run), "USD 3 0 1.07");
    let all = "SELECT string_agg(concat_ws(' ', org_name, total), '; ' ORDER BY org_name) FROM stormops.list_invoices('2024-01')";
    assert_eq!(text(&mut b.op, all), "Abc Roofing 1.00; Best Roofs 0.07; Idle 0.00");
    let own = b.draft("2024-01");
    b.finalize(own);
    assert_eq!(text(&mut b.op, run), "USD 2 1 1.07");
    for tenant in [first, none] {
        b.tenant = tenant;
        let invoice = b.draft("2024-01");
        b.finalize(invoice);
    }
    let numbers = "SELECT string_agg(concat_ws(' ', org_name, invoice_number), '; ' ORDER BY org_name) FROM stormops.list_invoices('2024-01')";
    assert_eq!(text(&mut b.op, numbers), "Abc Roofing 1; Best Roofs 1; Idle 1");
}

#[test]
fn only_an_ended_month_of_a_tenants_life_is_invoiced() {
    let mut b = billed("periods");
    let month: String = b.op.query_one("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')", &[]).expect("now").get(0);
    for (period, expected) in [
        (month.as_str(), "55000"),
        ("2099-01", "55000"),
        ("2023-11", "55000"),
        ("2024-13", "22023"),
        ("2024-01-02", "22023"),
        ("1999-01", "22023"),
        ("", "22023"),
    ] {
        let error =
            fails_with(b.op.query("SELECT * FROM stormops.generate_invoice($1, $2)", &[&b.tenant, &period]), expected);
        assert!(error.hint().is_some(), "{period}");
    }
    fails_with(b.op.query("SELECT * FROM stormops.generate_invoice(NULL, '2024-01')", &[]), "P0002");
    b.op.batch_execute(&format!("SELECT stormops.close_tenant('{}', 'gone')", b.tenant)).expect("a step");
    let closed = "UPDATE stormops.tenants SET status_changed_at = '2024-01-20 00:00Z'";
    b.db.superuser().batch_execute(closed).expect("an earlier closing");
    b.draft("2024-01");
    fails_with(b.op.query("SELECT * FROM stormops.generate_invoice($1, '2024-02')", &[&b.tenant]), "55000");
    assert_eq!(b.db.psql(SUPERUSER, "SELECT count(*) FROM stormops.invoices").trim(), "1");
}

#[test]
fn a_part_of_a_month_is_charged_in_part() {
    // 29 days in February 2024.
    for (created, events, flat) in [
        ("2024-02-01 00:00Z", vec![], "29.00"),
        ("2024-02-28 00:00Z", vec![], "2.00"),
        ("2024-02-28 18:00Z", vec![], "1.25"),
        ("2023-12-01 00:00Z", vec![("suspend", "2024-02-11 00:00Z")], "10.00"),
        ("2023-12-01 00:00Z", vec![("suspend", "2024-02-11 00:00Z"), ("reactivate", "2024-02-21 12:00Z")], "18.50"),
        (
            "2023-12-01 00:00Z",
            vec![("suspend", "2024-01-11 00:00Z"), ("reactivate", "2024-02-21 00:00Z"), ("close", "2024-02-22 00:00Z")],
            "1.00",
        ),
    ] {
        let mut b = billed("parts");
        b.price("'platform', 'flat', 29, valid_from => '2024-01-01 00:00Z'");
        b.price("'commitment', 'minimum', 58, valid_from => '2024-01-01 00:00Z'");
        b.price("'model_call', 'per_unit', 0, included_quantity => 290, valid_from => '2024-01-01 00:00Z'");
        b.meter("model_call", "1000", "2024-02-29Z");
        let birth = "UPDATE stormops.tenants SET created_at = $1::text::timestamptz";
        b.db.superuser().execute(birth, &[&created]).expect("a birthday");
        for (action, at) in &events {
            b.op.batch_execute(&format!("SELECT stormops.{action}_tenant('{}', 'test')", b.tenant)).expect("a step");
            backdate(&b, action, at);
        }
        let days: f64 = flat.parse().expect("a number");
        let included = days * 10.0;
        let lines = b.lines("2024-02");
        assert_eq!(lines[0].split(' ').next_back(), Some(flat), "{created} {events:?} {lines:?}");
        let got: f64 = lines[1].split(' ').nth(2).expect("a quantity").parse().expect("a number");
        assert!(lines[1].starts_with("included model_call") && (got - included).abs() < 1e-6, "{lines:?}");
        assert_eq!(
            lines[3],
            format!("minimum commitment {} {flat}", lines[0].split(' ').nth(2).expect("a share")),
            "{lines:?}"
        );
    }
}

#[test]
fn a_change_of_tier_splits_the_month_at_its_hour() {
    let mut b = billed("tier");
    b.price("'model_call', 'per_unit', 1, tier => 'standard', valid_from => '2024-01-01 00:00Z'");
    b.price("'model_call', 'per_unit', 0.5, tier => 'enterprise', valid_from => '2024-01-01 00:00Z'");
    b.price("'platform', 'flat', 310, tier => 'enterprise', valid_from => '2024-01-01 00:00Z'");
    b.op.batch_execute(&format!("SELECT stormops.set_tier('{}', 'enterprise')", b.tenant)).expect("a tier");
    backdate(&b, "set_tier", "2024-01-22 10:20Z");
    b.meter("model_call", "10", "2024-01-22 09:59Z");
    b.meter("model_call", "20", "2024-01-22 10:00Z");
    // From 22 January 10:00 on, 9 days and 14 hours of 31 days.
    assert_eq!(
        b.lines("2024-01"),
        ["flat platform 0.309139784946 95.83", "usage model_call 10 10.00", "usage model_call 20 10.00"]
    );
    assert_eq!(b.lines("2023-12"), [""; 0]);
    for (tier, expected) in [("enterprise", "55000"), ("trial", "22023"), ("gold", "22023")] {
        fails_with(b.op.query("SELECT stormops.set_tier($1, $2)", &[&b.tenant, &tier]), expected);
    }
}

#[test]
fn a_level_is_charged_for_the_month_at_its_last_price() {
    let mut b = billed("level");
    b.price("'storage_mb', 'per_unit', 0.2, valid_from => '2024-01-20 00:00Z'");
    b.meter("storage_mb", "700", "2024-01-05Z");
    b.meter("storage_mb", "300", "2024-01-25Z");
    assert_eq!(b.lines("2024-01"), ["usage storage_mb 700 140.00"]);
    // What its last price includes is for the month too, as the level is.
    b.price("'storage_mb', 'per_unit', 0.3, included_quantity => 500, valid_from => '2024-01-21 00:00Z'");
    assert_eq!(b.lines("2024-01"), ["included storage_mb 500 0", "usage storage_mb 200 60.00"]);
    // A fee is one, whatever its name: each of its parts is due.
    b.price("'storage_mb', 'flat', 29, valid_from => '2024-02-01 00:00Z'");
    b.price("'storage_mb', 'flat', 58, valid_from => '2024-02-11 00:00Z'");
    b.meter("storage_mb", "700", "2024-02-05Z");
    let amounts: Vec<String> =
        b.lines("2024-02").iter().filter_map(|line| line.split(' ').next_back().map(str::to_owned)).collect();
    assert_eq!(amounts, ["10.00", "38.00"]);
    let february = b.draft("2024-02");
    assert_eq!(b.verdict(february), "verified");
}

#[test]
fn a_tenant_reads_its_own_invoices_and_writes_none() {
    let mut b = billed("reads");
    b.meter("model_call", "1000", "2024-01-10Z");
    let own = b.draft("2024-01");
    b.finalize(own);
    let other = provision(&b.db, "Other Roofing");
    for (tenant, expected) in [(b.tenant, "00000"), (other, "P0002")] {
        let mut app = b.db.as_role("tapp");
        enter(&mut app, tenant);
        for document in ["json", "text", "html"] {
            let read = app.query(&format!("SELECT stormops.invoice_{document}($1)"), &[&own]);
            assert_eq!(sqlstate(&read), expected, "{document}");
        }
        let rows =
            app.query("SELECT FROM stormops.invoices JOIN stormops.invoice_lines USING (tenant_id, invoice_id)", &[]);
        assert_eq!(rows.expect("rows").len(), usize::from(expected == "00000"));
        for refused in [
            format!("SELECT stormops.generate_invoice('{tenant}', '2024-01')"),
            format!("SELECT stormops.finalize_invoice('{own}')"),
            format!("SELECT stormops.credit_invoice('{own}', 1, 'x')"),
            format!("SELECT stormops.verify_invoice('{own}')"),
            "UPDATE stormops.invoices SET total = 0".to_owned(),
            "DELETE FROM stormops.invoice_lines".to_owned(),
        ] {
            assert_eq!(sqlstate(&app.batch_execute(&refused)), "42501", "{refused}");
        }
        fails_with(app.query("SELECT * FROM stormops.preview_invoice($1, '2024-01')", &[&Uuid::nil()]), "42501");
    }
    let mut app = b.db.as_role("tapp");
    enter(&mut app, b.tenant);
    let preview = app.query("SELECT FROM stormops.preview_invoice(NULL, '2024-01')", &[]).expect("its own preview");
    assert_eq!(preview.len(), 1);
    fails_with(b.db.as_role("mon").query("SELECT * FROM stormops.list_invoices()", &[]), "42501");
}

#[test]
fn documents_show_every_value_and_escape_it() {
    let mut b = billed("documents");
    b.db.superuser().batch_execute("UPDATE stormops.tenants SET org_name = '<i>Abc & Sons</i>'").expect("a name");
    b.meter("model_call", "1000.5", "2024-01-10Z");
    let invoice = b.draft("2024-01");
    b.finalize(invoice);
    let text: String = b.op.query_one("SELECT stormops.invoice_text($1)", &[&invoice]).expect("a text").get(0);
    let html: String = b.op.query_one("SELECT stormops.invoice_html($1)", &[&invoice]).expect("a page").get(0);
    for (document, name) in [(&text, "<i>Abc & Sons</i>"), (&html, "&lt;i&gt;Abc &amp; Sons&lt;/i&gt;")] {
        for value in ["Invoice 1", name, "model_call", "1000.5", "0.01", "10.00", "2024-01", "USD"] {
            assert!(document.contains(value), "{value}: {document}");
        }
    }
    assert!(!html.contains("<i>"));
    let json = "SELECT concat_ws(' ', j ->> 'number', j ->> 'total', j #>> '{lines,0,quantity}', jsonb_typeof(j #> '{lines,0,amount}'))
        FROM stormops.invoice_json($1) AS j";
    assert_eq!(b.op.query_one(json, &[&invoice]).expect("a document").get::<_, String>(0), "1 10.00 1000.5 string");
}

#[test]
fn a_preview_holds_what_is_not_rolled_up_yet() {
    let mut b = billed("preview");
    let declare = "SELECT stormops.declare_metric('crews', 'crew', 'LATEST', tenant_id => $1)";
    b.op.execute(declare, &[&b.tenant]).expect("a latest value");
    let declare = "SELECT stormops.declare_metric('devices', 'device', 'UNIQUE', 'device', tenant_id => $1)";
    b.op.execute(declare, &[&b.tenant]).expect("a number of different ones");
    b.price("'crews', 'per_unit', 5, valid_from => '2024-01-01 00:00Z'");
    b.price("'devices', 'per_unit', 2, valid_from => '2024-01-01 00:00Z'");
    // The price changes within the month, so that its parts are counted by the hour.
    b.price("'model_call', 'per_unit', 0.02, valid_from => '2024-02-10 00:00Z'");
    let use_some = |b: &Billed, value: &str, device: &str| {
        for (metric, at) in [
            ("model_call", "2024-01-31Z"),
            ("model_call", "2024-02-09Z"),
            ("model_call", "2024-02-10 00:30Z"),
            ("storage_mb", "2024-02-11Z"),
            ("crews", "2024-02-12Z"),
        ] {
            b.meter(metric, value, at);
        }
        let mut app = b.db.as_role("tapp");
        enter(&mut app, b.tenant);
        let event = "INSERT INTO stormops.tenant_usage (metric_name, metric_value, recorded_at, dimensions)
            SELECT 'devices', 1, '2024-02-13Z', jsonb_build_object('device', d) FROM unnest($1::text::text[]) AS d";
        app.execute(event, &[&device]).expect("devices");
    };
    let preview = |b: &mut Billed| -> Vec<String> {
        let lines = "SELECT concat_ws(' ', kind, metric_name, trim_scale(quantity), amount) FROM stormops.preview_invoice($1, '2024-02') ORDER BY line";
        b.op.query(lines, &[&b.tenant]).expect("a preview").iter().map(|row| row.get(0)).collect()
    };
    use_some(&b, "100", "{a,b}");
    let fresh = [
        "usage crews 100 500.00",
        "usage devices 2 4.00",
        "usage model_call 100 1.00",
        "usage model_call 100 2.00",
        "usage storage_mb 100 10.00",
    ];
    assert_eq!(preview(&mut b), fresh, "nothing is rolled up");
    assert_eq!(b.lines("2024-02"), fresh, "all is");
    let january = b.draft("2024-01");
    b.finalize(january);
    use_some(&b, "50", "{b,c}");
    let both = [
        "usage crews 50 250.00",
        "usage devices 3 6.00",
        "usage model_call 150 1.50",
        "usage model_call 150 3.00",
        "usage storage_mb 100 10.00",
        "adjustment model_call 50 0.50",
    ];
    assert_eq!(preview(&mut b), both, "some of it is, and some came late for a month that is closed");
    assert_eq!(b.lines("2024-02"), both);
}
