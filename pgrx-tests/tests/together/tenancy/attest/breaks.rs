//! What breaks each property, one after the other.

/// Property, what breaks it, and what the evidence must name.
pub const BREAKS: &[(&str, &str, &str)] = &[
    (
        "row_security_forced",
        "ALTER TABLE stormops.storms NO FORCE ROW LEVEL SECURITY",
        "stormops.storms does not force",
    ),
    (
        "row_security_forced",
        "ALTER TABLE stormops.users DISABLE ROW LEVEL SECURITY",
        "stormops.users has row security disabled",
    ),
    (
        "row_security_forced",
        "ALTER TABLE stormops_internal.policy_decision_blocks_default NO FORCE ROW LEVEL SECURITY",
        "policy_decision_blocks_default",
    ),
    ("row_security_forced", "ALTER TABLE stormops_internal.usage_grants DISABLE ROW LEVEL SECURITY", "usage_grants"),
    (
        "row_security_forced",
        "ALTER TABLE stormops.policy_decision_blocks NO FORCE ROW LEVEL SECURITY",
        "stormops.policy_decision_blocks does not force",
    ),
    (
        "policies_as_shipped",
        "DROP POLICY tenant_floor ON stormops.policy_decision_rows",
        "policy tenant_floor on stormops.policy_decision_rows is missing",
    ),
    (
        "policies_as_shipped",
        "DROP POLICY tenant_floor ON stormops.storms",
        "policy tenant_floor on stormops.storms is missing",
    ),
    (
        "policies_as_shipped",
        "ALTER POLICY tenant ON stormops.users USING (true)",
        "tenant on stormops.users is changed",
    ),
    (
        "policies_as_shipped",
        "ALTER POLICY tenant ON stormops.users USING (tenant_id = stormops.current_tenant() OR true)",
        "OR true",
    ),
    (
        "policies_as_shipped",
        "ALTER POLICY role_update ON stormops.storms TO tapp",
        "role_update on stormops.storms is changed",
    ),
    (
        "policies_as_shipped",
        "ALTER POLICY role_insert ON stormops.users WITH CHECK (stormops.may_write('viewer'))",
        "viewer",
    ),
    // An operator that looks like the one it stands in for.
    (
        "policies_as_shipped",
        "CREATE FUNCTION public.yes(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR public.= (FUNCTION = public.yes, LEFTARG = uuid, RIGHTARG = uuid);
         ALTER POLICY tenant ON stormops.users USING (tenant_id OPERATOR(public.=) stormops.current_tenant())",
        "OPERATOR(public.=)",
    ),
    ("no_permissive_policy", "CREATE POLICY open ON stormops.storms USING (true)", "policy open on stormops.storms"),
    (
        "no_permissive_policy",
        "CREATE POLICY open ON stormops_internal.policy_decision_blocks_default USING (true)",
        "policy_decision_blocks_default",
    ),
    ("no_permissive_policy", "CREATE POLICY open ON stormops_internal.usage_grants USING (true)", "usage_grants"),
    ("owned_by_owner", "ALTER TABLE stormops.storms OWNER TO nobody", "stormops.storms is nobody's"),
    ("owned_by_owner", "ALTER VIEW stormops.storm_results OWNER TO postgres", "stormops.storm_results is postgres's"),
    ("owner_powerless", "ALTER ROLE stormops_owner LOGIN", "LOGIN"),
    ("owner_powerless", "ALTER ROLE stormops_owner BYPASSRLS", "BYPASSRLS"),
    ("owner_unreachable", "GRANT stormops_owner TO nobody", "nobody is a member of stormops_owner"),
    ("owner_unreachable", "GRANT pg_read_all_data TO stormops_owner", "stormops_owner is a member of pg_read_all_data"),
    ("roles_within_row_security", "ALTER ROLE app BYPASSRLS", "app (app) has BYPASSRLS"),
    ("roles_within_row_security", "ALTER ROLE mon CREATEROLE", "mon (monitor) has CREATEROLE"),
    ("roles_within_row_security", "GRANT pg_read_all_data TO tapp", "tapp (trusted_app) can become pg_read_all_data"),
    ("roles_within_row_security", "GRANT pg_monitor TO app", "app (app) can become pg_monitor"),
    (
        "roles_within_row_security",
        "CREATE ROLE half; GRANT half TO tapp; GRANT pg_execute_server_program TO half",
        "pg_execute_server_program",
    ),
    ("roles_within_row_security", "GRANT op TO app", "app (app) can become op"),
    (
        "functions_as_shipped",
        "CREATE OR REPLACE FUNCTION stormops_internal.is_operator() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp AS 'SELECT true'",
        "stormops_internal.is_operator() is changed",
    ),
    (
        "functions_as_shipped",
        "ALTER FUNCTION stormops.may_write(text) IMMUTABLE",
        "stormops.may_write(text) is changed",
    ),
    (
        "functions_as_shipped",
        "ALTER FUNCTION stormops.log_head(uuid) RESET search_path",
        "stormops.log_head(uuid) is changed",
    ),
    (
        "functions_as_shipped",
        "ALTER FUNCTION stormops.log_head(uuid) OWNER TO postgres",
        "stormops.log_head(uuid) is postgres's",
    ),
    (
        "functions_as_shipped",
        "ALTER EXTENSION stormops DROP FUNCTION stormops.draw(uuid, uuid, uuid, text)",
        "no member",
    ),
    (
        "functions_as_shipped",
        "CREATE FUNCTION stormops.extra() RETURNS integer LANGUAGE sql AS 'SELECT 1';
         REVOKE ALL ON FUNCTION stormops.extra() FROM PUBLIC",
        "stormops.extra() was added",
    ),
    (
        "functions_as_shipped",
        "CREATE OR REPLACE FUNCTION stormops.installed() RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
         SET search_path = pg_catalog, pg_temp AS 'SELECT true'",
        "stormops.installed() is changed",
    ),
    ("nothing_to_public", "GRANT SELECT ON stormops.storms TO PUBLIC", "SELECT on table stormops.storms to PUBLIC"),
    ("nothing_to_public", "GRANT EXECUTE ON FUNCTION stormops.log_head(uuid) TO PUBLIC", "log_head(uuid) to PUBLIC"),
    ("nothing_to_public", "GRANT USAGE ON SCHEMA stormops TO PUBLIC", "USAGE on schema stormops to PUBLIC"),
    (
        "nothing_to_public",
        "GRANT SET ON PARAMETER app.current_tenant TO PUBLIC",
        "parameter app.current_tenant to PUBLIC",
    ),
    (
        "nothing_to_public",
        "ALTER DEFAULT PRIVILEGES FOR ROLE stormops_owner GRANT SELECT ON TABLES TO PUBLIC",
        "default privileges of stormops_owner",
    ),
    ("no_grant_added", "GRANT TRUNCATE ON stormops.storms TO tapp", "TRUNCATE on table stormops.storms to tapp"),
    (
        "no_grant_added",
        "GRANT TRIGGER, REFERENCES ON stormops.users TO nobody",
        "TRIGGER on table stormops.users to nobody",
    ),
    ("no_grant_added", "GRANT SELECT ON stormops.tenants TO mon", "to mon"),
    (
        "no_grant_added",
        "GRANT SELECT ON stormops.tenants TO app WITH GRANT OPTION",
        "GRANT OPTION for SELECT on table stormops.tenants to app",
    ),
    ("no_grant_added", "GRANT SELECT ON stormops_internal.policy_decision_blocks_default TO tapp", "policy_decision_blocks_default"),
    ("no_grant_added", "GRANT UPDATE (tenant_id) ON stormops.storms TO app", "column stormops.storms.tenant_id to app"),
    (
        "no_grant_added",
        "GRANT SET ON PARAMETER stormops.session_tenant TO app",
        "SET on parameter stormops.session_tenant to app",
    ),
    (
        "no_grant_added",
        "GRANT SET ON PARAMETER app.current_tenant TO nobody",
        "SET on parameter app.current_tenant to nobody",
    ),
    ("no_grant_added", "GRANT SELECT ON stormops_internal.usage_grants TO op", "usage_grants"),
    (
        "no_grant_added",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA stormops GRANT SELECT ON TABLES TO nobody",
        "default privileges of postgres in stormops",
    ),
    ("no_grant_added", "DELETE FROM stormops_internal.usage_grants WHERE role_name = 'mon'", "to mon"),
    (
        "no_foreign_definer",
        "CREATE FUNCTION public.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER
         AS 'SELECT count(*) FROM stormops.storms'",
        "peek() runs as postgres and app (app) may execute it",
    ),
    (
        "views_ask_as_caller",
        "CREATE VIEW public.peek AS SELECT * FROM stormops.storms",
        "view public.peek over stormops.storms",
    ),
    (
        "views_ask_as_caller",
        "CREATE VIEW public.peek AS SELECT * FROM stormops_internal.policy_decision_blocks_default",
        "policy_decision_blocks_default",
    ),
    (
        "views_ask_as_caller",
        "CREATE MATERIALIZED VIEW public.peek AS TABLE stormops.storms",
        "materialized view public.peek",
    ),
    (
        "views_ask_as_caller",
        "ALTER VIEW stormops.storm_results SET (security_invoker = false)",
        "stormops.storm_results",
    ),
    (
        "views_ask_as_caller",
        "ALTER VIEW stormops.policy_decisions_log SET (security_invoker = false)",
        "stormops.policy_decisions_log",
    ),
    (
        "views_ask_as_caller",
        "ALTER VIEW stormops.policy_decisions_plain RESET (security_barrier)",
        "stormops.policy_decisions_plain",
    ),
    ("no_grant_added", "GRANT SELECT ON stormops.policy_decisions_plain TO mon", "stormops.policy_decisions_plain to mon"),
    (
        "no_grant_added",
        "GRANT UPDATE (scores) ON stormops.policy_decision_blocks TO tapp",
        "column stormops.policy_decision_blocks.scores to tapp",
    ),
    ("keys_lead_with_tenant", "CREATE INDEX by_name ON stormops.storms (name)", "index stormops.by_name"),
    ("keys_lead_with_tenant", "ALTER TABLE stormops.properties ADD UNIQUE (external_id)", "properties_external_id_key"),
    (
        "keys_lead_with_tenant",
        "ALTER TABLE stormops.storms ADD CONSTRAINT gone FOREIGN KEY (tenant_id, storm_id)
         REFERENCES stormops.storms ON DELETE CASCADE",
        "foreign key gone of stormops.storms changes rows",
    ),
    (
        "keys_lead_with_tenant",
        "ALTER TABLE stormops_internal.policy_decision_blocks_default ADD UNIQUE (first_property)",
        "first_property",
    ),
    (
        "tables_registered",
        "CREATE TABLE stormops.extra (tenant_id uuid NOT NULL); ALTER TABLE stormops.extra OWNER TO stormops_owner;
         ALTER TABLE stormops.extra ENABLE ROW LEVEL SECURITY",
        "stormops.extra is in no matrix",
    ),
    ("tables_registered", "DROP TABLE stormops.data_quality_metrics", "stormops.data_quality_metrics is missing"),
    (
        "triggers_as_shipped",
        "ALTER TABLE stormops.tenants DISABLE TRIGGER legal_step",
        "trigger legal_step on stormops.tenants is disabled",
    ),
    ("triggers_as_shipped", "ALTER TABLE stormops.tenants ENABLE REPLICA TRIGGER legal_truncate", "legal_truncate"),
    (
        "triggers_as_shipped",
        "DROP TRIGGER enter_event ON stormops.tenant_events",
        "trigger enter_event on stormops.tenant_events is missing",
    ),
    (
        "triggers_as_shipped",
        "ALTER TABLE stormops.properties DISABLE TRIGGER ALL",
        "a foreign key of stormops.properties",
    ),
    (
        "triggers_as_shipped",
        "CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER spy AFTER INSERT ON stormops.users FOR EACH ROW EXECUTE FUNCTION public.spy()",
        "trigger spy on stormops.users runs public.spy()",
    ),
    ("no_rules", "CREATE RULE twice AS ON INSERT TO stormops.storms DO ALSO NOTHING", "rule twice on stormops.storms"),
    (
        "publications_filtered",
        "CREATE PUBLICATION out FOR TABLE stormops.storms",
        "publication out publishes stormops.storms",
    ),
    ("publications_filtered", "CREATE PUBLICATION out FOR ALL TABLES", "stormops.customer_journeys"),
    (
        "no_foreign_event_trigger",
        "CREATE FUNCTION public.ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         ALTER FUNCTION public.ddl() OWNER TO nobody;
         CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION public.ddl()",
        "event trigger ddl runs public.ddl() of nobody",
    ),
    (
        "nothing_leakproof",
        "CREATE FUNCTION public.quick(text) RETURNS boolean LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT true'",
        "quick(text) is LEAKPROOF",
    ),
    ("settings", "ALTER ROLE app SET row_security = off", "row_security=off for app"),
    ("settings", "ALTER ROLE ALL SET session_replication_role = replica", "for all roles"),
    ("settings", "SET LOCAL session_replication_role = replica", "session_replication_role is replica in this session"),
    ("no_create", "GRANT CREATE ON SCHEMA public TO app", "app may CREATE in schema public"),
    ("no_create", "CREATE SCHEMA theirs AUTHORIZATION tapp", "tapp may CREATE in schema theirs"),
    ("no_grant_missing", "REVOKE SELECT ON stormops.storms FROM tapp", "SELECT on table stormops.storms to tapp"),
    ("no_grant_missing", "REVOKE EXECUTE ON FUNCTION stormops.may_read(text) FROM app", "may_read(text) to app"),
];
