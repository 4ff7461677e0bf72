-- What there is to tell somebody, and what there no longer is: what note_findings() makes alerts of.

CREATE FUNCTION stormops_internal.quality_objective(
    scope uuid, OUT tenant_id uuid, OUT rows_judged bigint, OUT rows_failing bigint, OUT failing_share numeric, OUT met boolean
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY EXECUTE format($query$
        -- A tenant may write there what it likes; no sum of it stops the platform's run.
        SELECT m.tenant_id, least(sum(m.rows_judged), 9223372036854775807)::bigint, least(sum(m.rows_failing), 9223372036854775807)::bigint,
            round(sum(m.rows_failing) / sum(m.rows_judged), 6), sum(m.rows_failing) < 0.01 * sum(m.rows_judged)
        FROM stormops.data_quality_metrics AS m
        WHERE %s AND m.measured_at >= now() - interval '24 hours' AND m.rows_failing IS NOT NULL
        GROUP BY m.tenant_id
        HAVING sum(m.rows_judged) > 0
        $query$, CASE WHEN scope IS NULL THEN 'true' ELSE format('m.tenant_id = %L', scope) END);
END
$$;
COMMENT ON FUNCTION stormops_internal.quality_objective(uuid) IS 'The platform''s objective: below 1 % of the rows judged in the last 24 hours fail, each row counted once for each expectation. One tenant''s, or with NULL that of all that the caller sees.';

CREATE FUNCTION stormops_internal.objective_findings(scope uuid, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH objective AS MATERIALIZED (
        SELECT o.tenant_id, o.met, to_jsonb(o) - 'tenant_id' AS evidence FROM stormops_internal.quality_objective($1) AS o
    )
    SELECT jsonb_build_object('tenant_id', o.tenant_id, 'key', 'data_quality', 'issue', 'data_quality', 'severity', 'warning',
        'failing', NOT o.met, 'evidence', o.evidence)
    FROM objective AS o
    UNION ALL
    -- Of which no row was judged for a day.
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false)
    FROM stormops.alerts AS a
    WHERE a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1) AND a.alert_key = 'data_quality'
        AND NOT EXISTS (SELECT FROM objective AS o WHERE o.tenant_id = a.tenant_id)
$$;
COMMENT ON FUNCTION stormops_internal.objective_findings(uuid) IS 'Whether tenants miss the platform''s objective (quality_objective()). Of one tenant, or with NULL of all.';

CREATE FUNCTION stormops_internal.groundless_findings(scope uuid, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- A closed tenant's rows nobody judges again.
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false, 'gone', true)
    FROM stormops.alerts AS a JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
    WHERE a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1) AND t.status = 'closed'
    UNION ALL
    -- An expectation that was taken back, a storm that is over.
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false, 'gone', true)
    FROM stormops.alerts AS a
    WHERE a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1) AND a.alert_key ~ ':[0-9a-f-]{36}$'
        AND CASE WHEN a.evidence ? 'storm_id' THEN NOT EXISTS (
            SELECT FROM stormops.storms AS s
            WHERE s.tenant_id = a.tenant_id AND s.storm_id = right(a.alert_key, 36)::uuid AND s.status = 'active')
        ELSE NOT EXISTS (
            SELECT FROM stormops.expectations AS e
            WHERE e.tenant_id = a.tenant_id AND e.expectation_id = right(a.alert_key, 36)::uuid AND e.active) END
$$;
COMMENT ON FUNCTION stormops_internal.groundless_findings(uuid) IS 'The open alerts that are about what is no longer there, which ends them at once. Of one tenant, or with NULL of all.';

CREATE FUNCTION stormops_internal.gather_findings(
    scope uuid, since timestamptz, verdicts jsonb, system_issues jsonb, scored_storms uuid[],
    OUT findings jsonb, OUT objective_missed bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH told AS (
        SELECT v.finding FROM jsonb_array_elements($3) AS v (finding)
        UNION ALL
        SELECT o.finding FROM stormops_internal.objective_findings($1) AS o
        UNION ALL
        SELECT g.finding FROM stormops_internal.groundless_findings($1) AS g
        UNION ALL
        SELECT q.finding FROM stormops_internal.quota_findings($1) AS q
        UNION ALL
        SELECT p.finding FROM stormops_internal.platform_findings($4) AS p WHERE $1 IS NULL
        UNION ALL
        SELECT s.finding FROM stormops_internal.storm_findings($1, $2, $5) AS s
    )
    SELECT coalesce(jsonb_agg(t.finding), '[]'),
        count(*) FILTER (WHERE t.finding @> '{"issue": "data_quality", "failing": true}' AND t.finding ->> 'tenant_id' IS NOT NULL)
    FROM told AS t
    -- Nobody raises an alert of a closed tenant.
    WHERE NOT (t.finding @> '{"failing": true}' AND EXISTS (
        SELECT FROM stormops.tenants AS x WHERE x.tenant_id = (t.finding ->> 'tenant_id')::uuid AND x.status = 'closed'))
$$;
COMMENT ON FUNCTION stormops_internal.gather_findings(uuid, timestamptz, jsonb, jsonb, uuid[]) IS 'All that a run found, for note_findings(): the verdicts'' findings, and what there is of the objective, alerts without ground, quotas, storms and, with NULL, of the platform by its issues. objective_missed: tenants that miss it.';
