-- attest(): the functions, against what they were when this version was installed.

CREATE FUNCTION stormops_internal.function_digest(function oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT encode(stormops.log_digest(
        convert_to(p.prosrc, 'UTF8'), convert_to(p.probin, 'UTF8'), convert_to(l.lanname, 'UTF8'), convert_to(p.prokind::text, 'UTF8'),
        convert_to(p.provolatile::text, 'UTF8'), convert_to(p.proparallel::text, 'UTF8'), boolsend(p.prosecdef), boolsend(p.proleakproof),
        boolsend(p.proisstrict), convert_to(array_to_string(p.proconfig, E'\n'), 'UTF8'), boolsend(p.prosqlbody IS NULL),
        convert_to(pg_get_function_result(p.oid), 'UTF8'), int2send(p.pronargdefaults),
        -- Of an aggregate the functions that it consists of.
        convert_to((SELECT concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggtranstype::regtype, a.agginitval)
            FROM pg_aggregate AS a WHERE a.aggfnoid = p.oid), 'UTF8')), 'hex')
    FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
    WHERE p.oid = $1
$$;
COMMENT ON FUNCTION stormops_internal.function_digest(oid) IS 'SHA-256 of all that decides what a function does and as whom.';

CREATE FUNCTION stormops_internal.drop_stale() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    stale text;
BEGIN
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO stale
    FROM pg_proc AS p
    JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
    JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'stormops'
    -- The script has written every function of this version in this transaction.
    WHERE p.xmin <> pg_current_xact_id()::xid;
    IF stale IS NOT NULL THEN
        EXECUTE 'DROP ROUTINE ' || stale;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.drop_stale() IS 'Of an upgrade script: drops the functions of the extension that this version no longer has.';

CREATE FUNCTION stormops_internal.record_shipped() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $record$
BEGIN
    EXECUTE format($shipped$
        CREATE OR REPLACE FUNCTION stormops_internal.shipped_functions(OUT signature text, OUT digest text, OUT definer boolean) RETURNS SETOF record
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            SET search_path = pg_catalog, pg_temp
            AS %L$shipped$,
        (SELECT 'SELECT f.* FROM (VALUES ' || string_agg(format('(%L, %L, %L::boolean)', p.oid::regprocedure, stormops_internal.function_digest(p.oid), p.prosecdef),
            ', ' ORDER BY p.oid::regprocedure::text) || ') AS f (signature, digest, definer)'
        FROM pg_proc AS p WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND p.proname NOT IN ('shipped_functions', 'installed')
            AND p.xmin = pg_current_xact_id()::xid));
    COMMENT ON FUNCTION stormops_internal.shipped_functions() IS 'Every function of this version with its function_digest(), and whether it is SECURITY DEFINER: written by CREATE EXTENSION and ALTER EXTENSION UPDATE.';
    REVOKE ALL ON FUNCTION stormops_internal.shipped_functions() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION stormops_internal.shipped_functions() TO stormops_owner;
END
$record$;
COMMENT ON FUNCTION stormops_internal.record_shipped() IS 'Writes shipped_functions() anew, from the functions that are there. The last step of the install script and of every upgrade script; for nobody else, who would declare a change to be as shipped.';

CREATE FUNCTION stormops_internal.attest_functions(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH present AS MATERIALIZED (
        SELECT p.oid, p.oid::regprocedure::text AS signature, p.proowner, o.rolsuper,
            EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'stormops') AS member
        FROM pg_proc AS p JOIN pg_roles AS o ON o.oid = p.proowner
        WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
    )
    SELECT 'functions_as_shipped', format('%s is %s', s.signature, CASE WHEN p.oid IS NULL THEN 'missing'
        WHEN stormops_internal.function_digest(p.oid) <> s.digest THEN 'changed' WHEN NOT p.member THEN 'no member of the extension'
        ELSE format('%s''s', p.proowner::regrole) END)
    FROM stormops_internal.shipped_functions() AS s LEFT JOIN present AS p ON p.signature = s.signature
    WHERE p.oid IS NULL OR NOT p.member OR stormops_internal.function_digest(p.oid) <> s.digest
        OR CASE WHEN s.definer THEN p.proowner <> 'stormops_owner'::regrole ELSE NOT p.rolsuper END
    UNION ALL
    SELECT 'functions_as_shipped', format('%s was added', p.signature)
    FROM present AS p
    WHERE p.signature <> 'stormops.installed()' AND p.oid <> 'stormops_internal.shipped_functions()'::regprocedure
        AND NOT EXISTS (SELECT FROM stormops_internal.shipped_functions() AS s WHERE s.signature = p.signature)
    UNION ALL
    SELECT 'functions_as_shipped', 'stormops_internal.shipped_functions() is not a superuser''s, or was made by somebody else'
    FROM present AS p WHERE p.oid = 'stormops_internal.shipped_functions()'::regprocedure AND NOT (p.member AND p.rolsuper)
    UNION ALL
    -- Belongs to the database, as the tables do, and so comes with them from a dump.
    SELECT 'functions_as_shipped', 'stormops.installed() is changed'
    WHERE NOT EXISTS (
        SELECT FROM pg_proc AS p
        WHERE p.oid = to_regprocedure('stormops.installed()') AND p.proowner = 'stormops_owner'::regrole AND NOT p.prosecdef AND p.provolatile = 'i'
            AND p.prosrc = 'SELECT to_regprocedure(''stormops.current_tenant()'') IS NOT NULL' AND p.proconfig = '{"search_path=pg_catalog, pg_temp"}')
    UNION ALL
    SELECT 'no_foreign_definer', format('%s runs as %s and %s (%s) may execute it', p.oid::regprocedure, p.proowner::regrole, u.grantee::regrole, u.kind)
    FROM pg_proc AS p JOIN pg_roles AS o ON o.oid = p.proowner
    CROSS JOIN stormops_internal.granted_roles() AS u
    WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
        AND p.pronamespace NOT IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace, 'pg_catalog'::regnamespace)
        AND (o.rolsuper OR o.rolbypassrls OR o.rolname = 'stormops_owner')
        AND has_function_privilege(u.grantee, p.oid, 'EXECUTE') AND has_schema_privilege(u.grantee, p.pronamespace, 'USAGE')
    UNION ALL
    SELECT 'nothing_leakproof', format('%s is LEAKPROOF', p.oid::regprocedure)
    FROM pg_proc AS p WHERE p.proleakproof AND p.oid >= 16384
$$;
COMMENT ON FUNCTION stormops_internal.attest_functions() IS 'Of attest(): functions that are not as this version ships them, and others that go past row security.';
