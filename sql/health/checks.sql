-- The run over all that is due: verdicts, metrics, alerts.

CREATE FUNCTION stormops_internal.judge_all_due(
    complete boolean, system_issues jsonb,
    OUT tenants bigint, OUT judged bigint, OUT failed bigint, OUT rows_judged bigint, OUT rows_failing bigint,
    OUT objective_missed bigint, OUT alerts_raised bigint, OUT alerts_resolved bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    scope uuid;
    due stormops_internal.due_expectation[];
    judgements stormops_internal.judgement[];
    scored_storms uuid[];
    findings jsonb;
    watched_since timestamptz := '-infinity';
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN; -- a standby has nothing to say
    END IF;
    IF stormops_internal.has_tenant() THEN
        IF NOT stormops.may_write('crew_chief') THEN
            RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may run health checks',
                HINT = 'SELECT * FROM stormops.check_table_health(''lead_uplift''); writes nothing.';
        END IF;
        scope := stormops.current_tenant();
    ELSIF NOT stormops_internal.is_operator() THEN
        scope := stormops.current_tenant(); -- says that there is none
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    IF scope IS NULL THEN
        PERFORM stormops.fold_row_counts(); -- where two runs stand in line
        IF NOT complete THEN
            watched_since := coalesce((SELECT p.reached_at - interval '10 minutes' FROM stormops_internal.health_progress AS p WHERE p.task = 'storms'), watched_since);
        END IF;
        INSERT INTO stormops_internal.health_progress AS p (task, reached_at) VALUES ('storms', now())
        ON CONFLICT ON CONSTRAINT health_progress_pkey DO UPDATE SET reached_at = EXCLUDED.reached_at;
    END IF;

    -- Of two runs at once each takes what the other has not. What no longer fits the catalogue waits.
    WITH claimed AS MATERIALIZED (
        SELECT e.tenant_id, e.expectation_id, e.table_name, e.rule, e.columns, e.lowest, e.highest, e.max_age, e.threshold, e.judged_at
        FROM stormops.expectations AS e JOIN stormops.tenants AS t ON t.tenant_id = e.tenant_id
        WHERE t.status = 'active' AND e.active AND (scope IS NULL OR e.tenant_id = scope)
            -- No clock strikes twice at quite the same distance: what would be due within a minute is due. In seconds,
            -- since adding what a tenant wrote, months and all, could leave the calendar.
            AND (complete OR e.judged_at IS NULL OR extract(epoch FROM now() - e.judged_at)
                >= greatest(0.9 * extract(epoch FROM e.every), extract(epoch FROM e.every) - 60))
        FOR UPDATE OF e SKIP LOCKED
    ), legal AS (
        SELECT k.table_name, k.rule, k.columns
        FROM (SELECT DISTINCT c.table_name, c.rule, c.columns FROM claimed AS c OFFSET 0) AS k -- once for each, not for each tenant
        WHERE (stormops_internal.expectation_fault(k.table_name, k.rule, k.columns)).code IS NULL
    )
    SELECT coalesce(array_agg(ROW(c.tenant_id, c.expectation_id, c.table_name, c.rule, c.columns,
        round(c.lowest, 100), round(c.highest, 100), c.max_age, c.threshold, -- a float underflows from 1e-308 on
        CASE WHEN complete OR c.judged_at IS NULL THEN '-infinity' ELSE c.judged_at - interval '10 minutes' END, c.place)::stormops_internal.due_expectation), '{}')
    INTO due
    FROM (
        SELECT c.*, dense_rank() OVER (PARTITION BY c.table_name, c.rule IN ('freshness', 'row_count') ORDER BY c.rule, c.columns, c.turn) AS place
        FROM (
            -- A tenant may mind the same twice, within other limits.
            SELECT c.*, row_number() OVER (PARTITION BY c.tenant_id, c.table_name, c.rule, c.columns ORDER BY c.expectation_id) AS turn
            FROM claimed AS c JOIN legal AS l ON l.table_name = c.table_name AND l.rule = c.rule AND l.columns = c.columns
        ) AS c
    ) AS c;
    IF scope IS NULL THEN
        due := due || stormops_internal.due_bands(watched_since, (SELECT max(d.place) FROM unnest(due) AS d WHERE d.table_name = 'lead_uplift'
            AND d.rule NOT IN ('freshness', 'row_count')));
    END IF;
    judgements := ARRAY(SELECT r FROM stormops_internal.judge_rows(due) AS r);

    WITH found_rows AS (
        SELECT r.tenant_id, r.expectation_id, r.judged, r.failing, NULL::boolean AS failed, NULL::double precision AS value, '{}'::jsonb AS evidence,
            r.scores
        FROM unnest(judgements) AS r WHERE r.expectation_id IS NOT NULL
        UNION ALL
        SELECT c.tenant_id, c.expectation_id, NULL, NULL, c.failed, c.value, c.evidence, NULL FROM stormops_internal.judge_counts(due) AS c
    ), found_scores AS MATERIALIZED (
        SELECT f.tenant_id, f.expectation_id, f.judged, f.failing, f.failed, f.value, f.evidence, f.scores, e.name, e.table_name, e.rule, e.columns,
            e.severity, e.threshold, e.judged_status, e.reference
        FROM found_rows AS f JOIN stormops.expectations AS e ON e.tenant_id = f.tenant_id AND e.expectation_id = f.expectation_id
    ), found_all AS (
        SELECT f.* FROM found_scores AS f WHERE f.rule <> 'drift'
        UNION ALL
        SELECT f.tenant_id, f.expectation_id, stormops.n(f.scores), NULL, stormops.n(f.scores) > 0 AND coalesce(v.drift_detected, false), NULL,
            jsonb_strip_nulls(jsonb_build_object('mean', stormops.mean(f.scores), 'reference_mean', v.reference_mean,
                'p_adjusted', v.p_adjusted, 'wasserstein', v.wasserstein, 'severity', v.severity)),
            -- A first set of scores becomes what later ones are compared with.
            CASE WHEN f.reference IS NULL AND stormops.n(f.scores) >= 30 AND octet_length(f.scores) <= 16000000 THEN f.scores END,
            f.name, f.table_name, f.rule, f.columns, f.severity, f.threshold, f.judged_status, f.reference
        FROM (
            SELECT s.tenant_id, s.expectation_id, coalesce(s.scores, n.scores)::stormops.score_sketch AS scores, s.name, s.table_name, s.rule, s.columns,
                s.severity, s.threshold, s.judged_status, s.reference
            FROM found_scores AS s CROSS JOIN (SELECT stormops.score_agg(x) AS scores FROM unnest('{}'::double precision[]) AS x) AS n
            WHERE s.rule = 'drift'
        ) AS f
        CROSS JOIN LATERAL stormops.drift_verdict(f.scores, f.reference::stormops.score_sketch, least(greatest(f.threshold, 1e-6), 0.49), 0.02) AS v
    ), verdicts AS MATERIALIZED (
        SELECT f.tenant_id, f.expectation_id, f.name, f.table_name, f.rule, f.severity, f.threshold, f.judged_status AS before, f.judged, f.failing,
            coalesce(f.value, round(f.failing::numeric / nullif(f.judged, 0), 9)) AS value, f.scores,
            CASE
                WHEN coalesce(f.failed, f.failing > f.threshold * f.judged) THEN 'failed'
                -- Without a new row nothing has changed.
                WHEN f.judged = 0 THEN coalesce(f.judged_status, 'warning')
                WHEN f.failed IS NULL AND f.failing IS NULL THEN 'warning'
                ELSE 'ok'
            END AS status,
            f.evidence || jsonb_strip_nulls(jsonb_build_object('expectation', f.name, 'table', f.table_name,
                'columns', f.columns, 'rows_judged', f.judged, 'rows_failing', f.failing)) AS evidence
        FROM found_all AS f
    ), noted AS (
        UPDATE stormops.expectations AS e SET judged_at = now(), judged_status = v.status, reference = coalesce(e.reference, v.scores)
        FROM verdicts AS v
        WHERE e.tenant_id = v.tenant_id AND e.expectation_id = v.expectation_id
    ), written AS (
        INSERT INTO stormops.data_quality_metrics
            (tenant_id, metric_id, table_name, metric_name, metric_value, threshold, status, details, rows_judged, rows_failing)
        SELECT v.tenant_id, stormops.new_id(), v.table_name, v.name, v.value, v.threshold, v.status, v.evidence, v.judged, v.failing
        FROM verdicts AS v
        WHERE v.judged IS DISTINCT FROM 0 OR v.status IS DISTINCT FROM v.before
    ), metered AS (
        INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value)
        SELECT v.tenant_id, 'health_check', count(*) FROM verdicts AS v GROUP BY v.tenant_id
    )
    SELECT count(DISTINCT v.tenant_id), count(*), count(*) FILTER (WHERE v.status = 'failed'),
        coalesce(sum(v.judged), 0), coalesce(sum(v.failing), 0),
        -- What holds is told where an alert is open, which it may resolve.
        coalesce(jsonb_agg(jsonb_build_object('tenant_id', v.tenant_id, 'key', k.key, 'issue', stormops_internal.issue_of(v.rule),
            'severity', v.severity, 'failing', v.status = 'failed', 'evidence', v.evidence))
            FILTER (WHERE v.status = 'failed' OR v.status = 'ok' AND a.alert_key IS NOT NULL), '[]')
    INTO tenants, judged, failed, rows_judged, rows_failing, findings
    FROM verdicts AS v
    CROSS JOIN LATERAL (SELECT stormops_internal.issue_of(v.rule) || ':' || v.expectation_id AS key) AS k
    LEFT JOIN stormops.alerts AS a ON a.tenant_id = v.tenant_id AND a.alert_key = k.key AND a.resolved_at IS NULL;

    scored_storms := ARRAY(SELECT g FROM unnest(judgements) AS r CROSS JOIN unnest(r.groups) AS g WHERE r.expectation_id IS NULL);
    -- What else there is to tell somebody, and what there no longer is.
    WITH objective AS MATERIALIZED (
        SELECT o.tenant_id, o.met, to_jsonb(o) - 'tenant_id' AS evidence FROM stormops_internal.quality_objective(scope) AS o
    ), told AS (
        SELECT f.finding FROM jsonb_array_elements(findings) AS f (finding)
        UNION ALL
        SELECT jsonb_build_object('tenant_id', o.tenant_id, 'key', 'data_quality', 'issue', 'data_quality', 'severity', 'warning',
            'failing', NOT o.met, 'evidence', o.evidence)
        FROM objective AS o
        UNION ALL
        -- Of which no row was judged for a day, or the tenant is closed, whose rows nobody judges again.
        SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false, 'gone', t.status = 'closed')
        FROM stormops.alerts AS a JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        WHERE a.resolved_at IS NULL AND (scope IS NULL OR a.tenant_id = scope)
            AND (t.status = 'closed' OR a.alert_key = 'data_quality' AND NOT EXISTS (SELECT FROM objective AS o WHERE o.tenant_id = a.tenant_id))
        UNION ALL
        -- What an alert was about and is no longer there: an expectation that was taken back, a storm that is over.
        SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false, 'gone', true)
        FROM stormops.alerts AS a
        WHERE a.resolved_at IS NULL AND (scope IS NULL OR a.tenant_id = scope) AND a.alert_key ~ ':[0-9a-f-]{36}$'
            AND CASE WHEN a.evidence ? 'storm_id' THEN NOT EXISTS (
                SELECT FROM stormops.storms AS s
                WHERE s.tenant_id = a.tenant_id AND s.storm_id = right(a.alert_key, 36)::uuid AND s.status = 'active')
            ELSE NOT EXISTS (
                SELECT FROM stormops.expectations AS e
                WHERE e.tenant_id = a.tenant_id AND e.expectation_id = right(a.alert_key, 36)::uuid AND e.active) END
        UNION ALL
        SELECT q.finding FROM stormops_internal.quota_findings(scope) AS q
        UNION ALL
        SELECT s.finding FROM stormops_internal.platform_findings(system_issues) AS s WHERE scope IS NULL
        UNION ALL
        SELECT s.finding FROM stormops_internal.storm_findings(scope, watched_since, scored_storms) AS s
    )
    SELECT coalesce(jsonb_agg(t.finding), '[]'), count(*) FILTER (WHERE t.finding @> '{"issue": "data_quality", "failing": true}' AND t.finding ->> 'tenant_id' IS NOT NULL)
    INTO findings, objective_missed FROM told AS t
    WHERE NOT (t.finding @> '{"failing": true}' AND EXISTS (
        SELECT FROM stormops.tenants AS x WHERE x.tenant_id = (t.finding ->> 'tenant_id')::uuid AND x.status = 'closed'));
    SELECT n.raised, n.resolved INTO alerts_raised, alerts_resolved FROM stormops_internal.note_findings(findings) AS n;
