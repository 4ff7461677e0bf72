-- A first storm, end to end: the derecho that crossed Ames, Iowa, on 10 August 2020, and 2,930
-- real houses (examples/README.md), shared out between three roofing companies.
CREATE EXTENSION stormops;
SELECT count(*) = 0 AS no_roles FROM pg_roles WHERE rolname IN ('demo_operator', 'demo_app') \gset
\if :no_roles
CREATE ROLE demo_operator LOGIN;
CREATE ROLE demo_app LOGIN;
\endif
SELECT stormops.grant_usage('demo_operator', 'operator'), stormops.grant_usage('demo_app', 'trusted_app') \gset
CREATE TABLE houses (
    external_id text, address text, neighborhood text, longitude float8, latitude float8,
    roof_style text, roof_material text, year_built int, roof_year int, building_value numeric
);
\copy houses FROM 'examples/ames.csv' WITH (FORMAT csv, HEADER)
GRANT SELECT ON houses TO demo_app;

\echo
\echo '1. The operator provisions three roofing companies.'
\c - demo_operator
\pset footer off
SELECT tenant_id FROM stormops.provision_tenant('Northside Roofing', 'standard', 'admin@northside.example') \gset north_
SELECT tenant_id FROM stormops.provision_tenant('College Creek Exteriors', 'enterprise', 'admin@collegecreek.example') \gset west_
SELECT tenant_id FROM stormops.provision_tenant('Old Town Roof & Tile', 'trial', 'admin@oldtown.example') \gset old_
SELECT org_name, tier, status, users, trial_ends_at::date AS trial_ends FROM stormops.list_tenants();

\echo '2. Each company enters the storm and its own houses, and scores them.'
\echo '   The houses and the storm are real. The uplift scores are NOT: no public data says how'
\echo '   roof owners answer. A stated model makes them (examples/demo_company.sql), the same on'
\echo '   every run but for the ids: old and weathered roofs gain most from a visit.'
\echo
\c - demo_app
\set company north
\set tenant :north_tenant_id
\ir demo_company.sql
\set company west
\set tenant :west_tenant_id
\ir demo_company.sql
\set company old
\set tenant :old_tenant_id
\ir demo_company.sql

\echo
\echo '3. Three risk attitudes on the same scores (preview_policy: nothing is written).'
\echo '   A visit costs 150 dollars, a job brings 3,000: a visit pays above an uplift of 0.05.'
\echo
\echo '   company                  mode           treat     %    hold   expected value'
\echo '   -----------------------  ------------  ------  ----  ------  --------------'
\set tenant :north_tenant_id
\ir demo_preview.sql
\set tenant :west_tenant_id
\ir demo_preview.sql
\set tenant :old_tenant_id
\ir demo_preview.sql

\echo
\echo '4. The moderate policy is applied and logged; outcomes come back (simulated, as above).'
\echo '   Some houses that the rule chose were held out by chance. check_conversion_rates() sets'
\echo '   the visited against them, with a 95 percent interval:'
\echo
\echo '                                  visited               held out'
\echo '   company                  houses  jobs            houses  jobs               lift'
\echo '   -----------------------  --------------------    --------------------    -------------------------'
\set tenant :north_tenant_id
\ir demo_outcomes.sql
\set tenant :west_tenant_id
\ir demo_outcomes.sql
\set tenant :old_tenant_id
\ir demo_outcomes.sql

\echo
\echo '5. One table, three companies, and each sees its own rows only.'
\echo
\set tenant :north_tenant_id
\ir demo_isolation.sql
\set tenant :west_tenant_id
\ir demo_isolation.sql
\set tenant :old_tenant_id
\ir demo_isolation.sql
\echo
\echo '   Without a tenant, for another tenant, into another tenant: an error that says why.'
\set ON_ERROR_STOP off
SELECT count(*) FROM properties;
BEGIN;
SET LOCAL app.current_tenant = :'north_tenant_id';
INSERT INTO properties (tenant_id, address) VALUES (:'west_tenant_id', 'A roof in the west');
ROLLBACK;
BEGIN;
SET LOCAL app.current_tenant = :'north_tenant_id';
SELECT count(*) AS own_storms FROM storms;
SET LOCAL app.current_tenant = :'west_tenant_id';
SELECT count(*) FROM storms;
ROLLBACK;
\set ON_ERROR_STOP on
