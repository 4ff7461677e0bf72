-- attest(): is this installation as isolated as it was shipped?

CREATE FUNCTION stormops_internal.attested_properties(OUT place integer, OUT property text, OUT severity text, OUT remedy text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT p.* FROM (VALUES
        (1, 'row_security_forced', 'critical', 'SELECT stormops.install(); for a table of your own, stormops.protect(''...''); ALTER TABLE ... NO INHERIT ...;'),
        (2, 'policies_as_shipped', 'critical', 'SELECT stormops.install(); brings every policy back.'),
        (3, 'no_permissive_policy', 'critical', 'DROP POLICY ... ON ...; or make it AS RESTRICTIVE.'),
        (4, 'no_foreign_expression', 'critical', 'Drop it, or make it of the server''s own functions: what it calls sees rows.'),
        (5, 'definitions_as_shipped', 'critical', 'SELECT stormops.install(); brings defaults, indexes and views back; add a lost constraint as the evidence has it, drop what was added.'),
        (6, 'owned_by_owner', 'critical', 'SELECT stormops.install(); for a table of your own, stormops.protect(''...''); ALTER SCHEMA ... OWNER TO a superuser.'),
        (7, 'owner_powerless', 'critical', 'ALTER ROLE stormops_owner NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION;'),
        (8, 'owner_unreachable', 'critical', 'REVOKE stormops_owner FROM ...; and REVOKE ... FROM stormops_owner;'),
        (9, 'roles_within_row_security', 'critical', 'REVOKE ... FROM ...; ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION; or stormops.revoke_usage(''...'').'),
        (10, 'functions_as_shipped', 'critical', 'SELECT stormops.install(); if only the owner differs; else DROP EXTENSION stormops CASCADE; CREATE EXTENSION stormops; which keeps every row. Drop what was added.'),
        (11, 'catalogue_untouched', 'critical', 'Drop what was added; DROP CAST (... AS ...); put back what was changed.'),
        (12, 'nothing_to_public', 'critical', 'REVOKE ... ON ... FROM PUBLIC;'),
        (13, 'no_grant_added', 'high', 'REVOKE ... ON ... FROM ...;'),
        (14, 'no_foreign_definer', 'critical', 'REVOKE EXECUTE ON FUNCTION ... FROM PUBLIC; or give it to a role that is under row security; drop the trigger.'),
        (15, 'no_foreign_member', 'high', 'REVOKE ... FROM ...; or SELECT stormops.grant_usage(''...'', ''...'');'),
        (16, 'views_ask_as_caller', 'critical', 'ALTER VIEW ... SET (security_invoker); drop the materialized view.'),
        (17, 'keys_lead_with_tenant', 'high', 'Make it anew with tenant_id first.'),
        (18, 'tables_registered', 'high', 'Drop the table or move it out of schema stormops, and call stormops.protect(''...''); or DELETE FROM stormops_internal.protected_tables; or REVOKE SELECT ON ... FROM ...;'),
        (19, 'triggers_as_shipped', 'high', 'SELECT stormops.install(); ALTER TABLE ... ENABLE TRIGGER ALL; drop a trigger that is not yours.'),
        (20, 'no_rules', 'high', 'DROP RULE ... ON ...;'),
        (21, 'publications_filtered', 'high', 'ALTER PUBLICATION ... SET TABLE ... WHERE (tenant_id = ''...'');'),
        (22, 'replication_known', 'high', 'ALTER ROLE ... NOREPLICATION; or, of a standby, COMMENT ON ROLE ... IS ''replication: ...''; SELECT pg_drop_replication_slot(''...''); output_plugin_libraries = ''pgoutput''.'),
        (23, 'no_foreign_event_trigger', 'high', 'DROP EVENT TRIGGER ...;'),
        (24, 'nothing_leakproof', 'high', 'ALTER FUNCTION ... NOT LEAKPROOF;'),
        (25, 'server_minor', 'high', 'Update the server to the last minor version of its major one.'),
        (26, 'settings', 'high', 'ALTER ROLE ... RESET ...; or ALTER DATABASE ... RESET ...;'),
        (27, 'switches_on', 'high', 'ALTER ROLE ... RESET ...; ALTER DATABASE ... RESET ...; or take it out of postgresql.conf.'),
        (28, 'no_create', 'medium', 'REVOKE CREATE ON SCHEMA ... FROM ...;'),
        (29, 'no_temporary_tables', 'medium', 'REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC;'),
        (30, 'library_preloaded', 'medium', 'shared_preload_libraries = ''stormops'' in postgresql.conf, and restart. Until then the policies load it.'),
        (31, 'no_grant_missing', 'low', 'SELECT stormops.renew_grants();')
    ) AS p (place, property, severity, remedy)
$$;
COMMENT ON FUNCTION stormops_internal.attested_properties() IS 'What attest() attests, the worst first. severity: critical (tenants'' rows may be open), high (a defence is gone), medium (a way in for what another fault opens), low (something does not work).';

CREATE FUNCTION stormops.attest(OUT property text, OUT pass boolean, OUT severity text, OUT evidence text, OUT remedy text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    -- How definitions are written: as record_definitions() found them.
    SET quote_all_identifiers = off
    SET standard_conforming_strings = on
    SET extra_float_digits = 1
    SET datestyle = 'ISO, MDY'
    SET intervalstyle = postgres
    SET timezone = 'UTC'
    SET bytea_output = hex
    AS $$
    WITH able AS MATERIALIZED (
        -- Who has use and what is protected, stormops_owner alone can read: if these two are not its, nothing can be told but that.
        SELECT count(*) = 2 AS able
        FROM pg_proc AS p
        WHERE p.oid IN (to_regprocedure('stormops_internal.granted_roles()'), to_regprocedure('stormops_internal.protected()')) AND p.prosecdef
            AND pg_get_userbyid(p.proowner) = 'stormops_owner' AND has_schema_privilege(p.proowner, p.pronamespace, 'USAGE')
            AND has_table_privilege(p.proowner, to_regclass('stormops_internal.usage_grants'), 'SELECT')
            AND has_table_privilege(p.proowner, to_regclass('stormops_internal.protected_tables'), 'SELECT')
    ), wrong AS (
        SELECT w.property, count(*) AS n, string_agg(w.evidence, '; ' ORDER BY w.evidence) FILTER (WHERE w.turn <= 20) AS evidence
        FROM (
            SELECT u.*, row_number() OVER (PARTITION BY u.property ORDER BY u.evidence) AS turn
            FROM (
                SELECT * FROM stormops_internal.attest_functions()
                UNION SELECT * FROM stormops_internal.attest_tables() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_definitions() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_policies() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_expressions() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_side_ways() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_views() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_definers() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_roles() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_grants() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_settings() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_replication() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_catalogue() WHERE (SELECT a.able FROM able AS a)
                UNION SELECT * FROM stormops_internal.attest_server() WHERE (SELECT a.able FROM able AS a)
            ) AS u
        ) AS w
        GROUP BY w.property
    )
    SELECT p.property, w.property IS NULL AND a.able, p.severity,
        CASE WHEN w.property IS NULL AND NOT a.able THEN 'not looked at, since the owner of StormOps'' functions or tables is not what it must be'
            ELSE w.evidence || CASE WHEN w.n > 20 THEN format('; and %s more', w.n - 20) ELSE '' END END,
        CASE WHEN w.property IS NOT NULL OR NOT a.able THEN p.remedy END
    FROM stormops_internal.attested_properties() AS p CROSS JOIN able AS a LEFT JOIN wrong AS w ON w.property = p.property
    ORDER BY p.place
$$;
COMMENT ON FUNCTION stormops.attest() IS 'Is this installation as isolated as it was shipped? One row for each property, the worst first: pass; severity (critical, high, medium, low); evidence: every object that differs, of more than 20 the first, NULL if it passes; remedy: what to do. Reads the catalogues only, and writes nothing. A superuser can deceive it, as anything in the database.';

CREATE FUNCTION stormops.attest_summary(OUT ok boolean, OUT passed bigint, OUT failed bigint, OUT worst text, OUT failing text[])
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT bool_and(a.pass), count(*) FILTER (WHERE a.pass), count(*) FILTER (WHERE NOT a.pass),
        (array_agg(a.severity ORDER BY array_position('{critical,high,medium,low}'::text[], a.severity)) FILTER (WHERE NOT a.pass))[1],
        coalesce(array_agg(a.property ORDER BY a.property) FILTER (WHERE NOT a.pass), '{}')
    FROM stormops.attest() AS a
$$;
COMMENT ON FUNCTION stormops.attest_summary() IS 'attest() in one row, for a dashboard: ok (all pass), how many passed and failed, the worst severity among the failed (NULL: none), and their names.';
