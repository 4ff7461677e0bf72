-- A first storm in a tenant of its own, as the roles that users have, all of it rolled back: an installed system works.
-- Runs inside a transaction, as a superuser: delivery/smoke, or psql -c BEGIN -f delivery/smoke.sql -c ROLLBACK.
\set ON_ERROR_STOP on
SAVEPOINT smoke;
SET LOCAL client_min_messages = warning;
SELECT 'stormops_smoke_' || substr(md5(random()::text), 1, 12) AS smoke \gset
CREATE ROLE :"smoke" NOLOGIN;
SELECT stormops.grant_usage(:'smoke', 'trusted_app') \g /dev/null
SELECT t.tenant_id AS smoke_tenant
FROM stormops.provision_tenant(:'smoke', 'standard', :'smoke' || '@example.com') AS t \gset

SET LOCAL ROLE :"smoke";
SELECT stormops.enter_tenant(:'smoke_tenant') \g /dev/null
SELECT count(*) = 0 AS ok FROM stormops.storms \gset
\if :ok
\else
    \warn 'smoke: a new tenant sees rows of others'
    SELECT 1 / 0 AS "smoke test: a new tenant sees rows of others";
\endif
INSERT INTO stormops.storms (event_id, name, peril) VALUES ('SMOKE', 'Smoke test', 'hail') RETURNING storm_id AS smoke_storm \gset
INSERT INTO stormops.properties (external_id, address)
SELECT 'S' || n, n || ' Smoke Street' FROM generate_series(1, 100) AS n;
INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift, uplift_sd)
SELECT :'smoke_storm', p.property_id, 'smoke', 0.5, 0.01 FROM stormops.properties AS p;
SELECT a.treat + a.hold = 100 AND a.treat > 0 AS ok FROM stormops.apply_policy(:'smoke_storm') AS a \gset
\if :ok
\else
    \warn 'smoke: apply_policy() did not decide every property'
    SELECT 1 / 0 AS "smoke test: apply_policy()";
\endif
SELECT count(*) = 100 AND count(DISTINCT d.property_id) = 100 AS ok, (array_agg(d.property_id) FILTER (WHERE d.decision = 'treat'))[1] AS smoke_property
FROM stormops.policy_decisions AS d \gset
\if :ok
\else
    \warn 'smoke: the decision log does not have every property'
    SELECT 1 / 0 AS "smoke test: policy_decisions";
\endif
SELECT o.recorded AS ok FROM stormops.record_outcome(:'smoke_storm', :'smoke_property', true, 1000) AS o \gset
\if :ok
\else
    \warn 'smoke: an outcome was not recorded'
    SELECT 1 / 0 AS "smoke test: record_outcome()";
\endif
SELECT stormops.record_usage('model_call', 3) \g /dev/null
SELECT count(*) > 0 AS ok FROM stormops.health_summary(:'smoke_storm') \gset
\if :ok
\else
    \warn 'smoke: no health summary'
    SELECT 1 / 0 AS "smoke test: health_summary()";
\endif
RESET ROLE;
ROLLBACK TO SAVEPOINT smoke;
RELEASE SAVEPOINT smoke;
\echo smoke: a first storm works, nothing of it is kept
