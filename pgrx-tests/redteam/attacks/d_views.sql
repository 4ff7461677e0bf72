-- D. Views, leaky predicates, planner and statistics.

--# 62 | S1 | app, tapp | value=0
-- Tables, views and materialised views: whatever has a tenant shows the one in context.
SELECT count(*) FROM stormops.:relation WHERE tenant_id IS DISTINCT FROM :'A';

--# 62b | OPS | superuser | rows=0 | naive skips
-- A view asks as whoever looks, and shows nothing early.
SELECT relname FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND relkind = 'v' AND NOT coalesce(reloptions, '{}') @> '{security_invoker=true,security_barrier=true}';

--# 62c | S1 | app, tapp | same
-- A view is a way to write, too.
UPDATE stormops.v_properties SET address = 'mine'; COMMIT;
UPDATE stormops.policy_decisions SET reason = 'mine'; COMMIT;
UPDATE stormops.policy_decisions_log SET reason = 'mine'; COMMIT;

--# 63 | OPS | superuser | rows=0 | naive skips
-- A materialised view has no row security.
SELECT relname FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND relkind IN ('m', 'f');

--# 64 | S1 | app, tapp | same
-- A conflict through a view reads and overwrites what the view hides.
INSERT INTO stormops.my_properties AS m (tenant_id, property_id, external_id) VALUES (:'A', :'id9', 'P-2') ON CONFLICT (external_id) DO UPDATE SET address = 'mine' WHERE m.address LIKE '%BRAVO%' RETURNING m.address;

--# 65 | S1 | app, tapp | same
-- A function that tells every row that it is shown, and costs nothing.
CREATE FUNCTION mallory.tell(shown text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', shown; RETURN true; END $$;
SELECT count(*) FROM stormops.:relation AS r WHERE mallory.tell(r::text);

--# 67 | S1 | app, tapp | refused 22P02 | naive holds
-- An error shows the value that it failed on: it fails on one's own.
SELECT * FROM stormops.properties WHERE address::int > 0;

--# 67b | S1 | app, tapp | same
-- The same through views.
SELECT 1 FROM stormops.v_properties WHERE CASE WHEN external_id = 'P-1' THEN 0 ELSE address::int END > 0;
SELECT 1 FROM stormops.policy_decisions WHERE reason::int > 0;
SELECT 1 FROM stormops.policy_decisions_log WHERE reason::int > 0;
SELECT 1 FROM stormops.storm_results WHERE reason::int > 0;

--# 68 | S1 | app | rows=0
-- The planner's statistics hold values of every tenant.
\superuser
ANALYZE;
\attacker
SELECT tablename, most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE schemaname = 'stormops' AND tablename <> 'tenants';

--# 68b | S1 | tapp | rows=0 | naive skips
\superuser
ANALYZE;
\attacker
SELECT * FROM pg_stats WHERE schemaname = 'stormops';
SELECT 1 FROM pg_stats_ext WHERE schemaname = 'stormops' UNION ALL SELECT 1 FROM pg_stats_ext_exprs WHERE schemaname = 'stormops';

--# 69 | OPS | superuser | rows=0 | naive holds
-- No extended statistics.
SELECT stxname FROM pg_statistic_ext WHERE stxnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal'));

--# 76 | OPS | superuser | rows=0 | naive holds
-- No tenant's id is part of a partition, a name or a policy.
SELECT relname FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND (coalesce(pg_get_expr(relpartbound, oid), '') || relname) LIKE ANY (ARRAY['%' || :'A' || '%', '%' || :'B' || '%']) UNION ALL SELECT polname FROM pg_policy WHERE pg_get_expr(polqual, polrelid) LIKE '%-7000-%';

--# 77 | OPS | superuser | rows=0 | naive skips
-- The permissive policies are the one equality and nothing wider, and every table has its floor.
SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND ARRAY['(tenant_id = stormops.current_tenant())', '(tenant_id = stormops.current_tenant())'] IS DISTINCT FROM (SELECT array_agg(pg_get_expr(p.polqual, p.polrelid) ORDER BY p.polpermissive) FROM pg_policy AS p WHERE p.polrelid = c.oid AND (p.polpermissive OR p.polname = 'tenant_floor') AND p.polcmd = '*' AND p.polwithcheck IS NULL AND p.polroles = '{0}');

--# 78 | S1 | tapp | value=1 | naive holds
-- Parallel workers know the tenant.
SET LOCAL force_parallel_mode = on;
SET LOCAL debug_parallel_query = on;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(*) FROM stormops.properties;

--# 79 | S2 | app, tapp | value=1 | naive holds
-- A generic plan made for one tenant serves the next.
\pin B
SET LOCAL plan_cache_mode = force_generic_plan;
PREPARE q AS SELECT count(*) FROM stormops.properties;
EXECUTE q;
\pin A
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE q;

--# 81 | OPS | superuser | rows=0 | naive skips
-- No row is without a tenant.
SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND c.relkind IN ('r', 'p') AND (NOT a.attnotnull OR a.atttypid <> 'uuid'::regtype);

--# 83 | S1 | app | value=0
-- Somebody adds a policy that opens a table: the floor holds.
\superuser
CREATE POLICY support ON stormops.:table USING (true) WITH CHECK (true);
\attacker
SELECT count(*) FROM stormops.:table WHERE tenant_id IS DISTINCT FROM :'A';
\cleanup
DROP POLICY support ON stormops.:table;

--# 83b | S1 | tapp | refused 42501 | naive skips
-- For writing as well.
\superuser
CREATE POLICY support ON stormops.:table USING (true) WITH CHECK (true);
\attacker
UPDATE stormops.storms SET name = 'mine' WHERE tenant_id = :'B';
:plant;
\cleanup
DROP POLICY support ON stormops.:table;
