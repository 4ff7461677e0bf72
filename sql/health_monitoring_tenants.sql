-- What Prometheus, the exporter and Grafana read of each tenant that is not closed. Names that a
-- tenant gave are no labels: they are not an operator's to read, and there may be any number.

CREATE FUNCTION stormops.monitor_tenant(OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT info integer) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.tenant_id, t.org_name, t.tier, t.status, 1 FROM stormops.list_tenants() AS t WHERE t.status <> 'closed'
$$;
COMMENT ON FUNCTION stormops.monitor_tenant() IS 'Of monitoring_samples(): name, tier and status of each tenant, to join to the others by tenant_id; info is always 1.';

CREATE FUNCTION stormops.monitor_tenant_usage(OUT tenant_id uuid, OUT metric_name text, OUT events_total bigint, OUT quantity numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, m.metric_name, coalesce(r.event_count, 0), coalesce(r.quantity, 0)
        FROM stormops.tenants AS t
        CROSS JOIN stormops.default_metrics() AS m
        LEFT JOIN LATERAL (
            SELECT r.event_count, r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = t.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month'
                AND r.bucket = date_trunc('month', now(), 'UTC') AND r.dimensions = '{}' OFFSET 0) AS r ON true
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_usage() IS 'Of monitoring_samples(): this month''s (UTC) use by the rollups, for the metrics of default_metrics(), in their units.';

CREATE FUNCTION stormops.monitor_tenant_storage(OUT tenant_id uuid, OUT bytes numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, r.quantity * 1048576
        FROM stormops.tenants AS t
        CROSS JOIN LATERAL (
            SELECT r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = t.tenant_id AND r.metric_name = 'storage_mb' AND r.grain = 'day' AND r.dimensions = '{}'
            ORDER BY r.bucket DESC LIMIT 1) AS r
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_storage() IS 'Of monitoring_samples(): the last day''s storage_mb by the rollups, in bytes; no row for a tenant whose storage was never metered.';

CREATE FUNCTION stormops.monitor_tenant_quota(
    OUT tenant_id uuid, OUT metric_name text, OUT period text, OUT kind text, OUT used_ratio numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops.visit_all_tenants();
    RETURN QUERY
        SELECT l.tenant_id, l.metric_name, e.period, e.kind,
            CASE WHEN e.quota > 0 THEN round(coalesce(r.quantity, 0) / e.quota, 6) ELSE (r.quantity > 0)::integer END
        FROM (
            SELECT t.tenant_id, q.metric_name FROM stormops.tenants AS t JOIN stormops.quotas AS q ON q.tenant_id = t.tenant_id WHERE t.status <> 'closed'
            UNION
            SELECT t.tenant_id, d.metric_name FROM stormops.tenants AS t JOIN stormops.tier_quotas AS d ON d.tier = t.tier WHERE t.status <> 'closed'
        ) AS l
        CROSS JOIN LATERAL stormops.effective_quotas(l.tenant_id, l.metric_name) AS e
        LEFT JOIN LATERAL (
            SELECT r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = l.tenant_id AND r.metric_name = l.metric_name AND r.grain = e.period
                AND r.bucket = date_trunc(e.period, now(), 'UTC') AND r.dimensions = '{}' OFFSET 0) AS r ON true
        WHERE e.quota IS NOT NULL;
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_quota() IS 'Of monitoring_samples(): the share of each quota, the tenant''s own or its tier''s, that the current period (UTC) has used by the rollups; 1 and more: it is reached. Of a quota of nothing: 1 once anything is used.';

CREATE FUNCTION stormops.monitor_tenant_expectations(OUT tenant_id uuid, OUT active bigint, OUT failing bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, count(e.expectation_id), count(e.expectation_id) FILTER (WHERE e.judged_status = 'failed')
        FROM stormops.tenants AS t LEFT JOIN stormops.expectations AS e ON e.tenant_id = t.tenant_id AND e.active
        WHERE t.status <> 'closed'
        GROUP BY t.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_expectations() IS 'Of monitoring_samples(): expectations that are judged, and those that failed when last judged.';

CREATE FUNCTION stormops.monitor_tenant_quality(OUT tenant_id uuid, OUT judged_rows bigint, OUT failing_ratio numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops.visit_all_tenants();
    RETURN QUERY
        SELECT o.tenant_id, o.rows_judged, o.failing_share
        FROM stormops.quality_objective(NULL) AS o JOIN stormops.tenants AS t ON t.tenant_id = o.tenant_id
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_quality() IS 'Of monitoring_samples(): the platform''s objective, as quality_objective(): rows judged in the last 24 hours and the share that failed. No row where none was judged.';

CREATE FUNCTION stormops.service_levels_by_tenant(
    scope uuid, days integer, OUT tenant_id uuid, OUT call text, OUT calls bigint, OUT p50 numeric, OUT p95 numeric, OUT p99 numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
    WITH named AS MATERIALIZED (
        SELECT c.table_name, c.call FROM stormops.counted_tables() AS c WHERE c.call IS NOT NULL
    ), classes AS (
        SELECT c.tenant_id, c.call, c.class, sum(c.calls) AS calls
        FROM (
            -- Looked up by the key, day by day, so that a long history costs nothing.
            SELECT t.tenant_id, n.call, h.class, h.calls
            FROM stormops.tenants AS t CROSS JOIN named AS n CROSS JOIN LATERAL (
                SELECT h.class, h.calls FROM stormops.call_durations AS h
                WHERE h.tenant_id = t.tenant_id AND h.table_name = n.table_name AND h.day >= (now() AT TIME ZONE 'UTC')::date - $2 OFFSET 0) AS h
            WHERE $1 IS NULL OR t.tenant_id = $1
            UNION ALL
            SELECT t.tenant_id, n.call, stormops.duration_class(d.took_ms), 1
            FROM stormops.tenants AS t CROSS JOIN LATERAL (
                SELECT d.table_name, d.took_ms FROM stormops.row_count_deltas AS d
                WHERE d.tenant_id = t.tenant_id AND d.took_ms IS NOT NULL
                    AND d.happened_at >= date_trunc('day', now(), 'UTC') - make_interval(days => $2) OFFSET 0) AS d
            JOIN named AS n ON n.table_name = d.table_name
            WHERE $1 IS NULL OR t.tenant_id = $1
        ) AS c
        GROUP BY c.tenant_id, c.call, c.class
    ), ranked AS (
        SELECT c.tenant_id, c.call, sum(c.calls) OVER (PARTITION BY c.tenant_id, c.call ORDER BY c.class) AS up_to,
            sum(c.calls) OVER (PARTITION BY c.tenant_id, c.call) AS calls, round((10.0 ^ (c.class / 20.0 - 3))::numeric, 3) AS milliseconds
        FROM classes AS c
    )
    SELECT r.tenant_id, r.call, max(r.calls)::bigint, min(r.milliseconds) FILTER (WHERE r.up_to >= 0.50 * r.calls),
        min(r.milliseconds) FILTER (WHERE r.up_to >= 0.95 * r.calls), min(r.milliseconds) FILTER (WHERE r.up_to >= 0.99 * r.calls)
    FROM ranked AS r GROUP BY r.tenant_id, r.call
$$;
COMMENT ON FUNCTION stormops.service_levels_by_tenant(uuid, integer) IS 'service_levels() of one tenant, or with NULL of all that the caller sees.';

CREATE FUNCTION stormops.monitor_tenant_service(
    OUT tenant_id uuid, OUT call text, OUT recent_calls bigint, OUT p50_seconds numeric, OUT p95_seconds numeric, OUT p99_seconds numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, l.call, l.calls, l.p50 / 1000, l.p95 / 1000, l.p99 / 1000
        FROM stormops.service_levels_by_tenant(NULL, 1) AS l JOIN stormops.tenants AS t ON t.tenant_id = l.tenant_id
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_service() IS 'Of monitoring_samples(): service_levels() of yesterday and today (UTC), in seconds. No row for a call that was not made.';

CREATE FUNCTION stormops.usage_by_day(
    since timestamptz, until timestamptz,
    OUT day timestamptz, OUT tenant_id uuid, OUT org_name text, OUT metric_name text, OUT unit text, OUT events bigint, OUT quantity numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops.visit_all_tenants();
    IF since IS NULL OR until IS NULL OR NOT isfinite(since) OR NOT isfinite(until) OR until < since OR until - since > interval '400 days' THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN num_nulls(since, until) > 0 THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'usage by day is shown for at most 400 days, from the earlier to the later',
            HINT = 'SELECT * FROM stormops.usage_by_day(now() - interval ''30 days'', now());';
    END IF;
    RETURN QUERY
        SELECT r.bucket, t.tenant_id, t.org_name, m.metric_name, m.unit, r.event_count, r.quantity
        FROM stormops.tenants AS t
        JOIN stormops.metrics AS m ON m.tenant_id = t.tenant_id
        CROSS JOIN LATERAL (
            SELECT r.bucket, r.event_count, r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'day' AND r.dimensions = '{}'
                AND r.bucket >= date_trunc('day', since, 'UTC') AND r.bucket <= until) AS r
        ORDER BY r.bucket, t.org_name, t.tenant_id, m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.usage_by_day(timestamptz, timestamptz) IS 'Use by day (UTC), tenant and metric between two moments, at most 400 days, by the rollups: what usage_overview() sums by month, as a series for a chart. For operators and monitors. Errors: 22004; 22023.';
