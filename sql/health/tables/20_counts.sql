-- How many rows each tenant has, known without counting them. Written only by the triggers on the
-- counted tables, whose rows refer to a tenant already, so these need no reference of their own.
CREATE TABLE IF NOT EXISTS stormops.row_count_deltas (
    tenant_id   uuid NOT NULL,
    table_name  text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    delta_id    uuid NOT NULL,
    inserted    bigint NOT NULL CHECK (inserted >= 0),
    deleted     bigint NOT NULL CHECK (deleted >= 0),
    happened_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(happened_at)),
    took_ms     numeric CHECK (took_ms >= 0 AND took_ms <= 1e12),
    PRIMARY KEY (tenant_id, table_name, delta_id)
);
COMMENT ON TABLE stormops.row_count_deltas IS 'What each statement added to and took from the counted tables, until fold_row_counts() adds it to row_counts. Only ever inserted, so that no two writers wait for each other.';
COMMENT ON COLUMN stormops.row_count_deltas.tenant_id IS 'The tenant whose rows they were.';
COMMENT ON COLUMN stormops.row_count_deltas.table_name IS 'The table, one of counted_tables().';
COMMENT ON COLUMN stormops.row_count_deltas.delta_id IS 'UUID version 7.';
COMMENT ON COLUMN stormops.row_count_deltas.inserted IS 'Rows added.';
COMMENT ON COLUMN stormops.row_count_deltas.deleted IS 'Rows taken away.';
COMMENT ON COLUMN stormops.row_count_deltas.happened_at IS 'When its transaction began.';
COMMENT ON COLUMN stormops.row_count_deltas.took_ms IS 'Milliseconds from the start of the client''s statement to the end of the insertion; NULL for deletions.';

CREATE TABLE IF NOT EXISTS stormops.row_counts (
    tenant_id  uuid NOT NULL,
    table_name text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    bucket     timestamptz NOT NULL CHECK (isfinite(bucket)),
    inserted   bigint NOT NULL CHECK (inserted >= 0),
    deleted    bigint NOT NULL CHECK (deleted >= 0),
    last_at    timestamptz CHECK (isfinite(last_at)),
    PRIMARY KEY (tenant_id, table_name, bucket)
);
COMMENT ON TABLE stormops.row_counts IS 'Rows added to and taken from the counted tables, by hour for two days, by day for sixty, and before that in one. A table''s rows are the sum of inserted - deleted here and in row_count_deltas.';
COMMENT ON COLUMN stormops.row_counts.tenant_id IS 'The tenant whose rows they were.';
COMMENT ON COLUMN stormops.row_counts.table_name IS 'The table, one of counted_tables().';
COMMENT ON COLUMN stormops.row_counts.bucket IS 'Begin of the hour or day (UTC); 1970-01-01 for all that is older.';
COMMENT ON COLUMN stormops.row_counts.inserted IS 'Rows added in it.';
COMMENT ON COLUMN stormops.row_counts.deleted IS 'Rows taken away in it.';
COMMENT ON COLUMN stormops.row_counts.last_at IS 'When rows were last added in it; NULL if none were.';

CREATE TABLE IF NOT EXISTS stormops.call_durations (
    tenant_id  uuid NOT NULL,
    table_name text NOT NULL CHECK (char_length(table_name) BETWEEN 1 AND 63),
    day        date NOT NULL CHECK (isfinite(day)),
    class      smallint NOT NULL CHECK (class BETWEEN 0 AND 240),
    calls      bigint NOT NULL CHECK (calls > 0),
    PRIMARY KEY (tenant_id, table_name, day, class)
);
COMMENT ON TABLE stormops.call_durations IS 'How long the statements took that added rows to the counted tables: a histogram for each day, kept for sixty.';
COMMENT ON COLUMN stormops.call_durations.tenant_id IS 'The tenant whose rows they were.';
COMMENT ON COLUMN stormops.call_durations.table_name IS 'The table; what calls write it is in counted_tables().';
COMMENT ON COLUMN stormops.call_durations.day IS 'The day (UTC).';
COMMENT ON COLUMN stormops.call_durations.class IS 'Twenty a decade from 1 microsecond: up to 10 ^ (class / 20) microseconds, and more than one class less (12 %).';
COMMENT ON COLUMN stormops.call_durations.calls IS 'Statements of that class.';
