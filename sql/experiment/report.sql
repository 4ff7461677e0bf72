-- What an experiment shows. experiment_units() is the set behind it, one row a property;
-- experiment_cells() gathers it by arm and segment; experiment_report() compares.

CREATE FUNCTION stormops_internal.experiment_units(
    experiment_id uuid,
    OUT property_id uuid, OUT arm text, OUT neighbourhood text, OUT roof_material text, OUT roof_style text,
    OUT assigned_at timestamptz, OUT converted boolean, OUT value numeric, OUT touched boolean, OUT early boolean,
    OUT uplift double precision, OUT converted_at timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.* FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), units AS MATERIALIZED (
        SELECT a.property_id, a.arm, a.neighbourhood, a.assigned_at,
            a.assigned_at + make_interval(days => (SELECT e.outcome_days FROM e)) AS until
        FROM stormops.experiment_assignments AS a
        WHERE a.tenant_id = stormops.current_tenant() AND a.experiment_id = $1
    ), results AS (
        SELECT o.property_id, o.occurred_at, o.converted, o.value, true AS recorded
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND o.storm_id = (SELECT e.storm_id FROM e)
        UNION ALL
        SELECT j.property_id, j.occurred_at, true, j.value, false
        FROM stormops.customer_journeys AS j
        WHERE j.tenant_id = stormops.current_tenant() AND j.storm_id = (SELECT e.storm_id FROM e) AND j.touch = 'conversion'
    ), outcomes AS (
        SELECT u.property_id, coalesce(bool_or(r.converted) FILTER (WHERE r.occurred_at >= u.assigned_at), false) AS converted,
            min(r.occurred_at) FILTER (WHERE r.converted AND r.occurred_at >= u.assigned_at) AS converted_at,
            -- One job may be told of by both; the recorded outcome is the one with the books behind it.
            coalesce(sum(r.value) FILTER (WHERE r.recorded AND r.occurred_at >= u.assigned_at),
                sum(r.value) FILTER (WHERE NOT r.recorded AND r.occurred_at >= u.assigned_at)) AS value,
            bool_or(r.occurred_at < u.assigned_at) AS early
        FROM units AS u JOIN results AS r ON r.property_id = u.property_id AND r.occurred_at <= u.until
        GROUP BY u.property_id
    ), touches AS (
        SELECT DISTINCT u.property_id
        FROM units AS u
        JOIN stormops.customer_journeys AS j ON j.tenant_id = stormops.current_tenant() AND j.property_id = u.property_id
        LEFT JOIN outcomes AS o ON o.property_id = u.property_id
        WHERE j.direction = 'outbound' AND j.touch <> 'conversion'
            AND j.occurred_at >= u.assigned_at AND j.occurred_at <= least(u.until, coalesce(o.converted_at, u.until))
    ), scores AS (
        -- As it stood at the assignment: a later score may know of the treatment.
        SELECT DISTINCT ON (l.property_id) l.property_id, l.uplift
        FROM stormops.lead_uplift AS l JOIN units AS u ON u.property_id = l.property_id AND l.scored_at <= u.assigned_at
        WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = (SELECT e.storm_id FROM e)
        ORDER BY l.property_id, l.scored_at DESC, l.model_version DESC
    )
    SELECT u.property_id, u.arm, u.neighbourhood, p.roof_material, p.roof_style, u.assigned_at,
        coalesce(o.converted, false), coalesce(o.value, 0), t.property_id IS NOT NULL, coalesce(o.early, false), s.uplift, o.converted_at
    FROM units AS u
    JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
    LEFT JOIN outcomes AS o ON o.property_id = u.property_id
    LEFT JOIN touches AS t ON t.property_id = u.property_id
    LEFT JOIN scores AS s ON s.property_id = u.property_id
$$;
COMMENT ON FUNCTION stormops_internal.experiment_units(uuid) IS 'The properties of an experiment: arm, and since the assignment and within outcome_days of it whether it converted (policy_outcomes, or a touch "conversion" of the storm in customer_journeys), the value, and whether it was touched outbound before that. early: has an outcome from before its assignment, which does not count. uplift: the score it had at its assignment. converted_at: of its first conversion. None without such an experiment.';

