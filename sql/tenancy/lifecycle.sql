-- Tenants come, pause and go. Each function does all or nothing.

CREATE FUNCTION stormops_internal.announce_standing() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'announce_standing_wrapper';
COMMENT ON FUNCTION stormops_internal.announce_standing() IS 'Trigger: tells every backend to read the tenant''s standing afresh once this transaction commits.';

CREATE FUNCTION stormops_internal.legal_steps(OUT action text, OUT from_status text, OUT to_status text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.* FROM (VALUES
        ('suspend', 'active', 'suspended'),
        ('reactivate', 'suspended', 'active'),
        ('close', 'active', 'closed'),
        ('close', 'suspended', 'closed')
    ) AS s (action, from_status, to_status)
$$;
COMMENT ON FUNCTION stormops_internal.legal_steps() IS 'The steps between statuses that there are.';

CREATE FUNCTION stormops_internal.legal_step() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a tenant is closed, never deleted',
            HINT = 'SELECT * FROM stormops.close_tenant(tenant_id, reason);';
    END IF;
    -- A restore, which sets row_security off, brings tenants as they were.
    IF TG_OP = 'INSERT' AND NEW.status <> 'active' AND current_setting('row_security') = 'on'
        OR TG_OP = 'UPDATE' AND NEW.tenant_id <> OLD.tenant_id
        OR TG_OP = 'UPDATE' AND NEW.status <> OLD.status AND NOT EXISTS (
            SELECT FROM stormops_internal.legal_steps() AS s WHERE s.from_status = OLD.status AND s.to_status = NEW.status)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = CASE TG_OP WHEN 'INSERT' THEN 'a tenant begins active'
                ELSE format('a tenant cannot go from %s to %s', OLD.status, NEW.status) END,
            HINT = 'SELECT * FROM stormops_internal.legal_steps(); shows the steps that there are.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.legal_step() IS 'Trigger: refuses every other step, and a deletion, to whoever tries. Error: 55000.';

CREATE FUNCTION stormops_internal.log_event(
    tenant_id uuid, action text, from_status text, to_status text, reason text, user_id uuid DEFAULT NULL
) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    INSERT INTO stormops.tenant_events (tenant_id, action, from_status, to_status, reason, user_id, actor, acting_user)
    VALUES ($1, $2, $3, $4, $5, $6, stormops_internal.calling_role(),
        nullif(current_setting('app.current_user_id'), '')::uuid)
$$;
COMMENT ON FUNCTION stormops_internal.log_event(uuid, text, text, text, text, uuid) IS 'Writes a row of tenant_events.';

CREATE FUNCTION stormops.provision_tenant(
    org_name text, tier text, admin_email text,
    OUT tenant_id uuid, OUT admin_user_id uuid, OUT status text, OUT trial_ends_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    key text := stormops_internal.name_key(org_name);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF org_name IS NULL OR tier IS NULL OR admin_email IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'organisation name, tier and admin e-mail must not be null',
            HINT = 'SELECT * FROM stormops.provision_tenant(''ABC Roofing'', ''standard'', ''admin@abcroofing.example'');';
    END IF;
    IF key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'organisation name is not valid',
            DETAIL = 'A name has 1 to 200 characters, at least one letter or digit, and none that is invisible.',
            HINT = 'Use the name as people write it.';
    END IF;
    IF tier NOT IN ('trial', 'standard', 'enterprise') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown tier "%s"', left(tier, 50)),
            HINT = 'A tier is trial, standard or enterprise.';
    END IF;
    IF stormops_internal.was_erased(key) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'an organisation of this name was here, and is erased',
            DETAIL = 'Names are compared without regard to case, spacing and look-alike characters; an erased tenant keeps its name from others.',
            HINT = 'Choose a name that people cannot confuse with it.';
    END IF;
    trial_ends_at := CASE WHEN tier = 'trial' THEN now() + (SELECT make_interval(days => s.trial_days) FROM stormops_internal.tier_settings AS s WHERE s.tier = 'trial') END;
    INSERT INTO stormops.tenants AS t (org_name, name_key, tier, trial_ends_at)
    VALUES (stormops_internal.tidy_name(org_name), key, tier, trial_ends_at)
    ON CONFLICT (name_key) DO NOTHING
    RETURNING t.tenant_id, t.status INTO tenant_id, status;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = format('organisation "%s" already exists', (SELECT t.org_name FROM stormops.tenants AS t WHERE t.name_key = key)),
            DETAIL = 'Names are compared without regard to case, spacing and look-alike characters; a closed tenant keeps its name.',
            HINT = 'Choose a name that people cannot confuse with it.';
    END IF;
    PERFORM stormops_internal.log_event(tenant_id, 'provision', NULL, status, NULL);
    admin_user_id := stormops_internal.insert_user(tenant_id, admin_email, 'admin', NULL);
    INSERT INTO stormops.policy_modes (tenant_id, policy_mode, confidence, exploration, holdout)
    SELECT tenant_id, m.policy_mode, m.confidence, m.exploration, m.holdout FROM stormops.default_policy_modes() AS m;
    INSERT INTO stormops.guardrails (tenant_id, name, kind, most, days)
    SELECT tenant_id, g.name, g.kind, g.most, g.days FROM stormops.default_guardrails(tier) AS g;
    INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
    SELECT tenant_id, m.metric_name, m.unit, m.aggregation, m.unique_dimension, m.rollup_dimensions FROM stormops.default_metrics() AS m;
END
$$;
COMMENT ON FUNCTION stormops.provision_tenant(text, text, text) IS 'Makes a tenant with its first admin, the default policy modes, guardrails and metrics. tier: trial (30 days, see tier_settings), standard or enterprise. Returns tenant_id, admin_user_id, status, trial_ends_at. Errors: 22004 NULL; 22023 name, tier or e-mail is not valid; 23505 a name that people would confuse with it exists.';

CREATE FUNCTION stormops_internal.step_tenant(
    tenant_id uuid, action text, reason text, OUT from_status text, OUT to_status text, OUT changed_at timestamptz
)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF tenant_id IS NULL OR reason IS NULL OR btrim(reason) = '' OR char_length(reason) > 500 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN tenant_id IS NULL OR reason IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'tenant and reason must be given',
            DETAIL = 'A reason has 1 to 500 characters; it is kept in tenant_events.',
            HINT = format('SELECT * FROM stormops.%s_tenant(tenant_id, ''payment_failed'');', action);
    END IF;
    SELECT t.status INTO from_status FROM stormops.tenants AS t WHERE t.tenant_id = step_tenant.tenant_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', tenant_id),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    SELECT s.to_status INTO to_status FROM stormops_internal.legal_steps() AS s
    WHERE s.action = step_tenant.action AND s.from_status = step_tenant.from_status;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot %s a tenant that is %s', action, from_status),
            HINT = 'SELECT * FROM stormops_internal.legal_steps(); shows the steps that there are.';
    END IF;
    changed_at := now();
    UPDATE stormops.tenants AS t SET status = to_status, status_changed_at = changed_at WHERE t.tenant_id = step_tenant.tenant_id;
    PERFORM stormops_internal.log_event(tenant_id, action, from_status, to_status, reason);
END
$$;
COMMENT ON FUNCTION stormops_internal.step_tenant(uuid, text, text) IS 'Takes one legal step and logs it.';

CREATE FUNCTION stormops.suspend_tenant(tenant_id uuid, reason text, OUT from_status text, OUT to_status text, OUT changed_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN SELECT s.* INTO from_status, to_status, changed_at FROM stormops_internal.step_tenant(tenant_id, 'suspend', reason) AS s; END $$;
COMMENT ON FUNCTION stormops.suspend_tenant(uuid, text) IS 'Suspends a tenant from the next statement of any of its sessions: it reads and does not write. Returns from_status, to_status, changed_at. Errors: 22004, 22023 no reason; P0002 no such tenant; 55000 the tenant is not active.';

CREATE FUNCTION stormops.reactivate_tenant(
    tenant_id uuid, reason text DEFAULT 'reactivated', OUT from_status text, OUT to_status text, OUT changed_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN SELECT s.* INTO from_status, to_status, changed_at FROM stormops_internal.step_tenant(tenant_id, 'reactivate', coalesce(nullif(reason, ''), 'reactivated')) AS s; END $$;
COMMENT ON FUNCTION stormops.reactivate_tenant(uuid, text) IS 'Ends a suspension. Returns and errors as suspend_tenant(); 55000 if the tenant is not suspended.';

CREATE FUNCTION stormops.close_tenant(tenant_id uuid, reason text, OUT from_status text, OUT to_status text, OUT changed_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN SELECT s.* INTO from_status, to_status, changed_at FROM stormops_internal.step_tenant(tenant_id, 'close', reason) AS s; END $$;
COMMENT ON FUNCTION stormops.close_tenant(uuid, text) IS 'Closes a tenant for good: it neither reads nor writes; its rows stay until they are erased. Returns and errors as suspend_tenant().';

CREATE FUNCTION stormops.list_tenants(
    OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT users bigint,
    OUT created_at timestamptz, OUT status_changed_at timestamptz, OUT trial_ends_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, t.tier, t.status,
            (SELECT count(*) FROM stormops.users AS u WHERE u.tenant_id = t.tenant_id AND u.removed_at IS NULL),
            t.created_at, t.status_changed_at, t.trial_ends_at
        FROM stormops.tenants AS t
        ORDER BY t.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.list_tenants() IS 'Every tenant with its tier, status and number of users, oldest first. For operators and monitors.';
