-- F. Residue on a connection that several tenants share.

--# 109 | S2 | app, tapp | refused 34000
-- A cursor WITH HOLD carries rows out of its tenant.
\pin B
DECLARE c CURSOR WITH HOLD FOR SELECT address FROM stormops.properties;
COMMIT;
\pin A
FETCH ALL FROM c;

--# 109b | S2 | app, tapp | refused 34000 | naive holds
-- A plain one goes with its transaction.
\pin B
DECLARE c CURSOR FOR SELECT address FROM stormops.properties;
\pin A
FETCH ALL FROM c;

--# 110 | S2 | app, tapp | value=1 | naive skips
-- After DISCARD ALL, as a pool in session mode sends it, nothing of the one before is left.
PREPARE q AS SELECT 'poisoned';
SET SESSION row_security = off;
SET SESSION search_path = pg_temp;
SET SESSION default_transaction_read_only = on;
COMMIT;
\pin none
DISCARD ALL;
\pin B
PREPARE q AS SELECT count(*) FROM stormops.users WHERE user_id = :'id7';
EXECUTE q;

--# 111 | S2 | app, tapp | rows=1 | naive holds
-- What SET LOCAL changed ends with the transaction: a pool in transaction mode needs no more.
SET LOCAL row_security = off;
SET LOCAL search_path = pg_temp;
SET LOCAL statement_timeout = 1;
COMMIT;
\pin B
SELECT 1 FROM stormops.users WHERE user_id = :'id7' HAVING count(*) >= 0;

--# 114 | S2 | tapp | refused 25001
-- Two tenants in one transaction.
SELECT count(*) FROM stormops.storms;
SET LOCAL app.current_tenant = :'B';
SELECT name FROM stormops.storms;
