CREATE TABLE IF NOT EXISTS stormops.data_quality_metrics (
    tenant_id    uuid NOT NULL REFERENCES stormops.tenants,
    metric_id    uuid NOT NULL,
    table_name   text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    metric_name  text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value double precision CHECK (metric_value > '-Infinity' AND metric_value < 'Infinity'),
    threshold    double precision CHECK (threshold > '-Infinity' AND threshold < 'Infinity'),
    status       text NOT NULL CHECK (status IN ('ok', 'warning', 'failed')),
    details      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object' AND pg_column_size(details) <= 8192),
    measured_at  timestamptz NOT NULL DEFAULT now() CHECK (isfinite(measured_at)),
    PRIMARY KEY (tenant_id, metric_id)
);
CREATE INDEX IF NOT EXISTS data_quality_metrics_table ON stormops.data_quality_metrics (tenant_id, table_name, measured_at);
COMMENT ON TABLE stormops.data_quality_metrics IS 'Measurements of a tenant''s data: freshness, volume, drift, …';
COMMENT ON COLUMN stormops.data_quality_metrics.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.data_quality_metrics.table_name IS 'The table measured.';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_name IS 'What was measured.';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_value IS 'The value, finite; NULL if it could not be computed.';
COMMENT ON COLUMN stormops.data_quality_metrics.threshold IS 'The value it was compared with, finite.';
COMMENT ON COLUMN stormops.data_quality_metrics.status IS 'ok, warning or failed.';
COMMENT ON COLUMN stormops.data_quality_metrics.details IS 'Evidence, a JSON object of at most 8 kB.';
COMMENT ON COLUMN stormops.data_quality_metrics.measured_at IS 'When.';
