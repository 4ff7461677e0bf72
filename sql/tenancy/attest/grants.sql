-- attest(): who was granted what, beside what renew_grants() gives.

CREATE FUNCTION stormops_internal.privileges(acl aclitem[], OUT grantee oid, OUT privilege text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT a.grantee, p.privilege
    FROM aclexplode($1) AS a
    CROSS JOIN LATERAL (VALUES (a.privilege_type), (CASE WHEN a.is_grantable THEN 'GRANT OPTION for ' || a.privilege_type END)) AS p (privilege)
    WHERE p.privilege IS NOT NULL
$$;
COMMENT ON FUNCTION stormops_internal.privileges(aclitem[]) IS 'Who has which privilege by a list of them; the option to grant it on is one of its own.';

CREATE FUNCTION stormops_internal.present_grants(OUT kind text, OUT object text, OUT grantee oid, OUT privilege text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH relation AS (
        SELECT c.* FROM pg_class AS c
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND (c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t))
    )
    SELECT 'table', r.oid::regclass::text, a.grantee, a.privilege
    FROM relation AS r, stormops_internal.privileges(r.relacl) AS a WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT 'column', format('%s.%I', r.oid::regclass, c.attname), a.grantee, a.privilege
    FROM relation AS r JOIN pg_attribute AS c ON c.attrelid = r.oid AND NOT c.attisdropped, stormops_internal.privileges(c.attacl) AS a WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, a.grantee, a.privilege
    FROM pg_proc AS p, stormops_internal.privileges(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
    WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND a.grantee <> p.proowner
    UNION ALL
    SELECT 'schema', n.nspname::text, a.grantee, a.privilege
    FROM pg_namespace AS n, stormops_internal.privileges(n.nspacl) AS a WHERE n.nspname IN ('stormops', 'stormops_internal') AND a.grantee <> n.nspowner
    UNION ALL
    SELECT 'parameter', p.parname, a.grantee, a.privilege
    FROM pg_parameter_acl AS p, stormops_internal.privileges(p.paracl) AS a
    WHERE (p.parname LIKE 'app.current%' OR p.parname LIKE 'stormops.%' OR p.parname IN ('session_replication_role', 'row_security'))
        AND a.grantee <> 10 -- the bootstrap superuser, who is the grantor
        -- The cluster's right to name a tenant, which is of use only to a role of that kind in the database: it may be one in another.
        AND NOT (p.parname LIKE 'app.current%' AND a.privilege = 'SET' AND a.grantee <> 0 AND EXISTS (
            SELECT FROM pg_shdepend AS s
            WHERE s.classid = 'pg_proc'::regclass AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = a.grantee AND s.deptype = 'a'
                AND s.dbid <> 0 AND s.dbid <> (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        ) AND NOT EXISTS (SELECT FROM stormops_internal.granted_roles() AS u WHERE u.grantee = a.grantee AND u.kind = 'trusted_app'))
    UNION ALL
    SELECT 'default privileges', format('of %s%s', d.defaclrole::regrole, CASE WHEN d.defaclnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) THEN ' in ' || d.defaclnamespace::regnamespace ELSE '' END),
        a.grantee, a.privilege
    FROM pg_default_acl AS d, stormops_internal.privileges(d.defaclacl) AS a
    WHERE (d.defaclrole = 'stormops_owner'::regrole OR d.defaclnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)) AND a.grantee <> d.defaclrole
$$;
COMMENT ON FUNCTION stormops_internal.present_grants() IS 'Every privilege on StormOps'' objects, settings and tenants'' tables that is not its owner''s by being it.';

CREATE FUNCTION stormops_internal.shipped_grants(OUT kind text, OUT object text, OUT grantee oid, OUT privilege text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH usage AS (
        SELECT u.grantee, u.kind FROM stormops_internal.granted_roles() AS u
    ), granted AS (
        SELECT u.grantee, m.relation, m.command, m.columns
        FROM usage AS u, stormops_internal.table_matrix() AS m
        WHERE (u.kind IN ('app', 'trusted_app') OR u.kind = 'operator' AND m.command = 'SELECT')
            AND m.through IS NULL AND m.least_role IS NOT NULL
    )
    SELECT 'table', g.relation::regclass::text, g.grantee, g.command FROM granted AS g WHERE g.columns IS NULL
    UNION ALL
    SELECT 'column', format('%s.%I', g.relation::regclass, c.name), g.grantee, g.command FROM granted AS g, unnest(g.columns) AS c (name)
    UNION ALL
    SELECT 'table', to_regclass(format('stormops.%I', v.view_name))::text, u.grantee, 'SELECT'
    FROM usage AS u JOIN stormops_internal.granted_views() AS v ON u.kind = ANY (v.kinds)
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, u.grantee, 'EXECUTE'
    FROM usage AS u JOIN stormops_internal.granted_functions() AS f ON u.kind = ANY (f.kinds)
    JOIN pg_proc AS p ON p.oid = to_regprocedure(f.signature)
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, 'stormops_owner'::regrole, 'EXECUTE'
    FROM pg_proc AS p
    WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND p.proowner <> 'stormops_owner'::regrole AND p.proname <> 'install'
        AND p.oid::regprocedure::text IN (SELECT s.signature FROM stormops_internal.shipped_functions() AS s WHERE NOT s.definer UNION ALL SELECT 'stormops_internal.shipped_functions()')
    UNION ALL
    SELECT 'schema', s.name, u.grantee, 'USAGE' FROM usage AS u, unnest('{stormops,stormops_internal}'::text[]) AS s (name)
    UNION ALL
    SELECT 'schema', s.name, 'stormops_owner'::regrole, k.privilege FROM unnest('{stormops,stormops_internal}'::text[]) AS s (name), (VALUES ('USAGE'), ('CREATE')) AS k (privilege)
    UNION ALL
    SELECT 'parameter', s.setting, u.grantee, 'SET'
    FROM usage AS u, (VALUES ('app.current_tenant'), ('app.current_user_id')) AS s (setting) WHERE u.kind = 'trusted_app'
$$;
COMMENT ON FUNCTION stormops_internal.shipped_grants() IS 'Every privilege that the roles with use, and stormops_owner, must have: what renew_grants() gives.';

CREATE FUNCTION stormops_internal.attest_grants(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH present AS MATERIALIZED (
        SELECT DISTINCT p.* FROM stormops_internal.present_grants() AS p
    ), shipped AS MATERIALIZED (
        SELECT DISTINCT s.* FROM stormops_internal.shipped_grants() AS s
    ), added AS (
        SELECT * FROM present EXCEPT SELECT * FROM shipped
    ), missing AS (
        SELECT * FROM shipped EXCEPT SELECT * FROM present
    ), tenants_role AS (
        SELECT r.oid, r.rolname FROM stormops_internal.granted_roles() AS u JOIN pg_roles AS r ON r.oid = u.grantee AND NOT r.rolsuper
    )
    SELECT CASE WHEN a.grantee = 0 THEN 'nothing_to_public' ELSE 'no_grant_added' END,
        format('%s on %s %s to %s', a.privilege, a.kind, a.object, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
    FROM added AS a
    UNION ALL
    -- For the grants of kind app and so on to be of use, not for isolation.
    SELECT 'no_grant_missing', format('%s on %s %s to %s', m.privilege, m.kind, m.object, m.grantee::regrole) FROM missing AS m
    UNION ALL
    SELECT 'no_create', format('%s may CREATE in schema %s', t.rolname, n.nspname)
    FROM tenants_role AS t, pg_namespace AS n
    WHERE n.nspname !~ '^pg_(temp|toast)' AND has_schema_privilege(t.oid, n.oid, 'CREATE')
    UNION ALL
    SELECT 'no_create', format('%s may CREATE schemas in database %s', t.rolname, current_database())
    FROM tenants_role AS t WHERE has_database_privilege(t.oid, current_database(), 'CREATE')
    UNION ALL
    SELECT 'no_temporary_tables', format('%s may make temporary tables in database %s', t.rolname, current_database())
    FROM tenants_role AS t
    WHERE has_database_privilege(t.oid, current_database(), 'TEMPORARY')
        -- The library refuses what would outlive its transaction, if it is there from the session's first statement on.
        AND NOT (stormops_internal.library_is_preloaded() AND current_setting('stormops.guard_temporary_tables')::boolean
            AND NOT EXISTS (SELECT FROM stormops_internal.lasting_settings() AS s
                WHERE s.name = 'stormops.guard_temporary_tables' AND stormops_internal.is_off(s.setting) AND s.role IN (0, t.oid)))
    UNION ALL
    SELECT 'no_create', format('%s may use %s %s', t.rolname, k.kind, k.name)
    FROM tenants_role AS t, LATERAL (
        SELECT 'foreign server', s.srvname FROM pg_foreign_server AS s WHERE has_server_privilege(t.oid, s.oid, 'USAGE')
        UNION ALL
        SELECT 'untrusted language', l.lanname FROM pg_language AS l
        WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c') AND has_language_privilege(t.oid, l.oid, 'USAGE')
    ) AS k (kind, name)
$$;
COMMENT ON FUNCTION stormops_internal.attest_grants() IS 'Of attest(): grants that are not as renew_grants() gives them, and rights with which a tenant''s role could make objects of its own.';
