-- The proof that rollups are what one scan of the raw events gives.

CREATE FUNCTION stormops.verify_rollups(
    OUT tenant_id uuid, OUT metric_name text, OUT grain text, OUT bucket timestamptz, OUT dimensions jsonb,
    OUT rolled_up numeric, OUT from_events numeric, OUT rolled_up_count bigint, OUT from_events_count bigint
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_sort = off -- as in usage_by_hour()
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        WITH event AS (
            SELECT e.tenant_id, e.metric_name, m.aggregation, e.metric_value, e.recorded_at, e.usage_id,
                date_trunc('hour', e.recorded_at, 'UTC') AS hour, date_trunc('day', e.recorded_at, 'UTC') AS day,
                date_trunc('month', e.recorded_at, 'UTC') AS month,
                stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) AS dimensions, e.dimensions ->> m.unique_dimension AS label
            FROM stormops.tenant_usage AS e
            JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
            WHERE NOT EXISTS (
                SELECT FROM stormops.usage_batches AS b WHERE b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL)
        ), raw AS (
            SELECT e.tenant_id, e.metric_name, e.hour, e.day, e.month, e.dimensions,
                CASE e.aggregation WHEN 'SUM' THEN sum(e.metric_value) WHEN 'COUNT' THEN count(*) ELSE max(e.metric_value) END AS quantity,
                count(*) AS n
            FROM event AS e WHERE e.aggregation IN ('SUM', 'COUNT', 'MAX')
            GROUP BY e.tenant_id, e.metric_name, e.aggregation, GROUPING SETS (
                (e.hour, e.dimensions), (e.day, e.dimensions), (e.month, e.dimensions), e.hour, e.day, e.month)
            UNION ALL
            SELECT e.tenant_id, e.metric_name, e.hour, e.day, e.month, e.dimensions,
                (array_agg(e.metric_value ORDER BY e.recorded_at DESC, e.usage_id DESC))[1], count(*)
            FROM event AS e WHERE e.aggregation = 'LATEST'
            GROUP BY e.tenant_id, e.metric_name, GROUPING SETS (
                (e.hour, e.dimensions), (e.day, e.dimensions), (e.month, e.dimensions), e.hour, e.day, e.month)
            UNION ALL
            SELECT e.tenant_id, e.metric_name, e.hour, e.day, e.month, e.dimensions, count(DISTINCT e.label), count(*)
            FROM event AS e WHERE e.aggregation = 'UNIQUE'
            GROUP BY e.tenant_id, e.metric_name, GROUPING SETS (
                (e.hour, e.dimensions), (e.day, e.dimensions), (e.month, e.dimensions), e.hour, e.day, e.month)
        ), proved AS (
            SELECT w.tenant_id, w.metric_name,
                CASE WHEN w.hour IS NOT NULL THEN 'hour' WHEN w.day IS NOT NULL THEN 'day' ELSE 'month' END AS grain,
                coalesce(w.hour, w.day, w.month) AS bucket, coalesce(w.dimensions, '{}') AS dimensions, w.quantity, w.n
            FROM raw AS w
            WHERE w.dimensions IS DISTINCT FROM '{}' -- of a metric without dimensions, all together come once
        ), rolled AS (
            SELECT r.tenant_id, r.metric_name, r.grain, r.bucket, r.dimensions, r.quantity, r.event_count AS n
            FROM stormops.usage_rollups AS r
            WHERE r.bucket >= (SELECT p.kept_from FROM stormops_internal.metering_progress AS p)
        )
        SELECT tenant_id, metric_name, grain, bucket, dimensions, l.quantity, w.quantity, l.n, w.n
        FROM rolled AS l
        FULL JOIN proved AS w USING (tenant_id, metric_name, grain, bucket, dimensions)
        WHERE (l.quantity, l.n) IS DISTINCT FROM (w.quantity, w.n)
        ORDER BY 1, 2, 3, 4, 5;
END
$$;
COMMENT ON FUNCTION stormops.verify_rollups() IS 'Computes every rollup again from the raw events that are rolled up, in one snapshot and by another way than rollup_usage(), and returns those that differ: rolled_up and from_events (quantities), and the counts of events; NULL where one of them is missing. No row: all are proved. From metering_progress.kept_from on, since older raw events are dropped. Reads all raw events.';
