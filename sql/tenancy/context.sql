-- The tenant that a transaction works in, and whom a call may concern.

CREATE FUNCTION stormops.enter_tenant(tenant_id uuid, user_id uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'enter_tenant_wrapper';
COMMENT ON FUNCTION stormops.enter_tenant(uuid, uuid) IS 'Works in a tenant for the rest of the transaction, on behalf of a user of it; user_id NULL: as app.current_user_id says. For roles of kind trusted_app; its arguments can be bound, those of SET cannot. Errors: 22004; 25001 the transaction works in another tenant already; 28000 the user is not a member; 55000 the tenant is closed or does not exist.';

CREATE FUNCTION stormops.current_user_id() RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'current_user_id_wrapper';
COMMENT ON FUNCTION stormops.current_user_id() IS 'The user on whose behalf this session works (app.current_user_id). NULL: the application itself. Errors as current_tenant(); 28000 if the user is not a member of the tenant.';

CREATE FUNCTION stormops.current_user_role() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'current_user_role_wrapper';
COMMENT ON FUNCTION stormops.current_user_role() IS 'The acting user''s role, as users has it now: admin, crew_chief, field_user or viewer. NULL: the application itself. Errors as current_user_id().';

CREATE FUNCTION stormops.current_tenant() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE
    COST 0.01 -- it compares two numbers; at the default of 1 the planner would shun sequential scans
    AS 'MODULE_PATHNAME', 'stormops_current_tenant';
COMMENT ON FUNCTION stormops.current_tenant() IS 'The tenant that this transaction works in. Every policy calls it. Errors: 0B000 no tenant in context; 25001 a second tenant in one transaction; 55000 the tenant is closed or does not exist.';

CREATE FUNCTION stormops.may_read(least_role text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_may_read';
COMMENT ON FUNCTION stormops.may_read(text) IS 'True if the acting user''s role is at least that (viewer < field_user < crew_chief < admin), or if the application itself acts. Errors as current_user_id().';

CREATE FUNCTION stormops.may_write(least_role text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_may_write';
COMMENT ON FUNCTION stormops.may_write(text) IS 'As may_read(), in a tenant that is active. Errors as current_user_id(); 55000 if the tenant is suspended.';

CREATE FUNCTION stormops_internal.has_use(kinds text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.rolsuper OR EXISTS (
        SELECT FROM stormops_internal.granted_roles() AS g WHERE g.kind = ANY ($1) AND pg_has_role(r.oid, g.grantee, 'USAGE')
    )
    FROM pg_roles AS r WHERE r.rolname = stormops_internal.calling_role()
$$;
COMMENT ON FUNCTION stormops_internal.has_use(text[]) IS 'True if the calling role was granted use of one of these kinds, or is a superuser.';

CREATE FUNCTION stormops_internal.is_operator() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.has_use('{operator}'::text[]) $$;
COMMENT ON FUNCTION stormops_internal.is_operator() IS 'True if the calling role is an operator or a superuser.';

CREATE FUNCTION stormops_internal.target_tenant(tenant_id uuid, writes boolean) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF tenant_id IS NOT NULL AND stormops_internal.is_operator() THEN
        RETURN tenant_id;
    END IF;
    IF tenant_id IS NOT NULL AND tenant_id IS DISTINCT FROM stormops.current_tenant() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'permission denied for another tenant',
            HINT = 'Leave tenant_id out to mean the tenant in context; an operator may name any.';
    END IF;
    IF NOT (CASE WHEN writes THEN stormops.may_write('admin') ELSE stormops.may_read('admin') END) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an admin of the tenant may do this',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    RETURN stormops.current_tenant();
END
$$;
COMMENT ON FUNCTION stormops_internal.target_tenant(uuid, boolean) IS 'The tenant that a call concerns: the named one for an operator, else the one in context, for its admins. Errors: 42501; 55000 if it writes and the tenant is suspended.';
