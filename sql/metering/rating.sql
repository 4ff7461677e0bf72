-- From quantities to amounts. A set of tenants and months is rated in one statement: by the rollups for an invoice, by the
-- raw events for its proof. Nothing here writes.

CREATE FUNCTION stormops_internal.round_half_even(amount numeric, digits integer) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE
        -- A half: round() takes it away from zero, but not its own half, which is a quarter.
        WHEN pg_catalog.abs($1 OPERATOR(pg_catalog.-) pg_catalog.trunc($1, $2)) OPERATOR(pg_catalog.*) 2
                OPERATOR(pg_catalog.=) pg_catalog.power(10::pg_catalog.numeric, OPERATOR(pg_catalog.-) $2)
            THEN pg_catalog.round($1 OPERATOR(pg_catalog.*) 0.5, $2) OPERATOR(pg_catalog.*) 2
        ELSE pg_catalog.round($1, $2)
    END
$$;
COMMENT ON FUNCTION stormops_internal.round_half_even(numeric, integer) IS 'The amount to so many digits after the point, a half to the even neighbour (IEEE 754, ISO 80000-1 rule A).';

CREATE FUNCTION stormops_internal.billing_period(period text) RETURNS date
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF period IS NULL OR period !~ '^[0-9]{4}-(0[1-9]|1[0-2])(-01)?$' OR left(period, 4) < '2000' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a billing period is a calendar month',
            HINT = 'Write it as 2024-01, or as its first day.';
    END IF;
    RETURN make_date(left(period, 4)::integer, substr(period, 6, 2)::integer, 1);
END
$$;
COMMENT ON FUNCTION stormops_internal.billing_period(text) IS 'First day of the month that YYYY-MM or YYYY-MM-01 names, from 2000 on. Error: 22023.';

