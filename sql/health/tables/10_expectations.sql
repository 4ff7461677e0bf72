CREATE TABLE IF NOT EXISTS stormops.data_quality_metrics (
    tenant_id    uuid NOT NULL REFERENCES stormops.tenants,
    metric_id    uuid NOT NULL,
    table_name   text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    metric_name  text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    metric_value double precision CHECK (metric_value > '-Infinity' AND metric_value < 'Infinity'),
    threshold    double precision CHECK (threshold > '-Infinity' AND threshold < 'Infinity'),
    status       text NOT NULL CHECK (status IN ('ok', 'warning', 'failed')),
    details      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object' AND pg_column_size(details || '{}') <= 8192),
    measured_at  timestamptz NOT NULL DEFAULT now() CHECK (isfinite(measured_at)),
    rows_judged  bigint CHECK (rows_judged >= 0),
    rows_failing bigint CHECK (rows_failing BETWEEN 0 AND rows_judged),
    PRIMARY KEY (tenant_id, metric_id)
);
CREATE INDEX IF NOT EXISTS data_quality_metrics_table ON stormops.data_quality_metrics (tenant_id, table_name, measured_at);
ALTER TABLE stormops.data_quality_metrics ALTER COLUMN metric_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.data_quality_metrics IS 'Measurements of a tenant''s data: freshness, volume, drift, ...';
COMMENT ON COLUMN stormops.data_quality_metrics.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.data_quality_metrics.table_name IS 'The table measured.';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_name IS 'What was measured.';
COMMENT ON COLUMN stormops.data_quality_metrics.metric_value IS 'The value, finite; NULL if it could not be computed.';
COMMENT ON COLUMN stormops.data_quality_metrics.threshold IS 'The value it was compared with, finite.';
COMMENT ON COLUMN stormops.data_quality_metrics.status IS 'ok, warning or failed.';
COMMENT ON COLUMN stormops.data_quality_metrics.details IS 'Evidence, a JSON object of at most 8 kB.';
COMMENT ON COLUMN stormops.data_quality_metrics.measured_at IS 'When.';
COMMENT ON COLUMN stormops.data_quality_metrics.rows_judged IS 'How many rows it rests on, where it is about rows.';
COMMENT ON COLUMN stormops.data_quality_metrics.rows_failing IS 'How many of them failed.';
CREATE INDEX IF NOT EXISTS data_quality_metrics_day ON stormops.data_quality_metrics (tenant_id, measured_at);
CREATE INDEX IF NOT EXISTS data_quality_metrics_time ON stormops.data_quality_metrics USING brin (tenant_id, measured_at);

