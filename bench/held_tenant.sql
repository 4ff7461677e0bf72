-- Of the tenant in context: 2,000 properties, a scored storm with a run, 2,000 events, an expectation that fails.
INSERT INTO stormops.storms (event_id, name) VALUES ('A', 'Derecho');
INSERT INTO stormops.properties (external_id, address, longitude, latitude)
SELECT 'HOUSE-' || n, CASE WHEN n % 10 > 0 THEN n || ' Main Street' END, -93.6, 42 FROM generate_series(1, 2000) AS n;
INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift, uplift_sd, baseline)
SELECT s.storm_id, p.property_id, 'v1', random() * 0.2, 0.02, 0.05 FROM stormops.storms AS s, stormops.properties AS p;
SELECT FROM stormops.apply_policy((SELECT storm_id FROM stormops.storms));
INSERT INTO stormops.tenant_usage (metric_name, metric_value, recorded_at)
SELECT 'model_call', 1, now() - make_interval(mins => n) FROM generate_series(1, 2000) AS n;
SELECT stormops.expect('properties', 'not_null', '{address}');
