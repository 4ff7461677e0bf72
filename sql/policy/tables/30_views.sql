-- Over the tables, not over policy_decisions_log: which runs are current is no condition that reaches into that.
CREATE OR REPLACE VIEW stormops.policy_decisions WITH (security_invoker, security_barrier) AS
SELECT b.tenant_id, b.run_id, u.property_id, b.storm_id, b.decided_at, u.propensity, u.score, u.score_sd, u.value, u.decision, u.reason, b.policy_mode, u.model_version
FROM stormops.policy_runs AS r
JOIN stormops.policy_decision_blocks AS b ON b.tenant_id = r.tenant_id AND b.run_id = r.run_id
CROSS JOIN LATERAL stormops_internal.unpack_decisions(
    b.property_ids, b.classes, b.scores, b.score_sds, b."values", b.decisions, b.reasons, b.propensities, b.model_versions, b.models, NULL) AS u
WHERE r.superseded_at IS NULL
UNION ALL
SELECT d.tenant_id, d.run_id, d.property_id, d.storm_id, d.decided_at, d.propensity, d.score, d.score_sd, d.value, d.decision, d.reason, d.policy_mode, d.model_version
FROM stormops.policy_runs AS r
JOIN stormops.policy_decision_rows AS d ON d.tenant_id = r.tenant_id AND d.run_id = r.run_id
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
