-- 10,000 tenants with two metrics and twelve closed months of rollups, by month and by day (the hours, 24 times the days,
-- are left out: they would only make the GROUP BY slower). Superuser.
INSERT INTO stormops.tenants (tenant_id, org_name, name_key, tier, created_at)
SELECT stormops.new_id(), 'Invoiced ' || n, 'invoiced ' || n, CASE WHEN n % 5 = 0 THEN 'enterprise' ELSE 'standard' END, '2022-12-15 00:00Z'
FROM generate_series(1, 10000) AS n;
INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation)
SELECT t.tenant_id, m.metric_name, m.unit, m.aggregation
FROM stormops.tenants AS t, stormops.default_metrics() AS m
WHERE t.name_key LIKE 'invoiced %' AND m.metric_name IN ('model_call', 'storage_mb');
SET session_replication_role = replica; -- without the triggers of foreign keys: a load is not measured here
INSERT INTO stormops.usage_rollups (tenant_id, metric_name, grain, bucket, aggregation, quantity, event_count)
SELECT m.tenant_id, m.metric_name, 'month', b.bucket, m.aggregation, 1000 + (random() * 1e6)::integer / 100.0, 100
FROM stormops.metrics AS m JOIN stormops.tenants AS t ON t.tenant_id = m.tenant_id AND t.name_key LIKE 'invoiced %',
    generate_series('2023-01-01 00:00'::timestamp, '2023-12-01 00:00', '1 month') AS g (month), timezone('UTC', g.month) AS b (bucket)
ORDER BY b.bucket, m.tenant_id;
INSERT INTO stormops.usage_rollups (tenant_id, metric_name, grain, bucket, aggregation, quantity, event_count)
SELECT m.tenant_id, m.metric_name, 'day', b.bucket, m.aggregation, 30 + (random() * 3e4)::integer / 100.0, 3
FROM stormops.metrics AS m JOIN stormops.tenants AS t ON t.tenant_id = m.tenant_id AND t.name_key LIKE 'invoiced %',
    generate_series('2023-01-01 00:00'::timestamp, '2023-12-31 00:00', '1 day') AS g (day), timezone('UTC', g.day) AS b (bucket)
ORDER BY b.bucket, m.tenant_id;
RESET session_replication_role;
SELECT stormops.set_price('platform', 'flat', 49, tier => 'standard', valid_from => '2023-01-01 00:00Z');
SELECT stormops.set_price('model_call', 'graduated', bands => '[{"up_to": 1000, "unit_price": 0.01}, {"unit_price": 0.005}]',
    included_quantity => 100, tier => 'enterprise', valid_from => '2023-01-01 00:00Z');
VACUUM ANALYZE stormops.usage_rollups, stormops.tenants, stormops.metrics;
