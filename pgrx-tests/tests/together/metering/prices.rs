//! Prices: every model to the cent, who pays which, what never changes, and what is refused.

use stormops_tests::billed::billed;
use stormops_tests::{Db, SUPERUSER, enter, fails_with, provision, sqlstate};

#[test]
fn the_default_book_gives_the_briefs_invoice_to_the_cent() {
    let mut b = billed("brief");
    b.meter("model_call", "1234", "2024-01-10Z");
    b.meter("storage_mb", "512.4", "2024-01-11Z");
    // (1234 * 0.01) + (512.4 * 0.10) = 12.34 + 51.24
    assert_eq!(b.lines("2024-01"), ["usage model_call 1234 12.34", "usage storage_mb 512.4 51.24"]);
}

#[test]
fn each_model_charges_by_its_rule() {
    for (model, used, expected) in [
        ("'per_unit', 0.003", "1000", vec!["usage model_call 1000 3.00"]),
        (
            "'per_unit', 0.003, included_quantity => 400",
            "1000",
            vec!["included model_call 400 0", "usage model_call 600 1.80"],
        ),
        ("'per_unit', 0.003, included_quantity => 4000", "1000", vec!["included model_call 1000 0"]),
        (
            r#"'graduated', bands => '[{"up_to": 100, "unit_price": 0.05}, {"up_to": 1000, "unit_price": 0.02}, {"unit_price": 0.01}]'"#,
            "1500",
            vec!["usage model_call 100 5.00", "usage model_call 900 18.00", "usage model_call 500 5.00"],
        ),
        // An upper end is inclusive.
        (
            r#"'graduated', bands => '[{"up_to": 100, "unit_price": 0.05}, {"unit_price": 0.01}]'"#,
            "100",
            vec!["usage model_call 100 5.00"],
        ),
        (
            r#"'volume', bands => '[{"up_to": 1000, "unit_price": 0.02}, {"unit_price": 0.01}]'"#,
            "1000",
            vec!["usage model_call 1000 20.00"],
        ),
        (
            r#"'volume', bands => '[{"up_to": 1000, "unit_price": 0.02}, {"unit_price": 0.01}]'"#,
            "1000.5",
            // 10.005 is a half: to the even cent.
            vec!["usage model_call 1000.5 10.00"],
        ),
        ("'package', 7, package_size => 1000", "2000", vec!["usage model_call 2000 14.00"]),
        ("'package', 7, package_size => 1000", "2000.1", vec!["usage model_call 2000.1 21.00"]),
        // A package more for the last digit that a value may have.
        (
            "'package', 7, package_size => 3",
            "9.00000000000000000001",
            vec!["usage model_call 9.00000000000000000001 28.00"],
        ),
    ] {
        let mut b = billed("models");
        b.price(&format!("'model_call', {model}, valid_from => '2024-01-01 00:00Z'"));
        b.meter("model_call", used, "2024-01-10Z");
        assert_eq!(b.lines("2024-01"), expected, "{model} {used}");
    }
}

#[test]
fn a_flat_fee_and_a_minimum_are_charged_without_usage() {
    let mut b = billed("flat");
    b.price("'platform', 'flat', 49.99, valid_from => '2024-01-01 00:00Z'");
    b.price("'commitment', 'minimum', 100, valid_from => '2024-01-01 00:00Z'");
    assert_eq!(b.lines("2024-01"), ["flat platform 1 49.99", "minimum commitment 1 50.01"]);
    b.meter("model_call", "5001", "2024-01-10Z");
    assert_eq!(b.lines("2024-01"), ["flat platform 1 49.99", "usage model_call 5001 50.01"]);
    b.meter("model_call", "1", "2024-01-10Z");
    assert_eq!(b.lines("2024-01"), ["flat platform 1 49.99", "usage model_call 5002 50.02"]);
}

