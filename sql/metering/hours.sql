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

CREATE FUNCTION stormops_internal.usage_by_hour(
    after bigint, upto bigint,
    OUT tenant_id uuid, OUT metric_name text, OUT aggregation text, OUT hour timestamptz, OUT dimensions jsonb, OUT total numeric, OUT peak numeric,
    OUT n bigint
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_sort = off -- groups are few and events many: to hash them is far cheaper, and the planner cannot know
    SET plan_cache_mode = force_generic_plan -- statistics from before the new events would say that there are none
    AS $$
#variable_conflict use_column
BEGIN
    -- A statement of its own, since one that writes is not computed in parallel.
    RETURN QUERY
        SELECT g.tenant_id, g.metric_name, m.aggregation, g.hour,
            stormops_internal.rollup_labels(g.key, m.rollup_dimensions), g.total, g.peak, g.n
        FROM (
            SELECT e.tenant_id, e.metric_name,
                date_bin('1 hour', e.recorded_at, '2000-01-01 00:00:00+00') AS hour, -- a division, where date_trunc() looks up names
                stormops_internal.rollup_key(e.dimensions, m.rollup_dimensions) AS key,
                sum(e.metric_value) AS total, max(e.metric_value) AS peak, count(*) AS n
            FROM stormops.tenant_usage AS e
            -- Each event has its metric: what LEFT and + 0 say to the planner is that the rows stay many, and so are
            -- added up where they are read. Of two bounds, and of a join, it would think that they leave next to nothing.
            LEFT JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
            WHERE e.usage_seq > after AND e.usage_seq + 0 <= upto
            GROUP BY 1, 2, 3, 4
        ) AS g
        JOIN stormops.metrics AS m ON m.tenant_id = g.tenant_id AND m.metric_name = g.metric_name;
END
$$;
COMMENT ON FUNCTION stormops_internal.usage_by_hour(bigint, bigint) IS 'The events with after < usage_seq <= upto by tenant, metric, hour (UTC) and rollup dimensions: their sum, greatest value and number.';
