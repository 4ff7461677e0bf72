-- How much of its quotas a tenant has used, and what there is to tell of it.

CREATE FUNCTION stormops_internal.quota_use(
    scope uuid, OUT tenant_id uuid, OUT metric_name text, OUT period text, OUT kind text, OUT quota numeric, OUT used numeric, OUT share numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT q.tenant_id, q.metric_name, q.period, q.kind, q.quota, u.used,
        CASE WHEN q.quota > 0 THEN round(u.used / q.quota, 6) ELSE (u.used > 0)::integer END
    FROM stormops_internal.every_quota() AS q
    JOIN stormops.tenants AS t ON t.tenant_id = q.tenant_id AND t.status <> 'closed'
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = q.tenant_id AND r.metric_name = q.metric_name AND r.grain = q.period
                AND r.bucket = date_trunc(q.period, now(), 'UTC') AND r.dimensions = '{}'), 0) AS used
    ) AS u
    WHERE q.quota IS NOT NULL AND ($1 IS NULL OR q.tenant_id = $1)
$$;
COMMENT ON FUNCTION stormops_internal.quota_use(uuid) IS 'What each quota, the tenant''s own or its tier''s, has in the current period (UTC): used, by the rollups; share of the quota, 1 and more: it is reached (of a quota of nothing: 1 once anything is used). Of one tenant, or with NULL of all that are not closed.';

CREATE FUNCTION stormops_internal.quota_findings(scope uuid, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH near AS (
        SELECT u.tenant_id, format('quota_used:%s:%s', u.metric_name, u.period) AS key,
            CASE WHEN u.kind = 'hard' AND u.share >= 1 THEN 'critical' ELSE 'warning' END AS severity,
            jsonb_build_object('metric', u.metric_name, 'period', u.period, 'kind', u.kind, 'quota', u.quota, 'used', u.used,
                'percent', round(100 * u.share, 1)) AS evidence
        FROM stormops_internal.quota_use($1) AS u
        WHERE u.share >= 0.8
    )
    SELECT jsonb_build_object('tenant_id', n.tenant_id, 'key', n.key, 'issue', 'quota_used', 'severity', n.severity, 'failing', true,
        'evidence', n.evidence)
    FROM near AS n
    UNION ALL
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false)
    FROM stormops.alerts AS a
    WHERE a.issue = 'quota_used' AND a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1)
        AND NOT EXISTS (SELECT FROM near AS n WHERE n.tenant_id = a.tenant_id AND n.key = a.alert_key)
$$;
COMMENT ON FUNCTION stormops_internal.quota_findings(uuid) IS 'Of quotas, for the alerts: those of which 80 percent or more are used, critical once a hard one is used up; and those alerts that no longer hold. Of one tenant, or with NULL of all.';
