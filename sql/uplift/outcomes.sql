-- What a storm's scores were worth: on the decisions that chance took.

CREATE FUNCTION stormops.randomised_decisions(
    storm_id uuid,
    OUT property_id uuid, OUT score double precision, OUT treated boolean, OUT converted boolean, OUT propensity double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT d.property_id, d.score, d.decision = 'treat', coalesce(o.converted, false),
        CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END
    FROM stormops.policy_decisions_log AS d
    LEFT JOIN (
        SELECT o.property_id, bool_or(o.converted) AS converted
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND NOT o.late AND o.run_id = (
            SELECT r.run_id FROM stormops.policy_runs AS r
            WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
        )
        GROUP BY o.property_id
    ) AS o ON o.property_id = d.property_id
    WHERE d.tenant_id = stormops.current_tenant() AND d.decision IN ('treat', 'hold') AND d.propensity < 1 AND d.run_id = (
        SELECT r.run_id FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
    )
$$;
COMMENT ON FUNCTION stormops.randomised_decisions(uuid) IS 'The decisions of a storm''s current run that could have gone either way: treat or hold, each with a probability above 0. propensity: P(treated), for the held too; converted: an outcome in time, false without one.';

CREATE FUNCTION stormops_internal.randomised_of_rows(
    run_id uuid, converted_ids uuid[], OUT score double precision, OUT treated boolean, OUT converted double precision, OUT propensity double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- as trial_of_run()
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    SELECT l.score, l.decision = 'treat', CASE WHEN c.property_id IS NULL THEN 0 ELSE 1 END::float8,
        CASE l.decision WHEN 'treat' THEN l.propensity ELSE 1 - l.propensity END
    FROM stormops.policy_decision_rows AS l LEFT JOIN unnest($2) AS c (property_id) ON c.property_id = l.property_id
    WHERE l.tenant_id = stormops.current_tenant() AND l.run_id = $1 AND l.decision IN ('treat', 'hold') AND l.propensity < 1
$$;
COMMENT ON FUNCTION stormops_internal.randomised_of_rows(uuid, uuid[]) IS 'Of trial_of_run(): the randomised decisions of a run that 0.1.0 wrote, as rows.';

-- A set of one, so that it may run in parallel; what is asked once comes as arguments, or a worker could not have it.
CREATE FUNCTION stormops_internal.trial_of_run(run_id uuid, converted_ids uuid[]) RETURNS TABLE (cases stormops.uplift_sketch)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- planned for a run of any size: by the index, or a small one reads a month's log
    AS $$
    SELECT stormops.uplift_agg(d.score, d.treated, d.converted, d.propensity)
    FROM (
        SELECT t.score, t.treated, t.converted, t.propensity
        FROM stormops.policy_decision_blocks AS b
        CROSS JOIN LATERAL stormops_internal.randomised_of_block(b.property_ids, b.classes, b.scores, b.decisions, b.propensities, $2) AS t
        WHERE b.tenant_id = stormops.current_tenant() AND b.run_id = $1
        UNION ALL
        SELECT t.score, t.treated, t.converted, t.propensity FROM stormops_internal.randomised_of_rows($1, $2) AS t
    ) AS d
$$;
COMMENT ON FUNCTION stormops_internal.trial_of_run(uuid, uuid[]) IS 'The randomised decisions of a run as a state: one row. converted_ids: its properties that converted in time, in order, each once.';

CREATE FUNCTION stormops_internal.storm_trial(storm_id uuid) RETURNS TABLE (cases stormops.uplift_sketch)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.cases
    FROM (
        SELECT (
            SELECT r.run_id FROM stormops.policy_runs AS r
            WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
        ) AS run_id
    ) AS r
    CROSS JOIN LATERAL (
        SELECT array_agg(DISTINCT o.property_id ORDER BY o.property_id) AS converted_ids FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND NOT o.late AND o.converted AND o.run_id = r.run_id
    ) AS o
    CROSS JOIN LATERAL stormops_internal.trial_of_run(r.run_id, o.converted_ids) AS t
$$;
COMMENT ON FUNCTION stormops_internal.storm_trial(uuid) IS 'randomised_decisions() as a state: one row.';

CREATE FUNCTION stormops.uplift_summary(
    storm_id uuid,
    OUT status text, OUT n bigint, OUT treated bigint, OUT control bigint, OUT treated_events bigint, OUT control_events bigint,
    OUT small_sample boolean, OUT weighted boolean, OUT uplift double precision, OUT uplift_se double precision,
    OUT qini double precision, OUT auuc double precision, OUT qini_area double precision,
    OUT uplift_at_10 double precision, OUT uplift_at_10_se double precision, OUT uplift_at_20 double precision,
    OUT uplift_at_20_se double precision, OUT uplift_at_30 double precision, OUT uplift_at_30_se double precision,
    OUT autoc double precision, OUT autoc_se double precision, OUT autoc_p double precision,
    OUT rate_qini double precision, OUT rate_qini_se double precision, OUT rate_qini_p double precision,
    OUT slope double precision, OUT slope_se double precision, OUT intercept double precision, OUT intercept_se double precision,
    OUT calibration_error double precision, OUT calibration_by_chance double precision,
    OUT run_id uuid, OUT policy_mode text, OUT decided bigint, OUT outcomes_due timestamptz
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    n_invalid bigint;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT m.* INTO status, n, treated, control, treated_events, control_events, small_sample, weighted, uplift, uplift_se,
        qini, auuc, qini_area, uplift_at_10, uplift_at_10_se, uplift_at_20, uplift_at_20_se, uplift_at_30, uplift_at_30_se,
        autoc, autoc_se, autoc_p, rate_qini, rate_qini_se, rate_qini_p, slope, slope_se, intercept, intercept_se,
        calibration_error, calibration_by_chance, n_invalid
    FROM stormops_internal.storm_trial(storm_id) AS t CROSS JOIN LATERAL stormops.uplift_metrics(t.cases) AS m;
    SELECT r.run_id, r.policy_mode, r.treat + r.hold, r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer)
    INTO run_id, policy_mode, decided, outcomes_due
    FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = uplift_summary.storm_id AND r.superseded_at IS NULL;
END
$$;
COMMENT ON FUNCTION stormops.uplift_summary(uuid) IS 'How well a storm''s scores told whom to treat, on the randomised part of its current run (randomised_decisions()): one row as uplift_metrics(), and run_id, policy_mode, decided (treated and held, of which n were left to chance) and outcomes_due (until then outcomes still come in, and no outcome counts as no conversion). Errors: 0B000; 22004; P0002 no such storm; 54000.';

CREATE FUNCTION stormops.uplift_curve(
    storm_id uuid, points integer DEFAULT 100,
    OUT share double precision, OUT n bigint, OUT qini double precision, OUT qini_random double precision,
    OUT uplift double precision, OUT gain double precision, OUT gain_random double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    points := coalesce(points, 100);
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN QUERY SELECT c.* FROM stormops_internal.storm_trial(storm_id) AS t CROSS JOIN LATERAL stormops.curve(t.cases, points) AS c;
END
$$;
COMMENT ON FUNCTION stormops.uplift_curve(uuid, integer) IS 'Points of a storm''s Qini and uplift curves for a plot, as curve(), on the randomised part of its current run. Errors: 0B000; 22004; 22023 points; P0002 no such storm.';

CREATE FUNCTION stormops.uplift_calibration(
    storm_id uuid, bins integer DEFAULT 10,
    OUT bin integer, OUT n bigint, OUT treated bigint, OUT control bigint, OUT mean_score double precision,
    OUT treated_rate double precision, OUT control_rate double precision, OUT uplift double precision,
    OUT uplift_se double precision, OUT effect double precision, OUT effect_se double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    bins := coalesce(bins, 10);
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN QUERY SELECT b.* FROM stormops_internal.storm_trial(storm_id) AS t CROSS JOIN LATERAL stormops.bins(t.cases, bins) AS b;
END
$$;
COMMENT ON FUNCTION stormops.uplift_calibration(uuid, integer) IS 'A storm''s scores against what treating did, in bins of the ranking, as bins(), on the randomised part of its current run. Errors as uplift_curve().';
