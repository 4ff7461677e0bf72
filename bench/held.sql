-- Two tenants with something of everything, one of them with a user of each role: what held.sh holds open is theirs.
CREATE EXTENSION stormops;
SELECT stormops.grant_usage('bench_operator', 'operator'), stormops.grant_usage('bench_app', 'trusted_app'),
  stormops.grant_usage('bench_web', 'app');
ALTER ROLE bench_app SET stormops.session_tenant = on;
SELECT tenant_id AS a FROM stormops.provision_tenant('Holding Roofing', 'standard', 'admin@holding.example') \gset
SELECT tenant_id AS b FROM stormops.provision_tenant('Other Roofing', 'standard', 'admin@other.example') \gset
SELECT stormops.set_quota(t, m, 100000) FROM unnest(ARRAY[:'a', :'b']::uuid[]) AS t, unnest('{model_call,storage_mb}'::text[]) AS m;
UPDATE stormops.tenants SET created_at = '2023-12-01 00:00Z';
\c - bench_app
SET app.current_tenant = :'a';
\ir held_tenant.sql
SELECT stormops.add_user(role || '@holding.example', role) FROM unnest('{viewer,crew_chief}'::text[]) AS role;
SET app.current_tenant = :'b';
\ir held_tenant.sql
\c - bench_operator
SELECT * FROM stormops.run_health_checks(complete => true);
SELECT * FROM stormops.rollup_usage();
