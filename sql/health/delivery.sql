-- Alerts on their way out. A message is made once for each alert, route and event, and tried until
-- it arrives or is given up: at least once, with a key by which the receiver tells repetitions.

CREATE FUNCTION stormops_internal.egress_refusal(address text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'egress_refusal_wrapper';
COMMENT ON FUNCTION stormops_internal.egress_refusal(text) IS 'Why alerts cannot be sent to an address; NULL if they can, as far as its text tells: an https URL of at most 2000 bytes without user or password, to a host of stormops.egress_hosts if there are any.';

CREATE FUNCTION stormops_internal.post_alert(kind text, address text, secret text, alert jsonb, timeout_ms integer) RETURNS TABLE (
    outcome text, status integer, retry_after bigint, detail text
)
    LANGUAGE c VOLATILE STRICT
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'post_alert_wrapper';
COMMENT ON FUNCTION stormops_internal.post_alert(text, text, text, jsonb, integer) IS 'Sends one alert and waits at most timeout_ms, 1 to 60000. kind: pagerduty (Events API v2; secret: the routing key; empty address: its own), slack (incoming webhook; the address is the secret), webhook (signed as Standard Webhooks says with HMAC-SHA256). outcome: delivered, retry (retry_after: seconds the server asked for), dead (can never succeed), busy (nothing was tried: 16 requests that this session gave up have not ended). detail holds no address, secret or answer.';

CREATE FUNCTION stormops_internal.event_rank(event text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT array_position(ARRAY['trigger', 'escalate', 'acknowledge', 'resolve'], $1) $$;
COMMENT ON FUNCTION stormops_internal.event_rank(text) IS 'trigger 1, escalate 2, acknowledge 3, resolve 4: the order in which a route is told.';

CREATE FUNCTION stormops_internal.queue_alerts() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    queued bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    -- One at a time makes messages; who comes meanwhile need not wait until those are sent.
    INSERT INTO stormops_internal.health_progress (task, reached_at) SELECT 'messages', now()
    WHERE NOT EXISTS (SELECT FROM stormops_internal.health_progress AS p WHERE p.task = 'messages')
    ON CONFLICT ON CONSTRAINT health_progress_pkey DO NOTHING;
    PERFORM FROM stormops_internal.health_progress AS p WHERE p.task = 'messages' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- Health checks raise the other alerts; that they did not come, or failed, nobody else would tell.
    PERFORM stormops_internal.note_findings(jsonb_agg(jsonb_build_object('tenant_id', NULL, 'key', f.issue, 'issue', f.issue, 'severity', f.severity,
        'failing', true, 'evidence', jsonb_build_object('jobs', s.job, 'detail', s.detail))))
    FROM stormops.schedules() AS s
    JOIN (VALUES ('schedule_missed', 'critical'), ('schedule_failed', 'warning')) AS f (issue, severity)
        ON f.issue = CASE WHEN s.missed THEN 'schedule_missed' WHEN s.outcome = 'failed' THEN 'schedule_failed' END
    WHERE s.job = 'health_checks'
    HAVING count(*) > 0;
    -- What a route should have been told by now: of an open alert the trigger, and that it has become worse, unless
    -- somebody has it in hand or wants no noise; the rest only where the trigger was told.
    INSERT INTO stormops_internal.alert_deliveries (delivery_id, route_id, for_tenant, alert_id, event, message)
    -- The same id again, should this be taken back after the message was sent.
    SELECT substr(encode(sha256(format('%s %s %s', r.route_id, a.alert_id, e.event)::bytea), 'hex'), 1, 32)::uuid,
        r.route_id, a.tenant_id, a.alert_id, e.event, jsonb_build_object(
        'dedup_key', a.alert_id, 'event', e.event, 'severity', a.severity, 'issue', a.issue,
        'summary', format('%s: %s', a.source, replace(a.issue, '_', ' '))
            || coalesce(' (' || coalesce(a.evidence ->> 'storm', a.evidence ->> 'table', a.evidence ->> 'metric', a.evidence ->> 'jobs') || ')', ''),
        'source', a.source, 'since', to_char(a.raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'details', a.evidence,
        'steps', stormops_internal.runbook_steps(a.issue) || ARRAY(SELECT s.action FROM stormops.runbook_steps AS s
                                                          WHERE s.tenant_id = a.tenant_id AND s.issue = a.issue ORDER BY s.step))
    FROM (
        SELECT a.tenant_id, t.org_name AS source, a.alert_id, a.issue, a.severity, a.evidence, a.raised_at,
            a.acknowledged_at, a.silenced_until, a.resolved_at
        FROM stormops.alerts AS a JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        UNION ALL
        SELECT NULL, format('StormOps, database %s', current_database()), p.alert_id, p.issue, p.severity, p.evidence, p.raised_at,
            p.acknowledged_at, p.silenced_until, p.resolved_at
        FROM stormops_internal.platform_alerts AS p
    ) AS a
    JOIN stormops_internal.alert_routes AS r ON r.for_tenant IS NOT DISTINCT FROM a.tenant_id
    CROSS JOIN LATERAL (
        SELECT k.event
        FROM (VALUES ('trigger', true), ('escalate', EXISTS (
            SELECT FROM stormops_internal.alert_deliveries AS d
            WHERE d.route_id = r.route_id AND d.alert_id = a.alert_id AND d.event = 'trigger'
                AND stormops_internal.severity_rank(d.message ->> 'severity') < stormops_internal.severity_rank(a.severity)
        ))) AS k (event, due)
        WHERE k.due AND a.resolved_at IS NULL AND a.acknowledged_at IS NULL AND coalesce(a.silenced_until <= now(), true)
            AND stormops_internal.severity_rank(a.severity) >= stormops_internal.severity_rank(r.min_severity)
        UNION ALL
        -- However mild it has become since.
        SELECT k.event
        FROM (VALUES ('acknowledge', a.acknowledged_at), ('resolve', a.resolved_at)) AS k (event, at)
        WHERE k.at IS NOT NULL AND EXISTS (
            SELECT FROM stormops_internal.alert_deliveries AS d
            WHERE d.route_id = r.route_id AND d.alert_id = a.alert_id AND d.event = 'trigger'
        )
    ) AS e
    WHERE a.resolved_at IS NULL OR a.resolved_at > now() - interval '7 days'
    ON CONFLICT (route_id, alert_id, event) DO NOTHING;
    GET DIAGNOSTICS queued = ROW_COUNT;
    -- A route that is gone takes what it was to say with it.
    UPDATE stormops_internal.alert_deliveries AS d SET state = 'dead', last_detail = 'the route was removed'
    WHERE d.delivery_id IN (
        SELECT o.delivery_id FROM stormops_internal.alert_deliveries AS o
        WHERE o.state = 'pending' AND NOT EXISTS (SELECT FROM stormops_internal.alert_routes AS r WHERE r.route_id = o.route_id)
        FOR UPDATE SKIP LOCKED);
    RETURN queued;
END
$$;
COMMENT ON FUNCTION stormops_internal.queue_alerts() IS 'Makes the messages that are due: trigger, escalate, acknowledge and resolve of each alert for each of its routes, each once. Returns how many: none while another call makes them.';

CREATE FUNCTION stormops.deliver_alerts(
    most integer DEFAULT 100, timeout interval DEFAULT '5 seconds',
    OUT queued bigint, OUT delivered bigint, OUT retried bigint, OUT dead bigint, OUT pending bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    d record; -- what is due
    answer record;
    most_attempts constant integer := 10;
    platform constant uuid := '00000000-0000-0000-0000-000000000000'; -- whose own messages have their turn as a tenant's
    stop_at timestamptz := clock_timestamp() + interval '30 seconds';
    tried_at timestamptz;
    turns jsonb; -- when each tenant had its last turn, in seconds since 1970
    waited jsonb := '{}'; -- for each tenant's receivers, seconds
    slow uuid[] := '{}'; -- tenants for whom this call has waited enough
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    most := coalesce(most, 100);
    timeout := coalesce(timeout, '00:00:05');
    IF most IS NULL OR most NOT BETWEEN 1 AND 10000 OR timeout IS NULL OR timeout NOT BETWEEN interval '0.1 s' AND interval '30 s' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'most is 1 to 10000, and timeout 0.1 to 30 seconds',
            HINT = 'SELECT * FROM stormops.deliver_alerts();';
    END IF;
    delivered := 0;
    retried := 0;
    dead := 0;
    IF pg_is_in_recovery() THEN
        queued := 0;
        pending := 0;
        RETURN; -- the primary delivers
    END IF;
    queued := stormops_internal.queue_alerts();
    SELECT coalesce(jsonb_object_agg(t.owner, t.last_turn), '{}') INTO turns
    FROM (
        SELECT coalesce(x.for_tenant, platform) AS owner, extract(epoch FROM max(x.last_attempt_at)) AS last_turn
        FROM stormops_internal.alert_deliveries AS x
        WHERE x.last_attempt_at <= clock_timestamp() -- or the clock was ahead
        GROUP BY 1
    ) AS t;
    -- One at a time and not for long, so that this transaction stays short; who calls at the same
    -- time takes others.
    WHILE most > 0 AND clock_timestamp() + least(timeout, interval '1 s') <= stop_at LOOP
        SELECT x.delivery_id, coalesce(x.for_tenant, platform) AS owner, x.attempts, x.message, r.kind, r.address, r.secret INTO d
        FROM stormops_internal.alert_deliveries AS x JOIN stormops_internal.alert_routes AS r ON r.route_id = x.route_id
        WHERE x.state = 'pending'
            -- A clock that was ahead keeps nothing back.
            AND (x.next_attempt_at <= clock_timestamp() OR coalesce(x.last_attempt_at, x.created_at) > clock_timestamp())
            -- The rest of a slow tenant's waits for the next call, and everybody else's does not.
            AND coalesce(x.for_tenant, platform) <> ALL (slow)
            -- In the order of the alert's life: no resolve overtakes its trigger.
            AND NOT EXISTS (
                SELECT FROM stormops_internal.alert_deliveries AS earlier
                WHERE earlier.route_id = x.route_id AND earlier.alert_id = x.alert_id AND earlier.state = 'pending'
                    AND stormops_internal.event_rank(earlier.event) < stormops_internal.event_rank(x.event)
            )
        -- Tenants take turns, over all calls: however much one has to say to receivers that do not answer, it holds up
        -- nobody else's news. Of its own, what was never tried goes first.
        ORDER BY coalesce((turns ->> coalesce(x.for_tenant, platform)::text)::numeric, 0), x.attempts > 0, x.next_attempt_at LIMIT 1
        FOR UPDATE OF x SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        most := most - 1;
        tried_at := clock_timestamp();
        SELECT p.* INTO answer FROM stormops_internal.post_alert(d.kind, d.address, d.secret,
            d.message || jsonb_build_object('message_id', d.delivery_id),
            (extract(epoch FROM least(timeout, stop_at - tried_at)) * 1000)::integer) AS p;
        EXIT WHEN answer.outcome = 'busy'; -- it was not tried: the next call begins with it
        turns := turns || jsonb_build_object(d.owner, extract(epoch FROM tried_at));
        waited := waited || jsonb_build_object(d.owner,
            coalesce((waited ->> d.owner::text)::numeric, 0) + extract(epoch FROM clock_timestamp() - tried_at));
        IF (waited ->> d.owner::text)::numeric > 3 THEN
            slow := slow || d.owner;
        END IF;
        IF answer.outcome = 'retry' AND d.attempts + 1 >= most_attempts THEN
            answer.outcome := 'dead';
        END IF;
        UPDATE stormops_internal.alert_deliveries AS x
        SET state = CASE answer.outcome WHEN 'retry' THEN 'pending' ELSE answer.outcome END,
            attempts = x.attempts + 1, last_attempt_at = clock_timestamp(), last_status = answer.status, last_detail = answer.detail,
            -- Twice as long each time, from half a minute up to an hour, not all at the same moment;
            -- and no sooner than the receiver asked for.
            next_attempt_at = clock_timestamp() + greatest(make_interval(secs => answer.retry_after),
                least(interval '1 hour', interval '30 seconds' * 2 ^ d.attempts) * (0.75 + random() / 4))
        WHERE x.delivery_id = d.delivery_id;
        CASE answer.outcome
            WHEN 'delivered' THEN delivered := delivered + 1;
            WHEN 'dead' THEN dead := dead + 1;
            ELSE retried := retried + 1;
        END CASE;
    END LOOP;
    SELECT count(*) INTO pending FROM stormops_internal.alert_deliveries AS x WHERE x.state = 'pending';
END
$$;
COMMENT ON FUNCTION stormops.deliver_alerts(integer, interval) IS 'Sends the alerts that are due, at least once each, for up to 30 seconds. timeout: for one message, 0.1 to 30 s. Returns queued, delivered, retried, dead (given up), pending. Tenants take turns. Calls at the same time share the work. Does nothing on a standby. For operators and schedules. Error: 22023 an argument.';

CREATE FUNCTION stormops.alert_deliveries(
    tenant_id uuid DEFAULT NULL,
    OUT alert_id uuid, OUT route text, OUT event text, OUT issue text, OUT state text, OUT attempts integer,
    OUT next_attempt_at timestamptz, OUT last_attempt_at timestamptz, OUT last_status integer, OUT last_detail text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    owner uuid := stormops_internal.route_owner($1, false);
BEGIN
    RETURN QUERY
        SELECT d.alert_id, r.name, d.event, d.message ->> 'issue', d.state, d.attempts,
            CASE d.state WHEN 'pending' THEN d.next_attempt_at END, d.last_attempt_at, d.last_status, d.last_detail
        FROM stormops_internal.alert_deliveries AS d LEFT JOIN stormops_internal.alert_routes AS r ON r.route_id = d.route_id
        WHERE d.for_tenant IS NOT DISTINCT FROM owner
        ORDER BY d.created_at DESC, stormops_internal.event_rank(d.event) DESC;
END
$$;
COMMENT ON FUNCTION stormops.alert_deliveries(uuid) IS 'The messages of the tenant in context (for its admins), or for an operator of the named tenant or the platform, newest first: alert, route, event (trigger, escalate, acknowledge, resolve), issue, state (pending, delivered, dead), attempts, next and last try, HTTP status and what became of it. Errors: 42501; as current_tenant().';

CREATE FUNCTION stormops.retry_deliveries(tenant_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    owner uuid := stormops_internal.route_owner($1, true);
    revived bigint;
BEGIN
    UPDATE stormops_internal.alert_deliveries AS d SET state = 'pending', attempts = 0, next_attempt_at = now()
    WHERE d.for_tenant IS NOT DISTINCT FROM owner AND d.state = 'dead'
        AND EXISTS (SELECT FROM stormops_internal.alert_routes AS r WHERE r.route_id = d.route_id);
    GET DIAGNOSTICS revived = ROW_COUNT;
    RETURN revived;
END
$$;
COMMENT ON FUNCTION stormops.retry_deliveries(uuid) IS 'Tries the messages once more that were given up, of the tenant in context (for its admins), or for an operator of the named tenant or the platform. Returns how many. Errors: 42501; as current_tenant().';
