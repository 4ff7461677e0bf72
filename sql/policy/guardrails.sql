-- The tenant's own rows of guardrails: what they may be, and which a tenant begins with. What they mean is in guarded.sql.

CREATE FUNCTION stormops_internal.legal_guardrail() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- A run asks all of them of every property.
    IF TG_OP = 'INSERT' AND (SELECT count(*) FROM stormops.guardrails AS g WHERE g.tenant_id = NEW.tenant_id) >= 50 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'a tenant has at most 50 guardrails',
            HINT = 'DELETE FROM stormops.guardrails WHERE NOT enabled; makes room.';
    END IF;
    IF NEW.time_zone IS NOT NULL THEN
        BEGIN
            PERFORM now() AT TIME ZONE NEW.time_zone;
        EXCEPTION WHEN invalid_parameter_value THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown time zone "%s"', left(NEW.time_zone, 100)),
                HINT = 'SELECT name FROM pg_timezone_names; America/Chicago is one.';
        END;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.legal_guardrail() IS 'Trigger: refuses what no CHECK can. Errors: 22023 no such time zone; 54000 more than 50 of a tenant.';

CREATE FUNCTION stormops.default_guardrails(
    tier text, OUT name text, OUT kind text, OUT most integer, OUT days integer
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT g.name, g.kind, g.most, g.days
    FROM (VALUES
        ('who refused', 'consent', NULL::integer, NULL::integer, NULL::text),
        ('controls of experiments', 'experiment_control', NULL, NULL, NULL),
        ('contacts in a month', 'frequency_cap', 3, 30, 'trial'),
        ('contacts in a month', 'frequency_cap', 4, 30, 'standard'),
        ('contacts in a month', 'frequency_cap', 6, 30, 'enterprise')
    ) AS g (name, kind, most, days, of_tier)
    WHERE coalesce(g.of_tier, $1) = $1
$$;
COMMENT ON FUNCTION stormops.default_guardrails(text) IS 'The guardrails that a new tenant of a tier (trial, standard, enterprise) gets: refusals are kept to, controls of experiments are not treated, and nobody is contacted more than 3, 4 or 6 times in 30 days. Columns as in guardrails; none for another tier.';

CREATE FUNCTION stormops.add_default_guardrails() RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant uuid := stormops.current_tenant();
    added text[];
BEGIN
    IF NOT stormops.may_write('admin') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an admin may add guardrails',
            HINT = 'SELECT * FROM stormops.guardrails; shows those that hold.';
    END IF;
    WITH written AS (
        INSERT INTO stormops.guardrails (tenant_id, name, kind, most, days)
        SELECT tenant, d.name, d.kind, d.most, d.days
        FROM stormops.tenants AS t CROSS JOIN LATERAL stormops.default_guardrails(t.tier) AS d
        WHERE t.tenant_id = tenant
        ON CONFLICT DO NOTHING
        RETURNING guardrails.name
    )
    SELECT coalesce(array_agg(w.name ORDER BY w.name), '{}') INTO added FROM written AS w;
    RETURN added;
END
$$;
COMMENT ON FUNCTION stormops.add_default_guardrails() IS 'Adds those of default_guardrails() of the tenant''s tier whose name it does not have, and returns their names: for a tenant of before 0.2.0, whose policies an upgrade does not change. Errors: 0B000 no tenant; 42501 not an admin; 54000 more than 50; 55000 suspended.';

CREATE FUNCTION stormops_internal.guardrails_in_force() RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE WHEN count(*) > 0
        THEN jsonb_build_object('guardrails', jsonb_agg(jsonb_strip_nulls(to_jsonb(g) - 'tenant_id' - 'enabled') ORDER BY g.name)) ELSE '{}' END
    FROM stormops.guardrails AS g
    WHERE g.tenant_id = stormops.current_tenant() AND g.enabled
$$;
COMMENT ON FUNCTION stormops_internal.guardrails_in_force() IS 'The tenant''s enabled guardrails as a run''s parameters keep them: {"guardrails": [...]}, or an empty object.';

CREATE FUNCTION stormops_internal.take_turn(tenant_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF EXISTS (
        SELECT FROM stormops.guardrails AS g
        WHERE g.tenant_id = take_turn.tenant_id AND g.enabled AND g.kind IN ('frequency_cap', 'spacing', 'area_capacity', 'budget')
    ) THEN
        -- An update, since a mere lock would let a REPEATABLE READ transaction go on with what it saw before.
        INSERT INTO stormops_internal.policy_turns AS t (for_tenant, runs) VALUES (take_turn.tenant_id, 1)
        ON CONFLICT ON CONSTRAINT policy_turns_pkey DO UPDATE SET runs = t.runs + 1;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.take_turn(uuid) IS 'Puts a run in line with the tenant''s others, if a guardrail counts what those decided: two storms at once do not both use the last of a budget. Before the storm''s own row is taken, so that two transactions of several runs cannot wait for each other.';
