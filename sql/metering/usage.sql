-- Usage as tenants and operators read it: rollups, and what is not rolled up yet.

CREATE FUNCTION stormops_internal.current_usage(
    tenant_id uuid, of_metric text, grain text, starts timestamptz, ends timestamptz,
    OUT metric_name text, OUT aggregation text, OUT bucket timestamptz, OUT quantity numeric, OUT event_count bigint
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH named (names) AS (
        SELECT array_agg(m.metric_name) FROM stormops.metrics AS m WHERE m.tenant_id = $1 AND ($2 IS NULL OR m.metric_name = $2)
    ), rolled AS (
        SELECT r.metric_name, r.bucket, r.aggregation, r.quantity, r.event_count, r.latest_at, r.latest_id
        FROM stormops.usage_rollups AS r
        WHERE r.tenant_id = $1 AND r.metric_name = ANY ((SELECT n.names FROM named AS n)::text[]) AND r.grain = $3
            AND r.bucket >= $4 AND r.bucket < $5 AND r.dimensions = '{}'
    ), fresh AS (
        SELECT e.metric_name, date_trunc($3, e.recorded_at, 'UTC') AS bucket, m.aggregation,
            count(*) AS n, sum(e.metric_value) AS total, max(e.metric_value) AS peak,
            (array_agg(e.metric_value ORDER BY e.recorded_at DESC, e.usage_id DESC))[1] AS latest,
            max(e.recorded_at) AS latest_at,
            (array_agg(e.usage_id ORDER BY e.recorded_at DESC, e.usage_id DESC))[1] AS latest_id,
            count(DISTINCT e.dimensions ->> m.unique_dimension) FILTER (WHERE NOT EXISTS (
                SELECT FROM stormops.usage_unique_values AS u
                WHERE u.tenant_id = $1 AND u.metric_name = e.metric_name AND u.grain = $3
                    AND u.bucket = date_trunc($3, e.recorded_at, 'UTC') AND u.dimensions = '{}'
                    AND u.digest = sha256(convert_to(e.dimensions ->> m.unique_dimension, 'UTF8'))
            )) AS others
        FROM stormops.tenant_usage AS e
        JOIN stormops.metrics AS m ON m.tenant_id = $1 AND m.metric_name = e.metric_name
        WHERE e.tenant_id = $1 AND e.metric_name = ANY ((SELECT n.names FROM named AS n)::text[])
            AND e.recorded_at >= $4 AND e.recorded_at < $5
            AND e.batch_id >= (SELECT stormops_internal.first_batch($1)) AND EXISTS (
                SELECT FROM stormops.usage_batches AS b WHERE b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL)
        GROUP BY 1, 2, 3
    )
    SELECT metric_name, aggregation, bucket,
        CASE aggregation
            WHEN 'SUM' THEN coalesce(r.quantity, 0) + coalesce(f.total, 0)
            WHEN 'MAX' THEN greatest(r.quantity, f.peak)
            WHEN 'COUNT' THEN coalesce(r.quantity, 0) + coalesce(f.n, 0)
            WHEN 'UNIQUE' THEN coalesce(r.quantity, 0) + coalesce(f.others, 0)
            ELSE CASE WHEN r.latest_at IS NULL OR (r.latest_at, r.latest_id) < (f.latest_at, f.latest_id) THEN f.latest ELSE r.quantity END
        END,
        coalesce(r.event_count, 0) + coalesce(f.n, 0)
    FROM rolled AS r
    FULL JOIN fresh AS f USING (metric_name, aggregation, bucket)
$$;
COMMENT ON FUNCTION stormops_internal.current_usage(uuid, text, text, timestamptz, timestamptz) IS 'A tenant''s usage by hour, day or month that starts in [starts, ends), of one metric or all (NULL), with what is not rolled up yet. Columns as in usage_rollups.';

CREATE FUNCTION stormops_internal.period_usage(
    tenant_id uuid, metric_name text, grain text, starts timestamptz, OUT quantity numeric, OUT event_count bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT u.quantity, u.event_count
    FROM stormops_internal.current_usage($1, $2, $3, $4, stormops_internal.next_period($3, $4)) AS u
$$;
COMMENT ON FUNCTION stormops_internal.period_usage(uuid, text, text, timestamptz) IS 'A metric''s usage in the hour, day or month (UTC) that starts then; NULL: none.';

CREATE FUNCTION stormops.get_tenant_usage(
    tenant_id uuid DEFAULT NULL, days integer DEFAULT 30,
    OUT metric_name text, OUT unit text, OUT aggregation text, OUT total numeric, OUT count bigint, OUT series jsonb
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
    starts timestamptz;
    ends timestamptz := stormops_internal.next_period('day', date_trunc('day', now() + interval '5 minutes', 'UTC'));
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF days IS NULL OR days NOT BETWEEN 1 AND 3660 THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'days must be 1 to 3660', HINT = 'SELECT * FROM stormops.get_tenant_usage(tenant_id, 30);';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    starts := date_trunc('day', now(), 'UTC') - make_interval(hours => 24 * (days - 1));
    RETURN QUERY
        SELECT m.metric_name, m.unit, m.aggregation,
            CASE m.aggregation
                WHEN 'MAX' THEN max(u.quantity)
                WHEN 'LATEST' THEN (array_agg(u.quantity ORDER BY u.bucket DESC))[1]
                WHEN 'UNIQUE' THEN (
                    SELECT count(*) FROM (
                        SELECT v.digest FROM stormops.usage_unique_values AS v
                        WHERE v.tenant_id = target AND v.metric_name = m.metric_name AND v.grain = 'day'
                            AND v.bucket >= starts AND v.bucket < ends AND v.dimensions = '{}'
                        UNION
                        SELECT sha256(convert_to(e.dimensions ->> m.unique_dimension, 'UTF8')) FROM stormops.tenant_usage AS e
                        WHERE e.tenant_id = target AND e.metric_name = m.metric_name AND e.recorded_at >= starts AND e.recorded_at < ends
                            AND e.batch_id >= (SELECT stormops_internal.first_batch(target)) AND EXISTS (
                                SELECT FROM stormops.usage_batches AS b
                                WHERE b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL)
                            AND e.dimensions ->> m.unique_dimension IS NOT NULL
                    ) AS d)
                ELSE sum(u.quantity)
            END,
            sum(u.event_count)::bigint,
            jsonb_agg(jsonb_build_object('day', to_char(u.bucket AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'quantity', u.quantity, 'count', u.event_count)
                ORDER BY u.bucket)
        FROM stormops_internal.current_usage(target, NULL, 'day', starts, ends) AS u
        JOIN stormops.metrics AS m ON m.tenant_id = target AND m.metric_name = u.metric_name
        GROUP BY m.metric_name, m.unit, m.aggregation, m.unique_dimension
        ORDER BY m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.get_tenant_usage(uuid, integer) IS 'Usage of the last days (1 to 3660, today included, UTC), one row a metric: total (by the metric''s aggregation, in its unit), count (events), series (array of {day, quantity, count}, oldest first). Includes events not rolled up yet. tenant_id NULL: the one in context, for its admins; operators: any. Errors: 22004; 22023 days; 42501 another tenant, not an admin; P0002 no such tenant.';
