-- C. Functions, search_path, injection.

--# 42 | S1 | app, tapp | refused 42501
-- Another tenant's export.
SELECT * FROM stormops.export_tenant_data(:'B');

--# 43 | S1 | outsider, tapp-out | refused 0B000
-- A guard that compares with NULL lets everything through.
SELECT * FROM stormops.export_tenant_data(:'B');

--# 43b | S1 | outsider, tapp-out | refused 0B000 | naive holds
SELECT * FROM stormops.export_tenant_data(NULL);

--# 44 | S1 | app, tapp | refused 42501
-- The lifecycle is the operator's.
SELECT stormops.close_tenant(:'B', 'mine'); COMMIT;
SELECT stormops.reactivate_tenant(:'B', 'mine'); COMMIT;
SELECT stormops.suspend_tenant(:'B', 'mine'); COMMIT;

--# 44b | S1 | app, tapp | refused 42501 | naive skips
-- Users of another tenant.
SELECT stormops.add_user('mallory@alpha.example', 'admin', NULL, :'B');
SELECT stormops.remove_user(:'id7', 'mine', :'B');
SELECT stormops.set_user_role(:'id7', 'viewer', :'B');

--# 44c | S1 | app, tapp | same | naive skips
-- The tenant's own functions with ids that only the victim has: the same as with ids that nobody has.
SELECT * FROM stormops.apply_policy(:'id2', 'moderate');
SELECT * FROM stormops.preview_policy(:'id2', 'moderate');
SELECT * FROM stormops_internal.policy_candidates(:'id2', '{}');
SELECT * FROM stormops.check_guardrails(:'id2');
SELECT * FROM stormops.explain_decision(:'id2', :'id2');
SELECT * FROM stormops.explain_decision(:'id1', :'id1', :'id2');
SELECT * FROM stormops.decide_again(:'id2');
SELECT * FROM stormops_internal.run_inputs(:'id2');
SELECT * FROM stormops_internal.guarded_properties(:'id2', '{"guardrails": [{"name": "x", "kind": "quiet_window", "time_zone": "UTC", "from_date": "2000-01-01"}]}');
SELECT * FROM stormops_internal.guarded_properties(:'id1', jsonb_build_object('run_id', :'id2'));
SELECT * FROM stormops_internal.kept_exceptions(:'id2');
SELECT * FROM stormops.record_outcome(:'id2', :'id2', true, 1);
SELECT * FROM stormops.record_outcome(:'id1', :'id2', true, 1);
SELECT * FROM stormops.record_outcomes(:'id2', '[]');
SELECT * FROM stormops.check_uplift_distribution(:'id2');
SELECT * FROM stormops.uplift_drift(:'id2');
SELECT * FROM stormops.set_baseline(:'id2');
SELECT * FROM stormops.uplift_summary(:'id2');
SELECT * FROM stormops.uplift_curve(:'id2');
SELECT * FROM stormops.check_conversion_rates(:'id2');
SELECT * FROM stormops.create_experiment(:'id2', 'mine');
SELECT * FROM stormops.assign_experiment(:'id2');
SELECT * FROM stormops.stop_experiment(:'id2');
SELECT * FROM stormops.experiment_report(:'id2');
SELECT stormops.remove_user(:'id2');
SELECT stormops.set_user_role(:'id2', 'viewer');

--# 44e | S1 | app, tapp | same | naive skips
-- Every function that an application may call, new ones included, with the victim's ids.
SELECT count(*), bool_or(x::text LIKE '%BRAVO-SECRET%') FROM :call AS x;

--# 44d | S1 | app, tapp | refused 42501 | naive skips
-- What only other functions call.
SELECT stormops_internal.visit_all_tenants();
SELECT stormops_internal.step_tenant(:'B', 'close', 'mine');
SELECT stormops_internal.log_event(:'B', 'close', 'active', 'closed', 'mine');
SELECT stormops_internal.insert_user(:'B', 'mallory@alpha.example', 'admin', NULL);
SELECT stormops_internal.change_user(:'B', :'id7', 'viewer', 'set_user_role', 'mine');
SELECT stormops.list_tenants();

--# 45 | S1 | app, tapp | same
-- Text that becomes SQL.
SELECT * FROM stormops.check_table_health('tenants UNION ALL SELECT string_agg(address, '','') FROM stormops.properties OFFSET 1');
SELECT * FROM stormops.check_table_health('tenants; SELECT 1');
SELECT * FROM stormops.get_tenant_metrics(:'B', 7);

--# 46 | S1 | app, tapp | same | naive holds
-- A name that is a table, but none of ours.
SELECT * FROM stormops.check_table_health('pg_authid');
SELECT * FROM stormops.check_table_health('usage_grants');

--# 48 | S1 | app, tapp | same | naive holds
-- Quoted identifiers.
SELECT * FROM stormops.check_table_health('"x''; DROP TABLE stormops.storms; --"');
SELECT * FROM stormops.apply_policy(:'id1', 'moderate''; DROP TABLE stormops.storms; --');

