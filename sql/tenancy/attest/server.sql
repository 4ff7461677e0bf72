-- attest(): the server and its roles. Each function here and beside it gives one row for each thing that is wrong.

CREATE FUNCTION stormops_internal.library_is_preloaded() RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'library_is_preloaded_wrapper';
COMMENT ON FUNCTION stormops_internal.library_is_preloaded() IS 'True if shared_preload_libraries or session_preload_libraries name the library: then its guards hold from a session''s first statement on.';

CREATE FUNCTION stormops_internal.known_bypasses(OUT fault text, OUT major integer, OUT fixed_in integer) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT f.fault, m.major, m.fixed_in
    FROM (VALUES
        ('CVE-2026-120154 (ON CONFLICT ... WHERE reads hidden rows)', 20, 16, 12, 7),
        ('the memory faults of 2026 (CVE-2026-2003 to 2006, 6473, 14676, 16238)', 20, 16, 12, 7),
        ('CVE-2025-8713 (leaky operators on partitions)', 14, 10, 6, 0),
        ('CVE-2024-10976 (policies reused for another role)', 9, 5, 1, 0),
        ('CVE-2024-10978 (SET ROLE resets to the wrong role)', 9, 5, 1, 0),
        ('CVE-2024-4317 (pg_stats_ext_exprs)', 7, 3, 0, 0),
        ('CVE-2023-2455 (policies after inlining)', 3, 0, 0, 0)
    ) AS f (fault, v15, v16, v17, v18),
    LATERAL (VALUES (15, f.v15), (16, f.v16), (17, f.v17), (18, f.v18)) AS m (major, fixed_in)
$$;
COMMENT ON FUNCTION stormops_internal.known_bypasses() IS 'Faults of the server itself that go past row security or worse, and the minor version of each major one that repairs them; 0: never had it.';

CREATE FUNCTION stormops_internal.attest_server(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'library_preloaded', 'neither shared_preload_libraries nor session_preload_libraries names stormops'
    WHERE NOT stormops_internal.library_is_preloaded()
    UNION ALL
    SELECT 'server_minor', format('%s has %s, repaired in %s.%s', current_setting('server_version'), b.fault, b.major, b.fixed_in)
    FROM stormops_internal.known_bypasses() AS b
    WHERE current_setting('server_version_num')::integer / 10000 = b.major AND current_setting('server_version_num')::integer % 10000 < b.fixed_in
    UNION ALL
    -- A cluster that was made before the repair keeps the view as it was.
    SELECT 'server_minor', 'the view pg_stats_ext_exprs is as before CVE-2024-4317 was repaired'
    WHERE pg_get_viewdef('pg_catalog.pg_stats_ext_exprs'::regclass) !~ 'pg_has_role|has_column_privilege'
    UNION ALL
    SELECT 'server_minor', format('version %s is not one that StormOps is tested on', current_setting('server_version'))
    WHERE current_setting('server_version_num')::integer / 10000 NOT BETWEEN 15 AND 18
$$;
COMMENT ON FUNCTION stormops_internal.attest_server() IS 'Of attest(): what is wrong with library and version.';

CREATE FUNCTION stormops_internal.attest_roles(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'owner_powerless', format('stormops_owner has %s', p.power)
    FROM pg_roles AS r, LATERAL (VALUES
        ('LOGIN', r.rolcanlogin), ('SUPERUSER', r.rolsuper), ('BYPASSRLS', r.rolbypassrls),
        ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb), ('REPLICATION', r.rolreplication)
    ) AS p (power, has)
    WHERE r.rolname = 'stormops_owner' AND p.has
    UNION ALL
    SELECT 'owner_unreachable', format('%s is a member of %s', m.member::regrole, m.roleid::regrole)
    FROM pg_auth_members AS m WHERE 'stormops_owner'::regrole IN (m.member, m.roleid)
    UNION ALL
    SELECT 'roles_within_row_security', format('%s (%s) %s', r.rolname, u.kind, p.power)
    FROM stormops_internal.granted_roles() AS u JOIN pg_roles AS r ON r.oid = u.grantee, LATERAL (VALUES
        ('is a superuser', r.rolsuper), ('has BYPASSRLS', r.rolbypassrls),
        ('has CREATEROLE', r.rolcreaterole), ('has REPLICATION', r.rolreplication)
    ) AS p (power, has)
    WHERE p.has
    UNION ALL
    SELECT 'roles_within_row_security', format('%s (%s) can become %s', r.rolname, u.kind, b.rolname)
    FROM stormops_internal.granted_roles() AS u
    JOIN pg_roles AS r ON r.oid = u.grantee AND NOT r.rolsuper
    JOIN pg_roles AS b ON b.oid <> r.oid AND pg_has_role(r.oid, b.oid, 'MEMBER')
    WHERE b.rolsuper OR b.rolbypassrls OR b.rolcreaterole OR b.rolreplication
        OR b.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
            'pg_execute_server_program', 'pg_maintain', 'pg_create_subscription', 'pg_database_owner')
        OR u.kind IN ('app', 'trusted_app') AND (
            b.rolname IN ('pg_monitor', 'pg_read_all_stats', 'pg_read_all_settings', 'pg_stat_scan_tables', 'pg_signal_backend')
            OR b.oid IN (SELECT o.grantee FROM stormops_internal.granted_roles() AS o WHERE o.kind <> u.kind AND o.kind <> 'app'))
    UNION ALL
    SELECT 'no_foreign_member', format('%s is a member of %s (%s) and has no use', m.member::regrole, m.used::regrole, u.kind)
    FROM (
        WITH RECURSIVE member AS (
            SELECT g.member, g.roleid AS used FROM pg_auth_members AS g WHERE g.roleid IN (SELECT u.grantee FROM stormops_internal.granted_roles() AS u)
            UNION
            SELECT g.member, m.used FROM member AS m JOIN pg_auth_members AS g ON g.roleid = m.member
        )
        SELECT m.* FROM member AS m
    ) AS m
    JOIN stormops_internal.granted_roles() AS u ON u.grantee = m.used JOIN pg_roles AS r ON r.oid = m.member AND NOT r.rolsuper
    WHERE m.member NOT IN (SELECT k.grantee FROM stormops_internal.granted_roles() AS k)
$$;
COMMENT ON FUNCTION stormops_internal.attest_roles() IS 'Of attest(): roles that are outside row security, or can become one that is.';
