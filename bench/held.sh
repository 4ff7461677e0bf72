# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# What an open transaction of a tenant costs the runs of the platform: each run beside each of them, against its usual
# time. run.sh sources it and calls measure_held after `start`.

# Role of the session, role within the tenant, what it holds.
held=(
  "bench_web||INSERT INTO stormops.tenant_usage (metric_name, metric_value) SELECT 'model_call', 1 WHERE false"
  "bench_web||INSERT INTO stormops.storms (event_id, name) SELECT 'x', 'x' WHERE false"
  'bench_app|crew_chief|SELECT stormops.acknowledge_alert(alert_id) FROM stormops.alerts WHERE resolved_at IS NULL'
  'bench_app|crew_chief|SELECT FROM stormops.run_health_checks(complete => true)'
  "bench_app|admin|SELECT stormops.add_user('held@holding.example', 'viewer')"
  'bench_app|viewer|SELECT count(*) FROM stormops.storms'
  'bench_app|admin|SELECT count(*) FROM stormops.tenant_usage, stormops.policy_decisions'
  "bench_app|viewer|SELECT stormops.record_usage('model_call', 1), stormops.record_usage('storage_mb', 1)"
  "bench_app|crew_chief|INSERT INTO stormops.storms (event_id, name) VALUES ('held', 'Held')"
)
# Name, and the most that it may take beyond its usual time.
platform_runs=(
  'rollup_usage()|2000' 'run_health_checks(complete => true)|2000' "run_job('health_checks')|2000" 'expire_trials()|2000'
  "generate_invoices('2024-01')|2000" 'maintain_partitions(6)|2000' "set_tier_quota('enterprise', 'model_call', 1000)|2000"
  'measure_storage()|2000' "recount_rows('storms')|2000" 'deliver_alerts()|2000'
  "drop_usage_before('2010-01-01')|2000" "drop_decisions_before('2010-01-01')|2000"
  "suspend_tenant((SELECT tenant_id FROM stormops.list_tenants() WHERE org_name = 'Holding Roofing'), 'unpaid')|1000"
  "reactivate_tenant((SELECT tenant_id FROM stormops.list_tenants() WHERE org_name = 'Holding Roofing'))|2000"
)

# Each run's milliseconds, in their order. One that says that a table is in use is timed as well.
time_runs() {
  local run
  {
    say '\timing on'
    for run in "${platform_runs[@]}"; do say "SELECT count(*) FROM stormops.${run%|*};"; done
  } | db=bench_held super -U bench_operator -v ON_ERROR_STOP=0 2>/dev/null | awk '/^Time:/ {print $2}'
}

hold() { # SESSION-ROLE ROLE STATEMENT: until its standard input ends
  {
    [[ -z $2 ]] || say "SET app.current_tenant = '$holding'; SET app.current_user_id = '$(
      db=bench_held super -c "SELECT user_id FROM stormops.users WHERE tenant_id = '$holding' AND role = '$2' LIMIT 1"
    )';"
    say "BEGIN; $3;" '\echo held'
    cat
  } | db=bench_held super -U "$1" -o /dev/null
}

measure_held() {
  local each kind role statement line i=0 usual beside=() worst=() run
  say 'transactions held open …' >&2
  db=postgres super -c 'DROP DATABASE IF EXISTS bench_held' -c 'CREATE DATABASE bench_held' -c 'CREATE ROLE bench_web LOGIN'
  db=bench_held super -f "$here/held.sql" >/dev/null
  holding=$(db=bench_held super -c "SELECT tenant_id FROM stormops.tenants WHERE org_name = 'Holding Roofing'")
  time_runs >/dev/null
  mapfile -t usual < <(time_runs)
  for each in "${held[@]}"; do
    IFS='|' read -r kind role statement <<<"$each"
    coproc holder { hold "$kind" "$role" "$statement"; }
    read -r line <&"${holder[0]}" || true
    [[ $line == held ]] || fail "not held: $statement"
    mapfile -t beside < <(time_runs)
    for i in "${!platform_runs[@]}"; do
      worst[i]=$(awk "BEGIN {w = ${beside[i]} - ${usual[i]}; print (w > ${worst[i]:-0}) ? w : ${worst[i]:-0}}")
    done
    eval "exec ${holder[1]}>&-"
    wait "$holder_PID" || true
  done
  for i in "${!platform_runs[@]}"; do
    run=${platform_runs[i]}
    note "${run%%(*}() beside a transaction that a tenant holds open: beyond its usual time, at worst / ${run##*|} ms" 1.0 "${worst[i]}" "${run##*|}"
  done
  db=postgres super -c 'DROP DATABASE bench_held WITH (FORCE)'
}
