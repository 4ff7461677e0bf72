-- attest(): settings, of roles, of the database and in force.

CREATE FUNCTION stormops_internal.lasting_settings(OUT role oid, OUT place text, OUT name text, OUT setting text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.setrole, format('for %s%s', CASE s.setrole WHEN 0 THEN 'all roles' ELSE s.setrole::regrole::text END, CASE s.setdatabase WHEN 0 THEN '' ELSE ' in this database' END),
        lower(split_part(c.setting, '=', 1)), substr(c.setting, strpos(c.setting, '=') + 1)
    FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c (setting)
    WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
        AND (s.setrole = 0 OR s.setrole IN (SELECT u.grantee FROM stormops_internal.granted_roles() AS u))
$$;
COMMENT ON FUNCTION stormops_internal.lasting_settings() IS 'What ALTER ROLE and ALTER DATABASE ... SET say here for roles with use, or for all roles (role is then 0).';

CREATE FUNCTION stormops_internal.is_off(setting text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT lower(btrim($1)) ~ '^(of|off|f|fa|fal|fals|false|n|no|0)$' $$;
COMMENT ON FUNCTION stormops_internal.is_off(text) IS 'True if the server reads that as false.';

CREATE FUNCTION stormops_internal.opened_by(name text, setting text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET standard_conforming_strings = on
    AS $$
    SELECT CASE
        -- Temporary tables can be refused by REVOKE too: no_temporary_tables asks.
        WHEN $1 = 'stormops.guard_temporary_tables' THEN false
        WHEN $1 LIKE 'stormops.guard\_%' THEN stormops_internal.is_off($2)
        WHEN $1 LIKE 'stormops.ceiling\_%' THEN btrim($2) ~ '^[-+]?0*\.?0*\s*[a-zA-Z]*$'
        WHEN $1 = 'stormops.session_tenant' THEN NOT stormops_internal.is_off($2)
        -- A network of at most seven bits is the internet, if it is not the private one of IPv6.
        WHEN $1 = 'stormops.egress_networks' THEN replace(lower($2), 'fc00::/7', '') ~ '/0*[0-7]\s*($|[,;" ])'
        ELSE false END
$$;
COMMENT ON FUNCTION stormops_internal.opened_by(text, text) IS 'True if a setting of StormOps with that value switches a defence off.';

CREATE FUNCTION stormops_internal.attest_settings(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET standard_conforming_strings = on
    AS $$
    WITH lasting AS MATERIALIZED (
        SELECT s.* FROM stormops_internal.lasting_settings() AS s
    )
    SELECT 'settings', format('%s=%s %s', s.name, s.setting, s.place)
    FROM lasting AS s
    WHERE s.name = 'row_security' AND stormops_internal.is_off(s.setting)
        OR s.name = 'session_replication_role' AND lower(s.setting) IN ('replica', 'local')
        OR s.name LIKE 'app.current\_%'
        OR s.name = 'search_path' AND s.setting ~* 'pg_temp'
        OR s.name = 'allow_system_table_mods' AND NOT stormops_internal.is_off(s.setting)
        -- What is loaded with a session runs with its rights; and without the library there is no guard.
        OR s.name IN ('session_preload_libraries', 'local_preload_libraries') AND s.setting !~ '^\s*"?(\$libdir/)?stormops"?\s*$'
    UNION ALL
    SELECT 'settings', format('%s is %s in this session', s.name, s.setting)
    FROM pg_settings AS s WHERE (s.name, s.setting) IN (('row_security', 'off'), ('session_replication_role', 'replica'), ('session_replication_role', 'local'), ('allow_system_table_mods', 'on'))
    UNION ALL
    SELECT 'switches_on', format('%s=%s %s', s.name, s.setting, s.place) FROM lasting AS s
    WHERE stormops_internal.opened_by(s.name, s.setting)
        AND (s.name <> 'stormops.session_tenant' OR s.role = 0) -- one role may be trusted not to be shared by a pool
    UNION ALL
    SELECT 'switches_on', format('%s is %s in this session', s.name, s.setting)
    FROM pg_settings AS s WHERE s.name LIKE 'stormops.%' AND stormops_internal.opened_by(s.name, s.setting)
$$;
COMMENT ON FUNCTION stormops_internal.attest_settings() IS 'Of attest(): settings that switch a defence off, lasting ones and those in force.';
