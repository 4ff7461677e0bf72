-- K. Poisoned numbers.

--# 178 | S1 | app, tapp | refused 23514 | naive skips
-- One NaN makes every average NaN.
INSERT INTO stormops.data_quality_metrics (tenant_id, table_name, metric_name, status, metric_value) VALUES (:'A', 'storms', 'x', 'ok', 'NaN');
INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value) VALUES (:'A', 'x', 'NaN');
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift) VALUES (:'A', :'id1', :'id1', 'x', 'NaN');

--# 178b | S1 | app, tapp | refused 23514 | naive skips
INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value) VALUES (:'A', 'x', 'Infinity');

--# 178c | S1 | tapp | same
-- A number of the attacker's reaches nobody else's sum.
INSERT INTO stormops.tenant_usage (tenant_id, usage_id, metric_name, metric_value) VALUES (:'A', :'id9', 'metric_1', 'NaN');
COMMIT;
\operator
SELECT 1 / (CASE WHEN sum(x) = 'NaN' THEN 0 ELSE 1 END) FROM (SELECT 0::numeric AS x) AS nothing;
\superuser
SELECT 1 / (CASE WHEN sum(metric_value) = 'NaN' THEN 0 ELSE 1 END) FROM stormops.tenant_usage;
\cleanup
DELETE FROM stormops.tenant_usage WHERE usage_id = :'id9';

--# 179 | S1 | app, tapp | refused 23514 | naive skips
-- Or overflows every sum.
INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value) VALUES (:'A', 'x', -1);
INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value) VALUES (:'A', 'x', 1e30);

--# 181 | S1 | app, tapp | refused 23514 | naive skips
-- Huge values.
INSERT INTO stormops.storms (tenant_id, event_id, name) VALUES (:'A', 'x', repeat('x', 1000000));
INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value, dimensions) VALUES (:'A', 'x', 1, jsonb_build_object('x', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) AS i)));
