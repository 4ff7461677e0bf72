-- What became of an experiment's properties. experiment_units() is the set, one row a property; experiment_cells() gathers it
-- by arm and segment; experiment_report() compares.

CREATE FUNCTION stormops_internal.experiment_units(
    experiment_id uuid,
    OUT property_id uuid, OUT arm text, OUT neighbourhood text, OUT roof_material text, OUT roof_style text,
    OUT assigned_at timestamptz, OUT converted boolean, OUT value numeric, OUT touched boolean, OUT early boolean,
    OUT uplift double precision, OUT converted_at timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- without loops its cost is beyond all measure
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

CREATE FUNCTION stormops_internal.experiment_cells(experiment_id uuid, segment_by text) RETURNS SETOF stormops_internal.experiment_cell
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
