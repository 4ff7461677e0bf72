-- Why this house: one decision, step by step, by what the log, the run and its inputs say and nothing else.

CREATE FUNCTION stormops_internal.decision_steps(
    run_id uuid, property_id uuid,
    OUT step integer, OUT rule text, OUT value double precision, OUT threshold double precision, OUT outcome text, OUT explanation text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH run AS (
        SELECT r.tenant_id, r.storm_id, r.policy_mode, r.parameters AS p, (r.parameters ->> 'holdout')::float8 AS holdout,
            coalesce(r.parameters ->> 'capacity', r.parameters ->> 'budget') IS NOT NULL AS is_limited
        FROM stormops.policy_runs AS r WHERE r.tenant_id = stormops.current_tenant() AND r.run_id = $1
    ), one AS (
        SELECT r.*, d.score, d.score_sd, d.value, d.decision, d.reason, d.propensity, d.model_version, i.guardrail, i.measured,
            d.decision = 'exclude' AS is_excluded, coalesce(i.margin, (r.p ->> 'margin')::numeric)::float8 AS margin,
            coalesce(i.cost, (r.p ->> 'contact_cost')::numeric)::float8 AS cost,
            CASE WHEN k.known THEN stormops.draw(r.tenant_id, r.storm_id, $2, 'holdout') END AS holdout_draw,
            CASE WHEN k.known THEN stormops.draw(r.tenant_id, r.storm_id, $2, 'explore') END AS explore_draw
        FROM run AS r CROSS JOIN LATERAL stormops_internal.draws_are_known(r.p) AS k (known)
        JOIN stormops.policy_decisions_log AS d ON d.tenant_id = r.tenant_id AND d.run_id = $1 AND d.property_id = $2
        LEFT JOIN stormops_internal.run_inputs($1) AS i ON i.property_id = $2
    ), judged AS (
        SELECT o.*, c.is_calibrated, c.effect, c.effect + (o.p ->> 'z')::float8 * c.sd AS reading,
            coalesce(o.cost / o.margin, (o.p ->> 'breakeven_uplift')::float8) AS breakeven, g.g AS guard
        FROM one AS o
        -- What the score stood for when the run was made.
        CROSS JOIN LATERAL (
            SELECT e.effect IS NOT NULL AS is_calibrated, coalesce(e.effect, o.score) AS effect, coalesce(e.sd, o.score_sd) AS sd
            FROM (VALUES (o.p -> 'calibrations' -> o.model_version)) AS k (points)
            -- NULL where there is none, of which it makes no row.
            LEFT JOIN LATERAL stormops.calibrated_uplift(o.score, stormops_internal.doubles_of(k.points -> 'scores'),
                stormops_internal.doubles_of(k.points -> 'effects'), stormops_internal.doubles_of(k.points -> 'sds')
            ) AS e ON true
        ) AS c
        LEFT JOIN LATERAL (
            SELECT g.g FROM jsonb_array_elements(o.p -> 'guardrails') AS g (g) WHERE g.g ->> 'name' = o.guardrail
        ) AS g ON o.is_excluded AND o.reason <> 'do_not_contact'
    )
    SELECT s.* FROM judged AS j CROSS JOIN LATERAL (VALUES
        (1, 'score', j.score, NULL::float8, 'scored',
            format('uplift by model %s, standard deviation %s', j.model_version, j.score_sd)
                || CASE WHEN j.is_calibrated THEN format('; by the calibration it stood for %s', j.effect) ELSE '' END),
        (2, 'guardrails', CASE WHEN j.is_excluded THEN j.measured END,
            coalesce(j.guard ->> 'amount', j.guard ->> 'most', j.guard ->> 'metres')::float8,
            CASE WHEN j.is_excluded THEN j.reason ELSE 'none applies' END,
            CASE WHEN j.guard IS NOT NULL THEN format('guardrail "%s": %s', j.guardrail, j.guard - 'name' - 'kind')
                WHEN j.is_excluded THEN 'the property was marked so'
                ELSE format('%s were asked', coalesce(jsonb_array_length(j.p -> 'guardrails'), 0)) END),
        (3, 'not below zero', j.effect, 0, CASE WHEN j.effect >= 0 THEN 'holds' ELSE 'fails' END, 'a score below zero is never treated by the rule'),
        (4, 'break-even', j.reading, j.breakeven, CASE WHEN j.reading >= j.breakeven THEN 'holds' ELSE 'fails' END,
            CASE WHEN j.cost / j.margin IS NULL THEN 'the mode''s breakeven_uplift' ELSE format('cost %s / margin %s', j.cost, j.margin) END
                || format('; the score is read at confidence %s', j.p ->> 'confidence')),
        (5, 'capacity and budget', j.value / nullif(coalesce(j.cost, 1), 0), NULL,
            CASE WHEN j.reason IN ('above_threshold', 'explore_hold') THEN 'within' WHEN j.reason IN ('over_capacity', 'explore_treat') THEN 'beyond'
                ELSE 'not told by the reason' END,
            format('by value per cost; capacity %s, budget %s', coalesce(j.p ->> 'capacity', 'none'), coalesce(j.p ->> 'budget', 'none'))),
        (6, 'holdout', j.holdout_draw, j.holdout, CASE WHEN j.reason = 'holdout' THEN 'held out' ELSE 'not held out' END,
            'held out if the draw is below the threshold' || CASE WHEN j.holdout_draw IS NULL THEN '; it was drawn under another tenant''s id' ELSE '' END),
        (7, 'exploration', j.explore_draw, CASE WHEN NOT j.is_limited THEN (j.p ->> 'exploration')::float8 END,
            CASE WHEN j.reason LIKE 'explore%' THEN 'the opposite was done' ELSE 'the rule was followed' END,
            CASE WHEN j.is_limited THEN 'of those inside and outside the limit as many as exploration allows were swapped, the lowest draws first'
                ELSE 'the opposite if the draw is below the threshold' END),
        (8, 'decision', j.propensity, NULL, j.decision, format('%s by mode %s; value is the probability of this decision', j.reason, j.policy_mode))
    ) AS s (step, rule, value, threshold, outcome, explanation)
    WHERE s.step IN (1, 2, 8) OR NOT j.is_excluded AND (s.step <> 5 OR j.is_limited) AND (s.step <> 7 OR j.reason <> 'holdout')
    ORDER BY s.step
$$;
COMMENT ON FUNCTION stormops_internal.decision_steps(uuid, uuid) IS 'explain_decision() of a run''s property; no row without such a decision.';

CREATE FUNCTION stormops.explain_decision(
    storm_id uuid, property_id uuid, run_id uuid DEFAULT NULL,
    OUT step integer, OUT rule text, OUT value double precision, OUT threshold double precision, OUT outcome text, OUT explanation text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    run uuid;
BEGIN
    PERFORM stormops_internal.require_storm($1);
    -- Left out, or sent as NULL by what fills in every argument.
    SELECT r.run_id INTO run FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND CASE WHEN $3 IS NULL THEN r.superseded_at IS NULL ELSE r.run_id = $3 END;
    RETURN QUERY SELECT s.* FROM stormops_internal.decision_steps(run, $2) AS s;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN $2 IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('property %s has no decision %s', coalesce($2::text, 'NULL'),
                CASE WHEN $3 IS NULL THEN 'in this storm''s current run' ELSE format('in run %s of this storm', $3) END),
            HINT = 'SELECT property_id FROM stormops.policy_decisions WHERE storm_id = ...; shows those that have.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.explain_decision(uuid, uuid, uuid) IS 'Why a property was treated, held or excluded, one row a step: rule, value compared with threshold, outcome, explanation. Of the storm''s current run, or of run_id. Reads only the log, the run and its inputs, not what they were made from. The last row is the decision, its value the propensity. Errors: 22004; P0002 no such storm in this tenant, no decision.';
