CREATE TABLE IF NOT EXISTS stormops.tenant_usage (
    tenant_id       uuid NOT NULL REFERENCES stormops.tenants,
    usage_id        uuid NOT NULL,
    metric_name     text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value    numeric NOT NULL CHECK (metric_value >= 0 AND metric_value <= 1e15),
    dimensions      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(dimensions) = 'object' AND pg_column_size(dimensions) <= 8192),
    idempotency_key text CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
    recorded_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(recorded_at)),
    PRIMARY KEY (tenant_id, usage_id),
    UNIQUE (tenant_id, idempotency_key)
);
CREATE INDEX IF NOT EXISTS tenant_usage_metric ON stormops.tenant_usage (tenant_id, metric_name, recorded_at);
COMMENT ON TABLE stormops.tenant_usage IS 'Metered events, append-only.';
COMMENT ON COLUMN stormops.tenant_usage.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.tenant_usage.usage_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.tenant_usage.metric_name IS 'What was used: model_call, storage_mb, …';
COMMENT ON COLUMN stormops.tenant_usage.metric_value IS 'How much, exact, 0 to 1e15, in the metric''s unit.';
COMMENT ON COLUMN stormops.tenant_usage.dimensions IS 'Labels of the event, a JSON object of at most 8 kB.';
COMMENT ON COLUMN stormops.tenant_usage.idempotency_key IS 'A key that the same event carries when it is sent again; unique within the tenant.';
COMMENT ON COLUMN stormops.tenant_usage.recorded_at IS 'When.';