#[test]
fn the_most_specific_price_holds() {
    let mut b = billed("specific");
    let other = provision(&b.db, "Best Roofs");
    b.meter("model_call", "1000", "2024-01-10Z");
    let from = "valid_from => '2024-01-01 00:00Z'";
    for (price, amount) in [
        (format!("'model_call', 'per_unit', 0.02, tier => 'enterprise', {from}"), "10.00"),
        (format!("'model_call', 'per_unit', 0.03, tenant_id => '{other}', {from}"), "10.00"),
        (format!("'model_call', 'per_unit', 0.04, tier => 'standard', {from}"), "40.00"),
        (format!("'model_call', 'per_unit', 0.05, tenant_id => '{}', {from}", b.tenant), "50.00"),
    ] {
        b.price(&price);
        assert_eq!(b.lines("2024-01"), [format!("usage model_call 1000 {amount}")], "{price}");
    }
    // A tenant sees what holds for it, and nobody else's price.
    let mut app = b.db.as_role("tapp");
    enter(&mut app, b.tenant);
    let own = "SELECT concat_ws(' ', metric_name, unit_prices, whom) FROM stormops.tenant_prices()";
    let own: Vec<String> = app.query(own, &[]).expect("prices").iter().map(|row| row.get(0)).collect();
    assert_eq!(own, ["model_call {0.05} tenant", "storage_mb {0.10}"]);
    fails_with(app.query("SELECT * FROM stormops.tenant_prices($1)", &[&other]), "42501");
    fails_with(app.query("SELECT * FROM stormops.prices()", &[]), "42501");
}

#[test]
fn a_price_within_the_month_holds_from_its_hour_on() {
    let mut b = billed("midmonth");
    b.meter("model_call", "100", "2024-01-10 11:59:59.999999Z");
    b.meter("model_call", "10", "2024-01-10 12:00Z");
    b.price("'model_call', 'per_unit', 1, valid_from => '2024-01-10 12:00Z'");
    assert_eq!(b.lines("2024-01"), ["usage model_call 100 1.00", "usage model_call 10 10.00"]);
    // Another tenant's change of price is none here.
    let other = provision(&b.db, "Best Roofs");
    b.price(&format!("'model_call', 'per_unit', 2, tenant_id => '{other}', valid_from => '2024-01-20 00:00Z'"));
    assert_eq!(b.lines("2024-01"), ["usage model_call 100 1.00", "usage model_call 10 10.00"]);
}

#[test]
fn currencies_have_their_minor_unit() {
    for (currency, amount) in [("JPY", "4"), ("USD", "3.50"), ("KWD", "3.502"), ("CLF", "3.5020")] {
        let mut b = billed("currency");
        b.op.execute("SELECT stormops.create_price_book('own', $1)", &[&currency]).expect("a book");
        b.price("'model_call', 'per_unit', 3.502, price_book => 'own', valid_from => '2024-01-01 00:00Z'");
        b.op.execute("SELECT stormops.set_price_book($1, 'own')", &[&b.tenant]).expect("a book of its own");
        b.meter("model_call", "1", "2024-01-10Z");
        assert_eq!(b.lines("2024-01"), [format!("usage model_call 1 {amount}")], "{currency}");
    }
}

