-- The lines of an invoice.

CREATE FUNCTION stormops_internal.measured_quantity(
    tenant_id uuid, metric_name text, aggregation text, unique_dimension text, from_time timestamptz, to_time timestamptz, usage_mark bigint
) RETURNS numeric
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $3
        WHEN 'SUM' THEN sum(u.metric_value)
        WHEN 'COUNT' THEN count(*)
        WHEN 'MAX' THEN max(u.metric_value)
        WHEN 'LATEST' THEN (array_agg(u.metric_value ORDER BY u.recorded_at DESC, u.usage_id DESC))[1]
        WHEN 'UNIQUE' THEN count(DISTINCT u.dimensions ->> $4)
    END
    FROM stormops.tenant_usage AS u
    WHERE u.tenant_id = $1 AND u.metric_name = $2 AND u.recorded_at >= $5 AND u.recorded_at < $6
        AND NOT EXISTS (
            SELECT FROM stormops.usage_batches AS b
            WHERE b.tenant_id = u.tenant_id AND b.batch_id = u.batch_id AND coalesce(b.mark > $7, true))
$$;
COMMENT ON FUNCTION stormops_internal.measured_quantity(uuid, text, text, text, timestamptz, timestamptz, bigint) IS 'A metric''s quantity from the raw events of [from_time, to_time) that an invoice with that usage_mark counts.';

CREATE FUNCTION stormops_internal.every_usage_mark() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT 9223372036854775807 $$;
COMMENT ON FUNCTION stormops_internal.every_usage_mark() IS 'For rate(): a usage_mark above every other, so all events as of now, rolled up or not.';

