-- Rollups: incremental, and exactly once.

CREATE FUNCTION stormops_internal.next_period(grain text, starts timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT ($2 AT TIME ZONE 'UTC' + ('1 ' || $1)::interval) AT TIME ZONE 'UTC' $$;
COMMENT ON FUNCTION stormops_internal.next_period(text, timestamptz) IS 'Start of the hour, day or month (UTC) after the one that starts then.';

CREATE FUNCTION stormops_internal.late_batches(OUT tenant_id uuid, OUT batch_id uuid, OUT mark bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_nestloop = off
    AS $$
#variable_conflict use_column
DECLARE
    invoiced constant timestamptz := (
        SELECT stormops_internal.month_start((max(i.period) + interval '1 month')::date) FROM stormops.invoices AS i WHERE i.kind = 'invoice');
BEGIN
    IF invoiced IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT l.tenant_id, l.batch_id, (SELECT k.mark FROM stormops_internal.next_marks(ARRAY[l.tenant_id]) AS k)
        FROM (
            SELECT DISTINCT e.tenant_id, e.batch_id
            FROM stormops.tenant_usage AS e
            JOIN stormops.usage_batches AS b ON b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL
            JOIN stormops.invoices AS i ON i.tenant_id = e.tenant_id AND i.kind = 'invoice'
                AND i.period = date_trunc('month', e.recorded_at AT TIME ZONE 'UTC')::date
            WHERE e.batch_id >= (SELECT stormops_internal.first_batch(NULL)) AND e.recorded_at < invoiced
        ) AS l;
END
$$;
COMMENT ON FUNCTION stormops_internal.late_batches() IS 'The batches that are not rolled up and have events of a month with an invoice of the tenant, draft, final or void, and the tenant''s next step.';

CREATE FUNCTION stormops_internal.fold_usage(OUT events bigint, OUT buckets bigint)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    -- One statement, and so one snapshot: what it adds up are the events of the batches that it takes, and no other.
    WITH hours AS MATERIALIZED (
        SELECT u.* FROM stormops_internal.usage_by_hour() AS u
    ), latest AS MATERIALIZED (
        SELECT u.* FROM stormops_internal.latest_by_period() AS u
    ), fresh AS (
        INSERT INTO stormops.usage_unique_values AS u (tenant_id, metric_name, grain, bucket, dimensions, digest)
        SELECT v.* FROM stormops_internal.unique_by_period() AS v
        ON CONFLICT DO NOTHING
        RETURNING u.tenant_id, u.metric_name, u.grain, u.bucket, u.dimensions
    ), late AS MATERIALIZED (
        SELECT l.* FROM stormops_internal.late_batches() AS l
    ), marked AS (
        UPDATE stormops.usage_batches AS b SET mark = l.mark FROM late AS l WHERE b.tenant_id = l.tenant_id AND b.batch_id = l.batch_id
    ), taken AS (
        DELETE FROM stormops.usage_batches AS b
        WHERE b.mark IS NULL AND (b.tenant_id, b.batch_id) NOT IN (SELECT l.tenant_id, l.batch_id FROM late AS l)
    ), added AS (
        SELECT h.tenant_id, h.metric_name, g.grain, date_trunc(g.grain, h.hour, 'UTC') AS bucket, d.dimensions, h.aggregation,
            CASE h.aggregation WHEN 'SUM' THEN sum(h.total) WHEN 'COUNT' THEN sum(h.n) WHEN 'MAX' THEN max(h.peak) ELSE 0 END AS quantity,
            sum(h.n) AS event_count
        FROM hours AS h
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL unnest(CASE h.dimensions WHEN '{}' THEN ARRAY[h.dimensions] ELSE ARRAY[h.dimensions, '{}'] END) AS d (dimensions)
        GROUP BY 1, 2, 3, 4, 5, 6
    ), folded AS (
        INSERT INTO stormops.usage_rollups AS r
            (tenant_id, metric_name, grain, bucket, dimensions, aggregation, quantity, event_count, latest_at, latest_id)
        SELECT a.tenant_id, a.metric_name, a.grain, a.bucket, a.dimensions, a.aggregation,
            coalesce(l.metric_value, u.n, a.quantity), a.event_count, l.recorded_at, l.usage_id
        FROM added AS a
        LEFT JOIN latest AS l ON (l.tenant_id, l.metric_name, l.grain, l.bucket, l.dimensions)
            = (a.tenant_id, a.metric_name, a.grain, a.bucket, a.dimensions)
        LEFT JOIN (
            SELECT f.tenant_id, f.metric_name, f.grain, f.bucket, f.dimensions, count(*) AS n FROM fresh AS f GROUP BY 1, 2, 3, 4, 5
        ) AS u ON (u.tenant_id, u.metric_name, u.grain, u.bucket, u.dimensions) = (a.tenant_id, a.metric_name, a.grain, a.bucket, a.dimensions)
        ON CONFLICT ON CONSTRAINT usage_rollups_pkey DO UPDATE SET
            quantity = CASE
                WHEN r.aggregation = 'MAX' THEN greatest(r.quantity, excluded.quantity)
                WHEN r.aggregation <> 'LATEST' THEN r.quantity + excluded.quantity
                -- Of two events at one time the one with the greater usage_id is the later.
                WHEN (r.latest_at, r.latest_id) < (excluded.latest_at, excluded.latest_id) THEN excluded.quantity
                ELSE r.quantity
            END,
            latest_at = greatest(r.latest_at, excluded.latest_at),
            latest_id = CASE WHEN (r.latest_at, r.latest_id) < (excluded.latest_at, excluded.latest_id) THEN excluded.latest_id ELSE r.latest_id END,
            event_count = r.event_count + excluded.event_count
        RETURNING 1
    )
    SELECT (SELECT coalesce(sum(h.n), 0)::bigint FROM hours AS h), (SELECT count(*) FROM folded)
$$;
COMMENT ON FUNCTION stormops_internal.fold_usage() IS 'Adds the events of the batches that are there to the rollups, and takes the batches: away, or, those that came too late for an invoice, to their step. Returns how many events, and how many rollups changed.';

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

CREATE FUNCTION stormops.rollup_usage(OUT events bigint, OUT buckets bigint, OUT alerts bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- Two at once stand in line here, and the second finds what the first has left. No tenant can lock this row.
    PERFORM FROM stormops_internal.metering_progress AS p FOR UPDATE;
    SELECT f.events, f.buckets INTO events, buckets FROM stormops_internal.fold_usage() AS f;
    PERFORM stormops_internal.mend_quota_counters();
    alerts := stormops_internal.raise_quota_alerts();
    UPDATE stormops_internal.metering_progress AS p SET folded_at = now();
END
$$;
COMMENT ON FUNCTION stormops.rollup_usage() IS 'Adds what was metered since the last call to usage_rollups and raises quota alerts: all or nothing, each event once. Waits for no writer: what is not committed yet is left to the next call. Returns events, buckets (rollups changed), alerts (new). For operators and schedules. Errors: 25000 not READ COMMITTED.';
