-- What an operator asks at three in the morning.

CREATE FUNCTION stormops_internal.platform_counts(
    OUT active_tenants bigint, OUT suspended_tenants bigint, OUT closed_tenants bigint, OUT open_alerts bigint, OUT critical_alerts bigint,
    OUT unfolded_counts bigint, OUT objective_missed bigint, OUT partition_runway_days integer, OUT unpartitioned_rows boolean,
    OUT invoices_overdue bigint, OUT dead_messages bigint, OUT late_messages bigint, OUT clock_was_at timestamptz
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT count(*) FILTER (WHERE t.status = 'active'), count(*) FILTER (WHERE t.status = 'suspended'), count(*) FILTER (WHERE t.status = 'closed')
    INTO active_tenants, suspended_tenants, closed_tenants FROM stormops.tenants AS t;
    SELECT count(*), count(*) FILTER (WHERE a.severity = 'critical') INTO open_alerts, critical_alerts
    FROM (
        SELECT t.severity FROM stormops.alerts AS t WHERE t.resolved_at IS NULL
        UNION ALL SELECT p.severity FROM stormops_internal.platform_alerts AS p WHERE p.resolved_at IS NULL
    ) AS a;
    SELECT count(*) INTO unfolded_counts FROM stormops.row_count_deltas;
    SELECT count(*) INTO objective_missed FROM stormops_internal.quality_objective(NULL) AS o WHERE NOT o.met;
    SELECT (max(to_date(right(c.relname, 7), 'YYYY_MM')) + interval '1 month')::date - (now() AT TIME ZONE 'UTC')::date
    INTO partition_runway_days
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('stormops.policy_decision_blocks') AND c.relname ~ '_[0-9]{4}_[0-9]{2}$';
    SELECT EXISTS (SELECT FROM stormops_internal.policy_decision_blocks_default) INTO unpartitioned_rows;
    -- Of routes that are still there: given up since yesterday, or made a quarter of an hour ago and not sent.
    SELECT count(*) FILTER (WHERE d.state = 'dead' AND d.last_attempt_at >= now() - interval '24 hours'),
        count(*) FILTER (WHERE d.state = 'pending' AND d.created_at < now() - interval '15 minutes')
    INTO dead_messages, late_messages
    FROM stormops_internal.alert_deliveries AS d JOIN stormops_internal.alert_routes AS r ON r.route_id = d.route_id WHERE d.state <> 'delivered';
    -- A clock that was ahead and has been put back leaves times that are still to come. A minute is no jump.
    SELECT max(t.noted_at) INTO clock_was_at
    FROM (
        SELECT e.judged_at AS noted_at FROM stormops.expectations AS e
        UNION ALL SELECT p.reached_at FROM stormops_internal.health_progress AS p
        UNION ALL SELECT j.started_at FROM stormops_internal.scheduled_jobs AS j
    ) AS t
    WHERE t.noted_at > now() + interval '1 minute';
    -- Where invoices are written at all: months that ended more than a week ago and have no final one.
    SELECT count(DISTINCT (r.tenant_id, r.bucket)) INTO invoices_overdue
    FROM stormops.usage_rollups AS r
    WHERE EXISTS (SELECT FROM stormops.invoices AS i WHERE i.status = 'finalized')
        AND r.grain = 'month' AND r.dimensions = '{}' AND r.bucket < date_trunc('month', now() - interval '7 days', 'UTC')
        AND NOT EXISTS (
            SELECT FROM stormops.invoices AS i
            WHERE i.tenant_id = r.tenant_id AND i.period = (r.bucket AT TIME ZONE 'UTC')::date AND i.kind = 'invoice' AND i.status = 'finalized');
END
$$;
COMMENT ON FUNCTION stormops_internal.platform_counts() IS 'Of get_system_health(): what only the tables'' owner sees.';

CREATE FUNCTION stormops.get_system_health(
    slow boolean DEFAULT true,
    OUT health_status text, OUT issues jsonb,
    OUT active_tenants bigint, OUT suspended_tenants bigint, OUT closed_tenants bigint, OUT db_size_bytes bigint,
    OUT open_alerts bigint, OUT critical_alerts bigint, OUT objective_missed bigint,
    OUT oldest_transaction_seconds numeric, OUT oldest_xmin_age integer, OUT hidden_sessions bigint,
    OUT replicas bigint, OUT replication_lag_bytes numeric, OUT retained_wal_bytes numeric,
    OUT scheduled_jobs bigint, OUT failed_schedules bigint, OUT missed_schedules bigint,
    OUT partition_runway_days integer, OUT xid_age integer, OUT cache_hit_ratio numeric, OUT connections bigint, OUT max_connections integer,
    OUT deadlocks bigint, OUT unfolded_counts bigint, OUT invoices_overdue bigint, OUT installation_failing bigint, OUT slow_statements jsonb,
    OUT slow_calls jsonb, OUT in_recovery boolean, OUT replay_delay_seconds numeric
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
#variable_conflict use_variable
DECLARE
    platform record;
    server record;
    replication record;
    schedule record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    slow := coalesce(slow, true);
    IF NOT stormops_internal.may_monitor() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator or a monitor may see the system''s health',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''monitor'');';
    END IF;
    SELECT c.* INTO platform FROM stormops_internal.platform_counts() AS c;
    SELECT s.* INTO server FROM stormops_internal.server_load() AS s;
    SELECT r.* INTO replication FROM stormops_internal.replication_state() AS r;
    SELECT count(*) AS scheduled_jobs, count(*) FILTER (WHERE s.outcome = 'failed') AS failed_schedules,
        count(*) FILTER (WHERE s.missed) AS missed_schedules, string_agg(s.job, ', ') FILTER (WHERE s.outcome = 'failed') AS failed_jobs,
        string_agg(s.job, ', ') FILTER (WHERE s.missed) AS missed_jobs
    INTO schedule FROM stormops.schedules() AS s;
    IF slow THEN
        -- Statistics of statements name the database role, not the tenant: roles serve many. Whose calls are slow, the
        -- platform's own clock knows.
        SELECT coalesce(jsonb_agg(c), '[]') INTO slow_calls FROM stormops.slowest_calls(5, 1) AS c;
        slow_statements := stormops_internal.slowest_statements();
    END IF;
    SELECT count(*) INTO installation_failing FROM stormops.attest() AS a WHERE NOT a.pass AND a.severity IN ('critical', 'high');

    active_tenants := platform.active_tenants;
    suspended_tenants := platform.suspended_tenants;
    closed_tenants := platform.closed_tenants;
    open_alerts := platform.open_alerts;
    critical_alerts := platform.critical_alerts;
    objective_missed := platform.objective_missed;
    unfolded_counts := platform.unfolded_counts;
    partition_runway_days := platform.partition_runway_days;
    invoices_overdue := platform.invoices_overdue;
    db_size_bytes := server.db_size_bytes;
    oldest_transaction_seconds := server.oldest_transaction_seconds;
    oldest_xmin_age := server.oldest_xmin_age;
    hidden_sessions := server.hidden_sessions;
    connections := server.connections;
    max_connections := server.max_connections;
    xid_age := server.xid_age;
    cache_hit_ratio := server.cache_hit_ratio;
    deadlocks := server.deadlocks;
    in_recovery := replication.in_recovery;
    replicas := replication.replicas;
    replication_lag_bytes := replication.replication_lag_bytes;
    retained_wal_bytes := replication.retained_wal_bytes;
    replay_delay_seconds := replication.replay_delay_seconds;
    scheduled_jobs := schedule.scheduled_jobs;
    failed_schedules := schedule.failed_schedules;
    missed_schedules := schedule.missed_schedules;

    SELECT coalesce(jsonb_agg(jsonb_build_object('issue', i.issue, 'severity', i.severity, 'evidence', i.evidence,
            'steps', to_jsonb(stormops_internal.runbook_steps(i.issue))) ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.issue), '[]'),
        CASE WHEN bool_or(i.severity = 'critical') THEN 'critical' WHEN bool_or(i.severity = 'warning') THEN 'degraded' ELSE 'healthy' END
    INTO issues, health_status
    FROM stormops_internal.system_issues(to_jsonb(platform) || to_jsonb(server) || to_jsonb(replication) || to_jsonb(schedule)
        || jsonb_build_object('installation_failing', installation_failing)) AS i;
END
$$;
COMMENT ON FUNCTION stormops.get_system_health(boolean) IS 'The installation in one row: health_status and issues as in get_health_dashboard(), tenants, sizes in bytes, transactions, replication, schedules, alerts, slow statements and calls. slow => false leaves out slow_statements and slow_calls, which read every tenant''s calls. GRANT pg_monitor shows other roles'' transactions. For operators and monitors. Error: 42501 not allowed.';

CREATE FUNCTION stormops_internal.platform_findings(system_issues jsonb, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT jsonb_build_object('tenant_id', NULL, 'key', b.issue, 'issue', b.issue, 'severity', i.issue ->> 'severity',
        'failing', i.issue IS NOT NULL, 'evidence', coalesce(i.issue -> 'evidence', '{}'))
    FROM (SELECT DISTINCT r.issue FROM stormops_internal.shipped_runbook() AS r) AS b
    LEFT JOIN LATERAL jsonb_array_elements($1) AS i (issue) ON i.issue ->> 'issue' = b.issue
    WHERE i.issue ->> 'severity' IS DISTINCT FROM 'info'
    UNION ALL
    -- A table that is no longer as shipped.
    SELECT jsonb_build_object('tenant_id', NULL, 'key', 'schema_drift:' || t.table_name, 'issue', 'schema_drift', 'severity', 'critical',
        'failing', d.changes <> '[]', 'evidence', jsonb_build_object('table', t.table_name, 'changes', d.changes))
    FROM stormops.counted_tables() AS t
    CROSS JOIN LATERAL (SELECT jsonb_path_query_array(stormops_internal.schema_drift(t.table_name), '$[*] ? (@.change != "added")') AS changes) AS d
$$;
COMMENT ON FUNCTION stormops_internal.platform_findings(jsonb) IS 'Of the platform itself, for its alerts: whether each issue of get_system_health() holds, and whether a table has drifted.';
