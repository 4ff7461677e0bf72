-- The functions that are Rust: pgrx declares them, and does not turn their documentation into this.
COMMENT ON FUNCTION stormops.new_id() IS 'A UUID of version 7 (RFC 9562): unique, and in the order of time.';
COMMENT ON FUNCTION stormops.first_id_at(bigint) IS 'The smallest UUID of version 7 of a moment, given in milliseconds since 1970: the bound of a partition by id.';
COMMENT ON FUNCTION stormops.milliseconds_of(uuid) IS 'The moment of an id of version 7, in milliseconds since 1970.';
COMMENT ON FUNCTION stormops.name_key(text) IS 'Folds a name so that two that a person would confuse are equal: case, white space, compatibility forms (NFKC), look-alike characters (Unicode Technical Standard 39, section 4). NULL if the name is longer than 200 characters, shows no letter or digit, or holds an invisible character.';
COMMENT ON FUNCTION stormops.tidy_name(text) IS 'The name with single blanks between its words and none around it.';
COMMENT ON FUNCTION stormops.email_key(text) IS 'The address with its domain in lower case; NULL if it is not name@domain.tld of at most 254 characters (RFC 5321).';
COMMENT ON FUNCTION stormops.calling_role() IS 'The database role in force outside every SECURITY DEFINER function: who called.';
COMMENT ON FUNCTION stormops.visit_all_tenants() IS 'Lets the function of stormops_owner that calls it see every tenant''s rows until it returns. Errors: 42501 from anywhere else.';
COMMENT ON FUNCTION stormops.announce_standing() IS 'Trigger: tells every backend to read the tenant''s standing afresh once this transaction commits.';
COMMENT ON FUNCTION stormops.install() IS 'Makes what is missing of StormOps'' tables, adopts those that are there, and restores policies, defaults and triggers; keeps every row. Runs as part of CREATE EXTENSION; for superusers.';
COMMENT ON FUNCTION stormops.current_user_id() IS 'The user on whose behalf this session works (app.current_user_id). NULL: the application itself. Errors as current_tenant(); 28000 if the user is not a member of the tenant.';
COMMENT ON FUNCTION stormops.current_user_role() IS 'The acting user''s role, as users has it now: admin, crew_chief, field_user or viewer. NULL: the application itself. Errors as current_user_id().';
COMMENT ON FUNCTION stormops.draw(uuid, uuid, uuid, text) IS 'A number in [0, 1) from tenant, storm, property and purpose (SipHash-2-4, 53 bits): uniform, independent between purposes, the same in every run, on every machine, in every version.';
COMMENT ON FUNCTION stormops.attitude(double precision) IS 'z, the (1 - confidence) quantile of the standard normal distribution: with uplift ~ N(score, sd), P(uplift > b) >= confidence where score + z * sd >= b. NULL outside (0, 1).';

-- After every function is there: nobody may execute one unless stormops.grant_usage() says so,
-- the SECURITY DEFINER ones become their owner's, and the tables are made.
DO $$
DECLARE
    f record;
BEGIN
    GRANT USAGE, CREATE ON SCHEMA stormops TO stormops_owner;
    FOR f IN
        SELECT p.oid::pg_catalog.regprocedure AS signature, p.prosecdef
        FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace OPERATOR(pg_catalog.=) 'stormops'::pg_catalog.regnamespace
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.signature);
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO stormops_owner', f.signature);
        IF f.prosecdef THEN
            EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO stormops_owner', f.signature);
        END IF;
    END LOOP;
    REVOKE EXECUTE ON FUNCTION stormops.install() FROM stormops_owner;
    ALTER FUNCTION stormops.install() SET client_min_messages = warning; -- it skips what is there
    -- A restore sets row_security off and brings the tables with their rows; they come after this.
    IF pg_catalog.current_setting('row_security') OPERATOR(pg_catalog.=) 'on' THEN
        PERFORM stormops.install();
    END IF;
END
$$;
