# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# CREATE EXTENSION in processor time, as a server has it by default (with JIT), and install() with twice the tables of
# one's own under protect(). run.sh sources it and calls measure_install after `start`.

# Processor milliseconds of a statement in a session of its own, without those of the session's start.
processor() { # DATABASE STATEMENT
  db=$1 super -c 'SET jit = on' -f <(
    # shellcheck disable=SC2016 # psql's own shell command
    say 'SELECT pg_backend_pid() AS pid \gset
\setenv pid :pid
\! awk '"'"'{print $14 + $15}'"'"' /proc/$pid/stat
\o /dev/null
'"$2"'
\o
\! awk '"'"'{print $14 + $15}'"'"' /proc/$pid/stat'
  ) | awk -v ticks="$(getconf CLK_TCK)" 'NR == 1 {before = $1} END {print ($1 - before) * 1000 / ticks}'
}

protect_tables() { # FROM TO
  db=bench_install super -c "DO \$\$ BEGIN
    FOR i IN $1..$2 LOOP
      EXECUTE format('CREATE TABLE own_%s (tenant_id uuid NOT NULL, own_id uuid, PRIMARY KEY (tenant_id, own_id))', i);
      PERFORM stormops.protect(('own_' || i)::regclass);
    END LOOP; END \$\$"
}

measure_install() {
  local round alone fifty hundred
  say 'install …' >&2
  for ((round = 1; round <= rounds; round++)); do
    db=postgres super -c 'DROP DATABASE IF EXISTS bench_install' -c 'CREATE DATABASE bench_install'
    note 'CREATE EXTENSION, processor time / 800 ms' 1.0 "$(processor bench_install 'CREATE EXTENSION stormops;')" 800
    alone=$(processor bench_install 'SELECT stormops.install();')
    protect_tables 1 50
    fifty=$(processor bench_install 'SELECT stormops.install();')
    protect_tables 51 100
    hundred=$(processor bench_install 'SELECT stormops.install();')
    note 'install(), what a second fifty tables add / what the first fifty do' 1.5 \
      "$(awk "BEGIN {print $hundred - $fifty}")" "$(awk "BEGIN {print $fifty - $alone}")"
  done
  db=postgres super -c 'DROP DATABASE bench_install'
}
