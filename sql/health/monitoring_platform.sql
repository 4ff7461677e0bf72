-- What Prometheus, the exporter and Grafana read of the installation itself. Each monitor_...() is a
-- group of metrics: columns of metric_families() are values and never NULL, the others are labels.

CREATE FUNCTION stormops.monitor_installation(OUT version text, OUT server_version text, OUT info integer, OUT in_recovery integer)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT e.extversion, current_setting('server_version_num'), 1, pg_is_in_recovery()::integer
    FROM pg_extension AS e WHERE e.extname = 'stormops'
$$;
COMMENT ON FUNCTION stormops.monitor_installation() IS 'Of monitoring_samples(): version of the extension and server_version (server_version_num); info, always 1; in_recovery, 1 on a standby.';

CREATE FUNCTION stormops.monitor_platform(
    OUT status integer, OUT active_tenants bigint, OUT suspended_tenants bigint, OUT closed_tenants bigint, OUT tenants_missing_objective bigint,
    OUT database_bytes bigint, OUT oldest_transaction_seconds numeric, OUT oldest_xmin_age integer, OUT xid_age integer,
    OUT cache_hit_ratio numeric, OUT connections bigint, OUT connection_limit integer, OUT hidden_sessions bigint, OUT deadlocks_total bigint,
    OUT replicas bigint, OUT retained_wal_bytes numeric, OUT partition_runway_seconds bigint, OUT unfolded_counts bigint,
    OUT invoices_overdue bigint, OUT attest_failures bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT array_position('{healthy,degraded,critical}'::text[], h.health_status) - 1,
        h.active_tenants, h.suspended_tenants, h.closed_tenants, h.objective_missed, h.db_size_bytes,
        coalesce(h.oldest_transaction_seconds, 0), coalesce(h.oldest_xmin_age, 0), h.xid_age,
        coalesce(h.cache_hit_ratio, 1), h.connections, h.max_connections, h.hidden_sessions, h.deadlocks, h.replicas,
        coalesce(h.retained_wal_bytes, 0), coalesce(h.partition_runway_days, 0) * 86400::bigint, h.unfolded_counts,
        coalesce(h.invoices_overdue, 0), coalesce(h.installation_failing, 0)
    FROM stormops.get_system_health(slow => false) AS h
$$;
COMMENT ON FUNCTION stormops.monitor_platform() IS 'Of monitoring_samples(): get_system_health() in base units, what is absent there as 0 (cache_hit_ratio: 1). status: 0 healthy, 1 degraded, 2 critical. Error: 42501.';

CREATE FUNCTION stormops.monitor_replica(OUT replica text, OUT lag_bytes numeric) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.application_name,
        max((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) - r.replay_lsn)
    FROM pg_stat_replication AS r WHERE r.replay_lsn IS NOT NULL AND r.application_name IS NOT NULL
    GROUP BY r.application_name
$$;
COMMENT ON FUNCTION stormops.monitor_replica() IS 'Of monitoring_samples(): how far each replica, by its application_name, is behind; of several of one name the last. A role without pg_monitor sees none.';

CREATE FUNCTION stormops.monitor_schedule(
    OUT job_name text, OUT last_run_timestamp_seconds numeric, OUT last_run_failed integer, OUT expected_by_timestamp_seconds numeric, OUT missed integer
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.job, coalesce(extract(epoch FROM s.last_finished_at), 0), (s.outcome = 'failed')::integer,
        coalesce(extract(epoch FROM s.expected_by), 0), coalesce(s.missed, true)::integer
    FROM stormops.schedules() AS s
$$;
COMMENT ON FUNCTION stormops.monitor_schedule() IS 'Of monitoring_samples(): schedules() by job, times in seconds since 1970 (0: never). Error: 42501.';

CREATE FUNCTION stormops.monitor_schedule_last(OUT job_name text, OUT success_timestamp_seconds numeric) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.job, extract(epoch FROM s.last_finished_at) FROM stormops.schedules() AS s WHERE s.outcome = 'ok'
$$;
COMMENT ON FUNCTION stormops.monitor_schedule_last() IS 'Of monitoring_samples(): when a job that last succeeded did so; no row for one that failed or never ran. Error: 42501.';

CREATE FUNCTION stormops.monitor_alerts(OUT tenant_id text, OUT issue text, OUT severity text, OUT state text, OUT unresolved bigint) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(a.tenant_id::text, ''), a.issue, a.severity, a.state, count(*)
    FROM stormops.alerts() AS a GROUP BY a.tenant_id, a.issue, a.severity, a.state
$$;
COMMENT ON FUNCTION stormops.monitor_alerts() IS 'Of monitoring_samples(): alerts that are not resolved by tenant (empty: the platform''s own), issue, severity and state (open, acknowledged, silenced).';

CREATE FUNCTION stormops.monitor_delivery(OUT pending_messages bigint, OUT dead_messages bigint, OUT oldest_pending_seconds numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT count(*) FILTER (WHERE d.state = 'pending'), count(*) FILTER (WHERE d.state = 'dead'),
        coalesce(extract(epoch FROM now() - min(d.created_at) FILTER (WHERE d.state = 'pending')), 0)
    INTO pending_messages, dead_messages, oldest_pending_seconds
    FROM stormops_internal.alert_deliveries AS d WHERE d.state <> 'delivered';
END
$$;
COMMENT ON FUNCTION stormops.monitor_delivery() IS 'Of monitoring_samples(): messages of alerts that are to be sent, that were given up, and the age of the oldest to be sent.';

CREATE FUNCTION stormops.monitor_metering(OUT unfolded_events bigint, OUT unfolded_age_seconds numeric, OUT last_fold_timestamp_seconds numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    progress record;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT p.folded_at INTO progress FROM stormops_internal.metering_progress AS p;
    -- Bounded: a rollup that stands still for a week must not make every look at it slower.
    SELECT count(*), coalesce(extract(epoch FROM now() - greatest(
            CASE WHEN progress.folded_at <= now() THEN progress.folded_at END, -- or the clock was ahead
            min(e.recorded_at))), 0)
    INTO unfolded_events, unfolded_age_seconds
    FROM (
        SELECT u.recorded_at FROM stormops.tenant_usage AS u
        JOIN stormops.usage_batches AS b ON b.tenant_id = u.tenant_id AND b.batch_id = u.batch_id AND b.mark IS NULL
        WHERE u.batch_id >= (SELECT stormops_internal.first_batch(NULL)) LIMIT 100000
    ) AS e;
    unfolded_age_seconds := greatest(unfolded_age_seconds, 0);
    last_fold_timestamp_seconds := coalesce(extract(epoch FROM progress.folded_at), 0);
END
$$;
COMMENT ON FUNCTION stormops.monitor_metering() IS 'Of monitoring_samples(): events that rollup_usage() has not folded (counted up to 100000); for how long at most they wait, 0 if none does; when it last folded, in seconds since 1970 (0: never).';
