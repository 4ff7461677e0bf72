-- attest(): the functions, against what they were when this version was installed.

CREATE FUNCTION stormops_internal.function_digest(function oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- By the server's own function, which asks nobody else.
    SELECT encode(sha256(convert_to(CASE p.prokind
        WHEN 'a' THEN concat_ws(' ', pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.provolatile, p.proparallel, p.proisstrict, p.prosecdef,
            p.proleakproof, p.procost, p.proconfig, to_jsonb(a) - '{aggfnoid,aggtransspace,aggmtransspace,aggsortop,aggtranstype,aggmtranstype}'::text[],
            a.aggtranstype::regtype, a.aggmtranstype::regtype, a.aggsortop::regoperator)
        ELSE pg_get_functiondef(p.oid) END, 'UTF8')), 'hex')
    FROM pg_proc AS p LEFT JOIN pg_aggregate AS a ON a.aggfnoid = p.oid
    WHERE p.oid = $1
$$;
COMMENT ON FUNCTION stormops_internal.function_digest(oid) IS 'SHA-256 of the whole definition of a function, the defaults of its arguments included; whose it is and who may execute it, attest() asks apart.';

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
    SET quote_all_identifiers = off
    SET standard_conforming_strings = on
    SET extra_float_digits = 1
    SET datestyle = 'ISO, MDY'
    SET intervalstyle = postgres
    SET timezone = 'UTC'
    SET bytea_output = hex
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
        SELECT p.oid, p.oid::regprocedure::text AS signature, p.proowner, o.rolsuper, stormops_internal.function_digest(p.oid) AS digest,
            p.oid IN (SELECT d.objid FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'stormops') AS member
        FROM pg_proc AS p JOIN pg_roles AS o ON o.oid = p.proowner
        WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
    )
    SELECT 'functions_as_shipped', format('%s is %s', s.signature, CASE WHEN p.oid IS NULL THEN 'missing'
        WHEN p.digest <> s.digest THEN 'changed' WHEN NOT p.member THEN 'no member of the extension'
        ELSE format('%s''s', p.proowner::regrole) END)
    FROM stormops_internal.shipped_functions() AS s LEFT JOIN present AS p ON p.signature = s.signature
    WHERE p.oid IS NULL OR NOT p.member OR p.digest <> s.digest
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
    SELECT 'nothing_leakproof', format('%s is LEAKPROOF', p.oid::regprocedure)
    FROM pg_proc AS p WHERE p.proleakproof AND p.oid >= 16384
$$;
COMMENT ON FUNCTION stormops_internal.attest_functions() IS 'Of attest(): functions that are not as this version ships them.';

CREATE FUNCTION stormops_internal.attest_definers(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH usage AS MATERIALIZED (
        SELECT u.grantee, u.kind FROM stormops_internal.granted_roles() AS u
    ), definer AS MATERIALIZED (
        SELECT p.oid, p.proowner, p.pronamespace, p.prorettype = 'trigger'::regtype AS triggered
        FROM pg_proc AS p
        WHERE p.prosecdef AND p.prorettype <> 'event_trigger'::regtype AND p.pronamespace NOT IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
    ), power AS (
        -- What whoever runs as that owner has beyond a tenant's role. Of two with the same kind of use neither has more.
        SELECT o.proowner, NULL AS kind
        FROM (SELECT DISTINCT d.proowner FROM definer AS d) AS o
        WHERE EXISTS (SELECT FROM pg_roles AS b WHERE (b.rolsuper OR b.rolbypassrls OR b.rolname = 'stormops_owner') AND pg_has_role(o.proowner, b.oid, 'MEMBER'))
        UNION ALL
        SELECT o.proowner, u.kind
        FROM (SELECT DISTINCT d.proowner FROM definer AS d) AS o JOIN usage AS u ON u.kind <> 'app' AND pg_has_role(o.proowner, u.grantee, 'MEMBER')
    )
    SELECT DISTINCT 'no_foreign_definer', format('%s runs as %s and %s (%s) may execute it', d.oid::regprocedure, d.proowner::regrole, u.grantee::regrole, u.kind)
    FROM definer AS d JOIN power AS w ON w.proowner = d.proowner JOIN usage AS u ON w.kind IS DISTINCT FROM u.kind
    WHERE NOT d.triggered AND has_function_privilege(u.grantee, d.oid, 'EXECUTE')
        AND (has_schema_privilege(u.grantee, d.pronamespace, 'USAGE')
            -- An operator, a cast or an aggregate of another schema names it too.
            OR EXISTS (SELECT FROM pg_depend AS r WHERE r.refclassid = 'pg_proc'::regclass AND r.refobjid = d.oid AND r.deptype = 'n'))
    UNION ALL
    -- Nobody asks who may execute a trigger's function when the trigger fires.
    SELECT DISTINCT 'no_foreign_definer', format('%s runs as %s when %s (%s) writes %s', d.oid::regprocedure, d.proowner::regrole, u.grantee::regrole, u.kind, g.tgrelid::regclass)
    FROM definer AS d JOIN power AS w ON w.proowner = d.proowner JOIN usage AS u ON w.kind IS DISTINCT FROM u.kind
    JOIN pg_trigger AS g ON g.tgfoid = d.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'
    WHERE has_table_privilege(u.grantee, g.tgrelid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(u.grantee, g.tgrelid, 'INSERT, UPDATE')
$$;
COMMENT ON FUNCTION stormops_internal.attest_definers() IS 'Of attest(): functions of others that a role with use runs with rights that it does not have itself.';
