-- What is wrong with a storm, by its scores and by what treating it came to; and which storms to look at again.

CREATE FUNCTION stormops_internal.score_measures(tenant_id uuid, scores stormops.score_sketch, model_version text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    measures jsonb;
BEGIN
    SELECT to_jsonb(d) || jsonb_build_object('model_version', model_version, 'drift_detected', false, 'mean_out_of_band', d.mean NOT BETWEEN 0.10 AND 0.30)
    INTO measures FROM stormops.describe(scores) AS d;
    -- Against a kept baseline only: without one the reference would be every earlier storm, and a
    -- dashboard must not cost more with each of them.
    RETURN measures || coalesce((
        SELECT to_jsonb(v) || jsonb_build_object('reference', format('baseline %s of %s', k.name, to_char(k.made_at, 'YYYY-MM-DD')))
        FROM (
            SELECT b.name, b.made_at, b.sketch || '' AS sketch -- || fetches it once, not at each use
            FROM stormops.uplift_baselines AS b
            WHERE b.tenant_id = score_measures.tenant_id AND b.name = 'default' AND b.model_version = score_measures.model_version
        ) AS k
        CROSS JOIN LATERAL stormops.drift_verdict(scores, k.sketch::stormops.score_sketch) AS v), '{}');
END
$$;
COMMENT ON FUNCTION stormops_internal.score_measures(uuid, stormops.score_sketch, text) IS 'What a storm''s scores are like, as JSON: describe(), mean_out_of_band (not 0.10 to 0.30), and against the tenant''s baseline "default" of their model, if there is one, drift_verdict().';

CREATE FUNCTION stormops_internal.storm_issues(
    storm_id uuid, uplift jsonb, lift jsonb, OUT issue text, OUT severity text, OUT subject text, OUT evidence jsonb
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH s AS (
        SELECT coalesce(($2 ->> 'n')::bigint, 0) AS n, coalesce(($2 ->> 'drift_detected')::boolean, false) AS drifted,
            coalesce(($2 ->> 'mean_out_of_band')::boolean, false) AS out_of_band, $3 ->> 'status' AS status,
            coalesce(($3 ->> 'anomaly')::boolean, false) AS anomaly, coalesce(($3 ->> 'rule_anomaly')::boolean, false) AS short,
            coalesce(($3 ->> 'awaiting')::bigint, 0) AS awaiting
    )
    SELECT i.issue, i.severity, $1::text, i.evidence FROM s CROSS JOIN LATERAL (
        SELECT 'no_scores' AS issue, 'info' AS severity, jsonb_build_object('scored', 0) AS evidence WHERE s.n = 0
        UNION ALL
        SELECT 'uplift_drift', CASE WHEN s.drifted THEN 'critical' ELSE 'warning' END,
            jsonb_strip_nulls(jsonb_build_object('n', $2 -> 'n', 'mean', $2 -> 'mean', 'expected', '0.10 to 0.30', 'reference', $2 -> 'reference',
                'reference_mean', $2 -> 'reference_mean', 'p_adjusted', $2 -> 'p_adjusted', 'drift_detected', s.drifted))
        WHERE s.n > 0 AND (s.drifted OR s.out_of_band)
        UNION ALL
        SELECT 'no_policy', 'info', jsonb_build_object('scored', s.n) WHERE s.n > 0 AND s.status = 'no_policy'
        UNION ALL
        SELECT 'no_control', 'warning', jsonb_build_object('treated_n', $3 -> 'treated_n', 'control_n', $3 -> 'control_n')
        WHERE s.status IN ('no_control', 'no_treatment')
        UNION ALL
        SELECT 'no_outcomes', CASE WHEN s.awaiting > 0 THEN 'info' ELSE 'warning' END,
            jsonb_build_object('treated_n', $3 -> 'treated_n', 'control_n', $3 -> 'control_n', 'window_ends_at', $3 -> 'window_ends_at')
        WHERE s.status = 'no_outcomes'
        UNION ALL
        -- Shown below five points it is critical; below them, and not yet shown, it is only a warning.
        SELECT 'low_lift', CASE WHEN s.anomaly THEN 'critical' ELSE 'warning' END,
            jsonb_build_object('lift', $3 -> 'lift', 'lift_low', $3 -> 'lift_low', 'lift_high', $3 -> 'lift_high', 'expected', 'at least 0.05',
                'verdict', $3 -> 'verdict', 'treated_n', $3 -> 'treated_n', 'control_n', $3 -> 'control_n', 'awaiting', s.awaiting)
        WHERE s.status = 'ok' AND (s.anomaly OR s.short)
    ) AS i
$$;
COMMENT ON FUNCTION stormops_internal.storm_issues(uuid, jsonb, jsonb) IS 'What is wrong with a storm by its measures (storm_measures()).';

CREATE FUNCTION stormops_internal.due_bands(since timestamptz, places integer) RETURNS stormops_internal.due_expectation[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- New scores whose mean lies in the band cannot take their storm out of it. With a baseline any may: no mean is in its band.
    SELECT coalesce(array_agg(ROW(t.tenant_id, NULL, 'lead_uplift', 'band', '{storm_id,uplift}', CASE WHEN b.kept THEN 1 ELSE 0.10 END,
        CASE WHEN b.kept THEN -1 ELSE 0.30 END, NULL, NULL, $1, coalesce($2, 0) + 1)::stormops_internal.due_expectation), '{}')
    FROM stormops.tenants AS t
    CROSS JOIN LATERAL (SELECT EXISTS (
        SELECT FROM stormops.uplift_baselines AS u WHERE u.tenant_id = t.tenant_id AND u.name = 'default') AS kept) AS b
    WHERE t.status = 'active'
$$;
COMMENT ON FUNCTION stormops_internal.due_bands(timestamptz, integer) IS 'For judge_rows(), of each active tenant: the storms whose new scores lie outside 0.10 to 0.30 in the mean, or any new ones where a baseline "default" is kept. places: how many rules about lead_uplift are judged before.';

CREATE FUNCTION stormops_internal.storms_to_watch(scope uuid, since timestamptz, scored uuid[]) RETURNS TABLE (tenant_id uuid, storm_id uuid, name text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH decided AS (
        SELECT r.tenant_id, r.storm_id FROM stormops.policy_runs AS r
        WHERE r.superseded_at IS NULL AND $1 IS NULL AND (r.decided_at >= $2
            -- From the end of the outcome window on nothing is awaited.
            OR r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer) BETWEEN $2 AND now()
            OR (r.tenant_id, r.run_id) IN (SELECT o.tenant_id, o.run_id FROM stormops.policy_outcomes AS o WHERE o.recorded_at >= $2))
    ), alarmed AS (
        SELECT a.tenant_id, (a.evidence ->> 'storm_id')::uuid AS storm_id FROM stormops.alerts AS a
        WHERE a.resolved_at IS NULL AND $1 IS NULL AND a.evidence ? 'storm_id'
    )
    SELECT s.tenant_id, s.storm_id, s.name
    FROM stormops.storms AS s JOIN stormops.tenants AS t ON t.tenant_id = s.tenant_id
    WHERE s.status = 'active' AND t.status = 'active' AND (s.tenant_id = $1 OR $1 IS NULL AND s.storm_id IN (SELECT c FROM unnest($3) AS c)
        OR (s.tenant_id, s.storm_id) IN (SELECT d.tenant_id, d.storm_id FROM decided AS d)
        OR (s.tenant_id, s.storm_id) IN (SELECT a.tenant_id, a.storm_id FROM alarmed AS a))
$$;
COMMENT ON FUNCTION stormops_internal.storms_to_watch(uuid, timestamptz, uuid[]) IS 'The active storms of a tenant; with NULL, of all tenants those that may have changed since then: the scored ones (due_bands()), and those with a new run, new outcomes, an outcome window that ended, an open alert.';

CREATE FUNCTION stormops_internal.storm_findings(scope uuid, since timestamptz, scored uuid[], OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT jsonb_build_object('tenant_id', m.tenant_id, 'key', k.issue || ':' || m.storm_id, 'issue', k.issue,
        'severity', i.severity, 'failing', i.issue IS NOT NULL,
        'evidence', i.evidence || jsonb_build_object('storm_id', m.storm_id, 'storm', m.name))
    FROM (
        SELECT s.tenant_id, s.storm_id, s.name, stormops_internal.score_measures(s.tenant_id, c.scores, c.model_version) AS uplift,
            to_jsonb(stormops_internal.conversion_rates_of(s.tenant_id, s.storm_id)) AS lift
        FROM stormops_internal.storms_to_watch($1, $2, $3) AS s LEFT JOIN LATERAL stormops_internal.latest_scores(s.tenant_id, s.storm_id) AS c ON true
        OFFSET 0 -- once for each storm
    ) AS m
    CROSS JOIN (VALUES ('uplift_drift'), ('low_lift'), ('no_control')) AS k (issue)
    LEFT JOIN LATERAL stormops_internal.storm_issues(m.storm_id, m.uplift, m.lift) AS i ON i.issue = k.issue
$$;
COMMENT ON FUNCTION stormops_internal.storm_findings(uuid, timestamptz, uuid[]) IS 'Of each of storms_to_watch(), for the alerts: whether its scores drift, its lift is low, it has no control.';