--# 49 | S1 | app, tapp | same
-- What the caller's search_path holds runs in no definer function: functions, operators and types of the attacker say
-- so when somebody else runs them.
SET LOCAL check_function_bodies = off;
CREATE FUNCTION mallory.tell() RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF current_user NOT IN ('app', 'tapp') THEN RAISE NOTICE 'BRAVO-SECRET: runs as %', current_user; END IF; END $$;
CREATE FUNCTION mallory.eq(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.uuid_eq($1, $2); END $$;
CREATE FUNCTION mallory.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.texteq($1, $2); END $$;
CREATE FUNCTION mallory.eq(name, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.nameeqtext($1, $2); END $$;
CREATE FUNCTION mallory.eq(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.oideq($1, $2); END $$;
CREATE FUNCTION mallory.ge(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.timestamptz_ge($1, $2); END $$;
CREATE FUNCTION mallory.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
CREATE FUNCTION mallory.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION mallory.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.clock_timestamp(); END $$;
CREATE FUNCTION mallory.btrim(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.btrim($1); END $$;
CREATE FUNCTION mallory.char_length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.char_length($1); END $$;
CREATE FUNCTION mallory.isfinite(timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.tell(); RETURN pg_catalog.isfinite($1); END $$;
CREATE OPERATOR mallory.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = mallory.eq);
CREATE OPERATOR mallory.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mallory.eq);
CREATE OPERATOR mallory.= (LEFTARG = name, RIGHTARG = text, FUNCTION = mallory.eq);
CREATE OPERATOR mallory.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = mallory.eq);
CREATE OPERATOR mallory.>= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = mallory.ge);
SET LOCAL search_path = mallory, pg_catalog, pg_temp;
SELECT count(*) FROM stormops.export_tenant_data(:'A');
SELECT count(*) FROM stormops.add_user('mallory@alpha.example', 'admin');
SELECT stormops.set_user_role(:'id1', 'field_user');
SELECT stormops.remove_user(:'id1');
SELECT count(*) FROM stormops.apply_policy(:'id1', 'moderate');
SELECT count(*) FROM stormops.record_outcome(:'id1', :'id1', true, 1);
SELECT count(*) FROM stormops.record_outcomes(:'id1', '[{"property_id": "00000000-0000-7000-8000-000000000001", "converted": true}]');
SELECT count(*) FROM stormops.create_experiment(:'id1', 'mine');
SELECT count(*) FROM stormops.assign_experiment(:'id1');
SELECT count(*) FROM stormops.set_baseline(:'id1');
SELECT count(*) FROM stormops.stop_experiment(:'id1');

--# 50 | OPS | superuser | rows=0 | naive skips
-- Every definer function, and every procedural one that it may call, searches the catalogue only.
SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND (prosecdef OR prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')) AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'];

--# 51 | S1 | app, tapp | refused 42501 | naive holds
-- Nothing of theirs gets into the schema.
CREATE FUNCTION stormops.evil(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE VIEW stormops.evil AS SELECT 1;
CREATE TABLE stormops.evil (tenant_id uuid);

--# 51b | OPS | superuser | rows=0 | naive skips
SELECT a.grantee::regrole FROM pg_namespace AS n, aclexplode(n.nspacl) AS a WHERE n.nspname IN ('stormops', 'stormops_internal') AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (10, 'stormops_owner'::regrole);

--# 53 | S1 | nobody | refused 42501
-- PUBLIC executes nothing.
\superuser
GRANT USAGE ON SCHEMA stormops TO nobody;
\attacker
SELECT * FROM stormops.export_tenant_data(:'B');
\cleanup
REVOKE USAGE ON SCHEMA stormops FROM nobody;

--# 53b | OPS | superuser | rows=0 | naive skips
-- Grants on functions are the published ones: nobody else executes one.
SELECT p.oid::regprocedure, a.grantee FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE p.pronamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND a.grantee NOT IN (10, 'stormops_owner'::regrole) AND NOT EXISTS (SELECT FROM stormops_internal.granted_roles() AS g JOIN stormops_internal.granted_functions() AS f ON g.kind = ANY (f.kinds) WHERE g.grantee = a.grantee AND f.signature::regprocedure = p.oid);

--# 56 | S1 | app, tapp | refused 42501 | naive skips
-- What is nobody's stays nobody's.
SELECT * FROM stormops_internal.usage_grants;

--# 56b | OPS | superuser | rows=0 | naive skips
-- A table without a tenant is the installation's own: no grant on it.
SELECT c.relname FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND c.relkind IN ('r', 'p') AND a.grantee <> c.relowner AND (c.relispartition OR NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id'));

--# 57 | S1 | app, tapp | same
-- A function that is called leakproof and is not.
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT count(*) FROM stormops.properties WHERE stormops.norm_zip(CASE WHEN external_id = 'P-1' THEN '1' ELSE address END) = 1;

--# 57b | OPS | superuser | rows=0 | naive skips
SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND proleakproof;

--# 57c | OPS | superuser | rows=0 | naive skips
-- What reads the context may be kept for a statement, never for a plan.
SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND proname ~ '^(current_|may_|calling_role|is_operator)' AND provolatile = 'i';

--# 61 | S1 | app, tapp | same
-- Errors carry no value of another's row.
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) VALUES (:'A', :'id9', 'E-2', 'x');
INSERT INTO stormops.users (tenant_id, user_id, email, role) VALUES (:'A', :'id9', 'twin2@twin.example', 'viewer');
SELECT stormops.add_user('twin2@twin.example', 'viewer') IS NULL;
