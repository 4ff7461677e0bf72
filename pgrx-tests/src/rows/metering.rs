use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("metrics", "metric_name, unit, aggregation", "'metric_{n}', 'unit', 'SUM'"),
    ("tenant_usage", "usage_id, metric_name, metric_value, idempotency_key", "'{id}', 'model_call', 1, 'U-{n}'"),
    ("usage_batches", "batch_id, mark", "'{id}', {n}"),
    (
        "usage_keys",
        "idempotency_key, usage_id, metric_name, metric_value, recorded_at",
        "'K-{n}', '{id}', 'metric_{n}', 1, '2024-01-01'",
    ),
    (
        "usage_rollups",
        "metric_name, grain, bucket, aggregation, quantity, event_count",
        "'metric_{n}', 'day', '2024-01-01 00:00:00+00', 'SUM', 1, 1",
    ),
    (
        "usage_unique_values",
        "metric_name, grain, bucket, dimensions, digest",
        "'metric_{n}', 'day', '2024-01-01 00:00:00+00', '{}', sha256('{n}')",
    ),
    ("quotas", "metric_name, period, kind, quota, set_by", "'metric_{n}', 'month', 'soft', 10, 'test'"),
    ("quota_counters", "metric_name, period, period_start, used", "'metric_{n}', 'month', '2024-01-01 00:00:00+00', 1"),
    (
        "quota_alerts",
        "metric_name, period, period_start, threshold, kind, quota, used",
        "'metric_{n}', 'month', '2024-01-01 00:00:00+00', 80, 'soft', 10, 8",
    ),
    ("price_book_assignments", "assigned_at, price_book, assigned_by", "'2024-01-0{n}', 'default', 'test'"),
    (
        "invoices",
        "invoice_id, period, org_name, price_book, currency, minor_unit, total, usage_mark, event_count, generated_by",
        "'{id}', '2023-0{n}-01', 'Twin', 'default', 'USD', 2, 1, 1, 0, 'test'",
    ),
    (
        "invoice_lines",
        "invoice_id, line, kind, metric_name, from_time, to_time, rule, quantity, amount",
        "'{invoice}', {n}, 'usage', 'metric_{n}', '2024-01-01', '2024-02-01', 'per unit', 1, 1",
    ),
];
