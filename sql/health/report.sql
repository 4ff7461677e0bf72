-- Pages to look at. What they show is gathered here; how it looks is Rust.

CREATE FUNCTION stormops_internal.draw_health_report(data jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'draw_health_report_wrapper';
COMMENT ON FUNCTION stormops_internal.draw_health_report(jsonb) IS 'The page of a storm from health_report_data(). Error: 22023 not such data.';

CREATE FUNCTION stormops_internal.draw_platform_report(data jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'draw_platform_report_wrapper';
COMMENT ON FUNCTION stormops_internal.draw_platform_report(jsonb) IS 'The page of the installation from platform_report_data(). Error: 22023 not such data.';

CREATE FUNCTION stormops.lift_over_time(
    storm_id uuid, most_points integer DEFAULT 60,
    OUT day integer, OUT treated_converted bigint, OUT control_converted bigint,
    OUT lift double precision, OUT always_valid_low double precision, OUT always_valid_high double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- without loops its cost is beyond all measure
    AS $$
    WITH run AS MATERIALIZED (
        SELECT r.run_id, r.decided_at, least(extract(epoch FROM now() - r.decided_at) / 86400,
            (r.parameters ->> 'outcome_days')::integer)::integer AS days
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
    ), decided AS MATERIALIZED (
        SELECT d.property_id, d.treated FROM stormops.compared_decisions($1) AS d WHERE d.compared
    ), arms AS (
        SELECT count(*) FILTER (WHERE d.treated) AS treated_n, count(*) FILTER (WHERE NOT d.treated) AS control_n FROM decided AS d
    ), conversions AS (
        -- The first conversion of each property, in whole days after the decision.
        SELECT d.treated, ceil(extract(epoch FROM min(o.occurred_at) - (SELECT run.decided_at FROM run)) / 86400)::integer AS day
        FROM stormops.policy_outcomes AS o JOIN decided AS d ON d.property_id = o.property_id
        WHERE o.tenant_id = stormops.current_tenant() AND o.run_id = (SELECT run.run_id FROM run) AND NOT o.late AND o.converted
        GROUP BY o.property_id, d.treated
    ), by_day AS (
        SELECT c.day, count(*) FILTER (WHERE c.treated) AS treated, count(*) FILTER (WHERE NOT c.treated) AS control
        FROM conversions AS c GROUP BY c.day
    ), so_far AS (
        SELECT s.day, sum(coalesce(b.treated, 0)) OVER w AS treated, sum(coalesce(b.control, 0)) OVER w AS control,
            s.day = max(s.day) OVER () AS last
        FROM run CROSS JOIN generate_series(0, greatest(run.days, 1)) AS s (day) LEFT JOIN by_day AS b ON b.day = s.day
        WINDOW w AS (ORDER BY s.day)
    )
    SELECT s.day, s.treated::bigint, s.control::bigint, c.lift, c.always_valid_low, c.always_valid_high
    FROM so_far AS s CROSS JOIN arms AS a
    CROSS JOIN LATERAL stormops.compare_proportions(s.treated::bigint, a.treated_n, s.control::bigint, a.control_n,
        0.05, 0.05, greatest(a.treated_n + a.control_n, 1)) AS c
    WHERE (SELECT count(*) FROM conversions) > 0
        AND (s.last OR s.day % greatest(1, ceil((SELECT run.days FROM run) / greatest(coalesce($2, 60), 2)::numeric)::integer) = 0)
    ORDER BY s.day
$$;
COMMENT ON FUNCTION stormops.lift_over_time(uuid, integer) IS 'The lift of a storm''s current run so far, by days since the decision: conversions up to then of all that were compared (compared_decisions()), and the interval that holds at every look. At most about most_points rows (2 and more), the last day among them; no row before the first conversion. Errors: 0B000.';

CREATE FUNCTION stormops_internal.report_issues(issues jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(jsonb_agg(i.issue || jsonb_build_object('summary', replace(i.issue ->> 'issue', '_', ' '),
        'since', coalesce(to_char((i.issue ->> 'since')::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), '')) ORDER BY i.n), '[]')
    FROM jsonb_array_elements($1) WITH ORDINALITY AS i (issue, n)
$$;
COMMENT ON FUNCTION stormops_internal.report_issues(jsonb) IS 'The issues of a dashboard as a page tells them.';

CREATE FUNCTION stormops_internal.health_report_data(storm_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    report jsonb;
    storm record;
    reference record;
    low float8;
    high float8;
BEGIN
    SELECT d.* INTO storm FROM stormops_internal.dashboard_of(storm_id) AS d;
    SELECT jsonb_build_object('org_name', t.org_name, 'storm', storm.dashboard -> 'storm', 'storm_status', storm.dashboard -> 'storm_status',
        'made_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
        'health_status', storm.dashboard -> 'health_status', 'issues', stormops_internal.report_issues(storm.dashboard -> 'issues'),
        'rates', storm.dashboard -> 'conversion')
    INTO report FROM stormops.tenants AS t WHERE t.tenant_id = stormops.current_tenant();

    IF stormops.n(storm.scores) > 0 THEN
        SELECT r.* INTO reference FROM stormops_internal.uplift_reference(storm_id, NULL, storm.model_version) AS r;
        -- The middle of both, so that one stray score does not squeeze all others into a bin.
        SELECT min(stormops.quantile(x.sketch, 0.001)), max(stormops.quantile(x.sketch, 0.999)) INTO low, high
        FROM (VALUES (storm.scores), (reference.scores)) AS x (sketch) WHERE stormops.n(x.sketch) > 0;
        IF high <= low THEN
            high := low + 0.01;
        END IF;
        report := report || jsonb_build_object('scored', stormops.n(storm.scores), 'scores', (
            SELECT jsonb_build_object('n', u.uplift -> 'n', 'mean', u.uplift -> 'mean', 'sd', u.uplift -> 'sd', 'severity', v.severity,
                'reference', reference.reference, 'low', low, 'high', high,
                'histogram', stormops.histogram(storm.scores, low, high, 30),
                'reference_histogram', coalesce(stormops.histogram(reference.scores, low, high, 30), '{}'))
            FROM (SELECT storm.dashboard -> 'uplift') AS u (uplift) CROSS JOIN stormops.drift_verdict(storm.scores, reference.scores) AS v
        ));
    END IF;

    report := report || coalesce((
        SELECT jsonb_build_object('run', jsonb_build_object('policy_mode', r.policy_mode,
            'decided_at', to_char(r.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
            'treat', r.treat, 'hold', r.hold, 'excluded', r.excluded,
            'with_outcome', coalesce(sum(s.with_outcome) FILTER (WHERE s.decision = 'treat'), 0),
            'converted', coalesce(sum(s.converted) FILTER (WHERE s.decision = 'treat'), 0)))
        FROM stormops.policy_runs AS r LEFT JOIN stormops.storm_results AS s ON s.tenant_id = r.tenant_id AND s.run_id = r.run_id
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = health_report_data.storm_id AND r.superseded_at IS NULL
        GROUP BY r.tenant_id, r.run_id, r.policy_mode, r.decided_at, r.treat, r.hold, r.excluded
    ), '{}');

    report := report || jsonb_build_object(
        'lift', (SELECT coalesce(jsonb_agg(jsonb_build_array(l.day, l.lift, l.always_valid_low, l.always_valid_high) ORDER BY l.day), '[]')
                 FROM stormops.lift_over_time(storm_id) AS l),
        'curve', (SELECT coalesce(jsonb_agg(jsonb_build_array(c.share, c.qini, c.qini_random) ORDER BY c.share), '[]')
                  FROM stormops.uplift_curve(storm_id, 60) AS c),
        'qini', (SELECT u.qini FROM stormops.uplift_summary(storm_id) AS u),
        'policies', (SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.place), '[]')
                     FROM stormops.compare_policies(storm_id) WITH ORDINALITY AS c (policy, status, n, unit, treat_share, net_value,
                        net_value_low, net_value_high, gain, gain_low, gain_high, effective_n, largest_weight, weights_suspect, unsupported_share,
                        applied, place)
                     -- More are asked for one by one.
                     WHERE (SELECT count(*) FROM stormops.policy_modes AS m WHERE m.tenant_id = stormops.current_tenant()) <= 30),
        'map', stormops_internal.storm_map(storm_id));
    -- Use and money are an admin's to see.
    IF stormops.may_read('admin') THEN
        report := report || jsonb_build_object(
            'usage', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('metric_name', u.metric_name, 'unit', u.unit, 'total', trim_scale(u.total)::text,
                    'series', (SELECT jsonb_agg(coalesce(s.quantity, 0) ORDER BY g.day)
                               FROM generate_series((now() AT TIME ZONE 'UTC')::date - 29, (now() AT TIME ZONE 'UTC')::date, interval '1 day') AS g (day)
                               LEFT JOIN jsonb_to_recordset(u.series) AS s (day date, quantity numeric) ON s.day = g.day::date)
                    ) ORDER BY u.metric_name), '[]')
                FROM stormops.get_tenant_usage(NULL, 30) AS u),
            'bill', (
                SELECT CASE WHEN count(*) > 0 THEN jsonb_build_object('period', p.month, 'currency', min(i.currency), 'total', sum(i.amount)::text,
                    'lines', jsonb_agg(jsonb_build_array(concat_ws(', ', coalesce(i.metric_name, i.kind), i.rule),
                        concat_ws(' ', trim_scale(i.quantity)::text, i.unit), i.amount::text) ORDER BY i.line)) END
                FROM (SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS month) AS p, stormops.preview_invoice(NULL, p.month) AS i
                GROUP BY p.month));
    END IF;
    RETURN report;
END
$$;
COMMENT ON FUNCTION stormops_internal.health_report_data(uuid) IS 'What health_report_html() shows, as a JSON object.';

CREATE FUNCTION stormops.health_report_html(storm_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.draw_health_report(stormops_internal.health_report_data($1)) $$;
COMMENT ON FUNCTION stormops.health_report_html(uuid) IS E'A storm in one HTML page that needs nothing else: open issues with their runbook, treatment funnel, lift over time with its always-valid interval, score distribution against its reference, Qini curve, policies compared, a map, usage and bill. Light and dark, any width, every value escaped. psql: \\o page.html, \\pset format unaligned, \\t. Errors: 0B000 no tenant, P0002 no such storm.';

CREATE FUNCTION stormops_internal.platform_report_data() RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    month text := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM');
    health record;
    revenue jsonb := '{}';
BEGIN
    SELECT h.* INTO health FROM stormops.get_system_health() AS h;
    -- Money is an operator's to see, not a monitor's.
    IF stormops_internal.is_operator() THEN
        SELECT coalesce(jsonb_object_agg(m.tenant_id, format('%s %s', m.currency, m.revenue)), '{}') INTO revenue
        FROM stormops.tenant_margins(month) AS m WHERE m.revenue IS NOT NULL;
    END IF;
    RETURN jsonb_build_object(
        'database', current_database(), 'made_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
        'health_status', health.health_status, 'issues', stormops_internal.report_issues(health.issues),
        'system', (
            SELECT jsonb_agg(jsonb_build_array(v.name, v.value) ORDER BY v.place) FROM (VALUES
                (1, 'open alerts', format('%s, %s critical', health.open_alerts, health.critical_alerts)),
                (2, 'tenants that miss the quality objective', health.objective_missed::text),
                (3, 'tenants', format('%s active, %s suspended, %s closed', health.active_tenants, health.suspended_tenants, health.closed_tenants)),
                (4, 'schedules', format('%s, %s failed, %s missed', health.scheduled_jobs, health.failed_schedules, health.missed_schedules)),
                (5, 'connections', format('%s of %s', health.connections, health.max_connections)),
                (6, 'oldest transaction', (make_interval(secs => round(health.oldest_transaction_seconds)))::text),
                (7, 'oldest snapshot, in transactions', health.oldest_xmin_age::text),
                (8, 'sessions that this role may not see', nullif(health.hidden_sessions, 0)::text),
                (9, 'cache hit ratio', round(100 * health.cache_hit_ratio, 2) || ' %'),
                (10, 'deadlocks', health.deadlocks::text),
                (11, 'database size', pg_size_pretty(health.db_size_bytes)),
                (12, 'age of transaction ids', health.xid_age::text),
                (13, 'standby', CASE WHEN health.in_recovery THEN 'yes' END),
                (14, 'replay is late by', (make_interval(secs => round(health.replay_delay_seconds)))::text),
                (15, 'replicas', health.replicas::text),
                (16, 'replication lag', pg_size_pretty(health.replication_lag_bytes)),
                (17, 'log kept by slots', pg_size_pretty(health.retained_wal_bytes)),
                (18, 'partitions made ahead', health.partition_runway_days || ' days'),
                (19, 'row counts to fold', health.unfolded_counts::text),
                (20, 'invoices overdue', health.invoices_overdue::text)
            ) AS v (place, name, value) WHERE v.value IS NOT NULL),
        'attest', (SELECT jsonb_agg(jsonb_build_array(a.property, a.pass, concat_ws('. ', a.evidence, a.remedy))) FROM stormops.attest() AS a),
        'tenants', (
            SELECT coalesce(jsonb_agg(jsonb_build_object('org_name', t.org_name, 'tier', t.tier, 'status', t.status, 'alerts', a.open,
                'events', coalesce(u.events, 0), 'storage_mb', trim_scale(u.storage_mb)::text, 'revenue', revenue ->> t.tenant_id::text)
                ORDER BY t.created_at), '[]')
            FROM stormops.list_tenants() AS t
            LEFT JOIN (
                SELECT o.tenant_id, concat(count(*), nullif(format(', %s critical', count(*) FILTER (WHERE o.severity = 'critical')), ', 0 critical')) AS open
                FROM stormops.alerts() AS o GROUP BY o.tenant_id
            ) AS a ON a.tenant_id = t.tenant_id
            LEFT JOIN (
                SELECT o.tenant_id, sum(o.events) AS events, max(o.quantity) FILTER (WHERE o.metric_name = 'storage_mb') AS storage_mb
                FROM stormops.usage_overview(month) AS o GROUP BY o.tenant_id
            ) AS u ON u.tenant_id = t.tenant_id),
        'schedules', (SELECT coalesce(jsonb_agg(jsonb_build_array(s.job, s.schedule,
                to_char(s.last_started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), CASE WHEN s.missed THEN 'missed' ELSE s.outcome END)
                ORDER BY s.job), '[]') FROM stormops.schedules() AS s));
END
$$;
COMMENT ON FUNCTION stormops_internal.platform_report_data() IS 'What platform_report_html() shows, as a JSON object.';

CREATE FUNCTION stormops.platform_report_html() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.draw_platform_report(stormops_internal.platform_report_data()) $$;
COMMENT ON FUNCTION stormops.platform_report_html() IS 'The installation in one HTML page that needs nothing else: open issues with their runbook, the server, attest(), tenants with their open alerts, this month''s use and, for operators, revenue, schedules. No tenant''s rows. For operators and monitors; light and dark, any width, every value escaped. Error: 42501.';
