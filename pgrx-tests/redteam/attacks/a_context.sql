-- A. Forging, losing or confusing the context.

--# 0 | S1 | app, tapp | rows=0 | naive skips
-- What a tenant may read it reads: a refusal of everything would pass every other attack.
SELECT 'nothing' FROM stormops.:table HAVING count(*) = 0;

--# 0b | S1 | app, tapp | rows=1 | naive holds
-- And what it may write it writes.
:own RETURNING 1;

--# 1 | S1 | outsider, tapp-out | refused 0B000 | naive skips
-- Context never set: one error, and no row.
SELECT * FROM stormops.:relation;

--# 1b | S1 | outsider, tapp-out | refused 0B000/42501 | naive skips
-- Nor a write.
:own RETURNING 1;

--# 2 | S1 | app, tapp | refused 0B000 no tenant in context | naive holds
-- After the transaction the context is gone, and that looks as if it never was.
COMMIT;
SELECT * FROM stormops.properties;

--# 3 | S1 | app | refused 42501/22023 | naive holds
-- A malformed value: it is no value before it is no right.
SET app.current_tenant = 'x';
SET app.current_tenant = ''' OR 1=1 --';

--# 3b | S1 | tapp | refused 22023 | naive holds
-- The same by somebody who may set it.
SET LOCAL app.current_tenant = ''' OR 1=1 --';

--# 5 | S1 | tapp | refused 22023 | naive holds
-- Other spellings of a UUID, which a list of texts would not know.
SET LOCAL app.current_tenant = 'urn:uuid:00000000-0000-7000-8000-0000000a0000';
SET LOCAL app.current_tenant = '{00000000-0000-7000-8000-0000000a0000}';

--# 6 | S1 | app | value=1
-- Plain forgery: what a session sets is not the context.
SET app.current_tenant = :'B';
SELECT count(*) FROM stormops.properties;

--# 6b | S1 | tapp | refused 25001
-- Who may set it does so before the first statement of a transaction, not in the midst of one.
SET LOCAL app.current_tenant = :'B';
SELECT count(*) FROM stormops.properties;

--# 7 | S1 | app | refused 42501
-- A SELECT is enough to set it: a hook on the SET command would miss this.
WITH x AS MATERIALIZED (SELECT set_config('app.current_tenant', :'B', true) AS v)
SELECT p.address FROM x CROSS JOIN LATERAL (SELECT * FROM stormops.properties WHERE x.v IS NOT NULL LIMIT 2) AS p;

--# 7b | S1 | tapp | refused 25001
-- The same, where setting is allowed.
WITH x AS MATERIALIZED (SELECT set_config('app.current_tenant', :'B', true) AS v)
SELECT p.address FROM x CROSS JOIN LATERAL (SELECT * FROM stormops.properties WHERE x.v IS NOT NULL LIMIT 2) AS p;

--# 9 | S1 | app | value=1 | naive holds
-- The view of settings is writable.
UPDATE pg_settings SET setting = :'B' WHERE name = 'app.current_tenant';
SELECT count(*) FROM stormops.properties;

--# 10 | S2 | app | refused 42501 | naive holds
-- A default for every later session of the shared role.
ALTER ROLE CURRENT_USER SET app.current_tenant = :'B';

--# 10b | S2 | tapp | refused 22023/42501 | naive skips
-- Nor by somebody who may set it for a transaction.
ALTER ROLE CURRENT_USER SET app.current_tenant = :'B';

--# 11 | S2 | app | refused 42501/22023/0B000
-- The startup packet.
\connect -c app.current_tenant=00000000-0000-7000-8000-0000000b0000
SELECT count(*) FROM stormops.properties;

--# 12 | OPS | superuser | rows=0 | naive holds
-- No role and no database stores a context.
SELECT setconfig FROM pg_db_role_setting WHERE setconfig::text LIKE '%app.current%';

--# 15 | S1 | app | value=1
-- A savepoint that is released keeps what was set in it.
SAVEPOINT s;
SET LOCAL app.current_tenant = :'B';
RELEASE SAVEPOINT s;
SELECT count(*) FROM stormops.properties;

