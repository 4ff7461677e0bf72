-- The expressions that judge rules, made for one statement over many: of a row r, and of p, the limits of its tenant.
-- Names of columns and tables are the catalogue's or this extension's own, and are quoted all the same.
--
-- band is a rule of the platform's own, which no tenant declares: the first column's groups whose mean of the second
-- (all new rows, or those of the last moment) lies outside lowest to highest.

CREATE FUNCTION stormops_internal.key_hash(table_name text, columns text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    expression text := '0';
    c record;
BEGIN
    -- Each column's hash is the seed of the next one's, and NULL makes NULL. The function of a type costs a fraction of
    -- what it takes to make a record and hash that.
    FOR c IN
        SELECT stormops_internal.shown(table_name, a.attname) AS value, a.atttypid AS type FROM unnest(columns) WITH ORDINALITY AS k (name, place)
        JOIN pg_attribute AS a ON a.attrelid = format('stormops.%I', table_name)::regclass AND a.attname = k.name
        ORDER BY k.place
    LOOP
        expression := CASE c.type
            WHEN 'text'::regtype THEN format('hashtextextended(%s, %s)', c.value, expression)
            WHEN 'uuid'::regtype THEN format('uuid_hash_extended(%s, %s)', c.value, expression)
            ELSE format('CASE WHEN %s IS NOT NULL THEN hash_record_extended(ROW(%s), %s) END', c.value, c.value, expression)
        END;
    END LOOP;
    RETURN expression;
END
$$;
COMMENT ON FUNCTION stormops_internal.key_hash(text, text[]) IS 'An expression for a hash of columns of a row r of a table, as they show, NULL if one of them is or shows nothing: rows that are the same in them have the same.';

CREATE FUNCTION stormops_internal.parent_of(column_name text, parent text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format('SELECT FROM stormops.%I AS parent WHERE parent.tenant_id = r.tenant_id AND parent.%I = r.%I',
        $2, CASE $2 WHEN 'policy_runs' THEN 'run_id' ELSE $1 END, $1)
$$;
COMMENT ON FUNCTION stormops_internal.parent_of(text, text) IS 'A query for the row of a table parent that a column of a row r refers to.';

CREATE FUNCTION stormops_internal.failing_condition(table_name text, rule text, columns text[], parents jsonb, place integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $2
        WHEN 'not_null' THEN format('r.%I IS NULL OR %s', $3[1], stormops_internal.blank_condition($1, $3[1]))
        WHEN 'range' THEN format('r.%I NOT BETWEEN p.lowest_%s AND p.highest_%s', $3[1], $5, $5)
        -- OFFSET 0: looked up by the key, where a hash would read all parents there are.
        WHEN 'referential' THEN format('r.%I IS NOT NULL AND NOT EXISTS (%s OFFSET 0)', $3[1],
            stormops_internal.parent_of($3[1], $4 ->> $3[1]))
    END
$$;
COMMENT ON FUNCTION stormops_internal.failing_condition(text, text, text[], jsonb, integer) IS 'What is true of a row that fails a rule; NULL where no row tells alone. parents: of its table, as counted_tables() has them.';

CREATE FUNCTION stormops_internal.rules_at_places(due stormops_internal.due_expectation[]) RETURNS TABLE (
    place integer, rule text, columns text[], key_hash text, fails text, fails_by_blanks text, is_new text, time_column text
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT d.place, d.rule, d.columns, CASE d.rule WHEN 'unique' THEN stormops_internal.key_hash(d.table_name, d.columns) END,
        stormops_internal.failing_condition(d.table_name, d.rule, d.columns, t.parents, d.place),
        CASE d.rule WHEN 'not_null' THEN stormops_internal.blank_condition(d.table_name, d.columns[1]) END,
        format('r.%I >= p.since_%s', t.time_column, d.place), t.time_column
    FROM (SELECT DISTINCT x.table_name, x.place, x.rule, x.columns FROM unnest($1) AS x) AS d
    JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
$$;
COMMENT ON FUNCTION stormops_internal.rules_at_places(stormops_internal.due_expectation[]) IS 'What one table''s due expectations come to, the same for all tenants: at each place a rule, what is true of a row that fails it, of one that fails by blanks, and of one that is new.';

CREATE FUNCTION stormops_internal.judging_columns(due stormops_internal.due_expectation[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT concat_ws(', ', format('ARRAY[%s] AS judged', string_agg(e.judged, ', ' ORDER BY e.place)),
        format('ARRAY[%s] AS failing', string_agg(coalesce(e.failing, '0'), ', ' ORDER BY e.place)),
        format('ARRAY[%s] AS by_blanks', string_agg(coalesce(e.by_blanks, '0'), ', ' ORDER BY e.place)),
        format('ARRAY[%s]::bytea[] AS scores', string_agg(coalesce(e.scores, 'NULL'), ', ' ORDER BY e.place)),
        -- As text, since an array of arrays would need them of one length.
        format('ARRAY[%s]::text[] AS repeats', string_agg(coalesce(e.repeats || '::text', 'NULL'), ', ' ORDER BY e.place)),
        format('ARRAY[%s]::text[] AS groups', string_agg(coalesce(e.groups || '::text', 'NULL'), ', ' ORDER BY e.place)))
    FROM (
        SELECT k.place, format('count(*) FILTER (WHERE %s)', k.is_new) AS judged,
            CASE WHEN k.fails IS NOT NULL THEN format('count(*) FILTER (WHERE %s AND (%s))', k.is_new, k.fails) END AS failing,
            CASE WHEN k.fails_by_blanks IS NOT NULL THEN format('count(*) FILTER (WHERE %s AND %s)', k.is_new, k.fails_by_blanks) END AS by_blanks,
            CASE k.rule WHEN 'drift' THEN format('stormops.score_agg(r.%I) FILTER (WHERE %s)::bytea', k.columns[1], k.is_new) END AS scores,
            CASE k.rule WHEN 'unique' THEN format('(stormops_internal.repeats_agg(%s) FILTER (WHERE %s))', k.key_hash, k.is_new) END AS repeats,
            CASE k.rule WHEN 'band' THEN format('(stormops_internal.groups_outside(r.%I, r.%I, r.%I, p.lowest_%s, p.highest_%s) FILTER (WHERE %s))',
                k.columns[1], k.time_column, k.columns[2], k.place, k.place, k.is_new) END AS groups
        FROM stormops_internal.rules_at_places($1) AS k
    ) AS e
$$;
COMMENT ON FUNCTION stormops_internal.judging_columns(stormops_internal.due_expectation[]) IS 'The select list that judges one table''s due expectations over rows r and limits p (judging_limits()): arrays with an entry for each place.';

CREATE FUNCTION stormops_internal.judging_limits(due stormops_internal.due_expectation[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format('SELECT d.tenant_id, %s FROM unnest($1) AS d GROUP BY d.tenant_id', string_agg(
        format('max(d.since) FILTER (WHERE %s) AS since_%s, max(d.lowest) FILTER (WHERE %s) AS lowest_%s, max(d.highest) FILTER (WHERE %s) AS highest_%s',
            k.here, k.place, k.here, k.place, k.here, k.place), ', ' ORDER BY k.place))
    FROM (SELECT DISTINCT d.place, format('d.place = %s', d.place) AS here FROM unnest($1) AS d) AS k
$$;
COMMENT ON FUNCTION stormops_internal.judging_limits(stormops_internal.due_expectation[]) IS 'A query for one row for each tenant: what holds for it at each place. $1 of it: the same due expectations.';
