-- What runs on its own. With pg_cron these functions schedule it; without, any scheduler calls
-- run_job(). Either way each run leaves its mark, so that one that did not come is noticed.

CREATE FUNCTION stormops_internal.next_run(schedule text, after timestamptz) RETURNS timestamptz
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'next_run_wrapper';
COMMENT ON FUNCTION stormops_internal.next_run(text, timestamptz) IS 'When a cron expression of five fields (or @hourly, @daily, ...) is due next, in UTC; NULL if pg_cron would not take it or it is never due.';

CREATE FUNCTION stormops_internal.known_job(name text, OUT job text, OUT schedule text, OUT function text, OUT purpose text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    SELECT j.job, j.schedule, j.function, j.purpose INTO job, schedule, function, purpose FROM stormops.known_jobs() AS j WHERE j.job = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN $1 IS NULL THEN 'null_value_not_allowed' ELSE 'undefined_object' END,
            MESSAGE = format('there is no job "%s"', left($1, 63)),
            HINT = format('The jobs are %s.', (SELECT string_agg(j.job, ', ') FROM stormops.known_jobs() AS j));
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.known_job(text) IS 'A row of known_jobs(). Errors: 22004; 42704 no such job.';

CREATE FUNCTION stormops.note_schedule(job text, schedule text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF NOT stormops_internal.is_operator() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator may schedule',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''operator'');';
    END IF;
    IF schedule IS NULL THEN
        DELETE FROM stormops_internal.scheduled_jobs AS s WHERE s.job = note_schedule.job;
        RETURN;
    END IF;
    PERFORM stormops_internal.known_job(job);
    IF stormops_internal.next_run(schedule, now()) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('"%s" is not a schedule', left(schedule, 100)),
            HINT = 'Five fields, UTC: minute, hour, day of month, month, day of week; for example */15 * * * *.';
    END IF;
    INSERT INTO stormops_internal.scheduled_jobs AS s (job, schedule, scheduled_by) VALUES (job, schedule, stormops_internal.calling_role())
    ON CONFLICT ON CONSTRAINT scheduled_jobs_pkey DO UPDATE
    SET schedule = EXCLUDED.schedule, scheduled_at = now(), scheduled_by = EXCLUDED.scheduled_by;
END
$$;
COMMENT ON FUNCTION stormops.note_schedule(text, text) IS 'Of schedule_job(): notes that a job is expected; NULL: no longer. From an operator whose own scheduler calls run_job() it is all that there is to do. Errors: 22004; 22023 not a cron expression; 42501; 42704 no such job.';

CREATE FUNCTION stormops.schedule_job(job text, schedule text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.known_job(job);
BEGIN
    schedule := coalesce(schedule, this.schedule);
    PERFORM stormops.note_schedule(job, schedule);
    IF to_regnamespace('cron') IS NOT NULL AND NOT has_schema_privilege(to_regnamespace('cron')::oid, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('role "%s" may not use pg_cron', current_user),
            HINT = format('GRANT USAGE ON SCHEMA cron TO %I;', current_user);
    END IF;
    IF to_regprocedure('cron.schedule(text,text,text)') IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'pg_cron is not in this database',
            DETAIL = 'Nothing was scheduled.',
            HINT = format('Once, as superuser: in postgresql.conf add pg_cron to shared_preload_libraries, set cron.database_name = ''%s'' and cron.use_background_workers = on, restart, CREATE EXTENSION pg_cron. Or let any scheduler run SELECT stormops.run_job(''%s''), and say SELECT stormops.note_schedule(''%s'', ''%s'').',
                current_database(), job, job, schedule);
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' USING 'stormops ' || job, schedule, format('SELECT stormops.run_job(%L)', job);
    RETURN format('%s: %s (UTC)', job, schedule);
END
$$;
COMMENT ON FUNCTION stormops.schedule_job(text, text) IS 'Has pg_cron run a job, by its usual schedule or by another (cron, five fields, UTC), as the operator that calls; again: changes the schedule. Errors: 22004; 22023 not a cron expression; 42501; 42704 no such job; 55000 no pg_cron here.';

CREATE FUNCTION stormops.schedule_health_checks(schedule text DEFAULT '*/15 * * * *') RETURNS text
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops.schedule_job('health_checks', coalesce(nullif($1, ''), '*/15 * * * *')) $$;
COMMENT ON FUNCTION stormops.schedule_health_checks(text) IS 'schedule_job(''health_checks'', ...): run_health_checks() over all tenants. Errors as there.';

CREATE FUNCTION stormops.schedule_all() RETURNS SETOF text
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops.schedule_job(j.job) FROM stormops.known_jobs() AS j ORDER BY j.job $$;
COMMENT ON FUNCTION stormops.schedule_all() IS 'Schedules every job of known_jobs() by its usual schedule. Errors as schedule_job().';

CREATE FUNCTION stormops.unschedule_all() RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    removed bigint := 0;
    s record;
BEGIN
    FOR s IN SELECT l.job FROM stormops.schedules() AS l LOOP
        PERFORM stormops.note_schedule(s.job, NULL);
        removed := removed + 1;
    END LOOP;
    IF has_schema_privilege(to_regnamespace('cron')::oid, 'USAGE') AND EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
        EXECUTE 'SELECT count(cron.unschedule(j.jobid)) FROM cron.job AS j WHERE j.jobname LIKE ''stormops %'''
            ' AND j.username = current_user AND j.database = current_database()';
    END IF;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION stormops.unschedule_all() IS 'Ends all schedules; returns how many there were. pg_cron forgets those of the role that calls; whoever scheduled others calls it too. Error: 42501.';

CREATE FUNCTION stormops.schedules(
    OUT job text, OUT schedule text, OUT purpose text, OUT last_started_at timestamptz, OUT last_finished_at timestamptz,
    OUT outcome text, OUT detail text, OUT expected_by timestamptz, OUT missed boolean, OUT scheduled_by text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF NOT stormops_internal.may_monitor() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator or a monitor may see schedules',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''monitor'');';
    END IF;
    RETURN QUERY
        SELECT s.job, s.schedule, k.purpose, s.started_at, s.finished_at, coalesce(s.outcome, 'never ran'), s.detail, d.at, now() > d.at, s.scheduled_by
        FROM stormops_internal.scheduled_jobs AS s
        LEFT JOIN stormops.known_jobs() AS k ON k.job = s.job
        -- The run that is due next after the last one, and ten minutes for it to end.
        CROSS JOIN LATERAL (SELECT stormops_internal.next_run(s.schedule, greatest(s.scheduled_at, s.started_at)) + interval '10 minutes' AS at) AS d
        ORDER BY s.job;
END
$$;
COMMENT ON FUNCTION stormops.schedules() IS 'What is scheduled, its last run and how that ended (outcome: ok, failed, never ran), by when the next one should have ended (expected_by), and whether that has passed (missed). For operators and monitors. Error: 42501.';

CREATE FUNCTION stormops.run_job(job text) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.known_job(job);
    result text;
    message text;
    started timestamptz := clock_timestamp();
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN 'nothing to do on a standby';
    END IF;
    BEGIN
        EXECUTE format('SELECT CASE count(*) WHEN 1 THEN min(to_jsonb(r)::text) ELSE format(''%%s rows'', count(*)) END FROM stormops.%I() AS r',
            this.function) INTO result;
    -- query_canceled is not of OTHERS: a job that a timeout or an administrator cut off has failed like any other.
    EXCEPTION WHEN OTHERS OR query_canceled THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
        result := format('%s: %s', SQLSTATE, message);
        PERFORM stormops_internal.note_run(job, started, 'failed', result);
        RAISE WARNING USING MESSAGE = format('job %s failed: %s', job, result), HINT = 'SELECT * FROM stormops.runbook(''schedule_failed'');';
        RETURN result;
    END;
    PERFORM stormops_internal.note_run(job, started, 'ok', result);
    RETURN result;
END
$$;
COMMENT ON FUNCTION stormops.run_job(text) IS 'Runs a job now and notes how it went; returns what it returned, or its error, with a warning, after all that the job did was taken back. For operators: it is what pg_cron calls, and what any other scheduler may. Does nothing on a standby. Errors: 22004; 42501; 42704 no such job.';

CREATE FUNCTION stormops_internal.note_run(job text, started_at timestamptz, outcome text, detail text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF NOT stormops_internal.is_operator() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator may run jobs',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''operator'');';
    END IF;
    UPDATE stormops_internal.scheduled_jobs AS s
    SET started_at = note_run.started_at, finished_at = clock_timestamp(), outcome = note_run.outcome, detail = left(note_run.detail, 1000),
        failed_at = CASE WHEN note_run.outcome = 'failed' THEN now() ELSE s.failed_at END
    WHERE s.job = note_run.job;
END
$$;
COMMENT ON FUNCTION stormops_internal.note_run(text, timestamptz, text, text) IS 'Of run_job(): notes a run of a scheduled job. Error: 42501.';

CREATE FUNCTION stormops.forget_health(older_than interval DEFAULT '90 days') RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    oldest timestamptz;
    gone bigint;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    older_than := coalesce(older_than, '90 days');
    PERFORM stormops_internal.visit_all_tenants();
    IF older_than IS NULL OR older_than < interval '7 days' THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN older_than IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'measurements of the last seven days are kept', HINT = 'SELECT stormops.forget_health(''90 days'');';
    END IF;
    BEGIN
        oldest := now() - older_than;
    EXCEPTION WHEN datetime_field_overflow THEN
        oldest := '-infinity'; -- nothing is as old as that
    END;
    -- Whoever was told of an alert is told of its end for a week: see queue_alerts().
    DELETE FROM stormops_internal.alert_deliveries AS d WHERE d.created_at < oldest AND NOT EXISTS (
        SELECT FROM stormops.alerts AS a WHERE a.alert_id = d.alert_id AND (a.resolved_at >= oldest) IS NOT FALSE
        UNION ALL
        SELECT FROM stormops_internal.platform_alerts AS a WHERE a.alert_id = d.alert_id AND (a.resolved_at >= oldest) IS NOT FALSE);
    WITH metrics AS (
        DELETE FROM stormops.data_quality_metrics AS m WHERE m.measured_at < oldest RETURNING 1
    ), told AS (
        DELETE FROM stormops.alerts AS a WHERE a.resolved_at < oldest RETURNING 1
    ), platform AS (
        DELETE FROM stormops_internal.platform_alerts AS a WHERE a.resolved_at < oldest RETURNING 1
    )
    SELECT (SELECT count(*) FROM metrics) + (SELECT count(*) FROM told) + (SELECT count(*) FROM platform) INTO gone;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION stormops.forget_health(interval) IS 'Deletes measurements and resolved alerts with their messages, of all tenants, that are older than that (at least seven days); returns how many. Errors: 22004; 22023.';
