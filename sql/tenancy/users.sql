-- People come to a tenant, change their role and go. Each function does all or nothing.

CREATE FUNCTION stormops_internal.insert_user(tenant_id uuid, email text, role text, full_name text) RETURNS uuid
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    address text := stormops_internal.email_key(email);
    user_id uuid;
BEGIN
    IF address IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'e-mail address is not valid',
            DETAIL = 'An address is name@domain.tld without a display name, at most 254 characters.',
            HINT = 'Use an address that mail can reach, such as admin@abcroofing.example.';
    END IF;
    PERFORM stormops_internal.check_role(role);
    IF full_name IS NOT NULL AND stormops_internal.name_key(full_name) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'full name is not valid',
            DETAIL = 'A name has 1 to 200 characters, at least one letter or digit, and none that is invisible.',
            HINT = 'Use the name as people write it, or NULL.';
    END IF;
    IF EXISTS (
        SELECT FROM stormops.users AS u
        WHERE u.tenant_id = insert_user.tenant_id AND lower(u.email COLLATE "C") = lower(address COLLATE "C") AND u.removed_at IS NULL
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('user "%s" already exists', address),
            HINT = 'set_user_role() changes the role of a user who is there.';
    END IF;
    INSERT INTO stormops.users AS u (tenant_id, email, role, full_name)
    VALUES (tenant_id, address, role, full_name)
    RETURNING u.user_id INTO user_id;
    PERFORM stormops_internal.log_event(tenant_id, 'add_user', NULL, role, NULL, user_id);
    RETURN user_id;
END
$$;
COMMENT ON FUNCTION stormops_internal.insert_user(uuid, text, text, text) IS 'Checks and writes a user.';

CREATE FUNCTION stormops_internal.check_role(role text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF role IS NULL OR role NOT IN ('admin', 'crew_chief', 'field_user', 'viewer') THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN role IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = format('unknown role "%s"', left(role, 50)),
            HINT = 'A role is admin, crew_chief, field_user or viewer.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.check_role(text) IS 'Errors: 22004 NULL, 22023 unknown role.';

CREATE FUNCTION stormops.add_user(email text, role text, full_name text DEFAULT NULL, tenant_id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, true);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.open_for_change(target);
    RETURN stormops_internal.insert_user(target, email, role, full_name);
END
$$;
COMMENT ON FUNCTION stormops.add_user(text, text, text, uuid) IS 'Adds a user to the tenant in context (for its admins) or to the named one (for operators). role: admin, crew_chief, field_user or viewer. Returns user_id. Errors: 22023 e-mail, name or role is not valid; 23505 the e-mail is there; 42501; 55000 the tenant is closed, or suspended and it is its own admin who calls.';

CREATE FUNCTION stormops_internal.open_for_change(tenant_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    status text;
BEGIN
    SELECT t.status INTO status FROM stormops.tenants AS t WHERE t.tenant_id = open_for_change.tenant_id;
    IF NOT FOUND OR status = 'closed' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'tenant is closed or does not exist',
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- Puts changes of one tenant's users in line: two admins cannot remove each other. An update, since a mere lock would
    -- let a REPEATABLE READ transaction go on with what it saw before; and not of the tenant itself, whose suspension
    -- would stand in line behind them.
    INSERT INTO stormops_internal.user_changes AS c (for_tenant, changes) VALUES (open_for_change.tenant_id, 1)
    ON CONFLICT ON CONSTRAINT user_changes_pkey DO UPDATE SET changes = c.changes + 1;
END
$$;
COMMENT ON FUNCTION stormops_internal.open_for_change(uuid) IS 'Puts a change of the tenant''s users in line with others. Error: 55000 closed or unknown.';

CREATE FUNCTION stormops_internal.change_user(tenant_id uuid, user_id uuid, new_role text, action text, reason text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    old_role text;
BEGIN
    IF char_length(reason) > 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a reason has at most 500 characters',
            HINT = 'It is kept in tenant_events.';
    END IF;
    PERFORM stormops_internal.open_for_change(tenant_id);
    SELECT u.role INTO old_role FROM stormops.users AS u
    WHERE u.tenant_id = change_user.tenant_id AND u.user_id = change_user.user_id AND u.removed_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('user %s does not exist', coalesce(user_id::text, 'NULL')),
            HINT = 'SELECT user_id, email, role FROM stormops.users;';
    END IF;
    IF old_role = 'admin' AND new_role IS DISTINCT FROM 'admin' AND NOT EXISTS (
        SELECT FROM stormops.users AS u
        WHERE u.tenant_id = change_user.tenant_id AND u.role = 'admin' AND u.user_id <> change_user.user_id
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the last admin of a tenant stays',
            HINT = 'Make somebody else admin first: SELECT stormops.set_user_role(user_id, ''admin'');';
    END IF;
    UPDATE stormops.users AS u
    SET role = new_role, removed_at = CASE WHEN new_role IS NULL THEN now() END
    WHERE u.tenant_id = change_user.tenant_id AND u.user_id = change_user.user_id;
    PERFORM stormops_internal.log_event(tenant_id, action, old_role, new_role, reason, user_id);
END
$$;
COMMENT ON FUNCTION stormops_internal.change_user(uuid, uuid, text, text, text) IS 'Changes or takes a user''s role and logs it.';

CREATE FUNCTION stormops.set_user_role(user_id uuid, role text, tenant_id uuid DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, true);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.check_role(role);
    PERFORM stormops_internal.change_user(target, user_id, role, 'set_user_role', NULL);
END
$$;
COMMENT ON FUNCTION stormops.set_user_role(uuid, text, uuid) IS 'Changes a user''s role; it acts at the user''s next statement. Errors: 22023 unknown role; P0002 no such user; 55000 the last admin stays; 42501.';

CREATE FUNCTION stormops.remove_user(user_id uuid, reason text DEFAULT NULL, tenant_id uuid DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, true);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.change_user(target, user_id, NULL, 'remove_user', reason);
END
$$;
COMMENT ON FUNCTION stormops.remove_user(uuid, text, uuid) IS 'Removes a user; the row stays, without a role. Errors: 22023 reason; P0002 no such user; 55000 the last admin stays; 42501.';
