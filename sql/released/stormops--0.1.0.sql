
-- first.sql
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

-- stormops holds what users use, stormops_internal the rest. Both belong to the database, as the tables in them do. Whoever
-- owns a schema can put a function beside ours that a call of ours would find first: so nobody but a superuser owns them, and
-- nothing stands in them that the script would not make.
DO $$
DECLARE
    s record;
BEGIN
    IF pg_catalog.to_regnamespace('stormops_internal') IS NULL THEN
        CREATE SCHEMA stormops_internal;
        ALTER EXTENSION stormops DROP SCHEMA stormops_internal;
    END IF;
    FOR s IN
        SELECT n.nspname AS name, o.rolname AS owner, o.rolsuper,
            (SELECT pg_catalog.string_agg(p.oid::pg_catalog.regprocedure::text, ', ')
            FROM pg_catalog.pg_proc AS p
            WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid AND p.oid OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT pg_catalog.to_regprocedure('stormops.installed()')::pg_catalog.oid WHERE pg_catalog.to_regprocedure('stormops.installed()') IS NOT NULL))
                AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid
                        AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'stormops')
            ) AS foreign_functions
        FROM pg_catalog.pg_namespace AS n JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
        WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{stormops,stormops_internal}'::pg_catalog.name[])
    LOOP
        IF NOT s.rolsuper THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = pg_catalog.format('schema "%s" belongs to "%s", who is no superuser', s.name, s.owner),
                HINT = pg_catalog.format('Look at what is in it, then: ALTER SCHEMA %I OWNER TO %I;', s.name, current_user);
        ELSIF s.foreign_functions IS NOT NULL THEN
            RAISE EXCEPTION USING
                ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = pg_catalog.format('schema "%s" holds functions that are not of StormOps', s.name),
                DETAIL = pg_catalog."left"(s.foreign_functions, 1000),
                HINT = 'Drop them, or move them to a schema of your own.';
        END IF;
    END LOOP;
END
$$;

-- What each domain's register.sql says of it, until last.sql makes of each of these the function of that name.
CREATE TEMPORARY TABLE role_matrix (table_name text, command text, least_role text, columns text[], through text);
COMMENT ON TABLE pg_temp.role_matrix IS 'Who may do what: table x command -> the least role. columns: those that the command may name, NULL for all; through: the functions that do it, NULL for plain SQL. What is not listed nobody may do. Policies and grants are made from these rows.';
CREATE TEMPORARY TABLE installation_tables (table_name text);
COMMENT ON TABLE pg_temp.installation_tables IS 'The tables that hold no tenant''s rows. Nobody is granted a right to them; their owner''s functions read and write them.';
CREATE TEMPORARY TABLE granted_views (view_name text, kinds text[]);
COMMENT ON TABLE pg_temp.granted_views IS 'Which kind of use may read which view. Every view shows what its caller may see. Grants are made from these rows.';
CREATE TEMPORARY TABLE granted_functions (domain text, signature text, kinds text[]);
COMMENT ON TABLE pg_temp.granted_functions IS 'Which kind of use may execute which function; {} means superusers only. Grants and the view stormops.reference are made from these rows. domain: that of the register that has the row.';
CREATE TEMPORARY TABLE counted_tables (table_name text, time_column text, natural_key text[], parents jsonb, call text);
COMMENT ON TABLE pg_temp.counted_tables IS 'The tables whose health is watched, all there are: time_column says when a row came, natural_key what makes two rows the same, parents (a JSON object) which column refers to which table, call which function writes it.';
CREATE TEMPORARY TABLE known_jobs (job text, schedule text, function name, purpose text);
COMMENT ON TABLE pg_temp.known_jobs IS 'The jobs there are, each with its usual schedule (cron, UTC) and purpose.';
CREATE TEMPORARY TABLE shipped_issues (issue text, actions text[]);
COMMENT ON TABLE pg_temp.shipped_issues IS 'Every issue that the platform or its monitoring can raise, with what to do about it, in order. See shipped_runbook().';

-- types.sql
-- What functions name in their declarations. An upgrade runs this too, and finds them there.

CREATE FUNCTION stormops_internal.score_is_state(bytes bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_is_state_wrapper';
COMMENT ON FUNCTION stormops_internal.score_is_state(bytea) IS 'True if these bytes have the form of a state of score_agg(). Whether its rows are in order is looked at when it is asked; then 22P03.';
DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops.score_sketch') IS NULL THEN
        CREATE DOMAIN stormops.score_sketch AS bytea CHECK (stormops_internal.score_is_state(VALUE));
    END IF;
END
$$;
COMMENT ON DOMAIN stormops.score_sketch IS 'Scores in ascending order, exact: 24 bytes and 8 for each. From score_agg() and rollup(). Keep it in a column of type bytea, which outlives the extension, and cast it back: sketch::stormops.score_sketch.';

CREATE FUNCTION stormops_internal.trial_is_state(bytes bytea) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_is_state_wrapper';
COMMENT ON FUNCTION stormops_internal.trial_is_state(bytea) IS 'True if these bytes have the form of a state of uplift_agg(). Whether its rows are in order is looked at when it is asked; then 22P03.';
DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops.uplift_sketch') IS NULL THEN
        CREATE DOMAIN stormops.uplift_sketch AS bytea CHECK (stormops_internal.trial_is_state(VALUE));
    END IF;
END
$$;
COMMENT ON DOMAIN stormops.uplift_sketch IS 'Cases in descending order of score, exact: 24 bytes and 24 for each. From uplift_agg() and rollup(). Keep it in a column of type bytea, which outlives the extension, and cast it back: sketch::stormops.uplift_sketch.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops_internal.due_expectation') IS NULL THEN
        CREATE TYPE stormops_internal.due_expectation AS (
            tenant_id uuid, expectation_id uuid, table_name text, rule text, columns text[], lowest double precision, highest double precision,
            max_age interval, threshold numeric, since timestamptz, place integer
        );
    END IF;
END
$$;
COMMENT ON TYPE stormops_internal.due_expectation IS 'An expectation to judge by the rows that came since then. place: numbers what is judged by a table''s rows, from 1 on, the same for all tenants.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops_internal.judgement') IS NULL THEN
        CREATE TYPE stormops_internal.judgement AS (
            tenant_id uuid, expectation_id uuid, judged bigint, failing bigint, scores bytea, repeats bigint[], groups uuid[]
        );
    END IF;
END
$$;
COMMENT ON TYPE stormops_internal.judgement IS 'What an expectation about rows came to: how many were judged, how many fail; for drift their scores (a state of score_agg()), for unique the hashes that several rows have; for band the groups whose mean lies outside.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops.conversion_rates') IS NULL THEN
        CREATE TYPE stormops.conversion_rates AS (
            status text, treated_n bigint, treated_converted bigint, treated_rate double precision,
            control_n bigint, control_converted bigint, control_rate double precision,
            lift double precision, lift_low double precision, lift_high double precision,
            relative_lift double precision, relative_low double precision, relative_high double precision,
            p_value double precision, method text, small_sample boolean,
            anomaly boolean, verdict text, p_short double precision, more_leads_needed bigint,
            detectable_lift double precision, rule_anomaly boolean,
            always_valid_low double precision, always_valid_high double precision, always_valid_p double precision,
            always_valid_anomaly boolean, probability_better double precision,
            awaiting bigint, window_ends_at timestamptz, not_compared bigint, run_id uuid
        );
    END IF;
END
$$;
COMMENT ON TYPE stormops.conversion_rates IS 'What check_conversion_rates() answers.';

DO $$
BEGIN
    IF pg_catalog.to_regtype('stormops_internal.experiment_cell') IS NULL THEN
        CREATE TYPE stormops_internal.experiment_cell AS (
            segment text, arm text, n bigint, converted bigint, value double precision, touched bigint, early bigint,
            state double precision[], drawn bigint, clusters jsonb
        );
    END IF;
END
$$;
COMMENT ON TYPE stormops_internal.experiment_cell IS 'What became of an arm of an experiment, over all or in a segment: see experiment_cells().';

-- tenancy/attest/attest.sql
-- attest(): is this installation as isolated as it was shipped?

CREATE FUNCTION stormops_internal.attested_properties(OUT place integer, OUT property text, OUT severity text, OUT remedy text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT p.* FROM (VALUES
        (1, 'row_security_forced', 'critical', 'SELECT stormops.install(); for a table of your own, stormops.protect(''...'').'),
        (2, 'policies_as_shipped', 'critical', 'SELECT stormops.install(); brings every policy back.'),
        (3, 'no_permissive_policy', 'critical', 'DROP POLICY ... ON ...; or make it AS RESTRICTIVE.'),
        (4, 'owned_by_owner', 'critical', 'SELECT stormops.install(); for a table of your own, stormops.protect(''...'').'),
        (5, 'owner_powerless', 'critical', 'ALTER ROLE stormops_owner NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION;'),
        (6, 'owner_unreachable', 'critical', 'REVOKE stormops_owner FROM ...; and REVOKE ... FROM stormops_owner;'),
        (7, 'roles_within_row_security', 'critical', 'REVOKE ... FROM ...; ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION; or stormops.revoke_usage(''...'').'),
        (8, 'functions_as_shipped', 'critical', 'DROP EXTENSION stormops CASCADE; CREATE EXTENSION stormops; keeps every row. Drop what was added.'),
        (9, 'nothing_to_public', 'critical', 'REVOKE ... ON ... FROM PUBLIC;'),
        (10, 'no_grant_added', 'high', 'REVOKE ... ON ... FROM ...;'),
        (11, 'no_foreign_definer', 'critical', 'REVOKE EXECUTE ON FUNCTION ... FROM PUBLIC; or give it to a role that is under row security.'),
        (12, 'views_ask_as_caller', 'critical', 'ALTER VIEW ... SET (security_invoker); drop the materialized view.'),
        (13, 'keys_lead_with_tenant', 'high', 'Make it anew with tenant_id first.'),
        (14, 'tables_registered', 'high', 'Move the table out of schema stormops and call stormops.protect(''...''); or DELETE FROM stormops_internal.protected_tables.'),
        (15, 'triggers_as_shipped', 'high', 'SELECT stormops.install(); ALTER TABLE ... ENABLE TRIGGER ALL; drop a trigger that is not yours.'),
        (16, 'no_rules', 'high', 'DROP RULE ... ON ...;'),
        (17, 'publications_filtered', 'high', 'ALTER PUBLICATION ... SET TABLE ... WHERE (tenant_id = ''...'');'),
        (18, 'no_foreign_event_trigger', 'high', 'DROP EVENT TRIGGER ...;'),
        (19, 'nothing_leakproof', 'high', 'ALTER FUNCTION ... NOT LEAKPROOF;'),
        (20, 'server_minor', 'high', 'Update the server to the last minor version of its major one.'),
        (21, 'settings', 'high', 'ALTER ROLE ... RESET ...; or ALTER DATABASE ... RESET ...;'),
        (22, 'no_create', 'medium', 'REVOKE CREATE ON SCHEMA ... FROM ...;'),
        (23, 'no_temporary_tables', 'medium', 'REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC;'),
        (24, 'library_preloaded', 'medium', 'shared_preload_libraries = ''stormops'' in postgresql.conf, and restart. Until then the policies load it.'),
        (25, 'no_grant_missing', 'low', 'SELECT stormops.renew_grants();')
    ) AS p (place, property, severity, remedy)
$$;
COMMENT ON FUNCTION stormops_internal.attested_properties() IS 'What attest() attests, the worst first. severity: critical (tenants'' rows may be open), high (a defence is gone), medium (a way in for what another fault opens), low (something does not work).';

CREATE FUNCTION stormops.attest(OUT property text, OUT pass boolean, OUT severity text, OUT evidence text, OUT remedy text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
    WITH wrong AS (
        SELECT w.property, count(*) AS n, string_agg(w.evidence, '; ' ORDER BY w.evidence) FILTER (WHERE w.turn <= 20) AS evidence
        FROM (
            SELECT u.*, row_number() OVER (PARTITION BY u.property ORDER BY u.evidence) AS turn
            FROM (
                SELECT * FROM stormops_internal.attest_tables()
                UNION SELECT * FROM stormops_internal.attest_policies()
                UNION SELECT * FROM stormops_internal.attest_side_ways()
                UNION SELECT * FROM stormops_internal.attest_roles()
                UNION SELECT * FROM stormops_internal.attest_grants()
                UNION SELECT * FROM stormops_internal.attest_functions()
                UNION SELECT * FROM stormops_internal.attest_server()
            ) AS u
        ) AS w
        GROUP BY w.property
    )
    SELECT p.property, w.property IS NULL, p.severity,
        w.evidence || CASE WHEN w.n > 20 THEN format('; and %s more', w.n - 20) ELSE '' END,
        CASE WHEN w.property IS NOT NULL THEN p.remedy END
    FROM stormops_internal.attested_properties() AS p LEFT JOIN wrong AS w ON w.property = p.property
    ORDER BY p.place
$$;
COMMENT ON FUNCTION stormops.attest() IS 'Is this installation as isolated as it was shipped? One row for each property, the worst first: pass; severity (critical, high, medium, low); evidence: every object that differs, of more than 20 the first, NULL if it passes; remedy: what to do. Reads the catalogues only, and writes nothing. A superuser can deceive it, as anything in the database.';

CREATE FUNCTION stormops.attest_summary(OUT ok boolean, OUT passed bigint, OUT failed bigint, OUT worst text, OUT failing text[])
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT bool_and(a.pass), count(*) FILTER (WHERE a.pass), count(*) FILTER (WHERE NOT a.pass),
        (array_agg(a.severity ORDER BY array_position('{critical,high,medium,low}'::text[], a.severity)) FILTER (WHERE NOT a.pass))[1],
        coalesce(array_agg(a.property ORDER BY a.property) FILTER (WHERE NOT a.pass), '{}')
    FROM stormops.attest() AS a
$$;
COMMENT ON FUNCTION stormops.attest_summary() IS 'attest() in one row, for a dashboard: ok (all pass), how many passed and failed, the worst severity among the failed (NULL: none), and their names.';

-- tenancy/attest/functions.sql
-- attest(): the functions, against what they were when this version was installed.

CREATE FUNCTION stormops_internal.function_digest(function oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT encode(stormops.log_digest(
        convert_to(p.prosrc, 'UTF8'), convert_to(p.probin, 'UTF8'), convert_to(l.lanname, 'UTF8'), convert_to(p.prokind::text, 'UTF8'),
        convert_to(p.provolatile::text, 'UTF8'), convert_to(p.proparallel::text, 'UTF8'), boolsend(p.prosecdef), boolsend(p.proleakproof),
        boolsend(p.proisstrict), convert_to(array_to_string(p.proconfig, E'\n'), 'UTF8'), boolsend(p.prosqlbody IS NULL),
        convert_to(pg_get_function_result(p.oid), 'UTF8'), int2send(p.pronargdefaults),
        -- Of an aggregate the functions that it consists of.
        convert_to((SELECT concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggtranstype::regtype, a.agginitval)
            FROM pg_aggregate AS a WHERE a.aggfnoid = p.oid), 'UTF8')), 'hex')
    FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
    WHERE p.oid = $1
$$;
COMMENT ON FUNCTION stormops_internal.function_digest(oid) IS 'SHA-256 of all that decides what a function does and as whom.';

CREATE FUNCTION stormops_internal.drop_stale() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    stale text;
BEGIN
    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO stale
    FROM pg_proc AS p
    JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
    JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'stormops'
    -- The script has written every function of this version in this transaction.
    WHERE p.xmin <> pg_current_xact_id()::xid;
    IF stale IS NOT NULL THEN
        EXECUTE 'DROP ROUTINE ' || stale;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.drop_stale() IS 'Of an upgrade script: drops the functions of the extension that this version no longer has.';

CREATE FUNCTION stormops_internal.record_shipped() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $record$
BEGIN
    EXECUTE format($shipped$
        CREATE OR REPLACE FUNCTION stormops_internal.shipped_functions(OUT signature text, OUT digest text, OUT definer boolean) RETURNS SETOF record
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            SET search_path = pg_catalog, pg_temp
            AS %L$shipped$,
        (SELECT 'SELECT f.* FROM (VALUES ' || string_agg(format('(%L, %L, %L::boolean)', p.oid::regprocedure, stormops_internal.function_digest(p.oid), p.prosecdef),
            ', ' ORDER BY p.oid::regprocedure::text) || ') AS f (signature, digest, definer)'
        FROM pg_proc AS p WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND p.proname NOT IN ('shipped_functions', 'installed')
            AND p.xmin = pg_current_xact_id()::xid));
    COMMENT ON FUNCTION stormops_internal.shipped_functions() IS 'Every function of this version with its function_digest(), and whether it is SECURITY DEFINER: written by CREATE EXTENSION and ALTER EXTENSION UPDATE.';
    REVOKE ALL ON FUNCTION stormops_internal.shipped_functions() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION stormops_internal.shipped_functions() TO stormops_owner;
END
$record$;
COMMENT ON FUNCTION stormops_internal.record_shipped() IS 'Writes shipped_functions() anew, from the functions that are there. The last step of the install script and of every upgrade script; for nobody else, who would declare a change to be as shipped.';

CREATE FUNCTION stormops_internal.attest_functions(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH present AS MATERIALIZED (
        SELECT p.oid, p.oid::regprocedure::text AS signature, p.proowner, o.rolsuper,
            EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'stormops') AS member
        FROM pg_proc AS p JOIN pg_roles AS o ON o.oid = p.proowner
        WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
    )
    SELECT 'functions_as_shipped', format('%s is %s', s.signature, CASE WHEN p.oid IS NULL THEN 'missing'
        WHEN stormops_internal.function_digest(p.oid) <> s.digest THEN 'changed' WHEN NOT p.member THEN 'no member of the extension'
        ELSE format('%s''s', p.proowner::regrole) END)
    FROM stormops_internal.shipped_functions() AS s LEFT JOIN present AS p ON p.signature = s.signature
    WHERE p.oid IS NULL OR NOT p.member OR stormops_internal.function_digest(p.oid) <> s.digest
        OR CASE WHEN s.definer THEN p.proowner <> 'stormops_owner'::regrole ELSE NOT p.rolsuper END
    UNION ALL
    SELECT 'functions_as_shipped', format('%s was added', p.signature)
    FROM present AS p
    WHERE p.signature <> 'stormops.installed()' AND p.oid <> 'stormops_internal.shipped_functions()'::regprocedure
        AND NOT EXISTS (SELECT FROM stormops_internal.shipped_functions() AS s WHERE s.signature = p.signature)
    UNION ALL
    SELECT 'functions_as_shipped', 'stormops_internal.shipped_functions() is not a superuser''s, or was made by somebody else'
    FROM present AS p WHERE p.oid = 'stormops_internal.shipped_functions()'::regprocedure AND NOT (p.member AND p.rolsuper)
    UNION ALL
    -- Belongs to the database, as the tables do, and so comes with them from a dump.
    SELECT 'functions_as_shipped', 'stormops.installed() is changed'
    WHERE NOT EXISTS (
        SELECT FROM pg_proc AS p
        WHERE p.oid = to_regprocedure('stormops.installed()') AND p.proowner = 'stormops_owner'::regrole AND NOT p.prosecdef AND p.provolatile = 'i'
            AND p.prosrc = 'SELECT to_regprocedure(''stormops.current_tenant()'') IS NOT NULL' AND p.proconfig = '{"search_path=pg_catalog, pg_temp"}')
    UNION ALL
    SELECT 'no_foreign_definer', format('%s runs as %s and %s (%s) may execute it', p.oid::regprocedure, p.proowner::regrole, u.grantee::regrole, u.kind)
    FROM pg_proc AS p JOIN pg_roles AS o ON o.oid = p.proowner
    CROSS JOIN stormops_internal.granted_roles() AS u
    WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
        AND p.pronamespace NOT IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace, 'pg_catalog'::regnamespace)
        AND (o.rolsuper OR o.rolbypassrls OR o.rolname = 'stormops_owner')
        AND has_function_privilege(u.grantee, p.oid, 'EXECUTE') AND has_schema_privilege(u.grantee, p.pronamespace, 'USAGE')
    UNION ALL
    SELECT 'nothing_leakproof', format('%s is LEAKPROOF', p.oid::regprocedure)
    FROM pg_proc AS p WHERE p.proleakproof AND p.oid >= 16384
$$;
COMMENT ON FUNCTION stormops_internal.attest_functions() IS 'Of attest(): functions that are not as this version ships them, and others that go past row security.';

-- tenancy/attest/grants.sql
-- attest(): who was granted what, beside what renew_grants() gives.

CREATE FUNCTION stormops_internal.privileges(acl aclitem[], OUT grantee oid, OUT privilege text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT a.grantee, p.privilege
    FROM aclexplode($1) AS a
    CROSS JOIN LATERAL (VALUES (a.privilege_type), (CASE WHEN a.is_grantable THEN 'GRANT OPTION for ' || a.privilege_type END)) AS p (privilege)
    WHERE p.privilege IS NOT NULL
$$;
COMMENT ON FUNCTION stormops_internal.privileges(aclitem[]) IS 'Who has which privilege by a list of them; the option to grant it on is one of its own.';

CREATE FUNCTION stormops_internal.present_grants(OUT kind text, OUT object text, OUT grantee oid, OUT privilege text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH relation AS (
        SELECT c.* FROM pg_class AS c
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND (c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t))
    )
    SELECT 'table', r.oid::regclass::text, a.grantee, a.privilege
    FROM relation AS r, stormops_internal.privileges(r.relacl) AS a WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT 'column', format('%s.%I', r.oid::regclass, c.attname), a.grantee, a.privilege
    FROM relation AS r JOIN pg_attribute AS c ON c.attrelid = r.oid AND NOT c.attisdropped, stormops_internal.privileges(c.attacl) AS a WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, a.grantee, a.privilege
    FROM pg_proc AS p, stormops_internal.privileges(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
    WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND a.grantee <> p.proowner
    UNION ALL
    SELECT 'schema', n.nspname::text, a.grantee, a.privilege
    FROM pg_namespace AS n, stormops_internal.privileges(n.nspacl) AS a WHERE n.nspname IN ('stormops', 'stormops_internal') AND a.grantee <> n.nspowner
    UNION ALL
    SELECT 'parameter', p.parname, a.grantee, a.privilege
    FROM pg_parameter_acl AS p, stormops_internal.privileges(p.paracl) AS a
    WHERE (p.parname LIKE 'app.current%' OR p.parname LIKE 'stormops.%' OR p.parname IN ('session_replication_role', 'row_security'))
        AND a.grantee <> 10 -- the bootstrap superuser, who is the grantor
    UNION ALL
    SELECT 'default privileges', format('of %s%s', d.defaclrole::regrole, CASE WHEN d.defaclnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) THEN ' in ' || d.defaclnamespace::regnamespace ELSE '' END),
        a.grantee, a.privilege
    FROM pg_default_acl AS d, stormops_internal.privileges(d.defaclacl) AS a
    WHERE (d.defaclrole = 'stormops_owner'::regrole OR d.defaclnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)) AND a.grantee <> d.defaclrole
$$;
COMMENT ON FUNCTION stormops_internal.present_grants() IS 'Every privilege on StormOps'' objects, settings and tenants'' tables that is not its owner''s by being it.';

CREATE FUNCTION stormops_internal.shipped_grants(OUT kind text, OUT object text, OUT grantee oid, OUT privilege text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH usage AS (
        SELECT u.grantee, u.kind FROM stormops_internal.granted_roles() AS u
    ), granted AS (
        SELECT u.grantee, m.relation, m.command, m.columns
        FROM usage AS u, stormops_internal.table_matrix() AS m
        WHERE (u.kind IN ('app', 'trusted_app') OR u.kind = 'operator' AND m.command = 'SELECT')
            AND m.through IS NULL AND m.least_role IS NOT NULL
    )
    SELECT 'table', g.relation::regclass::text, g.grantee, g.command FROM granted AS g WHERE g.columns IS NULL
    UNION ALL
    SELECT 'column', format('%s.%I', g.relation::regclass, c.name), g.grantee, g.command FROM granted AS g, unnest(g.columns) AS c (name)
    UNION ALL
    SELECT 'table', to_regclass(format('stormops.%I', v.view_name))::text, u.grantee, 'SELECT'
    FROM usage AS u JOIN stormops_internal.granted_views() AS v ON u.kind = ANY (v.kinds)
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, u.grantee, 'EXECUTE'
    FROM usage AS u JOIN stormops_internal.granted_functions() AS f ON u.kind = ANY (f.kinds)
    JOIN pg_proc AS p ON p.oid = to_regprocedure(f.signature)
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, 'stormops_owner'::regrole, 'EXECUTE'
    FROM pg_proc AS p
    WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND p.proowner <> 'stormops_owner'::regrole AND p.proname <> 'install'
        AND p.oid::regprocedure::text IN (SELECT s.signature FROM stormops_internal.shipped_functions() AS s WHERE NOT s.definer UNION ALL SELECT 'stormops_internal.shipped_functions()')
    UNION ALL
    SELECT 'schema', s.name, u.grantee, 'USAGE' FROM usage AS u, unnest('{stormops,stormops_internal}'::text[]) AS s (name)
    UNION ALL
    SELECT 'schema', s.name, 'stormops_owner'::regrole, k.privilege FROM unnest('{stormops,stormops_internal}'::text[]) AS s (name), (VALUES ('USAGE'), ('CREATE')) AS k (privilege)
    UNION ALL
    SELECT 'parameter', s.setting, u.grantee, 'SET'
    FROM usage AS u, (VALUES ('app.current_tenant'), ('app.current_user_id')) AS s (setting) WHERE u.kind = 'trusted_app'
$$;
COMMENT ON FUNCTION stormops_internal.shipped_grants() IS 'Every privilege that the roles with use, and stormops_owner, must have: what renew_grants() gives.';

CREATE FUNCTION stormops_internal.attest_grants(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH present AS MATERIALIZED (
        SELECT DISTINCT p.* FROM stormops_internal.present_grants() AS p
    ), shipped AS MATERIALIZED (
        SELECT DISTINCT s.* FROM stormops_internal.shipped_grants() AS s
    ), added AS (
        SELECT * FROM present EXCEPT SELECT * FROM shipped
    ), missing AS (
        SELECT * FROM shipped EXCEPT SELECT * FROM present
    ), tenants_role AS (
        SELECT r.oid, r.rolname FROM stormops_internal.granted_roles() AS u JOIN pg_roles AS r ON r.oid = u.grantee AND NOT r.rolsuper
    )
    SELECT CASE WHEN a.grantee = 0 THEN 'nothing_to_public' ELSE 'no_grant_added' END,
        format('%s on %s %s to %s', a.privilege, a.kind, a.object, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
    FROM added AS a
    UNION ALL
    -- For the grants of kind app and so on to be of use, not for isolation.
    SELECT 'no_grant_missing', format('%s on %s %s to %s', m.privilege, m.kind, m.object, m.grantee::regrole) FROM missing AS m
    UNION ALL
    SELECT 'no_create', format('%s may CREATE in schema %s', t.rolname, n.nspname)
    FROM tenants_role AS t, pg_namespace AS n
    WHERE n.nspname !~ '^pg_(temp|toast)' AND has_schema_privilege(t.oid, n.oid, 'CREATE')
    UNION ALL
    SELECT 'no_create', format('%s may CREATE schemas in database %s', t.rolname, current_database())
    FROM tenants_role AS t WHERE has_database_privilege(t.oid, current_database(), 'CREATE')
    UNION ALL
    SELECT 'no_temporary_tables', format('%s may make temporary tables in database %s', t.rolname, current_database())
    FROM tenants_role AS t
    WHERE has_database_privilege(t.oid, current_database(), 'TEMPORARY')
        -- The library refuses what would outlive its transaction, if it is there from the session's first statement on.
        AND NOT (stormops_internal.library_is_preloaded() AND current_setting('stormops.guard_temporary_tables')::boolean)
    UNION ALL
    SELECT 'no_create', format('%s may use %s %s', t.rolname, k.kind, k.name)
    FROM tenants_role AS t, LATERAL (
        SELECT 'foreign server', s.srvname FROM pg_foreign_server AS s WHERE has_server_privilege(t.oid, s.oid, 'USAGE')
        UNION ALL
        SELECT 'untrusted language', l.lanname FROM pg_language AS l
        WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c') AND has_language_privilege(t.oid, l.oid, 'USAGE')
    ) AS k (kind, name)
$$;
COMMENT ON FUNCTION stormops_internal.attest_grants() IS 'Of attest(): grants that are not as renew_grants() gives them, and rights with which a tenant''s role could make objects of its own.';

-- tenancy/attest/server.sql
-- attest(): the server and its roles. Each function here and beside it gives one row for each thing that is wrong.

CREATE FUNCTION stormops_internal.library_is_preloaded() RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'library_is_preloaded_wrapper';
COMMENT ON FUNCTION stormops_internal.library_is_preloaded() IS 'True if shared_preload_libraries or session_preload_libraries name the library: then its guards hold from a session''s first statement on.';

CREATE FUNCTION stormops_internal.known_bypasses(OUT fault text, OUT major integer, OUT fixed_in integer) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT f.fault, m.major, m.fixed_in
    FROM (VALUES
        ('CVE-2026-120154 (ON CONFLICT ... WHERE reads hidden rows)', 20, 16, 12, 7),
        ('the memory faults of 2026 (CVE-2026-2003 to 2006, 6473, 14676, 16238)', 20, 16, 12, 7),
        ('CVE-2025-8713 (leaky operators on partitions)', 14, 10, 6, 0),
        ('CVE-2024-10976 (policies reused for another role)', 9, 5, 1, 0),
        ('CVE-2024-10978 (SET ROLE resets to the wrong role)', 9, 5, 1, 0),
        ('CVE-2024-4317 (pg_stats_ext_exprs)', 7, 3, 0, 0),
        ('CVE-2023-2455 (policies after inlining)', 3, 0, 0, 0)
    ) AS f (fault, v15, v16, v17, v18),
    LATERAL (VALUES (15, f.v15), (16, f.v16), (17, f.v17), (18, f.v18)) AS m (major, fixed_in)
$$;
COMMENT ON FUNCTION stormops_internal.known_bypasses() IS 'Faults of the server itself that go past row security or worse, and the minor version of each major one that repairs them; 0: never had it.';

CREATE FUNCTION stormops_internal.attest_server(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'library_preloaded', 'neither shared_preload_libraries nor session_preload_libraries names stormops'
    WHERE NOT stormops_internal.library_is_preloaded()
    UNION ALL
    SELECT 'server_minor', format('%s has %s, repaired in %s.%s', current_setting('server_version'), b.fault, b.major, b.fixed_in)
    FROM stormops_internal.known_bypasses() AS b
    WHERE current_setting('server_version_num')::integer / 10000 = b.major AND current_setting('server_version_num')::integer % 10000 < b.fixed_in
    UNION ALL
    -- A cluster that was made before the repair keeps the view as it was.
    SELECT 'server_minor', 'the view pg_stats_ext_exprs is as before CVE-2024-4317 was repaired'
    WHERE pg_get_viewdef('pg_catalog.pg_stats_ext_exprs'::regclass) !~ 'pg_has_role|has_column_privilege'
    UNION ALL
    SELECT 'server_minor', format('version %s is not one that StormOps is tested on', current_setting('server_version'))
    WHERE current_setting('server_version_num')::integer / 10000 NOT BETWEEN 15 AND 18
    UNION ALL
    SELECT 'settings', format('%s for %s%s', c.setting, CASE s.setrole WHEN 0 THEN 'all roles' ELSE s.setrole::regrole::text END,
        CASE s.setdatabase WHEN 0 THEN '' ELSE ' in this database' END)
    FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c (setting)
    WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
        AND (s.setrole = 0 OR s.setrole IN (SELECT u.grantee FROM stormops_internal.granted_roles() AS u))
        AND (c.setting ~ '^(row_security=(off|false|no|0)|session_replication_role=(replica|local)|app\.current_)'
            OR c.setting ~ '^search_path=' AND c.setting ~ 'pg_temp')
    UNION ALL
    SELECT 'settings', format('%s is %s in this session', s.name, s.setting)
    FROM pg_settings AS s WHERE (s.name, s.setting) IN (('row_security', 'off'), ('session_replication_role', 'replica'))
$$;
COMMENT ON FUNCTION stormops_internal.attest_server() IS 'Of attest(): what is wrong with library, version and settings.';

CREATE FUNCTION stormops_internal.attest_roles(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'owner_powerless', format('stormops_owner has %s', p.power)
    FROM pg_roles AS r, LATERAL (VALUES
        ('LOGIN', r.rolcanlogin), ('SUPERUSER', r.rolsuper), ('BYPASSRLS', r.rolbypassrls),
        ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb), ('REPLICATION', r.rolreplication)
    ) AS p (power, has)
    WHERE r.rolname = 'stormops_owner' AND p.has
    UNION ALL
    SELECT 'owner_unreachable', format('%s is a member of %s', m.member::regrole, m.roleid::regrole)
    FROM pg_auth_members AS m WHERE 'stormops_owner'::regrole IN (m.member, m.roleid)
    UNION ALL
    SELECT 'roles_within_row_security', format('%s (%s) %s', r.rolname, u.kind, p.power)
    FROM stormops_internal.granted_roles() AS u JOIN pg_roles AS r ON r.oid = u.grantee, LATERAL (VALUES
        ('is a superuser', r.rolsuper), ('has BYPASSRLS', r.rolbypassrls),
        ('has CREATEROLE', r.rolcreaterole), ('has REPLICATION', r.rolreplication)
    ) AS p (power, has)
    WHERE p.has
    UNION ALL
    SELECT 'roles_within_row_security', format('%s (%s) can become %s', r.rolname, u.kind, b.rolname)
    FROM stormops_internal.granted_roles() AS u
    JOIN pg_roles AS r ON r.oid = u.grantee AND NOT r.rolsuper
    JOIN pg_roles AS b ON b.oid <> r.oid AND pg_has_role(r.oid, b.oid, 'MEMBER')
    WHERE b.rolsuper OR b.rolbypassrls OR b.rolcreaterole OR b.rolreplication
        OR b.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
            'pg_execute_server_program', 'pg_maintain', 'pg_create_subscription', 'pg_database_owner')
        OR u.kind IN ('app', 'trusted_app') AND (
            b.rolname IN ('pg_monitor', 'pg_read_all_stats', 'pg_read_all_settings', 'pg_stat_scan_tables', 'pg_signal_backend')
            OR b.oid IN (SELECT o.grantee FROM stormops_internal.granted_roles() AS o WHERE o.kind <> u.kind AND o.kind <> 'app'))
$$;
COMMENT ON FUNCTION stormops_internal.attest_roles() IS 'Of attest(): roles that are outside row security, or can become one that is.';

-- tenancy/attest/tables.sql
-- attest(): the tables, and whatever else could show or change their rows.

CREATE FUNCTION stormops_internal.shipped_triggers(OUT relation text, OUT trigger name, OUT definition text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT substring(d.definition FROM ' ON ([a-z_.]+)'), substring(d.definition FROM ' TRIGGER (\w+)')::name, d.definition
    FROM stormops_internal.shipped_tables() AS s,
        regexp_matches(s.statements, 'CREATE (?:OR REPLACE )?((?:CONSTRAINT )?TRIGGER [^;]+);', 'g') AS m,
        LATERAL (SELECT 'CREATE ' || regexp_replace(m[1], '\s+', ' ', 'g')) AS d (definition)
    UNION ALL
    SELECT 'stormops.' || c.table_name, c.trigger, c.definition FROM stormops_internal.counting_triggers() AS c
$$;
COMMENT ON FUNCTION stormops_internal.shipped_triggers() IS 'The triggers that must be there: as the statements that make them say, written as pg_get_triggerdef() writes them.';

CREATE FUNCTION stormops_internal.attest_tables(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'row_security_forced', format('%s %s', c.oid::regclass, CASE
        WHEN c.relkind NOT IN ('r', 'p') THEN 'is a foreign table, which has no row security'
        WHEN NOT c.relrowsecurity THEN 'has row security disabled' ELSE 'does not force row security' END)
    FROM stormops_internal.tenant_relations() AS t JOIN pg_class AS c ON c.oid = t.relation
    WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity) OR c.relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT 'row_security_forced', format('%s has row security disabled', c.oid::regclass)
    FROM pg_class AS c
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
        AND c.oid NOT IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t)
    UNION ALL
    SELECT 'tables_registered', format('%s is in no matrix', c.oid::regclass)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'f')
        AND c.oid NOT IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t)
    UNION ALL
    SELECT DISTINCT 'tables_registered', format('stormops.%I is missing', m.table_name)
    FROM stormops.role_matrix() AS m WHERE to_regclass(format('stormops.%I', m.table_name)) IS NULL
    UNION ALL
    SELECT 'tables_registered', format('protected table %s is missing', p.relation)
    FROM stormops_internal.protected() AS p WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = p.relation)
    UNION ALL
    SELECT 'owned_by_owner', format('%s is %s''s', c.oid::regclass, c.relowner::regrole)
    FROM pg_class AS c
    WHERE c.relowner <> 'stormops_owner'::regrole AND c.relkind NOT IN ('i', 'I', 'c') -- neither an index nor a type holds rows of its own
        AND (c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t))
    UNION ALL
    SELECT 'keys_lead_with_tenant', format('%s %s', k.object, k.why)
    FROM stormops_internal.tenant_relations() AS t CROSS JOIN LATERAL stormops_internal.unsafe_keys(t.relation) AS k
    GROUP BY k.object, k.why
    UNION ALL
    SELECT 'keys_lead_with_tenant', format('%s.tenant_id is not NOT NULL', t.relation::regclass)
    FROM stormops_internal.tenant_relations() AS t
    WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.relation AND a.attname = 'tenant_id' AND a.attnotnull)
$$;
COMMENT ON FUNCTION stormops_internal.attest_tables() IS 'Of attest(): tables outside row security, of another owner, or with keys that tenants share.';

CREATE FUNCTION stormops_internal.attest_side_ways(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'triggers_as_shipped', format('trigger %s on %s is %s', s.trigger, s.relation,
        CASE WHEN g.oid IS NULL THEN 'missing' WHEN pg_get_triggerdef(g.oid) <> s.definition THEN 'another' ELSE 'disabled' END)
    FROM stormops_internal.shipped_triggers() AS s
    LEFT JOIN pg_trigger AS g ON g.tgrelid = to_regclass(s.relation) AND g.tgname = s.trigger
    WHERE g.oid IS NULL OR pg_get_triggerdef(g.oid) <> s.definition OR g.tgenabled NOT IN ('O', 'A')
    UNION ALL
    -- On a table of the database's own its people's triggers are their business.
    SELECT 'triggers_as_shipped', format('trigger %s on %s runs %s of %s', g.tgname, g.tgrelid::regclass, g.tgfoid::regprocedure, p.proowner::regrole)
    FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_proc AS p ON p.oid = g.tgfoid
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND NOT g.tgisinternal AND g.tgparentid = 0
        AND NOT EXISTS (SELECT FROM stormops_internal.shipped_triggers() AS s WHERE to_regclass(s.relation) = g.tgrelid AND s.trigger = g.tgname)
    UNION ALL
    SELECT 'triggers_as_shipped', format('a foreign key of %s is not enforced', g.tgrelid::regclass)
    FROM stormops_internal.tenant_relations() AS t JOIN pg_trigger AS g ON g.tgrelid = t.relation AND g.tgisinternal
    WHERE g.tgenabled NOT IN ('O', 'A')
    GROUP BY g.tgrelid
    UNION ALL
    SELECT 'no_rules', format('rule %s on %s', r.rulename, r.ev_class::regclass)
    FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
    WHERE r.rulename <> '_RETURN'
        AND (c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR c.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t))
    UNION ALL
    SELECT 'views_ask_as_caller', format('%s %s over %s', CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.oid::regclass,
        string_agg(DISTINCT d.refobjid::regclass::text, ', '))
    FROM pg_rewrite AS r
    JOIN pg_class AS c ON c.oid = r.ev_class AND c.relkind IN ('v', 'm')
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
    JOIN pg_class AS o ON o.oid = d.refobjid
    WHERE (o.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) OR o.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t))
        AND (c.relkind = 'm' OR NOT EXISTS (
            SELECT FROM pg_options_to_table(c.reloptions) AS v WHERE v.option_name = 'security_invoker' AND v.option_value IN ('true', 'on', 'yes', '1'))
            OR c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND NOT EXISTS (
                SELECT FROM pg_options_to_table(c.reloptions) AS v WHERE v.option_name = 'security_barrier' AND v.option_value IN ('true', 'on', 'yes', '1')))
    GROUP BY c.relkind, c.oid
    UNION ALL
    SELECT 'publications_filtered', format('publication %s publishes %s.%s without a row filter', p.pubname, p.schemaname, p.tablename)
    FROM pg_publication_tables AS p
    JOIN pg_class AS c ON c.relname = p.tablename JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = p.schemaname
    WHERE p.rowfilter IS NULL AND (n.nspname IN ('stormops', 'stormops_internal') OR c.oid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t))
    UNION ALL
    SELECT 'no_foreign_event_trigger', format('event trigger %s runs %s of %s', e.evtname, e.evtfoid::regprocedure, p.proowner::regrole)
    FROM pg_event_trigger AS e
    JOIN pg_proc AS p ON p.oid = e.evtfoid
    JOIN pg_roles AS r ON r.oid = e.evtowner
    JOIN pg_roles AS o ON o.oid = p.proowner
    WHERE e.evtenabled <> 'D' AND NOT (r.rolsuper AND o.rolsuper)
$$;
COMMENT ON FUNCTION stormops_internal.attest_side_ways() IS 'Of attest(): triggers, rules, views, publications and event triggers that see rows beside the policies, or do not do what they must.';

CREATE FUNCTION stormops_internal.attest_policies(OUT property text, OUT evidence text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH shipped AS (
        SELECT s.relation, s.policy, s.permissive, s.command, s.using_text, s.check_text FROM stormops_internal.shipped_policies() AS s
    ), present AS (
        SELECT p.polrelid AS relation, p.polname AS policy, p.polpermissive AS permissive,
            CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END AS command,
            pg_get_expr(p.polqual, p.polrelid) AS using_text, pg_get_expr(p.polwithcheck, p.polrelid) AS check_text, p.polroles
        FROM pg_policy AS p
        WHERE p.polrelid IN (SELECT t.relation FROM stormops_internal.tenant_relations() AS t)
            OR p.polrelid IN (SELECT c.oid FROM pg_class AS c WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace))
    )
    SELECT 'policies_as_shipped', format('policy %s on %s is %s', s.policy, s.relation::regclass,
        CASE WHEN p.policy IS NULL THEN 'missing' ELSE format('changed: %s for %s%s%s%s', CASE WHEN p.permissive THEN 'permissive' ELSE 'restrictive' END,
            p.command, ' using ' || p.using_text, ' with check ' || p.check_text, CASE WHEN p.polroles <> '{0}' THEN ' to ' || p.polroles::regrole[]::text END) END)
    FROM shipped AS s LEFT JOIN present AS p ON p.relation = s.relation AND p.policy = s.policy
    WHERE p.policy IS NULL OR p.polroles <> '{0}'
        OR (p.permissive, p.command, p.using_text, p.check_text) IS DISTINCT FROM (s.permissive, s.command, s.using_text, s.check_text)
    UNION ALL
    -- A restrictive one can only close.
    SELECT 'no_permissive_policy', format('policy %s on %s', p.policy, p.relation::regclass)
    FROM present AS p
    WHERE p.permissive AND NOT EXISTS (SELECT FROM shipped AS s WHERE s.relation = p.relation AND s.policy = p.policy)
$$;
COMMENT ON FUNCTION stormops_internal.attest_policies() IS 'Of attest(): policies that are not as the matrix says, and permissive ones that were added.';

-- tenancy/break_glass.sql
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

-- tenancy/context.sql
-- The tenant that a transaction works in, and whom a call may concern.

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

CREATE FUNCTION stormops_internal.has_use(VARIADIC kinds text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.rolsuper OR EXISTS (
        SELECT FROM stormops_internal.usage_grants AS g
        JOIN pg_roles AS granted ON granted.oid = g.grantee
        WHERE g.kind = ANY ($1) AND pg_has_role(r.oid, granted.oid, 'USAGE')
    )
    FROM pg_roles AS r WHERE r.rolname = stormops_internal.calling_role()
$$;
COMMENT ON FUNCTION stormops_internal.has_use(text[]) IS 'True if the calling role was granted use of one of these kinds, or is a superuser.';

CREATE FUNCTION stormops_internal.is_operator() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.has_use('operator') $$;
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

-- tenancy/ids.sql
-- Ids in the order of time.

CREATE FUNCTION stormops_internal.first_id_at(unix_milliseconds bigint) RETURNS uuid
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'first_id_at_wrapper';
COMMENT ON FUNCTION stormops_internal.first_id_at(bigint) IS 'The smallest UUID of version 7 of a moment, given in milliseconds since 1970: the bound of a partition by id.';

CREATE FUNCTION stormops_internal.milliseconds_of(id uuid) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'milliseconds_of_wrapper';
COMMENT ON FUNCTION stormops_internal.milliseconds_of(uuid) IS 'The moment of an id of version 7, in milliseconds since 1970.';

CREATE FUNCTION stormops.new_id() RETURNS uuid
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'new_id_wrapper';
COMMENT ON FUNCTION stormops.new_id() IS 'A UUID of version 7 (RFC 9562): unique, and in the order of time.';

-- tenancy/install.sql
-- What CREATE EXTENSION and every upgrade end with: the tables, which belong to the database and not to the extension.

CREATE FUNCTION stormops.install() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning -- it skips what is there
    SET standard_conforming_strings = on
    SET jit = off -- compiling takes longer than looking
    AS $$
DECLARE
    t record;
BEGIN
    PERFORM stormops_internal.adopt_tables();
    FOR t IN SELECT s.statements FROM stormops_internal.shipped_tables() AS s ORDER BY s.place LOOP
        EXECUTE t.statements;
    END LOOP;
    PERFORM stormops_internal.secure_tables();
    PERFORM stormops.maintain_partitions();
    PERFORM stormops_internal.release_tables();
    PERFORM stormops.renew_grants();
    PERFORM stormops_internal.count_tables();
    PERFORM stormops_internal.adopt_log();
END
$$;
COMMENT ON FUNCTION stormops.install() IS 'Makes what is missing of StormOps'' tables, adopts those that are there, and restores policies, defaults and triggers; keeps every row. Runs as part of CREATE EXTENSION and ALTER EXTENSION UPDATE; for superusers.';

CREATE FUNCTION stormops_internal.adopt_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class AS c
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v')
            AND pg_get_userbyid(c.relowner) = 'stormops_owner'
    LOOP
        EXECUTE format('ALTER EXTENSION stormops ADD %s %s', t.kind, t.name);
    END LOOP;
    IF to_regprocedure('stormops.installed()') IS NOT NULL THEN
        ALTER EXTENSION stormops ADD FUNCTION stormops.installed();
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.adopt_tables() IS 'Makes tables that are there already (after DROP EXTENSION ... CASCADE) members while install() runs: a CREATE EXTENSION may skip only what it owns.';

CREATE FUNCTION stormops_internal.secure_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t record;
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
        WHERE cl.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace)
            AND cl.relkind IN ('r', 'p', 'v')
            AND (cl.relname IN (SELECT m.table_name FROM stormops.role_matrix() AS m)
                 OR cl.relname IN (SELECT i.table_name FROM stormops_internal.installation_tables() AS i)
                 OR cl.relispartition OR cl.relname IN (SELECT v.view_name FROM stormops_internal.granted_views() AS v))
        ORDER BY cl.relispartition, a.attnum IS NOT NULL, cl.relname
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO stormops_owner', CASE t.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, t.name);
        CONTINUE WHEN t.relkind = 'v';
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name);
        -- What is no tenant's, its owner reads.
        CONTINUE WHEN NOT t.of_tenant;
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t.name);
        CONTINUE WHEN t.relispartition;
        PERFORM stormops_internal.secure_table(t.oid);
    END LOOP;
    PERFORM stormops_internal.secure_table(p.relation) FROM stormops_internal.protected() AS p JOIN pg_class AS cl ON cl.oid = p.relation;
END
$$;
COMMENT ON FUNCTION stormops_internal.secure_tables() IS 'Makes every table of StormOps its owner''s and forces it under row security, with the policies and defaults that DROP EXTENSION ... CASCADE takes away.';

CREATE FUNCTION stormops_internal.release_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    member record;
BEGIN
    FOR member IN
        SELECT i.type AS kind, i.identity AS name
        FROM pg_depend AS d, pg_extension AS e, pg_identify_object(d.classid, d.objid, 0) AS i
        WHERE e.extname = 'stormops' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
            AND (d.classid = 'pg_class'::regclass OR d.objid = 'stormops.installed()'::regprocedure)
    LOOP
        EXECUTE format('ALTER EXTENSION stormops DROP %s %s', member.kind, member.name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.release_tables() IS 'Takes the tables out of the extension: they belong to the database, and live through its dump, and through DROP EXTENSION.';

CREATE FUNCTION stormops_internal.disown_grants() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    f record;
    kept aclitem[];
BEGIN
    FOR f IN
        SELECT i.classoid, i.objoid, i.objsubid, i.initprivs,
            EXISTS (SELECT FROM pg_depend AS d WHERE (d.classid, d.objid) = (i.classoid, i.objoid) AND d.deptype = 'e') AS member
        FROM pg_init_privs AS i
        LEFT JOIN pg_proc AS p ON i.classoid = 'pg_proc'::regclass AND p.oid = i.objoid
        LEFT JOIN pg_class AS c ON i.classoid = 'pg_class'::regclass AND c.oid = i.objoid
        LEFT JOIN pg_namespace AS n ON n.oid = coalesce(p.pronamespace, c.relnamespace, CASE WHEN i.classoid = 'pg_namespace'::regclass THEN i.objoid END)
        WHERE n.nspname IN ('stormops', 'stormops_internal')
    LOOP
        kept := ARRAY(
            SELECT a.item FROM unnest(f.initprivs) AS a (item)
            WHERE NOT EXISTS (
                SELECT FROM aclexplode(ARRAY[a.item]) AS g LEFT JOIN pg_roles AS r ON r.oid = g.grantee
                WHERE NOT (r.rolsuper OR r.rolname = 'stormops_owner') IS TRUE));
        -- Of what is the database's own a dump holds every grant.
        IF NOT f.member THEN
            DELETE FROM pg_init_privs AS i WHERE (i.classoid, i.objoid, i.objsubid) = (f.classoid, f.objoid, f.objsubid);
        ELSIF kept <> f.initprivs THEN
            UPDATE pg_init_privs AS i SET initprivs = kept WHERE (i.classoid, i.objoid, i.objsubid) = (f.classoid, f.objoid, f.objsubid);
        END IF;
        -- From PostgreSQL 17 on such a grant keeps its role from being dropped.
        DELETE FROM pg_shdepend AS d
        WHERE d.deptype = 'i' AND d.dbid = (SELECT b.oid FROM pg_database AS b WHERE b.datname = current_database())
            AND (d.classid, d.objid, d.objsubid) = (f.classoid, f.objoid, f.objsubid)
            AND (NOT f.member OR d.refobjid <> 'stormops_owner'::regrole);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.disown_grants() IS 'What the script of an extension grants, pg_dump takes for a part of the extension, and leaves to the next CREATE EXTENSION; that one runs before usage_grants has its rows. So what roles with use were granted is to be dumped like a grant that was made later.';

-- tenancy/lifecycle.sql
-- Tenants come, pause and go. Each function does all or nothing.

CREATE FUNCTION stormops_internal.announce_standing() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'announce_standing_wrapper';
COMMENT ON FUNCTION stormops_internal.announce_standing() IS 'Trigger: tells every backend to read the tenant''s standing afresh once this transaction commits.';

CREATE FUNCTION stormops_internal.legal_steps(OUT action text, OUT from_status text, OUT to_status text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.* FROM (VALUES
        ('suspend', 'active', 'suspended'),
        ('reactivate', 'suspended', 'active'),
        ('close', 'active', 'closed'),
        ('close', 'suspended', 'closed')
    ) AS s (action, from_status, to_status)
$$;
COMMENT ON FUNCTION stormops_internal.legal_steps() IS 'The steps between statuses that there are.';

CREATE FUNCTION stormops_internal.legal_step() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a tenant is closed, never deleted',
            HINT = 'SELECT * FROM stormops.close_tenant(tenant_id, reason);';
    END IF;
    -- A restore, which sets row_security off, brings tenants as they were.
    IF TG_OP = 'INSERT' AND NEW.status <> 'active' AND current_setting('row_security') = 'on'
        OR TG_OP = 'UPDATE' AND NEW.tenant_id <> OLD.tenant_id
        OR TG_OP = 'UPDATE' AND NEW.status <> OLD.status AND NOT EXISTS (
            SELECT FROM stormops_internal.legal_steps() AS s WHERE s.from_status = OLD.status AND s.to_status = NEW.status)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = CASE TG_OP WHEN 'INSERT' THEN 'a tenant begins active'
                ELSE format('a tenant cannot go from %s to %s', OLD.status, NEW.status) END,
            HINT = 'SELECT * FROM stormops_internal.legal_steps(); shows the steps that there are.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.legal_step() IS 'Trigger: refuses every other step, and a deletion, to whoever tries. Error: 55000.';

CREATE FUNCTION stormops_internal.log_event(
    tenant_id uuid, action text, from_status text, to_status text, reason text, user_id uuid DEFAULT NULL
) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    INSERT INTO stormops.tenant_events (tenant_id, action, from_status, to_status, reason, user_id, actor, acting_user)
    VALUES ($1, $2, $3, $4, $5, $6, stormops_internal.calling_role(),
        nullif(current_setting('app.current_user_id'), '')::uuid)
$$;
COMMENT ON FUNCTION stormops_internal.log_event(uuid, text, text, text, text, uuid) IS 'Writes a row of tenant_events.';

CREATE FUNCTION stormops.provision_tenant(
    org_name text, tier text, admin_email text,
    OUT tenant_id uuid, OUT admin_user_id uuid, OUT status text, OUT trial_ends_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    key text := stormops_internal.name_key(org_name);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF org_name IS NULL OR tier IS NULL OR admin_email IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'organisation name, tier and admin e-mail must not be null',
            HINT = 'SELECT * FROM stormops.provision_tenant(''ABC Roofing'', ''standard'', ''admin@abcroofing.example'');';
    END IF;
    IF key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'organisation name is not valid',
            DETAIL = 'A name has 1 to 200 characters, at least one letter or digit, and none that is invisible.',
            HINT = 'Use the name as people write it.';
    END IF;
    IF tier NOT IN ('trial', 'standard', 'enterprise') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown tier "%s"', left(tier, 50)),
            HINT = 'A tier is trial, standard or enterprise.';
    END IF;
    trial_ends_at := CASE WHEN tier = 'trial' THEN now() + (SELECT make_interval(days => s.trial_days) FROM stormops_internal.tier_settings AS s WHERE s.tier = 'trial') END;
    INSERT INTO stormops.tenants AS t (org_name, name_key, tier, trial_ends_at)
    VALUES (stormops_internal.tidy_name(org_name), key, tier, trial_ends_at)
    ON CONFLICT (name_key) DO NOTHING
    RETURNING t.tenant_id, t.status INTO tenant_id, status;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = format('organisation "%s" already exists', (SELECT t.org_name FROM stormops.tenants AS t WHERE t.name_key = key)),
            DETAIL = 'Names are compared without regard to case, spacing and look-alike characters; a closed tenant keeps its name.',
            HINT = 'Choose a name that people cannot confuse with it.';
    END IF;
    PERFORM stormops_internal.log_event(tenant_id, 'provision', NULL, status, NULL);
    admin_user_id := stormops_internal.insert_user(tenant_id, admin_email, 'admin', NULL);
    INSERT INTO stormops.policy_modes (tenant_id, policy_mode, confidence, exploration, holdout)
    SELECT tenant_id, m.policy_mode, m.confidence, m.exploration, m.holdout FROM stormops.default_policy_modes() AS m;
    INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
    SELECT tenant_id, m.metric_name, m.unit, m.aggregation, m.unique_dimension, m.rollup_dimensions FROM stormops.default_metrics() AS m;
END
$$;
COMMENT ON FUNCTION stormops.provision_tenant(text, text, text) IS 'Makes a tenant with its first admin, the default policy modes and metrics. tier: trial (30 days, see tier_settings), standard or enterprise. Returns tenant_id, admin_user_id, status, trial_ends_at. Errors: 22004 NULL; 22023 name, tier or e-mail is not valid; 23505 a name that people would confuse with it exists.';

CREATE FUNCTION stormops_internal.step_tenant(
    tenant_id uuid, action text, reason text, OUT from_status text, OUT to_status text, OUT changed_at timestamptz
)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF tenant_id IS NULL OR reason IS NULL OR btrim(reason) = '' OR char_length(reason) > 500 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN tenant_id IS NULL OR reason IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'tenant and reason must be given',
            DETAIL = 'A reason has 1 to 500 characters; it is kept in tenant_events.',
            HINT = format('SELECT * FROM stormops.%s_tenant(tenant_id, ''payment_failed'');', action);
    END IF;
    SELECT t.status INTO from_status FROM stormops.tenants AS t WHERE t.tenant_id = step_tenant.tenant_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', tenant_id),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    SELECT s.to_status INTO to_status FROM stormops_internal.legal_steps() AS s
    WHERE s.action = step_tenant.action AND s.from_status = step_tenant.from_status;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot %s a tenant that is %s', action, from_status),
            HINT = 'SELECT * FROM stormops_internal.legal_steps(); shows the steps that there are.';
    END IF;
    changed_at := now();
    UPDATE stormops.tenants AS t SET status = to_status, status_changed_at = changed_at WHERE t.tenant_id = step_tenant.tenant_id;
    PERFORM stormops_internal.log_event(tenant_id, action, from_status, to_status, reason);
END
$$;
COMMENT ON FUNCTION stormops_internal.step_tenant(uuid, text, text) IS 'Takes one legal step and logs it.';

CREATE FUNCTION stormops.suspend_tenant(tenant_id uuid, reason text, OUT from_status text, OUT to_status text, OUT changed_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN SELECT s.* INTO from_status, to_status, changed_at FROM stormops_internal.step_tenant(tenant_id, 'suspend', reason) AS s; END $$;
COMMENT ON FUNCTION stormops.suspend_tenant(uuid, text) IS 'Suspends a tenant from the next statement of any of its sessions: it reads and does not write. Returns from_status, to_status, changed_at. Errors: 22004, 22023 no reason; P0002 no such tenant; 55000 the tenant is not active.';

CREATE FUNCTION stormops.reactivate_tenant(
    tenant_id uuid, reason text DEFAULT 'reactivated', OUT from_status text, OUT to_status text, OUT changed_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN SELECT s.* INTO from_status, to_status, changed_at FROM stormops_internal.step_tenant(tenant_id, 'reactivate', reason) AS s; END $$;
COMMENT ON FUNCTION stormops.reactivate_tenant(uuid, text) IS 'Ends a suspension. Returns and errors as suspend_tenant(); 55000 if the tenant is not suspended.';

CREATE FUNCTION stormops.close_tenant(tenant_id uuid, reason text, OUT from_status text, OUT to_status text, OUT changed_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN SELECT s.* INTO from_status, to_status, changed_at FROM stormops_internal.step_tenant(tenant_id, 'close', reason) AS s; END $$;
COMMENT ON FUNCTION stormops.close_tenant(uuid, text) IS 'Closes a tenant for good: it neither reads nor writes; its rows stay until they are erased. Returns and errors as suspend_tenant().';

CREATE FUNCTION stormops.list_tenants(
    OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT users bigint,
    OUT created_at timestamptz, OUT status_changed_at timestamptz, OUT trial_ends_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, t.tier, t.status,
            (SELECT count(*) FROM stormops.users AS u WHERE u.tenant_id = t.tenant_id AND u.removed_at IS NULL),
            t.created_at, t.status_changed_at, t.trial_ends_at
        FROM stormops.tenants AS t
        ORDER BY t.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.list_tenants() IS 'Every tenant with its tier, status and number of users, oldest first. For operators and monitors.';

-- tenancy/log.sql
-- The tamper-evident log: canonical forms, and how an event or a run comes into its tenant's chain.
-- The forms are made of send functions and UTF-8, which no session setting changes; not of textsend() and
-- jsonb_send(), which follow client_encoding.

CREATE FUNCTION stormops.log_digest(fields VARIADIC bytea[]) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'log_digest_wrapper';
COMMENT ON FUNCTION stormops.log_digest(bytea[]) IS 'SHA-256 over fields, each after its length in four bytes (the most significant first; ffffffff stands for NULL): the canonical form of the log.';

CREATE FUNCTION stormops_internal.event_digests(tenant_id uuid, only_event uuid DEFAULT NULL, OUT event_id uuid, OUT digest bytea) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT e.event_id, stormops.log_digest(
        uuid_send(e.tenant_id), uuid_send(e.event_id), timestamptz_send(e.happened_at),
        convert_to(e.action, 'UTF8'), convert_to(e.from_status, 'UTF8'), convert_to(e.to_status, 'UTF8'),
        uuid_send(e.user_id), convert_to(e.reason, 'UTF8'), convert_to(e.actor, 'UTF8'), uuid_send(e.acting_user))
    FROM stormops.tenant_events AS e
    WHERE e.tenant_id = $1 AND ($2 IS NULL OR e.event_id = $2)
$$;
COMMENT ON FUNCTION stormops_internal.event_digests(uuid, uuid) IS 'For each of a tenant''s events, or for one, the SHA-256 of its canonical form.';

CREATE FUNCTION stormops_internal.run_digests(tenant_id uuid, only_run uuid DEFAULT NULL, OUT run_id uuid, OUT digest bytea) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.run_id, stormops.log_digest(
        uuid_send(r.tenant_id), uuid_send(r.run_id), uuid_send(r.storm_id), convert_to(r.policy_mode, 'UTF8'),
        convert_to(r.parameters::text, 'UTF8'), timestamptz_send(r.decided_at), convert_to(r.decided_by, 'UTF8'),
        uuid_send(r.acting_user), int8send(r.treat), int8send(r.hold), int8send(r.excluded),
        convert_to(r.reasons::text, 'UTF8'), numeric_send(r.expected_value), uuid_send(r.supersedes),
        int8send(d.decisions), d.digest, sha256(d.fingerprints))
    FROM stormops.policy_runs AS r
    LEFT JOIN stormops.policy_run_digests AS d ON d.tenant_id = r.tenant_id AND d.run_id = r.run_id
    WHERE r.tenant_id = $1 AND ($2 IS NULL OR r.run_id = $2)
$$;
COMMENT ON FUNCTION stormops_internal.run_digests(uuid, uuid) IS 'For each of a tenant''s policy runs, or for one, the SHA-256 of the canonical form of its rows in policy_runs and policy_run_digests. superseded_at, which changes later, is not in it: verify_log() derives it from the runs that supersede.';

CREATE FUNCTION stormops_internal.entry_hash(hash_before bytea, tenant_id uuid, log text, entry bigint, subject_id uuid, adopted boolean, content bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stormops.log_digest($1, uuid_send($2), convert_to($3, 'UTF8'), int8send($4), uuid_send($5), boolsend($6), $7)
$$;
COMMENT ON FUNCTION stormops_internal.entry_hash(bytea, uuid, text, bigint, uuid, boolean, bytea) IS 'The hash of an entry of tenant_log: SHA-256 of the hash before it (NULL for the first) and of what it says.';

CREATE FUNCTION stormops_internal.append_entry(tenant_id uuid, log text, subject_id uuid, content bytea, adopted boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF EXISTS (
        SELECT FROM stormops.tenant_log AS b
        WHERE b.tenant_id = append_entry.tenant_id AND b.log = append_entry.log AND b.subject_id = append_entry.subject_id
    ) THEN
        RETURN; -- adopted a moment ago
    END IF;
    LOOP
        -- One that another transaction is about to enter is awaited, and then stands behind it.
        INSERT INTO stormops.tenant_log (tenant_id, log, entry, subject_id, adopted, content, hash)
        SELECT tenant_id, log, coalesce(l.entry, 0) + 1, subject_id, adopted, content,
            stormops_internal.entry_hash(l.hash, tenant_id, log, coalesce(l.entry, 0) + 1, subject_id, adopted, content)
        FROM (SELECT) AS one
        LEFT JOIN (
            SELECT b.entry, b.hash FROM stormops.tenant_log AS b
            WHERE b.tenant_id = append_entry.tenant_id AND b.log = append_entry.log
            ORDER BY b.entry DESC LIMIT 1
        ) AS l ON true
        ON CONFLICT ON CONSTRAINT tenant_log_pkey DO NOTHING;
        EXIT WHEN FOUND;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.append_entry(uuid, text, uuid, bytea, boolean) IS 'Appends an entry to a chain of a tenant. Under REPEATABLE READ: 40001 if another transaction appended since.';

CREATE FUNCTION stormops_internal.enter_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.append_entry(NEW.tenant_id, 'events', d.event_id, d.digest)
    FROM stormops_internal.event_digests(NEW.tenant_id, NEW.event_id) AS d;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.enter_event() IS 'Trigger: enters a new event in tenant_log, at the end of the transaction.';

CREATE FUNCTION stormops_internal.enter_run() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.append_entry(NEW.tenant_id, 'runs', d.run_id, d.digest)
    FROM stormops_internal.run_digests(NEW.tenant_id, NEW.run_id) AS d;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.enter_run() IS 'Trigger: enters a new run with the digest of its decisions in tenant_log, at the end of the transaction.';

CREATE FUNCTION stormops_internal.adopt_log() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    unlogged uuid[] := ARRAY(
        SELECT t.tenant_id FROM stormops.tenants AS t
        WHERE NOT EXISTS (SELECT FROM stormops.tenant_log AS l WHERE l.tenant_id = t.tenant_id));
    r record;
BEGIN
    INSERT INTO stormops.policy_run_digests (tenant_id, run_id, decisions, digest, fingerprints)
    SELECT p.tenant_id, p.run_id, d.decisions, d.digest, d.fingerprints
    FROM stormops.policy_runs AS p CROSS JOIN LATERAL stormops_internal.decisions_digest(p.tenant_id, p.run_id) AS d
    WHERE p.tenant_id = ANY (unlogged)
    ON CONFLICT (tenant_id, run_id) DO NOTHING;
    FOR r IN
        SELECT u.tenant_id, s.log, s.subject_id, s.digest
        FROM unnest(unlogged) AS u (tenant_id) CROSS JOIN LATERAL (
            SELECT 'events' AS log, e.event_id AS subject_id, e.digest FROM stormops_internal.event_digests(u.tenant_id) AS e
            UNION ALL
            SELECT 'runs', d.run_id, d.digest FROM stormops_internal.run_digests(u.tenant_id) AS d
        ) AS s
        ORDER BY u.tenant_id, s.log, s.subject_id
    LOOP
        PERFORM stormops_internal.append_entry(r.tenant_id, r.log, r.subject_id, r.digest, true);
    END LOOP;
    SET CONSTRAINTS stormops.enter_run IMMEDIATE;
    SET CONSTRAINTS stormops.enter_run DEFERRED;
END
$$;
COMMENT ON FUNCTION stormops_internal.adopt_log() IS 'Enters in the log, once, in the order of time and marked as adopted, what a tenant had before there was one. Not for a tenant that has a log, so that installing anew never vouches for a row that somebody slipped in.';

-- tenancy/names.sql
-- Names and addresses that a person would confuse.

CREATE FUNCTION stormops_internal.email_key(address text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'email_key_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.email_key(text) IS 'The address with its domain in lower case; NULL if it is not name@domain.tld of at most 254 characters (RFC 5321).';

CREATE FUNCTION stormops_internal.name_key(name text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'name_key_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.name_key(text) IS 'Folds a name so that two that a person would confuse are equal: case, white space, compatibility forms (NFKC), look-alike characters (Unicode Technical Standard 39, section 4). NULL if the name is longer than 200 characters, shows no letter or digit, or holds an invisible character.';

CREATE FUNCTION stormops_internal.tidy_name(name text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tidy_name_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.tidy_name(text) IS 'The name with single blanks between its words and none around it.';

-- tenancy/owner.sql
-- Functions of stormops_owner: who called them, and how they see every tenant's rows.

CREATE FUNCTION stormops_internal.calling_role() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calling_role_wrapper';
COMMENT ON FUNCTION stormops_internal.calling_role() IS 'The database role in force outside every SECURITY DEFINER function: who called.';

CREATE FUNCTION stormops_internal.visit_all_tenants() RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'visit_all_tenants_wrapper';
COMMENT ON FUNCTION stormops_internal.visit_all_tenants() IS 'Lets the function of stormops_owner that calls it see every tenant''s rows until it returns. Errors: 42501 from anywhere else.';

-- tenancy/protect.sql
-- A table of the database's own people under the same regime as StormOps' tables.

CREATE FUNCTION stormops_internal.unsafe_keys(relation oid, OUT object text, OUT why text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH tenant AS (
        SELECT a.attrelid, a.attnum FROM pg_attribute AS a WHERE a.attname = 'tenant_id' AND NOT a.attisdropped
    )
    -- No tenant can insert into tenants, so its unique name is no oracle; and none can name usage_seq.
    SELECT format('index %s', i.indexrelid::regclass), 'does not begin with tenant_id'
    FROM pg_index AS i JOIN tenant AS t ON t.attrelid = i.indrelid
    WHERE i.indrelid = $1 AND i.indkey[0] <> t.attnum AND i.indexrelid IS DISTINCT FROM to_regclass('stormops.tenants_name_key_key')
        AND i.indexrelid NOT IN (SELECT n.relid FROM pg_partition_tree(to_regclass('stormops.tenant_usage_new')) AS n)
    UNION ALL
    SELECT format('constraint %s', k.conname), 'is an exclusion without tenant_id WITH ='
    FROM pg_constraint AS k JOIN tenant AS t ON t.attrelid = k.conrelid
    WHERE k.conrelid = $1 AND k.contype = 'x' AND NOT EXISTS (
        SELECT FROM unnest(k.conkey, k.conexclop) AS e (attnum, op) WHERE e.attnum = t.attnum AND e.op = 'pg_catalog.=(uuid,uuid)'::regoperator)
    UNION ALL
    SELECT format('foreign key %s of %s', k.conname, k.conrelid::regclass),
        CASE WHEN k.confdeltype <> 'a' AND k.confdeltype <> 'r' OR k.confupdtype <> 'a' AND k.confupdtype <> 'r' THEN 'changes rows that refer to a row'
            WHEN NOT k.convalidated THEN 'is not validated'
            ELSE 'does not lead from tenant_id to tenant_id' END
    FROM pg_constraint AS k
    LEFT JOIN tenant AS c ON c.attrelid = k.conrelid
    JOIN tenant AS p ON p.attrelid = k.confrelid -- a table without tenants' rows may be shared
    WHERE k.contype = 'f' AND $1 IN (k.conrelid, k.confrelid) AND k.conparentid = 0
        -- Into the tables of the installation no tenant writes.
        AND k.conrelid NOT IN (SELECT r.oid FROM pg_class AS r WHERE r.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND r.relname IN (SELECT i.table_name FROM stormops_internal.installation_tables() AS i))
        AND (k.conkey[1] IS DISTINCT FROM c.attnum OR k.confkey[1] <> p.attnum OR NOT k.convalidated
            OR k.confdeltype NOT IN ('a', 'r') OR k.confupdtype NOT IN ('a', 'r'))
$$;
COMMENT ON FUNCTION stormops_internal.unsafe_keys(oid) IS 'The indexes, keys and references of a table through which a tenant could meet another tenant''s row, and what is wrong with each.';

CREATE FUNCTION stormops_internal.unfit_table(relation oid, OUT object text, OUT why text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH c AS (SELECT t.* FROM pg_class AS t WHERE t.oid = $1)
    SELECT 'the relation', 'is no table, or a partition of one' FROM c WHERE c.relkind NOT IN ('r', 'p') OR c.relispartition
    UNION ALL
    SELECT 'the table', 'is a system table, or one of StormOps'' own'
    FROM c WHERE c.oid < 16384 OR c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL
    SELECT 'the table', 'is temporary' FROM c WHERE c.relpersistence = 't'
    UNION ALL
    SELECT 'the table', 'has children by inheritance' FROM c JOIN pg_inherits AS i ON i.inhparent = c.oid WHERE c.relkind = 'r'
    UNION ALL
    SELECT 'column tenant_id', 'is not there as uuid NOT NULL' FROM c
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.atttypid = 'uuid'::regtype AND a.attnotnull AND NOT a.attisdropped)
    UNION ALL
    SELECT 'the table', 'has no primary key' FROM c
    WHERE NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
    UNION ALL
    SELECT format('column %s', a.attname), 'takes its values from a sequence, which counts all tenants'' rows'
    FROM c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%'
    UNION ALL
    SELECT format('rule %s', r.rulename), 'rewrites what row security judges' FROM c JOIN pg_rewrite AS r ON r.ev_class = c.oid
    UNION ALL
    SELECT format('policy %s', p.polname), 'is permissive, and would be ORed to the tenant''s'
    FROM c JOIN pg_policy AS p ON p.polrelid = c.oid WHERE p.polpermissive AND p.polname <> 'tenant'
    UNION ALL
    SELECT k.object, k.why FROM stormops_internal.unsafe_keys($1) AS k
$$;
COMMENT ON FUNCTION stormops_internal.unfit_table(oid) IS 'What must be changed in a table before protect() takes it.';

CREATE FUNCTION stormops.protect(
    relation regclass,
    least_roles jsonb DEFAULT '{"SELECT": "viewer", "INSERT": "field_user", "UPDATE": "crew_chief", "DELETE": "admin"}'
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    faults text;
    p record;
BEGIN
    IF relation IS NULL OR least_roles IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'table and least roles must be given',
            HINT = 'SELECT stormops.protect(''public.jobs'');';
    END IF;
    IF jsonb_typeof(least_roles) <> 'object' OR EXISTS (
        SELECT FROM jsonb_each_text(CASE jsonb_typeof(least_roles) WHEN 'object' THEN least_roles ELSE '{}' END) AS r (command, least_role)
        WHERE r.command NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            OR r.least_role NOT IN ('viewer', 'field_user', 'crew_chief', 'admin')
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'least roles are not valid',
            HINT = 'An object of SELECT, INSERT, UPDATE and DELETE to viewer, field_user, crew_chief or admin. A command that is left out or null is allowed to nobody.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
    SELECT string_agg(format('%s %s', f.object, f.why), '; ' ORDER BY f.object, f.why) INTO faults FROM stormops_internal.unfit_table(relation) AS f;
    IF faults IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('table %s cannot be protected as it is', relation),
            DETAIL = faults,
            HINT = 'Let each key, index and reference begin with tenant_id: PRIMARY KEY (tenant_id, job_id). Change: ' || left(faults, 1000);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint AS k
        WHERE k.conrelid = relation AND k.contype = 'f' AND k.confrelid = 'stormops.tenants'::regclass AND cardinality(k.conkey) = 1
    ) THEN
        EXECUTE format('ALTER TABLE %s ADD FOREIGN KEY (tenant_id) REFERENCES stormops.tenants', relation);
    END IF;
    INSERT INTO stormops_internal.protected_tables AS t (relation, least_roles, owner_before)
    SELECT c.oid, jsonb_strip_nulls(least_roles), c.relowner FROM pg_class AS c WHERE c.oid = relation
    ON CONFLICT ON CONSTRAINT protected_tables_pkey DO UPDATE SET least_roles = EXCLUDED.least_roles, protected_at = now(), protected_by = current_user;
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO stormops_owner', (SELECT c.relnamespace::regnamespace FROM pg_class AS c WHERE c.oid = relation));
    FOR p IN SELECT i.relid AS name FROM pg_partition_tree(relation) AS i UNION SELECT relation LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO stormops_owner', p.name);
    END LOOP;
    -- Only what renew_grants() then gives: no TRUNCATE, which no policy sees, and nothing on a partition.
    FOR p IN
        SELECT DISTINCT r.relation::regclass AS name, coalesce(quote_ident(pg_get_userbyid(nullif(g.grantee, 0))), 'PUBLIC') AS grantee
        FROM stormops_internal.tenant_relations() AS r
        JOIN pg_class AS c ON c.oid = r.relation
        CROSS JOIN LATERAL (
            SELECT a.grantee FROM aclexplode(c.relacl) AS a
            UNION SELECT a.grantee FROM pg_attribute AS b, aclexplode(b.attacl) AS a WHERE b.attrelid = c.oid
        ) AS g
        WHERE r.relation IN (SELECT i.relid FROM pg_partition_tree(relation) AS i UNION SELECT relation) AND g.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %s', p.name, p.grantee);
    END LOOP;
    PERFORM stormops_internal.secure_table(relation);
    PERFORM stormops.renew_grants();
END
$$;
COMMENT ON FUNCTION stormops.protect(regclass, jsonb) IS 'Puts a table of your own under the rules of StormOps'' tables: forced row security, the same policies, and grants by least_roles (command to least role; what is left out, nobody may do). Partitions too; call it again after adding one. The table must have tenant_id uuid NOT NULL. For superusers. Errors: 22004; 22023 least_roles; 55000 the table must be changed first, the hint lists what.';

CREATE FUNCTION stormops.unprotect(relation regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    p record;
    owner_before oid;
BEGIN
    DELETE FROM stormops_internal.protected_tables AS t WHERE t.relation = unprotect.relation RETURNING t.owner_before INTO owner_before;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('table %s is not protected', relation),
            HINT = 'SELECT * FROM stormops_internal.protected_tables;';
    END IF;
    FOR p IN SELECT r.oid, r.rolname FROM stormops_internal.granted_roles() AS u JOIN pg_roles AS r ON r.oid = u.grantee LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', relation, p.rolname);
    END LOOP;
    FOR p IN
        SELECT k.polname FROM pg_policy AS k WHERE k.polrelid = relation
            AND k.polname IN ('tenant', 'tenant_floor', 'installed', 'role_select', 'role_insert', 'role_update', 'role_delete')
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', p.polname, relation);
    END LOOP;
    EXECUTE format('ALTER TABLE %s ALTER COLUMN tenant_id DROP DEFAULT', relation);
    FOR p IN
        SELECT i.relid AS name, r.rolname FROM pg_partition_tree(relation) AS i, pg_roles AS r WHERE r.oid = owner_before
        UNION SELECT relation, r.rolname FROM pg_roles AS r WHERE r.oid = owner_before
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', p.name, p.rolname);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.unprotect(regclass) IS 'Ends what protect() began: takes policies, grants and the default of tenant_id away, and gives the table back to its owner. Row security stays forced, so that nobody sees a row until you decide otherwise: ALTER TABLE ... DISABLE ROW LEVEL SECURITY. For superusers. Error: 42704 the table is not protected.';

-- tenancy/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'tenancy';
-- What of tenancy the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('tenants', 'SELECT', 'viewer', NULL, NULL),
    ('tenant_events', 'SELECT', 'admin', NULL, NULL),
    ('tenant_log', 'SELECT', 'admin', NULL, NULL),
    ('users', 'SELECT', 'viewer', NULL, NULL),
    ('break_glass_grants', 'SELECT', 'admin', NULL, NULL);

-- Tables that hold no tenant's rows.
INSERT INTO pg_temp.installation_tables (table_name) VALUES
    ('usage_grants'),
    ('protected_tables'),
    ('token_issuers'),
    ('token_keys'),
    ('signing_keys');

-- Views.
INSERT INTO pg_temp.granted_views (view_name, kinds) VALUES
    ('reference', '{app,trusted_app,operator,monitor}');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.current_tenant()', '{app,trusted_app,operator}'),
    ('stormops.current_user_id()', '{app,trusted_app}'),
    ('stormops.current_user_role()', '{app,trusted_app}'),
    ('stormops.may_read(text)', '{app,trusted_app,operator}'),
    ('stormops.may_write(text)', '{app,trusted_app}'),
    ('stormops.installed()', '{app,trusted_app,operator}'),
    ('stormops.login(text)', '{app,trusted_app}'),
    ('stormops.login_challenge()', '{app,trusted_app}'),
    ('stormops.issuers()', '{operator}'),
    ('stormops.issue_token(uuid,uuid,interval,text,text)', '{operator}'),
    ('stormops.open_break_glass(uuid,text,text,interval)', '{operator}'),
    ('stormops.break_glass(uuid)', '{operator}'),
    ('stormops.close_break_glass(uuid)', '{operator}'),
    ('stormops.break_glass_grants()', '{operator}'),
    ('stormops.new_id()', '{app,trusted_app}'),
    ('stormops_internal.installation_tables()', '{operator,monitor}'),
    ('stormops.role_matrix()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.granted_views()', '{operator,monitor}'),
    ('stormops_internal.shipped_tables()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.shipped_functions()', '{operator,monitor}'),
    ('stormops_internal.granted_functions()', '{app,trusted_app,operator,monitor}'),
    ('stormops.add_user(text,text,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.set_user_role(uuid,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.remove_user(uuid,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.verify_log(uuid)', '{app,trusted_app,operator}'),
    ('stormops.log_head(uuid)', '{app,trusted_app,operator}'),
    ('stormops.set_tier(uuid,text,text)', '{operator}'),
    ('stormops.provision_tenant(text,text,text)', '{operator}'),
    ('stormops.suspend_tenant(uuid,text)', '{operator}'),
    ('stormops.reactivate_tenant(uuid,text)', '{operator}'),
    ('stormops.close_tenant(uuid,text)', '{operator}'),
    ('stormops_internal.granted_roles()', '{operator,monitor}'),
    ('stormops_internal.protected()', '{operator,monitor}'),
    ('stormops_internal.table_matrix(oid)', '{operator,monitor}'),
    ('stormops_internal.tenant_relations()', '{operator,monitor}'),
    ('stormops_internal.shipped_policies(oid)', '{operator,monitor}'),
    ('stormops_internal.unsafe_keys(oid)', '{operator,monitor}'),
    ('stormops_internal.library_is_preloaded()', '{operator,monitor}'),
    ('stormops_internal.known_bypasses()', '{operator,monitor}'),
    ('stormops_internal.shipped_triggers()', '{operator,monitor}'),
    ('stormops_internal.privileges(aclitem[])', '{operator,monitor}'),
    ('stormops_internal.present_grants()', '{operator,monitor}'),
    ('stormops_internal.shipped_grants()', '{operator,monitor}'),
    ('stormops.log_digest(bytea[])', '{operator,monitor}'),
    ('stormops_internal.function_digest(oid)', '{operator,monitor}'),
    ('stormops_internal.attest_server()', '{operator,monitor}'),
    ('stormops_internal.attest_roles()', '{operator,monitor}'),
    ('stormops_internal.attest_tables()', '{operator,monitor}'),
    ('stormops_internal.attest_side_ways()', '{operator,monitor}'),
    ('stormops_internal.attest_policies()', '{operator,monitor}'),
    ('stormops_internal.attest_grants()', '{operator,monitor}'),
    ('stormops_internal.attest_functions()', '{operator,monitor}'),
    ('stormops_internal.attested_properties()', '{operator,monitor}'),
    ('stormops.attest()', '{operator,monitor}'),
    ('stormops.attest_summary()', '{operator,monitor}'),
    ('stormops.list_tenants()', '{operator,monitor}'),
    ('stormops_internal.is_operator()', '{operator,monitor}'),
    ('stormops.install()', '{}'),
    ('stormops.grant_usage(name,text)', '{}'),
    ('stormops.revoke_usage(name)', '{}'),
    ('stormops.renew_grants()', '{}'),
    ('stormops.protect(regclass,jsonb)', '{}'),
    ('stormops.unprotect(regclass)', '{}'),
    ('stormops.trust_issuer(text,text,jsonb,boolean,text,text,text)', '{}'),
    ('stormops.distrust_issuer(text)', '{}'),
    ('stormops.create_signing_key(boolean)', '{}'),
    ('stormops.rotate_signing_key(interval)', '{}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('users', 'created_at', '{email}', '{}', 'add_user');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('installation', ARRAY['SELECT * FROM stormops.attest()', 'Do what the failing rows'' remedy says', 'SELECT stormops.install()']);

-- tenancy/registers.sql
-- What the domains say of themselves in register.sql, brought together.

CREATE FUNCTION stormops_internal.write_registers() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $write$
DECLARE
    r record;
    rows text;
BEGIN
    FOR r IN
        SELECT CASE WHEN c.relname IN ('role_matrix', 'counted_tables', 'known_jobs') THEN 'stormops' ELSE 'stormops_internal' END AS schema,
            c.relname AS name, obj_description(c.oid, 'pg_class') AS says, a.columns, a.arguments, a.row_text
        FROM pg_class AS c
        CROSS JOIN LATERAL (
            SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns,
                string_agg(format('OUT %I %s', a.attname, a.atttypid::regtype), ', ' ORDER BY a.attnum) AS arguments,
                string_agg(format('quote_nullable(t.%I) || %L', a.attname, '::' || a.atttypid::regtype), ' || '', '' || ' ORDER BY a.attnum) AS row_text
            FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0
        ) AS a
        WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r' AND c.relname IN (
            'role_matrix', 'installation_tables', 'granted_views', 'granted_functions', 'counted_tables', 'known_jobs', 'shipped_issues')
    LOOP
        EXECUTE format('SELECT string_agg(''('' || %s || '')'', E'',\n        '' ORDER BY t.ctid) FROM pg_temp.%I AS t', r.row_text, r.name) INTO rows;
        -- The arguments are those of one column or of several, and a function says which.
        EXECUTE format('CREATE OR REPLACE FUNCTION %I.%I(%s) RETURNS SETOF %s LANGUAGE sql IMMUTABLE PARALLEL SAFE'
            ' SET search_path = pg_catalog, pg_temp AS %L', r.schema, r.name, r.arguments,
            CASE WHEN r.arguments LIKE '%, OUT %' THEN 'record' ELSE 'text' END,
            format(E'\n    SELECT r.* FROM (VALUES\n        %s\n    ) AS r (%s)\n', rows, r.columns));
        EXECUTE format('COMMENT ON FUNCTION %I.%I() IS %L', r.schema, r.name, r.says);
        EXECUTE format('DROP TABLE pg_temp.%I', r.name);
    END LOOP;
END
$write$;
COMMENT ON FUNCTION stormops_internal.write_registers() IS 'Makes of the rows of each register a function that gives them: they are then constants, part of what was shipped. Of the install script and of every upgrade script.';

-- tenancy/roles.sql
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
    INSERT INTO stormops_internal.usage_grants (grantee, kind) VALUES (grantee.oid, kind);
    PERFORM stormops.renew_grants();
END
$$;
COMMENT ON FUNCTION stormops.grant_usage(name, text) IS 'Gives an ordinary role one kind of use, and takes any other from it. kind: app (tenant by login() only), trusted_app (may also SET app.current_tenant), operator (tenants'' lifecycle; rows by break_glass() only), monitor (metrics only). Adds stormops to the role''s search_path. For superusers. Errors: 22004; 22023 unknown kind; 42704 no such role; 0LP01 the role is outside row security.';

CREATE FUNCTION stormops.renew_grants() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    g record;
    p record;
BEGIN
    FOR g IN
        SELECT r.oid, r.rolname AS role_name, u.kind FROM stormops_internal.usage_grants AS u JOIN pg_roles AS r ON r.oid = u.grantee
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA stormops, stormops_internal TO %I', g.role_name);
        -- So that a statement as the application writes it, INSERT INTO storms, finds the table.
        IF NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
            WHERE s.setrole = g.oid AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
                AND c LIKE 'search_path=%'
        ) THEN
            EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = "$user", public, stormops', g.role_name, current_database());
        END IF;
        FOR p IN SELECT f.signature FROM stormops_internal.granted_functions() AS f WHERE g.kind = ANY (f.kinds) LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', p.signature, g.role_name);
        END LOOP;
        FOR p IN SELECT v.view_name FROM stormops_internal.granted_views() AS v WHERE g.kind = ANY (v.kinds) LOOP
            EXECUTE format('GRANT SELECT ON stormops.%I TO %I', p.view_name, g.role_name);
        END LOOP;
        CONTINUE WHEN g.kind = 'monitor';
        -- An operator reads, and under break-glass only: there is no other way for it into a tenant.
        FOR p IN
            SELECT m.command, m.relation::regclass AS name,
                (SELECT string_agg(quote_ident(k), ', ') FROM unnest(m.columns) AS k) AS columns
            FROM stormops_internal.table_matrix() AS m
            WHERE m.through IS NULL AND m.least_role IS NOT NULL AND (g.kind <> 'operator' OR m.command = 'SELECT')
        LOOP
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
#variable_conflict use_variable
DECLARE
    f record;
BEGIN
    IF role_name IS NULL OR NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role "%s" does not exist', role_name),
            HINT = 'SELECT * FROM stormops_internal.usage_grants; shows who has use.';
    END IF;
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA stormops, stormops_internal FROM %I', role_name);
    FOR f IN SELECT c.oid::regclass AS name FROM stormops_internal.protected() AS p JOIN pg_class AS c ON c.oid = p.relation LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', f.name, role_name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA stormops, stormops_internal FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON SCHEMA stormops, stormops_internal FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON PARAMETER app.current_tenant, app.current_user_id FROM %I', role_name);
    DELETE FROM stormops_internal.usage_grants AS g WHERE g.grantee = quote_ident(role_name)::regrole;
END
$$;
COMMENT ON FUNCTION stormops.revoke_usage(name) IS 'Takes every grant on StormOps from a role. For superusers. Errors: 42704 no such role.';

-- tenancy/row_security.sql
-- Which tables are under row security, and by what. install() and protect() make it so, attest() compares.

CREATE FUNCTION stormops_internal.granted_roles(OUT grantee oid, OUT kind text) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT u.grantee::oid, u.kind FROM stormops_internal.usage_grants AS u JOIN pg_roles AS r ON r.oid = u.grantee $$;
COMMENT ON FUNCTION stormops_internal.granted_roles() IS 'Which role has which kind of use.';

CREATE FUNCTION stormops_internal.protected(OUT relation oid, OUT least_roles jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT t.relation::oid, t.least_roles FROM stormops_internal.protected_tables AS t $$;
COMMENT ON FUNCTION stormops_internal.protected() IS 'The tables that protect() has brought under row security.';

CREATE FUNCTION stormops_internal.table_matrix(of_relation oid DEFAULT NULL, OUT relation oid, OUT ours boolean, OUT command text, OUT least_role text, OUT columns text[], OUT through text)
    RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.oid, true, k.command, m.least_role, m.columns, m.through
    FROM pg_class AS c
    CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS k (command)
    LEFT JOIN stormops.role_matrix() AS m ON m.table_name = c.relname AND m.command = k.command
    WHERE c.relnamespace = 'stormops'::regnamespace AND c.relkind IN ('r', 'p') AND ($1 IS NULL OR c.oid = $1)
        AND c.relname IN (SELECT r.table_name FROM stormops.role_matrix() AS r)
    UNION ALL
    -- Of the database's own: what identifies a row is not updated.
    SELECT c.oid, false, k.command, p.least_roles ->> k.command,
        CASE k.command WHEN 'UPDATE' THEN (
            SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> 'tenant_id'
                AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))
        ) END, NULL
    FROM stormops_internal.protected() AS p
    JOIN pg_class AS c ON c.oid = p.relation
    CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS k (command)
    WHERE $1 IS NULL OR c.oid = $1
$$;
COMMENT ON FUNCTION stormops_internal.table_matrix(oid) IS 'role_matrix() and the same of protected tables: for each of the four commands of a table (NULL: of each table) the least role, NULL for nobody, the columns that UPDATE may change, and the functions that do it.';

CREATE FUNCTION stormops_internal.tenant_relations(OUT relation oid, OUT ours boolean, OUT root boolean) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE tree AS (
        SELECT DISTINCT m.relation, m.ours, true AS root FROM stormops_internal.table_matrix() AS m
        UNION ALL
        SELECT i.inhrelid, t.ours, false FROM tree AS t JOIN pg_inherits AS i ON i.inhparent = t.relation
    )
    SELECT t.relation, t.ours, t.root FROM tree AS t
$$;
COMMENT ON FUNCTION stormops_internal.tenant_relations() IS 'Every table that holds tenants'' rows, StormOps'' own and protected ones, and their partitions.';

CREATE FUNCTION stormops_internal.shipped_policies(
    of_relation oid DEFAULT NULL,
    OUT relation oid, OUT policy name, OUT permissive boolean, OUT command text, OUT using_text text, OUT check_text text, OUT says text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT DISTINCT m.relation, p.policy::name, p.permissive, 'ALL', p.using_text, p.check_text, p.says
    FROM stormops_internal.table_matrix($1) AS m
    CROSS JOIN (VALUES
        ('tenant', true, '(tenant_id = stormops.current_tenant())', NULL,
            'A tenant''s own rows. current_tenant() raises an error unless the transaction works in an open tenant.'),
        ('tenant_floor', false, '(tenant_id = stormops.current_tenant())', NULL,
            'The same, restrictive: no policy added later can widen it.'),
        -- Names nothing of the extension and so outlives it: when DROP EXTENSION ... CASCADE has
        -- taken the policies above, a policy that a user added opens nothing.
        ('installed', false, 'stormops.installed()', 'true', 'Without the extension nobody sees a row.')
    ) AS p (policy, permissive, using_text, check_text, says)
    UNION ALL
    SELECT m.relation, ('role_' || lower(m.command))::name, false, m.command,
        CASE WHEN m.command <> 'INSERT' THEN e.condition END, CASE WHEN m.command = 'INSERT' THEN e.condition END,
        CASE WHEN m.least_role IS NULL THEN 'Nobody does this; see role_matrix().'
            ELSE format('At least %s, in a tenant that is not suspended for writing; see role_matrix().', m.least_role) END
    FROM stormops_internal.table_matrix($1) AS m
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.least_role IS NULL THEN 'false'
            ELSE format('stormops.%s(%L::text)', CASE m.command WHEN 'SELECT' THEN 'may_read' ELSE 'may_write' END, m.least_role) END
    ) AS e (condition)
    -- Everybody in a tenant is at least a viewer.
    WHERE NOT (m.command = 'SELECT' AND m.least_role IS NOT DISTINCT FROM 'viewer')
$$;
COMMENT ON FUNCTION stormops_internal.shipped_policies(oid) IS 'The policies that a table (NULL: each table) must have, their expressions as pg_get_expr() writes them.';

CREATE FUNCTION stormops_internal.secure_table(relation regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    p record;
BEGIN
    FOR p IN
        SELECT i.relid AS name FROM pg_partition_tree(relation) AS i
        UNION SELECT relation
    LOOP
        -- A partition named directly has no policy, and so shows nobody a row.
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', p.name);
    END LOOP;
    FOR p IN SELECT s.* FROM stormops_internal.shipped_policies(relation) AS s LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON %s', p.policy, relation);
        EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s %s %s', p.policy, relation,
            CASE WHEN p.permissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, p.command,
            'USING (' || p.using_text || ')', 'WITH CHECK (' || p.check_text || ')');
        EXECUTE format('COMMENT ON POLICY %I ON %s IS %L', p.policy, relation, p.says);
    END LOOP;
    FOR p IN
        SELECT k.polname FROM pg_policy AS k
        WHERE k.polrelid = relation AND k.polname IN ('role_select', 'role_insert', 'role_update', 'role_delete')
            AND NOT EXISTS (SELECT FROM stormops_internal.shipped_policies(relation) AS s WHERE s.policy = k.polname)
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', p.polname, relation);
    END LOOP;
    IF relation <> 'stormops.tenants'::regclass THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN tenant_id SET DEFAULT stormops.current_tenant()', relation);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.secure_table(regclass) IS 'Forces row security on a table and its partitions, gives it its policies and tenant_id its default.';

-- tenancy/tiers.sql
-- A tenant's tier, and what changes with it.

CREATE FUNCTION stormops.set_tier(
    tenant_id uuid, tier text, reason text DEFAULT 'tier changed', OUT from_tier text, OUT to_tier text, OUT changed_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    tenant stormops.tenants;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_reason($3);
    IF $2 IS NULL OR $2 NOT IN ('standard', 'enterprise') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('a tenant cannot change to tier "%s"', coalesce(left($2, 50), 'NULL')),
            HINT = 'The tier becomes standard or enterprise; a trial is where a tenant may begin.';
    END IF;
    -- As set_quota(): waits for those who meter what the old or the new tier limits, and know of the old one only.
    PERFORM stormops_internal.lock_quotas('stormops.quotas'::regclass, $1, q.metric_name, true)
    FROM (SELECT DISTINCT q.metric_name FROM stormops_internal.tier_quotas AS q WHERE q.kind = 'hard' ORDER BY q.metric_name) AS q
    WHERE $1 IS NOT NULL;
    SELECT t.* INTO tenant FROM stormops.tenants AS t WHERE t.tenant_id = $1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    IF tenant.status = 'closed' OR tenant.tier = $2 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = CASE WHEN tenant.status = 'closed' THEN 'the tenant is closed' ELSE format('the tenant''s tier is %s already', $2) END,
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    UPDATE stormops.tenants AS t SET tier = $2, trial_ends_at = NULL WHERE t.tenant_id = $1;
    -- Counted afresh by the next to write, since nobody counts where the tier sets no limit.
    DELETE FROM stormops.quota_counters AS c
    WHERE c.tenant_id = $1 AND NOT EXISTS (
        SELECT FROM stormops.quotas AS q WHERE q.tenant_id = $1 AND q.metric_name = c.metric_name AND q.period = c.period);
    PERFORM stormops_internal.log_event($1, 'set_tier', tenant.tier, $2, $3);
    from_tier := tenant.tier;
    to_tier := $2;
    changed_at := now();
END
$$;
COMMENT ON FUNCTION stormops.set_tier(uuid, text, text) IS 'Moves a tenant to tier standard or enterprise, a trial too. Prices of the tier hold from the beginning of this hour (UTC). Returns from_tier, to_tier, changed_at. For operators. Errors: 22004, 22023 no reason, no such tier; P0002 no such tenant; 55000 closed, or it has that tier.';

-- tenancy/tokens.sql
-- Signed tokens: whose are taken, and those that the database issues itself.

CREATE FUNCTION stormops.login_challenge() RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'login_challenge_wrapper';
COMMENT ON FUNCTION stormops.login_challenge() IS 'What a bound token must hold in its claim nonce: 43 characters drawn at random for this transaction of this session, and of no use in another.';

CREATE FUNCTION stormops_internal.new_signing_key() RETURNS TABLE (private_key bytea, jwk text)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'new_signing_key_wrapper';
COMMENT ON FUNCTION stormops_internal.new_signing_key() IS 'A new Ed25519 key pair: the private half (32 bytes) and the public one as a JWK.';

CREATE FUNCTION stormops_internal.read_jwks(jwks text) RETURNS TABLE (kid text, algorithm text, jwk text)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'read_jwks_wrapper';
COMMENT ON FUNCTION stormops_internal.read_jwks(text) IS 'The keys of a JWK set that can verify tokens, checked. Error: 22023.';

CREATE FUNCTION stormops_internal.sign_token(private_key bytea, kid text, claims text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'sign_token_wrapper';
COMMENT ON FUNCTION stormops_internal.sign_token(bytea, text, text) IS 'A token of these claims (a JSON object), signed by an Ed25519 private key.';

CREATE FUNCTION stormops.login(token text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stormops_login';
COMMENT ON FUNCTION stormops.login(text) IS 'Verifies a signed token (JWT of at most 8192 bytes: EdDSA, ES256, RS256 or HS256) and sets tenant, user and role for the rest of the transaction. Errors: 28000 login refused, whatever the reason; 25001 the transaction works in another tenant, or logged in as another user, already.';

CREATE FUNCTION stormops.trust_issuer(
    issuer text, audience text, jwks jsonb, bound boolean DEFAULT false,
    tenant_claim text DEFAULT 'tenant_id', user_claim text DEFAULT 'sub', role_claim text DEFAULT 'role',
    OUT kid text, OUT algorithm text
) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF num_nulls(trust_issuer.issuer, trust_issuer.audience, jwks, trust_issuer.bound,
                 trust_issuer.tenant_claim, trust_issuer.user_claim, trust_issuer.role_claim) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'issuer, audience, keys and claims must not be null',
            HINT = 'SELECT * FROM stormops.trust_issuer(''https://login.example'', ''stormops'', ''{"keys": [ ... ]}'');';
    END IF;
    IF trust_issuer.issuer = 'stormops' OR char_length(trust_issuer.issuer) NOT BETWEEN 1 AND 500
        OR char_length(trust_issuer.audience) NOT BETWEEN 1 AND 500
        OR NOT (SELECT bool_and(char_length(c) BETWEEN 1 AND 200)
                FROM unnest(ARRAY[trust_issuer.tenant_claim, trust_issuer.user_claim, trust_issuer.role_claim]) AS c) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'issuer, audience or claim is not valid',
            DETAIL = 'Issuer and audience have 1 to 500 characters, the name of a claim 1 to 200; the issuer stormops is the database''s own.',
            HINT = 'Take iss and aud as the provider writes them.';
    END IF;
    INSERT INTO stormops_internal.token_issuers AS i (issuer, audience, bound, tenant_claim, user_claim, role_claim)
    VALUES (trust_issuer.issuer, trust_issuer.audience, trust_issuer.bound,
        trust_issuer.tenant_claim, trust_issuer.user_claim, trust_issuer.role_claim)
    ON CONFLICT ON CONSTRAINT token_issuers_pkey DO UPDATE
    SET audience = excluded.audience, bound = excluded.bound, tenant_claim = excluded.tenant_claim,
        user_claim = excluded.user_claim, role_claim = excluded.role_claim,
        trusted_at = excluded.trusted_at, trusted_by = excluded.trusted_by;
    DELETE FROM stormops_internal.token_keys AS k WHERE k.issuer = trust_issuer.issuer;
    RETURN QUERY
        INSERT INTO stormops_internal.token_keys AS k (issuer, kid, algorithm, jwk)
        SELECT trust_issuer.issuer, r.kid, r.algorithm, r.jwk FROM stormops_internal.read_jwks(jwks::text) AS r
        RETURNING k.kid, k.algorithm;
END
$$;
COMMENT ON FUNCTION stormops.trust_issuer(text, text, jsonb, boolean, text, text, text) IS 'Trusts the tokens of an issuer (iss) for an audience (aud), signed by a key of this set (JWKS, up to 100 kB); a second call replaces the set. bound: only tokens whose nonce is login_challenge(). *_claim: the claims with tenant, user and role. Returns the keys taken. For superusers. Errors: 22004; 22023 a bad name, a weak, malformed or private key, one without kid, or no usable key.';

CREATE FUNCTION stormops.distrust_issuer(issuer text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    DELETE FROM stormops_internal.token_keys AS k WHERE k.issuer = distrust_issuer.issuer;
    DELETE FROM stormops_internal.signing_keys WHERE distrust_issuer.issuer = 'stormops';
    DELETE FROM stormops_internal.token_issuers AS i WHERE i.issuer = distrust_issuer.issuer;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'issuer is not trusted',
            HINT = 'SELECT * FROM stormops.issuers();';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.distrust_issuer(text) IS 'Takes no token of this issuer any more, from the next login of every session; stormops: the database''s own, whose signing key is deleted. For superusers. Error: P0002 not trusted.';

CREATE FUNCTION stormops.issuers(
    OUT issuer text, OUT audience text, OUT bound boolean, OUT tenant_claim text, OUT user_claim text, OUT role_claim text,
    OUT kid text, OUT algorithm text, OUT not_after timestamptz, OUT trusted_at timestamptz, OUT trusted_by text
) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT i.issuer, i.audience, i.bound, i.tenant_claim, i.user_claim, i.role_claim,
        k.kid, k.algorithm, k.not_after, i.trusted_at, i.trusted_by
    FROM stormops_internal.token_issuers AS i LEFT JOIN stormops_internal.token_keys AS k ON k.issuer = i.issuer
    ORDER BY i.issuer, k.kid
$$;
COMMENT ON FUNCTION stormops.issuers() IS 'Whose tokens login() takes: a row for each key, without the key. not_after: when the key ends; NULL: when it leaves the set. For operators.';

CREATE FUNCTION stormops.create_signing_key(bound boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO stormops_internal.token_issuers AS i (issuer, audience, bound, tenant_claim, user_claim, role_claim)
    VALUES ('stormops', 'stormops', coalesce(create_signing_key.bound, false), 'tenant_id', 'sub', 'role')
    ON CONFLICT ON CONSTRAINT token_issuers_pkey DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'there is a signing key already',
            HINT = 'SELECT stormops.rotate_signing_key();';
    END IF;
    RETURN stormops.rotate_signing_key();
END
$$;
COMMENT ON FUNCTION stormops.create_signing_key(boolean) IS 'Makes the Ed25519 key pair that issue_token() signs with, and trusts it as the issuer stormops. bound: only tokens whose nonce is login_challenge(). Returns its kid. For superusers. Error: 55000 there is one.';

CREATE FUNCTION stormops.rotate_signing_key(overlap interval DEFAULT '1 hour') RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    new_kid text := stormops.new_id()::text;
    pair record;
BEGIN
    IF overlap IS NULL OR overlap NOT BETWEEN interval '0' AND interval '1 day' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'overlap is not valid',
            DETAIL = 'Tokens of the old key are taken for so much longer: 0 to 1 day.', HINT = 'SELECT stormops.rotate_signing_key(''1 hour'');';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops_internal.token_issuers AS i WHERE i.issuer = 'stormops') THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'there is no signing key',
            HINT = 'SELECT stormops.create_signing_key();';
    END IF;
    DELETE FROM stormops_internal.signing_keys;
    DELETE FROM stormops_internal.token_keys AS k WHERE k.issuer = 'stormops' AND (k.not_after <= now() OR overlap = interval '0');
    UPDATE stormops_internal.token_keys AS k SET not_after = now() + overlap WHERE k.issuer = 'stormops' AND k.not_after IS NULL;
    SELECT p.private_key, p.jwk INTO pair FROM stormops_internal.new_signing_key() AS p;
    INSERT INTO stormops_internal.signing_keys (kid, private_key) VALUES (new_kid, pair.private_key);
    INSERT INTO stormops_internal.token_keys (issuer, kid, algorithm, jwk) VALUES ('stormops', new_kid, 'EdDSA', pair.jwk);
    RETURN new_kid;
END
$$;
COMMENT ON FUNCTION stormops.rotate_signing_key(interval) IS 'Makes a new key for issue_token(). Tokens of the old one, whose private half is deleted, are taken for overlap longer (0 to 1 day; 0: not at all). Returns the new kid. For superusers. Errors: 22023; 55000 there is no key.';

CREATE FUNCTION stormops.issue_token(
    tenant_id uuid, user_id uuid, lifetime interval DEFAULT '15 minutes', role text DEFAULT NULL, nonce text DEFAULT NULL
) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    issued_at bigint := floor(extract(epoch FROM clock_timestamp()));
    key stormops_internal.signing_keys;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF tenant_id IS NULL OR user_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'tenant and user must not be null',
            HINT = 'SELECT stormops.issue_token(tenant_id, user_id);';
    END IF;
    IF lifetime IS NULL OR lifetime NOT BETWEEN interval '1 second' AND interval '1 day' OR char_length(nonce) > 200 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'lifetime or nonce is not valid',
            DETAIL = 'A token lives 1 second to 1 day; a nonce has at most 200 characters.',
            HINT = 'SELECT stormops.issue_token(tenant_id, user_id, ''15 minutes'');';
    END IF;
    IF role IS NOT NULL THEN
        PERFORM stormops_internal.check_role(role);
    END IF;
    IF NOT EXISTS (
        SELECT FROM stormops.users AS u JOIN stormops.tenants AS t ON t.tenant_id = u.tenant_id
        WHERE u.tenant_id = issue_token.tenant_id AND u.user_id = issue_token.user_id AND u.removed_at IS NULL AND t.status <> 'closed'
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'no such user of an open tenant',
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    SELECT k.* INTO key FROM stormops_internal.signing_keys AS k;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'there is no signing key',
            HINT = 'A superuser makes one: SELECT stormops.create_signing_key();';
    END IF;
    PERFORM stormops_internal.log_event(tenant_id, 'issue_token', NULL, role, NULL, user_id);
    RETURN stormops_internal.sign_token(key.private_key, key.kid, jsonb_strip_nulls(jsonb_build_object(
        'iss', 'stormops', 'aud', 'stormops', 'sub', user_id, 'tenant_id', tenant_id, 'role', role, 'nonce', nonce,
        'iat', issued_at, 'exp', issued_at + ceil(extract(epoch FROM lifetime))::bigint))::text);
END
$$;
COMMENT ON FUNCTION stormops.issue_token(uuid, uuid, interval, text, text) IS 'A token that logs a user into its tenant, signed by the database''s own key (EdDSA). lifetime: 1 second to 1 day; role: the most it may do; nonce: login_challenge() of the transaction that will use it. Writes tenant_events. For operators. Errors: 22004; 22023 lifetime, nonce or role; 55000 there is no signing key; P0002 no such user of an open tenant.';

-- tenancy/users.sql
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
        WHERE u.tenant_id = insert_user.tenant_id AND lower(u.email) = lower(address) AND u.removed_at IS NULL
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
    -- Puts changes of one tenant's users in line: two admins cannot remove each other. An update,
    -- since a mere lock would let a REPEATABLE READ transaction go on with what it saw before.
    UPDATE stormops.tenants AS t SET status_changed_at = t.status_changed_at
    WHERE t.tenant_id = open_for_change.tenant_id RETURNING t.status INTO status;
    IF NOT FOUND OR status = 'closed' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'tenant is closed or does not exist',
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
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
COMMENT ON FUNCTION stormops.remove_user(uuid, text, uuid) IS 'Removes a user; the row stays, without a role. Errors: P0002 no such user; 55000 the last admin stays; 42501.';

-- tenancy/verification.sql
-- Is the log as it was written?

CREATE FUNCTION stormops_internal.log_faults(
    tenant_id uuid, OUT log text, OUT entry bigint, OUT broken text, OUT subject_id uuid, OUT expected text, OUT actual text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH chain AS (
        SELECT l.*, l.entry - row_number() OVER (PARTITION BY l.log ORDER BY l.entry) AS gap,
            stormops_internal.entry_hash(lag(l.hash) OVER (PARTITION BY l.log ORDER BY l.entry), l.tenant_id, l.log, l.entry, l.subject_id, l.adopted, l.content) AS due
        FROM stormops.tenant_log AS l WHERE l.tenant_id = $1
    ), subject AS (
        SELECT 'events' AS log, 'tenant_events' AS kept_in, e.event_id AS subject_id, e.digest FROM stormops_internal.event_digests($1) AS e
        UNION ALL
        SELECT 'runs', 'policy_runs', r.run_id, r.digest FROM stormops_internal.run_digests($1) AS r
    ), superseded AS (
        SELECT r.run_id, r.superseded_at, s.decided_at
        FROM stormops.policy_runs AS r
        LEFT JOIN stormops.policy_runs AS s ON s.tenant_id = r.tenant_id AND s.supersedes = r.run_id
        WHERE r.tenant_id = $1 AND r.superseded_at IS DISTINCT FROM s.decided_at
    )
    SELECT f.* FROM (
        SELECT c.log, c.entry, 'tenant_log' AS broken, c.subject_id,
            CASE WHEN c.gap <> 0 THEN 'entry ' || c.entry - c.gap ELSE encode(c.due, 'hex') END,
            CASE WHEN c.gap <> 0 THEN 'entry ' || c.entry ELSE encode(c.hash, 'hex') END
        FROM chain AS c WHERE c.gap <> 0 OR c.hash <> c.due
        UNION ALL
        SELECT c.log, c.entry, CASE c.log WHEN 'events' THEN 'tenant_events' ELSE 'policy_runs' END, c.subject_id,
            encode(c.content, 'hex'), coalesce(encode(s.digest, 'hex'), 'no row')
        FROM chain AS c LEFT JOIN subject AS s ON s.log = c.log AND s.subject_id = c.subject_id
        WHERE s.digest IS DISTINCT FROM c.content
        UNION ALL
        SELECT s.log, NULL, s.kept_in, s.subject_id, 'no row', encode(s.digest, 'hex')
        FROM subject AS s
        WHERE NOT EXISTS (SELECT FROM chain AS c WHERE c.log = s.log AND c.subject_id = s.subject_id)
        UNION ALL
        SELECT 'runs', c.entry, 'policy_runs', s.run_id,
            'superseded_at ' || coalesce(s.decided_at AT TIME ZONE 'UTC' || ' UTC', 'NULL'),
            'superseded_at ' || coalesce(s.superseded_at AT TIME ZONE 'UTC' || ' UTC', 'NULL')
        FROM superseded AS s JOIN chain AS c ON c.log = 'runs' AND c.subject_id = s.run_id
    ) AS f
    ORDER BY f.log, f.entry, f.broken <> 'tenant_log', f.broken, f.subject_id
$$;
COMMENT ON FUNCTION stormops_internal.log_faults(uuid) IS 'Every fault in the chains of a tenant and in the rows that they vouch for, decisions apart, in the order of the chains; rows that no entry knows come last.';

CREATE FUNCTION stormops_internal.decision_fault(tenant_id uuid, run_id uuid, OUT property_id uuid, OUT expected text, OUT actual text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH kept AS (
        SELECT i AS place, substr(d.fingerprints, 8 * i::integer - 7, 8) AS mark
        FROM stormops.policy_run_digests AS d, generate_series(1, d.decisions) AS i
        WHERE d.tenant_id = $1 AND d.run_id = $2
    ), now AS (
        SELECT l.property_id, row_number() OVER (ORDER BY l.property_id) AS place
        FROM stormops.policy_decisions_log AS l WHERE l.tenant_id = $1 AND l.run_id = $2
    ), marked AS (
        SELECT n.property_id, n.place, substr(d.fingerprints, 8 * n.place::integer - 7, 8) AS mark
        FROM now AS n, stormops_internal.decisions_digest($1, $2) AS d
    ), first AS (
        SELECT k.mark AS kept, m.mark AS now, m.property_id, coalesce(k.place, m.place) AS place
        FROM kept AS k FULL JOIN marked AS m ON m.place = k.place
        WHERE k.mark IS DISTINCT FROM m.mark
        ORDER BY 4 LIMIT 1
    ), judged AS (
        SELECT f.*, CASE
            WHEN substr(f.kept, 1, 4) = substr(f.now, 1, 4) THEN 'changed'
            WHEN f.kept IS NULL OR EXISTS (SELECT FROM marked AS m WHERE m.place > f.place AND substr(m.mark, 1, 4) = substr(f.kept, 1, 4)) THEN 'added'
            ELSE 'missing'
        END AS what
        FROM first AS f
    )
    SELECT
        CASE WHEN j.what = 'missing' THEN (
            -- By the end of its id, which a property of the tenant still has.
            SELECT (array_agg(p.property_id))[1] FROM stormops.properties AS p
            WHERE p.tenant_id = $1 AND substr(uuid_send(p.property_id), 13) = substr(j.kept, 1, 4)
            HAVING count(*) = 1
        ) ELSE j.property_id END,
        CASE WHEN j.what = 'added' THEN 'no row' ELSE encode(substr(j.kept, 5), 'hex') END,
        CASE WHEN j.what = 'missing' THEN 'no row' ELSE encode(substr(j.now, 5), 'hex') END
    FROM judged AS j
$$;
COMMENT ON FUNCTION stormops_internal.decision_fault(uuid, uuid) IS 'The first decision of a run, in the order of property_id, that is not as it was written: the beginnings of its digest, or no row. property_id is NULL for a missing one whose property is gone as well.';

CREATE FUNCTION stormops.verify_log(
    tenant_id uuid DEFAULT NULL,
    OUT ok boolean, OUT entries bigint, OUT adopted bigint, OUT decisions bigint, OUT decisions_dropped bigint,
    OUT broken text, OUT broken_id uuid, OUT broken_run uuid, OUT expected text, OUT actual text
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
    run record;
    now_there record;
    fault record;
    dropped_below uuid;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- What this transaction itself has written is entered now.
    SET CONSTRAINTS stormops.enter_event, stormops.enter_run IMMEDIATE;
    SET CONSTRAINTS stormops.enter_event, stormops.enter_run DEFERRED;
    SELECT count(*), count(*) FILTER (WHERE l.adopted) INTO entries, adopted
    FROM stormops.tenant_log AS l WHERE l.tenant_id = target;
    SELECT f.broken, f.subject_id, CASE WHEN f.log = 'runs' THEN f.subject_id END AS run_id, f.expected, f.actual INTO fault
    FROM stormops_internal.log_faults(target) AS f LIMIT 1;
    IF FOUND THEN
        broken := fault.broken; broken_id := fault.subject_id; broken_run := fault.run_id;
        expected := fault.expected; actual := fault.actual;
    END IF;
    -- Retention is an event, and so in the chain.
    SELECT stormops_internal.first_id_of(max(e.to_status)::date) INTO dropped_below
    FROM stormops.tenant_events AS e WHERE e.tenant_id = target AND e.action = 'drop_decisions';
    decisions := 0;
    decisions_dropped := 0;
    FOR run IN
        SELECT d.run_id, d.decisions, d.digest, d.fingerprints FROM stormops.policy_run_digests AS d
        WHERE d.tenant_id = target ORDER BY d.run_id
    LOOP
        SELECT d.* INTO now_there FROM stormops_internal.decisions_digest(target, run.run_id) AS d;
        decisions := decisions + now_there.decisions;
        IF now_there.decisions = 0 AND run.run_id < dropped_below THEN
            decisions_dropped := decisions_dropped + run.decisions;
        ELSIF broken IS NULL AND (now_there.digest, now_there.fingerprints) IS DISTINCT FROM (run.digest, run.fingerprints) THEN
            SELECT f.* INTO fault FROM stormops_internal.decision_fault(target, run.run_id) AS f;
            broken := 'policy_decisions_log'; broken_run := run.run_id; broken_id := fault.property_id;
            expected := coalesce(fault.expected, encode(run.digest, 'hex'));
            actual := coalesce(fault.actual, encode(now_there.digest, 'hex'));
        END IF;
    END LOOP;
    -- Decisions of a run that the log does not know.
    IF broken IS NULL THEN
        SELECT 'policy_decisions_log', l.property_id, l.run_id, 'no row', 'a decision of no run'
        INTO broken, broken_id, broken_run, expected, actual
        FROM stormops.policy_decisions_log AS l
        WHERE l.tenant_id = target
            AND NOT EXISTS (SELECT FROM stormops.policy_run_digests AS d WHERE d.tenant_id = target AND d.run_id = l.run_id)
        LIMIT 1;
    END IF;
    ok := broken IS NULL;
END
$$;
COMMENT ON FUNCTION stormops.verify_log(uuid) IS 'Reads a tenant''s events, runs and decisions again and compares them with its log, in one row: ok, entries, adopted, decisions, decisions_dropped; and the first fault: broken, broken_id, broken_run, expected, actual. Operators: any tenant; admins: their own. It cannot show a chain written anew: keep log_head() elsewhere. Errors: 42501 another tenant; P0002 no such tenant.';

CREATE FUNCTION stormops.log_head(tenant_id uuid DEFAULT NULL, OUT log text, OUT entry bigint, OUT hash text) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT DISTINCT ON (l.log) l.log, l.entry, encode(l.hash, 'hex')
        FROM stormops.tenant_log AS l WHERE l.tenant_id = target ORDER BY l.log, l.entry DESC;
END
$$;
COMMENT ON FUNCTION stormops.log_head(uuid) IS 'The last entry of each chain of a tenant, to be kept where whoever administers this database cannot write: a chain that was written anew, or shortened, no longer has that hash at that entry. hash: hexadecimal. Callers and errors as verify_log().';

-- field/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'field';
-- What of field the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('storms', 'SELECT', 'viewer', NULL, NULL),
    ('storms', 'INSERT', 'crew_chief', NULL, NULL),
    ('storms', 'UPDATE', 'crew_chief', '{event_id,name,status,peril,hail_size_in,wind_gust_mph,west,south,east,north,started_at,ended_at}', NULL),
    ('storms', 'DELETE', 'admin', NULL, NULL),
    ('properties', 'SELECT', 'viewer', NULL, NULL),
    ('properties', 'INSERT', 'field_user', NULL, NULL),
    ('properties', 'UPDATE', 'field_user', '{external_id,address,longitude,latitude,roof_style,roof_material,year_built,roof_year,building_value,job_margin,contact_cost,do_not_contact,status}', NULL),
    ('customer_journeys', 'SELECT', 'viewer', NULL, NULL),
    ('customer_journeys', 'INSERT', 'field_user', NULL, NULL),
    ('customer_journeys', 'UPDATE', 'crew_chief', '{touch,channel,direction,occurred_at,value}', NULL),
    ('customer_journeys', 'DELETE', 'admin', NULL, NULL);

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops_internal.require_storm(uuid)', '{app,trusted_app}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('storms', 'created_at', '{name,started_at}', '{}', NULL),
    ('properties', 'created_at', '{address}', '{}', NULL),
    ('customer_journeys', 'occurred_at', '{property_id,touch,channel,occurred_at}', '{"property_id": "properties", "storm_id": "storms"}', NULL);

-- field/storms.sql
-- Storms, as the functions of every other domain look for them.

CREATE FUNCTION stormops_internal.require_storm(storm_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = require_storm.storm_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN storm_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('storm %s does not exist', coalesce(storm_id::text, 'NULL')),
            HINT = 'SELECT storm_id, name, status FROM stormops.storms; shows this tenant''s storms.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_storm(uuid) IS 'Errors: 22004, P0002 no such storm in this tenant.';

-- uplift/distribution.sql
-- How a storm's scores are distributed and whether that moved; how well they told whom to treat.
-- Readers: they run as the caller, under row security, write nothing and work on a standby.

-- The next two are SQL functions of their own, and return sets, so that each statement may run in parallel: one inside
-- PL/pgSQL may not, nor one of a SQL function that returns a value.
CREATE FUNCTION stormops_internal.batch_scores(storm_id uuid, scored_at timestamptz, model_version text)
    RETURNS TABLE (scores stormops.score_sketch, alone boolean)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- planned for a storm of any size: by the index, or a small one reads all storms
    AS $$
    SELECT stormops.score_agg(l.uplift), bool_and(l.scored_at = $2 AND l.model_version = $3)
    FROM stormops.lead_uplift AS l
    WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
$$;
COMMENT ON FUNCTION stormops_internal.batch_scores(uuid, timestamptz, text) IS 'All scores of a storm, and whether they all are of one moment and model: then no property has two.';

CREATE FUNCTION stormops_internal.latest_scores(tenant_id uuid, storm_id uuid) RETURNS TABLE (scores stormops.score_sketch, model_version text)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- planned for a storm of any size: by the index, or a small one reads all storms
    AS $$
    SELECT stormops.score_agg(u.uplift), u.model_version
    FROM (
        SELECT l.property_id, l.uplift, l.scored_at, l.model_version,
            lead(l.property_id) OVER (ORDER BY l.property_id, l.scored_at, l.model_version) AS next_property
        FROM stormops.lead_uplift AS l
        WHERE l.tenant_id = $1 AND l.storm_id = $2
    ) AS u
    WHERE u.next_property IS DISTINCT FROM u.property_id
    GROUP BY u.model_version
    ORDER BY max(u.scored_at) DESC, u.model_version DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION stormops_internal.latest_scores(uuid, uuid) IS 'Of a tenant''s storm, as far as the caller sees it: the latest score of each property, those of the model that scored last; no row without any.';

CREATE FUNCTION stormops_internal.storm_scores(storm_id uuid, OUT scores stormops.score_sketch, OUT model_version text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    first_at timestamptz;
    found_scores record;
BEGIN
    SELECT l.scored_at, l.model_version INTO first_at, model_version FROM stormops.lead_uplift AS l
    WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = storm_scores.storm_id
    ORDER BY l.property_id -- by the key, or the planner would look through all storms for one row
    LIMIT 1;
    -- A storm is mostly scored in one statement. Only if not must the latest of each property be found.
    SELECT b.* INTO found_scores FROM stormops_internal.batch_scores(storm_id, first_at, model_version) AS b;
    IF NOT found_scores.alone THEN
        SELECT l.* INTO found_scores FROM stormops_internal.latest_scores(stormops.current_tenant(), storm_id) AS l;
        model_version := found_scores.model_version;
    END IF;
    scores := found_scores.scores;
END
$$;
COMMENT ON FUNCTION stormops_internal.storm_scores(uuid) IS 'A storm''s scores as a state, and the model that they are of: the latest of each property, and of several models the one that scored last. An empty state and NULL without scores.';

CREATE FUNCTION stormops_internal.earlier_scores(storm_id uuid, model_version text) RETURNS stormops.score_sketch
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stormops.rollup(s.scores)
    FROM stormops.storms AS this
    JOIN stormops.storms AS e ON e.tenant_id = this.tenant_id
        AND (coalesce(e.started_at, e.created_at), e.storm_id) < (coalesce(this.started_at, this.created_at), this.storm_id)
    CROSS JOIN LATERAL stormops_internal.storm_scores(e.storm_id) AS s
    WHERE this.tenant_id = stormops.current_tenant() AND this.storm_id = $1 AND s.model_version = $2
$$;
COMMENT ON FUNCTION stormops_internal.earlier_scores(uuid, text) IS 'The scores of all earlier storms (by started_at, else created_at) whose latest model is that one; an empty state without any.';

CREATE FUNCTION stormops_internal.uplift_reference(
    storm_id uuid, baseline text, model_version text, OUT scores stormops.score_sketch, OUT reference text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    kept record;
BEGIN
    SELECT b.sketch, b.name, b.made_at INTO kept
    FROM stormops.uplift_baselines AS b
    WHERE b.tenant_id = stormops.current_tenant() AND b.model_version = uplift_reference.model_version
        AND b.name = coalesce(baseline, 'default');
    IF FOUND THEN
        scores := kept.sketch;
        reference := format('baseline %s of %s', kept.name, to_char(kept.made_at, 'YYYY-MM-DD'));
        RETURN;
    END IF;
    IF baseline IS NOT NULL THEN
        -- Known for another model: this model is new to it. Known for none: a slip.
        PERFORM FROM stormops.uplift_baselines AS b WHERE b.tenant_id = stormops.current_tenant() AND b.name = baseline;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('baseline "%s" does not exist', left(baseline, 100)),
                HINT = 'SELECT stormops.set_baseline(storm_id, name); makes one from a storm''s scores.';
        END IF;
        RETURN;
    END IF;
    scores := stormops_internal.earlier_scores(storm_id, model_version);
    IF stormops.n(scores) > 0 THEN
        reference := 'earlier storms';
    ELSE
        scores := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.uplift_reference(uuid, text, text) IS 'What a storm''s scores are compared with: the named baseline of their model, or without a name its baseline "default", or else the earlier storms of the same model. NULL where there is none. Error: P0002 no baseline of that name.';

CREATE FUNCTION stormops.check_uplift_distribution(
    storm_id uuid, baseline text DEFAULT NULL, alpha double precision DEFAULT 0.05, tolerance double precision DEFAULT 0.02,
    design_effect double precision DEFAULT 1,
    OUT n bigint, OUT mean double precision, OUT sd double precision, OUT drift_detected boolean, OUT severity text,
    OUT mean_out_of_band boolean, OUT model_version text, OUT mean_low double precision, OUT mean_high double precision,
    OUT lowest double precision, OUT q05 double precision, OUT q25 double precision, OUT median double precision,
    OUT q75 double precision, OUT q95 double precision, OUT highest double precision, OUT share_of_mode double precision,
    OUT reference text, OUT reference_n bigint, OUT reference_mean double precision, OUT reference_sd double precision,
    OUT mean_shift double precision, OUT wasserstein double precision, OUT wasserstein_sd double precision,
    OUT ks double precision, OUT psi double precision, OUT p_ks double precision, OUT p_chi2 double precision,
    OUT p_welch double precision, OUT p_mean double precision, OUT p_adjusted double precision, OUT low_power boolean,
    OUT detectable_shift double precision, OUT share_outside double precision
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record;
    other record;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT s.* INTO this FROM stormops_internal.storm_scores(storm_id) AS s;
    SELECT r.* INTO other FROM stormops_internal.uplift_reference(storm_id, baseline, this.model_version) AS r;
    model_version := this.model_version;
    reference := other.reference;
    SELECT d.n, d.mean, d.mean_low, d.mean_high, d.sd, d.lowest, d.q05, d.q25, d.median, d.q75, d.q95, d.highest,
        d.share_of_mode, d.mean NOT BETWEEN 0.10 AND 0.30
    INTO n, mean, mean_low, mean_high, sd, lowest, q05, q25, median, q75, q95, highest, share_of_mode, mean_out_of_band
    FROM stormops.describe(this.scores) AS d;
    SELECT v.* INTO drift_detected, severity, mean_shift, wasserstein, wasserstein_sd, ks, psi, p_ks, p_chi2, p_welch,
        p_mean, p_adjusted, low_power, detectable_shift, share_outside, reference_n, reference_mean, reference_sd
    FROM stormops.drift_verdict(this.scores, other.scores, alpha, tolerance, design_effect) AS v;
END
$$;
COMMENT ON FUNCTION stormops.check_uplift_distribution(uuid, text, double precision, double precision, double precision) IS 'How a storm''s scores are distributed and whether that moved, in one row: n, mean with 95 % interval, sd, quantiles; mean_out_of_band (mean below 0.10 or above 0.30); drift_detected, severity and statistics as drift_verdict(); new_model: nothing to compare with. Errors: 0B000 no tenant; 22004; 22023 alpha, tolerance or design_effect; P0002 no such storm or baseline.';

CREATE FUNCTION stormops.score_design_effect(
    storm_id uuid, OUT n bigint, OUT clusters bigint, OUT design_effect double precision, OUT few_clusters boolean
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant CONSTANT uuid := stormops.current_tenant();
    lowest double precision;
    highest double precision;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    WITH latest AS (
        SELECT DISTINCT ON (l.property_id) l.property_id, l.uplift, l.model_version, l.scored_at
        FROM stormops.lead_uplift AS l
        WHERE l.tenant_id = tenant AND l.storm_id = score_design_effect.storm_id
        ORDER BY l.property_id, l.scored_at DESC, l.model_version DESC
    ), places AS (
        SELECT l.uplift, coalesce(stormops_internal.neighbourhood(p.longitude, p.latitude), p.property_id::text) AS cluster
        FROM latest AS l
        JOIN stormops.properties AS p ON p.tenant_id = tenant AND p.property_id = l.property_id
        WHERE l.model_version = (
            SELECT m.model_version FROM latest AS m ORDER BY m.scored_at DESC, m.model_version DESC LIMIT 1
        )
    ), cells AS (
        SELECT count(*) AS members, sum(c.uplift - a.mean) AS excess, sum((c.uplift - a.mean) ^ 2) AS squares,
            min(c.uplift) AS lowest, max(c.uplift) AS highest
        FROM places AS c, (SELECT avg(uplift) AS mean FROM places) AS a
        GROUP BY c.cluster
    )
    SELECT coalesce(sum(c.members), 0), count(*),
        -- The variance of the mean by clusters, over that of independent scores.
        greatest(1, sum(c.excess ^ 2) * count(*) / nullif(count(*) - 1, 0)
            / nullif(sum(c.squares) * sum(c.members)::double precision / nullif(sum(c.members) - 1, 0), 0)),
        min(c.lowest), max(c.highest)
    INTO n, clusters, design_effect, lowest, highest FROM cells AS c;
    few_clusters := clusters < 30;
    -- greatest() takes no notice of a NULL, and of equal scores rounding leaves something to divide.
    IF clusters < 2 OR lowest = highest THEN
        design_effect := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.score_design_effect(uuid) IS 'How much less a storm''s scores tell than independent ones, since neighbours (0.01 degree) are alike: a factor of at least 1 for check_uplift_distribution(design_effect => ...); NULL for fewer than two neighbourhoods or equal scores. n scores, clusters; few_clusters: fewer than 30, the factor is too small. Errors: 0B000 no tenant; 22004; P0002 no such storm.';

CREATE FUNCTION stormops.uplift_drift(
    storm_id uuid, baseline text DEFAULT NULL,
    OUT statistic text, OUT value double precision, OUT p_value double precision, OUT meaning text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN QUERY
        SELECT d.statistic, d.value, d.p_value, d.meaning
        FROM stormops_internal.storm_scores(storm_id) AS s
        CROSS JOIN LATERAL stormops_internal.uplift_reference(storm_id, baseline, s.model_version) AS r
        CROSS JOIN LATERAL stormops.drift(s.scores, r.scores) AS d;
END
$$;
COMMENT ON FUNCTION stormops.uplift_drift(uuid, text) IS 'Every drift statistic of a storm''s scores against the reference, a row each, as drift(). No row where there is nothing to compare. Errors as check_uplift_distribution().';

CREATE FUNCTION stormops.set_baseline(
    storm_id uuid, name text DEFAULT 'default',
    OUT model_version text, OUT n bigint, OUT mean double precision, OUT sd double precision, OUT replaced boolean
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record;
BEGIN
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may set a baseline',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    PERFORM stormops_internal.require_storm(storm_id);
    IF name IS NULL OR char_length(name) NOT BETWEEN 1 AND 100 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN name IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'a baseline''s name has 1 to 100 characters', HINT = 'SELECT stormops.set_baseline(storm_id);';
    END IF;
    SELECT s.* INTO this FROM stormops_internal.storm_scores(storm_id) AS s;
    model_version := this.model_version;
    n := stormops.n(this.scores);
    mean := stormops.mean(this.scores);
    sd := stormops.stddev(this.scores);
    IF n = 0 THEN
        PERFORM stormops_internal.raise_no_scores(storm_id);
    END IF;
    INSERT INTO stormops.uplift_baselines AS b (model_version, name, storm_id, sketch, n, mean, sd, made_at, made_by, acting_user)
    VALUES (model_version, name, storm_id, this.scores, n, mean, sd, now(), stormops_internal.calling_role(), stormops.current_user_id())
    ON CONFLICT ON CONSTRAINT uplift_baselines_pkey DO UPDATE
    SET storm_id = EXCLUDED.storm_id, sketch = EXCLUDED.sketch, n = EXCLUDED.n, mean = EXCLUDED.mean, sd = EXCLUDED.sd,
        made_at = EXCLUDED.made_at, made_by = EXCLUDED.made_by, acting_user = EXCLUDED.acting_user
    RETURNING b.xmax <> 0 INTO replaced;
END
$$;
COMMENT ON FUNCTION stormops.set_baseline(uuid, text) IS 'Keeps a storm''s scores as the reference for later storms of the same model; the name "default" is what checks use without a name. One of the same name and model is replaced. Returns what was kept. Errors: 0B000; 22004; 22023; 42501 a field_user or viewer; 55000 no scores, tenant suspended; P0002 no such storm.';

-- uplift/outcomes.sql
-- What a storm's scores were worth: on the decisions that chance took.

CREATE FUNCTION stormops.randomised_decisions(
    storm_id uuid,
    OUT property_id uuid, OUT score double precision, OUT treated boolean, OUT converted boolean, OUT propensity double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT d.property_id, d.score, d.decision = 'treat', coalesce(o.converted, false),
        CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END
    FROM stormops.policy_decisions_log AS d
    LEFT JOIN (
        SELECT o.property_id, bool_or(o.converted) AS converted
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND NOT o.late AND o.run_id = (
            SELECT r.run_id FROM stormops.policy_runs AS r
            WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
        )
        GROUP BY o.property_id
    ) AS o ON o.property_id = d.property_id
    WHERE d.tenant_id = stormops.current_tenant() AND d.decision IN ('treat', 'hold') AND d.propensity < 1 AND d.run_id = (
        SELECT r.run_id FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
    )
$$;
COMMENT ON FUNCTION stormops.randomised_decisions(uuid) IS 'The decisions of a storm''s current run that could have gone either way: treat or hold, each with a probability above 0. propensity: P(treated), for the held too; converted: an outcome in time, false without one.';

-- A set of one, so that it may run in parallel.
CREATE FUNCTION stormops_internal.storm_trial(storm_id uuid) RETURNS TABLE (cases stormops.uplift_sketch)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_seqscan = off -- planned for a run of any size: by the index, or a small one reads a month's log
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    SELECT stormops.uplift_agg(d.score, d.treated, d.converted::integer::float8, d.propensity)
    FROM stormops.randomised_decisions($1) AS d
$$;
COMMENT ON FUNCTION stormops_internal.storm_trial(uuid) IS 'randomised_decisions() as a state: one row.';

CREATE FUNCTION stormops.uplift_summary(
    storm_id uuid,
    OUT status text, OUT n bigint, OUT treated bigint, OUT control bigint, OUT treated_events bigint, OUT control_events bigint,
    OUT small_sample boolean, OUT weighted boolean, OUT uplift double precision, OUT uplift_se double precision,
    OUT qini double precision, OUT auuc double precision, OUT qini_area double precision,
    OUT uplift_at_10 double precision, OUT uplift_at_10_se double precision, OUT uplift_at_20 double precision,
    OUT uplift_at_20_se double precision, OUT uplift_at_30 double precision, OUT uplift_at_30_se double precision,
    OUT autoc double precision, OUT autoc_se double precision, OUT autoc_p double precision,
    OUT rate_qini double precision, OUT rate_qini_se double precision, OUT rate_qini_p double precision,
    OUT slope double precision, OUT slope_se double precision, OUT intercept double precision, OUT intercept_se double precision,
    OUT calibration_error double precision, OUT calibration_by_chance double precision,
    OUT run_id uuid, OUT policy_mode text, OUT decided bigint, OUT outcomes_due timestamptz
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    n_invalid bigint;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT m.* INTO status, n, treated, control, treated_events, control_events, small_sample, weighted, uplift, uplift_se,
        qini, auuc, qini_area, uplift_at_10, uplift_at_10_se, uplift_at_20, uplift_at_20_se, uplift_at_30, uplift_at_30_se,
        autoc, autoc_se, autoc_p, rate_qini, rate_qini_se, rate_qini_p, slope, slope_se, intercept, intercept_se,
        calibration_error, calibration_by_chance, n_invalid
    FROM stormops_internal.storm_trial(storm_id) AS t CROSS JOIN LATERAL stormops.uplift_metrics(t.cases) AS m;
    SELECT r.run_id, r.policy_mode, r.treat + r.hold, r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer)
    INTO run_id, policy_mode, decided, outcomes_due
    FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = uplift_summary.storm_id AND r.superseded_at IS NULL;
END
$$;
COMMENT ON FUNCTION stormops.uplift_summary(uuid) IS 'How well a storm''s scores told whom to treat, on the randomised part of its current run (randomised_decisions()): one row as uplift_metrics(), and run_id, policy_mode, decided (treated and held, of which n were left to chance) and outcomes_due (until then outcomes still come in, and no outcome counts as no conversion). Errors: 0B000; 22004; P0002 no such storm; 54000.';

CREATE FUNCTION stormops.uplift_curve(
    storm_id uuid, points integer DEFAULT 100,
    OUT share double precision, OUT n bigint, OUT qini double precision, OUT qini_random double precision,
    OUT uplift double precision, OUT gain double precision, OUT gain_random double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN QUERY SELECT c.* FROM stormops_internal.storm_trial(storm_id) AS t CROSS JOIN LATERAL stormops.curve(t.cases, points) AS c;
END
$$;
COMMENT ON FUNCTION stormops.uplift_curve(uuid, integer) IS 'Points of a storm''s Qini and uplift curves for a plot, as curve(), on the randomised part of its current run. Errors: 0B000; 22004; 22023 points; P0002 no such storm.';

CREATE FUNCTION stormops.uplift_calibration(
    storm_id uuid, bins integer DEFAULT 10,
    OUT bin integer, OUT n bigint, OUT treated bigint, OUT control bigint, OUT mean_score double precision,
    OUT treated_rate double precision, OUT control_rate double precision, OUT uplift double precision,
    OUT uplift_se double precision, OUT effect double precision, OUT effect_se double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN QUERY SELECT b.* FROM stormops_internal.storm_trial(storm_id) AS t CROSS JOIN LATERAL stormops.bins(t.cases, bins) AS b;
END
$$;
COMMENT ON FUNCTION stormops.uplift_calibration(uuid, integer) IS 'A storm''s scores against what treating did, in bins of the ranking, as bins(), on the randomised part of its current run. Errors as uplift_curve().';

-- uplift/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'uplift';
-- What of uplift the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('lead_uplift', 'SELECT', 'viewer', NULL, NULL),
    ('lead_uplift', 'INSERT', 'crew_chief', NULL, NULL),
    ('lead_uplift', 'DELETE', 'admin', NULL, NULL),
    ('uplift_baselines', 'SELECT', 'viewer', NULL, NULL),
    ('uplift_baselines', 'INSERT', 'crew_chief', NULL, 'set_baseline()'),
    ('uplift_baselines', 'UPDATE', 'crew_chief', NULL, 'set_baseline()'),
    ('uplift_baselines', 'DELETE', 'admin', NULL, NULL);

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops_internal.score_is_state(bytea)', '{app,trusted_app}'),
    ('stormops.score_agg(double precision)', '{app,trusted_app}'),
    ('stormops.rollup(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.n(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.mean(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.stddev(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.quantile(stormops.score_sketch,double precision)', '{app,trusted_app}'),
    ('stormops.describe(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.histogram(stormops.score_sketch,double precision,double precision,integer)', '{app,trusted_app}'),
    ('stormops.drift(stormops.score_sketch,stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.drift_verdict(stormops.score_sketch,stormops.score_sketch,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.drift_points(double precision[],text,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.watch_drift(bytea,double precision[],text,double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.trial_is_state(bytea)', '{app,trusted_app}'),
    ('stormops.uplift_agg(double precision,boolean,double precision)', '{app,trusted_app}'),
    ('stormops.uplift_agg(double precision,boolean,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.rollup(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.n(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.qini(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.auuc(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.uplift_at(stormops.uplift_sketch,double precision)', '{app,trusted_app}'),
    ('stormops.rate(stormops.uplift_sketch,text)', '{app,trusted_app}'),
    ('stormops.uplift_metrics(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.curve(stormops.uplift_sketch,integer)', '{app,trusted_app}'),
    ('stormops.bins(stormops.uplift_sketch,integer)', '{app,trusted_app}'),
    ('stormops_internal.batch_scores(uuid,timestamp with time zone,text)', '{app,trusted_app}'),
    ('stormops_internal.latest_scores(uuid,uuid)', '{app,trusted_app}'),
    ('stormops_internal.storm_scores(uuid)', '{app,trusted_app}'),
    ('stormops_internal.earlier_scores(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.uplift_reference(uuid,text,text)', '{app,trusted_app}'),
    ('stormops.check_uplift_distribution(uuid,text,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.score_design_effect(uuid)', '{app,trusted_app}'),
    ('stormops.uplift_drift(uuid,text)', '{app,trusted_app}'),
    ('stormops.set_baseline(uuid,text)', '{app,trusted_app}'),
    ('stormops.randomised_decisions(uuid)', '{app,trusted_app}'),
    ('stormops_internal.storm_trial(uuid)', '{app,trusted_app}'),
    ('stormops.uplift_summary(uuid)', '{app,trusted_app}'),
    ('stormops.uplift_curve(uuid,integer)', '{app,trusted_app}'),
    ('stormops.uplift_calibration(uuid,integer)', '{app,trusted_app}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('lead_uplift', 'scored_at', '{storm_id,property_id,scored_at}', '{"property_id": "properties", "storm_id": "storms"}', NULL);

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('uplift_drift', ARRAY['Check storm characteristics', 'Verify feature engineering', 'Check data quality', 'Consider model retraining']),
    ('no_scores', ARRAY['Score the storm''s properties into lead_uplift', 'Check that the scoring job names this storm_id']);

-- uplift/scores.sql
-- Scores as a state: collected once, asked many things, stored, merged. What a state says of
-- itself and of another is Rust; these are the declarations.

CREATE FUNCTION stormops_internal.score_collect(state internal, score double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_collect';
COMMENT ON FUNCTION stormops_internal.score_collect(internal, double precision) IS 'Of score_agg(): takes in a score.';
CREATE FUNCTION stormops_internal.score_merge(state internal, stored stormops.score_sketch) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_merge';
COMMENT ON FUNCTION stormops_internal.score_merge(internal, stormops.score_sketch) IS 'Of rollup(): takes in a stored state.';
CREATE FUNCTION stormops_internal.score_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_combine';
COMMENT ON FUNCTION stormops_internal.score_combine(internal, internal) IS 'Of score_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.score_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_serialize';
COMMENT ON FUNCTION stormops_internal.score_serialize(internal) IS 'Of score_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.score_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_deserialize';
COMMENT ON FUNCTION stormops_internal.score_deserialize(bytea, internal) IS 'Of score_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.score_finish(state internal) RETURNS stormops.score_sketch
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_score_finish';
COMMENT ON FUNCTION stormops_internal.score_finish(internal) IS 'Of score_agg(): sorts.';

CREATE AGGREGATE stormops.score_agg(score double precision) (
    SFUNC = stormops_internal.score_collect, STYPE = internal, FINALFUNC = stormops_internal.score_finish,
    COMBINEFUNC = stormops_internal.score_combine, SERIALFUNC = stormops_internal.score_serialize, DESERIALFUNC = stormops_internal.score_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.score_agg(double precision) IS 'The scores as a state to ask: n(), mean(), stddev(), quantile(), describe(), drift(). NULL, NaN, infinities and numbers of 1e100 and more are counted and left out. 8 bytes a row, up to stormops.max_aggregate_rows. Never NULL: without rows, an empty state. Errors: 54000 more rows; 53200.';

CREATE AGGREGATE stormops.rollup(sketch stormops.score_sketch) (
    SFUNC = stormops_internal.score_merge, STYPE = internal, FINALFUNC = stormops_internal.score_finish,
    COMBINEFUNC = stormops_internal.score_combine, SERIALFUNC = stormops_internal.score_serialize, DESERIALFUNC = stormops_internal.score_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.rollup(stormops.score_sketch) IS 'The state of all scores of several states, as if they had been collected at once. Errors as score_agg().';

CREATE FUNCTION stormops.n(sketch stormops.score_sketch) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_n_wrapper';
COMMENT ON FUNCTION stormops.n(stormops.score_sketch) IS 'How many scores.';

CREATE FUNCTION stormops.mean(sketch stormops.score_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_mean_wrapper';
COMMENT ON FUNCTION stormops.mean(stormops.score_sketch) IS 'Mean of the scores; NULL of none.';

CREATE FUNCTION stormops.stddev(sketch stormops.score_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_sd_wrapper';
COMMENT ON FUNCTION stormops.stddev(stormops.score_sketch) IS 'Standard deviation of the sample (n - 1); NULL below two scores.';

CREATE FUNCTION stormops.quantile(sketch stormops.score_sketch, q double precision) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_quantile_wrapper';
COMMENT ON FUNCTION stormops.quantile(stormops.score_sketch, double precision) IS 'Quantile as percentile_cont: between order statistics; NULL of none. Error: 22023 outside 0 to 1.';

CREATE FUNCTION stormops.describe(sketch stormops.score_sketch) RETURNS TABLE (
    n bigint, n_missing bigint, n_invalid bigint, mean double precision, mean_low double precision, mean_high double precision,
    sd double precision, lowest double precision, q05 double precision, q25 double precision, median double precision,
    q75 double precision, q95 double precision, highest double precision, distinct_scores bigint, share_of_mode double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'score_describe_wrapper';
COMMENT ON FUNCTION stormops.describe(stormops.score_sketch) IS 'One row: n; n_missing (NULL) and n_invalid (NaN, infinite, 1e100 and more), both left out; mean with Student''s 95 % interval; sd; quantiles; distinct_scores; share_of_mode (of the most frequent score). NULL where n does not suffice.';

CREATE FUNCTION stormops.histogram(sketch stormops.score_sketch, low double precision, high double precision, bins integer)
    RETURNS bigint[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'score_histogram_wrapper';
COMMENT ON FUNCTION stormops.histogram(stormops.score_sketch, double precision, double precision, integer) IS 'How many scores lie in each of 1 to 1000 bins of one width from low to high; what lies outside counts in the first or last. Error: 22023.';

CREATE FUNCTION stormops.drift(current stormops.score_sketch, reference stormops.score_sketch) RETURNS TABLE (
    statistic text, value double precision, p_value double precision, meaning text
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 20 AS 'MODULE_PATHNAME', 'score_drift_wrapper';
COMMENT ON FUNCTION stormops.drift(stormops.score_sketch, stormops.score_sketch) IS 'Every drift statistic of current scores against reference scores, a row each, with its p-value where it has one. No row where a state is empty. Formulas: docs/statistics.md.';

CREATE FUNCTION stormops.drift_verdict(
    current stormops.score_sketch, reference stormops.score_sketch, alpha double precision DEFAULT 0.05,
    tolerance double precision DEFAULT 0.02, design_effect double precision DEFAULT 1
) RETURNS TABLE (
    drift_detected boolean, severity text, mean_shift double precision, wasserstein double precision,
    wasserstein_sd double precision, ks double precision, psi double precision, p_ks double precision,
    p_chi2 double precision, p_welch double precision, p_mean double precision, p_adjusted double precision, low_power boolean,
    detectable_shift double precision, share_outside double precision,
    reference_n bigint, reference_mean double precision, reference_sd double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'score_verdict_wrapper';
COMMENT ON FUNCTION stormops.drift_verdict(stormops.score_sketch, stormops.score_sketch, double precision, double precision, double precision) IS 'Did the scores move? One row: drift_detected (statistically significant at alpha, and large enough to matter), severity (none, watch, drift, low_power, new_model), p_ks, p_chi2, p_mean, wasserstein_sd, psi, mean_shift, detectable_shift. design_effect: 1 to a million, see score_design_effect(). NULL current: no scores. Errors: 22004; 22023 alpha, tolerance or design_effect.';

-- uplift/streams.sql
-- Changes in numbers as they come. The declarations; the rest is Rust.

CREATE FUNCTION stormops.drift_points(
    stream double precision[], method text DEFAULT 'adwin', delta double precision DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (at bigint, mean_before double precision, mean_after double precision)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'stream_points_wrapper';
COMMENT ON FUNCTION stormops.drift_points(double precision[], text, double precision, double precision) IS 'Where the mean of a series in time order (array_agg(x ORDER BY at)) changed, a row each: at (element, from 1), mean_before, mean_after. method adwin: delta inside 0 to 1; page_hinkley: delta: change to ignore, threshold: sum of excesses, in units of the numbers. NULL, NaN and numbers of 1e100 and more are skipped but counted. Errors: 22004; 22023 method, delta or threshold.';

CREATE FUNCTION stormops.watch_drift(
    state bytea, stream double precision[], method text DEFAULT 'adwin', delta double precision DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (next_state bytea, n bigint, changes bigint[], mean double precision)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'stream_watch_wrapper';
COMMENT ON FUNCTION stormops.watch_drift(bytea, double precision[], text, double precision, double precision) IS 'drift_points() a part at a time: one row with next_state (bytea, up to 5 kB; keep it and give it with the next elements), n (elements so far), changes (found among the new ones, counted from the first element), mean (since the last change). state NULL: a new watch by method, delta and threshold; else its own hold. Errors: 22004; 22023 an argument; 22P03 not a state.';

-- uplift/trials.sql
-- Treated and untreated rows with score and outcome as a state. The declarations; the rest is Rust.

CREATE FUNCTION stormops_internal.trial_collect(
    state internal, score double precision, treated boolean, outcome double precision
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_collect';
COMMENT ON FUNCTION stormops_internal.trial_collect(internal, double precision, boolean, double precision) IS 'Of uplift_agg(): takes in a case whose propensity is not known.';
CREATE FUNCTION stormops_internal.trial_collect(
    state internal, score double precision, treated boolean, outcome double precision, propensity double precision
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_collect';
COMMENT ON FUNCTION stormops_internal.trial_collect(internal, double precision, boolean, double precision, double precision) IS 'Of uplift_agg(): takes in a case.';
CREATE FUNCTION stormops_internal.trial_merge(state internal, stored stormops.uplift_sketch) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_merge';
COMMENT ON FUNCTION stormops_internal.trial_merge(internal, stormops.uplift_sketch) IS 'Of rollup(): takes in a stored state.';
CREATE FUNCTION stormops_internal.trial_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_combine';
COMMENT ON FUNCTION stormops_internal.trial_combine(internal, internal) IS 'Of uplift_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.trial_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_serialize';
COMMENT ON FUNCTION stormops_internal.trial_serialize(internal) IS 'Of uplift_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.trial_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_deserialize';
COMMENT ON FUNCTION stormops_internal.trial_deserialize(bytea, internal) IS 'Of uplift_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.trial_finish(state internal) RETURNS stormops.uplift_sketch
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_trial_finish';
COMMENT ON FUNCTION stormops_internal.trial_finish(internal) IS 'Of uplift_agg(): sorts.';

CREATE AGGREGATE stormops.uplift_agg(score double precision, treated boolean, outcome double precision) (
    SFUNC = stormops_internal.trial_collect, STYPE = internal, FINALFUNC = stormops_internal.trial_finish,
    COMBINEFUNC = stormops_internal.trial_combine, SERIALFUNC = stormops_internal.trial_serialize, DESERIALFUNC = stormops_internal.trial_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.uplift_agg(double precision, boolean, double precision) IS 'As with a propensity, for a trial in which everybody had the same chance of being treated: it is taken to be the share of the treated.';

CREATE AGGREGATE stormops.uplift_agg(score double precision, treated boolean, outcome double precision, propensity double precision) (
    SFUNC = stormops_internal.trial_collect, STYPE = internal, FINALFUNC = stormops_internal.trial_finish,
    COMBINEFUNC = stormops_internal.trial_combine, SERIALFUNC = stormops_internal.trial_serialize, DESERIALFUNC = stormops_internal.trial_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.uplift_agg(double precision, boolean, double precision, double precision) IS 'Collects cases for uplift_metrics(), qini(), auuc(), uplift_at(), rate(), curve(), bins(). outcome: 0 or 1, or an amount; propensity: P(treated) of the case, treated or not. NULL, NaN, infinite or huge (1e100) values, and propensities not inside 0 to 1, are counted and left out. 24 bytes a row. Errors: 53200 out of memory; 54000 more than stormops.max_aggregate_rows.';

CREATE AGGREGATE stormops.rollup(sketch stormops.uplift_sketch) (
    SFUNC = stormops_internal.trial_merge, STYPE = internal, FINALFUNC = stormops_internal.trial_finish,
    COMBINEFUNC = stormops_internal.trial_combine, SERIALFUNC = stormops_internal.trial_serialize, DESERIALFUNC = stormops_internal.trial_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.rollup(stormops.uplift_sketch) IS 'The state of all cases of several states, as if they had been collected at once. Errors as uplift_agg().';

CREATE FUNCTION stormops.n(sketch stormops.uplift_sketch) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_n_wrapper';
COMMENT ON FUNCTION stormops.n(stormops.uplift_sketch) IS 'How many cases.';

CREATE FUNCTION stormops.qini(sketch stormops.uplift_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_qini_wrapper';
COMMENT ON FUNCTION stormops.qini(stormops.uplift_sketch) IS 'Area of the Qini curve above the random line, as a share of the perfect order''s (1: perfect; 0: says nothing). NULL without events, without an arm, and of amounts.';

CREATE FUNCTION stormops.auuc(sketch stormops.uplift_sketch) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_auuc_wrapper';
COMMENT ON FUNCTION stormops.auuc(stormops.uplift_sketch) IS 'The same of the uplift curve.';

CREATE FUNCTION stormops.uplift_at(sketch stormops.uplift_sketch, share double precision) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'trial_top_wrapper';
COMMENT ON FUNCTION stormops.uplift_at(stormops.uplift_sketch, double precision) IS 'Difference of the arms'' rates in the best share of the cases; of equal scores at the limit each counts by its chance of being within. NULL where an arm is missing there. Error: 22023 share not above 0 to 1.';

CREATE FUNCTION stormops.rate(sketch stormops.uplift_sketch, weighting text DEFAULT 'autoc') RETURNS TABLE (
    estimate double precision, se double precision, z double precision, p_value double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'trial_rate_wrapper';
COMMENT ON FUNCTION stormops.rate(stormops.uplift_sketch, text) IS 'Rank-weighted average treatment effect (arXiv 2111.07966), weighting autoc (effects in few) or qini (effects in many); 0: the order says nothing. One row. Error: 22023.';

CREATE FUNCTION stormops.uplift_metrics(sketch stormops.uplift_sketch) RETURNS TABLE (
    status text, n bigint, treated bigint, control bigint, treated_events bigint, control_events bigint,
    small_sample boolean, weighted boolean, uplift double precision, uplift_se double precision,
    qini double precision, auuc double precision, qini_area double precision,
    uplift_at_10 double precision, uplift_at_10_se double precision, uplift_at_20 double precision,
    uplift_at_20_se double precision, uplift_at_30 double precision, uplift_at_30_se double precision,
    autoc double precision, autoc_se double precision, autoc_p double precision,
    rate_qini double precision, rate_qini_se double precision, rate_qini_p double precision,
    slope double precision, slope_se double precision, intercept double precision, intercept_se double precision,
    calibration_error double precision, calibration_by_chance double precision, n_invalid bigint
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'trial_metrics_wrapper';
COMMENT ON FUNCTION stormops.uplift_metrics(stormops.uplift_sketch) IS 'What the scores were worth, in one row: status (ok, equal_scores, no_rows, no_treatment, no_control, no_events, all_events), n, uplift (all cases), uplift_at_10, 20, 30 (the best), qini_area, autoc, rate_qini, slope, intercept, calibration_error. *_se: standard errors. small_sample: do not trust them. n_invalid: cases left out.';

CREATE FUNCTION stormops.curve(sketch stormops.uplift_sketch, points integer DEFAULT 100) RETURNS TABLE (
    share double precision, n bigint, qini double precision, qini_random double precision,
    uplift double precision, gain double precision, gain_random double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'trial_points_wrapper';
COMMENT ON FUNCTION stormops.curve(stormops.uplift_sketch, integer) IS 'Points of the curves, from share 0 to 1 of the cases, the best first: qini, qini_random (the line of a random order), uplift (difference of rates so far), gain = uplift * n, gain_random. Without weights qini counts events won among the treated. No row where an arm is missing. Error: 22023 points not 1 to 10,000.';

CREATE FUNCTION stormops.bins(sketch stormops.uplift_sketch, bins integer DEFAULT 10) RETURNS TABLE (
    bin integer, n bigint, treated bigint, control bigint, mean_score double precision, treated_rate double precision,
    control_rate double precision, uplift double precision, uplift_se double precision, effect double precision, effect_se double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'trial_bins_wrapper';
COMMENT ON FUNCTION stormops.bins(stormops.uplift_sketch, integer) IS 'The ranking in bins, the best first; equal scores stay together. treated_rate, control_rate, uplift: the arms'' rates and their difference, NULL of an arm that is missing in the bin; effect: mean of the cases'' effects (augmented inverse propensity), to compare with mean_score. Errors as curve().';

-- experiment/arms.sql
-- An arm's moments as an aggregate in two steps: arm_agg() gathers, the compare functions read.
-- The state is a float8[] of seven numbers, which a table can keep and arm_rollup() can merge.

CREATE FUNCTION stormops_internal.arm_combine(state double precision[], other double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'arm_combine_wrapper';
COMMENT ON FUNCTION stormops_internal.arm_combine(double precision[], double precision[]) IS 'Merges two states of arm_agg(). Errors: 22003 overflow, 22023 not such a state.';

CREATE FUNCTION stormops.arm_moments(state double precision[]) RETURNS TABLE (
    n bigint, n_invalid bigint, mean double precision, variance double precision, covariate_mean double precision,
    covariate_variance double precision, covariance double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'arm_moments_wrapper';
COMMENT ON FUNCTION stormops.arm_moments(double precision[]) IS 'What a state of arm_agg() holds, in one row: n, n_invalid (NaN, infinite), mean and sample variance, the covariate''s, and their covariance. Error: 22023 not such a state.';

CREATE FUNCTION stormops_internal.arm_accum(state double precision[], y double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_arm_accum';
COMMENT ON FUNCTION stormops_internal.arm_accum(double precision[], double precision) IS 'Transition of arm_agg(y). Error: 22023 outside an aggregate.';

CREATE FUNCTION stormops_internal.arm_accum(state double precision[], y double precision, x double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_arm_accum';
COMMENT ON FUNCTION stormops_internal.arm_accum(double precision[], double precision, double precision) IS 'Transition of arm_agg(y, x). Error: 22023 outside an aggregate.';

CREATE AGGREGATE stormops.arm_agg(y double precision) (
    SFUNC = stormops_internal.arm_accum, STYPE = double precision[], COMBINEFUNC = stormops_internal.arm_combine,
    INITCOND = '{0,0,0,0,0,0,0}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.arm_agg(double precision) IS 'The moments of a measure: a state of 80 bytes for arm_moments(), compare_means() and arm_rollup(). NULL does not count; NaN and infinities are counted apart. Errors: 22003 overflow.';

CREATE AGGREGATE stormops.arm_agg(y double precision, x double precision) (
    SFUNC = stormops_internal.arm_accum, STYPE = double precision[], COMBINEFUNC = stormops_internal.arm_combine,
    INITCOND = '{0,0,0,0,0,0,0}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.arm_agg(double precision, double precision) IS 'The same with a covariate x, known before the arms were drawn, for compare_means() to adjust by. A row with a NULL in either does not count.';

CREATE AGGREGATE stormops.arm_rollup(state double precision[]) (
    SFUNC = stormops_internal.arm_combine, STYPE = double precision[], COMBINEFUNC = stormops_internal.arm_combine, PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.arm_rollup(double precision[]) IS 'Merges states of arm_agg(): days into a season, without rereading the rows. NULL without any. Error: 22023 not such a state.';

-- experiment/bounded_lift.sql
-- The average effect on outcomes that have bounds, sure at every look: bounded_lift_agg() gathers cases in the order of
-- their assignment, bounded_lift() answers. The declarations; the rest is Rust.

CREATE FUNCTION stormops_internal.bounded_accum(state double precision[], outcome double precision, treated boolean, propensity double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'stormops_bounded_accum';
COMMENT ON FUNCTION stormops_internal.bounded_accum(double precision[], double precision, boolean, double precision) IS 'Transition of bounded_lift_agg(). Error: 22023 outside an aggregate, and as there.';

CREATE AGGREGATE stormops.bounded_lift_agg(outcome double precision, treated boolean, propensity double precision) (
    SFUNC = stormops_internal.bounded_accum, STYPE = double precision[], INITCOND = '{0,0,0,0,0,0,0,0.5}', PARALLEL = SAFE
);
COMMENT ON AGGREGATE stormops.bounded_lift_agg(double precision, boolean, double precision) IS 'Collects randomised cases for bounded_lift(): bounded_lift_agg(outcome, treated, propensity ORDER BY assigned_at). outcome: 0 to 1; propensity: P(treated), inside 0 to 1. The order must not depend on outcomes. Rows with a NULL do not count. The state is a float8[8] that a table can keep. Errors: 22003 sums out of range; 22023 outcome or propensity out of range.';

CREATE FUNCTION stormops.bounded_lift(
    state double precision[], alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL,
    outcome_variance double precision DEFAULT 0.1, least_propensity double precision DEFAULT NULL
) RETURNS TABLE (
    n bigint, lift double precision, low double precision, high double precision, p_value double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1
    AS 'MODULE_PATHNAME', 'bounded_lift_wrapper';
COMMENT ON FUNCTION stormops.bounded_lift(double precision[], double precision, bigint, double precision, double precision) IS 'Mean effect of a bounded_lift_agg() state, in units of the outcome (-1 to 1). low, high and p_value hold at every look and sample size (empirical-Bernstein, Howard 2021). One row; n 0 and NULLs without cases. planned_n, outcome_variance (0 to 0.25), least_propensity (smallest chance of an arm): fix them before the first look. Error: 22023 an argument, not such a state.';

-- experiment/checks.sql
-- Whether an experiment's draw held in each part of it, and what each day's look said.

CREATE FUNCTION stormops.check_sample_ratio(counts bigint[], weights double precision[]) RETURNS TABLE (
    verdict text, chi2 double precision, df integer, p_value double precision, ln_bayes_factor double precision,
    sequential_p double precision, deviation double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'check_sample_ratio_wrapper';
COMMENT ON FUNCTION stormops.check_sample_ratio(bigint[], double precision[]) IS 'Are the arms as large as their weights say? One row: verdict ok, warning (p < 0.01), alarm (p < 0.001) or too_few (fewer than eight expected in an arm), by chi-square; sequential_p holds at every look; deviation: the largest difference of a share, below 0.001 always ok. Arms of weight 0 are left out. NULLs without leads. Error: 22023 an argument.';

CREATE FUNCTION stormops.check_sample_ratio_by(
    experiment_id uuid, split_by text DEFAULT 'day',
    OUT part text, OUT n bigint, OUT counts jsonb, OUT verdict text, OUT p_value double precision,
    OUT p_adjusted double precision, OUT sequential_p double precision, OUT deviation double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_column
DECLARE
    tenant CONSTANT uuid := stormops.current_tenant();
    e record;
BEGIN
    SELECT x.* INTO e FROM stormops.experiments AS x WHERE x.tenant_id = tenant AND x.experiment_id = $1;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment($1);
    END IF;
    IF $2 IS NULL OR $2 NOT IN ('day', 'channel', 'arm', 'roof_material', 'roof_style', 'neighbourhood') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'unknown part of an experiment',
            HINT = 'split_by is day, channel, arm, roof_material, roof_style or neighbourhood.';
    END IF;
    RETURN QUERY
    WITH units AS MATERIALIZED (
        SELECT a.arm, CASE WHEN e.unit = 'neighbourhood' THEN coalesce(a.neighbourhood, a.property_id::text) ELSE a.property_id::text END AS drawn,
            CASE $2 WHEN 'day' THEN (a.assigned_at AT TIME ZONE 'UTC')::date::text WHEN 'arm' THEN a.arm
                WHEN 'neighbourhood' THEN a.neighbourhood WHEN 'roof_material' THEN p.roof_material WHEN 'roof_style' THEN p.roof_style
                WHEN 'channel' THEN c.channel END AS part
        FROM stormops.experiment_assignments AS a
        JOIN stormops.properties AS p ON p.tenant_id = tenant AND p.property_id = a.property_id
        -- By which way the property last came or was reached before it had an arm: later touches depend on the arm.
        LEFT JOIN (
            SELECT DISTINCT ON (j.property_id) j.property_id, j.channel
            FROM stormops.experiment_assignments AS b
            JOIN stormops.customer_journeys AS j ON j.tenant_id = tenant AND j.property_id = b.property_id AND j.occurred_at < b.assigned_at
            WHERE $2 = 'channel' AND b.tenant_id = tenant AND b.experiment_id = $1
            ORDER BY j.property_id, j.occurred_at DESC, j.journey_id
        ) AS c ON c.property_id = a.property_id
        WHERE a.tenant_id = tenant AND a.experiment_id = $1
    ), tallied AS (
        SELECT coalesce(u.part, 'unknown') AS part, u.arm, count(DISTINCT u.drawn) AS n
        FROM units AS u GROUP BY 1, 2
    ), parts AS (
        SELECT DISTINCT t.part FROM tallied AS t WHERE $2 <> 'arm'
    ), cells AS (
        SELECT p.part, a.arm, coalesce(t.n, 0) AS n, (e.arms ->> a.arm)::float8 AS weight
        FROM parts AS p
        CROSS JOIN (SELECT jsonb_object_keys(e.arms) AS arm) AS a
        LEFT JOIN tallied AS t ON t.part = p.part AND t.arm = a.arm
        UNION ALL
        -- Each arm against all others.
        SELECT a.arm, s.side, CASE s.side WHEN 'this' THEN coalesce(t.n, 0) ELSE (SELECT coalesce(sum(o.n), 0) FROM tallied AS o) - coalesce(t.n, 0) END,
            CASE s.side WHEN 'this' THEN (e.arms ->> a.arm)::float8 ELSE 1 - (e.arms ->> a.arm)::float8 END
        FROM (SELECT jsonb_object_keys(e.arms) AS arm WHERE $2 = 'arm') AS a
        CROSS JOIN (VALUES ('this'), ('others')) AS s (side)
        LEFT JOIN tallied AS t ON t.arm = a.arm
    ), checked AS (
        SELECT c.part, sum(c.n)::bigint AS n, jsonb_object_agg(c.arm, c.n) AS counts,
            array_agg(c.n::bigint ORDER BY c.arm) AS drawn, array_agg(c.weight ORDER BY c.arm) AS weights
        FROM cells AS c GROUP BY c.part
    ), judged AS (
        SELECT c.part, c.n, c.counts, s.*, row_number() OVER (ORDER BY c.part) AS place
        FROM checked AS c, stormops.check_sample_ratio(c.drawn, c.weights) AS s
    ), adjusted AS (
        SELECT j.*, (stormops.benjamini_hochberg(array_agg(CASE WHEN j.verdict <> 'too_few' THEN j.p_value END) OVER (
            ORDER BY j.place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))[j.place] AS p_adjusted
        FROM judged AS j
    )
    SELECT a.part, a.n, a.counts,
        CASE WHEN a.verdict = 'too_few' THEN 'too_few' WHEN a.deviation < 0.001 OR a.p_adjusted >= 0.01 THEN 'ok'
            WHEN a.p_adjusted >= 0.001 THEN 'warning' ELSE 'alarm' END,
        a.p_value, a.p_adjusted, a.sequential_p, a.deviation
    FROM adjusted AS a
    ORDER BY a.part;
END
$$;
COMMENT ON FUNCTION stormops.check_sample_ratio_by(uuid, text) IS 'check_sample_ratio() of each part of an experiment, to find where a split is broken. split_by: day (UTC), channel, roof_material, roof_style, neighbourhood, arm. One row a part: n, counts, p_value, p_adjusted (Benjamini-Hochberg), sequential_p, deviation, verdict (ok, warning, alarm, too_few). Errors: 22004; 22023 split_by; P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops.experiment_looks(
    experiment_id uuid, alpha double precision DEFAULT 0.05,
    OUT look date, OUT arm text, OUT n bigint, OUT converted bigint, OUT control_n bigint, OUT control_converted bigint,
    OUT lift double precision, OUT low double precision, OUT high double precision, OUT p_value double precision,
    OUT least_p double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_column
DECLARE
    e record;
BEGIN
    SELECT x.* INTO e FROM stormops.experiments AS x
    WHERE x.tenant_id = stormops.current_tenant() AND x.experiment_id = $1;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment($1);
    END IF;
    IF $2 IS NULL OR NOT ($2 > 0 AND $2 < 0.5) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'alpha must lie between 0 and 0.5', HINT = 'The default is 0.05.';
    END IF;
    IF e.cluster_by IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = 'looks back take properties as independent, which clusters are not',
            HINT = 'experiment_report() judges by clusters.';
    END IF;
    RETURN QUERY
    WITH events AS (
        SELECT u.arm, (u.assigned_at AT TIME ZONE 'UTC')::date AS day, 1 AS n, 0 AS converted FROM stormops_internal.experiment_units($1) AS u
        UNION ALL
        SELECT u.arm, (u.converted_at AT TIME ZONE 'UTC')::date, 0, 1 FROM stormops_internal.experiment_units($1) AS u WHERE u.converted
    ), daily AS (
        SELECT v.arm, v.day, sum(v.n) AS n, sum(v.converted) AS converted FROM events AS v GROUP BY v.arm, v.day
    ), so_far AS (
        SELECT a.arm, d.day, (sum(coalesce(c.n, 0)) OVER (PARTITION BY a.arm ORDER BY d.day))::bigint AS n,
            (sum(coalesce(c.converted, 0)) OVER (PARTITION BY a.arm ORDER BY d.day))::bigint AS converted
        FROM (SELECT DISTINCT y.day FROM daily AS y) AS d
        CROSS JOIN (SELECT jsonb_object_keys(e.arms) AS arm) AS a
        LEFT JOIN daily AS c ON c.arm = a.arm AND c.day = d.day
    )
    SELECT t.day, t.arm, t.n, t.converted, b.n, b.converted, p.lift,
        -- What holds at every look holds at all of them together.
        max(p.always_valid_low) OVER looks, min(p.always_valid_high) OVER looks,
        p.always_valid_p, min(p.always_valid_p) OVER looks
    FROM so_far AS t
    JOIN so_far AS b ON b.day = t.day AND b.arm = e.control
    CROSS JOIN LATERAL stormops.compare_proportions(t.converted, t.n, b.converted, b.n, 0, $2, e.planned_n) AS p
    WHERE t.arm <> e.control
    WINDOW looks AS (PARTITION BY t.arm ORDER BY t.day)
    ORDER BY t.day, t.arm;
END
$$;
COMMENT ON FUNCTION stormops.experiment_looks(uuid, double precision) IS 'How an experiment looked at the end of each day (UTC), from the rows as they are now: arm against control, lift, low and high (running intersection of the always-valid intervals), p_value of the day, least_p (the smallest so far). Errors: 0A000 randomised by clusters; 22004; 22023 alpha; P0002 no such experiment in this tenant.';

-- experiment/comparisons.sql
-- Two arms compared, and how many leads that takes. What they compute is Rust; docs/statistics.md has the formulas.

CREATE FUNCTION stormops.benjamini_hochberg(p_values double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'benjamini_hochberg_sql_wrapper';
COMMENT ON FUNCTION stormops.benjamini_hochberg(double precision[]) IS 'The p-values adjusted for being many (false discovery rate), in the order given; NULL stays NULL and does not count. Error: 22023 not p-values.';

CREATE FUNCTION stormops.compare_clusters(
    treated_n double precision[], treated_sum double precision[], control_n double precision[], control_sum double precision[],
    alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL
) RETURNS TABLE (
    clusters bigint, difference double precision, se double precision, low double precision, high double precision,
    p_value double precision, always_valid_low double precision, always_valid_high double precision, always_valid_p double precision,
    few_clusters boolean
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'compare_clusters_wrapper';
COMMENT ON FUNCTION stormops.compare_clusters(double precision[], double precision[], double precision[], double precision[], double precision, bigint) IS 'The difference of two arms'' means from n and sum by cluster, in one row: cluster-robust standard error CR1 with t of clusters - 1. clusters: those with leads. few_clusters: below 30, or an arm in fewer than 15: the error is too small, and nothing always-valid is claimed. No error where an arm is in one cluster only. Errors: 22023.';

CREATE FUNCTION stormops.compare_means(
    treated double precision[], control double precision[], alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL
) RETURNS TABLE (
    status text, treated_n bigint, control_n bigint, treated_mean double precision, control_mean double precision,
    difference double precision, se double precision, low double precision, high double precision, p_value double precision,
    always_valid_low double precision, always_valid_high double precision, always_valid_p double precision, slope double precision,
    adjusted_difference double precision, adjusted_se double precision, adjusted_low double precision, adjusted_high double precision,
    adjusted_p double precision, variance_left double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'compare_means_wrapper';
COMMENT ON FUNCTION stormops.compare_means(double precision[], double precision[], double precision, bigint) IS 'The difference of two arms'' means, states of arm_agg(), in one row: Welch''s interval and p_value; always-valid interval and p-value from a hundred leads on, thirty of them in each arm; adjusted_...: less slope times the covariate (CUPED), with variance_left of the plain one. status: ok, no_treatment, no_control, no_outcomes. Errors: 22023.';

CREATE FUNCTION stormops.compare_proportions(
    treated_converted bigint, treated_n bigint, control_converted bigint, control_n bigint, min_lift double precision DEFAULT 0.05,
    alpha double precision DEFAULT 0.05, planned_n bigint DEFAULT NULL
) RETURNS TABLE (
    status text, small_sample boolean, treated_rate double precision, control_rate double precision, lift double precision,
    lift_low double precision, lift_high double precision, score_low double precision, score_high double precision,
    relative_lift double precision, relative_low double precision, relative_high double precision, p_value double precision,
    method text, always_valid_low double precision, always_valid_high double precision, always_valid_p double precision,
    always_valid_method text, p_short double precision, verdict text, anomaly boolean, always_valid_anomaly boolean,
    more_leads_needed bigint, detectable_lift double precision, probability_better double precision, expected_loss double precision,
    boschloo_p double precision
)
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'compare_proportions_wrapper';
COMMENT ON FUNCTION stormops.compare_proportions(bigint, bigint, bigint, bigint, double precision, double precision, bigint) IS 'Compares the conversions of two arms, in one row: rates, lift and relative lift with intervals, p_value by method z or fisher, always_valid_* for repeated looks, p_short and verdict (ok, inconclusive, anomaly) against min_lift, more_leads_needed, detectable_lift, probability_better. NULL counts are 0. status: ok, no_treatment, no_control, no_outcomes. Error: 22023 an argument.';

CREATE FUNCTION stormops.comparison_power(
    control_rate double precision, lift double precision, leads_per_arm bigint, alpha double precision DEFAULT 0.05
) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'comparison_power_sql_wrapper';
COMMENT ON FUNCTION stormops.comparison_power(double precision, double precision, bigint, double precision) IS 'Power to find a lift over control_rate with so many leads in each arm, two-sided; NULL if it is no lift or leaves 0 to 1. Error: 22023 alpha.';

CREATE FUNCTION stormops.leads_per_arm(
    control_rate double precision, lift double precision, alpha double precision DEFAULT 0.05
) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'leads_per_arm_sql_wrapper';
COMMENT ON FUNCTION stormops.leads_per_arm(double precision, double precision, double precision) IS 'Leads in each arm to find a lift over control_rate with 80 % power in a two-sided test; NULL if it is no lift, leaves 0 to 1, is one from none to all, or needs more than there can be. Error: 22023 alpha.';

-- experiment/contrasts.sql
-- The arms of an experiment against its control: experiment_arms() pairs them, arm_contrast() compares a pair.

CREATE FUNCTION stormops_internal.cluster_contrast(
    treated jsonb, control jsonb, slope double precision, alpha double precision, planned_n bigint,
    OUT clusters bigint, OUT difference double precision, OUT se double precision, OUT low double precision,
    OUT high double precision, OUT p_value double precision, OUT always_valid_low double precision,
    OUT always_valid_high double precision, OUT always_valid_p double precision, OUT few_clusters boolean
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.*
    FROM (
        SELECT array_agg((t.value ->> 0)::float8) AS n1,
            array_agg((t.value ->> 1)::float8 - $3 * (t.value ->> 2)::float8) AS y1,
            array_agg((c.value ->> 0)::float8) AS n0,
            array_agg((c.value ->> 1)::float8 - $3 * (c.value ->> 2)::float8) AS y0
        FROM jsonb_each($1) AS t FULL JOIN jsonb_each($2) AS c ON c.key = t.key
    ) AS a, stormops.compare_clusters(a.n1, a.y1, a.n0, a.y0, $4, $5) AS c
$$;
COMMENT ON FUNCTION stormops_internal.cluster_contrast(jsonb, jsonb, double precision, double precision, bigint) IS 'compare_clusters() of two arms'' clusters as experiment_cells() has them, the metric less slope times the covariate; NULL without clusters.';

CREATE FUNCTION stormops_internal.arm_contrast(
    treated stormops_internal.experiment_cell, control stormops_internal.experiment_cell,
    metric text, clustered boolean, alpha double precision, planned_n bigint,
    OUT status text, OUT small_sample boolean, OUT lift double precision, OUT lift_low double precision, OUT lift_high double precision,
    OUT relative_lift double precision, OUT relative_low double precision, OUT relative_high double precision,
    OUT p_value double precision, OUT method text, OUT always_valid_low double precision, OUT always_valid_high double precision,
    OUT always_valid_p double precision, OUT adjusted_lift double precision, OUT adjusted_low double precision,
    OUT adjusted_high double precision, OUT clusters bigint, OUT design_effect double precision,
    OUT probability_better double precision, OUT detectable_lift double precision
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT p.status, p.small_sample,
        CASE $3 WHEN 'conversion' THEN p.lift ELSE m.difference END, j.low, j.high,
        CASE $3 WHEN 'conversion' THEN p.relative_lift ELSE m.difference / nullif(m.control_mean, 0) END,
        -- These take properties as independent, which those of a cluster are not.
        CASE WHEN independent.conversions THEN p.relative_low END, CASE WHEN independent.conversions THEN p.relative_high END,
        j.p_value, j.method, j.always_valid_low, j.always_valid_high, j.always_valid_p,
        CASE WHEN $4 THEN ka.difference ELSE m.adjusted_difference END, CASE WHEN $4 THEN ka.low ELSE m.adjusted_low END,
        CASE WHEN $4 THEN ka.high ELSE m.adjusted_high END,
        k.clusters, (k.se / nullif(m.se, 0)) ^ 2, CASE WHEN independent.conversions THEN p.probability_better END,
        CASE $3 WHEN 'conversion' THEN p.detectable_lift * CASE WHEN NOT $4 OR k.se < m.se THEN 1 ELSE k.se / nullif(m.se, 0) END END
    FROM (SELECT NOT $4 AND $3 = 'conversion' AS conversions) AS independent
    -- Against the promise of no lift at all: the report says better or worse.
    CROSS JOIN stormops.compare_proportions(($1).converted, ($1).n, ($2).converted, ($2).n, 0, $5, $6) AS p
    CROSS JOIN stormops.compare_means(($1).state, ($2).state, $5, $6) AS m
    LEFT JOIN LATERAL stormops_internal.cluster_contrast(($1).clusters, ($2).clusters, 0, $5, $6) AS k ON $4
    LEFT JOIN LATERAL stormops_internal.cluster_contrast(($1).clusters, ($2).clusters, m.slope, $5, $6) AS ka ON $4
    -- What judges: clusters where there are any, else the test of the metric.
    CROSS JOIN LATERAL (
        SELECT 'cluster' AS method, k.low, k.high, k.p_value, k.always_valid_low, k.always_valid_high, k.always_valid_p WHERE $4
        UNION ALL
        SELECT 'welch', m.low, m.high, m.p_value, m.always_valid_low, m.always_valid_high, m.always_valid_p WHERE NOT $4 AND $3 = 'value'
        UNION ALL
        SELECT p.method, p.lift_low, p.lift_high, p.p_value, p.always_valid_low, p.always_valid_high, p.always_valid_p
        WHERE independent.conversions
    ) AS j
$$;
COMMENT ON FUNCTION stormops_internal.arm_contrast(stormops_internal.experiment_cell, stormops_internal.experiment_cell, text, boolean, double precision, bigint) IS 'Two arms of experiment_cells() compared as experiment_report() tells it, by the metric conversion or value, clustered or not.';

CREATE FUNCTION stormops_internal.experiment_arms(
    experiment_id uuid, segment_by text,
    OUT segment text, OUT arm text, OUT is_control boolean, OUT cell stormops_internal.experiment_cell, OUT control stormops_internal.experiment_cell,
    OUT contact_rate double precision, OUT control_contact_rate double precision,
    OUT srm_verdict text, OUT srm_p double precision, OUT srm_sequential_p double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.arms, e.control FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), cells AS MATERIALIZED (
        SELECT c AS cell, c.segment, c.arm, c.arm = e.control AS is_control, c.drawn, (e.arms ->> c.arm)::float8 AS weight,
            c.touched::float8 / nullif(c.n, 0) AS contact_rate
        FROM e CROSS JOIN stormops_internal.experiment_cells($1, $2) AS c
    ), ratios AS (
        SELECT r.segment, s.verdict, s.p_value, s.sequential_p
        FROM (
            SELECT c.segment, array_agg(c.drawn ORDER BY c.arm) AS drawn, array_agg(c.weight ORDER BY c.arm) AS weights
            FROM cells AS c GROUP BY c.segment
        ) AS r CROSS JOIN LATERAL stormops.check_sample_ratio(r.drawn, r.weights) AS s
    )
    SELECT c.segment, c.arm, c.is_control, c.cell, b.cell, c.contact_rate, b.contact_rate, r.verdict, r.p_value, r.sequential_p
    FROM cells AS c
    JOIN cells AS b ON b.is_control AND b.segment IS NOT DISTINCT FROM c.segment
    JOIN ratios AS r ON r.segment IS NOT DISTINCT FROM c.segment
$$;
COMMENT ON FUNCTION stormops_internal.experiment_arms(uuid, text) IS 'The arms of an experiment, over all and by segment, each with the control of its segment, how many of both had an outbound touch, and whether the segment''s arms are as large as their weights say. None without such an experiment.';

-- experiment/conversion_rates.sql
-- Did treating work? Treated against held, where chance alone decided between the two.

CREATE FUNCTION stormops_internal.decisions_of(
    tenant_id uuid, storm_id uuid,
    OUT property_id uuid, OUT reason text, OUT treated boolean, OUT compared boolean, OUT has_outcome boolean, OUT converted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    WITH run AS MATERIALIZED (
        SELECT r.run_id, (1 - (r.parameters ->> 'holdout')::float8) * (1 - (r.parameters ->> 'exploration')::float8) AS planned_rate
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = $1 AND r.storm_id = $2 AND r.superseded_at IS NULL
    ), decided AS (
        -- The chance of being treated, whatever was decided.
        SELECT d.property_id, d.reason, d.decision = 'treat' AS treated,
            CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END AS treat_rate
        FROM stormops.policy_decisions_log AS d
        WHERE d.tenant_id = $1 AND d.run_id = (SELECT run.run_id FROM run) AND d.decision <> 'exclude'
    ), chosen AS MATERIALIZED (
        -- That of the rule's choice: all of it has one, which a capacity's swaps may have shifted.
        SELECT coalesce(max(d.treat_rate) FILTER (WHERE d.reason IN ('above_threshold', 'explore_hold')),
            (SELECT run.planned_rate FROM run)) AS treat_rate
        FROM decided AS d
    ), outcomes AS (
        SELECT o.property_id, bool_or(o.converted) AS converted
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = $1 AND o.run_id = (SELECT run.run_id FROM run) AND NOT o.late
        GROUP BY o.property_id
    )
    SELECT d.property_id, d.reason, d.treated, abs(d.treat_rate - (SELECT c.treat_rate FROM chosen AS c)) < 1e-9,
        o.property_id IS NOT NULL, coalesce(o.converted, false)
    FROM decided AS d LEFT JOIN outcomes AS o ON o.property_id = d.property_id
$$;
COMMENT ON FUNCTION stormops_internal.decisions_of(uuid, uuid) IS 'compared_decisions() of a tenant''s storm, as far as the caller sees it.';

CREATE FUNCTION stormops.compared_decisions(
    storm_id uuid,
    OUT property_id uuid, OUT reason text, OUT treated boolean, OUT compared boolean, OUT has_outcome boolean, OUT converted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT d.property_id, d.reason, d.treated, d.compared, d.has_outcome, d.converted FROM stormops_internal.decisions_of(stormops.current_tenant(), $1) AS d
$$;
COMMENT ON FUNCTION stormops.compared_decisions(uuid) IS 'The decided properties of a storm''s current run. compared: it was the rule''s choice to treat, as the logged propensity tells, so that chance alone (holdout, exploration) held some; converted: it did, within outcome_days of the decision.';

CREATE FUNCTION stormops_internal.conversion_rates_of(
    tenant_id uuid, storm_id uuid, min_lift double precision DEFAULT 0.05, alpha double precision DEFAULT 0.05,
    outcomes_final boolean DEFAULT false
) RETURNS stormops.conversion_rates
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
    WITH run AS (
        SELECT r.run_id, r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS window_ends_at
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = $1 AND r.storm_id = $2 AND r.superseded_at IS NULL
    ), counted AS (
        SELECT count(*) FILTER (WHERE d.compared AND d.treated) AS treated_n,
            count(*) FILTER (WHERE d.compared AND d.treated AND d.converted) AS treated_converted,
            count(*) FILTER (WHERE d.compared AND NOT d.treated) AS control_n,
            count(*) FILTER (WHERE d.compared AND NOT d.treated AND d.converted) AS control_converted,
            count(*) FILTER (WHERE d.compared AND d.has_outcome) AS recorded, count(*) FILTER (WHERE NOT d.compared) AS not_compared
        FROM stormops_internal.decisions_of($1, $2) AS d
    ), so_far AS (
        SELECT n.*, r.run_id, r.window_ends_at, n.recorded > 0 OR $5 IS TRUE AS known,
            CASE WHEN $5 OR r.window_ends_at <= now() THEN 0 ELSE n.treated_n + n.control_n - n.recorded END AS awaiting
        FROM counted AS n LEFT JOIN run AS r ON true
    )
    SELECT CASE WHEN s.run_id IS NULL THEN 'no_policy' WHEN s.treated_n = 0 THEN 'no_treatment' WHEN s.control_n = 0 THEN 'no_control'
            ELSE c.status END,
        s.treated_n, s.treated_converted, c.treated_rate, s.control_n, s.control_converted, c.control_rate,
        c.lift, c.lift_low, c.lift_high, c.relative_lift, c.relative_low, c.relative_high, c.p_value, c.method,
        least(s.treated_n, s.control_n) < 30, v.verdict = 'anomaly', v.verdict, c.p_short, c.more_leads_needed, c.detectable_lift, c.lift < 0.05,
        c.always_valid_low, c.always_valid_high, c.always_valid_p, c.always_valid_anomaly AND s.awaiting = 0, c.probability_better,
        s.awaiting, s.window_ends_at, s.not_compared, s.run_id
    FROM so_far AS s
    -- How many leads there would be was known at the decision, before any outcome.
    CROSS JOIN LATERAL stormops.compare_proportions(
        CASE WHEN s.known THEN s.treated_converted END, CASE WHEN s.known THEN s.treated_n END,
        CASE WHEN s.known THEN s.control_converted END, CASE WHEN s.known THEN s.control_n END,
        $3, $4, greatest(s.treated_n + s.control_n, 1)) AS c
    -- What is still to come can only be called short when it has come.
    CROSS JOIN LATERAL (SELECT CASE WHEN s.awaiting > 0 AND c.verdict = 'anomaly' THEN 'inconclusive' ELSE c.verdict END AS verdict) AS v
$$;
COMMENT ON FUNCTION stormops_internal.conversion_rates_of(uuid, uuid, double precision, double precision, boolean) IS 'check_conversion_rates() of a tenant''s storm, as far as the caller sees it. Errors: 22023 min_lift or alpha.';

CREATE FUNCTION stormops.check_conversion_rates(
    storm_id uuid, min_lift double precision DEFAULT 0.05, alpha double precision DEFAULT 0.05, outcomes_final boolean DEFAULT false
) RETURNS stormops.conversion_rates
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN stormops_internal.conversion_rates_of(stormops.current_tenant(), storm_id, min_lift, alpha, outcomes_final);
END
$$;
COMMENT ON FUNCTION stormops.check_conversion_rates(uuid, double precision, double precision, boolean) IS 'Did treating work? One row for the storm''s current run, comparing only properties that chance divided: lift = treated_rate - control_rate with its interval, p_value, verdict (ok, anomaly, inconclusive) against min_lift, and always_valid_* for repeated looks. status: ok, no_policy, no_treatment, no_control, no_outcomes. Errors: 22004; 22023 min_lift or alpha; P0002 no such storm in this tenant.';

-- experiment/experiments.sql
-- An experiment's life: created with all that it will be judged by, assigned as properties
-- arrive, stopped. Who is in which arm is a function of the ids alone.

CREATE FUNCTION stormops_internal.check_arms(arms jsonb, control text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    fault text;
BEGIN
    IF jsonb_typeof(arms) <> 'object' THEN
        fault := 'arms must be a JSON object of names and weights';
    ELSIF (SELECT count(*) NOT BETWEEN 2 AND 50 FROM jsonb_object_keys(arms)) THEN
        fault := 'an experiment has 2 to 50 arms';
    ELSIF EXISTS (SELECT FROM jsonb_each(arms) AS a WHERE char_length(a.key) NOT BETWEEN 1 AND 50) THEN
        fault := 'the name of an arm has 1 to 50 characters';
    ELSIF EXISTS (SELECT FROM jsonb_each(arms) AS a WHERE jsonb_typeof(a.value) <> 'number') THEN
        fault := 'the weight of an arm must be a number';
    ELSIF EXISTS (SELECT FROM jsonb_each_text(arms) AS a WHERE a.value::numeric NOT BETWEEN 0.0001 AND 1) THEN
        fault := 'the weight of an arm must lie between 0.0001 and 1';
    ELSIF (SELECT abs(sum(a.value::numeric) - 1) > 1e-9 FROM jsonb_each_text(arms) AS a) THEN
        fault := 'the weights of the arms must add up to 1';
    ELSIF NOT arms ? control THEN
        fault := format('the control "%s" is not one of the arms', left(control, 50));
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = fault,
            HINT = 'For example arms => ''{"treatment": 0.5, "control": 0.5}'', control => ''control''.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.check_arms(jsonb, text) IS 'Error: 22023, what is wrong with an experiment''s arms.';

CREATE FUNCTION stormops_internal.neighbourhood(longitude double precision, latitude double precision) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT floor($1 * 100)::integer || ',' || floor($2 * 100)::integer $$;
COMMENT ON FUNCTION stormops_internal.neighbourhood(double precision, double precision) IS 'The cell of 0.01 degree, about a kilometre, that a point lies in: houses under one hail swath, visited by one crew. NULL without coordinates.';

CREATE FUNCTION stormops_internal.raise_no_experiment(experiment_id uuid) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = CASE WHEN experiment_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
        MESSAGE = format('experiment %s does not exist', coalesce(experiment_id::text, 'NULL')),
        HINT = 'SELECT experiment_id, name, status FROM stormops.experiments; shows this tenant''s experiments.';
END
$$;
COMMENT ON FUNCTION stormops_internal.raise_no_experiment(uuid) IS 'Errors: 22004 NULL, P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops_internal.require_experimenter() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may run experiments',
            HINT = 'SELECT * FROM stormops.experiment_report(experiment_id); writes nothing.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_experimenter() IS 'Errors: 42501 a field_user or viewer, 55000 the tenant is suspended.';

CREATE FUNCTION stormops.create_experiment(
    storm_id uuid, name text, arms jsonb DEFAULT '{"treatment": 0.5, "control": 0.5}', control text DEFAULT 'control',
    primary_metric text DEFAULT 'conversion', planned_n integer DEFAULT NULL, unit text DEFAULT 'property',
    population text DEFAULT 'scored', covariate text DEFAULT NULL, cluster_by text DEFAULT NULL,
    untouched_control boolean DEFAULT true, outcome_days integer DEFAULT 90,
    OUT experiment_id uuid, OUT status text, OUT started_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    fault text;
BEGIN
    PERFORM stormops_internal.require_experimenter();
    IF num_nulls(name, arms, control, primary_metric, unit, population, untouched_control, outcome_days) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'only planned_n, covariate and cluster_by may be null',
            HINT = 'SELECT * FROM stormops.create_experiment(storm_id, ''Call before the visit'');';
    END IF;
    -- Two of one name stand in line here; the second finds the first.
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = tenant AND s.storm_id = create_experiment.storm_id FOR NO KEY UPDATE;
    PERFORM stormops_internal.require_open_storm(storm_id);
    PERFORM stormops_internal.check_arms(arms, control);
    fault := CASE
        WHEN char_length(name) NOT BETWEEN 1 AND 200 OR btrim(name) = '' THEN 'name has not 1 to 200 characters'
        WHEN primary_metric NOT IN ('conversion', 'value') THEN 'primary_metric is neither conversion nor value'
        WHEN planned_n <= 0 THEN 'planned_n is not positive'
        WHEN unit NOT IN ('property', 'neighbourhood') THEN 'unit is neither property nor neighbourhood'
        WHEN population NOT IN ('scored', 'active') THEN 'population is neither scored nor active'
        WHEN covariate <> 'uplift' THEN 'covariate is not uplift'
        WHEN cluster_by <> 'neighbourhood' THEN 'cluster_by is not neighbourhood'
        WHEN outcome_days NOT BETWEEN 1 AND 3650 THEN 'outcome_days is not between 1 and 3650'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'experiment is not valid: ' || fault,
            HINT = '\d+ stormops.experiments says what each setting may be.';
    END IF;
    IF EXISTS (SELECT FROM stormops.experiments AS e
               WHERE e.tenant_id = tenant AND e.storm_id = create_experiment.storm_id AND e.name = create_experiment.name) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('experiment "%s" already exists in this storm', name),
            HINT = 'Choose another name; a stopped experiment keeps its own.';
    END IF;
    experiment_id := stormops.new_id();
    INSERT INTO stormops.experiments AS e (
        tenant_id, experiment_id, storm_id, name, arms, control, primary_metric, planned_n, unit, population, covariate,
        -- Whole neighbourhoods drawn are whole neighbourhoods judged.
        cluster_by, untouched_control, outcome_days, created_by, acting_user
    )
    VALUES (
        tenant, experiment_id, storm_id, name, arms, control, primary_metric, planned_n, unit, population, covariate,
        CASE WHEN unit = 'neighbourhood' THEN 'neighbourhood' ELSE cluster_by END, untouched_control, outcome_days,
        stormops_internal.calling_role(), stormops.current_user_id()
    )
    RETURNING e.status, e.started_at INTO status, started_at;
END
$$;
COMMENT ON FUNCTION stormops.create_experiment(uuid, text, jsonb, text, text, integer, text, text, text, text, boolean, integer) IS 'Starts a randomised comparison in a storm. arms: names and weights that add up to 1; control: the arm to compare with; other arguments: see the columns of experiments. It cannot be changed later. Returns experiment_id, status, started_at. Errors: 22004; 22023 a setting; 23505 the storm has one of that name; 42501 a field_user or viewer; 55000 storm closed, tenant suspended; P0002 no such storm.';

CREATE FUNCTION stormops_internal.draw_arms(
    experiment_id uuid, OUT property_id uuid, OUT arm text, OUT neighbourhood text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.* FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), cuts AS MATERIALIZED (
        -- Each arm has the stretch of [0, 1) that its weight measures, in the order of the names' bytes.
        SELECT array_agg(c.name ORDER BY c.name COLLATE "C") AS names, array_agg(c.low ORDER BY c.name COLLATE "C") AS lows
        FROM (
            SELECT a.key AS name, coalesce(sum(a.value::numeric) OVER (
                ORDER BY a.key COLLATE "C" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::float8 AS low
            FROM e, jsonb_each_text(e.arms) AS a
        ) AS c
    ), eligible AS (
        SELECT p.property_id, stormops_internal.neighbourhood(p.longitude, p.latitude) AS neighbourhood
        FROM stormops.properties AS p
        WHERE p.tenant_id = stormops.current_tenant() AND p.status = 'active' AND NOT p.do_not_contact
            AND ((SELECT e.population = 'active' FROM e) OR p.property_id IN (
                SELECT l.property_id FROM stormops.lead_uplift AS l
                WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = (SELECT e.storm_id FROM e)))
    )
    SELECT g.property_id,
        (SELECT c.names FROM cuts AS c)[width_bucket(
            CASE WHEN (SELECT e.unit = 'neighbourhood' FROM e) AND g.neighbourhood IS NOT NULL
                THEN stormops.draw(stormops.current_tenant(), $1, $1, 'arm of ' || g.neighbourhood)
                ELSE stormops.draw(stormops.current_tenant(), $1, g.property_id, 'arm')
            END,
            (SELECT c.lows FROM cuts AS c))],
        g.neighbourhood
    FROM eligible AS g
$$;
COMMENT ON FUNCTION stormops_internal.draw_arms(uuid) IS 'The arm of each property that takes part in an experiment: draw(tenant, experiment, property, ''arm'') falls into the stretch of [0, 1) that the arm''s weight measures; with unit neighbourhood one draw for each. Depends on nothing else, so a later call draws alike. Writes nothing; none without such an experiment.';

CREATE FUNCTION stormops.assign_experiment(
    experiment_id uuid, OUT assigned bigint, OUT already_assigned bigint, OUT arms jsonb
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    found_status text;
BEGIN
    PERFORM stormops_internal.require_experimenter();
    -- Two calls stand in line here, and a stop waits for both.
    SELECT e.status INTO found_status FROM stormops.experiments AS e
    WHERE e.tenant_id = tenant AND e.experiment_id = assign_experiment.experiment_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment(experiment_id);
    END IF;
    IF found_status <> 'running' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('experiment %s is %s', experiment_id, found_status),
            HINT = 'Only a running experiment assigns; create_experiment() begins another.';
    END IF;
    WITH written AS (
        INSERT INTO stormops.experiment_assignments (tenant_id, experiment_id, property_id, arm, neighbourhood)
        SELECT tenant, experiment_id, d.property_id, d.arm, d.neighbourhood
        FROM stormops_internal.draw_arms(experiment_id) AS d
        ON CONFLICT DO NOTHING
        RETURNING property_id
    )
    SELECT count(*) INTO assigned FROM written;
    SELECT coalesce(sum(t.n), 0) - assigned, coalesce(jsonb_object_agg(t.arm, t.n), '{}') INTO already_assigned, arms
    FROM (
        SELECT a.arm, count(*) AS n FROM stormops.experiment_assignments AS a
        WHERE a.tenant_id = tenant AND a.experiment_id = assign_experiment.experiment_id
        GROUP BY a.arm
    ) AS t;
    IF assigned + already_assigned = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('experiment %s has no property to assign', experiment_id),
            DETAIL = 'Its population is the active, contactable properties, those with a score of the storm if it is "scored".',
            HINT = 'INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift) ... first, or create it with population => ''active''.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.assign_experiment(uuid) IS 'Draws an arm for every property of the population that has none; call it again when properties were added. The draw is a hash of tenant, experiment and property, so repeating cannot change it. Returns assigned (now), already_assigned, arms (properties by arm). Errors: 22004; 42501 a field_user or viewer; 55000 stopped, nobody to assign, tenant suspended; P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops.stop_experiment(
    experiment_id uuid, reason text DEFAULT NULL, OUT status text, OUT stopped_at timestamptz, OUT assigned bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    stopped_before timestamptz;
BEGIN
    PERFORM stormops_internal.require_experimenter();
    IF char_length(reason) NOT BETWEEN 1 AND 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a reason has 1 to 500 characters',
            HINT = 'SELECT * FROM stormops.stop_experiment(experiment_id, ''planned number reached'');';
    END IF;
    SELECT e.stopped_at INTO stopped_before FROM stormops.experiments AS e
    WHERE e.tenant_id = tenant AND e.experiment_id = stop_experiment.experiment_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment(experiment_id);
    END IF;
    IF stopped_before IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('experiment %s was stopped already', experiment_id), DETAIL = format('At %s.', stopped_before),
            HINT = 'SELECT * FROM stormops.experiment_report(experiment_id); goes on reading it.';
    END IF;
    UPDATE stormops.experiments AS e SET status = 'stopped', stopped_at = greatest(now(), e.started_at), stop_reason = reason
    WHERE e.tenant_id = tenant AND e.experiment_id = stop_experiment.experiment_id
    RETURNING e.status, e.stopped_at INTO status, stopped_at;
    SELECT count(*) INTO assigned FROM stormops.experiment_assignments AS a
    WHERE a.tenant_id = tenant AND a.experiment_id = stop_experiment.experiment_id;
END
$$;
COMMENT ON FUNCTION stormops.stop_experiment(uuid, text) IS 'Ends the assignment of an experiment for good; outcomes of its properties go on counting for outcome_days. Returns status, stopped_at, assigned. Errors: 22004; 22023; 42501 a field_user or viewer; 55000 stopped already, tenant suspended; P0002 no such experiment in this tenant.';

-- experiment/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'experiment';
-- What of experiment the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('experiments', 'SELECT', 'viewer', NULL, NULL),
    ('experiments', 'INSERT', 'crew_chief', NULL, 'create_experiment()'),
    ('experiments', 'UPDATE', 'crew_chief', NULL, 'stop_experiment()'),
    ('experiment_assignments', 'SELECT', 'viewer', NULL, NULL),
    ('experiment_assignments', 'INSERT', 'crew_chief', NULL, 'assign_experiment()');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.arm_agg(double precision)', '{app,trusted_app}'),
    ('stormops.arm_agg(double precision,double precision)', '{app,trusted_app}'),
    ('stormops.arm_rollup(double precision[])', '{app,trusted_app}'),
    ('stormops_internal.arm_combine(double precision[],double precision[])', '{app,trusted_app}'),
    ('stormops.arm_moments(double precision[])', '{app,trusted_app}'),
    ('stormops.bounded_lift_agg(double precision,boolean,double precision)', '{app,trusted_app}'),
    ('stormops.bounded_lift(double precision[],double precision,bigint,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.compare_proportions(bigint,bigint,bigint,bigint,double precision,double precision,bigint)', '{app,trusted_app}'),
    ('stormops.compare_means(double precision[],double precision[],double precision,bigint)', '{app,trusted_app}'),
    ('stormops.compare_clusters(double precision[],double precision[],double precision[],double precision[],double precision,bigint)', '{app,trusted_app}'),
    ('stormops.check_sample_ratio(bigint[],double precision[])', '{app,trusted_app}'),
    ('stormops.leads_per_arm(double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.comparison_power(double precision,double precision,bigint,double precision)', '{app,trusted_app}'),
    ('stormops.benjamini_hochberg(double precision[])', '{app,trusted_app}'),
    ('stormops_internal.decisions_of(uuid,uuid)', '{app,trusted_app}'),
    ('stormops.compared_decisions(uuid)', '{app,trusted_app}'),
    ('stormops_internal.conversion_rates_of(uuid,uuid,double precision,double precision,boolean)', '{app,trusted_app}'),
    ('stormops.check_conversion_rates(uuid,double precision,double precision,boolean)', '{app,trusted_app}'),
    ('stormops.create_experiment(uuid,text,jsonb,text,text,integer,text,text,text,text,boolean,integer)', '{app,trusted_app}'),
    ('stormops.assign_experiment(uuid)', '{app,trusted_app}'),
    ('stormops.stop_experiment(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.draw_arms(uuid)', '{app,trusted_app}'),
    ('stormops_internal.neighbourhood(double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.raise_no_experiment(uuid)', '{app,trusted_app}'),
    ('stormops_internal.experiment_units(uuid)', '{app,trusted_app}'),
    ('stormops_internal.experiment_cells(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.experiment_arms(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.arm_contrast(stormops_internal.experiment_cell,stormops_internal.experiment_cell,text,boolean,double precision,bigint)', '{app,trusted_app}'),
    ('stormops_internal.cluster_contrast(jsonb,jsonb,double precision,double precision,bigint)', '{app,trusted_app}'),
    ('stormops_internal.experiment_summary(text,text,text,text,double precision,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.check_sample_ratio_by(uuid,text)', '{app,trusted_app}'),
    ('stormops.experiment_looks(uuid,double precision)', '{app,trusted_app}'),
    ('stormops.experiment_report(uuid,text,double precision)', '{app,trusted_app}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('experiments', 'started_at', '{storm_id,name}', '{"storm_id": "storms"}', 'create_experiment'),
    ('experiment_assignments', 'assigned_at', '{experiment_id,property_id}', '{"experiment_id": "experiments", "property_id": "properties"}',
        'assign_experiment');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('low_lift', ARRAY['Verify policy compliance', 'Check control contamination', 'Review experiment assignments', 'Analyze by segment']),
    ('no_control', ARRAY['Raise holdout in policy_modes: without a control group lift cannot be measured',
        'Apply the policy again with supersede => true']);

-- experiment/report.sql
-- What an experiment shows: its arms compared, judged, and told in a sentence.

CREATE FUNCTION stormops.experiment_report(
    experiment_id uuid, segment_by text DEFAULT NULL, alpha double precision DEFAULT 0.05,
    OUT segment text, OUT arm text, OUT summary text, OUT verdict text, OUT n bigint, OUT converted bigint,
    OUT rate double precision, OUT mean_value double precision, OUT lift double precision, OUT lift_low double precision,
    OUT lift_high double precision, OUT relative_lift double precision, OUT relative_low double precision,
    OUT relative_high double precision, OUT p_value double precision, OUT method text, OUT always_valid_low double precision,
    OUT always_valid_high double precision, OUT always_valid_p double precision, OUT decided_by text,
    OUT p_adjusted double precision, OUT adjusted_lift double precision, OUT adjusted_low double precision,
    OUT adjusted_high double precision, OUT clusters bigint, OUT design_effect double precision,
    OUT probability_better double precision, OUT small_sample boolean, OUT detectable_lift double precision,
    OUT contact_rate double precision, OUT crossovers bigint, OUT contamination double precision,
    OUT lift_of_contact double precision, OUT early_outcomes bigint, OUT srm_verdict text, OUT srm_p double precision,
    OUT srm_sequential_p double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_column
DECLARE
    e record;
    plan_reached boolean;
BEGIN
    SELECT x.* INTO e FROM stormops.experiments AS x
    WHERE x.tenant_id = stormops.current_tenant() AND x.experiment_id = $1;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment($1);
    END IF;
    IF $2 NOT IN ('roof_material', 'roof_style', 'neighbourhood') OR $3 IS NULL OR NOT ($3 > 0 AND $3 < 0.5) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = CASE WHEN $2 NOT IN ('roof_material', 'roof_style', 'neighbourhood') THEN 'unknown segment' ELSE 'alpha must lie between 0 and 0.5' END,
            HINT = 'segment_by is roof_material, roof_style, neighbourhood or NULL; alpha is 0.05 by default.';
    END IF;
    -- A storm's properties are mostly assigned at once, and their outcomes come in for weeks: each look until then is one
    -- of many. The one that was planned is when the planned number have had their time.
    SELECT count(*) >= e.planned_n INTO plan_reached FROM stormops.experiment_assignments AS a
    WHERE a.tenant_id = stormops.current_tenant() AND a.experiment_id = $1 AND a.assigned_at + make_interval(days => e.outcome_days) <= now();
    RETURN QUERY
    WITH arms AS MATERIALIZED (
        SELECT a.* FROM stormops_internal.experiment_arms($1, $2) AS a
    ), decisive AS (
        -- Looking before then is looking often: only what allows for that decides.
        SELECT a.segment, a.arm, a.srm_verdict, c.*, CASE WHEN plan_reached THEN 'fixed_horizon' ELSE 'always_valid' END AS decided_by,
            CASE WHEN plan_reached THEN c.p_value ELSE c.always_valid_p END AS decisive_p,
            row_number() OVER (PARTITION BY a.segment IS NULL ORDER BY a.segment, a.arm) AS place
        FROM arms AS a CROSS JOIN LATERAL stormops_internal.arm_contrast(
            a.cell, a.control, e.primary_metric, e.cluster_by IS NOT NULL, $3, e.planned_n) AS c
        WHERE NOT a.is_control
    ), adjusted AS (
        SELECT d.*, (stormops.benjamini_hochberg(array_agg(d.decisive_p) OVER (
            PARTITION BY d.segment IS NULL ORDER BY d.place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)))[d.place] AS p_adjusted
        FROM decisive AS d
    ), verdicts AS (
        SELECT j.*, CASE
            WHEN j.status <> 'ok' THEN j.status
            WHEN j.srm_verdict = 'alarm' THEN 'broken_split'
            WHEN j.p_adjusted < $3 THEN CASE WHEN j.lift > 0 THEN 'better' ELSE 'worse' END
            ELSE 'undecided' END AS verdict
        FROM adjusted AS j
    )
    SELECT a.segment, a.arm,
        CASE WHEN a.is_control THEN 'The arm that the others are compared with.'
            ELSE stormops_internal.experiment_summary(v.verdict, a.arm, e.control, e.primary_metric, v.lift,
                CASE v.decided_by WHEN 'fixed_horizon' THEN v.lift_low ELSE v.always_valid_low END,
                CASE v.decided_by WHEN 'fixed_horizon' THEN v.lift_high ELSE v.always_valid_high END, $3) END,
        CASE WHEN a.is_control THEN 'control' ELSE v.verdict END,
        t.n, t.converted, t.converted::float8 / nullif(t.n, 0), t.value / nullif(t.n, 0),
        v.lift, v.lift_low, v.lift_high, v.relative_lift, v.relative_low, v.relative_high, v.p_value, v.method,
        v.always_valid_low, v.always_valid_high, v.always_valid_p, v.decided_by, v.p_adjusted,
        CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_lift END, CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_low END,
        CASE WHEN e.covariate IS NOT NULL THEN v.adjusted_high END,
        v.clusters, v.design_effect, v.probability_better, CASE WHEN a.is_control THEN t.n < 30 ELSE v.small_sample END, v.detectable_lift,
        a.contact_rate, CASE WHEN e.untouched_control THEN CASE WHEN a.is_control THEN t.touched ELSE t.n - t.touched END END,
        CASE WHEN e.untouched_control THEN a.control_contact_rate END,
        CASE WHEN e.untouched_control AND a.contact_rate - a.control_contact_rate > 0.3 THEN v.lift / (a.contact_rate - a.control_contact_rate) END,
        t.early, a.srm_verdict, a.srm_p, a.srm_sequential_p
    FROM arms AS a
    CROSS JOIN LATERAL (SELECT (a.cell).*) AS t
    LEFT JOIN verdicts AS v ON v.arm = a.arm AND v.segment IS NOT DISTINCT FROM a.segment
    ORDER BY a.segment NULLS FIRST, a.is_control DESC, a.arm;
END
$$;
COMMENT ON FUNCTION stormops.experiment_report(uuid, text, double precision) IS 'Result of an experiment: the control arm, then each other arm against it; segment NULL is everybody. Each property counts in the arm that was drawn. lift by method z, fisher, welch or cluster; always_valid_*, p_adjusted (the p-value of decided_by, adjusted), verdict: better, worse, undecided, broken_split or why none. Errors: 22004; 22023 segment or alpha; P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops_internal.experiment_summary(
    verdict text, arm text, control text, metric text, lift double precision, low double precision, high double precision,
    alpha double precision
) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $1
        WHEN 'no_outcomes' THEN 'Nobody is assigned yet.'
        WHEN 'no_treatment' THEN format('Nobody is in %s.', $2)
        WHEN 'no_control' THEN format('Nobody is in %s, so there is nothing to compare with.', $3)
        WHEN 'broken_split' THEN 'The arms are not as large as their weights say: find out why before believing any of this.'
        ELSE format('%s %s %s than %s%s: %s.', $2,
            CASE $4 WHEN 'value' THEN 'brings' ELSE 'converts' END,
            CASE $4 WHEN 'value' THEN format('%s %s a property', round(abs($5)::numeric, 2), CASE WHEN $5 < 0 THEN 'less' ELSE 'more' END)
                ELSE format('%s points %s', round(100 * abs($5)::numeric, 1), CASE WHEN $5 < 0 THEN 'less' ELSE 'more' END) END,
            $3,
            CASE WHEN $6 IS NULL THEN '' ELSE format(' (%s %% interval %s to %s)', trim_scale(round(100 * (1 - $8)::numeric, 2)),
                round((CASE $4 WHEN 'value' THEN 1 ELSE 100 END * $6)::numeric, 1), round((CASE $4 WHEN 'value' THEN 1 ELSE 100 END * $7)::numeric, 1)) END,
            CASE $1 WHEN 'better' THEN 'better' WHEN 'worse' THEN 'worse' ELSE 'no difference is shown' END)
    END
$$;
COMMENT ON FUNCTION stormops_internal.experiment_summary(text, text, text, text, double precision, double precision, double precision, double precision) IS 'The verdict of experiment_report() in a sentence.';

-- experiment/units.sql
-- What became of an experiment's properties. experiment_units() is the set, one row a property; experiment_cells() gathers it
-- by arm and segment; experiment_report() compares.

CREATE FUNCTION stormops_internal.experiment_units(
    experiment_id uuid,
    OUT property_id uuid, OUT arm text, OUT neighbourhood text, OUT roof_material text, OUT roof_style text,
    OUT assigned_at timestamptz, OUT converted boolean, OUT value numeric, OUT touched boolean, OUT early boolean,
    OUT uplift double precision, OUT converted_at timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.* FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), units AS MATERIALIZED (
        SELECT a.property_id, a.arm, a.neighbourhood, a.assigned_at,
            a.assigned_at + make_interval(days => (SELECT e.outcome_days FROM e)) AS until
        FROM stormops.experiment_assignments AS a
        WHERE a.tenant_id = stormops.current_tenant() AND a.experiment_id = $1
    ), results AS (
        SELECT o.property_id, o.occurred_at, o.converted, o.value, true AS recorded
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND o.storm_id = (SELECT e.storm_id FROM e)
        UNION ALL
        SELECT j.property_id, j.occurred_at, true, j.value, false
        FROM stormops.customer_journeys AS j
        WHERE j.tenant_id = stormops.current_tenant() AND j.storm_id = (SELECT e.storm_id FROM e) AND j.touch = 'conversion'
    ), outcomes AS (
        SELECT u.property_id, coalesce(bool_or(r.converted) FILTER (WHERE r.occurred_at >= u.assigned_at), false) AS converted,
            min(r.occurred_at) FILTER (WHERE r.converted AND r.occurred_at >= u.assigned_at) AS converted_at,
            -- One job may be told of by both; the recorded outcome is the one with the books behind it.
            coalesce(sum(r.value) FILTER (WHERE r.recorded AND r.occurred_at >= u.assigned_at),
                sum(r.value) FILTER (WHERE NOT r.recorded AND r.occurred_at >= u.assigned_at)) AS value,
            bool_or(r.occurred_at < u.assigned_at) AS early
        FROM units AS u JOIN results AS r ON r.property_id = u.property_id AND r.occurred_at <= u.until
        GROUP BY u.property_id
    ), touches AS (
        SELECT DISTINCT u.property_id
        FROM units AS u
        JOIN stormops.customer_journeys AS j ON j.tenant_id = stormops.current_tenant() AND j.property_id = u.property_id
        LEFT JOIN outcomes AS o ON o.property_id = u.property_id
        WHERE j.direction = 'outbound' AND j.touch <> 'conversion'
            AND j.occurred_at >= u.assigned_at AND j.occurred_at <= least(u.until, coalesce(o.converted_at, u.until))
    ), scores AS (
        -- As it stood at the assignment: a later score may know of the treatment.
        SELECT DISTINCT ON (l.property_id) l.property_id, l.uplift
        FROM stormops.lead_uplift AS l JOIN units AS u ON u.property_id = l.property_id AND l.scored_at <= u.assigned_at
        WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = (SELECT e.storm_id FROM e)
        ORDER BY l.property_id, l.scored_at DESC, l.model_version DESC
    )
    SELECT u.property_id, u.arm, u.neighbourhood, p.roof_material, p.roof_style, u.assigned_at,
        coalesce(o.converted, false), coalesce(o.value, 0), t.property_id IS NOT NULL, coalesce(o.early, false), s.uplift, o.converted_at
    FROM units AS u
    JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
    LEFT JOIN outcomes AS o ON o.property_id = u.property_id
    LEFT JOIN touches AS t ON t.property_id = u.property_id
    LEFT JOIN scores AS s ON s.property_id = u.property_id
$$;
COMMENT ON FUNCTION stormops_internal.experiment_units(uuid) IS 'The properties of an experiment: arm, and since the assignment and within outcome_days of it whether it converted (policy_outcomes, or a touch "conversion" of the storm in customer_journeys), the value, and whether it was touched outbound before that. early: has an outcome from before its assignment, which does not count. uplift: the score it had at its assignment. converted_at: of its first conversion. None without such an experiment.';

CREATE FUNCTION stormops_internal.experiment_cells(experiment_id uuid, segment_by text) RETURNS SETOF stormops_internal.experiment_cell
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.* FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), units AS MATERIALIZED (
        SELECT u.arm, u.converted, u.value, u.touched, u.early, coalesce(u.neighbourhood, u.property_id::text) AS cluster,
            CASE (SELECT e.primary_metric FROM e) WHEN 'value' THEN u.value::float8 ELSE u.converted::integer END AS y,
            -- A missing score says nothing: the mean in its place adjusts nothing.
            CASE WHEN (SELECT e.covariate IS NOT NULL FROM e) THEN coalesce(u.uplift, avg(u.uplift) OVER (), 0) ELSE 0 END AS x,
            coalesce(CASE $2
                WHEN 'roof_material' THEN u.roof_material WHEN 'roof_style' THEN u.roof_style WHEN 'neighbourhood' THEN u.neighbourhood
            END, 'unknown') AS segment
        FROM stormops_internal.experiment_units($1) AS u
    ), tallied AS (
        SELECT u.segment, grouping(u.segment) AS whole, u.arm, count(*) AS n, count(*) FILTER (WHERE u.converted) AS converted,
            sum(u.value)::float8 AS value, count(*) FILTER (WHERE u.touched) AS touched, count(*) FILTER (WHERE u.early) AS early,
            stormops.arm_agg(u.y, u.x) AS state,
            CASE WHEN (SELECT e.unit = 'neighbourhood' FROM e) THEN count(DISTINCT u.cluster) ELSE count(*) END AS drawn
        FROM units AS u
        GROUP BY GROUPING SETS ((u.arm), (u.arm, u.segment))
    ), clustered AS (
        SELECT c.segment, c.whole, c.arm, jsonb_object_agg(c.cluster, jsonb_build_array(c.n, c.y, c.x)) AS clusters
        FROM (
            SELECT u.segment, grouping(u.segment) AS whole, u.arm, u.cluster, count(*) AS n, sum(u.y) AS y, sum(u.x) AS x
            FROM units AS u
            WHERE (SELECT e.cluster_by IS NOT NULL FROM e)
            GROUP BY GROUPING SETS ((u.arm, u.cluster), (u.arm, u.segment, u.cluster))
        ) AS c
        GROUP BY c.segment, c.whole, c.arm
    ), segments AS (
        SELECT NULL AS segment, 1 AS whole
        UNION
        SELECT u.segment, 0 FROM units AS u WHERE $2 IS NOT NULL
    )
    SELECT s.segment, a.arm, coalesce(t.n, 0), coalesce(t.converted, 0), coalesce(t.value, 0), coalesce(t.touched, 0),
        coalesce(t.early, 0), t.state, coalesce(t.drawn, 0), c.clusters
    FROM segments AS s
    CROSS JOIN (SELECT jsonb_object_keys(e.arms) AS arm FROM e) AS a
    LEFT JOIN tallied AS t ON t.whole = s.whole AND t.segment IS NOT DISTINCT FROM s.segment AND t.arm = a.arm
    LEFT JOIN clustered AS c ON c.whole = s.whole AND c.segment IS NOT DISTINCT FROM s.segment AND c.arm = a.arm
$$;
COMMENT ON FUNCTION stormops_internal.experiment_cells(uuid, text) IS 'An experiment''s counts by arm, over all (segment NULL) and by segment: properties, conversions, value, touched, early; state: arm_agg(primary metric, covariate); drawn: how many draws that was; clusters: [n, sum of the metric, sum of the covariate] by cluster. Empty arms have their row.';

-- policy/decisions.sql
-- Whom to treat after a storm. The decision is one set: policy_decisions(storm, parameters).

CREATE FUNCTION stormops_internal.attitude(confidence double precision) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'attitude_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.attitude(double precision) IS 'z, the (1 - confidence) quantile of the standard normal distribution: with uplift ~ N(score, sd), P(uplift > b) >= confidence where score + z * sd >= b. NULL outside (0, 1).';

CREATE FUNCTION stormops.draw(tenant_id uuid, storm_id uuid, property_id uuid, purpose text) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'draw_sql_wrapper';
COMMENT ON FUNCTION stormops.draw(uuid, uuid, uuid, text) IS 'A number in [0, 1) from tenant, storm, property and purpose (SipHash-2-4, 53 bits): uniform, independent between purposes, the same in every run, on every machine, in every version.';

CREATE FUNCTION stormops.default_policy_modes(
    OUT policy_mode text, OUT confidence double precision, OUT exploration double precision, OUT holdout double precision
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.policy_mode, m.confidence, m.exploration, m.holdout
    FROM (VALUES
        ('conservative', 0.95::float8, 0.02::float8, 0.20::float8),
        ('moderate', 0.50::float8, 0.05::float8, 0.10::float8),
        ('aggressive', 0.20::float8, 0.10::float8, 0.05::float8)
    ) AS m (policy_mode, confidence, exploration, holdout)
$$;
COMMENT ON FUNCTION stormops.default_policy_modes() IS 'The modes that a new tenant gets. confidence, exploration and holdout as in policy_modes.';

CREATE FUNCTION stormops.policy_parameters(policy_mode text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- JSON has the numbers as they print: exact, whatever the caller has set
    AS $$
#variable_conflict use_variable
DECLARE
    chosen record;
BEGIN
    SELECT m.* INTO chosen FROM stormops.policy_modes AS m
    WHERE m.tenant_id = stormops.current_tenant() AND m.policy_mode = policy_parameters.policy_mode;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN policy_mode IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = format('unknown policy mode "%s"', left(policy_mode, 50)),
            HINT = format('This tenant''s modes are %s.', (
                SELECT string_agg(m.policy_mode, ', ' ORDER BY m.confidence DESC) FROM stormops.policy_modes AS m
                WHERE m.tenant_id = stormops.current_tenant()));
    END IF;
    -- Exploring with too small a probability would give weights above 50 to whoever values the
    -- log later: where there is exploration, the least propensity of treating is 0.02.
    RETURN jsonb_strip_nulls(to_jsonb(chosen) - 'tenant_id') || jsonb_build_object(
        'z', stormops_internal.attitude(chosen.confidence),
        'exploration', CASE WHEN chosen.exploration > 0 THEN greatest(chosen.exploration, 0.02 / (1 - chosen.holdout)) ELSE 0 END
    );
END
$$;
COMMENT ON FUNCTION stormops.policy_parameters(text) IS 'All that decisions of a mode rest on beside the data, as policy_runs.parameters keeps it: the mode''s row, z = attitude(confidence), and the exploration in effect (if any, at least so much that the propensity of treating is 0.02). Errors: 22004, 22023 unknown mode.';

CREATE FUNCTION stormops_internal.policy_candidates(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT do_not_contact boolean, OUT score double precision, OUT score_sd double precision,
    OUT model_version text, OUT cost double precision, OUT value double precision, OUT wanted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    -- A sub-select without a table is computed once, not for each row.
    SELECT s.property_id, s.do_not_contact, s.uplift, s.sd, s.model_version, s.cost,
        CASE WHEN s.margin * s.cost IS NULL THEN s.uplift - s.breakeven ELSE s.margin * s.uplift - s.cost END,
        s.uplift >= 0 AND s.uplift + (SELECT ($2 ->> 'z')::float8) * s.sd
            >= CASE WHEN s.margin * s.cost IS NULL THEN s.breakeven ELSE s.cost / s.margin END
    FROM (
        SELECT u.property_id, p.do_not_contact, u.uplift, u.model_version,
            coalesce(u.uplift_sd, (SELECT ($2 ->> 'default_sd')::float8)) AS sd,
            coalesce(p.job_margin::float8, (SELECT ($2 ->> 'margin')::float8)) AS margin,
            coalesce(p.contact_cost::float8, (SELECT ($2 ->> 'contact_cost')::float8)) AS cost,
            (SELECT ($2 ->> 'breakeven_uplift')::float8) AS breakeven
        FROM (
            -- In the order of the key, so that the log's key is written in order too.
            SELECT l.property_id, l.uplift, l.uplift_sd, l.model_version,
                lead(l.property_id) OVER (ORDER BY l.property_id, l.scored_at, l.model_version) AS next_property
            FROM stormops.lead_uplift AS l
            WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
        ) AS u
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
        WHERE p.status = 'active' AND u.next_property IS DISTINCT FROM u.property_id -- the latest score
    ) AS s
$$;
COMMENT ON FUNCTION stormops_internal.policy_candidates(uuid, jsonb) IS 'The storm''s active properties with their latest score: value of treating each, and wanted: P(value > 0) >= confidence and a score not below zero. Writes nothing.';

CREATE FUNCTION stormops.policy_decisions(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT decision text, OUT reason text, OUT propensity double precision,
    OUT score double precision, OUT score_sd double precision, OUT value double precision, OUT model_version text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    -- Without a limit each property is decided by itself, in one pass.
    WITH free AS (
        SELECT c.*, c.wanted AS chosen, (SELECT ($2 ->> 'exploration')::float8) AS flip_rate,
            stormops.draw(stormops.current_tenant(), $1, c.property_id, 'explore') < (SELECT ($2 ->> 'exploration')::float8) AS flip
        FROM stormops_internal.policy_candidates($1, $2) AS c
        WHERE coalesce($2 ->> 'capacity', $2 ->> 'budget') IS NULL
    ),
    -- Under a limit the best by value per cost are chosen until it is reached: the fractional
    -- knapsack (Goldenberg et al. 2020, arXiv 2008.06293). Equal ones stand in the order of a draw.
    ranked AS (
        SELECT c.*, row_number() OVER best AS place, sum(round(coalesce(c.cost, 0) * 100)) OVER best AS spent -- in whole cents, which a double adds up exactly
        FROM stormops_internal.policy_candidates($1, $2) AS c
        WHERE coalesce($2 ->> 'capacity', $2 ->> 'budget') IS NOT NULL
        WINDOW best AS (
            ORDER BY c.wanted AND NOT c.do_not_contact DESC, c.value / nullif(coalesce(c.cost, 1), 0) DESC NULLS FIRST, c.value DESC,
                stormops.draw(stormops.current_tenant(), $1, c.property_id, 'tie')
            ROWS UNBOUNDED PRECEDING
        )
    ),
    cut AS (
        SELECT r.*, r.wanted AND NOT r.do_not_contact
            AND coalesce(r.place <= (SELECT ($2 ->> 'capacity')::bigint), true)
            AND coalesce(r.spent <= (SELECT round(($2 ->> 'budget')::float8 * 100)), true) AS chosen
        FROM ranked AS r
    ),
    -- Exploration then swaps a fixed number of chosen ones against as many others, drawn at
    -- random, so that it never treats more than the limit.
    counted AS (
        SELECT c.*, count(*) OVER side AS members,
            least(round((SELECT ($2 ->> 'exploration')::float8) * count(*) FILTER (WHERE c.chosen) OVER everyone),
                count(*) FILTER (WHERE NOT c.chosen AND NOT c.do_not_contact) OVER everyone)::float8 AS swaps,
            row_number() OVER (
                PARTITION BY c.chosen, c.do_not_contact
                ORDER BY stormops.draw(stormops.current_tenant(), $1, c.property_id, 'explore'), c.property_id
            ) AS turn
        FROM cut AS c
        WINDOW everyone AS (), side AS (PARTITION BY c.chosen, c.do_not_contact)
    ),
    explored AS (
        SELECT f.property_id, f.do_not_contact, f.score, f.score_sd, f.model_version, f.value, f.wanted, f.chosen, f.flip_rate, f.flip
        FROM free AS f
        UNION ALL
        SELECT c.property_id, c.do_not_contact, c.score, c.score_sd, c.model_version, c.value, c.wanted, c.chosen,
            c.swaps / c.members, c.turn <= c.swaps
        FROM counted AS c
    ),
    drawn AS (
        SELECT e.*, stormops.draw(stormops.current_tenant(), $1, e.property_id, 'holdout') < (SELECT ($2 ->> 'holdout')::float8) AS held_out
        FROM explored AS e
        OFFSET 0 -- a fence: without it each use below would draw again
    ),
    decided AS (
        SELECT d.*, d.chosen <> d.flip AND NOT d.held_out AS treated,
            (SELECT 1 - ($2 ->> 'holdout')::float8) * CASE WHEN d.chosen THEN 1 - d.flip_rate ELSE d.flip_rate END AS treat_rate
        FROM drawn AS d
    )
    SELECT d.property_id,
        CASE WHEN d.do_not_contact THEN 'exclude' WHEN d.treated THEN 'treat' ELSE 'hold' END,
        CASE
            WHEN d.do_not_contact THEN 'do_not_contact'
            WHEN d.held_out THEN 'holdout'
            WHEN d.chosen THEN CASE WHEN d.flip THEN 'explore_hold' ELSE 'above_threshold' END
            WHEN d.flip THEN 'explore_treat'
            WHEN d.wanted THEN 'over_capacity'
            ELSE 'below_threshold'
        END,
        CASE WHEN d.do_not_contact THEN 1 WHEN d.treated THEN d.treat_rate ELSE 1 - d.treat_rate END,
        d.score, d.score_sd, d.value, d.model_version
    FROM decided AS d
$$;
COMMENT ON FUNCTION stormops.policy_decisions(uuid, jsonb) IS 'The decision for each property of a storm, with its propensity; writes nothing. parameters: as policy_runs.parameters or policy_parameters() has them; the same scores and parameters always decide alike. Columns as in policy_decisions_log. The rule and its chances: docs/policy.md.';

-- policy/outcomes.sql
-- What came of the decisions, and the upkeep of their log.

CREATE FUNCTION stormops_internal.judge_outcomes(
    storm_id uuid, outcomes jsonb,
    OUT place bigint, OUT property_id uuid, OUT run_id uuid, OUT converted boolean, OUT value numeric,
    OUT occurred_at timestamptz, OUT late boolean, OUT idempotency_key text, OUT fault text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH given AS (
        SELECT o.place, o.property_id, o.converted, round(o.value, 2) AS value, coalesce(o.occurred_at, now()) AS occurred_at,
            -- Without a key of its own an outcome is the property's one outcome of this storm.
            coalesce(o.idempotency_key, $1 || ':' || o.property_id) AS idempotency_key
        FROM ROWS FROM (jsonb_to_recordset($2) AS (
            property_id uuid, converted boolean, value numeric, occurred_at timestamptz, idempotency_key text
        )) WITH ORDINALITY AS o (property_id, converted, value, occurred_at, idempotency_key, place)
    ), placed AS (
        SELECT g.*, r.run_id, g.occurred_at > r.decided_at + r.window AS late,
            EXISTS (
                SELECT FROM stormops.policy_decisions_log AS d
                WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = r.run_id AND d.property_id = g.property_id
            ) AS decided,
            ROW (g.property_id, g.converted, g.value) AS content,
            first_value(ROW (g.property_id, g.converted, g.value)) OVER (PARTITION BY g.idempotency_key ORDER BY g.place) AS first_content
        FROM given AS g
        -- The run that was current when the outcome occurred.
        LEFT JOIN LATERAL (
            SELECT r.run_id, r.decided_at, make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS window
            FROM stormops.policy_runs AS r
            WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.decided_at <= g.occurred_at
            ORDER BY r.decided_at DESC, r.run_id DESC
            LIMIT 1
        ) AS r ON true
    )
    SELECT p.place, p.property_id, p.run_id, p.converted, p.value, p.occurred_at, p.late, p.idempotency_key,
        CASE
            WHEN p.property_id IS NULL OR p.converted IS NULL THEN 'property_id and converted must be given'
            WHEN p.value NOT BETWEEN 0 AND 1e11 THEN 'value is not between 0 and 1e11'
            WHEN NOT isfinite(p.occurred_at) OR p.occurred_at > now() + interval '5 minutes' THEN 'occurred_at lies in the future'
            WHEN char_length(p.idempotency_key) NOT BETWEEN 1 AND 200 THEN 'idempotency_key has not 1 to 200 characters'
            WHEN p.run_id IS NULL THEN 'no policy was applied to this storm before the outcome occurred'
            WHEN NOT p.decided THEN 'the property has no decision in the run that was current when it occurred'
            WHEN p.content IS DISTINCT FROM p.first_content THEN 'idempotency_key was used for another outcome'
        END
    FROM placed AS p
$$;
COMMENT ON FUNCTION stormops_internal.judge_outcomes(uuid, jsonb) IS 'Finds for each outcome the run it belongs to, whether it is late, and what is wrong with it, whatever is recorded already.';

CREATE FUNCTION stormops.record_outcomes(
    storm_id uuid, outcomes jsonb, OUT recorded bigint, OUT duplicates bigint, OUT late bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    wrong record;
BEGIN
    IF NOT stormops.may_write('field_user') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'a viewer may not record outcomes',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    IF storm_id IS NULL OR outcomes IS NULL OR jsonb_typeof(outcomes) <> 'array' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN storm_id IS NULL OR outcomes IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'storm and outcomes must be given, outcomes as a JSON array',
            HINT = 'Each element: {"property_id": ..., "converted": true, "value": 12500, "occurred_at": ..., "idempotency_key": ...}.';
    END IF;
    SELECT j.place, j.property_id, j.fault INTO wrong
    FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j WHERE j.fault IS NOT NULL ORDER BY j.place LIMIT 1;
    IF NOT FOUND THEN
        WITH written AS (
            INSERT INTO stormops.policy_outcomes AS o
                (storm_id, property_id, run_id, converted, value, occurred_at, late, idempotency_key)
            SELECT storm_id, j.property_id, j.run_id, j.converted, j.value, j.occurred_at, j.late, j.idempotency_key
            FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j
            ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
            RETURNING o.late
        )
        SELECT count(*), jsonb_array_length(outcomes) - count(*), count(*) FILTER (WHERE w.late)
        INTO recorded, duplicates, late
        FROM written AS w;
        -- A key that was there already, from another session a moment ago too, must have meant the same.
        SELECT j.place, j.property_id, 'idempotency_key was used for another outcome' AS fault INTO wrong
        FROM stormops_internal.judge_outcomes(storm_id, outcomes) AS j
        JOIN stormops.policy_outcomes AS o ON o.tenant_id = stormops.current_tenant() AND o.idempotency_key = j.idempotency_key
        WHERE duplicates > 0 AND (o.storm_id, o.property_id, o.converted, o.value) IS DISTINCT FROM (storm_id, j.property_id, j.converted, j.value)
        ORDER BY j.place LIMIT 1;
    END IF;
    IF wrong.fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN wrong.fault LIKE '%was used%' THEN 'unique_violation' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'outcome is not valid: ' || wrong.fault,
            DETAIL = format('Element %s, property %s. Nothing was recorded.', wrong.place, coalesce(wrong.property_id::text, 'NULL')),
            HINT = CASE WHEN wrong.fault LIKE '%was used%' THEN 'Give each outcome a key of its own; the same outcome keeps its key.'
                ELSE 'Decisions are in stormops.policy_decisions; an outcome comes after its decision.' END;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.record_outcomes(uuid, jsonb) IS 'Records outcomes, all or none. outcomes: array of {property_id, converted, value (NULL), occurred_at (now), idempotency_key (one outcome a property)}. Returns recorded, duplicates (same key and content), late (after outcome_days). Errors: 22004; 22023 no decision by then, in the future, value; 23505 key used for another outcome; 42501 a viewer; 55000 suspended.';

CREATE FUNCTION stormops.record_outcome(
    storm_id uuid, property_id uuid, converted boolean, value numeric DEFAULT NULL,
    occurred_at timestamptz DEFAULT pg_catalog.now(), idempotency_key text DEFAULT NULL,
    OUT recorded boolean, OUT duplicate boolean, OUT late boolean
)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.recorded > 0, r.duplicates > 0, r.late > 0
    FROM stormops.record_outcomes($1, jsonb_build_array(jsonb_build_object(
        'property_id', $2, 'converted', $3, 'value', $4, 'occurred_at', $5, 'idempotency_key', $6))) AS r
$$;
COMMENT ON FUNCTION stormops.record_outcome(uuid, uuid, boolean, numeric, timestamptz, text) IS 'Records the outcome of one property. Returns recorded, duplicate, late. Rules and errors as record_outcomes().';

CREATE FUNCTION stormops.maintain_partitions(months_ahead integer DEFAULT 3) RETURNS integer
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    month date;
    first_id uuid;
    next_id uuid;
    made integer := 0;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF months_ahead IS NULL OR months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'months ahead must be 0 to 120',
            HINT = 'SELECT stormops.maintain_partitions(3);';
    END IF;
    -- Two at once stand in line, so that the second finds the first one's partitions.
    LOCK TABLE stormops.policy_decisions_log IN SHARE UPDATE EXCLUSIVE MODE;
    FOR month IN
        SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => m))::date
        FROM generate_series(0, months_ahead) AS m
        UNION
        SELECT date_trunc('month', to_timestamp(stormops_internal.milliseconds_of(d.run_id) / 1000.0) AT TIME ZONE 'UTC')::date
        FROM stormops_internal.policy_decisions_log_default AS d
    LOOP
        CONTINUE WHEN to_regclass('stormops_internal.' || stormops_internal.decisions_partition(month)) IS NOT NULL;
        first_id := stormops_internal.first_id_of(month);
        next_id := stormops_internal.first_id_of((month + interval '1 month')::date);
        EXECUTE format('CREATE TABLE stormops_internal.%I (LIKE stormops.policy_decisions_log INCLUDING ALL)', stormops_internal.decisions_partition(month));
        -- What the month already has lies in the default partition.
        EXECUTE format('WITH moved AS (DELETE FROM stormops_internal.policy_decisions_log_default WHERE run_id >= %L AND run_id < %L RETURNING *)'
            ' INSERT INTO stormops_internal.%I SELECT * FROM moved', first_id, next_id, stormops_internal.decisions_partition(month));
        EXECUTE format('ALTER TABLE stormops.policy_decisions_log ATTACH PARTITION stormops_internal.%I FOR VALUES FROM (%L) TO (%L)',
            stormops_internal.decisions_partition(month), first_id, next_id);
        EXECUTE format('ALTER TABLE stormops_internal.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', stormops_internal.decisions_partition(month));
        EXECUTE format('COMMENT ON TABLE stormops_internal.%I IS %L', stormops_internal.decisions_partition(month),
            format('Decisions of the runs of %s (UTC).', to_char(month, 'YYYY-MM')));
        made := made + 1;
    END LOOP;
    RETURN made + stormops_internal.maintain_usage_partitions(months_ahead);
END
$$;
COMMENT ON FUNCTION stormops.maintain_partitions(integer) IS 'Makes the partitions of the decision log and of tenant_usage for this month, for so many ahead and for whatever their default partitions have, and moves that there. Returns how many it made. Run it monthly; a missing partition loses nothing. Error: 22023.';

CREATE FUNCTION stormops_internal.decisions_partition(month date) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT 'policy_decisions_log_' || to_char($1, 'YYYY_MM') $$;
COMMENT ON FUNCTION stormops_internal.decisions_partition(date) IS 'Name of a month''s partition of the decision log.';

CREATE FUNCTION stormops_internal.first_id_of(month date) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.first_id_at((extract(epoch FROM $1::timestamp) * 1000)::bigint) $$;
COMMENT ON FUNCTION stormops_internal.first_id_of(date) IS 'The smallest UUID of version 7 of a month, UTC.';

CREATE FUNCTION stormops.drop_decisions_before(month date) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition name;
    dropped text[] := '{}';
    bound date;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF month IS NULL OR month > now() - interval '1 month' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'decisions of the last month are kept',
            HINT = 'SELECT stormops.drop_decisions_before((now() - interval ''7 years'')::date);';
    END IF;
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'stormops.policy_decisions_log'::regclass
            AND c.relname ~ '^policy_decisions_log_\d{4}_\d{2}$'
            AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month')::date <= month
        ORDER BY c.relname
    LOOP
        PERFORM stormops_internal.uncount_partition('policy_decisions_log', partition);
        EXECUTE format('DROP TABLE stormops_internal.%I', partition);
        dropped := dropped || partition::text;
        bound := (to_date(right(partition, 7), 'YYYY_MM') + interval '1 month')::date;
    END LOOP;
    -- Whose decisions went is in each tenant's log, so that it can tell them from decisions that somebody took away.
    PERFORM stormops_internal.log_event(r.tenant_id, 'drop_decisions', NULL, bound::text,
        format('%s decisions of %s runs', sum(r.decisions), count(*)))
    FROM (
        SELECT d.tenant_id, d.decisions FROM stormops.policy_run_digests AS d
        WHERE d.run_id < stormops_internal.first_id_of(bound)
            AND stormops_internal.decisions_partition((to_timestamp(stormops_internal.milliseconds_of(d.run_id) / 1000.0) AT TIME ZONE 'UTC')::date) = ANY (dropped)
    ) AS r
    GROUP BY r.tenant_id
    ORDER BY r.tenant_id;
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION stormops.drop_decisions_before(date) IS 'Drops the decision log''s partitions that end by a date, of all tenants; runs and their counts stay. Returns their names. Error: 22023 for the last month.';

-- policy/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'policy';
-- What of policy the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('policy_modes', 'SELECT', 'viewer', NULL, NULL),
    ('policy_modes', 'INSERT', 'admin', NULL, NULL),
    ('policy_modes', 'UPDATE', 'admin', '{confidence,exploration,holdout,breakeven_uplift,margin,contact_cost,capacity,budget,default_sd,outcome_days}', NULL),
    ('policy_modes', 'DELETE', 'admin', NULL, NULL),
    ('policy_runs', 'SELECT', 'viewer', NULL, NULL),
    ('policy_runs', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_runs', 'UPDATE', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_decisions_log', 'SELECT', 'viewer', NULL, NULL),
    ('policy_decisions_log', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_run_digests', 'SELECT', 'admin', NULL, NULL),
    ('policy_run_digests', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_outcomes', 'SELECT', 'viewer', NULL, NULL),
    ('policy_outcomes', 'INSERT', 'field_user', NULL, 'record_outcome(), record_outcomes()');

-- Views that show tenants' rows as their caller sees them.
INSERT INTO pg_temp.granted_views (view_name, kinds) VALUES
    ('policy_decisions', '{app,trusted_app,operator}'),
    ('storm_results', '{app,trusted_app,operator}');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.default_policy_modes()', '{app,trusted_app,operator}'),
    ('stormops.apply_policy(uuid,text,boolean)', '{app,trusted_app}'),
    ('stormops.preview_policy(uuid,text)', '{app,trusted_app}'),
    ('stormops.policy_parameters(text)', '{app,trusted_app}'),
    ('stormops.policy_decisions(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.policy_candidates(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.require_open_storm(uuid)', '{app,trusted_app}'),
    ('stormops_internal.raise_no_scores(uuid)', '{app,trusted_app}'),
    ('stormops_internal.policy_tally(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.decision_counts(text,text,double precision)', '{app,trusted_app}'),
    ('stormops_internal.attitude(double precision)', '{app,trusted_app}'),
    ('stormops.draw(uuid,uuid,uuid,text)', '{app,trusted_app}'),
    ('stormops.record_outcome(uuid,uuid,boolean,numeric,timestamp with time zone,text)', '{app,trusted_app}'),
    ('stormops.record_outcomes(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops.maintain_partitions(integer)', '{operator}'),
    ('stormops.drop_decisions_before(date)', '{operator}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('policy_runs', 'decided_at', '{storm_id,decided_at}', '{"storm_id": "storms"}', 'apply_policy'),
    ('policy_decisions_log', 'decided_at', '{run_id,property_id}', '{"property_id": "properties", "run_id": "policy_runs", "storm_id": "storms"}', NULL),
    ('policy_outcomes', 'recorded_at', '{run_id,property_id,occurred_at}', '{"property_id": "properties", "run_id": "policy_runs"}', 'record_outcomes');

-- What runs on its own: see known_jobs().
INSERT INTO pg_temp.known_jobs (job, schedule, function, purpose) VALUES
    ('partitions', '30 2 * * *', 'maintain_partitions', 'make the decision log''s partitions ahead');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('no_policy', ARRAY['SELECT * FROM stormops.preview_policy(storm_id)', 'SELECT * FROM stormops.apply_policy(storm_id)']),
    ('no_outcomes', ARRAY['Check that outcomes are recorded: stormops.record_outcome(...)',
        'See when the outcome window ends: window_ends_at in check_conversion_rates(storm_id)']),
    ('partition_runway', ARRAY['SELECT stormops.maintain_partitions(3)', 'Check that it is scheduled: stormops.schedules()']);

-- policy/runs.sql
-- A policy run: the decisions of policy_decisions(), counted by preview_policy() and written down by
-- apply_policy().

CREATE FUNCTION stormops_internal.require_open_storm(storm_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = require_open_storm.storm_id AND s.status = 'closed';
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('storm %s is closed', storm_id),
            HINT = 'UPDATE stormops.storms SET status = ''active'' ... opens it again.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_open_storm(uuid) IS 'Errors: 22004, P0002 no such storm in this tenant, 55000 closed.';

CREATE FUNCTION stormops_internal.raise_no_scores(storm_id uuid) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('storm %s has no scored property', storm_id),
        DETAIL = 'A property is decided if it is active and has a row in lead_uplift for this storm.',
        HINT = 'INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift) ... first.';
END
$$;
COMMENT ON FUNCTION stormops_internal.raise_no_scores(uuid) IS 'Error: 55000, the storm has no scored property.';

CREATE FUNCTION stormops_internal.policy_tally(
    counts jsonb,
    OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint, OUT reasons jsonb, OUT expected_value numeric
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.treat, round(100.0 * t.treat / nullif(t.treat + t.hold, 0), 1), t.hold, t.excluded, t.reasons, t.expected_value
    FROM (
        SELECT coalesce(sum(g.n) FILTER (WHERE g.decision = 'treat'), 0)::bigint AS treat,
            coalesce(sum(g.n) FILTER (WHERE g.decision = 'hold'), 0)::bigint AS hold,
            coalesce(sum(g.n) FILTER (WHERE g.decision = 'exclude'), 0)::bigint AS excluded,
            jsonb_object_agg(g.reason, g.n) AS reasons,
            round(coalesce(sum(g.value) FILTER (WHERE g.decision = 'treat'), 0), 2) AS expected_value
        FROM jsonb_to_recordset($1) AS g (decision text, reason text, n bigint, value numeric)
    ) AS t
$$;
COMMENT ON FUNCTION stormops_internal.policy_tally(jsonb) IS 'Folds what decision_counts() gives into one row.';

CREATE FUNCTION stormops.preview_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate',
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- as policy_parameters()
    SET jit = off -- compiling the one large statement costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    parameters jsonb;
    counts jsonb;
BEGIN
    PERFORM stormops_internal.require_open_storm(storm_id);
    parameters := stormops.policy_parameters(policy_mode);
    SELECT stormops_internal.decision_counts(d.decision, d.reason, d.value) INTO counts
    FROM stormops.policy_decisions(storm_id, parameters) AS d;
    IF counts IS NULL THEN
        PERFORM stormops_internal.raise_no_scores(storm_id);
    END IF;
    SELECT t.* INTO treat, treat_pct, hold, excluded, reasons, expected_value FROM stormops_internal.policy_tally(counts) AS t;
    SELECT r.run_id INTO supersedes FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = preview_policy.storm_id AND r.superseded_at IS NULL;
END
$$;
COMMENT ON FUNCTION stormops.preview_policy(uuid, text) IS 'What apply_policy() would decide now; writes nothing. run_id is NULL, supersedes the run that would be replaced. Other columns and errors as there.';

CREATE FUNCTION stormops.apply_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate', supersede boolean DEFAULT false,
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- as policy_parameters()
    SET jit = off -- compiling the one large statement costs more than it saves
    -- Scores and properties come by their keys: that keeps the order in which the log is written, and memory flat.
    SET enable_hashjoin = off
    SET enable_sort = off
    SET enable_incremental_sort = off
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    parameters jsonb;
    written record;
    decided_at timestamptz := now();
BEGIN
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may apply a policy',
            HINT = 'SELECT * FROM stormops.preview_policy(storm_id, policy_mode); writes nothing.';
    END IF;
    -- Two runs of one storm stand in line here, and the second finds what the first has written. An
    -- update, since a mere lock would let a REPEATABLE READ transaction go on with what it saw before.
    UPDATE stormops.storms AS s SET status = s.status WHERE s.tenant_id = tenant AND s.storm_id = apply_policy.storm_id;
    PERFORM stormops_internal.require_open_storm(storm_id);
    parameters := stormops.policy_parameters(policy_mode);
    -- A transaction that began earlier and waited is the later decision all the same.
    decided_at := greatest(decided_at, (
        SELECT max(r.decided_at) FROM stormops.policy_runs AS r WHERE r.tenant_id = tenant AND r.storm_id = apply_policy.storm_id));
    SELECT r.run_id INTO supersedes FROM stormops.policy_runs AS r
    WHERE r.tenant_id = tenant AND r.storm_id = apply_policy.storm_id AND r.superseded_at IS NULL;
    IF FOUND AND supersede IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('storm %s has a policy applied already', storm_id),
            DETAIL = format('Its current run is %s.', supersedes),
            HINT = 'apply_policy(storm_id, policy_mode, supersede => true) replaces it; the old run stays in the log.';
    END IF;

    run_id := stormops.new_id();
    INSERT INTO stormops.policy_decisions_log (
        tenant_id, run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value,
        decision, reason, policy_mode, model_version
    )
    SELECT tenant, run_id, d.property_id, storm_id, decided_at, d.propensity, d.score, d.score_sd, d.value,
        d.decision, d.reason, policy_mode, d.model_version
    FROM stormops.policy_decisions(storm_id, parameters) AS d;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_scores(storm_id);
    END IF;
    -- Sealed and counted in one pass over what is in the log now.
    SELECT d.* INTO written FROM stormops_internal.decisions_digest(tenant, run_id) AS d;
    SELECT t.* INTO treat, treat_pct, hold, excluded, reasons, expected_value FROM stormops_internal.policy_tally(written.counts) AS t;

    UPDATE stormops.policy_runs AS r SET superseded_at = decided_at WHERE r.tenant_id = tenant AND r.run_id = supersedes;
    INSERT INTO stormops.policy_runs (
        tenant_id, run_id, storm_id, policy_mode, parameters, decided_at, decided_by, acting_user,
        treat, hold, excluded, reasons, expected_value, supersedes
    )
    VALUES (
        tenant, run_id, storm_id, policy_mode, parameters, decided_at, stormops_internal.calling_role(), stormops.current_user_id(),
        treat, hold, excluded, reasons, expected_value, supersedes
    );
    INSERT INTO stormops.policy_run_digests (tenant_id, run_id, decisions, digest, fingerprints)
    VALUES (tenant, run_id, written.decisions, written.digest, written.fingerprints);
    INSERT INTO stormops.tenant_usage (metric_name, metric_value, dimensions)
    SELECT m.metric_name, m.n, jsonb_build_object('policy_mode', policy_mode, 'run_id', run_id, 'storm_id', storm_id)
    FROM (VALUES ('policy_run', 1), ('policy_decision', treat + hold + excluded)) AS m (metric_name, n);
END
$$;
COMMENT ON FUNCTION stormops.apply_policy(uuid, text, boolean) IS 'Decides which scored properties to treat and which to hold, and logs each decision with its propensity, all or none. supersede => true replaces the storm''s current run. Returns run_id, counts, treat_pct (of treat+hold), reasons, expected_value. Errors: 0B000 no tenant; 22004, 22023 unknown mode; 42501 a field_user or viewer; 55000 closed, no scores, applied already, suspended; P0002 no such storm.';

-- policy/seal.sql
-- The digest over the decisions of a run, with a fingerprint of each; and their counts, from the same pass.

CREATE FUNCTION stormops_internal.seal_take(
    state internal, tenant_id uuid, run_id uuid, property_id uuid, storm_id uuid, decided_at timestamptz,
    propensity double precision, score double precision, score_sd double precision, value double precision,
    decision text, reason text, policy_mode text, model_version text
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_seal_take';
COMMENT ON FUNCTION stormops_internal.seal_take(internal, uuid, uuid, uuid, uuid, timestamptz, double precision, double precision, double precision, double precision, text, text, text, text) IS 'Of decisions_seal(): takes in a decision.';
CREATE FUNCTION stormops_internal.seal_finish(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_seal_finish';
COMMENT ON FUNCTION stormops_internal.seal_finish(internal) IS 'Of decisions_seal(): the digest and the fingerprints.';

CREATE AGGREGATE stormops_internal.decisions_seal(
    tenant_id uuid, run_id uuid, property_id uuid, storm_id uuid, decided_at timestamptz,
    propensity double precision, score double precision, score_sd double precision, value double precision,
    decision text, reason text, policy_mode text, model_version text
) (
    SFUNC = stormops_internal.seal_take, STYPE = internal, FINALFUNC = stormops_internal.seal_finish, PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.decisions_seal(uuid, uuid, uuid, uuid, timestamptz, double precision, double precision, double precision, double precision, text, text, text, text) IS 'Over decisions that come in the order of property_id: 32 bytes, SHA-256 over the SHA-256 of each canonical form, and 8 bytes for each, the last four of its property_id and the first four of its digest. Errors: 22023 another order; 54000 more than 134 million.';

CREATE FUNCTION stormops_internal.counts_take(state internal, decision text, reason text, value double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_counts_take';
COMMENT ON FUNCTION stormops_internal.counts_take(internal, text, text, double precision) IS 'Of decision_counts(): takes in a decision.';
CREATE FUNCTION stormops_internal.counts_finish(state internal) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_counts_finish';
COMMENT ON FUNCTION stormops_internal.counts_finish(internal) IS 'Of decision_counts(): the counts.';

CREATE AGGREGATE stormops_internal.decision_counts(decision text, reason text, value double precision) (
    SFUNC = stormops_internal.counts_take, STYPE = internal, FINALFUNC = stormops_internal.counts_finish, PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.decision_counts(text, text, double precision) IS 'A JSON array with an object for each decision and reason: decision, reason, n (rows) and value (its sum); NULL of none. Leaves out rows with a NULL. Error: 54000 more than 64 different ones.';

CREATE FUNCTION stormops_internal.decisions_digest(tenant_id uuid, run_id uuid, OUT decisions bigint, OUT digest bytea, OUT fingerprints bytea, OUT counts jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- one pass in the order of the key, whatever the planner knows of rows just written
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off
    AS $$
DECLARE
    seal bytea;
BEGIN
    -- Executed, so that it is planned for this run and locks the partition of this run alone: a run under
    -- way would hold up maintain_partitions() otherwise, and that every other run.
    EXECUTE 'SELECT stormops_internal.decisions_seal(d.tenant_id, d.run_id, d.property_id, d.storm_id, d.decided_at, d.propensity,'
        '    d.score, d.score_sd, d.value, d.decision, d.reason, d.policy_mode, d.model_version),'
        '    stormops_internal.decision_counts(d.decision, d.reason, d.value)'
        ' FROM (SELECT l.* FROM stormops.policy_decisions_log AS l WHERE l.tenant_id = $1 AND l.run_id = $2 ORDER BY l.property_id) AS d'
    INTO seal, counts USING tenant_id, run_id;
    decisions := (octet_length(seal) - 32) / 8;
    digest := substr(seal, 1, 32);
    fingerprints := substr(seal, 33);
    seal := NULL; -- of a large run it is not kept twice
END
$$;
COMMENT ON FUNCTION stormops_internal.decisions_digest(uuid, uuid) IS 'How many decisions a run has now, and what decisions_seal() and decision_counts() give for them. Columns as in policy_run_digests.';

-- metering/adjustments.sql
-- What late events change on closed months, and with that all lines of an invoice.

CREATE FUNCTION stormops_internal.counted_events(tenants uuid[], only_period date, OUT tenant_id uuid, OUT period date, OUT event_count numeric) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_bitmapscan = off SET jit = off -- one row for each key
    AS $$
    SELECT m.tenant_id, (r.bucket AT TIME ZONE 'UTC')::date, sum(r.event_count)
    FROM stormops.metrics AS m
    -- By the key, metric by metric: without OFFSET it might read the hours of all tenants.
    CROSS JOIN LATERAL (
        SELECT r.bucket, r.event_count FROM stormops.usage_rollups AS r
        WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month' AND r.dimensions = '{}'
            AND r.bucket >= coalesce(stormops_internal.month_start($2), '-infinity') AND r.bucket <= coalesce(stormops_internal.month_start($2), 'infinity') OFFSET 0
    ) AS r
    WHERE m.tenant_id = ANY ($1)
    GROUP BY m.tenant_id, r.bucket
$$;
COMMENT ON FUNCTION stormops_internal.counted_events(uuid[], date) IS 'How many events of each month, or of one, the rollups hold, all metrics together.';

CREATE FUNCTION stormops_internal.adjustments(
    tenants uuid[], period date, usage_seq bigint, as_of timestamptz,
    OUT tenant_id uuid, OUT adjusts uuid, OUT metric_name text, OUT unit text, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT rule text, OUT quantity numeric, OUT amount numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH closed AS MATERIALIZED (
        SELECT i.*
        FROM stormops.invoices AS i
        LEFT JOIN stormops_internal.counted_events((
            SELECT array_agg(DISTINCT i.tenant_id) FROM stormops.invoices AS i
            WHERE $3 IS NULL AND i.tenant_id = ANY ($1) AND i.kind = 'invoice' AND i.period <> $2 AND i.status = 'finalized'
        ), NULL) AS c ON c.tenant_id = i.tenant_id AND c.period = i.period
        WHERE i.tenant_id = ANY ($1) AND i.kind = 'invoice' AND i.period <> $2
            AND i.finalized_at < $4 AND coalesce(i.voided_at, 'infinity') >= $4
            AND CASE
                WHEN $3 IS NULL THEN coalesce(c.event_count, 0) <> i.event_count
                ELSE EXISTS (
                    SELECT FROM stormops.metrics AS m
                    JOIN stormops.tenant_usage AS u ON u.tenant_id = m.tenant_id AND u.metric_name = m.metric_name
                    WHERE m.tenant_id = i.tenant_id AND u.recorded_at >= stormops_internal.month_start(i.period)
                        AND u.recorded_at < stormops_internal.month_start((i.period + interval '1 month')::date)
                        AND u.usage_seq > i.usage_seq AND u.usage_seq <= $3)
            END
    ), due AS (
        SELECT i.tenant_id, i.invoice_id, r.metric_name, max(r.unit) AS unit, min(r.from_time) AS from_time, max(r.to_time) AS to_time,
            sum(r.quantity) AS quantity, sum(r.amount) AS amount
        FROM (SELECT array_agg(c.tenant_id) AS tenants, array_agg(c.period) AS periods, array_agg(c.price_book) AS books FROM closed AS c) AS c
        CROSS JOIN LATERAL stormops.rate(c.tenants, c.periods, c.books, $3) AS r
        JOIN closed AS i ON i.tenant_id = r.tenant_id AND i.period = r.period
        WHERE c.tenants IS NOT NULL
        GROUP BY i.tenant_id, i.invoice_id, r.metric_name
    ), billed AS (
        SELECT i.tenant_id, i.invoice_id, l.metric_name, max(l.unit) AS unit, min(l.from_time) AS from_time, max(l.to_time) AS to_time,
            sum(l.quantity) AS quantity, sum(l.amount) AS amount
        FROM closed AS i
        JOIN stormops.invoice_lines AS l ON l.tenant_id = i.tenant_id AND coalesce(l.adjusts, l.invoice_id) = i.invoice_id
        JOIN stormops.invoices AS n ON n.tenant_id = l.tenant_id AND n.invoice_id = l.invoice_id
        WHERE l.tenant_id = ANY ($1) AND n.tenant_id = ANY ($1) AND n.finalized_at < $4 AND coalesce(n.voided_at, 'infinity') >= $4
        GROUP BY i.tenant_id, i.invoice_id, l.metric_name
    ), difference AS (
        SELECT tenant_id, invoice_id, metric_name, coalesce(d.unit, b.unit) AS unit, coalesce(d.from_time, b.from_time) AS from_time,
            coalesce(d.to_time, b.to_time) AS to_time, coalesce(d.quantity, 0) - coalesce(b.quantity, 0) AS quantity,
            coalesce(d.amount, 0) - coalesce(b.amount, 0) AS amount
        FROM due AS d FULL JOIN billed AS b USING (tenant_id, invoice_id, metric_name)
    )
    SELECT d.tenant_id, d.invoice_id, d.metric_name, d.unit, d.from_time, d.to_time,
        format('late events of %s, invoice %s', to_char(i.period, 'YYYY-MM'), i.invoice_number), d.quantity, d.amount
    FROM difference AS d JOIN closed AS i ON i.tenant_id = d.tenant_id AND i.invoice_id = d.invoice_id
    WHERE d.quantity <> 0 OR d.amount <> 0
$$;
COMMENT ON FUNCTION stormops_internal.adjustments(uuid[], date, bigint, timestamptz) IS 'What late events change on the invoices that were closed as_of: the month rated again at its own prices, less what was billed for it so far. usage_seq as in rate().';

CREATE FUNCTION stormops_internal.due_lines(
    tenants uuid[], books text[], period date, usage_seq bigint, as_of timestamptz,
    OUT tenant_id uuid, OUT line integer, OUT kind text, OUT metric_name text, OUT unit text, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT tier text, OUT rule text, OUT quantity numeric, OUT unit_price numeric, OUT amount numeric, OUT price_id uuid, OUT adjusts uuid
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    SELECT l.tenant_id,
        row_number() OVER (PARTITION BY l.tenant_id ORDER BY l.adjusts NULLS FIRST, l.place, l.metric_name COLLATE "C")::integer,
        l.kind, l.metric_name, l.unit, l.from_time, l.to_time, l.tier, l.rule, l.quantity, l.unit_price, l.amount, l.price_id, l.adjusts
    FROM (
        SELECT r.tenant_id, r.place, r.kind, r.metric_name, r.unit, r.from_time, r.to_time, r.tier, r.rule, r.quantity, r.unit_price,
            r.amount, r.price_id, NULL::uuid AS adjusts
        FROM stormops.rate($1, array_fill($3, ARRAY[cardinality($1)]), $2, $4) AS r
        UNION ALL
        SELECT a.tenant_id, 0, 'adjustment', a.metric_name, a.unit, a.from_time, a.to_time, NULL, a.rule, a.quantity, NULL, a.amount, NULL, a.adjusts
        FROM stormops_internal.adjustments($1, $3, $4, $5) AS a
    ) AS l
$$;
COMMENT ON FUNCTION stormops_internal.due_lines(uuid[], text[], date, bigint, timestamptz) IS 'All lines of the month''s invoice of each tenant by its book: rate(), then adjustments().';

-- metering/admission.sql
-- What every event passes, however it is inserted: keys, declared metrics, hard quotas.

CREATE FUNCTION stormops_internal.charge_quota(
    tenant_id uuid, metric_name text, period text, period_start timestamptz, aggregation text, used numeric, quota numeric
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    total numeric;
BEGIN
    -- The row is locked to the end of the transaction: writers of one metric of one tenant come one after the other.
    UPDATE stormops.quota_counters AS c
    SET used = CASE aggregation WHEN 'MAX' THEN greatest(c.used, used) ELSE c.used + used END
    WHERE c.tenant_id = charge_quota.tenant_id AND c.metric_name = charge_quota.metric_name
        AND c.period = charge_quota.period AND c.period_start = charge_quota.period_start
    RETURNING c.used INTO total;
    IF NOT FOUND THEN
        -- The first to write begins with what is there, its own rows among it; if another was first, it adds its own.
        INSERT INTO stormops.quota_counters AS c (tenant_id, metric_name, period, period_start, used)
        VALUES (tenant_id, metric_name, period, period_start,
            coalesce((SELECT u.quantity FROM stormops_internal.period_usage(tenant_id, metric_name, period, period_start) AS u), 0))
        ON CONFLICT ON CONSTRAINT quota_counters_pkey DO UPDATE
            SET used = CASE aggregation WHEN 'MAX' THEN greatest(c.used, charge_quota.used) ELSE c.used + charge_quota.used END
        RETURNING c.used INTO total;
    END IF;
    -- What the platform measures of many tenants at once is not lost because one of them has used its quota up.
    IF total > quota AND stormops_internal.has_tenant() THEN
        RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded',
            MESSAGE = format('quota of %s per %s for metric "%s" is exceeded', quota, period, metric_name),
            DETAIL = format('This would make it %s. Nothing was recorded.', trim_scale(total)),
            HINT = format('SELECT * FROM stormops.check_quota(%L); shows when it begins anew. An operator may raise it.', metric_name);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.charge_quota(uuid, text, text, timestamptz, text, numeric, numeric) IS 'Adds to the counter of a hard quota, for rows that are inserted already. Without a tenant in context, where the platform itself measures, it counts and refuses nothing. Error: 53400 it would exceed the quota.';

CREATE FUNCTION stormops_internal.claim_keys() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM new_usage AS n WHERE n.idempotency_key IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    -- Else a tenant could take the key of what the platform will measure of it.
    IF EXISTS (SELECT FROM new_usage AS n WHERE starts_with(n.idempotency_key, 'stormops:')) THEN
        PERFORM stormops_internal.refuse_usage('idempotency_key begins with stormops:, as the platform''s own do');
    END IF;
    BEGIN
        INSERT INTO stormops.usage_keys (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
        SELECT n.tenant_id, n.idempotency_key, n.usage_id, n.metric_name, n.metric_value, n.recorded_at
        FROM new_usage AS n
        WHERE n.idempotency_key IS NOT NULL
        ORDER BY n.idempotency_key COLLATE "C", n.tenant_id; -- two at once wait for each other in one direction only
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'idempotency_key was used before',
                DETAIL = 'Nothing was recorded.',
                HINT = 'stormops.record_usage() takes a repeat of the same event as a duplicate.';
    END;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.claim_keys() IS 'Trigger: keeps idempotency keys unique within the tenant, over all partitions. Errors: 22023 one of the platform''s own; 23505.';

CREATE FUNCTION stormops_internal.admit_usage() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    m record;
    q record;
    p record;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    FOR m IN
        SELECT n.tenant_id, n.metric_name,
            (SELECT true FROM stormops.metrics AS d WHERE d.tenant_id = n.tenant_id AND d.metric_name = n.metric_name) AS declared,
            n.first_at < (SELECT g.kept_from FROM stormops_internal.metering_progress AS g) AS dropped,
            -- The server's table of locks is small: a statement of the owner's over many tenants locks a metric for all of them.
            CASE WHEN count(*) OVER () <= 64 THEN n.tenant_id END AS held
        FROM (
            SELECT u.tenant_id, u.metric_name, min(u.recorded_at) AS first_at FROM new_usage AS u GROUP BY u.tenant_id, u.metric_name
        ) AS n
        ORDER BY n.tenant_id, n.metric_name
    LOOP
        IF m.declared IS NULL THEN
            PERFORM stormops_internal.require_metric(m.tenant_id, m.metric_name);
        END IF;
        IF m.dropped THEN
            PERFORM stormops_internal.refuse_usage('its time is one whose raw events were dropped');
        END IF;
        -- Writers share this lock; set_quota() waits for it, so that nobody writes past a new quota unseen.
        PERFORM stormops_internal.lock_quotas('stormops.quotas'::regclass, m.held, m.metric_name, false);
        FOR q IN
            SELECT e.period, e.quota, e.aggregation FROM stormops_internal.effective_quotas(m.tenant_id, m.metric_name) AS e
            WHERE e.kind = 'hard' AND e.quota IS NOT NULL AND e.aggregation IN ('SUM', 'COUNT', 'MAX')
            ORDER BY e.period
        LOOP
            FOR p IN
                SELECT date_trunc(q.period, n.recorded_at, 'UTC') AS starts,
                    CASE q.aggregation WHEN 'SUM' THEN sum(n.metric_value) WHEN 'COUNT' THEN count(*) ELSE max(n.metric_value) END AS used
                FROM new_usage AS n
                WHERE n.tenant_id = m.tenant_id AND n.metric_name = m.metric_name
                GROUP BY 1
                ORDER BY 1
            LOOP
                PERFORM stormops_internal.charge_quota(m.tenant_id, m.metric_name, q.period, p.starts, q.aggregation, p.used, q.quota);
            END LOOP;
        END LOOP;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.admit_usage() IS 'Trigger: refuses events of undeclared metrics, those older than what is kept, and those beyond a hard quota. Errors: 22023; 53400.';

-- metering/corrections.sql
-- What is final is corrected by others: voided, or credited in part.

CREATE FUNCTION stormops.void_invoice(invoice_id uuid, reason text, OUT invoice_number bigint, OUT voided_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    invoice record;
    fault text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    PERFORM stormops_internal.require_reason($2);
    LOCK TABLE stormops.invoices IN ROW EXCLUSIVE MODE;
    SELECT * INTO invoice FROM stormops_internal.require_invoice($1, true);
    PERFORM FROM stormops.tenants AS t WHERE t.tenant_id = invoice.tenant_id FOR NO KEY UPDATE;
    fault := CASE
        WHEN invoice.kind <> 'invoice' OR invoice.status <> 'finalized' THEN 'only a finalized invoice can be voided'
        WHEN EXISTS (
            SELECT FROM stormops.invoices AS c
            WHERE c.tenant_id = invoice.tenant_id AND c.corrects = $1) THEN 'the invoice has credit notes'
        WHEN EXISTS (
            SELECT FROM stormops.invoice_lines AS l JOIN stormops.invoices AS o ON o.tenant_id = l.tenant_id AND o.invoice_id = l.invoice_id
            WHERE l.tenant_id = invoice.tenant_id AND l.adjusts = $1 AND o.status = 'finalized') THEN 'a later invoice adjusts this one'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = fault,
            HINT = 'credit_invoice(invoice_id, amount, reason) corrects it; of invoices that adjust each other void the latest first.';
    END IF;
    UPDATE stormops.invoices AS i SET status = 'void', reason = $2, voided_at = clock_timestamp(), voided_by = stormops_internal.calling_role()
    WHERE i.tenant_id = invoice.tenant_id AND i.invoice_id = $1
    RETURNING i.invoice_number, i.voided_at INTO invoice_number, voided_at;
END
$$;
COMMENT ON FUNCTION stormops.void_invoice(uuid, text) IS 'Declares a finalized invoice not due; it keeps its number and its lines, and its month may be invoiced anew. Returns invoice_number, voided_at. For operators. Errors: 22004, 22023 no reason; 25000 not READ COMMITTED; P0002 no such invoice; 55000 not final, credited, or adjusted by a later one.';

CREATE FUNCTION stormops_internal.require_reason(reason text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF reason IS NULL OR btrim(reason) = '' OR char_length(reason) > 500 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN reason IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'a reason must be given', HINT = 'It has 1 to 500 characters and is kept with the invoice.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_reason(text) IS 'Errors 22004, 22023 unless there is a reason of 1 to 500 characters.';

CREATE FUNCTION stormops.credit_invoice(
    invoice_id uuid, amount numeric, reason text, OUT credit_note_id uuid, OUT invoice_number bigint, OUT total numeric, OUT left_to_credit numeric
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    invoice stormops.invoices;
    credited numeric;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    PERFORM stormops_internal.require_reason($3);
    LOCK TABLE stormops.invoices IN ROW EXCLUSIVE MODE;
    PERFORM stormops_internal.require_invoice($1, true);
    SELECT i.* INTO invoice FROM stormops.tenants AS t JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id WHERE i.invoice_id = $1;
    IF invoice.kind <> 'invoice' OR invoice.status <> 'finalized' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'only a finalized invoice can be credited',
            HINT = 'A draft is generated anew.';
    END IF;
    SELECT -coalesce(sum(c.total), 0) INTO credited FROM stormops.invoices AS c WHERE c.tenant_id = invoice.tenant_id AND c.corrects = $1;
    IF $2 IS NULL OR NOT ($2 > 0 AND $2 <= invoice.total - credited) OR $2 <> round($2, invoice.minor_unit) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a credit is above 0, at most what is left of the invoice, and has %s digits after the point', invoice.minor_unit),
            DETAIL = format('Left: %s %s.', invoice.total - credited, invoice.currency),
            HINT = 'SELECT * FROM stormops.credit_invoice(invoice_id, 12.50, ''outage of 3 March'');';
    END IF;
    total := -round($2, invoice.minor_unit);
    left_to_credit := invoice.total - credited + total;
    INSERT INTO stormops.invoices AS i (tenant_id, kind, period, org_name, price_book, currency, minor_unit, total, usage_seq, event_count,
        corrects, reason, generated_at, generated_by)
    VALUES (invoice.tenant_id, 'credit_note', invoice.period, invoice.org_name, invoice.price_book, invoice.currency, invoice.minor_unit,
        total, invoice.usage_seq, 0, $1, $3, clock_timestamp(), stormops_internal.calling_role())
    RETURNING i.invoice_id INTO credit_note_id;
    INSERT INTO stormops.invoice_lines (tenant_id, invoice_id, line, kind, metric_name, from_time, to_time, rule, quantity, unit_price, amount)
    VALUES (invoice.tenant_id, credit_note_id, 1, 'credit', 'credit', stormops_internal.month_start(invoice.period),
        stormops_internal.month_start((invoice.period + interval '1 month')::date), format('credit to invoice %s', invoice.invoice_number),
        -1, -total, total);
    SELECT n.invoice_number INTO invoice_number FROM stormops_internal.take_number(invoice.tenant_id, credit_note_id) AS n;
END
$$;
COMMENT ON FUNCTION stormops.credit_invoice(uuid, numeric, text) IS 'Issues a final credit note over a part of a finalized invoice, or over all that is left of it. Returns credit_note_id, its number in the invoices'' series, total (negative) and left_to_credit. For operators. Errors: 22004, 22023 no reason, amount not above 0, above what is left, or finer than the currency; 25000 not READ COMMITTED; P0002 no such invoice; 55000 not final.';

-- metering/documents.sql
-- Invoices to read: by programs, in psql, in a browser.

CREATE FUNCTION stormops_internal.print_invoice(document jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'print_invoice_wrapper';
COMMENT ON FUNCTION stormops_internal.print_invoice(jsonb) IS 'The text of a document of invoice_json(). Error: 22023 it is none.';

CREATE FUNCTION stormops_internal.print_invoice_html(document jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'print_invoice_html_wrapper';
COMMENT ON FUNCTION stormops_internal.print_invoice_html(jsonb) IS 'The page of a document of invoice_json(). Error: 22023 it is none.';

CREATE FUNCTION stormops.list_invoices(
    period text DEFAULT NULL, tenant_id uuid DEFAULT NULL,
    OUT invoice_id uuid, OUT tenant uuid, OUT org_name text, OUT kind text, OUT month date, OUT status text, OUT invoice_number bigint,
    OUT currency text, OUT total numeric, OUT generated_at timestamptz, OUT finalized_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    asked date := CASE WHEN $1 IS NOT NULL THEN stormops_internal.billing_period($1) END;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT i.invoice_id, i.tenant_id, i.org_name, i.kind, i.period, i.status, i.invoice_number, i.currency, i.total, i.generated_at, i.finalized_at
        FROM stormops.invoices AS i
        WHERE i.period = coalesce(asked, i.period) AND i.tenant_id = coalesce($2, i.tenant_id)
        ORDER BY i.period, i.invoice_number NULLS LAST, i.org_name, i.invoice_id;
END
$$;
COMMENT ON FUNCTION stormops.list_invoices(text, uuid) IS 'Invoices and credit notes of a month (NULL: all), of a tenant (NULL: all). For operators; a tenant reads its own in invoices. Error: 22023 not a month.';

CREATE FUNCTION stormops.invoice_json(invoice_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    document jsonb;
    own uuid := CASE WHEN NOT stormops_internal.is_operator() THEN stormops_internal.target_tenant(NULL, false) END;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT jsonb_build_object(
        'invoice_id', i.invoice_id, 'tenant_id', i.tenant_id, 'kind', i.kind, 'number', i.invoice_number::text, 'status', i.status,
        'period', to_char(i.period, 'YYYY-MM'), 'organisation', i.org_name, 'currency', i.currency,
        'total', round(i.total, i.minor_unit)::text, 'price_book', i.price_book, 'usage_seq', i.usage_seq::text,
        'generated_at', stormops_internal.utc_text(i.generated_at), 'finalized_at', stormops_internal.utc_text(i.finalized_at),
        'voided_at', stormops_internal.utc_text(i.voided_at), 'corrects', i.corrects, 'corrects_number', c.invoice_number::text, 'reason', i.reason,
        'lines', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'line', l.line::text, 'kind', l.kind, 'metric_name', l.metric_name, 'unit', l.unit,
                'from_time', stormops_internal.utc_text(l.from_time), 'to_time', stormops_internal.utc_text(l.to_time), 'tier', l.tier, 'rule', l.rule,
                'quantity', trim_scale(l.quantity)::text, 'unit_price', trim_scale(l.unit_price)::text,
                'amount', round(l.amount, i.minor_unit)::text, 'price_id', l.price_id, 'adjusts', l.adjusts) ORDER BY l.line)
            FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id), '[]'))
    INTO document
    FROM stormops.tenants AS t
    JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id
    LEFT JOIN stormops.invoices AS c ON c.tenant_id = i.tenant_id AND c.invoice_id = i.corrects
    WHERE i.invoice_id = $1 AND i.tenant_id = coalesce(own, i.tenant_id);
    IF document IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('invoice %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'stormops.invoices has a tenant''s own; stormops.list_invoices() is for operators.';
    END IF;
    RETURN document;
END
$$;
COMMENT ON FUNCTION stormops.invoice_json(uuid) IS 'An invoice or credit note with its lines as JSON. Numbers are text, exact to the last digit; times are UTC. For operators, and for a tenant''s admins its own. Errors: P0002 no such invoice (of the tenant); 42501; 0B000 no tenant in context.';

CREATE FUNCTION stormops_internal.utc_text(moment timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') $$;
COMMENT ON FUNCTION stormops_internal.utc_text(timestamptz) IS 'The moment in UTC to the second, as ISO 8601 writes it.';

CREATE FUNCTION stormops.invoice_text(invoice_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.print_invoice(stormops.invoice_json($1)) $$;
COMMENT ON FUNCTION stormops.invoice_text(uuid) IS 'An invoice for psql (\pset format unaligned, \t on): columns of fixed width. Errors as invoice_json().';

CREATE FUNCTION stormops.invoice_html(invoice_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.print_invoice_html(stormops.invoice_json($1)) $$;
COMMENT ON FUNCTION stormops.invoice_html(uuid) IS 'An invoice as one page that needs nothing else, for the browser (light or dark) and the printer; every value escaped. Errors as invoice_json().';

-- metering/finalization.sql
-- What is final stays: triggers that hold for everybody, numbers without a gap.

CREATE FUNCTION stormops_internal.guard_invoice() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    fixed boolean := CASE TG_OP
        -- A restore, which sets row_security off, brings invoices as they were.
        WHEN 'INSERT' THEN NEW.status <> 'draft' AND current_setting('row_security') = 'on'
        WHEN 'UPDATE' THEN
            OLD.status = 'void' OR OLD.status = 'draft' AND NEW.status = 'void'
            OR (OLD.tenant_id, OLD.invoice_id, OLD.kind, OLD.period) IS DISTINCT FROM (NEW.tenant_id, NEW.invoice_id, NEW.kind, NEW.period)
            OR OLD.status = 'finalized' AND (NEW.status <> 'void'
                OR to_jsonb(OLD) - '{status,voided_at,voided_by,reason}'::text[] <> to_jsonb(NEW) - '{status,voided_at,voided_by,reason}'::text[])
        WHEN 'DELETE' THEN OLD.status <> 'draft'
        ELSE true
    END;
BEGIN
    IF fixed THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a finalized invoice is never changed or deleted',
            HINT = 'SELECT * FROM stormops.credit_invoice(invoice_id, amount, reason); or void_invoice(invoice_id, reason).';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_invoice() IS 'Trigger: draft, then finalized, then perhaps void; nothing else changes once it is finalized, whoever tries. Error: 55000.';

CREATE FUNCTION stormops_internal.guard_invoice_lines() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    fixed boolean := TG_OP = 'TRUNCATE';
BEGIN
    -- One statement's lines are looked at together: an invoice run writes all tenants'.
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        fixed := EXISTS (SELECT FROM gone AS l JOIN stormops.invoices AS i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
            WHERE i.status <> 'draft');
    END IF;
    IF NOT fixed AND (TG_OP = 'UPDATE' OR TG_OP = 'INSERT' AND current_setting('row_security') = 'on') THEN
        fixed := EXISTS (SELECT FROM come AS l JOIN stormops.invoices AS i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
            WHERE i.status <> 'draft');
    END IF;
    IF fixed THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the lines of a finalized invoice are never changed',
            HINT = 'SELECT * FROM stormops.credit_invoice(invoice_id, amount, reason); or void_invoice(invoice_id, reason).';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_invoice_lines() IS 'Trigger: lines come, change and go with a draft only, whoever tries. Error: 55000.';

CREATE FUNCTION stormops_internal.require_invoice(
    invoice_id uuid, for_update boolean, OUT tenant_id uuid, OUT kind text, OUT period date, OUT status text, OUT total numeric
)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    SELECT i.tenant_id, i.kind, i.period, i.status, i.total INTO tenant_id, kind, period, status, total
    FROM stormops.tenants AS t JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id WHERE i.invoice_id = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('invoice %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.list_invoices(period);';
    END IF;
    IF for_update THEN
        -- Read again under the lock: another session may just have taken a step.
        SELECT i.status INTO status FROM stormops.invoices AS i
        WHERE i.tenant_id = require_invoice.tenant_id AND i.invoice_id = $1 FOR UPDATE;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_invoice(uuid, boolean) IS 'The invoice of an id, locked if it is to be changed. Error: P0002 there is none.';

CREATE FUNCTION stormops_internal.take_number(tenant_id uuid, invoice_id uuid, OUT invoice_number bigint, OUT finalized_at timestamptz)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- Whoever else finalizes waits at this row until we commit, or takes the number that we gave back.
    WITH next AS (
        UPDATE stormops_internal.invoice_numbers AS n SET last_number = n.last_number + 1 WHERE n.series = 'invoice' RETURNING n.last_number
    )
    UPDATE stormops.invoices AS i
    SET status = 'finalized', invoice_number = n.last_number, finalized_at = clock_timestamp(), finalized_by = stormops_internal.calling_role()
    FROM next AS n
    WHERE i.tenant_id = $1 AND i.invoice_id = $2
    RETURNING i.invoice_number, i.finalized_at
$$;
COMMENT ON FUNCTION stormops_internal.take_number(uuid, uuid) IS 'Finalizes a draft with the next number of the installation.';

CREATE FUNCTION stormops.finalize_invoice(invoice_id uuid, OUT invoice_number bigint, OUT finalized_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    invoice record;
    stale text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- Waits for a run that refreshes drafts, and for a price that is being set.
    LOCK TABLE stormops.invoices IN ROW EXCLUSIVE MODE;
    SELECT * INTO invoice FROM stormops_internal.require_invoice($1, true);
    IF invoice.status <> 'draft' THEN
        IF invoice.status = 'finalized' THEN
            SELECT i.invoice_number, i.finalized_at INTO invoice_number, finalized_at FROM stormops.invoices AS i
            WHERE i.tenant_id = invoice.tenant_id AND i.invoice_id = $1;
            RETURN;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the invoice is void',
            HINT = 'SELECT * FROM stormops.generate_invoice(tenant_id, period); drafts another for its month.';
    END IF;
    -- Other steps of this tenant's invoices wait here, so that two drafts never bill the same late events.
    PERFORM FROM stormops.tenants AS t WHERE t.tenant_id = invoice.tenant_id FOR NO KEY UPDATE;
    SELECT CASE
        WHEN EXISTS (
            SELECT FROM stormops.invoices AS o
            WHERE o.tenant_id = i.tenant_id AND o.kind = 'invoice' AND greatest(o.finalized_at, o.voided_at) >= i.generated_at)
            THEN 'another invoice of the tenant was finalized or voided since this one was drafted'
        WHEN EXISTS (
            SELECT FROM stormops_internal.prices AS p WHERE p.price_book = i.price_book AND p.created_at >= i.generated_at
                AND p.valid_from < stormops_internal.month_start((i.period + interval '1 month')::date))
            THEN 'a price of the month was set since this one was drafted'
        WHEN i.price_book <> (SELECT a.price_book FROM stormops_internal.assigned_books(i.tenant_id) AS a)
            THEN 'the tenant pays by another price book than that of the draft'
    END INTO stale
    FROM stormops.invoices AS i WHERE i.tenant_id = invoice.tenant_id AND i.invoice_id = $1;
    IF stale IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = stale,
            HINT = 'SELECT * FROM stormops.generate_invoice(tenant_id, period); refreshes the draft.';
    END IF;
    SELECT n.* INTO invoice_number, finalized_at FROM stormops_internal.take_number(invoice.tenant_id, $1) AS n;
END
$$;
COMMENT ON FUNCTION stormops.finalize_invoice(uuid) IS 'Makes a draft final, with the next number of the installation: no gap, since a rolled back call gives its number back. One that is final already is returned as it is. Returns invoice_number, finalized_at. For operators. Errors: 25000 not READ COMMITTED; P0002 no such invoice; 55000 void, or the draft is older than another invoice''s step, a price of the month or the tenant''s price book.';

-- metering/hours.sql
-- From events to hours: the labels by which they are rolled up, and the one scan that groups them.

CREATE FUNCTION stormops_internal.rollup_label(dimensions jsonb, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT left($1 ->> $2, 100) $$;
COMMENT ON FUNCTION stormops_internal.rollup_label(jsonb, text) IS 'The value of a dimension by which an event is rolled up, at most 100 characters, so that the key of a rollup fits its index whatever an event carries.';

CREATE FUNCTION stormops_internal.rollup_key(dimensions jsonb, names text[]) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE cardinality($2) WHEN 0 THEN NULL
        WHEN 1 THEN stormops_internal.rollup_label($1, $2[1])
        ELSE ARRAY[stormops_internal.rollup_label($1, $2[1]), stormops_internal.rollup_label($1, $2[2]), stormops_internal.rollup_label($1, $2[3]), stormops_internal.rollup_label($1, $2[4])]::text
    END
$$;
COMMENT ON FUNCTION stormops_internal.rollup_key(jsonb, text[]) IS 'The labels of an event as one text: alone as it is, several as an array of four; different labels of a metric have different texts.';

CREATE FUNCTION stormops_internal.rollup_labels(key text, names text[]) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE cardinality($2) WHEN 0 THEN '{}'
        WHEN 1 THEN jsonb_build_object($2[1], $1)
        ELSE jsonb_object($2, ($1::text[])[:cardinality($2)])
    END
$$;
COMMENT ON FUNCTION stormops_internal.rollup_labels(text, text[]) IS 'The dimensions of a rollup with their values from rollup_key(), null where an event had none; {} where the metric has none.';

CREATE FUNCTION stormops_internal.event_labels(dimensions jsonb, names text[]) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE cardinality($2) WHEN 0 THEN '{}'
        WHEN 1 THEN jsonb_build_object($2[1], stormops_internal.rollup_label($1, $2[1]))
        ELSE jsonb_build_object($2[1], stormops_internal.rollup_label($1, $2[1]), $2[2], stormops_internal.rollup_label($1, $2[2]))
            || CASE WHEN cardinality($2) > 2 THEN jsonb_build_object($2[3], stormops_internal.rollup_label($1, $2[3])) ELSE '{}' END
            || CASE WHEN cardinality($2) > 3 THEN jsonb_build_object($2[4], stormops_internal.rollup_label($1, $2[4])) ELSE '{}' END
    END
$$;
COMMENT ON FUNCTION stormops_internal.event_labels(jsonb, text[]) IS 'The rollup_dimensions of an event with their values, as rollups have them.';

CREATE FUNCTION stormops_internal.usage_by_hour(
    after bigint, upto bigint,
    OUT tenant_id uuid, OUT metric_name text, OUT aggregation text, OUT hour timestamptz, OUT dimensions jsonb, OUT total numeric, OUT peak numeric,
    OUT n bigint
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_sort = off -- groups are few and events many: to hash them is far cheaper, and the planner cannot know
    SET plan_cache_mode = force_generic_plan -- statistics from before the new events would say that there are none
    AS $$
#variable_conflict use_column
BEGIN
    -- A statement of its own, since one that writes is not computed in parallel.
    RETURN QUERY
        SELECT g.tenant_id, g.metric_name, m.aggregation, g.hour,
            stormops_internal.rollup_labels(g.key, m.rollup_dimensions), g.total, g.peak, g.n
        FROM (
            SELECT e.tenant_id, e.metric_name,
                date_bin('1 hour', e.recorded_at, '2000-01-01 00:00:00+00') AS hour, -- a division, where date_trunc() looks up names
                stormops_internal.rollup_key(e.dimensions, m.rollup_dimensions) AS key,
                sum(e.metric_value) AS total, max(e.metric_value) AS peak, count(*) AS n
            FROM stormops.tenant_usage AS e
            -- Each event has its metric: what LEFT and + 0 say to the planner is that the rows stay many, and so are
            -- added up where they are read. Of two bounds, and of a join, it would think that they leave next to nothing.
            LEFT JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
            WHERE e.usage_seq > after AND e.usage_seq + 0 <= upto
            GROUP BY 1, 2, 3, 4
        ) AS g
        JOIN stormops.metrics AS m ON m.tenant_id = g.tenant_id AND m.metric_name = g.metric_name;
END
$$;
COMMENT ON FUNCTION stormops_internal.usage_by_hour(bigint, bigint) IS 'The events with after < usage_seq <= upto by tenant, metric, hour (UTC) and rollup dimensions: their sum, greatest value and number.';

-- metering/ingest.sql
-- How events come in: by record_usage(), record_usages() and plain INSERT, under the same rules.

CREATE FUNCTION stormops_internal.usage_fault(metric_name text, value numeric, dimensions jsonb, idempotency_key text, at timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE
        WHEN $1 IS NULL OR $2 IS NULL THEN 'metric_name and value must be given'
        WHEN char_length($1) NOT BETWEEN 1 AND 100 THEN 'metric_name has not 1 to 100 characters'
        WHEN $2 NOT BETWEEN 0 AND 1e15 THEN 'value is not between 0 and 1e15' -- NaN is above
        WHEN scale($2) > 20 THEN 'value has more than 20 decimal places'
        WHEN pg_column_size($3 || '{}') > 8192 THEN 'dimensions take more than 8 kB' -- || takes it out of its row, where it may lie compressed
        WHEN jsonb_typeof($3) <> 'object' THEN 'dimensions are not a JSON object'
        WHEN char_length($4) NOT BETWEEN 1 AND 200 THEN 'idempotency_key has not 1 to 200 characters'
        WHEN starts_with($4, 'stormops:') THEN 'idempotency_key begins with stormops:, as the platform''s own do'
        WHEN $5 > now() + interval '5 minutes' THEN 'at lies more than 5 minutes in the future'
        WHEN $5 < '2000-01-01 00:00:00+00' THEN 'at lies before 2000'
    END
$$;
COMMENT ON FUNCTION stormops_internal.usage_fault(text, numeric, jsonb, text, timestamptz) IS 'What is wrong with an event by itself; NULL: nothing.';

CREATE FUNCTION stormops_internal.refuse_usage(fault text, place bigint DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = CASE WHEN fault LIKE '%must be given' THEN 'null_value_not_allowed'
            WHEN fault LIKE '%was used%' THEN 'unique_violation' ELSE 'invalid_parameter_value' END,
        MESSAGE = 'usage is not valid: ' || fault,
        DETAIL = coalesce('Element ' || place || '. ', '') || 'Nothing was recorded.',
        HINT = CASE WHEN fault LIKE '%was used%' THEN 'Give each event a key of its own; the same event keeps its key.'
            ELSE 'SELECT * FROM stormops.record_usage(''model_call'', 1, ''{"model": "v1"}'', idempotency_key => ''call-17'');' END;
END
$$;
COMMENT ON FUNCTION stormops_internal.refuse_usage(text, bigint) IS 'Errors: 22004, 22023, 23505 a key used for another event.';

CREATE FUNCTION stormops_internal.usage_writer() RETURNS uuid
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$ SELECT CASE WHEN stormops.may_write('viewer') THEN stormops.current_tenant() END $$;
COMMENT ON FUNCTION stormops_internal.usage_writer() IS 'The tenant in context, for which everybody in it may record usage, though not everybody reads: so what records writes outside row security, for this tenant. Errors as may_write().';

CREATE FUNCTION stormops.record_usage(
    metric_name text, value numeric, dimensions jsonb DEFAULT '{}', idempotency_key text DEFAULT NULL,
    at timestamptz DEFAULT pg_catalog.now(), OUT usage_id uuid, OUT status text
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops_internal.usage_writer();
    fault text := stormops_internal.usage_fault(metric_name, value, dimensions, idempotency_key, at);
    earlier record;
BEGIN
    IF fault IS NOT NULL THEN
        PERFORM stormops_internal.refuse_usage(fault);
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    usage_id := stormops.new_id();
    status := 'recorded';
    dimensions := coalesce(dimensions, '{}');
    at := coalesce(at, now());
    IF idempotency_key IS NOT NULL THEN
        INSERT INTO stormops.usage_keys (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
        VALUES (tenant, idempotency_key, usage_id, metric_name, value, at)
        ON CONFLICT ON CONSTRAINT usage_keys_pkey DO NOTHING;
        IF NOT FOUND THEN
            SELECT k.* INTO earlier FROM stormops.usage_keys AS k
            WHERE k.tenant_id = tenant AND k.idempotency_key = record_usage.idempotency_key;
            IF (earlier.metric_name, earlier.metric_value) IS DISTINCT FROM (metric_name, value) THEN
                PERFORM stormops_internal.refuse_usage('idempotency_key was used for another event');
            END IF;
            usage_id := earlier.usage_id;
            status := 'duplicate';
            RETURN;
        END IF;
    END IF;
    INSERT INTO stormops.tenant_usage (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
    VALUES (tenant, usage_id, metric_name, value, dimensions, idempotency_key, at);
END
$$;
COMMENT ON FUNCTION stormops.record_usage(text, numeric, jsonb, text, timestamptz) IS 'Records one event in the transaction. value: 0 to 1e15, 20 decimal places; dimensions: JSON object up to 8 kB; at: from 2000 to 5 minutes ahead. Returns usage_id, status (recorded, or duplicate: that key came before). Errors: 0B000 no tenant; 22004; 22023 out of range, metric not declared, too old; 23505 key used for another metric or value; 53400 hard quota; 55000 suspended or closed.';

CREATE FUNCTION stormops_internal.given_usage(
    events jsonb, OUT metric_name text, OUT value numeric, OUT dimensions jsonb, OUT idempotency_key text, OUT at timestamptz, OUT place bigint
) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT o.metric_name, o.value, coalesce(o.dimensions, '{}'), o.idempotency_key, coalesce(o.at, now()), o.place
    FROM ROWS FROM (jsonb_to_recordset($1) AS (
        metric_name text, value numeric, dimensions jsonb, idempotency_key text, at timestamptz
    )) WITH ORDINALITY AS o (metric_name, value, dimensions, idempotency_key, at, place)
    -- The first one that is wrong is refused here, so that no element is looked at twice.
    WHERE CASE WHEN stormops_internal.usage_fault(o.metric_name, o.value, o.dimensions, o.idempotency_key, o.at) IS NULL THEN true
        ELSE stormops_internal.refuse_usage(stormops_internal.usage_fault(o.metric_name, o.value, o.dimensions, o.idempotency_key, o.at), o.place) IS NULL END
$$;
COMMENT ON FUNCTION stormops_internal.given_usage(jsonb) IS 'The events of an array, with what they leave out. Errors: 22004, 22023 an element is not valid.';

CREATE FUNCTION stormops.record_usages(events jsonb, OUT recorded bigint, OUT duplicates bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
DECLARE
    tenant uuid := stormops_internal.usage_writer();
    place bigint;
    hint text;
BEGIN
    IF events IS NULL OR jsonb_typeof(events) <> 'array' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN events IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'events must be a JSON array',
            HINT = 'Each element: {"metric_name": "model_call", "value": 1, "dimensions": {}, "idempotency_key": ..., "at": ...}.';
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    BEGIN
        -- As if no key had come before, which costs a third less. The keys first: a batch that is sent again fails at its first.
        WITH given AS MATERIALIZED (
            SELECT g.*, stormops.new_id() AS usage_id FROM stormops_internal.given_usage(events) AS g
        ), claimed AS (
            INSERT INTO stormops.usage_keys (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
            SELECT tenant, g.idempotency_key, g.usage_id, g.metric_name, g.value, g.at
            FROM given AS g WHERE g.idempotency_key IS NOT NULL
            ORDER BY g.idempotency_key COLLATE "C" -- two at once wait for each other in one direction only
            RETURNING 1
        )
        INSERT INTO stormops.tenant_usage (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
        SELECT tenant, g.usage_id, g.metric_name, g.value, g.dimensions, g.idempotency_key, g.at
        FROM given AS g WHERE (SELECT count(*) FROM claimed) >= 0;
        GET DIAGNOSTICS recorded = ROW_COUNT;
        duplicates := 0;
        RETURN;
    EXCEPTION
        WHEN unique_violation THEN NULL; -- some did: one by one
        WHEN data_exception THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            IF hint <> '' THEN
                RAISE;
            END IF;
            PERFORM stormops_internal.refuse_usage(left(SQLERRM, 200)); -- what is no event at all, in the server's words
    END;
    WITH given AS MATERIALIZED (
        SELECT g.*, stormops.new_id() AS usage_id FROM stormops_internal.given_usage(events) AS g
    ), claimed AS (
        INSERT INTO stormops.usage_keys AS k (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
        SELECT tenant, g.idempotency_key, g.usage_id, g.metric_name, g.value, g.at
        FROM given AS g WHERE g.idempotency_key IS NOT NULL
        ORDER BY g.idempotency_key COLLATE "C", g.place -- the first of several counts
        ON CONFLICT ON CONSTRAINT usage_keys_pkey DO NOTHING
        RETURNING k.usage_id
    )
    INSERT INTO stormops.tenant_usage (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
    SELECT tenant, g.usage_id, g.metric_name, g.value, g.dimensions, g.idempotency_key, g.at
    FROM given AS g WHERE g.idempotency_key IS NULL OR g.usage_id IN (SELECT c.usage_id FROM claimed AS c);
    GET DIAGNOSTICS recorded = ROW_COUNT;
    duplicates := jsonb_array_length(events) - recorded;
    -- A key that was there already, from this array or another session a moment ago too, must have meant the same.
    SELECT o.place INTO place
    FROM ROWS FROM (jsonb_to_recordset(events) AS (metric_name text, value numeric, idempotency_key text))
        WITH ORDINALITY AS o (metric_name, value, idempotency_key, place)
    JOIN stormops.usage_keys AS k ON k.tenant_id = tenant AND k.idempotency_key = o.idempotency_key
    WHERE (k.metric_name, k.metric_value) IS DISTINCT FROM (o.metric_name, o.value)
    ORDER BY o.place LIMIT 1;
    IF FOUND THEN
        PERFORM stormops_internal.refuse_usage('idempotency_key was used for another event', place);
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.record_usages(jsonb) IS 'Records many events of the tenant in context, all or none. events: an array of {metric_name, value, dimensions ({}), idempotency_key (NULL), at (now)}; rules and errors as record_usage(). Returns recorded and duplicates (the same key with the same content: not counted again). INSERT INTO tenant_usage ... SELECT does the same for rows, where a repeated key is an error.';

-- metering/invoice_proof.sql
-- Invoices proved from the raw events, and rated again by other prices. Nothing here writes.

CREATE FUNCTION stormops.verify_invoice(
    invoice_id uuid, OUT verified boolean, OUT lines bigint, OUT events bigint, OUT first_difference integer, OUT what text
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    i stormops.invoices;
    owed record;
    first_month date;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT e.* INTO owed FROM stormops_internal.require_invoice($1, false) AS e;
    SELECT n.* INTO i FROM stormops.invoices AS n WHERE n.tenant_id = owed.tenant_id AND n.invoice_id = $1;
    -- Those of a month that it adjusts prove it as its own do.
    SELECT least(i.period, min(a.period)) INTO first_month
    FROM stormops.invoice_lines AS l JOIN stormops.invoices AS a ON a.tenant_id = l.tenant_id AND a.invoice_id = l.adjusts
    WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1;
    IF stormops_internal.month_start(first_month) < (SELECT p.kept_from FROM stormops_internal.metering_progress AS p) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the raw events of %s were dropped', to_char(first_month, 'YYYY-MM')),
            HINT = 'Verify an invoice before stormops.drop_usage_before() takes what proves it.';
    END IF;
    SELECT count(*) INTO lines FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1;
    SELECT count(*) INTO events
    FROM stormops.metrics AS m
    JOIN stormops.tenant_usage AS u ON u.tenant_id = m.tenant_id AND u.metric_name = m.metric_name
    WHERE m.tenant_id = i.tenant_id AND u.recorded_at >= stormops_internal.month_start(i.period)
        AND u.recorded_at < stormops_internal.month_start((i.period + interval '1 month')::date) AND u.usage_seq <= i.usage_seq;
    IF i.kind = 'credit_note' THEN
        SELECT CASE WHEN count(*) <> 1 OR sum(l.amount) <> i.total THEN 1 END, 'the line of the credit note is not its total'
        INTO first_difference, what FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1;
    ELSE
        SELECT line, CASE
            WHEN l.line IS NULL THEN format('missing: %s %s, amount %s', d.kind, d.metric_name, d.amount)
            WHEN d.line IS NULL THEN format('not due: %s %s, amount %s', l.kind, l.metric_name, l.amount)
            ELSE format('%s %s: quantity %s, unit price %s, amount %s; due are %s, %s, %s', l.kind, l.metric_name,
                l.quantity, l.unit_price, l.amount, d.quantity, d.unit_price, d.amount)
        END
        INTO first_difference, what
        FROM (SELECT l.* FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1) AS l
        FULL JOIN stormops_internal.due_lines(ARRAY[i.tenant_id], ARRAY[i.price_book], i.period, i.usage_seq, i.generated_at) AS d USING (line)
        WHERE (l.kind, l.metric_name, l.unit, l.from_time, l.to_time, l.tier, l.rule, l.quantity, l.unit_price, l.amount, l.price_id, l.adjusts)
            IS DISTINCT FROM
            (d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity, d.unit_price, d.amount, d.price_id, d.adjusts)
        ORDER BY line LIMIT 1;
        IF first_difference IS NULL AND i.total <> (
            SELECT coalesce(sum(l.amount), 0) FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1
        ) THEN
            first_difference := 0;
            what := 'the total is not the sum of the lines';
        END IF;
        IF first_difference IS NULL AND events <> i.event_count THEN
            first_difference := 0;
            what := format('the invoice counts %s events, the raw events up to its watermark are %s', i.event_count, events);
        END IF;
    END IF;
    verified := first_difference IS NULL;
    what := CASE WHEN verified THEN NULL ELSE what END;
END
$$;
COMMENT ON FUNCTION stormops.verify_invoice(uuid) IS 'Computes an invoice again from the raw events up to its watermark and compares every value of every line. Returns verified, lines, events, first_difference (the line; 0: the total or the number of events) and what differs. Writes nothing. For operators. Errors: 55000 the raw events of its month, or of one it adjusts, were dropped; P0002 no such invoice.';

CREATE FUNCTION stormops.rate_again(
    period text, price_book text,
    OUT tenant_id uuid, OUT org_name text, OUT old_currency text, OUT old_total numeric, OUT new_currency text, OUT new_total numeric,
    OUT difference numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    new_book stormops_internal.price_books;
    tenants uuid[];
    books text[];
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT b.* INTO new_book FROM stormops_internal.price_books AS b WHERE b.price_book = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('price book "%s" does not exist', left($2, 50)),
            HINT = 'SELECT stormops.create_price_book(''trial_prices'', ''USD''); then set its prices.';
    END IF;
    SELECT coalesce(array_agg(t.tenant_id), '{}'), coalesce(array_agg(coalesce(i.price_book, a.price_book)), '{}') INTO tenants, books
    FROM stormops.tenants AS t
    JOIN stormops_internal.assigned_books(NULL) AS a ON a.tenant_id = t.tenant_id
    LEFT JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id AND i.period = month AND i.kind = 'invoice' AND i.status <> 'void'
    WHERE t.created_at < stormops_internal.month_start((month + interval '1 month')::date)
        AND (t.status <> 'closed' OR t.status_changed_at > stormops_internal.month_start(month));
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, b.currency, coalesce(o.total, 0), new_book.currency, coalesce(n.total, 0),
            CASE WHEN b.currency = new_book.currency THEN coalesce(n.total, 0) - coalesce(o.total, 0) END
        FROM unnest(tenants, books) AS a (tenant_id, price_book)
        JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        JOIN stormops_internal.price_books AS b ON b.price_book = a.price_book
        LEFT JOIN (
            SELECT r.tenant_id, sum(r.amount) AS total
            FROM stormops.rate(tenants, array_fill(month, ARRAY[cardinality(tenants)]), books, NULL) AS r GROUP BY r.tenant_id
        ) AS o ON o.tenant_id = a.tenant_id
        LEFT JOIN (
            SELECT r.tenant_id, sum(r.amount) AS total
            FROM stormops.rate(tenants, array_fill(month, ARRAY[cardinality(tenants)]),
                array_fill(new_book.price_book, ARRAY[cardinality(tenants)]), NULL) AS r GROUP BY r.tenant_id
        ) AS n ON n.tenant_id = a.tenant_id
        ORDER BY t.org_name, t.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.rate_again(text, text) IS 'What a month would come to by another price book: for each tenant the total by the book it is billed by and by that one, both by the rollups as they are now, without adjustments, and the difference where the currency is the same. Writes nothing. For operators. Errors: 22023 not a month; P0002 no such book.';

-- metering/invoices.sql
-- Invoices: drafted for one tenant, or for all in one statement.

CREATE FUNCTION stormops_internal.write_invoices(tenants uuid[], books text[], period date, generated_at timestamptz) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH due AS MATERIALIZED (
        SELECT d.* FROM stormops_internal.due_lines($1, $2, $3, NULL, $4) AS d
    ), written AS (
        INSERT INTO stormops.invoices AS i
            (tenant_id, period, org_name, price_book, currency, minor_unit, total, usage_seq, event_count, generated_at, generated_by)
        SELECT t.tenant_id, $3, t.org_name, b.price_book, b.currency, b.minor_unit, coalesce(d.total, round(0::numeric, b.minor_unit)),
            (SELECT stormops.usage_watermark()), coalesce(c.event_count, 0), $4, (SELECT stormops_internal.calling_role())
        FROM unnest($1, $2) AS a (tenant_id, price_book)
        JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        JOIN stormops_internal.price_books AS b ON b.price_book = a.price_book
        LEFT JOIN (SELECT d.tenant_id, sum(d.amount) AS total FROM due AS d GROUP BY d.tenant_id) AS d ON d.tenant_id = a.tenant_id
        LEFT JOIN stormops_internal.counted_events($1, $3) AS c ON c.tenant_id = a.tenant_id
        WHERE t.tenant_id = ANY ($1)
        ON CONFLICT (tenant_id, period) WHERE kind = 'invoice' AND status <> 'void'
        DO UPDATE SET org_name = excluded.org_name, price_book = excluded.price_book, currency = excluded.currency,
            minor_unit = excluded.minor_unit, total = excluded.total, usage_seq = excluded.usage_seq, event_count = excluded.event_count,
            generated_at = excluded.generated_at, generated_by = excluded.generated_by
        RETURNING i.tenant_id, i.invoice_id
    )
    INSERT INTO stormops.invoice_lines (tenant_id, invoice_id, line, kind, metric_name, unit, from_time, to_time, tier, rule, quantity,
        unit_price, amount, price_id, adjusts)
    SELECT w.tenant_id, w.invoice_id, d.line, d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity,
        d.unit_price, d.amount, d.price_id, d.adjusts
    FROM due AS d JOIN written AS w ON w.tenant_id = d.tenant_id
$$;
COMMENT ON FUNCTION stormops_internal.write_invoices(uuid[], text[], date, timestamptz) IS 'Writes the drafts of a month, their lines of before being gone: one statement, and so one state of rollups and watermark.';

CREATE FUNCTION stormops_internal.draft_invoices(tenant_id uuid, period date) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenants uuid[];
    books text[];
BEGIN
    PERFORM stormops_internal.require_read_committed();
    IF stormops_internal.month_start((period + interval '1 month')::date) > now() THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('%s has not ended', to_char(period, 'YYYY-MM')),
            HINT = 'SELECT * FROM stormops.preview_invoice(tenant_id, period); shows what it comes to so far.';
    END IF;
    -- A tenant's step from before the month's end may be committed only now.
    PERFORM stormops_internal.await_writers('stormops.tenant_events'::regclass);
    -- A number is given out before its event is committed, so this sees those that are still being written.
    PERFORM stormops.rollup_usage() FROM stormops.usage_order AS o WHERE o.is_called AND o.last_value > stormops.usage_watermark();
    -- One run at a time, and no finalisation during it; readers go on.
    LOCK TABLE stormops.invoices IN SHARE ROW EXCLUSIVE MODE;
    SELECT coalesce(array_agg(t.tenant_id), '{}'), coalesce(array_agg(a.price_book), '{}') INTO tenants, books
    FROM stormops.tenants AS t
    JOIN stormops_internal.assigned_books(draft_invoices.tenant_id) AS a ON a.tenant_id = t.tenant_id
    LEFT JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id AND i.period = draft_invoices.period
        AND i.kind = 'invoice' AND i.status = 'finalized'
    WHERE (draft_invoices.tenant_id IS NULL OR t.tenant_id = draft_invoices.tenant_id) AND i.invoice_id IS NULL
        AND t.created_at < stormops_internal.month_start((draft_invoices.period + interval '1 month')::date)
        AND (t.status <> 'closed' OR t.status_changed_at > stormops_internal.month_start(draft_invoices.period));
    DELETE FROM stormops.invoice_lines AS l USING stormops.invoices AS i
    WHERE i.tenant_id = ANY (tenants) AND i.period = draft_invoices.period AND i.kind = 'invoice' AND i.status = 'draft'
        AND l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id;
    PERFORM stormops_internal.write_invoices(tenants, books, period, clock_timestamp()) WHERE tenants IS NOT NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.draft_invoices(uuid, date) IS 'Folds what is new into the rollups, then drafts the month''s invoices of one tenant, or of all, that are not finalized. Errors: 25000 not READ COMMITTED; 55000 the month has not ended.';

CREATE FUNCTION stormops.generate_invoice(
    tenant_id uuid, period text, OUT invoice_id uuid, OUT status text, OUT invoice_number bigint, OUT currency text, OUT total numeric,
    OUT lines bigint, OUT usage_seq bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    invoice stormops.invoices;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_tenant($1);
    PERFORM stormops_internal.draft_invoices($1, month);
    SELECT i.* INTO invoice FROM stormops.invoices AS i
    WHERE i.tenant_id = $1 AND i.period = month AND i.kind = 'invoice' AND i.status <> 'void';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the tenant was not there in %s', to_char(month, 'YYYY-MM')),
            HINT = 'A tenant is invoiced from the month of its provisioning to that of its closing.';
    END IF;
    SELECT invoice.invoice_id, invoice.status, invoice.invoice_number, invoice.currency, invoice.total, count(*), invoice.usage_seq
    INTO invoice_id, status, invoice_number, currency, total, lines, usage_seq
    FROM stormops.invoice_lines AS l WHERE l.tenant_id = invoice.tenant_id AND l.invoice_id = invoice.invoice_id;
END
$$;
COMMENT ON FUNCTION stormops.generate_invoice(uuid, text) IS 'Drafts a tenant''s invoice of a month in UTC (2024-01) or refreshes the draft; returns a finalized one as it is. Late events of closed months become adjustment lines. Returns invoice_id, status, invoice_number, currency, total, lines, usage_seq (watermark). For operators. Errors: 22023 not a month; 25000 not READ COMMITTED; 55000 month not ended, or before the tenant; P0002 no such tenant.';

CREATE FUNCTION stormops.generate_invoices(period text, OUT currency text, OUT drafts bigint, OUT finalized bigint, OUT total numeric) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.draft_invoices(NULL, month);
    RETURN QUERY
        SELECT i.currency, count(*) FILTER (WHERE i.status = 'draft'), count(*) FILTER (WHERE i.status = 'finalized'), sum(i.total)
        FROM stormops.invoices AS i WHERE i.period = month AND i.kind = 'invoice' AND i.status <> 'void'
        GROUP BY i.currency ORDER BY i.currency;
END
$$;
COMMENT ON FUNCTION stormops.generate_invoices(text) IS 'generate_invoice() for every tenant in one statement. Returns for each currency the number of drafts, that of invoices finalized before, and the total of both. For operators. Errors: 22023, 25000, 55000 as there.';

CREATE FUNCTION stormops.preview_invoice(
    tenant_id uuid, period text,
    OUT line integer, OUT kind text, OUT metric_name text, OUT unit text, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT tier text, OUT rule text, OUT quantity numeric, OUT unit_price numeric, OUT amount numeric, OUT currency text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    target uuid := stormops_internal.target_tenant($1, false);
    book stormops_internal.price_books;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_tenant(target);
    SELECT b.* INTO book FROM stormops_internal.price_books AS b
    WHERE b.price_book = (SELECT a.price_book FROM stormops_internal.assigned_books(target) AS a);
    RETURN QUERY
        SELECT d.line, d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity, d.unit_price, d.amount, book.currency
        FROM stormops_internal.due_lines(ARRAY[target], ARRAY[book.price_book], month, NULL, clock_timestamp()) AS d
        ORDER BY d.line;
END
$$;
COMMENT ON FUNCTION stormops.preview_invoice(uuid, text) IS 'The lines that a month''s invoice would have now, by the rollups; writes nothing, and the month need not have ended. For operators any tenant, else the one in context (NULL), for its admins. Errors: 22023 not a month; 42501; P0002 no such tenant.';

CREATE FUNCTION stormops_internal.require_tenant(tenant_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF $1 IS NULL OR NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = $1) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_tenant(uuid) IS 'Error P0002 unless there is such a tenant.';

-- metering/lines.sql
-- The lines of an invoice.

CREATE FUNCTION stormops_internal.measured_quantity(
    tenant_id uuid, metric_name text, aggregation text, unique_dimension text, from_time timestamptz, to_time timestamptz, usage_seq bigint
) RETURNS numeric
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $3
        WHEN 'SUM' THEN sum(u.metric_value)
        WHEN 'COUNT' THEN count(*)
        WHEN 'MAX' THEN max(u.metric_value)
        WHEN 'LATEST' THEN (array_agg(u.metric_value ORDER BY u.recorded_at DESC, u.usage_id DESC))[1]
        WHEN 'UNIQUE' THEN count(DISTINCT u.dimensions ->> $4)
    END
    FROM stormops.tenant_usage AS u
    WHERE u.tenant_id = $1 AND u.metric_name = $2 AND u.recorded_at >= $5 AND u.recorded_at < $6 AND u.usage_seq <= $7
$$;
COMMENT ON FUNCTION stormops_internal.measured_quantity(uuid, text, text, text, timestamptz, timestamptz, bigint) IS 'A metric''s quantity from the raw events of [from_time, to_time) with usage_seq up to the watermark.';

CREATE FUNCTION stormops_internal.rated_quantities(
    tenants uuid[], periods date[], books text[], usage_seq bigint,
    OUT tenant_id uuid, OUT period date, OUT metric_name text, OUT price_id uuid, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT unit text, OUT quantity numeric, OUT share numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH segment AS MATERIALIZED (
        SELECT s.*, stormops_internal.month_start(s.period) AS month, stormops_internal.month_start((s.period + interval '1 month')::date) AS next_month,
            row_number() OVER (PARTITION BY s.tenant_id, s.period, s.metric_name ORDER BY s.from_time DESC) = 1 AS last
        FROM stormops_internal.price_segments($1, $2, $3) AS s
    ), asked AS MATERIALIZED (
        -- What adds up is counted by the part of the month, and a fee is shared out by it, whatever its name; all else (a
        -- maximum, a latest value) is for the month, at its last price.
        SELECT s.tenant_id, s.period, s.metric_name, s.price_id, s.month, s.next_month, m.unit, m.aggregation, m.unique_dimension,
            CASE WHEN l.level THEN s.month ELSE s.from_time END AS from_time,
            CASE WHEN l.level THEN s.next_month ELSE s.to_time END AS to_time,
            p.model IN ('flat', 'minimum') OR p.included_quantity > 0 AS timed
        FROM segment AS s
        JOIN stormops_internal.prices AS p ON p.price_id = s.price_id
        LEFT JOIN stormops.metrics AS m ON m.tenant_id = s.tenant_id AND m.metric_name = s.metric_name AND m.tenant_id = ANY ($1)
        CROSS JOIN LATERAL (
            SELECT p.model NOT IN ('flat', 'minimum') AND coalesce(m.aggregation NOT IN ('SUM', 'COUNT'), false) AS level
        ) AS l
        WHERE s.last OR NOT l.level
    ), shared AS (
        -- A fee, a minimum and what is included hold for the time in which the tenant was active, to the microsecond.
        SELECT s.tenant_id, s.period, s.price_id, s.from_time,
            round(sum(extract(epoch FROM least(s.to_time, a.to_time) - greatest(s.from_time, a.from_time)))
                / extract(epoch FROM s.next_month - s.month), 12) AS share
        FROM asked AS s
        JOIN stormops_internal.active_history($1) AS a ON a.tenant_id = s.tenant_id AND a.from_time < s.to_time AND a.to_time > s.from_time
        WHERE s.timed
        GROUP BY s.tenant_id, s.period, s.price_id, s.from_time, s.next_month, s.month
    )
    SELECT a.tenant_id, a.period, a.metric_name, a.price_id, a.from_time, a.to_time, a.unit,
        CASE
            WHEN a.aggregation IS NULL THEN NULL
            WHEN $4 IS NOT NULL
                THEN stormops_internal.measured_quantity(a.tenant_id, a.metric_name, a.aggregation, a.unique_dimension, a.from_time, a.to_time, $4)
            WHEN a.from_time = a.month AND a.to_time = a.next_month THEN (
                SELECT r.quantity FROM stormops.usage_rollups AS r
                WHERE r.tenant_id = a.tenant_id AND r.metric_name = a.metric_name AND r.grain = 'month' AND r.bucket = a.month AND r.dimensions = '{}')
            ELSE (
                SELECT sum(r.quantity) FROM stormops.usage_rollups AS r
                WHERE r.tenant_id = a.tenant_id AND r.metric_name = a.metric_name AND r.grain = 'hour' AND r.dimensions = '{}'
                    AND r.bucket >= a.from_time AND r.bucket < a.to_time)
        END,
        coalesce(t.share, 0)
    FROM asked AS a
    LEFT JOIN shared AS t ON t.tenant_id = a.tenant_id AND t.period = a.period AND t.price_id = a.price_id AND t.from_time = a.from_time
$$;
COMMENT ON FUNCTION stormops_internal.rated_quantities(uuid[], date[], text[], bigint) IS 'The quantity under each price: from the rollups, or from the raw events up to usage_seq if that is given. share: the part of the month, 12 digits, that the tenant was active between from_time and to_time, where the price needs it.';

CREATE FUNCTION stormops.rate(
    tenants uuid[], periods date[], books text[], usage_seq bigint,
    OUT tenant_id uuid, OUT period date, OUT place integer, OUT kind text, OUT metric_name text, OUT unit text,
    OUT from_time timestamptz, OUT to_time timestamptz, OUT tier text, OUT rule text, OUT quantity numeric, OUT unit_price numeric,
    OUT amount numeric, OUT price_id uuid
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH price AS MATERIALIZED (
        SELECT p.*, b.minor_unit, coalesce(CASE WHEN p.for_tenant IS NOT NULL THEN 'tenant' END, p.tier) AS whom
        FROM stormops_internal.prices AS p JOIN stormops_internal.price_books AS b ON b.price_book = p.price_book
        WHERE p.price_book = ANY ($3)
    ), band AS MATERIALIZED (
        SELECT p.price_id, u.n::integer AS n, u.unit_price, coalesce(p.up_to[u.n - 1], 0) AS above, p.up_to[u.n] AS up_to,
            p.minor_unit, p.model, p.whom, p.package_size,
            CASE p.model
                WHEN 'per_unit' THEN 'per unit'
                WHEN 'package' THEN format('per package of %s', trim_scale(p.package_size))
                WHEN 'flat' THEN 'flat fee, share of the month'
                WHEN 'minimum' THEN 'up to the minimum, share of the month'
                ELSE format('%s, above %s', p.model, trim_scale(coalesce(p.up_to[u.n - 1], 0))) || coalesce(' to ' || trim_scale(p.up_to[u.n]), '')
            END AS rule
        FROM price AS p, unnest(p.unit_prices) WITH ORDINALITY AS u (unit_price, n)
    ), used AS MATERIALIZED (
        SELECT q.*, p.model, p.whom, p.included_quantity, i.included, q.quantity - i.included AS charged
        FROM stormops_internal.rated_quantities($1, $2, $3, $4) AS q
        JOIN price AS p ON p.price_id = q.price_id
        CROSS JOIN LATERAL (SELECT q.quantity - greatest(q.quantity - p.included_quantity * q.share, 0) AS included) AS i
    ), line AS MATERIALIZED (
        SELECT u.tenant_id, u.period, 1 AS rank, 0 AS n, 'included' AS kind, u.metric_name, u.unit, u.from_time, u.to_time, u.whom,
            format('included: %s a month', trim_scale(u.included_quantity)) AS rule, u.included AS quantity, NULL::numeric AS unit_price,
            0::numeric AS amount, u.price_id
        FROM used AS u WHERE u.included > 0
        UNION ALL
        SELECT r.tenant_id, r.period, r.rank, r.n, r.kind, r.metric_name, r.unit, r.from_time, r.to_time, r.whom, r.rule, r.quantity, r.unit_price,
            stormops_internal.round_half_even(r.exact, r.minor_unit), r.price_id
        FROM (
            SELECT u.tenant_id, u.period, 1 AS rank, b.n, 'usage' AS kind, u.metric_name, u.unit, u.from_time, u.to_time, b.whom, b.rule,
                CASE b.model WHEN 'graduated' THEN least(u.charged, b.up_to) - b.above ELSE u.charged END AS quantity, b.unit_price,
                CASE b.model
                    WHEN 'graduated' THEN (least(u.charged, b.up_to) - b.above) * b.unit_price
                    -- Exact, where a quotient has so many digits only.
                    WHEN 'package' THEN (div(u.charged, b.package_size) + sign(u.charged % b.package_size)) * b.unit_price
                    ELSE u.charged * b.unit_price
                END AS exact, b.minor_unit, u.price_id
            FROM used AS u JOIN band AS b ON b.price_id = u.price_id
            WHERE u.charged > b.above AND (b.model <> 'volume' OR b.up_to IS NULL OR u.charged <= b.up_to)
                AND b.model NOT IN ('flat', 'minimum')
            UNION ALL
            SELECT u.tenant_id, u.period, 0, b.n, 'flat', u.metric_name, 'month', u.from_time, u.to_time, b.whom, b.rule, u.share, b.unit_price,
                u.share * b.unit_price, b.minor_unit, u.price_id
            FROM used AS u JOIN band AS b ON b.price_id = u.price_id
            WHERE b.model = 'flat' AND u.share > 0
        ) AS r
    ), minimum AS (
        -- A minimum that changed within the month is one: its parts add up.
        SELECT u.tenant_id, u.period, u.metric_name, min(u.from_time) AS from_time, max(u.to_time) AS to_time, max(b.whom) AS whom,
            max(b.rule) AS rule, sum(u.share) AS share, max(b.minor_unit) AS minor_unit,
            stormops_internal.round_half_even(sum(u.share * b.unit_price), max(b.minor_unit)) AS due,
            (array_agg(b.unit_price ORDER BY u.from_time DESC))[1] AS unit_price, (array_agg(u.price_id ORDER BY u.from_time DESC))[1] AS price_id
        FROM used AS u JOIN band AS b ON b.price_id = u.price_id
        WHERE b.model = 'minimum'
        GROUP BY u.tenant_id, u.period, u.metric_name
    ), filled AS (
        SELECT m.tenant_id, m.period, m.metric_name, m.from_time, m.to_time, m.whom, m.rule, m.share, m.unit_price, m.price_id,
            m.due - coalesce(l.amount, 0) AS missing
        FROM minimum AS m
        LEFT JOIN (SELECT l.tenant_id, l.period, sum(l.amount) AS amount FROM line AS l GROUP BY l.tenant_id, l.period) AS l
            ON l.tenant_id = m.tenant_id AND l.period = m.period
    ), every_line AS (
        SELECT l.* FROM line AS l
        UNION ALL
        SELECT f.tenant_id, f.period, 2, 0, 'minimum', f.metric_name, 'month', f.from_time, f.to_time, f.whom, f.rule, f.share, f.unit_price,
            f.missing, f.price_id
        FROM filled AS f WHERE f.missing > 0
    )
    SELECT e.tenant_id, e.period,
        row_number() OVER (PARTITION BY e.tenant_id, e.period ORDER BY e.rank, e.metric_name COLLATE "C", e.from_time, e.n)::integer,
        e.kind, e.metric_name, e.unit, e.from_time, e.to_time, e.whom, e.rule, e.quantity, e.unit_price, e.amount, e.price_id
    FROM every_line AS e
$$;
COMMENT ON FUNCTION stormops.rate(uuid[], date[], text[], bigint) IS 'What each tenant''s month comes to by a price book (arrays of one length), line by line, each amount rounded once, half to even, to the currency''s minor unit. Quantities from the rollups, or from the raw events up to usage_seq if that is given. Adjustments of closed months are no part of it.';

-- metering/metrics.sql
-- What is metered: metrics and their declaration.

CREATE FUNCTION stormops.default_metrics(
    OUT metric_name text, OUT unit text, OUT aggregation text, OUT unique_dimension text, OUT rollup_dimensions text[]
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.metric_name, m.unit, m.aggregation, NULL::text, m.rollup_dimensions::text[]
    FROM (VALUES
        ('model_call', 'call', 'SUM', '{model}'),
        -- A level, not a flow: a month of daily measurements is not their sum.
        ('storage_mb', 'MB', 'MAX', '{}'),
        ('policy_run', 'run', 'SUM', '{}'),
        ('policy_decision', 'decision', 'SUM', '{}'),
        ('health_check', 'check', 'SUM', '{}'),
        ('api_call', 'call', 'SUM', '{}')
    ) AS m (metric_name, unit, aggregation, rollup_dimensions)
$$;
COMMENT ON FUNCTION stormops.default_metrics() IS 'The metrics that a new tenant gets. Columns as in metrics.';

CREATE FUNCTION stormops.declare_metric(
    metric_name text, unit text, aggregation text DEFAULT 'SUM', unique_dimension text DEFAULT NULL,
    rollup_dimensions text[] DEFAULT '{}', tenant_id uuid DEFAULT NULL, OUT declared boolean
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, true);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF metric_name IS NULL OR unit IS NULL OR aggregation IS NULL OR rollup_dimensions IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'metric, unit and aggregation must be given',
            HINT = 'SELECT stormops.declare_metric(''photo'', ''file'', ''SUM'');';
    END IF;
    INSERT INTO stormops.metrics AS m (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
    VALUES (target, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
    ON CONFLICT ON CONSTRAINT metrics_pkey DO NOTHING;
    declared := FOUND;
    IF NOT declared AND NOT EXISTS (
        SELECT FROM stormops.metrics AS m
        WHERE m.tenant_id = target AND m.metric_name = declare_metric.metric_name
            AND (m.unit, m.aggregation, m.rollup_dimensions) = (unit, aggregation, rollup_dimensions)
            AND m.unique_dimension IS NOT DISTINCT FROM unique_dimension
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('metric "%s" is declared otherwise', metric_name),
            HINT = 'A declaration never changes: give the new metric another name.';
    END IF;
EXCEPTION
    WHEN check_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'declaration of the metric is not valid',
            DETAIL = 'A name is a small letter, then small letters, digits, _ and ., at most 63; a unit has 1 to 30 characters; there are up to four rollup dimensions.',
            HINT = 'An aggregation is SUM, COUNT, MAX, LATEST, or UNIQUE with its unique_dimension.';
    WHEN foreign_key_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
END
$$;
COMMENT ON FUNCTION stormops.declare_metric(text, text, text, text, text[], uuid) IS 'Declares a metric of a tenant, for good. aggregation: SUM, COUNT, MAX, LATEST, UNIQUE (over unique_dimension); rollup_dimensions: up to four dimensions to keep rollups by. tenant_id: NULL for the one in context; an operator names any. Returns true, or false if it was declared alike before. Errors: 22004; 22023; 42501 not an admin; 42710 declared otherwise; 55000 suspended; P0002.';

CREATE FUNCTION stormops_internal.require_read_committed() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- With one snapshot for the whole transaction, what others commit while a step waits for its lock would not be seen after.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state', MESSAGE = 'usage is rolled up, priced and invoiced in a READ COMMITTED transaction only',
            HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED; ...; COMMIT;';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_read_committed() IS 'Error 25000 in another isolation level.';

CREATE FUNCTION stormops_internal.require_metric(tenant_id uuid, metric_name text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    -- What the platform itself meters is never refused, whichever way the tenant came here.
    IF EXISTS (SELECT FROM stormops.default_metrics() AS m WHERE m.metric_name = require_metric.metric_name) THEN
        INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
        SELECT tenant_id, m.metric_name, m.unit, m.aggregation, m.unique_dimension, m.rollup_dimensions
        FROM stormops.default_metrics() AS m WHERE m.metric_name = require_metric.metric_name
        ON CONFLICT ON CONSTRAINT metrics_pkey DO NOTHING;
        RETURN;
    END IF;
    IF metric_name !~ '^[a-z][a-z0-9_.]{0,62}$' OR NOT EXISTS (
        SELECT FROM stormops.tenants AS t JOIN stormops_internal.tier_settings AS s ON s.tier = t.tier
        WHERE t.tenant_id = require_metric.tenant_id AND s.auto_declare
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('metric "%s" is not declared', left(metric_name, 63)),
            HINT = 'SELECT stormops.declare_metric(metric_name, unit, aggregation); stormops.metrics shows this tenant''s.';
    END IF;
    INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation) VALUES (tenant_id, metric_name, 'unit', 'SUM')
    ON CONFLICT ON CONSTRAINT metrics_pkey DO NOTHING;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_metric(uuid, text) IS 'Declares the metric of an event: one of default_metrics() as it stands there, another as a SUM where the tenant''s tier allows it (tier_settings.auto_declare). Error: 22023.';

-- metering/overview.sql
-- What the operator sees of all tenants: sums of usage and money, no tenant's rows.

CREATE FUNCTION stormops_internal.forecast_days(daily double precision[], days_left integer, confidence double precision DEFAULT 0.9) RETURNS TABLE (
    expected double precision, low double precision, high double precision, n integer, method text
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'forecast_days_wrapper';
COMMENT ON FUNCTION stormops_internal.forecast_days(double precision[], integer, double precision) IS 'What the days left will bring, from the totals of complete days, oldest first: expected, and the prediction interval low to high; n; method: weekday means from two weeks of days on, else the daily mean. Independent days of one variance around their mean, Student''s t. Low and high are NULL of a single day. Error: 22023.';

CREATE FUNCTION stormops.usage_overview(
    period text, OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT metric_name text, OUT unit text,
    OUT quantity numeric, OUT events bigint, OUT previous_quantity numeric, OUT change_pct numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, t.tier, t.status, m.metric_name, m.unit, coalesce(r.quantity, 0), coalesce(r.event_count, 0),
            coalesce(b.quantity, 0), round(100 * (coalesce(r.quantity, 0) - b.quantity) / nullif(b.quantity, 0), 1)
        FROM stormops.tenants AS t
        JOIN stormops.metrics AS m ON m.tenant_id = t.tenant_id
        LEFT JOIN LATERAL (
            SELECT r.quantity, r.event_count FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month'
                AND r.bucket = stormops_internal.month_start(month) AND r.dimensions = '{}' OFFSET 0) AS r ON true
        LEFT JOIN LATERAL (
            SELECT r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month'
                AND r.bucket = stormops_internal.month_start((month - interval '1 month')::date) AND r.dimensions = '{}' OFFSET 0) AS b ON true
        WHERE r.event_count > 0 OR b.quantity > 0
        ORDER BY t.org_name, t.tenant_id, m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.usage_overview(text) IS 'Usage of a month (UTC) by tenant and metric, by the rollups, with that of the month before and the change in percent (NULL from nothing). Storage is metric storage_mb. For operators and monitors. Error: 22023 not a month.';

CREATE FUNCTION stormops.tenant_margins(
    period text, cost_book text DEFAULT 'cost',
    OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT currency text, OUT revenue numeric, OUT revenue_is text,
    OUT cost numeric, OUT margin numeric, OUT margin_pct numeric, OUT previous_revenue numeric, OUT storage_mb numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    costs stormops_internal.price_books;
    tenants uuid[];
    books text[];
    months date[];
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT b.* INTO costs FROM stormops_internal.price_books AS b WHERE b.price_book = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('price book "%s" does not exist', left($2, 50)),
            HINT = 'SELECT stormops.set_price(''storage_mb'', ''per_unit'', 0.02, price_book => ''cost'');';
    END IF;
    SELECT coalesce(array_agg(t.tenant_id), '{}'), coalesce(array_agg(a.price_book), '{}'), coalesce(array_agg(month), '{}') INTO tenants, books, months
    FROM stormops.tenants AS t JOIN stormops_internal.assigned_books(NULL) AS a ON a.tenant_id = t.tenant_id
    WHERE t.created_at < stormops_internal.month_start((month + interval '1 month')::date);
    RETURN QUERY
        WITH invoiced AS (
            SELECT i.tenant_id, i.period, min(i.currency) AS currency, sum(i.total) AS total, bool_and(i.status = 'finalized') AS final
            FROM stormops.invoices AS i WHERE i.period IN (month, (month - interval '1 month')::date) AND i.status <> 'void'
            GROUP BY i.tenant_id, i.period
        ), rated AS (
            SELECT r.tenant_id, sum(r.amount) AS total FROM stormops.rate(tenants, months, books, NULL) AS r GROUP BY r.tenant_id
        ), spent AS (
            SELECT r.tenant_id, sum(r.amount) AS total
            FROM stormops.rate(tenants, months, array_fill(costs.price_book, ARRAY[cardinality(tenants)]), NULL) AS r GROUP BY r.tenant_id
        ), sums AS (
            SELECT t.tenant_id, t.org_name, t.tier, t.status, coalesce(i.currency, b.currency) AS currency,
                coalesce(i.total, r.total, 0) AS revenue,
                CASE WHEN i.final THEN 'invoiced' WHEN i.total IS NOT NULL THEN 'draft' ELSE 'usage so far' END AS revenue_is,
                coalesce(s.total, 0) AS cost, p.total AS previous
            FROM unnest(tenants, books) AS a (tenant_id, price_book)
            JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
            JOIN stormops_internal.price_books AS b ON b.price_book = a.price_book
            LEFT JOIN invoiced AS i ON i.tenant_id = a.tenant_id AND i.period = month
            LEFT JOIN invoiced AS p ON p.tenant_id = a.tenant_id AND p.period < month
            LEFT JOIN rated AS r ON r.tenant_id = a.tenant_id
            LEFT JOIN spent AS s ON s.tenant_id = a.tenant_id
        )
        SELECT s.tenant_id, s.org_name, s.tier, s.status, s.currency, s.revenue, s.revenue_is, s.cost, m.margin,
            round(100 * m.margin / nullif(s.revenue, 0), 1), s.previous, (
                SELECT r.quantity FROM stormops.usage_rollups AS r
                WHERE r.tenant_id = s.tenant_id AND r.metric_name = 'storage_mb' AND r.grain = 'month'
                    AND r.bucket = stormops_internal.month_start(month) AND r.dimensions = '{}')
        FROM sums AS s
        CROSS JOIN LATERAL (SELECT CASE WHEN s.currency = costs.currency THEN s.revenue - s.cost END AS margin) AS m
        ORDER BY m.margin, s.org_name, s.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.tenant_margins(text, text) IS 'Revenue, cost and margin of a month (UTC) by tenant, the least margin first. revenue_is: invoiced (less credit notes) or draft (usage so far); cost: the same usage by cost_book, in that book''s currency; margin: NULL if the currencies differ. previous_revenue: of the month before; storage_mb: its quantity. For operators. Errors: 22023 not a month; P0002 no such book.';

CREATE FUNCTION stormops.top_movers(
    period text, most integer DEFAULT 10, OUT tenant_id uuid, OUT org_name text, OUT metric_name text, OUT unit text,
    OUT quantity numeric, OUT previous_quantity numeric, OUT change numeric, OUT change_pct numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.tenant_id, m.org_name, m.metric_name, m.unit, m.quantity, m.previous_quantity, m.change, m.change_pct
    FROM (
        SELECT u.*, u.quantity - u.previous_quantity AS change,
            row_number() OVER (PARTITION BY u.metric_name ORDER BY abs(u.quantity - u.previous_quantity) DESC, u.tenant_id) AS place
        FROM stormops.usage_overview($1) AS u
    ) AS m
    WHERE m.place <= $2 AND m.change <> 0
    ORDER BY m.metric_name, m.place
$$;
COMMENT ON FUNCTION stormops.top_movers(text, integer) IS 'For each metric the tenants whose usage changed most against the month before, up or down. For operators and monitors. Error: 22023 not a month.';

CREATE FUNCTION stormops.forecast_usage(
    as_of timestamptz DEFAULT pg_catalog.now(), confidence double precision DEFAULT 0.9,
    OUT tenant_id uuid, OUT org_name text, OUT metric_name text, OUT unit text, OUT used numeric, OUT expected double precision,
    OUT low double precision, OUT high double precision, OUT n integer, OUT method text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    today date;
    month date;
    days_left integer;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF as_of IS NULL OR NOT isfinite(as_of) OR confidence IS NULL OR NOT (confidence > 0 AND confidence < 1) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a forecast takes a moment and a confidence between 0 and 1',
            HINT = 'SELECT * FROM stormops.forecast_usage(now(), 0.9);';
    END IF;
    today := (as_of AT TIME ZONE 'UTC')::date;
    month := date_trunc('month', today)::date;
    days_left := (month + interval '1 month')::date - today;
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, m.metric_name, m.unit, h.used,
            greatest(h.complete::double precision + f.expected, h.used::double precision),
            CASE WHEN f.low IS NOT NULL THEN greatest(h.complete::double precision + f.low, h.used::double precision) END,
            CASE WHEN f.high IS NOT NULL THEN greatest(h.complete::double precision + f.high, h.used::double precision) END, f.n, f.method
        FROM stormops.tenants AS t
        JOIN stormops.metrics AS m ON m.tenant_id = t.tenant_id AND m.aggregation IN ('SUM', 'COUNT')
        -- Eight weeks of complete days, from the first with usage on; a day without usage is a nought.
        CROSS JOIN LATERAL (
            SELECT array_agg(coalesce(d.quantity, 0)::double precision ORDER BY d.day) FILTER (WHERE d.day < today AND d.day >= d.first_day) AS daily,
                coalesce(sum(d.quantity) FILTER (WHERE d.day >= month), 0) AS used,
                coalesce(sum(d.quantity) FILTER (WHERE d.day >= month AND d.day < today), 0) AS complete
            FROM (
                SELECT s.day::date AS day, r.quantity, min(s.day) FILTER (WHERE r.quantity IS NOT NULL) OVER () AS first_day
                FROM generate_series((today - 56)::timestamp, today::timestamp, interval '1 day') AS s (day)
                LEFT JOIN stormops.usage_rollups AS r ON r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'day'
                    AND r.dimensions = '{}' AND r.bucket = timezone('UTC', s.day) AND r.bucket >= stormops_internal.month_start(today - 56)
            ) AS d
        ) AS h
        CROSS JOIN LATERAL stormops_internal.forecast_days(h.daily, days_left, confidence) AS f
        WHERE h.daily IS NOT NULL
        ORDER BY t.org_name, t.tenant_id, m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.forecast_usage(timestamptz, double precision) IS 'Usage of the current month (UTC) to its end, for each tenant and additive metric: used so far, expected, and a prediction interval low to high of that confidence (inside 0 to 1). method: weekday means from 14 complete days on, else the daily mean; n: complete days used. low and high are NULL for n = 1. For operators and monitors. Error: 22023 confidence.';

-- metering/partitions.sql
-- The upkeep of tenant_usage: one partition a month, made ahead, dropped when nothing rests on it.

CREATE FUNCTION stormops_internal.await_writers(relation oid) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'await_writers_wrapper';
COMMENT ON FUNCTION stormops_internal.await_writers(oid) IS 'Waits until every transaction has ended that holds a lock of a table for writing now; blocks nobody.';

CREATE FUNCTION stormops_internal.usage_partition(month date) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT 'tenant_usage_' || to_char($1, 'YYYY_MM') $$;
COMMENT ON FUNCTION stormops_internal.usage_partition(date) IS 'Name of a month''s partition of tenant_usage.';

CREATE FUNCTION stormops_internal.hold_usage_writers() RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s' -- new writers wait as long as this does
    AS $$
BEGIN
    LOCK TABLE stormops.tenant_usage IN SHARE ROW EXCLUSIVE MODE;
    RETURN true;
EXCEPTION
    WHEN lock_not_available THEN RETURN false;
END
$$;
COMMENT ON FUNCTION stormops_internal.hold_usage_writers() IS 'Keeps usage from being written until the transaction ends. False if it could not within two seconds, since somebody is still writing.';

CREATE FUNCTION stormops_internal.maintain_usage_partitions(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    month date;
    now_written boolean;
    name text;
    starts text;
    ends text;
    made integer := 0;
BEGIN
    -- Two at once stand in line, so that the second finds the first one's partitions.
    LOCK TABLE stormops.tenant_usage IN SHARE UPDATE EXCLUSIVE MODE;
    FOR month, now_written IN
        SELECT m.month, bool_or(m.has_rows) OR m.month <= now() + interval '1 day'
        FROM (
            SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n))::date AS month, false AS has_rows
            FROM generate_series(0, months_ahead) AS n
            UNION ALL
            SELECT DISTINCT date_trunc('month', u.recorded_at AT TIME ZONE 'UTC')::date, true FROM stormops_internal.tenant_usage_default AS u
        ) AS m
        GROUP BY m.month ORDER BY m.month
    LOOP
        name := stormops_internal.usage_partition(month);
        CONTINUE WHEN to_regclass('stormops_internal.' || name) IS NOT NULL;
        IF now_written THEN
            -- A statement that has chosen the default partition would fail there once the month has its own: so writers
            -- are held up, for a moment only. If one of them does not end, the events stay until the next call.
            PERFORM stormops_internal.await_writers('stormops_internal.tenant_usage_default'::regclass);
            CONTINUE WHEN NOT stormops_internal.hold_usage_writers();
        END IF;
        -- Written out, since a session's TimeZone and DateStyle may give a moment that reads as another.
        starts := to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00';
        ends := to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00';
        -- Whoever writes there now has ended before its rows are moved.
        LOCK TABLE stormops_internal.tenant_usage_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE stormops_internal.%I (LIKE stormops.tenant_usage INCLUDING ALL EXCLUDING IDENTITY)', name);
        EXECUTE format('WITH moved AS (DELETE FROM stormops_internal.tenant_usage_default WHERE recorded_at >= %L AND recorded_at < %L RETURNING *)'
            ' INSERT INTO stormops_internal.%I SELECT * FROM moved', starts, ends, name);
        EXECUTE format('ALTER TABLE stormops.tenant_usage ATTACH PARTITION stormops_internal.%I FOR VALUES FROM (%L) TO (%L)', name, starts, ends);
        EXECUTE format('ALTER TABLE stormops_internal.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('COMMENT ON TABLE stormops_internal.%I IS %L', name, format('Events of %s (UTC).', to_char(month, 'YYYY-MM')));
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION stormops_internal.maintain_usage_partitions(integer) IS 'The part of maintain_partitions() that is for tenant_usage.';

CREATE FUNCTION stormops_internal.usage_needed(before timestamptz) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'it is not rolled up'
    WHERE EXISTS (
        SELECT FROM stormops.tenant_usage AS e
        WHERE e.recorded_at < $1 AND e.usage_seq > (SELECT p.watermark FROM stormops_internal.metering_progress AS p))
    UNION ALL
    -- Where invoices are written at all, one that is final can still be proved, and one to come can be rated.
    SELECT 'a month of it is not invoiced'
    WHERE EXISTS (SELECT FROM stormops.invoices AS i WHERE i.status = 'finalized') AND EXISTS (
        SELECT FROM stormops.usage_rollups AS r
        -- What was used before the tenant's first month, as an import may bring it, is never invoiced.
        JOIN stormops.tenants AS t ON t.tenant_id = r.tenant_id
            AND t.created_at < stormops_internal.next_period('month', r.bucket) AND (t.status <> 'closed' OR t.status_changed_at > r.bucket)
        WHERE r.grain = 'month' AND r.dimensions = '{}' AND NOT EXISTS (
                SELECT FROM stormops.invoices AS i
                WHERE i.tenant_id = r.tenant_id AND i.period = (r.bucket AT TIME ZONE 'UTC')::date AND i.kind = 'invoice' AND i.status = 'finalized')
            AND r.bucket < $1 AND r.bucket >= (SELECT p.kept_from FROM stormops_internal.metering_progress AS p))
    LIMIT 1
$$;
COMMENT ON FUNCTION stormops_internal.usage_needed(timestamptz) IS 'Why raw events from before must stay; NULL: they need not.';

CREATE FUNCTION stormops.drop_usage_before(month date) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    partition record;
    reason text;
    limits timestamptz;
    dropped text[] := '{}';
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF month IS NULL OR month > now() - interval '2 months' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'usage of the last two months is kept',
            HINT = 'SELECT stormops.drop_usage_before((now() - interval ''2 years'')::date);';
    END IF;
    limits := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    -- Nobody writes meanwhile; who waits is then refused for being too late.
    LOCK TABLE stormops.tenant_usage IN ACCESS EXCLUSIVE MODE;
    PERFORM stormops_internal.maintain_usage_partitions(0);
    reason := stormops_internal.usage_needed(limits);
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('usage from before %s cannot be dropped: %s', to_char(month, 'YYYY-MM'), reason),
            HINT = 'SELECT * FROM stormops.rollup_usage(); and finalize the invoices first.';
    END IF;
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'stormops.tenant_usage'::regclass AND c.relname ~ '^tenant_usage_\d{4}_\d{2}$'
            AND to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC' < limits
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE stormops_internal.%I', partition.relname);
        dropped := dropped || partition.relname::text;
    END LOOP;
    DELETE FROM stormops.usage_keys AS k WHERE k.recorded_at < limits;
    DELETE FROM stormops.quota_counters AS c WHERE c.period_start < limits;
    UPDATE stormops_internal.metering_progress AS p SET kept_from = greatest(p.kept_from, limits);
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION stormops.drop_usage_before(date) IS 'Drops the raw events of the months before the one of a date, of all tenants, with their idempotency keys; rollups and invoices stay. From then on an event of that time is refused. Returns the names of the partitions. Errors: 22023 for the last two months; 55000 some of it is not rolled up or invoiced.';

-- metering/price_books.sql
-- Price books, their currencies, and who pays by which.

CREATE FUNCTION stormops.currencies(OUT currency text, OUT minor_unit smallint) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.currency, m.minor_unit::smallint
    FROM (VALUES
        (0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'),
        (2, 'AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU '
            'CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES '
            'KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR '
            'NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP '
            'TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG'),
        (3, 'BHD IQD JOD KWD LYD OMR TND'),
        (4, 'CLF UYW')
    ) AS m (minor_unit, codes), string_to_table(m.codes, ' ') AS c (currency)
$$;
COMMENT ON FUNCTION stormops.currencies() IS 'The currencies of ISO 4217 with the number of digits after the point.';

CREATE FUNCTION stormops.create_price_book(
    price_book text, currency text, description text DEFAULT NULL, OUT minor_unit smallint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    SELECT c.minor_unit INTO minor_unit FROM stormops.currencies() AS c WHERE c.currency = create_price_book.currency;
    IF minor_unit IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown currency "%s"', left(currency, 50)),
            HINT = 'SELECT * FROM stormops.currencies(); lists the codes of ISO 4217, such as USD.';
    END IF;
    IF price_book IS NULL OR price_book !~ '^[a-z][a-z0-9_]{0,49}$' OR char_length(description) > 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'name or description of the price book is not valid',
            HINT = 'A name is a small letter, then up to 49 small letters, digits and underscores; a description has up to 500 characters.';
    END IF;
    INSERT INTO stormops_internal.price_books AS b (price_book, currency, minor_unit, description, created_by)
    VALUES (price_book, currency, minor_unit, description, stormops_internal.calling_role())
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('price book "%s" already exists', price_book),
            HINT = 'A book keeps its currency; choose another name.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.create_price_book(text, text, text) IS 'Makes an empty price book in a currency of ISO 4217. Returns its minor unit, the digits after the point. For operators. Errors: 22023 unknown currency, name not valid; 23505 it exists.';

CREATE FUNCTION stormops_internal.assigned_books(only_tenant uuid, OUT tenant_id uuid, OUT price_book text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.tenant_id, coalesce(a.price_book, 'default')
    FROM stormops.tenants AS t
    LEFT JOIN (
        SELECT DISTINCT ON (a.tenant_id) a.tenant_id, a.price_book FROM stormops.price_book_assignments AS a
        WHERE $1 IS NULL OR a.tenant_id = $1
        ORDER BY a.tenant_id, a.assigned_at DESC
    ) AS a ON a.tenant_id = t.tenant_id
    WHERE $1 IS NULL OR t.tenant_id = $1
$$;
COMMENT ON FUNCTION stormops_internal.assigned_books(uuid) IS 'The price book of a tenant, or of each.';

CREATE FUNCTION stormops.set_price_book(tenant_id uuid, price_book text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    new_currency text := (SELECT b.currency FROM stormops_internal.price_books AS b WHERE b.price_book = set_price_book.price_book);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    IF new_currency IS NULL OR NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = set_price_book.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'no such tenant or price book',
            HINT = 'SELECT * FROM stormops.list_tenants(); SELECT stormops.create_price_book(...);';
    END IF;
    LOCK TABLE stormops.invoices IN SHARE MODE;
    IF EXISTS (SELECT FROM stormops.invoices AS i WHERE i.tenant_id = set_price_book.tenant_id AND i.status = 'finalized' AND i.currency <> new_currency) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the tenant has invoices in another currency',
            HINT = 'What late events change on them could not be billed. Use a book of the same currency.';
    END IF;
    INSERT INTO stormops.price_book_assignments (tenant_id, price_book, assigned_by)
    VALUES (tenant_id, price_book, stormops_internal.calling_role());
END
$$;
COMMENT ON FUNCTION stormops.set_price_book(uuid, text) IS 'By which book a tenant is invoiced from now on; what is finalized stays, and a draft is generated anew. For operators. Errors: 25000 not READ COMMITTED; P0002 no such tenant or book; 55000 it has invoices in another currency.';

-- metering/prices.sql
-- Prices: written by operators only, and never changed afterwards.

CREATE FUNCTION stormops_internal.guard_price() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE')
        OR TG_OP = 'UPDATE' AND (to_jsonb(NEW) - 'valid_to' <> to_jsonb(OLD) - 'valid_to'
            OR coalesce(NEW.valid_to, 'infinity') > coalesce(OLD.valid_to, 'infinity'))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a price is superseded, never changed or deleted',
            HINT = 'SELECT stormops.set_price(...); the new price closes the old one.';
    END IF;
    -- One writer at a time, so that two prices set at the same moment see each other.
    PERFORM stormops_internal.require_read_committed();
    PERFORM pg_advisory_xact_lock(hashtext('stormops_internal.prices'));
    IF EXISTS (
        SELECT FROM stormops_internal.prices AS p
        WHERE p.price_book = NEW.price_book AND p.metric_name = NEW.metric_name AND p.price_id <> NEW.price_id
            AND p.for_tenant IS NOT DISTINCT FROM NEW.for_tenant AND p.tier IS NOT DISTINCT FROM NEW.tier
            AND tstzrange(p.valid_from, p.valid_to) && tstzrange(NEW.valid_from, NEW.valid_to)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'exclusion_violation',
            MESSAGE = format('the price of "%s" overlaps another one in time', NEW.metric_name),
            HINT = 'SELECT * FROM stormops.prices(); shows the periods that are taken.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_price() IS 'Trigger: no two prices for the same at the same time, none changed but for its end, none deleted, whoever tries. Errors: 23P01, 25000, 55000.';

CREATE FUNCTION stormops.set_price(
    metric_name text, model text, unit_price numeric DEFAULT NULL, bands jsonb DEFAULT NULL, package_size numeric DEFAULT NULL,
    included_quantity numeric DEFAULT 0, tier text DEFAULT NULL, tenant_id uuid DEFAULT NULL, price_book text DEFAULT 'default',
    valid_from timestamptz DEFAULT NULL, valid_to timestamptz DEFAULT NULL, OUT price_id uuid, OUT supersedes uuid
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    unit_prices numeric[] := ARRAY[unit_price];
    up_to numeric[] := '{}';
    fault text;
    closed date;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- A whole hour, since usage is kept by the hour.
    valid_from := coalesce(valid_from, date_trunc('hour', now(), 'UTC') + interval '1 hour');
    IF bands IS NOT NULL AND unit_price IS NULL AND jsonb_typeof(bands) = 'array' THEN
        SELECT array_agg(b.unit_price ORDER BY b.place), coalesce(array_agg(b.up_to ORDER BY b.place) FILTER (WHERE b.up_to IS NOT NULL), '{}')
        INTO unit_prices, up_to
        FROM ROWS FROM (jsonb_to_recordset(bands) AS (up_to numeric, unit_price numeric)) WITH ORDINALITY AS b (up_to, unit_price, place);
    END IF;
    fault := CASE
        WHEN metric_name IS NULL OR char_length(metric_name) NOT BETWEEN 1 AND 100 THEN 'metric_name has not 1 to 100 characters'
        WHEN model IS NULL OR model NOT IN ('per_unit', 'graduated', 'volume', 'package', 'flat', 'minimum')
            THEN format('unknown model "%s"', left(model, 50))
        WHEN tier NOT IN ('trial', 'standard', 'enterprise') THEN format('unknown tier "%s"', left(tier, 50))
        WHEN tier IS NOT NULL AND tenant_id IS NOT NULL THEN 'a price is for a tier or for a tenant, not for both'
        WHEN (model IN ('graduated', 'volume')) <> (bands IS NOT NULL) OR (bands IS NULL) <> (unit_price IS NOT NULL)
            THEN 'graduated and volume take bands, the other models unit_price'
        WHEN coalesce(cardinality(unit_prices), 0) NOT BETWEEN 1 AND 20 OR array_position(unit_prices, NULL) IS NOT NULL
            OR cardinality(up_to) <> cardinality(unit_prices) - 1 THEN 'there must be 1 to 20 bands, each with unit_price, all but the last with up_to'
        WHEN NOT (0 <= ALL (unit_prices) AND 1e12 >= ALL (unit_prices)) THEN 'a price is not between 0 and 1e12'
        WHEN NOT (0 < ALL (up_to) AND 1e15 >= ALL (up_to)) OR EXISTS (
            SELECT FROM generate_series(2, cardinality(up_to)) AS i WHERE up_to[i] <= up_to[i - 1]) THEN 'up_to must rise from band to band'
        WHEN EXISTS (SELECT FROM unnest(unit_prices || up_to || package_size || included_quantity) AS v (number) WHERE scale(v.number) > 20)
            THEN 'a number has more than 20 decimal places'
        WHEN (model = 'package') <> (package_size IS NOT NULL) OR NOT (package_size > 0 AND package_size <= 1e15)
            THEN 'package_size, above 0 to 1e15, goes with model package'
        WHEN included_quantity IS NULL OR NOT included_quantity BETWEEN 0 AND 1e15 THEN 'included_quantity is not between 0 and 1e15'
        WHEN model IN ('flat', 'minimum') AND included_quantity <> 0 THEN 'a flat fee and a minimum include nothing'
        WHEN NOT isfinite(valid_from) OR extract(epoch FROM valid_from) % 3600 <> 0
            OR NOT isfinite(valid_to) OR extract(epoch FROM valid_to) % 3600 <> 0 OR valid_to <= valid_from
            THEN 'validity begins and ends at whole hours, and ends after it begins'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'price is not valid: ' || fault,
            HINT = 'SELECT stormops.set_price(''model_call'', ''graduated'', bands => ''[{"up_to": 1000, "unit_price": 0.01}, {"unit_price": 0.005}]'');';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops_internal.price_books AS b WHERE b.price_book = set_price.price_book) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('price book "%s" does not exist', left(price_book, 50)),
            HINT = 'SELECT stormops.create_price_book(''default_eur'', ''EUR'');';
    END IF;
    IF tenant_id IS NOT NULL AND NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = set_price.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', tenant_id),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- Against a finalisation at the same moment: it takes a lock that this one excludes.
    LOCK TABLE stormops.invoices IN SHARE MODE;
    SELECT max(i.period) INTO closed FROM stormops.invoices AS i
    WHERE i.price_book = set_price.price_book AND i.status = 'finalized' AND (set_price.tenant_id IS NULL OR i.tenant_id = set_price.tenant_id);
    IF valid_from < (closed + interval '1 month') AT TIME ZONE 'UTC' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s is invoiced by this price book', to_char(closed, 'YYYY-MM')),
            HINT = 'Set the price from a later hour on; credit_invoice() corrects what was invoiced.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('stormops_internal.prices'));
    UPDATE stormops_internal.prices AS p SET valid_to = valid_from
    WHERE p.price_book = set_price.price_book AND p.metric_name = set_price.metric_name
        AND p.for_tenant IS NOT DISTINCT FROM set_price.tenant_id AND p.tier IS NOT DISTINCT FROM set_price.tier
        AND p.valid_from < set_price.valid_from AND p.valid_to IS NULL
    RETURNING p.price_id INTO supersedes;
    INSERT INTO stormops_internal.prices AS p (price_book, for_tenant, tier, metric_name, model, unit_prices, up_to, package_size,
        included_quantity, valid_from, valid_to, created_at, created_by)
    -- The time under the lock, not that of the transaction's begin: drafts from before it are told by it.
    VALUES (price_book, tenant_id, tier, metric_name, model, unit_prices, up_to, package_size,
        included_quantity, valid_from, valid_to, clock_timestamp(), stormops_internal.calling_role())
    RETURNING p.price_id INTO price_id;
END
$$;
COMMENT ON FUNCTION stormops.set_price(text, text, numeric, jsonb, numeric, numeric, text, uuid, text, timestamptz, timestamptz) IS 'Sets a price from a whole hour (next) on and closes the one before. model: per_unit, package, graduated, volume, flat, minimum; amounts 0 to 1e12, 20 decimal places; for all, a tier or a tenant. Returns price_id, supersedes. For operators. Errors: 22023 an argument; 23P01 overlaps another price; 25000 not READ COMMITTED; 55000 that time is invoiced; P0002 no such book or tenant.';

CREATE FUNCTION stormops.prices(
    price_book text DEFAULT 'default', OUT price_id uuid, OUT metric_name text, OUT model text, OUT tier text, OUT tenant_id uuid,
    OUT unit_prices numeric[], OUT up_to numeric[], OUT package_size numeric, OUT included_quantity numeric, OUT currency text,
    OUT valid_from timestamptz, OUT valid_to timestamptz, OUT created_by text
) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT p.price_id, p.metric_name, p.model, p.tier, p.for_tenant, p.unit_prices, p.up_to, p.package_size, p.included_quantity,
        b.currency, p.valid_from, p.valid_to, p.created_by
    FROM stormops_internal.price_books AS b JOIN stormops_internal.prices AS p ON p.price_book = b.price_book
    WHERE b.price_book = $1
    ORDER BY p.metric_name, p.tier NULLS FIRST, p.for_tenant NULLS FIRST, p.valid_from
$$;
COMMENT ON FUNCTION stormops.prices(text) IS 'All prices of a book, past and to come: for all (tier and tenant_id NULL), for a tier, for a tenant. For operators.';

CREATE FUNCTION stormops.tenant_prices(
    tenant_id uuid DEFAULT NULL, at timestamptz DEFAULT pg_catalog.now(),
    OUT metric_name text, OUT model text, OUT unit_prices numeric[], OUT up_to numeric[], OUT package_size numeric,
    OUT included_quantity numeric, OUT currency text, OUT whom text, OUT valid_from timestamptz, OUT valid_to timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant($1, false);
    book text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_tenant(target);
    SELECT a.price_book INTO book FROM stormops_internal.assigned_books(target) AS a;
    RETURN QUERY
        SELECT p.metric_name, p.model, p.unit_prices, p.up_to, p.package_size, p.included_quantity, b.currency,
            coalesce(CASE WHEN p.for_tenant IS NOT NULL THEN 'tenant' END, p.tier), p.valid_from, p.valid_to
        FROM (
            SELECT DISTINCT ON (p.metric_name) p.*
            FROM stormops_internal.tier_history(ARRAY[target]) AS t
            JOIN stormops_internal.prices AS p ON p.price_book = book AND coalesce(p.for_tenant, target) = target AND coalesce(p.tier, t.tier) = t.tier
            WHERE t.from_time <= at AND t.to_time > at AND p.valid_from <= at AND coalesce(p.valid_to, 'infinity') > at
            ORDER BY p.metric_name, p.for_tenant NULLS LAST, p.tier NULLS LAST
        ) AS p
        JOIN stormops_internal.price_books AS b ON b.price_book = p.price_book
        ORDER BY p.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.tenant_prices(uuid, timestamptz) IS 'The prices that hold for a tenant at a moment. whom: a tier, "tenant" for a price of its own, NULL for everybody''s. For operators any tenant, else the one in context (NULL), for its admins. Errors: 42501; P0002 no such tenant.';

-- metering/proof.sql
-- The proof that rollups are what one scan of the raw events gives.

CREATE FUNCTION stormops.verify_rollups(
    OUT tenant_id uuid, OUT metric_name text, OUT grain text, OUT bucket timestamptz, OUT dimensions jsonb,
    OUT rolled_up numeric, OUT from_events numeric, OUT rolled_up_count bigint, OUT from_events_count bigint
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_sort = off -- as in usage_by_hour()
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        WITH event AS (
            SELECT e.tenant_id, e.metric_name, m.aggregation, e.metric_value, e.recorded_at, e.usage_id,
                date_trunc('hour', e.recorded_at, 'UTC') AS hour, date_trunc('day', e.recorded_at, 'UTC') AS day,
                date_trunc('month', e.recorded_at, 'UTC') AS month,
                stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) AS dimensions, e.dimensions ->> m.unique_dimension AS label
            FROM stormops.tenant_usage AS e
            JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
            WHERE e.usage_seq <= (SELECT p.watermark FROM stormops_internal.metering_progress AS p)
        ), raw AS (
            SELECT e.tenant_id, e.metric_name, e.hour, e.day, e.month, e.dimensions,
                CASE e.aggregation WHEN 'SUM' THEN sum(e.metric_value) WHEN 'COUNT' THEN count(*) ELSE max(e.metric_value) END AS quantity,
                count(*) AS n
            FROM event AS e WHERE e.aggregation IN ('SUM', 'COUNT', 'MAX')
            GROUP BY e.tenant_id, e.metric_name, e.aggregation, GROUPING SETS (
                (e.hour, e.dimensions), (e.day, e.dimensions), (e.month, e.dimensions), e.hour, e.day, e.month)
            UNION ALL
            SELECT e.tenant_id, e.metric_name, e.hour, e.day, e.month, e.dimensions,
                (array_agg(e.metric_value ORDER BY e.recorded_at DESC, e.usage_id DESC))[1], count(*)
            FROM event AS e WHERE e.aggregation = 'LATEST'
            GROUP BY e.tenant_id, e.metric_name, GROUPING SETS (
                (e.hour, e.dimensions), (e.day, e.dimensions), (e.month, e.dimensions), e.hour, e.day, e.month)
            UNION ALL
            SELECT e.tenant_id, e.metric_name, e.hour, e.day, e.month, e.dimensions, count(DISTINCT e.label), count(*)
            FROM event AS e WHERE e.aggregation = 'UNIQUE'
            GROUP BY e.tenant_id, e.metric_name, GROUPING SETS (
                (e.hour, e.dimensions), (e.day, e.dimensions), (e.month, e.dimensions), e.hour, e.day, e.month)
        ), proved AS (
            SELECT w.tenant_id, w.metric_name,
                CASE WHEN w.hour IS NOT NULL THEN 'hour' WHEN w.day IS NOT NULL THEN 'day' ELSE 'month' END AS grain,
                coalesce(w.hour, w.day, w.month) AS bucket, coalesce(w.dimensions, '{}') AS dimensions, w.quantity, w.n
            FROM raw AS w
            WHERE w.dimensions IS DISTINCT FROM '{}' -- of a metric without dimensions, all together come once
        ), rolled AS (
            SELECT r.tenant_id, r.metric_name, r.grain, r.bucket, r.dimensions, r.quantity, r.event_count AS n
            FROM stormops.usage_rollups AS r
            WHERE r.bucket >= (SELECT p.kept_from FROM stormops_internal.metering_progress AS p)
        )
        SELECT tenant_id, metric_name, grain, bucket, dimensions, l.quantity, w.quantity, l.n, w.n
        FROM rolled AS l
        FULL JOIN proved AS w USING (tenant_id, metric_name, grain, bucket, dimensions)
        WHERE (l.quantity, l.n) IS DISTINCT FROM (w.quantity, w.n)
        ORDER BY 1, 2, 3, 4, 5;
END
$$;
COMMENT ON FUNCTION stormops.verify_rollups() IS 'Computes every rollup again from the raw events up to the watermark, in one snapshot and by another way than rollup_usage(), and returns those that differ: rolled_up and from_events (quantities), and the counts of events; NULL where one of them is missing. No row: all are proved. From metering_progress.kept_from on, since older raw events are dropped. Reads all raw events.';

-- metering/quota_use.sql
-- How much of its quotas a tenant has used, and what there is to tell of it.

CREATE FUNCTION stormops_internal.quota_use(
    scope uuid, OUT tenant_id uuid, OUT metric_name text, OUT period text, OUT kind text, OUT quota numeric, OUT used numeric, OUT share numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT q.tenant_id, q.metric_name, q.period, q.kind, q.quota, u.used,
        CASE WHEN q.quota > 0 THEN round(u.used / q.quota, 6) ELSE (u.used > 0)::integer END
    FROM stormops_internal.every_quota() AS q
    JOIN stormops.tenants AS t ON t.tenant_id = q.tenant_id AND t.status <> 'closed'
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = q.tenant_id AND r.metric_name = q.metric_name AND r.grain = q.period
                AND r.bucket = date_trunc(q.period, now(), 'UTC') AND r.dimensions = '{}'), 0) AS used
    ) AS u
    WHERE q.quota IS NOT NULL AND ($1 IS NULL OR q.tenant_id = $1)
$$;
COMMENT ON FUNCTION stormops_internal.quota_use(uuid) IS 'What each quota, the tenant''s own or its tier''s, has in the current period (UTC): used, by the rollups; share of the quota, 1 and more: it is reached (of a quota of nothing: 1 once anything is used). Of one tenant, or with NULL of all that are not closed.';

CREATE FUNCTION stormops_internal.quota_findings(scope uuid, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH near AS (
        SELECT u.tenant_id, format('quota_used:%s:%s', u.metric_name, u.period) AS key,
            CASE WHEN u.kind = 'hard' AND u.share >= 1 THEN 'critical' ELSE 'warning' END AS severity,
            jsonb_build_object('metric', u.metric_name, 'period', u.period, 'kind', u.kind, 'quota', u.quota, 'used', u.used,
                'percent', round(100 * u.share, 1)) AS evidence
        FROM stormops_internal.quota_use($1) AS u
        WHERE u.share >= 0.8
    )
    SELECT jsonb_build_object('tenant_id', n.tenant_id, 'key', n.key, 'issue', 'quota_used', 'severity', n.severity, 'failing', true,
        'evidence', n.evidence)
    FROM near AS n
    UNION ALL
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false)
    FROM stormops.alerts AS a
    WHERE a.issue = 'quota_used' AND a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1)
        AND NOT EXISTS (SELECT FROM near AS n WHERE n.tenant_id = a.tenant_id AND n.key = a.alert_key)
$$;
COMMENT ON FUNCTION stormops_internal.quota_findings(uuid) IS 'Of quotas, for the alerts: those of which 80 percent or more are used, critical once a hard one is used up; and those alerts that no longer hold. Of one tenant, or with NULL of all.';

-- metering/quotas.sql
-- Quotas: set by operators, by tenant or by tier; hard ones hold at the write.

CREATE FUNCTION stormops_internal.lock_quotas(relation oid, tenant_id uuid, metric_name text, changes boolean) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'lock_quotas_wrapper';
COMMENT ON FUNCTION stormops_internal.lock_quotas(oid, uuid, text, boolean) IS 'Takes the locks of a metric of a tenant (NULL: of every tenant) to the end of the transaction: shared to meter it, or alone to change its quota. The table makes them StormOps'' own.';

CREATE FUNCTION stormops_internal.effective_quotas(
    tenant_id uuid, metric_name text, OUT period text, OUT kind text, OUT quota numeric, OUT aggregation text
) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT q.period, q.kind, q.quota, m.aggregation
    FROM stormops.metrics AS m
    CROSS JOIN LATERAL (
        SELECT own.period, own.kind, own.quota FROM stormops.quotas AS own
        WHERE own.tenant_id = $1 AND own.metric_name = $2
        UNION ALL
        SELECT d.period, d.kind, d.quota
        FROM stormops.tenants AS t
        JOIN stormops_internal.tier_quotas AS d ON d.tier = t.tier AND d.metric_name = $2
        WHERE t.tenant_id = $1 AND NOT EXISTS (
            SELECT FROM stormops.quotas AS own
            WHERE own.tenant_id = $1 AND own.metric_name = $2 AND own.period = d.period)
    ) AS q
    WHERE m.tenant_id = $1 AND m.metric_name = $2
$$;
COMMENT ON FUNCTION stormops_internal.effective_quotas(uuid, text) IS 'The quotas of a tenant''s metric: its own, else its tier''s, for each period. quota NULL: no limit.';

CREATE FUNCTION stormops_internal.every_quota(OUT tenant_id uuid, OUT metric_name text, OUT period text, OUT kind text, OUT quota numeric) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT own.tenant_id, own.metric_name, own.period, own.kind, own.quota FROM stormops.quotas AS own
    UNION ALL
    SELECT t.tenant_id, d.metric_name, d.period, d.kind, d.quota
    FROM stormops_internal.tier_quotas AS d JOIN stormops.tenants AS t ON t.tier = d.tier
    WHERE NOT EXISTS (
        SELECT FROM stormops.quotas AS own
        WHERE own.tenant_id = t.tenant_id AND own.metric_name = d.metric_name AND own.period = d.period)
$$;
COMMENT ON FUNCTION stormops_internal.every_quota() IS 'The quotas of every tenant''s metrics: its own, else its tier''s, for each period. quota NULL: no limit.';

CREATE FUNCTION stormops_internal.require_legal_quota(metric_name text, quota numeric, period text, kind text, aggregations text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF metric_name IS NULL OR period IS NULL OR kind IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'metric, period and kind must be given',
            HINT = 'Only the quota itself may be NULL: no limit.';
    END IF;
    IF period NOT IN ('hour', 'day', 'month') OR kind NOT IN ('hard', 'soft') OR quota NOT BETWEEN 0 AND 1e15
        OR kind = 'hard' AND aggregations && '{LATEST,UNIQUE}'
    THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'quota is not valid',
            DETAIL = 'A period is hour, day or month; a kind hard or soft; a quota 0 to 1e15.',
            HINT = CASE WHEN kind = 'hard' AND aggregations && '{LATEST,UNIQUE}'
                THEN 'A metric that aggregates by LATEST or UNIQUE takes soft quotas only.'
                ELSE 'SELECT stormops.set_quota(tenant_id, ''model_call'', 10000, ''month'', ''hard'');' END;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_legal_quota(text, numeric, text, text, text[]) IS 'Errors: 22004, 22023.';

CREATE FUNCTION stormops.set_quota(
    tenant_id uuid, metric_name text, quota numeric, period text DEFAULT 'month', kind text DEFAULT 'hard'
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    aggregation text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, '{}');
    SELECT m.aggregation INTO aggregation FROM stormops.metrics AS m
    WHERE m.tenant_id = set_quota.tenant_id AND m.metric_name = set_quota.metric_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN tenant_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('tenant %s has no metric "%s"', coalesce(tenant_id::text, 'NULL'), left(metric_name, 63)),
            HINT = 'SELECT stormops.declare_metric(metric_name, unit, tenant_id => ...);';
    END IF;
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, ARRAY[aggregation]);
    -- Waits for the transactions that have metered it and do not know of this.
    PERFORM stormops_internal.lock_quotas('stormops.quotas'::regclass, tenant_id, metric_name, true);
    INSERT INTO stormops.quotas AS q (tenant_id, metric_name, period, kind, quota, set_by)
    VALUES (tenant_id, metric_name, period, kind, quota, stormops_internal.calling_role())
    ON CONFLICT ON CONSTRAINT quotas_pkey DO UPDATE
        SET kind = excluded.kind, quota = excluded.quota, set_at = excluded.set_at, set_by = excluded.set_by;
    -- Counted afresh by the next to write, since nobody may have counted so far.
    DELETE FROM stormops.quota_counters AS c
    WHERE c.tenant_id = set_quota.tenant_id AND c.metric_name = set_quota.metric_name AND c.period = set_quota.period;
END
$$;
COMMENT ON FUNCTION stormops.set_quota(uuid, text, numeric, text, text) IS 'Sets the quota of a tenant''s metric for a period, instead of its tier''s. quota: most of the metric''s quantity, 0 to 1e15; NULL: no limit. period: hour, day, month (calendar, UTC). kind: hard (SUM, COUNT, MAX: refused at the write) or soft (alerts). Waits for transactions that are metering it. Errors: 22004; 22023; P0002 no such tenant or metric.';

CREATE FUNCTION stormops.set_tier_quota(
    tier text, metric_name text, quota numeric, period text DEFAULT 'month', kind text DEFAULT 'hard'
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    aggregations text[];
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, '{}');
    IF tier IS NULL OR tier NOT IN ('trial', 'standard', 'enterprise') OR metric_name !~ '^[a-z][a-z0-9_.]{0,62}$' THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN tier IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = format('unknown tier "%s", or no name of a metric', left(tier, 50)), HINT = 'A tier is trial, standard or enterprise.';
    END IF;
    -- As set_quota(), for every tenant.
    PERFORM stormops_internal.lock_quotas('stormops.quotas'::regclass, NULL, metric_name, true);
    SELECT array_agg(m.aggregation) INTO aggregations
    FROM stormops.metrics AS m
    JOIN stormops.tenants AS t ON t.tenant_id = m.tenant_id
    WHERE t.tier = set_tier_quota.tier AND m.metric_name = set_tier_quota.metric_name;
    PERFORM stormops_internal.require_legal_quota(metric_name, quota, period, kind, aggregations);
    INSERT INTO stormops_internal.tier_quotas AS q (tier, metric_name, period, kind, quota)
    VALUES (tier, metric_name, period, kind, quota)
    ON CONFLICT ON CONSTRAINT tier_quotas_pkey DO UPDATE SET kind = excluded.kind, quota = excluded.quota;
    DELETE FROM stormops.quota_counters AS c
    USING stormops.tenants AS t
    WHERE t.tenant_id = c.tenant_id AND t.tier = set_tier_quota.tier
        AND c.metric_name = set_tier_quota.metric_name AND c.period = set_tier_quota.period
        AND NOT EXISTS (
            SELECT FROM stormops.quotas AS q
            WHERE q.tenant_id = c.tenant_id AND q.metric_name = c.metric_name AND q.period = c.period);
END
$$;
COMMENT ON FUNCTION stormops.set_tier_quota(text, text, numeric, text, text) IS 'Sets the quota of a tier''s tenants that have none of their own for the metric and period. Arguments as set_quota(). Errors: 22004; 22023.';

CREATE FUNCTION stormops.check_quota(
    metric_name text, tenant_id uuid DEFAULT NULL, OUT period text, OUT kind text, OUT quota numeric, OUT used numeric,
    OUT remaining numeric, OUT percent numeric, OUT resets_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    -- Any user of the tenant may ask what is left.
    target uuid := CASE WHEN tenant_id IS NULL THEN stormops.current_tenant() ELSE stormops_internal.target_tenant(tenant_id, false) END;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM stormops.metrics AS m WHERE m.tenant_id = target AND m.metric_name = $1) THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN $1 IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('metric "%s" is not declared', left($1, 63)), HINT = 'TABLE stormops.metrics; shows this tenant''s.';
    END IF;
    RETURN QUERY
        SELECT e.period, e.kind, e.quota, u.quantity, greatest(e.quota - u.quantity, 0),
            round(100 * u.quantity / nullif(e.quota, 0), 1), stormops_internal.next_period(e.period, s.starts)
        FROM stormops_internal.effective_quotas(target, $1) AS e
        CROSS JOIN LATERAL (SELECT date_trunc(e.period, now(), 'UTC') AS starts) AS s
        CROSS JOIN LATERAL (
            SELECT coalesce((SELECT p.quantity FROM stormops_internal.period_usage(target, $1, e.period, s.starts) AS p), 0) AS quantity
        ) AS u
        ORDER BY e.period;
END
$$;
COMMENT ON FUNCTION stormops.check_quota(text, uuid) IS 'The quotas of a metric in the tenant in context (NULL) or a named one: one row for each period that has one. quota (NULL: no limit), used in the current period, remaining (not below 0), percent of the quota, resets_at: start of the next period. For anybody in the tenant; an operator names any. Errors: 22004; 42501; P0002 not declared.';

CREATE FUNCTION stormops.expire_trials(OUT tenant_id uuid, OUT trial_ends_at timestamptz) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        WITH expired AS (
            UPDATE stormops.tenants AS t SET status = 'suspended', status_changed_at = now()
            WHERE t.status = 'active' AND t.tier = 'trial' AND t.trial_ends_at <= now()
            RETURNING t.tenant_id, t.trial_ends_at
        ), logged AS (
            INSERT INTO stormops.tenant_events (tenant_id, action, from_status, to_status, reason, actor)
            SELECT e.tenant_id, 'suspend', 'active', 'suspended', 'trial expired', stormops_internal.calling_role() FROM expired AS e
        )
        SELECT e.tenant_id, e.trial_ends_at FROM expired AS e ORDER BY e.trial_ends_at, e.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.expire_trials() IS 'Suspends every active tenant whose trial has ended, and returns them; none is left for a second call. For a schedule.';

-- metering/rating.sql
-- From quantities to amounts. A set of tenants and months is rated in one statement: by the rollups for an invoice, by the
-- raw events for its proof. Nothing here writes.

CREATE FUNCTION stormops_internal.round_half_even(amount numeric, digits integer) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT CASE
        -- A half: round() takes it away from zero, but not its own half, which is a quarter.
        WHEN pg_catalog.abs($1 OPERATOR(pg_catalog.-) pg_catalog.trunc($1, $2)) OPERATOR(pg_catalog.*) 2
                OPERATOR(pg_catalog.=) pg_catalog.power(10::pg_catalog.numeric, OPERATOR(pg_catalog.-) $2)
            THEN pg_catalog.round($1 OPERATOR(pg_catalog.*) 0.5, $2) OPERATOR(pg_catalog.*) 2
        ELSE pg_catalog.round($1, $2)
    END
$$;
COMMENT ON FUNCTION stormops_internal.round_half_even(numeric, integer) IS 'The amount to so many digits after the point, a half to the even neighbour (IEEE 754, ISO 80000-1 rule A).';

CREATE FUNCTION stormops_internal.billing_period(period text) RETURNS date
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF period IS NULL OR period !~ '^[0-9]{4}-(0[1-9]|1[0-2])(-01)?$' OR left(period, 4) < '2000' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a billing period is a calendar month',
            HINT = 'Write it as 2024-01, or as its first day.';
    END IF;
    RETURN make_date(left(period, 4)::integer, substr(period, 6, 2)::integer, 1);
END
$$;
COMMENT ON FUNCTION stormops_internal.billing_period(text) IS 'First day of the month that YYYY-MM or YYYY-MM-01 names, from 2000 on. Error: 22023.';

CREATE FUNCTION stormops_internal.month_start(period date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT pg_catalog.timezone('UTC', $1::pg_catalog.timestamp) $$;
COMMENT ON FUNCTION stormops_internal.month_start(date) IS 'The first moment of a day, UTC.';

CREATE FUNCTION stormops_internal.tier_history(
    tenants uuid[], OUT tenant_id uuid, OUT tier text, OUT from_time timestamptz, OUT to_time timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH change AS (
        SELECT DISTINCT ON (e.tenant_id, h.hour) e.tenant_id, h.hour, e.to_status AS tier,
            first_value(e.from_status) OVER (PARTITION BY e.tenant_id ORDER BY e.happened_at, e.event_id) AS first_tier
        FROM stormops.tenant_events AS e, date_trunc('hour', e.happened_at, 'UTC') AS h (hour)
        WHERE e.tenant_id = ANY ($1) AND e.action = 'set_tier'
        ORDER BY e.tenant_id, h.hour, e.happened_at DESC, e.event_id DESC
    )
    SELECT c.tenant_id, c.tier, c.hour, lead(c.hour, 1, 'infinity') OVER (PARTITION BY c.tenant_id ORDER BY c.hour) FROM change AS c
    UNION ALL
    SELECT c.tenant_id, min(c.first_tier), '-infinity', min(c.hour) FROM change AS c GROUP BY c.tenant_id
    UNION ALL
    SELECT t.tenant_id, t.tier, '-infinity', 'infinity' FROM stormops.tenants AS t
    WHERE t.tenant_id = ANY ($1) AND t.tenant_id NOT IN (SELECT c.tenant_id FROM change AS c)
$$;
COMMENT ON FUNCTION stormops_internal.tier_history(uuid[]) IS 'Which tier each tenant had when, by whole hours UTC: a change counts from the beginning of its hour.';

CREATE FUNCTION stormops_internal.active_history(
    tenants uuid[], OUT tenant_id uuid, OUT from_time timestamptz, OUT to_time timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH step AS (
        SELECT t.tenant_id, t.created_at AS happened_at, NULL::uuid AS event_id, 'active' AS status
        FROM stormops.tenants AS t WHERE t.tenant_id = ANY ($1)
        UNION ALL
        SELECT e.tenant_id, e.happened_at, e.event_id, e.to_status FROM stormops.tenant_events AS e
        WHERE e.tenant_id = ANY ($1) AND e.action IN ('suspend', 'reactivate', 'close')
    )
    SELECT s.tenant_id, s.happened_at, s.to_time
    FROM (
        SELECT s.*, lead(s.happened_at, 1, 'infinity') OVER (PARTITION BY s.tenant_id ORDER BY s.happened_at, s.event_id NULLS FIRST) AS to_time
        FROM step AS s
    ) AS s
    WHERE s.status = 'active'
$$;
COMMENT ON FUNCTION stormops_internal.active_history(uuid[]) IS 'When each tenant was active: from provisioning until it was closed, without suspensions.';

CREATE FUNCTION stormops_internal.price_segments(
    tenants uuid[], periods date[], books text[],
    OUT tenant_id uuid, OUT period date, OUT metric_name text, OUT price_id uuid, OUT from_time timestamptz, OUT to_time timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    -- The arrays' lengths are not known when this is planned: on a guess of ten it would loop over thousands. Loops
    -- that cannot be avoided then look so dear that each call would be compiled.
    SET enable_nestloop = off SET jit = off
    AS $$
    WITH asked AS MATERIALIZED (
        SELECT a.*, stormops_internal.month_start(a.period) AS from_time, stormops_internal.month_start((a.period + interval '1 month')::date) AS to_time
        FROM unnest($1, $2, $3) AS a (tenant_id, period, price_book)
    ), tier AS MATERIALIZED (
        SELECT h.* FROM stormops_internal.tier_history($1) AS h
    ), price AS MATERIALIZED (
        SELECT p.*, p.for_tenant IS NOT NULL OR p.tier IS NOT NULL AS special FROM stormops_internal.prices AS p WHERE p.price_book = ANY ($3)
    ), cut AS (
        SELECT a.tenant_id, a.period, a.price_book, a.to_time AS end_time, a.from_time FROM asked AS a
        UNION
        SELECT a.tenant_id, a.period, a.price_book, a.to_time, t.from_time FROM asked AS a
        JOIN tier AS t ON t.tenant_id = a.tenant_id AND t.from_time > a.from_time AND t.from_time < a.to_time
        UNION
        SELECT a.tenant_id, a.period, a.price_book, a.to_time, c.at
        FROM asked AS a
        JOIN (
            SELECT p.price_book, p.for_tenant, p.valid_from AS at FROM price AS p
            UNION SELECT p.price_book, p.for_tenant, p.valid_to FROM price AS p
        ) AS c ON c.price_book = a.price_book AND c.at > a.from_time AND c.at < a.to_time AND coalesce(c.for_tenant, a.tenant_id) = a.tenant_id
    ), interval_ AS MATERIALIZED (
        SELECT c.tenant_id, c.period, c.price_book, c.from_time, t.tier,
            lead(c.from_time, 1, c.end_time) OVER (PARTITION BY c.tenant_id, c.period ORDER BY c.from_time) AS to_time
        FROM cut AS c JOIN tier AS t ON t.tenant_id = c.tenant_id AND c.from_time >= t.from_time AND c.from_time < t.to_time
    ), candidate AS (
        SELECT i.*, p.metric_name, p.price_id, CASE WHEN p.tier IS NULL THEN 0 ELSE 1 END AS rank
        FROM interval_ AS i
        JOIN price AS p ON p.for_tenant IS NULL AND p.price_book = i.price_book AND coalesce(p.tier, i.tier) = i.tier
            AND p.valid_from <= i.from_time AND coalesce(p.valid_to, 'infinity') > i.from_time
        UNION ALL
        SELECT i.*, p.metric_name, p.price_id, 2
        FROM interval_ AS i
        JOIN price AS p ON p.for_tenant = i.tenant_id AND p.price_book = i.price_book
            AND p.valid_from <= i.from_time AND coalesce(p.valid_to, 'infinity') > i.from_time
    ), best AS (
        SELECT DISTINCT ON (c.tenant_id, c.period, c.metric_name, c.from_time) c.*
        FROM candidate AS c
        ORDER BY c.tenant_id, c.period, c.metric_name, c.from_time, c.rank DESC
    ), run AS (
        -- A cut that did not change the metric's price is none: neighbours with the same price are one run.
        SELECT b.*, count(*) FILTER (WHERE b.begins) OVER (PARTITION BY b.tenant_id, b.period, b.metric_name ORDER BY b.from_time) AS number
        FROM (
            SELECT b.*, ROW (b.price_id, b.from_time) IS DISTINCT FROM
                lag(ROW (b.price_id, b.to_time)) OVER (PARTITION BY b.tenant_id, b.period, b.metric_name ORDER BY b.from_time) AS begins
            FROM best AS b
        ) AS b
    )
    SELECT r.tenant_id, r.period, r.metric_name, (array_agg(r.price_id))[1], min(r.from_time), max(r.to_time)
    FROM run AS r
    GROUP BY r.tenant_id, r.period, r.metric_name, r.number
$$;
COMMENT ON FUNCTION stormops_internal.price_segments(uuid[], date[], text[]) IS 'Which price held for each metric in which part of the month, for every tenant, month and price book (arrays of one length).';

-- metering/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'metering';
-- What of metering the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('metrics', 'SELECT', 'viewer', NULL, NULL),
    ('metrics', 'INSERT', 'admin', NULL, 'declare_metric()'),
    ('tenant_usage', 'SELECT', 'admin', '{tenant_id,usage_id,metric_name,metric_value,dimensions,idempotency_key,recorded_at}', NULL),
    ('tenant_usage', 'INSERT', 'viewer', '{tenant_id,usage_id,metric_name,metric_value,dimensions,idempotency_key,recorded_at}', NULL),
    ('usage_keys', 'SELECT', 'admin', NULL, NULL),
    ('usage_keys', 'INSERT', 'viewer', NULL, 'record_usage(), record_usages()'),
    ('usage_rollups', 'SELECT', 'admin', NULL, NULL),
    ('usage_unique_values', 'SELECT', 'admin', NULL, NULL),
    ('quotas', 'SELECT', 'viewer', NULL, NULL),
    ('quota_counters', 'SELECT', 'admin', NULL, NULL),
    ('quota_alerts', 'SELECT', 'admin', NULL, NULL),
    ('price_book_assignments', 'SELECT', 'admin', NULL, NULL),
    ('invoices', 'SELECT', 'admin', NULL, NULL),
    ('invoice_lines', 'SELECT', 'admin', NULL, NULL);

-- Tables that hold no tenant's rows.
INSERT INTO pg_temp.installation_tables (table_name) VALUES
    ('metering_progress'),
    ('tier_settings'),
    ('tier_quotas'),
    ('price_books'),
    ('prices'),
    ('invoice_numbers');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.default_metrics()', '{app,trusted_app,operator}'),
    ('stormops.declare_metric(text,text,text,text,text[],uuid)', '{app,trusted_app,operator}'),
    ('stormops.record_usage(text,numeric,jsonb,text,timestamp with time zone)', '{app,trusted_app}'),
    ('stormops.record_usages(jsonb)', '{app,trusted_app}'),
    ('stormops.get_tenant_usage(uuid,integer)', '{app,trusted_app,operator}'),
    ('stormops.check_quota(text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.rollup_usage()', '{operator}'),
    ('stormops.usage_watermark()', '{operator,monitor}'),
    ('stormops.verify_rollups()', '{operator}'),
    ('stormops.measure_storage()', '{operator}'),
    ('stormops.drop_usage_before(date)', '{operator}'),
    ('stormops.set_quota(uuid,text,numeric,text,text)', '{operator}'),
    ('stormops.set_tier_quota(text,text,numeric,text,text)', '{operator}'),
    ('stormops.expire_trials()', '{operator}'),
    ('stormops.currencies()', '{app,trusted_app,operator}'),
    ('stormops.create_price_book(text,text,text)', '{operator}'),
    ('stormops.set_price(text,text,numeric,jsonb,numeric,numeric,text,uuid,text,timestamp with time zone,timestamp with time zone)', '{operator}'),
    ('stormops.prices(text)', '{operator}'),
    ('stormops.tenant_prices(uuid,timestamp with time zone)', '{app,trusted_app,operator}'),
    ('stormops.set_price_book(uuid,text)', '{operator}'),
    ('stormops.generate_invoice(uuid,text)', '{operator}'),
    ('stormops.generate_invoices(text)', '{operator}'),
    ('stormops.preview_invoice(uuid,text)', '{app,trusted_app,operator}'),
    ('stormops.finalize_invoice(uuid)', '{operator}'),
    ('stormops.void_invoice(uuid,text)', '{operator}'),
    ('stormops.credit_invoice(uuid,numeric,text)', '{operator}'),
    ('stormops.list_invoices(text,uuid)', '{operator}'),
    ('stormops.invoice_json(uuid)', '{app,trusted_app,operator}'),
    ('stormops.invoice_text(uuid)', '{app,trusted_app,operator}'),
    ('stormops.invoice_html(uuid)', '{app,trusted_app,operator}'),
    ('stormops_internal.print_invoice(jsonb)', '{app,trusted_app,operator}'),
    ('stormops_internal.print_invoice_html(jsonb)', '{app,trusted_app,operator}'),
    ('stormops.verify_invoice(uuid)', '{operator}'),
    ('stormops.rate_again(text,text)', '{operator}'),
    ('stormops.usage_overview(text)', '{operator,monitor}'),
    ('stormops.top_movers(text,integer)', '{operator,monitor}'),
    ('stormops.forecast_usage(timestamp with time zone,double precision)', '{operator,monitor}'),
    ('stormops_internal.forecast_days(double precision[],integer,double precision)', '{operator,monitor}'),
    ('stormops.tenant_margins(text,text)', '{operator}'),
    ('stormops.rate(uuid[],date[],text[],bigint)', '{}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('tenant_usage', 'recorded_at', '{metric_name,dimensions,recorded_at}', '{}', 'record_usage');

-- What runs on its own: see known_jobs().
INSERT INTO pg_temp.known_jobs (job, schedule, function, purpose) VALUES
    ('usage_rollup', '*/5 * * * *', 'rollup_usage', 'roll metered usage up'),
    ('trial_expiry', '5 * * * *', 'expire_trials', 'suspend tenants whose trial has ended');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('invoices_overdue', ARRAY['List the overdue invoices', 'Ask the tenants'' admins', 'Consider stormops.suspend_tenant(tenant_id,
        ''payment_failed'')']),
    ('usage_unfolded', ARRAY['SELECT * FROM stormops.rollup_usage()', 'Check that usage_rollup is scheduled: stormops.schedules()',
        'Find a long transaction that has written usage: pg_stat_activity by xact_start']),
    ('quota_used', ARRAY['SELECT * FROM stormops.check_quota(metric_name, tenant_id)', 'Ask the tenant whether the use is meant',
        'SELECT stormops.set_quota(tenant_id, metric_name, quota)']);

-- metering/rollups.sql
-- Rollups: incremental, and exactly once.

CREATE FUNCTION stormops_internal.next_period(grain text, starts timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT ($2 AT TIME ZONE 'UTC' + ('1 ' || $1)::interval) AT TIME ZONE 'UTC' $$;
COMMENT ON FUNCTION stormops_internal.next_period(text, timestamptz) IS 'Start of the hour, day or month (UTC) after the one that starts then.';

CREATE FUNCTION stormops.usage_watermark() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT p.watermark FROM stormops_internal.metering_progress AS p $$;
COMMENT ON FUNCTION stormops.usage_watermark() IS 'Every committed event whose usage_seq is not above this is in usage_rollups, and no other.';

CREATE FUNCTION stormops_internal.fold_usage(after bigint, upto bigint, OUT events bigint, OUT buckets bigint)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH hours AS MATERIALIZED (
        SELECT u.* FROM stormops_internal.usage_by_hour($1, $2) AS u
    ), folded AS (
        INSERT INTO stormops.usage_rollups AS r
            (tenant_id, metric_name, grain, bucket, dimensions, aggregation, quantity, event_count)
        SELECT h.tenant_id, h.metric_name, g.grain, date_trunc(g.grain, h.hour, 'UTC'), d.dimensions, h.aggregation,
            CASE h.aggregation WHEN 'SUM' THEN sum(h.total) WHEN 'COUNT' THEN sum(h.n) WHEN 'MAX' THEN max(h.peak) ELSE 0 END, sum(h.n)
        FROM hours AS h
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL unnest(CASE h.dimensions WHEN '{}' THEN ARRAY[h.dimensions] ELSE ARRAY[h.dimensions, '{}'] END) AS d (dimensions)
        GROUP BY 1, 2, 3, 4, 5, 6
        ON CONFLICT ON CONSTRAINT usage_rollups_pkey DO UPDATE SET
            quantity = CASE r.aggregation WHEN 'MAX' THEN greatest(r.quantity, excluded.quantity) ELSE r.quantity + excluded.quantity END,
            event_count = r.event_count + excluded.event_count
        RETURNING 1
    )
    SELECT (SELECT coalesce(sum(h.n), 0)::bigint FROM hours AS h), (SELECT count(*) FROM folded)
$$;
COMMENT ON FUNCTION stormops_internal.fold_usage(bigint, bigint) IS 'Adds the events with after < usage_seq <= upto to the rollups; leaves the quantities of LATEST and UNIQUE to fold_latest() and fold_unique().';

CREATE FUNCTION stormops_internal.fold_latest(after bigint, upto bigint) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH hours AS MATERIALIZED (
        SELECT DISTINCT ON (1, 2, 3, 4)
            e.tenant_id, e.metric_name, date_trunc('hour', e.recorded_at, 'UTC') AS hour,
            stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) AS dimensions, e.metric_value, e.recorded_at, e.usage_id
        FROM stormops.tenant_usage AS e
        JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
        WHERE e.usage_seq > $1 AND e.usage_seq <= $2 AND m.aggregation = 'LATEST'
        ORDER BY 1, 2, 3, 4, e.recorded_at DESC, e.usage_id DESC
    )
    UPDATE stormops.usage_rollups AS r
    SET quantity = l.metric_value, latest_at = l.recorded_at, latest_id = l.usage_id
    FROM (
        SELECT DISTINCT ON (1, 2, 3, 4, 5)
            h.tenant_id, h.metric_name, g.grain, date_trunc(g.grain, h.hour, 'UTC') AS bucket, d.dimensions,
            h.metric_value, h.recorded_at, h.usage_id
        FROM hours AS h
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL unnest(CASE h.dimensions WHEN '{}' THEN ARRAY[h.dimensions] ELSE ARRAY[h.dimensions, '{}'] END) AS d (dimensions)
        ORDER BY 1, 2, 3, 4, 5, h.recorded_at DESC, h.usage_id DESC
    ) AS l
    WHERE (r.tenant_id, r.metric_name, r.grain, r.bucket, r.dimensions) = (l.tenant_id, l.metric_name, l.grain, l.bucket, l.dimensions)
        AND (r.latest_at IS NULL OR (r.latest_at, r.latest_id) < (l.recorded_at, l.usage_id))
$$;
COMMENT ON FUNCTION stormops_internal.fold_latest(bigint, bigint) IS 'Sets the quantities of LATEST metrics after fold_usage(). Of two events at one time the one with the greater usage_id is the later.';

CREATE FUNCTION stormops_internal.fold_unique(after bigint, upto bigint) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH fresh AS (
        INSERT INTO stormops.usage_unique_values AS u (tenant_id, metric_name, grain, bucket, dimensions, digest)
        SELECT DISTINCT e.tenant_id, e.metric_name, g.grain, date_trunc(g.grain, e.recorded_at, 'UTC'), d.dimensions,
            sha256(convert_to(e.dimensions ->> m.unique_dimension, 'UTF8'))
        FROM stormops.tenant_usage AS e
        JOIN stormops.metrics AS m ON m.tenant_id = e.tenant_id AND m.metric_name = e.metric_name
        CROSS JOIN (VALUES ('hour'), ('day'), ('month')) AS g (grain)
        CROSS JOIN LATERAL (SELECT stormops_internal.event_labels(e.dimensions, m.rollup_dimensions) UNION SELECT '{}') AS d (dimensions)
        WHERE e.usage_seq > $1 AND e.usage_seq <= $2 AND m.aggregation = 'UNIQUE' AND e.dimensions ->> m.unique_dimension IS NOT NULL
        ON CONFLICT DO NOTHING
        RETURNING u.tenant_id, u.metric_name, u.grain, u.bucket, u.dimensions
    )
    UPDATE stormops.usage_rollups AS r SET quantity = r.quantity + f.n
    FROM (
        SELECT u.tenant_id, u.metric_name, u.grain, u.bucket, u.dimensions, count(*) AS n FROM fresh AS u GROUP BY 1, 2, 3, 4, 5
    ) AS f
    WHERE (r.tenant_id, r.metric_name, r.grain, r.bucket, r.dimensions) = (f.tenant_id, f.metric_name, f.grain, f.bucket, f.dimensions)
$$;
COMMENT ON FUNCTION stormops_internal.fold_unique(bigint, bigint) IS 'Counts the new values of UNIQUE metrics after fold_usage(), exactly.';

CREATE FUNCTION stormops_internal.raise_quota_alerts() RETURNS bigint
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH raised AS (
        INSERT INTO stormops.quota_alerts (tenant_id, metric_name, period, period_start, threshold, kind, quota, used)
        SELECT r.tenant_id, r.metric_name, r.grain, r.bucket, a.threshold, e.kind, e.quota, r.quantity
        FROM stormops_internal.every_quota() AS e
        -- This period, and the last, whose end may have been folded just now.
        CROSS JOIN LATERAL (
            SELECT date_trunc(e.period, now(), 'UTC') UNION ALL
            SELECT date_trunc(e.period, date_trunc(e.period, now(), 'UTC') - interval '1 minute', 'UTC')
        ) AS p (starts)
        CROSS JOIN (VALUES (80), (100)) AS a (threshold)
        JOIN stormops.usage_rollups AS r ON r.tenant_id = e.tenant_id AND r.metric_name = e.metric_name
            AND r.grain = e.period AND r.bucket = p.starts AND r.dimensions = '{}'
        WHERE r.quantity > 0 AND r.quantity >= e.quota * a.threshold / 100
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*) FROM raised
$$;
COMMENT ON FUNCTION stormops_internal.raise_quota_alerts() IS 'Writes to quota_alerts, once for each period, that rolled up usage of this period or the last reached 80 or 100 percent of a quota. Returns how many are new.';

CREATE FUNCTION stormops.rollup_usage(OUT events bigint, OUT buckets bigint, OUT alerts bigint, OUT watermark bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    before bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- Two at once stand in line here, and the second finds how far the first has come.
    SELECT p.watermark INTO before FROM stormops_internal.metering_progress AS p FOR UPDATE;
    SELECT greatest(before, CASE WHEN o.is_called THEN o.last_value ELSE 0 END) INTO watermark FROM stormops.usage_order AS o;
    PERFORM stormops_internal.await_writers('stormops.tenant_usage'::regclass);
    SELECT f.events, f.buckets INTO events, buckets FROM stormops_internal.fold_usage(before, watermark) AS f;
    IF events > 0 AND EXISTS (SELECT FROM stormops.metrics AS m WHERE m.aggregation = 'LATEST') THEN
        PERFORM stormops_internal.fold_latest(before, watermark);
    END IF;
    IF events > 0 AND EXISTS (SELECT FROM stormops.metrics AS m WHERE m.aggregation = 'UNIQUE') THEN
        PERFORM stormops_internal.fold_unique(before, watermark);
    END IF;
    alerts := stormops_internal.raise_quota_alerts();
    UPDATE stormops_internal.metering_progress AS p SET watermark = rollup_usage.watermark, folded_at = now();
END
$$;
COMMENT ON FUNCTION stormops.rollup_usage() IS 'Adds what was metered since the last call to usage_rollups and raises quota alerts: all or nothing, each event once. Waits for transactions that are writing usage. Returns events, buckets (rollups changed), alerts (new), watermark (see usage_watermark()). For operators and schedules. Errors: 25000 not READ COMMITTED; 55P03 lock_timeout.';

-- metering/storage.sql
-- What a tenant's rows take, metered as storage_mb.

CREATE FUNCTION stormops_internal.storage_by_tenant(OUT tenant_id uuid, OUT bytes numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    every_table text;
BEGIN
    -- One statement over all tables that hold tenants' rows, each partition for itself.
    SELECT string_agg(format(
        'SELECT tenant_id, pg_total_relation_size(%1$L::regclass) * sum(r.n) / sum(sum(r.n)) OVER () AS bytes'
        ' FROM (SELECT t.tenant_id, pg_column_size(t)::numeric AS n FROM %1$s AS t) AS r GROUP BY tenant_id',
        c.oid::regclass), ' UNION ALL ')
    INTO every_table
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind = 'r';
    RETURN QUERY EXECUTE format('SELECT tenant_id, sum(bytes) FROM (%s) AS s GROUP BY tenant_id', every_table);
END
$$;
COMMENT ON FUNCTION stormops_internal.storage_by_tenant() IS 'Bytes that each tenant''s rows take on disk. Of every table or partition the tenant has the share that pg_column_size() of its rows, out-of-line values included, has in that of all rows; times pg_total_relation_size(), that is heap, TOAST, indexes, free space and maps. So the sum over tenants is the size of the tables that have rows. Reads every row.';

CREATE FUNCTION stormops.measure_storage(OUT tenant_id uuid, OUT storage_mb numeric, OUT recorded boolean) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    key text := 'stormops:storage_mb:' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD');
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        WITH measured AS MATERIALIZED (
            SELECT s.tenant_id, round(s.bytes / 1048576, 6) AS storage_mb, stormops.new_id() AS usage_id
            FROM stormops_internal.storage_by_tenant() AS s
            JOIN stormops.tenants AS t ON t.tenant_id = s.tenant_id
            WHERE t.status <> 'closed'
        ), claimed AS (
            INSERT INTO stormops.usage_keys AS k (tenant_id, idempotency_key, usage_id, metric_name, metric_value, recorded_at)
            SELECT m.tenant_id, key, m.usage_id, 'storage_mb', m.storage_mb, now() FROM measured AS m ORDER BY m.tenant_id
            ON CONFLICT ON CONSTRAINT usage_keys_pkey DO NOTHING
            RETURNING k.usage_id
        ), written AS (
            INSERT INTO stormops.tenant_usage AS u (tenant_id, usage_id, metric_name, metric_value, idempotency_key, recorded_at)
            SELECT m.tenant_id, m.usage_id, 'storage_mb', m.storage_mb, key, now()
            FROM measured AS m JOIN claimed AS c ON c.usage_id = m.usage_id
            RETURNING u.usage_id
        )
        SELECT m.tenant_id, m.storage_mb, w.usage_id IS NOT NULL
        FROM measured AS m LEFT JOIN written AS w ON w.usage_id = m.usage_id
        ORDER BY m.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.measure_storage() IS 'Measures the storage of every tenant that is not closed, as storage_by_tenant() says, and meters it as storage_mb (MB of 1,048,576 bytes): one event a tenant and day (UTC), the first measurement. Returns tenant_id, storage_mb and recorded: false if the day was metered before. For a daily schedule.';

-- metering/usage.sql
-- Usage as tenants and operators read it: rollups, and what is not rolled up yet.

CREATE FUNCTION stormops_internal.current_usage(
    tenant_id uuid, of_metric text, grain text, starts timestamptz, ends timestamptz,
    OUT metric_name text, OUT aggregation text, OUT bucket timestamptz, OUT quantity numeric, OUT event_count bigint
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH named (names) AS (
        SELECT array_agg(m.metric_name) FROM stormops.metrics AS m WHERE m.tenant_id = $1 AND ($2 IS NULL OR m.metric_name = $2)
    ), rolled AS (
        SELECT r.metric_name, r.bucket, r.aggregation, r.quantity, r.event_count, r.latest_at, r.latest_id
        FROM stormops.usage_rollups AS r
        WHERE r.tenant_id = $1 AND r.metric_name = ANY ((SELECT n.names FROM named AS n)::text[]) AND r.grain = $3
            AND r.bucket >= $4 AND r.bucket < $5 AND r.dimensions = '{}'
    ), fresh AS (
        SELECT e.metric_name, date_trunc($3, e.recorded_at, 'UTC') AS bucket, m.aggregation,
            count(*) AS n, sum(e.metric_value) AS total, max(e.metric_value) AS peak,
            (array_agg(e.metric_value ORDER BY e.recorded_at DESC, e.usage_id DESC))[1] AS latest,
            max(e.recorded_at) AS latest_at,
            (array_agg(e.usage_id ORDER BY e.recorded_at DESC, e.usage_id DESC))[1] AS latest_id,
            count(DISTINCT e.dimensions ->> m.unique_dimension) FILTER (WHERE NOT EXISTS (
                SELECT FROM stormops.usage_unique_values AS u
                WHERE u.tenant_id = $1 AND u.metric_name = e.metric_name AND u.grain = $3
                    AND u.bucket = date_trunc($3, e.recorded_at, 'UTC') AND u.dimensions = '{}'
                    AND u.digest = sha256(convert_to(e.dimensions ->> m.unique_dimension, 'UTF8'))
            )) AS others
        FROM stormops.tenant_usage AS e
        JOIN stormops.metrics AS m ON m.tenant_id = $1 AND m.metric_name = e.metric_name
        WHERE e.tenant_id = $1 AND e.metric_name = ANY ((SELECT n.names FROM named AS n)::text[])
            AND e.recorded_at >= $4 AND e.recorded_at < $5
            AND e.usage_seq > (SELECT p.watermark FROM stormops_internal.metering_progress AS p)
        GROUP BY 1, 2, 3
    )
    SELECT metric_name, aggregation, bucket,
        CASE aggregation
            WHEN 'SUM' THEN coalesce(r.quantity, 0) + coalesce(f.total, 0)
            WHEN 'MAX' THEN greatest(r.quantity, f.peak)
            WHEN 'COUNT' THEN coalesce(r.quantity, 0) + coalesce(f.n, 0)
            WHEN 'UNIQUE' THEN coalesce(r.quantity, 0) + coalesce(f.others, 0)
            ELSE CASE WHEN r.latest_at IS NULL OR (r.latest_at, r.latest_id) < (f.latest_at, f.latest_id) THEN f.latest ELSE r.quantity END
        END,
        coalesce(r.event_count, 0) + coalesce(f.n, 0)
    FROM rolled AS r
    FULL JOIN fresh AS f USING (metric_name, aggregation, bucket)
$$;
COMMENT ON FUNCTION stormops_internal.current_usage(uuid, text, text, timestamptz, timestamptz) IS 'A tenant''s usage by hour, day or month that starts in [starts, ends), of one metric or all (NULL), with what is not rolled up yet. Columns as in usage_rollups.';

CREATE FUNCTION stormops_internal.period_usage(
    tenant_id uuid, metric_name text, grain text, starts timestamptz, OUT quantity numeric, OUT event_count bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT u.quantity, u.event_count
    FROM stormops_internal.current_usage($1, $2, $3, $4, stormops_internal.next_period($3, $4)) AS u
$$;
COMMENT ON FUNCTION stormops_internal.period_usage(uuid, text, text, timestamptz) IS 'A metric''s usage in the hour, day or month (UTC) that starts then; NULL: none.';

CREATE FUNCTION stormops.get_tenant_usage(
    tenant_id uuid DEFAULT NULL, days integer DEFAULT 30,
    OUT metric_name text, OUT unit text, OUT aggregation text, OUT total numeric, OUT count bigint, OUT series jsonb
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
    starts timestamptz;
    ends timestamptz := stormops_internal.next_period('day', date_trunc('day', now() + interval '5 minutes', 'UTC'));
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF days IS NULL OR days NOT BETWEEN 1 AND 3660 THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'days must be 1 to 3660', HINT = 'SELECT * FROM stormops.get_tenant_usage(tenant_id, 30);';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    starts := date_trunc('day', now(), 'UTC') - make_interval(hours => 24 * (days - 1));
    RETURN QUERY
        SELECT m.metric_name, m.unit, m.aggregation,
            CASE m.aggregation
                WHEN 'MAX' THEN max(u.quantity)
                WHEN 'LATEST' THEN (array_agg(u.quantity ORDER BY u.bucket DESC))[1]
                WHEN 'UNIQUE' THEN (
                    SELECT count(*) FROM (
                        SELECT v.digest FROM stormops.usage_unique_values AS v
                        WHERE v.tenant_id = target AND v.metric_name = m.metric_name AND v.grain = 'day'
                            AND v.bucket >= starts AND v.bucket < ends AND v.dimensions = '{}'
                        UNION
                        SELECT sha256(convert_to(e.dimensions ->> m.unique_dimension, 'UTF8')) FROM stormops.tenant_usage AS e
                        WHERE e.tenant_id = target AND e.metric_name = m.metric_name AND e.recorded_at >= starts AND e.recorded_at < ends
                            AND e.usage_seq > (SELECT p.watermark FROM stormops_internal.metering_progress AS p)
                            AND e.dimensions ->> m.unique_dimension IS NOT NULL
                    ) AS d)
                ELSE sum(u.quantity)
            END,
            sum(u.event_count)::bigint,
            jsonb_agg(jsonb_build_object('day', to_char(u.bucket AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'quantity', u.quantity, 'count', u.event_count)
                ORDER BY u.bucket)
        FROM stormops_internal.current_usage(target, NULL, 'day', starts, ends) AS u
        JOIN stormops.metrics AS m ON m.tenant_id = target AND m.metric_name = u.metric_name
        GROUP BY m.metric_name, m.unit, m.aggregation, m.unique_dimension
        ORDER BY m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.get_tenant_usage(uuid, integer) IS 'Usage of the last days (1 to 3660, today included, UTC), one row a metric: total (by the metric''s aggregation, in its unit), count (events), series (array of {day, quantity, count}, oldest first). Includes events not rolled up yet. tenant_id NULL: the one in context, for its admins; operators: any. Errors: 22004; 22023 days; 42501 another tenant, not an admin; P0002 no such tenant.';

-- health/aggregates.sql
-- Aggregates for judging many rules in one pass: which hashes come more than once, which groups' means lie outside limits.

CREATE FUNCTION stormops_internal.repeats_collect(state internal, hash bigint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_collect';
COMMENT ON FUNCTION stormops_internal.repeats_collect(internal, bigint) IS 'Of repeats_agg(): takes in a hash.';
CREATE FUNCTION stormops_internal.repeats_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_combine';
COMMENT ON FUNCTION stormops_internal.repeats_combine(internal, internal) IS 'Of repeats_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.repeats_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_serialize';
COMMENT ON FUNCTION stormops_internal.repeats_serialize(internal) IS 'Of repeats_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.repeats_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_deserialize';
COMMENT ON FUNCTION stormops_internal.repeats_deserialize(bytea, internal) IS 'Of repeats_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.repeats_finish(state internal) RETURNS bigint[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_finish';
COMMENT ON FUNCTION stormops_internal.repeats_finish(internal) IS 'Of repeats_agg(): sorts, and keeps what comes more than once.';

CREATE AGGREGATE stormops_internal.repeats_agg(hash bigint) (
    SFUNC = stormops_internal.repeats_collect, STYPE = internal, FINALFUNC = stormops_internal.repeats_finish,
    COMBINEFUNC = stormops_internal.repeats_combine, SERIALFUNC = stormops_internal.repeats_serialize, DESERIALFUNC = stormops_internal.repeats_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.repeats_agg(bigint) IS 'The hashes that more than one row has, each once, in ascending order. NULL does not count; never NULL itself. 8 bytes a row. Error: 53200.';

CREATE FUNCTION stormops_internal.outside_collect(state internal, member uuid, at timestamptz, value double precision, lowest double precision, highest double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_collect';
COMMENT ON FUNCTION stormops_internal.outside_collect(internal, uuid, timestamptz, double precision, double precision, double precision) IS 'Of groups_outside(): takes in a value of a group.';
CREATE FUNCTION stormops_internal.outside_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_combine';
COMMENT ON FUNCTION stormops_internal.outside_combine(internal, internal) IS 'Of groups_outside(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.outside_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_serialize';
COMMENT ON FUNCTION stormops_internal.outside_serialize(internal) IS 'Of groups_outside(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.outside_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_deserialize';
COMMENT ON FUNCTION stormops_internal.outside_deserialize(bytea, internal) IS 'Of groups_outside(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.outside_finish(state internal) RETURNS uuid[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_finish';
COMMENT ON FUNCTION stormops_internal.outside_finish(internal) IS 'Of groups_outside(): compares the means.';

CREATE AGGREGATE stormops_internal.groups_outside(member uuid, at timestamptz, value double precision, lowest double precision, highest double precision) (
    SFUNC = stormops_internal.outside_collect, STYPE = internal, FINALFUNC = stormops_internal.outside_finish,
    COMBINEFUNC = stormops_internal.outside_combine, SERIALFUNC = stormops_internal.outside_serialize, DESERIALFUNC = stormops_internal.outside_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.groups_outside(uuid, timestamptz, double precision, double precision, double precision) IS 'The groups whose mean, of all their values or of those of the last moment, lies outside lowest to highest, which are the same in all rows; in ascending order. A row with a NULL does not count; never NULL itself. Error: 53200.';

-- health/alerts.sql
-- Alerts: raised once for a condition, resolved once it was away twice. Delivering them is another
-- matter: whatever does it reads here which are open, unsilenced and changed since.

CREATE FUNCTION stormops_internal.note_findings(findings jsonb, OUT raised bigint, OUT resolved bigint)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    WITH seen AS (
        SELECT DISTINCT ON (f.tenant_id, f.key) f.*
        FROM jsonb_to_recordset(findings) AS f (tenant_id uuid, key text, issue text, severity text, failing boolean, evidence jsonb)
        WHERE f.failing
        ORDER BY f.tenant_id, f.key
    ), of_tenants AS (
        INSERT INTO stormops.alerts AS a (tenant_id, alert_id, alert_key, issue, severity, evidence)
        SELECT s.tenant_id, stormops.new_id(), s.key, s.issue, s.severity, s.evidence FROM seen AS s WHERE s.tenant_id IS NOT NULL
        ON CONFLICT (tenant_id, alert_key) WHERE resolved_at IS NULL DO UPDATE
        SET last_seen_at = now(), passes = 0, severity = EXCLUDED.severity, evidence = EXCLUDED.evidence
        RETURNING a.xmax = 0 AS new
    ), of_platform AS (
        INSERT INTO stormops_internal.platform_alerts AS a (alert_id, alert_key, issue, severity, evidence)
        SELECT stormops.new_id(), s.key, s.issue, s.severity, s.evidence FROM seen AS s WHERE s.tenant_id IS NULL
        ON CONFLICT (alert_key) WHERE resolved_at IS NULL DO UPDATE
        SET last_seen_at = now(), passes = 0, severity = EXCLUDED.severity, evidence = EXCLUDED.evidence
        RETURNING a.xmax = 0
    )
    SELECT count(*) FILTER (WHERE n.new) INTO raised FROM (SELECT * FROM of_tenants UNION ALL SELECT * FROM of_platform) AS n;
    WITH away AS (
        SELECT f.tenant_id, f.key, bool_or(coalesce(f.gone, false)) AS gone
        FROM jsonb_to_recordset(findings) AS f (tenant_id uuid, key text, failing boolean, gone boolean) WHERE NOT f.failing
        GROUP BY f.tenant_id, f.key
    ), of_tenants AS (
        UPDATE stormops.alerts AS a
        SET passes = a.passes + 1, resolved_at = CASE WHEN a.passes >= 1 OR w.gone THEN now() END
        FROM away AS w WHERE a.tenant_id = w.tenant_id AND a.alert_key = w.key AND a.resolved_at IS NULL
        RETURNING a.resolved_at
    ), of_platform AS (
        UPDATE stormops_internal.platform_alerts AS a
        SET passes = a.passes + 1, resolved_at = CASE WHEN a.passes >= 1 THEN now() END
        FROM away AS w WHERE w.tenant_id IS NULL AND a.alert_key = w.key AND a.resolved_at IS NULL
        RETURNING a.resolved_at
    )
    SELECT count(n.resolved_at) INTO resolved FROM (SELECT * FROM of_tenants UNION ALL SELECT * FROM of_platform) AS n;
END
$$;
COMMENT ON FUNCTION stormops_internal.note_findings(jsonb) IS 'The alerts'' state machine. findings: an array of {tenant_id or null for the platform, key, issue, severity, failing, evidence, gone}. A failing one raises an alert or renews the open one; one that does not fail counts as a pass, and the second in a row, or gone, resolves it. Returns how many it raised and resolved.';

CREATE FUNCTION stormops.alerts(
    include_resolved boolean DEFAULT false,
    OUT alert_id uuid, OUT tenant_id uuid, OUT issue text, OUT severity text, OUT state text, OUT evidence jsonb,
    OUT raised_at timestamptz, OUT last_seen_at timestamptz, OUT acknowledged_by text, OUT note text,
    OUT silenced_until timestamptz, OUT resolved_at timestamptz, OUT steps text[]
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    scope uuid;
BEGIN
    IF stormops_internal.has_tenant() OR NOT stormops_internal.may_monitor() THEN
        scope := stormops.current_tenant();
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT a.alert_id, a.tenant_id, a.issue, a.severity,
            CASE WHEN a.resolved_at IS NOT NULL THEN 'resolved' WHEN a.silenced_until > now() THEN 'silenced'
                WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END,
            -- Names that a tenant gave are not an operator's to read.
            CASE WHEN scope IS NULL THEN a.evidence - 'expectation' - 'storm' ELSE a.evidence END, a.raised_at, a.last_seen_at, a.acknowledged_by, a.note, a.silenced_until, a.resolved_at,
            stormops_internal.runbook_steps(a.issue)
        FROM (
            SELECT t.alert_id, t.tenant_id, t.issue, t.severity, t.evidence, t.raised_at, t.last_seen_at, t.acknowledged_at,
                t.acknowledged_by, t.note, t.silenced_until, t.resolved_at
            FROM stormops.alerts AS t WHERE scope IS NULL OR t.tenant_id = scope
            UNION ALL
            SELECT p.alert_id, NULL, p.issue, p.severity, p.evidence, p.raised_at, p.last_seen_at, p.acknowledged_at,
                p.acknowledged_by, p.note, p.silenced_until, p.resolved_at
            FROM stormops_internal.platform_alerts AS p WHERE scope IS NULL
        ) AS a
        WHERE include_resolved OR a.resolved_at IS NULL
        ORDER BY a.resolved_at IS NOT NULL, array_position(ARRAY['critical', 'warning', 'info'], a.severity), a.raised_at;
END
$$;
COMMENT ON FUNCTION stormops.alerts(boolean) IS 'The open alerts, worst first, each with the runbook''s steps; include_resolved: the others too. The tenant''s in context; for an operator or a monitor without a tenant, all tenants'' and the platform''s own (tenant_id NULL). state: open, acknowledged, silenced, resolved. Errors: 0B000.';

CREATE FUNCTION stormops_internal.touch_alert(alert_id uuid, note text, acknowledges boolean, until timestamptz) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    scope uuid;
    who text := stormops_internal.calling_role();
    touched boolean;
BEGIN
    IF stormops_internal.has_tenant() OR NOT stormops_internal.is_operator() THEN
        IF NOT stormops.may_write('crew_chief') THEN
            RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may answer alerts',
                HINT = 'SELECT * FROM stormops.alerts(); shows them.';
        END IF;
        scope := stormops.current_tenant();
        who := coalesce(stormops.current_user_id()::text, who);
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    IF note IS NOT NULL AND char_length(note) NOT BETWEEN 1 AND 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a note has 1 to 500 characters',
            HINT = 'SELECT stormops.acknowledge_alert(alert_id, ''on it'');';
    END IF;
    WITH of_tenants AS (
        UPDATE stormops.alerts AS a
        SET acknowledged_at = CASE WHEN acknowledges THEN coalesce(a.acknowledged_at, now()) ELSE a.acknowledged_at END,
            acknowledged_by = CASE WHEN acknowledges THEN coalesce(a.acknowledged_by, who) ELSE a.acknowledged_by END,
            note = coalesce(touch_alert.note, a.note), silenced_until = coalesce(until, a.silenced_until)
        WHERE a.alert_id = touch_alert.alert_id AND a.resolved_at IS NULL AND (scope IS NULL OR a.tenant_id = scope)
        RETURNING a.alert_id
    ), of_platform AS (
        UPDATE stormops_internal.platform_alerts AS a
        SET acknowledged_at = CASE WHEN acknowledges THEN coalesce(a.acknowledged_at, now()) ELSE a.acknowledged_at END,
            acknowledged_by = CASE WHEN acknowledges THEN coalesce(a.acknowledged_by, who) ELSE a.acknowledged_by END,
            note = coalesce(touch_alert.note, a.note), silenced_until = coalesce(until, a.silenced_until)
        WHERE a.alert_id = touch_alert.alert_id AND a.resolved_at IS NULL AND scope IS NULL
        RETURNING a.alert_id
    )
    SELECT count(*) > 0 INTO touched FROM (SELECT * FROM of_tenants UNION ALL SELECT * FROM of_platform) AS a;
    IF NOT touched THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN alert_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('alert %s is not open', coalesce(alert_id::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.alerts(); shows the open ones.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.touch_alert(uuid, text, boolean, timestamptz) IS 'Writes an answer to an open alert. Errors as acknowledge_alert().';

CREATE FUNCTION stormops.acknowledge_alert(alert_id uuid, note text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN PERFORM stormops_internal.touch_alert(alert_id, note, true, NULL); END $$;
COMMENT ON FUNCTION stormops.acknowledge_alert(uuid, text) IS 'Says that somebody has taken an open alert on; the first to say so stays named. For crew_chiefs and admins of the tenant in context; for operators any, the platform''s too. Errors: 0B000; 22004; 22023 note; 42501; 55000 suspended; P0002 no such open alert.';

CREATE FUNCTION stormops.silence_alert(alert_id uuid, until timestamptz, note text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF until IS NULL OR NOT isfinite(until) OR until > now() + interval '90 days' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN until IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'an alert is silenced until a moment within ninety days',
            HINT = 'SELECT stormops.silence_alert(alert_id, now() + interval ''2 hours''); a moment past ends a silence.';
    END IF;
    PERFORM stormops_internal.touch_alert(alert_id, note, false, until);
END
$$;
COMMENT ON FUNCTION stormops.silence_alert(uuid, timestamptz, text) IS 'Lets nobody be told of an open alert until then, at most ninety days; a moment past ends it. It still resolves by itself. For whom, and errors, as acknowledge_alert().';

-- health/checks.sql
-- The run over all that is due: what is claimed in due.sql is judged in judging.sql, told in verdicts.sql and findings.sql.

CREATE FUNCTION stormops_internal.tenant_to_check() RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT stormops_internal.has_tenant() AND stormops_internal.is_operator() THEN
        RETURN NULL;
    ELSIF stormops_internal.has_tenant() AND NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may run health checks',
            HINT = 'SELECT * FROM stormops.check_table_health(''lead_uplift''); writes nothing.';
    END IF;
    RETURN stormops.current_tenant(); -- or says that there is none
END
$$;
COMMENT ON FUNCTION stormops_internal.tenant_to_check() IS 'Whose expectations a run is about: the tenant''s in context; NULL, all, of an operator without one. Errors: 0B000; 42501; 55000 suspended.';

CREATE FUNCTION stormops_internal.begin_watch(complete boolean) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    watched_since timestamptz;
BEGIN
    SELECT p.reached_at - interval '10 minutes' INTO watched_since FROM stormops_internal.health_progress AS p WHERE p.task = 'storms' AND NOT complete;
    INSERT INTO stormops_internal.health_progress AS p (task, reached_at) VALUES ('storms', now())
    ON CONFLICT ON CONSTRAINT health_progress_pkey DO UPDATE SET reached_at = EXCLUDED.reached_at;
    RETURN coalesce(watched_since, '-infinity');
END
$$;
COMMENT ON FUNCTION stormops_internal.begin_watch(boolean) IS 'From when on a run of the platform looks for storms to which something came: the last run, less ten minutes for transactions that were still open. The next one looks from now on.';

CREATE FUNCTION stormops_internal.judge_all_due(
    complete boolean, system_issues jsonb,
    OUT tenants bigint, OUT judged bigint, OUT failed bigint, OUT rows_judged bigint, OUT rows_failing bigint,
    OUT objective_missed bigint, OUT alerts_raised bigint, OUT alerts_resolved bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    scope uuid;
    due stormops_internal.due_expectation[];
    judgements stormops_internal.judgement[];
    findings jsonb;
    watched_since timestamptz := '-infinity';
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN; -- a standby has nothing to say
    END IF;
    scope := stormops_internal.tenant_to_check();
    PERFORM stormops_internal.visit_all_tenants();
    IF scope IS NULL THEN
        PERFORM stormops.fold_row_counts(); -- where two runs stand in line
        watched_since := stormops_internal.begin_watch(complete);
    END IF;
    due := stormops_internal.claim_due(scope, complete);
    IF scope IS NULL THEN
        due := due || stormops_internal.due_bands(watched_since, (
            SELECT max(d.place) FROM unnest(due) AS d WHERE d.table_name = 'lead_uplift' AND stormops_internal.is_about_rows(d.rule)));
    END IF;
    judgements := ARRAY(SELECT r FROM stormops_internal.judge_rows(due) AS r);
    SELECT v.* INTO tenants, judged, failed, rows_judged, rows_failing, findings
    FROM stormops_internal.write_verdicts(due, judgements) AS v;
    SELECT f.* INTO findings, objective_missed
    FROM stormops_internal.gather_findings(scope, watched_since, findings, system_issues,
        ARRAY(SELECT g FROM unnest(judgements) AS r CROSS JOIN unnest(r.groups) AS g WHERE r.expectation_id IS NULL)) AS f;
    SELECT n.raised, n.resolved INTO alerts_raised, alerts_resolved FROM stormops_internal.note_findings(findings) AS n;
END
$$;
COMMENT ON FUNCTION stormops_internal.judge_all_due(boolean, jsonb) IS 'Of run_health_checks(): all but the look at the server, whose issues (as get_system_health() has them) come from the caller. Errors as there.';

CREATE FUNCTION stormops.run_health_checks(
    complete boolean DEFAULT false,
    OUT tenants bigint, OUT judged bigint, OUT failed bigint, OUT rows_judged bigint, OUT rows_failing bigint,
    OUT objective_missed bigint, OUT alerts_raised bigint, OUT alerts_resolved bigint
)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    system_issues jsonb;
BEGIN
    -- As the caller, who may see more of the server's statistics than the tables' owner does.
    IF NOT stormops_internal.has_tenant() AND stormops_internal.may_monitor() THEN
        SELECT h.issues INTO system_issues FROM stormops.get_system_health(slow => false) AS h;
    END IF;
    SELECT j.* INTO tenants, judged, failed, rows_judged, rows_failing, objective_missed, alerts_raised, alerts_resolved
    FROM stormops_internal.judge_all_due(coalesce(complete, false), coalesce(system_issues, '[]')) AS j;
END
$$;
COMMENT ON FUNCTION stormops.run_health_checks(boolean) IS 'Judges the expectations that are due: of all active tenants for an operator, else of the tenant in context. Writes data_quality_metrics and alerts; metered as health_check. complete => true: all rows of all expectations. Returns one row of counts, all NULL on a standby. Errors: 0B000 no tenant; 42501 not allowed; 53400 the tenant''s hard quota of health_check; 55000 suspended.';

-- health/counts.sql
-- How many rows each tenant has, kept by triggers: exact in every snapshot, and read without a
-- look at the rows. A statement leaves one delta for each tenant and table that it wrote.

CREATE FUNCTION stormops_internal.count_rows() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- A restore of rows alone, which sets row_security off, brings the counts too. It is a superuser's.
    IF current_setting('row_security') = 'off' THEN
        PERFORM FROM pg_roles AS r WHERE r.rolname = stormops_internal.calling_role() AND r.rolsuper;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    IF TG_OP = 'INSERT' THEN
        INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted, took_ms)
        SELECT r.tenant_id, TG_TABLE_NAME, stormops.new_id(), count(*), 0,
            greatest(0, extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000)
        FROM changed_rows AS r GROUP BY r.tenant_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted)
        SELECT r.tenant_id, TG_TABLE_NAME, stormops.new_id(), 0, count(*) FROM changed_rows AS r GROUP BY r.tenant_id;
    ELSE
        LOCK TABLE stormops.row_counts IN SHARE UPDATE EXCLUSIVE MODE; -- or a fold under way would bring back what is deleted here
        DELETE FROM stormops.row_count_deltas AS d WHERE d.table_name = TG_TABLE_NAME;
        DELETE FROM stormops.row_counts AS c WHERE c.table_name = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.count_rows() IS 'Trigger: counts what a statement added, took away or truncated, for each tenant.';

CREATE FUNCTION stormops_internal.count_bucket(happened_at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE
        WHEN $1 >= date_trunc('hour', now(), 'UTC') - interval '48 hours' THEN date_trunc('hour', $1, 'UTC')
        WHEN $1 >= date_trunc('day', now(), 'UTC') - interval '60 days' THEN date_trunc('day', $1, 'UTC')
        ELSE timestamptz '1970-01-01 00:00:00+00'
    END
$$;
COMMENT ON FUNCTION stormops_internal.count_bucket(timestamptz) IS 'The bucket of row_counts that a moment belongs to as of now: its hour, its day, or all that was before.';

CREATE FUNCTION stormops.fold_row_counts() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    folded bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    -- Two at once stand in line; the second finds nothing left. Writers and readers wait for neither.
    LOCK TABLE stormops.row_counts IN SHARE UPDATE EXCLUSIVE MODE;
    WITH taken AS (
        DELETE FROM stormops.row_count_deltas AS d
        RETURNING d.tenant_id, d.table_name, d.happened_at, d.inserted, d.deleted, d.took_ms
    ), moved AS (
        -- What has grown too old for its bucket.
        DELETE FROM stormops.row_counts AS c WHERE c.bucket <> stormops_internal.count_bucket(c.bucket)
        RETURNING c.tenant_id, c.table_name, c.bucket, c.inserted, c.deleted, c.last_at
    ), timed AS (
        INSERT INTO stormops.call_durations AS d (tenant_id, table_name, day, class, calls)
        SELECT t.tenant_id, t.table_name, (t.happened_at AT TIME ZONE 'UTC')::date,
            stormops_internal.duration_class(t.took_ms), count(*)
        FROM taken AS t WHERE t.took_ms IS NOT NULL
        GROUP BY 1, 2, 3, 4
        ON CONFLICT ON CONSTRAINT call_durations_pkey DO UPDATE SET calls = d.calls + EXCLUDED.calls
    ), summed AS (
        INSERT INTO stormops.row_counts AS c (tenant_id, table_name, bucket, inserted, deleted, last_at)
        SELECT b.tenant_id, b.table_name, stormops_internal.count_bucket(b.bucket), sum(b.inserted), sum(b.deleted), max(b.last_at)
        FROM (
            SELECT t.tenant_id, t.table_name, t.happened_at AS bucket, t.inserted, t.deleted,
                CASE WHEN t.inserted > 0 THEN t.happened_at END AS last_at
            FROM taken AS t
            UNION ALL
            SELECT m.* FROM moved AS m
        ) AS b
        GROUP BY 1, 2, 3
        ON CONFLICT ON CONSTRAINT row_counts_pkey DO UPDATE
        SET inserted = c.inserted + EXCLUDED.inserted, deleted = c.deleted + EXCLUDED.deleted,
            last_at = greatest(c.last_at, EXCLUDED.last_at)
    )
    SELECT count(*) INTO folded FROM taken;
    DELETE FROM stormops.call_durations AS d WHERE d.day < current_date - 60;
    RETURN folded;
END
$$;
COMMENT ON FUNCTION stormops.fold_row_counts() IS 'Adds the deltas of all tenants to row_counts and call_durations; returns how many there were. Part of run_health_checks(); the counts are the same before and after.';

CREATE FUNCTION stormops_internal.duration_class(milliseconds numeric) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN $1 <= 0.001 THEN 0 ELSE least(240, ceil(20 * log($1 * 1000))) END::smallint $$;
COMMENT ON FUNCTION stormops_internal.duration_class(numeric) IS 'The class of call_durations that a time in milliseconds falls into.';

CREATE FUNCTION stormops_internal.counted_table(
    name text, OUT table_name text, OUT time_column text, OUT natural_key text[], OUT parents jsonb, OUT call text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    SELECT t.table_name, t.time_column, t.natural_key, t.parents, t.call INTO table_name, time_column, natural_key, parents, call
    FROM stormops.counted_tables() AS t WHERE t.table_name = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN $1 IS NULL THEN 'null_value_not_allowed' ELSE 'undefined_object' END,
            MESSAGE = format('"%s" is not a table whose health is watched', left($1, 63)),
            HINT = format('The tables are %s.', (SELECT string_agg(t.table_name, ', ') FROM stormops.counted_tables() AS t));
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.counted_table(text) IS 'A row of counted_tables(). Errors: 22004; 42704 no such row.';

CREATE FUNCTION stormops_internal.tenant_row_counts(
    OUT tenant_id uuid, OUT table_name text, OUT total_rows bigint, OUT recent_rows_24h bigint, OUT last_at timestamptz
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT b.tenant_id, b.table_name, sum(b.inserted - b.deleted)::bigint,
        coalesce(sum(b.inserted) FILTER (WHERE b.happened_at >= b.since), 0)::bigint, max(b.last_at)
    FROM (
        SELECT c.tenant_id, c.table_name, c.inserted, c.deleted, c.bucket AS happened_at, c.last_at,
            date_trunc('hour', now() - interval '24 hours', 'UTC') AS since
        FROM stormops.row_counts AS c
        UNION ALL
        SELECT d.tenant_id, d.table_name, d.inserted, d.deleted, d.happened_at,
            CASE WHEN d.inserted > 0 THEN d.happened_at END,
            date_trunc('hour', now() - interval '24 hours', 'UTC')
        FROM stormops.row_count_deltas AS d
    ) AS b
    GROUP BY b.tenant_id, b.table_name
$$;
COMMENT ON FUNCTION stormops_internal.tenant_row_counts() IS 'Rows by tenant and table, exact in the caller''s snapshot. recent_rows_24h: added since the beginning of the hour 24 hours ago. Shows the rows that the caller may see.';

-- health/dashboard.sql
-- How a storm is doing, for a person: what is wrong, since when, how bad, what to do. Readers: they
-- run as the caller, under row security, write nothing and work on a standby.

CREATE FUNCTION stormops_internal.storm_measures(
    storm_id uuid, OUT uplift jsonb, OUT lift jsonb, OUT funnel jsonb, OUT scores stormops.score_sketch, OUT model_version text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    latest record;
BEGIN
    SELECT s.* INTO latest FROM stormops_internal.storm_scores(storm_id) AS s;
    scores := latest.scores;
    model_version := latest.model_version;
    uplift := stormops_internal.score_measures(stormops.current_tenant(), scores, model_version);
    SELECT to_jsonb(r) INTO lift FROM stormops.check_conversion_rates(storm_id) AS r;
    SELECT jsonb_build_object('scored', uplift -> 'n', 'treat', r.treat, 'hold', r.hold, 'excluded', r.excluded, 'policy_mode', r.policy_mode,
        'decided_at', r.decided_at, 'treated_converted', lift -> 'treated_converted', 'control_converted', lift -> 'control_converted')
    INTO funnel
    FROM (SELECT) AS one LEFT JOIN stormops.policy_runs AS r
        ON r.tenant_id = stormops.current_tenant() AND r.storm_id = storm_measures.storm_id AND r.superseded_at IS NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.storm_measures(uuid) IS 'A storm''s scores (score_measures()), its conversion rates (as check_conversion_rates()) and its funnel, as JSON; and the scores themselves with their model.';

CREATE FUNCTION stormops_internal.tenant_issues(OUT issue text, OUT severity text, OUT subject text, OUT since timestamptz, OUT evidence jsonb) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT a.issue, a.severity, a.alert_key, a.raised_at, a.evidence
    FROM stormops.alerts AS a
    WHERE a.tenant_id = stormops.current_tenant() AND a.resolved_at IS NULL AND NOT a.evidence ? 'storm_id'
    UNION ALL
    -- The fixed rule: of tables that are fed all the time. Between storms little comes, so it only informs.
    SELECT 'volume_drop', 'info', c.table_name, c.last_at,
        jsonb_build_object('table', c.table_name, 'total_rows', c.total_rows, 'recent_rows_24h', c.recent_rows_24h, 'expected', 'recent at least 10 % of total')
    FROM stormops_internal.tenant_row_counts() AS c
    WHERE c.tenant_id = stormops.current_tenant() AND c.table_name IN ('lead_uplift', 'customer_journeys', 'tenant_usage')
        AND c.total_rows > 0 AND c.recent_rows_24h < 0.1 * c.total_rows
$$;
COMMENT ON FUNCTION stormops_internal.tenant_issues() IS 'What is wrong with the data of the tenant in context: its open alerts that are about no storm, and tables of which fewer than 10 % of the rows came in the last 24 hours.';

CREATE FUNCTION stormops_internal.dashboard_of(
    storm_id uuid, OUT dashboard jsonb, OUT scores stormops.score_sketch, OUT model_version text
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    storm record;
    measures record;
    issues jsonb;
    worst text;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT s.name, s.status, s.created_at INTO storm FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = dashboard_of.storm_id;
    SELECT m.* INTO measures FROM stormops_internal.storm_measures(storm_id) AS m;
    scores := measures.scores;
    model_version := measures.model_version;
    SELECT jsonb_agg(jsonb_build_object('issue', i.issue, 'severity', i.severity, 'since', i.since, 'evidence', i.evidence,
            'steps', (SELECT jsonb_agg(r.action ORDER BY r.step) FROM stormops.runbook(i.issue) AS r))
            ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.since),
        CASE WHEN bool_or(i.severity = 'critical') THEN 'critical' WHEN bool_or(i.severity = 'warning') THEN 'degraded' ELSE 'healthy' END
    INTO issues, worst
    FROM (
        SELECT s.issue, s.severity, s.evidence,
            -- Since it was first seen; if no check has run yet, since what it rests on was there.
            coalesce((SELECT a.raised_at FROM stormops.alerts AS a
                WHERE a.tenant_id = stormops.current_tenant() AND a.alert_key = s.issue || ':' || s.subject AND a.resolved_at IS NULL),
                CASE WHEN s.issue IN ('low_lift', 'no_outcomes', 'no_control') THEN (measures.funnel ->> 'decided_at')::timestamptz END,
                CASE WHEN s.issue IN ('uplift_drift', 'no_policy') THEN (
                    SELECT l.scored_at FROM stormops.lead_uplift AS l
                    WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = dashboard_of.storm_id
                    ORDER BY l.property_id LIMIT 1) END,
                storm.created_at) AS since
        FROM stormops_internal.storm_issues(storm_id, measures.uplift, measures.lift) AS s
        UNION ALL
        SELECT t.issue, t.severity, t.evidence, t.since FROM stormops_internal.tenant_issues() AS t
    ) AS i;
    dashboard := jsonb_build_object(
        'storm_id', storm_id, 'storm', storm.name, 'storm_status', storm.status, 'checked_at', now(),
        'health_status', coalesce(worst, 'healthy'), 'issues', coalesce(issues, '[]'),
        'funnel', measures.funnel, 'uplift', measures.uplift, 'conversion', measures.lift,
        'tables', coalesce((SELECT jsonb_object_agg(c.table_name, jsonb_build_object('total_rows', c.total_rows,
            'recent_rows_24h', c.recent_rows_24h, 'last_row_at', c.last_at))
            FROM stormops_internal.tenant_row_counts() AS c WHERE c.tenant_id = stormops.current_tenant()), '{}'),
        'data_quality', coalesce((SELECT to_jsonb(o) - 'tenant_id' FROM stormops_internal.quality_objective(stormops.current_tenant()) AS o),
            '{"met": null, "rows_judged": 0}'),
        'expectations', (SELECT jsonb_build_object('active', count(*), 'failing', count(*) FILTER (WHERE e.judged_status = 'failed'),
            'last_judged_at', max(e.judged_at)) FROM stormops.expectations AS e WHERE e.tenant_id = stormops.current_tenant() AND e.active));
END
$$;
COMMENT ON FUNCTION stormops_internal.dashboard_of(uuid) IS 'get_health_dashboard() as dashboard, and the storm''s scores with their model. Errors as there.';

CREATE FUNCTION stormops.get_health_dashboard(storm_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT d.dashboard FROM stormops_internal.dashboard_of($1) AS d $$;
COMMENT ON FUNCTION stormops.get_health_dashboard(uuid) IS 'How a storm is doing, as a JSON object: health_status (healthy, degraded, critical), issues (the worst first; each with issue, severity, since, evidence, steps), funnel, uplift, conversion, tables, data_quality, expectations. Errors: 0B000 no tenant; 22004; P0002 no such storm in this tenant.';

CREATE FUNCTION stormops_internal.sparkline(counts numeric[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT string_agg(CASE WHEN v.n IS NULL THEN ' '
        ELSE substr('▁▂▃▄▅▆▇█', 1 + CASE WHEN v.top > 0 THEN floor(7 * greatest(v.n, 0) / v.top) ELSE 0 END::integer, 1) END, '' ORDER BY v.place)
    FROM (SELECT u.n, u.place, max(u.n) OVER () AS top FROM unnest($1) WITH ORDINALITY AS u (n, place)) AS v
$$;
COMMENT ON FUNCTION stormops_internal.sparkline(numeric[]) IS 'A line of blocks, one for each number, the highest for the greatest; a blank for NULL.';

CREATE FUNCTION stormops.health_summary(
    storm_id uuid, OUT what text, OUT value text, OUT status text, OUT trend text, OUT next_step text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH d AS MATERIALIZED (
        SELECT stormops.get_health_dashboard($1) AS j
    ), days AS (
        SELECT c.table_name, g.day, coalesce(sum(c.inserted), 0) AS inserted
        FROM (SELECT (now() AT TIME ZONE 'UTC')::date - n AS day FROM generate_series(0, 13) AS n) AS g
        JOIN (
            SELECT r.table_name, (r.bucket AT TIME ZONE 'UTC')::date AS day, r.inserted FROM stormops.row_counts AS r
            WHERE r.tenant_id = stormops.current_tenant()
            UNION ALL
            SELECT r.table_name, (r.happened_at AT TIME ZONE 'UTC')::date, r.inserted FROM stormops.row_count_deltas AS r
            WHERE r.tenant_id = stormops.current_tenant()
        ) AS c ON c.day = g.day
        GROUP BY c.table_name, g.day
    ), trends AS (
        SELECT t.table_name, stormops_internal.sparkline(array_agg(coalesce(y.inserted, 0) ORDER BY g.n DESC)) AS trend
        FROM (SELECT DISTINCT x.table_name FROM days AS x) AS t CROSS JOIN generate_series(0, 13) AS g (n)
        LEFT JOIN days AS y ON y.table_name = t.table_name AND y.day = (now() AT TIME ZONE 'UTC')::date - g.n
        GROUP BY t.table_name
    )
    SELECT l.what, l.value, l.status, l.trend, l.next_step
    FROM (
        SELECT 1 AS part, 0::bigint AS place, 'storm' AS what, d.j ->> 'storm' AS value, d.j ->> 'health_status' AS status,
            NULL AS trend, NULL AS next_step FROM d
        UNION ALL
        SELECT 2, 1, 'scored', d.j #>> '{funnel,scored}', NULL, NULL, NULL FROM d
        UNION ALL
        SELECT 2, 2, 'treat / hold / excluded', concat_ws(' / ', d.j #>> '{funnel,treat}', d.j #>> '{funnel,hold}', d.j #>> '{funnel,excluded}'), NULL, NULL, NULL
        FROM d WHERE d.j #>> '{funnel,treat}' IS NOT NULL
        UNION ALL
        SELECT 2, 3, 'uplift, mean', to_char((d.j #>> '{uplift,mean}')::numeric, 'FM0.000'),
            CASE WHEN (d.j #>> '{uplift,mean_out_of_band}')::boolean THEN 'out of 0.10 to 0.30' ELSE 'ok' END,
            stormops_internal.sparkline(ARRAY(SELECT 1 + (d.j #>> ARRAY['uplift', q])::numeric FROM unnest('{q05,q25,median,q75,q95}'::text[]) AS q)), NULL
        FROM d WHERE (d.j #>> '{uplift,n}')::bigint > 0
        UNION ALL
        SELECT 2, 4, 'lift', to_char((d.j #>> '{conversion,lift}')::numeric, 'FM0.000') || format(' (%s to %s)',
            to_char((d.j #>> '{conversion,lift_low}')::numeric, 'FM0.000'), to_char((d.j #>> '{conversion,lift_high}')::numeric, 'FM0.000')),
            d.j #>> '{conversion,verdict}', NULL, NULL
        FROM d WHERE d.j #>> '{conversion,lift}' IS NOT NULL
        UNION ALL
        SELECT 3, row_number() OVER (ORDER BY t.key), t.key, format('%s rows, %s recent', t.value ->> 'total_rows', t.value ->> 'recent_rows_24h'),
            NULL, s.trend, NULL
        FROM d CROSS JOIN LATERAL jsonb_each(d.j -> 'tables') AS t LEFT JOIN trends AS s ON s.table_name = t.key
        UNION ALL
        SELECT 4, i.place, 'issue', i.issue ->> 'issue', i.issue ->> 'severity', NULL, i.issue #>> '{steps,0}'
        FROM d CROSS JOIN LATERAL jsonb_array_elements(d.j -> 'issues') WITH ORDINALITY AS i (issue, place)
    ) AS l
    ORDER BY l.part, l.place
$$;
COMMENT ON FUNCTION stormops.health_summary(uuid) IS 'The dashboard as rows for psql: what, value, status, trend (rows that came on each of the last fourteen days, UTC; for uplift its quantiles), next_step of an issue. Errors as get_health_dashboard().';

-- health/delivery.sql
-- Alerts on their way out. A message is made once for each alert, route and event, and tried until
-- it arrives or is given up: at least once, with a key by which the receiver tells repetitions.

CREATE FUNCTION stormops_internal.egress_refusal(address text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'egress_refusal_wrapper';
COMMENT ON FUNCTION stormops_internal.egress_refusal(text) IS 'Why alerts cannot be sent to an address; NULL if they can, as far as its text tells: an https URL of at most 2000 bytes without user or password, to a host of stormops.egress_hosts if there are any.';

CREATE FUNCTION stormops_internal.post_alert(kind text, address text, secret text, alert jsonb, timeout_ms integer) RETURNS TABLE (
    outcome text, status integer, retry_after bigint, detail text
)
    LANGUAGE c VOLATILE STRICT
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'post_alert_wrapper';
COMMENT ON FUNCTION stormops_internal.post_alert(text, text, text, jsonb, integer) IS 'Sends one alert and waits at most timeout_ms, 1 to 60000. kind: pagerduty (Events API v2; secret: the routing key; empty address: its own), slack (incoming webhook; the address is the secret), webhook (signed as Standard Webhooks says with HMAC-SHA256). outcome: delivered, retry (retry_after: seconds the server asked for), dead (can never succeed); detail never holds the address, the secret or an answer. Connects to public addresses only, and to stormops.egress_networks.';

CREATE FUNCTION stormops_internal.event_rank(event text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT array_position(ARRAY['trigger', 'escalate', 'acknowledge', 'resolve'], $1) $$;
COMMENT ON FUNCTION stormops_internal.event_rank(text) IS 'trigger 1, escalate 2, acknowledge 3, resolve 4: the order in which a route is told.';

CREATE FUNCTION stormops_internal.queue_alerts() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    queued bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    -- One at a time makes messages; who comes meanwhile need not wait until those are sent.
    INSERT INTO stormops_internal.health_progress (task, reached_at) SELECT 'messages', now()
    WHERE NOT EXISTS (SELECT FROM stormops_internal.health_progress AS p WHERE p.task = 'messages')
    ON CONFLICT ON CONSTRAINT health_progress_pkey DO NOTHING;
    PERFORM FROM stormops_internal.health_progress AS p WHERE p.task = 'messages' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- Health checks raise the other alerts; that they did not come, or failed, nobody else would tell.
    PERFORM stormops_internal.note_findings(jsonb_agg(jsonb_build_object('tenant_id', NULL, 'key', f.issue, 'issue', f.issue, 'severity', f.severity,
        'failing', true, 'evidence', jsonb_build_object('jobs', s.job, 'detail', s.detail))))
    FROM stormops.schedules() AS s
    JOIN (VALUES ('schedule_missed', 'critical'), ('schedule_failed', 'warning')) AS f (issue, severity)
        ON f.issue = CASE WHEN s.missed THEN 'schedule_missed' WHEN s.outcome = 'failed' THEN 'schedule_failed' END
    WHERE s.job = 'health_checks'
    HAVING count(*) > 0;
    -- What a route should have been told by now: of an open alert the trigger, and that it has become worse, unless
    -- somebody has it in hand or wants no noise; the rest only where the trigger was told.
    INSERT INTO stormops_internal.alert_deliveries (delivery_id, route_id, for_tenant, alert_id, event, message)
    -- The same id again, should this be taken back after the message was sent.
    SELECT substr(encode(sha256(format('%s %s %s', r.route_id, a.alert_id, e.event)::bytea), 'hex'), 1, 32)::uuid,
        r.route_id, a.tenant_id, a.alert_id, e.event, jsonb_build_object(
        'dedup_key', a.alert_id, 'event', e.event, 'severity', a.severity, 'issue', a.issue,
        'summary', format('%s: %s', a.source, replace(a.issue, '_', ' '))
            || coalesce(' (' || coalesce(a.evidence ->> 'storm', a.evidence ->> 'table', a.evidence ->> 'metric', a.evidence ->> 'jobs') || ')', ''),
        'source', a.source, 'since', to_char(a.raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'details', a.evidence,
        'steps', stormops_internal.runbook_steps(a.issue) || ARRAY(SELECT s.action FROM stormops.runbook_steps AS s
                                                          WHERE s.tenant_id = a.tenant_id AND s.issue = a.issue ORDER BY s.step))
    FROM (
        SELECT a.tenant_id, t.org_name AS source, a.alert_id, a.issue, a.severity, a.evidence, a.raised_at,
            a.acknowledged_at, a.silenced_until, a.resolved_at
        FROM stormops.alerts AS a JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        UNION ALL
        SELECT NULL, format('StormOps, database %s', current_database()), p.alert_id, p.issue, p.severity, p.evidence, p.raised_at,
            p.acknowledged_at, p.silenced_until, p.resolved_at
        FROM stormops_internal.platform_alerts AS p
    ) AS a
    JOIN stormops_internal.alert_routes AS r ON r.for_tenant IS NOT DISTINCT FROM a.tenant_id
    CROSS JOIN LATERAL (
        SELECT k.event
        FROM (VALUES ('trigger', true), ('escalate', EXISTS (
            SELECT FROM stormops_internal.alert_deliveries AS d
            WHERE d.route_id = r.route_id AND d.alert_id = a.alert_id AND d.event = 'trigger'
                AND stormops_internal.severity_rank(d.message ->> 'severity') < stormops_internal.severity_rank(a.severity)
        ))) AS k (event, due)
        WHERE k.due AND a.resolved_at IS NULL AND a.acknowledged_at IS NULL AND coalesce(a.silenced_until <= now(), true)
            AND stormops_internal.severity_rank(a.severity) >= stormops_internal.severity_rank(r.min_severity)
        UNION ALL
        -- However mild it has become since.
        SELECT k.event
        FROM (VALUES ('acknowledge', a.acknowledged_at), ('resolve', a.resolved_at)) AS k (event, at)
        WHERE k.at IS NOT NULL AND EXISTS (
            SELECT FROM stormops_internal.alert_deliveries AS d
            WHERE d.route_id = r.route_id AND d.alert_id = a.alert_id AND d.event = 'trigger'
        )
    ) AS e
    WHERE a.resolved_at IS NULL OR a.resolved_at > now() - interval '7 days'
    ON CONFLICT (route_id, alert_id, event) DO NOTHING;
    GET DIAGNOSTICS queued = ROW_COUNT;
    -- A route that is gone takes what it was to say with it.
    UPDATE stormops_internal.alert_deliveries AS d SET state = 'dead', last_detail = 'the route was removed'
    WHERE d.state = 'pending' AND NOT EXISTS (SELECT FROM stormops_internal.alert_routes AS r WHERE r.route_id = d.route_id);
    RETURN queued;
END
$$;
COMMENT ON FUNCTION stormops_internal.queue_alerts() IS 'Makes the messages that are due: trigger, escalate, acknowledge and resolve of each alert for each of its routes, each once. Returns how many: none while another call makes them.';

CREATE FUNCTION stormops.deliver_alerts(
    most integer DEFAULT 100, timeout interval DEFAULT '5 seconds',
    OUT queued bigint, OUT delivered bigint, OUT retried bigint, OUT dead bigint, OUT pending bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    d record; -- what is due
    answer record;
    most_attempts constant integer := 10;
    stop_at timestamptz := clock_timestamp() + interval '30 seconds';
    tried_at timestamptz;
    waited jsonb := '{}'; -- for each tenant's receivers, seconds
    slow uuid[] := '{}'; -- tenants for whom this call has waited enough
BEGIN
    IF most IS NULL OR most NOT BETWEEN 1 AND 10000 OR timeout IS NULL OR timeout NOT BETWEEN interval '0.1 s' AND interval '30 s' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'most is 1 to 10000, and timeout 0.1 to 30 seconds',
            HINT = 'SELECT * FROM stormops.deliver_alerts();';
    END IF;
    delivered := 0;
    retried := 0;
    dead := 0;
    IF pg_is_in_recovery() THEN
        queued := 0;
        pending := 0;
        RETURN; -- the primary delivers
    END IF;
    queued := stormops_internal.queue_alerts();
    -- One at a time and not for long, so that this transaction stays short; who calls at the same
    -- time takes others.
    WHILE most > 0 AND clock_timestamp() < stop_at LOOP
        SELECT x.delivery_id, x.for_tenant, x.attempts, x.message, r.kind, r.address, r.secret INTO d
        FROM stormops_internal.alert_deliveries AS x JOIN stormops_internal.alert_routes AS r ON r.route_id = x.route_id
        WHERE x.state = 'pending' AND x.next_attempt_at <= clock_timestamp()
            -- The rest of a slow tenant's waits for the next call, and everybody else's does not.
            AND coalesce(x.for_tenant <> ALL (slow), true)
            -- In the order of the alert's life: no resolve overtakes its trigger.
            AND NOT EXISTS (
                SELECT FROM stormops_internal.alert_deliveries AS earlier
                WHERE earlier.route_id = x.route_id AND earlier.alert_id = x.alert_id AND earlier.state = 'pending'
                    AND stormops_internal.event_rank(earlier.event) < stormops_internal.event_rank(x.event)
            )
        -- What was never tried goes first: receivers that do not answer hold up nobody else's news.
        ORDER BY x.attempts > 0, x.next_attempt_at LIMIT 1
        FOR UPDATE OF x SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        most := most - 1;
        tried_at := clock_timestamp();
        SELECT p.* INTO answer FROM stormops_internal.post_alert(d.kind, d.address, d.secret,
            d.message || jsonb_build_object('message_id', d.delivery_id), (extract(epoch FROM timeout) * 1000)::integer) AS p;
        IF d.for_tenant IS NOT NULL THEN
            waited := waited || jsonb_build_object(d.for_tenant,
                coalesce((waited ->> d.for_tenant::text)::numeric, 0) + extract(epoch FROM clock_timestamp() - tried_at));
            IF (waited ->> d.for_tenant::text)::numeric > 3 THEN
                slow := slow || d.for_tenant;
            END IF;
        END IF;
        IF answer.outcome = 'retry' AND d.attempts + 1 >= most_attempts THEN
            answer.outcome := 'dead';
        END IF;
        UPDATE stormops_internal.alert_deliveries AS x
        SET state = CASE answer.outcome WHEN 'retry' THEN 'pending' ELSE answer.outcome END,
            attempts = x.attempts + 1, last_attempt_at = clock_timestamp(), last_status = answer.status, last_detail = answer.detail,
            -- Twice as long each time, from half a minute up to an hour, not all at the same moment;
            -- and no sooner than the receiver asked for.
            next_attempt_at = clock_timestamp() + greatest(make_interval(secs => answer.retry_after),
                least(interval '1 hour', interval '30 seconds' * 2 ^ d.attempts) * (0.75 + random() / 4))
        WHERE x.delivery_id = d.delivery_id;
        CASE answer.outcome
            WHEN 'delivered' THEN delivered := delivered + 1;
            WHEN 'dead' THEN dead := dead + 1;
            ELSE retried := retried + 1;
        END CASE;
    END LOOP;
    SELECT count(*) INTO pending FROM stormops_internal.alert_deliveries AS x WHERE x.state = 'pending';
END
$$;
COMMENT ON FUNCTION stormops.deliver_alerts(integer, interval) IS 'Sends the alerts that are due, at least once each, for up to 30 seconds. timeout: for one message, 0.1 to 30 s. Returns queued, delivered, retried, dead (given up), pending. Calls at the same time share the work. Does nothing on a standby. For operators and schedules. Error: 22023 an argument.';

CREATE FUNCTION stormops.alert_deliveries(
    tenant_id uuid DEFAULT NULL,
    OUT alert_id uuid, OUT route text, OUT event text, OUT issue text, OUT state text, OUT attempts integer,
    OUT next_attempt_at timestamptz, OUT last_attempt_at timestamptz, OUT last_status integer, OUT last_detail text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    owner uuid := stormops_internal.route_owner($1, false);
BEGIN
    RETURN QUERY
        SELECT d.alert_id, r.name, d.event, d.message ->> 'issue', d.state, d.attempts,
            CASE d.state WHEN 'pending' THEN d.next_attempt_at END, d.last_attempt_at, d.last_status, d.last_detail
        FROM stormops_internal.alert_deliveries AS d LEFT JOIN stormops_internal.alert_routes AS r ON r.route_id = d.route_id
        WHERE d.for_tenant IS NOT DISTINCT FROM owner
        ORDER BY d.created_at DESC, stormops_internal.event_rank(d.event) DESC;
END
$$;
COMMENT ON FUNCTION stormops.alert_deliveries(uuid) IS 'The messages of the tenant in context (for its admins), or for an operator of the named tenant or the platform, newest first: alert, route, event (trigger, escalate, acknowledge, resolve), issue, state (pending, delivered, dead), attempts, next and last try, HTTP status and what became of it. Errors: 42501; as current_tenant().';

CREATE FUNCTION stormops.retry_deliveries(tenant_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    owner uuid := stormops_internal.route_owner($1, true);
    revived bigint;
BEGIN
    UPDATE stormops_internal.alert_deliveries AS d SET state = 'pending', attempts = 0, next_attempt_at = now()
    WHERE d.for_tenant IS NOT DISTINCT FROM owner AND d.state = 'dead'
        AND EXISTS (SELECT FROM stormops_internal.alert_routes AS r WHERE r.route_id = d.route_id);
    GET DIAGNOSTICS revived = ROW_COUNT;
    RETURN revived;
END
$$;
COMMENT ON FUNCTION stormops.retry_deliveries(uuid) IS 'Tries the messages once more that were given up, of the tenant in context (for its admins), or for an operator of the named tenant or the platform. Returns how many. Errors: 42501; as current_tenant().';

-- health/due.sql
-- What is due to be judged.

CREATE FUNCTION stormops_internal.is_about_rows(rule text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT $1 NOT IN ('freshness', 'row_count') $$;
COMMENT ON FUNCTION stormops_internal.is_about_rows(text) IS 'True if a rule is judged by looking at rows; the others by the counters.';

CREATE FUNCTION stormops_internal.is_due(judged_at timestamptz, every interval) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    -- What would be due within a minute is due, or within a tenth of its interval if that is less: a schedule calls now a
    -- little sooner and now a little later, and who is missed by a second would wait for a whole turn. In seconds, since
    -- adding what a tenant wrote, months and all, could leave the calendar.
    SELECT $1 IS NULL OR extract(epoch FROM now() - $1) >= greatest(0.9 * extract(epoch FROM $2), extract(epoch FROM $2) - 60)
$$;
COMMENT ON FUNCTION stormops_internal.is_due(timestamptz, interval) IS 'Whether an expectation that was judged then, and is to be judged that often, is due.';

CREATE FUNCTION stormops_internal.claim_due(scope uuid, complete boolean) RETURNS stormops_internal.due_expectation[]
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    due stormops_internal.due_expectation[];
BEGIN
    -- Of two runs at once each takes what the other has not.
    WITH claimed AS MATERIALIZED (
        SELECT e.tenant_id, e.expectation_id, e.table_name, e.rule, e.columns, e.lowest, e.highest, e.max_age, e.threshold, e.judged_at
        FROM stormops.expectations AS e JOIN stormops.tenants AS t ON t.tenant_id = e.tenant_id
        WHERE t.status = 'active' AND e.active AND (scope IS NULL OR e.tenant_id = scope)
            AND (complete OR stormops_internal.is_due(e.judged_at, e.every))
        FOR UPDATE OF e SKIP LOCKED
    ), legal AS (
        -- What no longer fits the catalogue waits. Asked once for each, not for each tenant.
        SELECT k.table_name, k.rule, k.columns
        FROM (SELECT DISTINCT c.table_name, c.rule, c.columns FROM claimed AS c OFFSET 0) AS k
        WHERE (stormops_internal.expectation_fault(k.table_name, k.rule, k.columns)).code IS NULL
    ), turns AS (
        -- A tenant may mind the same twice, within other limits.
        SELECT c.*, row_number() OVER (PARTITION BY c.tenant_id, c.table_name, c.rule, c.columns ORDER BY c.expectation_id) AS turn
        FROM claimed AS c JOIN legal AS l ON l.table_name = c.table_name AND l.rule = c.rule AND l.columns = c.columns
    ), placed AS (
        SELECT t.*, dense_rank() OVER (
            PARTITION BY t.table_name, stormops_internal.is_about_rows(t.rule) ORDER BY t.rule, t.columns, t.turn) AS place
        FROM turns AS t
    )
    SELECT coalesce(array_agg(ROW(p.tenant_id, p.expectation_id, p.table_name, p.rule, p.columns,
        round(p.lowest, 100), round(p.highest, 100), p.max_age, p.threshold, -- a float underflows from 1e-308 on
        CASE WHEN complete OR p.judged_at IS NULL THEN '-infinity' ELSE p.judged_at - interval '10 minutes' END,
        p.place)::stormops_internal.due_expectation), '{}')
    INTO due FROM placed AS p;
    RETURN due;
END
$$;
COMMENT ON FUNCTION stormops_internal.claim_due(uuid, boolean) IS 'The expectations of a tenant, or with NULL of all active ones, that are due, or with complete all, locked until the run ends; without those that another run holds.';

-- health/expectations.sql
-- What a tenant expects of its rows, as rows. Names of tables and columns in them are compared with
-- the catalogue before they ever stand in a statement, and quoted there.

CREATE FUNCTION stormops_internal.expectation_fault(table_name text, rule text, columns text[], OUT code text, OUT fault text, OUT hint text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record;
    wrong text;
BEGIN
    SELECT t.* INTO this FROM stormops.counted_tables() AS t WHERE t.table_name = expectation_fault.table_name;
    IF this.table_name IS NULL THEN
        code := 'undefined_object';
        fault := format('"%s" is not a table whose health is watched', left(table_name, 63));
        hint := format('The tables are %s.', (SELECT string_agg(t.table_name, ', ') FROM stormops.counted_tables() AS t));
        RETURN;
    END IF;
    SELECT k INTO wrong FROM unnest(columns) AS k
    WHERE k IS NULL OR NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = format('stormops.%I', this.table_name)::regclass AND a.attname = k AND a.attnum > 0 AND NOT a.attisdropped
            AND (rule <> 'range' OR a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float8'::regtype))
            AND (rule <> 'drift' OR this.table_name = 'lead_uplift' AND k = 'uplift')
            AND (rule <> 'referential' OR this.parents ? k))
    LIMIT 1;
    IF FOUND THEN
        code := CASE WHEN EXISTS (
            SELECT FROM pg_attribute AS a
            WHERE a.attrelid = format('stormops.%I', this.table_name)::regclass AND a.attname = wrong AND a.attnum > 0 AND NOT a.attisdropped
        ) THEN 'invalid_parameter_value' ELSE 'undefined_column' END;
        fault := format('rule %s cannot be about column "%s" of %s', rule, left(wrong, 63), this.table_name);
        hint := CASE rule
            WHEN 'range' THEN 'A range is about a column of numbers.'
            WHEN 'drift' THEN 'Drift is about lead_uplift.uplift.'
            WHEN 'referential' THEN format('The columns that refer to another table are %s.',
                coalesce((SELECT string_agg(p, ', ') FROM jsonb_object_keys(this.parents) AS p), 'none'))
            ELSE 'SELECT * FROM stormops_internal.shipped_columns(); shows the columns.'
        END;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.expectation_fault(text, text, text[]) IS 'Why an expectation cannot be judged: a name of a SQLSTATE, the fault and a hint; NULL if it can.';

CREATE FUNCTION stormops_internal.guard_expectation() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wrong record;
BEGIN
    -- The operator's run judges all tenants' in one statement: none has so many that the others wait for it.
    IF TG_OP = 'INSERT' AND (SELECT count(*) FROM stormops.expectations AS e WHERE e.tenant_id = NEW.tenant_id) >= 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'a tenant has at most 500 expectations',
            HINT = 'DELETE FROM stormops.expectations WHERE NOT active; makes room.';
    END IF;
    SELECT f.* INTO wrong FROM stormops_internal.expectation_fault(NEW.table_name, NEW.rule, NEW.columns) AS f;
    IF wrong.code IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = wrong.code, MESSAGE = wrong.fault, HINT = wrong.hint;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_expectation() IS 'Trigger: refuses an expectation about what is not there. Errors: 54000 more than 500 of a tenant; 42704 not a watched table; 42703 no such column; 22023 the rule is not about such a column.';

CREATE FUNCTION stormops.expect(
    table_name text, rule text, columns text[] DEFAULT '{}', lowest numeric DEFAULT NULL, highest numeric DEFAULT NULL,
    max_age interval DEFAULT NULL, threshold numeric DEFAULT 0.01, severity text DEFAULT 'warning',
    every interval DEFAULT '15 minutes', name text DEFAULT NULL, tenant_id uuid DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, true);
    id uuid := stormops.new_id();
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF table_name IS NULL OR rule IS NULL OR columns IS NULL OR threshold IS NULL OR severity IS NULL OR every IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'table and rule must be given',
            HINT = 'SELECT stormops.expect(''properties'', ''not_null'', ''{address}'');';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    INSERT INTO stormops.expectations (tenant_id, expectation_id, name, table_name, rule, columns, lowest, highest, max_age, threshold, severity, every)
    VALUES (target, id, coalesce(name, left(concat_ws(' ', table_name, nullif(array_to_string(columns, ', '), ''), rule), 100)),
        table_name, rule, columns, lowest, highest, max_age, threshold, severity, every);
    RETURN id;
EXCEPTION
    WHEN check_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'the expectation is not a legal one',
            HINT = 'name: 1 to 100 characters; rule: not_null, range (lowest or highest, within 1e15), unique, referential, freshness (max_age,'
                ' up to 10 years), row_count or drift; columns: none for freshness and row_count, up to 8 for unique, else one;'
                ' threshold: 0 to 1; severity: info, warning or critical; every: 1 minute to 31 days.';
    WHEN unique_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'there is an expectation of that name',
            HINT = 'Give another by name => ..., or change that one: SELECT name, expectation_id FROM stormops.expectations;';
END
$$;
COMMENT ON FUNCTION stormops.expect(text, text, text[], numeric, numeric, interval, numeric, text, interval, text, uuid) IS 'Declares an expectation; returns its id. For a tenant''s admins, and for operators with tenant_id. Columns as in the table expectations; a tenant may as well INSERT there. Errors: 22004; 22023; 23505 one of that name exists; 23514 not a legal rule; 42501; 42703 no such column; 42704 not a watched table; 54000 the tenant has 500; 55000 suspended; P0002.';

CREATE FUNCTION stormops.default_expectations(
    OUT name text, OUT table_name text, OUT rule text, OUT columns text[], OUT lowest numeric, OUT highest numeric,
    OUT threshold numeric, OUT severity text
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT e.name, e.table_name, e.rule, e.columns::text[], e.lowest, e.highest, e.threshold, e.severity
    FROM (VALUES
        ('properties have an address', 'properties', 'not_null', '{address}', NULL::numeric, NULL::numeric, 0.01, 'warning'),
        ('addresses are unique', 'properties', 'unique', '{address}', NULL, NULL, 0.01, 'warning'),
        ('scores are plausible', 'lead_uplift', 'range', '{uplift}', -0.5, 0.9, 0.01, 'warning'),
        ('scores do not drift', 'lead_uplift', 'drift', '{uplift}', NULL, NULL, 0.01, 'warning'),
        ('decisions have their property', 'policy_decisions_log', 'referential', '{property_id}', NULL, NULL, 0, 'critical'),
        ('touches keep coming', 'customer_journeys', 'row_count', '{}', NULL, NULL, 0.9, 'warning')
    ) AS e (name, table_name, rule, columns, lowest, highest, threshold, severity)
$$;
COMMENT ON FUNCTION stormops.default_expectations() IS 'What expect_defaults() declares.';

CREATE FUNCTION stormops.expect_defaults(tenant_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    everybody boolean := tenant_id IS NULL AND NOT stormops_internal.has_tenant() AND stormops_internal.is_operator();
    target uuid := CASE WHEN NOT everybody THEN stormops_internal.target_tenant(tenant_id, true) END;
    made bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    INSERT INTO stormops.expectations (tenant_id, expectation_id, name, table_name, rule, columns, lowest, highest, threshold, severity)
    SELECT t.tenant_id, stormops.new_id(), e.name, e.table_name, e.rule, e.columns, e.lowest, e.highest, e.threshold, e.severity
    FROM stormops.tenants AS t CROSS JOIN stormops.default_expectations() AS e
    WHERE t.status = 'active' AND (everybody OR t.tenant_id = target)
    ON CONFLICT ON CONSTRAINT expectations_tenant_id_name_key DO NOTHING;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;
COMMENT ON FUNCTION stormops.expect_defaults(uuid) IS 'Declares default_expectations() where a tenant has none of that name; returns how many. For a tenant''s admins; for operators with tenant_id, or without any tenant for all active ones. Errors: 0B000; 42501; 55000 suspended.';

-- health/expressions.sql
-- The expressions that judge rules, made for one statement over many: of a row r, and of p, the limits of its tenant.
-- Names of columns and tables are the catalogue's or this extension's own, and are quoted all the same.
--
-- band is a rule of the platform's own, which no tenant declares: the first column's groups whose mean of the second
-- (all new rows, or those of the last moment) lies outside lowest to highest.

CREATE FUNCTION stormops_internal.key_hash(table_name text, columns text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    expression text := '0';
    c record;
BEGIN
    -- Each column's hash is the seed of the next one's, and NULL makes NULL. The function of a type costs a fraction of
    -- what it takes to make a record and hash that.
    FOR c IN
        SELECT format('r.%I', a.attname) AS value, a.atttypid AS type FROM unnest(columns) WITH ORDINALITY AS k (name, place)
        JOIN pg_attribute AS a ON a.attrelid = format('stormops.%I', table_name)::regclass AND a.attname = k.name
        ORDER BY k.place
    LOOP
        expression := CASE c.type
            WHEN 'text'::regtype THEN format('hashtextextended(%s, %s)', c.value, expression)
            WHEN 'uuid'::regtype THEN format('uuid_hash_extended(%s, %s)', c.value, expression)
            ELSE format('CASE WHEN %s IS NOT NULL THEN hash_record_extended(ROW(%s), %s) END', c.value, c.value, expression)
        END;
    END LOOP;
    RETURN expression;
END
$$;
COMMENT ON FUNCTION stormops_internal.key_hash(text, text[]) IS 'An expression for a hash of columns of a row r of a table, NULL if one of them is: rows that are the same in them have the same.';

CREATE FUNCTION stormops_internal.parent_of(column_name text, parent text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format('SELECT FROM stormops.%I AS parent WHERE parent.tenant_id = r.tenant_id AND parent.%I = r.%I',
        $2, CASE $2 WHEN 'policy_runs' THEN 'run_id' ELSE $1 END, $1)
$$;
COMMENT ON FUNCTION stormops_internal.parent_of(text, text) IS 'A query for the row of a table parent that a column of a row r refers to.';

CREATE FUNCTION stormops_internal.failing_condition(rule text, columns text[], parents jsonb, place integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $1
        WHEN 'not_null' THEN format('r.%I IS NULL', $2[1])
        WHEN 'range' THEN format('r.%I NOT BETWEEN p.lowest_%s AND p.highest_%s', $2[1], $4, $4)
        -- OFFSET 0: looked up by the key, where a hash would read all parents there are.
        WHEN 'referential' THEN format('r.%I IS NOT NULL AND NOT EXISTS (%s OFFSET 0)', $2[1],
            stormops_internal.parent_of($2[1], $3 ->> $2[1]))
    END
$$;
COMMENT ON FUNCTION stormops_internal.failing_condition(text, text[], jsonb, integer) IS 'What is true of a row that fails a rule; NULL where no row tells alone. parents: of its table, as counted_tables() has them.';

CREATE FUNCTION stormops_internal.rules_at_places(due stormops_internal.due_expectation[]) RETURNS TABLE (
    place integer, rule text, columns text[], key_hash text, fails text, is_new text, time_column text
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT d.place, d.rule, d.columns, CASE d.rule WHEN 'unique' THEN stormops_internal.key_hash(d.table_name, d.columns) END,
        stormops_internal.failing_condition(d.rule, d.columns, t.parents, d.place), format('r.%I >= p.since_%s', t.time_column, d.place), t.time_column
    FROM (SELECT DISTINCT x.table_name, x.place, x.rule, x.columns FROM unnest($1) AS x) AS d
    JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
$$;
COMMENT ON FUNCTION stormops_internal.rules_at_places(stormops_internal.due_expectation[]) IS 'What one table''s due expectations come to, the same for all tenants: at each place a rule, what is true of a row that fails it, and what of one that is new.';

CREATE FUNCTION stormops_internal.judging_columns(due stormops_internal.due_expectation[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT concat_ws(', ', format('ARRAY[%s] AS judged', string_agg(e.judged, ', ' ORDER BY e.place)),
        format('ARRAY[%s] AS failing', string_agg(coalesce(e.failing, '0'), ', ' ORDER BY e.place)),
        format('ARRAY[%s]::bytea[] AS scores', string_agg(coalesce(e.scores, 'NULL'), ', ' ORDER BY e.place)),
        -- As text, since an array of arrays would need them of one length.
        format('ARRAY[%s]::text[] AS repeats', string_agg(coalesce(e.repeats || '::text', 'NULL'), ', ' ORDER BY e.place)),
        format('ARRAY[%s]::text[] AS groups', string_agg(coalesce(e.groups || '::text', 'NULL'), ', ' ORDER BY e.place)))
    FROM (
        SELECT k.place, format('count(*) FILTER (WHERE %s)', k.is_new) AS judged,
            CASE WHEN k.fails IS NOT NULL THEN format('count(*) FILTER (WHERE %s AND (%s))', k.is_new, k.fails) END AS failing,
            CASE k.rule WHEN 'drift' THEN format('stormops.score_agg(r.%I) FILTER (WHERE %s)::bytea', k.columns[1], k.is_new) END AS scores,
            CASE k.rule WHEN 'unique' THEN format('(stormops_internal.repeats_agg(%s) FILTER (WHERE %s))', k.key_hash, k.is_new) END AS repeats,
            CASE k.rule WHEN 'band' THEN format('(stormops_internal.groups_outside(r.%I, r.%I, r.%I, p.lowest_%s, p.highest_%s) FILTER (WHERE %s))',
                k.columns[1], k.time_column, k.columns[2], k.place, k.place, k.is_new) END AS groups
        FROM stormops_internal.rules_at_places($1) AS k
    ) AS e
$$;
COMMENT ON FUNCTION stormops_internal.judging_columns(stormops_internal.due_expectation[]) IS 'The select list that judges one table''s due expectations over rows r and limits p (judging_limits()): arrays with an entry for each place.';

CREATE FUNCTION stormops_internal.judging_limits(due stormops_internal.due_expectation[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format('SELECT d.tenant_id, %s FROM unnest($1) AS d GROUP BY d.tenant_id', string_agg(
        format('max(d.since) FILTER (WHERE %s) AS since_%s, max(d.lowest) FILTER (WHERE %s) AS lowest_%s, max(d.highest) FILTER (WHERE %s) AS highest_%s',
            k.here, k.place, k.here, k.place, k.here, k.place), ', ' ORDER BY k.place))
    FROM (SELECT DISTINCT d.place, format('d.place = %s', d.place) AS here FROM unnest($1) AS d) AS k
$$;
COMMENT ON FUNCTION stormops_internal.judging_limits(stormops_internal.due_expectation[]) IS 'A query for one row for each tenant: what holds for it at each place. $1 of it: the same due expectations.';

-- health/findings.sql
-- What there is to tell somebody, and what there no longer is: what note_findings() makes alerts of.

CREATE FUNCTION stormops_internal.quality_objective(
    scope uuid, OUT tenant_id uuid, OUT rows_judged bigint, OUT rows_failing bigint, OUT failing_share numeric, OUT met boolean
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY EXECUTE format($query$
        -- A tenant may write there what it likes; no sum of it stops the platform's run.
        SELECT m.tenant_id, least(sum(m.rows_judged), 9223372036854775807)::bigint, least(sum(m.rows_failing), 9223372036854775807)::bigint,
            round(sum(m.rows_failing) / sum(m.rows_judged), 6), sum(m.rows_failing) < 0.01 * sum(m.rows_judged)
        FROM stormops.data_quality_metrics AS m
        WHERE %s AND m.measured_at >= now() - interval '24 hours' AND m.rows_failing IS NOT NULL
        GROUP BY m.tenant_id
        HAVING sum(m.rows_judged) > 0
        $query$, CASE WHEN scope IS NULL THEN 'true' ELSE format('m.tenant_id = %L', scope) END);
END
$$;
COMMENT ON FUNCTION stormops_internal.quality_objective(uuid) IS 'The platform''s objective: below 1 % of the rows judged in the last 24 hours fail, each row counted once for each expectation. One tenant''s, or with NULL that of all that the caller sees.';

CREATE FUNCTION stormops_internal.objective_findings(scope uuid, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH objective AS MATERIALIZED (
        SELECT o.tenant_id, o.met, to_jsonb(o) - 'tenant_id' AS evidence FROM stormops_internal.quality_objective($1) AS o
    )
    SELECT jsonb_build_object('tenant_id', o.tenant_id, 'key', 'data_quality', 'issue', 'data_quality', 'severity', 'warning',
        'failing', NOT o.met, 'evidence', o.evidence)
    FROM objective AS o
    UNION ALL
    -- Of which no row was judged for a day.
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false)
    FROM stormops.alerts AS a
    WHERE a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1) AND a.alert_key = 'data_quality'
        AND NOT EXISTS (SELECT FROM objective AS o WHERE o.tenant_id = a.tenant_id)
$$;
COMMENT ON FUNCTION stormops_internal.objective_findings(uuid) IS 'Whether tenants miss the platform''s objective (quality_objective()). Of one tenant, or with NULL of all.';

CREATE FUNCTION stormops_internal.groundless_findings(scope uuid, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- A closed tenant's rows nobody judges again.
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false, 'gone', true)
    FROM stormops.alerts AS a JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
    WHERE a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1) AND t.status = 'closed'
    UNION ALL
    -- An expectation that was taken back, a storm that is over.
    SELECT jsonb_build_object('tenant_id', a.tenant_id, 'key', a.alert_key, 'failing', false, 'gone', true)
    FROM stormops.alerts AS a
    WHERE a.resolved_at IS NULL AND ($1 IS NULL OR a.tenant_id = $1) AND a.alert_key ~ ':[0-9a-f-]{36}$'
        AND CASE WHEN a.evidence ? 'storm_id' THEN NOT EXISTS (
            SELECT FROM stormops.storms AS s
            WHERE s.tenant_id = a.tenant_id AND s.storm_id = right(a.alert_key, 36)::uuid AND s.status = 'active')
        ELSE NOT EXISTS (
            SELECT FROM stormops.expectations AS e
            WHERE e.tenant_id = a.tenant_id AND e.expectation_id = right(a.alert_key, 36)::uuid AND e.active) END
$$;
COMMENT ON FUNCTION stormops_internal.groundless_findings(uuid) IS 'The open alerts that are about what is no longer there, which ends them at once. Of one tenant, or with NULL of all.';

CREATE FUNCTION stormops_internal.gather_findings(
    scope uuid, since timestamptz, verdicts jsonb, system_issues jsonb, scored_storms uuid[],
    OUT findings jsonb, OUT objective_missed bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH told AS (
        SELECT v.finding FROM jsonb_array_elements($3) AS v (finding)
        UNION ALL
        SELECT o.finding FROM stormops_internal.objective_findings($1) AS o
        UNION ALL
        SELECT g.finding FROM stormops_internal.groundless_findings($1) AS g
        UNION ALL
        SELECT q.finding FROM stormops_internal.quota_findings($1) AS q
        UNION ALL
        SELECT p.finding FROM stormops_internal.platform_findings($4) AS p WHERE $1 IS NULL
        UNION ALL
        SELECT s.finding FROM stormops_internal.storm_findings($1, $2, $5) AS s
    )
    SELECT coalesce(jsonb_agg(t.finding), '[]'),
        count(*) FILTER (WHERE t.finding @> '{"issue": "data_quality", "failing": true}' AND t.finding ->> 'tenant_id' IS NOT NULL)
    FROM told AS t
    -- Nobody raises an alert of a closed tenant.
    WHERE NOT (t.finding @> '{"failing": true}' AND EXISTS (
        SELECT FROM stormops.tenants AS x WHERE x.tenant_id = (t.finding ->> 'tenant_id')::uuid AND x.status = 'closed'))
$$;
COMMENT ON FUNCTION stormops_internal.gather_findings(uuid, timestamptz, jsonb, jsonb, uuid[]) IS 'All that a run found, for note_findings(): the verdicts'' findings, and what there is of the objective, alerts without ground, quotas, storms and, with NULL, of the platform by its issues. objective_missed: tenants that miss it.';

-- health/judging.sql
-- Judging what is due: one pass over each table's new rows, for all tenants and expectations at once. The passes are
-- statements of their own, outside any that writes, so that they may run in parallel; what goes in and comes out are
-- arrays of rows, which cost next to nothing to read where JSON is parsed anew each time.

CREATE FUNCTION stormops_internal.passes(due stormops_internal.due_expectation[]) RETURNS TABLE (
    table_name text, time_column text, these stormops_internal.due_expectation[], since timestamptz
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.table_name, t.time_column, array_agg(ROW(d.tenant_id, d.expectation_id, d.table_name, d.rule, d.columns, d.lowest, d.highest, d.max_age,
            d.threshold, d.since, d.place - d.before)::stormops_internal.due_expectation), min(d.since)
    FROM (
        -- A select list has room for 1664 columns, and a place takes three: what is more waits for another pass.
        SELECT d.*, (d.place - 1) / 400 * 400 AS before FROM unnest($1) AS d WHERE stormops_internal.is_about_rows(d.rule)
    ) AS d
    JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
    GROUP BY t.table_name, t.time_column, d.before
$$;
COMMENT ON FUNCTION stormops_internal.passes(stormops_internal.due_expectation[]) IS 'What is due and about rows, by table: each a pass over its rows since then. Places are numbered anew in each.';

CREATE FUNCTION stormops_internal.judge_rows(due stormops_internal.due_expectation[]) RETURNS SETOF stormops_internal.judgement
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET enable_sort = off -- tenants are few, whatever the planner expects: group them by a hash
    SET work_mem = '256MB' -- the planner takes 8 kB for each state of an aggregate, and would rather spill rows
    AS $$
DECLARE
    pass record;
    by_tenant text;
    found_rows stormops_internal.judgement[];
    whose text := (
        SELECT CASE WHEN count(DISTINCT d.tenant_id) = 1 THEN format('r.tenant_id = %L', min(d.tenant_id::text)) ELSE 'true' END FROM unnest(due) AS d);
BEGIN
    FOR pass IN SELECT p.* FROM stormops_internal.passes(due) AS p LOOP
        by_tenant := format('SELECT r.tenant_id, %s FROM stormops.%I AS r JOIN (%s) AS p ON p.tenant_id = r.tenant_id WHERE r.%I >= $2 AND %s GROUP BY r.tenant_id',
            stormops_internal.judging_columns(pass.these), pass.table_name, stormops_internal.judging_limits(pass.these), pass.time_column, whose);
        EXECUTE format($query$
            SELECT array_agg(ROW(d.tenant_id, d.expectation_id, coalesce(c.judged[d.place], 0), coalesce(c.failing[d.place], 0),
                c.scores[d.place], c.repeats[d.place]::bigint[], c.groups[d.place]::uuid[])::stormops_internal.judgement)
            FROM unnest($1) AS d LEFT JOIN (%s) AS c ON c.tenant_id = d.tenant_id
            $query$, by_tenant)
        INTO found_rows USING pass.these, pass.since;
        RETURN QUERY SELECT f.tenant_id, f.expectation_id, f.judged, coalesce(x.failing, f.failing), f.scores, NULL::bigint[], f.groups
            FROM unnest(found_rows) AS f
            LEFT JOIN stormops_internal.count_repeats(pass.these, found_rows) AS x ON x.tenant_id = f.tenant_id AND x.expectation_id = f.expectation_id;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.judge_rows(stormops_internal.due_expectation[]) IS 'Of each expectation about rows in due: how many rows came since then, and how many of them fail; for drift their scores. Reads each table''s new rows once, and once more for a set of columns that should be unique where rows have the same hash of them.';

CREATE FUNCTION stormops_internal.count_repeats(these stormops_internal.due_expectation[], found_rows stormops_internal.judgement[]) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, failing bigint
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    key record;
BEGIN
    FOR key IN
        SELECT t.table_name, t.time_column, d.columns, stormops_internal.key_hash(t.table_name, d.columns) AS hash,
            (SELECT string_agg(format('r.%I', c), ', ' ORDER BY o) FROM unnest(d.columns) WITH ORDINALITY AS k (c, o)) AS names
        FROM unnest(found_rows) AS f JOIN unnest(these) AS d ON d.tenant_id = f.tenant_id AND d.expectation_id = f.expectation_id
        JOIN stormops.counted_tables() AS t ON t.table_name = d.table_name
        WHERE cardinality(f.repeats) > 0
        GROUP BY t.table_name, t.time_column, d.columns
    LOOP
        RETURN QUERY EXECUTE format($query$
            WITH suspects AS (
                SELECT d.tenant_id, d.expectation_id, d.since, h.hash
                FROM unnest($2) AS f JOIN unnest($1) AS d ON d.tenant_id = f.tenant_id AND d.expectation_id = f.expectation_id AND d.columns = $3
                CROSS JOIN unnest(f.repeats) AS h (hash)
            ), groups AS (
                SELECT s.tenant_id, s.expectation_id, count(*) AS n
                FROM stormops.%I AS r JOIN suspects AS s ON s.tenant_id = r.tenant_id AND s.hash = %s AND r.%I >= s.since
                WHERE r.%I >= $4
                GROUP BY s.tenant_id, s.expectation_id, %s
            )
            SELECT g.tenant_id, g.expectation_id, sum(g.n - 1)::bigint FROM groups AS g GROUP BY g.tenant_id, g.expectation_id
            $query$, key.table_name, key.hash, key.time_column, key.time_column, key.names)
        USING these, found_rows, key.columns, (SELECT min(d.since) FROM unnest(these) AS d);
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops_internal.count_repeats(stormops_internal.due_expectation[], stormops_internal.judgement[]) IS 'Of judge_rows(): where rows of a table have the same hash, how many of them really share the columns'' values with another.';

CREATE FUNCTION stormops_internal.judge_counts(due stormops_internal.due_expectation[]) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, failed boolean, value double precision, evidence jsonb
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH mine AS MATERIALIZED (
        SELECT d.tenant_id, d.expectation_id, d.table_name, d.rule, d.max_age, d.threshold FROM unnest($1) AS d
        WHERE d.rule IN ('freshness', 'row_count')
    ), days AS (
        SELECT b.tenant_id, b.table_name, (b.at AT TIME ZONE 'UTC')::date AS day, sum(b.inserted) AS inserted, max(b.last_at) AS last_at
        FROM (
            SELECT c.tenant_id, c.table_name, c.bucket AS at, c.inserted, c.last_at FROM stormops.row_counts AS c
            UNION ALL
            SELECT d.tenant_id, d.table_name, d.happened_at, d.inserted, CASE WHEN d.inserted > 0 THEN d.happened_at END
            FROM stormops.row_count_deltas AS d
        ) AS b
        WHERE (b.tenant_id, b.table_name) IN (SELECT m.tenant_id, m.table_name FROM mine AS m)
        GROUP BY 1, 2, 3
    ), yesterday AS (
        SELECT (now() AT TIME ZONE 'UTC')::date - 1 AS day
    )
    SELECT m.tenant_id, m.expectation_id,
        CASE m.rule WHEN 'freshness' THEN max(d.last_at) IS NULL OR extract(epoch FROM now() - max(d.last_at)) > extract(epoch FROM m.max_age)
            ELSE coalesce(sum(d.inserted) FILTER (WHERE d.day = y.day), 0) < (1 - m.threshold) * sum(d.inserted) FILTER (WHERE y.day - d.day IN (7, 14, 21, 28)) / 4
        END,
        CASE m.rule WHEN 'freshness' THEN extract(epoch FROM now() - max(d.last_at))
            ELSE coalesce(sum(d.inserted) FILTER (WHERE d.day = y.day), 0) END::double precision,
        CASE m.rule WHEN 'freshness' THEN jsonb_build_object('last_row_at', max(d.last_at), 'max_age', m.max_age)
            ELSE jsonb_build_object('day', y.day, 'rows', coalesce(sum(d.inserted) FILTER (WHERE d.day = y.day), 0),
                'same_weekday_mean', sum(d.inserted) FILTER (WHERE y.day - d.day IN (7, 14, 21, 28)) / 4) END
    FROM mine AS m CROSS JOIN yesterday AS y
    LEFT JOIN days AS d ON d.tenant_id = m.tenant_id AND d.table_name = m.table_name
    GROUP BY m.tenant_id, m.expectation_id, m.rule, m.max_age, m.threshold, y.day
$$;
COMMENT ON FUNCTION stormops_internal.judge_counts(stormops_internal.due_expectation[]) IS 'Of each freshness and row_count expectation in due: whether it fails by the counters. NULL: there is nothing to compare with (no such weekday before).';

-- health/metrics.sql
-- How a tenant is served, and who waits longest.

CREATE FUNCTION stormops.get_tenant_metrics(
    tenant_id uuid DEFAULT NULL, days integer DEFAULT 7,
    OUT "tenant" uuid, OUT events numeric, OUT model_calls numeric, OUT storage numeric, OUT usage jsonb, OUT "rows" jsonb, OUT rows_added bigint,
    OUT quality jsonb, OUT open_alerts bigint, OUT service_levels jsonb
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    target uuid := CASE WHEN tenant_id IS NOT NULL AND stormops_internal.may_monitor() THEN tenant_id ELSE stormops_internal.target_tenant(tenant_id, false) END;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF days IS NULL OR days NOT BETWEEN 1 AND 60 THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'days must be 1 to 60', HINT = 'SELECT * FROM stormops.get_tenant_metrics(tenant_id, 7);';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    tenant := target;
    SELECT coalesce(sum(u.n), 0), coalesce(sum(u.total) FILTER (WHERE u.metric_name = 'model_call'), 0),
        max(u.latest) FILTER (WHERE u.metric_name = 'storage_mb'),
        coalesce(jsonb_object_agg(u.metric_name, jsonb_build_object('events', u.n, 'total', u.total)), '{}')
    INTO events, model_calls, storage, usage
    FROM (
        SELECT m.metric_name, count(*) AS n, sum(m.metric_value) AS total,
            (array_agg(m.metric_value ORDER BY m.recorded_at DESC))[1] AS latest
        FROM stormops.tenant_usage AS m
        WHERE m.tenant_id = target AND m.recorded_at >= now() - make_interval(days => days)
        GROUP BY m.metric_name
    ) AS u;
    SELECT coalesce(jsonb_object_agg(c.table_name, c.total_rows), '{}') INTO "rows"
    FROM stormops_internal.tenant_row_counts() AS c WHERE c.tenant_id = target;
    SELECT coalesce(sum(b.inserted), 0) INTO rows_added
    FROM (
        SELECT c.inserted FROM stormops.row_counts AS c WHERE c.tenant_id = target AND c.bucket >= date_trunc('day', now(), 'UTC') - make_interval(days => days)
        UNION ALL SELECT d.inserted FROM stormops.row_count_deltas AS d
        WHERE d.tenant_id = target AND d.happened_at >= date_trunc('day', now(), 'UTC') - make_interval(days => days)
    ) AS b;
    SELECT to_jsonb(o) - 'tenant_id' INTO quality FROM stormops_internal.quality_objective(target) AS o;
    SELECT count(*) INTO open_alerts FROM stormops.alerts AS a WHERE a.tenant_id = target AND a.resolved_at IS NULL;
    SELECT coalesce(jsonb_object_agg(l.call, jsonb_build_object('calls', l.calls, 'p50_ms', l.p50, 'p95_ms', l.p95, 'p99_ms', l.p99)), '{}')
    INTO service_levels FROM stormops_internal.service_levels(target, days) AS l;
END
$$;
COMMENT ON FUNCTION stormops.get_tenant_metrics(uuid, integer) IS 'How one tenant is served over the last days (1 to 60), in one row: events and model_calls metered, storage (MB), usage, rows, rows_added, quality, open_alerts, service_levels (seconds). Operators and monitors: any tenant; admins: their own. Errors: 0B000 no tenant; 22004; 22023 days; 42501 another tenant, not an admin; P0002 no such tenant.';

CREATE FUNCTION stormops_internal.call_levels(
    scope uuid, days integer, OUT tenant_id uuid, OUT call text, OUT calls bigint, OUT p50 numeric, OUT p95 numeric, OUT p99 numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
    WITH named AS MATERIALIZED (
        SELECT c.table_name, c.call FROM stormops.counted_tables() AS c WHERE c.call IS NOT NULL
    ), classes AS (
        SELECT c.tenant_id, c.call, c.class, sum(c.calls) AS calls
        FROM (
            -- Looked up by the key, day by day, so that a long history costs nothing.
            SELECT t.tenant_id, n.call, h.class, h.calls
            FROM stormops.tenants AS t CROSS JOIN named AS n CROSS JOIN LATERAL (
                SELECT h.class, h.calls FROM stormops.call_durations AS h
                WHERE h.tenant_id = t.tenant_id AND h.table_name = n.table_name AND h.day >= (now() AT TIME ZONE 'UTC')::date - $2 OFFSET 0) AS h
            WHERE $1 IS NULL OR t.tenant_id = $1
            UNION ALL
            SELECT t.tenant_id, n.call, stormops_internal.duration_class(d.took_ms), 1
            FROM stormops.tenants AS t CROSS JOIN LATERAL (
                SELECT d.table_name, d.took_ms FROM stormops.row_count_deltas AS d
                WHERE d.tenant_id = t.tenant_id AND d.took_ms IS NOT NULL
                    AND d.happened_at >= date_trunc('day', now(), 'UTC') - make_interval(days => $2) OFFSET 0) AS d
            JOIN named AS n ON n.table_name = d.table_name
            WHERE $1 IS NULL OR t.tenant_id = $1
        ) AS c
        GROUP BY c.tenant_id, c.call, c.class
    ), ranked AS (
        SELECT c.tenant_id, c.call, sum(c.calls) OVER (PARTITION BY c.tenant_id, c.call ORDER BY c.class) AS up_to,
            sum(c.calls) OVER (PARTITION BY c.tenant_id, c.call) AS calls, round((10.0 ^ (c.class / 20.0 - 3))::numeric, 3) AS milliseconds
        FROM classes AS c
    )
    SELECT r.tenant_id, r.call, max(r.calls)::bigint, min(r.milliseconds) FILTER (WHERE r.up_to >= 0.50 * r.calls),
        min(r.milliseconds) FILTER (WHERE r.up_to >= 0.95 * r.calls), min(r.milliseconds) FILTER (WHERE r.up_to >= 0.99 * r.calls)
    FROM ranked AS r GROUP BY r.tenant_id, r.call
$$;
COMMENT ON FUNCTION stormops_internal.call_levels(uuid, integer) IS 'service_levels() of one tenant, or with NULL of all that the caller sees.';

CREATE FUNCTION stormops_internal.service_levels(
    tenant_id uuid, days integer, OUT call text, OUT calls bigint, OUT p50 numeric, OUT p95 numeric, OUT p99 numeric
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT l.call, l.calls, l.p50, l.p95, l.p99 FROM stormops_internal.call_levels($1, $2) AS l WHERE $1 IS NOT NULL $$;
COMMENT ON FUNCTION stormops_internal.service_levels(uuid, integer) IS 'How long a tenant''s calls took that wrote something: p50, p95, p99 in milliseconds, each at most 12 % too high (classes of a histogram). Measured by the counters'' triggers from the start of the client''s statement to the end of its insertion, commit excluded: apply_policy, record_outcomes, create_experiment, assign_experiment, record_usage, add_user. Calls that fail or only read are not measured.';

CREATE FUNCTION stormops.slowest_calls(
    most integer DEFAULT 5, days integer DEFAULT 1,
    OUT tenant_id uuid, OUT call text, OUT calls bigint, OUT p50_ms numeric, OUT p95_ms numeric, OUT p99_ms numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF most IS NULL OR days IS NULL OR most NOT BETWEEN 1 AND 1000 OR days NOT BETWEEN 1 AND 60 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN most IS NULL OR days IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'most must be 1 to 1000 and days 1 to 60', HINT = 'SELECT * FROM stormops.slowest_calls(5, 7);';
    END IF;
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT l.tenant_id, l.call, l.calls, l.p50, l.p95, l.p99 FROM stormops_internal.call_levels(NULL, days) AS l
        ORDER BY l.p95 DESC, l.p99 DESC, l.calls DESC, l.tenant_id, l.call LIMIT most;
END
$$;
COMMENT ON FUNCTION stormops.slowest_calls(integer, integer) IS 'The tenants and calls that wait longest, by p95 over so many days (1 to 60): at most so many rows (1 to 1000), each as service_levels() has them. No name and no row of a tenant. For operators and monitors. Errors: 22004; 22023.';

-- health/monitoring.sql
-- Metrics for monitoring. Each has one home: a column of a monitor_...(), named in metric_families().
-- The text, the exporter's queries and Grafana's panels are made from there.

CREATE FUNCTION stormops.metric_families(OUT place integer, OUT source text, OUT measure text, OUT name text, OUT kind text, OUT help text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT row_number() OVER ()::integer, f.source, f.measure, concat_ws('_', 'stormops', f.source, f.measure),
        CASE WHEN f.measure LIKE '%\_total' THEN 'counter' ELSE 'gauge' END, f.help
    FROM (VALUES
        ('installation', 'info', 'Version of StormOps and of the server; always 1.'),
        ('installation', 'in_recovery', 'Whether the server is a standby: 1 or 0.'),
        ('platform', 'status', 'Health of the installation: 0 healthy, 1 degraded, 2 critical.'),
        ('platform', 'active_tenants', 'Tenants that are active.'),
        ('platform', 'suspended_tenants', 'Tenants that are suspended.'),
        ('platform', 'closed_tenants', 'Tenants that are closed.'),
        ('platform', 'tenants_missing_objective', 'Tenants of whose rows judged in the last 24 hours 1 percent or more failed.'),
        ('platform', 'database_bytes', 'Size of the database.'),
        ('platform', 'oldest_transaction_seconds', 'Age of the oldest open transaction that the role may see.'),
        ('platform', 'oldest_xmin_age', 'Transactions since the oldest snapshot or prepared transaction that is held.'),
        ('platform', 'xid_age', 'Transactions since the oldest unfrozen one of any database.'),
        ('platform', 'cache_hit_ratio', 'Share of block reads that shared buffers answered, since statistics began.'),
        ('platform', 'connections', 'Client sessions but the one that asks.'),
        ('platform', 'connection_limit', 'Setting max_connections.'),
        ('platform', 'hidden_sessions', 'Sessions whose transactions the role may not see; pg_monitor shows them.'),
        ('platform', 'deadlocks_total', 'Deadlocks in the database since statistics began.'),
        ('platform', 'replicas', 'Standbys that are connected.'),
        ('platform', 'retained_wal_bytes', 'Write-ahead log that replication slots hold back.'),
        ('platform', 'partition_runway_seconds', 'Time until the last partition of the decision log ends.'),
        ('platform', 'unfolded_counts', 'Changes of row counts that wait to be folded.'),
        ('platform', 'invoices_overdue', 'Months of tenants that ended a week ago and have no final invoice.'),
        ('platform', 'attest_failures', 'Critical and high properties of attest() that do not hold.'),
        ('replica', 'lag_bytes', 'Write-ahead log that a standby has not replayed.'),
        ('schedule', 'last_run_timestamp_seconds', 'When the job last ended; 0: never.'),
        ('schedule', 'last_run_failed', 'Whether its last run failed: 1 or 0.'),
        ('schedule', 'expected_by_timestamp_seconds', 'By when its next run should have ended.'),
        ('schedule', 'missed', 'Whether that time has passed: 1 or 0.'),
        ('schedule_last', 'success_timestamp_seconds', 'When the job last succeeded; absent if its last run failed or there was none.'),
        ('alerts', 'unresolved', 'Alerts that are not resolved; tenant_id is empty for those of the platform.'),
        ('delivery', 'pending_messages', 'Messages of alerts that are to be sent.'),
        ('delivery', 'dead_messages', 'Messages of alerts that were given up.'),
        ('delivery', 'oldest_pending_seconds', 'Age of the oldest message that is to be sent; 0 if there is none.'),
        ('metering', 'unfolded_events', 'Usage events that wait for a rollup, counted up to 100000.'),
        ('metering', 'unfolded_age_seconds', 'For how long at most they wait; 0 if none does.'),
        ('metering', 'last_fold_timestamp_seconds', 'When usage was last rolled up; 0: never.'),
        ('tenant', 'info', 'Name, tier and status of a tenant; always 1.'),
        ('tenant_usage', 'events_total', 'Usage events of this month (UTC), rolled up; begins anew with each month.'),
        ('tenant_usage', 'quantity', 'Usage of this month (UTC), rolled up, in the unit of the metric.'),
        ('tenant_storage', 'bytes', 'Storage of a tenant as last metered.'),
        ('tenant_quota', 'used_ratio', 'Share of a quota that the current period has used; 1: it is reached.'),
        ('tenant_expectations', 'active', 'Expectations that are judged.'),
        ('tenant_expectations', 'failing', 'Expectations that failed when last judged.'),
        ('tenant_quality', 'judged_rows', 'Rows judged in the last 24 hours, once for each expectation.'),
        ('tenant_quality', 'failing_ratio', 'Share of them that failed; the objective is below 0.01.'),
        ('tenant_service', 'recent_calls', 'Calls of yesterday and today (UTC) that wrote something.'),
        ('tenant_service', 'p50_seconds', 'Half of them took at most this long.'),
        ('tenant_service', 'p95_seconds', '95 percent of them took at most this long.'),
        ('tenant_service', 'p99_seconds', '99 percent of them took at most this long.')
    ) AS f (source, measure, help)
$$;
COMMENT ON FUNCTION stormops.metric_families() IS 'The metrics for monitoring in their order: source, the monitor_...() that has it; measure, its column there; name, stormops_source_measure; kind, gauge or counter; help. Units are base units: seconds, bytes, ratios of 0 to 1.';

CREATE FUNCTION stormops.monitoring_samples(OUT name text, OUT kind text, OUT help text, OUT labels jsonb, OUT value double precision) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling takes longer than looking
    AS $$
    WITH families AS MATERIALIZED (
        SELECT f.*, array_agg(f.measure) OVER (PARTITION BY f.source) AS measures FROM stormops.metric_families() AS f
    ), measured AS (
        SELECT 'installation' AS source, to_jsonb(m) AS fields FROM stormops.monitor_installation() AS m
        UNION ALL SELECT 'platform', to_jsonb(m) FROM stormops.monitor_platform() AS m
        UNION ALL SELECT 'replica', to_jsonb(m) FROM stormops.monitor_replica() AS m
        UNION ALL SELECT 'schedule', to_jsonb(m) FROM stormops.monitor_schedule() AS m
        UNION ALL SELECT 'schedule_last', to_jsonb(m) FROM stormops.monitor_schedule_last() AS m
        UNION ALL SELECT 'alerts', to_jsonb(m) FROM stormops.monitor_alerts() AS m
        UNION ALL SELECT 'delivery', to_jsonb(m) FROM stormops.monitor_delivery() AS m
        UNION ALL SELECT 'metering', to_jsonb(m) FROM stormops.monitor_metering() AS m
        UNION ALL SELECT 'tenant', to_jsonb(m) FROM stormops.monitor_tenant() AS m
        UNION ALL SELECT 'tenant_usage', to_jsonb(m) FROM stormops.monitor_tenant_usage() AS m
        UNION ALL SELECT 'tenant_storage', to_jsonb(m) FROM stormops.monitor_tenant_storage() AS m
        UNION ALL SELECT 'tenant_quota', to_jsonb(m) FROM stormops.monitor_tenant_quota() AS m
        UNION ALL SELECT 'tenant_expectations', to_jsonb(m) FROM stormops.monitor_tenant_expectations() AS m
        UNION ALL SELECT 'tenant_quality', to_jsonb(m) FROM stormops.monitor_tenant_quality() AS m
        UNION ALL SELECT 'tenant_service', to_jsonb(m) FROM stormops.monitor_tenant_service() AS m
    )
    SELECT f.name, f.kind, f.help, m.fields - f.measures, v.value
    FROM measured AS m
    JOIN families AS f ON f.source = m.source
    CROSS JOIN LATERAL (SELECT (m.fields ->> f.measure)::double precision AS value) AS v
    WHERE v.value > '-Infinity' AND v.value < 'Infinity' -- nor NaN, which is greater
    ORDER BY f.place, (m.fields - f.measures)::text
$$;
COMMENT ON FUNCTION stormops.monitoring_samples() IS 'Every sample of every metric, in the order of prometheus_metrics(): name, kind (gauge, counter), help, labels (a JSON object of texts), value (finite). Sums by tenant_id, no tenant''s rows; the only name is org_name, in stormops_tenant_info. Works on a standby. For operators and monitors. Error: 42501 not allowed.';

CREATE FUNCTION stormops.prometheus_metrics() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- as many digits as tell a value from every other
    AS $$
    SELECT string_agg(format(E'# HELP %1$s %2$s\n# TYPE %1$s %3$s\n%4$s', f.name, replace(replace(f.help, E'\\', E'\\\\'), E'\n', E'\\n'), f.kind, f.lines), '' ORDER BY f.place)
    FROM (
        SELECT min(s.place) AS place, s.name, s.kind, s.help, string_agg(format(E'%s%s %s\n', s.name, l.labels, s.value), '' ORDER BY s.place) AS lines
        FROM stormops.monitoring_samples() WITH ORDINALITY AS s (name, kind, help, labels, value, place)
        CROSS JOIN LATERAL (
            SELECT '{' || string_agg(format('%s="%s"', k.key,
                replace(replace(replace(k.value, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')), ',' ORDER BY k.key) || '}' AS labels
            FROM jsonb_each_text(s.labels) AS k
        ) AS l
        GROUP BY s.name, s.kind, s.help
    ) AS f
$$;
COMMENT ON FUNCTION stormops.prometheus_metrics() IS 'monitoring_samples() as Prometheus reads them: text exposition format 0.0.4. psql -XAt -c ''SELECT stormops.prometheus_metrics()'' writes it for the node exporter''s textfile collector. For operators and monitors; a reader, which a standby answers too. Error: 42501.';

-- health/monitoring_platform.sql
-- What Prometheus, the exporter and Grafana read of the installation itself. Each monitor_...() is a
-- group of metrics: columns of metric_families() are values and never NULL, the others are labels.

CREATE FUNCTION stormops.monitor_installation(OUT version text, OUT server_version text, OUT info integer, OUT in_recovery integer)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT e.extversion, current_setting('server_version_num'), 1, pg_is_in_recovery()::integer
    FROM pg_extension AS e WHERE e.extname = 'stormops'
$$;
COMMENT ON FUNCTION stormops.monitor_installation() IS 'Of monitoring_samples(): version of the extension and server_version (server_version_num); info, always 1; in_recovery, 1 on a standby.';

CREATE FUNCTION stormops.monitor_platform(
    OUT status integer, OUT active_tenants bigint, OUT suspended_tenants bigint, OUT closed_tenants bigint, OUT tenants_missing_objective bigint,
    OUT database_bytes bigint, OUT oldest_transaction_seconds numeric, OUT oldest_xmin_age integer, OUT xid_age integer,
    OUT cache_hit_ratio numeric, OUT connections bigint, OUT connection_limit integer, OUT hidden_sessions bigint, OUT deadlocks_total bigint,
    OUT replicas bigint, OUT retained_wal_bytes numeric, OUT partition_runway_seconds bigint, OUT unfolded_counts bigint,
    OUT invoices_overdue bigint, OUT attest_failures bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT array_position('{healthy,degraded,critical}'::text[], h.health_status) - 1,
        h.active_tenants, h.suspended_tenants, h.closed_tenants, h.objective_missed, h.db_size_bytes,
        coalesce(h.oldest_transaction_seconds, 0), coalesce(h.oldest_xmin_age, 0), h.xid_age,
        coalesce(h.cache_hit_ratio, 1), h.connections, h.max_connections, h.hidden_sessions, h.deadlocks, h.replicas,
        coalesce(h.retained_wal_bytes, 0), coalesce(h.partition_runway_days, 0) * 86400::bigint, h.unfolded_counts,
        coalesce(h.invoices_overdue, 0), coalesce(h.installation_failing, 0)
    FROM stormops.get_system_health(slow => false) AS h
$$;
COMMENT ON FUNCTION stormops.monitor_platform() IS 'Of monitoring_samples(): get_system_health() in base units, what is absent there as 0 (cache_hit_ratio: 1). status: 0 healthy, 1 degraded, 2 critical. Error: 42501.';

CREATE FUNCTION stormops.monitor_replica(OUT replica text, OUT lag_bytes numeric) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.application_name,
        max((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) - r.replay_lsn)
    FROM pg_stat_replication AS r WHERE r.replay_lsn IS NOT NULL AND r.application_name IS NOT NULL
    GROUP BY r.application_name
$$;
COMMENT ON FUNCTION stormops.monitor_replica() IS 'Of monitoring_samples(): how far each replica, by its application_name, is behind; of several of one name the last. A role without pg_monitor sees none.';

CREATE FUNCTION stormops.monitor_schedule(
    OUT job_name text, OUT last_run_timestamp_seconds numeric, OUT last_run_failed integer, OUT expected_by_timestamp_seconds numeric, OUT missed integer
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.job, coalesce(extract(epoch FROM s.last_finished_at), 0), (s.outcome = 'failed')::integer,
        coalesce(extract(epoch FROM s.expected_by), 0), coalesce(s.missed, true)::integer
    FROM stormops.schedules() AS s
$$;
COMMENT ON FUNCTION stormops.monitor_schedule() IS 'Of monitoring_samples(): schedules() by job, times in seconds since 1970 (0: never). Error: 42501.';

CREATE FUNCTION stormops.monitor_schedule_last(OUT job_name text, OUT success_timestamp_seconds numeric) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT s.job, extract(epoch FROM s.last_finished_at) FROM stormops.schedules() AS s WHERE s.outcome = 'ok'
$$;
COMMENT ON FUNCTION stormops.monitor_schedule_last() IS 'Of monitoring_samples(): when a job that last succeeded did so; no row for one that failed or never ran. Error: 42501.';

CREATE FUNCTION stormops.monitor_alerts(OUT tenant_id text, OUT issue text, OUT severity text, OUT state text, OUT unresolved bigint) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(a.tenant_id::text, ''), a.issue, a.severity, a.state, count(*)
    FROM stormops.alerts() AS a GROUP BY a.tenant_id, a.issue, a.severity, a.state
$$;
COMMENT ON FUNCTION stormops.monitor_alerts() IS 'Of monitoring_samples(): alerts that are not resolved by tenant (empty: the platform''s own), issue, severity and state (open, acknowledged, silenced).';

CREATE FUNCTION stormops.monitor_delivery(OUT pending_messages bigint, OUT dead_messages bigint, OUT oldest_pending_seconds numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT count(*) FILTER (WHERE d.state = 'pending'), count(*) FILTER (WHERE d.state = 'dead'),
        coalesce(extract(epoch FROM now() - min(d.created_at) FILTER (WHERE d.state = 'pending')), 0)
    INTO pending_messages, dead_messages, oldest_pending_seconds
    FROM stormops_internal.alert_deliveries AS d WHERE d.state <> 'delivered';
END
$$;
COMMENT ON FUNCTION stormops.monitor_delivery() IS 'Of monitoring_samples(): messages of alerts that are to be sent, that were given up, and the age of the oldest to be sent.';

CREATE FUNCTION stormops.monitor_metering(OUT unfolded_events bigint, OUT unfolded_age_seconds numeric, OUT last_fold_timestamp_seconds numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    progress record;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT p.watermark, p.folded_at INTO progress FROM stormops_internal.metering_progress AS p;
    -- Bounded: a rollup that stands still for a week must not make every look at it slower.
    SELECT count(*), coalesce(extract(epoch FROM now() - greatest(progress.folded_at, min(e.recorded_at))), 0)
    INTO unfolded_events, unfolded_age_seconds
    FROM (SELECT u.recorded_at FROM stormops.tenant_usage AS u WHERE u.usage_seq > progress.watermark LIMIT 100000) AS e;
    unfolded_age_seconds := greatest(unfolded_age_seconds, 0);
    last_fold_timestamp_seconds := coalesce(extract(epoch FROM progress.folded_at), 0);
END
$$;
COMMENT ON FUNCTION stormops.monitor_metering() IS 'Of monitoring_samples(): events that rollup_usage() has not folded (counted up to 100000); for how long at most they wait, 0 if none does; when it last folded, in seconds since 1970 (0: never).';

-- health/monitoring_tenants.sql
-- What Prometheus, the exporter and Grafana read of each tenant that is not closed. Names that a
-- tenant gave are no labels: they are not an operator's to read, and there may be any number.

CREATE FUNCTION stormops.monitor_tenant(OUT tenant_id uuid, OUT org_name text, OUT tier text, OUT status text, OUT info integer) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.tenant_id, t.org_name, t.tier, t.status, 1 FROM stormops.list_tenants() AS t WHERE t.status <> 'closed'
$$;
COMMENT ON FUNCTION stormops.monitor_tenant() IS 'Of monitoring_samples(): name, tier and status of each tenant, to join to the others by tenant_id; info is always 1.';

CREATE FUNCTION stormops.monitor_tenant_usage(OUT tenant_id uuid, OUT metric_name text, OUT events_total bigint, OUT quantity numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, m.metric_name, coalesce(r.event_count, 0), coalesce(r.quantity, 0)
        FROM stormops.tenants AS t
        CROSS JOIN stormops.default_metrics() AS m
        LEFT JOIN LATERAL (
            SELECT r.event_count, r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = t.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'month'
                AND r.bucket = date_trunc('month', now(), 'UTC') AND r.dimensions = '{}' OFFSET 0) AS r ON true
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_usage() IS 'Of monitoring_samples(): this month''s (UTC) use by the rollups, for the metrics of default_metrics(), in their units.';

CREATE FUNCTION stormops.monitor_tenant_storage(OUT tenant_id uuid, OUT bytes numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, r.quantity * 1048576
        FROM stormops.tenants AS t
        CROSS JOIN LATERAL (
            SELECT r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = t.tenant_id AND r.metric_name = 'storage_mb' AND r.grain = 'day' AND r.dimensions = '{}'
            ORDER BY r.bucket DESC LIMIT 1) AS r
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_storage() IS 'Of monitoring_samples(): the last day''s storage_mb by the rollups, in bytes; no row for a tenant whose storage was never metered.';

CREATE FUNCTION stormops.monitor_tenant_quota(
    OUT tenant_id uuid, OUT metric_name text, OUT period text, OUT kind text, OUT used_ratio numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT u.tenant_id, u.metric_name, u.period, u.kind, u.share FROM stormops_internal.quota_use(NULL) AS u;
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_quota() IS 'Of monitoring_samples(): the share of each quota, the tenant''s own or its tier''s, that the current period (UTC) has used by the rollups; 1 and more: it is reached. Of a quota of nothing: 1 once anything is used.';

CREATE FUNCTION stormops.monitor_tenant_expectations(OUT tenant_id uuid, OUT active bigint, OUT failing bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, count(e.expectation_id), count(e.expectation_id) FILTER (WHERE e.judged_status = 'failed')
        FROM stormops.tenants AS t LEFT JOIN stormops.expectations AS e ON e.tenant_id = t.tenant_id AND e.active
        WHERE t.status <> 'closed'
        GROUP BY t.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_expectations() IS 'Of monitoring_samples(): expectations that are judged, and those that failed when last judged.';

CREATE FUNCTION stormops.monitor_tenant_quality(OUT tenant_id uuid, OUT judged_rows bigint, OUT failing_ratio numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT o.tenant_id, o.rows_judged, o.failing_share
        FROM stormops_internal.quality_objective(NULL) AS o JOIN stormops.tenants AS t ON t.tenant_id = o.tenant_id
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_quality() IS 'Of monitoring_samples(): the platform''s objective, as quality_objective(): rows judged in the last 24 hours and the share that failed. No row where none was judged.';

CREATE FUNCTION stormops.monitor_tenant_service(
    OUT tenant_id uuid, OUT call text, OUT recent_calls bigint, OUT p50_seconds numeric, OUT p95_seconds numeric, OUT p99_seconds numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT t.tenant_id, l.call, l.calls, l.p50 / 1000, l.p95 / 1000, l.p99 / 1000
        FROM stormops_internal.call_levels(NULL, 1) AS l JOIN stormops.tenants AS t ON t.tenant_id = l.tenant_id
        WHERE t.status <> 'closed';
END
$$;
COMMENT ON FUNCTION stormops.monitor_tenant_service() IS 'Of monitoring_samples(): service_levels() of yesterday and today (UTC), in seconds. No row for a call that was not made.';

CREATE FUNCTION stormops.usage_by_day(
    since timestamptz, until timestamptz,
    OUT day timestamptz, OUT tenant_id uuid, OUT org_name text, OUT metric_name text, OUT unit text, OUT events bigint, OUT quantity numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF since IS NULL OR until IS NULL OR NOT isfinite(since) OR NOT isfinite(until) OR until < since OR until - since > interval '400 days' THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN num_nulls(since, until) > 0 THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'usage by day is shown for at most 400 days, from the earlier to the later',
            HINT = 'SELECT * FROM stormops.usage_by_day(now() - interval ''30 days'', now());';
    END IF;
    RETURN QUERY
        SELECT r.bucket, t.tenant_id, t.org_name, m.metric_name, m.unit, r.event_count, r.quantity
        FROM stormops.tenants AS t
        JOIN stormops.metrics AS m ON m.tenant_id = t.tenant_id
        CROSS JOIN LATERAL (
            SELECT r.bucket, r.event_count, r.quantity FROM stormops.usage_rollups AS r
            WHERE r.tenant_id = m.tenant_id AND r.metric_name = m.metric_name AND r.grain = 'day' AND r.dimensions = '{}'
                AND r.bucket >= date_trunc('day', since, 'UTC') AND r.bucket <= until) AS r
        ORDER BY r.bucket, t.org_name, t.tenant_id, m.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.usage_by_day(timestamptz, timestamptz) IS 'Use by day (UTC), tenant and metric between two moments, at most 400 days, by the rollups: what usage_overview() sums by month, as a series for a chart. For operators and monitors. Errors: 22004; 22023.';

-- health/recounts.sql
-- The counters put right where triggers did not run, and the triggers themselves.

CREATE FUNCTION stormops.recount_rows(table_name text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
    corrected bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    EXECUTE format('LOCK TABLE stormops.%I IN SHARE ROW EXCLUSIVE MODE', this.table_name); -- no writer meanwhile
    -- When rows that were never counted came, their own time says; later differences have none.
    EXECUTE format($query$
        WITH counted AS (
            SELECT b.tenant_id, sum(b.rows) AS rows FROM (
                SELECT c.tenant_id, c.inserted - c.deleted AS rows FROM stormops.row_counts AS c WHERE c.table_name = $1
                UNION ALL
                SELECT d.tenant_id, d.inserted - d.deleted FROM stormops.row_count_deltas AS d WHERE d.table_name = $1
            ) AS b GROUP BY b.tenant_id
        ), present AS (
            SELECT r.tenant_id, stormops_internal.count_bucket(r.%I) AS bucket, count(*) AS rows, max(r.%I) AS last_at
            FROM stormops.%I AS r GROUP BY 1, 2
        ), totals AS (
            SELECT p.tenant_id, sum(p.rows) AS rows FROM present AS p GROUP BY 1
        ), missing AS (
            SELECT p.tenant_id, p.bucket, p.rows, 0 AS deleted, least(p.last_at, now()) AS last_at FROM present AS p
            WHERE NOT EXISTS (SELECT FROM counted AS c WHERE c.tenant_id = p.tenant_id)
            UNION ALL
            SELECT c.tenant_id, timestamptz '1970-01-01 00:00:00+00', greatest(coalesce(t.rows, 0) - c.rows, 0),
                greatest(c.rows - coalesce(t.rows, 0), 0), NULL
            FROM counted AS c LEFT JOIN totals AS t ON t.tenant_id = c.tenant_id
            WHERE c.rows <> coalesce(t.rows, 0)
        )
        INSERT INTO stormops.row_counts AS c (tenant_id, table_name, bucket, inserted, deleted, last_at)
        SELECT m.tenant_id, $1, least(m.bucket, date_trunc('hour', now(), 'UTC')), sum(m.rows), sum(m.deleted), max(m.last_at)
        FROM missing AS m GROUP BY 1, 3
        ON CONFLICT ON CONSTRAINT row_counts_pkey DO UPDATE
        SET inserted = c.inserted + EXCLUDED.inserted, deleted = c.deleted + EXCLUDED.deleted,
            last_at = greatest(c.last_at, EXCLUDED.last_at)
        $query$, this.time_column, this.time_column, this.table_name)
    USING this.table_name;
    GET DIAGNOSTICS corrected = ROW_COUNT;
    RETURN corrected;
END
$$;
COMMENT ON FUNCTION stormops.recount_rows(text) IS 'Counts a table''s rows, of all tenants, and puts right what row_counts says; returns how many entries it wrote, 0 if all was right. For operators, after rows were written where triggers do not run (session_replication_role = replica, a partition named directly). Writers of the table wait. Errors: 22004; 42704 not a watched table.';

CREATE FUNCTION stormops_internal.uncount_partition(table_name text, partition name) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    EXECUTE format('INSERT INTO stormops.row_count_deltas (tenant_id, table_name, delta_id, inserted, deleted)'
        ' SELECT r.tenant_id, %L, stormops.new_id(), 0, count(*) FROM stormops_internal.%I AS r GROUP BY r.tenant_id', table_name, partition);
END
$$;
COMMENT ON FUNCTION stormops_internal.uncount_partition(text, name) IS 'Counts the rows of a partition as deleted, before it is dropped.';

CREATE FUNCTION stormops_internal.counting_triggers(OUT table_name text, OUT trigger name, OUT definition text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.table_name, t.trigger::name, format('CREATE TRIGGER %s AFTER %s ON stormops.%I%s FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.count_rows()',
        t.trigger, t.event, c.table_name, t.rows)
    FROM stormops.counted_tables() AS c CROSS JOIN (VALUES
        ('count_inserted', 'INSERT', ' REFERENCING NEW TABLE AS changed_rows'),
        ('count_deleted', 'DELETE', ' REFERENCING OLD TABLE AS changed_rows'),
        ('count_truncated', 'TRUNCATE', '')
    ) AS t (trigger, event, rows)
$$;
COMMENT ON FUNCTION stormops_internal.counting_triggers() IS 'The triggers that count the rows of the counted tables.';

CREATE FUNCTION stormops_internal.count_tables() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    t record;
    uncounted text[] := ARRAY(
        SELECT c.table_name FROM stormops.counted_tables() AS c
        WHERE NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = format('stormops.%I', c.table_name)::regclass AND g.tgname = 'count_inserted'));
BEGIN
    FOR t IN SELECT c.definition FROM stormops_internal.counting_triggers() AS c LOOP
        EXECUTE regexp_replace(t.definition, '^CREATE', 'CREATE OR REPLACE');
    END LOOP;
    PERFORM stormops.recount_rows(u.table_name) FROM unnest(uncounted) AS u (table_name);
END
$$;
COMMENT ON FUNCTION stormops_internal.count_tables() IS 'Gives each counted table its triggers. One that had none may hold rows that nobody counted: that is put right in the same transaction, while no writer can pass.';

-- health/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'health';
-- What of health the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('data_quality_metrics', 'SELECT', 'viewer', NULL, NULL),
    ('data_quality_metrics', 'INSERT', 'crew_chief', NULL, NULL),
    ('row_count_deltas', 'SELECT', 'viewer', NULL, NULL),
    ('row_counts', 'SELECT', 'viewer', NULL, NULL),
    ('call_durations', 'SELECT', 'viewer', NULL, NULL),
    ('expectations', 'SELECT', 'viewer', NULL, NULL),
    ('expectations', 'INSERT', 'admin', '{tenant_id,expectation_id,name,table_name,rule,columns,lowest,highest,max_age,threshold,severity,every,active}', NULL),
    ('expectations', 'UPDATE', 'admin', '{lowest,highest,max_age,threshold,severity,every,active}', NULL),
    ('expectations', 'DELETE', 'admin', NULL, NULL),
    ('alerts', 'SELECT', 'viewer', NULL, NULL),
    ('alerts', 'INSERT', 'crew_chief', NULL, 'run_health_checks()'),
    ('alerts', 'UPDATE', 'crew_chief', NULL, 'run_health_checks(), acknowledge_alert(), silence_alert()'),
    ('runbook_steps', 'SELECT', 'viewer', NULL, NULL),
    ('runbook_steps', 'INSERT', 'admin', NULL, NULL),
    ('runbook_steps', 'UPDATE', 'admin', '{action}', NULL),
    ('runbook_steps', 'DELETE', 'admin', NULL, NULL);

-- Tables that hold no tenant's rows.
INSERT INTO pg_temp.installation_tables (table_name) VALUES
    ('platform_alerts'),
    ('scheduled_jobs'),
    ('health_progress'),
    ('alert_routes'),
    ('alert_deliveries');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.set_alert_route(text,text,text,text,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.remove_alert_route(text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.alert_routes(uuid)', '{app,trusted_app,operator}'),
    ('stormops.alert_deliveries(uuid)', '{app,trusted_app,operator}'),
    ('stormops.retry_deliveries(uuid)', '{app,trusted_app,operator}'),
    ('stormops.deliver_alerts(integer,interval)', '{operator}'),
    ('stormops.lift_over_time(uuid,integer)', '{app,trusted_app}'),
    ('stormops_internal.health_report_data(uuid)', '{app,trusted_app}'),
    ('stormops.health_report_html(uuid)', '{app,trusted_app}'),
    ('stormops_internal.draw_health_report(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.report_issues(jsonb)', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.platform_report_data()', '{operator,monitor}'),
    ('stormops.platform_report_html()', '{operator,monitor}'),
    ('stormops_internal.draw_platform_report(jsonb)', '{operator,monitor}'),
    ('stormops_internal.counting_triggers()', '{operator,monitor}'),
    ('stormops_internal.has_tenant()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.may_monitor()', '{app,trusted_app,operator,monitor}'),
    ('stormops.counted_tables()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.counted_table(text)', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.read_columns(text)', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.shipped_columns()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.schema_drift(text)', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.count_bucket(timestamp with time zone)', '{app,trusted_app}'),
    ('stormops_internal.tenant_row_counts()', '{app,trusted_app}'),
    ('stormops_internal.parent_of(text,text)', '{app,trusted_app}'),
    ('stormops_internal.null_rates_query(regclass)', '{app,trusted_app}'),
    ('stormops_internal.orphan_condition(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.check_failing_condition(regclass)', '{app,trusted_app}'),
    ('stormops_internal.row_quality(text,timestamp with time zone)', '{app,trusted_app}'),
    ('stormops_internal.table_upkeep(text)', '{app,trusted_app,operator,monitor}'),
    ('stormops.check_table_health(text,interval)', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.expectation_fault(text,text,text[])', '{app,trusted_app}'),
    ('stormops.expect(text,text,text[],numeric,numeric,interval,numeric,text,interval,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.default_expectations()', '{app,trusted_app,operator}'),
    ('stormops.expect_defaults(uuid)', '{app,trusted_app,operator}'),
    ('stormops.run_health_checks(boolean)', '{app,trusted_app,operator}'),
    ('stormops_internal.judge_all_due(boolean,jsonb)', '{app,trusted_app,operator}'),
    ('stormops.alerts(boolean)', '{app,trusted_app,operator,monitor}'),
    ('stormops.acknowledge_alert(uuid,text)', '{app,trusted_app,operator}'),
    ('stormops.silence_alert(uuid,timestamp with time zone,text)', '{app,trusted_app,operator}'),
    ('stormops_internal.shipped_issues()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.shipped_runbook()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.runbook_steps(text)', '{app,trusted_app,operator,monitor}'),
    ('stormops.runbook(text)', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.quality_objective(uuid)', '{app,trusted_app}'),
    ('stormops_internal.score_measures(uuid,stormops.score_sketch,text)', '{app,trusted_app}'),
    ('stormops_internal.storm_measures(uuid)', '{app,trusted_app}'),
    ('stormops_internal.storm_issues(uuid,jsonb,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.tenant_issues()', '{app,trusted_app}'),
    ('stormops_internal.dashboard_of(uuid)', '{app,trusted_app}'),
    ('stormops.get_health_dashboard(uuid)', '{app,trusted_app}'),
    ('stormops_internal.sparkline(numeric[])', '{app,trusted_app,operator,monitor}'),
    ('stormops.health_summary(uuid)', '{app,trusted_app}'),
    ('stormops_internal.platform_counts()', '{operator,monitor}'),
    ('stormops.slowest_calls(integer,integer)', '{operator,monitor}'),
    ('stormops_internal.server_load()', '{operator,monitor}'),
    ('stormops_internal.replication_state()', '{operator,monitor}'),
    ('stormops_internal.slowest_statements()', '{operator,monitor}'),
    ('stormops_internal.system_issues(jsonb)', '{operator,monitor}'),
    ('stormops.get_system_health(boolean)', '{operator,monitor}'),
    ('stormops.get_tenant_metrics(uuid,integer)', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.next_run(text,timestamp with time zone)', '{operator,monitor}'),
    ('stormops.known_jobs()', '{operator,monitor}'),
    ('stormops_internal.known_job(text)', '{operator}'),
    ('stormops.schedules()', '{operator,monitor}'),
    ('stormops.schedule_job(text,text)', '{operator}'),
    ('stormops.schedule_health_checks(text)', '{operator}'),
    ('stormops.schedule_all()', '{operator}'),
    ('stormops.unschedule_all()', '{operator}'),
    ('stormops.note_schedule(text,text)', '{operator}'),
    ('stormops.run_job(text)', '{operator}'),
    ('stormops_internal.note_run(text,timestamp with time zone,text,text)', '{operator}'),
    ('stormops.forget_health(interval)', '{operator}'),
    ('stormops.metric_families()', '{operator,monitor}'),
    ('stormops.monitor_installation()', '{operator,monitor}'),
    ('stormops.monitor_platform()', '{operator,monitor}'),
    ('stormops.monitor_replica()', '{operator,monitor}'),
    ('stormops.monitor_schedule()', '{operator,monitor}'),
    ('stormops.monitor_schedule_last()', '{operator,monitor}'),
    ('stormops.monitor_alerts()', '{operator,monitor}'),
    ('stormops.monitor_delivery()', '{operator,monitor}'),
    ('stormops.monitor_metering()', '{operator,monitor}'),
    ('stormops.monitor_tenant()', '{operator,monitor}'),
    ('stormops.monitor_tenant_usage()', '{operator,monitor}'),
    ('stormops.monitor_tenant_storage()', '{operator,monitor}'),
    ('stormops.monitor_tenant_quota()', '{operator,monitor}'),
    ('stormops.monitor_tenant_expectations()', '{operator,monitor}'),
    ('stormops.monitor_tenant_quality()', '{operator,monitor}'),
    ('stormops.monitor_tenant_service()', '{operator,monitor}'),
    ('stormops.usage_by_day(timestamp with time zone,timestamp with time zone)', '{operator,monitor}'),
    ('stormops.monitoring_samples()', '{operator,monitor}'),
    ('stormops.prometheus_metrics()', '{operator,monitor}'),
    ('stormops.fold_row_counts()', '{operator}'),
    ('stormops.recount_rows(text)', '{operator}');

-- What runs on its own: see known_jobs().
INSERT INTO pg_temp.known_jobs (job, schedule, function, purpose) VALUES
    ('health_checks', '*/15 * * * *', 'run_health_checks', 'judge expectations, raise and resolve alerts'),
    ('health_retention', '45 3 * * *', 'forget_health', 'delete old measurements and resolved alerts'),
    ('alert_delivery', '* * * * *', 'deliver_alerts', 'tell whoever is to be told');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('volume_drop', ARRAY['Check ingestion pipeline', 'Verify Kafka/Flink jobs', 'Check upstream sources', 'Review error logs']),
    ('missing_values', ARRAY['See which columns: null_rates in check_table_health(table)', 'Find the source that leaves the column out',
        'Fill the rows in, or relax the expectation']),
    ('out_of_range', ARRAY['Look at the rows outside the range', 'Check units and scale at the source', 'Correct the rows, or the expectation''s limits']),
    ('duplicates', ARRAY['Find the rows that share the key', 'Check whether a load ran twice', 'Give loads an idempotency key or external_id']),
    ('orphans', ARRAY['Find the rows whose parent is missing', 'Check what wrote them past the foreign keys', 'Restore the parents from a backup']),
    ('stale_data', ARRAY['Check ingestion pipeline', 'See when the last row came: last_row_at in check_table_health(table)', 'Check upstream sources']),
    ('schema_drift', ARRAY['See what differs: schema_drift in check_table_health(table)', 'Find who changed the table',
        'Put the column back as shipped, or make the change with an upgrade']),
    ('data_quality', ARRAY['See which expectations fail: SELECT * FROM stormops.alerts()', 'Read data_quality_metrics of the last 24 hours',
        'Repair the source with most failing rows first']),
    ('schedule_missed', ARRAY['SELECT * FROM stormops.schedules()', 'Check that pg_cron runs: shared_preload_libraries and cron.database_name',
        'Read cron.job_run_details: was the job refused a connection? Then set cron.use_background_workers = on',
        'Run it by hand: SELECT stormops.run_job(job)']),
    ('schedule_failed', ARRAY['Read the error: detail in stormops.schedules()', 'Run it by hand: SELECT stormops.run_job(job)']),
    ('nothing_scheduled', ARRAY['SELECT stormops.schedule_all()', 'Or let any scheduler run SELECT stormops.run_job(job)']),
    ('long_transaction', ARRAY['Find it in pg_stat_activity by xact_start', 'Ask its owner to end it', 'SELECT pg_terminate_backend(pid)']),
    ('xid_age', ARRAY['Find what holds the oldest transaction: pg_stat_activity, pg_prepared_xacts, pg_replication_slots',
        'VACUUM (FREEZE) the tables with the greatest age(relfrozenxid)']),
    ('replication_lag', ARRAY['Look at pg_stat_replication and the standby''s log', 'Drop slots that nobody reads: pg_replication_slots']),
    ('connections', ARRAY['Look at pg_stat_activity for idle sessions', 'Put a pool before the database, or raise max_connections']),
    ('unfolded_counts', ARRAY['SELECT stormops.fold_row_counts()', 'Check that health checks are scheduled: stormops.schedules()']),
    ('metrics_absent', ARRAY['Is the server up, and does the exporter''s log name an error?',
        'As the exporter''s role: SELECT stormops.prometheus_metrics()', 'SELECT stormops.grant_usage(role, ''monitor'')']),
    ('alert_delivery', ARRAY['SELECT * FROM stormops.alert_deliveries(tenant_id) shows why: last_status, last_detail',
        'Check that alert_delivery is scheduled: stormops.schedules()', 'Once the receiver answers: SELECT stormops.retry_deliveries(tenant_id)']),
    ('slow_calls', ARRAY['SELECT service_levels FROM stormops.get_tenant_metrics(tenant_id, 1)',
        'Look for what else ran: slow_statements in stormops.get_system_health()',
        'Find a long transaction or a lock: pg_stat_activity by wait_event']);

-- health/report.sql
-- Pages to look at. What they show is gathered here; how it looks is Rust.

CREATE FUNCTION stormops_internal.draw_health_report(data jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'draw_health_report_wrapper';
COMMENT ON FUNCTION stormops_internal.draw_health_report(jsonb) IS 'The page of a storm from health_report_data(). Error: 22023 not such data.';

CREATE FUNCTION stormops_internal.draw_platform_report(data jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'draw_platform_report_wrapper';
COMMENT ON FUNCTION stormops_internal.draw_platform_report(jsonb) IS 'The page of the installation from platform_report_data(). Error: 22023 not such data.';

CREATE FUNCTION stormops.lift_over_time(
    storm_id uuid, most_points integer DEFAULT 60,
    OUT day integer, OUT treated_converted bigint, OUT control_converted bigint,
    OUT lift double precision, OUT always_valid_low double precision, OUT always_valid_high double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    WITH run AS MATERIALIZED (
        SELECT r.run_id, r.decided_at, least(extract(epoch FROM now() - r.decided_at) / 86400,
            (r.parameters ->> 'outcome_days')::integer)::integer AS days
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
    ), decided AS MATERIALIZED (
        SELECT d.property_id, d.treated FROM stormops.compared_decisions($1) AS d WHERE d.compared
    ), arms AS (
        SELECT count(*) FILTER (WHERE d.treated) AS treated_n, count(*) FILTER (WHERE NOT d.treated) AS control_n FROM decided AS d
    ), conversions AS (
        -- The first conversion of each property, in whole days after the decision.
        SELECT d.treated, ceil(extract(epoch FROM min(o.occurred_at) - (SELECT run.decided_at FROM run)) / 86400)::integer AS day
        FROM stormops.policy_outcomes AS o JOIN decided AS d ON d.property_id = o.property_id
        WHERE o.tenant_id = stormops.current_tenant() AND o.run_id = (SELECT run.run_id FROM run) AND NOT o.late AND o.converted
        GROUP BY o.property_id, d.treated
    ), by_day AS (
        SELECT c.day, count(*) FILTER (WHERE c.treated) AS treated, count(*) FILTER (WHERE NOT c.treated) AS control
        FROM conversions AS c GROUP BY c.day
    ), so_far AS (
        SELECT s.day, sum(coalesce(b.treated, 0)) OVER w AS treated, sum(coalesce(b.control, 0)) OVER w AS control,
            s.day = max(s.day) OVER () AS last
        FROM run CROSS JOIN generate_series(0, greatest(run.days, 1)) AS s (day) LEFT JOIN by_day AS b ON b.day = s.day
        WINDOW w AS (ORDER BY s.day)
    )
    SELECT s.day, s.treated::bigint, s.control::bigint, c.lift, c.always_valid_low, c.always_valid_high
    FROM so_far AS s CROSS JOIN arms AS a
    CROSS JOIN LATERAL stormops.compare_proportions(s.treated::bigint, a.treated_n, s.control::bigint, a.control_n,
        0.05, 0.05, greatest(a.treated_n + a.control_n, 1)) AS c
    WHERE (SELECT count(*) FROM conversions) > 0
        AND (s.last OR s.day % greatest(1, ceil((SELECT run.days FROM run) / greatest($2, 2)::numeric)::integer) = 0)
    ORDER BY s.day
$$;
COMMENT ON FUNCTION stormops.lift_over_time(uuid, integer) IS 'The lift of a storm''s current run so far, by days since the decision: conversions up to then of all that were compared (compared_decisions()), and the interval that holds at every look. At most about most_points rows (2 and more), the last day among them; no row before the first conversion. Errors: 0B000.';

CREATE FUNCTION stormops_internal.report_issues(issues jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(jsonb_agg(i.issue || jsonb_build_object('summary', replace(i.issue ->> 'issue', '_', ' '),
        'since', coalesce(to_char((i.issue ->> 'since')::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), '')) ORDER BY i.n), '[]')
    FROM jsonb_array_elements($1) WITH ORDINALITY AS i (issue, n)
$$;
COMMENT ON FUNCTION stormops_internal.report_issues(jsonb) IS 'The issues of a dashboard as a page tells them.';

CREATE FUNCTION stormops_internal.health_report_data(storm_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    report jsonb;
    storm record;
    reference record;
    low float8;
    high float8;
BEGIN
    SELECT d.* INTO storm FROM stormops_internal.dashboard_of(storm_id) AS d;
    SELECT jsonb_build_object('org_name', t.org_name, 'storm', storm.dashboard -> 'storm', 'storm_status', storm.dashboard -> 'storm_status',
        'made_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
        'health_status', storm.dashboard -> 'health_status', 'issues', stormops_internal.report_issues(storm.dashboard -> 'issues'),
        'rates', storm.dashboard -> 'conversion')
    INTO report FROM stormops.tenants AS t WHERE t.tenant_id = stormops.current_tenant();

    IF stormops.n(storm.scores) > 0 THEN
        SELECT r.* INTO reference FROM stormops_internal.uplift_reference(storm_id, NULL, storm.model_version) AS r;
        -- The middle of both, so that one stray score does not squeeze all others into a bin.
        SELECT min(stormops.quantile(x.sketch, 0.001)), max(stormops.quantile(x.sketch, 0.999)) INTO low, high
        FROM (VALUES (storm.scores), (reference.scores)) AS x (sketch) WHERE stormops.n(x.sketch) > 0;
        IF high <= low THEN
            high := low + 0.01;
        END IF;
        report := report || jsonb_build_object('scored', stormops.n(storm.scores), 'scores', (
            SELECT jsonb_build_object('n', u.uplift -> 'n', 'mean', u.uplift -> 'mean', 'sd', u.uplift -> 'sd', 'severity', v.severity,
                'reference', reference.reference, 'low', low, 'high', high,
                'histogram', stormops.histogram(storm.scores, low, high, 30),
                'reference_histogram', coalesce(stormops.histogram(reference.scores, low, high, 30), '{}'))
            FROM (SELECT storm.dashboard -> 'uplift') AS u (uplift) CROSS JOIN stormops.drift_verdict(storm.scores, reference.scores) AS v
        ));
    END IF;

    report := report || coalesce((
        SELECT jsonb_build_object('run', jsonb_build_object('policy_mode', r.policy_mode,
            'decided_at', to_char(r.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
            'treat', r.treat, 'hold', r.hold, 'excluded', r.excluded,
            'with_outcome', coalesce(sum(s.with_outcome) FILTER (WHERE s.decision = 'treat'), 0),
            'converted', coalesce(sum(s.converted) FILTER (WHERE s.decision = 'treat'), 0)))
        FROM stormops.policy_runs AS r LEFT JOIN stormops.storm_results AS s ON s.tenant_id = r.tenant_id AND s.run_id = r.run_id
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = health_report_data.storm_id AND r.superseded_at IS NULL
        GROUP BY r.tenant_id, r.run_id, r.policy_mode, r.decided_at, r.treat, r.hold, r.excluded
    ), '{}');

    report := report || jsonb_build_object(
        'lift', (SELECT coalesce(jsonb_agg(jsonb_build_array(l.day, l.lift, l.always_valid_low, l.always_valid_high) ORDER BY l.day), '[]')
                 FROM stormops.lift_over_time(storm_id) AS l),
        'curve', (SELECT coalesce(jsonb_agg(jsonb_build_array(c.share, c.qini, c.qini_random) ORDER BY c.share), '[]')
                  FROM stormops.uplift_curve(storm_id, 60) AS c),
        'qini', (SELECT u.qini FROM stormops.uplift_summary(storm_id) AS u));
    -- Use and money are an admin's to see.
    IF stormops.may_read('admin') THEN
        report := report || jsonb_build_object(
            'usage', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('metric_name', u.metric_name, 'unit', u.unit, 'total', trim_scale(u.total)::text,
                    'series', (SELECT jsonb_agg(coalesce(s.quantity, 0) ORDER BY g.day)
                               FROM generate_series((now() AT TIME ZONE 'UTC')::date - 29, (now() AT TIME ZONE 'UTC')::date, interval '1 day') AS g (day)
                               LEFT JOIN jsonb_to_recordset(u.series) AS s (day date, quantity numeric) ON s.day = g.day::date)
                    ) ORDER BY u.metric_name), '[]')
                FROM stormops.get_tenant_usage(NULL, 30) AS u),
            'bill', (
                SELECT CASE WHEN count(*) > 0 THEN jsonb_build_object('period', p.month, 'currency', min(i.currency), 'total', sum(i.amount)::text,
                    'lines', jsonb_agg(jsonb_build_array(concat_ws(', ', coalesce(i.metric_name, i.kind), i.rule),
                        concat_ws(' ', trim_scale(i.quantity)::text, i.unit), i.amount::text) ORDER BY i.line)) END
                FROM (SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS month) AS p, stormops.preview_invoice(NULL, p.month) AS i
                GROUP BY p.month));
    END IF;
    RETURN report;
END
$$;
COMMENT ON FUNCTION stormops_internal.health_report_data(uuid) IS 'What health_report_html() shows, as a JSON object.';

CREATE FUNCTION stormops.health_report_html(storm_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.draw_health_report(stormops_internal.health_report_data($1)) $$;
COMMENT ON FUNCTION stormops.health_report_html(uuid) IS 'A storm in one HTML page that needs nothing else: open issues with their runbook, treatment funnel, lift over time with its always-valid interval, score distribution against its reference, Qini curve, usage and bill. Light and dark, any width, every value escaped. psql: \o page.html, \pset format unaligned, \t. Errors: 0B000 no tenant, P0002 no such storm.';

CREATE FUNCTION stormops_internal.platform_report_data() RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    month text := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM');
    health record;
    revenue jsonb := '{}';
BEGIN
    SELECT h.* INTO health FROM stormops.get_system_health() AS h;
    -- Money is an operator's to see, not a monitor's.
    IF stormops_internal.is_operator() THEN
        SELECT coalesce(jsonb_object_agg(m.tenant_id, format('%s %s', m.currency, m.revenue)), '{}') INTO revenue
        FROM stormops.tenant_margins(month) AS m WHERE m.revenue IS NOT NULL;
    END IF;
    RETURN jsonb_build_object(
        'database', current_database(), 'made_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
        'health_status', health.health_status, 'issues', stormops_internal.report_issues(health.issues),
        'system', (
            SELECT jsonb_agg(jsonb_build_array(v.name, v.value) ORDER BY v.place) FROM (VALUES
                (1, 'open alerts', format('%s, %s critical', health.open_alerts, health.critical_alerts)),
                (2, 'tenants that miss the quality objective', health.objective_missed::text),
                (3, 'tenants', format('%s active, %s suspended, %s closed', health.active_tenants, health.suspended_tenants, health.closed_tenants)),
                (4, 'schedules', format('%s, %s failed, %s missed', health.scheduled_jobs, health.failed_schedules, health.missed_schedules)),
                (5, 'connections', format('%s of %s', health.connections, health.max_connections)),
                (6, 'oldest transaction', (make_interval(secs => round(health.oldest_transaction_seconds)))::text),
                (7, 'oldest snapshot, in transactions', health.oldest_xmin_age::text),
                (8, 'sessions that this role may not see', nullif(health.hidden_sessions, 0)::text),
                (9, 'cache hit ratio', round(100 * health.cache_hit_ratio, 2) || ' %'),
                (10, 'deadlocks', health.deadlocks::text),
                (11, 'database size', pg_size_pretty(health.db_size_bytes)),
                (12, 'age of transaction ids', health.xid_age::text),
                (13, 'standby', CASE WHEN health.in_recovery THEN 'yes' END),
                (14, 'replay is late by', (make_interval(secs => round(health.replay_delay_seconds)))::text),
                (15, 'replicas', health.replicas::text),
                (16, 'replication lag', pg_size_pretty(health.replication_lag_bytes)),
                (17, 'log kept by slots', pg_size_pretty(health.retained_wal_bytes)),
                (18, 'partitions made ahead', health.partition_runway_days || ' days'),
                (19, 'row counts to fold', health.unfolded_counts::text),
                (20, 'invoices overdue', health.invoices_overdue::text)
            ) AS v (place, name, value) WHERE v.value IS NOT NULL),
        'attest', (SELECT jsonb_agg(jsonb_build_array(a.property, a.pass, concat_ws('. ', a.evidence, a.remedy))) FROM stormops.attest() AS a),
        'tenants', (
            SELECT coalesce(jsonb_agg(jsonb_build_object('org_name', t.org_name, 'tier', t.tier, 'status', t.status, 'alerts', a.open,
                'events', coalesce(u.events, 0), 'storage_mb', trim_scale(u.storage_mb)::text, 'revenue', revenue ->> t.tenant_id::text)
                ORDER BY t.created_at), '[]')
            FROM stormops.list_tenants() AS t
            LEFT JOIN (
                SELECT o.tenant_id, concat(count(*), nullif(format(', %s critical', count(*) FILTER (WHERE o.severity = 'critical')), ', 0 critical')) AS open
                FROM stormops.alerts() AS o GROUP BY o.tenant_id
            ) AS a ON a.tenant_id = t.tenant_id
            LEFT JOIN (
                SELECT o.tenant_id, sum(o.events) AS events, max(o.quantity) FILTER (WHERE o.metric_name = 'storage_mb') AS storage_mb
                FROM stormops.usage_overview(month) AS o GROUP BY o.tenant_id
            ) AS u ON u.tenant_id = t.tenant_id),
        'schedules', (SELECT coalesce(jsonb_agg(jsonb_build_array(s.job, s.schedule,
                to_char(s.last_started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), CASE WHEN s.missed THEN 'missed' ELSE s.outcome END)
                ORDER BY s.job), '[]') FROM stormops.schedules() AS s));
END
$$;
COMMENT ON FUNCTION stormops_internal.platform_report_data() IS 'What platform_report_html() shows, as a JSON object.';

CREATE FUNCTION stormops.platform_report_html() RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.draw_platform_report(stormops_internal.platform_report_data()) $$;
COMMENT ON FUNCTION stormops.platform_report_html() IS 'The installation in one HTML page that needs nothing else: open issues with their runbook, the server, attest(), tenants with their open alerts, this month''s use and, for operators, revenue, schedules. No tenant''s rows. For operators and monitors; light and dark, any width, every value escaped. Error: 42501.';

-- health/routes.sql
-- Where alerts go: each tenant's own routes, and the platform's.

CREATE FUNCTION stormops_internal.severity_rank(severity text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT array_position(ARRAY['info', 'warning', 'critical'], $1) $$;
COMMENT ON FUNCTION stormops_internal.severity_rank(text) IS 'info 1, warning 2, critical 3; NULL if it is none.';

CREATE FUNCTION stormops_internal.route_owner(tenant_id uuid, writes boolean) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN stormops_internal.is_operator() THEN $1 ELSE stormops_internal.target_tenant($1, $2) END $$;
COMMENT ON FUNCTION stormops_internal.route_owner(uuid, boolean) IS 'Whose routes a call concerns: for an operator those of the named tenant, or without one the platform''s (NULL); else those of the tenant in context, for its admins. Errors as target_tenant().';

CREATE FUNCTION stormops.set_alert_route(
    name text, kind text, address text DEFAULT '', secret text DEFAULT '', min_severity text DEFAULT 'warning', tenant_id uuid DEFAULT NULL
) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    owner uuid := stormops_internal.route_owner(tenant_id, true);
    refusal text;
    hint text := 'SELECT stormops.set_alert_route(''on call'', ''pagerduty'', secret => ''<routing key>'');';
BEGIN
    IF name IS NULL OR kind IS NULL OR min_severity IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name, kind and min_severity must not be null', HINT = hint;
    END IF;
    address := coalesce(address, '');
    secret := coalesce(secret, '');
    refusal := CASE
        WHEN char_length(name) NOT BETWEEN 1 AND 100 THEN 'a route''s name has 1 to 100 characters'
        WHEN kind NOT IN ('pagerduty', 'slack', 'webhook') THEN 'a route is of kind pagerduty, slack or webhook'
        WHEN stormops_internal.severity_rank(min_severity) IS NULL THEN 'min_severity is info, warning or critical'
        WHEN octet_length(secret) > 1000 THEN 'the secret is longer than 1000 bytes'
        WHEN kind <> 'slack' AND secret = '' THEN format('a route of kind %s needs a secret', kind)
        WHEN kind = 'webhook' AND secret LIKE 'whsec\_%' AND substr(secret, 7) !~ '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
            THEN 'what follows whsec_ is base64'
        WHEN kind = 'webhook' AND octet_length(secret) < 24 THEN 'the secret of a signature has at least 24 characters'
        WHEN kind <> 'pagerduty' OR address <> '' THEN stormops_internal.egress_refusal(address)
    END;
    IF refusal IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = refusal, HINT = hint;
    END IF;
    IF (SELECT count(*) FROM stormops_internal.alert_routes AS r
        WHERE r.for_tenant IS NOT DISTINCT FROM owner AND r.name <> set_alert_route.name) >= 20 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'nobody has more than 20 routes',
            HINT = 'SELECT stormops.remove_alert_route(name); of those in SELECT * FROM stormops.alert_routes();';
    END IF;
    INSERT INTO stormops_internal.alert_routes AS r (for_tenant, name, kind, address, secret, min_severity)
    VALUES (owner, name, kind, address, secret, min_severity)
    ON CONFLICT ON CONSTRAINT alert_routes_for_tenant_name_key DO UPDATE
    SET kind = EXCLUDED.kind, address = EXCLUDED.address, secret = EXCLUDED.secret, min_severity = EXCLUDED.min_severity;
EXCEPTION
    WHEN foreign_key_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'tenant does not exist',
            HINT = 'SELECT * FROM stormops.list_tenants(); shows all.';
END
$$;
COMMENT ON FUNCTION stormops.set_alert_route(text, text, text, text, text, uuid) IS 'Sends alerts of at least min_severity (info, warning, critical) to a receiver; replaces a route of that name. kind: pagerduty, slack or webhook; address: https; secret: not readable again. Admins: their tenant; operators: a tenant, or NULL: the platform. Errors: 22004; 22023 an argument; 42501 not allowed; 54000 more than 20 routes; P0002 no such tenant; those of current_tenant().';

CREATE FUNCTION stormops.remove_alert_route(name text, tenant_id uuid DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    owner uuid := stormops_internal.route_owner(tenant_id, true);
BEGIN
    DELETE FROM stormops_internal.alert_routes AS r WHERE r.for_tenant IS NOT DISTINCT FROM owner AND r.name = remove_alert_route.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('route "%s" does not exist', left(name, 100)),
            HINT = 'SELECT * FROM stormops.alert_routes(); shows those that do.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.remove_alert_route(text, uuid) IS 'Ends a route; what is still to be sent over it is given up. For whom as set_alert_route(). Errors: P0002 no such route; 42501; as current_tenant().';

CREATE FUNCTION stormops.alert_routes(
    tenant_id uuid DEFAULT NULL,
    OUT name text, OUT kind text, OUT host text, OUT min_severity text, OUT pending bigint, OUT dead bigint, OUT last_delivered_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    owner uuid := stormops_internal.route_owner($1, false);
BEGIN
    RETURN QUERY
        SELECT r.name, r.kind, coalesce(substring(r.address FROM '^[a-z]+://([^/?#]+)'), 'events.pagerduty.com'), r.min_severity,
            d.pending, d.dead, d.last_delivered_at
        FROM stormops_internal.alert_routes AS r
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE d.state = 'pending'), count(*) FILTER (WHERE d.state = 'dead'),
                max(d.last_attempt_at) FILTER (WHERE d.state = 'delivered')
            FROM stormops_internal.alert_deliveries AS d WHERE d.route_id = r.route_id
        ) AS d (pending, dead, last_delivered_at)
        WHERE r.for_tenant IS NOT DISTINCT FROM owner
        ORDER BY r.name;
END
$$;
COMMENT ON FUNCTION stormops.alert_routes(uuid) IS 'The routes of the tenant in context, or for an operator of the named tenant or the platform, without their secrets: name, kind, host, min_severity, messages pending and dead (given up), and when one last arrived. Errors: 42501; as current_tenant().';

-- health/runbook.sql
-- What to do about an issue.

CREATE FUNCTION stormops_internal.shipped_runbook(OUT issue text, OUT step integer, OUT action text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT b.issue, s.step::integer, s.action
    FROM stormops_internal.shipped_issues() AS b
    CROSS JOIN LATERAL unnest(b.actions) WITH ORDINALITY AS s (action, step)
$$;
COMMENT ON FUNCTION stormops_internal.shipped_runbook() IS 'Every issue that the platform or its monitoring can raise, with what to do about it, in order.';

CREATE FUNCTION stormops_internal.runbook_steps(issue text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce(array_agg(s.action ORDER BY s.step), '{}') FROM stormops_internal.shipped_runbook() AS s WHERE s.issue = $1 $$;
COMMENT ON FUNCTION stormops_internal.runbook_steps(text) IS 'The shipped steps for an issue; empty if it has none.';

CREATE FUNCTION stormops.runbook(issue text DEFAULT NULL, OUT "issue_name" text, OUT step bigint, OUT action text, OUT origin text) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    named text := runbook.issue;
BEGIN
    IF stormops_internal.has_tenant() THEN
        RETURN QUERY
            SELECT a.issue, row_number() OVER (PARTITION BY a.issue ORDER BY a.own, a.step), a.action, CASE WHEN a.own THEN 'tenant' ELSE 'shipped' END
            FROM (
                SELECT s.issue, s.step, s.action, false AS own FROM stormops_internal.shipped_runbook() AS s
                UNION ALL
                SELECT t.issue, t.step, t.action, true FROM stormops.runbook_steps AS t WHERE t.tenant_id = stormops.current_tenant()
            ) AS a
            WHERE named IS NULL OR a.issue = named
            ORDER BY 1, 2;
    ELSE
        RETURN QUERY
            SELECT s.issue, s.step::bigint, s.action, 'shipped' FROM stormops_internal.shipped_runbook() AS s
            WHERE named IS NULL OR s.issue = named
            ORDER BY 1, 2;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('the runbook has no issue "%s"', left(named, 100)),
            HINT = 'SELECT DISTINCT issue_name FROM stormops.runbook(); shows the issues; a tenant adds its own in runbook_steps.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.runbook(text) IS 'What to do about an issue, step by step: the shipped steps, then those of the tenant in context (runbook_steps). Without a name: every issue. Error: P0002 no such issue.';

-- health/schedules.sql
-- What runs on its own. With pg_cron these functions schedule it; without, any scheduler calls
-- run_job(). Either way each run leaves its mark, so that one that did not come is noticed.

CREATE FUNCTION stormops_internal.next_run(schedule text, after timestamptz) RETURNS timestamptz
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'next_run_wrapper';
COMMENT ON FUNCTION stormops_internal.next_run(text, timestamptz) IS 'When a cron expression of five fields (or @hourly, @daily, ...) is due next, in UTC; NULL if pg_cron would not take it or it is never due.';

CREATE FUNCTION stormops_internal.known_job(name text, OUT job text, OUT schedule text, OUT function name, OUT purpose text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    SELECT j.job, j.schedule, j.function, j.purpose INTO job, schedule, function, purpose FROM stormops.known_jobs() AS j WHERE j.job = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN $1 IS NULL THEN 'null_value_not_allowed' ELSE 'undefined_object' END,
            MESSAGE = format('there is no job "%s"', left($1, 63)),
            HINT = format('The jobs are %s.', (SELECT string_agg(j.job, ', ') FROM stormops.known_jobs() AS j));
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.known_job(text) IS 'A row of known_jobs(). Errors: 22004; 42704 no such job.';

CREATE FUNCTION stormops.note_schedule(job text, schedule text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF NOT stormops_internal.is_operator() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator may schedule',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''operator'');';
    END IF;
    IF schedule IS NULL THEN
        DELETE FROM stormops_internal.scheduled_jobs AS s WHERE s.job = note_schedule.job;
        RETURN;
    END IF;
    PERFORM stormops_internal.known_job(job);
    IF stormops_internal.next_run(schedule, now()) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('"%s" is not a schedule', left(schedule, 100)),
            HINT = 'Five fields, UTC: minute, hour, day of month, month, day of week; for example */15 * * * *.';
    END IF;
    INSERT INTO stormops_internal.scheduled_jobs AS s (job, schedule, scheduled_by) VALUES (job, schedule, stormops_internal.calling_role())
    ON CONFLICT ON CONSTRAINT scheduled_jobs_pkey DO UPDATE
    SET schedule = EXCLUDED.schedule, scheduled_at = now(), scheduled_by = EXCLUDED.scheduled_by;
END
$$;
COMMENT ON FUNCTION stormops.note_schedule(text, text) IS 'Of schedule_job(): notes that a job is expected; NULL: no longer. From an operator whose own scheduler calls run_job() it is all that there is to do. Errors: 22004; 22023 not a cron expression; 42501; 42704 no such job.';

CREATE FUNCTION stormops.schedule_job(job text, schedule text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.known_job(job);
BEGIN
    schedule := coalesce(schedule, this.schedule);
    PERFORM stormops.note_schedule(job, schedule);
    IF to_regnamespace('cron') IS NOT NULL AND NOT has_schema_privilege(to_regnamespace('cron')::oid, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format('role "%s" may not use pg_cron', current_user),
            HINT = format('GRANT USAGE ON SCHEMA cron TO %I;', current_user);
    END IF;
    IF to_regprocedure('cron.schedule(text,text,text)') IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'pg_cron is not in this database',
            DETAIL = 'Nothing was scheduled.',
            HINT = format('Once, as superuser: in postgresql.conf add pg_cron to shared_preload_libraries, set cron.database_name = ''%s'' and cron.use_background_workers = on, restart, CREATE EXTENSION pg_cron. Or let any scheduler run SELECT stormops.run_job(''%s''), and say SELECT stormops.note_schedule(''%s'', ''%s'').',
                current_database(), job, job, schedule);
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' USING 'stormops ' || job, schedule, format('SELECT stormops.run_job(%L)', job);
    RETURN format('%s: %s (UTC)', job, schedule);
END
$$;
COMMENT ON FUNCTION stormops.schedule_job(text, text) IS 'Has pg_cron run a job, by its usual schedule or by another (cron, five fields, UTC), as the operator that calls; again: changes the schedule. Errors: 22004; 22023 not a cron expression; 42501; 42704 no such job; 55000 no pg_cron here.';

CREATE FUNCTION stormops.schedule_health_checks(schedule text DEFAULT '*/15 * * * *') RETURNS text
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops.schedule_job('health_checks', $1) $$;
COMMENT ON FUNCTION stormops.schedule_health_checks(text) IS 'schedule_job(''health_checks'', ...): run_health_checks() over all tenants. Errors as there.';

CREATE FUNCTION stormops.schedule_all() RETURNS SETOF text
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops.schedule_job(j.job) FROM stormops.known_jobs() AS j ORDER BY j.job $$;
COMMENT ON FUNCTION stormops.schedule_all() IS 'Schedules every job of known_jobs() by its usual schedule. Errors as schedule_job().';

CREATE FUNCTION stormops.unschedule_all() RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    removed bigint := 0;
    s record;
BEGIN
    FOR s IN SELECT l.job FROM stormops.schedules() AS l LOOP
        PERFORM stormops.note_schedule(s.job, NULL);
        removed := removed + 1;
    END LOOP;
    IF has_schema_privilege(to_regnamespace('cron')::oid, 'USAGE') AND EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
        EXECUTE 'SELECT count(cron.unschedule(j.jobid)) FROM cron.job AS j WHERE j.jobname LIKE ''stormops %'''
            ' AND j.username = current_user AND j.database = current_database()';
    END IF;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION stormops.unschedule_all() IS 'Ends all schedules; returns how many there were. pg_cron forgets those of the role that calls; whoever scheduled others calls it too. Error: 42501.';

CREATE FUNCTION stormops.schedules(
    OUT job text, OUT schedule text, OUT purpose text, OUT last_started_at timestamptz, OUT last_finished_at timestamptz,
    OUT outcome text, OUT detail text, OUT expected_by timestamptz, OUT missed boolean, OUT scheduled_by text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF NOT stormops_internal.may_monitor() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator or a monitor may see schedules',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''monitor'');';
    END IF;
    RETURN QUERY
        SELECT s.job, s.schedule, k.purpose, s.started_at, s.finished_at, coalesce(s.outcome, 'never ran'), s.detail, d.at, now() > d.at, s.scheduled_by
        FROM stormops_internal.scheduled_jobs AS s
        LEFT JOIN stormops.known_jobs() AS k ON k.job = s.job
        -- The run that is due next after the last one, and ten minutes for it to end.
        CROSS JOIN LATERAL (SELECT stormops_internal.next_run(s.schedule, greatest(s.scheduled_at, s.started_at)) + interval '10 minutes' AS at) AS d
        ORDER BY s.job;
END
$$;
COMMENT ON FUNCTION stormops.schedules() IS 'What is scheduled, its last run and how that ended (outcome: ok, failed, never ran), by when the next one should have ended (expected_by), and whether that has passed (missed). For operators and monitors. Error: 42501.';

CREATE FUNCTION stormops.run_job(job text) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.known_job(job);
    result text;
    message text;
    started timestamptz := clock_timestamp();
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN 'nothing to do on a standby';
    END IF;
    BEGIN
        EXECUTE format('SELECT to_jsonb(r)::text FROM stormops.%I() AS r', this.function) INTO result;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
        result := format('%s: %s', SQLSTATE, message);
        PERFORM stormops_internal.note_run(job, started, 'failed', result);
        RAISE WARNING USING MESSAGE = format('job %s failed: %s', job, result), HINT = 'SELECT * FROM stormops.runbook(''schedule_failed'');';
        RETURN result;
    END;
    PERFORM stormops_internal.note_run(job, started, 'ok', result);
    RETURN result;
END
$$;
COMMENT ON FUNCTION stormops.run_job(text) IS 'Runs a job now and notes how it went; returns what it returned, or its error, with a warning, after all that the job did was taken back. For operators: it is what pg_cron calls, and what any other scheduler may. Does nothing on a standby. Errors: 22004; 42501; 42704 no such job.';

CREATE FUNCTION stormops_internal.note_run(job text, started_at timestamptz, outcome text, detail text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    IF NOT stormops_internal.is_operator() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator may run jobs',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''operator'');';
    END IF;
    UPDATE stormops_internal.scheduled_jobs AS s
    SET started_at = note_run.started_at, finished_at = clock_timestamp(), outcome = note_run.outcome, detail = left(note_run.detail, 1000),
        failed_at = CASE WHEN note_run.outcome = 'failed' THEN now() ELSE s.failed_at END
    WHERE s.job = note_run.job;
END
$$;
COMMENT ON FUNCTION stormops_internal.note_run(text, timestamptz, text, text) IS 'Of run_job(): notes a run of a scheduled job. Error: 42501.';

CREATE FUNCTION stormops.forget_health(older_than interval DEFAULT '90 days') RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    gone bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF older_than IS NULL OR older_than < interval '7 days' THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN older_than IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'measurements of the last seven days are kept', HINT = 'SELECT stormops.forget_health(''90 days'');';
    END IF;
    -- Whoever was told of an alert is told of its end for a week: see queue_alerts().
    DELETE FROM stormops_internal.alert_deliveries AS d WHERE d.created_at < now() - older_than AND NOT EXISTS (
        SELECT FROM stormops.alerts AS a WHERE a.alert_id = d.alert_id AND (a.resolved_at >= now() - older_than) IS NOT FALSE
        UNION ALL
        SELECT FROM stormops_internal.platform_alerts AS a WHERE a.alert_id = d.alert_id AND (a.resolved_at >= now() - older_than) IS NOT FALSE);
    WITH metrics AS (
        DELETE FROM stormops.data_quality_metrics AS m WHERE m.measured_at < now() - older_than RETURNING 1
    ), told AS (
        DELETE FROM stormops.alerts AS a WHERE a.resolved_at < now() - older_than RETURNING 1
    ), platform AS (
        DELETE FROM stormops_internal.platform_alerts AS a WHERE a.resolved_at < now() - older_than RETURNING 1
    )
    SELECT (SELECT count(*) FROM metrics) + (SELECT count(*) FROM told) + (SELECT count(*) FROM platform) INTO gone;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION stormops.forget_health(interval) IS 'Deletes measurements and resolved alerts with their messages, of all tenants, that are older than that (at least seven days); returns how many. Errors: 22004; 22023.';

-- health/schema_drift.sql
-- Whether a table still has the columns with which it was shipped.

CREATE FUNCTION stormops_internal.read_columns(statements text) RETURNS TABLE (table_name text, column_name text, data_type text, not_null boolean)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'read_columns_wrapper';
COMMENT ON FUNCTION stormops_internal.read_columns(text) IS 'The columns of the tables that these statements make, statements as they stand in the files of tables/.';

CREATE FUNCTION stormops_internal.shipped_columns(OUT table_name text, OUT column_name text, OUT data_type text, OUT not_null boolean) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT c.* FROM stormops_internal.shipped_tables() AS s, stormops_internal.read_columns(s.statements) AS c $$;
COMMENT ON FUNCTION stormops_internal.shipped_columns() IS 'The columns of the tables as shipped, read from the statements that install() runs.';

CREATE FUNCTION stormops_internal.schema_drift(table_name text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('column', d.name, 'change', d.change) ORDER BY d.name), '[]')
    FROM (
        SELECT coalesce(s.column_name, a.attname::text) AS name,
            CASE
                WHEN a.attname IS NULL THEN 'missing'
                WHEN s.column_name IS NULL THEN 'added'
                WHEN to_regtype(s.data_type) <> a.atttypid THEN format('%s instead of %s', format_type(a.atttypid, NULL), to_regtype(s.data_type))
                WHEN s.not_null AND NOT a.attnotnull THEN 'may be NULL'
            END AS change
        FROM (SELECT c.* FROM stormops_internal.shipped_columns() AS c WHERE c.table_name = $1) AS s
        FULL JOIN (
            SELECT a.* FROM pg_attribute AS a
            WHERE a.attrelid = to_regclass(format('stormops.%I', $1)) AND a.attnum > 0 AND NOT a.attisdropped
        ) AS a ON a.attname = s.column_name
    ) AS d
    WHERE d.change IS NOT NULL
$$;
COMMENT ON FUNCTION stormops_internal.schema_drift(text) IS 'How a table''s columns differ from those shipped, a JSON array of {column, change}: missing, added, another type, may be NULL. Empty: they do not.';

-- health/server.sql
-- What get_system_health() measures of the server, as far as its caller may see it, and which of it is an issue.

CREATE FUNCTION stormops_internal.server_load(
    OUT db_size_bytes bigint, OUT oldest_transaction_seconds numeric, OUT oldest_xmin_age integer, OUT hidden_sessions bigint,
    OUT connections bigint, OUT max_connections integer, OUT xid_age integer, OUT cache_hit_ratio numeric, OUT deadlocks bigint
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    db_size_bytes := pg_database_size(current_database());
    max_connections := current_setting('max_connections')::integer;
    SELECT extract(epoch FROM max(now() - a.xact_start)), max(greatest(age(a.backend_xmin), age(a.backend_xid))),
        count(*) FILTER (WHERE a.state IS NULL AND a.query = '<insufficient privilege>'), count(*) FILTER (WHERE a.backend_type = 'client backend' OR a.backend_type IS NULL)
    INTO oldest_transaction_seconds, oldest_xmin_age, hidden_sessions, connections
    FROM pg_stat_activity AS a WHERE a.pid <> pg_backend_pid();
    SELECT greatest(oldest_xmin_age, max(age(p.transaction))), greatest(oldest_transaction_seconds, extract(epoch FROM max(now() - p.prepared)))
    INTO oldest_xmin_age, oldest_transaction_seconds FROM pg_prepared_xacts AS p;
    SELECT max(age(d.datfrozenxid)) INTO xid_age FROM pg_database AS d;
    SELECT round(d.blks_hit / nullif(d.blks_hit + d.blks_read, 0)::numeric, 4), d.deadlocks INTO cache_hit_ratio, deadlocks
    FROM pg_stat_database AS d WHERE d.datname = current_database();
END
$$;
COMMENT ON FUNCTION stormops_internal.server_load() IS 'Of get_system_health(): this database''s size and cache, other sessions and prepared transactions, and the age of transaction ids.';

CREATE FUNCTION stormops_internal.replication_state(
    OUT in_recovery boolean, OUT replicas bigint, OUT replication_lag_bytes numeric, OUT retained_wal_bytes numeric, OUT replay_delay_seconds numeric
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    position_now pg_lsn;
BEGIN
    in_recovery := pg_is_in_recovery();
    position_now := CASE WHEN in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END;
    SELECT count(*), max(position_now - r.replay_lsn) INTO replicas, replication_lag_bytes FROM pg_stat_replication AS r;
    IF in_recovery THEN
        -- Its own lag; what has not even been received, only the primary knows. Where all is replayed nothing is late.
        replication_lag_bytes := greatest(replication_lag_bytes, pg_last_wal_receive_lsn() - position_now, 0);
        replay_delay_seconds := CASE WHEN pg_last_wal_receive_lsn() > position_now
            THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) ELSE 0 END;
    END IF;
    SELECT max(position_now - s.restart_lsn) INTO retained_wal_bytes FROM pg_replication_slots AS s;
END
$$;
COMMENT ON FUNCTION stormops_internal.replication_state() IS 'Of get_system_health(): how far replicas are behind, or on a standby it itself, and how much log slots keep.';

CREATE FUNCTION stormops_internal.slowest_statements() RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    statements text := (
        SELECT format('%I.pg_stat_statements', n.nspname)
        FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements');
    slowest jsonb;
BEGIN
    IF statements IS NOT NULL THEN
        EXECUTE format('SELECT jsonb_agg(s) FROM (SELECT pg_get_userbyid(p.userid) AS role, left(p.query, 200) AS query, p.calls,'
            ' round(p.mean_exec_time::numeric, 3) AS mean_ms, round(p.max_exec_time::numeric, 3) AS max_ms FROM %s AS p'
            ' WHERE p.dbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())'
            ' ORDER BY p.mean_exec_time DESC LIMIT 5) AS s', statements) INTO slowest;
    END IF;
    RETURN slowest;
EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege THEN
    RETURN NULL; -- not preloaded, or not this role's to see
END
$$;
COMMENT ON FUNCTION stormops_internal.slowest_statements() IS 'Of get_system_health(): the five statements of this database that are slowest by mean, a JSON array; NULL without pg_stat_statements.';

CREATE FUNCTION stormops_internal.system_issues(measured jsonb, OUT issue text, OUT severity text, OUT evidence jsonb) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT i.issue, i.severity, i.evidence
    FROM jsonb_to_record($1) AS m (
        scheduled_jobs bigint, missed_schedules bigint, missed_jobs text, failed_schedules bigint, failed_jobs text,
        partition_runway_days integer, unpartitioned_rows boolean, oldest_transaction_seconds numeric, xid_age integer,
        replication_lag_bytes numeric, retained_wal_bytes numeric, connections bigint, max_connections integer,
        unfolded_counts bigint, dead_messages bigint, late_messages bigint, invoices_overdue bigint,
        installation_failing bigint, objective_missed bigint
    ) CROSS JOIN LATERAL (VALUES
        ('nothing_scheduled', 'info', m.scheduled_jobs = 0, jsonb_build_object('scheduled_jobs', m.scheduled_jobs)),
        ('schedule_missed', 'critical', m.missed_schedules > 0, jsonb_build_object('missed_schedules', m.missed_schedules, 'jobs', m.missed_jobs)),
        ('schedule_failed', 'warning', m.failed_schedules > 0, jsonb_build_object('failed_schedules', m.failed_schedules, 'jobs', m.failed_jobs)),
        ('partition_runway', 'warning', m.partition_runway_days < 14 OR m.unpartitioned_rows,
            jsonb_build_object('days', m.partition_runway_days, 'rows_without_partition', m.unpartitioned_rows)),
        ('long_transaction', 'warning', m.oldest_transaction_seconds > 3600, jsonb_build_object('seconds', m.oldest_transaction_seconds)),
        ('xid_age', 'critical', m.xid_age > 1000000000, jsonb_build_object('xid_age', m.xid_age, 'limit', 2000000000)),
        ('replication_lag', 'warning', m.replication_lag_bytes > 1e9 OR m.retained_wal_bytes > 1e10,
            jsonb_build_object('lag_bytes', m.replication_lag_bytes, 'retained_wal_bytes', m.retained_wal_bytes)),
        ('connections', 'warning', m.connections > 0.9 * m.max_connections,
            jsonb_build_object('connections', m.connections, 'max_connections', m.max_connections)),
        ('unfolded_counts', 'warning', m.unfolded_counts > 1000000, jsonb_build_object('unfolded_counts', m.unfolded_counts)),
        ('alert_delivery', 'warning', m.dead_messages + m.late_messages > 0,
            jsonb_build_object('dead_messages', m.dead_messages, 'late_messages', m.late_messages)),
        ('invoices_overdue', 'warning', m.invoices_overdue > 0, jsonb_build_object('invoices_overdue', m.invoices_overdue)),
        ('installation', 'critical', m.installation_failing > 0, jsonb_build_object('failing', m.installation_failing)),
        ('data_quality', 'warning', m.objective_missed > 0, jsonb_build_object('tenants', m.objective_missed))
    ) AS i (issue, severity, holds, evidence)
    WHERE i.holds
$$;
COMMENT ON FUNCTION stormops_internal.system_issues(jsonb) IS 'What of that is an issue: by the columns of get_system_health(), and those of platform_counts().';

-- health/storms.sql
-- What is wrong with a storm, by its scores and by what treating it came to; and which storms to look at again.

CREATE FUNCTION stormops_internal.score_measures(tenant_id uuid, scores stormops.score_sketch, model_version text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    measures jsonb;
BEGIN
    SELECT to_jsonb(d) || jsonb_build_object('model_version', model_version, 'drift_detected', false, 'mean_out_of_band', d.mean NOT BETWEEN 0.10 AND 0.30)
    INTO measures FROM stormops.describe(scores) AS d;
    -- Against a kept baseline only: without one the reference would be every earlier storm, and a
    -- dashboard must not cost more with each of them.
    RETURN measures || coalesce((
        SELECT to_jsonb(v) || jsonb_build_object('reference', format('baseline %s of %s', k.name, to_char(k.made_at, 'YYYY-MM-DD')))
        FROM (
            SELECT b.name, b.made_at, b.sketch || '' AS sketch -- || fetches it once, not at each use
            FROM stormops.uplift_baselines AS b
            WHERE b.tenant_id = score_measures.tenant_id AND b.name = 'default' AND b.model_version = score_measures.model_version
        ) AS k
        CROSS JOIN LATERAL stormops.drift_verdict(scores, k.sketch::stormops.score_sketch) AS v), '{}');
END
$$;
COMMENT ON FUNCTION stormops_internal.score_measures(uuid, stormops.score_sketch, text) IS 'What a storm''s scores are like, as JSON: describe(), mean_out_of_band (not 0.10 to 0.30), and against the tenant''s baseline "default" of their model, if there is one, drift_verdict().';

CREATE FUNCTION stormops_internal.storm_issues(
    storm_id uuid, uplift jsonb, lift jsonb, OUT issue text, OUT severity text, OUT subject text, OUT evidence jsonb
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH s AS (
        SELECT coalesce(($2 ->> 'n')::bigint, 0) AS n, coalesce(($2 ->> 'drift_detected')::boolean, false) AS drifted,
            coalesce(($2 ->> 'mean_out_of_band')::boolean, false) AS out_of_band, $3 ->> 'status' AS status,
            coalesce(($3 ->> 'anomaly')::boolean, false) AS anomaly, coalesce(($3 ->> 'rule_anomaly')::boolean, false) AS short,
            coalesce(($3 ->> 'awaiting')::bigint, 0) AS awaiting
    )
    SELECT i.issue, i.severity, $1::text, i.evidence FROM s CROSS JOIN LATERAL (
        SELECT 'no_scores' AS issue, 'info' AS severity, jsonb_build_object('scored', 0) AS evidence WHERE s.n = 0
        UNION ALL
        SELECT 'uplift_drift', CASE WHEN s.drifted THEN 'critical' ELSE 'warning' END,
            jsonb_strip_nulls(jsonb_build_object('n', $2 -> 'n', 'mean', $2 -> 'mean', 'expected', '0.10 to 0.30', 'reference', $2 -> 'reference',
                'reference_mean', $2 -> 'reference_mean', 'p_adjusted', $2 -> 'p_adjusted', 'drift_detected', s.drifted))
        WHERE s.n > 0 AND (s.drifted OR s.out_of_band)
        UNION ALL
        SELECT 'no_policy', 'info', jsonb_build_object('scored', s.n) WHERE s.n > 0 AND s.status = 'no_policy'
        UNION ALL
        SELECT 'no_control', 'warning', jsonb_build_object('treated_n', $3 -> 'treated_n', 'control_n', $3 -> 'control_n')
        WHERE s.status IN ('no_control', 'no_treatment')
        UNION ALL
        SELECT 'no_outcomes', CASE WHEN s.awaiting > 0 THEN 'info' ELSE 'warning' END,
            jsonb_build_object('treated_n', $3 -> 'treated_n', 'control_n', $3 -> 'control_n', 'window_ends_at', $3 -> 'window_ends_at')
        WHERE s.status = 'no_outcomes'
        UNION ALL
        -- Shown below five points it is critical; below them, and not yet shown, it is only a warning.
        SELECT 'low_lift', CASE WHEN s.anomaly THEN 'critical' ELSE 'warning' END,
            jsonb_build_object('lift', $3 -> 'lift', 'lift_low', $3 -> 'lift_low', 'lift_high', $3 -> 'lift_high', 'expected', 'at least 0.05',
                'verdict', $3 -> 'verdict', 'treated_n', $3 -> 'treated_n', 'control_n', $3 -> 'control_n', 'awaiting', s.awaiting)
        WHERE s.status = 'ok' AND (s.anomaly OR s.short)
    ) AS i
$$;
COMMENT ON FUNCTION stormops_internal.storm_issues(uuid, jsonb, jsonb) IS 'What is wrong with a storm by its measures (storm_measures()).';

CREATE FUNCTION stormops_internal.due_bands(since timestamptz, places integer) RETURNS stormops_internal.due_expectation[]
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- New scores whose mean lies in the band cannot take their storm out of it. With a baseline any may: no mean is in its band.
    SELECT coalesce(array_agg(ROW(t.tenant_id, NULL, 'lead_uplift', 'band', '{storm_id,uplift}', CASE WHEN b.kept THEN 1 ELSE 0.10 END,
        CASE WHEN b.kept THEN -1 ELSE 0.30 END, NULL, NULL, $1, coalesce($2, 0) + 1)::stormops_internal.due_expectation), '{}')
    FROM stormops.tenants AS t
    CROSS JOIN LATERAL (SELECT EXISTS (
        SELECT FROM stormops.uplift_baselines AS u WHERE u.tenant_id = t.tenant_id AND u.name = 'default') AS kept) AS b
    WHERE t.status = 'active'
$$;
COMMENT ON FUNCTION stormops_internal.due_bands(timestamptz, integer) IS 'For judge_rows(), of each active tenant: the storms whose new scores lie outside 0.10 to 0.30 in the mean, or any new ones where a baseline "default" is kept. places: how many rules about lead_uplift are judged before.';

CREATE FUNCTION stormops_internal.storms_to_watch(scope uuid, since timestamptz, scored uuid[]) RETURNS TABLE (tenant_id uuid, storm_id uuid, name text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
    WITH decided AS (
        SELECT r.tenant_id, r.storm_id FROM stormops.policy_runs AS r
        WHERE r.superseded_at IS NULL AND $1 IS NULL AND (r.decided_at >= $2
            -- From the end of the outcome window on nothing is awaited.
            OR r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer) BETWEEN $2 AND now()
            OR (r.tenant_id, r.run_id) IN (SELECT o.tenant_id, o.run_id FROM stormops.policy_outcomes AS o WHERE o.recorded_at >= $2))
    ), alarmed AS (
        SELECT a.tenant_id, (a.evidence ->> 'storm_id')::uuid AS storm_id FROM stormops.alerts AS a
        WHERE a.resolved_at IS NULL AND $1 IS NULL AND a.evidence ? 'storm_id'
    )
    SELECT s.tenant_id, s.storm_id, s.name
    FROM stormops.storms AS s JOIN stormops.tenants AS t ON t.tenant_id = s.tenant_id
    WHERE s.status = 'active' AND t.status = 'active' AND (s.tenant_id = $1 OR $1 IS NULL AND s.storm_id IN (SELECT c FROM unnest($3) AS c)
        OR (s.tenant_id, s.storm_id) IN (SELECT d.tenant_id, d.storm_id FROM decided AS d)
        OR (s.tenant_id, s.storm_id) IN (SELECT a.tenant_id, a.storm_id FROM alarmed AS a))
$$;
COMMENT ON FUNCTION stormops_internal.storms_to_watch(uuid, timestamptz, uuid[]) IS 'The active storms of a tenant; with NULL, of all tenants those that may have changed since then: the scored ones (due_bands()), and those with a new run, new outcomes, an outcome window that ended, an open alert.';

CREATE FUNCTION stormops_internal.storm_findings(scope uuid, since timestamptz, scored uuid[], OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT jsonb_build_object('tenant_id', m.tenant_id, 'key', k.issue || ':' || m.storm_id, 'issue', k.issue,
        'severity', i.severity, 'failing', i.issue IS NOT NULL,
        'evidence', i.evidence || jsonb_build_object('storm_id', m.storm_id, 'storm', m.name))
    FROM (
        SELECT s.tenant_id, s.storm_id, s.name, stormops_internal.score_measures(s.tenant_id, c.scores, c.model_version) AS uplift,
            to_jsonb(stormops_internal.conversion_rates_of(s.tenant_id, s.storm_id)) AS lift
        FROM stormops_internal.storms_to_watch($1, $2, $3) AS s LEFT JOIN LATERAL stormops_internal.latest_scores(s.tenant_id, s.storm_id) AS c ON true
        OFFSET 0 -- once for each storm
    ) AS m
    CROSS JOIN (VALUES ('uplift_drift'), ('low_lift'), ('no_control')) AS k (issue)
    LEFT JOIN LATERAL stormops_internal.storm_issues(m.storm_id, m.uplift, m.lift) AS i ON i.issue = k.issue
$$;
COMMENT ON FUNCTION stormops_internal.storm_findings(uuid, timestamptz, uuid[]) IS 'Of each of storms_to_watch(), for the alerts: whether its scores drift, its lift is low, it has no control.';

-- health/system.sql
-- What an operator asks at three in the morning.

CREATE FUNCTION stormops_internal.platform_counts(
    OUT active_tenants bigint, OUT suspended_tenants bigint, OUT closed_tenants bigint, OUT open_alerts bigint, OUT critical_alerts bigint,
    OUT unfolded_counts bigint, OUT objective_missed bigint, OUT partition_runway_days integer, OUT unpartitioned_rows boolean,
    OUT invoices_overdue bigint, OUT dead_messages bigint, OUT late_messages bigint
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT count(*) FILTER (WHERE t.status = 'active'), count(*) FILTER (WHERE t.status = 'suspended'), count(*) FILTER (WHERE t.status = 'closed')
    INTO active_tenants, suspended_tenants, closed_tenants FROM stormops.tenants AS t;
    SELECT count(*), count(*) FILTER (WHERE a.severity = 'critical') INTO open_alerts, critical_alerts
    FROM (
        SELECT t.severity FROM stormops.alerts AS t WHERE t.resolved_at IS NULL
        UNION ALL SELECT p.severity FROM stormops_internal.platform_alerts AS p WHERE p.resolved_at IS NULL
    ) AS a;
    SELECT count(*) INTO unfolded_counts FROM stormops.row_count_deltas;
    SELECT count(*) INTO objective_missed FROM stormops_internal.quality_objective(NULL) AS o WHERE NOT o.met;
    SELECT (max(to_date(right(c.relname, 7), 'YYYY_MM')) + interval '1 month')::date - (now() AT TIME ZONE 'UTC')::date
    INTO partition_runway_days
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('stormops.policy_decisions_log') AND c.relname ~ '_\d{4}_\d{2}$';
    SELECT EXISTS (SELECT FROM stormops_internal.policy_decisions_log_default) INTO unpartitioned_rows;
    -- Of routes that are still there: given up since yesterday, or made a quarter of an hour ago and not sent.
    SELECT count(*) FILTER (WHERE d.state = 'dead' AND d.last_attempt_at >= now() - interval '24 hours'),
        count(*) FILTER (WHERE d.state = 'pending' AND d.created_at < now() - interval '15 minutes')
    INTO dead_messages, late_messages
    FROM stormops_internal.alert_deliveries AS d JOIN stormops_internal.alert_routes AS r ON r.route_id = d.route_id WHERE d.state <> 'delivered';
    -- Where invoices are written at all: months that ended more than a week ago and have no final one.
    SELECT count(DISTINCT (r.tenant_id, r.bucket)) INTO invoices_overdue
    FROM stormops.usage_rollups AS r
    WHERE EXISTS (SELECT FROM stormops.invoices AS i WHERE i.status = 'finalized')
        AND r.grain = 'month' AND r.dimensions = '{}' AND r.bucket < date_trunc('month', now() - interval '7 days', 'UTC')
        AND NOT EXISTS (
            SELECT FROM stormops.invoices AS i
            WHERE i.tenant_id = r.tenant_id AND i.period = (r.bucket AT TIME ZONE 'UTC')::date AND i.kind = 'invoice' AND i.status = 'finalized');
END
$$;
COMMENT ON FUNCTION stormops_internal.platform_counts() IS 'Of get_system_health(): what only the tables'' owner sees.';

CREATE FUNCTION stormops.get_system_health(
    slow boolean DEFAULT true,
    OUT health_status text, OUT issues jsonb,
    OUT active_tenants bigint, OUT suspended_tenants bigint, OUT closed_tenants bigint, OUT db_size_bytes bigint,
    OUT open_alerts bigint, OUT critical_alerts bigint, OUT objective_missed bigint,
    OUT oldest_transaction_seconds numeric, OUT oldest_xmin_age integer, OUT hidden_sessions bigint,
    OUT replicas bigint, OUT replication_lag_bytes numeric, OUT retained_wal_bytes numeric,
    OUT scheduled_jobs bigint, OUT failed_schedules bigint, OUT missed_schedules bigint,
    OUT partition_runway_days integer, OUT xid_age integer, OUT cache_hit_ratio numeric, OUT connections bigint, OUT max_connections integer,
    OUT deadlocks bigint, OUT unfolded_counts bigint, OUT invoices_overdue bigint, OUT installation_failing bigint, OUT slow_statements jsonb,
    OUT slow_calls jsonb, OUT in_recovery boolean, OUT replay_delay_seconds numeric
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    platform record;
    server record;
    replication record;
    schedule record;
BEGIN
    IF NOT stormops_internal.may_monitor() THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator or a monitor may see the system''s health',
            HINT = 'A superuser grants that: SELECT stormops.grant_usage(role, ''monitor'');';
    END IF;
    SELECT c.* INTO platform FROM stormops_internal.platform_counts() AS c;
    SELECT s.* INTO server FROM stormops_internal.server_load() AS s;
    SELECT r.* INTO replication FROM stormops_internal.replication_state() AS r;
    SELECT count(*) AS scheduled_jobs, count(*) FILTER (WHERE s.outcome = 'failed') AS failed_schedules,
        count(*) FILTER (WHERE s.missed) AS missed_schedules, string_agg(s.job, ', ') FILTER (WHERE s.outcome = 'failed') AS failed_jobs,
        string_agg(s.job, ', ') FILTER (WHERE s.missed) AS missed_jobs
    INTO schedule FROM stormops.schedules() AS s;
    IF slow THEN
        -- Statistics of statements name the database role, not the tenant: roles serve many. Whose calls are slow, the
        -- platform's own clock knows.
        SELECT coalesce(jsonb_agg(c), '[]') INTO slow_calls FROM stormops.slowest_calls(5, 1) AS c;
        slow_statements := stormops_internal.slowest_statements();
    END IF;
    SELECT count(*) INTO installation_failing FROM stormops.attest() AS a WHERE NOT a.pass AND a.severity IN ('critical', 'high');

    active_tenants := platform.active_tenants;
    suspended_tenants := platform.suspended_tenants;
    closed_tenants := platform.closed_tenants;
    open_alerts := platform.open_alerts;
    critical_alerts := platform.critical_alerts;
    objective_missed := platform.objective_missed;
    unfolded_counts := platform.unfolded_counts;
    partition_runway_days := platform.partition_runway_days;
    invoices_overdue := platform.invoices_overdue;
    db_size_bytes := server.db_size_bytes;
    oldest_transaction_seconds := server.oldest_transaction_seconds;
    oldest_xmin_age := server.oldest_xmin_age;
    hidden_sessions := server.hidden_sessions;
    connections := server.connections;
    max_connections := server.max_connections;
    xid_age := server.xid_age;
    cache_hit_ratio := server.cache_hit_ratio;
    deadlocks := server.deadlocks;
    in_recovery := replication.in_recovery;
    replicas := replication.replicas;
    replication_lag_bytes := replication.replication_lag_bytes;
    retained_wal_bytes := replication.retained_wal_bytes;
    replay_delay_seconds := replication.replay_delay_seconds;
    scheduled_jobs := schedule.scheduled_jobs;
    failed_schedules := schedule.failed_schedules;
    missed_schedules := schedule.missed_schedules;

    SELECT coalesce(jsonb_agg(jsonb_build_object('issue', i.issue, 'severity', i.severity, 'evidence', i.evidence,
            'steps', to_jsonb(stormops_internal.runbook_steps(i.issue))) ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.issue), '[]'),
        CASE WHEN bool_or(i.severity = 'critical') THEN 'critical' WHEN bool_or(i.severity = 'warning') THEN 'degraded' ELSE 'healthy' END
    INTO issues, health_status
    FROM stormops_internal.system_issues(to_jsonb(platform) || to_jsonb(server) || to_jsonb(replication) || to_jsonb(schedule)
        || jsonb_build_object('installation_failing', installation_failing)) AS i;
END
$$;
COMMENT ON FUNCTION stormops.get_system_health(boolean) IS 'The installation in one row: health_status and issues as in get_health_dashboard(), tenants, sizes in bytes, transactions, replication, schedules, alerts, slow statements and calls. slow => false leaves out slow_statements and slow_calls, which read every tenant''s calls. GRANT pg_monitor shows other roles'' transactions. For operators and monitors. Error: 42501 not allowed.';

CREATE FUNCTION stormops_internal.platform_findings(system_issues jsonb, OUT finding jsonb) RETURNS SETOF jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT jsonb_build_object('tenant_id', NULL, 'key', b.issue, 'issue', b.issue, 'severity', i.issue ->> 'severity',
        'failing', i.issue IS NOT NULL, 'evidence', coalesce(i.issue -> 'evidence', '{}'))
    FROM (SELECT DISTINCT r.issue FROM stormops_internal.shipped_runbook() AS r) AS b
    LEFT JOIN LATERAL jsonb_array_elements($1) AS i (issue) ON i.issue ->> 'issue' = b.issue
    WHERE i.issue ->> 'severity' IS DISTINCT FROM 'info'
    UNION ALL
    -- A table that is no longer as shipped.
    SELECT jsonb_build_object('tenant_id', NULL, 'key', 'schema_drift:' || t.table_name, 'issue', 'schema_drift', 'severity', 'critical',
        'failing', d.changes <> '[]', 'evidence', jsonb_build_object('table', t.table_name, 'changes', d.changes))
    FROM stormops.counted_tables() AS t
    CROSS JOIN LATERAL (SELECT jsonb_path_query_array(stormops_internal.schema_drift(t.table_name), '$[*] ? (@.change != "added")') AS changes) AS d
$$;
COMMENT ON FUNCTION stormops_internal.platform_findings(jsonb) IS 'Of the platform itself, for its alerts: whether each issue of get_system_health() holds, and whether a table has drifted.';

-- health/tables.sql
-- The health of one table: how many rows, how fresh, how good the new ones are.

CREATE FUNCTION stormops_internal.null_rates_query(relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format('jsonb_build_object(%s)', string_agg(
        format('%L, round(count(*) FILTER (WHERE r.%I IS NULL)::numeric / nullif(count(*), 0), 6)', a.attname, a.attname), ', ' ORDER BY a.attnum))
    FROM pg_attribute AS a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attnotnull
$$;
COMMENT ON FUNCTION stormops_internal.null_rates_query(regclass) IS 'An expression over rows r of a table: the share of NULL by column, of those that may be NULL.';

CREATE FUNCTION stormops_internal.orphan_condition(parents jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(string_agg(format('(r.%I IS NOT NULL AND NOT EXISTS (%s))', p.key, stormops_internal.parent_of(p.key, p.value)), ' OR '), 'false')
    FROM jsonb_each_text($1) AS p
$$;
COMMENT ON FUNCTION stormops_internal.orphan_condition(jsonb) IS 'What is true of a row r that has no parent, where it should: parents as counted_tables() has them.';

CREATE FUNCTION stormops_internal.check_failing_condition(relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(string_agg(format('NOT (%s)', pg_get_expr(c.conbin, c.conrelid)), ' OR '), 'false')
    FROM pg_constraint AS c WHERE c.conrelid = $1 AND c.contype = 'c'
$$;
COMMENT ON FUNCTION stormops_internal.check_failing_condition(regclass) IS 'What is true of a row of a table that breaks one of its CHECKs.';

CREATE FUNCTION stormops_internal.row_quality(
    table_name text, since timestamptz,
    OUT judged bigint, OUT null_rates jsonb, OUT duplicates bigint, OUT orphans bigint, OUT out_of_range bigint
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
    relation regclass := format('stormops.%I', this.table_name)::regclass;
    key_columns text := (SELECT string_agg(format('r.%I', k), ', ') FROM unnest(this.natural_key) AS k);
BEGIN
    -- All names are the catalogue's or this extension's own.
    EXECUTE format($query$
        SELECT count(*), %s, count(*) FILTER (WHERE %s), count(*) FILTER (WHERE r.%I > now() + interval '5 minutes' OR %s)
        FROM stormops.%I AS r WHERE r.tenant_id = stormops.current_tenant() AND r.%I >= $1
        $query$, stormops_internal.null_rates_query(relation), stormops_internal.orphan_condition(this.parents),
        this.time_column, stormops_internal.check_failing_condition(relation), this.table_name, this.time_column)
    INTO judged, null_rates, orphans, out_of_range USING since;
    EXECUTE format($query$
        SELECT coalesce(sum(g.n - 1), 0)::bigint FROM (
            SELECT count(*) AS n FROM stormops.%I AS r
            WHERE r.tenant_id = stormops.current_tenant() AND r.%I >= $1 AND num_nulls(%s) < $2
            GROUP BY %s
        ) AS g
        $query$, this.table_name, this.time_column, key_columns, key_columns)
    INTO duplicates USING since, cardinality(this.natural_key);
    IF judged = 0 THEN
        null_rates := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.row_quality(text, timestamptz) IS 'What the rows that came since then are worth, one pass over them: share of NULL by column, rows whose natural key another one has, whose parent is missing, that break a CHECK or lie in the future. Errors: 0B000; 22004; 42704.';

CREATE FUNCTION stormops.check_table_health(
    table_name text, look_back interval DEFAULT '24 hours',
    OUT "table" text, OUT status text, OUT total_rows bigint, OUT recent_rows_24h bigint, OUT volume_drop boolean,
    OUT last_row_at timestamptz, OUT age interval,
    OUT judged_rows bigint, OUT null_rates jsonb, OUT duplicate_rows bigint, OUT duplicate_rate numeric,
    OUT orphan_rows bigint, OUT out_of_range_rows bigint, OUT schema_drift jsonb,
    OUT size_bytes bigint, OUT dead_rows bigint, OUT last_vacuum timestamptz, OUT last_analyze timestamptz
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
    quality record;
BEGIN
    IF look_back IS NULL OR look_back <= interval '0' OR look_back > interval '10 years' THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN look_back IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'look_back must be a positive interval of at most ten years',
            HINT = 'SELECT * FROM stormops.check_table_health(''lead_uplift'', ''7 days'');';
    END IF;
    "table" := this.table_name;
    schema_drift := stormops_internal.schema_drift(table_name);
    IF stormops_internal.has_tenant() THEN
        SELECT c.total_rows, c.recent_rows_24h, c.last_at INTO total_rows, recent_rows_24h, last_row_at
        FROM stormops_internal.tenant_row_counts() AS c WHERE c.tenant_id = stormops.current_tenant() AND c.table_name = this.table_name;
        SELECT q.* INTO quality FROM stormops_internal.row_quality(table_name, now() - look_back) AS q;
        judged_rows := quality.judged;
        null_rates := quality.null_rates;
        duplicate_rows := quality.duplicates;
        duplicate_rate := round(quality.duplicates::numeric / nullif(quality.judged, 0), 6);
        orphan_rows := quality.orphans;
        out_of_range_rows := quality.out_of_range;
    ELSE
        SELECT u.* INTO total_rows, recent_rows_24h, last_row_at, size_bytes, dead_rows, last_vacuum, last_analyze
        FROM stormops_internal.table_upkeep(table_name) AS u;
    END IF;
    total_rows := coalesce(total_rows, 0);
    recent_rows_24h := coalesce(recent_rows_24h, 0);
    volume_drop := total_rows > 0 AND recent_rows_24h < 0.1 * total_rows;
    age := now() - last_row_at;
    status := CASE
        WHEN jsonb_path_exists(schema_drift, '$[*] ? (@.change != "added")') OR orphan_rows > 0 OR out_of_range_rows > 0 THEN 'critical'
        WHEN total_rows = 0 THEN 'empty'
        WHEN duplicate_rate > 0.01 OR volume_drop THEN 'warning'
        ELSE 'ok'
    END;
END
$$;
COMMENT ON FUNCTION stormops.check_table_health(text, interval) IS 'Health of a table of counted_tables(), in one row: of the tenant in context its row counts, age, and null, duplicate, orphan and out-of-range rows of the last look_back; without a tenant (operator, monitor) counts over all tenants, size_bytes and vacuum only. status: ok, warning, empty, critical. Errors: 0B000 no tenant; 22004; 22023 look_back; 42501 not allowed; 42704 not a watched table.';

CREATE FUNCTION stormops_internal.table_upkeep(
    table_name text, OUT total_rows bigint, OUT recent_rows_24h bigint, OUT last_at timestamptz,
    OUT size_bytes bigint, OUT dead_rows bigint, OUT last_vacuum timestamptz, OUT last_analyze timestamptz
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record := stormops_internal.counted_table(table_name);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT stormops_internal.may_monitor() THEN
        PERFORM stormops.current_tenant(); -- an application without a tenant hears that, as everywhere
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only an operator or a monitor may see all tenants'' tables',
            HINT = 'Set a tenant to see its own.';
    END IF;
    SELECT sum(c.total_rows), sum(c.recent_rows_24h), max(c.last_at) INTO total_rows, recent_rows_24h, last_at
    FROM stormops_internal.tenant_row_counts() AS c WHERE c.table_name = this.table_name;
    SELECT sum(pg_total_relation_size(p.relid)), sum(s.n_dead_tup), max(greatest(s.last_vacuum, s.last_autovacuum)),
        max(greatest(s.last_analyze, s.last_autoanalyze))
    INTO size_bytes, dead_rows, last_vacuum, last_analyze
    FROM (
        SELECT p.relid FROM pg_partition_tree(format('stormops.%I', this.table_name)::regclass) AS p
        UNION SELECT format('stormops.%I', this.table_name)::regclass -- which is no tree where there is no partition
    ) AS p
    LEFT JOIN pg_stat_all_tables AS s ON s.relid = p.relid;
END
$$;
COMMENT ON FUNCTION stormops_internal.table_upkeep(text) IS 'A table of all tenants: rows by the counters, and what an operator watches: size with indexes, dead rows, last vacuum and analyze of any partition. Errors: 22004; 42501; 42704.';

CREATE FUNCTION stormops_internal.has_tenant() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce(current_setting('app.current_tenant', true), '') <> '' $$;
COMMENT ON FUNCTION stormops_internal.has_tenant() IS 'True if the context names a tenant, open or not.';

CREATE FUNCTION stormops_internal.may_monitor() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.has_use('operator', 'monitor') $$;
COMMENT ON FUNCTION stormops_internal.may_monitor() IS 'True if the calling role is an operator, a monitor or a superuser.';

-- health/verdicts.sql
-- From judgements to verdicts: what they say of each expectation, and what is written down.

CREATE FUNCTION stormops_internal.issue_of(rule text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE $1 WHEN 'not_null' THEN 'missing_values' WHEN 'range' THEN 'out_of_range' WHEN 'unique' THEN 'duplicates'
        WHEN 'referential' THEN 'orphans' WHEN 'freshness' THEN 'stale_data' WHEN 'row_count' THEN 'volume_drop'
        WHEN 'drift' THEN 'uplift_drift' END
$$;
COMMENT ON FUNCTION stormops_internal.issue_of(text) IS 'The runbook''s name of what a failing expectation of a rule means.';

CREATE FUNCTION stormops_internal.judge_drift(
    scores bytea, reference bytea, threshold numeric, OUT judged bigint, OUT failed boolean, OUT evidence jsonb, OUT first_scores bytea
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT stormops.n(s.scores), stormops.n(s.scores) > 0 AND coalesce(v.drift_detected, false),
        jsonb_strip_nulls(jsonb_build_object('mean', stormops.mean(s.scores), 'reference_mean', v.reference_mean,
            'p_adjusted', v.p_adjusted, 'wasserstein', v.wasserstein, 'severity', v.severity)),
        -- A first set of scores becomes what later ones are compared with.
        CASE WHEN $2 IS NULL AND stormops.n(s.scores) >= 30 AND octet_length(s.scores) <= 16000000 THEN s.scores END
    FROM (
        SELECT coalesce($1, (SELECT stormops.score_agg(x) FROM unnest('{}'::double precision[]) AS x))::stormops.score_sketch AS scores
        OFFSET 0 -- looked at once
    ) AS s
    CROSS JOIN LATERAL stormops.drift_verdict(s.scores, $2::stormops.score_sketch, least(greatest($3, 1e-6), 0.49), 0.02) AS v
$$;
COMMENT ON FUNCTION stormops_internal.judge_drift(bytea, bytea, numeric) IS 'Of a drift expectation: how many new scores there are, whether they have left its reference, and by what; the scores themselves if they are to become the reference. Both are states of score_agg(), NULL without any.';

CREATE FUNCTION stormops_internal.verdicts(due stormops_internal.due_expectation[], judgements stormops_internal.judgement[]) RETURNS TABLE (
    tenant_id uuid, expectation_id uuid, name text, table_name text, rule text, severity text, threshold numeric,
    before text, status text, judged bigint, failing bigint, value double precision, evidence jsonb, first_scores bytea
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH judged AS (
        SELECT r.tenant_id, r.expectation_id, r.judged, r.failing, NULL::boolean AS failed, NULL::double precision AS value, '{}'::jsonb AS evidence,
            r.scores
        FROM unnest($2) AS r WHERE r.expectation_id IS NOT NULL
        UNION ALL
        SELECT c.tenant_id, c.expectation_id, NULL, NULL, c.failed, c.value, c.evidence, NULL FROM stormops_internal.judge_counts($1) AS c
    ), told AS (
        SELECT e.tenant_id, e.expectation_id, e.name, e.table_name, e.rule, e.columns, e.severity, e.threshold, e.judged_status AS before,
            CASE e.rule WHEN 'drift' THEN d.judged ELSE j.judged END AS judged, CASE WHEN e.rule <> 'drift' THEN j.failing END AS failing,
            CASE e.rule WHEN 'drift' THEN d.failed ELSE j.failed END AS failed, j.value,
            CASE e.rule WHEN 'drift' THEN d.evidence ELSE j.evidence END AS evidence, d.first_scores
        FROM judged AS j JOIN stormops.expectations AS e ON e.tenant_id = j.tenant_id AND e.expectation_id = j.expectation_id
        LEFT JOIN LATERAL (
            SELECT d.* FROM stormops_internal.judge_drift(j.scores, e.reference, e.threshold) AS d
            WHERE e.rule = 'drift' OFFSET 0 -- asked before it is called, not after
        ) AS d ON true
    )
    SELECT t.tenant_id, t.expectation_id, t.name, t.table_name, t.rule, t.severity, t.threshold, t.before,
        CASE
            WHEN coalesce(t.failed, t.failing > t.threshold * t.judged) THEN 'failed'
            WHEN t.judged = 0 THEN coalesce(t.before, 'warning') -- without a new row nothing has changed
            WHEN t.failed IS NULL AND t.failing IS NULL THEN 'warning'
            ELSE 'ok'
        END,
        t.judged, t.failing, coalesce(t.value, round(t.failing::numeric / nullif(t.judged, 0), 9)),
        t.evidence || jsonb_strip_nulls(jsonb_build_object('expectation', t.name, 'table', t.table_name,
            'columns', t.columns, 'rows_judged', t.judged, 'rows_failing', t.failing)),
        t.first_scores
    FROM told AS t
$$;
COMMENT ON FUNCTION stormops_internal.verdicts(stormops_internal.due_expectation[], stormops_internal.judgement[]) IS 'What is to be said of each expectation in due: status ok, failed, or warning where there is nothing to compare with; before: its last one; value and evidence for its measurement.';

CREATE FUNCTION stormops_internal.write_verdicts(
    due stormops_internal.due_expectation[], judgements stormops_internal.judgement[],
    OUT tenants bigint, OUT judged bigint, OUT failed bigint, OUT rows_judged bigint, OUT rows_failing bigint, OUT findings jsonb
)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH verdicts AS MATERIALIZED (
        SELECT v.* FROM stormops_internal.verdicts($1, $2) AS v
    ), noted AS (
        UPDATE stormops.expectations AS e SET judged_at = now(), judged_status = v.status, reference = coalesce(e.reference, v.first_scores)
        FROM verdicts AS v
        WHERE e.tenant_id = v.tenant_id AND e.expectation_id = v.expectation_id
    ), written AS (
        INSERT INTO stormops.data_quality_metrics
            (tenant_id, metric_id, table_name, metric_name, metric_value, threshold, status, details, rows_judged, rows_failing)
        SELECT v.tenant_id, stormops.new_id(), v.table_name, v.name, v.value, v.threshold, v.status, v.evidence, v.judged, v.failing
        FROM verdicts AS v
        WHERE v.judged IS DISTINCT FROM 0 OR v.status IS DISTINCT FROM v.before
    ), metered AS (
        INSERT INTO stormops.tenant_usage (tenant_id, metric_name, metric_value)
        SELECT v.tenant_id, 'health_check', count(*) FROM verdicts AS v GROUP BY v.tenant_id
    )
    SELECT count(DISTINCT v.tenant_id), count(*), count(*) FILTER (WHERE v.status = 'failed'),
        coalesce(sum(v.judged), 0)::bigint, coalesce(sum(v.failing), 0)::bigint,
        -- What holds is told where an alert is open, which it may resolve.
        coalesce(jsonb_agg(jsonb_build_object('tenant_id', v.tenant_id, 'key', k.key, 'issue', stormops_internal.issue_of(v.rule),
            'severity', v.severity, 'failing', v.status = 'failed', 'evidence', v.evidence))
            FILTER (WHERE v.status = 'failed' OR v.status = 'ok' AND a.alert_key IS NOT NULL), '[]')
    FROM verdicts AS v
    CROSS JOIN LATERAL (SELECT stormops_internal.issue_of(v.rule) || ':' || v.expectation_id AS key) AS k
    LEFT JOIN stormops.alerts AS a ON a.tenant_id = v.tenant_id AND a.alert_key = k.key AND a.resolved_at IS NULL
$$;
COMMENT ON FUNCTION stormops_internal.write_verdicts(stormops_internal.due_expectation[], stormops_internal.judgement[]) IS 'Notes the verdicts at their expectations and in data_quality_metrics, meters them, and returns their sums and what they have to say to note_findings().';

-- portability/export.sql
CREATE FUNCTION stormops.export_tenant_data(tenant_id uuid DEFAULT NULL, OUT table_name text, OUT row_count bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, false);
    counted record;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- The catalogue, not a list: a tenant's table cannot be forgotten.
    FOR counted IN
        SELECT c.relname::text AS name, c.oid::regclass AS relation
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        UNION ALL
        -- Of the database's own tables those that are protected, with their schema.
        SELECT format('%I.%I', c.relnamespace::regnamespace, c.relname), c.oid::regclass
        FROM stormops_internal.protected() AS p JOIN pg_class AS c ON c.oid = p.relation
        ORDER BY 1
    LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id = $1', counted.relation) INTO row_count USING target;
        table_name := counted.name;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.export_tenant_data(uuid) IS 'Summary of a tenant''s data: one row for each table with its number of rows, in one snapshot. For operators (any tenant) and for the admins of the tenant in context (NULL or its id). Errors: 42501 another tenant; P0002 no such tenant.';

-- portability/register.sql
ALTER TABLE pg_temp.granted_functions ALTER COLUMN domain SET DEFAULT 'portability';
-- What of portability the whole platform must know of.

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.export_tenant_data(uuid)', '{app,trusted_app,operator}');

-- shipped_tables
CREATE FUNCTION stormops_internal.shipped_tables(OUT place integer, OUT file text, OUT statements text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET standard_conforming_strings = on
    AS $tables$
    SELECT t.* FROM (VALUES
        (0, 'tenancy/tables/10_tenants.sql', 'CREATE TABLE IF NOT EXISTS stormops.tenants (
    tenant_id         uuid PRIMARY KEY,
    org_name          text NOT NULL CHECK (char_length(org_name) BETWEEN 1 AND 200),
    name_key          text NOT NULL UNIQUE CHECK (char_length(name_key) <= 1000),
    tier              text NOT NULL CHECK (tier IN (''trial'', ''standard'', ''enterprise'')),
    status            text NOT NULL DEFAULT ''active'' CHECK (status IN (''active'', ''suspended'', ''closed'')),
    created_at        timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    status_changed_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(status_changed_at)),
    trial_ends_at     timestamptz CHECK (isfinite(trial_ends_at)),
    CHECK ((tier = ''trial'') = (trial_ends_at IS NOT NULL))
);
ALTER TABLE stormops.tenants ALTER COLUMN tenant_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
CREATE OR REPLACE TRIGGER legal_step BEFORE INSERT OR DELETE OR UPDATE ON stormops.tenants
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.legal_step();
CREATE OR REPLACE TRIGGER legal_truncate BEFORE TRUNCATE ON stormops.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.legal_step();
COMMENT ON TABLE stormops.tenants IS ''The organisations. Rows come from provision_tenant() and change by suspend_tenant(), reactivate_tenant(), close_tenant(); none is ever deleted, so that an id or a name is never used twice.'';
COMMENT ON COLUMN stormops.tenants.tenant_id IS ''UUID version 7, made by the server.'';
COMMENT ON COLUMN stormops.tenants.org_name IS ''Name of the organisation, 1 to 200 characters.'';
COMMENT ON COLUMN stormops.tenants.name_key IS ''name_key(org_name): equal for names that a person would confuse; unique over all tenants, closed ones too. No tenant can insert here, so it is no oracle.'';
COMMENT ON COLUMN stormops.tenants.tier IS ''trial, standard or enterprise.'';
COMMENT ON COLUMN stormops.tenants.status IS ''active: reads and writes; suspended: reads only; closed: neither.'';
COMMENT ON COLUMN stormops.tenants.created_at IS ''When the tenant was provisioned.'';
COMMENT ON COLUMN stormops.tenants.status_changed_at IS ''When the status last changed.'';
COMMENT ON COLUMN stormops.tenants.trial_ends_at IS ''End of the trial; set for the trial tier only.'';

CREATE TABLE IF NOT EXISTS stormops.tenant_events (
    tenant_id   uuid NOT NULL REFERENCES stormops.tenants,
    event_id    uuid NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(happened_at)),
    action      text NOT NULL CHECK (char_length(action) BETWEEN 1 AND 50),
    from_status text,
    to_status   text,
    user_id     uuid,
    reason      text CHECK (char_length(reason) <= 500),
    actor       text NOT NULL CHECK (char_length(actor) <= 63),
    acting_user uuid,
    PRIMARY KEY (tenant_id, event_id)
);
ALTER TABLE stormops.tenant_events ALTER COLUMN event_id SET DEFAULT stormops.new_id();
-- Deferred, so that a chain is held from the first entry to the commit and no longer.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = ''stormops.tenant_events''::regclass AND g.tgname = ''enter_event'') THEN
        CREATE CONSTRAINT TRIGGER enter_event AFTER INSERT ON stormops.tenant_events DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION stormops_internal.enter_event();
    END IF;
END
$$;
COMMENT ON TABLE stormops.tenant_events IS ''Who did what to a tenant and its users, and why. Append-only.'';
COMMENT ON COLUMN stormops.tenant_events.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.tenant_events.event_id IS ''UUID version 7: in the order of time.'';
COMMENT ON COLUMN stormops.tenant_events.happened_at IS ''Server time.'';
COMMENT ON COLUMN stormops.tenant_events.action IS ''provision, suspend, reactivate, close, add_user, set_user_role, remove_user, issue_token, open_break_glass, close_break_glass.'';
COMMENT ON COLUMN stormops.tenant_events.from_status IS ''Status of the tenant, or role of the user, before.'';
COMMENT ON COLUMN stormops.tenant_events.to_status IS ''Status of the tenant, or role of the user, after.'';
COMMENT ON COLUMN stormops.tenant_events.user_id IS ''The user concerned, for actions on users.'';
COMMENT ON COLUMN stormops.tenant_events.reason IS ''Why, in the words of whoever did it.'';
COMMENT ON COLUMN stormops.tenant_events.actor IS ''The database role that called.'';
COMMENT ON COLUMN stormops.tenant_events.acting_user IS ''The tenant''''s user on whose behalf it called, if the context named one.'';

CREATE TABLE IF NOT EXISTS stormops.users (
    tenant_id  uuid NOT NULL REFERENCES stormops.tenants,
    user_id    uuid NOT NULL,
    email      text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    full_name  text CHECK (char_length(full_name) BETWEEN 1 AND 200),
    role       text CHECK (role IN (''admin'', ''crew_chief'', ''field_user'', ''viewer'')),
    created_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    removed_at timestamptz CHECK (isfinite(removed_at)),
    PRIMARY KEY (tenant_id, user_id),
    CHECK ((role IS NULL) = (removed_at IS NOT NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS users_email_key ON stormops.users (tenant_id, lower(email)) WHERE removed_at IS NULL;
ALTER TABLE stormops.users ALTER COLUMN user_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops.users
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops.users IS ''People of a tenant and their roles. Written by add_user(), set_user_role() and remove_user(); a removed user keeps the row and loses the role.'';
COMMENT ON COLUMN stormops.users.tenant_id IS ''The tenant that the user belongs to.'';
COMMENT ON COLUMN stormops.users.user_id IS ''UUID version 7, made by the server; app.current_user_id names it.'';
COMMENT ON COLUMN stormops.users.email IS ''Address, unique within the tenant without regard to case.'';
COMMENT ON COLUMN stormops.users.full_name IS ''Name for people to read, 1 to 200 characters.'';
COMMENT ON COLUMN stormops.users.role IS ''admin, crew_chief, field_user or viewer (see role_matrix()); NULL once removed.'';
COMMENT ON COLUMN stormops.users.created_at IS ''When the user was added.'';
COMMENT ON COLUMN stormops.users.removed_at IS ''When the user was removed.'';

CREATE TABLE IF NOT EXISTS stormops_internal.usage_grants (
    grantee    regrole PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN (''app'', ''trusted_app'', ''operator'', ''monitor'')),
    granted_at timestamptz NOT NULL DEFAULT now(),
    granted_by name NOT NULL DEFAULT current_user
);
COMMENT ON TABLE stormops_internal.usage_grants IS ''Which database role has which kind of use. Written by grant_usage() and revoke_usage().'';
COMMENT ON COLUMN stormops_internal.usage_grants.grantee IS ''The database role; its oid, so that a new role of an old name gets nothing.'';
COMMENT ON COLUMN stormops_internal.usage_grants.kind IS ''app, trusted_app, operator or monitor.'';
COMMENT ON COLUMN stormops_internal.usage_grants.granted_at IS ''When it was granted.'';
COMMENT ON COLUMN stormops_internal.usage_grants.granted_by IS ''Who granted it.'';
'),
        (1, 'tenancy/tables/20_login.sql', 'CREATE TABLE IF NOT EXISTS stormops_internal.token_issuers (
    issuer       text COLLATE "C" PRIMARY KEY CHECK (char_length(issuer) BETWEEN 1 AND 500),
    audience     text NOT NULL CHECK (char_length(audience) BETWEEN 1 AND 500),
    bound        boolean NOT NULL,
    tenant_claim text NOT NULL CHECK (char_length(tenant_claim) BETWEEN 1 AND 200),
    user_claim   text NOT NULL CHECK (char_length(user_claim) BETWEEN 1 AND 200),
    role_claim   text NOT NULL CHECK (char_length(role_claim) BETWEEN 1 AND 200),
    trusted_at   timestamptz NOT NULL DEFAULT now() CHECK (isfinite(trusted_at)),
    trusted_by   text NOT NULL DEFAULT current_user CHECK (char_length(trusted_by) <= 63)
);
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops_internal.token_issuers
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops_internal.token_issuers IS ''Whose tokens login() takes. Written by trust_issuer() and distrust_issuer(); granted to nobody.'';
COMMENT ON COLUMN stormops_internal.token_issuers.issuer IS ''The claim iss, character by character.'';
COMMENT ON COLUMN stormops_internal.token_issuers.audience IS ''What the claim aud must be or contain.'';
COMMENT ON COLUMN stormops_internal.token_issuers.bound IS ''True: a token must name login_challenge() in its claim nonce.'';
COMMENT ON COLUMN stormops_internal.token_issuers.tenant_claim IS ''The claim that holds the tenant''''s id.'';
COMMENT ON COLUMN stormops_internal.token_issuers.user_claim IS ''The claim that holds the user''''s id.'';
COMMENT ON COLUMN stormops_internal.token_issuers.role_claim IS ''The claim that may narrow the user''''s role.'';
COMMENT ON COLUMN stormops_internal.token_issuers.trusted_at IS ''When it was trusted, or trusted again.'';
COMMENT ON COLUMN stormops_internal.token_issuers.trusted_by IS ''The database role that did.'';

CREATE TABLE IF NOT EXISTS stormops_internal.token_keys (
    issuer     text COLLATE "C" NOT NULL REFERENCES stormops_internal.token_issuers,
    kid        text COLLATE "C" NOT NULL CHECK (octet_length(kid) BETWEEN 1 AND 200),
    algorithm  text NOT NULL CHECK (algorithm IN (''EdDSA'', ''ES256'', ''RS256'', ''HS256'')),
    jwk        text NOT NULL CHECK (char_length(jwk) BETWEEN 2 AND 5000),
    trusted_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(trusted_at)),
    not_after  timestamptz CHECK (isfinite(not_after)),
    PRIMARY KEY (issuer, kid)
);
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops_internal.token_keys
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops_internal.token_keys IS ''The keys that verify tokens. Written by trust_issuer(), distrust_issuer() and rotate_signing_key(); granted to nobody, since the key of HS256 is a secret.'';
COMMENT ON COLUMN stormops_internal.token_keys.issuer IS ''Whose key it is.'';
COMMENT ON COLUMN stormops_internal.token_keys.kid IS ''The header member kid, which chooses the key.'';
COMMENT ON COLUMN stormops_internal.token_keys.algorithm IS ''The one algorithm that the key is for.'';
COMMENT ON COLUMN stormops_internal.token_keys.jwk IS ''The key (RFC 7517).'';
COMMENT ON COLUMN stormops_internal.token_keys.trusted_at IS ''When it was trusted.'';
COMMENT ON COLUMN stormops_internal.token_keys.not_after IS ''When it ends; NULL: when it leaves the set.'';

CREATE TABLE IF NOT EXISTS stormops_internal.signing_keys (
    kid         text COLLATE "C" PRIMARY KEY CHECK (octet_length(kid) BETWEEN 1 AND 200),
    private_key bytea NOT NULL CHECK (octet_length(private_key) = 32),
    made_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(made_at))
);
COMMENT ON TABLE stormops_internal.signing_keys IS ''The private half of the key that issue_token() signs with: at most one row. Granted to nobody; a dump of the database holds it.'';
COMMENT ON COLUMN stormops_internal.signing_keys.kid IS ''Its public half in token_keys, under the issuer stormops.'';
COMMENT ON COLUMN stormops_internal.signing_keys.private_key IS ''The Ed25519 seed (RFC 8032), 32 bytes.'';
COMMENT ON COLUMN stormops_internal.signing_keys.made_at IS ''When it was made.'';

CREATE TABLE IF NOT EXISTS stormops.break_glass_grants (
    tenant_id  uuid NOT NULL REFERENCES stormops.tenants,
    grant_id   uuid NOT NULL,
    opened_by  text NOT NULL CHECK (char_length(opened_by) <= 63),
    opened_at  timestamptz NOT NULL DEFAULT now() CHECK (isfinite(opened_at)),
    opened_in  xid8 NOT NULL DEFAULT pg_current_xact_id(),
    expires_at timestamptz NOT NULL CHECK (isfinite(expires_at)),
    closed_at  timestamptz CHECK (isfinite(closed_at)),
    reason     text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 300),
    ticket     text NOT NULL CHECK (char_length(ticket) BETWEEN 1 AND 100),
    PRIMARY KEY (tenant_id, grant_id)
);
ALTER TABLE stormops.break_glass_grants ALTER COLUMN grant_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops.break_glass_grants
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops.break_glass_grants IS ''Which operator may read which tenant''''s rows, why and until when. Written by open_break_glass() and close_break_glass(); none is ever deleted.'';
COMMENT ON COLUMN stormops.break_glass_grants.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.break_glass_grants.grant_id IS ''UUID version 7, made by the server.'';
COMMENT ON COLUMN stormops.break_glass_grants.opened_by IS ''The database role that opened it, and the only one that it serves.'';
COMMENT ON COLUMN stormops.break_glass_grants.opened_at IS ''When it was opened.'';
COMMENT ON COLUMN stormops.break_glass_grants.opened_in IS ''The transaction that opened it, in which it is of no use.'';
COMMENT ON COLUMN stormops.break_glass_grants.expires_at IS ''When it ends.'';
COMMENT ON COLUMN stormops.break_glass_grants.closed_at IS ''When it was closed before its end.'';
COMMENT ON COLUMN stormops.break_glass_grants.reason IS ''Why, in the operator''''s words.'';
COMMENT ON COLUMN stormops.break_glass_grants.ticket IS ''The ticket that asked for it.'';
'),
        (2, 'tenancy/tables/30_protected.sql', 'CREATE TABLE IF NOT EXISTS stormops_internal.protected_tables (
    relation     regclass PRIMARY KEY,
    least_roles  jsonb NOT NULL CHECK (jsonb_typeof(least_roles) = ''object''),
    owner_before regrole NOT NULL,
    protected_at timestamptz NOT NULL DEFAULT now(),
    protected_by name NOT NULL DEFAULT current_user
);
COMMENT ON TABLE stormops_internal.protected_tables IS ''The database''''s own tables that are under the regime of StormOps''''. Written by protect() and unprotect().'';
COMMENT ON COLUMN stormops_internal.protected_tables.relation IS ''The table.'';
COMMENT ON COLUMN stormops_internal.protected_tables.least_roles IS ''Command to the least role that may: {"SELECT": "viewer", ...}. A command that is not there nobody may.'';
COMMENT ON COLUMN stormops_internal.protected_tables.owner_before IS ''Whose it was; unprotect() gives it back.'';
COMMENT ON COLUMN stormops_internal.protected_tables.protected_at IS ''When protect() was called.'';
COMMENT ON COLUMN stormops_internal.protected_tables.protected_by IS ''Who called it.'';
'),
        (3, 'tenancy/tables/40_log.sql', '-- The tamper-evident log: a chain of hashes over a tenant''s events, and one over its policy runs.
CREATE TABLE IF NOT EXISTS stormops.tenant_log (
    tenant_id  uuid NOT NULL REFERENCES stormops.tenants,
    log        text NOT NULL CHECK (log IN (''events'', ''runs'')),
    entry      bigint NOT NULL CHECK (entry > 0),
    subject_id uuid NOT NULL,
    adopted    boolean NOT NULL,
    content    bytea NOT NULL CHECK (octet_length(content) = 32),
    hash       bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- Whoever comes second to an entry waits for the first: a chain has no fork.
    PRIMARY KEY (tenant_id, log, entry),
    UNIQUE (tenant_id, log, subject_id)
);
COMMENT ON TABLE stormops.tenant_log IS ''The chains of hashes that make tenant_events and the policy runs with their decisions tamper-evident; see verify_log(). Append-only; whoever inserts an event or a run is entered here when the transaction commits.'';
COMMENT ON COLUMN stormops.tenant_log.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.tenant_log.log IS ''events: rows of tenant_events; runs: rows of policy_runs with their decisions. Two chains, so that no run can hold up a suspension.'';
COMMENT ON COLUMN stormops.tenant_log.entry IS ''Place in the chain: 1, 2, 3, ... without a gap.'';
COMMENT ON COLUMN stormops.tenant_log.subject_id IS ''The event_id or run_id.'';
COMMENT ON COLUMN stormops.tenant_log.adopted IS ''True: the row was older than the chain, which vouches for it only from then on.'';
COMMENT ON COLUMN stormops.tenant_log.content IS ''SHA-256 of the row''''s canonical form: event_digests(), run_digests().'';
COMMENT ON COLUMN stormops.tenant_log.hash IS ''SHA-256 of the hash before and this entry: entry_hash().'';
'),
        (4, 'tenancy/tables/50_reference.sql', '-- What users call, from the catalogue. \df+ would print each function''s source too, the statements of all tables among it.
CREATE OR REPLACE VIEW stormops.reference WITH (security_invoker, security_barrier) AS
SELECT f.domain,
    p.proname::text AS name,
    format(''%s(%s)'', p.proname, a.arguments) AS call,
    CASE WHEN coalesce(a.columns, c.columns) IS NULL THEN pg_get_function_result(p.oid)
        ELSE CASE WHEN p.proretset THEN ''SETOF '' ELSE '''' END || ''('' || coalesce(a.columns, c.columns) || '')'' END AS result,
    CASE f.kinds WHEN ''{}'' THEN ''{superuser}'' ELSE f.kinds END AS kinds,
    -- By convention a comment ends with its errors, each with its SQLSTATE.
    ARRAY(
        SELECT DISTINCT e.found[1] FROM regexp_matches(substring(d.description FROM ''\mErrors?\M.*''), ''\m(?=[A-Z]*[0-9])[0-9A-Z]{5}\M'', ''g'') AS e (found)
        ORDER BY 1
    ) AS errors,
    d.description
FROM stormops_internal.granted_functions() AS f
JOIN pg_proc AS p ON p.oid = to_regprocedure(f.signature)
JOIN pg_type AS t ON t.oid = p.prorettype
CROSS JOIN LATERAL (
    SELECT coalesce(string_agg(concat_ws('' '', nullif(g.name, ''''), format_type(g.type, NULL),
            ''DEFAULT '' || regexp_replace(pg_get_function_arg_default(p.oid, g.place::integer), ''::[a-z][a-z_. ]*(\[\])?$'', '''')), '', '' ORDER BY g.place) FILTER (WHERE g.mode IN (''i'', ''b'', ''v'')), '''') AS arguments,
        string_agg(concat_ws('' '', g.name, format_type(g.type, NULL)), '', '' ORDER BY g.place) FILTER (WHERE g.mode IN (''o'', ''b'', ''t'')) AS columns
    FROM (
        SELECT u.name, u.type, coalesce(u.mode, ''i'') AS mode, u.place
        FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes) WITH ORDINALITY AS u (type, name, mode, place)
    ) AS g
) AS a
CROSS JOIN LATERAL (
    SELECT string_agg(concat_ws('' '', k.attname, format_type(k.atttypid, k.atttypmod)), '', '' ORDER BY k.attnum) AS columns
    FROM pg_attribute AS k WHERE k.attrelid = t.typrelid AND t.typrelid <> 0 AND k.attnum > 0 AND NOT k.attisdropped
) AS c
CROSS JOIN LATERAL (SELECT obj_description(p.oid, ''pg_proc'') AS description) AS d
WHERE p.pronamespace = ''stormops''::regnamespace;
COMMENT ON VIEW stormops.reference IS ''Every function that users call: SELECT call, kinds, description FROM stormops.reference WHERE domain = ''''policy''''. All kinds of use may read it.'';
COMMENT ON COLUMN stormops.reference.domain IS ''tenancy, field, uplift, experiment, policy, metering, health, portability or stream: also the page of the documentation.'';
COMMENT ON COLUMN stormops.reference.name IS ''The function''''s name.'';
COMMENT ON COLUMN stormops.reference.call IS ''Name and arguments, with types and defaults.'';
COMMENT ON COLUMN stormops.reference.result IS ''The type, or the columns of the row; SETOF: any number of rows.'';
COMMENT ON COLUMN stormops.reference.kinds IS ''The kinds of use that may call it; {superuser}: only superusers.'';
COMMENT ON COLUMN stormops.reference.errors IS ''The SQLSTATEs that the description names.'';
COMMENT ON COLUMN stormops.reference.description IS ''The function''''s comment.'';
'),
        (5, 'field/tables/10_field.sql', 'CREATE TABLE IF NOT EXISTS stormops.storms (
    tenant_id     uuid NOT NULL REFERENCES stormops.tenants,
    storm_id      uuid NOT NULL,
    event_id      text NOT NULL CHECK (char_length(event_id) BETWEEN 1 AND 100),
    name          text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    status        text NOT NULL DEFAULT ''active'' CHECK (status IN (''forecast'', ''active'', ''closed'')),
    peril         text NOT NULL DEFAULT ''unknown'' CHECK (peril IN (''hail'', ''wind'', ''hail_and_wind'', ''tornado'', ''hurricane'', ''unknown'')),
    hail_size_in  numeric(4, 2) CHECK (hail_size_in BETWEEN 0 AND 12),
    wind_gust_mph numeric(4, 1) CHECK (wind_gust_mph BETWEEN 0 AND 350),
    west          double precision CHECK (west BETWEEN -180 AND 180),
    south         double precision CHECK (south BETWEEN -90 AND 90),
    east          double precision CHECK (east BETWEEN -180 AND 180),
    north         double precision CHECK (north BETWEEN -90 AND 90),
    started_at    timestamptz CHECK (isfinite(started_at)),
    ended_at      timestamptz CHECK (isfinite(ended_at)),
    created_at    timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    PRIMARY KEY (tenant_id, storm_id),
    UNIQUE (tenant_id, event_id),
    CHECK (ended_at >= started_at),
    CHECK (north >= south),
    CHECK (num_nulls(west, south, east, north) IN (0, 4))
);
ALTER TABLE stormops.storms ALTER COLUMN storm_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.storms IS ''Storm events, each tenant its own.'';
COMMENT ON COLUMN stormops.storms.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.storms.storm_id IS ''UUID; version 7 by default.'';
COMMENT ON COLUMN stormops.storms.event_id IS ''The tenant''''s or the weather service''''s own name of the event; unique within the tenant.'';
COMMENT ON COLUMN stormops.storms.name IS ''Name for people to read, 1 to 200 characters.'';
COMMENT ON COLUMN stormops.storms.status IS ''forecast, active or closed; no policy is applied to a closed storm.'';
COMMENT ON COLUMN stormops.storms.peril IS ''hail, wind, hail_and_wind, tornado, hurricane or unknown.'';
COMMENT ON COLUMN stormops.storms.hail_size_in IS ''Largest hail diameter, inches, 0 to 12.'';
COMMENT ON COLUMN stormops.storms.wind_gust_mph IS ''Peak gust, miles per hour, 0 to 350.'';
COMMENT ON COLUMN stormops.storms.west IS ''Bounding box, degrees of longitude (WGS 84). West may exceed east across the date line. All four sides or none.'';
COMMENT ON COLUMN stormops.storms.south IS ''Bounding box, degrees of latitude (WGS 84).'';
COMMENT ON COLUMN stormops.storms.east IS ''Bounding box, degrees of longitude (WGS 84).'';
COMMENT ON COLUMN stormops.storms.north IS ''Bounding box, degrees of latitude (WGS 84).'';
COMMENT ON COLUMN stormops.storms.started_at IS ''When the storm reached the area.'';
COMMENT ON COLUMN stormops.storms.ended_at IS ''When it had left it.'';
COMMENT ON COLUMN stormops.storms.created_at IS ''When the row was written.'';

CREATE TABLE IF NOT EXISTS stormops.properties (
    tenant_id      uuid NOT NULL REFERENCES stormops.tenants,
    property_id    uuid NOT NULL,
    external_id    text CHECK (char_length(external_id) BETWEEN 1 AND 100),
    address        text CHECK (char_length(address) BETWEEN 1 AND 300),
    longitude      double precision CHECK (longitude BETWEEN -180 AND 180),
    latitude       double precision CHECK (latitude BETWEEN -90 AND 90),
    roof_style     text CHECK (char_length(roof_style) BETWEEN 1 AND 50),
    roof_material  text CHECK (char_length(roof_material) BETWEEN 1 AND 50),
    year_built     smallint CHECK (year_built BETWEEN 1600 AND 2200),
    roof_year      smallint CHECK (roof_year BETWEEN 1600 AND 2200),
    building_value numeric(14, 2) CHECK (building_value BETWEEN 0 AND 1e11),
    job_margin     numeric(12, 2) CHECK (job_margin > 0 AND job_margin <= 1e9),
    contact_cost   numeric(12, 2) CHECK (contact_cost >= 0 AND contact_cost <= 1e9),
    do_not_contact boolean NOT NULL DEFAULT false,
    status         text NOT NULL DEFAULT ''active'' CHECK (status IN (''active'', ''archived'')),
    created_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    PRIMARY KEY (tenant_id, property_id),
    UNIQUE (tenant_id, external_id),
    CHECK ((longitude IS NULL) = (latitude IS NULL))
);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS properties_arrival ON stormops.properties USING brin (tenant_id, created_at) WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE stormops.properties ALTER COLUMN property_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.properties IS ''Buildings with their roofs. Archived, never deleted: decisions and outcomes refer to them.'';
COMMENT ON COLUMN stormops.properties.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.properties.property_id IS ''UUID; version 7 by default.'';
COMMENT ON COLUMN stormops.properties.external_id IS ''The tenant''''s own key for integration; unique within the tenant.'';
COMMENT ON COLUMN stormops.properties.address IS ''Postal address, 1 to 300 characters.'';
COMMENT ON COLUMN stormops.properties.longitude IS ''Degrees (WGS 84). Both coordinates or none.'';
COMMENT ON COLUMN stormops.properties.latitude IS ''Degrees (WGS 84).'';
COMMENT ON COLUMN stormops.properties.roof_style IS ''gable, hip, flat, ...'';
COMMENT ON COLUMN stormops.properties.roof_material IS ''composition shingle, metal, wood shake, ...'';
COMMENT ON COLUMN stormops.properties.year_built IS ''Year of construction.'';
COMMENT ON COLUMN stormops.properties.roof_year IS ''Year of the present roof: its age is the storm''''s year less this.'';
COMMENT ON COLUMN stormops.properties.building_value IS ''Value of the building, in the tenant''''s currency.'';
COMMENT ON COLUMN stormops.properties.job_margin IS ''Margin expected from a job on this roof; overrides the policy mode''''s margin.'';
COMMENT ON COLUMN stormops.properties.contact_cost IS ''Cost of treating this property; overrides the policy mode''''s contact cost.'';
COMMENT ON COLUMN stormops.properties.do_not_contact IS ''True: every policy excludes the property.'';
COMMENT ON COLUMN stormops.properties.status IS ''active or archived; no policy decides an archived property.'';
COMMENT ON COLUMN stormops.properties.created_at IS ''When the row was written.'';

CREATE TABLE IF NOT EXISTS stormops.customer_journeys (
    tenant_id   uuid NOT NULL,
    journey_id  uuid NOT NULL,
    property_id uuid NOT NULL,
    storm_id    uuid,
    touch       text NOT NULL CHECK (char_length(touch) BETWEEN 1 AND 50),
    channel     text NOT NULL CHECK (char_length(channel) BETWEEN 1 AND 50),
    direction   text NOT NULL DEFAULT ''outbound'' CHECK (direction IN (''outbound'', ''inbound'')),
    occurred_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(occurred_at)),
    value       numeric(14, 2) CHECK (value BETWEEN 0 AND 1e11),
    PRIMARY KEY (tenant_id, journey_id),
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties,
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms
);
CREATE INDEX IF NOT EXISTS customer_journeys_property ON stormops.customer_journeys (tenant_id, property_id, occurred_at);
CREATE INDEX IF NOT EXISTS customer_journeys_storm ON stormops.customer_journeys (tenant_id, storm_id, occurred_at);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS customer_journeys_arrival ON stormops.customer_journeys USING brin (tenant_id, occurred_at) WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE stormops.customer_journeys ALTER COLUMN journey_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.customer_journeys IS ''Touches between a tenant and the people of a property, one row a touch.'';
COMMENT ON COLUMN stormops.customer_journeys.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.customer_journeys.journey_id IS ''UUID of the touch; version 7 by default.'';
COMMENT ON COLUMN stormops.customer_journeys.property_id IS ''The property, of the same tenant.'';
COMMENT ON COLUMN stormops.customer_journeys.storm_id IS ''The storm that the touch belongs to, if any.'';
COMMENT ON COLUMN stormops.customer_journeys.touch IS ''What happened: call, visit, inspection, quote, conversion, ...'';
COMMENT ON COLUMN stormops.customer_journeys.channel IS ''By which way: door, phone, e-mail, search, ...'';
COMMENT ON COLUMN stormops.customer_journeys.direction IS ''outbound (from the tenant) or inbound.'';
COMMENT ON COLUMN stormops.customer_journeys.occurred_at IS ''When.'';
COMMENT ON COLUMN stormops.customer_journeys.value IS ''Worth of the touch in the tenant''''s currency, for conversions.'';
'),
        (6, 'uplift/tables/10_scores.sql', 'CREATE TABLE IF NOT EXISTS stormops.lead_uplift (
    tenant_id     uuid NOT NULL,
    storm_id      uuid NOT NULL,
    property_id   uuid NOT NULL,
    scored_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(scored_at)),
    model_version text NOT NULL CHECK (char_length(model_version) BETWEEN 1 AND 100),
    uplift        double precision NOT NULL CHECK (uplift BETWEEN -1 AND 1),
    uplift_sd     double precision CHECK (uplift_sd > 0 AND uplift_sd <= 1),
    baseline      double precision CHECK (baseline BETWEEN 0 AND 1),
    PRIMARY KEY (tenant_id, storm_id, property_id, scored_at, model_version),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties
);
CREATE INDEX IF NOT EXISTS lead_uplift_property ON stormops.lead_uplift (tenant_id, property_id);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS lead_uplift_arrival ON stormops.lead_uplift USING brin (tenant_id, scored_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE stormops.lead_uplift IS ''Uplift scores: by how much treating a property raises its chance of becoming a job. The latest one of a property counts for its storm.'';
COMMENT ON COLUMN stormops.lead_uplift.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.lead_uplift.storm_id IS ''The storm, of the same tenant.'';
COMMENT ON COLUMN stormops.lead_uplift.property_id IS ''The property, of the same tenant.'';
COMMENT ON COLUMN stormops.lead_uplift.scored_at IS ''When it was scored.'';
COMMENT ON COLUMN stormops.lead_uplift.model_version IS ''The model that scored it, 1 to 100 characters.'';
COMMENT ON COLUMN stormops.lead_uplift.uplift IS ''Difference of probabilities, -1 to 1: P(job | treated) - P(job | not treated).'';
COMMENT ON COLUMN stormops.lead_uplift.uplift_sd IS ''Standard deviation of the score''''s own uncertainty, above 0 to 1, where the model gives one.'';
COMMENT ON COLUMN stormops.lead_uplift.baseline IS ''P(job | not treated), 0 to 1, where the model gives it.'';

-- The sketch is a bytea and not of the extension''s own type: the column would go with the extension.
CREATE TABLE IF NOT EXISTS stormops.uplift_baselines (
    tenant_id     uuid NOT NULL,
    model_version text NOT NULL CHECK (char_length(model_version) BETWEEN 1 AND 100),
    name          text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    storm_id      uuid NOT NULL,
    sketch        bytea NOT NULL CHECK (octet_length(sketch) >= 32),
    n             bigint NOT NULL CHECK (n > 0),
    mean          double precision NOT NULL CHECK (mean BETWEEN -1 AND 1),
    sd            double precision CHECK (sd BETWEEN 0 AND 2),
    made_at       timestamptz NOT NULL CHECK (isfinite(made_at)),
    made_by       text NOT NULL,
    acting_user   uuid,
    PRIMARY KEY (tenant_id, model_version, name),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms
);
ALTER TABLE stormops.uplift_baselines ALTER COLUMN sketch SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS uplift_baselines_storm ON stormops.uplift_baselines (tenant_id, storm_id);
COMMENT ON TABLE stormops.uplift_baselines IS ''Scores that later storms are compared with. Written by set_baseline().'';
COMMENT ON COLUMN stormops.uplift_baselines.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.uplift_baselines.model_version IS ''The model whose scores they are.'';
COMMENT ON COLUMN stormops.uplift_baselines.name IS ''Name, unique for the model; "default" is what checks use without a name.'';
COMMENT ON COLUMN stormops.uplift_baselines.storm_id IS ''The storm that was scored, of the same tenant.'';
COMMENT ON COLUMN stormops.uplift_baselines.sketch IS ''The scores, a state of score_agg(): sketch::stormops.score_sketch.'';
COMMENT ON COLUMN stormops.uplift_baselines.n IS ''How many scores.'';
COMMENT ON COLUMN stormops.uplift_baselines.mean IS ''Their mean.'';
COMMENT ON COLUMN stormops.uplift_baselines.sd IS ''Their standard deviation; NULL of one score.'';
COMMENT ON COLUMN stormops.uplift_baselines.made_at IS ''When it was set or last replaced.'';
COMMENT ON COLUMN stormops.uplift_baselines.made_by IS ''The database role that set it.'';
COMMENT ON COLUMN stormops.uplift_baselines.acting_user IS ''The tenant''''s user on whose behalf it was set, if the context named one.'';
'),
        (7, 'experiment/tables/10_experiments.sql', 'CREATE TABLE IF NOT EXISTS stormops.experiments (
    tenant_id         uuid NOT NULL,
    experiment_id     uuid NOT NULL,
    storm_id          uuid NOT NULL,
    name              text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    status            text NOT NULL DEFAULT ''running'' CHECK (status IN (''running'', ''stopped'')),
    arms              jsonb NOT NULL DEFAULT ''{"treatment": 0.5, "control": 0.5}'' CHECK (jsonb_typeof(arms) = ''object'' AND pg_column_size(arms || ''{}'') <= 8192),
    control           text NOT NULL DEFAULT ''control'' CHECK (arms ? control),
    primary_metric    text NOT NULL DEFAULT ''conversion'' CHECK (primary_metric IN (''conversion'', ''value'')),
    planned_n         integer CHECK (planned_n > 0),
    unit              text NOT NULL DEFAULT ''property'' CHECK (unit IN (''property'', ''neighbourhood'')),
    population        text NOT NULL DEFAULT ''scored'' CHECK (population IN (''scored'', ''active'')),
    covariate         text CHECK (covariate = ''uplift''),
    cluster_by        text CHECK (cluster_by = ''neighbourhood''),
    untouched_control boolean NOT NULL DEFAULT true,
    outcome_days      integer NOT NULL DEFAULT 90 CHECK (outcome_days BETWEEN 1 AND 3650),
    started_at        timestamptz NOT NULL DEFAULT now() CHECK (isfinite(started_at)),
    stopped_at        timestamptz CHECK (isfinite(stopped_at)),
    stop_reason       text CHECK (char_length(stop_reason) BETWEEN 1 AND 500),
    created_by        text NOT NULL DEFAULT current_user CHECK (char_length(created_by) <= 63),
    acting_user       uuid,
    PRIMARY KEY (tenant_id, experiment_id),
    UNIQUE (tenant_id, storm_id, name),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    CHECK (stopped_at >= started_at),
    CHECK ((status = ''stopped'') = (stopped_at IS NOT NULL)),
    CHECK (unit = ''property'' OR cluster_by IS NOT NULL)
);
ALTER TABLE stormops.experiments ALTER COLUMN experiment_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.experiments IS ''Randomised comparisons within a storm. Written by create_experiment() and stop_experiment(): what is compared, and how, is fixed before the first assignment.'';
COMMENT ON COLUMN stormops.experiments.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.experiments.experiment_id IS ''UUID; version 7 by default.'';
COMMENT ON COLUMN stormops.experiments.storm_id IS ''The storm, of the same tenant.'';
COMMENT ON COLUMN stormops.experiments.name IS ''Name for people to read; unique within the storm.'';
COMMENT ON COLUMN stormops.experiments.status IS ''running or stopped; only a running one assigns.'';
COMMENT ON COLUMN stormops.experiments.arms IS ''Arm names and their weights, a JSON object: 2 to 50 arms, weights that add up to 1.'';
COMMENT ON COLUMN stormops.experiments.control IS ''The arm that the others are compared with.'';
COMMENT ON COLUMN stormops.experiments.primary_metric IS ''What is compared: conversion (share of properties that became a job) or value (currency per property).'';
COMMENT ON COLUMN stormops.experiments.planned_n IS ''Planned number of properties over all arms. Once so many have had their outcome_days the report decides by the fixed-horizon test, before by the always-valid one.'';
COMMENT ON COLUMN stormops.experiments.unit IS ''What is drawn: each property, or each neighbourhood with all of its properties.'';
COMMENT ON COLUMN stormops.experiments.population IS ''Who takes part: scored (active, contactable properties with a score of this storm) or active (all active, contactable properties).'';
COMMENT ON COLUMN stormops.experiments.covariate IS ''uplift: adjust by the score that a property had when it was assigned (CUPED); NULL: do not.'';
COMMENT ON COLUMN stormops.experiments.cluster_by IS ''neighbourhood: standard errors allow for neighbours being alike; NULL: properties are independent.'';
COMMENT ON COLUMN stormops.experiments.untouched_control IS ''True: nobody may contact the control arm, and contacts are reported as contamination. False: control gets a treatment of its own.'';
COMMENT ON COLUMN stormops.experiments.outcome_days IS ''Days after its assignment within which a property''''s outcome counts.'';
COMMENT ON COLUMN stormops.experiments.started_at IS ''When it was created, which is when assignment may begin.'';
COMMENT ON COLUMN stormops.experiments.stopped_at IS ''When it was stopped.'';
COMMENT ON COLUMN stormops.experiments.stop_reason IS ''Why, in the words of whoever stopped it.'';
COMMENT ON COLUMN stormops.experiments.created_by IS ''The database role that called.'';
COMMENT ON COLUMN stormops.experiments.acting_user IS ''The tenant''''s user on whose behalf it called, if the context named one.'';

CREATE TABLE IF NOT EXISTS stormops.experiment_assignments (
    tenant_id     uuid NOT NULL,
    experiment_id uuid NOT NULL,
    property_id   uuid NOT NULL,
    arm           text NOT NULL CHECK (char_length(arm) BETWEEN 1 AND 50),
    neighbourhood text CHECK (char_length(neighbourhood) BETWEEN 1 AND 50),
    assigned_at   timestamptz NOT NULL DEFAULT now() CHECK (isfinite(assigned_at)),
    PRIMARY KEY (tenant_id, experiment_id, property_id),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES stormops.experiments,
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties
);
CREATE INDEX IF NOT EXISTS experiment_assignments_property ON stormops.experiment_assignments (tenant_id, property_id);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS experiment_assignments_arrival ON stormops.experiment_assignments USING brin (tenant_id, assigned_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE stormops.experiment_assignments IS ''Which property is in which arm. Written by assign_experiment(); an assignment is never changed.'';
COMMENT ON COLUMN stormops.experiment_assignments.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.experiment_assignments.experiment_id IS ''The experiment, of the same tenant.'';
COMMENT ON COLUMN stormops.experiment_assignments.property_id IS ''The property, of the same tenant.'';
COMMENT ON COLUMN stormops.experiment_assignments.arm IS ''Name of the arm, one of the experiment''''s arms.'';
COMMENT ON COLUMN stormops.experiment_assignments.neighbourhood IS ''neighbourhood() of the property when it was assigned; NULL without coordinates.'';
COMMENT ON COLUMN stormops.experiment_assignments.assigned_at IS ''When it was assigned.'';
'),
        (8, 'policy/tables/10_policy.sql', 'CREATE TABLE IF NOT EXISTS stormops.policy_modes (
    tenant_id        uuid NOT NULL REFERENCES stormops.tenants,
    policy_mode      text NOT NULL CHECK (char_length(policy_mode) BETWEEN 1 AND 50),
    confidence       double precision NOT NULL CHECK (confidence BETWEEN 0.001 AND 0.999),
    exploration      double precision NOT NULL CHECK (exploration BETWEEN 0 AND 0.5),
    holdout          double precision NOT NULL CHECK (holdout BETWEEN 0 AND 0.9),
    breakeven_uplift double precision NOT NULL DEFAULT 0.05 CHECK (breakeven_uplift BETWEEN 0 AND 1),
    margin           numeric(12, 2) CHECK (margin > 0 AND margin <= 1e9),
    contact_cost     numeric(12, 2) CHECK (contact_cost >= 0 AND contact_cost <= 1e9),
    capacity         integer CHECK (capacity > 0),
    budget           numeric(14, 2) CHECK (budget > 0 AND budget <= 1e11),
    default_sd       double precision NOT NULL DEFAULT 0.05 CHECK (default_sd > 0 AND default_sd <= 1),
    outcome_days     integer NOT NULL DEFAULT 90 CHECK (outcome_days BETWEEN 1 AND 3650),
    PRIMARY KEY (tenant_id, policy_mode),
    CHECK (margin IS NULL OR contact_cost IS NOT NULL),
    CHECK (budget IS NULL OR coalesce(contact_cost, 0) > 0)
);
COMMENT ON TABLE stormops.policy_modes IS ''The risk attitudes of a tenant. Provisioning copies default_policy_modes(); the tenant changes its own rows and adds modes.'';
COMMENT ON COLUMN stormops.policy_modes.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.policy_modes.policy_mode IS ''Name of the mode: conservative, moderate, aggressive, or the tenant''''s own.'';
COMMENT ON COLUMN stormops.policy_modes.confidence IS ''q: treat where P(net value > 0) >= q, 0.001 to 0.999. A higher q treats a subset.'';
COMMENT ON COLUMN stormops.policy_modes.exploration IS ''Probability, 0 to 0.5, of doing the opposite of the rule, so that the log can later value other rules. 0: never.'';
COMMENT ON COLUMN stormops.policy_modes.holdout IS ''Probability, 0 to 0.9, of holding a property at random, whatever its score: the control group.'';
COMMENT ON COLUMN stormops.policy_modes.breakeven_uplift IS ''Uplift at which treating pays, 0 to 1; used where margin and contact cost are not both known.'';
COMMENT ON COLUMN stormops.policy_modes.margin IS ''Margin of one job, in the tenant''''s currency; break-even is then contact_cost / margin.'';
COMMENT ON COLUMN stormops.policy_modes.contact_cost IS ''Cost of treating one property, in the tenant''''s currency.'';
COMMENT ON COLUMN stormops.policy_modes.capacity IS ''Most properties that can be treated; the best by value per cost are taken.'';
COMMENT ON COLUMN stormops.policy_modes.budget IS ''Most that the rule may spend on contact costs; the best by value per cost are taken.'';
COMMENT ON COLUMN stormops.policy_modes.default_sd IS ''Standard deviation assumed for a score that comes without one.'';
COMMENT ON COLUMN stormops.policy_modes.outcome_days IS ''Days after the decision within which an outcome counts; a later one is recorded as late.'';

CREATE TABLE IF NOT EXISTS stormops.policy_runs (
    tenant_id      uuid NOT NULL,
    run_id         uuid NOT NULL,
    storm_id       uuid NOT NULL,
    policy_mode    text NOT NULL,
    parameters     jsonb NOT NULL,
    decided_at     timestamptz NOT NULL CHECK (isfinite(decided_at)),
    decided_by     text NOT NULL,
    acting_user    uuid,
    treat          bigint NOT NULL CHECK (treat >= 0),
    hold           bigint NOT NULL CHECK (hold >= 0),
    excluded       bigint NOT NULL CHECK (excluded >= 0),
    reasons        jsonb NOT NULL,
    expected_value numeric NOT NULL,
    supersedes     uuid,
    superseded_at  timestamptz CHECK (isfinite(superseded_at)),
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    FOREIGN KEY (tenant_id, supersedes) REFERENCES stormops.policy_runs
);
CREATE UNIQUE INDEX IF NOT EXISTS policy_runs_current ON stormops.policy_runs (tenant_id, storm_id) WHERE superseded_at IS NULL;
CREATE INDEX IF NOT EXISTS policy_runs_storm ON stormops.policy_runs (tenant_id, storm_id, decided_at);
CREATE INDEX IF NOT EXISTS policy_runs_supersedes ON stormops.policy_runs (tenant_id, supersedes);
COMMENT ON TABLE stormops.policy_runs IS ''One row for each call of apply_policy(): its parameters and counts. A storm has one current run; the others are superseded.'';
COMMENT ON COLUMN stormops.policy_runs.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.policy_runs.run_id IS ''UUID version 7: in the order of time.'';
COMMENT ON COLUMN stormops.policy_runs.storm_id IS ''The storm, of the same tenant.'';
COMMENT ON COLUMN stormops.policy_runs.policy_mode IS ''The mode applied.'';
COMMENT ON COLUMN stormops.policy_runs.parameters IS ''All that the decisions rest on beside the data: the mode''''s row as it was, the z of its confidence and the exploration in effect. policy_decisions(storm_id, parameters) decides alike again.'';
COMMENT ON COLUMN stormops.policy_runs.decided_at IS ''Server time of the decision.'';
COMMENT ON COLUMN stormops.policy_runs.decided_by IS ''The database role that called.'';
COMMENT ON COLUMN stormops.policy_runs.acting_user IS ''The tenant''''s user on whose behalf it called, if the context named one.'';
COMMENT ON COLUMN stormops.policy_runs.treat IS ''Properties to treat.'';
COMMENT ON COLUMN stormops.policy_runs.hold IS ''Properties to hold.'';
COMMENT ON COLUMN stormops.policy_runs.excluded IS ''Properties outside the policy (do_not_contact).'';
COMMENT ON COLUMN stormops.policy_runs.reasons IS ''Properties by reason code, a JSON object.'';
COMMENT ON COLUMN stormops.policy_runs.expected_value IS ''Sum of value over the treated properties: currency if margin and cost are known, else jobs beyond break-even.'';
COMMENT ON COLUMN stormops.policy_runs.supersedes IS ''The run that this one replaced.'';
COMMENT ON COLUMN stormops.policy_runs.superseded_at IS ''When a later run replaced this one; NULL: the current run.'';

-- The key begins with the run, whose id is in the order of time: a month''s decisions are one
-- partition, retention is dropping it, and new keys fall at the end of the index. Rows come only
-- from apply_policy(), out of the tenant''s own properties in one statement, and neither those
-- nor runs can be deleted, so the reference needs no trigger for each of a million rows.
CREATE TABLE IF NOT EXISTS stormops.policy_decisions_log (
    tenant_id     uuid NOT NULL,
    run_id        uuid NOT NULL,
    property_id   uuid NOT NULL,
    storm_id      uuid NOT NULL,
    decided_at    timestamptz NOT NULL CHECK (isfinite(decided_at)),
    propensity    double precision NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    score         double precision NOT NULL CHECK (score BETWEEN -1 AND 1),
    score_sd      double precision NOT NULL CHECK (score_sd > 0 AND score_sd <= 1),
    value         double precision NOT NULL CHECK (value > ''-Infinity'' AND value < ''Infinity''),
    decision      text NOT NULL CHECK (decision IN (''treat'', ''hold'', ''exclude'')),
    reason        text NOT NULL,
    policy_mode   text NOT NULL,
    model_version text NOT NULL,
    PRIMARY KEY (tenant_id, run_id, property_id)
) PARTITION BY RANGE (run_id);
CREATE TABLE IF NOT EXISTS stormops_internal.policy_decisions_log_default PARTITION OF stormops.policy_decisions_log DEFAULT;
COMMENT ON TABLE stormops_internal.policy_decisions_log_default IS ''Decisions of a month that has no partition yet; maintain_partitions() moves them.'';
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
-- A run fills many ranges at once, and the server keeps at most 256 that wait to be summarized: each more is a line in its log.
CREATE INDEX IF NOT EXISTS policy_decisions_log_arrival ON stormops.policy_decisions_log USING brin (tenant_id, decided_at) WITH (pages_per_range = 128, autosummarize = on);
COMMENT ON TABLE stormops.policy_decisions_log IS ''Every decision with its propensity, one row for each property of a run, append-only. Written by apply_policy(); partitioned by month of the run; policy_decisions shows the current runs'''' rows.'';
COMMENT ON COLUMN stormops.policy_decisions_log.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.policy_decisions_log.run_id IS ''The run, of the same tenant.'';
COMMENT ON COLUMN stormops.policy_decisions_log.property_id IS ''The property, of the same tenant.'';
COMMENT ON COLUMN stormops.policy_decisions_log.storm_id IS ''The run''''s storm.'';
COMMENT ON COLUMN stormops.policy_decisions_log.decided_at IS ''Server time of the run.'';
COMMENT ON COLUMN stormops.policy_decisions_log.propensity IS ''Probability, above 0 to 1, with which the logged decision was taken: what inverse-propensity estimates divide by.'';
COMMENT ON COLUMN stormops.policy_decisions_log.score IS ''The uplift score decided on.'';
COMMENT ON COLUMN stormops.policy_decisions_log.score_sd IS ''Its standard deviation; the mode''''s default_sd if the model gave none.'';
COMMENT ON COLUMN stormops.policy_decisions_log.value IS ''Expected net value of treating: margin * score - contact_cost, or score - breakeven_uplift without money.'';
COMMENT ON COLUMN stormops.policy_decisions_log.decision IS ''treat, hold or exclude.'';
COMMENT ON COLUMN stormops.policy_decisions_log.reason IS ''treat: above_threshold, explore_treat; hold: below_threshold, over_capacity, holdout, explore_hold; exclude: do_not_contact.'';
COMMENT ON COLUMN stormops.policy_decisions_log.policy_mode IS ''The mode applied.'';
COMMENT ON COLUMN stormops.policy_decisions_log.model_version IS ''The model that gave the score.'';

CREATE TABLE IF NOT EXISTS stormops.policy_outcomes (
    tenant_id       uuid NOT NULL,
    outcome_id      uuid NOT NULL,
    storm_id        uuid NOT NULL,
    property_id     uuid NOT NULL,
    run_id          uuid NOT NULL,
    converted       boolean NOT NULL,
    value           numeric(14, 2) CHECK (value BETWEEN 0 AND 1e11),
    occurred_at     timestamptz NOT NULL CHECK (isfinite(occurred_at)),
    late            boolean NOT NULL,
    idempotency_key text NOT NULL CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
    recorded_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(recorded_at)),
    PRIMARY KEY (tenant_id, outcome_id),
    UNIQUE (tenant_id, idempotency_key),
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties,
    FOREIGN KEY (tenant_id, run_id) REFERENCES stormops.policy_runs
);
CREATE INDEX IF NOT EXISTS policy_outcomes_property ON stormops.policy_outcomes (tenant_id, property_id);
CREATE INDEX IF NOT EXISTS policy_outcomes_run ON stormops.policy_outcomes (tenant_id, run_id, property_id);
CREATE INDEX IF NOT EXISTS policy_outcomes_storm ON stormops.policy_outcomes (tenant_id, storm_id, property_id);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS policy_outcomes_arrival ON stormops.policy_outcomes USING brin (tenant_id, recorded_at) WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE stormops.policy_outcomes ALTER COLUMN outcome_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.policy_outcomes IS ''What came of the decisions. Written by record_outcome() and record_outcomes(); append-only. A property converted if any of its outcomes did; values add up.'';
COMMENT ON COLUMN stormops.policy_outcomes.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.policy_outcomes.outcome_id IS ''UUID version 7, made by the server.'';
COMMENT ON COLUMN stormops.policy_outcomes.storm_id IS ''The storm, that of the run.'';
COMMENT ON COLUMN stormops.policy_outcomes.property_id IS ''The property, one with a decision in the run.'';
COMMENT ON COLUMN stormops.policy_outcomes.run_id IS ''The run that was current when the outcome occurred.'';
COMMENT ON COLUMN stormops.policy_outcomes.converted IS ''True: the property became a job.'';
COMMENT ON COLUMN stormops.policy_outcomes.value IS ''Worth of the job, 0 to 1e11, in the tenant''''s currency.'';
COMMENT ON COLUMN stormops.policy_outcomes.occurred_at IS ''When it occurred; not before the decision, not in the future.'';
COMMENT ON COLUMN stormops.policy_outcomes.late IS ''True: more than the mode''''s outcome_days after the decision; kept, and left out of the primary measure.'';
COMMENT ON COLUMN stormops.policy_outcomes.idempotency_key IS ''A key that the same outcome carries when it is sent again; unique within the tenant.'';
COMMENT ON COLUMN stormops.policy_outcomes.recorded_at IS ''Server time.'';
'),
        (9, 'policy/tables/20_digests.sql', 'CREATE TABLE IF NOT EXISTS stormops.policy_run_digests (
    tenant_id    uuid NOT NULL,
    run_id       uuid NOT NULL,
    decisions    bigint NOT NULL CHECK (decisions >= 0),
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    fingerprints bytea NOT NULL CHECK (octet_length(fingerprints) = 8 * decisions),
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES stormops.policy_runs
);
-- They are random: compressing them would only take time.
ALTER TABLE stormops.policy_run_digests ALTER COLUMN fingerprints SET STORAGE EXTERNAL;
-- Deferred, so that a chain is held from the first entry to the commit and no longer.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = ''stormops.policy_run_digests''::regclass AND g.tgname = ''enter_run'') THEN
        CREATE CONSTRAINT TRIGGER enter_run AFTER INSERT ON stormops.policy_run_digests DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION stormops_internal.enter_run();
    END IF;
END
$$;
COMMENT ON TABLE stormops.policy_run_digests IS ''What the decisions of each run were when it was made, as decisions_digest() gives it. Written by apply_policy(); append-only; entered in tenant_log.'';
COMMENT ON COLUMN stormops.policy_run_digests.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.policy_run_digests.run_id IS ''The run, of the same tenant.'';
COMMENT ON COLUMN stormops.policy_run_digests.decisions IS ''How many decisions the run has.'';
COMMENT ON COLUMN stormops.policy_run_digests.digest IS ''SHA-256 over the digests of all its decisions, in the order of property_id.'';
COMMENT ON COLUMN stormops.policy_run_digests.fingerprints IS ''Eight bytes for each decision, in that order: the last four of property_id and the first four of its digest. They name the row that was touched.'';
'),
        (10, 'policy/tables/30_views.sql', 'CREATE OR REPLACE VIEW stormops.policy_decisions WITH (security_invoker, security_barrier) AS
SELECT d.*
FROM stormops.policy_runs AS r
JOIN stormops.policy_decisions_log AS d ON d.tenant_id = r.tenant_id AND d.run_id = r.run_id
WHERE r.superseded_at IS NULL;
COMMENT ON VIEW stormops.policy_decisions IS ''The decisions that stand: those of each storm''''s current run. Columns as in policy_decisions_log.'';

CREATE OR REPLACE VIEW stormops.storm_results WITH (security_invoker, security_barrier) AS
SELECT
    d.tenant_id, d.storm_id, d.run_id, d.policy_mode, d.decision, d.reason,
    count(*) AS properties,
    count(o.property_id) AS with_outcome,
    count(*) FILTER (WHERE o.converted) AS converted,
    sum(o.value) AS value
FROM stormops.policy_decisions AS d
LEFT JOIN (
    SELECT tenant_id, run_id, property_id, bool_or(converted) AS converted, sum(value) AS value
    FROM stormops.policy_outcomes
    WHERE NOT late
    GROUP BY tenant_id, run_id, property_id
) AS o ON o.tenant_id = d.tenant_id AND o.run_id = d.run_id AND o.property_id = d.property_id
GROUP BY d.tenant_id, d.storm_id, d.run_id, d.policy_mode, d.decision, d.reason;
COMMENT ON VIEW stormops.storm_results IS ''Counts of the current runs by decision and reason: properties, those with an outcome in time, conversions, and their value.'';
'),
        (11, 'metering/tables/10_usage.sql', 'CREATE TABLE IF NOT EXISTS stormops.metrics (
    tenant_id         uuid NOT NULL REFERENCES stormops.tenants,
    metric_name       text NOT NULL CHECK (metric_name ~ ''^[a-z][a-z0-9_.]{0,62}$''),
    unit              text NOT NULL CHECK (char_length(unit) BETWEEN 1 AND 30),
    aggregation       text NOT NULL CHECK (aggregation IN (''SUM'', ''COUNT'', ''MAX'', ''LATEST'', ''UNIQUE'')),
    unique_dimension  text CHECK (char_length(unique_dimension) BETWEEN 1 AND 40),
    rollup_dimensions text[] NOT NULL DEFAULT ''{}'' CHECK (
        cardinality(rollup_dimensions) <= 4 AND array_position(rollup_dimensions, NULL) IS NULL
        -- What stands at place one is found there.
        AND array_lower(rollup_dimensions, 1) IS NOT DISTINCT FROM CASE WHEN cardinality(rollup_dimensions) > 0 THEN 1 END
        AND array_to_string(rollup_dimensions, '','') ~ ''^([a-z][a-z0-9_]{0,39}(,|$))*$''),
    declared_at       timestamptz NOT NULL DEFAULT now() CHECK (isfinite(declared_at)),
    PRIMARY KEY (tenant_id, metric_name),
    CHECK ((aggregation = ''UNIQUE'') = (unique_dimension IS NOT NULL))
);
COMMENT ON TABLE stormops.metrics IS ''What a tenant meters. Provisioning copies default_metrics(); declare_metric() adds. A declaration never changes, so that a rollup means the same for ever.'';
COMMENT ON COLUMN stormops.metrics.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.metrics.metric_name IS ''Name: a small letter, then small letters, digits, _ and ., at most 63.'';
COMMENT ON COLUMN stormops.metrics.unit IS ''Unit of the values: call, MB, ...'';
COMMENT ON COLUMN stormops.metrics.aggregation IS ''What a period''''s quantity is: SUM of the values, COUNT of the events, MAX value, LATEST value, or the number of UNIQUE values of a dimension.'';
COMMENT ON COLUMN stormops.metrics.unique_dimension IS ''The dimension whose different values UNIQUE counts.'';
COMMENT ON COLUMN stormops.metrics.rollup_dimensions IS ''Up to four dimensions by whose values rollups are kept, beside the rollup over all.'';
COMMENT ON COLUMN stormops.metrics.declared_at IS ''When it was declared.'';

-- Partitioned by the month of the event. usage_seq is the order of insertion, over all tenants: no
-- application reads or writes it, or it would count the events of others.
CREATE TABLE IF NOT EXISTS stormops.tenant_usage (
    tenant_id       uuid NOT NULL,
    usage_id        uuid NOT NULL,
    metric_name     text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value    numeric NOT NULL CHECK (metric_value >= 0 AND metric_value <= 1e15 AND scale(metric_value) <= 20),
    dimensions      jsonb NOT NULL DEFAULT ''{}'' CHECK (jsonb_typeof(dimensions) = ''object'' AND pg_column_size(dimensions || ''{}'') <= 8192),
    idempotency_key text CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
    recorded_at     timestamptz NOT NULL DEFAULT now() CHECK (recorded_at >= ''2000-01-01 00:00:00+00''),
    usage_seq       bigint NOT NULL GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME stormops.usage_order),
    PRIMARY KEY (tenant_id, metric_name, recorded_at, usage_id),
    -- What held once holds for ever, so a restore accepts what was accepted.
    CONSTRAINT not_in_the_future CHECK (recorded_at <= now() + interval ''5 minutes'')
) PARTITION BY RANGE (recorded_at);
CREATE TABLE IF NOT EXISTS stormops_internal.tenant_usage_default PARTITION OF stormops.tenant_usage DEFAULT;
-- Finds what is new for rollups, which the owner''s functions make for all tenants at once. It holds a pair of
-- numbers for each 32 pages.
CREATE INDEX IF NOT EXISTS tenant_usage_new ON stormops.tenant_usage USING brin (usage_seq) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE stormops_internal.tenant_usage_default IS ''Events of a month that has no partition yet; maintain_partitions() moves them.'';
ALTER TABLE stormops.tenant_usage ALTER COLUMN usage_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER admit_usage AFTER INSERT ON stormops.tenant_usage REFERENCING NEW TABLE AS new_usage
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.admit_usage();
-- The owner''s functions claim keys themselves, since to them a repeat is no error.
CREATE OR REPLACE TRIGGER claim_keys AFTER INSERT ON stormops.tenant_usage REFERENCING NEW TABLE AS new_usage
    FOR EACH STATEMENT WHEN ((CURRENT_USER <> ''stormops_owner''::name)) EXECUTE FUNCTION stormops_internal.claim_keys();
COMMENT ON TABLE stormops.tenant_usage IS ''Metered events, append-only, partitioned by month. Written by record_usage(), record_usages() and plain INSERT.'';
COMMENT ON COLUMN stormops.tenant_usage.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.tenant_usage.usage_id IS ''UUID; version 7 by default.'';
COMMENT ON COLUMN stormops.tenant_usage.metric_name IS ''What was used, one of the tenant''''s metrics: model_call, storage_mb, ...'';
COMMENT ON COLUMN stormops.tenant_usage.metric_value IS ''How much, exact, 0 to 1e15 with at most 20 decimal places, in the metric''''s unit.'';
COMMENT ON COLUMN stormops.tenant_usage.dimensions IS ''Labels of the event, a JSON object of at most 8 kB.'';
COMMENT ON COLUMN stormops.tenant_usage.idempotency_key IS ''A key that the same event carries when it is sent again; unique within the tenant (usage_keys).'';
COMMENT ON COLUMN stormops.tenant_usage.recorded_at IS ''When it was used: from 2000 to five minutes ahead of the server''''s clock.'';
COMMENT ON COLUMN stormops.tenant_usage.usage_seq IS ''Order of insertion, over all tenants, for the watermark of rollups; no application may read it.'';

-- A key comes with its event only, whose metric, and so whose tenant, admit_usage() has looked up.
CREATE TABLE IF NOT EXISTS stormops.usage_keys (
    tenant_id       uuid NOT NULL,
    idempotency_key text NOT NULL CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
    usage_id        uuid NOT NULL,
    metric_name     text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value    numeric NOT NULL CHECK (metric_value >= 0 AND metric_value <= 1e15 AND scale(metric_value) <= 20),
    recorded_at     timestamptz NOT NULL CHECK (isfinite(recorded_at)),
    PRIMARY KEY (tenant_id, idempotency_key)
);
ALTER TABLE stormops.usage_keys DROP CONSTRAINT IF EXISTS usage_keys_tenant_id_fkey; -- it asked once for each event
COMMENT ON TABLE stormops.usage_keys IS ''The idempotency keys of the events in tenant_usage, over all its partitions; kept as long as the events.'';
COMMENT ON COLUMN stormops.usage_keys.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.usage_keys.idempotency_key IS ''The key, unique within the tenant.'';
COMMENT ON COLUMN stormops.usage_keys.usage_id IS ''The event that was counted.'';
COMMENT ON COLUMN stormops.usage_keys.metric_name IS ''Its metric: a repeat must name the same.'';
COMMENT ON COLUMN stormops.usage_keys.metric_value IS ''Its value: a repeat must carry the same.'';
COMMENT ON COLUMN stormops.usage_keys.recorded_at IS ''Its time.'';
'),
        (12, 'metering/tables/20_rollups.sql', 'CREATE TABLE IF NOT EXISTS stormops.usage_rollups (
    tenant_id   uuid NOT NULL,
    metric_name text NOT NULL,
    grain       text NOT NULL CHECK (grain IN (''hour'', ''day'', ''month'')),
    bucket      timestamptz NOT NULL CHECK (bucket = date_trunc(grain, bucket, ''UTC'')),
    dimensions  jsonb NOT NULL DEFAULT ''{}'' CHECK (jsonb_typeof(dimensions) = ''object''),
    aggregation text NOT NULL CHECK (aggregation IN (''SUM'', ''COUNT'', ''MAX'', ''LATEST'', ''UNIQUE'')),
    quantity    numeric NOT NULL CHECK (quantity >= 0 AND quantity < ''Infinity''),
    event_count bigint NOT NULL CHECK (event_count >= 0),
    latest_at   timestamptz CHECK (isfinite(latest_at)),
    latest_id   uuid,
    PRIMARY KEY (tenant_id, metric_name, grain, bucket, dimensions),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.usage_rollups IS ''Usage by hour, day and month, in UTC, up to usage_watermark(). Written by rollup_usage(); late events correct past buckets.'';
COMMENT ON COLUMN stormops.usage_rollups.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.usage_rollups.metric_name IS ''The metric, of the same tenant.'';
COMMENT ON COLUMN stormops.usage_rollups.grain IS ''hour, day or month.'';
COMMENT ON COLUMN stormops.usage_rollups.bucket IS ''Start of the period, which lasts to the start of the next and does not include it.'';
COMMENT ON COLUMN stormops.usage_rollups.dimensions IS ''{}: all events together. Else the metric''''s rollup_dimensions with their values: text of at most 100 characters, null where the event had none.'';
COMMENT ON COLUMN stormops.usage_rollups.aggregation IS ''That of the metric.'';
COMMENT ON COLUMN stormops.usage_rollups.quantity IS ''The metric''''s aggregation over the bucket, exact.'';
COMMENT ON COLUMN stormops.usage_rollups.event_count IS ''Number of events.'';
COMMENT ON COLUMN stormops.usage_rollups.latest_at IS ''LATEST: time of the event whose value stands.'';
COMMENT ON COLUMN stormops.usage_rollups.latest_id IS ''LATEST: that event; of two at one time the one with the greater id.'';

CREATE TABLE IF NOT EXISTS stormops.usage_unique_values (
    tenant_id   uuid NOT NULL,
    metric_name text NOT NULL,
    grain       text NOT NULL CHECK (grain IN (''hour'', ''day'', ''month'')),
    bucket      timestamptz NOT NULL CHECK (isfinite(bucket)),
    dimensions  jsonb NOT NULL CHECK (jsonb_typeof(dimensions) = ''object''),
    digest      bytea NOT NULL CHECK (octet_length(digest) = 32),
    PRIMARY KEY (tenant_id, metric_name, grain, bucket, dimensions, digest),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.usage_unique_values IS ''What UNIQUE metrics have counted in each bucket of usage_rollups. Written by rollup_usage().'';
COMMENT ON COLUMN stormops.usage_unique_values.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.usage_unique_values.metric_name IS ''The metric, of the same tenant.'';
COMMENT ON COLUMN stormops.usage_unique_values.grain IS ''As in usage_rollups.'';
COMMENT ON COLUMN stormops.usage_unique_values.bucket IS ''As in usage_rollups.'';
COMMENT ON COLUMN stormops.usage_unique_values.dimensions IS ''As in usage_rollups.'';
COMMENT ON COLUMN stormops.usage_unique_values.digest IS ''SHA-256 of the value as text.'';

CREATE TABLE IF NOT EXISTS stormops_internal.metering_progress (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    watermark bigint NOT NULL DEFAULT 0 CHECK (watermark >= 0),
    folded_at timestamptz CHECK (isfinite(folded_at)),
    kept_from timestamptz NOT NULL DEFAULT ''2000-01-01 00:00:00+00'' CHECK (isfinite(kept_from))
);
COMMENT ON TABLE stormops_internal.metering_progress IS ''How far rollups have come; one row. Written by rollup_usage() and drop_usage_before().'';
COMMENT ON COLUMN stormops_internal.metering_progress.one IS ''True: there is one row.'';
COMMENT ON COLUMN stormops_internal.metering_progress.watermark IS ''Every committed event whose usage_seq is not above it is in the rollups, and no other.'';
COMMENT ON COLUMN stormops_internal.metering_progress.folded_at IS ''When rollup_usage() last ran.'';
COMMENT ON COLUMN stormops_internal.metering_progress.kept_from IS ''Raw events from before are dropped, and none is accepted.'';
INSERT INTO stormops_internal.metering_progress DEFAULT VALUES ON CONFLICT DO NOTHING;
'),
        (13, 'metering/tables/30_quotas.sql', 'CREATE TABLE IF NOT EXISTS stormops.quotas (
    tenant_id   uuid NOT NULL,
    metric_name text NOT NULL,
    period      text NOT NULL CHECK (period IN (''hour'', ''day'', ''month'')),
    kind        text NOT NULL CHECK (kind IN (''hard'', ''soft'')),
    quota       numeric CHECK (quota >= 0 AND quota <= 1e15),
    set_at      timestamptz NOT NULL DEFAULT now() CHECK (isfinite(set_at)),
    set_by      text NOT NULL CHECK (char_length(set_by) <= 63),
    PRIMARY KEY (tenant_id, metric_name, period),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.quotas IS ''Quotas of single tenants, each instead of its tier''''s of the same metric and period. Written by set_quota().'';
COMMENT ON COLUMN stormops.quotas.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.quotas.metric_name IS ''The metric, of the same tenant.'';
COMMENT ON COLUMN stormops.quotas.period IS ''hour, day or month: the calendar''''s, in UTC.'';
COMMENT ON COLUMN stormops.quotas.kind IS ''hard: what would exceed it is refused; soft: alerts at 80 and 100 percent.'';
COMMENT ON COLUMN stormops.quotas.quota IS ''Most of the metric''''s quantity in a period, in its unit; NULL: no limit, whatever the tier has.'';
COMMENT ON COLUMN stormops.quotas.set_at IS ''When it was set.'';
COMMENT ON COLUMN stormops.quotas.set_by IS ''The database role that set it.'';

CREATE TABLE IF NOT EXISTS stormops.quota_counters (
    tenant_id    uuid NOT NULL,
    metric_name  text NOT NULL,
    period       text NOT NULL CHECK (period IN (''hour'', ''day'', ''month'')),
    period_start timestamptz NOT NULL CHECK (isfinite(period_start)),
    used         numeric NOT NULL CHECK (used >= 0 AND used < ''Infinity''),
    PRIMARY KEY (tenant_id, metric_name, period, period_start),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
) WITH (fillfactor = 50);
COMMENT ON TABLE stormops.quota_counters IS ''What was used under a hard quota: the row that its writers lock one after the other.'';
COMMENT ON COLUMN stormops.quota_counters.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.quota_counters.metric_name IS ''The metric, of the same tenant.'';
COMMENT ON COLUMN stormops.quota_counters.period IS ''That of the quota.'';
COMMENT ON COLUMN stormops.quota_counters.period_start IS ''Start of the period.'';
COMMENT ON COLUMN stormops.quota_counters.used IS ''Quantity used in it.'';

CREATE TABLE IF NOT EXISTS stormops.quota_alerts (
    tenant_id    uuid NOT NULL,
    metric_name  text NOT NULL,
    period       text NOT NULL CHECK (period IN (''hour'', ''day'', ''month'')),
    period_start timestamptz NOT NULL CHECK (isfinite(period_start)),
    threshold    integer NOT NULL CHECK (threshold IN (80, 100)),
    kind         text NOT NULL CHECK (kind IN (''hard'', ''soft'')),
    quota        numeric NOT NULL CHECK (quota >= 0 AND quota <= 1e15),
    used         numeric NOT NULL CHECK (used >= 0 AND used < ''Infinity''),
    raised_at    timestamptz NOT NULL DEFAULT now() CHECK (isfinite(raised_at)),
    PRIMARY KEY (tenant_id, metric_name, period, period_start, threshold),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.quota_alerts IS ''That usage reached a part of a quota, once for each period. Written by rollup_usage().'';
COMMENT ON COLUMN stormops.quota_alerts.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.quota_alerts.metric_name IS ''The metric, of the same tenant.'';
COMMENT ON COLUMN stormops.quota_alerts.period IS ''That of the quota.'';
COMMENT ON COLUMN stormops.quota_alerts.period_start IS ''Start of the period.'';
COMMENT ON COLUMN stormops.quota_alerts.threshold IS ''Percent of the quota that was reached: 80 or 100.'';
COMMENT ON COLUMN stormops.quota_alerts.kind IS ''That of the quota.'';
COMMENT ON COLUMN stormops.quota_alerts.quota IS ''The quota at that time.'';
COMMENT ON COLUMN stormops.quota_alerts.used IS ''What was used at that time.'';
COMMENT ON COLUMN stormops.quota_alerts.raised_at IS ''When it was noticed.'';

CREATE TABLE IF NOT EXISTS stormops_internal.tier_settings (
    tier         text PRIMARY KEY CHECK (tier IN (''trial'', ''standard'', ''enterprise'')),
    trial_days   integer CHECK (trial_days BETWEEN 1 AND 3650),
    auto_declare boolean NOT NULL DEFAULT false,
    CHECK ((tier = ''trial'') = (trial_days IS NOT NULL))
);
COMMENT ON TABLE stormops_internal.tier_settings IS ''What a tier entitles to, beside its quotas.'';
COMMENT ON COLUMN stormops_internal.tier_settings.tier IS ''trial, standard or enterprise.'';
COMMENT ON COLUMN stormops_internal.tier_settings.trial_days IS ''Length of a new tenant''''s trial in days.'';
COMMENT ON COLUMN stormops_internal.tier_settings.auto_declare IS ''True: an event of an undeclared metric declares it, as a SUM; false: it is refused.'';
INSERT INTO stormops_internal.tier_settings VALUES (''trial'', 30, true), (''standard'', NULL, false), (''enterprise'', NULL, false)
ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS stormops_internal.tier_quotas (
    tier        text NOT NULL REFERENCES stormops_internal.tier_settings,
    metric_name text NOT NULL CHECK (metric_name ~ ''^[a-z][a-z0-9_.]{0,62}$''),
    period      text NOT NULL CHECK (period IN (''hour'', ''day'', ''month'')),
    kind        text NOT NULL CHECK (kind IN (''hard'', ''soft'')),
    quota       numeric CHECK (quota >= 0 AND quota <= 1e15),
    PRIMARY KEY (tier, metric_name, period)
);
COMMENT ON TABLE stormops_internal.tier_quotas IS ''The quotas of every tenant of a tier that has none of its own. Written by set_tier_quota().'';
COMMENT ON COLUMN stormops_internal.tier_quotas.tier IS ''The tier.'';
COMMENT ON COLUMN stormops_internal.tier_quotas.metric_name IS ''The metric.'';
COMMENT ON COLUMN stormops_internal.tier_quotas.period IS ''hour, day or month: the calendar''''s, in UTC.'';
COMMENT ON COLUMN stormops_internal.tier_quotas.kind IS ''hard or soft, as in quotas.'';
COMMENT ON COLUMN stormops_internal.tier_quotas.quota IS ''As in quotas.'';
INSERT INTO stormops_internal.tier_quotas VALUES
    (''trial'', ''model_call'', ''month'', ''hard'', 10000), (''trial'', ''storage_mb'', ''month'', ''soft'', 1024),
    (''standard'', ''model_call'', ''month'', ''soft'', 1000000), (''standard'', ''storage_mb'', ''month'', ''soft'', 102400),
    (''enterprise'', ''model_call'', ''month'', ''soft'', 100000000)
ON CONFLICT DO NOTHING;

-- Tenants from before these metrics.
INSERT INTO stormops.metrics (tenant_id, metric_name, unit, aggregation, unique_dimension, rollup_dimensions)
SELECT t.tenant_id, m.metric_name, m.unit, m.aggregation, m.unique_dimension, m.rollup_dimensions
FROM stormops.tenants AS t, stormops.default_metrics() AS m
WHERE t.status <> ''closed''
ON CONFLICT DO NOTHING;
'),
        (14, 'metering/tables/40_prices.sql', '-- The installation''s own: what things cost, for all tenants. No tenant''s rows, so no grants; functions show a tenant its part.
CREATE TABLE IF NOT EXISTS stormops_internal.price_books (
    price_book  text PRIMARY KEY CHECK (price_book ~ ''^[a-z][a-z0-9_]{0,49}$''),
    currency    text NOT NULL CHECK (currency ~ ''^[A-Z]{3}$''),
    minor_unit  smallint NOT NULL CHECK (minor_unit BETWEEN 0 AND 4),
    description text CHECK (char_length(description) <= 500),
    created_at  timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    created_by  text NOT NULL CHECK (char_length(created_by) <= 63)
);
COMMENT ON TABLE stormops_internal.price_books IS ''Price books, one currency each. Written by create_price_book(). "default" is what tenants pay by unless set_price_book() says otherwise; "cost" is what usage costs the operator.'';
COMMENT ON COLUMN stormops_internal.price_books.price_book IS ''Name: a small letter, then up to 49 small letters, digits and underscores.'';
COMMENT ON COLUMN stormops_internal.price_books.currency IS ''ISO 4217 code.'';
COMMENT ON COLUMN stormops_internal.price_books.minor_unit IS ''Digits after the point of an amount in that currency (ISO 4217), to which lines are rounded.'';
COMMENT ON COLUMN stormops_internal.price_books.description IS ''What the book is for, up to 500 characters.'';
COMMENT ON COLUMN stormops_internal.price_books.created_at IS ''When it was made.'';
COMMENT ON COLUMN stormops_internal.price_books.created_by IS ''The database role that made it.'';

CREATE TABLE IF NOT EXISTS stormops_internal.prices (
    price_id          uuid PRIMARY KEY,
    price_book        text NOT NULL REFERENCES stormops_internal.price_books,
    for_tenant        uuid REFERENCES stormops.tenants,
    tier              text CHECK (tier IN (''trial'', ''standard'', ''enterprise'')),
    metric_name       text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    model             text NOT NULL CHECK (model IN (''per_unit'', ''graduated'', ''volume'', ''package'', ''flat'', ''minimum'')),
    unit_prices       numeric[] NOT NULL CHECK (cardinality(unit_prices) >= 1 AND cardinality(unit_prices) <= 20 AND array_position(unit_prices, NULL) IS NULL
                          AND 0 <= ALL (unit_prices) AND 1e12 >= ALL (unit_prices)),
    up_to             numeric[] NOT NULL DEFAULT ''{}'' CHECK (array_position(up_to, NULL) IS NULL AND 0 < ALL (up_to) AND 1e15 >= ALL (up_to)),
    package_size      numeric CHECK (package_size > 0 AND package_size <= 1e15),
    included_quantity numeric NOT NULL DEFAULT 0 CHECK (included_quantity >= 0 AND included_quantity <= 1e15),
    valid_from        timestamptz NOT NULL CHECK (isfinite(valid_from) AND extract(epoch FROM valid_from) % 3600 = 0),
    valid_to          timestamptz CHECK (isfinite(valid_to) AND extract(epoch FROM valid_to) % 3600 = 0),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(created_at)),
    created_by        text NOT NULL CHECK (char_length(created_by) <= 63),
    CHECK (valid_to > valid_from),
    CHECK (for_tenant IS NULL OR tier IS NULL),
    CHECK (cardinality(unit_prices) = cardinality(up_to) + 1),
    CHECK (model IN (''graduated'', ''volume'') OR cardinality(unit_prices) = 1),
    CHECK ((model = ''package'') = (package_size IS NOT NULL)),
    CHECK (model NOT IN (''flat'', ''minimum'') OR included_quantity = 0)
);
CREATE INDEX IF NOT EXISTS prices_of ON stormops_internal.prices (price_book, metric_name, valid_from);
CREATE INDEX IF NOT EXISTS prices_for ON stormops_internal.prices (for_tenant);
ALTER TABLE stormops_internal.prices ALTER COLUMN price_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER guard_price BEFORE INSERT OR DELETE OR UPDATE ON stormops_internal.prices
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.guard_price();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops_internal.prices
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_price();
COMMENT ON TABLE stormops_internal.prices IS ''Prices with the period in which they are valid, [valid_from, valid_to). Written by set_price(); never changed but for the end of their validity, and never deleted (trigger). The most specific one holds: of the tenant, of its tier, of all.'';
COMMENT ON COLUMN stormops_internal.prices.price_id IS ''UUID version 7, made by the server.'';
COMMENT ON COLUMN stormops_internal.prices.price_book IS ''The book.'';
COMMENT ON COLUMN stormops_internal.prices.for_tenant IS ''The one tenant it holds for; NULL: all of the tier.'';
COMMENT ON COLUMN stormops_internal.prices.tier IS ''The tier it holds for: trial, standard, enterprise; NULL: all.'';
COMMENT ON COLUMN stormops_internal.prices.metric_name IS ''The metric; of models flat and minimum the name of the charge.'';
COMMENT ON COLUMN stormops_internal.prices.model IS ''per_unit; graduated: each band''''s quantity at the band''''s price; volume: the whole quantity at the price of the band it reaches; package: whole packages begun; flat: an amount a month; minimum: what the other charges of the month are filled up to.'';
COMMENT ON COLUMN stormops_internal.prices.unit_prices IS ''Price of a unit (of a package, of the month) in the book''''s currency, 0 to 1e12; of graduated and volume one for each band.'';
COMMENT ON COLUMN stormops_internal.prices.up_to IS ''Upper ends of all bands but the last, ascending, inclusive.'';
COMMENT ON COLUMN stormops_internal.prices.package_size IS ''Units in a package, of model package.'';
COMMENT ON COLUMN stormops_internal.prices.included_quantity IS ''Units a month that cost nothing.'';
COMMENT ON COLUMN stormops_internal.prices.valid_from IS ''First moment, a whole hour UTC.'';
COMMENT ON COLUMN stormops_internal.prices.valid_to IS ''First moment after it, a whole hour UTC; NULL: none yet.'';
COMMENT ON COLUMN stormops_internal.prices.created_at IS ''When it was set.'';
COMMENT ON COLUMN stormops_internal.prices.created_by IS ''The database role that set it.'';

CREATE TABLE IF NOT EXISTS stormops_internal.invoice_numbers (
    series      text PRIMARY KEY CHECK (series = ''invoice''),
    last_number bigint NOT NULL CHECK (last_number >= 0)
);
COMMENT ON TABLE stormops_internal.invoice_numbers IS ''The last number given to an invoice or credit note. A row and not a sequence, so that a rolled back finalisation leaves no gap.'';
COMMENT ON COLUMN stormops_internal.invoice_numbers.series IS ''invoice: the installation''''s one series.'';
COMMENT ON COLUMN stormops_internal.invoice_numbers.last_number IS ''The last number given; 0 before the first.'';

INSERT INTO stormops_internal.invoice_numbers VALUES (''invoice'', 0) ON CONFLICT (series) DO NOTHING;
INSERT INTO stormops_internal.price_books (price_book, currency, minor_unit, description, created_by)
VALUES (''default'', ''USD'', 2, ''What tenants pay.'', ''stormops''), (''cost'', ''USD'', 2, ''What usage costs the operator.'', ''stormops'')
ON CONFLICT (price_book) DO NOTHING;
INSERT INTO stormops_internal.prices (price_id, price_book, metric_name, model, unit_prices, valid_from, created_by)
SELECT stormops.new_id(), ''default'', p.metric_name, ''per_unit'', ARRAY[p.unit_price], ''2000-01-01 00:00Z'', ''stormops''
FROM (VALUES (''model_call'', 0.01), (''storage_mb'', 0.10)) AS p (metric_name, unit_price)
WHERE NOT EXISTS (SELECT FROM stormops_internal.prices);
'),
        (15, 'metering/tables/50_invoices.sql', 'CREATE TABLE IF NOT EXISTS stormops.price_book_assignments (
    tenant_id   uuid NOT NULL REFERENCES stormops.tenants,
    assigned_at timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(assigned_at)),
    price_book  text NOT NULL CHECK (price_book ~ ''^[a-z][a-z0-9_]{0,49}$''),
    assigned_by text NOT NULL CHECK (char_length(assigned_by) <= 63),
    PRIMARY KEY (tenant_id, assigned_at)
);
COMMENT ON TABLE stormops.price_book_assignments IS ''By which price book a tenant pays, and so in which currency: the latest row. None: "default". Written by set_price_book().'';
COMMENT ON COLUMN stormops.price_book_assignments.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.price_book_assignments.assigned_at IS ''When it was assigned.'';
COMMENT ON COLUMN stormops.price_book_assignments.price_book IS ''A book of price_books.'';
COMMENT ON COLUMN stormops.price_book_assignments.assigned_by IS ''The database role that assigned it.'';

CREATE TABLE IF NOT EXISTS stormops.invoices (
    tenant_id      uuid NOT NULL REFERENCES stormops.tenants,
    invoice_id     uuid NOT NULL,
    kind           text NOT NULL DEFAULT ''invoice'' CHECK (kind IN (''invoice'', ''credit_note'')),
    period         date NOT NULL CHECK (isfinite(period) AND extract(day FROM period) = 1),
    status         text NOT NULL DEFAULT ''draft'' CHECK (status IN (''draft'', ''finalized'', ''void'')),
    invoice_number bigint CHECK (invoice_number > 0),
    org_name       text NOT NULL CHECK (char_length(org_name) BETWEEN 1 AND 200),
    price_book     text NOT NULL CHECK (char_length(price_book) BETWEEN 1 AND 50),
    currency       text NOT NULL CHECK (currency ~ ''^[A-Z]{3}$''),
    minor_unit     smallint NOT NULL CHECK (minor_unit BETWEEN 0 AND 4),
    total          numeric NOT NULL CHECK (total BETWEEN -1e30 AND 1e30),
    usage_seq      bigint NOT NULL CHECK (usage_seq >= 0),
    event_count    bigint NOT NULL CHECK (event_count >= 0),
    corrects       uuid,
    reason         text CHECK (char_length(reason) BETWEEN 1 AND 500),
    generated_at   timestamptz NOT NULL DEFAULT now() CHECK (isfinite(generated_at)),
    generated_by   text NOT NULL CHECK (char_length(generated_by) <= 63),
    finalized_at   timestamptz CHECK (isfinite(finalized_at)),
    finalized_by   text CHECK (char_length(finalized_by) <= 63),
    voided_at      timestamptz CHECK (isfinite(voided_at)),
    voided_by      text CHECK (char_length(voided_by) <= 63),
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, corrects) REFERENCES stormops.invoices,
    CHECK ((status = ''draft'') = (invoice_number IS NULL)),
    CHECK ((status = ''draft'') = (finalized_at IS NULL) AND (status = ''draft'') = (finalized_by IS NULL)),
    CHECK ((status = ''void'') = (voided_at IS NOT NULL) AND (status = ''void'') = (voided_by IS NOT NULL)),
    CHECK ((kind = ''credit_note'') = (corrects IS NOT NULL)),
    CHECK (kind = ''invoice'' OR total < 0),
    CHECK ((status = ''void'' OR kind = ''credit_note'') = (reason IS NOT NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS invoices_period ON stormops.invoices (tenant_id, period) WHERE kind = ''invoice'' AND status <> ''void'';
CREATE INDEX IF NOT EXISTS invoices_corrects ON stormops.invoices (tenant_id, corrects);
ALTER TABLE stormops.invoices ALTER COLUMN invoice_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER guard_insert BEFORE INSERT ON stormops.invoices
    FOR EACH ROW WHEN ((new.status <> ''draft''::text)) EXECUTE FUNCTION stormops_internal.guard_invoice();
CREATE OR REPLACE TRIGGER guard_invoice BEFORE DELETE OR UPDATE ON stormops.invoices
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.guard_invoice();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops.invoices
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice();
COMMENT ON TABLE stormops.invoices IS ''Invoices and credit notes. Written by generate_invoice(), finalize_invoice(), void_invoice(), credit_invoice(); a finalized one never changes again but for being voided (trigger).'';
COMMENT ON COLUMN stormops.invoices.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.invoices.invoice_id IS ''UUID version 7, made by the server.'';
COMMENT ON COLUMN stormops.invoices.kind IS ''invoice or credit_note.'';
COMMENT ON COLUMN stormops.invoices.period IS ''First day of the calendar month, UTC.'';
COMMENT ON COLUMN stormops.invoices.status IS ''draft: may be generated anew; finalized: immutable; void: was finalized and is not due.'';
COMMENT ON COLUMN stormops.invoices.invoice_number IS ''Number from finalisation on: 1, 2, 3 ... without a gap over all tenants, credit notes included.'';
COMMENT ON COLUMN stormops.invoices.org_name IS ''The tenant''''s name when it was generated.'';
COMMENT ON COLUMN stormops.invoices.price_book IS ''The price book that it was rated by.'';
COMMENT ON COLUMN stormops.invoices.currency IS ''ISO 4217 code.'';
COMMENT ON COLUMN stormops.invoices.minor_unit IS ''Digits after the point of its amounts.'';
COMMENT ON COLUMN stormops.invoices.total IS ''Sum of the lines'''' amounts; negative where late corrections outweigh the month, and of every credit note.'';
COMMENT ON COLUMN stormops.invoices.usage_seq IS ''The watermark: it counts the events with tenant_usage.usage_seq up to this.'';
COMMENT ON COLUMN stormops.invoices.event_count IS ''Events of the period that it counts, of all metrics.'';
COMMENT ON COLUMN stormops.invoices.corrects IS ''Of a credit note: the invoice that it corrects.'';
COMMENT ON COLUMN stormops.invoices.reason IS ''Why it was credited or voided, in the words of whoever did it.'';
COMMENT ON COLUMN stormops.invoices.generated_at IS ''When it was last generated.'';
COMMENT ON COLUMN stormops.invoices.generated_by IS ''The database role that generated it.'';
COMMENT ON COLUMN stormops.invoices.finalized_at IS ''When it was finalized.'';
COMMENT ON COLUMN stormops.invoices.finalized_by IS ''The database role that finalized it.'';
COMMENT ON COLUMN stormops.invoices.voided_at IS ''When it was voided.'';
COMMENT ON COLUMN stormops.invoices.voided_by IS ''The database role that voided it.'';

CREATE TABLE IF NOT EXISTS stormops.invoice_lines (
    tenant_id   uuid NOT NULL,
    invoice_id  uuid NOT NULL,
    line        integer NOT NULL CHECK (line > 0),
    kind        text NOT NULL CHECK (kind IN (''usage'', ''included'', ''flat'', ''minimum'', ''adjustment'', ''credit'')),
    metric_name text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    unit        text CHECK (char_length(unit) BETWEEN 1 AND 50),
    from_time   timestamptz NOT NULL CHECK (isfinite(from_time)),
    to_time     timestamptz NOT NULL CHECK (isfinite(to_time)),
    tier        text CHECK (char_length(tier) BETWEEN 1 AND 50),
    rule        text NOT NULL CHECK (char_length(rule) BETWEEN 1 AND 500),
    quantity    numeric NOT NULL CHECK (quantity BETWEEN -1e30 AND 1e30),
    unit_price  numeric CHECK (unit_price BETWEEN 0 AND 1e30),
    amount      numeric NOT NULL CHECK (amount BETWEEN -1e30 AND 1e30),
    price_id    uuid,
    adjusts     uuid,
    PRIMARY KEY (tenant_id, invoice_id, line),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES stormops.invoices,
    FOREIGN KEY (tenant_id, adjusts) REFERENCES stormops.invoices,
    CHECK (to_time > from_time),
    CHECK ((kind = ''adjustment'') = (adjusts IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS invoice_lines_adjusts ON stormops.invoice_lines (tenant_id, adjusts) WHERE adjusts IS NOT NULL;
CREATE OR REPLACE TRIGGER guard_insert AFTER INSERT ON stormops.invoice_lines REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
CREATE OR REPLACE TRIGGER guard_update AFTER UPDATE ON stormops.invoice_lines REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
CREATE OR REPLACE TRIGGER guard_delete AFTER DELETE ON stormops.invoice_lines REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops.invoice_lines
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
COMMENT ON TABLE stormops.invoice_lines IS ''Lines of invoices. Written with their invoice; fixed once it is finalized (trigger).'';
COMMENT ON COLUMN stormops.invoice_lines.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.invoice_lines.invoice_id IS ''The invoice, of the same tenant.'';
COMMENT ON COLUMN stormops.invoice_lines.line IS ''1, 2, 3 ...'';
COMMENT ON COLUMN stormops.invoice_lines.kind IS ''usage; included: usage that costs nothing; flat; minimum: what was missing to it; adjustment: what late events change on a closed invoice; credit.'';
COMMENT ON COLUMN stormops.invoice_lines.metric_name IS ''The metric, or the name of the charge.'';
COMMENT ON COLUMN stormops.invoice_lines.unit IS ''Unit of the quantity.'';
COMMENT ON COLUMN stormops.invoice_lines.from_time IS ''First moment of what is charged.'';
COMMENT ON COLUMN stormops.invoice_lines.to_time IS ''First moment after it.'';
COMMENT ON COLUMN stormops.invoice_lines.tier IS ''Whom the price holds for: a tier, "tenant" for a price of its own, NULL for everybody.'';
COMMENT ON COLUMN stormops.invoice_lines.rule IS ''How the amount came about, for people to read.'';
COMMENT ON COLUMN stormops.invoice_lines.quantity IS ''Exact quantity, in the unit; of flat and minimum the share of the month; of an adjustment the difference.'';
COMMENT ON COLUMN stormops.invoice_lines.unit_price IS ''Price of a unit, a package or a month, unrounded.'';
COMMENT ON COLUMN stormops.invoice_lines.amount IS ''Rounded once, half to even, to the currency''''s minor unit.'';
COMMENT ON COLUMN stormops.invoice_lines.price_id IS ''The row of prices that it was rated by.'';
COMMENT ON COLUMN stormops.invoice_lines.adjusts IS ''Of an adjustment: the closed invoice that was too low or too high.'';
'),
        (16, 'health/tables/10_expectations.sql', 'CREATE TABLE IF NOT EXISTS stormops.data_quality_metrics (
    tenant_id    uuid NOT NULL REFERENCES stormops.tenants,
    metric_id    uuid NOT NULL,
    table_name   text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    metric_name  text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value double precision CHECK (metric_value > ''-Infinity'' AND metric_value < ''Infinity''),
    threshold    double precision CHECK (threshold > ''-Infinity'' AND threshold < ''Infinity''),
    status       text NOT NULL CHECK (status IN (''ok'', ''warning'', ''failed'')),
    details      jsonb NOT NULL DEFAULT ''{}'' CHECK (jsonb_typeof(details) = ''object'' AND pg_column_size(details || ''{}'') <= 8192),
    measured_at  timestamptz NOT NULL DEFAULT now() CHECK (isfinite(measured_at)),
    rows_judged  bigint CHECK (rows_judged >= 0),
    rows_failing bigint CHECK (rows_failing BETWEEN 0 AND rows_judged),
    PRIMARY KEY (tenant_id, metric_id)
);
CREATE INDEX IF NOT EXISTS data_quality_metrics_table ON stormops.data_quality_metrics (tenant_id, table_name, measured_at);
ALTER TABLE stormops.data_quality_metrics ALTER COLUMN metric_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.data_quality_metrics IS ''Measurements of a tenant''''s data: freshness, volume, drift, ...'';
COMMENT ON COLUMN stormops.data_quality_metrics.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_id IS ''UUID; version 7 by default.'';
COMMENT ON COLUMN stormops.data_quality_metrics.table_name IS ''The table measured.'';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_name IS ''What was measured.'';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_value IS ''The value, finite; NULL if it could not be computed.'';
COMMENT ON COLUMN stormops.data_quality_metrics.threshold IS ''The value it was compared with, finite.'';
COMMENT ON COLUMN stormops.data_quality_metrics.status IS ''ok, warning or failed.'';
COMMENT ON COLUMN stormops.data_quality_metrics.details IS ''Evidence, a JSON object of at most 8 kB.'';
COMMENT ON COLUMN stormops.data_quality_metrics.measured_at IS ''When.'';
COMMENT ON COLUMN stormops.data_quality_metrics.rows_judged IS ''How many rows it rests on, where it is about rows.'';
COMMENT ON COLUMN stormops.data_quality_metrics.rows_failing IS ''How many of them failed.'';
CREATE INDEX IF NOT EXISTS data_quality_metrics_day ON stormops.data_quality_metrics (tenant_id, measured_at);
CREATE INDEX IF NOT EXISTS data_quality_metrics_time ON stormops.data_quality_metrics USING brin (tenant_id, measured_at);

CREATE TABLE IF NOT EXISTS stormops.expectations (
    tenant_id      uuid NOT NULL REFERENCES stormops.tenants,
    expectation_id uuid NOT NULL,
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    table_name     text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    rule           text NOT NULL CHECK (rule IN (''not_null'', ''range'', ''unique'', ''referential'', ''freshness'', ''row_count'', ''drift'')),
    columns        text[] NOT NULL DEFAULT ''{}'' CHECK (cardinality(columns) <= 8 AND array_position(columns, NULL) IS NULL
        AND array_lower(columns, 1) IS NOT DISTINCT FROM CASE WHEN cardinality(columns) > 0 THEN 1 END), -- columns[1] is one
    lowest         numeric CHECK (lowest BETWEEN -1e15 AND 1e15),
    highest        numeric CHECK (highest BETWEEN -1e15 AND 1e15),
    max_age        interval CHECK (max_age > interval ''0'' AND max_age <= interval ''10 years''),
    threshold      numeric NOT NULL DEFAULT 0.01 CHECK (threshold BETWEEN 0 AND 1),
    severity       text NOT NULL DEFAULT ''warning'' CHECK (severity IN (''info'', ''warning'', ''critical'')),
    every          interval NOT NULL DEFAULT ''15 minutes'' CHECK (every BETWEEN interval ''1 minute'' AND interval ''31 days''),
    active         boolean NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    judged_at      timestamptz CHECK (isfinite(judged_at)),
    judged_status  text CHECK (judged_status IN (''ok'', ''warning'', ''failed'')),
    reference      bytea CHECK (octet_length(reference) BETWEEN 32 AND 16000000),
    PRIMARY KEY (tenant_id, expectation_id),
    UNIQUE (tenant_id, name),
    CHECK (highest >= lowest),
    CHECK (rule <> ''range'' OR num_nonnulls(lowest, highest) > 0),
    CHECK ((rule = ''freshness'') = (max_age IS NOT NULL)),
    CHECK (CASE WHEN rule IN (''freshness'', ''row_count'') THEN cardinality(columns) = 0
        WHEN rule = ''unique'' THEN cardinality(columns) > 0 ELSE cardinality(columns) = 1 END)
);
ALTER TABLE stormops.expectations ALTER COLUMN reference SET STORAGE EXTERNAL;
ALTER TABLE stormops.expectations ALTER COLUMN expectation_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER guard_expectation BEFORE INSERT OR UPDATE OF table_name, rule, columns ON stormops.expectations
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.guard_expectation();
COMMENT ON TABLE stormops.expectations IS ''What a tenant expects of its rows. run_health_checks() judges those that are due; a trigger refuses what names no watched table or column.'';
COMMENT ON COLUMN stormops.expectations.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.expectations.expectation_id IS ''UUID; version 7 by default.'';
COMMENT ON COLUMN stormops.expectations.name IS ''Name for people to read, unique within the tenant; data_quality_metrics.metric_name has it.'';
COMMENT ON COLUMN stormops.expectations.table_name IS ''The table, one of counted_tables().'';
COMMENT ON COLUMN stormops.expectations.rule IS ''not_null; range (lowest to highest); unique (columns together, among the rows judged); referential (the parent exists); freshness (a row came within max_age); row_count (yesterday against the same weekday of the four weeks before, UTC); drift (scores against those judged first).'';
COMMENT ON COLUMN stormops.expectations.columns IS ''The column, or for unique the columns; none for freshness and row_count.'';
COMMENT ON COLUMN stormops.expectations.lowest IS ''Least value that a range allows; NULL: no limit.'';
COMMENT ON COLUMN stormops.expectations.highest IS ''Greatest value that a range allows; NULL: no limit.'';
COMMENT ON COLUMN stormops.expectations.max_age IS ''How old the last row may be, for freshness.'';
COMMENT ON COLUMN stormops.expectations.threshold IS ''Share of rows, 0 to 1, above which the expectation fails; for row_count, by how much yesterday may fall short; for drift, alpha.'';
COMMENT ON COLUMN stormops.expectations.severity IS ''How bad a failure is: info, warning or critical.'';
COMMENT ON COLUMN stormops.expectations.every IS ''How often it is due.'';
COMMENT ON COLUMN stormops.expectations.active IS ''False: it is not judged.'';
COMMENT ON COLUMN stormops.expectations.created_at IS ''When it was declared.'';
COMMENT ON COLUMN stormops.expectations.judged_at IS ''When it was judged last; rows from before it, less ten minutes, are not judged again.'';
COMMENT ON COLUMN stormops.expectations.judged_status IS ''What it said then: ok, warning (nothing to judge by) or failed.'';
COMMENT ON COLUMN stormops.expectations.reference IS ''For drift: the scores judged first, a state of score_agg(). To begin anew, delete the expectation and declare it again.'';

CREATE TABLE IF NOT EXISTS stormops_internal.health_progress (
    task       text PRIMARY KEY CHECK (char_length(task) BETWEEN 1 AND 63),
    reached_at timestamptz NOT NULL CHECK (isfinite(reached_at))
);
COMMENT ON TABLE stormops_internal.health_progress IS ''How far the operators'''' health checks have come where no row of a tenant says so.'';
COMMENT ON COLUMN stormops_internal.health_progress.task IS ''What was looked at: storms; messages, whose row whoever makes them locks.'';
COMMENT ON COLUMN stormops_internal.health_progress.reached_at IS ''When it was looked at last; what came since is new, and what came in the ten minutes before.'';

'),
        (17, 'health/tables/20_counts.sql', '-- How many rows each tenant has, known without counting them. Written only by the triggers on the
-- counted tables, whose rows refer to a tenant already, so these need no reference of their own.
CREATE TABLE IF NOT EXISTS stormops.row_count_deltas (
    tenant_id   uuid NOT NULL,
    table_name  text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    delta_id    uuid NOT NULL,
    inserted    bigint NOT NULL CHECK (inserted >= 0),
    deleted     bigint NOT NULL CHECK (deleted >= 0),
    happened_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(happened_at)),
    took_ms     numeric CHECK (took_ms >= 0 AND took_ms <= 1e12),
    PRIMARY KEY (tenant_id, table_name, delta_id)
);
COMMENT ON TABLE stormops.row_count_deltas IS ''What each statement added to and took from the counted tables, until fold_row_counts() adds it to row_counts. Only ever inserted, so that no two writers wait for each other.'';
COMMENT ON COLUMN stormops.row_count_deltas.tenant_id IS ''The tenant whose rows they were.'';
COMMENT ON COLUMN stormops.row_count_deltas.table_name IS ''The table, one of counted_tables().'';
COMMENT ON COLUMN stormops.row_count_deltas.delta_id IS ''UUID version 7.'';
COMMENT ON COLUMN stormops.row_count_deltas.inserted IS ''Rows added.'';
COMMENT ON COLUMN stormops.row_count_deltas.deleted IS ''Rows taken away.'';
COMMENT ON COLUMN stormops.row_count_deltas.happened_at IS ''When its transaction began.'';
COMMENT ON COLUMN stormops.row_count_deltas.took_ms IS ''Milliseconds from the start of the client''''s statement to the end of the insertion; NULL for deletions.'';

CREATE TABLE IF NOT EXISTS stormops.row_counts (
    tenant_id  uuid NOT NULL,
    table_name text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    bucket     timestamptz NOT NULL CHECK (isfinite(bucket)),
    inserted   bigint NOT NULL CHECK (inserted >= 0),
    deleted    bigint NOT NULL CHECK (deleted >= 0),
    last_at    timestamptz CHECK (isfinite(last_at)),
    PRIMARY KEY (tenant_id, table_name, bucket)
);
COMMENT ON TABLE stormops.row_counts IS ''Rows added to and taken from the counted tables, by hour for two days, by day for sixty, and before that in one. A table''''s rows are the sum of inserted - deleted here and in row_count_deltas.'';
COMMENT ON COLUMN stormops.row_counts.tenant_id IS ''The tenant whose rows they were.'';
COMMENT ON COLUMN stormops.row_counts.table_name IS ''The table, one of counted_tables().'';
COMMENT ON COLUMN stormops.row_counts.bucket IS ''Begin of the hour or day (UTC); 1970-01-01 for all that is older.'';
COMMENT ON COLUMN stormops.row_counts.inserted IS ''Rows added in it.'';
COMMENT ON COLUMN stormops.row_counts.deleted IS ''Rows taken away in it.'';
COMMENT ON COLUMN stormops.row_counts.last_at IS ''When rows were last added in it; NULL if none were.'';

CREATE TABLE IF NOT EXISTS stormops.call_durations (
    tenant_id  uuid NOT NULL,
    table_name text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    day        date NOT NULL CHECK (isfinite(day)),
    class      smallint NOT NULL CHECK (class BETWEEN 0 AND 240),
    calls      bigint NOT NULL CHECK (calls > 0),
    PRIMARY KEY (tenant_id, table_name, day, class)
);
COMMENT ON TABLE stormops.call_durations IS ''How long the statements took that added rows to the counted tables: a histogram for each day, kept for sixty.'';
COMMENT ON COLUMN stormops.call_durations.tenant_id IS ''The tenant whose rows they were.'';
COMMENT ON COLUMN stormops.call_durations.table_name IS ''The table; what calls write it is in counted_tables().'';
COMMENT ON COLUMN stormops.call_durations.day IS ''The day (UTC).'';
COMMENT ON COLUMN stormops.call_durations.class IS ''Twenty a decade from 1 microsecond: up to 10 ^ (class / 20) microseconds, and more than one class less (12 %).'';
COMMENT ON COLUMN stormops.call_durations.calls IS ''Statements of that class.'';
'),
        (18, 'health/tables/30_alerts.sql', 'CREATE TABLE IF NOT EXISTS stormops.alerts (
    tenant_id         uuid NOT NULL REFERENCES stormops.tenants,
    alert_id          uuid NOT NULL,
    alert_key         text NOT NULL CHECK (char_length(alert_key) BETWEEN 1 AND 250),
    issue             text NOT NULL CHECK (char_length(issue) BETWEEN 1 AND 100),
    severity          text NOT NULL CHECK (severity IN (''info'', ''warning'', ''critical'')),
    evidence          jsonb NOT NULL DEFAULT ''{}'' CHECK (jsonb_typeof(evidence) = ''object'' AND pg_column_size(evidence || ''{}'') <= 8192),
    raised_at         timestamptz NOT NULL DEFAULT now() CHECK (isfinite(raised_at)),
    last_seen_at      timestamptz NOT NULL DEFAULT now() CHECK (isfinite(last_seen_at)),
    passes            smallint NOT NULL DEFAULT 0 CHECK (passes BETWEEN 0 AND 100),
    acknowledged_at   timestamptz CHECK (isfinite(acknowledged_at)),
    acknowledged_by   text CHECK (char_length(acknowledged_by) <= 200),
    note              text CHECK (char_length(note) BETWEEN 1 AND 500),
    silenced_until    timestamptz CHECK (isfinite(silenced_until)),
    resolved_at       timestamptz CHECK (isfinite(resolved_at)),
    PRIMARY KEY (tenant_id, alert_id)
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open ON stormops.alerts (tenant_id, alert_key) WHERE resolved_at IS NULL;
COMMENT ON TABLE stormops.alerts IS ''Conditions of a tenant that need somebody: one row from when a condition is first seen until it is gone. Written by run_health_checks(), acknowledge_alert() and silence_alert().'';
COMMENT ON COLUMN stormops.alerts.tenant_id IS ''The tenant.'';
COMMENT ON COLUMN stormops.alerts.alert_id IS ''UUID version 7.'';
COMMENT ON COLUMN stormops.alerts.alert_key IS ''The condition: issue and subject. Among the open alerts of a tenant it is unique; what is delivered carries it, so that a receiver tells repetitions.'';
COMMENT ON COLUMN stormops.alerts.issue IS ''The issue, as the runbook names it.'';
COMMENT ON COLUMN stormops.alerts.severity IS ''info, warning or critical, as last seen.'';
COMMENT ON COLUMN stormops.alerts.evidence IS ''What was seen last, a JSON object of at most 8 kB.'';
COMMENT ON COLUMN stormops.alerts.raised_at IS ''When the condition was first seen.'';
COMMENT ON COLUMN stormops.alerts.last_seen_at IS ''When it was last seen.'';
COMMENT ON COLUMN stormops.alerts.passes IS ''Checks in a row that did not see it; the second resolves it, so that a condition that comes and goes is one alert.'';
COMMENT ON COLUMN stormops.alerts.acknowledged_at IS ''When somebody took it on.'';
COMMENT ON COLUMN stormops.alerts.acknowledged_by IS ''Who: the acting user, or the database role.'';
COMMENT ON COLUMN stormops.alerts.note IS ''What whoever acknowledged or silenced it said.'';
COMMENT ON COLUMN stormops.alerts.silenced_until IS ''Until when nobody is to be told.'';
COMMENT ON COLUMN stormops.alerts.resolved_at IS ''When it was found gone; NULL while it is open.'';

CREATE TABLE IF NOT EXISTS stormops.runbook_steps (
    tenant_id uuid NOT NULL REFERENCES stormops.tenants,
    issue     text NOT NULL CHECK (char_length(issue) BETWEEN 1 AND 100),
    step      smallint NOT NULL CHECK (step BETWEEN 1 AND 99),
    action    text NOT NULL CHECK (char_length(action) BETWEEN 1 AND 500),
    PRIMARY KEY (tenant_id, issue, step)
);
COMMENT ON TABLE stormops.runbook_steps IS ''What a tenant itself wants done about an issue, after the steps that are shipped.'';
COMMENT ON COLUMN stormops.runbook_steps.tenant_id IS ''The tenant; defaults to the one in context.'';
COMMENT ON COLUMN stormops.runbook_steps.issue IS ''The issue: one of shipped_runbook(), or one of the tenant''''s own.'';
COMMENT ON COLUMN stormops.runbook_steps.step IS ''Their order, 1 to 99.'';
COMMENT ON COLUMN stormops.runbook_steps.action IS ''What to do, 1 to 500 characters.'';

-- The platform''s own: no tenant''s rows, nobody''s to see but through functions.
CREATE TABLE IF NOT EXISTS stormops_internal.platform_alerts (
    alert_id        uuid PRIMARY KEY,
    alert_key       text NOT NULL,
    issue           text NOT NULL,
    severity        text NOT NULL CHECK (severity IN (''info'', ''warning'', ''critical'')),
    evidence        jsonb NOT NULL DEFAULT ''{}'',
    raised_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(),
    passes          smallint NOT NULL DEFAULT 0,
    acknowledged_at timestamptz,
    acknowledged_by text,
    note            text CHECK (char_length(note) BETWEEN 1 AND 500),
    silenced_until  timestamptz,
    resolved_at     timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS platform_alerts_open ON stormops_internal.platform_alerts (alert_key) WHERE resolved_at IS NULL;
COMMENT ON TABLE stormops_internal.platform_alerts IS ''As alerts, of the platform itself.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.alert_id IS ''UUID version 7.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.alert_key IS ''The condition; unique among the open ones.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.issue IS ''The issue, as the runbook names it.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.severity IS ''info, warning or critical, as last seen.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.evidence IS ''What was seen last, a JSON object.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.raised_at IS ''When it was first seen.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.last_seen_at IS ''When it was last seen.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.passes IS ''Checks in a row that did not see it; the second resolves it.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.acknowledged_at IS ''When somebody took it on.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.acknowledged_by IS ''Who: the database role.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.note IS ''What they said.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.silenced_until IS ''Until when nobody is to be told.'';
COMMENT ON COLUMN stormops_internal.platform_alerts.resolved_at IS ''When it was found gone; NULL while it is open.'';

CREATE TABLE IF NOT EXISTS stormops_internal.scheduled_jobs (
    job           text PRIMARY KEY,
    schedule      text NOT NULL,
    scheduled_at  timestamptz NOT NULL DEFAULT now(),
    scheduled_by  text NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    outcome       text CHECK (outcome IN (''ok'', ''failed'')),
    detail        text CHECK (char_length(detail) <= 1000),
    failed_at     timestamptz
);
COMMENT ON TABLE stormops_internal.scheduled_jobs IS ''What is to run on its own, and when it last did, whoever starts it. Written by schedule_job() and run_job().'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.job IS ''One of known_jobs().'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.schedule IS ''Cron expression of five fields, UTC.'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.scheduled_at IS ''When it was scheduled.'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.scheduled_by IS ''The database role that scheduled it.'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.started_at IS ''When it last started.'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.finished_at IS ''When it last ended.'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.outcome IS ''How it last ended: ok or failed; NULL: it never ran.'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.detail IS ''What it returned, or the error.'';
COMMENT ON COLUMN stormops_internal.scheduled_jobs.failed_at IS ''When it last failed.'';
'),
        (19, 'health/tables/40_routes.sql', '-- Both hold what a tenant writes, and secrets: nobody is granted anything on them, and functions
-- show each tenant its own, without the secrets. No foreign key between them: its lock would make
-- whoever changes a route wait for a delivery that is under way.
CREATE TABLE IF NOT EXISTS stormops_internal.alert_routes (
    route_id     uuid PRIMARY KEY,
    for_tenant   uuid REFERENCES stormops.tenants,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    kind         text NOT NULL CHECK (kind IN (''pagerduty'', ''slack'', ''webhook'')),
    address      text NOT NULL CHECK (octet_length(address) <= 2000),
    secret       text NOT NULL CHECK (octet_length(secret) <= 1000),
    min_severity text NOT NULL CHECK (min_severity IN (''info'', ''warning'', ''critical'')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (for_tenant, name)
);
ALTER TABLE stormops_internal.alert_routes ALTER COLUMN route_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops_internal.alert_routes IS ''Where alerts go. Written by set_alert_route() and remove_alert_route(); read by deliver_alerts().'';
COMMENT ON COLUMN stormops_internal.alert_routes.route_id IS ''UUID version 7.'';
COMMENT ON COLUMN stormops_internal.alert_routes.for_tenant IS ''Whose alerts; NULL: those of the platform itself.'';
COMMENT ON COLUMN stormops_internal.alert_routes.name IS ''Name, unique among the routes of one tenant or of the platform.'';
COMMENT ON COLUMN stormops_internal.alert_routes.kind IS ''pagerduty (Events API v2), slack (incoming webhook) or webhook (Standard Webhooks, signed).'';
COMMENT ON COLUMN stormops_internal.alert_routes.address IS ''URL. Secret: a Slack webhook''''s address is its password. Empty: PagerDuty''''s own.'';
COMMENT ON COLUMN stormops_internal.alert_routes.secret IS ''PagerDuty: the integration''''s routing key. webhook: the key of the signature, as text or whsec_ and base64.'';
COMMENT ON COLUMN stormops_internal.alert_routes.min_severity IS ''Alerts below it are not sent: info, warning or critical.'';
COMMENT ON COLUMN stormops_internal.alert_routes.created_at IS ''When it was first set.'';

CREATE TABLE IF NOT EXISTS stormops_internal.alert_deliveries (
    delivery_id     uuid PRIMARY KEY,
    route_id        uuid NOT NULL,
    for_tenant      uuid REFERENCES stormops.tenants,
    alert_id        uuid NOT NULL,
    event           text NOT NULL CHECK (event IN (''trigger'', ''escalate'', ''acknowledge'', ''resolve'')),
    message         jsonb NOT NULL,
    state           text NOT NULL DEFAULT ''pending'' CHECK (state IN (''pending'', ''delivered'', ''dead'')),
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_attempt_at timestamptz,
    last_status     integer,
    last_detail     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (route_id, alert_id, event)
);
CREATE INDEX IF NOT EXISTS alert_deliveries_due ON stormops_internal.alert_deliveries (next_attempt_at) WHERE state = ''pending'';
CREATE INDEX IF NOT EXISTS alert_deliveries_tenant ON stormops_internal.alert_deliveries (for_tenant, created_at);
ALTER TABLE stormops_internal.alert_deliveries ALTER COLUMN delivery_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops_internal.alert_deliveries IS ''Messages of alerts to routes: those to come, and what became of the others. Written by deliver_alerts().'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.delivery_id IS ''UUID made of route, alert and event; the receiver''''s key against doubles.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.route_id IS ''The route, which may be gone since.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.for_tenant IS ''The alert''''s tenant; NULL: the platform.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.alert_id IS ''The alert.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.event IS ''trigger, escalate (worse than when it was told), acknowledge or resolve; each is told once to each route.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.message IS ''The alert as it was when the message was made.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.state IS ''pending, delivered, or dead: given up.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.attempts IS ''How often it was tried.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.next_attempt_at IS ''Not before this.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.last_attempt_at IS ''When it was last tried.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.last_status IS ''HTTP status of the last try; NULL: there was no answer.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.last_detail IS ''What became of the last try, in words that hold no address and no secret.'';
COMMENT ON COLUMN stormops_internal.alert_deliveries.created_at IS ''When it was made.'';
')
    ) AS t (place, file, statements)
$tables$;
COMMENT ON FUNCTION stormops_internal.shipped_tables() IS 'The statements that make the tables of this version, in the order in which install() runs them. Each may run again at any time.';

-- last.sql
-- After every function is there. Nobody may execute one unless stormops.grant_usage() says so, the SECURITY DEFINER ones
-- become their owner's, what was shipped is written down, and the tables are made.
DO $$
DECLARE
    f record;
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
    PERFORM stormops_internal.record_shipped();
    -- A restore sets row_security off and brings the tables with their rows; they come after this.
    IF pg_catalog.current_setting('row_security') OPERATOR(pg_catalog.=) 'on' THEN
        PERFORM stormops.install();
    END IF;
    PERFORM stormops_internal.drop_stale();
    PERFORM stormops_internal.disown_grants();
END
$$;
