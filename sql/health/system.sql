-- What an operator asks at three in the morning.

CREATE FUNCTION stormops_internal.platform_counts(
    OUT active_tenants bigint, OUT suspended_tenants bigint, OUT closed_tenants bigint, OUT open_alerts bigint, OUT critical_alerts bigint,
    OUT unfolded_counts bigint, OUT objective_missed bigint, OUT partition_runway_days integer, OUT unpartitioned_rows boolean,
    OUT invoices_overdue bigint, OUT dead_messages bigint, OUT late_messages bigint
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
    WHERE i.inhparent = to_regclass('stormops.policy_decisions_log') AND c.relname ~ '_\d{4}_\d{2}$';
    SELECT EXISTS (SELECT FROM stormops_internal.policy_decisions_log_default) INTO unpartitioned_rows;
    -- Of routes that are still there: given up since yesterday, or made a quarter of an hour ago and not sent.
    SELECT count(*) FILTER (WHERE d.state = 'dead' AND d.last_attempt_at >= now() - interval '24 hours'),
        count(*) FILTER (WHERE d.state = 'pending' AND d.created_at < now() - interval '15 minutes')
    INTO dead_messages, late_messages
    FROM stormops_internal.alert_deliveries AS d JOIN stormops_internal.alert_routes AS r ON r.route_id = d.route_id WHERE d.state <> 'delivered';
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
    AS $$
#variable_conflict use_variable
DECLARE
    counts record;
    position_now pg_lsn;
    statements text;
    default_rows boolean;
    failed_jobs text;
    missed_jobs text;
BEGIN
    IF NOT stormops_internal.may_monitor() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator or a monitor may see the system''s health',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''monitor'');';
    END IF;
    SELECT c.* INTO counts FROM stormops_internal.platform_counts() AS c;
    active_tenants := counts.active_tenants;
    suspended_tenants := counts.suspended_tenants;
    closed_tenants := counts.closed_tenants;
    open_alerts := counts.open_alerts;
    critical_alerts := counts.critical_alerts;
    objective_missed := counts.objective_missed;
    unfolded_counts := counts.unfolded_counts;
    partition_runway_days := counts.partition_runway_days;
    default_rows := counts.unpartitioned_rows;
    invoices_overdue := counts.invoices_overdue;
    db_size_bytes := pg_database_size(current_database());
    SELECT extract(epoch FROM max(now() - a.xact_start)), max(greatest(age(a.backend_xmin), age(a.backend_xid))),
        count(*) FILTER (WHERE a.state IS NULL AND a.query = '<insufficient privilege>'), count(*) FILTER (WHERE a.backend_type = 'client backend' OR a.backend_type IS NULL)
    INTO oldest_transaction_seconds, oldest_xmin_age, hidden_sessions, connections
    FROM pg_stat_activity AS a WHERE a.pid <> pg_backend_pid();
    SELECT greatest(oldest_xmin_age, max(age(p.transaction))), greatest(oldest_transaction_seconds, extract(epoch FROM max(now() - p.prepared)))
    INTO oldest_xmin_age, oldest_transaction_seconds FROM pg_prepared_xacts AS p;
    in_recovery := pg_is_in_recovery();
    position_now := CASE WHEN in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END;
    SELECT count(*), max(position_now - r.replay_lsn) INTO replicas, replication_lag_bytes FROM pg_stat_replication AS r;
    IF in_recovery THEN
        -- Its own lag; what has not even been received, only the primary knows. Where all is replayed nothing is late.
        replication_lag_bytes := greatest(replication_lag_bytes, pg_last_wal_receive_lsn() - position_now, 0);
        replay_delay_seconds := CASE WHEN pg_last_wal_receive_lsn() > position_now
            THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) ELSE 0 END;
    END IF;
    SELECT max(position_now - s.restart_lsn) INTO retained_wal_bytes FROM pg_replication_slots AS s;
    SELECT count(*), count(*) FILTER (WHERE s.outcome = 'failed'), count(*) FILTER (WHERE s.missed),
        string_agg(s.job, ', ') FILTER (WHERE s.outcome = 'failed'), string_agg(s.job, ', ') FILTER (WHERE s.missed)
    INTO scheduled_jobs, failed_schedules, missed_schedules, failed_jobs, missed_jobs FROM stormops.schedules() AS s;
    SELECT max(age(d.datfrozenxid)) INTO xid_age FROM pg_database AS d;
    SELECT round(d.blks_hit / nullif(d.blks_hit + d.blks_read, 0)::numeric, 4), d.deadlocks INTO cache_hit_ratio, deadlocks
    FROM pg_stat_database AS d WHERE d.datname = current_database();
    max_connections := current_setting('max_connections')::integer;
    -- Statistics of statements name the database role, not the tenant: roles serve many. Whose calls are slow, the
    -- platform's own clock knows.
    IF slow THEN
        SELECT coalesce(jsonb_agg(c), '[]') INTO slow_calls FROM stormops.slowest_calls(5, 1) AS c;
        SELECT format('%I.pg_stat_statements', n.nspname) INTO statements
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements';
    END IF;
    IF statements IS NOT NULL THEN
        BEGIN
            EXECUTE format('SELECT jsonb_agg(s) FROM (SELECT pg_get_userbyid(p.userid) AS role, left(p.query, 200) AS query, p.calls,'
                ' round(p.mean_exec_time::numeric, 3) AS mean_ms, round(p.max_exec_time::numeric, 3) AS max_ms FROM %s AS p'
                ' WHERE p.dbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())'
                ' ORDER BY p.mean_exec_time DESC LIMIT 5) AS s', statements) INTO slow_statements;
        EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege THEN
            slow_statements := NULL; -- not preloaded, or not this role's to see
        END;
    END IF;
    SELECT count(*) INTO installation_failing FROM stormops.attest() AS a WHERE NOT a.pass AND a.severity IN ('critical', 'high');

    SELECT coalesce(jsonb_agg(jsonb_build_object('issue', i.issue, 'severity', i.severity, 'evidence', i.evidence,
            'steps', to_jsonb(stormops_internal.runbook_steps(i.issue))) ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.issue), '[]'),
        CASE WHEN bool_or(i.severity = 'critical') THEN 'critical' WHEN bool_or(i.severity = 'warning') THEN 'degraded' ELSE 'healthy' END
    INTO issues, health_status
    FROM (VALUES
        ('nothing_scheduled', 'info', scheduled_jobs = 0, jsonb_build_object('scheduled_jobs', scheduled_jobs)),
        ('schedule_missed', 'critical', missed_schedules > 0, jsonb_build_object('missed_schedules', missed_schedules, 'jobs', missed_jobs)),
        ('schedule_failed', 'warning', failed_schedules > 0, jsonb_build_object('failed_schedules', failed_schedules, 'jobs', failed_jobs)),
        ('partition_runway', 'warning', partition_runway_days < 14 OR default_rows,
            jsonb_build_object('days', partition_runway_days, 'rows_without_partition', default_rows)),
        ('long_transaction', 'warning', oldest_transaction_seconds > 3600, jsonb_build_object('seconds', oldest_transaction_seconds)),
        ('xid_age', 'critical', xid_age > 1000000000, jsonb_build_object('xid_age', xid_age, 'limit', 2000000000)),
        ('replication_lag', 'warning', replication_lag_bytes > 1e9 OR retained_wal_bytes > 1e10,
            jsonb_build_object('lag_bytes', replication_lag_bytes, 'retained_wal_bytes', retained_wal_bytes)),
        ('connections', 'warning', connections > 0.9 * max_connections, jsonb_build_object('connections', connections, 'max_connections', max_connections)),
        ('unfolded_counts', 'warning', unfolded_counts > 1000000, jsonb_build_object('unfolded_counts', unfolded_counts)),
        ('alert_delivery', 'warning', counts.dead_messages + counts.late_messages > 0,
            jsonb_build_object('dead_messages', counts.dead_messages, 'late_messages', counts.late_messages)),
        ('invoices_overdue', 'warning', invoices_overdue > 0, jsonb_build_object('invoices_overdue', invoices_overdue)),
        ('installation', 'critical', installation_failing > 0, jsonb_build_object('failing', installation_failing)),
        ('data_quality', 'warning', objective_missed > 0, jsonb_build_object('tenants', objective_missed))
    ) AS i (issue, severity, holds, evidence)
    WHERE i.holds;
    health_status := coalesce(health_status, 'healthy');
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
