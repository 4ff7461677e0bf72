-- What the operator sees of all tenants: sums of usage and money, no tenant's rows.

CREATE FUNCTION stormops_internal.forecast_days(daily double precision[], days_left integer, confidence double precision DEFAULT 0.9) RETURNS TABLE (
    expected double precision, low double precision, high double precision, n integer, method text
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'forecast_days_wrapper';
COMMENT ON FUNCTION stormops_internal.forecast_days(double precision[], integer, double precision) IS 'What the days left will bring, from the totals of complete days, oldest first: expected, and the prediction interval low to high; n; method: weekday means from two weeks of days on, else the daily mean. Independent days of one variance around their mean, Student''s t. Low and high are NULL of a single day. Error: 22023.';

CREATE FUNCTION stormops.usage_overview(
    period text, OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT metric_name text, OUT unit text,
    OUT quantity numeric, OUT events bigint, OUT previous_quantity numeric, OUT change_pct numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, t.tier, t.status, m.metric_name, m.unit, coalesce(r.quantity, 0), coalesce(r.event_count, 0),
            coalesce(b.quantity, 0), round(100 * (coalesce(r.quantity, 0) - b.quantity) / nullif(b.quantity, 0), 1)
        FROM stormops.tenants AS t
        JOIN stormops.metrics AS m ON m.tenant_id = t.tenant_id
        LEFT JOIN LATERAL (
            SELECT r.quantity, r.event_count FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month'
                AND r.bucket = stormops_internal.month_start(month) AND r.dimensions = '{}' OFFSET 0) AS r ON true
        LEFT JOIN LATERAL (
            SELECT r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month'
                AND r.bucket = stormops_internal.month_start((month - interval '1 month')::date) AND r.dimensions = '{}' OFFSET 0) AS b ON true
        WHERE r.event_count > 0 OR b.quantity > 0
        ORDER BY t.org_name, t.tenant_id, m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.usage_overview(text) IS 'Usage of a month (UTC) by tenant and metric, by the rollups, with that of the month before and the change in percent (NULL from nothing). Storage is metric storage_mb. For operators and monitors. Error: 22023 not a month.';

CREATE FUNCTION stormops.tenant_margins(
    period text, cost_book text DEFAULT 'cost',
    OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT currency text, OUT revenue numeric, OUT revenue_is text,
    OUT cost numeric, OUT margin numeric, OUT margin_pct numeric, OUT previous_revenue numeric, OUT storage_mb numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    costs stormops_internal.price_books;
    tenants uuid[];
    books text[];
    months date[];
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    cost_book := coalesce(nullif(cost_book, ''), 'cost');
    PERFORM stormops_internal.visit_all_tenants();
    SELECT b.* INTO costs FROM stormops_internal.price_books AS b WHERE b.price_book = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('price book "%s" does not exist', left($2, 50)),
            HINT = 'SELECT stormops.set_price(''storage_mb'', ''per_unit'', 0.02, price_book => ''cost'');';
    END IF;
    SELECT coalesce(array_agg(t.tenant_id), '{}'), coalesce(array_agg(a.price_book), '{}'), coalesce(array_agg(month), '{}') INTO tenants, books, months
    FROM stormops.tenants AS t JOIN stormops_internal.assigned_books(NULL) AS a ON a.tenant_id = t.tenant_id
    WHERE t.created_at < stormops_internal.month_start((month + interval '1 month')::date);
    RETURN QUERY
        WITH invoiced AS (
            SELECT i.tenant_id, i.period, min(i.currency) AS currency, sum(i.total) AS total, bool_and(i.status = 'finalized') AS final
            FROM stormops.invoices AS i WHERE i.period IN (month, (month - interval '1 month')::date) AND i.status <> 'void'
            GROUP BY i.tenant_id, i.period
        ), rated AS (
            SELECT r.tenant_id, sum(r.amount) AS total FROM stormops.rate(tenants, months, books, NULL) AS r GROUP BY r.tenant_id
        ), spent AS (
            SELECT r.tenant_id, sum(r.amount) AS total
            FROM stormops.rate(tenants, months, array_fill(costs.price_book, ARRAY[cardinality(tenants)]), NULL) AS r GROUP BY r.tenant_id
        ), sums AS (
            SELECT t.tenant_id, t.org_name, t.tier, t.status, coalesce(i.currency, b.currency) AS currency,
                coalesce(i.total, r.total, 0) AS revenue,
                CASE WHEN i.final THEN 'invoiced' WHEN i.total IS NOT NULL THEN 'draft' ELSE 'usage so far' END AS revenue_is,
                coalesce(s.total, 0) AS cost, p.total AS previous
            FROM unnest(tenants, books) AS a (tenant_id, price_book)
            JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
            JOIN stormops_internal.price_books AS b ON b.price_book = a.price_book
            LEFT JOIN invoiced AS i ON i.tenant_id = a.tenant_id AND i.period = month
            LEFT JOIN invoiced AS p ON p.tenant_id = a.tenant_id AND p.period < month
            LEFT JOIN rated AS r ON r.tenant_id = a.tenant_id
            LEFT JOIN spent AS s ON s.tenant_id = a.tenant_id
        )
        SELECT s.tenant_id, s.org_name, s.tier, s.status, s.currency, s.revenue, s.revenue_is, s.cost, m.margin,
            round(100 * m.margin / nullif(s.revenue, 0), 1), s.previous, (
                SELECT r.quantity FROM stormops.usage_rollups AS r
                WHERE r.tenant_id = s.tenant_id AND r.metric_name = 'storage_mb' AND r.grain = 'month'
                    AND r.bucket = stormops_internal.month_start(month) AND r.dimensions = '{}')
        FROM sums AS s
        CROSS JOIN LATERAL (SELECT CASE WHEN s.currency = costs.currency THEN s.revenue - s.cost END AS margin) AS m
        ORDER BY m.margin, s.org_name, s.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.tenant_margins(text, text) IS 'Revenue, cost and margin of a month (UTC) by tenant, the least margin first. revenue_is: invoiced (less credit notes) or draft (usage so far); cost: the same usage by cost_book, in that book''s currency; margin: NULL if the currencies differ. previous_revenue: of the month before; storage_mb: its quantity. For operators. Errors: 22023 not a month; P0002 no such book.';

CREATE FUNCTION stormops.top_movers(
    period text, most integer DEFAULT 10, OUT tenant_id uuid, OUT org_name text, OUT metric_name text, OUT unit text,
    OUT quantity numeric, OUT previous_quantity numeric, OUT change numeric, OUT change_pct numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.tenant_id, m.org_name, m.metric_name, m.unit, m.quantity, m.previous_quantity, m.change, m.change_pct
    FROM (
        SELECT u.*, u.quantity - u.previous_quantity AS change,
            row_number() OVER (PARTITION BY u.metric_name ORDER BY abs(u.quantity - u.previous_quantity) DESC, u.tenant_id) AS place
        FROM stormops.usage_overview($1) AS u
    ) AS m
    WHERE m.place <= coalesce($2, 10) AND m.change <> 0
    ORDER BY m.metric_name, m.place
$$;
COMMENT ON FUNCTION stormops.top_movers(text, integer) IS 'For each metric the tenants whose usage changed most against the month before, up or down. For operators and monitors. Error: 22023 not a month.';

CREATE FUNCTION stormops.forecast_usage(
    as_of timestamptz DEFAULT pg_catalog.now(), confidence double precision DEFAULT 0.9,
    OUT tenant_id uuid, OUT org_name text, OUT metric_name text, OUT unit text, OUT used numeric, OUT expected double precision,
    OUT low double precision, OUT high double precision, OUT n integer, OUT method text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
#variable_conflict use_column
DECLARE
    today date;
    month date;
    days_left integer;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    as_of := coalesce(as_of, now());
    confidence := coalesce(confidence, 0.9);
    PERFORM stormops_internal.visit_all_tenants();
    IF as_of IS NULL OR NOT as_of BETWEEN '2000-01-01 00:00Z' AND '9999-12-31 00:00Z' OR confidence IS NULL OR NOT (confidence > 0 AND confidence < 1) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a forecast takes a moment of the years 2000 to 9999 and a confidence between 0 and 1',
            HINT = 'SELECT * FROM stormops.forecast_usage(now(), 0.9);';
    END IF;
    today := (as_of AT TIME ZONE 'UTC')::date;
    month := date_trunc('month', today)::date;
    days_left := (month + interval '1 month')::date - today;
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, m.metric_name, m.unit, h.used,
            greatest(h.complete::double precision + f.expected, h.used::double precision),
            CASE WHEN f.low IS NOT NULL THEN greatest(h.complete::double precision + f.low, h.used::double precision) END,
            CASE WHEN f.high IS NOT NULL THEN greatest(h.complete::double precision + f.high, h.used::double precision) END, f.n, f.method
        FROM stormops.tenants AS t
        JOIN stormops.metrics AS m ON m.tenant_id = t.tenant_id AND m.aggregation IN ('SUM', 'COUNT')
        -- Eight weeks of complete days, from the first with usage on; a day without usage is a nought.
        CROSS JOIN LATERAL (
            SELECT array_agg(coalesce(d.quantity, 0)::double precision ORDER BY d.day) FILTER (WHERE d.day < today AND d.day >= d.first_day) AS daily,
                coalesce(sum(d.quantity) FILTER (WHERE d.day >= month), 0) AS used,
                coalesce(sum(d.quantity) FILTER (WHERE d.day >= month AND d.day < today), 0) AS complete
            FROM (
                SELECT s.day::date AS day, r.quantity, min(s.day) FILTER (WHERE r.quantity IS NOT NULL) OVER () AS first_day
                FROM generate_series((today - 56)::timestamp, today::timestamp, interval '1 day') AS s (day)
                LEFT JOIN stormops.usage_rollups AS r ON r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'day'
                    AND r.dimensions = '{}' AND r.bucket = timezone('UTC', s.day) AND r.bucket >= stormops_internal.month_start(today - 56)
            ) AS d
        ) AS h
        CROSS JOIN LATERAL stormops_internal.forecast_days(h.daily, days_left, confidence) AS f
        WHERE h.daily IS NOT NULL
        ORDER BY t.org_name, t.tenant_id, m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.forecast_usage(timestamptz, double precision) IS 'Usage of the current month (UTC) to its end, for each tenant and additive metric: used so far, expected, and a prediction interval low to high of that confidence (inside 0 to 1). method: weekday means from 14 complete days on, else the daily mean; n: complete days used. low and high are NULL for n = 1. For operators and monitors. Error: 22023 confidence.';
