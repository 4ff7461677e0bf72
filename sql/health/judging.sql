-- Judging what is due: one pass over each table's new rows, for all tenants and expectations at once. The passes are
-- statements of their own, outside any that writes, so that they may run in parallel; what goes in and comes out are
-- arrays of rows, which cost next to nothing to read where JSON is parsed anew each time.

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
        SELECT a.attname, a.atttypid FROM unnest(columns) WITH ORDINALITY AS k (name, place)
        JOIN pg_attribute AS a ON a.attrelid = format('stormops.%I', table_name)::regclass AND a.attname = k.name
        ORDER BY k.place
    LOOP
        expression := format(CASE c.atttypid
            WHEN 'text'::regtype THEN 'hashtextextended(r.%1$I, %2$s)'
            WHEN 'uuid'::regtype THEN 'uuid_hash_extended(r.%1$I, %2$s)'
            ELSE 'CASE WHEN r.%1$I IS NOT NULL THEN hash_record_extended(ROW(r.%1$I), %2$s) END' END, c.attname, expression);
    END LOOP;
    RETURN expression;
END
$$;
COMMENT ON FUNCTION stormops_internal.key_hash(text, text[]) IS 'An expression for a hash of columns of a row r of a table, NULL if one of them is: rows that are the same in them have the same.';

