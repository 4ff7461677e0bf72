# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# The dashboard of a tenant with ten times the history, against the same storm without; a full health check of 1,000
# tenants, against one pass over the rows that are new. run.sh sources it and calls measure_health after `start`.

dashboard() { # TENANT: its milliseconds, after it ran once
  local call="SELECT stormops.get_health_dashboard('02000000-0000-7000-8000-100000000001')"
  app -c "SET app.current_tenant = '$1'" -c "$call" -c '\timing on' -c "$call" | milliseconds
}

# What is new, read once: as many values as the checks look at, by tenant.
one_pass() {
  super -c 'SET enable_nestloop = off' -c '\timing on' -c "SELECT count(*) FROM (
      SELECT tenant_id, count(*), count(address) FROM stormops.properties WHERE created_at >= now() - interval '1 day' GROUP BY 1
      UNION ALL
      SELECT tenant_id, count(*), sum(uplift) FROM stormops.lead_uplift WHERE scored_at >= now() - interval '1 day' GROUP BY 1
      UNION ALL
      SELECT tenant_id, count(*), count(property_id) FROM stormops.policy_decisions_log WHERE decided_at >= now() - interval '1 day' GROUP BY 1) AS p" |
    awk '/^Time:/ {sum += $2} END {print sum}'
}

health_checks() {
  super -c "UPDATE stormops.expectations SET judged_at = now() - interval '1 day'" \
    -c "UPDATE stormops_internal.health_progress SET reached_at = now() - interval '1 day'" -c 'VACUUM (ANALYZE) stormops.expectations' -c CHECKPOINT \
    -c '\timing on' -c 'SELECT * FROM stormops.run_health_checks()' | milliseconds
}

measure_health() {
  local round ours against short long
  say 'health …' >&2
  super -f "$here/health.sql" >/dev/null
  short=$(tenant_named 'Short History') long=$(tenant_named 'Long History')
  for ((round = 1; round <= rounds; round++)); do
    ours=$(dashboard "$long")
    note 'health dashboard, 10x the history / the same storm without' 1.5 "$ours" "$(dashboard "$short")"
    one_pass >/dev/null
    against=$(one_pass)
    ours=$(health_checks)
    note 'run_health_checks, 1,000 tenants, 2,000,000 new rows / one pass over them' 2.0 "$ours" "$against"
  done
}
