-- E. Writes, keys and references.

--# 85 | S1 | app, tapp | refused 42501 new row violates row-level security | naive skips
-- A row for another tenant.
:plant RETURNING 1;

--# 85b | S1 | app, tapp | refused 42501 | naive skips
-- Moving a row there: no right to touch the column, or none to change what it holds.
UPDATE stormops.:table SET tenant_id = :'B';

--# 85c | S1 | app, tapp | same | naive holds
-- The same two, whoever has the rights.
:plant ON CONFLICT DO NOTHING; COMMIT;
UPDATE stormops.storms SET tenant_id = :'B'; COMMIT;

--# 87 | S1 | app, tapp | same
-- Neither WHERE nor RETURNING, so that no SELECT policy is asked.
UPDATE stormops.storms SET name = 'mine'; COMMIT;
UPDATE stormops.properties SET address = 'mine'; COMMIT;
UPDATE stormops.customer_journeys SET touch = 'mine'; COMMIT;
DELETE FROM stormops.:table; COMMIT;

--# 87c | S1 | app, tapp | refused 42501 a MERGE that reads no column
-- PostgreSQL filters the target of a MERGE by the SELECT policies only if it reads a column of it.
CREATE FUNCTION mallory.seen(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'a row'; RETURN false; END $$;
MERGE INTO stormops.customer_journeys USING (SELECT 'x'::text AS x) AS x ON true WHEN MATCHED AND mallory.seen(x) THEN DELETE;
MERGE INTO stormops.storms USING (SELECT 'x'::text AS x) AS x ON true WHEN MATCHED AND mallory.seen(x) THEN UPDATE SET name = 'mine';

--# 87d | S1 | app, tapp | refused 42501 a MERGE that reads no column
-- The same out of a stored body, which is analysed when it is made.
CREATE FUNCTION mallory.seen(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'a row'; RETURN false; END $$;
CREATE FUNCTION mallory.count() RETURNS void LANGUAGE sql BEGIN ATOMIC MERGE INTO stormops.storms USING (SELECT 'x'::text AS x) AS x ON true WHEN MATCHED AND mallory.seen(x) THEN DELETE; END;
SELECT mallory.count();

--# 87e | S1 | app, tapp | rows=0 | naive holds
-- One that reads a column meets the own rows only.
MERGE INTO stormops.storms AS s USING (SELECT 'x'::text AS x) AS x ON s.tenant_id = :'B' WHEN MATCHED THEN UPDATE SET name = 'mine';

--# 87b | S1 | app, tapp | same | naive holds
WITH gone AS (DELETE FROM stormops.customer_journeys RETURNING tenant_id) SELECT count(*) FROM gone WHERE tenant_id = :'B';
SELECT tenant_id FROM stormops.storms FOR UPDATE;

--# 88 | S1 | app, tapp | rows=1
-- Keys that only the victim has are free.
:claim RETURNING 1;

--# 90 | S1 | app, tapp | rows=1
-- Nor does a silent conflict tell.
:claim ON CONFLICT DO NOTHING RETURNING 1;

--# 94 | S1 | app, tapp | refused 23503
-- A parent that only the victim has is no parent.
:hang RETURNING 1;

--# 95 | OPS | superuser | rows=0 | naive skips
-- Every reference carries the tenant, and no delete cascades; every key begins with the tenant, but for the order of
-- events, which no tenant can name.
SELECT conname FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attname = 'tenant_id' WHERE k.connamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND k.contype = 'f' AND (k.conkey[1] <> a.attnum OR k.confdeltype <> 'a') UNION ALL SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = 'tenant_id' JOIN pg_class AS c ON c.oid = i.indrelid WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND i.indkey[0] <> a.attnum AND i.indexrelid <> 'stormops.tenants_name_key_key'::regclass;

--# 96 | S2 | app, tapp | rows=1
-- Hanging a row below the victim's would stop its deletes.
\victim
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) VALUES (:'B', :'id9', 'E-9', 'x');
COMMIT;
\attacker
INSERT INTO stormops.customer_journeys (tenant_id, journey_id, property_id, storm_id, touch, channel) VALUES (:'A', :'id9', :'id1', :'id9', 'call', 'phone');
COMMIT;
\victim
\pin B
DELETE FROM stormops.storms WHERE storm_id = :'id9' RETURNING 1;
\cleanup
DELETE FROM stormops.storms WHERE storm_id = :'id9';

--# 97 | S2 | app, tapp | rows=1
-- Or hold a lock on it.
\victim
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) VALUES (:'B', :'id9', 'E-9', 'x');
COMMIT;
\attacker
INSERT INTO stormops.customer_journeys (tenant_id, journey_id, property_id, storm_id, touch, channel) VALUES (:'A', :'id9', :'id1', :'id9', 'call', 'phone');
SELECT 1 FROM stormops.storms FOR UPDATE;
\victim
\pin B
DELETE FROM stormops.storms WHERE storm_id = :'id9' RETURNING 1;
\cleanup
DELETE FROM stormops.storms WHERE storm_id = :'id9';

