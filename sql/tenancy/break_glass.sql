-- Break-glass: an operator reads one tenant's rows, with a reason, for a time, on record.

CREATE FUNCTION stormops.break_glass(grant_id uuid) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'break_glass_wrapper';
COMMENT ON FUNCTION stormops.break_glass(uuid) IS 'Works in the tenant of an open grant for the rest of the transaction, read only; a line of the server''s log says so first. Returns the tenant''s id. For the operator that opened the grant. Errors: 28000 no open grant of the calling role, or its tenant is closed; 55000 the grant is not committed yet; 25001 the transaction works in a tenant already.';

CREATE FUNCTION stormops.open_break_glass(
    tenant_id uuid, reason text, ticket text, lifetime interval DEFAULT '1 hour', OUT grant_id uuid, OUT expires_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    lifetime := coalesce(lifetime, '01:00:00');
    PERFORM stormops_internal.visit_all_tenants();
    IF num_nulls(tenant_id, reason, ticket, lifetime) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'tenant, reason, ticket and lifetime must not be null',
            HINT = 'SELECT * FROM stormops.open_break_glass(tenant_id, ''storm shows no scores'', ''SUP-4711'');';
    END IF;
    IF char_length(btrim(reason)) NOT BETWEEN 1 AND 300 OR char_length(btrim(ticket)) NOT BETWEEN 1 AND 100
        OR lifetime NOT BETWEEN interval '1 second' AND interval '1 day' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'reason, ticket or lifetime is not valid',
            DETAIL = 'A reason has 1 to 300 characters, a ticket 1 to 100; a grant lives 1 second to 1 day.',
            HINT = 'Say what the tenant''s admins may read: they see it in tenant_events.';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = open_break_glass.tenant_id AND t.status <> 'closed') THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'no such open tenant', HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    expires_at := clock_timestamp() + lifetime;
    INSERT INTO stormops.break_glass_grants AS g (tenant_id, opened_by, expires_at, reason, ticket)
    VALUES (tenant_id, stormops_internal.calling_role(), expires_at, btrim(reason), btrim(ticket))
    RETURNING g.grant_id INTO grant_id;
    PERFORM stormops_internal.log_event(tenant_id, 'open_break_glass', NULL, NULL,
        format('%s (ticket %s, until %s)', btrim(reason), btrim(ticket), to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')));
END
$$;
COMMENT ON FUNCTION stormops.open_break_glass(uuid, text, text, interval) IS 'Makes a grant to read one tenant''s rows, for the calling role and for lifetime (1 second to 1 day), and tells the tenant''s admins so in tenant_events. It is of use to break_glass() once it is committed. For operators. Errors: 22004; 22023 reason (1 to 300 characters), ticket (1 to 100) or lifetime is not valid; P0002 no such open tenant.';

CREATE FUNCTION stormops.close_break_glass(grant_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    UPDATE stormops.break_glass_grants AS g SET closed_at = clock_timestamp()
    WHERE g.grant_id = close_break_glass.grant_id AND g.closed_at IS NULL AND g.expires_at > clock_timestamp()
    RETURNING g.tenant_id INTO tenant;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'no such open break-glass grant',
            HINT = 'SELECT * FROM stormops.break_glass_grants();';
    END IF;
    PERFORM stormops_internal.log_event(tenant, 'close_break_glass', NULL, NULL, format('grant %s', grant_id));
END
$$;
COMMENT ON FUNCTION stormops.close_break_glass(uuid) IS 'Ends a grant, whoever opened it, from the next statement of a transaction that uses it. For operators. Error: P0002 no such open grant.';

CREATE FUNCTION stormops.break_glass_grants(
    OUT grant_id uuid, OUT tenant_id uuid, OUT org_name text, OUT opened_by text, OUT reason text, OUT ticket text,
    OUT open boolean, OUT opened_at timestamptz, OUT expires_at timestamptz, OUT closed_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT g.grant_id, g.tenant_id, t.org_name, g.opened_by, g.reason, g.ticket,
            g.closed_at IS NULL AND g.expires_at > clock_timestamp(), g.opened_at, g.expires_at, g.closed_at
        FROM stormops.break_glass_grants AS g JOIN stormops.tenants AS t ON t.tenant_id = g.tenant_id
        ORDER BY g.grant_id DESC;
END
$$;
COMMENT ON FUNCTION stormops.break_glass_grants() IS 'Every break-glass grant, newest first, and whether it is open. For operators.';
