-- How a tenant is served, and who waits longest.

CREATE FUNCTION stormops.get_tenant_metrics(
    tenant_id uuid DEFAULT NULL, days integer DEFAULT 7,
    OUT "tenant" uuid, OUT events numeric, OUT model_calls numeric, OUT storage numeric, OUT usage jsonb, OUT "rows" jsonb, OUT rows_added bigint,
    OUT quality jsonb, OUT open_alerts bigint, OUT service_levels jsonb
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    target uuid := CASE WHEN tenant_id IS NOT NULL AND stormops_internal.may_monitor() THEN tenant_id ELSE stormops_internal.target_tenant(tenant_id, false) END;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    days := coalesce(days, 7);
    PERFORM stormops_internal.visit_all_tenants();
    IF days IS NULL OR days NOT BETWEEN 1 AND 60 THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'days must be 1 to 60', HINT = 'SELECT * FROM stormops.get_tenant_metrics(tenant_id, 7);';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    tenant := target;
    SELECT coalesce(sum(u.n), 0), coalesce(sum(u.total) FILTER (WHERE u.metric_name = 'model_call'), 0),
        max(u.latest) FILTER (WHERE u.metric_name = 'storage_mb'),
        coalesce(jsonb_object_agg(u.metric_name, jsonb_build_object('events', u.n, 'total', u.total)), '{}')
    INTO events, model_calls, storage, usage
    FROM (
        SELECT m.metric_name, count(*) AS n, sum(m.metric_value) AS total,
            (array_agg(m.metric_value ORDER BY m.recorded_at DESC))[1] AS latest
        FROM stormops.tenant_usage AS m
        WHERE m.tenant_id = target AND m.recorded_at >= now() - make_interval(days => days)
        GROUP BY m.metric_name
    ) AS u;
    SELECT coalesce(jsonb_object_agg(c.table_name, c.total_rows), '{}') INTO "rows"
    FROM stormops_internal.tenant_row_counts() AS c WHERE c.tenant_id = target;
    SELECT coalesce(sum(b.inserted), 0) INTO rows_added
    FROM (
        SELECT c.inserted FROM stormops.row_counts AS c WHERE c.tenant_id = target AND c.bucket >= date_trunc('day', now(), 'UTC') - make_interval(days => days)
        UNION ALL SELECT d.inserted FROM stormops.row_count_deltas AS d
        WHERE d.tenant_id = target AND d.happened_at >= date_trunc('day', now(), 'UTC') - make_interval(days => days)
    ) AS b;
    SELECT to_jsonb(o) - 'tenant_id' INTO quality FROM stormops_internal.quality_objective(target) AS o;
    SELECT count(*) INTO open_alerts FROM stormops.alerts AS a WHERE a.tenant_id = target AND a.resolved_at IS NULL;
    SELECT coalesce(jsonb_object_agg(l.call, jsonb_build_object('calls', l.calls, 'p50_ms', l.p50, 'p95_ms', l.p95, 'p99_ms', l.p99)), '{}')
    INTO service_levels FROM stormops_internal.service_levels(target, days) AS l;
END
$$;
COMMENT ON FUNCTION stormops.get_tenant_metrics(uuid, integer) IS 'How one tenant is served over the last days (1 to 60), in one row: events and model_calls metered, storage (MB), usage, rows, rows_added, quality, open_alerts, service_levels (ms). Operators and monitors: any tenant; admins: their own. Errors: 0B000 no tenant; 22004; 22023 days; 42501 another tenant, not an admin; P0002 no such tenant.';

CREATE FUNCTION stormops_internal.call_levels(
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
            SELECT t.tenant_id, n.call, stormops_internal.duration_class(d.took_ms), 1
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
COMMENT ON FUNCTION stormops_internal.call_levels(uuid, integer) IS 'service_levels() of one tenant, or with NULL of all that the caller sees.';

CREATE FUNCTION stormops_internal.service_levels(
    tenant_id uuid, days integer, OUT call text, OUT calls bigint, OUT p50 numeric, OUT p95 numeric, OUT p99 numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT l.call, l.calls, l.p50, l.p95, l.p99 FROM stormops_internal.call_levels($1, $2) AS l WHERE $1 IS NOT NULL $$;
COMMENT ON FUNCTION stormops_internal.service_levels(uuid, integer) IS 'How long a tenant''s calls took that wrote something: p50, p95, p99 in milliseconds, each at most 12 % too high (classes of a histogram). Measured by the counters'' triggers from the start of the client''s statement to the end of its insertion, commit excluded: apply_policy, record_outcomes, create_experiment, assign_experiment, record_usage, add_user. Calls that fail or only read are not measured.';

CREATE FUNCTION stormops.slowest_calls(
    most integer DEFAULT 5, days integer DEFAULT 1,
    OUT tenant_id uuid, OUT call text, OUT calls bigint, OUT p50_ms numeric, OUT p95_ms numeric, OUT p99_ms numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    most := coalesce(most, 5);
    days := coalesce(days, 1);
    IF most IS NULL OR days IS NULL OR most NOT BETWEEN 1 AND 1000 OR days NOT BETWEEN 1 AND 60 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN most IS NULL OR days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'most must be 1 to 1000 and days 1 to 60', HINT = 'SELECT * FROM stormops.slowest_calls(5, 7);';
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT l.tenant_id, l.call, l.calls, l.p50, l.p95, l.p99 FROM stormops_internal.call_levels(NULL, days) AS l
        ORDER BY l.p95 DESC, l.p99 DESC, l.calls DESC, l.tenant_id, l.call LIMIT most;
END
$$;
COMMENT ON FUNCTION stormops.slowest_calls(integer, integer) IS 'The tenants and calls that wait longest, by p95 over so many days (1 to 60): at most so many rows (1 to 1000), with calls and p50, p95, p99 in milliseconds. No name and no row of a tenant. For operators and monitors. Errors: 22004; 22023.';