CREATE TABLE IF NOT EXISTS stormops.expectations (
    tenant_id      uuid NOT NULL REFERENCES stormops.tenants,
    expectation_id uuid NOT NULL,
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    table_name     text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    rule           text NOT NULL CHECK (rule IN ('not_null', 'range', 'unique', 'referential', 'freshness', 'row_count', 'drift')),
    columns        text[] NOT NULL DEFAULT '{}' CHECK (cardinality(columns) <= 8 AND array_position(columns, NULL) IS NULL
        AND array_lower(columns, 1) IS NOT DISTINCT FROM CASE WHEN cardinality(columns) > 0 THEN 1 END), -- columns[1] is one
    lowest         numeric CHECK (lowest BETWEEN -1e15 AND 1e15),
    highest        numeric CHECK (highest BETWEEN -1e15 AND 1e15),
    max_age        interval CHECK (max_age > interval '0' AND max_age <= interval '10 years'),
    threshold      numeric NOT NULL DEFAULT 0.01 CHECK (threshold BETWEEN 0 AND 1),
    severity       text NOT NULL DEFAULT 'warning' CHECK (severity IN ('info', 'warning', 'critical')),
    every          interval NOT NULL DEFAULT '15 minutes' CHECK (every BETWEEN interval '1 minute' AND interval '31 days'),
    active         boolean NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    judged_at      timestamptz CHECK (isfinite(judged_at)),
    judged_status  text CHECK (judged_status IN ('ok', 'warning', 'failed')),
    reference      bytea CHECK (octet_length(reference) BETWEEN 32 AND 16000000),
    PRIMARY KEY (tenant_id, expectation_id),
    UNIQUE (tenant_id, name),
    CHECK (highest >= lowest),
    CHECK (rule <> 'range' OR num_nonnulls(lowest, highest) > 0),
    CHECK ((rule = 'freshness') = (max_age IS NOT NULL)),
    CHECK (CASE WHEN rule IN ('freshness', 'row_count') THEN cardinality(columns) = 0
        WHEN rule = 'unique' THEN cardinality(columns) > 0 ELSE cardinality(columns) = 1 END)
);
ALTER TABLE stormops.expectations ALTER COLUMN reference SET STORAGE EXTERNAL;
ALTER TABLE stormops.expectations ALTER COLUMN expectation_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER guard_expectation BEFORE INSERT OR UPDATE OF table_name, rule, columns ON stormops.expectations
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.guard_expectation();
-- 0.2.0: a whole row may be written, as mappers of objects do; what role_matrix() does not name keeps its value.
CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF tenant_id, expectation_id, name, table_name, rule, columns, created_at, judged_at, judged_status, reference ON stormops.expectations
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once('tenant_id', 'expectation_id', 'name', 'table_name', 'rule', 'columns', 'created_at', 'judged_at', 'judged_status', 'reference');
COMMENT ON TABLE stormops.expectations IS 'What a tenant expects of its rows. run_health_checks() judges those that are due; a trigger refuses what names no watched table or column.';
COMMENT ON COLUMN stormops.expectations.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.expectations.expectation_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.expectations.name IS 'Name for people to read, unique within the tenant; data_quality_metrics.metric_name has it.';
COMMENT ON COLUMN stormops.expectations.table_name IS 'The table, one of counted_tables().';
COMMENT ON COLUMN stormops.expectations.rule IS 'not_null; range (lowest to highest); unique (columns together, among the rows judged); referential (the parent exists); freshness (a row came within max_age); row_count (yesterday against the same weekday of the four weeks before, UTC); drift (scores against those judged first).';
COMMENT ON COLUMN stormops.expectations.columns IS 'The column, or for unique the columns; none for freshness and row_count.';
COMMENT ON COLUMN stormops.expectations.lowest IS 'Least value that a range allows; NULL: no limit.';
COMMENT ON COLUMN stormops.expectations.highest IS 'Greatest value that a range allows; NULL: no limit.';
COMMENT ON COLUMN stormops.expectations.max_age IS 'How old the last row may be, for freshness.';
COMMENT ON COLUMN stormops.expectations.threshold IS 'Share of rows, 0 to 1, above which the expectation fails; for row_count, by how much yesterday may fall short; for drift, alpha.';
COMMENT ON COLUMN stormops.expectations.severity IS 'How bad a failure is: info, warning or critical.';
COMMENT ON COLUMN stormops.expectations.every IS 'How often it is due.';
COMMENT ON COLUMN stormops.expectations.active IS 'False: it is not judged.';
COMMENT ON COLUMN stormops.expectations.created_at IS 'When it was declared.';
COMMENT ON COLUMN stormops.expectations.judged_at IS 'When it was judged last; rows from before it, less ten minutes, are not judged again.';
COMMENT ON COLUMN stormops.expectations.judged_status IS 'What it said then: ok, warning (nothing to judge by) or failed.';
COMMENT ON COLUMN stormops.expectations.reference IS 'For drift: the scores judged first, a state of score_agg(). To begin anew, delete the expectation and declare it again.';

CREATE TABLE IF NOT EXISTS stormops_internal.health_progress (
    task       text PRIMARY KEY CHECK (char_length(task) BETWEEN 1 AND 63),
    reached_at timestamptz NOT NULL CHECK (isfinite(reached_at))
);
COMMENT ON TABLE stormops_internal.health_progress IS 'How far the operators'' health checks have come where no row of a tenant says so.';
COMMENT ON COLUMN stormops_internal.health_progress.task IS 'What was looked at: storms; messages, whose row whoever makes them locks.';
COMMENT ON COLUMN stormops_internal.health_progress.reached_at IS 'When it was looked at last; what came since is new, and what came in the ten minutes before.';

