-- Judging what is due: one pass over each table's new rows, for all tenants and expectations at once.

CREATE FUNCTION stormops.judge_rows(due jsonb) RETURNS TABLE (tenant_id uuid, expectation_id uuid, judged bigint, failing bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET enable_sort = off -- tenants are few, whatever the planner expects: group them by a hash
    AS $$
DECLARE
    this record;
    one_tenant text := stormops.one_tenant(due);
BEGIN
    FOR this IN
        SELECT t.table_name, t.time_column, min(k.since) AS since,
            string_agg(format('count(*) FILTER (WHERE r.%I >= p.since[%s])', t.time_column, k.place), ', ' ORDER BY k.place) AS judged,
            string_agg(format('count(*) FILTER (WHERE r.%I >= p.since[%s] AND %s)', t.time_column, k.place, k.fails), ', ' ORDER BY k.place) AS failing,
            jsonb_agg(jsonb_build_object('place', k.place, 'rule', k.rule, 'columns', k.columns, 'turn', k.turn)) AS kinds
        FROM stormops.counted_tables() AS t
        JOIN (
            -- Every rule and column that some tenant is due for; the limits are the tenant's own.
            SELECT d.table_name, d.rule, d.columns, d.turn, min(d.since) AS since,
                row_number() OVER (PARTITION BY d.table_name ORDER BY d.rule, d.columns, d.turn) AS place,
                CASE d.rule
                    WHEN 'not_null' THEN format('r.%I IS NULL', d.columns[1])
                    WHEN 'range' THEN format('(r.%1$I < p.lowest[%2$s] OR r.%1$I > p.highest[%2$s])', d.columns[1],
                        row_number() OVER (PARTITION BY d.table_name ORDER BY d.rule, d.columns, d.turn))
                    -- OFFSET 0: looked up by the key, where a hash would read all parents there are.
                    WHEN 'referential' THEN format(
                        '(r.%1$I IS NOT NULL AND NOT EXISTS (SELECT FROM stormops.%2$I AS o WHERE o.tenant_id = r.tenant_id AND o.%3$I = r.%1$I OFFSET 0))',
                        d.columns[1], t.parents ->> d.columns[1],
                        CASE t.parents ->> d.columns[1] WHEN 'policy_runs' THEN 'run_id' ELSE d.columns[1] END)
                END AS fails
            FROM jsonb_to_recordset(due) AS d (table_name text, rule text, columns text[], turn integer, since timestamptz)
            JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
            WHERE d.rule IN ('not_null', 'range', 'referential')
            GROUP BY d.table_name, d.rule, d.columns, d.turn, t.parents
        ) AS k ON k.table_name = t.table_name
        GROUP BY t.table_name, t.time_column
    LOOP
        RETURN QUERY EXECUTE format($query$
            WITH mine AS MATERIALIZED ( -- each planned by itself: the loop that is unavoidable in one must not hide the cost of another
                SELECT d.*, k.place
                FROM jsonb_to_recordset($1) AS d (
                    tenant_id uuid, expectation_id uuid, table_name text, rule text, columns text[], turn integer,
                    lowest double precision, highest double precision, since timestamptz)
                JOIN jsonb_to_recordset($2) AS k (place integer, rule text, columns text[], turn integer)
                    ON k.rule = d.rule AND k.columns = d.columns AND k.turn = d.turn
                WHERE d.table_name = %1$L
            ), places AS MATERIALIZED (
                -- One row for each tenant: what holds for it at each place.
                SELECT t.tenant_id,
                    array_agg(m.since ORDER BY g.place) AS since,
                    array_agg(coalesce(m.lowest, '-Infinity') ORDER BY g.place) AS lowest,
                    array_agg(coalesce(m.highest, 'Infinity') ORDER BY g.place) AS highest
                FROM (SELECT DISTINCT x.tenant_id FROM mine AS x) AS t
                CROSS JOIN generate_series(1, jsonb_array_length($2)) AS g (place)
                LEFT JOIN mine AS m ON m.tenant_id = t.tenant_id AND m.place = g.place
                GROUP BY t.tenant_id
            ), counted AS MATERIALIZED (
                SELECT r.tenant_id, ARRAY[%2$s] AS judged, ARRAY[%3$s] AS failing
                FROM stormops.%1$I AS r JOIN places AS p ON p.tenant_id = r.tenant_id
                WHERE r.%4$I >= $3 AND %5$s
                GROUP BY r.tenant_id
            )
            SELECT m.tenant_id, m.expectation_id, coalesce(c.judged[m.place], 0), coalesce(c.failing[m.place], 0)
            FROM mine AS m LEFT JOIN counted AS c ON c.tenant_id = m.tenant_id
            $query$, this.table_name, this.judged, this.failing, this.time_column, one_tenant)
        USING due, this.kinds, this.since;
    END LOOP;
    FOR this IN
        SELECT t.table_name, t.time_column, d.columns, min(d.since) AS since,
            (SELECT string_agg(format('r.%I', c), ', ' ORDER BY o) FROM unnest(d.columns) WITH ORDINALITY AS k (c, o)) AS names
        FROM jsonb_to_recordset(due) AS d (table_name text, rule text, columns text[], since timestamptz)
        JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
        WHERE d.rule = 'unique'
        GROUP BY t.table_name, t.time_column, d.columns
    LOOP
        RETURN QUERY EXECUTE format($query$
            WITH mine AS MATERIALIZED (
                SELECT d.tenant_id, d.expectation_id, d.since
                FROM jsonb_to_recordset($1) AS d (tenant_id uuid, expectation_id uuid, table_name text, rule text, columns text[], since timestamptz)
                WHERE d.table_name = %1$L AND d.rule = 'unique' AND d.columns = $2
            ), keyed AS MATERIALIZED (
                SELECT m.tenant_id, m.expectation_id, count(*) AS n, num_nulls(%2$s) AS nulls
                FROM stormops.%1$I AS r JOIN mine AS m ON m.tenant_id = r.tenant_id AND r.%3$I >= m.since
                WHERE r.%3$I >= $3 AND %4$s
                GROUP BY m.tenant_id, m.expectation_id, %2$s
            ), counted AS (
                SELECT k.expectation_id, sum(k.n)::bigint AS judged, sum(CASE WHEN k.nulls = 0 THEN k.n - 1 ELSE 0 END)::bigint AS failing
                FROM keyed AS k GROUP BY k.expectation_id
            )
            SELECT m.tenant_id, m.expectation_id, coalesce(c.judged, 0), coalesce(c.failing, 0)
            FROM mine AS m LEFT JOIN counted AS c ON c.expectation_id = m.expectation_id
            $query$, this.table_name, this.names, this.time_column, one_tenant)
        USING due, this.columns, this.since;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.judge_rows(jsonb) IS 'Of each row-wise expectation in due: how many rows came since then, and how many of them fail. Reads each table''s new rows once, and once more for each set of columns that is to be unique.';

CREATE FUNCTION stormops.one_tenant(due jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE WHEN count(DISTINCT d.tenant_id) = 1 THEN format('r.tenant_id = %L', min(d.tenant_id::text)) ELSE 'true' END
    FROM jsonb_to_recordset($1) AS d (tenant_id uuid)
$$;
COMMENT ON FUNCTION stormops.one_tenant(jsonb) IS 'What a statement over the rows r adds where all that is due is one tenant''s: then its key finds them.';

CREATE FUNCTION stormops.judge_scores(due jsonb) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, judged bigint, drifted boolean, scores bytea, evidence jsonb
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_nestloop = off
    SET enable_sort = off
    AS $body$
DECLARE
    since timestamptz := (SELECT min(d.since) FROM jsonb_to_recordset(due) AS d (rule text, since timestamptz) WHERE d.rule = 'drift');
BEGIN
    IF since IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($query$
    WITH mine AS MATERIALIZED (
        SELECT d.* FROM jsonb_to_recordset($1) AS d (
            tenant_id uuid, expectation_id uuid, rule text, threshold double precision, since timestamptz)
        WHERE d.rule = 'drift'
    ), collected AS MATERIALIZED (
        SELECT m.expectation_id, stormops.score_agg(r.uplift) AS scores
        FROM mine AS m
        LEFT JOIN (SELECT r.tenant_id, r.scored_at, r.uplift FROM stormops.lead_uplift AS r WHERE r.scored_at >= $2 AND %s) AS r
            ON r.tenant_id = m.tenant_id AND r.scored_at >= m.since
        GROUP BY m.expectation_id
    )
    SELECT m.tenant_id, m.expectation_id, stormops.n(c.scores), stormops.n(c.scores) > 0 AND coalesce(v.drift_detected, false),
        c.scores::bytea, jsonb_strip_nulls(jsonb_build_object('mean', stormops.mean(c.scores), 'reference_mean', v.reference_mean,
            'p_adjusted', v.p_adjusted, 'wasserstein', v.wasserstein, 'severity', v.severity))
    FROM mine AS m
    JOIN collected AS c ON c.expectation_id = m.expectation_id
    JOIN stormops.expectations AS e ON e.tenant_id = m.tenant_id AND e.expectation_id = m.expectation_id
    CROSS JOIN LATERAL stormops.drift_verdict(c.scores, e.reference::stormops.score_sketch,
        least(greatest(m.threshold, 1e-6), 0.49), 0.02) AS v
    $query$, stormops.one_tenant(due)) USING due, since;
END
$body$;
COMMENT ON FUNCTION stormops.judge_scores(jsonb) IS 'Of each drift expectation in due: the scores that came since then, and whether drift_verdict() finds that they left the reference; false without one.';

CREATE FUNCTION stormops.judge_counts(due jsonb) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, failed boolean, value double precision, evidence jsonb
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH mine AS MATERIALIZED (
        SELECT d.* FROM jsonb_to_recordset($1) AS d (
            tenant_id uuid, expectation_id uuid, table_name text, rule text, max_age interval, threshold numeric)
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
        CASE m.rule WHEN 'freshness' THEN max(d.last_at) IS NULL OR max(d.last_at) < now() - m.max_age
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
COMMENT ON FUNCTION stormops.judge_counts(jsonb) IS 'Of each freshness and row_count expectation in due: whether it fails by the counters. NULL: there is nothing to compare with (no such weekday before).';
