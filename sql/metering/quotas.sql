-- Quotas: set by operators, by tenant or by tier; hard ones hold at the write.

CREATE FUNCTION stormops_internal.lock_quotas(relation oid, tenant_id uuid, metric_name text, changes boolean) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'lock_quotas_wrapper';
COMMENT ON FUNCTION stormops_internal.lock_quotas(oid, uuid, text, boolean) IS 'Takes the locks of a metric of a tenant (NULL: of every tenant) to the end of the transaction: shared to meter it, or alone to change its quota. The table makes them StormOps'' own.';

CREATE FUNCTION stormops_internal.hold_quotas(tenant_id uuid, metrics text[]) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops_internal.lock_quotas('stormops.quotas'::regclass::oid, $1, m.metric_name, true)
    FROM (SELECT m.metric_name FROM unnest(metrics) AS m (metric_name) ORDER BY m.metric_name) AS m;
    RETURN true;
END
$$;
COMMENT ON FUNCTION stormops_internal.hold_quotas(uuid, text[]) IS 'Of a change of quotas: keeps what meters these metrics of a tenant, or with NULL of all, out until the transaction ends. To be called patiently(): without it what is being metered just then is counted by mend_quota_counters().';

CREATE FUNCTION stormops_internal.mend_quota_counters() RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- A counter that a writer holds has its turn at the next call.
    WITH behind AS (
        SELECT c.tenant_id, c.metric_name, c.period, c.period_start, r.quantity
        FROM stormops.quota_counters AS c
        JOIN stormops.usage_rollups AS r ON r.tenant_id = c.tenant_id AND r.metric_name = c.metric_name
            AND r.grain = c.period AND r.bucket = c.period_start AND r.dimensions = '{}'
        WHERE c.period_start >= now() - interval '2 months' AND c.used < r.quantity
        FOR UPDATE OF c SKIP LOCKED
    )
    UPDATE stormops.quota_counters AS c SET used = greatest(c.used, b.quantity)
    FROM behind AS b
    WHERE c.tenant_id = b.tenant_id AND c.metric_name = b.metric_name AND c.period = b.period AND c.period_start = b.period_start
$$;
COMMENT ON FUNCTION stormops_internal.mend_quota_counters() IS 'Counts what was metered past a counter: by who did not know of a new quota yet, or by the platform while a tenant held its counter.';

CREATE FUNCTION stormops_internal.effective_quotas(
    tenant_id uuid, metric_name text, OUT period text, OUT kind text, OUT quota numeric, OUT aggregation text
) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT q.period, q.kind, q.quota, m.aggregation
    FROM stormops.metrics AS m
    CROSS JOIN LATERAL (
        SELECT own.period, own.kind, own.quota FROM stormops.quotas AS own
        WHERE own.tenant_id = $1 AND own.metric_name = $2
        UNION ALL
        SELECT d.period, d.kind, d.quota
        FROM stormops.tenants AS t
        JOIN stormops_internal.tier_quotas AS d ON d.tier = t.tier AND d.metric_name = $2
        WHERE t.tenant_id = $1 AND NOT EXISTS (
            SELECT FROM stormops.quotas AS own
            WHERE own.tenant_id = $1 AND own.metric_name = $2 AND own.period = d.period)
    ) AS q
    WHERE m.tenant_id = $1 AND m.metric_name = $2
$$;
COMMENT ON FUNCTION stormops_internal.effective_quotas(uuid, text) IS 'The quotas of a tenant''s metric: its own, else its tier''s, for each period. quota NULL: no limit.';

CREATE FUNCTION stormops_internal.every_quota(OUT tenant_id uuid, OUT metric_name text, OUT period text, OUT kind text, OUT quota numeric) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT own.tenant_id, own.metric_name, own.period, own.kind, own.quota FROM stormops.quotas AS own
    UNION ALL
    SELECT t.tenant_id, d.metric_name, d.period, d.kind, d.quota
    FROM stormops_internal.tier_quotas AS d JOIN stormops.tenants AS t ON t.tier = d.tier
    WHERE NOT EXISTS (
        SELECT FROM stormops.quotas AS own
        WHERE own.tenant_id = t.tenant_id AND own.metric_name = d.metric_name AND own.period = d.period)
