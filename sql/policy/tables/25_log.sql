-- A row for each decision, whatever form it is kept in. Plain SQL: it reads blocks without any function of the extension.
CREATE OR REPLACE VIEW stormops.policy_decisions_log WITH (security_invoker, security_barrier) AS
SELECT b.tenant_id, b.run_id, u.property_id, b.storm_id, b.decided_at, b.propensities[u.class] AS propensity, u.score, u.score_sd, u.value,
    b.decisions[u.class] AS decision, b.reasons[u.class] AS reason, b.policy_mode, b.model_versions[coalesce(u.model, 1)] AS model_version
FROM stormops.policy_decision_blocks AS b
CROSS JOIN LATERAL unnest(b.property_ids, b.classes, b.scores, b.score_sds, b."values", b.models) AS u (property_id, class, score, score_sd, value, model)
UNION ALL
SELECT r.tenant_id, r.run_id, r.property_id, r.storm_id, r.decided_at, r.propensity, r.score, r.score_sd, r.value, r.decision, r.reason, r.policy_mode, r.model_version
FROM stormops.policy_decision_rows AS r;
COMMENT ON VIEW stormops.policy_decisions_log IS 'Every decision with its propensity, a row for each property of a run, out of policy_decision_blocks and policy_decision_rows. policy_decisions shows the current runs'' rows.';
