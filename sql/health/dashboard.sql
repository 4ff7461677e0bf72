-- How a storm is doing, for a person: what is wrong, since when, how bad, what to do. Readers: they
-- run as the caller, under row security, write nothing and work on a standby.

CREATE FUNCTION stormops_internal.storm_measures(
    storm_id uuid, OUT uplift jsonb, OUT lift jsonb, OUT funnel jsonb, OUT scores stormops.score_sketch, OUT model_version text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    latest record;
BEGIN
    SELECT s.* INTO latest FROM stormops_internal.storm_scores(storm_id) AS s;
    scores := latest.scores;
    model_version := latest.model_version;
    uplift := stormops_internal.score_measures(stormops.current_tenant(), scores, model_version);
    SELECT to_jsonb(r) INTO lift FROM stormops.check_conversion_rates(storm_id) AS r;
    SELECT jsonb_build_object('scored', uplift -> 'n', 'treat', r.treat, 'hold', r.hold, 'excluded', r.excluded, 'policy_mode', r.policy_mode,
        'decided_at', r.decided_at, 'treated_converted', lift -> 'treated_converted', 'control_converted', lift -> 'control_converted')
    INTO funnel
    FROM (SELECT) AS one LEFT JOIN stormops.policy_runs AS r
        ON r.tenant_id = stormops.current_tenant() AND r.storm_id = storm_measures.storm_id AND r.superseded_at IS NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.storm_measures(uuid) IS 'A storm''s scores (score_measures()), its conversion rates (as check_conversion_rates()) and its funnel, as JSON; and the scores themselves with their model.';

CREATE FUNCTION stormops_internal.tenant_issues(OUT issue text, OUT severity text, OUT subject text, OUT since timestamptz, OUT evidence jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT a.issue, a.severity, a.alert_key, a.raised_at, a.evidence
    FROM stormops.alerts AS a
    WHERE a.tenant_id = stormops.current_tenant() AND a.resolved_at IS NULL AND NOT a.evidence ? 'storm_id'
    UNION ALL
    -- The fixed rule: of tables that are fed all the time. Between storms little comes, so it only informs.
    SELECT 'volume_drop', 'info', c.table_name, c.last_at,
        jsonb_build_object('table', c.table_name, 'total_rows', c.total_rows, 'recent_rows_24h', c.recent_rows_24h, 'expected', 'recent at least 10 % of total')
    FROM stormops_internal.tenant_row_counts() AS c
    WHERE c.tenant_id = stormops.current_tenant() AND c.table_name IN ('lead_uplift', 'customer_journeys', 'tenant_usage')
        AND c.total_rows > 0 AND c.recent_rows_24h < 0.1 * c.total_rows
$$;
COMMENT ON FUNCTION stormops_internal.tenant_issues() IS 'What is wrong with the data of the tenant in context: its open alerts that are about no storm, and tables of which fewer than 10 % of the rows came in the last 24 hours.';

CREATE FUNCTION stormops_internal.dashboard_of(
    storm_id uuid, OUT dashboard jsonb, OUT scores stormops.score_sketch, OUT model_version text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
#variable_conflict use_variable
DECLARE
    storm record;
    measures record;
    issues jsonb;
    worst text;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT s.name, s.status, s.created_at INTO storm FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = dashboard_of.storm_id;
    SELECT m.* INTO measures FROM stormops_internal.storm_measures(storm_id) AS m;
    scores := measures.scores;
    model_version := measures.model_version;
    SELECT jsonb_agg(jsonb_build_object('issue', i.issue, 'severity', i.severity, 'since', i.since, 'evidence', i.evidence,
            'steps', (SELECT jsonb_agg(r.action ORDER BY r.step) FROM stormops.runbook(i.issue) AS r))
            ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.since),
        CASE WHEN bool_or(i.severity = 'critical') THEN 'critical' WHEN bool_or(i.severity = 'warning') THEN 'degraded' ELSE 'healthy' END
    INTO issues, worst
    FROM (
        SELECT s.issue, s.severity, s.evidence,
            -- Since it was first seen; if no check has run yet, since what it rests on was there.
            coalesce((SELECT a.raised_at FROM stormops.alerts AS a
                WHERE a.tenant_id = stormops.current_tenant() AND a.alert_key = s.issue || ':' || s.subject AND a.resolved_at IS NULL),
                CASE WHEN s.issue IN ('low_lift', 'no_outcomes', 'no_control') THEN (measures.funnel ->> 'decided_at')::timestamptz END,
                CASE WHEN s.issue IN ('uplift_drift', 'no_policy') THEN (
                    SELECT l.scored_at FROM stormops.lead_uplift AS l
                    WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = dashboard_of.storm_id
                    ORDER BY l.property_id LIMIT 1) END,
                storm.created_at) AS since
        FROM stormops_internal.storm_issues(storm_id, measures.uplift, measures.lift) AS s
        UNION ALL
        SELECT t.issue, t.severity, t.evidence, t.since FROM stormops_internal.tenant_issues() AS t
    ) AS i;
    dashboard := jsonb_build_object(
        'storm_id', storm_id, 'storm', storm.name, 'storm_status', storm.status, 'checked_at', now(),
        'health_status', coalesce(worst, 'healthy'), 'issues', coalesce(issues, '[]'),
        'funnel', measures.funnel, 'uplift', measures.uplift, 'conversion', measures.lift,
        'tables', coalesce((SELECT jsonb_object_agg(c.table_name, jsonb_build_object('total_rows', c.total_rows,
            'recent_rows_24h', c.recent_rows_24h, 'last_row_at', c.last_at))
            FROM stormops_internal.tenant_row_counts() AS c WHERE c.tenant_id = stormops.current_tenant()), '{}'),
        'data_quality', coalesce((SELECT to_jsonb(o) - 'tenant_id' FROM stormops_internal.quality_objective(stormops.current_tenant()) AS o),
            '{"met": null, "rows_judged": 0}'),
        'expectations', (SELECT jsonb_build_object('active', count(*), 'failing', count(*) FILTER (WHERE e.judged_status = 'failed'),
            'last_judged_at', max(e.judged_at)) FROM stormops.expectations AS e WHERE e.tenant_id = stormops.current_tenant() AND e.active));
END
$$;
COMMENT ON FUNCTION stormops_internal.dashboard_of(uuid) IS 'get_health_dashboard() as dashboard, and the storm''s scores with their model. Errors as there.';

CREATE FUNCTION stormops.get_health_dashboard(storm_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT d.dashboard FROM stormops_internal.dashboard_of($1) AS d $$;
COMMENT ON FUNCTION stormops.get_health_dashboard(uuid) IS 'How a storm is doing, as a JSON object: health_status (healthy, degraded, critical), issues (the worst first; each with issue, severity, since, evidence, steps), funnel, uplift, conversion, tables, data_quality, expectations. Errors: 0B000 no tenant; 22004; P0002 no such storm in this tenant.';

CREATE FUNCTION stormops_internal.sparkline(counts numeric[]) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT string_agg(CASE WHEN v.n IS NULL THEN ' '
        ELSE substr(CASE WHEN pg_client_encoding() = 'UTF8' THEN '▁▂▃▄▅▆▇█' ELSE '_.:-=+*#' END,
            1 + CASE WHEN v.top > 0 THEN floor(7 * greatest(v.n, 0) / v.top) ELSE 0 END::integer, 1) END, '' ORDER BY v.place)
    FROM (
        SELECT f.n, u.place, max(f.n) OVER () AS top
        FROM unnest($1) WITH ORDINALITY AS u (n, place)
        CROSS JOIN LATERAL (SELECT CASE WHEN u.n NOT IN ('NaN', 'Infinity', '-Infinity') THEN u.n END AS n) AS f
    ) AS v
$$;
COMMENT ON FUNCTION stormops_internal.sparkline(numeric[]) IS 'A line of blocks, one for each number, the highest for the greatest; a blank for NULL. A client that asks for another encoding than UTF8 gets signs of ASCII.';

CREATE FUNCTION stormops.health_summary(
    storm_id uuid, OUT what text, OUT value text, OUT status text, OUT trend text, OUT next_step text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
    WITH d AS MATERIALIZED (
        SELECT stormops.get_health_dashboard($1) AS j
    ), days AS (
        SELECT c.table_name, g.day, coalesce(sum(c.inserted), 0) AS inserted
        FROM (SELECT (now() AT TIME ZONE 'UTC')::date - n AS day FROM generate_series(0, 13) AS n) AS g
        JOIN (
            SELECT r.table_name, (r.bucket AT TIME ZONE 'UTC')::date AS day, r.inserted FROM stormops.row_counts AS r
            WHERE r.tenant_id = stormops.current_tenant()
            UNION ALL
            SELECT r.table_name, (r.happened_at AT TIME ZONE 'UTC')::date, r.inserted FROM stormops.row_count_deltas AS r
            WHERE r.tenant_id = stormops.current_tenant()
        ) AS c ON c.day = g.day
        GROUP BY c.table_name, g.day
    ), trends AS (
        SELECT t.table_name, stormops_internal.sparkline(array_agg(coalesce(y.inserted, 0) ORDER BY g.n DESC)) AS trend
        FROM (SELECT DISTINCT x.table_name FROM days AS x) AS t CROSS JOIN generate_series(0, 13) AS g (n)
        LEFT JOIN days AS y ON y.table_name = t.table_name AND y.day = (now() AT TIME ZONE 'UTC')::date - g.n
        GROUP BY t.table_name
    )
    SELECT l.what, l.value, l.status, l.trend, l.next_step
    FROM (
        SELECT 1 AS part, 0::bigint AS place, 'storm' AS what, d.j ->> 'storm' AS value, d.j ->> 'health_status' AS status,
            NULL AS trend, NULL AS next_step FROM d
        UNION ALL
        SELECT 2, 1, 'scored', d.j #>> '{funnel,scored}', NULL, NULL, NULL FROM d
        UNION ALL
        SELECT 2, 2, 'treat / hold / excluded', concat_ws(' / ', d.j #>> '{funnel,treat}', d.j #>> '{funnel,hold}', d.j #>> '{funnel,excluded}'), NULL, NULL, NULL
        FROM d WHERE d.j #>> '{funnel,treat}' IS NOT NULL
        UNION ALL
        SELECT 2, 3, 'uplift, mean', to_char((d.j #>> '{uplift,mean}')::numeric, 'FM0.000'),
            CASE WHEN (d.j #>> '{uplift,mean_out_of_band}')::boolean THEN 'out of 0.10 to 0.30' ELSE 'ok' END,
            stormops_internal.sparkline(ARRAY(SELECT 1 + (d.j #>> ARRAY['uplift', q])::numeric FROM unnest('{q05,q25,median,q75,q95}'::text[]) AS q)), NULL
        FROM d WHERE (d.j #>> '{uplift,n}')::bigint > 0
        UNION ALL
        SELECT 2, 4, 'lift', to_char((d.j #>> '{conversion,lift}')::numeric, 'FM0.000') || format(' (%s to %s)',
            to_char((d.j #>> '{conversion,lift_low}')::numeric, 'FM0.000'), to_char((d.j #>> '{conversion,lift_high}')::numeric, 'FM0.000')),
            d.j #>> '{conversion,verdict}', NULL, NULL
        FROM d WHERE d.j #>> '{conversion,lift}' IS NOT NULL
        UNION ALL
        SELECT 3, row_number() OVER (ORDER BY t.key), t.key, format('%s rows, %s recent', t.value ->> 'total_rows', t.value ->> 'recent_rows_24h'),
            NULL, s.trend, NULL
        FROM d CROSS JOIN LATERAL jsonb_each(d.j -> 'tables') AS t LEFT JOIN trends AS s ON s.table_name = t.key
        UNION ALL
        SELECT 4, i.place, 'issue', i.issue ->> 'issue', i.issue ->> 'severity', NULL, i.issue #>> '{steps,0}'
        FROM d CROSS JOIN LATERAL jsonb_array_elements(d.j -> 'issues') WITH ORDINALITY AS i (issue, place)
    ) AS l
    ORDER BY l.part, l.place
$$;
COMMENT ON FUNCTION stormops.health_summary(uuid) IS 'The dashboard as rows for psql: what, value, status, trend (rows that came on each of the last fourteen days, UTC; for uplift its quantiles), next_step of an issue. Errors as get_health_dashboard().';
