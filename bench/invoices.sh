# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# An invoice run over 10,000 tenants with twelve months of rollups, against the GROUP BY over those. run.sh sources it and
# calls measure_invoices after `start`.

group_rollups() { # CONDITION: milliseconds of the GROUP BY over the rollups of the tenants that are invoiced
  super -c '\timing on' -c "SELECT count(*) FROM (
    SELECT r.tenant_id, r.metric_name, sum(r.quantity), sum(r.event_count) FROM stormops.usage_rollups AS r
    JOIN stormops.tenants AS t ON t.tenant_id = r.tenant_id AND t.name_key LIKE 'invoiced %' WHERE $1 GROUP BY 1, 2) AS g" | milliseconds
}
invoice_run() { super -U bench_operator -c '\timing on' -c "SELECT * FROM stormops.generate_invoices('$1')" | milliseconds; }

measure_invoices() {
  local round ours
  say 'invoices …' >&2
  super -f "$here/invoices.sql" >/dev/null
  # Each round drafts another month; the tenants of the other benchmarks were not there then.
  for ((round = 1; round <= rounds && round <= 3; round++)); do
    ours=$(invoice_run "2023-0$round")
    note 'invoice run, 10,000 tenants / GROUP BY over their rollups of 12 months' 3.0 "$ours" "$(group_rollups true)"
    note 'invoice run, 10,000 tenants / GROUP BY over the 12 monthly rows of each metric alone' '' "$ours" "$(group_rollups "r.grain = 'month'")"
  done
}