--# 98 | S1 | app, tapp | refused 42501
-- A reference of the attacker's own.
CREATE TABLE mallory.probe (x uuid REFERENCES stormops.storms (storm_id));
INSERT INTO mallory.probe VALUES (:'id2');
CREATE TABLE mallory.probe_2 (x uuid, y uuid, FOREIGN KEY (x, y) REFERENCES stormops.storms);
INSERT INTO mallory.probe_2 VALUES (:'B', :'id2');
CREATE TABLE mallory.probe_3 (x uuid REFERENCES stormops.tenants);

--# 99 | S1 | app, tapp | refused 42501
-- TRUNCATE knows no row security.
TRUNCATE stormops.:table CASCADE; COMMIT;

--# 100 | S2 | app, tapp | rows=0
-- A trigger of the attacker's on the victim's writes.
CREATE TABLE mallory.loot (line text);
CREATE FUNCTION mallory.spy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO mallory.loot VALUES (NEW::text); RETURN NEW; END $$;
CREATE TRIGGER spy AFTER INSERT ON stormops.storms FOR EACH ROW EXECUTE FUNCTION mallory.spy();
COMMIT;
\victim
INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) VALUES (:'B', :'id9', 'E-9', 'BRAVO-SECRET');
COMMIT;
\attacker
SELECT * FROM mallory.loot;
\cleanup
DELETE FROM stormops.storms WHERE storm_id = :'id9';
DROP TABLE mallory.loot;
DROP FUNCTION mallory.spy CASCADE;

--# 100b | S1 | app, tapp | refused 42501 | naive skips
-- On no table, and no rule either.
CREATE FUNCTION mallory.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE RULE spy AS ON INSERT TO stormops.storms DO INSTEAD NOTHING;
CREATE TRIGGER spy BEFORE INSERT ON stormops.:table FOR EACH ROW EXECUTE FUNCTION mallory.spy();

--# 101 | S1 | app, tapp | refused 42501 | naive holds
-- A child table of the attacker's, whose rows would be among the victim's.
CREATE TABLE mallory.child () INHERITS (stormops.storms);

--# 102 | S1 | app | refused 42501
-- A table that a migration adds and forgets.
\superuser
CREATE TABLE stormops.notes (tenant_id uuid, body text);
INSERT INTO stormops.notes VALUES (:'B', 'BRAVO-SECRET');
\attacker
SELECT * FROM stormops.notes;
\cleanup
DROP TABLE stormops.notes;

--# 103 | S1 | app, tapp | same
-- COPY follows row security.
COPY (SELECT * FROM stormops.v_properties) TO STDOUT;

--# 103b | S1 | app, tapp | same | naive holds
COPY (SELECT * FROM stormops.properties WHERE tenant_id = :'B') TO STDOUT;

--# 103c | S1 | app, tapp | refused 42501 | naive holds
COPY stormops.storms (name) FROM PROGRAM 'id';

--# 104 | S1 | app, tapp | same
-- A sequence counts everybody's rows.
SELECT last_value FROM stormops.usage_seq;

--# 104b | OPS | superuser | rows=0 | naive skips
SELECT relname FROM pg_class AS c WHERE relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND relkind = 'S' AND EXISTS (SELECT FROM aclexplode(relacl) AS a WHERE a.grantee <> c.relowner);

--# 105 | S1 | tapp | value=0 | naive skips
-- GRANT ALL by mistake: row security still holds, in partitions named directly too.
\superuser
GRANT ALL ON ALL TABLES IN SCHEMA stormops, stormops_internal TO app, tapp;
\attacker
SELECT count(*) FROM :partition;
\cleanup
REVOKE ALL ON ALL TABLES IN SCHEMA stormops, stormops_internal FROM app, tapp;
SELECT stormops.renew_grants();

--# 105b | S1 | app | rows=0 | naive skips
-- And what nobody does is still not done.
\superuser
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA stormops TO app, tapp;
\attacker
:never;
\cleanup
REVOKE ALL ON ALL TABLES IN SCHEMA stormops FROM app, tapp;
SELECT stormops.renew_grants();

--# 105c | S1 | tapp | refused 42501 | naive skips
-- Nor added.
\superuser
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA stormops TO app, tapp;
\attacker
:added;
\cleanup
REVOKE ALL ON ALL TABLES IN SCHEMA stormops FROM app, tapp;
SELECT stormops.renew_grants();