CREATE FUNCTION stormops_internal.experiment_cells(
    experiment_id uuid, segment_by text,
    OUT segment text, OUT arm text, OUT n bigint, OUT converted bigint, OUT value double precision, OUT touched bigint,
    OUT early bigint, OUT state double precision[], OUT drawn bigint, OUT clusters jsonb
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.* FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), units AS MATERIALIZED (
        SELECT u.arm, u.converted, u.value, u.touched, u.early, coalesce(u.neighbourhood, u.property_id::text) AS cluster,
            CASE (SELECT e.primary_metric FROM e) WHEN 'value' THEN u.value::float8 ELSE u.converted::integer END AS y,
            -- A missing score says nothing: the mean in its place adjusts nothing.
            CASE WHEN (SELECT e.covariate IS NOT NULL FROM e) THEN coalesce(u.uplift, avg(u.uplift) OVER (), 0) ELSE 0 END AS x,
            coalesce(CASE $2
                WHEN 'roof_material' THEN u.roof_material WHEN 'roof_style' THEN u.roof_style WHEN 'neighbourhood' THEN u.neighbourhood
            END, 'unknown') AS segment
        FROM stormops_internal.experiment_units($1) AS u
    ), tallied AS (
        SELECT u.segment, grouping(u.segment) AS whole, u.arm, count(*) AS n, count(*) FILTER (WHERE u.converted) AS converted,
            sum(u.value)::float8 AS value, count(*) FILTER (WHERE u.touched) AS touched, count(*) FILTER (WHERE u.early) AS early,
            stormops.arm_agg(u.y, u.x) AS state,
            CASE WHEN (SELECT e.unit = 'neighbourhood' FROM e) THEN count(DISTINCT u.cluster) ELSE count(*) END AS drawn
        FROM units AS u
        GROUP BY GROUPING SETS ((u.arm), (u.arm, u.segment))
    ), clustered AS (
        SELECT c.segment, c.whole, c.arm, jsonb_object_agg(c.cluster, jsonb_build_array(c.n, c.y, c.x)) AS clusters
        FROM (
            SELECT u.segment, grouping(u.segment) AS whole, u.arm, u.cluster, count(*) AS n, sum(u.y) AS y, sum(u.x) AS x
            FROM units AS u
            WHERE (SELECT e.cluster_by IS NOT NULL FROM e)
            GROUP BY GROUPING SETS ((u.arm, u.cluster), (u.arm, u.segment, u.cluster))
        ) AS c
        GROUP BY c.segment, c.whole, c.arm
    ), segments AS (
        SELECT NULL AS segment, 1 AS whole
        UNION
        SELECT u.segment, 0 FROM units AS u WHERE $2 IS NOT NULL
    )
    SELECT s.segment, a.arm, coalesce(t.n, 0), coalesce(t.converted, 0), coalesce(t.value, 0), coalesce(t.touched, 0),
        coalesce(t.early, 0), t.state, coalesce(t.drawn, 0), c.clusters
    FROM segments AS s
    CROSS JOIN (SELECT jsonb_object_keys(e.arms) AS arm FROM e) AS a
    LEFT JOIN tallied AS t ON t.whole = s.whole AND t.segment IS NOT DISTINCT FROM s.segment AND t.arm = a.arm
    LEFT JOIN clustered AS c ON c.whole = s.whole AND c.segment IS NOT DISTINCT FROM s.segment AND c.arm = a.arm
$$;
COMMENT ON FUNCTION stormops_internal.experiment_cells(uuid, text) IS 'An experiment''s counts by arm, over all (segment NULL) and by segment: properties, conversions, value, touched, early; state: arm_agg(primary metric, covariate); drawn: how many draws that was; clusters: [n, sum of the metric, sum of the covariate] by cluster. Empty arms have their row.';

