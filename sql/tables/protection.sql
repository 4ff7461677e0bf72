-- Every table of StormOps becomes its owner's, forced under row security and out of the
-- extension, with the policies, defaults and triggers that depend on the extension's functions
-- (DROP EXTENSION … CASCADE takes those away; this brings them back).
DO $$
DECLARE
    t record;
    c record;
    member record;
    at_first pg_catalog.pg_init_privs[];
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
               a.attnum IS NOT NULL AS of_tenant
        FROM pg_class AS cl
        LEFT JOIN pg_attribute AS a ON a.attrelid = cl.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE cl.relnamespace = 'stormops'::regnamespace
            AND cl.relkind IN ('r', 'p', 'v')
            AND (cl.relname IN (SELECT m.table_name FROM stormops.role_matrix() AS m)
                 OR cl.relname = ANY (stormops.installation_tables())
                 OR cl.relispartition OR cl.relname IN ('policy_decisions', 'storm_results'))
        ORDER BY cl.relispartition, a.attnum IS NOT NULL, cl.relname
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO stormops_owner', CASE t.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, t.name);
        CONTINUE WHEN t.relkind = 'v';
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name);
        -- What is no tenant's, its owner reads.
        CONTINUE WHEN NOT t.of_tenant;
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t.name);
        CONTINUE WHEN t.relispartition;
        PERFORM stormops.secure_table(t.oid);
    END LOOP;
    PERFORM stormops.secure_table(p.relation) FROM stormops.protected() AS p JOIN pg_class AS cl ON cl.oid = p.relation;

    -- Ids that the server makes unless the writer brings its own.
    FOR c IN
        VALUES ('storms', 'storm_id'), ('properties', 'property_id'), ('customer_journeys', 'journey_id'),
               ('experiments', 'experiment_id'), ('tenant_usage', 'usage_id'), ('tenant_events', 'event_id'),
               ('data_quality_metrics', 'metric_id'), ('policy_outcomes', 'outcome_id'), ('users', 'user_id'),
               ('tenants', 'tenant_id'), ('prices', 'price_id'), ('invoices', 'invoice_id'),
               ('expectations', 'expectation_id'), ('alert_routes', 'route_id'), ('alert_deliveries', 'delivery_id'),
               ('break_glass_grants', 'grant_id')
    LOOP
        EXECUTE format('ALTER TABLE stormops.%I ALTER COLUMN %I SET DEFAULT stormops.new_id()', c.column1, c.column2);
    END LOOP;

    CREATE OR REPLACE TRIGGER announce_standing AFTER UPDATE OR DELETE ON stormops.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.announce_standing();
    CREATE OR REPLACE TRIGGER announce_standing AFTER UPDATE OR DELETE ON stormops.users
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.announce_standing();
    CREATE OR REPLACE TRIGGER announce_standing AFTER UPDATE OR DELETE ON stormops.break_glass_grants
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.announce_standing();
    CREATE OR REPLACE TRIGGER announce_standing AFTER UPDATE OR DELETE ON stormops.token_issuers
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.announce_standing();
    CREATE OR REPLACE TRIGGER announce_standing AFTER UPDATE OR DELETE ON stormops.token_keys
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.announce_standing();
    CREATE OR REPLACE TRIGGER legal_step BEFORE INSERT OR UPDATE OR DELETE ON stormops.tenants
        FOR EACH ROW EXECUTE FUNCTION stormops.legal_step();
    CREATE OR REPLACE TRIGGER legal_truncate BEFORE TRUNCATE ON stormops.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.legal_step();

    CREATE OR REPLACE TRIGGER legal_expectation BEFORE INSERT OR UPDATE OF table_name, rule, columns ON stormops.expectations
        FOR EACH ROW EXECUTE FUNCTION stormops.legal_expectation();
    CREATE OR REPLACE TRIGGER admit_usage AFTER INSERT ON stormops.tenant_usage REFERENCING NEW TABLE AS new_usage
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.admit_usage();
    -- The owner's functions claim keys themselves, since to them a repeat is no error.
    CREATE OR REPLACE TRIGGER claim_keys AFTER INSERT ON stormops.tenant_usage REFERENCING NEW TABLE AS new_usage
        FOR EACH STATEMENT WHEN (current_user <> 'stormops_owner') EXECUTE FUNCTION stormops.claim_keys();

    CREATE OR REPLACE TRIGGER guard_price BEFORE INSERT OR UPDATE OR DELETE ON stormops.prices
        FOR EACH ROW EXECUTE FUNCTION stormops.guard_price();
    CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops.prices
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.guard_price();
    CREATE OR REPLACE TRIGGER guard_insert BEFORE INSERT ON stormops.invoices
        FOR EACH ROW WHEN (NEW.status <> 'draft') EXECUTE FUNCTION stormops.guard_invoice();
    CREATE OR REPLACE TRIGGER guard_invoice BEFORE UPDATE OR DELETE ON stormops.invoices
        FOR EACH ROW EXECUTE FUNCTION stormops.guard_invoice();
    CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops.invoices
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.guard_invoice();
    CREATE OR REPLACE TRIGGER guard_insert AFTER INSERT ON stormops.invoice_lines REFERENCING NEW TABLE AS come
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.guard_invoice_lines();
    CREATE OR REPLACE TRIGGER guard_update AFTER UPDATE ON stormops.invoice_lines REFERENCING OLD TABLE AS gone NEW TABLE AS come
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.guard_invoice_lines();
    CREATE OR REPLACE TRIGGER guard_delete AFTER DELETE ON stormops.invoice_lines REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.guard_invoice_lines();
    CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops.invoice_lines
        FOR EACH STATEMENT EXECUTE FUNCTION stormops.guard_invoice_lines();

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

    -- What CREATE EXTENSION grants, pg_dump takes for a part of the extension, and leaves to the next CREATE EXTENSION. That
    -- one runs before usage_grants has its rows, so these are to be dumped like grants that were made later.
    at_first := ARRAY(SELECT i FROM pg_init_privs AS i WHERE (i.classoid, i.objoid) <> ('pg_namespace'::regclass, 'stormops'::regnamespace));
    PERFORM stormops.renew_grants();
    DELETE FROM pg_init_privs AS i WHERE i <> ALL (at_first);
    INSERT INTO pg_init_privs SELECT f.* FROM unnest(at_first) AS f EXCEPT SELECT i.* FROM pg_init_privs AS i;
END
$$;
