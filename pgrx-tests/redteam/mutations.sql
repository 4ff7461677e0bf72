-- Our defences, each taken away alone: `--# the defence | attack attacker statements, …` says which attacks must then
-- succeed, in how many statements at least. A line is a statement, as in an attack; below \undo is how the defence comes
-- back. Without it the databases are made anew.

--# row security is forced | 32 owner 16, 204b superuser 1
ALTER TABLE stormops.:table NO FORCE ROW LEVEL SECURITY;
\undo
ALTER TABLE stormops.:table FORCE ROW LEVEL SECURITY;
--# row security | 62 tapp 16
ALTER TABLE stormops.:table DISABLE ROW LEVEL SECURITY;
\undo
ALTER TABLE stormops.:table ENABLE ROW LEVEL SECURITY;
--# row security of partitions | 105 app 1, 204b superuser 1
ALTER TABLE :partition DISABLE ROW LEVEL SECURITY;
\undo
ALTER TABLE :partition ENABLE ROW LEVEL SECURITY;
--# the policy | 0 tapp 16
DROP POLICY tenant ON stormops.:table;
\undo
SELECT stormops.install();
--# the floor | 83 app 16, 83b tapp 1
DROP POLICY tenant_floor ON stormops.:table;
\undo
SELECT stormops.install();
--# the floor's text | 83 tapp 16
ALTER POLICY tenant_floor ON stormops.:table USING (true);
\undo
ALTER POLICY tenant_floor ON stormops.:table USING (tenant_id = stormops.current_tenant());
--# the policy's text | 77 superuser 1
ALTER POLICY tenant ON stormops.:table USING (true);
\undo
ALTER POLICY tenant ON stormops.:table USING (tenant_id = stormops.current_tenant());
--# both texts | 62 app 16, 32 owner 16
ALTER POLICY tenant ON stormops.:table USING (true);
ALTER POLICY tenant_floor ON stormops.:table USING (stormops.current_tenant() IS NOT NULL);
\undo
ALTER POLICY tenant ON stormops.:table USING (tenant_id = stormops.current_tenant());
ALTER POLICY tenant_floor ON stormops.:table USING (tenant_id = stormops.current_tenant());
--# the last policy without the extension | 189b app 16
DROP POLICY installed ON stormops.:table;
--# no permissive policy more | 77 superuser 1
CREATE POLICY support ON stormops.storms USING (true);
\undo
DROP POLICY support ON stormops.storms;
--# least role to read | 174 viewer 2
DROP POLICY IF EXISTS role_select ON stormops.:table;
\undo
SELECT stormops.install();
--# least role to insert | 174b viewer 5, 105c tapp 1
DROP POLICY IF EXISTS role_insert ON stormops.:table;
\undo
SELECT stormops.install();
--# least role to update | 174 viewer 4, 105b tapp 5
DROP POLICY IF EXISTS role_update ON stormops.:table;
\undo
SELECT stormops.install();
--# least role to delete | 174 viewer 4, 105b app 5
DROP POLICY IF EXISTS role_delete ON stormops.:table;
\undo
SELECT stormops.install();
--# a context that is read for each statement | 79 tapp 1, 57c superuser 1
ALTER FUNCTION stormops.current_tenant() IMMUTABLE;
\undo
ALTER FUNCTION stormops.current_tenant() STABLE;

