#!/usr/bin/env bash
# Export and import of a tenant against COPY of the same rows, and the erasure of one tenant among many against that of one
# alone. On a durable cluster of its own; README.md explains it. STORMOPS_BENCH_ROWS (default 1000000): rows of the tenant,
# half of them properties and half scores; STORMOPS_BENCH_TENANTS (default 1000); STORMOPS_BENCH_ROUNDS (default 3).
. "${BASH_SOURCE[0]%/*}/../.ci/lib.sh"
work=$root/target/bench/portability rows=${STORMOPS_BENCH_ROWS:-1000000} tenants=${STORMOPS_BENCH_TENANTS:-1000}
rounds=${STORMOPS_BENCH_ROUNDS:-3}
export STORMOPS_FSYNC=on
raw="(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"

cluster() { "$root/.ci/cluster" "$1" "$work/cluster" "${@:2}"; }
super() { cluster psql -qAt -v ON_ERROR_STOP=1 -d "${db:-bench}" "$@"; }
# The sum of what psql measured.
milliseconds() { awk '/^Time:/ {time += $2} END {printf "%.0f\n", time}'; }
ratio() { awk -v what="$1" -v ours="$2" -v against="$3" 'BEGIN {printf "%-52s %9d ms %9d ms   %.2f\n", what, ours, against, ours / against}'; }

mkdir -p "$work"
cluster clean
trap 'cluster clean; rm -f "$work"/*.jsonl "$work"/*.copy' EXIT
cluster start
for line in 'shared_buffers = 512MB' 'max_wal_size = 8GB' 'checkpoint_timeout = 1h' 'autovacuum = off' 'jit = off'; do
  cluster conf "$line"
done
cluster restart

database() {
  db=postgres super -c "DROP DATABASE IF EXISTS $1" -c "CREATE DATABASE $1"
  db=$1 super -c 'CREATE EXTENSION stormops' -c "SELECT stormops.grant_usage('bench_operator', 'operator'), stormops.grant_usage('bench_app', 'trusted_app')" >/dev/null
}
provision() { super -U bench_operator -c "SELECT tenant_id FROM stormops.provision_tenant('$1', 'standard', 'a@b.example')"; }
fill() { # TENANT ROWS: a storm, and half as many properties, each with a score; without the triggers of foreign keys
  super -c 'SET session_replication_role = replica' -c "INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) VALUES ('$1', '01000000-0000-7000-8000-000000000001', 'A', 'Hail');
    INSERT INTO stormops.properties (tenant_id, property_id, external_id, address, longitude, latitude, year_built)
    SELECT '$1', md5('p' || i)::uuid, 'HOUSE-' || i, i || ' Main Street, Ames, Iowa', -93.6 - random() / 10, 42 + random() / 10, 1900 + i % 110 FROM generate_series(1, $2 / 2) AS i;
    INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd)
    SELECT '$1', '01000000-0000-7000-8000-000000000001', md5('p' || i)::uuid, 'v1', random() / 3, 0.05 FROM generate_series(1, $2 / 2) AS i"
}

db=postgres super -c 'CREATE ROLE bench_operator LOGIN' -c 'CREATE ROLE bench_app LOGIN'
database bench
say "loading $rows rows …" >&2
tenant=$(provision 'Large Roofing')
fill "$tenant" "$rows"
super -c ANALYZE -c CHECKPOINT

say "$(printf '%-52s %12s %12s   %s' "$rows rows" ours against ratio)"
for ((round = 1; round <= rounds; round++)); do
  ours=$(super -U bench_app -c "BEGIN; SET LOCAL app.current_tenant = '$tenant'" -c '\timing on' \
    -c "\\copy (SELECT stormops.export_tenant_rows()) TO '$work/a.jsonl' WITH $raw" | milliseconds)
  against=$(for table in storms properties lead_uplift; do
    super -c '\timing on' -c "\\copy (SELECT * FROM stormops.$table WHERE tenant_id = '$tenant') TO '$work/$table.copy'"
  done | milliseconds)
  ratio 'export_tenant_rows() / COPY TO of its three tables' "$ours" "$against"

  database target
  db=target super -c CHECKPOINT
  ours=$(db=target super -U bench_operator -c 'CREATE TEMP TABLE lines (n bigint GENERATED ALWAYS AS IDENTITY, line text)' -c '\timing on' \
    -c "\\copy lines (line) FROM '$work/a.jsonl' WITH $raw" -c 'SELECT stormops.import_tenant_rows(line ORDER BY n) FROM lines' | milliseconds)
  database target
  db=target super -c "INSERT INTO stormops.tenants (tenant_id, org_name, name_key, tier) VALUES ('$tenant', 'x', 'x', 'standard')" -c CHECKPOINT
  against=$(for table in storms properties lead_uplift; do
    db=target super -c '\timing on' -c "\\copy stormops.$table FROM '$work/$table.copy'"
  done | milliseconds)
  ratio 'lines and import_tenant_rows() / COPY FROM' "$ours" "$against"
done
db=postgres super -c 'DROP DATABASE target'

erase() { # TENANT: milliseconds of all calls
  super -U bench_operator -c "SELECT stormops.close_tenant('$1', 'gone')" >/dev/null
  local done=f
  while [[ $done == f ]]; do
    super -U bench_operator -c '\timing on' -c "SELECT done FROM stormops.erase_tenant('$1')" | tee "$work/step"
    done=$(head -n 1 "$work/step")
  done | milliseconds
}
database alone
db=alone
one=$(provision 'Alone Roofing')
fill "$one" 10000
super -c ANALYZE -c CHECKPOINT
against=$(erase "$one")
database many
db=many
say "loading $tenants tenants of 1000 rows …" >&2
super -c "DO \$\$ BEGIN FOR i IN 1..$tenants LOOP PERFORM stormops.provision_tenant('Company ' || i, 'standard', 'a@b.example'); END LOOP; END \$\$"
super -c 'SET session_replication_role = replica' -c "INSERT INTO stormops.properties (tenant_id, property_id, address) SELECT t.tenant_id, md5('p' || i)::uuid, i || ' Main Street' FROM generate_series(1, 500) AS i, stormops.tenants AS t"
super -c 'SET session_replication_role = replica' -c "INSERT INTO stormops.lead_uplift (tenant_id, storm_id, property_id, model_version, uplift, uplift_sd)
  SELECT t.tenant_id, '01000000-0000-7000-8000-000000000001', md5('p' || i)::uuid, 'v1', random() / 3, 0.05 FROM generate_series(1, 500) AS i, stormops.tenants AS t"
super -c 'SET session_replication_role = replica' -c "INSERT INTO stormops.storms (tenant_id, storm_id, event_id, name) SELECT t.tenant_id, '01000000-0000-7000-8000-000000000001', 'A', 'Hail' FROM stormops.tenants AS t"
one=$(provision 'One Roofing')
fill "$one" 10000
super -c ANALYZE -c CHECKPOINT
ratio "erase_tenant(), 10000 rows beside $tenants tenants / alone" "$(erase "$one")" "$against"
say "load average: $(uptime | sed 's/.*load average: //'), on $(nproc) processors"
