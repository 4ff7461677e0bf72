-- What privileges cannot refuse and the library's guard does, for roles that work inside tenants.

--# 70 | S1 | app, tapp | refused 42501
-- The planner's estimate tells whether a value is there.
\superuser
ANALYZE;
\attacker
EXPLAIN SELECT * FROM stormops.properties WHERE address LIKE '7 BRAVO-SEC%';

--# 71 | S1 | app, tapp | refused 42501
-- And so does the count of rows that were filtered.
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM stormops.properties WHERE external_id = 'B-7';

--# 72 | S1 | app, tapp | refused 42501
-- Through a prepared statement, or in a function.
PREPARE q AS SELECT * FROM stormops.properties;
DO $$ BEGIN EXECUTE 'EXPLAIN SELECT * FROM stormops.properties'; END $$;
EXPLAIN EXECUTE q;

--# 107 | S2 | app, tapp | refused 42501
-- A temporary table in front of the real one catches what the next tenant writes.
CREATE TEMP TABLE storms (tenant_id uuid, storm_id uuid, event_id text, name text);

--# 108 | S2 | app, tapp | refused 42501
CREATE TEMP TABLE mine AS SELECT * FROM stormops.storms;

--# 115 | S2 | app, tapp | refused 42501
-- Channels have no owner.
LISTEN stormops_changes;

--# 116 | S2 | app, tapp | refused 42501
SELECT pg_notify('stormops_changes', '{"tenant_id": "forged"}');
NOTIFY stormops_changes, 'forged';

--# 116b | S2 | app, tapp | refused 42501
SELECT pg_notify('stormops_changes', 'forged');

--# 118 | S2 | app, tapp | refused 42501
-- Advisory locks are one space for all.
SELECT pg_try_advisory_lock(42);
SELECT pg_advisory_xact_lock(42);

--# 119 | S2 | app, tapp | refused 42501
-- Large objects belong to the shared role.
SELECT lo_create(424242);
SELECT lo_from_bytea(424243, 'x');

--# 122 | S2 | app, tapp | refused 42501
-- So do its sessions.
SELECT pg_terminate_backend(0);

--# 122b | S2 | app, tapp | refused 42501
SELECT pg_cancel_backend(0);

--# 120b | S2 | app, tapp | refused 42501
-- Statements of other sessions of the same role, literals and tokens included.
SELECT query FROM pg_stat_get_activity(NULL);

--# 120c | S2 | app, tapp | refused 42501
SELECT query FROM pg_stat_activity;

--# 182 | S1 | app, tapp | refused 42501
-- A transaction prepared in a tenant outlives its session.
PREPARE TRANSACTION 'mine';

--# 74 | S1 | app, tapp | refused 42501
-- The server's counters count every tenant's rows.
SELECT n_live_tup FROM pg_stat_user_tables WHERE schemaname = 'stormops';

--# 10c | S2 | app, tapp | refused 42501
-- A setting stored for the shared role meets every tenant's next session.
ALTER ROLE CURRENT_USER SET statement_timeout = 1;

--# 205 | S2 | app, tapp | refused 42501
-- A role with no right to the catalogue of roles waits for it, and every login of the cluster behind that role.
CREATE RULE r AS ON INSERT TO pg_catalog.pg_authid DO INSTEAD NOTHING;

--# 205b | S2 | app, tapp | refused 42501
-- Objects of its own are what an attack is made with.
CREATE TABLE mallory.mine (a int);
