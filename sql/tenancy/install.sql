-- What CREATE EXTENSION and every upgrade end with: the tables, which belong to the database and not to the extension.

CREATE FUNCTION stormops.install() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off -- a function's SET keeps what it is given as it would be quoted
    SET default_tablespace = '' -- wherever the session's tables go, a partitioned table is refused there, or the owner is
    SET default_table_access_method = heap
    SET client_min_messages = warning -- it skips what is there
    SET standard_conforming_strings = on
    SET jit = off -- compiling takes longer than looking
    AS $$
DECLARE
    t record;
BEGIN
    PERFORM stormops_internal.regain_functions();
    PERFORM stormops_internal.regain_tables();
    PERFORM stormops_internal.adopt_tables();
    FOR t IN SELECT s.statements FROM stormops_internal.shipped_tables() AS s ORDER BY s.place LOOP
        EXECUTE t.statements;
    END LOOP;
    PERFORM stormops_internal.secure_tables();
    PERFORM stormops.maintain_partitions();
    PERFORM stormops_internal.release_tables();
    PERFORM stormops.renew_grants();
    PERFORM stormops_internal.count_tables();
    PERFORM stormops_internal.adopt_log();
END
$$;
COMMENT ON FUNCTION stormops.install() IS 'Makes what is missing of StormOps'' tables, adopts those that are there, and restores policies, defaults and triggers; keeps every row. Runs as part of CREATE EXTENSION and ALTER EXTENSION UPDATE; for superusers.';

CREATE FUNCTION stormops_internal.regain_functions() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off
    SET standard_conforming_strings = on
    SET extra_float_digits = 1
    SET datestyle = 'ISO, MDY'
    SET intervalstyle = postgres
    SET timezone = 'UTC'
    SET bytea_output = hex
    AS $$
DECLARE
    f record;
BEGIN
    -- While the script of an extension makes them, they are not written down yet.
    IF to_regprocedure('stormops_internal.shipped_functions()') IS NULL THEN
        RETURN;
    END IF;
    FOR f IN
        SELECT p.oid::regprocedure AS signature
        FROM stormops_internal.shipped_functions() AS s JOIN pg_proc AS p ON p.oid = to_regprocedure(s.signature)
        -- Whoever had it may have changed it: that is for a new CREATE EXTENSION.
        WHERE s.definer AND pg_get_userbyid(p.proowner) <> 'stormops_owner' AND stormops_internal.function_digest(p.oid) = s.digest
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO stormops_owner', f.signature);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.regain_functions() IS 'Gives stormops_owner its SECURITY DEFINER functions back, say after REASSIGN OWNED.';

CREATE FUNCTION stormops_internal.regain_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off
    SET standard_conforming_strings = on
    SET extra_float_digits = 1
    SET datestyle = 'ISO, MDY'
    SET intervalstyle = postgres
    SET timezone = 'UTC'
    SET bytea_output = hex
    AS $$