--# 15b | S1 | tapp | refused 25001
-- The pin is of the transaction, not of the savepoint.
SAVEPOINT s;
SELECT count(*) FROM stormops.properties;
ROLLBACK TO SAVEPOINT s;
SET LOCAL app.current_tenant = :'B';
SELECT count(*) FROM stormops.properties;

--# 16 | S1 | app, tapp | value=1 | naive holds
-- What a block set and then failed is undone.
DO $$ BEGIN PERFORM set_config('app.current_tenant', :'B', true); RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END $$;
SELECT count(*) FROM stormops.properties;

--# 17 | S2 | app, tapp | refused 0B000 | naive holds
-- After another tenant's transaction, and a rollback, the connection works for nobody.
\pin B
SELECT count(*) FROM stormops.properties;
\pin A
SELECT 1/0;
ROLLBACK;
SELECT count(*) FROM stormops.properties;

--# 18 | S2 | app | refused 0B000 | naive holds
-- SET LOCAL outside a transaction is a warning and no context.
COMMIT;
SET LOCAL app.current_tenant = :'B';
SELECT count(*) FROM stormops.properties;

--# 19 | S2 | app | refused 0B000
-- The next client of a pooled connection gets no context from this one.
COMMIT;
SET app.current_tenant = :'B';
BEGIN;
SELECT address FROM stormops.properties;

--# 20 | S1 | tapp | refused 0B000 | naive holds
-- A procedure that commits goes on without a tenant.
COMMIT;
DO $$ BEGIN PERFORM set_config('app.current_tenant', :'A', true); COMMIT; PERFORM 1 FROM stormops.properties; END $$;

--# 22 | S1 | app, tapp | refused 0B000 | naive skips
-- DISCARD ALL leaves no pin behind.
COMMIT;
DISCARD ALL;
SELECT stormops.current_tenant();

--# 22b | S1 | app | value=1 | naive skips
-- Nor can the pin be shaken off within the transaction.
RESET app.current_tenant;
SET app.current_tenant TO DEFAULT;
SELECT count(*) FROM stormops.properties;

--# 23 | S1 | tapp | refused 25001
-- One cursor, two tenants. The own row at the end of the table is there because the error comes with the next row,
-- whosever it is.
INSERT INTO stormops.properties (tenant_id, property_id, external_id) VALUES (:'A', :'id9', 'P-9');
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
DECLARE c CURSOR FOR SELECT address FROM stormops.properties;
FETCH 1 FROM c;
SET LOCAL app.current_tenant = :'B';
FETCH 5 FROM c;

--# 23b | S1 | tapp | refused 25001
-- Two functions in one statement, each in a tenant of its own.
CREATE FUNCTION mallory.rows_of(t uuid) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.current_tenant', t::text, true); RETURN QUERY SELECT address FROM stormops.properties; END $$;
SELECT * FROM mallory.rows_of(:'A') UNION ALL SELECT * FROM mallory.rows_of(:'B');

--# 24 | S1 | app, tapp | value=1 | naive holds
-- Settings that a reader of the manual may try are nobody's.
SET app.user_role = 'admin';
SET app.support = 'on';
SET request.jwt.claims = '{"role": "admin"}';
SELECT count(*) FROM stormops.properties;

--# 25 | S1 | app | refused 42501
-- Several statements through the simple protocol, the first of which ends the transaction.
SELECT 1; COMMIT; SET app.current_tenant = :'B'; SELECT address FROM stormops.properties;

--# 26 | S1 | tapp | refused 55000 | naive holds
-- No UUID means everybody.
ROLLBACK;
BEGIN;
SET LOCAL app.current_tenant = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
SELECT count(*) FROM stormops.properties;
ROLLBACK;
BEGIN;
SET LOCAL app.current_tenant = '00000000-0000-0000-0000-000000000000';
SELECT count(*) FROM stormops.properties;

--# 28 | S1 | tapp | value=1 | naive holds
-- An error between setting and reading leaves one context, not a half of two.
DO $$ BEGIN PERFORM set_config('app.current_tenant', :'B', true), 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END $$;
SELECT count(*) FROM stormops.properties;
