-- L. Packaging and operations.

--# 189 | S1 | app, tapp | refused 42501 | naive skips
-- Nobody of use drops the extension.
DROP EXTENSION stormops CASCADE; COMMIT;

--# 189b | S1 | app | rows=0 | naive skips
-- Without the extension there is no policy of ours but one, and a table that somebody opened shows nothing.
\pin none
\superuser
DROP EXTENSION stormops CASCADE;
CREATE POLICY support ON stormops.:table USING (true) WITH CHECK (true);
GRANT USAGE ON SCHEMA stormops TO app, tapp;
GRANT EXECUTE ON FUNCTION stormops.installed() TO app, tapp;
\attacker
SELECT 1 FROM stormops.:table LIMIT 1;

--# 192 | OPS | superuser | rows=0 | naive skips
-- One schema, a superuser's installation.
SELECT name FROM pg_available_extension_versions WHERE name = 'stormops' AND (relocatable OR trusted OR NOT superuser OR schema IS DISTINCT FROM 'stormops');

--# 194 | S1 | app, tapp | refused 42602 | naive skips
-- The library's own settings cannot be invented.
SET stormops.role = 'admin';

--# 195 | S1 | app, tapp | refused 42501 | naive holds
-- The stream of changes has every tenant's rows.
CREATE PUBLICATION mine FOR TABLE stormops.storms;
SELECT pg_create_logical_replication_slot('mine', 'test_decoding');

--# 197 | OPS | superuser | rows=0 | naive holds
-- No event trigger runs a tenant's function as whoever works on the schema.
SELECT evtname FROM pg_event_trigger JOIN pg_proc AS p ON p.oid = evtfoid WHERE p.proowner NOT IN (10, coalesce(to_regrole('stormops_owner')::oid, 10));

--# 202 | OPS | superuser | rows=0 | naive skips
-- Definer functions are the powerless owner's.
SELECT oid::regprocedure FROM pg_proc WHERE pronamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND prosecdef AND proowner <> 'stormops_owner'::regrole;

--# 204 | OPS | superuser | rows=0 | naive skips
-- Grants on tables are the published ones: of each table, to each role, no more. An UPDATE may name every column; a trigger keeps
-- what is given once.
SELECT c.relname, a.grantee::regrole, a.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND c.relkind IN ('r', 'p') AND a.grantee NOT IN (10, c.relowner) AND NOT EXISTS (SELECT FROM stormops.role_matrix() AS m WHERE m.table_name = c.relname AND m.command = a.privilege_type AND m.through IS NULL AND (m.columns IS NULL OR m.command = 'UPDATE')) UNION ALL SELECT c.relname, a.grantee::regrole, b.attname FROM pg_class AS c JOIN pg_attribute AS b ON b.attrelid = c.oid, aclexplode(b.attacl) AS a WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND NOT EXISTS (SELECT FROM stormops.role_matrix() AS m WHERE m.table_name = c.relname AND m.command = a.privilege_type AND b.attname = ANY (m.columns));

--# 204b | OPS | superuser | rows=0 | naive skips
-- And row security is on and forced, partitions included.
SELECT c.relname FROM pg_class AS c WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND c.relkind IN ('r', 'p') AND (NOT c.relrowsecurity OR NOT c.relforcerowsecurity AND (c.relispartition OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id')));