CREATE FUNCTION stormops_internal.cluster_contrast(
    treated jsonb, control jsonb, slope double precision, alpha double precision, planned_n bigint,
    OUT clusters bigint, OUT difference double precision, OUT se double precision, OUT low double precision,
    OUT high double precision, OUT p_value double precision, OUT always_valid_low double precision,
    OUT always_valid_high double precision, OUT always_valid_p double precision, OUT few_clusters boolean
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.*
    FROM (
        SELECT array_agg((t.value ->> 0)::float8) AS n1,
            array_agg((t.value ->> 1)::float8 - $3 * (t.value ->> 2)::float8) AS y1,
            array_agg((c.value ->> 0)::float8) AS n0,
            array_agg((c.value ->> 1)::float8 - $3 * (c.value ->> 2)::float8) AS y0
        FROM jsonb_each($1) AS t FULL JOIN jsonb_each($2) AS c ON c.key = t.key
    ) AS a, stormops.compare_clusters(a.n1, a.y1, a.n0, a.y0, $4, $5) AS c
$$;
COMMENT ON FUNCTION stormops_internal.cluster_contrast(jsonb, jsonb, double precision, double precision, bigint) IS 'compare_clusters() of two arms'' clusters as experiment_cells() has them, the metric less slope times the covariate; NULL without clusters.';

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
    WITH cells AS MATERIALIZED (
        SELECT c.*, c.arm = e.control AS is_control, (e.arms ->> c.arm)::float8 AS weight
        FROM stormops_internal.experiment_cells($1, $2) AS c
    ), ratios AS (
        SELECT c.segment, array_agg(c.drawn ORDER BY c.arm) AS drawn, array_agg(c.weight ORDER BY c.arm) AS weights
        FROM cells AS c GROUP BY c.segment
    ), contrasts AS (
        SELECT t.*, s.verdict AS srm_verdict, s.p_value AS srm_p, s.sequential_p AS srm_sequential_p,
            b.n AS control_n, b.touched AS control_touched, p.status, p.small_sample, p.treated_rate AS rate, p.method AS p_method,
            CASE WHEN e.primary_metric = 'conversion' THEN p.lift ELSE m.difference END AS lift,
            CASE WHEN e.cluster_by IS NOT NULL THEN k.low WHEN e.primary_metric = 'value' THEN m.low ELSE p.lift_low END AS lift_low,
            CASE WHEN e.cluster_by IS NOT NULL THEN k.high WHEN e.primary_metric = 'value' THEN m.high ELSE p.lift_high END AS lift_high,
            CASE WHEN e.primary_metric = 'conversion' THEN p.relative_lift ELSE m.difference / nullif(m.control_mean, 0) END AS relative_lift,
            CASE WHEN e.primary_metric = 'conversion' AND e.cluster_by IS NULL THEN p.relative_low END AS relative_low,
            CASE WHEN e.primary_metric = 'conversion' AND e.cluster_by IS NULL THEN p.relative_high END AS relative_high,
            CASE WHEN e.cluster_by IS NOT NULL THEN k.p_value WHEN e.primary_metric = 'value' THEN m.p_value ELSE p.p_value END AS p_value,
            CASE WHEN e.cluster_by IS NOT NULL THEN 'cluster' WHEN e.primary_metric = 'value' THEN 'welch' ELSE p.method END AS method,
            CASE WHEN e.cluster_by IS NOT NULL THEN k.always_valid_low WHEN e.primary_metric = 'value' THEN m.always_valid_low ELSE p.always_valid_low END AS always_valid_low,
            CASE WHEN e.cluster_by IS NOT NULL THEN k.always_valid_high WHEN e.primary_metric = 'value' THEN m.always_valid_high ELSE p.always_valid_high END AS always_valid_high,
            CASE WHEN e.cluster_by IS NOT NULL THEN k.always_valid_p WHEN e.primary_metric = 'value' THEN m.always_valid_p ELSE p.always_valid_p END AS always_valid_p,
            CASE WHEN e.cluster_by IS NOT NULL THEN ka.difference ELSE m.adjusted_difference END AS adjusted_lift,
            CASE WHEN e.cluster_by IS NOT NULL THEN ka.low ELSE m.adjusted_low END AS adjusted_low,
            CASE WHEN e.cluster_by IS NOT NULL THEN ka.high ELSE m.adjusted_high END AS adjusted_high,
            k.clusters AS groups, (k.se / nullif(m.se, 0)) ^ 2 AS design_effect,
            -- Both take properties as independent, which those of a cluster are not.
            CASE WHEN e.primary_metric = 'conversion' AND e.cluster_by IS NULL THEN p.probability_better END AS probability_better,
            CASE WHEN e.primary_metric = 'conversion' THEN p.detectable_lift
                * CASE WHEN e.cluster_by IS NULL OR k.se < m.se THEN 1 ELSE k.se / nullif(m.se, 0) END END AS detectable_lift
        FROM cells AS t
        JOIN cells AS b ON b.is_control AND b.segment IS NOT DISTINCT FROM t.segment
        JOIN ratios AS r ON r.segment IS NOT DISTINCT FROM t.segment
        CROSS JOIN LATERAL stormops.check_sample_ratio(r.drawn, r.weights) AS s
        -- Against the promise of no lift at all: the report says better or worse.
        CROSS JOIN LATERAL stormops.compare_proportions(t.converted, t.n, b.converted, b.n, 0, $3, e.planned_n) AS p
        CROSS JOIN LATERAL stormops.compare_means(t.state, b.state, $3, e.planned_n) AS m
        LEFT JOIN LATERAL stormops_internal.cluster_contrast(t.clusters, b.clusters, 0, $3, e.planned_n) AS k ON e.cluster_by IS NOT NULL
        LEFT JOIN LATERAL stormops_internal.cluster_contrast(t.clusters, b.clusters, m.slope, $3, e.planned_n) AS ka ON e.cluster_by IS NOT NULL
        WHERE NOT t.is_control
    ), decisive AS (
        -- Looking before then is looking often: only what allows for that decides.
        SELECT c.*, CASE WHEN plan_reached THEN 'fixed_horizon' ELSE 'always_valid' END AS decided_by,
            CASE WHEN plan_reached THEN c.p_value ELSE c.always_valid_p END AS decisive_p,
            row_number() OVER (PARTITION BY c.segment IS NULL ORDER BY c.segment, c.arm) AS place
        FROM contrasts AS c
    ), judged AS (
        SELECT d.*, (stormops.benjamini_hochberg(array_agg(d.decisive_p) OVER (
            PARTITION BY d.segment IS NULL ORDER BY d.place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))[d.place] AS p_adjusted
        FROM decisive AS d
    ), verdicts AS (
        SELECT j.*, CASE
            WHEN j.status <> 'ok' THEN j.status
            WHEN j.srm_verdict = 'alarm' THEN 'broken_split'
            WHEN j.p_adjusted < $3 THEN CASE WHEN j.lift > 0 THEN 'better' ELSE 'worse' END
            ELSE 'undecided' END AS verdict
        FROM judged AS j
    )
    SELECT c.segment, c.arm,
        CASE WHEN c.is_control THEN 'The arm that the others are compared with.'
            ELSE stormops_internal.experiment_summary(v.verdict, c.arm, e.control, e.primary_metric, v.lift,
                CASE v.decided_by WHEN 'fixed_horizon' THEN v.lift_low ELSE v.always_valid_low END,
                CASE v.decided_by WHEN 'fixed_horizon' THEN v.lift_high ELSE v.always_valid_high END, $3) END,
        CASE WHEN c.is_control THEN 'control' ELSE v.verdict END,
        c.n, c.converted, c.converted::float8 / nullif(c.n, 0), c.value / nullif(c.n, 0),
        v.lift, v.lift_low, v.lift_high, v.relative_lift, v.relative_low, v.relative_high, v.p_value, v.method,
        v.always_valid_low, v.always_valid_high, v.always_valid_p, v.decided_by, v.p_adjusted,
        CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_lift END, CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_low END,
        CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_high END,
        v.groups, v.design_effect, v.probability_better, CASE WHEN c.is_control THEN c.n < 30 ELSE v.small_sample END, v.detectable_lift,
        c.touched::float8 / nullif(c.n, 0),
        CASE WHEN e.untouched_control THEN CASE WHEN c.is_control THEN c.touched ELSE c.n - c.touched END END,
        CASE WHEN e.untouched_control THEN b.touched::float8 / nullif(b.n, 0) END,
        CASE WHEN e.untouched_control AND contact.gain > 0.3 THEN v.lift / contact.gain END,
        c.early, s.verdict, s.p_value, s.sequential_p
    FROM cells AS c
    JOIN cells AS b ON b.is_control AND b.segment IS NOT DISTINCT FROM c.segment
    JOIN ratios AS r ON r.segment IS NOT DISTINCT FROM c.segment
    CROSS JOIN LATERAL stormops.check_sample_ratio(r.drawn, r.weights) AS s
    LEFT JOIN verdicts AS v ON v.arm = c.arm AND v.segment IS NOT DISTINCT FROM c.segment
    CROSS JOIN LATERAL (SELECT c.touched::float8 / nullif(c.n, 0) - b.touched::float8 / nullif(b.n, 0) AS gain) AS contact
    ORDER BY c.segment NULLS FIRST, c.is_control DESC, c.arm;
END
$$;
COMMENT ON FUNCTION stormops.experiment_report(uuid, text, double precision) IS 'What an experiment shows, over all (segment NULL) and by segment: the control arm, then each other arm against it. Everyone counts in the arm drawn, whatever happened to them. lift: difference of the primary metric, by method z, fisher, welch or cluster; always_valid_…: the same, safe to look at every hour; p_adjusted: the p-value of the one that decides (decided_by: fixed_horizon once planned_n properties have had their outcome_days, else always_valid), adjusted over the arms or the segments (Benjamini-Hochberg). verdict: better, worse, undecided, broken_split (the arms'' sizes do not fit the weights), or why there is none. adjusted_…: by the covariate (CUPED). probability_better (not by clusters) and detectable_lift as compare_proportions(). contact_rate: share with an outbound touch; crossovers: those handled as the other arm; contamination: the control arm''s contact rate; lift_of_contact: lift by the difference of contact rates, where that exceeds 0.3. early_outcomes: properties with an outcome before their assignment. srm_…: sample-ratio check. Errors: 22004; 22023 segment or alpha; P0002 no such experiment in this tenant.';

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
