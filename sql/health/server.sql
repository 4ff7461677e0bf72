-- What get_system_health() measures of the server, as far as its caller may see it, and which of it is an issue.

CREATE FUNCTION stormops_internal.server_load(
    OUT db_size_bytes bigint, OUT oldest_transaction_seconds numeric, OUT oldest_xmin_age integer, OUT hidden_sessions bigint,
    OUT connections bigint, OUT max_connections integer, OUT xid_age integer, OUT cache_hit_ratio numeric, OUT deadlocks bigint
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    db_size_bytes := pg_database_size(current_database());
    max_connections := current_setting('max_connections')::integer;
    SELECT extract(epoch FROM max(now() - a.xact_start)), max(greatest(age(a.backend_xmin), age(a.backend_xid))),
        count(*) FILTER (WHERE a.state IS NULL AND a.query = '<insufficient privilege>'), count(*) FILTER (WHERE a.backend_type = 'client backend' OR a.backend_type IS NULL)
    INTO oldest_transaction_seconds, oldest_xmin_age, hidden_sessions, connections
    FROM pg_stat_activity AS a WHERE a.pid <> pg_backend_pid();
    SELECT greatest(oldest_xmin_age, max(age(p.transaction))), greatest(oldest_transaction_seconds, extract(epoch FROM max(now() - p.prepared)))
    INTO oldest_xmin_age, oldest_transaction_seconds FROM pg_prepared_xacts AS p;
    SELECT max(age(d.datfrozenxid)) INTO xid_age FROM pg_database AS d;
    SELECT round(d.blks_hit / nullif(d.blks_hit + d.blks_read, 0)::numeric, 4), d.deadlocks INTO cache_hit_ratio, deadlocks
    FROM pg_stat_database AS d WHERE d.datname = current_database();
END
$$;
COMMENT ON FUNCTION stormops_internal.server_load() IS 'Of get_system_health(): this database''s size and cache, other sessions and prepared transactions, and the age of transaction ids.';

CREATE FUNCTION stormops_internal.replication_state(
    OUT in_recovery boolean, OUT replicas bigint, OUT replication_lag_bytes numeric, OUT retained_wal_bytes numeric, OUT replay_delay_seconds numeric
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    position_now pg_lsn;
BEGIN
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
END
$$;
COMMENT ON FUNCTION stormops_internal.replication_state() IS 'Of get_system_health(): how far replicas are behind, or on a standby it itself, and how much log slots keep.';

CREATE FUNCTION stormops_internal.slowest_statements() RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    statements text := (
        SELECT format('%I.pg_stat_statements', n.nspname)
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements');
    slowest jsonb;
BEGIN
    IF statements IS NOT NULL THEN
        EXECUTE format('SELECT jsonb_agg(s) FROM (SELECT pg_get_userbyid(p.userid) AS role, left(p.query, 200) AS query, p.calls,'
            ' round(p.mean_exec_time::numeric, 3) AS mean_ms, round(p.max_exec_time::numeric, 3) AS max_ms FROM %s AS p'
            ' WHERE p.dbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())'
            ' ORDER BY p.mean_exec_time DESC LIMIT 5) AS s', statements) INTO slowest;
    END IF;
    RETURN slowest;
EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege THEN
    RETURN NULL; -- not preloaded, or not this role's to see
END
$$;
COMMENT ON FUNCTION stormops_internal.slowest_statements() IS 'Of get_system_health(): the five statements of this database that are slowest by mean, a JSON array; NULL without pg_stat_statements.';

CREATE FUNCTION stormops_internal.system_issues(measured jsonb, OUT issue text, OUT severity text, OUT evidence jsonb) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT i.issue, i.severity, i.evidence
    FROM jsonb_to_record($1) AS m (
        scheduled_jobs bigint, missed_schedules bigint, missed_jobs text, failed_schedules bigint, failed_jobs text,
        partition_runway_days integer, unpartitioned_rows boolean, oldest_transaction_seconds numeric, xid_age integer,
        replication_lag_bytes numeric, retained_wal_bytes numeric, connections bigint, max_connections integer,
        unfolded_counts bigint, dead_messages bigint, late_messages bigint, invoices_overdue bigint, clock_was_at timestamptz,
        installation_failing bigint, objective_missed bigint
    ) CROSS JOIN LATERAL (VALUES
        ('nothing_scheduled', 'info', m.scheduled_jobs = 0, jsonb_build_object('scheduled_jobs', m.scheduled_jobs)),
        ('schedule_missed', 'critical', m.missed_schedules > 0, jsonb_build_object('missed_schedules', m.missed_schedules, 'jobs', m.missed_jobs)),
        ('schedule_failed', 'warning', m.failed_schedules > 0, jsonb_build_object('failed_schedules', m.failed_schedules, 'jobs', m.failed_jobs)),
        ('partition_runway', 'warning', m.partition_runway_days < 14 OR m.unpartitioned_rows,
            jsonb_build_object('days', m.partition_runway_days, 'rows_without_partition', m.unpartitioned_rows)),
        ('long_transaction', 'warning', m.oldest_transaction_seconds > 3600, jsonb_build_object('seconds', m.oldest_transaction_seconds)),
        ('xid_age', 'critical', m.xid_age > 1000000000, jsonb_build_object('xid_age', m.xid_age, 'limit', 2000000000)),
        ('replication_lag', 'warning', m.replication_lag_bytes > 1e9 OR m.retained_wal_bytes > 1e10,
            jsonb_build_object('lag_bytes', m.replication_lag_bytes, 'retained_wal_bytes', m.retained_wal_bytes)),
        ('connections', 'warning', m.connections > 0.9 * m.max_connections,
            jsonb_build_object('connections', m.connections, 'max_connections', m.max_connections)),
        ('unfolded_counts', 'warning', m.unfolded_counts > 1000000, jsonb_build_object('unfolded_counts', m.unfolded_counts)),
        ('alert_delivery', 'warning', m.dead_messages + m.late_messages > 0,
            jsonb_build_object('dead_messages', m.dead_messages, 'late_messages', m.late_messages)),
        ('invoices_overdue', 'warning', m.invoices_overdue > 0, jsonb_build_object('invoices_overdue', m.invoices_overdue)),
        ('clock_put_back', 'warning', m.clock_was_at IS NOT NULL, jsonb_build_object('clock_was_at', m.clock_was_at)),
        ('installation', 'critical', m.installation_failing > 0, jsonb_build_object('failing', m.installation_failing)),
        ('data_quality', 'warning', m.objective_missed > 0, jsonb_build_object('tenants', m.objective_missed))
    ) AS i (issue, severity, holds, evidence)
    WHERE i.holds
$$;
COMMENT ON FUNCTION stormops_internal.system_issues(jsonb) IS 'What of that is an issue: by the columns of get_system_health(), and those of platform_counts().';
