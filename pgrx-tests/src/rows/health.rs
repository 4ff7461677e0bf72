use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("data_quality_metrics", "metric_id, table_name, metric_name, status", "'{id}', 'storms', 'volume', 'ok'"),
    ("row_count_deltas", "table_name, delta_id, inserted, deleted", "'twins', '{id}', 1, 0"),
    ("row_counts", "table_name, bucket, inserted, deleted", "'twins', '2024-01-0{n}', 1, 0"),
    ("call_durations", "table_name, day, class, calls", "'twins', '2024-01-01', {n}, 1"),
    (
        "expectations",
        "expectation_id, name, table_name, rule, columns",
        "'{id}', 'Expectation {n}', 'properties', 'not_null', '{address}'",
    ),
    ("alerts", "alert_id, alert_key, issue, severity", "'{id}', 'key {n}', 'volume_drop', 'warning'"),
    ("runbook_steps", "issue, step, action", "'volume_drop', {n}, 'Call {n}'"),
];