CREATE FUNCTION stormops_internal.row_rules(due stormops_internal.due_expectation[]) RETURNS TABLE (
    place integer, since timestamptz, judges text, fails text, scores text, repeats text, groups text, limits text
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT k.place, k.since,
        format('count(*) FILTER (WHERE %s)', k.new),
        coalesce('count(*) FILTER (WHERE ' || k.new || ' AND ' || CASE k.rule
            WHEN 'not_null' THEN format('r.%I IS NULL', k.columns[1])
            WHEN 'range' THEN format('(r.%1$I < p.lowest_%2$s OR r.%1$I > p.highest_%2$s)', k.columns[1], k.place)
            -- OFFSET 0: looked up by the key, where a hash would read all parents there are.
            WHEN 'referential' THEN format(
                '(r.%1$I IS NOT NULL AND NOT EXISTS (SELECT FROM stormops.%2$I AS o WHERE o.tenant_id = r.tenant_id AND o.%3$I = r.%1$I OFFSET 0))',
                k.columns[1], t.parents ->> k.columns[1],
                CASE t.parents ->> k.columns[1] WHEN 'policy_runs' THEN 'run_id' ELSE k.columns[1] END) END || ')', '0'),
        CASE k.rule WHEN 'drift' THEN format('stormops.score_agg(r.%I) FILTER (WHERE %s)::bytea', k.columns[1], k.new) ELSE 'NULL' END,
        -- As text, since an array of arrays would need them of one length.
        CASE k.rule WHEN 'unique' THEN format('(stormops_internal.repeats_agg(%s) FILTER (WHERE %s))::text', stormops_internal.key_hash(k.table_name, k.columns), k.new) ELSE 'NULL' END,
        CASE k.rule WHEN 'band' THEN format('(stormops_internal.groups_outside(r.%1$I, r.%5$I, r.%2$I, p.lowest_%3$s, p.highest_%3$s) FILTER (WHERE %4$s))::text',
            k.columns[1], k.columns[2], k.place, k.new, t.time_column) ELSE 'NULL' END,
        format('max(d.since) FILTER (WHERE d.place = %1$s) AS since_%1$s, max(d.lowest) FILTER (WHERE d.place = %1$s) AS lowest_%1$s,'
            ' max(d.highest) FILTER (WHERE d.place = %1$s) AS highest_%1$s', k.place)
    FROM (
        SELECT d.table_name, d.place, d.rule, d.columns, min(d.since) AS since, format('r.%I >= p.since_%s', t.time_column, d.place) AS new
        FROM unnest($1) AS d JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
        GROUP BY d.table_name, d.place, d.rule, d.columns, t.time_column
    ) AS k
    JOIN stormops.counted_tables() AS t ON t.table_name = k.table_name
$$;
COMMENT ON FUNCTION stormops_internal.row_rules(stormops_internal.due_expectation[]) IS 'The expressions that judge each place of one table''s due expectations, over rows r and the limits p of their tenant.';

CREATE FUNCTION stormops_internal.judge_rows(due stormops_internal.due_expectation[]) RETURNS SETOF stormops_internal.judgement
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET enable_sort = off -- tenants are few, whatever the planner expects: group them by a hash
    SET work_mem = '256MB' -- the planner takes 8 kB for each state of an aggregate, and would rather spill rows
    AS $$
DECLARE
    this record;
    rules record;
    these stormops_internal.due_expectation[];
    found_rows stormops_internal.judgement[];
    one_tenant text := (
        SELECT CASE WHEN count(DISTINCT d.tenant_id) = 1 THEN format('r.tenant_id = %L', min(d.tenant_id::text)) ELSE 'true' END FROM unnest(due) AS d);
BEGIN
    -- A select list has room for 1664 columns, and a place takes three: what is more waits for another pass.
    FOR this IN
        SELECT t.table_name, t.time_column, generate_series(0, m.places - 1, 400) AS before
        FROM stormops.counted_tables() AS t JOIN (
            SELECT d.table_name, max(d.place) AS places FROM unnest(due) AS d WHERE d.rule NOT IN ('freshness', 'row_count') GROUP BY d.table_name
        ) AS m ON m.table_name = t.table_name
    LOOP
        these := ARRAY(
            SELECT ROW(d.tenant_id, d.expectation_id, d.table_name, d.rule, d.columns, d.lowest, d.highest, d.max_age, d.threshold, d.since,
                d.place - this.before)::stormops_internal.due_expectation
            FROM unnest(due) AS d
            WHERE d.table_name = this.table_name AND d.rule NOT IN ('freshness', 'row_count') AND d.place - this.before BETWEEN 1 AND 400);
        SELECT min(k.since) AS since, string_agg(k.judges, ', ' ORDER BY k.place) AS judges, string_agg(k.fails, ', ' ORDER BY k.place) AS fails,
            string_agg(k.scores, ', ' ORDER BY k.place) AS scores, string_agg(k.repeats, ', ' ORDER BY k.place) AS repeats,
            string_agg(k.groups, ', ' ORDER BY k.place) AS groups, string_agg(k.limits, ', ' ORDER BY k.place) AS limits
        INTO rules FROM stormops_internal.row_rules(these) AS k;
        EXECUTE format($query$
            SELECT array_agg(ROW(d.tenant_id, d.expectation_id, coalesce(c.judged[d.place], 0), coalesce(c.failing[d.place], 0),
                c.scores[d.place], c.repeats[d.place]::bigint[], c.groups[d.place]::uuid[])::stormops_internal.judgement)
            FROM unnest($1) AS d LEFT JOIN (
                SELECT r.tenant_id, ARRAY[%3$s] AS judged, ARRAY[%4$s] AS failing, ARRAY[%5$s]::bytea[] AS scores, ARRAY[%6$s]::text[] AS repeats, ARRAY[%9$s]::text[] AS groups
                -- One row for each tenant: what holds for it at each place.
                FROM stormops.%1$I AS r JOIN (SELECT d.tenant_id, %7$s FROM unnest($1) AS d GROUP BY d.tenant_id) AS p ON p.tenant_id = r.tenant_id
                WHERE r.%2$I >= $2 AND %8$s
                GROUP BY r.tenant_id
            ) AS c ON c.tenant_id = d.tenant_id
            $query$, this.table_name, this.time_column, rules.judges, rules.fails, rules.scores, rules.repeats, rules.limits, one_tenant, rules.groups)
        INTO found_rows USING these, rules.since;
        RETURN QUERY SELECT f.tenant_id, f.expectation_id, f.judged, coalesce(x.failing, f.failing), f.scores, NULL::bigint[], f.groups
            FROM unnest(found_rows) AS f
            LEFT JOIN stormops_internal.count_repeats(these, found_rows) AS x ON x.tenant_id = f.tenant_id AND x.expectation_id = f.expectation_id;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.judge_rows(stormops_internal.due_expectation[]) IS 'Of each expectation about rows in due: how many rows came since then, and how many of them fail; for drift their scores. Reads each table''s new rows once, and once more for a set of columns that should be unique where rows have the same hash of them.';

CREATE FUNCTION stormops_internal.count_repeats(these stormops_internal.due_expectation[], found_rows stormops_internal.judgement[]) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, failing bigint
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    this record;
BEGIN
    FOR this IN
        SELECT t.table_name, t.time_column, d.columns,
            (SELECT string_agg(format('r.%I', c), ', ' ORDER BY o) FROM unnest(d.columns) WITH ORDINALITY AS k (c, o)) AS names
        FROM unnest(found_rows) AS f JOIN unnest(these) AS d ON d.tenant_id = f.tenant_id AND d.expectation_id = f.expectation_id
        JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
        WHERE cardinality(f.repeats) > 0
        GROUP BY t.table_name, t.time_column, d.columns
    LOOP
        RETURN QUERY EXECUTE format($query$
            WITH suspects AS (
                SELECT d.tenant_id, d.expectation_id, d.since, h.hash
                FROM unnest($2) AS f JOIN unnest($1) AS d ON d.tenant_id = f.tenant_id AND d.expectation_id = f.expectation_id AND d.columns = $3
                CROSS JOIN unnest(f.repeats) AS h (hash)
            ), groups AS (
                SELECT s.tenant_id, s.expectation_id, count(*) AS n
                FROM stormops.%1$I AS r JOIN suspects AS s ON s.tenant_id = r.tenant_id AND s.hash = %4$s AND r.%2$I >= s.since
                WHERE r.%2$I >= $4
                GROUP BY s.tenant_id, s.expectation_id, %3$s
            )
            SELECT g.tenant_id, g.expectation_id, sum(g.n - 1)::bigint FROM groups AS g GROUP BY g.tenant_id, g.expectation_id
            $query$, this.table_name, this.time_column, this.names, stormops_internal.key_hash(this.table_name, this.columns))
        USING these, found_rows, this.columns, (SELECT min(d.since) FROM unnest(these) AS d);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.count_repeats(stormops_internal.due_expectation[], stormops_internal.judgement[]) IS 'Of judge_rows(): where rows of a table have the same hash, how many of them really share the columns'' values with another.';

CREATE FUNCTION stormops_internal.judge_counts(due stormops_internal.due_expectation[]) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, failed boolean, value double precision, evidence jsonb
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH mine AS MATERIALIZED (
        SELECT d.tenant_id, d.expectation_id, d.table_name, d.rule, d.max_age, d.threshold FROM unnest($1) AS d
        WHERE d.rule IN ('freshness', 'row_count')
    ), days AS (
        SELECT b.tenant_id, b.table_name, (b.at AT TIME ZONE 'UTC')::date AS day, sum(b.inserted) AS inserted, max(b.last_at) AS last_at
        FROM (
            SELECT c.tenant_id, c.table_name, c.bucket AS at, c.inserted, c.last_at FROM stormops.row_counts AS c
            UNION ALL
            SELECT d.tenant_id, d.table_name, d.happened_at, d.inserted, CASE WHEN d.inserted > 0 THEN d.happened_at END
            FROM stormops.row_count_deltas AS d
        ) AS b
        WHERE (b.tenant_id, b.table_name) IN (SELECT m.tenant_id, m.table_name FROM mine AS m)
        GROUP BY 1, 2, 3
    ), yesterday AS (
        SELECT (now() AT TIME ZONE 'UTC')::date - 1 AS day
    )
    SELECT m.tenant_id, m.expectation_id,
        CASE m.rule WHEN 'freshness' THEN max(d.last_at) IS NULL OR extract(epoch FROM now() - max(d.last_at)) > extract(epoch FROM m.max_age)
            ELSE coalesce(sum(d.inserted) FILTER (WHERE d.day = y.day), 0) < (1 - m.threshold) * sum(d.inserted) FILTER (WHERE y.day - d.day IN (7, 14, 21, 28)) / 4
        END,
        CASE m.rule WHEN 'freshness' THEN extract(epoch FROM now() - max(d.last_at))
            ELSE coalesce(sum(d.inserted) FILTER (WHERE d.day = y.day), 0) END::double precision,
        CASE m.rule WHEN 'freshness' THEN jsonb_build_object('last_row_at', max(d.last_at), 'max_age', m.max_age)
            ELSE jsonb_build_object('day', y.day, 'rows', coalesce(sum(d.inserted) FILTER (WHERE d.day = y.day), 0),
                'same_weekday_mean', sum(d.inserted) FILTER (WHERE y.day - d.day IN (7, 14, 21, 28)) / 4) END
    FROM mine AS m CROSS JOIN yesterday AS y
    LEFT JOIN days AS d ON d.tenant_id = m.tenant_id AND d.table_name = m.table_name
    GROUP BY m.tenant_id, m.expectation_id, m.rule, m.max_age, m.threshold, y.day
$$;
COMMENT ON FUNCTION stormops_internal.judge_counts(stormops_internal.due_expectation[]) IS 'Of each freshness and row_count expectation in due: whether it fails by the counters. NULL: there is nothing to compare with (no such weekday before).';