END
$$;
COMMENT ON FUNCTION stormops_internal.judge_all_due(boolean, jsonb) IS 'Of run_health_checks(): all but the look at the server, whose issues (as get_system_health() has them) come from the caller. Errors as there.';

CREATE FUNCTION stormops.run_health_checks(
    complete boolean DEFAULT false,
    OUT tenants bigint, OUT judged bigint, OUT failed bigint, OUT rows_judged bigint, OUT rows_failing bigint,
    OUT objective_missed bigint, OUT alerts_raised bigint, OUT alerts_resolved bigint
)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    system_issues jsonb;
BEGIN
    -- As the caller, who may see more of the server's statistics than the tables' owner does.
    IF NOT stormops_internal.has_tenant() AND stormops_internal.may_monitor() THEN
        SELECT h.issues INTO system_issues FROM stormops.get_system_health(slow => false) AS h;
    END IF;
    SELECT j.* INTO tenants, judged, failed, rows_judged, rows_failing, objective_missed, alerts_raised, alerts_resolved
    FROM stormops_internal.judge_all_due(coalesce(complete, false), coalesce(system_issues, '[]')) AS j;
END
$$;
COMMENT ON FUNCTION stormops.run_health_checks(boolean) IS 'Judges the expectations that are due: of all active tenants for an operator, else of the tenant in context. Writes data_quality_metrics and alerts; metered as health_check. complete => true: all rows of all expectations. Returns one row of counts, all NULL on a standby. Errors: 0B000 no tenant; 42501 not allowed; 53400 the tenant''s hard quota of health_check; 55000 suspended.';

CREATE FUNCTION stormops_internal.issue_of(rule text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $1 WHEN 'not_null' THEN 'missing_values' WHEN 'range' THEN 'out_of_range' WHEN 'unique' THEN 'duplicates'
        WHEN 'referential' THEN 'orphans' WHEN 'freshness' THEN 'stale_data' WHEN 'row_count' THEN 'volume_drop'
        WHEN 'drift' THEN 'uplift_drift' END
$$;
COMMENT ON FUNCTION stormops_internal.issue_of(text) IS 'The runbook''s name of what a failing expectation of a rule means.';

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