CREATE FUNCTION stormops_internal.rated_quantities(
    tenants uuid[], periods date[], books text[], usage_mark bigint,
    OUT tenant_id uuid, OUT period date, OUT metric_name text, OUT price_id uuid, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT unit text, OUT quantity numeric, OUT share numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH segment AS MATERIALIZED (
        SELECT s.*, stormops_internal.month_start(s.period) AS month, stormops_internal.month_start((s.period + interval '1 month')::date) AS next_month,
            row_number() OVER (PARTITION BY s.tenant_id, s.period, s.metric_name ORDER BY s.from_time DESC) = 1 AS last
        FROM stormops_internal.price_segments($1, $2, $3) AS s
    ), asked AS MATERIALIZED (
        -- What adds up is counted by the part of the month, and a fee is shared out by it, whatever its name; all else (a
        -- maximum, a latest value) is for the month, at its last price.
        SELECT s.tenant_id, s.period, s.metric_name, s.price_id, s.month, s.next_month, m.unit, m.aggregation, m.unique_dimension,
            CASE WHEN l.level THEN s.month ELSE s.from_time END AS from_time,
            CASE WHEN l.level THEN s.next_month ELSE s.to_time END AS to_time,
            p.model IN ('flat', 'minimum') OR p.included_quantity > 0 AS timed
        FROM segment AS s
        JOIN stormops_internal.prices AS p ON p.price_id = s.price_id
        LEFT JOIN stormops.metrics AS m ON m.tenant_id = s.tenant_id AND m.metric_name = s.metric_name AND m.tenant_id = ANY ($1)
        CROSS JOIN LATERAL (
            SELECT p.model NOT IN ('flat', 'minimum') AND coalesce(m.aggregation NOT IN ('SUM', 'COUNT'), false) AS level
        ) AS l
        WHERE s.last OR NOT l.level
    ), shared AS (
        -- A fee, a minimum and what is included hold for the time in which the tenant was active, to the microsecond.
        SELECT s.tenant_id, s.period, s.price_id, s.from_time,
            round(sum(extract(epoch FROM least(s.to_time, a.to_time) - greatest(s.from_time, a.from_time)))
                / extract(epoch FROM s.next_month - s.month), 12) AS share
        FROM asked AS s
        JOIN stormops_internal.active_history($1) AS a ON a.tenant_id = s.tenant_id AND a.from_time < s.to_time AND a.to_time > s.from_time
        WHERE s.timed
        GROUP BY s.tenant_id, s.period, s.price_id, s.from_time, s.next_month, s.month
    )
    SELECT a.tenant_id, a.period, a.metric_name, a.price_id, a.from_time, a.to_time, a.unit,
        CASE
            WHEN a.aggregation IS NULL THEN NULL
            -- What all events come to is in the rollups already, but for the last.
            WHEN $4 = stormops_internal.every_usage_mark() THEN (
                SELECT CASE WHEN a.aggregation IN ('SUM', 'COUNT') THEN sum(u.quantity) ELSE min(u.quantity) END
                FROM stormops_internal.current_usage(a.tenant_id, a.metric_name,
                    CASE WHEN a.from_time = a.month AND a.to_time = a.next_month THEN 'month' ELSE 'hour' END, a.from_time, a.to_time) AS u)
            WHEN $4 IS NOT NULL
                THEN stormops_internal.measured_quantity(a.tenant_id, a.metric_name, a.aggregation, a.unique_dimension, a.from_time, a.to_time, $4)
            WHEN a.from_time = a.month AND a.to_time = a.next_month THEN (
                SELECT r.quantity FROM stormops.usage_rollups AS r
                WHERE r.tenant_id = a.tenant_id AND r.metric_name = a.metric_name AND r.grain = 'month' AND r.bucket = a.month AND r.dimensions = '{}')
            ELSE (
                SELECT sum(r.quantity) FROM stormops.usage_rollups AS r
                WHERE r.tenant_id = a.tenant_id AND r.metric_name = a.metric_name AND r.grain = 'hour' AND r.dimensions = '{}'
                    AND r.bucket >= a.from_time AND r.bucket < a.to_time)
        END,
        coalesce(t.share, 0)
    FROM asked AS a
    LEFT JOIN shared AS t ON t.tenant_id = a.tenant_id AND t.period = a.period AND t.price_id = a.price_id AND t.from_time = a.from_time
$$;
COMMENT ON FUNCTION stormops_internal.rated_quantities(uuid[], date[], text[], bigint) IS 'The quantity under each price: from the rollups, or from the raw events that an invoice with usage_mark counts if that is given. share: the part of the month, 12 digits, that the tenant was active between from_time and to_time, where the price needs it.';

CREATE FUNCTION stormops.rate(
    tenants uuid[], periods date[], books text[], usage_mark bigint,
    OUT tenant_id uuid, OUT period date, OUT place integer, OUT kind text, OUT metric_name text, OUT unit text,
    OUT from_time timestamptz, OUT to_time timestamptz, OUT tier text, OUT rule text, OUT quantity numeric, OUT unit_price numeric,
    OUT amount numeric, OUT price_id uuid
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH price AS MATERIALIZED (
        SELECT p.*, b.minor_unit, coalesce(CASE WHEN p.for_tenant IS NOT NULL THEN 'tenant' END, p.tier) AS whom
        FROM stormops_internal.prices AS p JOIN stormops_internal.price_books AS b ON b.price_book = p.price_book
        WHERE p.price_book = ANY ($3)
    ), band AS MATERIALIZED (
        SELECT p.price_id, u.n::integer AS n, u.unit_price, coalesce(p.up_to[u.n - 1], 0) AS above, p.up_to[u.n] AS up_to,
            p.minor_unit, p.model, p.whom, p.package_size,
            CASE p.model
                WHEN 'per_unit' THEN 'per unit'
                WHEN 'package' THEN format('per package of %s', trim_scale(p.package_size))
                WHEN 'flat' THEN 'flat fee, share of the month'
                WHEN 'minimum' THEN 'up to the minimum, share of the month'
                ELSE format('%s, above %s', p.model, trim_scale(coalesce(p.up_to[u.n - 1], 0))) || coalesce(' to ' || trim_scale(p.up_to[u.n]), '')
            END AS rule
        FROM price AS p, unnest(p.unit_prices) WITH ORDINALITY AS u (unit_price, n)
    ), used AS MATERIALIZED (
        SELECT q.*, p.model, p.whom, p.included_quantity, i.included, q.quantity - i.included AS charged
        FROM stormops_internal.rated_quantities($1, $2, $3, $4) AS q
        JOIN price AS p ON p.price_id = q.price_id
        CROSS JOIN LATERAL (SELECT q.quantity - greatest(q.quantity - p.included_quantity * q.share, 0) AS included) AS i
    ), line AS MATERIALIZED (
        SELECT u.tenant_id, u.period, 1 AS rank, 0 AS n, 'included' AS kind, u.metric_name, u.unit, u.from_time, u.to_time, u.whom,
            format('included: %s a month', trim_scale(u.included_quantity)) AS rule, u.included AS quantity, NULL::numeric AS unit_price,
            0::numeric AS amount, u.price_id
        FROM used AS u WHERE u.included > 0
        UNION ALL
        SELECT r.tenant_id, r.period, r.rank, r.n, r.kind, r.metric_name, r.unit, r.from_time, r.to_time, r.whom, r.rule, r.quantity, r.unit_price,
            stormops_internal.round_half_even(r.exact, r.minor_unit), r.price_id
        FROM (
            SELECT u.tenant_id, u.period, 1 AS rank, b.n, 'usage' AS kind, u.metric_name, u.unit, u.from_time, u.to_time, b.whom, b.rule,
                CASE b.model WHEN 'graduated' THEN least(u.charged, b.up_to) - b.above ELSE u.charged END AS quantity, b.unit_price,
                CASE b.model
                    WHEN 'graduated' THEN (least(u.charged, b.up_to) - b.above) * b.unit_price
                    -- Exact, where a quotient has so many digits only.
                    WHEN 'package' THEN (div(u.charged, b.package_size) + sign(u.charged % b.package_size)) * b.unit_price
                    ELSE u.charged * b.unit_price
                END AS exact, b.minor_unit, u.price_id
            FROM used AS u JOIN band AS b ON b.price_id = u.price_id
            WHERE u.charged > b.above AND (b.model <> 'volume' OR b.up_to IS NULL OR u.charged <= b.up_to)
                AND b.model NOT IN ('flat', 'minimum')
            UNION ALL
            SELECT u.tenant_id, u.period, 0, b.n, 'flat', u.metric_name, 'month', u.from_time, u.to_time, b.whom, b.rule, u.share, b.unit_price,
                u.share * b.unit_price, b.minor_unit, u.price_id
            FROM used AS u JOIN band AS b ON b.price_id = u.price_id
            WHERE b.model = 'flat' AND u.share > 0
        ) AS r
    ), minimum AS (
        -- A minimum that changed within the month is one: its parts add up.
        SELECT u.tenant_id, u.period, u.metric_name, min(u.from_time) AS from_time, max(u.to_time) AS to_time, max(b.whom) AS whom,
            max(b.rule) AS rule, sum(u.share) AS share, max(b.minor_unit) AS minor_unit,
            stormops_internal.round_half_even(sum(u.share * b.unit_price), max(b.minor_unit)) AS due,
            (array_agg(b.unit_price ORDER BY u.from_time DESC))[1] AS unit_price, (array_agg(u.price_id ORDER BY u.from_time DESC))[1] AS price_id
        FROM used AS u JOIN band AS b ON b.price_id = u.price_id
        WHERE b.model = 'minimum'
        GROUP BY u.tenant_id, u.period, u.metric_name
    ), filled AS (
        SELECT m.tenant_id, m.period, m.metric_name, m.from_time, m.to_time, m.whom, m.rule, m.share, m.unit_price, m.price_id,
            m.due - coalesce(l.amount, 0) AS missing
        FROM minimum AS m
        LEFT JOIN (SELECT l.tenant_id, l.period, sum(l.amount) AS amount FROM line AS l GROUP BY l.tenant_id, l.period) AS l
            ON l.tenant_id = m.tenant_id AND l.period = m.period
    ), every_line AS (
        SELECT l.* FROM line AS l
        UNION ALL
        SELECT f.tenant_id, f.period, 2, 0, 'minimum', f.metric_name, 'month', f.from_time, f.to_time, f.whom, f.rule, f.share, f.unit_price,
            f.missing, f.price_id
        FROM filled AS f WHERE f.missing > 0
    )
    SELECT e.tenant_id, e.period,
        row_number() OVER (PARTITION BY e.tenant_id, e.period ORDER BY e.rank, e.metric_name COLLATE "C", e.from_time, e.n)::integer,
        e.kind, e.metric_name, e.unit, e.from_time, e.to_time, e.whom, e.rule, e.quantity, e.unit_price, e.amount, e.price_id
    FROM every_line AS e
$$;
COMMENT ON FUNCTION stormops.rate(uuid[], date[], text[], bigint) IS 'What each tenant''s month comes to by a price book (arrays of one length), line by line, each amount rounded once, half to even, to the currency''s minor unit. Quantities from the rollups, or from the raw events that an invoice with usage_mark counts if that is given. Adjustments of closed months are no part of it.';
