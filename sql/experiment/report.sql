-- What an experiment shows: its arms compared, judged, and told in a sentence.

CREATE FUNCTION stormops.experiment_report(
    experiment_id uuid, segment_by text DEFAULT NULL, alpha double precision DEFAULT 0.05,
    OUT segment text, OUT arm text, OUT summary text, OUT verdict text, OUT n bigint, OUT converted bigint,
    OUT rate double precision, OUT mean_value double precision, OUT lift double precision, OUT lift_low double precision,
    OUT lift_high double precision, OUT relative_lift double precision, OUT relative_low double precision,
    OUT relative_high double precision, OUT p_value double precision, OUT method text, OUT always_valid_low double precision,
    OUT always_valid_high double precision, OUT always_valid_p double precision, OUT decided_by text,
    OUT p_adjusted double precision, OUT adjusted_lift double precision, OUT adjusted_low double precision,
    OUT adjusted_high double precision, OUT clusters bigint, OUT design_effect double precision,
    OUT probability_better double precision, OUT small_sample boolean, OUT detectable_lift double precision,
    OUT contact_rate double precision, OUT crossovers bigint, OUT contamination double precision,
    OUT lift_of_contact double precision, OUT early_outcomes bigint, OUT srm_verdict text, OUT srm_p double precision,
    OUT srm_sequential_p double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_column
DECLARE
    e record;
    plan_reached boolean;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    alpha := coalesce(alpha, 0.05);
    SELECT x.* INTO e FROM stormops.experiments AS x
    WHERE x.tenant_id = stormops.current_tenant() AND x.experiment_id = $1;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment($1);
    END IF;
    IF $2 NOT IN ('roof_material', 'roof_style', 'neighbourhood') OR $3 IS NULL OR NOT ($3 > 0 AND $3 < 0.5) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = CASE WHEN $2 NOT IN ('roof_material', 'roof_style', 'neighbourhood') THEN 'unknown segment' ELSE 'alpha must lie between 0 and 0.5' END,
            HINT = 'segment_by is roof_material, roof_style, neighbourhood or NULL; alpha is 0.05 by default.';
    END IF;
    -- A storm's properties are mostly assigned at once, and their outcomes come in for weeks: each look until then is one
    -- of many. The one that was planned is when the planned number have had their time.
    SELECT count(*) >= e.planned_n INTO plan_reached FROM stormops.experiment_assignments AS a
    WHERE a.tenant_id = stormops.current_tenant() AND a.experiment_id = $1 AND a.assigned_at + make_interval(days => e.outcome_days) <= now();
    RETURN QUERY
    WITH arms AS MATERIALIZED (
        SELECT a.* FROM stormops_internal.experiment_arms($1, $2) AS a
    ), decisive AS (
        -- Looking before then is looking often: only what allows for that decides.
        SELECT a.segment, a.arm, a.srm_verdict, c.*, CASE WHEN plan_reached THEN 'fixed_horizon' ELSE 'always_valid' END AS decided_by,
            CASE WHEN plan_reached THEN c.p_value ELSE c.always_valid_p END AS decisive_p,
            row_number() OVER (PARTITION BY a.segment IS NULL ORDER BY a.segment, a.arm) AS place
        FROM arms AS a CROSS JOIN LATERAL stormops_internal.arm_contrast(
            a.cell, a.control, e.primary_metric, e.cluster_by IS NOT NULL, $3, e.planned_n) AS c
        WHERE NOT a.is_control
    ), adjusted AS (
        SELECT d.*, (stormops.benjamini_hochberg(array_agg(d.decisive_p) OVER (
            PARTITION BY d.segment IS NULL ORDER BY d.place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))[d.place] AS p_adjusted
        FROM decisive AS d
    ), verdicts AS (
        SELECT j.*, CASE
            WHEN j.status <> 'ok' THEN j.status
            WHEN j.srm_verdict = 'alarm' THEN 'broken_split'
            WHEN j.p_adjusted < $3 THEN CASE WHEN j.lift > 0 THEN 'better' ELSE 'worse' END
            ELSE 'undecided' END AS verdict
        FROM adjusted AS j
    )
    SELECT a.segment, a.arm,
        CASE WHEN a.is_control THEN 'The arm that the others are compared with.'
            ELSE stormops_internal.experiment_summary(v.verdict, a.arm, e.control, e.primary_metric, v.lift,
                CASE v.decided_by WHEN 'fixed_horizon' THEN v.lift_low ELSE v.always_valid_low END,
                CASE v.decided_by WHEN 'fixed_horizon' THEN v.lift_high ELSE v.always_valid_high END, $3) END,
        CASE WHEN a.is_control THEN 'control' ELSE v.verdict END,
        t.n, t.converted, t.converted::float8 / nullif(t.n, 0), t.value / nullif(t.n, 0),
        v.lift, v.lift_low, v.lift_high, v.relative_lift, v.relative_low, v.relative_high, v.p_value, v.method,
        v.always_valid_low, v.always_valid_high, v.always_valid_p, v.decided_by, v.p_adjusted,
        CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_lift END, CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_low END,
        CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_high END,
        v.clusters, v.design_effect, v.probability_better, CASE WHEN a.is_control THEN t.n < 30 ELSE v.small_sample END, v.detectable_lift,
        a.contact_rate, CASE WHEN e.untouched_control THEN CASE WHEN a.is_control THEN t.touched ELSE t.n - t.touched END END,
        CASE WHEN e.untouched_control THEN a.control_contact_rate END,
        CASE WHEN e.untouched_control AND a.contact_rate - a.control_contact_rate > 0.3 THEN v.lift / (a.contact_rate - a.control_contact_rate) END,
        t.early, a.srm_verdict, a.srm_p, a.srm_sequential_p
    FROM arms AS a
    CROSS JOIN LATERAL (SELECT (a.cell).*) AS t
    LEFT JOIN verdicts AS v ON v.arm = a.arm AND v.segment IS NOT DISTINCT FROM a.segment
    ORDER BY a.segment NULLS FIRST, a.is_control DESC, a.arm;
END
$$;
COMMENT ON FUNCTION stormops.experiment_report(uuid, text, double precision) IS 'Result of an experiment: the control arm, then each other arm against it; segment NULL is everybody. Each property counts in the arm that was drawn. lift by method z, fisher, welch or cluster; always_valid_*, p_adjusted (the p-value of decided_by, adjusted), verdict: better, worse, undecided, broken_split or why none. Errors: 22004; 22023 segment or alpha; P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops_internal.experiment_summary(
    verdict text, arm text, control text, metric text, lift double precision, low double precision, high double precision,
    alpha double precision
) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $1
        WHEN 'no_outcomes' THEN 'Nobody is assigned yet.'
        WHEN 'no_treatment' THEN format('Nobody is in %s.', $2)
        WHEN 'no_control' THEN format('Nobody is in %s, so there is nothing to compare with.', $3)
        WHEN 'broken_split' THEN 'The arms are not as large as their weights say: find out why before believing any of this.'
        ELSE format('%s %s %s than %s%s: %s.', $2,
            CASE $4 WHEN 'value' THEN 'brings' ELSE 'converts' END,
            CASE $4 WHEN 'value' THEN format('%s %s a property', round(abs($5)::numeric, 2), CASE WHEN $5 < 0 THEN 'less' ELSE 'more' END)
                ELSE format('%s points %s', round(100 * abs($5)::numeric, 1), CASE WHEN $5 < 0 THEN 'less' ELSE 'more' END) END,
            $3,
            CASE WHEN $6 IS NULL THEN '' ELSE format(' (%s %% interval %s to %s)', trim_scale(round(100 * (1 - $8)::numeric, 2)),
                round((CASE $4 WHEN 'value' THEN 1 ELSE 100 END * $6)::numeric, 1), round((CASE $4 WHEN 'value' THEN 1 ELSE 100 END * $7)::numeric, 1)) END,
            CASE $1 WHEN 'better' THEN 'better' WHEN 'worse' THEN 'worse' ELSE 'no difference is shown' END)
    END
$$;
COMMENT ON FUNCTION stormops_internal.experiment_summary(text, text, text, text, double precision, double precision, double precision, double precision) IS 'The verdict of experiment_report() in a sentence.';
