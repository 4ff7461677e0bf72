-- The four kinds of use that database roles are granted.

CREATE FUNCTION stormops.grant_usage(role_name name, kind text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    grantee pg_catalog.pg_roles;
BEGIN
    IF role_name IS NULL OR kind IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'role name and kind must not be null',
            HINT = 'SELECT stormops.grant_usage(''web'', ''app'');';
    END IF;
    IF kind NOT IN ('app', 'trusted_app', 'operator', 'monitor') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown kind of use "%s"', kind),
            HINT = 'A kind is app, trusted_app, operator or monitor.';
    END IF;
    SELECT r.* INTO grantee FROM pg_roles AS r WHERE r.rolname = role_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role "%s" does not exist', role_name),
            HINT = format('CREATE ROLE %I LOGIN;', role_name);
    END IF;
    IF EXISTS (
        SELECT FROM pg_roles AS r
        WHERE (r.rolsuper OR r.rolbypassrls OR r.rolname = 'stormops_owner') AND pg_has_role(grantee.oid, r.oid, 'MEMBER')
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_grant_operation',
            MESSAGE = format('role "%s" would see every tenant''s rows', role_name),
            DETAIL = 'A superuser, a role with BYPASSRLS, stormops_owner, and every member of such a role are outside row security.',
            HINT = 'Grant use to an ordinary role.';
    END IF;
    PERFORM stormops.revoke_usage(role_name);
    INSERT INTO stormops_internal.usage_grants (role_name, kind) VALUES (role_name, kind);
    EXECUTE format('GRANT USAGE ON SCHEMA stormops TO %I', role_name);
    PERFORM stormops.renew_grants();
END
$$;
COMMENT ON FUNCTION stormops.grant_usage(name, text) IS 'Gives an ordinary role one kind of use, and no other. kind: app (tenant by login() only), trusted_app (may also name the tenant: enter_tenant(), SET app.current_tenant), operator (tenants'' lifecycle; rows by break_glass() only), monitor (metrics only). Adds stormops to its search_path. For superusers. Errors: 22004; 22023 unknown kind; 42704 no such role; 0LP01 the role is outside row security.';

CREATE FUNCTION stormops_internal.search_path_here() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce((
        SELECT substr(c, length('search_path=') + 1)
        FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
        WHERE s.setrole = 0 AND s.setdatabase = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AND c LIKE 'search_path=%'
    ), '"$user", public')
$$;
COMMENT ON FUNCTION stormops_internal.search_path_here() IS 'The search_path that this database sets, else the server''s own: what a role with use has before stormops.';

CREATE FUNCTION stormops.renew_grants() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    g record;
    p record;
BEGIN
    FOR g IN
        SELECT r.oid, r.rolname AS role_name, u.kind FROM stormops_internal.granted_roles() AS u JOIN pg_roles AS r ON r.oid = u.grantee
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA stormops, stormops_internal TO %I', g.role_name);
        -- So that a statement as the application writes it, INSERT INTO storms, finds the table.
        IF NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
            WHERE s.setrole = g.oid AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
                AND c LIKE 'search_path=%'
        ) THEN
            EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %s, stormops', g.role_name, current_database(),
                stormops_internal.search_path_here());
        END IF;
        FOR p IN SELECT f.signature FROM stormops_internal.granted_functions() AS f WHERE g.kind = ANY (f.kinds) LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', p.signature, g.role_name);
        END LOOP;
        FOR p IN SELECT v.view_name FROM stormops_internal.granted_views() AS v WHERE g.kind = ANY (v.kinds) LOOP
            EXECUTE format('GRANT SELECT ON stormops.%I TO %I', p.view_name, g.role_name);
        END LOOP;
        CONTINUE WHEN g.kind = 'monitor';
        -- By which the library knows a session of the role in the cluster's other databases too.
        IF g.kind <> 'operator' AND NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s WHERE s.setrole = g.oid AND s.setdatabase = 0 AND 'stormops.works_in_tenants=on' = ANY (s.setconfig)
        ) THEN
            EXECUTE format('ALTER ROLE %I SET stormops.works_in_tenants = on', g.role_name);
        END IF;
        -- An operator reads, and under break-glass only: there is no other way for it into a tenant.
        FOR p IN
            SELECT m.command, m.relation::regclass AS name,
                (SELECT string_agg(quote_ident(k), ', ') FROM unnest(m.columns) AS k) AS columns,
                -- 0.1.0 granted fewer columns.
                m.columns IS NULL AND EXISTS (
                    SELECT FROM pg_attribute AS a, aclexplode(a.attacl) AS x
                    WHERE a.attrelid = m.relation AND x.grantee = g.oid AND x.privilege_type = m.command) AS narrower
            FROM stormops_internal.table_matrix() AS m
            WHERE m.through IS NULL AND m.least_role IS NOT NULL AND (g.kind <> 'operator' OR m.command = 'SELECT')
        LOOP
            IF p.narrower THEN
                EXECUTE format('REVOKE %s ON %s FROM %I', p.command, p.name, g.role_name);
            END IF;
            EXECUTE format('GRANT %s %s ON %s TO %I', p.command, '(' || p.columns || ')', p.name, g.role_name);
        END LOOP;
        FOR p IN SELECT DISTINCT c.relnamespace::regnamespace AS name FROM stormops_internal.protected() AS t JOIN pg_class AS c ON c.oid = t.relation LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', p.name, g.role_name);
        END LOOP;
        -- The cluster's, and so not to be touched without need: another database may be about to.
        IF g.kind = 'trusted_app' AND 2 > (
            SELECT count(*) FROM pg_parameter_acl AS s, aclexplode(s.paracl) AS a
            WHERE s.parname IN ('app.current_tenant', 'app.current_user_id') AND a.grantee = g.oid AND a.privilege_type = 'SET'
        ) THEN
            EXECUTE format('GRANT SET ON PARAMETER app.current_tenant, app.current_user_id TO %I', g.role_name);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.renew_grants() IS 'Grants again, to every role that has use, what its kind may do, and adds stormops to its search_path in this database unless it has one of its own. install() and upgrades call it; call it after a restore into a database of another name.';

