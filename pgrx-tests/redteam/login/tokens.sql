-- The way in of `app`. Played once the library has `login()`.

--# 126 | S1 | outsider | refused 28000
-- No signature, no key, no token: one error.
BEGIN;
SELECT stormops.login('eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRfaWQiOiIwMDAwMDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwYjAwMDAifQ.');
SELECT stormops.login('');
SELECT stormops.login(repeat('x', 100000));
SELECT stormops.login('a.b.c');

--# 129 | S1 | outsider | refused 28000
-- A key id that is SQL or a path.
BEGIN;
SELECT stormops.login('eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxJyBPUiB0cnVlIC0tIn0.e30.AAAA');

--# 138 | S2 | app | refused 0B000
-- A token pins one transaction: the next has no tenant.
COMMIT;
SELECT * FROM stormops.storms;

--# 138b | S1 | app | refused 25001
-- A second tenant in one transaction, by a token that is good.
SELECT stormops.login(:'tokenB');

--# 138c | S1 | app | refused 25001
-- Also after the first pin was rolled back with its savepoint: what was read was read.
SAVEPOINT s;
SELECT count(*) FROM stormops.storms;
ROLLBACK TO SAVEPOINT s;
SELECT stormops.login(:'tokenB');

--# 146 | S1 | app, tapp | refused 42501
-- Nobody signs for himself.
SELECT stormops.create_signing_key();
SELECT stormops.issue_token(:'B', :'id7');

--# 78b | S1 | app | value=1
-- Parallel workers know the tenant that a token named.
SET LOCAL force_parallel_mode = on;
SET LOCAL debug_parallel_query = on;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(*) FROM stormops.properties;
