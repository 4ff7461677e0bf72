-- Rollups: incremental, and exactly once.

CREATE FUNCTION stormops_internal.next_period(grain text, starts timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT ($2 AT TIME ZONE 'UTC' + ('1 ' || $1)::interval) AT TIME ZONE 'UTC' $$;
COMMENT ON FUNCTION stormops_internal.next_period(text, timestamptz) IS 'Start of the hour, day or month (UTC) after the one that starts then.';

CREATE FUNCTION stormops.usage_watermark() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT p.watermark FROM stormops_internal.metering_progress AS p $$;
COMMENT ON FUNCTION stormops.usage_watermark() IS 'Every committed event whose usage_seq is not above this is in usage_rollups, and no other.';

CREATE FUNCTION stormops_internal.fold_usage(after bigint, upto bigint, OUT events bigint, OUT buckets bigint)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH hours AS MATERIALIZED (
        SELECT u.* FROM stormops_internal.usage_by_hour($1, $2) AS u
    ), folded AS (
        INSERT INTO stormops.usage_rollups AS r
            (tenant_id, metric_name, grain, bucket, dimensions, aggregation, quantity, event_count)
        SELECT h.tenant_id, h.metric_name, g.grain, date_trunc(g.grain, h.hour, 'UTC'), d.dimensions, h.aggregation,
            CASE h.aggregation WHEN 'SUM' THEN sum(h.total) WHEN 'COUNT' THEN sum(h.n) WHEN 'MAX' THEN max(h.peak) ELSE 0 END, sum(h.n)
        FROM hours AS h
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL unnest(CASE h.dimensions WHEN '{}' THEN ARRAY[h.dimensions] ELSE ARRAY[h.dimensions, '{}'] END) AS d (dimensions)
        GROUP BY 1, 2, 3, 4, 5, 6
        ON CONFLICT ON CONSTRAINT usage_rollups_pkey DO UPDATE SET
            quantity = CASE r.aggregation WHEN 'MAX' THEN greatest(r.quantity, excluded.quantity) ELSE r.quantity + excluded.quantity END,
            event_count = r.event_count + excluded.event_count
        RETURNING 1
    )
    SELECT (SELECT coalesce(sum(h.n), 0)::bigint FROM hours AS h), (SELECT count(*) FROM folded)
$$;
COMMENT ON FUNCTION stormops_internal.fold_usage(bigint, bigint) IS 'Adds the events with after < usage_seq <= upto to the rollups; leaves the quantities of LATEST and UNIQUE to fold_latest() and fold_unique().';

CREATE FUNCTION stormops_internal.fold_latest(after bigint, upto bigint) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH hours AS MATERIALIZED (
        SELECT DISTINCT ON (1, 2, 3, 4)
            e.tenant_id, e.metric_name, date_trunc('hour', e.recorded_at, 'UTC') AS hour,
            stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) AS dimensions, e.metric_value, e.recorded_at, e.usage_id
        FROM stormops.tenant_usage AS e
        JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
        WHERE e.usage_seq > $1 AND e.usage_seq <= $2 AND m.aggregation = 'LATEST'
        ORDER BY 1, 2, 3, 4, e.recorded_at DESC, e.usage_id DESC
    )
    UPDATE stormops.usage_rollups AS r
    SET quantity = l.metric_value, latest_at = l.recorded_at, latest_id = l.usage_id
    FROM (
        SELECT DISTINCT ON (1, 2, 3, 4, 5)
            h.tenant_id, h.metric_name, g.grain, date_trunc(g.grain, h.hour, 'UTC') AS bucket, d.dimensions,
            h.metric_value, h.recorded_at, h.usage_id
        FROM hours AS h
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL unnest(CASE h.dimensions WHEN '{}' THEN ARRAY[h.dimensions] ELSE ARRAY[h.dimensions, '{}'] END) AS d (dimensions)
        ORDER BY 1, 2, 3, 4, 5, h.recorded_at DESC, h.usage_id DESC
    ) AS l
    WHERE (r.tenant_id, r.metric_name, r.grain, r.bucket, r.dimensions) = (l.tenant_id, l.metric_name, l.grain, l.bucket, l.dimensions)
        AND (r.latest_at IS NULL OR (r.latest_at, r.latest_id) < (l.recorded_at, l.usage_id))
$$;
COMMENT ON FUNCTION stormops_internal.fold_latest(bigint, bigint) IS 'Sets the quantities of LATEST metrics after fold_usage(). Of two events at one time the one with the greater usage_id is the later.';

