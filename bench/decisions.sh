# shellcheck shell=bash disable=SC2154
# What bench/run.sh measures of apply_policy() beyond its usual case. Read by it.

# The last time that psql measured, of a run in a mode, of a session's second call.
decide() { # TENANT STORM MODE
  app -v storm="$2" -c "SET app.current_tenant = '$1'" -f <(
    say '\timing on' && say "SELECT * FROM stormops.apply_policy(:'storm', '$3', supersede => true);"
  ) | milliseconds
}

# The rows of a tenant's current run of a storm, as a plain table to insert from.
rows_of() { # TENANT STORM TABLE
  super -c "DROP TABLE IF EXISTS $3" -c "CREATE TABLE $3 AS SELECT l.* FROM stormops.policy_decisions_log AS l
    JOIN stormops.policy_runs AS r USING (tenant_id, run_id)
    WHERE r.superseded_at IS NULL AND tenant_id = '$1' AND r.storm_id = '$2'" -c "VACUUM (FREEZE, ANALYZE) $3"
}

insert_of() { super -c '\timing on' -c "INSERT INTO bare SELECT * FROM $1" | milliseconds; }

pair() { # WHAT BUDGET TENANT STORM MODE TABLE
  local ours
  settle
  ours=$(decide "$3" "$4" "$5")
  settle
  note "$1" "$2" "$ours" "$(insert_of "$6")"
}

measure_decisions() {
  local round worst huge small_one=01000000-0000-7000-8000-000000000003 bytes
  say 'decisions …' >&2
  super -v huge="${STORMOPS_BENCH_HUGE:-0}" -f "$here/decisions.sql" >/dev/null
  worst=$(tenant_named 'Worst Roofing') huge=$(tenant_named 'Huge Roofing')
  decide "$large" "$storm" moderate >/dev/null
  rows_of "$large" "$storm" decided_large
  decide "$worst" "$storm" moderate >/dev/null
  rows_of "$worst" "$storm" decided_worst
  bytes=$(super -c "SELECT format('%s bytes a decision on disk, scores in order; %s, in random order with money of their own',
    (SELECT round(sum(pg_column_size(b.*)::numeric + 52) / sum(n) + 2, 1) FROM stormops.policy_decision_blocks AS b WHERE tenant_id = '$large'),
    (SELECT round(sum(pg_column_size(b.*)::numeric + 52) / sum(n) + 2, 1) FROM stormops.policy_decision_blocks AS b WHERE tenant_id = '$worst'))")
  if [[ ${STORMOPS_BENCH_HUGE:-0} != 0 ]]; then
    decide "$huge" "$storm" moderate >/dev/null
    rows_of "$huge" "$storm" decided_huge
  fi
  for ((round = 1; round <= rounds; round++)); do
    pair 'apply_policy, 1,000,000 / INSERT … SELECT of the decided rows, bare table' 1.0 "$large" "$storm" moderate decided_large
    pair 'apply_policy, 1,000,000 under a capacity / the same' 1.0 "$large" "$storm" capacity decided_large
    pair 'apply_policy, 1,000,000 at worst / the same' 1.6 "$worst" "$storm" moderate decided_worst
    note 'apply_policy, 3,000, the second of a session / 20 ms' 1.0 "$(
      app -v storm="$small_one" -c "SET app.current_tenant = '$worst'" -f <(
        say "$apply;" && say '\timing on' && say "$apply;"
      ) | milliseconds
    )" 20
    if [[ ${STORMOPS_BENCH_HUGE:-0} != 0 ]]; then
      pair 'apply_policy, 10,000,000 / the same' 1.2 "$huge" "$storm" moderate decided_huge
    fi
  done
  say "$bytes" >>"$work/plans"
}
