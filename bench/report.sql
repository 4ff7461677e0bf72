-- One line for each pair. A ratio is that of two neighbours in time: its median, least and greatest.
CREATE TEMP TABLE results (what text, budget numeric, ours double precision, against double precision);
\copy results FROM pstdin (DELIMITER '|', NULL '')
SELECT what AS "what / against what",
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ours)::numeric, 3 - least(3, max(log(ours))::int)) AS "ours (ms)",
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY against)::numeric, 3 - least(3, max(log(ours))::int)) AS "against (ms)",
  round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ours / against)::numeric, 3) AS ratio,
  coalesce('<= ' || budget, '') AS budget,
  CASE WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY ours / against) > budget THEN 'over' ELSE '' END AS "over?",
  round(min(ours / against)::numeric, 3) || ' .. ' || round(max(ours / against)::numeric, 3) AS noise,
  count(*) AS rounds
FROM results
GROUP BY what, budget
ORDER BY regexp_replace(what, ' .*', '') <> 'apply_policy,', what;
