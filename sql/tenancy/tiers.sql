-- A tenant's tier, and what changes with it.

CREATE FUNCTION stormops.set_tier(
    tenant_id uuid, tier text, reason text DEFAULT 'tier changed', OUT from_tier text, OUT to_tier text, OUT changed_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    tenant stormops.tenants;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_reason($3);
    IF $2 IS NULL OR $2 NOT IN ('standard', 'enterprise') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('a tenant cannot change to tier "%s"', coalesce(left($2, 50), 'NULL')),
            HINT = 'The tier becomes standard or enterprise; a trial is where a tenant may begin.';
    END IF;
    -- As set_quota(): waits a little for those who meter what the old or the new tier limits, and know of the old one only.
    PERFORM stormops_internal.patiently(format('SELECT stormops_internal.hold_quotas(%L, %L)', $1,
        ARRAY(SELECT DISTINCT q.metric_name FROM stormops_internal.tier_quotas AS q WHERE q.kind = 'hard')))
    WHERE $1 IS NOT NULL;
    SELECT t.* INTO tenant FROM stormops.tenants AS t WHERE t.tenant_id = $1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    IF tenant.status = 'closed' OR tenant.tier = $2 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = CASE WHEN tenant.status = 'closed' THEN 'the tenant is closed' ELSE format('the tenant''s tier is %s already', $2) END,
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    UPDATE stormops.tenants AS t SET tier = $2, trial_ends_at = NULL WHERE t.tenant_id = $1;
    -- Counted afresh by the next to write, since nobody counts where the tier sets no limit.
    DELETE FROM stormops.quota_counters AS c
    WHERE c.tenant_id = $1 AND NOT EXISTS (
        SELECT FROM stormops.quotas AS q WHERE q.tenant_id = $1 AND q.metric_name = c.metric_name AND q.period = c.period);
    PERFORM stormops_internal.log_event($1, 'set_tier', tenant.tier, $2, $3);
    from_tier := tenant.tier;
    to_tier := $2;
    changed_at := now();
END
$$;
COMMENT ON FUNCTION stormops.set_tier(uuid, text, text) IS 'Moves a tenant to tier standard or enterprise, a trial too. Prices of the tier hold from the beginning of this hour (UTC). Returns from_tier, to_tier, changed_at. For operators. Errors: 22004, 22023 no reason, no such tier; P0002 no such tenant; 55000 closed, or it has that tier.';
