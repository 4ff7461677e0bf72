-- Judging what is due: one pass over each table's new rows, for all tenants and expectations at once. The passes are
-- statements of their own, outside any that writes, so that they may run in parallel; what goes in and comes out are
-- arrays of rows, which cost next to nothing to read where JSON is parsed anew each time.

CREATE FUNCTION stormops_internal.passes(due stormops_internal.due_expectation[]) RETURNS TABLE (
    table_name text, time_column text, these stormops_internal.due_expectation[], since timestamptz
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.table_name, t.time_column, array_agg(ROW(d.tenant_id, d.expectation_id, d.table_name, d.rule, d.columns, d.lowest, d.highest, d.max_age,
            d.threshold, d.since, d.place - d.before)::stormops_internal.due_expectation), min(d.since)
    FROM (
        -- A select list has room for 1664 columns, and a place takes three: what is more waits for another pass.
        SELECT d.*, (d.place - 1) / 400 * 400 AS before FROM unnest($1) AS d WHERE stormops_internal.is_about_rows(d.rule)
    ) AS d
    JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
    GROUP BY t.table_name, t.time_column, d.before
$$;
COMMENT ON FUNCTION stormops_internal.passes(stormops_internal.due_expectation[]) IS 'What is due and about rows, by table: each a pass over its rows since then. Places are numbered anew in each.';

CREATE FUNCTION stormops_internal.judge_rows(due stormops_internal.due_expectation[]) RETURNS SETOF stormops_internal.judgement
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET enable_sort = off -- tenants are few, whatever the planner expects: group them by a hash
    SET work_mem = '256MB' -- the planner takes 8 kB for each state of an aggregate, and would rather spill rows
    AS $$
DECLARE
    pass record;
    by_tenant text;
    found_rows stormops_internal.judgement[];
    whose text := (
        SELECT CASE WHEN count(DISTINCT d.tenant_id) = 1 THEN format('r.tenant_id = %L', min(d.tenant_id::text)) ELSE 'true' END FROM unnest(due) AS d);
BEGIN
    FOR pass IN SELECT p.* FROM stormops_internal.passes(due) AS p LOOP
        by_tenant := format('SELECT r.tenant_id, %s FROM stormops.%I AS r JOIN (%s) AS p ON p.tenant_id = r.tenant_id WHERE r.%I >= $2 AND %s GROUP BY r.tenant_id',
            stormops_internal.judging_columns(pass.these), pass.table_name, stormops_internal.judging_limits(pass.these), pass.time_column, whose);
        EXECUTE format($query$
            SELECT array_agg(ROW(d.tenant_id, d.expectation_id, coalesce(c.judged[d.place], 0), coalesce(c.failing[d.place], 0),
                c.scores[d.place], c.repeats[d.place]::bigint[], c.groups[d.place]::uuid[], coalesce(c.by_blanks[d.place], 0))::stormops_internal.judgement)
            FROM unnest($1) AS d LEFT JOIN (%s) AS c ON c.tenant_id = d.tenant_id
            $query$, by_tenant)
        INTO found_rows USING pass.these, pass.since;
        RETURN QUERY SELECT f.tenant_id, f.expectation_id, f.judged, coalesce(x.failing, f.failing), f.scores, NULL::bigint[], f.groups,
                coalesce(x.by_blanks, f.by_blanks)
            FROM unnest(found_rows) AS f
            LEFT JOIN stormops_internal.count_repeats(pass.these, found_rows) AS x ON x.tenant_id = f.tenant_id AND x.expectation_id = f.expectation_id;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.judge_rows(stormops_internal.due_expectation[]) IS 'Of each expectation about rows in due: how many rows came since then, and how many of them fail; for drift their scores. Reads each table''s new rows once, and once more for a set of columns that should be unique where rows have the same hash of them.';

CREATE FUNCTION stormops_internal.count_repeats(these stormops_internal.due_expectation[], found_rows stormops_internal.judgement[]) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, failing bigint, by_blanks bigint
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    key record;
BEGIN
    FOR key IN
        SELECT t.table_name, t.time_column, d.columns, stormops_internal.key_hash(t.table_name, d.columns) AS hash,
            (SELECT string_agg(stormops_internal.shown(t.table_name, c), ', ' ORDER BY o) FROM unnest(d.columns) WITH ORDINALITY AS k (c, o)) AS shown,
            (SELECT string_agg(format('r.%I', c), ', ' ORDER BY o) FROM unnest(d.columns) WITH ORDINALITY AS k (c, o)) AS written
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
                SELECT s.tenant_id, s.expectation_id, count(*) AS n, count(DISTINCT ROW(%s)) AS ways
                FROM stormops.%I AS r JOIN suspects AS s ON s.tenant_id = r.tenant_id AND s.hash = %s AND r.%I >= s.since
                WHERE r.%I >= $4
                GROUP BY s.tenant_id, s.expectation_id, %s
            )
            SELECT g.tenant_id, g.expectation_id, sum(g.n - 1)::bigint, sum(g.ways - 1)::bigint FROM groups AS g GROUP BY g.tenant_id, g.expectation_id
            $query$, key.written, key.table_name, key.hash, key.time_column, key.time_column, key.shown)
        USING these, found_rows, key.columns, (SELECT min(d.since) FROM unnest(these) AS d);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.count_repeats(stormops_internal.due_expectation[], stormops_internal.judgement[]) IS 'Of judge_rows(): where rows of a table have the same hash, how many of them really share the columns'' values with another, and how many of those are written otherwise and show alike.';

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
        SELECT b.tenant_id, b.table_name, (b.at AT TIME ZONE 'UTC')::date AS day, sum(b.inserted) AS inserted,
            max(b.last_at) FILTER (WHERE b.last_at <= now()) AS last_at -- a clock that was ahead keeps nothing fresh
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
