# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# attest() in processor time against that of version 0.1.0, which saw less. run.sh sources it and calls measure_attest after `start`.

attest() { # DATABASE: processor milliseconds, after it ran once
  db=$1 super -c 'SELECT count(*) FROM stormops.attest()' >/dev/null
  processor "$1" 'SET jit = off; SELECT count(*) FROM stormops.attest();'
}

measure_attest() {
  local round ours
  say 'attest …' >&2
  db=postgres super -c 'DROP DATABASE IF EXISTS bench_now' -c 'DROP DATABASE IF EXISTS bench_before' \
    -c 'CREATE DATABASE bench_now' -c 'CREATE DATABASE bench_before'
  db=bench_now super -c 'CREATE EXTENSION stormops' >/dev/null
  db=bench_before super -c "CREATE EXTENSION stormops VERSION '0.1.0'" >/dev/null
  for ((round = 1; round <= rounds; round++)); do
    ours=$(attest bench_now)
    note 'attest(), processor time / that of 0.1.0' 1.5 "$ours" "$(attest bench_before)"
  done
  db=postgres super -c 'DROP DATABASE bench_now' -c 'DROP DATABASE bench_before'
}
