-- From events to hours: the labels by which they are rolled up, and the one scan that groups them.

CREATE FUNCTION stormops.rollup_label(dimensions jsonb, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT left($1 ->> $2, 100) $$;
COMMENT ON FUNCTION stormops.rollup_label(jsonb, text) IS 'The value of a dimension by which an event is rolled up, at most 100 characters, so that the key of a rollup fits its index whatever an event carries.';

CREATE FUNCTION stormops.rollup_labels(names text[], one text, two text, three text, four text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(jsonb_object_agg(n.name, n.label), '{}') FROM unnest($1, (ARRAY[$2, $3, $4, $5])[:cardinality($1)]) AS n (name, label)
$$;
COMMENT ON FUNCTION stormops.rollup_labels(text[], text, text, text, text) IS 'The dimensions of a rollup with their values, null where an event had none; {} where the metric has none.';

CREATE FUNCTION stormops.event_labels(dimensions jsonb, names text[]) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE cardinality($2) WHEN 0 THEN '{}'
        WHEN 1 THEN jsonb_build_object($2[1], stormops.rollup_label($1, $2[1]))
        ELSE jsonb_build_object($2[1], stormops.rollup_label($1, $2[1]), $2[2], stormops.rollup_label($1, $2[2]))
            || CASE WHEN cardinality($2) > 2 THEN jsonb_build_object($2[3], stormops.rollup_label($1, $2[3])) ELSE '{}' END
            || CASE WHEN cardinality($2) > 3 THEN jsonb_build_object($2[4], stormops.rollup_label($1, $2[4])) ELSE '{}' END
    END
$$;
COMMENT ON FUNCTION stormops.event_labels(jsonb, text[]) IS 'The rollup_dimensions of an event with their values, as rollups have them.';

CREATE FUNCTION stormops.usage_by_hour(
    after bigint, upto bigint,
    OUT tenant_id uuid, OUT metric_name text, OUT aggregation text, OUT hour timestamptz, OUT dimensions jsonb, OUT total numeric, OUT peak numeric,
    OUT n bigint
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_sort = off -- groups are few and events many: to hash them is far cheaper, and the planner cannot know
    SET plan_cache_mode = force_custom_plan
    AS $$
#variable_conflict use_column
BEGIN
    -- A statement of its own, since one that writes is not computed in parallel.
    RETURN QUERY
        SELECT g.tenant_id, g.metric_name, m.aggregation, g.hour,
            stormops.rollup_labels(m.rollup_dimensions, g.one, g.two, g.three, g.four), g.total, g.peak, g.n
        FROM (
            SELECT e.tenant_id, e.metric_name, date_trunc('hour', e.recorded_at, 'UTC') AS hour,
                stormops.rollup_label(e.dimensions, m.rollup_dimensions[1]) AS one,
                stormops.rollup_label(e.dimensions, m.rollup_dimensions[2]) AS two,
                stormops.rollup_label(e.dimensions, m.rollup_dimensions[3]) AS three,
                stormops.rollup_label(e.dimensions, m.rollup_dimensions[4]) AS four,
                sum(e.metric_value) AS total, max(e.metric_value) AS peak, count(*) AS n
            FROM stormops.tenant_usage AS e
            JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
            WHERE e.usage_seq > after AND e.usage_seq <= upto
            GROUP BY 1, 2, 3, 4, 5, 6, 7
        ) AS g
        JOIN stormops.metrics AS m ON m.tenant_id = g.tenant_id AND m.metric_name = g.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.usage_by_hour(bigint, bigint) IS 'The events with after < usage_seq <= upto by tenant, metric, hour (UTC) and rollup dimensions: their sum, greatest value and number.';