CREATE FUNCTION stormops_internal.fold_unique(after bigint, upto bigint) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH fresh AS (
        INSERT INTO stormops.usage_unique_values AS u (tenant_id, metric_name, grain, bucket, dimensions, digest)
        SELECT DISTINCT e.tenant_id, e.metric_name, g.grain, date_trunc(g.grain, e.recorded_at, 'UTC'), d.dimensions,
            sha256(convert_to(e.dimensions ->> m.unique_dimension, 'UTF8'))
        FROM stormops.tenant_usage AS e
        JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL (SELECT stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) UNION SELECT '{}') AS d (dimensions)
        WHERE e.usage_seq > $1 AND e.usage_seq <= $2 AND m.aggregation = 'UNIQUE' AND e.dimensions ->> m.unique_dimension IS NOT NULL
        ON CONFLICT DO NOTHING
        RETURNING u.tenant_id, u.metric_name, u.grain, u.bucket, u.dimensions
    )
    UPDATE stormops.usage_rollups AS r SET quantity = r.quantity + f.n
    FROM (
        SELECT u.tenant_id, u.metric_name, u.grain, u.bucket, u.dimensions, count(*) AS n FROM fresh AS u GROUP BY 1, 2, 3, 4, 5
    ) AS f
    WHERE (r.tenant_id, r.metric_name, r.grain, r.bucket, r.dimensions) = (f.tenant_id, f.metric_name, f.grain, f.bucket, f.dimensions)
$$;
COMMENT ON FUNCTION stormops_internal.fold_unique(bigint, bigint) IS 'Counts the new values of UNIQUE metrics after fold_usage(), exactly.';

CREATE FUNCTION stormops_internal.raise_quota_alerts() RETURNS bigint
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH raised AS (
        INSERT INTO stormops.quota_alerts (tenant_id, metric_name, period, period_start, threshold, kind, quota, used)
        SELECT r.tenant_id, r.metric_name, r.grain, r.bucket, a.threshold, e.kind, e.quota, r.quantity
        FROM stormops_internal.every_quota() AS e
        -- This period, and the last, whose end may have been folded just now.
        CROSS JOIN LATERAL (
            SELECT date_trunc(e.period, now(), 'UTC') UNION ALL
            SELECT date_trunc(e.period, date_trunc(e.period, now(), 'UTC') - interval '1 minute', 'UTC')
        ) AS p (starts)
        CROSS JOIN (VALUES (80), (100)) AS a (threshold)
        JOIN stormops.usage_rollups AS r ON r.tenant_id = e.tenant_id AND r.metric_name = e.metric_name
            AND r.grain = e.period AND r.bucket = p.starts AND r.dimensions = '{}'
        WHERE r.quantity > 0 AND r.quantity >= e.quota * a.threshold / 100
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*) FROM raised
$$;
COMMENT ON FUNCTION stormops_internal.raise_quota_alerts() IS 'Writes to quota_alerts, once for each period, that rolled up usage of this period or the last reached 80 or 100 percent of a quota. Returns how many are new.';

CREATE FUNCTION stormops.rollup_usage(OUT events bigint, OUT buckets bigint, OUT alerts bigint, OUT watermark bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    before bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- Two at once stand in line here, and the second finds how far the first has come.
    SELECT p.watermark INTO before FROM stormops_internal.metering_progress AS p FOR UPDATE;
    SELECT greatest(before, CASE WHEN o.is_called THEN o.last_value ELSE 0 END) INTO watermark FROM stormops.usage_order AS o;
    PERFORM stormops_internal.await_writers('stormops.tenant_usage'::regclass::oid);
    SELECT f.events, f.buckets INTO events, buckets FROM stormops_internal.fold_usage(before, watermark) AS f;
    IF events > 0 AND EXISTS (SELECT FROM stormops.metrics AS m WHERE m.aggregation = 'LATEST') THEN
        PERFORM stormops_internal.fold_latest(before, watermark);
    END IF;
    IF events > 0 AND EXISTS (SELECT FROM stormops.metrics AS m WHERE m.aggregation = 'UNIQUE') THEN
        PERFORM stormops_internal.fold_unique(before, watermark);
    END IF;
    alerts := stormops_internal.raise_quota_alerts();
    UPDATE stormops_internal.metering_progress AS p SET watermark = rollup_usage.watermark, folded_at = now();
END
$$;
COMMENT ON FUNCTION stormops.rollup_usage() IS 'Adds what was metered since the last call to usage_rollups and raises quota alerts: all or nothing, each event once. Waits for transactions that are writing usage. Returns events, buckets (rollups changed), alerts (new), watermark (see usage_watermark()). For operators and schedules. Errors: 25000 not READ COMMITTED; 55P03 lock_timeout.';
