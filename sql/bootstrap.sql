-- The one cluster-wide role: owner of the tables and of every SECURITY DEFINER function, so that
-- a fault in one of them is never a superuser's. Nobody logs in as it and nobody is its member.
DO $$
DECLARE
    owner_role pg_catalog.pg_roles;
BEGIN
    SELECT r.* INTO owner_role FROM pg_catalog.pg_roles AS r
    WHERE r.rolname OPERATOR(pg_catalog.=) 'stormops_owner';
    IF NOT FOUND THEN
        CREATE ROLE stormops_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    ELSIF owner_role.rolsuper OR owner_role.rolbypassrls OR owner_role.rolcanlogin OR owner_role.rolcreaterole THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_role_specification',
            MESSAGE = 'role "stormops_owner" exists with more power than it may have',
            DETAIL = 'It owns all tenants'' rows, so it must be unable to log in and to bypass row security.',
            HINT = 'ALTER ROLE stormops_owner NOLOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS;';
    END IF;
END
$$;
