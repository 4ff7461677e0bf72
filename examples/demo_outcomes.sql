-- Applies the moderate policy, lets the simulated owners answer, and prints one line. Variable: tenant.
BEGIN;
SET LOCAL app.current_tenant = :'tenant';
SELECT p.run_id, s.storm_id FROM storms AS s, LATERAL apply_policy(s.storm_id, policy_mode => 'moderate') AS p \gset
COMMIT;

BEGIN;
SET LOCAL app.current_tenant = :'tenant';
-- An owner becomes a job with the model's chance: baseline, and the effect too if visited.
SELECT r.* FROM record_outcomes(:'storm_id', (
    SELECT jsonb_agg(jsonb_build_object('property_id', o.property_id, 'converted', o.job, 'value', CASE WHEN o.job THEN 3000 END))
    FROM (
        SELECT d.property_id,
            draw(md5(p.external_id)::uuid, md5('e')::uuid, md5('f')::uuid, 'demo')
                < u.baseline + CASE d.decision WHEN 'treat' THEN 0.24 / (1 + exp((24 - (2020 - p.roof_year)) / 5.0)) - 0.01 ELSE 0 END AS job
        FROM policy_decisions AS d
        JOIN properties AS p USING (tenant_id, property_id)
        JOIN lead_uplift AS u USING (tenant_id, storm_id, property_id)
    ) AS o
)) AS r \gset
-- The fair comparison: houses that the rule chose, visited or held out by the draw.
SELECT format('   %-24s %5s %5s  %5s%% %8s %5s  %5s%%   %11s', t.org_name,
    r.visited, r.visited_jobs, round(100.0 * r.visited_jobs / r.visited, 1),
    r.held, r.held_jobs, round(100.0 * r.held_jobs / r.held, 1),
    round(100.0 * r.visited_jobs / r.visited - 100.0 * r.held_jobs / r.held, 1) || ' points') AS line
FROM tenants AS t, (
    SELECT count(*) FILTER (WHERE d.reason = 'above_threshold') AS visited,
        count(*) FILTER (WHERE d.reason = 'above_threshold' AND o.converted) AS visited_jobs,
        count(*) FILTER (WHERE d.reason = 'holdout') AS held,
        count(*) FILTER (WHERE d.reason = 'holdout' AND o.converted) AS held_jobs
    FROM policy_decisions AS d JOIN policy_outcomes AS o USING (tenant_id, run_id, property_id)
    WHERE d.value > 0
) AS r \gset
COMMIT;
\echo :line
