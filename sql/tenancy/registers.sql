-- What the domains say of themselves in register.sql, brought together.

CREATE FUNCTION stormops_internal.write_registers() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET standard_conforming_strings = on
    AS $write$
DECLARE
    r record;
    rows text;
BEGIN
    FOR r IN
        SELECT CASE WHEN c.relname IN ('role_matrix', 'counted_tables', 'known_jobs') THEN 'stormops' ELSE 'stormops_internal' END AS schema,
            c.relname AS name, obj_description(c.oid, 'pg_class') AS says, a.columns, a.arguments, a.row_text
        FROM pg_class AS c
        CROSS JOIN LATERAL (
            SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns,
                string_agg(format('OUT %I %s', a.attname, a.atttypid::regtype), ', ' ORDER BY a.attnum) AS arguments,
                string_agg(format('quote_nullable(t.%I) || %L', a.attname, '::' || a.atttypid::regtype), ' || '', '' || ' ORDER BY a.attnum) AS row_text
            FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0
        ) AS a
        WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r' AND c.relname IN (
            'role_matrix', 'installation_tables', 'granted_views', 'granted_functions', 'counted_tables', 'known_jobs', 'shipped_issues')
    LOOP
        EXECUTE format('SELECT string_agg(''('' || %s || '')'', E'',\n        '' ORDER BY t.ctid) FROM pg_temp.%I AS t', r.row_text, r.name) INTO rows;
        -- The arguments are those of one column or of several, and a function says which.
        EXECUTE format('CREATE OR REPLACE FUNCTION %I.%I(%s) RETURNS SETOF %s LANGUAGE sql IMMUTABLE PARALLEL SAFE'
            ' SET search_path = pg_catalog, pg_temp AS %L', r.schema, r.name, r.arguments,
            CASE WHEN r.arguments LIKE '%, OUT %' THEN 'record' ELSE 'text' END,
            format(E'\n    SELECT r.* FROM (VALUES\n        %s\n    ) AS r (%s)\n', rows, r.columns));
        EXECUTE format('COMMENT ON FUNCTION %I.%I() IS %L', r.schema, r.name, r.says);
        EXECUTE format('DROP TABLE pg_temp.%I', r.name);
    END LOOP;
END
$write$;
COMMENT ON FUNCTION stormops_internal.write_registers() IS 'Makes of the rows of each register a function that gives them: they are then constants, part of what was shipped. Of the install script and of every upgrade script.';
