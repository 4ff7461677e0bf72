-- A tenant with a storm of 100,000 properties, each decided with a chance near one half, and what came of it: 12 percent
-- convert, of the treated more by the roof's age and material.
CREATE DATABASE bench;
\c bench
CREATE EXTENSION stormops;
CREATE ROLE bench_operator LOGIN;
CREATE ROLE bench_app LOGIN;
ALTER ROLE bench_app SET stormops.session_tenant = on; -- the bench times statements, not transactions
SELECT stormops.grant_usage('bench_operator', 'operator'), stormops.grant_usage('bench_app', 'trusted_app');
\c - bench_operator
SELECT tenant_id AS tenant FROM stormops.provision_tenant('Alpha Roofing', 'standard', 'admin@alpha.example') \gset
\c - bench_app
SET app.current_tenant = :'tenant';
INSERT INTO stormops.storms (storm_id, event_id, name, started_at)
VALUES ('01000000-0000-7000-8000-000000000001', 'A', 'Derecho', '2026-05-01');
INSERT INTO stormops.properties (property_id, external_id, year_built, roof_year, building_value, roof_style, roof_material)
SELECT md5('house ' || n)::uuid, 'HOUSE-' || n, 1900 + 7 * n % 113, 1980 + 11 * n % 43, 50000 + 37 * n % 4001 * 100,
  (ARRAY['gable', 'hip', 'flat'])[1 + n % 3], (ARRAY['composition_shingle', 'metal', 'wood_shake', 'tile'])[1 + n / 3 % 4]
FROM generate_series(1, 100000) AS n;
INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift)
SELECT '01000000-0000-7000-8000-000000000001', property_id, 'v1', mod(n * 0.618033988749, 1) * 0.3 - 0.1
FROM (SELECT property_id, row_number() OVER (ORDER BY property_id) AS n FROM stormops.properties) AS p;
UPDATE stormops.policy_modes SET exploration = 0.45, holdout = 0.05;
SELECT * FROM stormops.apply_policy('01000000-0000-7000-8000-000000000001');
\c - postgres
SET session_replication_role = replica;
INSERT INTO stormops.policy_outcomes (tenant_id, storm_id, property_id, run_id, converted, occurred_at, late, idempotency_key)
SELECT d.tenant_id, d.storm_id, d.property_id, d.run_id, true, now(), false, d.property_id::text
FROM stormops.policy_decisions AS d JOIN stormops.properties AS p USING (tenant_id, property_id)
WHERE stormops.draw(d.storm_id, d.storm_id, d.property_id, 'outcome') < 0.12 + CASE d.decision WHEN 'treat'
  THEN 0.02 + 0.002 * greatest(2026 - p.roof_year - 15, 0) + CASE p.roof_material WHEN 'wood_shake' THEN 0.04 ELSE 0 END ELSE 0 END;
VACUUM (FREEZE, ANALYZE);
