#!/usr/bin/env bash
# Measures a transaction of login and one point lookup against the same with the tenant set by a trusted role, side by
# side, on a cluster of its own with 200,000 properties of two tenants. README.md explains it.
. "${BASH_SOURCE[0]%/*}/../.ci/lib.sh"
here=$root/bench work=$root/target/bench-login rounds=${STORMOPS_BENCH_ROUNDS:-5} clients=8 seconds=5

cluster() { "$root/.ci/cluster" "$1" "$work/cluster" "${@:2}"; }
super() { cluster psql -qAt -v ON_ERROR_STOP=1 -d "${db:-bench}" "$@"; }

start() {
  mkdir -p "$work"
  cluster clean
  trap 'cluster clean' EXIT
  cluster start
  cluster conf 'jit = off'
  cluster conf 'shared_buffers = 256MB'
  cluster restart
  db=postgres super -c 'CREATE DATABASE bench'
  super >/dev/null <<'SQL'
CREATE EXTENSION stormops;
CREATE ROLE bench_operator LOGIN;
CREATE ROLE bench_web LOGIN;
CREATE ROLE bench_app LOGIN;
SELECT stormops.grant_usage('bench_operator', 'operator'), stormops.grant_usage('bench_web', 'app'),
  stormops.grant_usage('bench_app', 'trusted_app'), stormops.create_signing_key();
SELECT stormops.provision_tenant(n || ' Roofing', 'standard', 'admin@' || lower(n) || '.example')
FROM unnest('{Alpha,Bravo}'::text[]) AS n;
SET session_replication_role = replica;
INSERT INTO stormops.properties (tenant_id, property_id, external_id, address, longitude, latitude, roof_material, building_value)
SELECT t.tenant_id, ('01900000-0000-7000-8000-' || 100000000000 + n)::uuid, 'HOUSE-' || n, n || ' Main Street', -93.6, 42, 'metal', 200000
FROM generate_series(1, 100000) AS n, stormops.tenants AS t;
SQL
  super -c 'VACUUM (FREEZE, ANALYZE)'
  bin=$("$root/.ci/cluster" bindir) socket=$(cluster socket)
  tenant=$(super -c "SELECT tenant_id FROM stormops.tenants WHERE org_name = 'Alpha Roofing'")
  token=$(super -U bench_operator -c "SELECT stormops.issue_token('$tenant', '$(super -c "SELECT user_id FROM stormops.users WHERE tenant_id = '$tenant'")', '1 day')")
  sed "s/@tenant@/$tenant/" "$here/login_trusted.sql" >"$work/login_trusted.sql"
}

pgbench() { # ROLE FILE: milliseconds of a transaction
  "$bin/pgbench" -h "$socket" -p 5432 -U "$1" -n -M prepared -c "$clients" -j 2 -T "$seconds" -f "$2" -D "token=$token" bench |
    awk '/^tps/ {print 1000 / $3}'
}

start
for ((round = 0; round <= rounds; round++)); do
  ours=$(pgbench bench_web "$here/login.sql")
  against=$(pgbench bench_app "$work/login_trusted.sql")
  ((round == 0)) || say "$ours $against"
done | awk '
  { ours[NR] = $1; against[NR] = $2; ratio[NR] = $1 / $2 }
  function median(list, n,    i, j, kept) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { kept = list[j]; list[j] = list[j - 1]; list[j - 1] = kept }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  END {
    m = median(ratio, NR)
    printf "login (EdDSA) and point lookup / tenant set by a trusted role, 8 clients: %.4f ms, %.4f ms, ratio %.2f (%s 4.0), noise %.2f .. %.2f of %d\n",
      median(ours, NR), median(against, NR), m, m <= 4 ? "<=" : "over", ratio[1], ratio[NR], NR
  }'
