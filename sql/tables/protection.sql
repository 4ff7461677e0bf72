-- Every table of StormOps becomes its owner's, forced under row security and out of the
-- extension, with the policies, defaults and triggers that depend on the extension's functions
-- (DROP EXTENSION … CASCADE takes those away; this brings them back).
DO $$
DECLARE
    t record;
    c record;
    member record;
    condition text;
BEGIN
    -- Called immutable so that it is answered when a query is planned, and costs no row anything.
    -- Safe: the extension's going takes policies from every table, and so ends every plan.
    CREATE OR REPLACE FUNCTION stormops.installed() RETURNS boolean
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        AS 'SELECT to_regprocedure(''stormops.current_tenant()'') IS NOT NULL';
    COMMENT ON FUNCTION stormops.installed() IS 'True while the extension is there. Belongs to the database, as the tables do, and outlives the extension.';
    ALTER FUNCTION stormops.installed() OWNER TO stormops_owner;
    REVOKE ALL ON FUNCTION stormops.installed() FROM PUBLIC;

    FOR t IN
        SELECT cl.oid, cl.oid::regclass AS name, cl.relname, cl.relkind, cl.relispartition,
               a.attnum IS NOT NULL AND NOT cl.relispartition AS of_tenant
        FROM pg_class AS cl
        LEFT JOIN pg_attribute AS a ON a.attrelid = cl.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE cl.relnamespace = 'stormops'::regnamespace
            AND cl.relkind IN ('r', 'p', 'v')
            AND (cl.relname IN (SELECT m.table_name FROM stormops.role_matrix() AS m)
                 OR cl.relispartition OR cl.relname IN ('usage_grants', 'policy_decisions', 'storm_results'))
        ORDER BY cl.relispartition, cl.relname
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO stormops_owner', CASE t.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, t.name);
        CONTINUE WHEN t.relkind = 'v';
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name);
        -- The list of grants is no tenant's; its owner reads it.
        CONTINUE WHEN t.relname = 'usage_grants';
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t.name);
        -- A partition named directly has no policy, and so shows nobody a row.
        CONTINUE WHEN NOT t.of_tenant;
        EXECUTE format('DROP POLICY IF EXISTS tenant ON %s', t.name);
        EXECUTE format('CREATE POLICY tenant ON %s USING (tenant_id = stormops.current_tenant())', t.name);
        EXECUTE format('DROP POLICY IF EXISTS tenant_floor ON %s', t.name);
        EXECUTE format('CREATE POLICY tenant_floor ON %s AS RESTRICTIVE USING (tenant_id = stormops.current_tenant())', t.name);
        EXECUTE format('COMMENT ON POLICY tenant ON %s IS %L', t.name, 'A tenant''s own rows. current_tenant() raises an error unless the transaction works in an open tenant.');
        EXECUTE format('COMMENT ON POLICY tenant_floor ON %s IS %L', t.name, 'The same, restrictive: no policy added later can widen it.');
        -- Names nothing of the extension and so outlives it: when DROP EXTENSION … CASCADE has
        -- taken the policies above, a policy that a user added opens nothing.
        EXECUTE format('DROP POLICY IF EXISTS installed ON %s', t.name);
        EXECUTE format('CREATE POLICY installed ON %s AS RESTRICTIVE USING (stormops.installed()) WITH CHECK (true)', t.name);
        EXECUTE format('COMMENT ON POLICY installed ON %s IS %L', t.name, 'Without the extension nobody sees a row.');
        FOR c IN
            SELECT k.command, m.least_role
            FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS k (command)
            LEFT JOIN stormops.role_matrix() AS m ON m.table_name = t.relname AND m.command = k.command
        LOOP
            EXECUTE format('DROP POLICY IF EXISTS role_%s ON %s', lower(c.command), t.name);
            -- Everybody in a tenant is at least a viewer.
            CONTINUE WHEN c.command = 'SELECT' AND c.least_role = 'viewer';
            condition := CASE
                WHEN c.least_role IS NULL THEN 'false'
                ELSE format('stormops.%s(%L)', CASE c.command WHEN 'SELECT' THEN 'may_read' ELSE 'may_write' END, c.least_role)
            END;
            EXECUTE format('CREATE POLICY role_%s ON %s AS RESTRICTIVE FOR %s %s (%s)',
                lower(c.command), t.name, c.command, CASE c.command WHEN 'INSERT' THEN 'WITH CHECK' ELSE 'USING' END, condition);
            EXECUTE format('COMMENT ON POLICY role_%s ON %s IS %L', lower(c.command), t.name,
                CASE WHEN c.least_role IS NULL THEN 'Nobody does this; see role_matrix().'
                     ELSE format('At least %s, in a tenant that is not suspended for writing; see role_matrix().', c.least_role) END);
        END LOOP;
        IF t.relname <> 'tenants' THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN tenant_id SET DEFAULT stormops.current_tenant()', t.name);
        END IF;
    END LOOP;

    -- Ids that the server makes unless the writer brings its own.
    FOR c IN
        VALUES ('storms', 'storm_id'), ('properties', 'property_id'), ('customer_journeys', 'journey_id'),
               ('experiments', 'experiment_id'), ('tenant_usage', 'usage_id'), ('tenant_events', 'event_id'),
               ('data_quality_metrics', 'metric_id'), ('policy_outcomes', 'outcome_id'), ('users', 'user_id'),
               ('tenants', 'tenant_id')
    LOOP
        EXECUTE format('ALTER TABLE stormops.%I ALTER COLUMN %I SET DEFAULT stormops.new_id()', c.column1, c.column2);
    END LOOP;

    CREATE OR REPLACE TRIGGER announce_standing AFTER UPDATE OR DELETE ON stormops.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.announce_standing();
    CREATE OR REPLACE TRIGGER announce_standing AFTER UPDATE OR DELETE ON stormops.users
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.announce_standing();
    CREATE OR REPLACE TRIGGER legal_step BEFORE INSERT OR UPDATE OR DELETE ON stormops.tenants
        FOR EACH ROW EXECUTE FUNCTION stormops.legal_step();
    CREATE OR REPLACE TRIGGER legal_truncate BEFORE TRUNCATE ON stormops.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.legal_step();

    -- Deferred, so that a chain is held from the first entry to the commit and no longer.
    FOR c IN VALUES ('enter_event', 'tenant_events'), ('enter_run', 'policy_run_digests') LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_trigger AS g WHERE g.tgrelid = format('stormops.%I', c.column2)::regclass AND g.tgname = c.column1);
        EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER INSERT ON stormops.%I DEFERRABLE INITIALLY DEFERRED'
            ' FOR EACH ROW EXECUTE FUNCTION stormops.%1$I()', c.column1, c.column2);
    END LOOP;

    PERFORM stormops.maintain_partitions();

    FOR member IN
        SELECT i.type AS kind, i.identity AS name
        FROM pg_depend AS d, pg_extension AS e, pg_identify_object(d.classid, d.objid, 0) AS i
        WHERE e.extname = 'stormops' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
            AND (d.classid = 'pg_class'::regclass OR d.objid = 'stormops.installed()'::regprocedure)
    LOOP
        EXECUTE format('ALTER EXTENSION stormops DROP %s %s', member.kind, member.name);
    END LOOP;

    PERFORM stormops.renew_grants();
END
$$;
