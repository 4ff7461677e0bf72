-- What scores stood for once outcomes came in, as policies decide by it.

CREATE FUNCTION stormops_internal.calibrated_knots(
    cases stormops.uplift_sketch, bins integer,
    OUT bin integer, OUT n bigint, OUT mean_score double precision, OUT measured double precision, OUT measured_se double precision,
    OUT effect double precision, OUT sd double precision, OUT common_effect double precision, OUT between_sd double precision
) RETURNS SETOF record
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'calibrated_knots_wrapper';
COMMENT ON FUNCTION stormops_internal.calibrated_knots(stormops.uplift_sketch, integer) IS 'Bins of the ranking, the lowest scores first: measured effects, drawn towards what they have in common and made never to fall. No row where fewer than two show an error. Error: 22023 bins not 2 to 100.';

CREATE FUNCTION stormops.calibrated_uplift(
    score double precision, scores double precision[], effects double precision[], effect_sds double precision[],
    OUT effect double precision, OUT sd double precision
) RETURNS SETOF record
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'calibrated_at_wrapper';
COMMENT ON FUNCTION stormops.calibrated_uplift(double precision, double precision[], double precision[], double precision[]) IS 'The effect that a score stands for by a row of uplift_calibrations, and its standard deviation: straight between the points, level beyond them. Error: 22023 no calibration.';

CREATE FUNCTION stormops_internal.model_trial(model_version text, include_open boolean)
    RETURNS TABLE (cases stormops.uplift_sketch, storms bigint)
    LANGUAGE sql STABLE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    SELECT stormops.uplift_agg(d.score, d.decision = 'treat', d.converted::integer::float8, d.treat_chance),
        count(DISTINCT d.run_id)
    FROM stormops_internal.answered_decisions($2) AS d
    WHERE d.propensity < 1 AND d.model_version = $1
$$;
COMMENT ON FUNCTION stormops_internal.model_trial(text, boolean) IS 'The randomised decisions by the scores of a model, of all storms whose outcomes are complete (include_open: of all), as a state; storms: how many. One row.';

CREATE FUNCTION stormops.model_calibration(
    model_version text, bins integer DEFAULT 10, include_open boolean DEFAULT false,
    OUT bin integer, OUT n bigint, OUT mean_score double precision, OUT measured double precision, OUT measured_se double precision,
    OUT effect double precision, OUT sd double precision, OUT common_effect double precision, OUT between_sd double precision, OUT storms bigint
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record;
    told record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    bins := coalesce(bins, 10);
    include_open := coalesce(include_open, false);
    IF model_version IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'model_version must not be NULL',
            HINT = 'SELECT DISTINCT model_version FROM stormops.lead_uplift; shows whose scores there are.';
    END IF;
    PERFORM stormops_internal.require_answered(NULL, include_open);
    SELECT t.* INTO this FROM stormops_internal.model_trial(model_version, include_open) AS t;
    SELECT m.* INTO told FROM stormops.uplift_metrics(this.cases) AS m;
    IF told.status <> 'ok' OR told.small_sample THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the log does not show what scores of model "%s" stand for', left(model_version, 100)),
            DETAIL = format('%s decisions that chance took, %s of them treated; %s and %s conversions of treated and held (%s).',
                told.n, told.treated, told.treated_events, told.control_events, told.status),
            HINT = 'There must be 200 such decisions by different scores and 10 conversions in each arm. Until then policies go by the scores.';
    END IF;
    RETURN QUERY SELECT k.*, this.storms FROM stormops_internal.calibrated_knots(this.cases, bins) AS k;
END
$$;
COMMENT ON FUNCTION stormops.model_calibration(text, integer, boolean) IS 'What calibrate_model() would keep: a row for each of 2 to 100 bins of the model''s scores, the lowest first, with the measured effect, its error, and effect and sd as policies take them; common_effect and between_sd of all bins. Writes nothing. Errors: 0B000; 22004; 22023 bins; 55000 too few outcomes.';

CREATE FUNCTION stormops.calibrate_model(
    model_version text, bins integer DEFAULT 10, include_open boolean DEFAULT false,
    OUT bin integer, OUT n bigint, OUT mean_score double precision, OUT measured double precision, OUT measured_se double precision,
    OUT effect double precision, OUT sd double precision, OUT common_effect double precision, OUT between_sd double precision, OUT storms bigint
) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    kept record;
BEGIN
    IF NOT stormops.may_write('admin') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an admin may calibrate a model',
            HINT = 'SELECT * FROM stormops.model_calibration(model_version); writes nothing.';
    END IF;
    INSERT INTO stormops.uplift_calibrations AS c (
        model_version, scores, effects, effect_sds, cases, measured, measured_ses, common_effect, between_sd, n, storms,
        made_at, made_by, acting_user
    )
    SELECT model_version, array_agg(m.mean_score ORDER BY m.bin), array_agg(least(greatest(m.effect, -1), 1) ORDER BY m.bin),
        array_agg(least(greatest(m.sd, 1e-6), 1) ORDER BY m.bin), array_agg(m.n ORDER BY m.bin), array_agg(m.measured ORDER BY m.bin),
        array_agg(m.measured_se ORDER BY m.bin), least(greatest(min(m.common_effect), -1), 1), min(m.between_sd), sum(m.n)::bigint,
        min(m.storms), now(), stormops_internal.calling_role(), stormops.current_user_id()
    FROM stormops.model_calibration(model_version, bins, include_open) AS m
    HAVING count(*) > 1
    ON CONFLICT ON CONSTRAINT uplift_calibrations_pkey DO UPDATE
    SET scores = EXCLUDED.scores, effects = EXCLUDED.effects, effect_sds = EXCLUDED.effect_sds, cases = EXCLUDED.cases,
        measured = EXCLUDED.measured, measured_ses = EXCLUDED.measured_ses, common_effect = EXCLUDED.common_effect,
        between_sd = EXCLUDED.between_sd, n = EXCLUDED.n, storms = EXCLUDED.storms, made_at = EXCLUDED.made_at,
        made_by = EXCLUDED.made_by, acting_user = EXCLUDED.acting_user
    RETURNING c.* INTO kept;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'fewer than two bins show the error of their effect',
            HINT = 'Ask for fewer bins, or wait for more outcomes.';
    END IF;
    RETURN QUERY SELECT u.bin::integer, u.n, u.score, u.measured, u.measured_se, u.effect, u.sd, kept.common_effect, kept.between_sd, kept.storms
        FROM ROWS FROM (unnest(kept.cases, kept.scores, kept.measured, kept.measured_ses, kept.effects, kept.effect_sds)) WITH ORDINALITY
            AS u (n, score, measured, measured_se, effect, sd, bin);
END
$$;
COMMENT ON FUNCTION stormops.calibrate_model(text, integer, boolean) IS 'Keeps what the model''s scores stood for in uplift_calibrations, and replaces what was there: from now on policies decide by it. DELETE FROM uplift_calibrations makes them go by the scores again. Rows as model_calibration(). Errors: 0B000; 22004; 22023 bins; 42501 not an admin; 55000 too few outcomes, suspended.';
