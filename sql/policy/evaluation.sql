-- What another policy would have earned on a storm's log: off-policy evaluation. The estimators are Rust.

CREATE FUNCTION stormops_internal.evaluation_take(
    state internal, property_id uuid, treated boolean, propensity double precision, score double precision,
    score_sd double precision, converted boolean, job_margin double precision, contact_cost double precision
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_evaluation_take';
COMMENT ON FUNCTION stormops_internal.evaluation_take(internal, uuid, boolean, double precision, double precision, double precision, boolean, double precision, double precision) IS 'Of evaluation_agg(): takes in a decision.';
CREATE FUNCTION stormops_internal.evaluation_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_evaluation_combine';
COMMENT ON FUNCTION stormops_internal.evaluation_combine(internal, internal) IS 'Of evaluation_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.evaluation_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_evaluation_serialize';
COMMENT ON FUNCTION stormops_internal.evaluation_serialize(internal) IS 'Of evaluation_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.evaluation_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_evaluation_deserialize';
COMMENT ON FUNCTION stormops_internal.evaluation_deserialize(bytea, internal) IS 'Of evaluation_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.evaluation_finish(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_evaluation_finish';
COMMENT ON FUNCTION stormops_internal.evaluation_finish(internal) IS 'Of evaluation_agg(): sorts.';

CREATE AGGREGATE stormops_internal.evaluation_agg(
    property_id uuid, treated boolean, propensity double precision, score double precision, score_sd double precision,
    converted boolean, job_margin double precision, contact_cost double precision
) (
    SFUNC = stormops_internal.evaluation_take, STYPE = internal, FINALFUNC = stormops_internal.evaluation_finish,
    COMBINEFUNC = stormops_internal.evaluation_combine, SERIALFUNC = stormops_internal.evaluation_serialize,
    DESERIALFUNC = stormops_internal.evaluation_deserialize, PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.evaluation_agg(uuid, boolean, double precision, double precision, double precision, boolean, double precision, double precision) IS 'Collects decisions, each with its propensity, for value_policies(). converted: NULL is false; job_margin, contact_cost: NULL where the property has none of its own. 48 bytes a row. Errors: 53200 out of memory; 54000 more than stormops.max_aggregate_rows.';

CREATE FUNCTION stormops_internal.value_policies(log bytea, prices jsonb, targets jsonb) RETURNS TABLE (
    policy text, status text, n bigint, unit text, treat_share double precision,
    ips double precision, ips_se double precision, ips_low double precision, ips_high double precision,
    snips double precision, snips_se double precision, snips_low double precision, snips_high double precision,
    direct double precision, direct_se double precision, direct_low double precision, direct_high double precision,
    doubly_robust double precision, doubly_robust_se double precision, doubly_robust_low double precision, doubly_robust_high double precision,
    gain double precision, gain_low double precision, gain_high double precision,
    effective_n double precision, largest_weight double precision, largest_share double precision,
    mean_weight double precision, weights_suspect boolean, unsupported_share double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 5 AS 'MODULE_PATHNAME', 'value_policies_wrapper';
COMMENT ON FUNCTION stormops_internal.value_policies(bytea, jsonb, jsonb) IS 'What each target would have earned on a state of evaluation_agg(), a row each, as evaluate_policy(). prices: parameters of a run; targets: an array of {policy, treat} or {policy, parameters}. Errors: 22023 parameters; 22P03 not a state; 53200; 54000 more than 100 targets.';

-- A set of one, so that it may run in parallel.
CREATE FUNCTION stormops_internal.evaluation_log(run_id uuid) RETURNS TABLE (log bytea)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- planned for a run of any size: by the index, or a small one reads a month's log
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    SELECT stormops_internal.evaluation_agg(d.property_id, d.decision = 'treat', d.propensity, d.score, d.score_sd,
        o.converted, p.job_margin, p.contact_cost)
    FROM (
        SELECT d.property_id, d.decision, d.propensity, d.score, d.score_sd
        FROM stormops.policy_decisions_log AS d
        WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = $1 AND d.decision IN ('treat', 'hold')
            AND d.model_version <> ALL (ARRAY(
                SELECT k.model_version FROM stormops.uplift_calibrations AS k WHERE k.tenant_id = stormops.current_tenant()))
        UNION ALL
        -- A policy decides by what scores stand for, where that is kept; where nothing is, nobody looks.
        SELECT d.property_id, d.decision, d.propensity, e.effect, e.sd
        FROM stormops.policy_decisions_log AS d
        JOIN stormops.uplift_calibrations AS k ON k.tenant_id = d.tenant_id AND k.model_version = d.model_version
        CROSS JOIN LATERAL stormops.calibrated_uplift(d.score, k.scores, k.effects, k.effect_sds) AS e
        WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = $1 AND d.decision IN ('treat', 'hold')
            AND EXISTS (SELECT FROM stormops.uplift_calibrations AS k WHERE k.tenant_id = stormops.current_tenant())
    ) AS d
    LEFT JOIN (
        SELECT o.property_id, bool_or(o.converted) AS converted
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND o.run_id = $1 AND NOT o.late
        GROUP BY o.property_id
    ) AS o ON o.property_id = d.property_id
    LEFT JOIN (
        SELECT p.property_id, p.job_margin::float8 AS job_margin, p.contact_cost::float8 AS contact_cost
        FROM stormops.properties AS p
        WHERE p.tenant_id = stormops.current_tenant() AND (p.job_margin IS NOT NULL OR p.contact_cost IS NOT NULL)
    ) AS p ON p.property_id = d.property_id
$$;
COMMENT ON FUNCTION stormops_internal.evaluation_log(uuid) IS 'The treated and held of a run with their outcomes in time and their own money, as a state for value_policies(): one row.';

CREATE FUNCTION stormops_internal.evaluation_target(policy_mode text, parameters jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- as policy_parameters()
    AS $$
#variable_conflict use_variable
DECLARE
    mode jsonb;
    unknown text;
BEGIN
    IF policy_mode IN ('treat_all', 'treat_none') AND NOT EXISTS (
        SELECT FROM stormops.policy_modes AS m WHERE m.tenant_id = stormops.current_tenant() AND m.policy_mode = evaluation_target.policy_mode
    ) THEN
        IF parameters IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('%s has no parameters', policy_mode),
                HINT = 'Leave parameters out, or name a mode of stormops.policy_modes whose parameters they replace.';
        END IF;
        RETURN jsonb_build_object('policy', policy_mode, 'treat', policy_mode = 'treat_all');
    END IF;
    mode := stormops.policy_parameters(policy_mode);
    IF parameters IS NOT NULL THEN
        IF jsonb_typeof(parameters) = 'object' THEN
            SELECT k INTO unknown FROM jsonb_object_keys(parameters) AS k
            WHERE NOT mode ? k AND k NOT IN ('margin', 'contact_cost', 'capacity', 'budget') LIMIT 1;
        END IF;
        IF jsonb_typeof(parameters) <> 'object' OR unknown IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = CASE WHEN unknown IS NULL THEN 'parameters must be a JSON object' ELSE format('a policy has no parameter "%s"', left(unknown, 50)) END,
                HINT = 'Those of stormops.policy_parameters(policy_mode), such as {"confidence": 0.8, "exploration": 0, "holdout": 0}.';
        END IF;
    END IF;
    RETURN jsonb_build_object('policy', policy_mode, 'parameters', mode || coalesce(parameters, '{}'));
END
$$;
COMMENT ON FUNCTION stormops_internal.evaluation_target(text, jsonb) IS 'A target of value_policies(): a mode, with some of its parameters replaced; or treat_all, treat_none, unless a mode has that name. Errors: 22023 no such mode, parameters.';

CREATE FUNCTION stormops_internal.evaluation_run(
    storm_id uuid, OUT run_id uuid, OUT policy_mode text, OUT parameters jsonb, OUT excluded bigint, OUT outcomes_due timestamptz, OUT status text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT r.run_id, r.policy_mode, r.parameters, r.excluded, r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer)
    INTO run_id, policy_mode, parameters, excluded, outcomes_due
    FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = evaluation_run.storm_id AND r.superseded_at IS NULL;
    status := CASE
        WHEN run_id IS NULL THEN 'no_policy'
        WHEN NOT EXISTS (
            SELECT FROM stormops.policy_outcomes AS o
            WHERE o.tenant_id = stormops.current_tenant() AND o.run_id = evaluation_run.run_id AND NOT o.late
        ) THEN 'no_outcomes'
        ELSE 'ok'
    END;
END
$$;
COMMENT ON FUNCTION stormops_internal.evaluation_run(uuid) IS 'A storm''s current run, and whether it can be evaluated: status ok, no_policy, no_outcomes. Errors: 22004; P0002 no such storm.';

CREATE FUNCTION stormops.evaluate_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate', parameters jsonb DEFAULT NULL,
    OUT status text, OUT policy text, OUT n bigint, OUT excluded bigint, OUT unit text, OUT treat_share double precision,
    OUT ips double precision, OUT ips_low double precision, OUT ips_high double precision,
    OUT snips double precision, OUT snips_low double precision, OUT snips_high double precision,
    OUT direct double precision, OUT direct_low double precision, OUT direct_high double precision,
    OUT doubly_robust double precision, OUT doubly_robust_se double precision, OUT doubly_robust_low double precision,
    OUT doubly_robust_high double precision, OUT gain double precision, OUT gain_low double precision, OUT gain_high double precision,
    OUT effective_n double precision, OUT largest_weight double precision, OUT largest_share double precision,
    OUT mean_weight double precision, OUT weights_suspect boolean, OUT unsupported_share double precision,
    OUT run_id uuid, OUT logged_by text, OUT outcomes_due timestamptz
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    run record;
    target jsonb;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    policy := coalesce(nullif(policy_mode, ''), 'moderate');
    run := stormops_internal.evaluation_run(storm_id);
    target := stormops_internal.evaluation_target(policy, parameters);
    status := run.status;
    run_id := run.run_id;
    logged_by := run.policy_mode;
    excluded := run.excluded;
    outcomes_due := run.outcomes_due;
    IF status = 'ok' THEN
        SELECT v.status, v.n, v.unit, v.treat_share, v.ips, v.ips_low, v.ips_high, v.snips, v.snips_low, v.snips_high,
            v.direct, v.direct_low, v.direct_high, v.doubly_robust, v.doubly_robust_se, v.doubly_robust_low, v.doubly_robust_high,
            v.gain, v.gain_low, v.gain_high, v.effective_n, v.largest_weight, v.largest_share, v.mean_weight, v.weights_suspect, v.unsupported_share
        INTO status, n, unit, treat_share, ips, ips_low, ips_high, snips, snips_low, snips_high,
            direct, direct_low, direct_high, doubly_robust, doubly_robust_se, doubly_robust_low, doubly_robust_high,
            gain, gain_low, gain_high, effective_n, largest_weight, largest_share, mean_weight, weights_suspect, unsupported_share
        FROM stormops_internal.evaluation_log(run_id) AS l
        CROSS JOIN LATERAL stormops_internal.value_policies(l.log, run.parameters, jsonb_build_array(target)) AS v;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.evaluate_policy(uuid, text, jsonb) IS 'What a mode (or treat_all, treat_none), with parameters replaced, would have earned for 1,000 properties of a storm''s log: ips, snips, direct, doubly_robust, 95 % intervals; gain over treat_none. status: ok, small_sample, unsupported (the log never does what it would), no_policy, no_outcomes, mixed_units. Errors: 22004; 22023 mode, parameters; 53200; 54000; P0002.';

CREATE FUNCTION stormops.compare_policies(
    storm_id uuid,
    OUT policy text, OUT status text, OUT n bigint, OUT unit text, OUT treat_share double precision,
    OUT net_value double precision, OUT net_value_low double precision, OUT net_value_high double precision,
    OUT gain double precision, OUT gain_low double precision, OUT gain_high double precision,
    OUT effective_n double precision, OUT largest_weight double precision, OUT weights_suspect boolean,
    OUT unsupported_share double precision, OUT applied boolean
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    run record := stormops_internal.evaluation_run(storm_id);
    targets jsonb;
BEGIN
    SELECT jsonb_agg(t.target ORDER BY t.place, t.confidence DESC, t.name) INTO targets
    FROM (
        SELECT k.treat::integer AS place, NULL::float8 AS confidence, k.name, jsonb_build_object('policy', k.name, 'treat', k.treat) AS target
        FROM (VALUES ('treat_none', false), ('treat_all', true)) AS k (name, treat)
        UNION ALL
        SELECT 2, m.confidence, m.policy_mode, jsonb_build_object('policy', m.policy_mode, 'parameters', stormops.policy_parameters(m.policy_mode))
        FROM stormops.policy_modes AS m WHERE m.tenant_id = stormops.current_tenant()
    ) AS t;
    IF run.status <> 'ok' THEN
        RETURN QUERY SELECT t.target ->> 'policy', run.status, NULL::bigint, NULL::text, NULL::float8, NULL::float8, NULL::float8, NULL::float8,
            NULL::float8, NULL::float8, NULL::float8, NULL::float8, NULL::float8, NULL::boolean, NULL::float8, t.target ->> 'policy' = run.policy_mode
        FROM jsonb_array_elements(targets) WITH ORDINALITY AS t (target, place) ORDER BY t.place;
        RETURN;
    END IF;
    RETURN QUERY SELECT v.policy, v.status, v.n, v.unit, v.treat_share, v.doubly_robust, v.doubly_robust_low, v.doubly_robust_high,
        v.gain, v.gain_low, v.gain_high, v.effective_n, v.largest_weight, v.weights_suspect, v.unsupported_share, v.policy = run.policy_mode
    FROM stormops_internal.evaluation_log(run.run_id) AS l
    CROSS JOIN LATERAL stormops_internal.value_policies(l.log, run.parameters, targets) AS v;
END
$$;
COMMENT ON FUNCTION stormops.compare_policies(uuid) IS 'Side by side what treat_none, treat_all and each mode of the tenant, as it is now, would have earned on a storm''s log: net_value for 1,000 properties (doubly robust) with its 95 % interval, gain over treat_none, in unit (currency, or jobs beyond break-even). applied: the mode that wrote the log. status and errors as evaluate_policy().';
