CREATE TABLE IF NOT EXISTS stormops.usage_rollups (
    tenant_id   uuid NOT NULL,
    metric_name text NOT NULL,
    grain       text NOT NULL CHECK (grain IN ('hour', 'day', 'month')),
    bucket      timestamptz NOT NULL CHECK (bucket = date_trunc(grain, bucket, 'UTC')),
    dimensions  jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(dimensions) = 'object'),
    aggregation text NOT NULL CHECK (aggregation IN ('SUM', 'COUNT', 'MAX', 'LATEST', 'UNIQUE')),
    quantity    numeric NOT NULL CHECK (quantity >= 0 AND quantity < 'Infinity'),
    event_count bigint NOT NULL CHECK (event_count >= 0),
    latest_at   timestamptz CHECK (isfinite(latest_at)),
    latest_id   uuid,
    PRIMARY KEY (tenant_id, metric_name, grain, bucket, dimensions),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.usage_rollups IS 'Usage by hour, day and month, in UTC, of the events that are rolled up (see usage_batches). Written by rollup_usage(); late events correct past buckets.';
COMMENT ON COLUMN stormops.usage_rollups.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.usage_rollups.metric_name IS 'The metric, of the same tenant.';
COMMENT ON COLUMN stormops.usage_rollups.grain IS 'hour, day or month.';
COMMENT ON COLUMN stormops.usage_rollups.bucket IS 'Start of the period, which lasts to the start of the next and does not include it.';
COMMENT ON COLUMN stormops.usage_rollups.dimensions IS '{}: all events together. Else the metric''s rollup_dimensions with their values: text of at most 100 characters, null where the event had none.';
COMMENT ON COLUMN stormops.usage_rollups.aggregation IS 'That of the metric.';
COMMENT ON COLUMN stormops.usage_rollups.quantity IS 'The metric''s aggregation over the bucket, exact.';
COMMENT ON COLUMN stormops.usage_rollups.event_count IS 'Number of events.';
COMMENT ON COLUMN stormops.usage_rollups.latest_at IS 'LATEST: time of the event whose value stands.';
COMMENT ON COLUMN stormops.usage_rollups.latest_id IS 'LATEST: that event; of two at one time the one with the greater id.';

CREATE TABLE IF NOT EXISTS stormops.usage_unique_values (
    tenant_id   uuid NOT NULL,
    metric_name text NOT NULL,
    grain       text NOT NULL CHECK (grain IN ('hour', 'day', 'month')),
    bucket      timestamptz NOT NULL CHECK (isfinite(bucket)),
    dimensions  jsonb NOT NULL CHECK (jsonb_typeof(dimensions) = 'object'),
    digest      bytea NOT NULL CHECK (octet_length(digest) = 32),
    PRIMARY KEY (tenant_id, metric_name, grain, bucket, dimensions, digest),
    FOREIGN KEY (tenant_id, metric_name) REFERENCES stormops.metrics
);
COMMENT ON TABLE stormops.usage_unique_values IS 'What UNIQUE metrics have counted in each bucket of usage_rollups. Written by rollup_usage().';
COMMENT ON COLUMN stormops.usage_unique_values.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.usage_unique_values.metric_name IS 'The metric, of the same tenant.';
COMMENT ON COLUMN stormops.usage_unique_values.grain IS 'As in usage_rollups.';
COMMENT ON COLUMN stormops.usage_unique_values.bucket IS 'As in usage_rollups.';
COMMENT ON COLUMN stormops.usage_unique_values.dimensions IS 'As in usage_rollups.';
COMMENT ON COLUMN stormops.usage_unique_values.digest IS 'SHA-256 of the value as text.';

CREATE TABLE IF NOT EXISTS stormops_internal.metering_progress (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    watermark bigint NOT NULL DEFAULT 0 CHECK (watermark >= 0),
    folded_at timestamptz CHECK (isfinite(folded_at)),
    kept_from timestamptz NOT NULL DEFAULT '2000-01-01 00:00:00+00' CHECK (isfinite(kept_from))
);
COMMENT ON TABLE stormops_internal.metering_progress IS 'When rollups were made, and from when on raw events are kept; one row. Written by rollup_usage() and drop_usage_before().';
COMMENT ON COLUMN stormops_internal.metering_progress.one IS 'True: there is one row.';
COMMENT ON COLUMN stormops_internal.metering_progress.folded_at IS 'When rollup_usage() last ran.';
COMMENT ON COLUMN stormops_internal.metering_progress.kept_from IS 'Raw events from before are dropped, and none is accepted.';
INSERT INTO stormops_internal.metering_progress DEFAULT VALUES ON CONFLICT DO NOTHING;