$$;
COMMENT ON FUNCTION stormops_internal.every_quota() IS 'The quotas of every tenant''s metrics: its own, else its tier''s, for each period. quota NULL: no limit.';

CREATE FUNCTION stormops_internal.require_legal_quota(metric_name text, quota numeric, period text, kind text, aggregations text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF metric_name IS NULL OR period IS NULL OR kind IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'metric, period and kind must be given',
            HINT = 'Only the quota itself may be NULL: no limit.';
    END IF;
    IF period NOT IN ('hour', 'day', 'month') OR kind NOT IN ('hard', 'soft') OR quota NOT BETWEEN 0 AND 1e15
        OR kind = 'hard' AND aggregations && '{LATEST,UNIQUE}'
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'quota is not valid',
            DETAIL = 'A period is hour, day or month; a kind hard or soft; a quota 0 to 1e15.',
            HINT = CASE WHEN kind = 'hard' AND aggregations && '{LATEST,UNIQUE}'
                THEN 'A metric that aggregates by LATEST or UNIQUE takes soft quotas only.'
                ELSE 'SELECT stormops.set_quota(tenant_id, ''model_call'', 10000, ''month'', ''hard'');' END;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_legal_quota(text, numeric, text, text, text[]) IS 'Errors: 22004, 22023.';

CREATE FUNCTION stormops.set_quota(
    tenant_id uuid, metric_name text, quota numeric, period text DEFAULT 'month', kind text DEFAULT 'hard'
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    aggregation text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, '{}');
    SELECT m.aggregation INTO aggregation FROM stormops.metrics AS m
    WHERE m.tenant_id = set_quota.tenant_id AND m.metric_name = set_quota.metric_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN tenant_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('tenant %s has no metric "%s"', coalesce(tenant_id::text, 'NULL'), left(metric_name, 63)),
            HINT = 'SELECT stormops.declare_metric(metric_name, unit, tenant_id => ...);';
    END IF;
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, ARRAY[aggregation]);
    -- Waits a little for the transactions that have metered it and do not know of this; what those meter that go on is
    -- counted once it is rolled up.
    PERFORM stormops_internal.patiently(format('SELECT stormops_internal.hold_quotas(%L, ARRAY[%L])', tenant_id, metric_name));
    INSERT INTO stormops.quotas AS q (tenant_id, metric_name, period, kind, quota, set_by)
    VALUES (tenant_id, metric_name, period, kind, quota, stormops_internal.calling_role())
    ON CONFLICT ON CONSTRAINT quotas_pkey DO UPDATE
        SET kind = excluded.kind, quota = excluded.quota, set_at = excluded.set_at, set_by = excluded.set_by;
    -- Counted afresh by the next to write, since nobody may have counted so far.
    DELETE FROM stormops.quota_counters AS c
    WHERE c.tenant_id = set_quota.tenant_id AND c.metric_name = set_quota.metric_name AND c.period = set_quota.period;
END
$$;
COMMENT ON FUNCTION stormops.set_quota(uuid, text, numeric, text, text) IS 'Sets the quota of a tenant''s metric for a period, instead of its tier''s. quota: most of the metric''s quantity, 0 to 1e15; NULL: no limit. period: hour, day, month (calendar, UTC). kind: hard (SUM, COUNT, MAX: refused at the write) or soft (alerts). Waits a second at most for transactions that are metering it. Errors: 22004; 22023; P0002 no such tenant or metric.';

