-- Metrics for monitoring. Each has one home: a column of a monitor_...(), named in metric_families().
-- The text, the exporter's queries and Grafana's panels are made from there.

CREATE FUNCTION stormops.metric_families(OUT place integer, OUT source text, OUT measure text, OUT name text, OUT kind text, OUT help text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT row_number() OVER ()::integer, f.source, f.measure, concat_ws('_', 'stormops', f.source, f.measure),
        CASE WHEN f.measure ~ '_total$' THEN 'counter' ELSE 'gauge' END, f.help
    FROM (VALUES
        ('installation', 'info', 'Version of StormOps and of the server; always 1.'),
        ('installation', 'in_recovery', 'Whether the server is a standby: 1 or 0.'),
        ('platform', 'status', 'Health of the installation: 0 healthy, 1 degraded, 2 critical.'),
        ('platform', 'active_tenants', 'Tenants that are active.'),
        ('platform', 'suspended_tenants', 'Tenants that are suspended.'),
        ('platform', 'closed_tenants', 'Tenants that are closed.'),
        ('platform', 'tenants_missing_objective', 'Tenants of whose rows judged in the last 24 hours 1 percent or more failed.'),
        ('platform', 'database_bytes', 'Size of the database.'),
        ('platform', 'oldest_transaction_seconds', 'Age of the oldest open transaction that the role may see.'),
        ('platform', 'oldest_xmin_age', 'Transactions since the oldest snapshot or prepared transaction that is held.'),
        ('platform', 'xid_age', 'Transactions since the oldest unfrozen one of any database.'),
        ('platform', 'cache_hit_ratio', 'Share of block reads that shared buffers answered, since statistics began.'),
        ('platform', 'connections', 'Client sessions but the one that asks.'),
        ('platform', 'connection_limit', 'Setting max_connections.'),
        ('platform', 'hidden_sessions', 'Sessions whose transactions the role may not see; pg_monitor shows them.'),
        ('platform', 'deadlocks_total', 'Deadlocks in the database since statistics began.'),
        ('platform', 'replicas', 'Standbys that are connected.'),
        ('platform', 'retained_wal_bytes', 'Write-ahead log that replication slots hold back.'),
        ('platform', 'partition_runway_seconds', 'Time until the last partition of the decision log ends.'),
        ('platform', 'unfolded_counts', 'Changes of row counts that wait to be folded.'),
        ('platform', 'invoices_overdue', 'Months of tenants that ended a week ago and have no final invoice.'),
        ('platform', 'attest_failures', 'Critical and high properties of attest() that do not hold.'),
        ('replica', 'lag_bytes', 'Write-ahead log that a standby has not replayed.'),
        ('schedule', 'last_run_timestamp_seconds', 'When the job last ended; 0: never.'),
        ('schedule', 'last_run_failed', 'Whether its last run failed: 1 or 0.'),
        ('schedule', 'expected_by_timestamp_seconds', 'By when its next run should have ended.'),
        ('schedule', 'missed', 'Whether that time has passed: 1 or 0.'),
        ('schedule_last', 'success_timestamp_seconds', 'When the job last succeeded; absent if its last run failed or there was none.'),
        ('alerts', 'unresolved', 'Alerts that are not resolved; tenant_id is empty for those of the platform.'),
        ('delivery', 'pending_messages', 'Messages of alerts that are to be sent.'),
        ('delivery', 'dead_messages', 'Messages of alerts that were given up.'),
        ('delivery', 'oldest_pending_seconds', 'Age of the oldest message that is to be sent; 0 if there is none.'),
        ('metering', 'unfolded_events', 'Usage events that wait for a rollup, counted up to 100000.'),
        ('metering', 'unfolded_age_seconds', 'For how long at most they wait; 0 if none does.'),
        ('metering', 'last_fold_timestamp_seconds', 'When usage was last rolled up; 0: never.'),
        ('tenant', 'info', 'Name, tier and status of a tenant; always 1.'),
        ('tenant_usage', 'events_total', 'Usage events of this month (UTC), rolled up; begins anew with each month.'),
        ('tenant_usage', 'quantity', 'Usage of this month (UTC), rolled up, in the unit of the metric.'),
        ('tenant_storage', 'bytes', 'Storage of a tenant as last metered.'),
        ('tenant_quota', 'used_ratio', 'Share of a quota that the current period has used; 1: it is reached.'),
        ('tenant_expectations', 'active', 'Expectations that are judged.'),
        ('tenant_expectations', 'failing', 'Expectations that failed when last judged.'),
        ('tenant_quality', 'judged_rows', 'Rows judged in the last 24 hours, once for each expectation.'),
        ('tenant_quality', 'failing_ratio', 'Share of them that failed; the objective is below 0.01.'),
        ('tenant_service', 'recent_calls', 'Calls of yesterday and today (UTC) that wrote something.'),
        ('tenant_service', 'p50_seconds', 'Half of them took at most this long.'),
        ('tenant_service', 'p95_seconds', '95 percent of them took at most this long.'),
        ('tenant_service', 'p99_seconds', '99 percent of them took at most this long.')
    ) AS f (source, measure, help)
$$;
COMMENT ON FUNCTION stormops.metric_families() IS 'The metrics for monitoring in their order: source, the monitor_...() that has it; measure, its column there; name, stormops_source_measure; kind, gauge or counter; help. Units are base units: seconds, bytes, ratios of 0 to 1.';

CREATE FUNCTION stormops.monitoring_samples(OUT name text, OUT kind text, OUT help text, OUT labels jsonb, OUT value double precision) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
    WITH families AS MATERIALIZED (
        SELECT f.*, array_agg(f.measure) OVER (PARTITION BY f.source) AS measures FROM stormops.metric_families() AS f
    ), measured AS (
        SELECT 'installation' AS source, to_jsonb(m) AS fields FROM stormops.monitor_installation() AS m
        UNION ALL SELECT 'platform', to_jsonb(m) FROM stormops.monitor_platform() AS m
        UNION ALL SELECT 'replica', to_jsonb(m) FROM stormops.monitor_replica() AS m
        UNION ALL SELECT 'schedule', to_jsonb(m) FROM stormops.monitor_schedule() AS m
        UNION ALL SELECT 'schedule_last', to_jsonb(m) FROM stormops.monitor_schedule_last() AS m
        UNION ALL SELECT 'alerts', to_jsonb(m) FROM stormops.monitor_alerts() AS m
        UNION ALL SELECT 'delivery', to_jsonb(m) FROM stormops.monitor_delivery() AS m
        UNION ALL SELECT 'metering', to_jsonb(m) FROM stormops.monitor_metering() AS m
        UNION ALL SELECT 'tenant', to_jsonb(m) FROM stormops.monitor_tenant() AS m
        UNION ALL SELECT 'tenant_usage', to_jsonb(m) FROM stormops.monitor_tenant_usage() AS m
        UNION ALL SELECT 'tenant_storage', to_jsonb(m) FROM stormops.monitor_tenant_storage() AS m
        UNION ALL SELECT 'tenant_quota', to_jsonb(m) FROM stormops.monitor_tenant_quota() AS m
        UNION ALL SELECT 'tenant_expectations', to_jsonb(m) FROM stormops.monitor_tenant_expectations() AS m
        UNION ALL SELECT 'tenant_quality', to_jsonb(m) FROM stormops.monitor_tenant_quality() AS m
        UNION ALL SELECT 'tenant_service', to_jsonb(m) FROM stormops.monitor_tenant_service() AS m
    )
    SELECT f.name, f.kind, f.help, m.fields - f.measures, v.value
    FROM measured AS m
    JOIN families AS f ON f.source = m.source
    CROSS JOIN LATERAL (SELECT (m.fields ->> f.measure)::double precision AS value) AS v
    WHERE v.value > '-Infinity' AND v.value < 'Infinity' -- nor NaN, which is greater
    ORDER BY f.place, (m.fields - f.measures)::text
$$;
COMMENT ON FUNCTION stormops.monitoring_samples() IS 'Every sample of every metric, in the order of prometheus_metrics(): name, kind (gauge, counter), help, labels (a JSON object of texts), value (finite). Sums by tenant_id, no tenant''s rows; the only name is org_name, in stormops_tenant_info. Works on a standby. For operators and monitors. Error: 42501 not allowed.';

CREATE FUNCTION stormops.prometheus_metrics() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- as many digits as tell a value from every other
    AS $$
    SELECT string_agg(format(E'# HELP %1$s %2$s\n# TYPE %1$s %3$s\n%4$s', f.name, replace(replace(f.help, E'\\', E'\\\\'), E'\n', E'\\n'), f.kind, f.lines), '' ORDER BY f.place)
    FROM (
        SELECT min(s.place) AS place, s.name, s.kind, s.help, string_agg(format(E'%s%s %s\n', s.name, l.labels, s.value), '' ORDER BY s.place) AS lines
        FROM stormops.monitoring_samples() WITH ORDINALITY AS s (name, kind, help, labels, value, place)
        CROSS JOIN LATERAL (
            SELECT '{' || string_agg(format('%s="%s"', k.key,
                replace(replace(replace(k.value, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')), ',' ORDER BY k.key) || '}' AS labels
            FROM jsonb_each_text(s.labels) AS k
        ) AS l
        GROUP BY s.name, s.kind, s.help
    ) AS f
$$;
COMMENT ON FUNCTION stormops.prometheus_metrics() IS 'monitoring_samples() as Prometheus reads them: text exposition format 0.0.4. psql -XAt -c ''SELECT stormops.prometheus_metrics()'' writes it for the node exporter''s textfile collector. For operators and monitors; a reader, which a standby answers too. Error: 42501.';
