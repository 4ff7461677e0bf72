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
    SET jit = off -- compiling takes longer than looking
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
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
    PERFORM stormops_internal.visit_all_tenants();
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
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT u.tenant_id, u.metric_name, u.period, u.kind, u.share FROM stormops_internal.quota_use(NULL) AS u;
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_quota() IS 'Of monitoring_samples(): the share of each quota, the tenant''s own or its tier''s, that the current period (UTC) has used by the rollups; 1 and more: it is reached. Of a quota of nothing: 1 once anything is used.';

CREATE FUNCTION stormops.monitor_tenant_expectations(OUT tenant_id uuid, OUT active bigint, OUT failing bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
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
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT o.tenant_id, o.rows_judged, o.failing_share
        FROM stormops_internal.quality_objective(NULL) AS o JOIN stormops.tenants AS t ON t.tenant_id = o.tenant_id
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_quality() IS 'Of monitoring_samples(): the platform''s objective: rows judged in the last 24 hours and the share of them that failed (below 0.01). No row where none was judged.';

CREATE FUNCTION stormops.monitor_tenant_service(
    OUT tenant_id uuid, OUT call text, OUT recent_calls bigint, OUT p50_seconds numeric, OUT p95_seconds numeric, OUT p99_seconds numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, l.call, l.calls, l.p50 / 1000, l.p95 / 1000, l.p99 / 1000
        FROM stormops_internal.call_levels(NULL, 1) AS l JOIN stormops.tenants AS t ON t.tenant_id = l.tenant_id
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_service() IS 'Of monitoring_samples(): how long the calls that write took yesterday and today (UTC): p50, p95, p99, in seconds. No row for a call that was not made.';

CREATE FUNCTION stormops.usage_by_day(
    since timestamptz, until timestamptz,
    OUT day timestamptz, OUT tenant_id uuid, OUT org_name text, OUT metric_name text, OUT unit text, OUT events bigint, OUT quantity numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
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
