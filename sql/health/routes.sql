-- Where alerts go: each tenant's own routes, and the platform's.

CREATE FUNCTION stormops_internal.severity_rank(severity text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT array_position(ARRAY['info', 'warning', 'critical'], $1) $$;
COMMENT ON FUNCTION stormops_internal.severity_rank(text) IS 'info 1, warning 2, critical 3; NULL if it is none.';

CREATE FUNCTION stormops_internal.route_owner(tenant_id uuid, writes boolean) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN stormops_internal.is_operator() THEN $1 ELSE stormops_internal.target_tenant($1, $2) END $$;
COMMENT ON FUNCTION stormops_internal.route_owner(uuid, boolean) IS 'Whose routes a call concerns: for an operator those of the named tenant, or without one the platform''s (NULL); else those of the tenant in context, for its admins. Errors as target_tenant().';

CREATE FUNCTION stormops.set_alert_route(
    name text, kind text, address text DEFAULT '', secret text DEFAULT '', min_severity text DEFAULT 'warning', tenant_id uuid DEFAULT NULL
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    owner uuid := stormops_internal.route_owner(tenant_id, true);
    refusal text;
    hint text := 'SELECT stormops.set_alert_route(''on call'', ''pagerduty'', secret => ''<routing key>'');';
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    address := coalesce(address, '');
    secret := coalesce(secret, '');
    min_severity := coalesce(nullif(min_severity, ''), 'warning');
    IF name IS NULL OR kind IS NULL OR min_severity IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name, kind and min_severity must not be null', HINT = hint;
    END IF;
    address := coalesce(address, '');
    secret := coalesce(secret, '');
    refusal := CASE
        WHEN char_length(name) NOT BETWEEN 1 AND 100 THEN 'a route''s name has 1 to 100 characters'
        WHEN kind NOT IN ('pagerduty', 'slack', 'webhook') THEN 'a route is of kind pagerduty, slack or webhook'
        WHEN stormops_internal.severity_rank(min_severity) IS NULL THEN 'min_severity is info, warning or critical'
        WHEN octet_length(secret) > 1000 THEN 'the secret is longer than 1000 bytes'
        WHEN kind <> 'slack' AND secret = '' THEN format('a route of kind %s needs a secret', kind)
        WHEN kind = 'webhook' AND starts_with(secret, 'whsec_') AND substr(secret, 7) !~ '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
            THEN 'what follows whsec_ is base64'
        WHEN kind = 'webhook' AND octet_length(secret) < 24 THEN 'the secret of a signature has at least 24 characters'
        WHEN kind <> 'pagerduty' OR address <> '' THEN stormops_internal.egress_refusal(address)
    END;
    IF refusal IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = refusal, HINT = hint;
    END IF;
    IF (SELECT count(*) FROM stormops_internal.alert_routes AS r
        WHERE r.for_tenant IS NOT DISTINCT FROM owner AND r.name <> set_alert_route.name) >= 20 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'nobody has more than 20 routes',
            HINT = 'SELECT stormops.remove_alert_route(name); of those in SELECT * FROM stormops.alert_routes();';
    END IF;
    INSERT INTO stormops_internal.alert_routes AS r (for_tenant, name, kind, address, secret, min_severity)
    VALUES (owner, name, kind, address, secret, min_severity)
    ON CONFLICT ON CONSTRAINT alert_routes_for_tenant_name_key DO UPDATE
    SET kind = EXCLUDED.kind, address = EXCLUDED.address, secret = EXCLUDED.secret, min_severity = EXCLUDED.min_severity;
EXCEPTION
    WHEN foreign_key_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'tenant does not exist',
            HINT = 'SELECT * FROM stormops.list_tenants(); shows all.';
END
$$;
COMMENT ON FUNCTION stormops.set_alert_route(text, text, text, text, text, uuid) IS 'Sends alerts of at least min_severity (info, warning, critical) to a receiver; replaces a route of that name. kind: pagerduty, slack or webhook; address: https; secret: not readable again. Admins: their tenant; operators: a tenant, or NULL: the platform. Errors: 22004; 22023 an argument; 42501 not allowed; 54000 more than 20 routes; P0002 no such tenant; those of current_tenant().';

CREATE FUNCTION stormops.remove_alert_route(name text, tenant_id uuid DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    owner uuid := stormops_internal.route_owner(tenant_id, true);
BEGIN
    DELETE FROM stormops_internal.alert_routes AS r WHERE r.for_tenant IS NOT DISTINCT FROM owner AND r.name = remove_alert_route.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('route "%s" does not exist', left(name, 100)),
            HINT = 'SELECT * FROM stormops.alert_routes(); shows those that do.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.remove_alert_route(text, uuid) IS 'Ends a route; what is still to be sent over it is given up. For whom as set_alert_route(). Errors: P0002 no such route; 42501; as current_tenant().';

CREATE FUNCTION stormops.alert_routes(
    tenant_id uuid DEFAULT NULL,
    OUT name text, OUT kind text, OUT host text, OUT min_severity text, OUT pending bigint, OUT dead bigint, OUT last_delivered_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    owner uuid := stormops_internal.route_owner($1, false);
BEGIN
    RETURN QUERY
        SELECT r.name, r.kind, coalesce(substring(r.address FROM '^[a-z]+://([^/?#]+)'), 'events.pagerduty.com'), r.min_severity,
            d.pending, d.dead, d.last_delivered_at
        FROM stormops_internal.alert_routes AS r
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE d.state = 'pending'), count(*) FILTER (WHERE d.state = 'dead'),
                max(d.last_attempt_at) FILTER (WHERE d.state = 'delivered')
            FROM stormops_internal.alert_deliveries AS d WHERE d.route_id = r.route_id
        ) AS d (pending, dead, last_delivered_at)
        WHERE r.for_tenant IS NOT DISTINCT FROM owner
        ORDER BY r.name;
END
$$;
COMMENT ON FUNCTION stormops.alert_routes(uuid) IS 'The routes of the tenant in context, or for an operator of the named tenant or the platform, without their secrets: name, kind, host, min_severity, messages pending and dead (given up), and when one last arrived. Errors: 42501; as current_tenant().';
