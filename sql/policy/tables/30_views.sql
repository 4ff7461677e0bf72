CREATE OR REPLACE VIEW stormops.policy_decisions WITH (security_invoker, security_barrier) AS
SELECT d.*
FROM stormops.policy_runs AS r
JOIN stormops.policy_decisions_log AS d ON d.tenant_id = r.tenant_id AND d.run_id = r.run_id
WHERE r.superseded_at IS NULL;
COMMENT ON VIEW stormops.policy_decisions IS 'The decisions that stand: those of each storm''s current run. Columns as in policy_decisions_log.';

CREATE OR REPLACE VIEW stormops.storm_results WITH (security_invoker, security_barrier) AS
SELECT
    d.tenant_id, d.storm_id, d.run_id, d.policy_mode, d.decision, d.reason,
    count(*) AS properties,
    count(o.property_id) AS with_outcome,
    count(*) FILTER (WHERE o.converted) AS converted,
    sum(o.value) AS value
FROM stormops.policy_decisions AS d
LEFT JOIN (
    SELECT tenant_id, run_id, property_id, bool_or(converted) AS converted, sum(value) AS value
    FROM stormops.policy_outcomes
    WHERE NOT late
    GROUP BY tenant_id, run_id, property_id
) AS o ON o.tenant_id = d.tenant_id AND o.run_id = d.run_id AND o.property_id = d.property_id
GROUP BY d.tenant_id, d.storm_id, d.run_id, d.policy_mode, d.decision, d.reason;
COMMENT ON VIEW stormops.storm_results IS 'Counts of the current runs by decision and reason: properties, those with an outcome in time, conversions, and their value.';
