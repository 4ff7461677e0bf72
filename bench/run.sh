#!/usr/bin/env bash
# Measures the budgets on a durable cluster of its own and prints one table; README.md explains it. Not a test: a
# missed budget is printed as `over`. STORMOPS_BENCH_ROUNDS (default 5): how often each pair is measured.
#   bench/run.sh [apply] [decisions] [guardrails] [queries] [log] [uplift] [models] [valuation] [metering] [invoices] [health]
#                [install] [attest] [held] [memory]    those parts; without any, all
. "${BASH_SOURCE[0]%/*}/../.ci/lib.sh"
here=$root/bench work=$root/target/bench rounds=${STORMOPS_BENCH_ROUNDS:-5}
storm=01000000-0000-7000-8000-000000000001 small_storm=01000000-0000-7000-8000-000000000002
apply="SELECT * FROM stormops.apply_policy(:'storm', supersede => true)"
export STORMOPS_FSYNC=on
all=(apply decisions guardrails queries log uplift models valuation metering invoices health install attest held memory)
parts=("$@")
((${#parts[@]})) || parts=("${all[@]}")
for part in "${parts[@]}"; do
  [[ " ${all[*]} " == *" $part "* ]] || fail "no part of the benchmark: $part (there are: ${all[*]})"
done
# shellcheck source=bench/log.sh
. "$here/log.sh"
# shellcheck source=bench/decisions.sh
. "$here/decisions.sh"
# shellcheck source=bench/uplift.sh
. "$here/uplift.sh"
# shellcheck source=bench/guardrails.sh
. "$here/guardrails.sh"
# shellcheck source=bench/valuation.sh
. "$here/valuation.sh"
# shellcheck source=bench/models.sh
. "$here/models.sh"
# shellcheck source=bench/metering.sh
. "$here/metering.sh"
# shellcheck source=bench/invoices.sh
. "$here/invoices.sh"
# shellcheck source=bench/health.sh
. "$here/health.sh"
# shellcheck source=bench/install.sh
. "$here/install.sh"
# shellcheck source=bench/attest.sh
. "$here/attest.sh"
# shellcheck source=bench/held.sh
. "$here/held.sh"

cluster() { "$root/.ci/cluster" "$1" "$work/cluster" "${@:2}"; }
super() { cluster psql -qAt -v ON_ERROR_STOP=1 -d "${db:-bench}" "$@"; }
app() { super -U bench_app "$@"; }
tenant_named() { super -c "SELECT tenant_id FROM stormops.tenants WHERE org_name = '$1'"; }
# note WHAT BUDGET OURS AGAINST: one pair of measurements, in milliseconds.
note() { (IFS='|' && say "$*" >>"$work/results"); }
# The last time that psql measured.
milliseconds() { awk '/^Time:/ {time = $2} END {print time}'; }
# A checkpoint, so that nobody writes another's pages.
settle() { super -c 'TRUNCATE bare' -c CHECKPOINT; }

start() {
  mkdir -p "$work"
  rm -f "$work/results" "$work/plans"
  cluster clean
  trap 'cluster clean' EXIT
  cluster start
  local line
  # No compiling of queries: it costs both sides the same, and so would hide a difference.
  for line in 'shared_buffers = 1GB' 'max_wal_size = 8GB' 'checkpoint_timeout = 1h' 'autovacuum = off' 'jit = off'; do
    cluster conf "$line"
  done
  cluster restart
  bin=$("$root/.ci/cluster" bindir) socket=$(cluster socket)
  db=postgres super -c 'CREATE DATABASE bench' -c 'CREATE ROLE bench_operator LOGIN' -c 'CREATE ROLE bench_app LOGIN'
  local part
  for part in "${parts[@]}"; do
    [[ $part == @(attest|held|install) ]] || needs_load=1 # those make what they need
  done
  ((needs_load)) || return 0
  say 'loading 1,500,000 properties of three tenants …' >&2
  super -f "$here/load.sql" >/dev/null
  large=$(tenant_named 'Large Roofing') medium=$(tenant_named 'Medium Roofing') small=$(tenant_named 'Small Roofing')
}

# --- apply_policy -----------------------------------------------------------------------------------------------

apply_as() { app -v storm="$2" -c "SET app.current_tenant = '$1'" -f <(say '\timing on' && say "$apply;"); }
by_hand() { super -v tenant="$large" -v storm="$storm" -c '\timing on' -f "$here/by_hand.sql"; }
bare() { super -c '\timing on' -c 'INSERT INTO bare SELECT * FROM decided'; }
control_plane() { "$work/../venv-bench/bin/python" "$here/control_plane.py" "$socket" "$large" "$storm"; }

python_ready() {
  local venv=$work/../venv-bench
  [[ -x $venv/bin/python ]] || python3 -m venv "$venv" || return
  "$venv/bin/python" -c 'import psycopg2' 2>/dev/null || "$venv/bin/pip" install --quiet psycopg2-binary
}

measure_apply() {
  local round ours against python=
  say 'apply_policy …' >&2
  if python_ready >&2; then
    python=1
  else
    say 'no Python control plane: python3 cannot import or install psycopg2' >&2
  fi
  # The others' runs first: their keys stand behind those of the tenant that is measured, as in a log of many tenants.
  apply_as "$medium" "$storm" >/dev/null
  apply_as "$small" "$storm" >/dev/null
  apply_as "$large" "$storm" >/dev/null
  super -c "CREATE TABLE decided AS SELECT l.* FROM stormops.policy_decisions_log AS l
    JOIN stormops.policy_runs AS r USING (tenant_id, run_id) WHERE r.superseded_at IS NULL AND tenant_id = '$large'"
  super -c 'VACUUM (FREEZE, ANALYZE)'
  for ((round = 1; round <= rounds; round++)); do
    settle
    ours=$(apply_as "$large" "$storm" | milliseconds)
    settle
    against=$(bare | milliseconds)
    note 'apply_policy, 1,000,000 / INSERT … SELECT of the decided rows, bare table' 1.0 "$ours" "$against"
    settle
    against=$(by_hand | milliseconds)
    note 'apply_policy, 1,000,000 / INSERT … SELECT by hand from its sources, bare table' '' "$ours" "$against"
    if ((round > 3)) || [[ -z $python ]]; then continue; fi # it takes its time
    settle
    against=$(control_plane)
    note 'apply_policy, 1,000,000 / control plane in Python, bare table' 0.1 "$ours" "$against"
  done
}

# --- tenant-scoped queries --------------------------------------------------------------------------------------

# The same query twice: under row security, and with the tenant written into it for a role outside row security, an
# ordinary one otherwise, since a superuser is also spared the look at the table's grants.
prepare() {
  sed -E "s/@tenant@/$medium/; s/:mine\([a-z]+\)/true/g" "$here/enter.sql" "$here/$1.sql" >"$work/ours.sql"
  sed -E "s/:mine\(([a-z]+)\)/\1.tenant_id = '$medium'/g" "$here/enter.sql" "$here/$1.sql" >"$work/against.sql"
}

pgbench() { # ROLE FILE SET-CONTEXT OPTION...: milliseconds of a transaction
  PGOPTIONS="-c max_parallel_workers_per_gather=$workers" "$bin/pgbench" -h "$socket" -p 5432 -U "$1" -n -M prepared \
    -f "$work/$2.sql" -D "new=$3" "${@:4}" bench | awk '/^tps/ {print 1000 / $3}'
}

# The nodes of a plan, one after the other, without what is computed once before it.
shape() { # ROLE FILE [COMMAND]
  local query
  query=$(awk '/^\\/ {q = ""; next} {q = q " " $0} END {print q}' "$work/$2.sql")
  super -U "$1" -c "SET max_parallel_workers_per_gather = $workers" ${3:+-c "$3"} \
    -c "EXPLAIN (COSTS OFF) ${query//:number/100000000001}" |
    sed -E '/^ *InitPlan/,/Result$/d; /^ *[A-Z][A-Za-z ]*: /d; s/^ *(->)? *//' |
    paste -sd '>' | sed 's/>/ > /g'
}

measure_query() { # FILE WORKERS ROUNDS WHAT OPTION...
  local workers=$2 round ours against
  prepare "$1"
  say "$4 …" >&2
  ours=$(shape bench_app ours "SET app.current_tenant = '$medium'") against=$(shape bench_bypass against)
  if [[ $ours == "$against" ]]; then
    say "$4: both plans are $ours" >>"$work/plans"
  else
    say "$4: plans DIFFER: under row security $ours; with a literal $against" >>"$work/plans"
  fi
  for ((round = 0; round <= $3; round++)); do
    ours=$(pgbench bench_app ours 1 "${@:5}")
    against=$(pgbench bench_bypass against 0 "${@:5}")
    ((round == 0)) || note "$4 under RLS / with a literal tenant_id, no RLS" 1.10 "$ours" "$against"
  done
}

# --- memory -----------------------------------------------------------------------------------------------------

# Small shared buffers, since VmHWM counts those that a backend has touched.
peak_memory() { # STORM
  app -v storm="$1" -f <(
    say "SET app.current_tenant = '$large';"
    say 'SELECT pg_backend_pid() AS pid \gset'
    say '\setenv pid :pid'
    say "$apply \\g /dev/null"
    say "\\! awk '/^VmHWM/ {printf \"%.1f MB\", \$2 / 1024}' \"/proc/\$pid/status\""
  )
}

load() { uptime | sed 's/.*load average: //'; }

measure_queries() {
  measure_query scan 0 $((2 * rounds)) 'scan with aggregate, serial' -t 3
  measure_query scan 2 $((2 * rounds)) 'scan with aggregate, parallel' -t 3
  measure_query join 0 $((2 * rounds)) 'join, serial' -t 2
  measure_query join 2 $((2 * rounds)) 'join, parallel' -t 2
  measure_query lookup 0 $((6 * rounds)) 'point lookup, 4 clients' -c 4 -t 5000
}

measure_memory() {
  say 'memory …' >&2
  cluster conf 'shared_buffers = 16MB'
  cluster restart
  memory="peak memory of the backend in apply_policy (VmHWM, of which 16 MB shared): $(peak_memory "$small_storm") for \
100,000 properties, $(peak_memory "$storm") for 1,000,000"
}

before=$(load) memory='' needs_load=0
start
for part in "${parts[@]}"; do
  "measure_$part"
done

[[ ! -e $work/results ]] || cluster psql -q -d bench -P footer=off -f "$here/report.sql" <"$work/results"
[[ ! -e $work/plans ]] || cat "$work/plans"
say "load average, over 1, 5 and 15 minutes: $before before, $(load) after, on $(nproc) processors"
[[ -z $memory ]] || say "$memory"