#[test]
fn bad_prices_are_refused_and_write_nothing() {
    let mut b = billed("bad");
    let count = |db: &Db| {
        db.superuser()
            .query_one("SELECT count(*) FROM stormops_internal.prices", &[])
            .expect("a count")
            .get::<_, i64>(0)
    };
    let before = count(&b.db);
    let bands = |bands: &str| format!("'model_call', 'graduated', bands => '{bands}'");
    for (arguments, expected) in [
        ("'model_call', 'per_unit', -0.01".to_owned(), "22023"),
        ("'model_call', 'per_unit', 'NaN'".to_owned(), "22023"),
        ("'model_call', 'per_unit', 'Infinity'".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1e13".to_owned(), "22023"),
        ("'model_call', 'per_unit', NULL".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1e-21".to_owned(), "22023"),
        ("'model_call', 'package', 1, package_size => 1e-1000".to_owned(), "22023"),
        ("NULL, 'per_unit', 1".to_owned(), "22023"),
        ("'model_call', 'auction', 1".to_owned(), "22023"),
        ("'model_call', NULL, 1".to_owned(), "22023"),
        ("'model_call', 'package', 1".to_owned(), "22023"),
        ("'model_call', 'package', 1, package_size => 0".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1, package_size => 10".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1, included_quantity => 'NaN'".to_owned(), "22023"),
        ("'model_call', 'flat', 1, included_quantity => 1".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1, tier => 'gold'".to_owned(), "22023"),
        (format!("'model_call', 'per_unit', 1, tier => 'standard', tenant_id => '{}'", b.tenant), "22023"),
        ("'model_call', 'per_unit', 1, valid_from => '2024-01-01 00:30Z'".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1, valid_from => 'infinity'".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1, valid_from => '2024-02-01Z', valid_to => '2024-01-01Z'".to_owned(), "22023"),
        ("'model_call', 'per_unit', 1, price_book => 'nowhere'".to_owned(), "P0002"),
        ("'model_call', 'per_unit', 1, tenant_id => '00000000-0000-7000-8000-000000000000'".to_owned(), "P0002"),
        // The default price began then: a second one of the same time, and one that runs into it.
        ("'model_call', 'per_unit', 1, valid_from => '2000-01-01 00:00Z'".to_owned(), "23P01"),
        ("'model_call', 'per_unit', 1, valid_from => '1999-01-01 00:00Z'".to_owned(), "23P01"),
        (bands("{}"), "22023"),
        (bands("[]"), "22023"),
        (bands(r#"[{"up_to": 10, "unit_price": 1}]"#), "22023"),
        (bands(r#"[{"unit_price": 1}, {"unit_price": 2}]"#), "22023"),
        (bands(r#"[{"up_to": 10, "unit_price": 1}, {"up_to": 5, "unit_price": 1}, {"unit_price": 2}]"#), "22023"),
        (bands(r#"[{"up_to": 10}, {"unit_price": 2}]"#), "22023"),
        (bands(r#"[1, "a"]"#), "22023"),
        (bands(r#"[{"up_to": "ten", "unit_price": 1}, {"unit_price": 2}]"#), "22023"),
    ] {
        let error = fails_with(b.op.batch_execute(&format!("SELECT stormops.set_price({arguments})")), expected);
        assert!(error.hint().is_some(), "{arguments}");
    }
    for (currency, expected) in [("XXX", "22023"), ("usd", "22023"), ("DOLLARS", "22023")] {
        let made = b.op.execute("SELECT stormops.create_price_book('own', $1)", &[&currency]);
        assert!(fails_with(made, expected).hint().is_some());
    }
    fails_with(b.op.execute("SELECT stormops.create_price_book('default', 'EUR')", &[]), "23505");
    assert_eq!(count(&b.db), before);
}

#[test]
fn a_price_is_superseded_and_never_edited_by_anybody() {
    let mut b = billed("immutable");
    b.price("'model_call', 'per_unit', 0.02, valid_from => '2024-03-01 00:00Z'");
    let periods =
        "SELECT string_agg(concat_ws(' ', unit_prices, valid_to AT TIME ZONE 'UTC'), '; ' ORDER BY valid_from)
        FROM stormops.prices() WHERE metric_name = 'model_call'";
    let periods: String = b.op.query_one(periods, &[]).expect("prices").get(0);
    assert_eq!(periods, "{0.01} 2024-03-01 00:00:00; {0.02}");
    let mut superuser = b.db.as_role(SUPERUSER);
    for statement in [
        "UPDATE stormops_internal.prices SET unit_prices = '{9}'",
        "UPDATE stormops_internal.prices SET valid_to = NULL",
        "UPDATE stormops_internal.prices SET valid_from = '2001-01-01 00:00Z'",
        "DELETE FROM stormops_internal.prices",
        "TRUNCATE stormops_internal.prices",
    ] {
        assert_eq!(sqlstate(&superuser.batch_execute(statement)), "55000", "{statement}");
    }
    let second =
        "INSERT INTO stormops_internal.prices (price_book, metric_name, model, unit_prices, valid_from, created_by)
        VALUES ('default', 'model_call', 'per_unit', '{1}', '2023-01-01 00:00Z', 'test')";
    assert_eq!(sqlstate(&superuser.batch_execute(second)), "23P01");
}

#[test]
fn two_prices_set_at_once_do_not_overlap() {
    let b = billed("at_once");
    let (mut one, mut two) = (b.db.as_role("op"), b.db.as_role("op"));
    let set = "SELECT stormops.set_price('photo', 'per_unit', 1, valid_from => '2024-01-01 00:00Z')";
    one.batch_execute(&format!("BEGIN; {set}")).expect("a price");
    let second = std::thread::spawn(move || two.batch_execute(set).map_err(|e| e.code().map(|c| c.code().to_owned())));
    let waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut superuser = b.db.superuser();
    while superuser.query(waits, &[]).expect("locks").is_empty() {
        assert!(!second.is_finished(), "the second did not wait");
    }
    one.batch_execute("COMMIT").expect("a commit");
    assert_eq!(second.join().expect("a thread"), Err(Some("23P01".to_owned())));
}
