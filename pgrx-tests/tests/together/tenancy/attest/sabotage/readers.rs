//! Ways of others to tenants' rows.

use super::Sabotage;

const CHEAP: &str = "no_foreign_expression";

pub const SABOTAGES: &[Sabotage] = &[
    (
        "views_ask_as_caller",
        "CREATE VIEW public.open WITH (security_invoker) AS SELECT * FROM stormops.storms;
         CREATE MATERIALIZED VIEW public.kept AS SELECT * FROM public.open",
        "materialized view public.kept over stormops.storms",
        "DROP MATERIALIZED VIEW public.kept",
    ),
    (
        "views_ask_as_caller",
        "CREATE VIEW public.open WITH (security_invoker) AS SELECT * FROM stormops.storms;
         CREATE VIEW public.around AS SELECT * FROM public.open",
        "view public.around over stormops.storms",
        "ALTER VIEW public.around SET (security_invoker)",
    ),
    (
        "views_ask_as_caller",
        "CREATE MATERIALIZED VIEW public.kept AS SELECT * FROM stormops.list_tenants() WITH NO DATA",
        "materialized view public.kept over stormops.list_tenants()",
        "DROP MATERIALIZED VIEW public.kept",
    ),
    (
        "no_foreign_definer catalogue_untouched",
        "SET LOCAL allow_system_table_mods = on;
         CREATE FUNCTION pg_catalog.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER
         AS 'SELECT count(*) FROM stormops.storms'; SET LOCAL allow_system_table_mods = off",
        "peek() runs as postgres and app (app) may execute it",
        "DROP FUNCTION pg_catalog.peek()",
    ),
    (
        "no_foreign_definer",
        "CREATE FUNCTION public.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER
         AS 'SELECT count(*) FROM stormops.storms'; ALTER FUNCTION public.peek() OWNER TO op",
        "peek() runs as op and app (app) may execute it",
        "REVOKE EXECUTE ON FUNCTION public.peek() FROM PUBLIC",
    ),
    (
        "no_foreign_definer",
        "CREATE FUNCTION public.enter(uuid) RETURNS text LANGUAGE sql SECURITY DEFINER
         AS 'SELECT set_config(''app.current_tenant'', $1::text, true)'; ALTER FUNCTION public.enter(uuid) OWNER TO tapp",
        "enter(uuid) runs as tapp and app (app) may execute it",
        "REVOKE EXECUTE ON FUNCTION public.enter(uuid) FROM PUBLIC",
    ),
    (
        "no_foreign_definer",
        "CREATE ROLE clerk; GRANT stormops_owner TO clerk; CREATE FUNCTION public.peek() RETURNS bigint LANGUAGE sql
         SECURITY DEFINER AS 'SELECT count(*) FROM stormops.storms'; ALTER FUNCTION public.peek() OWNER TO clerk;
         REVOKE stormops_owner FROM clerk; ALTER ROLE clerk BYPASSRLS",
        "peek() runs as clerk",
        "ALTER ROLE clerk NOBYPASSRLS",
    ),
    (
        "no_foreign_definer",
        "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END';
         REVOKE ALL ON FUNCTION public.keep() FROM PUBLIC;
         CREATE TABLE public.notes (note text); GRANT INSERT ON public.notes TO app;
         CREATE TRIGGER keep AFTER INSERT ON public.notes FOR EACH ROW EXECUTE FUNCTION public.keep()",
        "keep() runs as postgres when app (app) writes public.notes",
        "DROP TRIGGER keep ON public.notes",
    ),
    (
        "tables_registered",
        "CREATE TABLE public.copied AS TABLE stormops.storms; GRANT SELECT ON public.copied TO app",
        "public.copied has a tenant_id and no row security, and app may read it",
        "REVOKE SELECT ON public.copied FROM app",
    ),
    (
        "tables_registered",
        "CREATE TABLE public.jobs (tenant_id uuid, job text); GRANT SELECT (job) ON public.jobs TO PUBLIC",
        "public.jobs has a tenant_id and no row security, and app, mon, op, tapp may read it",
        "ALTER TABLE public.jobs ENABLE ROW LEVEL SECURITY",
    ),
    (
        "row_security_forced",
        "CREATE TABLE public.parent (LIKE stormops.storms); ALTER TABLE stormops.storms INHERIT public.parent",
        "stormops.storms is a child of public.parent, which shows its rows",
        "ALTER TABLE stormops.storms NO INHERIT public.parent",
    ),
    (
        "row_security_forced",
        "SET LOCAL allow_system_table_mods = on; CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
         ALTER EXTENSION plpgsql ADD TABLE pg_catalog.pg_dist_partition;
         INSERT INTO pg_catalog.pg_dist_partition VALUES ('stormops.storms'), ('pg_class');
         SET LOCAL allow_system_table_mods = off",
        "stormops.storms is distributed by Citus",
        "DELETE FROM pg_catalog.pg_dist_partition",
    ),
    (
        CHEAP,
        "CREATE FUNCTION public.spy(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
         AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END';
         CREATE POLICY spy ON stormops.storms AS RESTRICTIVE USING (public.spy(name))",
        "policy spy of stormops.storms calls public.spy(text)",
        "DROP POLICY spy ON stormops.storms",
    ),
    (
        CHEAP,
        "CREATE FUNCTION public.spy(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR public.<<>> (FUNCTION = public.spy, LEFTARG = text, RIGHTARG = text);
         CREATE POLICY spy ON stormops.storms AS RESTRICTIVE USING (name OPERATOR(public.<<>>) '')",
        "policy spy of stormops.storms calls operator public.<<>>(text,text)",
        "DROP POLICY spy ON stormops.storms",
    ),
    (
        CHEAP,
        "CREATE POLICY spy ON stormops.storms AS RESTRICTIVE USING (set_config('spied.on', name, false) <> '')",
        "policy spy of stormops.storms calls set_config",
        "DROP POLICY spy ON stormops.storms",
    ),
    (
        CHEAP,
        "CREATE FUNCTION public.spy(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         ALTER TABLE stormops.storms ADD CONSTRAINT spy CHECK (public.spy(name))",
        "constraint spy of stormops.storms calls public.spy(text)",
        "ALTER TABLE stormops.storms DROP CONSTRAINT spy",
    ),
    (
        CHEAP,
        "CREATE FUNCTION public.spy(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         ALTER TABLE stormops_internal.policy_decision_blocks_default ADD CONSTRAINT spy CHECK (public.spy(policy_mode))",
        "constraint spy of stormops_internal.policy_decision_blocks_default",
        "ALTER TABLE stormops_internal.policy_decision_blocks_default DROP CONSTRAINT spy",
    ),
    (
        CHEAP,
        "CREATE FUNCTION public.spy(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
         ALTER TABLE stormops.storms ADD COLUMN spied text GENERATED ALWAYS AS (public.spy(name)) STORED",
        "default of column spied of stormops.storms calls public.spy(text)",
        "ALTER TABLE stormops.storms DROP COLUMN spied",
    ),
    (
        CHEAP,
        "CREATE FUNCTION public.spy(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
         CREATE INDEX spy ON stormops.storms (tenant_id, public.spy(name))",
        "index stormops.spy of stormops.storms calls public.spy(text)",
        "DROP INDEX stormops.spy",
    ),
    (
        CHEAP,
        "CREATE FUNCTION public.spy(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
         CREATE STATISTICS public.spy ON (public.spy(name)) FROM stormops.storms",
        "statistics spy of stormops.storms calls public.spy(text)",
        "DROP STATISTICS public.spy",
    ),
    (
        "catalogue_untouched",
        "CREATE FUNCTION public.loose(text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
         CREATE CAST (text AS uuid) WITH FUNCTION public.loose(text) AS IMPLICIT",
        "cast (pg_catalog.text AS pg_catalog.uuid) was added",
        "DROP CAST (text AS uuid)",
    ),
    (
        "catalogue_untouched",
        "SET LOCAL allow_system_table_mods = on;
         CREATE FUNCTION public.eq(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR pg_catalog.= (FUNCTION = public.eq, LEFTARG = varchar, RIGHTARG = varchar);
         SET LOCAL allow_system_table_mods = off",
        "operator pg_catalog.=(",
        "DROP OPERATOR pg_catalog.= (varchar, varchar)",
    ),
    (
        "catalogue_untouched",
        "SET LOCAL allow_system_table_mods = on;
         CREATE FUNCTION pg_catalog.to_regclass(name) RETURNS regclass LANGUAGE sql AS 'SELECT NULL::regclass';
         SET LOCAL allow_system_table_mods = off",
        "function pg_catalog.to_regclass(pg_catalog.name) was added",
        "DROP FUNCTION pg_catalog.to_regclass(name)",
    ),
    (
        "catalogue_untouched",
        "CREATE OR REPLACE FUNCTION pg_catalog.uuid_eq(uuid, uuid) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT LEAKPROOF
         AS 'BEGIN RETURN uuid_send($1) = uuid_send($2); END'",
        "function uuid_eq(uuid,uuid) is changed",
        "UPDATE pg_proc SET prosrc = 'uuid_eq', prolang = 12 WHERE oid = 'uuid_eq'::regproc",
    ),
    (
        "catalogue_untouched",
        "CREATE FUNCTION public.order_ids(uuid, text) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0';
         ALTER OPERATOR FAMILY uuid_ops USING btree ADD FUNCTION 1 (uuid, text) public.order_ids(uuid, text)",
        "(pg_catalog.uuid, pg_catalog.text) of pg_catalog.uuid_ops USING btree was added",
        "ALTER OPERATOR FAMILY uuid_ops USING btree DROP FUNCTION 1 (uuid, text)",
    ),
    (
        "no_grant_added",
        "GRANT SELECT ON pg_catalog.pg_statistic TO app",
        "SELECT on pg_catalog.pg_statistic to app",
        "REVOKE SELECT ON pg_catalog.pg_statistic FROM app",
    ),
    (
        "nothing_to_public",
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO PUBLIC",
        "pg_read_file(pg_catalog.text) to PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) FROM PUBLIC",
    ),
    (
        "publications_filtered",
        "CREATE PUBLICATION out FOR TABLE stormops.storms WHERE (true)",
        "publication out publishes stormops.storms not by tenant: true",
        "DROP PUBLICATION out",
    ),
    (
        "publications_filtered",
        "CREATE PUBLICATION out FOR TABLE stormops.storms
         WHERE (tenant_id = '01000000-0000-7000-8000-000000000001' OR tenant_id IS NOT NULL)",
        "publication out publishes stormops.storms not by tenant",
        "ALTER PUBLICATION out SET TABLE stormops.storms
         WHERE (tenant_id = '01000000-0000-7000-8000-000000000001' AND tenant_id IS NOT NULL)",
    ),
    (
        "publications_filtered",
        "CREATE PUBLICATION out FOR TABLES IN SCHEMA stormops_internal",
        "publication out publishes stormops_internal.alert_routes without a row filter",
        "DROP PUBLICATION out",
    ),
    (
        "replication_known",
        "CREATE ROLE copier LOGIN REPLICATION",
        "copier has REPLICATION, and so reads every row",
        "COMMENT ON ROLE copier IS 'replication: the standby next door'",
    ),
    (
        "no_foreign_member",
        "CREATE ROLE stranger LOGIN; GRANT tapp TO stranger",
        "stranger is a member of tapp (trusted_app) and has no use",
        "SELECT stormops.grant_usage('stranger', 'trusted_app')",
    ),
    (
        "no_foreign_member",
        "CREATE ROLE between; CREATE ROLE stranger LOGIN; GRANT op TO between; GRANT between TO stranger",
        "stranger is a member of op (operator) and has no use",
        "REVOKE op FROM between",
    ),
    (
        "no_foreign_event_trigger",
        "CREATE FUNCTION public.ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         ALTER FUNCTION public.ddl() OWNER TO nobody;
         CREATE EVENT TRIGGER ddl ON sql_drop EXECUTE FUNCTION public.ddl()",
        "event trigger ddl runs public.ddl() of nobody",
        "DROP EVENT TRIGGER ddl",
    ),
];
