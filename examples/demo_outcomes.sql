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
-- The fair comparison: houses that the rule chose, visited or held out by chance.
SELECT format('   %-24s %5s %5s  %5s%% %8s %5s  %5s%%    %5s points (%s to %s)', t.org_name,
    c.treated_n, c.treated_converted, round(100 * c.treated_rate::numeric, 1),
    c.control_n, c.control_converted, round(100 * c.control_rate::numeric, 1),
    round(100 * c.lift::numeric, 1), round(100 * c.lift_low::numeric, 1), round(100 * c.lift_high::numeric, 1)) AS line
FROM tenants AS t, check_conversion_rates(:'storm_id') AS c \gset
COMMIT;
\echo :line
