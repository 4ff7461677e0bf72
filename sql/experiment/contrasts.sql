-- The arms of an experiment against its control: experiment_arms() pairs them, arm_contrast() compares a pair.

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

CREATE FUNCTION stormops_internal.arm_contrast(
    treated stormops_internal.experiment_cell, control stormops_internal.experiment_cell,
    metric text, clustered boolean, alpha double precision, planned_n bigint,
    OUT status text, OUT small_sample boolean, OUT lift double precision, OUT lift_low double precision, OUT lift_high double precision,
    OUT relative_lift double precision, OUT relative_low double precision, OUT relative_high double precision,
    OUT p_value double precision, OUT method text, OUT always_valid_low double precision, OUT always_valid_high double precision,
    OUT always_valid_p double precision, OUT adjusted_lift double precision, OUT adjusted_low double precision,
    OUT adjusted_high double precision, OUT clusters bigint, OUT design_effect double precision,
    OUT probability_better double precision, OUT detectable_lift double precision
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT p.status, p.small_sample,
        CASE $3 WHEN 'conversion' THEN p.lift ELSE m.difference END, j.low, j.high,
        CASE $3 WHEN 'conversion' THEN p.relative_lift ELSE m.difference / nullif(m.control_mean, 0) END,
        -- These take properties as independent, which those of a cluster are not.
        CASE WHEN independent.conversions THEN p.relative_low END, CASE WHEN independent.conversions THEN p.relative_high END,
        j.p_value, j.method, j.always_valid_low, j.always_valid_high, j.always_valid_p,
        CASE WHEN $4 THEN ka.difference ELSE m.adjusted_difference END, CASE WHEN $4 THEN ka.low ELSE m.adjusted_low END,
        CASE WHEN $4 THEN ka.high ELSE m.adjusted_high END,
        k.clusters, (k.se / nullif(m.se, 0)) ^ 2, CASE WHEN independent.conversions THEN p.probability_better END,
        CASE $3 WHEN 'conversion' THEN p.detectable_lift * CASE WHEN NOT $4 OR k.se < m.se THEN 1 ELSE k.se / nullif(m.se, 0) END END
    FROM (SELECT NOT $4 AND $3 = 'conversion' AS conversions) AS independent
    -- Against the promise of no lift at all: the report says better or worse.
    CROSS JOIN stormops.compare_proportions(($1).converted, ($1).n, ($2).converted, ($2).n, 0, $5, $6) AS p
    CROSS JOIN stormops.compare_means(($1).state, ($2).state, $5, $6) AS m
    LEFT JOIN LATERAL stormops_internal.cluster_contrast(($1).clusters, ($2).clusters, 0, $5, $6) AS k ON $4
    LEFT JOIN LATERAL stormops_internal.cluster_contrast(($1).clusters, ($2).clusters, m.slope, $5, $6) AS ka ON $4
    -- What judges: clusters where there are any, else the test of the metric.
    CROSS JOIN LATERAL (
        SELECT 'cluster' AS method, k.low, k.high, k.p_value, k.always_valid_low, k.always_valid_high, k.always_valid_p WHERE $4
        UNION ALL
        SELECT 'welch', m.low, m.high, m.p_value, m.always_valid_low, m.always_valid_high, m.always_valid_p WHERE NOT $4 AND $3 = 'value'
        UNION ALL
        SELECT p.method, p.lift_low, p.lift_high, p.p_value, p.always_valid_low, p.always_valid_high, p.always_valid_p
        WHERE independent.conversions
    ) AS j
$$;
COMMENT ON FUNCTION stormops_internal.arm_contrast(stormops_internal.experiment_cell, stormops_internal.experiment_cell, text, boolean, double precision, bigint) IS 'Two arms of experiment_cells() compared as experiment_report() tells it, by the metric conversion or value, clustered or not.';

CREATE FUNCTION stormops_internal.experiment_arms(
    experiment_id uuid, segment_by text,
    OUT segment text, OUT arm text, OUT is_control boolean, OUT cell stormops_internal.experiment_cell, OUT control stormops_internal.experiment_cell,
    OUT contact_rate double precision, OUT control_contact_rate double precision,
    OUT srm_verdict text, OUT srm_p double precision, OUT srm_sequential_p double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.arms, e.control FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), cells AS MATERIALIZED (
        SELECT c AS cell, c.segment, c.arm, c.arm = e.control AS is_control, c.drawn, (e.arms ->> c.arm)::float8 AS weight,
            c.touched::float8 / nullif(c.n, 0) AS contact_rate
        FROM e CROSS JOIN stormops_internal.experiment_cells($1, $2) AS c
    ), ratios AS (
        SELECT r.segment, s.verdict, s.p_value, s.sequential_p
        FROM (
            SELECT c.segment, array_agg(c.drawn ORDER BY c.arm) AS drawn, array_agg(c.weight ORDER BY c.arm) AS weights
            FROM cells AS c GROUP BY c.segment
        ) AS r CROSS JOIN LATERAL stormops.check_sample_ratio(r.drawn, r.weights) AS s
    )
    SELECT c.segment, c.arm, c.is_control, c.cell, b.cell, c.contact_rate, b.contact_rate, r.verdict, r.p_value, r.sequential_p
    FROM cells AS c
    JOIN cells AS b ON b.is_control AND b.segment IS NOT DISTINCT FROM c.segment
    JOIN ratios AS r ON r.segment IS NOT DISTINCT FROM c.segment
$$;
COMMENT ON FUNCTION stormops_internal.experiment_arms(uuid, text) IS 'The arms of an experiment, over all and by segment, each with the control of its segment, how many of both had an outbound touch, and whether the segment''s arms are as large as their weights say. None without such an experiment.';
