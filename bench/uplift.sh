# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# Drift statistics and the uplift summary of 1,000,000 rows, against the mean and one sort of the same rows, and against
# the Python references. run.sh sources it and calls measure_uplift after `start`.

# timed QUERY: its milliseconds, after it ran once.
timed() { app -c "SET app.current_tenant = '$large'" -c "$1" -c '\timing on' -c "$1" | milliseconds; }
sum() { awk -v a="$1" -v b="$2" -v factor="$3" 'BEGIN {print factor * a + b}'; }

uplift_references() {
  local venv=$work/../venv-bench
  python_ready || return
  # scikit-uplift without what it asks for to plot.
  "$venv/bin/python" -c 'import psycopg2, scipy, sklearn' 2>/dev/null ||
    "$venv/bin/pip" install --quiet psycopg2-binary scipy==1.17.1 scikit-learn pandas || return
  [[ -e $(echo "$venv"/lib/python3*/site-packages/sklift/metrics) ]] || "$venv/bin/pip" install --quiet --no-deps scikit-uplift==0.5.1
}

measure_uplift() {
  local drift summary check mean sorted round budget
  say 'uplift …' >&2
  super -f "$here/uplift.sql" >/dev/null
  app -c "SET app.current_tenant = '$large'" -c "SELECT stormops.set_baseline('$storm')" >/dev/null
  drift='SELECT count(*) FROM (SELECT stormops.score_agg(uplift) AS a, stormops.score_agg(before) AS b FROM scored) AS s, stormops.drift(s.a, s.b)'
  summary='SELECT * FROM stormops.uplift_metrics((SELECT stormops.uplift_agg(uplift, treated, outcome, propensity) FROM scored))'
  check="SELECT * FROM stormops.check_uplift_distribution('$storm')"
  for ((round = 1; round <= rounds; round++)); do
    mean=$(timed 'SELECT avg(uplift), count(*) FROM scored')
    sorted=$(timed 'SELECT uplift FROM scored ORDER BY uplift OFFSET 999999')
    budget=$(sum "$mean" "$sorted" 2.5)
    note 'drift statistics of two columns, 1,000,000 rows / 2.5 × avg, count + one ORDER BY' 1.0 "$(timed "$drift")" "$budget"
    note 'uplift summary, 1,000,000 rows / 2.5 × avg, count + one ORDER BY' 1.0 "$(timed "$summary")" "$budget"
    mean=$(timed "SELECT avg(uplift), count(*) FROM stormops.lead_uplift WHERE storm_id = '$storm'")
    sorted=$(timed "SELECT uplift FROM stormops.lead_uplift WHERE storm_id = '$storm' ORDER BY uplift OFFSET 999999")
    note 'check_uplift_distribution, 1,000,000 scores / 2.5 × avg, count + one ORDER BY' 1.0 "$(timed "$check")" "$(sum "$mean" "$sorted" 2.5)"
    note 'drift statistics of 10,000 rows, ms / 5 ms' 1.0 "$(timed "${drift/FROM scored/FROM scored_small}")" 5
    note 'uplift summary of 10,000 rows, ms / 5 ms' 1.0 "$(timed "${summary/FROM scored/FROM scored_small}")" 5
  done
  if ! uplift_references >&2; then
    say 'no Python references: python3 cannot import or install scipy and scikit-uplift' >&2
    return
  fi
  read -r drift_python summary_python < <("$work/../venv-bench/bin/python" "$here/uplift_references.py" "$socket")
  note 'drift statistics, 1,000,000 rows / fetch and scipy' 0.1 "$(timed "$drift")" "$drift_python"
  note 'uplift summary, 1,000,000 rows / fetch and scikit-uplift, RATE in numpy' 0.1 "$(timed "$summary")" "$summary_python"
}
