-- Whether a table still has the columns with which it was shipped.

CREATE FUNCTION stormops_internal.shipped_columns(OUT table_name text, OUT column_name text, OUT data_type text, OUT not_null boolean) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT split_part(d.object, '.', 2), btrim(d.name, '"'), regexp_replace(d.definition, ' (NOT NULL|DEFAULT|COLLATE) .*| NOT NULL$', ''),
        split_part(d.definition, ' DEFAULT ', 1) LIKE '% NOT NULL%'
    FROM stormops_internal.shipped_definitions() AS d WHERE d.kind = 'column'
$$;
COMMENT ON FUNCTION stormops_internal.shipped_columns() IS 'The columns of the tables as shipped: those of shipped_definitions().';

CREATE FUNCTION stormops_internal.schema_drift(table_name text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('column', d.name, 'change', d.change) ORDER BY d.name), '[]')
    FROM (
        SELECT coalesce(s.column_name, a.attname::text) AS name,
            CASE
                WHEN a.attname IS NULL THEN 'missing'
                WHEN s.column_name IS NULL THEN 'added'
                WHEN to_regtype(s.data_type) <> a.atttypid THEN format('%s instead of %s', format_type(a.atttypid, NULL), to_regtype(s.data_type))
                WHEN s.not_null AND NOT a.attnotnull THEN 'may be NULL'
            END AS change
        FROM (SELECT c.* FROM stormops_internal.shipped_columns() AS c WHERE c.table_name = $1) AS s
        FULL JOIN (
            SELECT a.* FROM pg_attribute AS a
            WHERE a.attrelid = to_regclass(format('stormops.%I', $1)) AND a.attnum > 0 AND NOT a.attisdropped
        ) AS a ON a.attname = s.column_name
    ) AS d
    WHERE d.change IS NOT NULL
$$;
COMMENT ON FUNCTION stormops_internal.schema_drift(text) IS 'How a table''s columns differ from those shipped, a JSON array of {column, change}: missing, added, another type, may be NULL. Empty: they do not.';
