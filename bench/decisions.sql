-- Three more tenants: one whose scores came in random order, each property with money of its own; one with a storm of 3,000; one
-- with ten million (only if :huge). As superuser and without the triggers of foreign keys, as load.sql.
\c bench bench_operator
SELECT tenant_id AS worst FROM stormops.provision_tenant('Worst Roofing', 'enterprise', 'admin@worst.example') \gset
SELECT tenant_id AS huge_tenant FROM stormops.provision_tenant('Huge Roofing', 'enterprise', 'admin@huge.example') \gset
\c - postgres
SET session_replication_role = replica;
SELECT setseed(0.25);
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name)
VALUES (:'worst', '01000000-0000-7000-8000-000000000001', 'A', 'Derecho'), (:'worst', '01000000-0000-7000-8000-000000000003', 'C', 'Squall'),
  (:'huge_tenant', '01000000-0000-7000-8000-000000000001', 'A', 'Derecho');
INSERT INTO stormops.properties (tenant_id, property_id, external_id, job_margin, contact_cost, do_not_contact, status)
SELECT :'worst', gen_random_uuid(), 'W-' || n, round((500 + random() * 9000)::numeric, 2), round((random() * 300)::numeric, 2),
  random() < 0.01, CASE WHEN random() < 0.01 THEN 'archived' ELSE 'active' END
FROM generate_series(1, 1000000) AS n;
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd, baseline)
SELECT tenant_id, '01000000-0000-7000-8000-000000000001', property_id, 'uplift-forest-' || (hashtext(property_id::text) & 3),
  random() * 0.3 - 0.1, 0.01 + random() / 10, random() / 10
FROM stormops.properties WHERE tenant_id = :'worst' ORDER BY random();
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd, baseline)
SELECT tenant_id, '01000000-0000-7000-8000-000000000003', property_id, 'uplift-forest-3', random() * 0.3 - 0.1, 0.01 + random() / 10, random() / 10
FROM (SELECT * FROM stormops.properties WHERE tenant_id = :'worst' LIMIT 3000) AS p;
\if :huge
INSERT INTO stormops.properties (tenant_id, property_id, do_not_contact)
SELECT :'huge_tenant', ('01900000-0000-7000-8000-' || 100000000000 + n)::uuid, random() < 0.01 FROM generate_series(1, 10000000) AS n;
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd)
SELECT :'huge_tenant', '01000000-0000-7000-8000-000000000001', ('01900000-0000-7000-8000-' || 100000000000 + n)::uuid, 'uplift-forest-3',
  random() * 0.3 - 0.1, 0.01 + random() / 10 FROM generate_series(1, 10000000) AS n;
\endif
RESET session_replication_role;
INSERT INTO stormops.policy_modes (tenant_id, policy_mode, confidence, exploration, holdout, capacity)
SELECT t.tenant_id, 'capacity', 0.5, 0.05, 0.1, 100000 FROM stormops.tenants AS t WHERE t.org_name LIKE '% Roofing';
VACUUM (FREEZE, ANALYZE);
