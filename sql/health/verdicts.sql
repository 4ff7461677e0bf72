-- From judgements to verdicts: what they say of each expectation, and what is written down.

CREATE FUNCTION stormops_internal.issue_of(rule text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $1 WHEN 'not_null' THEN 'missing_values' WHEN 'range' THEN 'out_of_range' WHEN 'unique' THEN 'duplicates'
        WHEN 'referential' THEN 'orphans' WHEN 'freshness' THEN 'stale_data' WHEN 'row_count' THEN 'volume_drop'
        WHEN 'drift' THEN 'uplift_drift' END
$$;
COMMENT ON FUNCTION stormops_internal.issue_of(text) IS 'The runbook''s name of what a failing expectation of a rule means.';

CREATE FUNCTION stormops_internal.judge_drift(
    scores bytea, reference bytea, threshold numeric, OUT judged bigint, OUT failed boolean, OUT evidence jsonb, OUT first_scores bytea
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stormops.n(s.scores), stormops.n(s.scores) > 0 AND coalesce(v.drift_detected, false),
        jsonb_strip_nulls(jsonb_build_object('mean', stormops.mean(s.scores), 'reference_mean', v.reference_mean,
            'p_adjusted', v.p_adjusted, 'wasserstein', v.wasserstein, 'severity', v.severity)),
        -- A first set of scores becomes what later ones are compared with.
        CASE WHEN $2 IS NULL AND stormops.n(s.scores) >= 30 AND octet_length(s.scores) <= 16000000 THEN s.scores END
    FROM (
        SELECT coalesce($1, (SELECT stormops.score_agg(x) FROM unnest('{}'::double precision[]) AS x))::stormops.score_sketch AS scores
        OFFSET 0 -- looked at once
    ) AS s
    CROSS JOIN LATERAL stormops.drift_verdict(s.scores, $2::stormops.score_sketch, least(greatest($3, 1e-6), 0.49), 0.02) AS v
$$;
COMMENT ON FUNCTION stormops_internal.judge_drift(bytea, bytea, numeric) IS 'Of a drift expectation: how many new scores there are, whether they have left its reference, and by what; the scores themselves if they are to become the reference. Both are states of score_agg(), NULL without any.';

CREATE FUNCTION stormops_internal.verdicts(due stormops_internal.due_expectation[], judgements stormops_internal.judgement[]) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, name text, table_name text, rule text, severity text, threshold numeric,
    before text, status text, judged bigint, failing bigint, value double precision, evidence jsonb, first_scores bytea
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH judged AS (
        SELECT r.tenant_id, r.expectation_id, r.judged, r.failing, NULL::boolean AS failed, NULL::double precision AS value,
            jsonb_strip_nulls(jsonb_build_object('rows_failing_by_blanks', nullif(r.by_blanks, 0))) AS evidence, r.scores
        FROM unnest($2) AS r WHERE r.expectation_id IS NOT NULL
        UNION ALL
        SELECT c.tenant_id, c.expectation_id, NULL, NULL, c.failed, c.value, c.evidence, NULL FROM stormops_internal.judge_counts($1) AS c
    ), told AS (
        SELECT e.tenant_id, e.expectation_id, e.name, e.table_name, e.rule, e.columns, e.severity, e.threshold, e.judged_status AS before,
            CASE e.rule WHEN 'drift' THEN d.judged ELSE j.judged END AS judged, CASE WHEN e.rule <> 'drift' THEN j.failing END AS failing,
            CASE e.rule WHEN 'drift' THEN d.failed ELSE j.failed END AS failed, j.value,
            CASE e.rule WHEN 'drift' THEN d.evidence ELSE j.evidence END AS evidence, d.first_scores
        FROM judged AS j JOIN stormops.expectations AS e ON e.tenant_id = j.tenant_id AND e.expectation_id = j.expectation_id
        LEFT JOIN LATERAL (
            SELECT d.* FROM stormops_internal.judge_drift(j.scores, e.reference, e.threshold) AS d
            WHERE e.rule = 'drift' OFFSET 0 -- asked before it is called, not after
        ) AS d ON true
    )
    SELECT t.tenant_id, t.expectation_id, t.name, t.table_name, t.rule, t.severity, t.threshold, t.before,
        CASE
            WHEN coalesce(t.failed, t.failing > t.threshold * t.judged) THEN 'failed'
            WHEN t.judged = 0 THEN coalesce(t.before, 'warning') -- without a new row nothing has changed
            WHEN t.failed IS NULL AND t.failing IS NULL THEN 'warning'
            ELSE 'ok'
        END,
        t.judged, t.failing, coalesce(t.value, round(t.failing::numeric / nullif(t.judged, 0), 9)),
        t.evidence || jsonb_strip_nulls(jsonb_build_object('expectation', t.name, 'table', t.table_name,
            'columns', t.columns, 'rows_judged', t.judged, 'rows_failing', t.failing)),
        t.first_scores
    FROM told AS t
$$;
COMMENT ON FUNCTION stormops_internal.verdicts(stormops_internal.due_expectation[], stormops_internal.judgement[]) IS 'What is to be said of each expectation in due: status ok, failed, or warning where there is nothing to compare with; before: its last one; value and evidence for its measurement.';

CREATE FUNCTION stormops_internal.write_verdicts(
    due stormops_internal.due_expectation[], judgements stormops_internal.judgement[],
    OUT tenants bigint, OUT judged bigint, OUT failed bigint, OUT rows_judged bigint, OUT rows_failing bigint, OUT findings jsonb
)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH verdicts AS MATERIALIZED (
        SELECT v.* FROM stormops_internal.verdicts($1, $2) AS v
    ), noted AS (
        UPDATE stormops.expectations AS e SET judged_at = now(), judged_status = v.status, reference = coalesce(e.reference, v.first_scores)
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
        coalesce(sum(v.judged), 0)::bigint, coalesce(sum(v.failing), 0)::bigint,
        -- What holds is told where an alert is open, which it may resolve.
        coalesce(jsonb_agg(jsonb_build_object('tenant_id', v.tenant_id, 'key', k.key, 'issue', stormops_internal.issue_of(v.rule),
            'severity', v.severity, 'failing', v.status = 'failed', 'evidence', v.evidence))
            FILTER (WHERE v.status = 'failed' OR v.status = 'ok' AND a.alert_key IS NOT NULL), '[]')
    FROM verdicts AS v
    CROSS JOIN LATERAL (SELECT stormops_internal.issue_of(v.rule) || ':' || v.expectation_id AS key) AS k
    LEFT JOIN stormops.alerts AS a ON a.tenant_id = v.tenant_id AND a.alert_key = k.key AND a.resolved_at IS NULL
$$;
COMMENT ON FUNCTION stormops_internal.write_verdicts(stormops_internal.due_expectation[], stormops_internal.judgement[]) IS 'Notes the verdicts at their expectations and in data_quality_metrics, meters them, and returns their sums and what they have to say to note_findings().';
