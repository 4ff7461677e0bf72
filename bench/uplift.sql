-- One table of 1,000,000 scores with outcomes, as any user may have it, and one of 10,000; and the tenant's
-- baseline, made of the same storm's scores. Run in the database of load.sql, as superuser.
SET search_path = public, stormops;
DROP TABLE IF EXISTS scored, scored_small;
SELECT setseed(0.25);
CREATE TABLE scored AS
SELECT s.uplift, s.treated, (random() < 0.2 + CASE WHEN s.treated THEN s.uplift ELSE 0 END)::integer::float8 AS outcome,
  0.5::float8 AS propensity, s.uplift + 0.01 * (random() - 0.5) AS before
FROM (
  SELECT (random() + random() + random()) / 7.5 AS uplift, random() < 0.5 AS treated FROM generate_series(1, 1000000)
) AS s;
CREATE TABLE scored_small AS SELECT * FROM scored LIMIT 10000;
GRANT SELECT ON scored, scored_small TO bench_app;
VACUUM (FREEZE, ANALYZE) scored;
VACUUM (FREEZE, ANALYZE) scored_small;
