# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# Off-policy evaluation, attribution and footprints over a million rows, each against reading the same rows. run.sh sources it
# and calls measure_valuation after `start`.

# A circle of so many positions around the middle of the properties, and a smaller one in it.
circles() { # POSITIONS
  awk -v n="$1" 'function ring(r, i, s, a) {
      for (i = 0; i < n; i++) { a = 6.283185307179586 * i / n; s = s sprintf("[%.6f,%.6f],", -93.65 + r * cos(a), 42.05 + r * sin(a)) }
      return s sprintf("[%.6f,%.6f]", -93.65 + r, 42.05)
    }
    function feature(size, r) {
      return sprintf("{\"type\":\"Feature\",\"properties\":{\"min_size_mm\":%d},\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[[%s]]}}", size, ring(r))
    }
    BEGIN { printf "{\"type\":\"FeatureCollection\",\"features\":[%s,%s]}", feature(25, 0.045), feature(50, 0.02) }' </dev/null
}

measure_valuation() {
  local round mine joined scanned sorted places ours against
  say 'valuation …' >&2
  [[ $(super -c "SELECT count(*) FROM stormops.policy_runs WHERE tenant_id = '$large'") != 0 ]] || apply_as "$large" "$storm" >/dev/null
  super -v tenant="$large" -v storm="$storm" -f "$here/valuation.sql" >/dev/null
  app -c "SET app.current_tenant = '$large'" -c "SELECT stormops.set_footprint('$storm', '$(circles 1000)')" >/dev/null
  mine="d.tenant_id = stormops.current_tenant() AND d.run_id = (SELECT run_id FROM stormops.policy_runs WHERE storm_id = '$storm' AND superseded_at IS NULL)"
  scanned="SELECT count(*), avg(d.propensity), avg(d.score), avg(d.score_sd) FROM stormops.policy_decisions_log AS d WHERE $mine"
  joined="SELECT count(*), avg(d.propensity), avg(d.score), avg(d.score_sd), count(*) FILTER (WHERE o.converted)
    FROM stormops.policy_decisions_log AS d LEFT JOIN (
      SELECT property_id, bool_or(converted) AS converted FROM stormops.policy_outcomes WHERE storm_id = '$storm' AND NOT late GROUP BY property_id
    ) AS o ON o.property_id = d.property_id WHERE $mine"
  sorted="SELECT count(*) FROM (SELECT property_id, occurred_at, touch, channel, value FROM stormops.customer_journeys
    WHERE storm_id = '$storm' ORDER BY property_id, occurred_at, journey_id OFFSET 0) AS j"
  places="SELECT count(*) FROM stormops.properties WHERE longitude BETWEEN -93.695 AND -93.605 AND latitude BETWEEN 42.005 AND 42.095 AND status = 'active'"
  for ((round = 1; round <= rounds; round++)); do
    against=$(timed "$joined")
    ours=$(timed "SELECT * FROM stormops.evaluate_policy('$storm')")
    note 'evaluate_policy, 1,000,000 / one aggregate over the decisions with their outcomes' 2.0 "$ours" "$against"
    note 'evaluate_policy, 1,000,000 / one aggregate over the decisions alone' '' "$ours" "$(timed "$scanned")"
    note 'compare_policies, five policies / one aggregate over the decisions with their outcomes' '' \
      "$(timed "SELECT * FROM stormops.compare_policies('$storm')")" "$against"
    note 'attribution of 1,000,000 touches / the scan that sorts them' 3.0 \
      "$(timed "SELECT length(stormops_internal.attribution_of(stormops.current_tenant(), '$storm', '90 days', '7 days')::text)")" "$(timed "$sorted")"
    note 'affected_properties, 1,000,000 by two circles of 1,000 / count in the box' '' \
      "$(timed "SELECT count(*) FROM stormops.affected_properties('$storm')")" "$(timed "$places")"
  done
}
