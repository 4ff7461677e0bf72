#!/usr/bin/env bash
# Measures learn_uplift() on 100,000 decisions against EconML's and scikit-uplift's learners on the same rows and folds, side
# by side, on a cluster of its own. README.md explains it.
. "${BASH_SOURCE[0]%/*}/../.ci/lib.sh"
here=$root/bench work=$root/target/bench-learn rounds=${STORMOPS_BENCH_ROUNDS:-3} venv=${STORMOPS_BENCH_VENV:-$root/target/venv-learn}

cluster() { "$root/.ci/cluster" "$1" "$work/cluster" "${@:2}"; }
super() { cluster psql -qAt -v ON_ERROR_STOP=1 -d "${db:-bench}" "$@"; }
app() { super -U bench_app -c "SET app.current_tenant = '$tenant'" "$@"; }

python_ready() {
  [[ -x $venv/bin/python ]] || python3 -m venv "$venv" || return
  "$venv/bin/python" -c 'import econml, sklift, lightgbm, psycopg2' 2>/dev/null ||
    "$venv/bin/pip" install --quiet psycopg2-binary econml==0.17.0 lightgbm==4.6.0 scikit-uplift==0.5.1
}

python_ready >&2 || fail "connect this machine to its Python package index, then run this again"
mkdir -p "$work"
cluster clean
trap 'cluster clean' EXIT
cluster start
for line in 'jit = off' 'shared_buffers = 512MB' 'max_wal_size = 4GB' 'autovacuum = off'; do cluster conf "$line"; done
cluster restart
db=postgres super -f "$here/learn.sql" >/dev/null
tenant=$(super -c 'SELECT tenant_id FROM stormops.tenants')
for ((round = 1; round <= rounds; round++)); do
  app -F '|' -c '\timing on' -c "SELECT 'learn_uplift', autoc, autoc_se, qini_area FROM stormops.learn_uplift('round $round',
    '{building_age,roof_age,building_value,roof_style,roof_material}', include_open => true)" |
    awk '/^learn_uplift/ {row = $0} /^Time:/ {print row "|" $2}'
  OMP_NUM_THREADS=1 "$venv/bin/python" "$here/learn_references.py" "$(cluster socket)" "$tenant"
done | awk -F '|' '
  { n[$1]++; autoc[$1] = $2; se[$1] = $3; area[$1] = $4; if (!($1 in least) || $5 < least[$1]) least[$1] = $5 }
  END {
    for (learner in n) printf "%-36s AUTOC %.5f (%.5f)  Qini x1000 %.3f  %8.0f ms, best of %d\n", learner, autoc[learner], se[learner], 1000 * area[learner], least[learner], n[learner]
    ratio = least["learn_uplift"] / least["econml LinearDML"]
    printf "learn_uplift / econml LinearDML: ratio %.3f (%s 0.1)\n", ratio, ratio <= 0.1 ? "<=" : "over"
  }'
