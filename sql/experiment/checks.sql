-- Whether an experiment's draw held in each part of it, and what each day's look said.

CREATE FUNCTION stormops.check_sample_ratio(counts bigint[], weights double precision[]) RETURNS TABLE (
    verdict text, chi2 double precision, df integer, p_value double precision, ln_bayes_factor double precision,
    sequential_p double precision, deviation double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'check_sample_ratio_wrapper';
COMMENT ON FUNCTION stormops.check_sample_ratio(bigint[], double precision[]) IS 'Are the arms as large as their weights say? One row: verdict ok, warning (p < 0.01), alarm (p < 0.001) or too_few (fewer than eight expected in an arm), by chi-square; sequential_p holds at every look; deviation: the largest difference of a share, below 0.001 always ok. Arms of weight 0 are left out. NULLs without leads. Error: 22023 an argument.';

CREATE FUNCTION stormops.check_sample_ratio_by(
    experiment_id uuid, split_by text DEFAULT 'day',
    OUT part text, OUT n bigint, OUT counts jsonb, OUT verdict text, OUT p_value double precision,
    OUT p_adjusted double precision, OUT sequential_p double precision, OUT deviation double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_column
DECLARE
    tenant CONSTANT uuid := stormops.current_tenant();
    e record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    split_by := coalesce(nullif(split_by, ''), 'day');
    SELECT x.* INTO e FROM stormops.experiments AS x WHERE x.tenant_id = tenant AND x.experiment_id = $1;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment($1);
    END IF;
    IF $2 IS NULL OR $2 NOT IN ('day', 'channel', 'arm', 'roof_material', 'roof_style', 'neighbourhood') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'unknown part of an experiment',
            HINT = 'split_by is day, channel, arm, roof_material, roof_style or neighbourhood.';
    END IF;
    RETURN QUERY
    WITH units AS MATERIALIZED (
        SELECT a.arm, CASE WHEN e.unit = 'neighbourhood' THEN coalesce(a.neighbourhood, a.property_id::text) ELSE a.property_id::text END AS drawn,
            CASE $2 WHEN 'day' THEN (a.assigned_at AT TIME ZONE 'UTC')::date::text WHEN 'arm' THEN a.arm
                WHEN 'neighbourhood' THEN a.neighbourhood WHEN 'roof_material' THEN p.roof_material WHEN 'roof_style' THEN p.roof_style
                WHEN 'channel' THEN c.channel END AS part
        FROM stormops.experiment_assignments AS a
        JOIN stormops.properties AS p ON p.tenant_id = tenant AND p.property_id = a.property_id
        -- By which way the property last came or was reached before it had an arm: later touches depend on the arm.
        LEFT JOIN (
            SELECT DISTINCT ON (j.property_id) j.property_id, j.channel
            FROM stormops.experiment_assignments AS b
            JOIN stormops.customer_journeys AS j ON j.tenant_id = tenant AND j.property_id = b.property_id AND j.occurred_at < b.assigned_at
            WHERE $2 = 'channel' AND b.tenant_id = tenant AND b.experiment_id = $1
            ORDER BY j.property_id, j.occurred_at DESC, j.journey_id
        ) AS c ON c.property_id = a.property_id
        WHERE a.tenant_id = tenant AND a.experiment_id = $1
    ), tallied AS (
        SELECT coalesce(u.part, 'unknown') AS part, u.arm, count(DISTINCT u.drawn) AS n
        FROM units AS u GROUP BY 1, 2
    ), parts AS (
        SELECT DISTINCT t.part FROM tallied AS t WHERE $2 <> 'arm'
    ), cells AS (
        SELECT p.part, a.arm, coalesce(t.n, 0) AS n, (e.arms ->> a.arm)::float8 AS weight
        FROM parts AS p
        CROSS JOIN (SELECT jsonb_object_keys(e.arms) AS arm) AS a
        LEFT JOIN tallied AS t ON t.part = p.part AND t.arm = a.arm
        UNION ALL
        -- Each arm against all others.
        SELECT a.arm, s.side, CASE s.side WHEN 'this' THEN coalesce(t.n, 0) ELSE (SELECT coalesce(sum(o.n), 0) FROM tallied AS o) - coalesce(t.n, 0) END,
            CASE s.side WHEN 'this' THEN (e.arms ->> a.arm)::float8 ELSE 1 - (e.arms ->> a.arm)::float8 END
        FROM (SELECT jsonb_object_keys(e.arms) AS arm WHERE $2 = 'arm') AS a
        CROSS JOIN (VALUES ('this'), ('others')) AS s (side)
        LEFT JOIN tallied AS t ON t.arm = a.arm
    ), checked AS (
        SELECT c.part, sum(c.n)::bigint AS n, jsonb_object_agg(c.arm, c.n) AS counts,
            array_agg(c.n::bigint ORDER BY c.arm) AS drawn, array_agg(c.weight ORDER BY c.arm) AS weights
        FROM cells AS c GROUP BY c.part
    ), judged AS (
        SELECT c.part, c.n, c.counts, s.*, row_number() OVER (ORDER BY c.part) AS place
        FROM checked AS c, stormops.check_sample_ratio(c.drawn, c.weights) AS s
    ), adjusted AS (
        SELECT j.*, (stormops.benjamini_hochberg(array_agg(CASE WHEN j.verdict <> 'too_few' THEN j.p_value END) OVER (
            ORDER BY j.place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))[j.place] AS p_adjusted
        FROM judged AS j
    )
    SELECT a.part, a.n, a.counts,
        CASE WHEN a.verdict = 'too_few' THEN 'too_few' WHEN a.deviation < 0.001 OR a.p_adjusted >= 0.01 THEN 'ok'
            WHEN a.p_adjusted >= 0.001 THEN 'warning' ELSE 'alarm' END,
        a.p_value, a.p_adjusted, a.sequential_p, a.deviation
    FROM adjusted AS a
    ORDER BY a.part;
END
$$;
COMMENT ON FUNCTION stormops.check_sample_ratio_by(uuid, text) IS 'check_sample_ratio() of each part of an experiment, to find where a split is broken. split_by: day (UTC), channel, roof_material, roof_style, neighbourhood, arm. One row a part: n, counts, p_value, p_adjusted (Benjamini-Hochberg), sequential_p, deviation, verdict (ok, warning, alarm, too_few). Errors: 22004; 22023 split_by; P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops.experiment_looks(
    experiment_id uuid, alpha double precision DEFAULT 0.05,
    OUT look date, OUT arm text, OUT n bigint, OUT converted bigint, OUT control_n bigint, OUT control_converted bigint,
    OUT lift double precision, OUT low double precision, OUT high double precision, OUT p_value double precision,
    OUT least_p double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_column
DECLARE
    e record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    alpha := coalesce(alpha, 0.05);
    SELECT x.* INTO e FROM stormops.experiments AS x
    WHERE x.tenant_id = stormops.current_tenant() AND x.experiment_id = $1;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment($1);
    END IF;
    IF $2 IS NULL OR NOT ($2 > 0 AND $2 < 0.5) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'alpha must lie between 0 and 0.5', HINT = 'The default is 0.05.';
    END IF;
    IF e.cluster_by IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'looks back take properties as independent, which clusters are not',
            HINT = 'experiment_report() judges by clusters.';
    END IF;
    RETURN QUERY
    WITH events AS (
        SELECT u.arm, (u.assigned_at AT TIME ZONE 'UTC')::date AS day, 1 AS n, 0 AS converted FROM stormops_internal.experiment_units($1) AS u
        UNION ALL
        SELECT u.arm, (u.converted_at AT TIME ZONE 'UTC')::date, 0, 1 FROM stormops_internal.experiment_units($1) AS u WHERE u.converted
    ), daily AS (
        SELECT v.arm, v.day, sum(v.n) AS n, sum(v.converted) AS converted FROM events AS v GROUP BY v.arm, v.day
    ), so_far AS (
        SELECT a.arm, d.day, (sum(coalesce(c.n, 0)) OVER (PARTITION BY a.arm ORDER BY d.day))::bigint AS n,
            (sum(coalesce(c.converted, 0)) OVER (PARTITION BY a.arm ORDER BY d.day))::bigint AS converted
        FROM (SELECT DISTINCT y.day FROM daily AS y) AS d
        CROSS JOIN (SELECT jsonb_object_keys(e.arms) AS arm) AS a
        LEFT JOIN daily AS c ON c.arm = a.arm AND c.day = d.day
    )
    SELECT t.day, t.arm, t.n, t.converted, b.n, b.converted, p.lift,
        -- What holds at every look holds at all of them together.
        max(p.always_valid_low) OVER looks, min(p.always_valid_high) OVER looks,
        p.always_valid_p, min(p.always_valid_p) OVER looks
    FROM so_far AS t
    JOIN so_far AS b ON b.day = t.day AND b.arm = e.control
    CROSS JOIN LATERAL stormops.compare_proportions(t.converted, t.n, b.converted, b.n, 0, $2, e.planned_n) AS p
    WHERE t.arm <> e.control
    WINDOW looks AS (PARTITION BY t.arm ORDER BY t.day)
    ORDER BY t.day, t.arm;
END
$$;
COMMENT ON FUNCTION stormops.experiment_looks(uuid, double precision) IS 'How an experiment looked at the end of each day (UTC), from the rows as they are now: arm against control, lift, low and high (running intersection of the always-valid intervals), p_value of the day, least_p (the smallest so far). Errors: 0A000 randomised by clusters; 22004; 22023 alpha; P0002 no such experiment in this tenant.';
