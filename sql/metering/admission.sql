-- What every event passes, however it is inserted: keys, declared metrics, hard quotas.

CREATE FUNCTION stormops_internal.charge_quota(
    tenant_id uuid, metric_name text, period text, period_start timestamptz, aggregation text, used numeric, quota numeric
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    total numeric;
BEGIN
    -- The platform measures many tenants at once, and waits for none of them: what is past a counter that is held, or is not
    -- there yet, mend_quota_counters() or the first to write counts.
    IF NOT stormops_internal.has_tenant() THEN
        PERFORM FROM stormops.quota_counters AS c
        WHERE c.tenant_id = charge_quota.tenant_id AND c.metric_name = charge_quota.metric_name
            AND c.period = charge_quota.period AND c.period_start = charge_quota.period_start
        FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    -- The row is locked to the end of the transaction: writers of one metric of one tenant come one after the other.
    UPDATE stormops.quota_counters AS c
    SET used = CASE aggregation WHEN 'MAX' THEN greatest(c.used, used) ELSE c.used + used END
    WHERE c.tenant_id = charge_quota.tenant_id AND c.metric_name = charge_quota.metric_name
        AND c.period = charge_quota.period AND c.period_start = charge_quota.period_start
    RETURNING c.used INTO total;
    IF NOT FOUND THEN
        -- The first to write begins with what is there, its own rows among it; if another was first, it adds its own.
        INSERT INTO stormops.quota_counters AS c (tenant_id, metric_name, period, period_start, used)
        VALUES (tenant_id, metric_name, period, period_start,
            coalesce((SELECT u.quantity FROM stormops_internal.period_usage(tenant_id, metric_name, period, period_start) AS u), 0))
        ON CONFLICT ON CONSTRAINT quota_counters_pkey DO UPDATE
            SET used = CASE aggregation WHEN 'MAX' THEN greatest(c.used, charge_quota.used) ELSE c.used + charge_quota.used END
        RETURNING c.used INTO total;
    END IF;
    -- What the platform measures of many tenants at once is not lost because one of them has used its quota up.
    IF total > quota AND stormops_internal.has_tenant() THEN
        RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = format('quota of %s per %s for metric "%s" is exceeded', quota, period, metric_name),
            DETAIL = format('This would make it %s. Nothing was recorded.', trim_scale(total)),
            HINT = format('SELECT * FROM stormops.check_quota(%L); shows when it begins anew. An operator may raise it.', metric_name);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.charge_quota(uuid, text, text, timestamptz, text, numeric, numeric) IS 'Adds to the counter of a hard quota, for rows that are inserted already. Without a tenant in context, where the platform itself measures, it counts and refuses nothing. Error: 53400 it would exceed the quota.';

CREATE FUNCTION stormops_internal.claim_keys() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF stormops_internal.is_restore() THEN
        RETURN NULL;
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM new_usage AS n WHERE n.idempotency_key IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    -- Else a tenant could take the key of what the platform will measure of it.
    IF EXISTS (SELECT FROM new_usage AS n WHERE starts_with(n.idempotency_key, 'stormops:')) THEN
        PERFORM stormops_internal.refuse_usage('idempotency_key begins with stormops:, as the platform''s own do');
    END IF;
    BEGIN
        INSERT INTO stormops.usage_keys (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
        SELECT n.tenant_id, n.idempotency_key, n.usage_id, n.metric_name, n.metric_value, n.recorded_at
        FROM new_usage AS n
        WHERE n.idempotency_key IS NOT NULL
        ORDER BY n.idempotency_key COLLATE "C", n.tenant_id; -- two at once wait for each other in one direction only
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'idempotency_key was used before',
                DETAIL = 'Nothing was recorded.',
                HINT = 'stormops.record_usage() takes a repeat of the same event as a duplicate.';
    END;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.claim_keys() IS 'Trigger: keeps idempotency keys unique within the tenant, over all partitions. Errors: 22023 one of the platform''s own; 23505.';

CREATE FUNCTION stormops_internal.admit_usage() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    m record;
    q record;
    p record;
BEGIN
    -- Its batches, keys and counters come with it.
    IF stormops_internal.is_restore() THEN
        RETURN NULL;
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    -- First: the counters below begin with what is not rolled up.
    INSERT INTO stormops.usage_batches (tenant_id, batch_id)
    SELECT DISTINCT n.tenant_id, n.batch_id FROM new_usage AS n
    ON CONFLICT ON CONSTRAINT usage_batches_pkey DO NOTHING;
    FOR m IN
        SELECT n.tenant_id, n.metric_name,
            (SELECT true FROM stormops.metrics AS d WHERE d.tenant_id = n.tenant_id AND d.metric_name = n.metric_name) AS declared,
            n.first_at < (SELECT g.kept_from FROM stormops_internal.metering_progress AS g) AS dropped,
            -- The server's table of locks is small: a statement of the owner's over many tenants locks a metric for all of them.
            CASE WHEN count(*) OVER () <= 64 THEN n.tenant_id END AS held
        FROM (
            SELECT u.tenant_id, u.metric_name, min(u.recorded_at) AS first_at FROM new_usage AS u GROUP BY u.tenant_id, u.metric_name
        ) AS n
        ORDER BY n.tenant_id, n.metric_name
    LOOP
        IF m.declared IS NULL THEN
            PERFORM stormops_internal.require_metric(m.tenant_id, m.metric_name);
        END IF;
        IF m.dropped THEN
            PERFORM stormops_internal.refuse_usage('its time is one whose raw events were dropped');
        END IF;
        -- Writers share this lock; set_quota() waits for it, so that nobody writes past a new quota unseen.
        PERFORM stormops_internal.lock_quotas('stormops.quotas'::regclass::oid, m.held, m.metric_name, false);
        FOR q IN
            SELECT e.period, e.quota, e.aggregation FROM stormops_internal.effective_quotas(m.tenant_id, m.metric_name) AS e
            WHERE e.kind = 'hard' AND e.quota IS NOT NULL AND e.aggregation IN ('SUM', 'COUNT', 'MAX')
            ORDER BY e.period
        LOOP
            FOR p IN
                SELECT date_trunc(q.period, n.recorded_at, 'UTC') AS starts,
                    CASE q.aggregation WHEN 'SUM' THEN sum(n.metric_value) WHEN 'COUNT' THEN count(*) ELSE max(n.metric_value) END AS used
                FROM new_usage AS n
                WHERE n.tenant_id = m.tenant_id AND n.metric_name = m.metric_name
                GROUP BY 1
                ORDER BY 1
            LOOP
                PERFORM stormops_internal.charge_quota(m.tenant_id, m.metric_name, q.period, p.starts, q.aggregation, p.used, q.quota);
            END LOOP;
        END LOOP;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.admit_usage() IS 'Trigger: notes the batches that are to be rolled up; refuses events of undeclared metrics, those older than what is kept, and those beyond a hard quota. Errors: 22023; 53400.';
