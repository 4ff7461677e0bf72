-- The run over all that is due: what is claimed in due.sql is judged in judging.sql, told in verdicts.sql and findings.sql.

CREATE FUNCTION stormops_internal.tenant_to_check() RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT stormops_internal.has_tenant() AND stormops_internal.is_operator() THEN
        RETURN NULL;
    ELSIF stormops_internal.has_tenant() AND NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may run health checks',
            HINT = 'SELECT * FROM stormops.check_table_health(''lead_uplift''); writes nothing.';
    END IF;
    RETURN stormops.current_tenant(); -- or says that there is none
END
$$;
COMMENT ON FUNCTION stormops_internal.tenant_to_check() IS 'Whose expectations a run is about: the tenant''s in context; NULL, all, of an operator without one. Errors: 0B000; 42501; 55000 suspended.';

CREATE FUNCTION stormops_internal.begin_watch(complete boolean) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    watched_since timestamptz;
BEGIN
    SELECT p.reached_at - interval '10 minutes' INTO watched_since FROM stormops_internal.health_progress AS p
    WHERE p.task = 'storms' AND NOT complete
        AND p.reached_at <= now(); -- or the clock was ahead, and has been put back
    INSERT INTO stormops_internal.health_progress AS p (task, reached_at) VALUES ('storms', now())
    ON CONFLICT ON CONSTRAINT health_progress_pkey DO UPDATE SET reached_at = EXCLUDED.reached_at;
    RETURN coalesce(watched_since, '-infinity');
END
$$;
COMMENT ON FUNCTION stormops_internal.begin_watch(boolean) IS 'From when on a run of the platform looks for storms to which something came: the last run, less ten minutes for transactions that were still open. The next one looks from now on.';

CREATE FUNCTION stormops_internal.judge_all_due(
    complete boolean, system_issues jsonb,
    OUT tenants bigint, OUT judged bigint, OUT failed bigint, OUT rows_judged bigint, OUT rows_failing bigint,
    OUT objective_missed bigint, OUT alerts_raised bigint, OUT alerts_resolved bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
#variable_conflict use_variable
DECLARE
    scope uuid;
    due stormops_internal.due_expectation[];
    judgements stormops_internal.judgement[];
    findings jsonb;
    watched_since timestamptz := '-infinity';
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN; -- a standby has nothing to say
    END IF;
    scope := stormops_internal.tenant_to_check();
    PERFORM stormops_internal.visit_all_tenants();
    IF scope IS NULL THEN
        PERFORM stormops.fold_row_counts(); -- where two runs stand in line
        watched_since := stormops_internal.begin_watch(complete);
    END IF;
    due := stormops_internal.claim_due(scope, complete);
    IF scope IS NULL THEN
        due := due || stormops_internal.due_bands(watched_since, (
            SELECT max(d.place) FROM unnest(due) AS d WHERE d.table_name = 'lead_uplift' AND stormops_internal.is_about_rows(d.rule)));
    END IF;
    judgements := ARRAY(SELECT r FROM stormops_internal.judge_rows(due) AS r);
    SELECT v.* INTO tenants, judged, failed, rows_judged, rows_failing, findings
    FROM stormops_internal.write_verdicts(due, judgements) AS v;
    SELECT f.* INTO findings, objective_missed
    FROM stormops_internal.gather_findings(scope, watched_since, findings, system_issues,
        ARRAY(SELECT g FROM unnest(judgements) AS r CROSS JOIN unnest(r.groups) AS g WHERE r.expectation_id IS NULL)) AS f;
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
    -- Left out, or sent as NULL or '' by what fills in every argument.
    complete := coalesce(complete, false);
    -- As the caller, who may see more of the server's statistics than the tables' owner does.
    IF NOT stormops_internal.has_tenant() AND stormops_internal.may_monitor() THEN
        SELECT h.issues INTO system_issues FROM stormops.get_system_health(slow => false) AS h;
    END IF;
    SELECT j.* INTO tenants, judged, failed, rows_judged, rows_failing, objective_missed, alerts_raised, alerts_resolved
    FROM stormops_internal.judge_all_due(coalesce(complete, false), coalesce(system_issues, '[]')) AS j;
END
$$;
COMMENT ON FUNCTION stormops.run_health_checks(boolean) IS 'Judges the expectations that are due: of all active tenants for an operator, else of the tenant in context. Writes data_quality_metrics and alerts; metered as health_check. complete => true: all rows of all expectations. Returns one row of counts, all NULL on a standby. Errors: 0B000 no tenant; 42501 not allowed; 53400 the tenant''s hard quota of health_check; 55000 suspended.';
