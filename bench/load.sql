-- Three tenants, side by side: 1,000,000 + 400,000 + 100,000 properties, each with a score. The first
-- tenant has a second storm, with 100,000 scores.
CREATE EXTENSION stormops;
ALTER ROLE bench_app SET stormops.guard_explain = off; -- the bench compares plans
ALTER ROLE bench_app SET stormops.session_tenant = on; -- and times statements, not transactions
CREATE ROLE bench_bypass LOGIN BYPASSRLS;
SELECT stormops.grant_usage('bench_operator', 'operator');
SELECT stormops.grant_usage('bench_app', 'trusted_app');
GRANT USAGE ON SCHEMA stormops TO bench_bypass;
GRANT SELECT ON stormops.properties, stormops.lead_uplift TO bench_bypass;

\c - bench_operator
SELECT tenant_id AS large FROM stormops.provision_tenant('Large Roofing', 'enterprise', 'admin@large.example') \gset
SELECT tenant_id AS medium FROM stormops.provision_tenant('Medium Roofing', 'standard', 'admin@medium.example') \gset
SELECT tenant_id AS small FROM stormops.provision_tenant('Small Roofing', 'standard', 'admin@small.example') \gset

-- The rest as superuser and without the triggers of foreign keys: a load is not measured here.
\c - postgres
SET session_replication_role = replica;
SELECT setseed(0.5);
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name)
VALUES (:'large', '01000000-0000-7000-8000-000000000001', 'A', 'Derecho'),
  (:'large', '01000000-0000-7000-8000-000000000002', 'B', 'Hailstorm'),
  (:'medium', '01000000-0000-7000-8000-000000000001', 'A', 'Derecho'),
  (:'small', '01000000-0000-7000-8000-000000000001', 'A', 'Derecho');

-- Of 1,500 rows in a row the first tenant has 1,000, the second 400, the third 100. An id ends in the
-- property's number within its tenant, from 100000000001, so that a client can name one.
INSERT INTO stormops.properties (
  tenant_id, property_id, external_id, address, longitude, latitude, roof_style, roof_material, year_built, roof_year,
  building_value, do_not_contact
)
SELECT t.tenant_id, ('01900000-0000-7000-8000-' || 100000000000 + t.number)::uuid, 'HOUSE-' || t.number,
  t.number || ' Main Street, Ames, Iowa', -93.6 - random() / 10, 42 + random() / 10,
  (ARRAY['gable', 'hip', 'flat'])[1 + t.number % 3],
  (ARRAY['composition_shingle', 'metal', 'wood_shake'])[1 + t.number % 3],
  1900 + t.number % 110, 1950 + t.number % 60, 50000 + t.number % 400000, random() < 0.01
FROM (
  SELECT n, (n / 1500) * 1000 + n % 1500 + 1 AS number, :'large'::uuid AS tenant_id
  FROM generate_series(0, 1499999) AS n WHERE n % 1500 < 1000
  UNION ALL
  SELECT n, (n / 1500) * 400 + n % 1500 - 1000 + 1, :'medium'
  FROM generate_series(0, 1499999) AS n WHERE n % 1500 BETWEEN 1000 AND 1399
  UNION ALL
  SELECT n, (n / 1500) * 100 + n % 1500 - 1400 + 1, :'small'
  FROM generate_series(0, 1499999) AS n WHERE n % 1500 >= 1400
  ORDER BY n
) AS t;

INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd, baseline)
SELECT tenant_id, '01000000-0000-7000-8000-000000000001', property_id, 'uplift-forest-3', random() * 0.3 - 0.1,
  0.01 + random() / 10, random() / 10
FROM stormops.properties;
INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd, baseline)
SELECT tenant_id, '01000000-0000-7000-8000-000000000002', property_id, 'uplift-forest-3', random() * 0.3 - 0.1,
  0.01 + random() / 10, random() / 10
FROM stormops.properties WHERE tenant_id = :'large' ORDER BY property_id LIMIT 100000;
RESET session_replication_role;

-- The log's columns, without key, check, default, partition or policy.
CREATE TABLE bare AS SELECT * FROM stormops.policy_decisions_log LIMIT 0;
VACUUM (FREEZE, ANALYZE);
