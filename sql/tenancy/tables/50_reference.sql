-- What users call, from the catalogue. \df+ would print each function's source too, the statements of all tables among it.
CREATE OR REPLACE VIEW stormops.reference WITH (security_invoker, security_barrier) AS
SELECT f.domain,
    p.proname::text AS name,
    format('%s(%s)', p.proname, a.arguments) AS call,
    CASE WHEN coalesce(a.columns, c.columns) IS NULL THEN pg_get_function_result(p.oid)
        ELSE CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END || '(' || coalesce(a.columns, c.columns) || ')' END AS result,
    CASE f.kinds WHEN '{}' THEN '{superuser}' ELSE f.kinds END AS kinds,
    -- By convention a comment ends with its errors, each with its SQLSTATE.
    ARRAY(
        SELECT DISTINCT e.found[1] FROM regexp_matches(substring(d.description FROM '\mErrors?\M.*'), '\m(?=[A-Z]*[0-9])[0-9A-Z]{5}\M', 'g') AS e (found)
        ORDER BY 1
    ) AS errors,
    d.description
FROM stormops_internal.granted_functions() AS f
JOIN pg_proc AS p ON p.oid = to_regprocedure(f.signature)
JOIN pg_type AS t ON t.oid = p.prorettype
CROSS JOIN LATERAL (
    SELECT coalesce(string_agg(concat_ws(' ', nullif(g.name, ''), format_type(g.type, NULL),
            'DEFAULT ' || regexp_replace(pg_get_function_arg_default(p.oid, g.place::integer), '::[a-z][a-z_. ]*(\[\])?$', '')), ', ' ORDER BY g.place) FILTER (WHERE g.mode IN ('i', 'b', 'v')), '') AS arguments,
        string_agg(concat_ws(' ', g.name, format_type(g.type, NULL)), ', ' ORDER BY g.place) FILTER (WHERE g.mode IN ('o', 'b', 't')) AS columns
    FROM (
        SELECT u.name, u.type, coalesce(u.mode, 'i') AS mode, u.place
        FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes) WITH ORDINALITY AS u (type, name, mode, place)
    ) AS g
) AS a
CROSS JOIN LATERAL (
    SELECT string_agg(concat_ws(' ', k.attname, format_type(k.atttypid, k.atttypmod)), ', ' ORDER BY k.attnum) AS columns
    FROM pg_attribute AS k WHERE k.attrelid = t.typrelid AND t.typrelid <> 0 AND k.attnum > 0 AND NOT k.attisdropped
) AS c
CROSS JOIN LATERAL (SELECT obj_description(p.oid, 'pg_proc') AS description) AS d
WHERE p.pronamespace = 'stormops'::regnamespace;
COMMENT ON VIEW stormops.reference IS 'Every function that users call: SELECT call, kinds, description FROM stormops.reference WHERE domain = ''policy''. All kinds of use may read it.';
COMMENT ON COLUMN stormops.reference.domain IS 'tenancy, field, uplift, experiment, policy, metering, health, portability or stream: also the page of the documentation.';
COMMENT ON COLUMN stormops.reference.name IS 'The function''s name.';
COMMENT ON COLUMN stormops.reference.call IS 'Name and arguments, with types and defaults.';
COMMENT ON COLUMN stormops.reference.result IS 'The type, or the columns of the row; SETOF: any number of rows.';
COMMENT ON COLUMN stormops.reference.kinds IS 'The kinds of use that may call it; {superuser}: only superusers.';
COMMENT ON COLUMN stormops.reference.errors IS 'The SQLSTATEs that the description names.';
COMMENT ON COLUMN stormops.reference.description IS 'The function''s comment.';
