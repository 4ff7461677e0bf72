-- attest(): the server's own catalogue, in which all of StormOps' names are looked up.

CREATE FUNCTION stormops_internal.attest_catalogue(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- Every function of StormOps searches pg_catalog: what was put there stands beside, or before, what it means.
    SELECT 'catalogue_untouched', format('%s %s was added', i.type, i.identity)
    FROM (
        SELECT 'pg_proc'::regclass AS classid, p.oid FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid >= 16384
        UNION ALL SELECT 'pg_operator', o.oid FROM pg_operator AS o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oid >= 16384
        UNION ALL SELECT 'pg_type', t.oid FROM pg_type AS t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.oid >= 16384 AND t.typrelid = 0 AND t.typcategory <> 'A'
        UNION ALL SELECT 'pg_class', c.oid FROM pg_class AS c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.oid >= 16384 AND c.relkind NOT IN ('i', 'I')
        UNION ALL SELECT 'pg_opclass', o.oid FROM pg_opclass AS o WHERE o.opcnamespace = 'pg_catalog'::regnamespace AND o.oid >= 16384
        UNION ALL SELECT 'pg_opfamily', o.oid FROM pg_opfamily AS o WHERE o.opfnamespace = 'pg_catalog'::regnamespace AND o.oid >= 16384
        UNION ALL SELECT 'pg_conversion', c.oid FROM pg_conversion AS c WHERE c.connamespace = 'pg_catalog'::regnamespace AND c.oid >= 16384
        -- Casts and the members of operator families are found whatever schema their functions are in.
        UNION ALL SELECT 'pg_cast', c.oid FROM pg_cast AS c WHERE c.oid >= 16384 AND c.castsource < 16384 AND c.casttarget < 16384
        UNION ALL SELECT 'pg_amop', o.oid FROM pg_amop AS o WHERE o.oid >= 16384 AND o.amopfamily < 16384
        UNION ALL SELECT 'pg_amproc', o.oid FROM pg_amproc AS o WHERE o.oid >= 16384 AND o.amprocfamily < 16384
    ) AS a, LATERAL pg_identify_object(a.classid, a.oid, 0) AS i
    WHERE NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = a.classid AND d.objid = a.oid AND d.deptype = 'e') -- of an extension's script
    UNION ALL
    SELECT 'catalogue_untouched', format('function %s is changed', p.oid::regprocedure)
    FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
    -- initdb makes none of these.
    WHERE p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace AND (p.prosecdef OR p.proowner <> 10 OR l.lanname NOT IN ('internal', 'c', 'sql') OR p.proconfig IS NOT NULL)
    UNION ALL
    SELECT 'catalogue_untouched', format('language %s is run by %s', l.lanname, l.lanplcallfoid::regprocedure)
    FROM pg_language AS l
    LEFT JOIN pg_proc AS p ON p.oid = l.lanplcallfoid AND p.proname = 'plpgsql_call_handler' AND p.probin = '$libdir/plpgsql' AND p.pronamespace = 'pg_catalog'::regnamespace
    WHERE l.lanname = 'plpgsql' AND p.oid IS NULL
    UNION ALL
    -- pg_statistic holds values of all tenants' rows, pg_read_file() the rows themselves: initdb wrote down whom it gave what.
    SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'nothing_to_public' ELSE 'no_grant_added' END,
        format('%s on %s to %s', a.privilege, (pg_identify_object(o.classid, o.oid, o.place)).identity, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
    FROM (
        SELECT 'pg_class'::regclass::oid AS classid, c.oid, 0 AS place, c.relacl AS acl, NULL::aclitem[] AS without FROM pg_class AS c WHERE c.oid < 16384 AND c.relnamespace = 'pg_catalog'::regnamespace AND c.relacl IS NOT NULL
        UNION ALL SELECT 'pg_class'::regclass, a.attrelid, a.attnum, a.attacl, NULL FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid AND c.relnamespace = 'pg_catalog'::regnamespace WHERE c.oid < 16384 AND a.attacl IS NOT NULL
        UNION ALL SELECT 'pg_proc'::regclass, p.oid, 0, p.proacl, acldefault('f', p.proowner) FROM pg_proc AS p WHERE p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace AND p.proacl IS NOT NULL
    ) AS o
    LEFT JOIN pg_init_privs AS i ON (i.classoid, i.objoid, i.objsubid) = (o.classid, o.oid, o.place)
    CROSS JOIN LATERAL (
        SELECT p.grantee, p.privilege FROM stormops_internal.privileges(o.acl) AS p
        EXCEPT SELECT p.grantee, p.privilege FROM stormops_internal.privileges(coalesce(i.initprivs, o.without)) AS p
    ) AS a
    WHERE o.acl IS DISTINCT FROM i.initprivs
        AND (a.grantee = 0 OR EXISTS (SELECT FROM stormops_internal.granted_roles() AS u WHERE pg_has_role(u.grantee, a.grantee, 'MEMBER')))
    UNION ALL
    SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'nothing_to_public' ELSE 'no_grant_added' END,
        format('%s on parameter %s to %s', a.privilege, p.parname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
    FROM pg_parameter_acl AS p, stormops_internal.privileges(p.paracl) AS a
    WHERE (a.privilege = 'ALTER SYSTEM' OR p.parname IN ('allow_system_table_mods', 'session_preload_libraries', 'dynamic_library_path'))
        -- Of these attest_grants() asks.
        AND NOT (p.parname LIKE 'app.current%' OR p.parname LIKE 'stormops.%' OR p.parname IN ('session_replication_role', 'row_security'))
        AND (a.grantee = 0 OR EXISTS (SELECT FROM stormops_internal.granted_roles() AS u WHERE pg_has_role(u.grantee, a.grantee, 'MEMBER')))
$$;
COMMENT ON FUNCTION stormops_internal.attest_catalogue() IS 'Of attest(): what was added to the server''s catalogue, or changed in it.';
