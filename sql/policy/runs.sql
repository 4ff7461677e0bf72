-- A policy run: the decisions of policy_decisions(), counted by preview_policy() and written down by
-- apply_policy().

CREATE FUNCTION stormops_internal.require_open_storm(storm_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = require_open_storm.storm_id AND s.status = 'closed';
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('storm %s is closed', storm_id),
            HINT = 'UPDATE stormops.storms SET status = ''active'' ... opens it again.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_open_storm(uuid) IS 'Errors: 22004, P0002 no such storm in this tenant, 55000 closed.';

CREATE FUNCTION stormops_internal.raise_no_scores(storm_id uuid) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('storm %s has no scored property', storm_id),
        DETAIL = 'A property is decided if it is active and has a row in lead_uplift for this storm.',
        HINT = 'INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift) ... first.';
END
$$;
COMMENT ON FUNCTION stormops_internal.raise_no_scores(uuid) IS 'Error: 55000, the storm has no scored property.';

CREATE FUNCTION stormops_internal.count_decisions(decisions bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant uuid := stormops.current_tenant();
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted, took_ms)
    VALUES (tenant, 'policy_decisions_log', stormops.new_id(), decisions, 0,
        greatest(0, extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000));
END
$$;
COMMENT ON FUNCTION stormops_internal.count_decisions(bigint) IS 'Adds to the row counts how many decisions a run has written, as triggers do for tables.';

CREATE FUNCTION stormops_internal.policy_tally(
    counts jsonb,
    OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint, OUT reasons jsonb, OUT expected_value numeric
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.treat, round(100.0 * t.treat / nullif(t.treat + t.hold, 0), 1), t.hold, t.excluded, t.reasons, t.expected_value
    FROM (
        SELECT coalesce(sum(g.n) FILTER (WHERE g.decision = 'treat'), 0)::bigint AS treat,
            coalesce(sum(g.n) FILTER (WHERE g.decision = 'hold'), 0)::bigint AS hold,
            coalesce(sum(g.n) FILTER (WHERE g.decision = 'exclude'), 0)::bigint AS excluded,
            jsonb_object_agg(g.reason, g.n) AS reasons,
            round(coalesce(sum(g.value) FILTER (WHERE g.decision = 'treat'), 0), 2) AS expected_value
        FROM jsonb_to_recordset($1) AS g (decision text, reason text, n bigint, value numeric)
    ) AS t
$$;
COMMENT ON FUNCTION stormops_internal.policy_tally(jsonb) IS 'Folds what decision_counts() gives into one row.';

CREATE FUNCTION stormops.preview_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate',
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid, OUT basis text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- as policy_parameters()
    SET jit = off -- compiling costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    parameters jsonb;
    counts jsonb;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    policy_mode := coalesce(nullif(policy_mode, ''), 'moderate');
    PERFORM stormops_internal.require_open_storm(storm_id);
    parameters := stormops.policy_parameters(policy_mode);
    basis := CASE WHEN parameters ? 'calibrations' THEN 'calibrations' ELSE 'scores' END;
    counts := stormops_internal.count_policy(stormops.current_tenant(), storm_id, stormops_internal.policy_numbers(parameters), parameters::text);
    IF counts IS NULL THEN
        PERFORM stormops_internal.raise_no_scores(storm_id);
    END IF;
    SELECT t.* INTO treat, treat_pct, hold, excluded, reasons, expected_value FROM stormops_internal.policy_tally(counts) AS t;
    SELECT r.run_id INTO supersedes FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = preview_policy.storm_id AND r.superseded_at IS NULL;
END
$$;
COMMENT ON FUNCTION stormops.preview_policy(uuid, text) IS 'What apply_policy() would decide now; writes nothing. run_id is NULL, supersedes the run that would be replaced. Other columns and errors as there.';

CREATE FUNCTION stormops.apply_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate', supersede boolean DEFAULT false,
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid, OUT basis text
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- as policy_parameters()
    SET jit = off -- compiling costs more than it saves
    -- Scores that are too many to be gathered come by their keys, so that nothing grows with their number.
    SET enable_sort = off
    SET enable_incremental_sort = off
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    parameters jsonb;
    written record;
    decided_at timestamptz := now();
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    policy_mode := coalesce(nullif(policy_mode, ''), 'moderate');
    supersede := coalesce(supersede, false);
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may apply a policy',
            HINT = 'SELECT * FROM stormops.preview_policy(storm_id, policy_mode); writes nothing.';
    END IF;
    PERFORM stormops_internal.take_turn(tenant);
    -- Two runs of one storm stand in line here, and the second finds what the first has written. An
    -- update, since a mere lock would let a REPEATABLE READ transaction go on with what it saw before.
    UPDATE stormops.storms AS s SET status = s.status WHERE s.tenant_id = tenant AND s.storm_id = apply_policy.storm_id;
    PERFORM stormops_internal.require_open_storm(storm_id);
    parameters := stormops.policy_parameters(policy_mode);
    basis := CASE WHEN parameters ? 'calibrations' THEN 'calibrations' ELSE 'scores' END;
    -- A transaction that began earlier and waited is the later decision all the same.
    decided_at := greatest(decided_at, (
        SELECT max(r.decided_at) FROM stormops.policy_runs AS r WHERE r.tenant_id = tenant AND r.storm_id = apply_policy.storm_id));
    SELECT r.run_id INTO supersedes FROM stormops.policy_runs AS r
    WHERE r.tenant_id = tenant AND r.storm_id = apply_policy.storm_id AND r.superseded_at IS NULL;
    IF FOUND AND supersede IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('storm %s has a policy applied already', storm_id),
            DETAIL = format('Its current run is %s.', supersedes),
            HINT = 'apply_policy(storm_id, policy_mode, supersede => true) replaces it; the old run stays in the log.';
    END IF;

    run_id := stormops.new_id();
    parameters := parameters || stormops_internal.keep_inputs(storm_id, run_id, parameters);
    SELECT w.* INTO written
    -- With run_id guardrails are what keep_inputs() found just now.
    FROM stormops_internal.write_decisions(tenant, run_id, storm_id, decided_at, policy_mode, stormops_internal.policy_numbers(parameters),
        (parameters || jsonb_build_object('run_id', run_id))::text) AS w;
    IF written.decisions = 0 THEN
        PERFORM stormops_internal.raise_no_scores(storm_id);
    END IF;
    SELECT t.* INTO treat, treat_pct, hold, excluded, reasons, expected_value FROM stormops_internal.policy_tally(written.counts) AS t;

    UPDATE stormops.policy_runs AS r SET superseded_at = decided_at WHERE r.tenant_id = tenant AND r.run_id = supersedes;
    INSERT INTO stormops.policy_runs (
        tenant_id, run_id, storm_id, policy_mode, parameters, decided_at, decided_by, acting_user,
        treat, hold, excluded, reasons, expected_value, supersedes
    )
    VALUES (
        tenant, run_id, storm_id, policy_mode, parameters, decided_at, stormops_internal.calling_role(), stormops.current_user_id(),
        treat, hold, excluded, reasons, expected_value, supersedes
    );
    INSERT INTO stormops.policy_run_digests (tenant_id, run_id, decisions, digest, fingerprints, blocks)
    VALUES (tenant, run_id, written.decisions, written.digest, written.fingerprints, written.blocks);
    PERFORM stormops_internal.count_decisions(written.decisions);
    INSERT INTO stormops.tenant_usage (metric_name, metric_value, dimensions)
    SELECT m.metric_name, m.n, jsonb_build_object('policy_mode', policy_mode, 'run_id', run_id, 'storm_id', storm_id)
    FROM (VALUES ('policy_run', 1), ('policy_decision', treat + hold + excluded)) AS m (metric_name, n);
END
$$;
COMMENT ON FUNCTION stormops.apply_policy(uuid, text, boolean) IS 'Decides which scored properties to treat or hold, and logs each decision with its propensity, all or none. supersede => true replaces the storm''s current run. Returns run_id, counts, treat_pct (of treat+hold), reasons, expected_value, basis. Errors: 0B000 no tenant; 22004, 22023 unknown mode; 42501 a field_user or viewer; 55000 closed, no scores, applied already, suspended; P0002 no storm.';
