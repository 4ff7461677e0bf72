-- After every function is there. Nobody may execute one unless stormops.grant_usage() says so, the SECURITY DEFINER ones
-- become their owner's, what was shipped is written down, and the tables are made.
DO $$
DECLARE
    f record;
    restores boolean;
    makes boolean;
    is_new boolean;
BEGIN
    PERFORM stormops_internal.write_registers();
    GRANT USAGE, CREATE ON SCHEMA stormops, stormops_internal TO stormops_owner;
    FOR f IN
        SELECT p.oid::pg_catalog.regprocedure AS signature, p.prosecdef
        FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace OPERATOR(pg_catalog.=) ANY (ARRAY['stormops'::pg_catalog.regnamespace, 'stormops_internal'::pg_catalog.regnamespace])
            AND p.xmin OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid -- an upgrade drops the others
    LOOP
        IF f.prosecdef THEN
            EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO stormops_owner', f.signature);
        END IF;
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.signature);
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO stormops_owner', f.signature);
    END LOOP;
    REVOKE EXECUTE ON FUNCTION stormops.install() FROM stormops_owner;
    -- A restore brings the tables with their rows; they come after this. pg_dump begins what it writes with settings, of which
    -- nobody else needs this one; row_security is off there, or on with --enable-row-security.
    restores := EXISTS (
        SELECT FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) 'xmloption' AND s.source OPERATOR(pg_catalog.=) 'session');
    makes := NOT restores AND pg_catalog.current_setting('row_security') OPERATOR(pg_catalog.=) 'on';
    -- What was shipped is recorded before a table is adopted, which may be another than was shipped; where there is none,
    -- what install() makes is it.
    is_new := makes AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace OPERATOR(pg_catalog.=) ANY (ARRAY['stormops'::pg_catalog.regnamespace, 'stormops_internal'::pg_catalog.regnamespace])
            AND c.relkind OPERATOR(pg_catalog.<>) 'c');
    IF is_new THEN
        PERFORM stormops.install();
    END IF;
    PERFORM stormops_internal.record_definitions(is_new);
    PERFORM stormops_internal.record_shipped();
    IF makes AND NOT is_new THEN
        PERFORM stormops.install();
    ELSIF NOT makes AND NOT restores THEN
        RAISE WARNING USING
            MESSAGE = 'the tables of StormOps were not made, since row_security is off',
            HINT = 'A restore brings them with their rows. Otherwise: SELECT stormops.install();';
    END IF;
    PERFORM stormops_internal.drop_stale();
    PERFORM stormops_internal.disown_grants();
END
$$;
