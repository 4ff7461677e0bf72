-- What to do about an issue.

CREATE FUNCTION stormops.shipped_runbook(OUT issue text, OUT step integer, OUT action text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT b.issue, s.step::integer, s.action
    FROM (VALUES
        ('uplift_drift', ARRAY['Check storm characteristics', 'Verify feature engineering', 'Check data quality',
            'Consider model retraining']),
        ('low_lift', ARRAY['Verify policy compliance', 'Check control contamination', 'Review experiment assignments',
            'Analyze by segment']),
        ('volume_drop', ARRAY['Check ingestion pipeline', 'Verify Kafka/Flink jobs', 'Check upstream sources', 'Review error logs']),
        ('no_scores', ARRAY['Score the storm''s properties into lead_uplift', 'Check that the scoring job names this storm_id']),
        ('no_policy', ARRAY['SELECT * FROM stormops.preview_policy(storm_id)', 'SELECT * FROM stormops.apply_policy(storm_id)']),
        ('no_outcomes', ARRAY['Check that outcomes are recorded: stormops.record_outcome(…)',
            'See when the outcome window ends: window_ends_at in check_conversion_rates(storm_id)']),
        ('no_control', ARRAY['Raise holdout in policy_modes: without a control group lift cannot be measured',
            'Apply the policy again with supersede => true']),
        ('missing_values', ARRAY['See which columns: null_rates in check_table_health(table)', 'Find the source that leaves the column out',
            'Fill the rows in, or relax the expectation']),
        ('out_of_range', ARRAY['Look at the rows outside the range', 'Check units and scale at the source',
            'Correct the rows, or the expectation''s limits']),
        ('duplicates', ARRAY['Find the rows that share the key', 'Check whether a load ran twice', 'Give loads an idempotency key or external_id']),
        ('orphans', ARRAY['Find the rows whose parent is missing', 'Check what wrote them past the foreign keys', 'Restore the parents from a backup']),
        ('stale_data', ARRAY['Check ingestion pipeline', 'See when the last row came: last_row_at in check_table_health(table)',
            'Check upstream sources']),
        ('schema_drift', ARRAY['See what differs: schema_drift in check_table_health(table)', 'Find who changed the table',
            'Put the column back as shipped, or make the change with an upgrade']),
        ('data_quality', ARRAY['See which expectations fail: SELECT * FROM stormops.alerts()',
            'Read data_quality_metrics of the last 24 hours', 'Repair the source with most failing rows first']),
        ('schedule_missed', ARRAY['SELECT * FROM stormops.schedules()', 'Check that pg_cron runs: shared_preload_libraries and cron.database_name',
            'Read cron.job_run_details: was the job refused a connection? Then set cron.use_background_workers = on', 'Run it by hand: SELECT stormops.run_job(job)']),
        ('schedule_failed', ARRAY['Read the error: detail in stormops.schedules()', 'Run it by hand: SELECT stormops.run_job(job)']),
        ('nothing_scheduled', ARRAY['SELECT stormops.schedule_all()', 'Or let any scheduler run SELECT stormops.run_job(job)']),
        ('partition_runway', ARRAY['SELECT stormops.maintain_partitions(3)', 'Check that it is scheduled: stormops.schedules()']),
        ('long_transaction', ARRAY['Find it in pg_stat_activity by xact_start', 'Ask its owner to end it', 'SELECT pg_terminate_backend(pid)']),
        ('xid_age', ARRAY['Find what holds the oldest transaction: pg_stat_activity, pg_prepared_xacts, pg_replication_slots',
            'VACUUM (FREEZE) the tables with the greatest age(relfrozenxid)']),
        ('replication_lag', ARRAY['Look at pg_stat_replication and the standby''s log', 'Drop slots that nobody reads: pg_replication_slots']),
        ('connections', ARRAY['Look at pg_stat_activity for idle sessions', 'Put a pool before the database, or raise max_connections']),
        ('unfolded_counts', ARRAY['SELECT stormops.fold_row_counts()', 'Check that health checks are scheduled: stormops.schedules()']),
        ('invoices_overdue', ARRAY['List the overdue invoices', 'Ask the tenants'' admins', 'Consider stormops.suspend_tenant(tenant_id, ''payment_failed'')']),
        -- What only the monitoring outside sees.
        ('metrics_absent', ARRAY['Is the server up, and does the exporter''s log name an error?',
            'As the exporter''s role: SELECT stormops.prometheus_metrics()', 'SELECT stormops.grant_usage(role, ''monitor'')']),
        ('usage_unfolded', ARRAY['SELECT * FROM stormops.rollup_usage()', 'Check that usage_rollup is scheduled: stormops.schedules()',
            'Find a long transaction that has written usage: pg_stat_activity by xact_start']),
        ('alert_delivery', ARRAY['SELECT * FROM stormops.alert_deliveries(tenant_id) shows why: last_status, last_detail',
            'Check that alert_delivery is scheduled: stormops.schedules()', 'Once the receiver answers: SELECT stormops.retry_deliveries(tenant_id)']),
        ('quota_used', ARRAY['SELECT * FROM stormops.check_quota(metric_name, tenant_id)', 'Ask the tenant whether the use is meant',
            'SELECT stormops.set_quota(tenant_id, metric_name, quota)']),
        ('slow_calls', ARRAY['SELECT service_levels FROM stormops.get_tenant_metrics(tenant_id, 1)',
            'Look for what else ran: slow_statements in stormops.get_system_health()', 'Find a long transaction or a lock: pg_stat_activity by wait_event']),
        ('installation', ARRAY['SELECT * FROM stormops.attest()', 'Do what the failing rows'' remedy says', 'SELECT stormops.install()'])
    ) AS b (issue, actions)
    CROSS JOIN LATERAL unnest(b.actions) WITH ORDINALITY AS s (action, step)
$$;
COMMENT ON FUNCTION stormops.shipped_runbook() IS 'Every issue that the platform or its monitoring can raise, with what to do about it, in order.';

CREATE FUNCTION stormops.runbook_steps(issue text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce(array_agg(s.action ORDER BY s.step), '{}') FROM stormops.shipped_runbook() AS s WHERE s.issue = $1 $$;
COMMENT ON FUNCTION stormops.runbook_steps(text) IS 'The shipped steps for an issue; empty if it has none.';

CREATE FUNCTION stormops.runbook(issue text DEFAULT NULL, OUT "issue_name" text, OUT step bigint, OUT action text, OUT origin text) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    named text := runbook.issue;
BEGIN
    IF stormops.has_tenant() THEN
        RETURN QUERY
            SELECT a.issue, row_number() OVER (PARTITION BY a.issue ORDER BY a.own, a.step), a.action, CASE WHEN a.own THEN 'tenant' ELSE 'shipped' END
            FROM (
                SELECT s.issue, s.step, s.action, false AS own FROM stormops.shipped_runbook() AS s
                UNION ALL
                SELECT t.issue, t.step, t.action, true FROM stormops.runbook_steps AS t WHERE t.tenant_id = stormops.current_tenant()
            ) AS a
            WHERE named IS NULL OR a.issue = named
            ORDER BY 1, 2;
    ELSE
        RETURN QUERY
            SELECT s.issue, s.step::bigint, s.action, 'shipped' FROM stormops.shipped_runbook() AS s
            WHERE named IS NULL OR s.issue = named
            ORDER BY 1, 2;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('the runbook has no issue "%s"', left(named, 100)),
            HINT = 'SELECT DISTINCT issue_name FROM stormops.runbook(); shows the issues; a tenant adds its own in runbook_steps.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.runbook(text) IS 'What to do about an issue, step by step: the shipped steps, then those of the tenant in context (runbook_steps). Without a name: every issue. Error: P0002 no such issue.';
