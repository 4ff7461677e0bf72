//! What the operator sees of all tenants: usage, margins, movers, the forecast.

use postgres::Client;
use stormops_tests::billed::billed;
use stormops_tests::{fails_with, provision};

fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
}

#[test]
fn usage_money_and_movers_are_summed_by_tenant() {
    let mut b = billed("overview");
    b.meter("model_call", "1000", "2024-01-10Z");
    b.meter("model_call", "1500", "2024-02-10Z");
    b.meter("storage_mb", "40", "2024-02-10Z");
    let first = b.tenant;
    b.tenant = provision(&b.db, "Best Roofs");
    b.db.superuser()
        .batch_execute("UPDATE stormops.tenants SET created_at = '2023-12-01 00:00Z'")
        .expect("older tenants");
    b.meter("model_call", "10", "2024-02-10Z");
    b.tenant = first;
    let january = b.draft("2024-01");
    b.finalize(january);
    let february = b.draft("2024-02");
    b.finalize(february);
    b.op.execute("SELECT stormops.credit_invoice($1, 4, 'outage')", &[&february]).expect("a credit note");
    b.price("'model_call', 'per_unit', 0.002, price_book => 'cost', valid_from => '2024-01-01 00:00Z'");
    let usage = "SELECT concat_ws(' ', org_name, metric_name, quantity, events, previous_quantity, change_pct)
        FROM stormops.usage_overview('2024-02')";
    let expected =
        ["Abc Roofing model_call 1500 1 1000 50.0", "Abc Roofing storage_mb 40 1 0", "Best Roofs model_call 10 1 0"];
    assert_eq!(rows(&mut b.op, usage), expected);
    assert_eq!(rows(&mut b.db.as_role("mon"), usage), expected);
    let movers = "SELECT concat_ws(' ', org_name, metric_name, change) FROM stormops.top_movers('2024-02', 1)";
    assert_eq!(rows(&mut b.op, movers), ["Abc Roofing model_call 500", "Abc Roofing storage_mb 40"]);
    // 15.00 + 4.00 less the credit of 4.00; 1500 cost 3.00. The other has no invoice yet.
    let margins = "SELECT concat_ws(' ', org_name, currency, revenue, revenue_is, cost, margin, margin_pct, previous_revenue, storage_mb)
        FROM stormops.tenant_margins('2024-02')";
    assert_eq!(
        rows(&mut b.op, margins),
        ["Best Roofs USD 0.10 usage so far 0.02 0.08 80.0", "Abc Roofing USD 15.00 invoiced 3.00 12.00 80.0 10.00 40"]
    );
    fails_with(b.db.as_role("mon").query(margins, &[]), "42501");
    fails_with(b.op.query("SELECT * FROM stormops.tenant_margins('2024-02', 'nowhere')", &[]), "P0002");
    for call in ["usage_overview('2024')", "top_movers('x')", "tenant_margins('2024-1')"] {
        fails_with(b.op.query(&format!("SELECT * FROM stormops.{call}"), &[]), "22023");
    }
}

#[test]
fn a_forecast_states_its_days_its_method_and_its_uncertainty() {
    let mut b = billed("forecast");
    // From Monday 1 January on: 10 a weekday, nothing at weekends.
    for day in 1..=21 {
        if (day - 1) % 7 < 5 {
            b.meter("model_call", "10", &format!("2024-01-{day:02} 12:00Z"));
        }
    }
    b.op.batch_execute("SELECT stormops.rollup_usage()").expect("a rollup");
    let forecast =
        "SELECT concat_ws(' ', metric_name, used, expected, low, high, n, method) FROM stormops.forecast_usage";
    // Monday 22 to Wednesday 31: eight weekdays.
    let weekdays = "model_call 150 230 230 230 21 weekday means";
    assert_eq!(rows(&mut b.op, &format!("{forecast}('2024-01-22 06:00Z')")), [weekdays]);
    assert_eq!(rows(&mut b.db.as_role("mon"), &format!("{forecast}('2024-01-22 06:00Z')")), [weekdays]);
    // After one day, and after two weeks less a day.
    let first = rows(
        &mut b.op,
        "SELECT concat_ws(' ', used, expected, low, high, n, method) FROM stormops.forecast_usage('2024-01-02 00:00Z')",
    );
    assert_eq!(first, ["20 310 1 daily mean"]);
    let wide = "SELECT (low < expected AND expected < high AND n = 13 AND method = 'daily mean')::text FROM stormops.forecast_usage('2024-01-14Z')";
    assert_eq!(rows(&mut b.op, wide), ["true"]);
    for call in [
        "stormops.forecast_usage(now(), 1)",
        "stormops.forecast_usage('infinity')",
        "stormops_internal.forecast_days('{NaN}', 3)",
        "stormops_internal.forecast_days('{1}', -1)",
    ] {
        fails_with(b.op.query(&format!("SELECT * FROM {call}"), &[]), "22023");
    }
}
