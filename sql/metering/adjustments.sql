-- What late events change on closed months, and with that all lines of an invoice.

CREATE FUNCTION stormops_internal.counted_events(tenants uuid[], only_period date, OUT tenant_id uuid, OUT period date, OUT event_count numeric) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_bitmapscan = off SET jit = off -- one row for each key
    AS $$
    SELECT m.tenant_id, (r.bucket AT TIME ZONE 'UTC')::date, sum(r.event_count)
    FROM stormops.metrics AS m
    -- By the key, metric by metric: without OFFSET it might read the hours of all tenants.
    CROSS JOIN LATERAL (
        SELECT r.bucket, r.event_count FROM stormops.usage_rollups AS r
        WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month' AND r.dimensions = '{}'
            AND r.bucket >= coalesce(stormops_internal.month_start($2), '-infinity') AND r.bucket <= coalesce(stormops_internal.month_start($2), 'infinity') OFFSET 0
    ) AS r
    WHERE m.tenant_id = ANY ($1)
    GROUP BY m.tenant_id, r.bucket
$$;
COMMENT ON FUNCTION stormops_internal.counted_events(uuid[], date) IS 'How many events of each month, or of one, the rollups hold, all metrics together.';

CREATE FUNCTION stormops_internal.adjustments(
    tenants uuid[], period date, usage_mark bigint,
    OUT tenant_id uuid, OUT adjusts uuid, OUT metric_name text, OUT unit text, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT rule text, OUT quantity numeric, OUT amount numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH closed AS MATERIALIZED (
        SELECT i.*
        FROM stormops.invoices AS i
        LEFT JOIN stormops_internal.counted_events((
            SELECT array_agg(DISTINCT i.tenant_id) FROM stormops.invoices AS i
            WHERE ($3 IS NULL OR $3 = stormops_internal.every_usage_mark()) AND i.tenant_id = ANY ($1) AND i.kind = 'invoice' AND i.period <> $2 AND i.status = 'finalized'
        ), NULL) AS c ON c.tenant_id = i.tenant_id AND c.period = i.period
        WHERE i.tenant_id = ANY ($1) AND i.kind = 'invoice' AND i.period <> $2
            AND i.finalized_mark IS NOT NULL AND i.finalized_mark < coalesce($3, i.finalized_mark + 1)
            AND CASE WHEN $3 IS NULL THEN i.voided_mark IS NULL ELSE coalesce(i.voided_mark > $3, true) END
            AND CASE
                WHEN $3 IS NULL THEN coalesce(c.event_count, 0) <> i.event_count
                WHEN $3 = stormops_internal.every_usage_mark() AND coalesce(c.event_count, 0) <> i.event_count THEN true
                ELSE EXISTS (
                    SELECT FROM stormops.metrics AS m
                    JOIN stormops.tenant_usage AS u ON u.tenant_id = m.tenant_id AND u.metric_name = m.metric_name
                    JOIN stormops.usage_batches AS b ON b.tenant_id = u.tenant_id AND b.batch_id = u.batch_id
                    WHERE m.tenant_id = i.tenant_id AND u.recorded_at >= stormops_internal.month_start(i.period)
                        AND u.recorded_at < stormops_internal.month_start((i.period + interval '1 month')::date)
                        AND coalesce(b.mark, stormops_internal.every_usage_mark()) > i.usage_mark
                        AND coalesce(b.mark, stormops_internal.every_usage_mark()) <= $3)
            END
    ), due AS (
        SELECT i.tenant_id, i.invoice_id, r.metric_name, max(r.unit) AS unit, min(r.from_time) AS from_time, max(r.to_time) AS to_time,
            sum(r.quantity) AS quantity, sum(r.amount) AS amount
        FROM (SELECT array_agg(c.tenant_id) AS tenants, array_agg(c.period) AS periods, array_agg(c.price_book) AS books FROM closed AS c) AS c
        CROSS JOIN LATERAL stormops.rate(c.tenants, c.periods, c.books, $3) AS r
        JOIN closed AS i ON i.tenant_id = r.tenant_id AND i.period = r.period
        WHERE c.tenants IS NOT NULL
        GROUP BY i.tenant_id, i.invoice_id, r.metric_name
    ), billed AS (
        SELECT i.tenant_id, i.invoice_id, l.metric_name, max(l.unit) AS unit, min(l.from_time) AS from_time, max(l.to_time) AS to_time,
            sum(l.quantity) AS quantity, sum(l.amount) AS amount
        FROM closed AS i
        JOIN stormops.invoice_lines AS l ON l.tenant_id = i.tenant_id AND coalesce(l.adjusts, l.invoice_id) = i.invoice_id
        JOIN stormops.invoices AS n ON n.tenant_id = l.tenant_id AND n.invoice_id = l.invoice_id
        WHERE l.tenant_id = ANY ($1) AND n.tenant_id = ANY ($1)
            AND n.finalized_mark IS NOT NULL AND n.finalized_mark < coalesce($3, n.finalized_mark + 1)
            AND CASE WHEN $3 IS NULL THEN n.voided_mark IS NULL ELSE coalesce(n.voided_mark > $3, true) END
        GROUP BY i.tenant_id, i.invoice_id, l.metric_name
    ), difference AS (
        SELECT tenant_id, invoice_id, metric_name, coalesce(d.unit, b.unit) AS unit, coalesce(d.from_time, b.from_time) AS from_time,
            coalesce(d.to_time, b.to_time) AS to_time, coalesce(d.quantity, 0) - coalesce(b.quantity, 0) AS quantity,
            coalesce(d.amount, 0) - coalesce(b.amount, 0) AS amount
        FROM due AS d FULL JOIN billed AS b USING (tenant_id, invoice_id, metric_name)
    )
    SELECT d.tenant_id, d.invoice_id, d.metric_name, d.unit, d.from_time, d.to_time,
        format('late events of %s, invoice %s', to_char(i.period, 'YYYY-MM'), i.invoice_number), d.quantity, d.amount
    FROM difference AS d JOIN closed AS i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id
    WHERE d.quantity <> 0 OR d.amount <> 0
$$;
COMMENT ON FUNCTION stormops_internal.adjustments(uuid[], date, bigint) IS 'What late events change on the invoices that were closed at the step usage_mark (NULL: that are): the month rated again at its own prices, less what was billed for it so far. usage_mark as in rate().';

CREATE FUNCTION stormops_internal.due_lines(
    tenants uuid[], books text[], period date, usage_mark bigint,
    OUT tenant_id uuid, OUT line integer, OUT kind text, OUT metric_name text, OUT unit text, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT tier text, OUT rule text, OUT quantity numeric, OUT unit_price numeric, OUT amount numeric, OUT price_id uuid, OUT adjusts uuid
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    SELECT l.tenant_id,
        row_number() OVER (PARTITION BY l.tenant_id ORDER BY l.adjusts NULLS FIRST, l.place, l.metric_name COLLATE "C")::integer,
        l.kind, l.metric_name, l.unit, l.from_time, l.to_time, l.tier, l.rule, l.quantity, l.unit_price, l.amount, l.price_id, l.adjusts
    FROM (
        SELECT r.tenant_id, r.place, r.kind, r.metric_name, r.unit, r.from_time, r.to_time, r.tier, r.rule, r.quantity, r.unit_price,
            r.amount, r.price_id, NULL::uuid AS adjusts
        FROM stormops.rate($1, array_fill($3, ARRAY[cardinality($1)]), $2, $4) AS r
        UNION ALL
        SELECT a.tenant_id, 0, 'adjustment', a.metric_name, a.unit, a.from_time, a.to_time, NULL, a.rule, a.quantity, NULL, a.amount, NULL, a.adjusts
        FROM stormops_internal.adjustments($1, $3, $4) AS a
    ) AS l
$$;
COMMENT ON FUNCTION stormops_internal.due_lines(uuid[], text[], date, bigint) IS 'All lines of the month''s invoice of each tenant by its book: rate(), then adjustments().';
