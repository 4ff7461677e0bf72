# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# The decision log read as rows, against the same rows in a table under the same rules; and outcomes recorded, against an
# insert of them. run.sh sources it and calls measure_log after `start`.

# timed_log QUERY: its milliseconds, after it ran once.
timed_log() { app -c "SET app.current_tenant = '$large'" -c "$1" -c '\timing on' -c "$1" | milliseconds; }

lookup_log() { # FROM: milliseconds of a look-up of one property of the run
  say "\\if :new
SELECT set_config('app.current_tenant', '$large', false);
\\set new 0
\\endif
\\set number random(100000000001, 100001000000)
SELECT * FROM $1 WHERE run_id = '$run' AND property_id = ('01900000-0000-7000-8000-' || :number::text)::uuid;" >"$work/one.sql"
  workers=0 pgbench bench_app one 1 -c 1 -t 3000
}

measure_log() {
  local round ours against run
  say 'decision log …' >&2
  # Alone, this part applies a policy first.
  [[ $(super -c "SELECT count(*) FROM stormops.policy_runs WHERE tenant_id = '$large'") != 0 ]] || apply_as "$large" "$storm" >/dev/null
  super -f "$here/log.sql" >/dev/null
  run=$(super -c 'SELECT run_id FROM sent')
  for ((round = 1; round <= rounds; round++)); do
    ours=$(lookup_log stormops.policy_decisions_log)
    note 'one decision of a run of 1,000,000, of the log / of a table of rows, both under RLS' 2.0 "$ours" "$(lookup_log public.decided_rows)"
    ours=$(timed_log "SELECT count(*), count(decision), sum(score), sum(value), min(propensity) FROM stormops.policy_decisions_log WHERE run_id = '$run'")
    against=$(timed_log "SELECT count(*), count(decision), sum(score), sum(value), min(propensity) FROM public.decided_rows WHERE run_id = '$run'")
    note 'all 1,000,000 decisions of a run, of the log / of a table of rows, both under RLS' 1.2 "$ours" "$against"
    super -c 'TRUNCATE stormops.policy_outcomes, judged, bare_outcomes' -c CHECKPOINT
    ours=$(app -c "SET app.current_tenant = '$large'" -c '\timing on' \
      -c "SELECT stormops.record_outcomes('$storm', (SELECT outcomes FROM sent))" | milliseconds)
    super -c 'INSERT INTO judged TABLE stormops.policy_outcomes' -c 'VACUUM (FREEZE, ANALYZE) judged' -c CHECKPOINT
    against=$(super -c '\timing on' -c 'INSERT INTO bare_outcomes TABLE judged' | milliseconds)
    note 'record_outcomes, 50,000 / INSERT of the judged rows, bare table with the same keys' 2.0 "$ours" "$against"
  done
}
