-- Invoices: drafted for one tenant or for all in one statement, and adjusted for what came late.

CREATE FUNCTION stormops.counted_events(tenants uuid[], only_period date, OUT tenant_id uuid, OUT period date, OUT event_count numeric) RETURNS SETOF record
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
            AND ($2 IS NULL OR r.bucket = stormops.month_start($2)) OFFSET 0
    ) AS r
    WHERE m.tenant_id = ANY ($1)
    GROUP BY m.tenant_id, r.bucket
$$;
COMMENT ON FUNCTION stormops.counted_events(uuid[], date) IS 'How many events of each month, or of one, the rollups hold, all metrics together.';

CREATE FUNCTION stormops.adjustments(
    tenants uuid[], period date, usage_seq bigint, as_of timestamptz,
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
        LEFT JOIN stormops.counted_events((
            SELECT array_agg(DISTINCT i.tenant_id) FROM stormops.invoices AS i
            WHERE $3 IS NULL AND i.tenant_id = ANY ($1) AND i.kind = 'invoice' AND i.period <> $2 AND i.status = 'finalized'
        ), NULL) AS c ON c.tenant_id = i.tenant_id AND c.period = i.period
        WHERE i.tenant_id = ANY ($1) AND i.kind = 'invoice' AND i.period <> $2
            AND i.finalized_at < $4 AND coalesce(i.voided_at, 'infinity') >= $4
            AND CASE
                WHEN $3 IS NULL THEN coalesce(c.event_count, 0) <> i.event_count
                ELSE EXISTS (
                    SELECT FROM stormops.metrics AS m
                    JOIN stormops.tenant_usage AS u ON u.tenant_id = m.tenant_id AND u.metric_name = m.metric_name
                    WHERE m.tenant_id = i.tenant_id AND u.recorded_at >= stormops.month_start(i.period)
                        AND u.recorded_at < stormops.month_start((i.period + interval '1 month')::date)
                        AND u.usage_seq > i.usage_seq AND u.usage_seq <= $3)
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
        WHERE l.tenant_id = ANY ($1) AND n.tenant_id = ANY ($1) AND n.finalized_at < $4 AND coalesce(n.voided_at, 'infinity') >= $4
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
COMMENT ON FUNCTION stormops.adjustments(uuid[], date, bigint, timestamptz) IS 'What late events change on the invoices that were closed as_of: the month rated again at its own prices, less what was billed for it so far. usage_seq as in rate().';

CREATE FUNCTION stormops.due_lines(
    tenants uuid[], books text[], period date, usage_seq bigint, as_of timestamptz,
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
        FROM stormops.adjustments($1, $3, $4, $5) AS a
    ) AS l
$$;
COMMENT ON FUNCTION stormops.due_lines(uuid[], text[], date, bigint, timestamptz) IS 'All lines of the month''s invoice of each tenant by its book: rate(), then adjustments().';

CREATE FUNCTION stormops.write_invoices(tenants uuid[], books text[], period date, generated_at timestamptz) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH due AS MATERIALIZED (
        SELECT d.* FROM stormops.due_lines($1, $2, $3, NULL, $4) AS d
    ), written AS (
        INSERT INTO stormops.invoices AS i
            (tenant_id, period, org_name, price_book, currency, minor_unit, total, usage_seq, event_count, generated_at, generated_by)
        SELECT t.tenant_id, $3, t.org_name, b.price_book, b.currency, b.minor_unit, coalesce(d.total, round(0::numeric, b.minor_unit)),
            stormops.usage_watermark(), coalesce(c.event_count, 0), $4, stormops.calling_role()
        FROM unnest($1, $2) AS a (tenant_id, price_book)
        JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        JOIN stormops.price_books AS b ON b.price_book = a.price_book
        LEFT JOIN (SELECT d.tenant_id, sum(d.amount) AS total FROM due AS d GROUP BY d.tenant_id) AS d ON d.tenant_id = a.tenant_id
        LEFT JOIN stormops.counted_events($1, $3) AS c ON c.tenant_id = a.tenant_id
        WHERE t.tenant_id = ANY ($1)
        ON CONFLICT (tenant_id, period) WHERE kind = 'invoice' AND status <> 'void'
        DO UPDATE SET org_name = excluded.org_name, price_book = excluded.price_book, currency = excluded.currency,
            minor_unit = excluded.minor_unit, total = excluded.total, usage_seq = excluded.usage_seq, event_count = excluded.event_count,
            generated_at = excluded.generated_at, generated_by = excluded.generated_by
        RETURNING i.tenant_id, i.invoice_id
    )
    INSERT INTO stormops.invoice_lines (tenant_id, invoice_id, line, kind, metric_name, unit, from_time, to_time, tier, rule, quantity,
        unit_price, amount, price_id, adjusts)
    SELECT w.tenant_id, w.invoice_id, d.line, d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity,
        d.unit_price, d.amount, d.price_id, d.adjusts
    FROM due AS d JOIN written AS w ON w.tenant_id = d.tenant_id
$$;
COMMENT ON FUNCTION stormops.write_invoices(uuid[], text[], date, timestamptz) IS 'Writes the drafts of a month, their lines of before being gone: one statement, and so one state of rollups and watermark.';

CREATE FUNCTION stormops.draft_invoices(tenant_id uuid, period date) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenants uuid[];
    books text[];
BEGIN
    IF stormops.month_start((period + interval '1 month')::date) > now() THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('%s has not ended', to_char(period, 'YYYY-MM')),
            HINT = 'SELECT * FROM stormops.preview_invoice(tenant_id, period); shows what it comes to so far.';
    END IF;
    -- A number is given out before its event is committed, so this sees those that are still being written.
    PERFORM stormops.rollup_usage() FROM stormops.usage_order AS o WHERE o.is_called AND o.last_value > stormops.usage_watermark();
    -- One run at a time, and no finalisation during it; readers go on.
    LOCK TABLE stormops.invoices IN SHARE ROW EXCLUSIVE MODE;
    SELECT array_agg(t.tenant_id), array_agg(a.price_book) INTO tenants, books
    FROM stormops.tenants AS t
    JOIN stormops.assigned_books(draft_invoices.tenant_id) AS a ON a.tenant_id = t.tenant_id
    LEFT JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id AND i.period = draft_invoices.period
        AND i.kind = 'invoice' AND i.status = 'finalized'
    WHERE (draft_invoices.tenant_id IS NULL OR t.tenant_id = draft_invoices.tenant_id) AND i.invoice_id IS NULL
        AND t.created_at < stormops.month_start((draft_invoices.period + interval '1 month')::date)
        AND (t.status <> 'closed' OR t.status_changed_at > stormops.month_start(draft_invoices.period));
    DELETE FROM stormops.invoice_lines AS l USING stormops.invoices AS i
    WHERE i.tenant_id = ANY (tenants) AND i.period = draft_invoices.period AND i.kind = 'invoice' AND i.status = 'draft'
        AND l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id;
    PERFORM stormops.write_invoices(tenants, books, period, clock_timestamp()) WHERE tenants IS NOT NULL;
END
$$;
COMMENT ON FUNCTION stormops.draft_invoices(uuid, date) IS 'Folds what is new into the rollups, then drafts the month''s invoices of one tenant, or of all, that are not finalized. Error: 55000 the month has not ended.';

CREATE FUNCTION stormops.generate_invoice(
    tenant_id uuid, period text, OUT invoice_id uuid, OUT status text, OUT invoice_number bigint, OUT currency text, OUT total numeric,
    OUT lines bigint, OUT usage_seq bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops.billing_period(period);
    invoice stormops.invoices;
BEGIN
    PERFORM stormops.visit_all_tenants();
    PERFORM stormops.existing_tenant($1);
    PERFORM stormops.draft_invoices($1, month);
    SELECT i.* INTO invoice FROM stormops.invoices AS i
    WHERE i.tenant_id = $1 AND i.period = month AND i.kind = 'invoice' AND i.status <> 'void';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the tenant was not there in %s', to_char(month, 'YYYY-MM')),
            HINT = 'A tenant is invoiced from the month of its provisioning to that of its closing.';
    END IF;
    SELECT invoice.invoice_id, invoice.status, invoice.invoice_number, invoice.currency, invoice.total, count(*), invoice.usage_seq
    INTO invoice_id, status, invoice_number, currency, total, lines, usage_seq
    FROM stormops.invoice_lines AS l WHERE l.tenant_id = invoice.tenant_id AND l.invoice_id = invoice.invoice_id;
END
$$;
COMMENT ON FUNCTION stormops.generate_invoice(uuid, text) IS 'Drafts a tenant''s invoice of a calendar month in UTC (2024-01), or refreshes the draft; a finalized one is returned as it is. Late events of closed months come as adjustment lines. Returns invoice_id, status, invoice_number, currency, total, lines, usage_seq (the watermark). For operators. Errors: 22023 not a month; P0002 no such tenant; 55000 the month has not ended, or the tenant was not there.';

CREATE FUNCTION stormops.generate_invoices(period text, OUT currency text, OUT drafts bigint, OUT finalized bigint, OUT total numeric) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops.billing_period(period);
BEGIN
    PERFORM stormops.visit_all_tenants();
    PERFORM stormops.draft_invoices(NULL, month);
    RETURN QUERY
        SELECT i.currency, count(*) FILTER (WHERE i.status = 'draft'), count(*) FILTER (WHERE i.status = 'finalized'), sum(i.total)
        FROM stormops.invoices AS i WHERE i.period = month AND i.kind = 'invoice' AND i.status <> 'void'
        GROUP BY i.currency ORDER BY i.currency;
END
$$;
COMMENT ON FUNCTION stormops.generate_invoices(text) IS 'generate_invoice() for every tenant in one statement. Returns for each currency the number of drafts, that of invoices finalized before, and the total of both. For operators. Errors: 22023, 55000 as there.';

CREATE FUNCTION stormops.preview_invoice(
    tenant_id uuid, period text,
    OUT line integer, OUT kind text, OUT metric_name text, OUT unit text, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT tier text, OUT rule text, OUT quantity numeric, OUT unit_price numeric, OUT amount numeric, OUT currency text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops.billing_period(period);
    target uuid := stormops.target_tenant($1, false);
    book stormops.price_books;
BEGIN
    PERFORM stormops.visit_all_tenants();
    PERFORM stormops.existing_tenant(target);
    SELECT b.* INTO book FROM stormops.price_books AS b
    WHERE b.price_book = (SELECT a.price_book FROM stormops.assigned_books(target) AS a);
    RETURN QUERY
        SELECT d.line, d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity, d.unit_price, d.amount, book.currency
        FROM stormops.due_lines(ARRAY[target], ARRAY[book.price_book], month, NULL, clock_timestamp()) AS d
        ORDER BY d.line;
END
$$;
COMMENT ON FUNCTION stormops.preview_invoice(uuid, text) IS 'The lines that a month''s invoice would have now, by the rollups; writes nothing, and the month need not have ended. For operators any tenant, else the one in context (NULL), for its admins. Errors: 22023 not a month; 42501; P0002 no such tenant.';

CREATE FUNCTION stormops.existing_tenant(tenant_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF $1 IS NULL OR NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = $1) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.existing_tenant(uuid) IS 'Error P0002 unless there is such a tenant.';
