-- Tables that are there already (after DROP EXTENSION … CASCADE) become members while install()
-- runs: a CREATE EXTENSION may skip only what it owns. protection.sql lets them go again.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class AS c
        WHERE c.relnamespace = 'stormops'::regnamespace AND c.relkind IN ('r', 'p', 'v')
            AND pg_get_userbyid(c.relowner) = 'stormops_owner'
    LOOP
        EXECUTE format('ALTER EXTENSION stormops ADD %s %s', t.kind, t.name);
    END LOOP;
    IF to_regprocedure('stormops.installed()') IS NOT NULL THEN
        ALTER EXTENSION stormops ADD FUNCTION stormops.installed();
    END IF;
END
$$;
