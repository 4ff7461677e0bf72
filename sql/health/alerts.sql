-- Alerts: raised once for a condition, resolved once it was away twice. Delivering them is another
-- matter: whatever does it reads here which are open, unsilenced and changed since.

CREATE FUNCTION stormops_internal.write_findings(findings jsonb, OUT raised bigint, OUT resolved bigint)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    WITH seen AS (
        SELECT DISTINCT ON (f.tenant_id, f.key) f.*
        FROM jsonb_to_recordset(findings) AS f (tenant_id uuid, key text, issue text, severity text, failing boolean, evidence jsonb)
        WHERE f.failing
        ORDER BY f.tenant_id, f.key
    ), of_tenants AS (
        INSERT INTO stormops.alerts AS a (tenant_id, alert_id, alert_key, issue, severity, evidence)
        SELECT s.tenant_id, stormops.new_id(), s.key, s.issue, s.severity, s.evidence FROM seen AS s WHERE s.tenant_id IS NOT NULL
        ON CONFLICT (tenant_id, alert_key) WHERE resolved_at IS NULL DO UPDATE
        SET last_seen_at = now(), passes = 0, severity = EXCLUDED.severity, evidence = EXCLUDED.evidence
        RETURNING a.xmax = 0 AS new
    ), of_platform AS (
        INSERT INTO stormops_internal.platform_alerts AS a (alert_id, alert_key, issue, severity, evidence)
        SELECT stormops.new_id(), s.key, s.issue, s.severity, s.evidence FROM seen AS s WHERE s.tenant_id IS NULL
        ON CONFLICT (alert_key) WHERE resolved_at IS NULL DO UPDATE
        SET last_seen_at = now(), passes = 0, severity = EXCLUDED.severity, evidence = EXCLUDED.evidence
        RETURNING a.xmax = 0
    )
    SELECT count(*) FILTER (WHERE n.new) INTO raised FROM (SELECT * FROM of_tenants UNION ALL SELECT * FROM of_platform) AS n;
    WITH away AS (
        SELECT f.tenant_id, f.key, bool_or(coalesce(f.gone, false)) AS gone
        FROM jsonb_to_recordset(findings) AS f (tenant_id uuid, key text, failing boolean, gone boolean) WHERE NOT f.failing
        GROUP BY f.tenant_id, f.key
    ), of_tenants AS (
        UPDATE stormops.alerts AS a
        SET passes = a.passes + 1, resolved_at = CASE WHEN a.passes >= 1 OR w.gone THEN now() END
        FROM away AS w WHERE a.tenant_id = w.tenant_id AND a.alert_key = w.key AND a.resolved_at IS NULL
        RETURNING a.resolved_at
    ), of_platform AS (
        UPDATE stormops_internal.platform_alerts AS a
        SET passes = a.passes + 1, resolved_at = CASE WHEN a.passes >= 1 THEN now() END
        FROM away AS w WHERE w.tenant_id IS NULL AND a.alert_key = w.key AND a.resolved_at IS NULL
        RETURNING a.resolved_at
    )
    SELECT count(n.resolved_at) INTO resolved FROM (SELECT * FROM of_tenants UNION ALL SELECT * FROM of_platform) AS n;
END
$$;
COMMENT ON FUNCTION stormops_internal.write_findings(jsonb) IS 'Of note_findings(): all of them, in two statements.';

CREATE FUNCTION stormops_internal.note_findings(findings jsonb, OUT raised bigint, OUT resolved bigint)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '200ms'
    AS $$
DECLARE
    f record;
    noted record;
    until timestamptz := clock_timestamp() + interval '1 second';
BEGIN
    BEGIN
        SELECT w.raised, w.resolved INTO raised, resolved FROM stormops_internal.write_findings(findings) AS w;
        RETURN;
    EXCEPTION
        WHEN lock_not_available THEN NULL; -- somebody has just answered an alert, or runs checks, and has not ended
    END;
    raised := 0;
    resolved := 0;
    FOR f IN
        SELECT e.finding ->> 'tenant_id' AS tenant, jsonb_agg(e.finding) AS findings
        FROM jsonb_array_elements(findings) AS e (finding) GROUP BY 1 ORDER BY 1 NULLS FIRST
    LOOP
        PERFORM set_config('lock_timeout', CASE WHEN clock_timestamp() < until THEN '50ms' ELSE '1ms' END, true);
        BEGIN
            SELECT w.raised, w.resolved INTO noted FROM stormops_internal.write_findings(f.findings) AS w;
            raised := raised + noted.raised;
            resolved := resolved + noted.resolved;
        EXCEPTION
            WHEN lock_not_available THEN NULL; -- what is found of this tenant the next run finds too
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.note_findings(jsonb) IS 'The alerts'' state machine. findings: an array of {tenant_id or null for the platform, key, issue, severity, failing, evidence, gone}. A failing one raises an alert or renews the open one; one that does not fail counts as a pass, and the second in a row, or gone, resolves it. Returns how many it raised and resolved. A tenant whose alerts another transaction holds is left to the next run.';