DECLARE
    foreign_parts text;
    lost record;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND pg_get_userbyid(c.relowner) <> 'stormops_owner'
    ) OR to_regprocedure('stormops_internal.shipped_definitions()') IS NULL THEN
        RETURN;
    END IF;
    -- A superuser is about to write into them: what they do then must be what StormOps' own do.
    WITH taken AS (
        SELECT c.oid, c.relispartition, format('%I.%I', n.nspname, c.relname) AS object
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('stormops', 'stormops_internal') AND c.relkind IN ('r', 'p', 'v') AND pg_get_userbyid(c.relowner) <> 'stormops_owner'
    )
    SELECT string_agg(p.part, '; ' ORDER BY p.part) INTO foreign_parts
    FROM (
        SELECT concat_ws(' ', p.kind, p.name, 'of', p.object) AS part
        FROM taken AS t JOIN stormops_internal.present_definitions() AS p ON p.object = t.object
        WHERE (p.kind = 'view' OR p.kind = 'column' AND p.definition ~ '\m(DEFAULT|GENERATED)\M' OR p.kind = 'constraint' AND p.name ~ '^(CHECK|EXCLUDE)' OR p.kind = 'index' AND p.name ~ '\(.*\(|\) WHERE ')
            AND NOT EXISTS (
                SELECT FROM stormops_internal.shipped_definitions() AS s
                WHERE (s.object, s.kind, s.name, s.definition) = (p.object, p.kind, p.name, p.definition))
        UNION ALL
        SELECT format('trigger %s of %s', g.tgname, t.object)
        FROM taken AS t JOIN pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgparentid = 0
        WHERE NOT EXISTS (SELECT FROM stormops_internal.shipped_triggers() AS s WHERE s.relation = t.object AND s.definition = pg_get_triggerdef(g.oid))
        UNION ALL
        SELECT format('rule %s of %s', r.rulename, t.object) FROM taken AS t JOIN pg_rewrite AS r ON r.ev_class = t.oid WHERE r.rulename <> '_RETURN'
        UNION ALL
        SELECT format('constraint %s of %s', k.conname, t.object)
        FROM taken AS t JOIN pg_constraint AS k ON k.conrelid = t.oid WHERE t.relispartition AND k.contype IN ('c', 'x') AND k.coninhcount = 0
        UNION ALL
        SELECT format('default of column %s of %s', a.attname, t.object)
        FROM taken AS t JOIN pg_attrdef AS d ON d.adrelid = t.oid JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
        WHERE t.relispartition AND NOT EXISTS (
            SELECT FROM pg_inherits AS i JOIN pg_attribute AS b ON b.attrelid = i.inhparent AND b.attname = a.attname JOIN pg_attrdef AS e ON (e.adrelid, e.adnum) = (b.attrelid, b.attnum)
            WHERE i.inhrelid = t.oid AND pg_get_expr(e.adbin, e.adrelid) = pg_get_expr(d.adbin, d.adrelid))
    ) AS p;
    IF foreign_parts IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'tables of StormOps belong to somebody else and hold what StormOps does not make',
            DETAIL = left(foreign_parts, 1000),
            HINT = 'Drop these, or look at them and give the tables back: ALTER TABLE ... OWNER TO stormops_owner;';
    END IF;
    FOR lost IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class AS c
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND pg_get_userbyid(c.relowner) <> 'stormops_owner'
            AND (c.relispartition OR EXISTS (SELECT FROM stormops_internal.shipped_definitions() AS s
                WHERE s.object = format('%I.%I', c.relnamespace::regnamespace::text, c.relname) AND s.kind = 'relation'))
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO stormops_owner', lost.kind, lost.name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.regain_tables() IS 'Gives stormops_owner its tables and views back, say after REASSIGN OWNED: if nothing runs in them that StormOps would not make. Error: 55000.';

CREATE FUNCTION stormops_internal.adopt_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class AS c
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v')
            AND pg_get_userbyid(c.relowner) = 'stormops_owner'
    LOOP
        EXECUTE format('ALTER EXTENSION stormops ADD %s %s', t.kind, t.name);
    END LOOP;
    IF to_regprocedure('stormops.installed()') IS NOT NULL THEN
        ALTER EXTENSION stormops ADD FUNCTION stormops.installed();
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.adopt_tables() IS 'Makes tables that are there already (after DROP EXTENSION ... CASCADE) members while install() runs: a CREATE EXTENSION may skip only what it owns.';

CREATE FUNCTION stormops_internal.secure_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t record;
BEGIN
    -- Called immutable so that it is answered when a query is planned, and costs no row anything.
    -- Safe: the extension's going takes policies from every table, and so ends every plan.
    EXECUTE 'CREATE OR REPLACE FUNCTION stormops.installed() RETURNS boolean'
        ' LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp'
        ' AS ''SELECT to_regprocedure(''''stormops.current_tenant()'''') IS NOT NULL''';
    COMMENT ON FUNCTION stormops.installed() IS 'True while the extension is there. Belongs to the database, as the tables do, and outlives the extension.';
    ALTER FUNCTION stormops.installed() OWNER TO stormops_owner;
    REVOKE ALL ON FUNCTION stormops.installed() FROM PUBLIC;

    FOR t IN
        SELECT cl.oid, cl.oid::regclass AS name, cl.relname, cl.relkind, cl.relispartition,
               a.attnum IS NOT NULL AS of_tenant
        FROM pg_class AS cl
        LEFT JOIN pg_attribute AS a ON a.attrelid = cl.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE cl.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
            AND cl.relkind IN ('r', 'p', 'v')
            AND (cl.relname IN (SELECT m.table_name FROM stormops.role_matrix() AS m)
                 OR cl.relname IN (SELECT i.table_name FROM stormops_internal.installation_tables() AS i)
                 OR cl.relispartition OR cl.relname IN (SELECT v.view_name FROM stormops_internal.granted_views() AS v))
        ORDER BY cl.relispartition, a.attnum IS NOT NULL, cl.relname
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO stormops_owner', CASE t.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, t.name);
        CONTINUE WHEN t.relkind = 'v';
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name);
        -- What is no tenant's, its owner reads.
        CONTINUE WHEN NOT t.of_tenant;
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t.name);
        CONTINUE WHEN t.relispartition;
        PERFORM stormops_internal.secure_table(t.oid);
    END LOOP;
    PERFORM stormops_internal.secure_table(p.relation) FROM stormops_internal.protected() AS p JOIN pg_class AS cl ON cl.oid = p.relation;
