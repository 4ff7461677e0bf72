# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# Metering: single events, a million at once, rollups and what a longer history costs them. run.sh sources it and calls
# measure_metering after `start`.

usage_into() { # TABLE SESSION N: milliseconds of N events in one statement
  "$2" -c "SET app.current_tenant = '$large'" -c '\timing on' -c "INSERT INTO $1
    (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
    SELECT '$large', stormops.new_id(), 'model_call', u.value, u.dimensions, '$RANDOM$RANDOM-' || u.n, u.at FROM incoming AS u WHERE u.n <= $3" |
    milliseconds
}
# The same array, taken apart into the bare table.
take_apart() {
  super -c '\timing on' -c "INSERT INTO bare_usage (tenant_id, usage_id, metric_name, metric_value, dimensions, idempotency_key, recorded_at)
    SELECT '$large', stormops.new_id(), o.metric_name, o.value, o.dimensions, o.idempotency_key, o.at FROM incoming_json,
      jsonb_to_recordset(events) AS o (metric_name text, value numeric, dimensions jsonb, idempotency_key text, at timestamptz)" | milliseconds
}
batch() {
  app -c "SET app.current_tenant = '$large'" -c '\timing on' -c "SELECT stormops.record_usages(events) FROM incoming_json" | milliseconds
}
roll_up() { super -U bench_operator -c '\timing on' -c 'SELECT * FROM stormops.rollup_usage()' | milliseconds; }
# The one GROUP BY that computes the hours of what is new.
group_new() {
  super -c '\timing on' -c "SELECT count(*) FROM (
    SELECT tenant_id, metric_name, date_trunc('hour', recorded_at, 'UTC'), dimensions ->> 'model',
      sum(metric_value), max(metric_value), count(*)
    FROM stormops.tenant_usage AS e WHERE EXISTS (
      SELECT FROM stormops.usage_batches AS b WHERE b.tenant_id = e.tenant_id AND b.batch_id = e.batch_id AND b.mark IS NULL)
    GROUP BY 1, 2, 3, 4) AS g" | milliseconds
}
# Both sides begin with empty tables, and with nothing left to write of another's.
empty() { super -c 'TRUNCATE bare_usage, stormops.tenant_usage, stormops.usage_keys, stormops.usage_batches, stormops.usage_rollups' -c CHECKPOINT; }
one_event() { # FILE: milliseconds of a transaction, 8 clients
  workers=0 pgbench bench_app "$1" 1 -c 8 -j 2 -T 10
}

measure_metering() {
  local round history ours against grouped parsed small events=${STORMOPS_BENCH_EVENTS:-1000000}
  local part=$((events * 3 / 10))
  say 'metering …' >&2
  super <<SQL >/dev/null
CREATE TABLE incoming AS
  SELECT n, n % 100 AS value, jsonb_build_object('model', 'v' || n % 5) AS dimensions,
    now() - make_interval(mins => n % 40000) AS at
  FROM generate_series(1, $events) AS n;
CREATE TABLE incoming_json AS SELECT jsonb_agg(jsonb_build_object('metric_name', 'model_call', 'value', value,
  'dimensions', dimensions, 'idempotency_key', 'json-' || n, 'at', at)) AS events FROM incoming;
GRANT SELECT ON incoming, incoming_json TO bench_app;
CREATE TABLE bare_usage (LIKE stormops.tenant_usage INCLUDING DEFAULTS, PRIMARY KEY (tenant_id, usage_id), UNIQUE (tenant_id, idempotency_key));
GRANT INSERT ON bare_usage TO bench_app;
SELECT stormops.maintain_partitions();
VACUUM ANALYZE incoming;
SQL
  sed "s/@tenant@/$large/" "$here/enter.sql" >"$work/record.sql"
  cp "$work/record.sql" "$work/plain.sql"
  cp "$work/record.sql" "$work/bare_event.sql"
  say "SELECT * FROM stormops.record_usage('api_call', 1);" >>"$work/record.sql"
  say "INSERT INTO stormops.tenant_usage (metric_name, metric_value) VALUES ('api_call', 1);" >>"$work/plain.sql"
  say "INSERT INTO bare_usage (tenant_id, usage_id, metric_name, metric_value) VALUES ('$large', stormops.new_id(), 'api_call', 1);" >>"$work/bare_event.sql"
  for ((round = 1; round <= rounds; round++)); do
    ours=$(one_event record)
    note 'record_usage, 8 clients / INSERT of one row into the same table' 1.43 "$ours" "$(one_event plain)"
    note 'record_usage, 8 clients / INSERT of one row into a bare table' '' "$ours" "$(one_event bare_event)"
  done
  roll_up >/dev/null
  for ((round = 1; round <= rounds && round <= 3; round++)); do
    empty
    against=$(usage_into bare_usage super "$events")
    super -c CHECKPOINT
    ours=$(usage_into stormops.tenant_usage app "$events")
    note "INSERT … SELECT of $events events / the same into a bare table with the same keys" 2.5 "$ours" "$against"
    grouped=$(group_new)
    note "rollup_usage, $events new events / the one GROUP BY of them, parallel" 2.0 "$(roll_up)" "$grouped"
    empty
    parsed=$(take_apart)
    super -c CHECKPOINT
    ours=$(batch)
    note "record_usages, $events events in one array / that INSERT … SELECT from a table, bare" 2.5 "$ours" "$against"
    note "record_usages, $events events in one array / INSERT … SELECT of the same array, bare" '' "$ours" "$parsed"
    roll_up >/dev/null
  done
  super -c "SELECT brin_summarize_new_values(i.inhrelid) FROM pg_inherits AS i JOIN pg_index AS x ON x.indexrelid = i.inhrelid
    JOIN pg_class AS c ON c.oid = x.indexrelid JOIN pg_am AS m ON m.oid = c.relam WHERE m.amname = 'brin'" >/dev/null
  # The same number of new events, after a short history and after one ten times as long.
  empty
  for history in 1 10; do
    while ((round = $(super -c "SELECT count(*) / $part FROM stormops.tenant_usage"), round < history)); do
      usage_into stormops.tenant_usage app "$part" >/dev/null
    done
    roll_up >/dev/null
    super -c 'VACUUM ANALYZE stormops.tenant_usage'
    usage_into stormops.tenant_usage app "$part" >/dev/null
    ours=$(roll_up)
    ((history == 10)) || small=$ours
  done
  note "rollup_usage of $part events after $((10 * part)) / after $part" 1.2 "$ours" "$small"
}