CREATE FUNCTION stormops.alerts(
    include_resolved boolean DEFAULT false,
    OUT alert_id uuid, OUT tenant_id uuid, OUT issue text, OUT severity text, OUT state text, OUT evidence jsonb,
    OUT raised_at timestamptz, OUT last_seen_at timestamptz, OUT acknowledged_by text, OUT note text,
    OUT silenced_until timestamptz, OUT resolved_at timestamptz, OUT steps text[]
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    scope uuid;
BEGIN
    IF stormops_internal.has_tenant() OR NOT stormops_internal.may_monitor() THEN
        scope := stormops.current_tenant();
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT a.alert_id, a.tenant_id, a.issue, a.severity,
            CASE WHEN a.resolved_at IS NOT NULL THEN 'resolved' WHEN a.silenced_until > now() THEN 'silenced'
                WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END,
            -- Names that a tenant gave are not an operator's to read.
            CASE WHEN scope IS NULL THEN a.evidence - 'expectation' - 'storm' ELSE a.evidence END, a.raised_at, a.last_seen_at, a.acknowledged_by, a.note, a.silenced_until, a.resolved_at,
            stormops_internal.runbook_steps(a.issue)
        FROM (
            SELECT t.alert_id, t.tenant_id, t.issue, t.severity, t.evidence, t.raised_at, t.last_seen_at, t.acknowledged_at,
                t.acknowledged_by, t.note, t.silenced_until, t.resolved_at
            FROM stormops.alerts AS t WHERE scope IS NULL OR t.tenant_id = scope
            UNION ALL
            SELECT p.alert_id, NULL, p.issue, p.severity, p.evidence, p.raised_at, p.last_seen_at, p.acknowledged_at,
                p.acknowledged_by, p.note, p.silenced_until, p.resolved_at
            FROM stormops_internal.platform_alerts AS p WHERE scope IS NULL
        ) AS a
        WHERE include_resolved OR a.resolved_at IS NULL
        ORDER BY a.resolved_at IS NOT NULL, array_position(ARRAY['critical', 'warning', 'info'], a.severity), a.raised_at;
END
$$;
COMMENT ON FUNCTION stormops.alerts(boolean) IS 'The open alerts, worst first, each with the runbook''s steps; include_resolved: the others too. The tenant''s in context; for an operator or a monitor without a tenant, all tenants'' and the platform''s own (tenant_id NULL). state: open, acknowledged, silenced, resolved. Errors: 0B000.';

CREATE FUNCTION stormops_internal.touch_alert(alert_id uuid, note text, acknowledges boolean, until timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    scope uuid;
    who text := stormops_internal.calling_role();
    touched boolean;
BEGIN
    IF stormops_internal.has_tenant() OR NOT stormops_internal.is_operator() THEN
        IF NOT stormops.may_write('crew_chief') THEN
            RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may answer alerts',
                HINT = 'SELECT * FROM stormops.alerts(); shows them.';
        END IF;
        scope := stormops.current_tenant();
        who := coalesce(stormops.current_user_id()::text, who);
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    IF note IS NOT NULL AND char_length(note) NOT BETWEEN 1 AND 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a note has 1 to 500 characters',
            HINT = 'SELECT stormops.acknowledge_alert(alert_id, ''on it'');';
    END IF;
    WITH of_tenants AS (
        UPDATE stormops.alerts AS a
        SET acknowledged_at = CASE WHEN acknowledges THEN coalesce(a.acknowledged_at, now()) ELSE a.acknowledged_at END,
            acknowledged_by = CASE WHEN acknowledges THEN coalesce(a.acknowledged_by, who) ELSE a.acknowledged_by END,
            note = coalesce(touch_alert.note, a.note), silenced_until = coalesce(until, a.silenced_until)
        WHERE a.alert_id = touch_alert.alert_id AND a.resolved_at IS NULL AND (scope IS NULL OR a.tenant_id = scope)
        RETURNING a.alert_id
    ), of_platform AS (
        UPDATE stormops_internal.platform_alerts AS a
        SET acknowledged_at = CASE WHEN acknowledges THEN coalesce(a.acknowledged_at, now()) ELSE a.acknowledged_at END,
            acknowledged_by = CASE WHEN acknowledges THEN coalesce(a.acknowledged_by, who) ELSE a.acknowledged_by END,
            note = coalesce(touch_alert.note, a.note), silenced_until = coalesce(until, a.silenced_until)
        WHERE a.alert_id = touch_alert.alert_id AND a.resolved_at IS NULL AND scope IS NULL
        RETURNING a.alert_id
    )
    SELECT count(*) > 0 INTO touched FROM (SELECT * FROM of_tenants UNION ALL SELECT * FROM of_platform) AS a;
    IF NOT touched THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN alert_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('alert %s is not open', coalesce(alert_id::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.alerts(); shows the open ones.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.touch_alert(uuid, text, boolean, timestamptz) IS 'Writes an answer to an open alert. Errors as acknowledge_alert().';

CREATE FUNCTION stormops.acknowledge_alert(alert_id uuid, note text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN PERFORM stormops_internal.touch_alert(alert_id, note, true, NULL); END $$;
COMMENT ON FUNCTION stormops.acknowledge_alert(uuid, text) IS 'Says that somebody has taken an open alert on; the first to say so stays named. For crew_chiefs and admins of the tenant in context; for operators any, the platform''s too. Errors: 0B000; 22004; 22023 note; 42501; 55000 suspended; P0002 no such open alert.';

CREATE FUNCTION stormops.silence_alert(alert_id uuid, until timestamptz, note text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF until IS NULL OR NOT isfinite(until) OR until > now() + interval '90 days' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN until IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'an alert is silenced until a moment within ninety days',
            HINT = 'SELECT stormops.silence_alert(alert_id, now() + interval ''2 hours''); a moment past ends a silence.';
    END IF;
    PERFORM stormops_internal.touch_alert(alert_id, note, false, until);
END
$$;
COMMENT ON FUNCTION stormops.silence_alert(uuid, timestamptz, text) IS 'Lets nobody be told of an open alert until then, at most ninety days; a moment past ends it. It still resolves by itself. For whom, and errors, as acknowledge_alert().';
