-- G. What all sessions of a database share. The commands that privileges cannot refuse are in ../guard/.

--# 183 | S2 | app, tapp | refused 42501
-- LOCK TABLE stops everybody.
LOCK TABLE stormops.properties IN ACCESS EXCLUSIVE MODE;
\victim
SELECT count(*) FROM stormops.properties;
\attacker
LOCK TABLE stormops.:table IN ACCESS EXCLUSIVE MODE;
\cleanup

--# 120 | S2 | app, tapp | same | naive holds
-- Sessions of other database roles keep their text to themselves.
\operator
SELECT 'BRAVO-SECRET text of a statement';
\attacker
SELECT usename, query FROM pg_stat_activity WHERE datname = current_database() AND usename = 'op';
\cleanup

--# 123 | S1 | app, tapp | refused 42501 | naive holds
-- The server's files and log.
SELECT pg_read_file('postgresql.conf');
SELECT pg_ls_logdir();
