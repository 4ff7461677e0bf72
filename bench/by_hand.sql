-- What one would write by hand for one tenant and one storm, with the simplest rule.
INSERT INTO bare (
  tenant_id, run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value, decision, reason,
  policy_mode, model_version
)
SELECT :'tenant'::uuid, :'tenant'::uuid, s.property_id, :'storm'::uuid, now(), 1.0, s.uplift,
  coalesce(s.uplift_sd, 0.05), s.uplift - 0.05,
  CASE WHEN s.uplift > 0.05 THEN 'treat' ELSE 'hold' END,
  CASE WHEN s.uplift > 0.05 THEN 'above_threshold' ELSE 'below_threshold' END,
  'moderate', s.model_version
FROM (
  SELECT DISTINCT ON (property_id) property_id, uplift, uplift_sd, model_version FROM stormops.lead_uplift
  WHERE tenant_id = :'tenant' AND storm_id = :'storm'
  ORDER BY property_id DESC, scored_at DESC, model_version DESC
) AS s
JOIN stormops.properties AS p ON p.tenant_id = :'tenant' AND p.property_id = s.property_id
WHERE p.status = 'active';