CREATE FUNCTION stormops.set_tier_quota(
    tier text, metric_name text, quota numeric, period text DEFAULT 'month', kind text DEFAULT 'hard'
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    aggregations text[];
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, '{}');
    IF tier IS NULL OR tier NOT IN ('trial', 'standard', 'enterprise') OR metric_name !~ '^[a-z][a-z0-9_.]{0,62}$' THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN tier IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = format('unknown tier "%s", or no name of a metric', left(tier, 50)), HINT = 'A tier is trial, standard or enterprise.';
    END IF;
    -- As set_quota(), for every tenant.
    PERFORM stormops_internal.patiently(format('SELECT stormops_internal.hold_quotas(NULL, ARRAY[%L])', metric_name));
    SELECT array_agg(m.aggregation) INTO aggregations
    FROM stormops.metrics AS m
    JOIN stormops.tenants AS t ON t.tenant_id = m.tenant_id
    WHERE t.tier = set_tier_quota.tier AND m.metric_name = set_tier_quota.metric_name;
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, aggregations);
    INSERT INTO stormops_internal.tier_quotas AS q (tier, metric_name, period, kind, quota)
    VALUES (tier, metric_name, period, kind, quota)
    ON CONFLICT ON CONSTRAINT tier_quotas_pkey DO UPDATE SET kind = excluded.kind, quota = excluded.quota;
    DELETE FROM stormops.quota_counters AS c
    USING stormops.tenants AS t
    WHERE t.tenant_id = c.tenant_id AND t.tier = set_tier_quota.tier
        AND c.metric_name = set_tier_quota.metric_name AND c.period = set_tier_quota.period
        AND NOT EXISTS (
            SELECT FROM stormops.quotas AS q
            WHERE q.tenant_id = c.tenant_id AND q.metric_name = c.metric_name AND q.period = c.period);
END
$$;
COMMENT ON FUNCTION stormops.set_tier_quota(text, text, numeric, text, text) IS 'Sets the quota of a tier''s tenants that have none of their own for the metric and period. Arguments as set_quota(). Errors: 22004; 22023.';

CREATE FUNCTION stormops.check_quota(
    metric_name text, tenant_id uuid DEFAULT NULL, OUT period text, OUT kind text, OUT quota numeric, OUT used numeric,
    OUT remaining numeric, OUT percent numeric, OUT resets_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    -- Any user of the tenant may ask what is left.
    target uuid := CASE WHEN tenant_id IS NULL THEN stormops.current_tenant() ELSE stormops_internal.target_tenant(tenant_id, false) END;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM stormops.metrics AS m WHERE m.tenant_id = target AND m.metric_name = $1) THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN $1 IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('metric "%s" is not declared', left($1, 63)), HINT = 'TABLE stormops.metrics; shows this tenant''s.';
    END IF;
    RETURN QUERY
        SELECT e.period, e.kind, e.quota, u.quantity, greatest(e.quota - u.quantity, 0),
            round(100 * u.quantity / nullif(e.quota, 0), 1), stormops_internal.next_period(e.period, s.starts)
        FROM stormops_internal.effective_quotas(target, $1) AS e
        CROSS JOIN LATERAL (SELECT date_trunc(e.period, now(), 'UTC') AS starts) AS s
        CROSS JOIN LATERAL (
            SELECT coalesce((SELECT p.quantity FROM stormops_internal.period_usage(target, $1, e.period, s.starts) AS p), 0) AS quantity
        ) AS u
        ORDER BY e.period;
END
$$;
COMMENT ON FUNCTION stormops.check_quota(text, uuid) IS 'The quotas of a metric in the tenant in context (NULL) or a named one: one row for each period that has one. quota (NULL: no limit), used in the current period, remaining (not below 0), percent of the quota, resets_at: start of the next period. For anybody in the tenant; an operator names any. Errors: 22004; 42501; P0002 not declared.';

CREATE FUNCTION stormops.expire_trials(OUT tenant_id uuid, OUT trial_ends_at timestamptz) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        WITH expired AS (
            UPDATE stormops.tenants AS t SET status = 'suspended', status_changed_at = now()
            WHERE t.tenant_id IN (
                SELECT o.tenant_id FROM stormops.tenants AS o
                WHERE o.status = 'active' AND o.tier = 'trial' AND o.trial_ends_at <= now()
                FOR NO KEY UPDATE SKIP LOCKED) -- whom an operator is just about to change has its turn at the next call
            RETURNING t.tenant_id, t.trial_ends_at
        ), logged AS (
            INSERT INTO stormops.tenant_events (tenant_id, action, from_status, to_status, reason, actor)
            SELECT e.tenant_id, 'suspend', 'active', 'suspended', 'trial expired', stormops_internal.calling_role() FROM expired AS e
        )
        SELECT e.tenant_id, e.trial_ends_at FROM expired AS e ORDER BY e.trial_ends_at, e.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.expire_trials() IS 'Suspends every active tenant whose trial has ended, and returns them; none is left for a second call. For a schedule.';
