-- What a session set that changes how this script writes down what it made; it is set back when the script ends.
SET LOCAL standard_conforming_strings = on;
SET LOCAL quote_all_identifiers = off;
SET LOCAL default_tablespace = '';
SET LOCAL default_table_access_method = heap;

-- Names and addresses of people come in every script, and messages and webhooks carry them on: in another encoding a character
-- that it lacks fails where nobody expects it, long after CREATE EXTENSION. Who has tables already learns of it and goes on.
DO $$
DECLARE
    encoding text := pg_catalog.getdatabaseencoding();
BEGIN
    IF encoding OPERATOR(pg_catalog.<>) 'UTF8' THEN
        IF pg_catalog.to_regclass('stormops.tenants') IS NULL THEN
            RAISE EXCEPTION USING
                ERRCODE = 'feature_not_supported',
                MESSAGE = pg_catalog.format('StormOps needs a database in UTF8; "%s" is in %s', pg_catalog.current_database(), encoding),
                HINT = 'CREATE DATABASE ... TEMPLATE template0 ENCODING ''UTF8''; and install it there.';
        END IF;
        RAISE WARNING USING
            MESSAGE = pg_catalog.format('StormOps needs a database in UTF8; "%s" is in %s', pg_catalog.current_database(), encoding),
            HINT = 'Dump it, and restore it into a database made with TEMPLATE template0 ENCODING ''UTF8''.';
    END IF;
END
$$;

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
            (SELECT pg_catalog.string_agg(p.oid::pg_catalog.regprocedure::pg_catalog.text, ', ')
            FROM pg_catalog.pg_proc AS p
            WHERE p.pronamespace OPERATOR(pg_catalog.=) n.oid AND NOT (p.proname OPERATOR(pg_catalog.=) 'installed' AND p.pronargs OPERATOR(pg_catalog.=) 0
                    -- After REASSIGN OWNED somebody else's; what it says is then what it said.
                    AND (pg_catalog.pg_get_userbyid(p.proowner) OPERATOR(pg_catalog.=) 'stormops_owner'
                        OR p.prosrc OPERATOR(pg_catalog.=) 'SELECT to_regprocedure(''stormops.current_tenant()'') IS NOT NULL' AND NOT p.prosecdef
                            AND p.proconfig OPERATOR(pg_catalog.=) '{"search_path=pg_catalog, pg_temp"}'))
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
CREATE TEMPORARY TABLE pg_temp.role_matrix (table_name text, command text, least_role text, columns text[], through text);
COMMENT ON TABLE pg_temp.role_matrix IS 'Who may do what: table x command -> the least role. columns: those that the command may name (UPDATE: change), NULL for all; through: the functions that do it, NULL for plain SQL. What is not listed nobody may do. Policies and grants are made from these rows.';
CREATE TEMPORARY TABLE pg_temp.installation_tables (table_name text);
COMMENT ON TABLE pg_temp.installation_tables IS 'The tables that hold no tenant''s rows. Nobody is granted a right to them; their owner''s functions read and write them.';
CREATE TEMPORARY TABLE pg_temp.granted_views (view_name text, kinds text[]);
COMMENT ON TABLE pg_temp.granted_views IS 'Which kind of use may read which view. Every view shows what its caller may see. Grants are made from these rows.';
CREATE TEMPORARY TABLE pg_temp.granted_functions (domain text, signature text, kinds text[]);
COMMENT ON TABLE pg_temp.granted_functions IS 'Which kind of use may execute which function; {} means superusers only. Grants and the view stormops.reference are made from these rows. domain: that of the register that has the row.';
CREATE TEMPORARY TABLE pg_temp.counted_tables (table_name text, time_column text, natural_key text[], parents jsonb, call text);
COMMENT ON TABLE pg_temp.counted_tables IS 'The tables whose health is watched, all there are: time_column says when a row came, natural_key what makes two rows the same, parents (a JSON object) which column refers to which table, call which function writes it.';
CREATE TEMPORARY TABLE pg_temp.known_jobs (job text, schedule text, function text, purpose text);
COMMENT ON TABLE pg_temp.known_jobs IS 'The jobs there are, each with its usual schedule (cron, UTC) and purpose.';
CREATE TEMPORARY TABLE pg_temp.shipped_issues (issue text, actions text[]);
COMMENT ON TABLE pg_temp.shipped_issues IS 'Every issue that the platform or its monitoring can raise, with what to do about it, in order. See shipped_runbook().';

-- What functions set for themselves. jit = off, where the planner's costs say nothing of the work: under enable_... = off,
-- since a plan that cannot do without costs 1e10, and all that is compiled; where rows come from functions, each taken for a
-- thousand; in statements over the catalogue or over tenants, which are large and read little. Compiling takes 1 ms for each
-- function of a statement, and 10 to 20 where a cost of 500,000 has it optimise, each time anew: a second, before
-- lift_over_time() answered in 30 ms. Not where rows are read by the million and cost says so: rollup_usage(),
-- measure_storage(), recount_rows(). What a function sets holds for all that it calls.
