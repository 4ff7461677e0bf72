#!/usr/bin/env bash
# Runs examples/demo.sql in a fresh database of the cluster that `make demo` has started.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

export PGOPTIONS='-c client_min_messages=warning'
.ci/cluster psql target/demo -Xq -d postgres -c 'DROP DATABASE IF EXISTS demo' -c 'CREATE DATABASE demo'
.ci/cluster psql target/demo -Xq -d demo -v ON_ERROR_STOP=1 -f examples/demo.sql 2>&1

cat <<END

To go on, work as the roofing companies' application does:

    psql -h $(.ci/cluster socket target/demo) -U demo_app demo

    BEGIN;
    SELECT enter_tenant('$(.ci/cluster psql target/demo -XAtq -U demo_operator -d demo \
  -c 'SELECT tenant_id FROM stormops.list_tenants() LIMIT 1')');
    SELECT * FROM storm_results;
    COMMIT;
    \\df+ stormops.*
END
