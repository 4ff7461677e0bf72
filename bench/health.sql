-- Two tenants with the same storm, one of them with ten times the history; and a thousand tenants with
-- rows of long ago and a thousand new ones each in two tables.
SELECT tenant_id AS short FROM stormops.provision_tenant('Short History', 'standard', 'admin@short.example') \gset
SELECT tenant_id AS long FROM stormops.provision_tenant('Long History', 'standard', 'admin@long.example') \gset
SET session_replication_role = replica;
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name, created_at)
SELECT t, ('02000000-0000-7000-8000-' || 100000000000 + n)::uuid, 'H-' || n, 'Hail ' || n, now() - n * interval '7 days'
FROM (VALUES (:'short'::uuid, 1), (:'long', 10)) AS v (t, storms) CROSS JOIN generate_series(1, storms) AS n;
INSERT INTO stormops.properties (tenant_id, property_id, external_id, address)
SELECT t, ('02900000-0000-7000-8000-' || 100000000000 + n)::uuid, n, n || ' Main Street'
FROM (VALUES (:'short'::uuid), (:'long')) AS v (t) CROSS JOIN generate_series(1, 20000) AS n;
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, scored_at)
SELECT s.tenant_id, s.storm_id, p.property_id, 'v1', 0.1 + 0.2 * p.external_id::int / 20000, s.created_at
FROM stormops.storms AS s JOIN stormops.properties AS p USING (tenant_id)
WHERE s.tenant_id IN (:'short', :'long') ORDER BY s.tenant_id, s.created_at, p.property_id;
RESET session_replication_role;
ANALYZE;
SET stormops.session_tenant = on;
SET app.current_tenant = :'short';
SELECT count(stormops.apply_policy(storm_id)) FROM stormops.storms WHERE tenant_id = stormops.current_tenant();
RESET app.current_tenant;
SET app.current_tenant = :'long';
SELECT count(stormops.apply_policy(storm_id)) FROM stormops.storms WHERE tenant_id = stormops.current_tenant();
RESET app.current_tenant;

SELECT count(stormops.provision_tenant('Roofer ' || n, 'standard', 'admin@roofer' || n || '.example')) FROM generate_series(1, 1000) AS n;
CREATE TABLE roofers AS SELECT tenant_id, row_number() OVER (ORDER BY tenant_id) AS n FROM stormops.tenants WHERE org_name LIKE 'Roofer %';
SET session_replication_role = replica;
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) SELECT tenant_id, tenant_id, '1', 'Hail' FROM roofers;
-- First what is old, then what is new, as they would come: each table's new rows lie at its end.
INSERT INTO stormops.properties (tenant_id, property_id, external_id, address, created_at)
SELECT r.tenant_id, md5(r.n || ' ' || i)::uuid, i, i || ' Elm Street', now() - interval '30 days' FROM generate_series(1, 1000) AS g (i) CROSS JOIN roofers AS r;
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd, scored_at)
SELECT r.tenant_id, r.tenant_id, md5(r.n || ' ' || i)::uuid, 'v1', 0.1 + 0.0002 * i, 0.05, now() - interval '30 days' FROM generate_series(1, 1000) AS g (i) CROSS JOIN roofers AS r;
RESET session_replication_role;
SELECT stormops.recount_rows(table_name) FROM stormops.counted_tables();
SELECT stormops.expect_defaults();
-- What is measured are the thousand: the others' storms are over, and they expect nothing.
UPDATE stormops.storms SET status = 'closed' WHERE tenant_id NOT IN (SELECT tenant_id FROM roofers);
DELETE FROM stormops.expectations WHERE tenant_id NOT IN (SELECT tenant_id FROM roofers);
SELECT * FROM stormops.run_health_checks();
UPDATE stormops.expectations SET judged_at = now() - interval '1 day';
SET session_replication_role = replica;
INSERT INTO stormops.properties (tenant_id, property_id, external_id, address)
SELECT r.tenant_id, md5(r.n || ' new ' || i)::uuid, 'new ' || i, i || ' Oak Street' FROM generate_series(1, 1000) AS g (i) CROSS JOIN roofers AS r;
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd)
SELECT r.tenant_id, r.tenant_id, md5(r.n || ' new ' || i)::uuid, 'v1', 0.1 + 0.0002 * i, 0.05 FROM generate_series(1, 1000) AS g (i) CROSS JOIN roofers AS r;
RESET session_replication_role;
VACUUM (ANALYZE) stormops.properties, stormops.lead_uplift, stormops.expectations, stormops.data_quality_metrics;
