-- One line for each pair. A ratio is that of two neighbours in time: its median, least and greatest.
CREATE TEMP TABLE results (
  n int GENERATED ALWAYS AS IDENTITY, what text, budget numeric, ours float8, against float8
);
\copy results (what, budget, ours, against) FROM pstdin (DELIMITER '|', NULL '')
SELECT r.what AS "what / against what",
  round(r.ours::numeric, r.digits) AS "ours (ms)",
  round(r.against::numeric, r.digits) AS "against (ms)",
  round(r.ratio::numeric, 2) AS ratio,
  CASE WHEN r.ratio <= r.budget THEN '<= ' || r.budget ELSE coalesce('over ' || r.budget, '') END AS budget,
  r.noise
FROM (
  SELECT what, budget, min(n) AS n, CASE WHEN min(ours) < 1 THEN 4 ELSE 0 END AS digits,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ours) AS ours,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY against) AS against,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ours / against) AS ratio,
    format('%s .. %s of %s', round(min(ours / against)::numeric, 2), round(max(ours / against)::numeric, 2),
      count(*)) AS noise
  FROM results
  GROUP BY what, budget
) AS r
ORDER BY r.n;