CREATE FUNCTION stormops.revoke_usage(role_name name) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    f record;
    was_known boolean;
BEGIN
    -- What a role left that is gone can be taken back too.
    DELETE FROM stormops_internal.usage_grants AS g WHERE g.role_name = revoke_usage.role_name;
    was_known := FOUND;
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = revoke_usage.role_name) THEN
        IF was_known THEN
            RETURN;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role "%s" does not exist', role_name),
            HINT = 'SELECT * FROM stormops_internal.usage_grants; shows who has use.';
    END IF;
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA stormops, stormops_internal FROM %I', role_name);
    FOR f IN SELECT c.oid::regclass AS name FROM stormops_internal.protected() AS p JOIN pg_class AS c ON c.oid = p.relation LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', f.name, role_name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA stormops, stormops_internal FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON SCHEMA stormops, stormops_internal FROM %I', role_name);
    IF EXISTS (
        SELECT FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase JOIN pg_roles AS r ON r.oid = s.setrole, unnest(s.setconfig) AS c
        WHERE d.datname = current_database() AND r.rolname = revoke_usage.role_name
            AND c = format('search_path=%s, stormops', stormops_internal.search_path_here())
    ) THEN
        EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET search_path', role_name, current_database());
    END IF;
    -- The cluster's: where the role has rights in another database it may be trusted there. Here the setting is no longer
    -- open to it in any case, since it asks for the kind that the role has here.
    IF NOT EXISTS (
        SELECT FROM pg_shdepend AS s JOIN pg_roles AS r ON r.oid = s.refobjid AND r.rolname = revoke_usage.role_name
        WHERE s.classid = 'pg_proc'::regclass AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'a'
            AND s.dbid <> 0 AND s.dbid <> (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    ) THEN
        EXECUTE format('REVOKE ALL ON PARAMETER app.current_tenant, app.current_user_id FROM %I', role_name);
        EXECUTE format('ALTER ROLE %I RESET stormops.works_in_tenants', role_name);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.revoke_usage(name) IS 'Takes every grant on StormOps from a role. For superusers. Errors: 42704 no such role.';