END
$$;
COMMENT ON FUNCTION stormops_internal.secure_tables() IS 'Makes every table of StormOps its owner''s and forces it under row security, with the policies and defaults that DROP EXTENSION ... CASCADE takes away.';

CREATE FUNCTION stormops_internal.release_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    member record;
BEGIN
    FOR member IN
        SELECT i.type AS kind, i.identity AS name
        FROM pg_depend AS d, pg_extension AS e, pg_identify_object(d.classid, d.objid, 0) AS i
        WHERE e.extname = 'stormops' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
            -- Looked up at each call: as a constant of the plan it would be the one that a rolled back call made.
            AND (d.classid = 'pg_class'::regclass OR d.objid = to_regprocedure('stormops.installed()'))
    LOOP
        EXECUTE format('ALTER EXTENSION stormops DROP %s %s', member.kind, member.name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.release_tables() IS 'Takes the tables out of the extension: they belong to the database, and live through its dump, and through DROP EXTENSION.';

CREATE FUNCTION stormops_internal.disown_grants() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    f record;
    kept aclitem[];
BEGIN
    FOR f IN
        SELECT i.classoid, i.objoid, i.objsubid, i.initprivs,
            EXISTS (SELECT FROM pg_depend AS d WHERE (d.classid, d.objid) = (i.classoid, i.objoid) AND d.deptype = 'e') AS member
        FROM pg_init_privs AS i
        LEFT JOIN pg_proc AS p ON i.classoid = 'pg_proc'::regclass AND p.oid = i.objoid
        LEFT JOIN pg_class AS c ON i.classoid = 'pg_class'::regclass AND c.oid = i.objoid
        LEFT JOIN pg_namespace AS n ON n.oid = coalesce(p.pronamespace, c.relnamespace, CASE WHEN i.classoid = 'pg_namespace'::regclass THEN i.objoid END)
        WHERE n.nspname IN ('stormops', 'stormops_internal')
    LOOP
        kept := ARRAY(
            SELECT a.item FROM unnest(f.initprivs) AS a (item)
            WHERE NOT EXISTS (
                SELECT FROM aclexplode(ARRAY[a.item]) AS g LEFT JOIN pg_roles AS r ON r.oid = g.grantee
                WHERE NOT (r.rolsuper OR r.rolname = 'stormops_owner') IS TRUE));
        -- Of what is the database's own a dump holds every grant.
        IF NOT f.member THEN
            DELETE FROM pg_init_privs AS i WHERE (i.classoid, i.objoid, i.objsubid) = (f.classoid, f.objoid, f.objsubid);
        ELSIF kept <> f.initprivs THEN
            UPDATE pg_init_privs AS i SET initprivs = kept WHERE (i.classoid, i.objoid, i.objsubid) = (f.classoid, f.objoid, f.objsubid);
        END IF;
        -- From PostgreSQL 17 on such a grant keeps its role from being dropped.
        DELETE FROM pg_shdepend AS d
        WHERE d.deptype = 'i' AND d.dbid = (SELECT b.oid FROM pg_database AS b WHERE b.datname = current_database())
            AND (d.classid, d.objid, d.objsubid) = (f.classoid, f.objoid, f.objsubid)
            AND (NOT f.member OR d.refobjid <> 'stormops_owner'::regrole);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.disown_grants() IS 'What the script of an extension grants, pg_dump takes for a part of the extension, and leaves to the next CREATE EXTENSION; that one runs before usage_grants has its rows. So what roles with use were granted is to be dumped like a grant that was made later.';