CREATE FUNCTION stormops_internal.month_start(period date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT pg_catalog.timezone('UTC', $1::pg_catalog.timestamp) $$;
COMMENT ON FUNCTION stormops_internal.month_start(date) IS 'The first moment of a day, UTC.';

CREATE FUNCTION stormops_internal.steps_of(
    tenants uuid[], actions text[], OUT tenant_id uuid, OUT nth bigint, OUT at timestamptz, OUT from_status text, OUT to_status text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.tenant_id, s.nth, min(s.happened_at) OVER (PARTITION BY s.tenant_id ORDER BY s.nth ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING),
        s.from_status, s.to_status
    FROM (
        -- The chain's order, which no clock makes. An event of this transaction is not in it yet, and is the last.
        SELECT e.*, row_number() OVER (PARTITION BY e.tenant_id ORDER BY (
            SELECT l.entry FROM stormops.tenant_log AS l
            WHERE l.tenant_id = e.tenant_id AND l.log = 'events' AND l.subject_id = e.event_id
        ) NULLS LAST, e.happened_at, e.event_id) AS nth
        FROM stormops.tenant_events AS e
        WHERE e.tenant_id = ANY ($1) AND e.action = ANY ($2)
    ) AS s
$$;
COMMENT ON FUNCTION stormops_internal.steps_of(uuid[], text[]) IS 'Such events of each tenant in the order in which they happened, 1, 2, 3 ..., and when: not after the next one, so that one from a clock that was ahead ends with what came after it.';

CREATE FUNCTION stormops_internal.tier_history(
    tenants uuid[], OUT tenant_id uuid, OUT tier text, OUT from_time timestamptz, OUT to_time timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH change AS (
        SELECT DISTINCT ON (e.tenant_id, h.hour) e.tenant_id, h.hour, e.to_status AS tier,
            first_value(e.from_status) OVER (PARTITION BY e.tenant_id ORDER BY e.nth) AS first_tier
        FROM stormops_internal.steps_of($1, '{set_tier}') AS e, date_trunc('hour', e.at, 'UTC') AS h (hour)
        ORDER BY e.tenant_id, h.hour, e.nth DESC
    )
    SELECT c.tenant_id, c.tier, c.hour, lead(c.hour, 1, 'infinity') OVER (PARTITION BY c.tenant_id ORDER BY c.hour) FROM change AS c
    UNION ALL
    SELECT c.tenant_id, min(c.first_tier), '-infinity', min(c.hour) FROM change AS c GROUP BY c.tenant_id
    UNION ALL
    SELECT t.tenant_id, t.tier, '-infinity', 'infinity' FROM stormops.tenants AS t
    WHERE t.tenant_id = ANY ($1) AND t.tenant_id NOT IN (SELECT c.tenant_id FROM change AS c)
$$;
COMMENT ON FUNCTION stormops_internal.tier_history(uuid[]) IS 'Which tier each tenant had when, by whole hours UTC: a change counts from the beginning of its hour.';

CREATE FUNCTION stormops_internal.active_history(
    tenants uuid[], OUT tenant_id uuid, OUT from_time timestamptz, OUT to_time timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH event AS (
        SELECT e.tenant_id, e.nth, e.at, e.to_status AS status
        FROM stormops_internal.steps_of($1, '{suspend,reactivate,close}') AS e
    ), step AS (
        SELECT t.tenant_id, 0 AS nth, least(t.created_at, f.at) AS at, 'active' AS status
        FROM stormops.tenants AS t LEFT JOIN event AS f ON f.tenant_id = t.tenant_id AND f.nth = 1
        WHERE t.tenant_id = ANY ($1)
        UNION ALL
        SELECT e.tenant_id, e.nth, e.at, e.status FROM event AS e
    )
    SELECT s.tenant_id, s.at, s.to_time
    FROM (SELECT s.*, lead(s.at, 1, 'infinity') OVER (PARTITION BY s.tenant_id ORDER BY s.nth) AS to_time FROM step AS s) AS s
    WHERE s.status = 'active'
$$;
COMMENT ON FUNCTION stormops_internal.active_history(uuid[]) IS 'When each tenant was active: from provisioning until it was closed, without suspensions.';

CREATE FUNCTION stormops_internal.price_segments(
    tenants uuid[], periods date[], books text[],
    OUT tenant_id uuid, OUT period date, OUT metric_name text, OUT price_id uuid, OUT from_time timestamptz, OUT to_time timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    -- The arrays' lengths are not known when this is planned: on a guess of ten it would loop over thousands. Loops
    -- that cannot be avoided then look so dear that each call would be compiled.
    SET enable_nestloop = off SET jit = off
    AS $$
    WITH asked AS MATERIALIZED (
        SELECT a.*, stormops_internal.month_start(a.period) AS from_time, stormops_internal.month_start((a.period + interval '1 month')::date) AS to_time
        FROM unnest($1, $2, $3) AS a (tenant_id, period, price_book)
    ), tier AS MATERIALIZED (
        SELECT h.* FROM stormops_internal.tier_history($1) AS h
    ), price AS MATERIALIZED (
        SELECT p.*, p.for_tenant IS NOT NULL OR p.tier IS NOT NULL AS special FROM stormops_internal.prices AS p WHERE p.price_book = ANY ($3)
    ), cut AS (
        SELECT a.tenant_id, a.period, a.price_book, a.to_time AS end_time, a.from_time FROM asked AS a
        UNION
        SELECT a.tenant_id, a.period, a.price_book, a.to_time, t.from_time FROM asked AS a
        JOIN tier AS t ON t.tenant_id = a.tenant_id AND t.from_time > a.from_time AND t.from_time < a.to_time
        UNION
        SELECT a.tenant_id, a.period, a.price_book, a.to_time, c.at
        FROM asked AS a
        JOIN (
            SELECT p.price_book, p.for_tenant, p.valid_from AS at FROM price AS p
            UNION SELECT p.price_book, p.for_tenant, p.valid_to FROM price AS p
        ) AS c ON c.price_book = a.price_book AND c.at > a.from_time AND c.at < a.to_time AND coalesce(c.for_tenant, a.tenant_id) = a.tenant_id
    ), interval_ AS MATERIALIZED (
        SELECT c.tenant_id, c.period, c.price_book, c.from_time, t.tier,
            lead(c.from_time, 1, c.end_time) OVER (PARTITION BY c.tenant_id, c.period ORDER BY c.from_time) AS to_time
        FROM cut AS c JOIN tier AS t ON t.tenant_id = c.tenant_id AND c.from_time >= t.from_time AND c.from_time < t.to_time
    ), candidate AS (
        SELECT i.*, p.metric_name, p.price_id, CASE WHEN p.tier IS NULL THEN 0 ELSE 1 END AS rank
        FROM interval_ AS i
        JOIN price AS p ON p.for_tenant IS NULL AND p.price_book = i.price_book AND coalesce(p.tier, i.tier) = i.tier
            AND p.valid_from <= i.from_time AND coalesce(p.valid_to, 'infinity') > i.from_time
        UNION ALL
        SELECT i.*, p.metric_name, p.price_id, 2
        FROM interval_ AS i
        JOIN price AS p ON p.for_tenant = i.tenant_id AND p.price_book = i.price_book
            AND p.valid_from <= i.from_time AND coalesce(p.valid_to, 'infinity') > i.from_time
    ), best AS (
        SELECT DISTINCT ON (c.tenant_id, c.period, c.metric_name, c.from_time) c.*
        FROM candidate AS c
        ORDER BY c.tenant_id, c.period, c.metric_name, c.from_time, c.rank DESC
    ), run AS (
        -- A cut that did not change the metric's price is none: neighbours with the same price are one run.
        SELECT b.*, count(*) FILTER (WHERE b.begins) OVER (PARTITION BY b.tenant_id, b.period, b.metric_name ORDER BY b.from_time) AS number
        FROM (
            SELECT b.*, ROW (b.price_id, b.from_time) IS DISTINCT FROM
                lag(ROW (b.price_id, b.to_time)) OVER (PARTITION BY b.tenant_id, b.period, b.metric_name ORDER BY b.from_time) AS begins
            FROM best AS b
        ) AS b
    )
    SELECT r.tenant_id, r.period, r.metric_name, (array_agg(r.price_id))[1], min(r.from_time), max(r.to_time)
    FROM run AS r
    GROUP BY r.tenant_id, r.period, r.metric_name, r.number
$$;
COMMENT ON FUNCTION stormops_internal.price_segments(uuid[], date[], text[]) IS 'Which price held for each metric in which part of the month, for every tenant, month and price book (arrays of one length).';
