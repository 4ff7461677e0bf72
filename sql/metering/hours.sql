-- From events to hours: the labels by which they are rolled up, and the one scan that groups them.

CREATE FUNCTION stormops_internal.rollup_label(dimensions jsonb, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT left($1 ->> $2, 100) $$;
COMMENT ON FUNCTION stormops_internal.rollup_label(jsonb, text) IS 'The value of a dimension by which an event is rolled up, at most 100 characters, so that the key of a rollup fits its index whatever an event carries.';

CREATE FUNCTION stormops_internal.rollup_key(dimensions jsonb, names text[]) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE cardinality($2) WHEN 0 THEN NULL
        WHEN 1 THEN stormops_internal.rollup_label($1, $2[1])
        ELSE ARRAY[stormops_internal.rollup_label($1, $2[1]), stormops_internal.rollup_label($1, $2[2]), stormops_internal.rollup_label($1, $2[3]), stormops_internal.rollup_label($1, $2[4])]::text
    END
$$;
COMMENT ON FUNCTION stormops_internal.rollup_key(jsonb, text[]) IS 'The labels of an event as one text: alone as it is, several as an array of four; different labels of a metric have different texts.';

CREATE FUNCTION stormops_internal.rollup_labels(key text, names text[]) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE cardinality($2) WHEN 0 THEN '{}'
        WHEN 1 THEN jsonb_build_object($2[1], $1)
        ELSE jsonb_object($2, ($1::text[])[:cardinality($2)])
    END
$$;
COMMENT ON FUNCTION stormops_internal.rollup_labels(text, text[]) IS 'The dimensions of a rollup with their values from rollup_key(), null where an event had none; {} where the metric has none.';

CREATE FUNCTION stormops_internal.event_labels(dimensions jsonb, names text[]) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE cardinality($2) WHEN 0 THEN '{}'
        WHEN 1 THEN jsonb_build_object($2[1], stormops_internal.rollup_label($1, $2[1]))
        ELSE jsonb_build_object($2[1], stormops_internal.rollup_label($1, $2[1]), $2[2], stormops_internal.rollup_label($1, $2[2]))
            || CASE WHEN cardinality($2) > 2 THEN jsonb_build_object($2[3], stormops_internal.rollup_label($1, $2[3])) ELSE '{}' END
            || CASE WHEN cardinality($2) > 3 THEN jsonb_build_object($2[4], stormops_internal.rollup_label($1, $2[4])) ELSE '{}' END
    END
$$;
COMMENT ON FUNCTION stormops_internal.event_labels(jsonb, text[]) IS 'The rollup_dimensions of an event with their values, as rollups have them.';

CREATE FUNCTION stormops_internal.first_batch(tenant_id uuid) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT b.batch_id FROM stormops.usage_batches AS b WHERE b.mark IS NULL AND ($1 IS NULL OR b.tenant_id = $1) ORDER BY b.batch_id LIMIT 1 $$;
COMMENT ON FUNCTION stormops_internal.first_batch(uuid) IS 'The least batch that is not rolled up, of a tenant or with NULL of all: events from it on are found by their BRIN index. NULL: there is none.';

CREATE FUNCTION stormops_internal.usage_by_hour(
    OUT tenant_id uuid, OUT metric_name text, OUT aggregation text, OUT hour timestamptz, OUT dimensions jsonb, OUT total numeric, OUT peak numeric,
    OUT n bigint
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_sort = off -- groups are few and events many: to hash them is far cheaper, and the planner cannot know
    SET enable_nestloop = off
    SET plan_cache_mode = force_generic_plan -- statistics from before the new events would say that there are none
    AS $$
#variable_conflict use_column
DECLARE
    first constant uuid := stormops_internal.first_batch(NULL);
BEGIN
    IF first IS NULL THEN
        RETURN;
    END IF;
    -- A statement of its own, since one that writes is not computed in parallel.
    RETURN QUERY
        SELECT g.tenant_id, g.metric_name, m.aggregation, g.hour,
            stormops_internal.rollup_labels(g.key, m.rollup_dimensions), g.total, g.peak, g.n
        FROM (
            SELECT e.tenant_id, e.metric_name, e.hour, e.key, sum(e.metric_value) AS total, max(e.metric_value) AS peak, count(*) AS n
            FROM (
                SELECT e.tenant_id, e.metric_name, e.metric_value,
                    date_bin('1 hour', e.recorded_at, '2000-01-01 00:00:00+00') AS hour, -- a division, where date_trunc() looks up names
                    stormops_internal.rollup_key(e.dimensions, m.rollup_dimensions) AS key
                FROM stormops.tenant_usage AS e
                -- Each event has its metric, and most of these a batch: what LEFT and coalesce() say to the planner is that the
                -- rows stay many, and so are added up where they are read. Of a join it would think that it leaves next to nothing.
                LEFT JOIN (
                    SELECT b.tenant_id, b.batch_id, true AS new FROM stormops.usage_batches AS b WHERE b.mark IS NULL
                ) AS b ON b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id
                LEFT JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
                WHERE e.batch_id >= first AND coalesce(b.new, false)
                -- For the planner: of what is computed here it takes the groups for a tenth of the rows; by the times of the
                -- events, which all differ, for all of them, and then workers would add nothing up. A text, since it looks for
                -- a constant before it has cast one.
                OFFSET '0'
            ) AS e
            GROUP BY 1, 2, 3, 4
        ) AS g
        JOIN stormops.metrics AS m ON m.tenant_id = g.tenant_id AND m.metric_name = g.metric_name;
END
$$;
COMMENT ON FUNCTION stormops_internal.usage_by_hour() IS 'The events that are not rolled up by tenant, metric, hour (UTC) and rollup dimensions: their sum, greatest value and number.';

CREATE FUNCTION stormops_internal.latest_by_period(
    OUT tenant_id uuid, OUT metric_name text, OUT grain text, OUT bucket timestamptz, OUT dimensions jsonb, OUT metric_value numeric,
    OUT recorded_at timestamptz, OUT usage_id uuid
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM stormops.metrics AS m WHERE m.aggregation = 'LATEST') THEN
        RETURN;
    END IF;
    RETURN QUERY
        WITH hours AS MATERIALIZED (
            SELECT DISTINCT ON (1, 2, 3, 4)
                e.tenant_id, e.metric_name, date_trunc('hour', e.recorded_at, 'UTC') AS hour,
                stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) AS dimensions, e.metric_value, e.recorded_at, e.usage_id
            FROM stormops.tenant_usage AS e
            JOIN stormops.usage_batches AS b ON b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL
            JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
            WHERE e.batch_id >= (SELECT stormops_internal.first_batch(NULL)) AND m.aggregation = 'LATEST'
            ORDER BY 1, 2, 3, 4, e.recorded_at DESC, e.usage_id DESC
        )
        SELECT DISTINCT ON (1, 2, 3, 4, 5)
            h.tenant_id, h.metric_name, g.grain, date_trunc(g.grain, h.hour, 'UTC'), d.dimensions, h.metric_value, h.recorded_at, h.usage_id
        FROM hours AS h
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL unnest(CASE h.dimensions WHEN '{}' THEN ARRAY[h.dimensions] ELSE ARRAY[h.dimensions, '{}'] END) AS d (dimensions)
        ORDER BY 1, 2, 3, 4, 5, h.recorded_at DESC, h.usage_id DESC;
END
$$;
COMMENT ON FUNCTION stormops_internal.latest_by_period() IS 'Of LATEST metrics the last event of each hour, day and month among those that are not rolled up. Of two events at one time the one with the greater usage_id is the later.';

CREATE FUNCTION stormops_internal.unique_by_period(
    OUT tenant_id uuid, OUT metric_name text, OUT grain text, OUT bucket timestamptz, OUT dimensions jsonb, OUT digest bytea
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM stormops.metrics AS m WHERE m.aggregation = 'UNIQUE') THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT DISTINCT e.tenant_id, e.metric_name, g.grain, date_trunc(g.grain, e.recorded_at, 'UTC'), d.dimensions,
            sha256(convert_to(e.dimensions ->> m.unique_dimension, 'UTF8'))
        FROM stormops.tenant_usage AS e
        JOIN stormops.usage_batches AS b ON b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL
        JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL (SELECT stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) UNION SELECT '{}') AS d (dimensions)
        WHERE e.batch_id >= (SELECT stormops_internal.first_batch(NULL)) AND m.aggregation = 'UNIQUE'
            AND e.dimensions ->> m.unique_dimension IS NOT NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.unique_by_period() IS 'Of UNIQUE metrics the different values of each hour, day and month among the events that are not rolled up.';