--# tenant in the key of storms | 88 app 1, 90 tapp 1
CREATE UNIQUE INDEX single ON stormops.storms (storm_id) WHERE storm_id <> :'id1';
\undo
DROP INDEX stormops.single;
--# tenant in the own key of storms | 88 tapp 1, 95 superuser 1
CREATE UNIQUE INDEX single ON stormops.storms (event_id) WHERE event_id <> 'E-1';
\undo
DROP INDEX stormops.single;
--# tenant in the key of properties | 88 app 1
CREATE UNIQUE INDEX single ON stormops.properties (property_id) WHERE property_id <> :'id1';
\undo
DROP INDEX stormops.single;
--# tenant in the own key of properties | 88 tapp 1
CREATE UNIQUE INDEX single ON stormops.properties (external_id) WHERE external_id <> 'P-1';
\undo
DROP INDEX stormops.single;
--# tenant in the key of customer_journeys | 88 app 1
CREATE UNIQUE INDEX single ON stormops.customer_journeys (journey_id) WHERE journey_id <> :'id1';
\undo
DROP INDEX stormops.single;
--# tenant in the key of lead_uplift | 88 tapp 1
CREATE UNIQUE INDEX single ON stormops.lead_uplift (model_version) WHERE model_version <> 'm1';
\undo
DROP INDEX stormops.single;
--# tenant in the key of policy_modes | 88 app 1
CREATE UNIQUE INDEX single ON stormops.policy_modes (policy_mode) WHERE policy_mode = 'mode 2';
\undo
DROP INDEX stormops.single;
--# tenant in the key of usage_keys | 90 app 1
CREATE UNIQUE INDEX single ON stormops.usage_keys (idempotency_key) WHERE idempotency_key NOT IN ('U-1', 'K-1');
\undo
DROP INDEX stormops.single;
--# tenant in the key of data_quality_metrics | 90 tapp 1
CREATE UNIQUE INDEX single ON stormops.data_quality_metrics (metric_id) WHERE metric_id <> :'id1';
\undo
DROP INDEX stormops.single;
--# references within the tenant | 94 app 4
DO $$ DECLARE name text; BEGIN FOR name IN SELECT format('%s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint WHERE contype = 'f' AND connamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND conparentid = 0 AND confrelid <> 'stormops.tenants'::regclass LOOP EXECUTE 'ALTER TABLE ' || name; END LOOP; END $$;
--# no cascade | 95 superuser 1
ALTER TABLE stormops.customer_journeys ADD CONSTRAINT cascading FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms ON DELETE CASCADE;
\undo
ALTER TABLE stormops.customer_journeys DROP CONSTRAINT cascading;

--# no TRUNCATE | 99 app 10, 204 superuser 1
GRANT TRUNCATE ON stormops.:table TO app;
--# no TRIGGER | 100 app 1, 100b app 1
GRANT TRIGGER ON stormops.storms TO app;
\undo
REVOKE TRIGGER ON stormops.storms FROM app;
--# no REFERENCES | 98 app 1
GRANT REFERENCES ON stormops.storms TO app;
\undo
REVOKE REFERENCES ON stormops.storms FROM app;
--# no CREATE | 51 app 1, 51b superuser 1
GRANT CREATE ON SCHEMA stormops TO app;
\undo
REVOKE CREATE ON SCHEMA stormops FROM app;
--# UPDATE by column | 85b tapp 5, 204 superuser 1
GRANT UPDATE ON stormops.:table TO tapp;
\undo
REVOKE UPDATE ON stormops.:table FROM tapp;
SELECT stormops.renew_grants();
--# no grant on partitions | 204 superuser 1
GRANT SELECT ON :partition TO app;
\undo
REVOKE SELECT ON :partition FROM app;
--# no grant on the installation's own table | 56 app 1, 56b superuser 1
GRANT SELECT ON stormops_internal.usage_grants TO app;
\undo
REVOKE SELECT ON stormops_internal.usage_grants FROM app;
--# the operator's functions | 44 app 1, 44d app 1
GRANT EXECUTE ON FUNCTION stormops.close_tenant(uuid, text), stormops.list_tenants() TO app;
--# visit_all_tenants() is nobody's | 53b superuser 1
GRANT EXECUTE ON FUNCTION stormops_internal.visit_all_tenants() TO app;
\undo
REVOKE EXECUTE ON FUNCTION stormops_internal.visit_all_tenants() FROM app;
--# nothing for PUBLIC | 53 nobody 1, 53b superuser 1
GRANT EXECUTE ON FUNCTION stormops.export_tenant_data(uuid) TO PUBLIC;
\undo
REVOKE EXECUTE ON FUNCTION stormops.export_tenant_data(uuid) FROM PUBLIC;
--# the logs by functions only | 175 tapp 1, 175b tapp 1
GRANT INSERT, UPDATE, DELETE ON stormops.policy_decision_blocks, stormops.tenant_events TO tapp;
\undo
REVOKE INSERT, UPDATE, DELETE ON stormops.policy_decision_blocks, stormops.tenant_events FROM tapp;
--# the tenant's own row | 160 app 1
GRANT DELETE, UPDATE (status, tier) ON stormops.tenants TO app;
\undo
REVOKE DELETE, UPDATE (status, tier) ON stormops.tenants FROM app;
--# metering stays | 171 app 1
GRANT UPDATE, DELETE ON stormops.tenant_usage TO app;
\undo
REVOKE UPDATE, DELETE ON stormops.tenant_usage FROM app;
--# the tables are their owner's | 33 app 1, 38 superuser 1
ALTER TABLE stormops.storms OWNER TO app;
\undo
ALTER TABLE stormops.storms OWNER TO stormops_owner;
SELECT stormops.renew_grants();
--# the context is trusted roles' | 6 app 1, 7 app 1, 40b superuser 1
GRANT SET ON PARAMETER app.current_tenant TO app;
GRANT EXECUTE ON FUNCTION stormops.enter_tenant(uuid, uuid) TO app;
\undo
REVOKE EXECUTE ON FUNCTION stormops.enter_tenant(uuid, uuid) FROM app;
REVOKE SET ON PARAMETER app.current_tenant FROM app;
--# a tenant holds for its transaction | 19 app 1
GRANT SET ON PARAMETER app.current_tenant TO app;
GRANT EXECUTE ON FUNCTION stormops.enter_tenant(uuid, uuid) TO app;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET stormops.session_tenant = on', current_database()); END $$;
\undo
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET stormops.session_tenant', current_database()); END $$;
REVOKE EXECUTE ON FUNCTION stormops.enter_tenant(uuid, uuid) FROM app;
REVOKE SET ON PARAMETER app.current_tenant FROM app;
--# the owner has no members | 39 superuser 1, 33 app 1
GRANT stormops_owner TO app;
\undo
REVOKE stormops_owner FROM app;
--# the owner cannot log in | 39 superuser 1
ALTER ROLE stormops_owner LOGIN;
\undo
ALTER ROLE stormops_owner NOLOGIN;
--# roles are under row security | 62 tapp 10, 40 superuser 1
ALTER ROLE tapp BYPASSRLS;
\undo
ALTER ROLE tapp NOBYPASSRLS;
--# app does not become tapp | 29b app 1
GRANT tapp TO app;
\undo
REVOKE tapp FROM app;
--# no default grants | 102 app 1
ALTER DEFAULT PRIVILEGES IN SCHEMA stormops GRANT SELECT ON TABLES TO app;
\undo
ALTER DEFAULT PRIVILEGES IN SCHEMA stormops REVOKE SELECT ON TABLES FROM app;

--# a view asks as whoever looks | 62b superuser 1
ALTER VIEW stormops.policy_decisions RESET (security_invoker);
\undo
ALTER VIEW stormops.policy_decisions SET (security_invoker = true);
--# a view shows nothing early | 62b superuser 1
ALTER VIEW stormops.storm_results RESET (security_barrier);
\undo
ALTER VIEW stormops.storm_results SET (security_barrier = true);
--# a view is the owner's | 62 app 1, 38 superuser 1
ALTER VIEW stormops.policy_decisions RESET (security_invoker);
ALTER VIEW stormops.policy_decisions OWNER TO postgres;
\undo
ALTER VIEW stormops.policy_decisions OWNER TO stormops_owner;
ALTER VIEW stormops.policy_decisions SET (security_invoker = true);
SELECT stormops.renew_grants();
--# no materialised view | 62 app 1, 63 superuser 1
CREATE MATERIALIZED VIEW stormops.m AS SELECT tenant_id, name FROM stormops.storms;
GRANT SELECT ON stormops.m TO app;
\undo
DROP MATERIALIZED VIEW stormops.m;
--# no table outside the regime | 62 tapp 1, 81 superuser 1, 204b superuser 1
CREATE TABLE stormops.notes AS SELECT tenant_id, name FROM stormops.storms;
GRANT SELECT ON stormops.notes TO tapp;
\undo
DROP TABLE stormops.notes;
--# no sequence | 104b superuser 1
CREATE SEQUENCE stormops.s;
GRANT USAGE ON SEQUENCE stormops.s TO app;
\undo
DROP SEQUENCE stormops.s;
--# no extended statistics | 69 superuser 1
CREATE STATISTICS stormops.s ON tenant_id, name FROM stormops.storms;
\undo
DROP STATISTICS stormops.s;
--# no leakproof function | 57b superuser 1
ALTER FUNCTION stormops_internal.neighbourhood(double precision, double precision) LEAKPROOF;
\undo
ALTER FUNCTION stormops_internal.neighbourhood(double precision, double precision) NOT LEAKPROOF;
--# definer functions are the owner's | 202 superuser 1
ALTER FUNCTION stormops.export_tenant_data(uuid) OWNER TO postgres;
\undo
ALTER FUNCTION stormops.export_tenant_data(uuid) OWNER TO stormops_owner;
--# whom a call may concern | 42 app 1, 43 outsider 1, 44b tapp 1
CREATE OR REPLACE FUNCTION stormops_internal.target_tenant(tenant_id uuid, writes boolean) RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS 'SELECT coalesce($1, stormops.current_tenant())';
--# bounds of numbers and sizes | 178b app 1, 178c app 1, 179 tapp 1, 181 tapp 1
DO $$ DECLARE name text; BEGIN FOR name IN SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'stormops.tenant_usage'::regclass LOOP EXECUTE format('ALTER TABLE stormops.tenant_usage DROP CONSTRAINT %I', name); END LOOP; END $$;
--# legal steps of a tenant | 161 superuser 1
DROP TRIGGER legal_step ON stormops.tenants;
DROP TRIGGER legal_truncate ON stormops.tenants;
\undo
SELECT stormops.install();
--# word of a new standing | 158 tapp 1, 159 tapp 1
DROP TRIGGER announce_standing ON stormops.tenants;
\undo
SELECT stormops.install();
--# search_path of apply_policy() | 49 tapp 1, 50 superuser 1
ALTER FUNCTION stormops.apply_policy(uuid, text, boolean) RESET search_path;
\undo
ALTER FUNCTION stormops.apply_policy(uuid, text, boolean) SET search_path = pg_catalog, pg_temp;
--# search_path of insert_user() | 50 superuser 1
ALTER FUNCTION stormops_internal.insert_user(uuid, text, text, text) RESET search_path;
\undo
ALTER FUNCTION stormops_internal.insert_user(uuid, text, text, text) SET search_path = pg_catalog, pg_temp;
--# search_path of change_user() | 50 superuser 1
ALTER FUNCTION stormops_internal.change_user(uuid, uuid, text, text, text) RESET search_path;
\undo
ALTER FUNCTION stormops_internal.change_user(uuid, uuid, text, text, text) SET search_path = pg_catalog, pg_temp;
--# search_path of record_outcomes() | 49 tapp 1, 50 superuser 1
ALTER FUNCTION stormops.record_outcomes(uuid, jsonb) RESET search_path;
\undo
ALTER FUNCTION stormops.record_outcomes(uuid, jsonb) SET search_path = pg_catalog, pg_temp;
--# search_path of export_tenant_data() | 49 tapp 1, 50 superuser 1
ALTER FUNCTION stormops.export_tenant_data(uuid) RESET search_path;
\undo
ALTER FUNCTION stormops.export_tenant_data(uuid) SET search_path = pg_catalog, pg_temp;
--# search_path of set_baseline() | 49 tapp 1, 50 superuser 1
ALTER FUNCTION stormops.set_baseline(uuid, text) RESET search_path;
\undo
ALTER FUNCTION stormops.set_baseline(uuid, text) SET search_path = pg_catalog, pg_temp;
--# search_path of assign_experiment() | 49 tapp 1, 50 superuser 1
ALTER FUNCTION stormops.assign_experiment(uuid) RESET search_path;
\undo
ALTER FUNCTION stormops.assign_experiment(uuid) SET search_path = pg_catalog, pg_temp;
--# search_path of stop_experiment() | 49 tapp 1, 50 superuser 1
ALTER FUNCTION stormops.stop_experiment(uuid, text) RESET search_path;
\undo
ALTER FUNCTION stormops.stop_experiment(uuid, text) SET search_path = pg_catalog, pg_temp;
